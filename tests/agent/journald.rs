//! What the real journald keeps of the log, and `journalctl` prints of it. journald runs in a mount namespace of its own, which
//! needs root.

use crate::support::{PROGRAM, config, said, stub};
use std::path::Path;
use std::process::Command;
use testkit::agent::AgentProcess;

const JOURNALD: &str = "/lib/systemd/systemd-journald";
/// Starts journald in folders of its own; `start FILE` runs the agent with standard error on the journal's stream, as systemd
/// does, `told TEXT` waits until `journalctl` prints a text.
const SET_UP: &str = r#"
set -eu
mount --make-rprivate /
for folder in /run/systemd /run/log /var/log /var/lib/systemd /usr/lib/systemd/catalog; do
    if [ -d $folder ]; then mount -t tmpfs tmpfs $folder; fi
done
mkdir -p /run/systemd/journal /run/log/journal /var/lib/systemd/catalog
cp "$CATALOG" /usr/lib/systemd/catalog/
journalctl --update-catalog
/lib/systemd/systemd-journald 2>/dev/null &
journald=$!
agent=
trap 'kill $agent $journald' EXIT
wait_for() { timeout 60 sh -c "until $1; do sleep 0.1; done"; }
wait_for 'test -S /run/systemd/journal/stdout'
start() {
    systemd-cat sh -c 'JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec "$0" run --config "$1"' "$PROGRAM" "$1" &
    agent=$!
}
told() { wait_for "journalctl --no-pager -t tidegate -o cat | grep -qF '$1'"; }
"#;

/// Runs lines of a shell where a journald is; what they printed. `None`: that cannot be had here.
fn under_journald(lines: &str, file: &Path) -> Option<String> {
    let probe = Command::new("unshare").args(["-m", "true"]).output();
    if !Path::new(JOURNALD).exists() || !probe.is_ok_and(|probe| probe.status.success()) {
        testkit::skipped("no journald, or no mount namespace: install systemd, and run as root");
        return None;
    }
    let catalog = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/tidegate.catalog");
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &format!("{SET_UP}{lines}")]);
    command.env("PROGRAM", PROGRAM).env("CATALOG", catalog).env("FILE", file);
    let (out, error, code) = said(command.output().expect("unshare"));
    assert_eq!(code, 0, "{error}\n{out}");
    Some(out)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn journalctl_prints_why_and_what_to_do_about_a_finding() {
    let stub = stub();
    let mut configuration = config(([127, 0, 0, 1], 1).into(), &stub);
    configuration.mqtt_extra = "username = \"gw\"\npassword_file = \"/nowhere/password\"".into();
    let agent = AgentProcess::prepare(PROGRAM, configuration).expect("prepared");
    let lines = r#"
start "$FILE"
told 'to the broker: cannot read mqtt.password_file /nowhere/password: No such file'
told 'sudo chown root:tidegate'
journalctl --no-pager -t tidegate -x
echo ids
journalctl --no-pager -t tidegate -o json | grep -o '"MESSAGE_ID":"[0-9a-f]*"'
"#;
    let Some(out) = under_journald(lines, &agent.config_path()) else { return };
    println!("{out}");
    let id = tidegate::journald::message_id("broker_password_file");
    assert!(out.contains(&format!("\"MESSAGE_ID\":\"{id}\"")), "{out}");
    assert!(out.contains("Subject: tidegate: broker password file") && out.contains("What it costs: "), "{out}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_fails_says_why_in_its_message() {
    let stub = stub();
    let mut configuration = config(([127, 0, 0, 1], 1).into(), &stub);
    configuration.broker_url = "mqtts://127.0.0.1:1".into();
    configuration.mqtt_extra = "ca_file = \"/nowhere/ca.pem\"".into();
    let agent = AgentProcess::prepare(PROGRAM, configuration).expect("prepared");
    let lines = r#"
start "$FILE"
told 'not started: [mqtt]: ca_file: cannot read /nowhere/ca.pem: No such file'
agent=
# Another stream than the journal's, with the variable that a service hands down: the log goes to the stream.
JOURNAL_STREAM=1:1 "$PROGRAM" run --config "$FILE" 2>&1 || true
echo "in the journal: $(journalctl --no-pager -t tidegate -o cat | grep -c 'not started')"
"#;
    let Some(out) = under_journald(lines, &agent.config_path()) else { return };
    println!("{out}");
    assert!(out.contains("not started error=[mqtt]: ca_file: cannot read"), "{out}");
    assert!(out.contains("in the journal: 1\n"), "{out}");
}
