//! What the page says, for snapshots of every kind.

use super::*;
use crate::drain::DrainStatus;
use crate::journal::LaneStats;
use crate::status::QueueStatus;
use crate::status::findings::Code;
use crate::status::history::Point;

fn lane() -> LaneStats {
    LaneStats { appended: u64::MAX, accepted: 1, waiting: 7, evicted: 3, ..crate::testing::lane("main") }
}

fn snapshot(text: &str, findings: Vec<Finding>) -> StatusSnapshot {
    let mut drain = DrainStatus::default();
    drain.last_fault = Some(text.repeat(200));
    let queue = |n: usize| QueueStatus {
        name: format!("queue{n}"),
        url: "https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo".into(),
        lane: Some(lane()),
        drain: drain.clone(),
        outlook: None,
    };
    StatusSnapshot {
        version: "1",
        gateway: text.to_owned(),
        uptime_s: 5,
        uplink: Default::default(),
        readings: Default::default(),
        health: Health::Act,
        remarks: Vec::new(),
        findings,
        acknowledged: None,
        clock_plausible: true,
        clock_confirmed: true,
        intake: None,
        journal: None,
        queues: (0..2).map(queue).collect(),
    }
}

fn now() -> Now {
    Now { s: 20_000, wall: Some("2026-02-11T08:15:30.120Z".to_owned()) }
}

#[test]
fn whatever_others_wrote_is_escaped_and_the_page_stays_small() {
    let evil = "<script>\"'&\u{7}";
    let mut history = History::default();
    (0..2000).for_each(|n| history.note(Point { at_s: n * 10, waiting: n % 977, accepted: n, lag_s: n % 13 }));
    let histories = (0..2).map(|n| (format!("queue{n}"), history.clone())).collect();
    let last = LastMessage { topic: evil.repeat(16), head: Some(evil.repeat(7)), bytes: 5, at_s: 1 };
    let findings = vec![Finding::new(Code::BrokerAway, Severity::Act, evil.repeat(100)); 50];
    let page = render(&snapshot(evil, findings), &histories, &vec![last; 20], &now());
    let ours = "<script src=\"/page.js\" defer></script>";
    assert_eq!((page.matches("<script").count(), page.matches(ours).count()), (1, 1), "no script but ours");
    assert!(page.contains("&lt;script&gt;&quot;&#39;&amp;"));
    let bytes = page.len() + STYLE.len() + SCRIPT.len();
    assert!(bytes < 60 * 1024, "{bytes} bytes");
    assert!(!page.contains("http-equiv=\"Content") && page.matches("src=").count() == 1, "nothing from elsewhere");
    assert!(!page.contains("style=\""), "the browser is told to take styles from the sheet alone");
    assert!(page.contains("as of <time datetime=\"2026-02-11T08:15:30.120Z\">08:15:30 UTC</time>"), "{page}");
}

#[test]
fn a_finding_shows_fault_remedy_and_what_happens_meanwhile() {
    let finding = Finding::new(Code::BrokerAway, Severity::Act, "the broker is away");
    let page = render(&snapshot("roof", vec![finding]), &HashMap::new(), &[], &now());
    let order = [
        "Action required",
        "The broker is away",
        "Do this",
        "<code>sudo systemctl status mosquitto</code>",
        "Meanwhile: ",
    ];
    let places: Vec<usize> =
        order.iter().map(|text| page.find(text).unwrap_or_else(|| panic!("{text}: {page}"))).collect();
    assert!(places.is_sorted(), "{places:?}");
    assert!(page.contains("<p class=\"readings\">"), "{page}");
    assert!(page.contains("<li class=\"unknown\"><b>Sensors</b>"), "none was heard: {page}");
    assert!(
        page.contains("<li class=\"bad\"><b>Broker</b>") && page.contains("<li class=\"good\"><b>Journal</b>"),
        "{page}"
    );
}

#[test]
fn what_goes_on_by_itself_tells_what_if_it_lasts() {
    let finding = Finding::new(Code::QueueOffline, Severity::Waiting, "queue main: offline");
    let page = render(&snapshot("roof", vec![finding]), &HashMap::new(), &[], &now());
    assert!(page.contains("If it lasts") && !page.contains("Do this"), "{page}");
    assert!(page.contains("<code>sudo tidegate check</code>"), "{page}");
}

#[test]
fn commands_within_a_remedy_are_set_apart() {
    assert_eq!(with_commands("run `a <b>`, then `c`"), "run <code>a &lt;b&gt;</code>, then <code>c</code>");
}

#[test]
fn what_one_queue_has_colours_that_queue_alone() {
    let mut finding = Finding::new(Code::QueueParked, Severity::Act, "queue queue1: refused");
    finding.about = Some("queue1".to_owned());
    let page = render(&snapshot("roof", vec![finding]), &HashMap::new(), &[], &now());
    assert!(
        page.contains("<li class=\"good\"><b>Queue queue0</b>")
            && page.contains("<li class=\"bad beside\"><b>Queue queue1</b>"),
        "{page}"
    );
}

#[test]
fn empty_charts_are_hidden_and_backlog_charts_have_axes() {
    let render = |waiting| {
        let mut history = History::default();
        (19_000..20_000).step_by(10).for_each(|at_s| history.note(Point { at_s, waiting, ..Point::default() }));
        render(&snapshot("roof", Vec::new()), &HashMap::from([("queue0".to_owned(), history)]), &[], &now())
    };
    assert!(!render(0).contains("Records waiting"));
    let drawn = render(37);
    for text in ["Records waiting", "last hour", "60 min ago", ">50<", ">now<"] {
        assert!(drawn.contains(text), "{text}: {drawn}");
    }
}

#[test]
fn without_a_right_clock_the_page_says_no_time() {
    let page = render(&snapshot("roof", Vec::new()), &HashMap::new(), &[], &Now { s: 5, wall: None });
    assert!(page.contains("the clock is wrong") && !page.contains("<time"), "{page}");
}
