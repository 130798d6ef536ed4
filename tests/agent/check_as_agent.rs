//! `tidegate check` as root on an installed package: files that the agent's user cannot use are found, and its remedies, run as
//! they are printed, mend them. In a mount namespace with a user of its own, which needs root.

use crate::support::{OWN_USERS, PROGRAM, said};
use serde_json::Value;
use std::process::Command;

/// An installed package, with nothing wrong yet; `installed` has its files, `PROGRAM` checks it.
const INSTALL: &str = r#"
rm -rf /etc/tidegate /etc/systemd/system/tidegate.service*
cp "$UNIT" /etc/systemd/system/tidegate.service
install -d -o root -g tidegate -m 750 /etc/tidegate
install -d -o tidegate -g tidegate -m 700 /run/tidegate
install -d -m 700 /run/user/0
cat >/etc/tidegate/tidegate.toml <<'TOML'
[mqtt]
url = "mqtts://127.0.0.1:1"
username = "gw"
password_file = "/etc/tidegate/mqtt-password"
ca_file = "/etc/tidegate/ca.pem"
[journal]
path = "/run/tidegate/journal"
[queues.main]
url = "https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo"
credentials_file = "/run/user/0/keys.csv"
[[routes]]
profile = "chirpstack-v4"
queue = "main"
TOML
chown root:tidegate /etc/tidegate/tidegate.toml
chmod 640 /etc/tidegate/tidegate.toml
# As root makes them.
umask 077
echo secret >/etc/tidegate/mqtt-password
echo none >/etc/tidegate/ca.pem
printf 'Access key ID,Secret access key\nAKIAIOSFODNN7EXAMPLE,wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n' >/run/user/0/keys.csv
mkdir -p /run/tidegate/journal/log
echo root >/run/tidegate/journal/state
check() { "$PROGRAM" check --offline --json || test $? = 7; }
"#;

/// What these lines print on a machine with the package; `None`: that cannot be had here.
fn installed(lines: &str) -> Option<Vec<Value>> {
    let probe = Command::new("unshare").args(["-m", "true"]).output();
    if !rustix::process::geteuid().is_root() || !probe.is_ok_and(|probe| probe.status.success()) {
        testkit::skipped("another user and a mount namespace are needed: run as root");
        return None;
    }
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/tidegate.service");
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &format!("{OWN_USERS}{INSTALL}{lines}")]).env("PROGRAM", PROGRAM).env("UNIT", unit);
    let (out, error, code) = said(command.output().expect("unshare"));
    assert_eq!(code, 0, "{error}\n{out}");
    let walks = serde_json::Deserializer::from_str(&out).into_iter::<Value>();
    Some(walks.map(|walk| walk.unwrap_or_else(|error| panic!("{error}: {out}"))).collect())
}

/// Mark, finding and remedy of a step.
fn step<'w>(walk: &'w Value, name: &str) -> (&'w str, &'w str, &'w str) {
    let steps = walk["steps"].as_array().expect("steps");
    let step = steps.iter().find(|step| step["step"] == name).unwrap_or_else(|| panic!("no {name}: {walk:#}"));
    let text = |key: &str| step[key].as_str().expect("text");
    (text("mark"), text("found"), text("do"))
}

#[test]
fn check_finds_what_the_user_cannot_use_and_remedies_work() {
    // Each remedy up to what only a person can do, which is done by hand here.
    let lines = r#"
check
check | python3 -c '
import json, sys
for step in json.load(sys.stdin)["steps"]:
    if step["step"].endswith("for tidegate"):
        print(step["do"].split(", and name")[0])' >/run/remedies
sh -eu /run/remedies >&2
sed -i s,/run/user/0/keys.csv,/etc/tidegate/keys.csv, /etc/tidegate/tidegate.toml
check
chmod 644 /etc/tidegate/mqtt-password
chown root:root /etc/tidegate/mqtt-password
check
"#;
    let Some(walks) = installed(lines) else { return };
    let [before, after, open] = &walks[..] else { panic!("{walks:#?}") };
    let (mark, found, next) = step(before, "password_file for tidegate");
    assert!(mark == "bad" && found.contains("Permission denied"), "{found}");
    assert_eq!(next, "chown root:tidegate /etc/tidegate/mqtt-password && chmod 640 /etc/tidegate/mqtt-password");
    assert!(step(before, "ca_file for tidegate").2.starts_with("chown root:tidegate /etc/tidegate/ca.pem"));
    let (_, found, next) = step(before, "credentials_file for tidegate");
    assert!(
        found.contains("ProtectHome=") && next.starts_with("install -o root -g tidegate -m 640 /run/user/0/keys.csv "),
        "{next}"
    );
    let (_, found, next) = step(before, "journal for tidegate");
    assert!(
        found.contains("/run/tidegate/journal") && next.starts_with("chown -R tidegate:tidegate "),
        "{found} {next}"
    );
    let (mark, found, _) = step(after, "files for the agent's user");
    assert!(mark == "good" && found.contains("tidegate may read each of them"), "{after:#}");
    assert_eq!(
        step(open, "password_file of the agent alone").2,
        "chown root:tidegate /etc/tidegate/mqtt-password && chmod 640 /etc/tidegate/mqtt-password",
        "the mode alone would close it to the agent"
    );
}

#[test]
fn check_finds_a_journal_the_unit_write_protects() {
    let lines = r#"
mkdir -m 755 /run/card
sed -i s,/run/tidegate/journal,/run/card/journal, /etc/tidegate/tidegate.toml
check
install -d -o tidegate -g tidegate -m 700 /run/card/journal
check
mkdir -p /etc/systemd/system/tidegate.service.d
printf '[Service]\nReadWritePaths=/run/card/journal\n' >/etc/systemd/system/tidegate.service.d/journal.conf
check
"#;
    let Some(walks) = installed(lines) else { return };
    for walk in &walks[..2] {
        let (mark, found, next) = step(walk, "journal for tidegate");
        assert!(mark == "bad" && found.contains("ProtectSystem="), "{found}");
        assert!(
            next.contains("ReadWritePaths=/run/card/journal") && next.contains("systemctl daemon-reload"),
            "{next}"
        );
    }
    let steps = walks[2]["steps"].as_array().expect("steps");
    assert!(steps.iter().all(|step| step["step"] != "journal for tidegate"), "{:#}", walks[2]);
}

#[test]
fn check_finds_a_disk_that_takes_nothing() {
    let lines = r#"
cd /run/tidegate/journal
mount -t tmpfs -o nr_inodes=4 none .
cd .
touch 1 2 3
chown -R tidegate:tidegate .
check
mount -o remount,ro .
check
mount -o remount,rw .
rm 1 2 3
install -d -o tidegate -g tidegate -m 700 state
check
"#;
    let Some(walks) = installed(lines) else { return };
    let [inodes, read_only, folder] = &walks[..] else { panic!("{walks:#?}") };
    let (mark, found, next) = step(inodes, "journal's disk");
    assert!(
        mark == "bad" && found.contains("No space left") && next.contains("df -i '/run/tidegate/journal'"),
        "{next}"
    );
    for name in ["journal's disk", "journal for tidegate"] {
        let (mark, found, next) = step(read_only, name);
        assert!(mark == "bad" && found.contains("Read-only file system"), "{name}: {found}");
        assert!(next.contains("remount,rw") && next.contains("fsck") && !next.contains("chown"), "{name}: {next}");
    }
    let (mark, found, _) = step(folder, "journal's files");
    assert!(mark == "bad" && found.contains("journal/state is a folder"), "{found}");
    for walk in &walks {
        assert_eq!(walk["ok"], false);
    }
}
