//! Each row of the fault table, at the lane: it says why it waits, it goes on by itself when the cause is mended, and
//! nothing is dropped. The tests change nothing in between: no new credentials, no restart.

use super::*;
use crate::sqs::classify;

/// Longer than a few of the longest waits of the gate; paused time costs nothing.
const PATIENCE: Duration = Duration::from_secs(3 * 60 * 60);

/// A queue that answers from a list, and then accepts.
#[derive(Debug, Default)]
struct Refusing {
    refusals: Mutex<Vec<Refusal>>,
    taken: Mutex<Vec<(String, String)>>,
}

#[derive(Clone, Debug)]
enum Refusal {
    Call(Fault),
    /// Every entry, with this code and text.
    Entries(&'static str, &'static str),
    /// The entries with these keys, for as long as this is set.
    Keys(Vec<String>, &'static str),
}

impl Refusing {
    fn with(refusals: Vec<Refusal>) -> Arc<Refusing> {
        Arc::new(Refusing { refusals: Mutex::new(refusals), ..Refusing::default() })
    }

    fn taken(&self) -> Vec<(String, String)> {
        self.taken.lock().unwrap().clone()
    }

    fn next(&self) -> Option<Refusal> {
        let mut refusals = self.refusals.lock().unwrap();
        match refusals.first() {
            Some(Refusal::Keys(..)) => refusals.first().cloned(),
            _ => refusals.pop(),
        }
    }
}

impl BatchSender for Refusing {
    async fn send(&self, entries: &[Entry]) -> SendOutcome {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let refusal = self.next();
        let mut answer = Answer::default();
        for (index, entry) in entries.iter().enumerate() {
            let key = entry.dedup.clone().unwrap_or_default();
            let no = match &refusal {
                Some(Refusal::Call(fault)) => return SendOutcome::Fault(fault.clone()),
                Some(Refusal::Entries(code, text)) => Some((*code, *text)),
                Some(Refusal::Keys(keys, code)) if keys.contains(&key) => Some((*code, "not this one")),
                _ => None,
            };
            match no {
                Some((code, text)) => {
                    answer.refused.push(RefusedEntry { index, code: code.into(), text: text.into() });
                }
                None => {
                    self.taken.lock().unwrap().push((entry.group.clone(), key));
                    answer.accepted.push(AcceptedEntry { index, md5_matches: true, sequence_number: None });
                }
            }
        }
        SendOutcome::Answer(answer)
    }

    fn attempt_limit(&self, bytes: usize) -> Duration {
        attempt_limit(Duration::from_secs(1), bytes)
    }

