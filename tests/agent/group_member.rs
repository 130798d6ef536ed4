//! What a member of the group `tidegate` runs without sudo does what it is for, or says that it takes sudo. In a mount namespace with
//! users of its own, which needs root.

use crate::support::{OWN_USERS, PROGRAM, said};
use std::process::Command;
use testkit::port::HeldPort;

/// An installed package with its agent, and a user who is a member of its group, and has the commands of the field guide run.
const SCRIPT: &str = r#"
rm -rf /etc/tidegate
install -d -o root -g tidegate -m 750 /etc/tidegate
install -d -o tidegate -g tidegate -m 700 /run/tidegate
install -d -o 7000 -m 755 /run/member
cp "$PROGRAM" /run/program
cat >/etc/tidegate/tidegate.toml <<TOML
[mqtt]
url = "mqtt://127.0.0.1:1"
[journal]
path = "/run/tidegate/journal"
[queues.main]
url = "https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo"
endpoint = "http://127.0.0.1:1"
credentials_file = "keys.csv"
[[routes]]
profile = "chirpstack-v4"
queue = "main"
[status]
listen = "$LISTEN"
TOML
chown root:tidegate /etc/tidegate/tidegate.toml
chmod 640 /etc/tidegate/tidegate.toml
umask 077
printf 'Access key ID,Secret access key\nAKIAIOSFODNN7EXAMPLE,wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n' >/etc/tidegate/keys.csv
chown tidegate /etc/tidegate/keys.csv
setpriv --reuid 7998 --regid 7997 --clear-groups /run/program run >/run/log 2>&1 &
agent=$!
trap 'kill $agent' EXIT
while ! [ -S /run/tidegate/journal/control ]; do kill -0 $agent || { cat /run/log; exit 1; }; sleep 0.1; done
cd /run/member
# It listens a moment after.
while ! setpriv --reuid 7998 --regid 7997 --clear-groups /run/program status >/dev/null 2>&1; do kill -0 $agent; sleep 0.1; done
as() {
    group=$1
    shift
    setpriv --reuid 7000 --regid "$group" --groups "$group" /run/program "$@" </dev/null >out 2>&1 || true
    tr '\n' ' ' <out
    echo
}
umask 022
for line in status check 'check --send' 'check --offline' 'config show' policy bundle 'journal list' 'journal verify' 'journal export --out x' \
    'journal quarantine list' 'journal quarantine drop --all' 'config diff --running' acknowledge 'explain --wait 1' init 'credentials token'; do
    echo "member $line: $(as 7997 $line)"
    echo "other $line: $(as 7000 $line)"
done
"#;

#[test]
fn without_sudo_a_command_works_or_asks_for_sudo() {
    let probe = Command::new("unshare").args(["-m", "true"]).output();
    if !rustix::process::geteuid().is_root() || !probe.is_ok_and(|probe| probe.status.success()) {
        testkit::skipped("other users and a mount namespace are needed: run as root");
        return;
    }
    let port = HeldPort::take().unwrap();
    let listen = port.addr().to_string();
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &format!("{OWN_USERS}{SCRIPT}")]).env("PROGRAM", PROGRAM).env("LISTEN", listen);
    let (out, error, code) = said(command.output().expect("unshare"));
    assert_eq!(code, 0, "{out}{error}");
    let said = |who: &str, line: &str| {
        let begin = format!("{who} {line}: ");
        out.lines().find_map(|line| line.strip_prefix(&begin)).unwrap_or_else(|| panic!("no {begin}in\n{out}"))
    };
    // What works for a member, the whole of it or as far as it says.
    assert!(said("member", "status").contains("health"), "{out}");
    assert!(said("member", "config show").contains("[[routes]]"), "{out}");
    assert!(said("member", "policy").contains("sqs:SendMessage"), "{out}");
    assert!(said("member", "bundle").contains("sudo tidegate bundle"), "{out}");
    let check = said("member", "check --offline");
    assert!(check.contains("– keys of main") && check.contains("sudo tidegate check"), "{check}");
    // Keys that the member may not read are no fault of the gateway's.
    let check = said("member", "check");
    assert!(check.contains("– queue main: reach") && !check.contains("put the IAM console's .csv there"), "{check}");
    // A record that was not sent proves nothing.
    let check = said("member", "check --send");
    assert!(check.contains("✗ queue main: reach") && check.contains("sudo tidegate check --send"), "{check}");
    for line in [
        "journal list",
        "journal verify",
        "journal export --out x",
        "journal quarantine list",
        "journal quarantine drop --all",
        "config diff --running",
        "acknowledge",
        "explain --wait 1",
        "init",
        "credentials token",
    ] {
        let told = said("member", line);
        assert!(told.contains("error: ") && told.contains("sudo"), "{line}: {told}");
        assert!(
            !told.contains(".new") && !told.contains("nothing was written; run it in a terminal"),
            "{line}: {told}"
        );
    }
    for line in ["status", "check --offline", "config show", "journal list", "acknowledge", "init", "credentials token"]
    {
        let told = said("other", line);
        assert!(told.contains("error: ") && told.contains("sudo"), "{line}: {told}");
    }
}
