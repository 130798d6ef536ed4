//! Settings of a Mosquitto: what each costs, and where it is written.

use super::*;
use crate::cli::check::CheckResult::{Bad, Good, Open};
use std::fs;

/// The settings that `docs/broker.md` asks for.
const WELL: &str = "listener 1883\nmax_queued_messages 0\nmax_queued_bytes 268435456\nmax_inflight_messages 1000\n\
                    persistence true\nautosave_on_changes true\nautosave_interval 1000\n";

/// The settings of a main file, and of what it includes.
fn of(main: &str, more: &[(&str, &str)]) -> Settings {
    let root = tempfile::tempdir().expect("a folder");
    let folder = root.path().join("etc/mosquitto/conf.d");
    fs::create_dir_all(&folder).expect("made");
    fs::write(root.path().join("etc/mosquitto/mosquitto.conf"), main).expect("written");
    more.iter().for_each(|(name, text)| fs::write(folder.join(name), text).expect("written"));
    Settings::read(root.path(), Path::new("/etc/mosquitto/mosquitto.conf")).expect("read")
}

/// The one thing that is wrong when this line is added to good settings.
fn cost(line: &str, rate: Option<f64>) -> Step {
    let mut steps = of(&format!("{WELL}{line}\n"), &[]).costs(rate);
    assert_eq!(steps.len(), 1, "{line}: {steps:#?}");
    steps.remove(0)
}

#[test]
fn settings_as_the_document_has_them_cost_nothing() {
    let steps = of(WELL, &[]).costs(Some(50.0));
    assert_eq!((steps.len(), steps[0].mark), (1, Good), "{steps:#?}");
}

#[test]
fn debians_file_loses_at_the_queue_and_saves_rarely() {
    let debian = "pid_file /run/mosquitto/mosquitto.pid\n\n# persistence false\npersistence true\n\
                  persistence_location /var/lib/mosquitto/\ninclude_dir /etc/mosquitto/conf.d\n";
    let steps = of(debian, &[("README", "persistence false")]).costs(Some(2.0));
    let marks: Vec<_> = steps.iter().map(|step| (step.mark, &*step.step)).collect();
    let wanted = [
        (Bad, "broker's max_queued_messages"),
        (Open, "broker's autosave_interval"),
        (Open, "broker's max_inflight_messages"),
    ];
    assert_eq!(marks, wanted, "{steps:#?}");
    assert!(
        steps[0].found.contains("1000 messages") && steps[0].found.contains("8 min of the 2.0 messages"),
        "{steps:#?}"
    );
    assert!(steps[0].next.contains("in /etc/mosquitto/conf.d/tidegate.conf, then: sudo systemctl"), "{steps:#?}");
    assert!(steps[1].found.contains("every 30 min"), "{steps:#?}");
    let nothing = of("", &[]).costs(None);
    assert_eq!((nothing[1].mark, &*nothing[1].step), (Bad, "broker's persistence"));
    assert!(nothing[1].next.contains("in /etc/mosquitto/mosquitto.conf"), "{nothing:#?}");
}

#[test]
fn each_setting_that_loses_is_named_with_its_file() {
    let step = cost("max_queued_messages 5000", None);
    assert!(step.mark == Bad && step.found.contains("5000 messages") && !step.found.contains("default"), "{step:?}");
    assert_eq!(of(&format!("{WELL}max_queued_messages 5000\n"), &[]).costs(Some(0.01))[0].mark, Good, "five days");
    for (line, mark, says) in [
        ("max_queued_bytes 1048576", Open, "keeps 1 MiB"),
        ("persistence false", Bad, "has lost what it kept"),
        ("autosave_interval 0", Open, "at its stop alone"),
        ("autosave_interval 100000", Open, "after 100000 changes"),
        ("persistent_client_expiration 2h", Bad, "2h: an agent that was away"),
        ("max_inflight_messages 20", Open, "at most 20 messages"),
        ("queue_qos0_messages true", Open, "holds a QoS 1 message back"),
        ("message_size_limit 100000000", Open, "never taken"),
        ("use_username_as_clientid true", Open, "takes over"),
    ] {
        let step = cost(line, None);
        assert!(step.mark == mark && step.found.contains(says), "{line}: {step:?}");
        assert!(step.next.contains("in /etc/mosquitto/mosquitto.conf"), "{line}: {step:?}");
    }
    for line in ["persistent_client_expiration 2m", "persistent_client_expiration soon", "message_size_limit 1000"] {
        assert_eq!(of(&format!("{WELL}{line}\n"), &[]).costs(None)[0].mark, Good, "{line}");
    }
}

#[test]
fn included_files_count_in_their_order_and_are_named() {
    let main = format!("include_dir /etc/mosquitto/conf.d\n{}", WELL.replace("persistence true\n", ""));
    let files = [("b.conf", "persistence false\n"), ("a.conf", "persistence true\n"), ("c.bak", "persistence true\n")];
    let steps = of(&main, &files).costs(None);
    assert!(steps[0].mark == Bad && steps[0].next.contains("/etc/mosquitto/conf.d/b.conf"), "{steps:#?}");
    let own = of("include_dir /etc/mosquitto/conf.d\n", &[("x.conf", "include_dir /etc/mosquitto/conf.d\n")]);
    assert!(own.unread.is_empty(), "a folder that includes itself ends");
    assert_eq!(of("include_dir /nowhere\n", &[]).unread, [("/nowhere".into(), io::ErrorKind::NotFound)]);
}

#[test]
fn a_brokers_doors_tell_which_one_it_is() {
    let doors = of("listener 1884 127.0.0.1\nlistener 8883\nlistener 0 /run/mosquitto.sock\n", &[]);
    for (door, has) in [("1884", true), ("8883", true), ("/run/mosquitto.sock", true), ("1883", false), ("0", false)] {
        assert_eq!(doors.has_door(door), has, "{door}");
    }
    assert!(of("port 1885\n", &[]).has_door("1885") && of("", &[]).has_door("1883") && !of("", &[]).has_door("1884"));
}