    fn is_mended(&self) -> bool {
        false
    }
}

/// What the lane showed, sampled while it drained, and how long it took.
struct Seen {
    states: Vec<DrainState>,
    status: DrainStatus,
    took: Duration,
}

impl Seen {
    fn parked(&self) -> Option<(&str, &str)> {
        self.states.iter().find_map(|state| match state {
            DrainState::Parked { why, remedy, .. } => Some((why.as_str(), remedy.as_str())),
            _ => None,
        })
    }
}

/// Drains until `done`, looking every 10 ms of paused time.
fn watched(rig: &Rig, queue: &Arc<Refusing>, ordering: Ordering, done: impl Fn(&DrainStatus) -> bool) -> Seen {
    run(async {
        let shared = Arc::new(DrainShared::default());
        let drain = Drain::new(rig.lane.clone(), queue.clone(), options(ordering), &Clock::new(None), shared.clone());
        let (stop, stopped) = watch::channel(false);
        let start = tokio::time::Instant::now();
        let mut states: Vec<DrainState> = Vec::new();
        let look = async {
            loop {
                tokio::time::sleep(Duration::from_millis(10)).await;
                let status = shared.lock().clone();
                let kind = |state: &DrainState| std::mem::discriminant(state);
                if states.last().is_none_or(|last| kind(last) != kind(&status.state)) {
                    states.push(status.state.clone());
                }
                if done(&status) || start.elapsed() > PATIENCE {
                    stop.send_replace(true);
                    return status;
                }
            }
        };
        let ((), status) = tokio::join!(drain.run(stopped), look);
        assert!(done(&status), "still {status:?} after {PATIENCE:?}; {states:?}");
        Seen { states, status, took: start.elapsed() }
    })
}

fn facts(rig: &Rig) -> crate::journal::LaneStats {
    rig.lane.journal().stats().lanes.remove(0)
}

#[test]
fn every_call_code_makes_the_lane_wait_explain_and_recover() {
    let (calls, _) = classify::codes();
    for code in calls.into_iter().chain(["NeverHeardOf"]) {
        let meaning = classify::call(Some(code), 400);
        let class = meaning.class;
        let text = format!("{} ({code})", meaning.reason);
        let fault = Fault {
            class,
            code: Some(code.into()),
            text: text.clone(),
            remedy: meaning.remedy.into(),
            never_sent: false,
            retry_after: None,
        };
        // A batch that is too large or malformed is made smaller: once is enough to see that.
        let times = if matches!(class, FaultClass::Shrink | FaultClass::Bug) { 1 } else { 3 };
        let (rig, queue) = (rig(&[1, 2, 3]), Refusing::with(vec![Refusal::Call(fault); times]));
        let seen = watched(&rig, &queue, Ordering::Strict, |_| rig.lane.waiting() == 0);
        assert_eq!((facts(&rig).accepted, facts(&rig).quarantined), (3, 0), "{code}: nothing is dropped");
        assert_eq!(by_group(&queue.taken()), by_group(&rig.keys), "{code}");
        let said = seen.states.iter().any(|state| match state {
            DrainState::Parked { why, remedy, .. } => {
                let waits = matches!(class, FaultClass::WaitForConfiguration | FaultClass::OnceMore | FaultClass::Bug);
                waits && *why == text && remedy == meaning.remedy && !remedy.is_empty()
            }
            DrainState::Throttled { why, .. } => class == FaultClass::SlowDown && *why == text,
            DrainState::Offline { why, .. } => {
                matches!(class, FaultClass::Link | FaultClass::Unknown | FaultClass::Shrink) && *why == text
            }
            _ => false,
        });
        assert!(said, "{code}: {:?}", seen.states);
        assert_eq!(seen.status.faults.get(code), Some(&(times as u64)), "{code}: counted by code");
        if class == FaultClass::WaitForConfiguration {
            assert!(seen.took > Duration::from_secs(90), "{code}: probed slowly, not hammered: {:?}", seen.took);
        }
    }
}

#[test]
fn every_entry_code_ends_in_acceptance_or_quarantine() {
    let (calls, entries) = classify::codes();
    for code in calls.into_iter().chain(entries).chain(["NeverHeardOf"]) {
        let (rig, queue) = (rig(&[1, 2, 3]), Refusing::with(vec![Refusal::Entries(code, "no"); 2]));
        let seen = watched(&rig, &queue, Ordering::Strict, |_| rig.lane.waiting() == 0);
        let never = classify::entry(code).class == FaultClass::Quarantine;
        let counted = (facts(&rig).accepted, facts(&rig).quarantined);
        assert_eq!(counted, if never { (0, 3) } else { (3, 0) }, "{code}");
        let parked = classify::entry(code).class == FaultClass::WaitForConfiguration;
        assert_eq!(seen.parked().is_some(), parked, "{code}: {:?}", seen.states);
        assert!(seen.parked().is_none_or(|(why, remedy)| why.contains(code) && !remedy.is_empty()), "{code}");
    }
}

/// A call refused with `code`, as the table understands it.
fn refusal(code: Option<&str>, status: u16) -> Fault {
    let meaning = classify::call(code, status);
    Fault {
        class: meaning.class,
        code: code.map(str::to_owned),
        text: meaning.reason.into(),
        remedy: meaning.remedy.into(),
        never_sent: false,
        retry_after: None,
    }
}

/// The queue's form is wrong for every record: none of them is to blame.
#[test]
fn a_request_malformed_for_every_record_quarantines_none() {
    let fault = refusal(Some("UnknownOperation"), 400);
    let (rig, queue) = (rig(&[1, 2, 3, 4, 5]), Refusing::with(vec![Refusal::Call(fault); 12]));
    let seen = watched(&rig, &queue, Ordering::Strict, |_| rig.lane.waiting() == 0);
    assert_eq!((facts(&rig).accepted, facts(&rig).quarantined), (5, 0));
    assert!(seen.parked().is_some_and(|(_, remedy)| remedy.contains("report")), "{:?}", seen.states);
    assert!(seen.took > Duration::from_secs(10), "twelve refusals are not hammered: {:?}", seen.took);
}

/// A proxy that refuses one record by its size must hold up neither the lane nor, for good, the record.
#[test]
fn a_record_refused_by_size_delays_its_group_alone() {
    let fault = refusal(None, 413);
    let rig = rig(&[1]);
    let queue = Refusing::with(vec![Refusal::Call(fault); 6]);
    let seen = watched(&rig, &queue, Ordering::Strict, |_| rig.lane.waiting() == 0);
    assert_eq!((facts(&rig).accepted, facts(&rig).quarantined), (1, 0));
    // Waits by lot, with ceilings that double from half a second on.
    assert!(seen.took > Duration::from_secs(2), "tried later each time: {:?}", seen.took);
}

#[test]
fn a_shrunk_batch_grows_again_when_refusals_end() {
    let fault = refusal(None, 413);
    let groups: Vec<u8> = (0..280u16).map(|n| (n % 60) as u8).collect();
    let (rig, queue) = (rig(&groups), Refusing::with(vec![Refusal::Call(fault); 5]));
    let seen = watched(&rig, &queue, Ordering::Strict, |_| rig.lane.waiting() == 0);
    assert_eq!((facts(&rig).accepted, facts(&rig).quarantined), (280, 0));
    assert_eq!(by_group(&queue.taken()), by_group(&rig.keys));
    // Two records fit what was left of the batch; at that size it would take 140 calls.
    assert!((60..100).contains(&seen.status.calls), "{} calls", seen.status.calls);
}

#[test]
fn quarantine_keeps_the_reason_and_the_group_continues_in_order() {
    let rig = rig(&[1; 12]);
    let bad = vec!["k3".to_owned(), "k7".to_owned()];
    let queue = Refusing::with(vec![Refusal::Keys(bad.clone(), "InvalidMessageContents")]);
    watched(&rig, &queue, Ordering::Strict, |_| rig.lane.waiting() == 0);
    let rest: Vec<_> = rig.keys.iter().filter(|(_, key)| !bad.contains(key)).cloned().collect();
    assert_eq!(queue.taken(), rest);
    assert_eq!((facts(&rig).accepted, facts(&rig).quarantined), (10, 2));
    let kept = rig.lane.journal().quarantined().unwrap();
    let said = kept.iter().map(|entry| (&*entry.code, entry.text.contains("not this one"), &*entry.record.key));
    let expected = [("InvalidMessageContents", true, "k3"), ("InvalidMessageContents", true, "k7")];
    assert_eq!(said.collect::<Vec<_>>(), expected, "code, text, and the record itself");
}

#[test]
fn twenty_refusals_park_the_lane_and_one_acceptance_resumes_it() {
    for groups in [[1u8; 40].to_vec(), (0..40).collect()] {
        let rig = rig(&groups);
        let queue =
            Refusing::with(vec![Refusal::Keys((0..40).map(|n| format!("k{n}")).collect(), "InvalidParameterValue")]);
        let parked = |status: &DrainStatus| matches!(status.state, DrainState::Parked { .. });
        let calls = std::cell::Cell::new(0);
        let seen = watched(&rig, &queue, Ordering::Strict, |status| {
            // Five probes find the queue as it was.
            if parked(status) && calls.get() == 0 {
                calls.set(status.calls);
            }
            if calls.get() > 0 && status.calls >= calls.get() + 5 {
                queue.refusals.lock().unwrap().clear();
            }
            rig.lane.waiting() == 0
        });
        assert_eq!((facts(&rig).quarantined, facts(&rig).accepted), (20, 20), "twenty, not one more");
        let (why, remedy) = seen.parked().unwrap();
        assert!(why.contains("20 records in a row") && why.contains("InvalidParameterValue"), "{why}");
        assert!(remedy.contains("by itself") && !remedy.contains("restart"), "{remedy}");
        assert!(seen.took > Duration::from_secs(6 * 30), "six probes, none sooner than half a minute: {:?}", seen.took);
        let taken = queue.taken();
        assert_eq!(
            by_group(&taken),
            by_group(&rig.keys.iter().filter(|k| taken.contains(k)).cloned().collect::<Vec<_>>())
        );
    }
}

/// The limit was learnt from one refusal, the records behind it are judged by it without asking; then the queue's own
/// setting is raised.
#[test]
fn a_learnt_limit_does_not_keep_a_lane_parked() {
    let (rig, _) = heavy(&[1; 30], 3_000, |_| false);
    let no = Refusal::Entries("InvalidParameterValue", "Message must be shorter than 2048 bytes.");
    let queue = Refusing::with(vec![no; 3]);
    let seen = watched(&rig, &queue, Ordering::Strict, |_| rig.lane.waiting() == 0);
    assert_eq!((facts(&rig).quarantined, facts(&rig).accepted), (20, 10));
    let asked = seen.status.faults["InvalidParameterValue"];
    assert_eq!(asked, 3, "once to learn it, and by the two probes before it was raised");
    assert!(seen.parked().is_some_and(|(why, _)| why.contains("20 records in a row")), "{:?}", seen.states);
}

#[test]
fn a_full_quarantine_parks_the_lane_until_it_is_emptied() {
    let (rig, bad) = heavy(&[1; 30], 600 * 1024, |n| n % 2 == 0);
    let queue = Refusing::with(vec![Refusal::Keys(bad, "InvalidMessageContents")]);
    let file = rig.lane.journal().quarantine_file();
    let moved = std::cell::Cell::new(0);
    let seen = watched(&rig, &queue, Ordering::Strict, |status| {
        if matches!(status.state, DrainState::Parked { .. }) && moved.get() == 0 {
            moved.set(facts(&rig).quarantined);
            std::fs::rename(&file, file.with_extension("moved")).unwrap();
        }
        rig.lane.waiting() == 0
    });
    let (why, remedy) = seen.parked().unwrap();
    assert!(
        why.contains("full") && remedy.contains("quarantine drop --all") && !remedy.contains("restart"),
        "{remedy}"
    );
    assert_eq!((facts(&rig).quarantined, facts(&rig).accepted), (15, 15));
    assert!((10..15).contains(&moved.get()), "it was full after {}", moved.get());
    assert_eq!(facts(&rig).waiting, 0);
}

#[test]
fn the_links_return_ends_a_long_wait_within_two_seconds() {
    let fault = Fault {
        class: FaultClass::Link,
        code: None,
        text: "no route".into(),
        remedy: String::new(),
        never_sent: true,
        retry_after: None,
    };
    let (rig, queue) = (rig(&[1, 2, 3]), Refusing::with(vec![Refusal::Call(fault); 100_000]));
    let (returned, link) = watch::channel(0u64);
    let took = run(async {
        let shared = Arc::new(DrainShared::default());
        let options = DrainOptions { link, ..options(Ordering::Strict) };
        let drain = Drain::new(rig.lane.clone(), queue.clone(), options, &Clock::new(None), shared.clone());
        let (stop, stopped) = watch::channel(false);
        let look = async {
            // Out for hours, until a wait of a minute or more has just begun.
            let long = |state: &DrainState| matches!(state, DrainState::Offline { next_s, .. } if *next_s >= 60);
            while !long(&shared.lock().state) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            queue.refusals.lock().unwrap().clear();
            let start = tokio::time::Instant::now();
            returned.send_modify(|n| *n += 1);
            while rig.lane.waiting() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            stop.send_replace(true);
            start.elapsed()
        };
        tokio::join!(drain.run(stopped), look).1
    });
    assert!(took < Duration::from_secs(2), "{took:?}");
}
