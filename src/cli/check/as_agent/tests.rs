//! Who the agent is, and what is said about what it cannot use.

use super::*;

const PASSWD: &str = "root:x:0:0::/root:/bin/sh\ntidegate:x:998:997::/nonexistent:/usr/sbin/nologin\n";
const GROUP: &str = "root:x:0:\ntidegate:x:997:\nmosquitto:x:120:tidegate,pi\ndialout:x:20:pi\n";

fn tidegate() -> Who {
    let unit = Unit { user: "tidegate".into(), group: "tidegate".into(), ..Unit::default() };
    who(&unit, PASSWD, GROUP).expect("a user")
}

#[test]
fn the_units_user_has_its_groups() {
    let ids = Ids { user: 998, group: 997, groups: vec![120] };
    assert_eq!(tidegate(), Who { user: "tidegate".into(), group: "tidegate".into(), ids });
    let more = Unit { user: "998".into(), groups: vec!["dialout".into()], ..Unit::default() };
    assert_eq!(who(&more, PASSWD, GROUP).expect("by number").ids.groups, [120, 20]);
    assert_eq!(who(&Unit { user: "nobody".into(), ..Unit::default() }, PASSWD, GROUP), None);
    assert_eq!(who(&Unit::default(), PASSWD, GROUP).expect("root").ids.user, 0);
}

fn said(want: Want, path: &str, at: &str) -> String {
    let closed = path != at && !at.starts_with(path) && at != "/mnt";
    let met = Refusal { at: at.into(), error: "Permission denied".into(), missing: false, closed, read_only: false };
    let step = judge(&("key".into(), path.into(), want), Some(met), &Unit::default(), &tidegate());
    step.expect("a step").next
}

#[test]
fn each_remedy_opens_to_the_agent_alone_what_refuses() {
    assert_eq!(
        said(Want::Read, "/etc/tidegate/pw", "/etc/tidegate/pw"),
        "chown root:tidegate /etc/tidegate/pw && chmod 640 /etc/tidegate/pw"
    );
    assert_eq!(
        said(Want::Read, "/etc/tidegate/pw", "/etc/tidegate"),
        "chown root:tidegate /etc/tidegate && chmod 750 /etc/tidegate"
    );
    assert!(
        said(Want::Read, "/srv/private/pw", "/srv/private")
            .starts_with("install -o root -g tidegate -m 640 /srv/private/pw ")
    );
    assert_eq!(said(Want::Keep, "/mnt/j", "/mnt/j/log/db"), "chown -R tidegate:tidegate /mnt/j");
    assert!(said(Want::Keep, "/srv/private/j", "/srv/private").starts_with("set journal.path to "));
    assert_eq!(said(Want::Keep, "/mnt/j", "/mnt"), "install -d -o tidegate -g tidegate -m 700 /mnt/j");
}

#[test]
fn a_read_only_file_system_is_no_matter_of_owners() {
    let error = "Read-only file system (os error 30)".into();
    let met = Refusal { at: "/mnt/j".into(), error, missing: false, closed: false, read_only: true };
    let need = ("journal".into(), "/mnt/j".into(), Want::Keep);
    let step = judge(&need, Some(met), &Unit::default(), &tidegate()).expect("a step");
    assert!(step.next.contains("remount,rw") && !step.next.contains("chown"), "{step:?}");
}

#[test]
fn what_is_missing_is_left_to_other_steps() {
    let met =
        Refusal { at: "/etc/tidegate/pw".into(), error: String::new(), missing: true, closed: false, read_only: false };
    let need = ("password_file".into(), "/etc/tidegate/pw".into(), Want::Read);
    assert_eq!(judge(&need, Some(met), &Unit::default(), &tidegate()), None);
}

#[test]
fn what_is_missing_is_not_said_to_be_readable() {
    let found = |missing| all_good(&tidegate(), missing).found;
    assert!(found(false).contains("each of them") && found(true).contains("each that is there"));
}
