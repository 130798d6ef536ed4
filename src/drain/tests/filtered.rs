//! Something on the way refuses what single records contain: a page with 403, a cut connection, a bound in bytes, a redirect, a
//! page of its own. The others must not wait for it, and it must be named.

use super::*;
use crate::sqs::{RETURNED, classify};

/// Longer than a few of the longest waits; paused time costs nothing.
const PATIENCE: Duration = Duration::from_secs(4 * 60 * 60);

/// How a request is refused.
#[derive(Clone, Copy, Debug)]
enum Way {
    Cut,
    /// An answer with this status and no code.
    Status(u16),
    /// A page with status 200 that names no entry.
    Page,
    /// No connection comes about.
    Away,
    /// The link was away and is back.
    Returned,
}

const WAYS: [Way; 5] = [Way::Cut, Way::Status(403), Way::Status(413), Way::Status(302), Way::Page];

fn way() -> impl Strategy<Value = Way> {
    prop::sample::select(WAYS.to_vec())
}

/// What lies before the queue.
#[derive(Debug)]
struct Filter {
    /// Requests that hold one of these keys are refused so.
    refused: Mutex<HashMap<String, Way>>,
    /// Every request is refused so until then.
    portal: Mutex<Option<(tokio::time::Instant, Way)>>,
    taken: Mutex<Vec<(String, String)>>,
}

impl Filter {
    fn of(refused: impl IntoIterator<Item = (String, Way)>) -> Arc<Filter> {
        let refused = Mutex::new(refused.into_iter().collect());
        Arc::new(Filter { refused, portal: Mutex::default(), taken: Mutex::default() })
    }

    /// From now on every request is refused so, for a while.
    fn close_for(&self, time: Duration, way: Way) {
        // A clock that is paused begins with the real one, in each runtime anew.
        run(async { *self.portal.lock().unwrap() = Some((tokio::time::Instant::now() + time, way)) });
    }

    /// How every request is refused now.
    fn closed(&self) -> Option<Way> {
        self.portal.lock().unwrap().filter(|(until, _)| tokio::time::Instant::now() < *until).map(|(_, way)| way)
    }

    fn taken(&self) -> Vec<(String, String)> {
        self.taken.lock().unwrap().clone()
    }
}

impl BatchSender for Filter {
    async fn send(&self, entries: &[Entry]) -> SendOutcome {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let key = |entry: &Entry| entry.dedup.clone().expect("a FIFO queue");
        let refused = entries.iter().find_map(|entry| self.refused.lock().unwrap().get(&key(entry)).copied());
        let way = match self.closed().or(refused) {
            Some(Way::Status(status)) => {
                let meaning = classify::call(None, status);
                let SendOutcome::Fault(fault) = fault(meaning.class, false) else { unreachable!() };
                return SendOutcome::Fault(Fault { text: format!("HTTP status {status}"), ..fault });
            }
            way => way,
        };
        match way {
            Some(Way::Page) => return SendOutcome::Answer(Answer::default()),
            Some(Way::Returned) => {
                let SendOutcome::Fault(fault) = fault(FaultClass::Link, false) else { unreachable!() };
                return SendOutcome::Fault(Fault { code: Some(RETURNED.to_owned()), ..fault });
            }
            Some(way) => return fault(FaultClass::Link, matches!(way, Way::Away)),
            None => {}
        }
        let mut answer = Answer::default();
        for (index, entry) in entries.iter().enumerate() {
            let mut taken = self.taken.lock().unwrap();
            if !taken.iter().any(|(_, taken)| *taken == key(entry)) {
                taken.push((entry.group.clone(), key(entry)));
            }
            answer.accepted.push(AcceptedEntry { index, md5_matches: true, sequence_number: None });
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

/// Drains until `done`; gives the status and the paused time that it took.
fn drained(rig: &Rig, filter: &Arc<Filter>, done: impl Fn(&DrainStatus) -> bool) -> (DrainStatus, Duration) {
    run(async {
        let shared = Arc::new(DrainShared::default());
        let mut options = options(Ordering::Strict);
        options.link_probe = false;
        let drain = Drain::new(rig.lane.clone(), filter.clone(), options, &Clock::new(None), shared.clone());
        let (stop, stopped) = watch::channel(false);
        let start = tokio::time::Instant::now();
        let look = async {
            loop {
                tokio::time::sleep(Duration::from_millis(100)).await;
                let status = shared.lock().clone();
                if done(&status) || start.elapsed() > PATIENCE {
                    stop.send_replace(true);
                    return status;
                }
            }
        };
        let ((), status) = tokio::join!(drain.run(stopped), look);
        assert!(done(&status), "still {status:?} after {PATIENCE:?}");
        (status, start.elapsed())
    })
}

/// Two records of each of 200 devices; the first of all is refused, and the second of its device waits.
fn two_of_each() -> Rig {
    let groups: Vec<u8> = (0..200).chain(0..200).collect();
    rig(&groups)
}

#[test]
fn one_refused_payload_delays_its_group_alone_and_is_named() {
    for way in WAYS {
        let (rig, filter) = (two_of_each(), Filter::of([("k0".to_owned(), way)]));
        let (status, took) = drained(&rig, &filter, |status| status.accepted == 398 && !status.suspects.is_empty());
        let innocent: Vec<_> = rig.keys.iter().filter(|(group, _)| group != "g0").cloned().collect();
        assert_eq!(by_group(&filter.taken()), by_group(&innocent), "{way:?}");
        // 40 full batches, three times the one that is refused, ten suspects one by one, some that are tried again; and smaller
        // batches for a while, where something refuses a size.
        assert!(status.calls < 130, "{way:?}: {} calls", status.calls);
        assert!(took < Duration::from_secs(60), "{way:?}: {took:?}");
        let suspect = &status.suspects[0];
        assert_eq!(
            (status.suspects_total, suspect.number, &*suspect.topic, &*suspect.group),
            (1, 1, "t", "g0"),
            "{way:?}"
        );

        // Where the filter is mended all of it arrives, in order, and no person had to do anything.
        filter.refused.lock().unwrap().clear();
        let (status, _) = drained(&rig, &filter, |_| rig.lane.waiting() == 0);
        assert_eq!(by_group(&filter.taken()), by_group(&rig.keys), "{way:?}");
        assert!(status.suspects.is_empty() && status.suspects_total == 0, "{way:?}: {:?}", status.suspects);
    }
}

#[test]
fn a_record_given_up_is_quarantined_and_its_group_continues() {
    let (rig, filter) = (two_of_each(), Filter::of([("k0".to_owned(), Way::Cut)]));
    let journal = rig.lane.journal().clone();
    let asked = std::cell::Cell::new(false);
    drained(&rig, &filter, |status| {
        if let (Some(suspect), false) = (status.suspects.first(), asked.replace(!status.suspects.is_empty())) {
            let outcome = journal.quarantine_by_hand(&[suspect.number, 9_999]).unwrap();
            assert_eq!((outcome.done.len(), outcome.refused.len()), (1, 1), "{outcome:?}");
            let twice = journal.quarantine_by_hand(&[suspect.number]).unwrap();
            assert!(twice.done.is_empty() && twice.refused.len() == 1, "{twice:?}");
        }
        rig.lane.waiting() == 0
    });
    let rest: Vec<_> = rig.keys.iter().filter(|(_, key)| key != "k0").cloned().collect();
    assert_eq!(by_group(&filter.taken()), by_group(&rest));
    let facts = journal.stats().lanes.remove(0);
    assert_eq!((facts.accepted, facts.quarantined), (399, 1));
    assert_eq!(&*journal.quarantined().unwrap()[0].record.key, "k0");
}

/// In a quiet lane nothing else may be accepted between two attempts of a suspect. What comes then does not wait for it.
#[test]
fn a_reading_beside_a_suspect_is_sent_immediately() {
    let first = |lane: &Lane| draft("g0", "k0", lane, 200);
    let mut rig = living(std::iter::once(first));
    let filter = Filter::of([("k0".to_owned(), Way::Status(403))]);
    run(async {
        let shared = Arc::new(DrainShared::default());
        let mut options = options(Ordering::Strict);
        options.link_probe = false;
        let drain = Drain::new(rig.lane.clone(), filter.clone(), options, &Clock::new(None), shared.clone());
        let (stop, stopped) = watch::channel(false);
        let look = async {
            // For so long that the waits have grown to their longest.
            tokio::time::sleep(Duration::from_secs(3600)).await;
            for number in 0..4u8 {
                let key = format!("later{number}");
                let next = draft(&format!("g{}", 10 + number), &key, &rig.lane, 200);
                rig.append(next);
                tokio::time::sleep(Duration::from_secs(2)).await;
                assert!(filter.taken().iter().any(|(_, taken)| *taken == key), "{key}: {:?}", shared.lock());
                tokio::time::sleep(Duration::from_secs(1200)).await;
            }
            stop.send_replace(true);
        };
        tokio::join!(drain.run(stopped), look);
        let status = shared.lock().clone();
        // The rig's own clock does not pass, so that a resend might always be absorbed: half a minute apart at most, by lot.
        assert!(status.calls < 750, "{} calls in two hours for one record that is refused", status.calls);
    });
}

#[test]
fn a_bound_that_refuses_everything_is_not_hammered() {
    let groups: Vec<u8> = (0..60).collect();
    let rig = rig(&groups);
    let filter = Filter::of([]);
    let until = Duration::from_secs(2 * 3600);
    filter.close_for(until, Way::Status(413));
    let (status, took) = drained(&rig, &filter, |status| {
        if filter.closed().is_some() {
            assert!(status.suspects.is_empty(), "nothing shows that it is a record's: {:?}", status.suspects);
            // At most half a minute apart, by lot, as long as a resend may be absorbed: the rig's clock does not pass.
            assert!(status.calls < 700, "{} calls", status.calls);
        }
        rig.lane.waiting() == 0
    });
    assert!(took < until + Duration::from_secs(6 * 60), "{took:?}");
    assert!(status.calls < 800, "{} calls", status.calls);
}

/// What an outage cuts says nothing of a record; but one with which the link goes each time is tried alone.
#[test]
fn outages_make_suspects_only_if_the_link_always_fails() {
    let calls = |way| {
        let (rig, filter) = (rig(&[0, 1, 2, 3]), Filter::of([("k0".to_owned(), way)]));
        let (status, _) = drained(&rig, &filter, |status| status.accepted == 3);
        status.calls
    };
    let (cut, returned) = (calls(Way::Cut), calls(Way::Returned));
    assert!(cut < 12 && returned >= 12, "{cut} and {returned}");
}

#[test]
fn innocent_records_are_batched_after_a_night_behind_a_portal() {
    let groups: Vec<u8> = (0..250).collect();
    let rig = rig(&groups);
    let filter = Filter::of([]);
    filter.close_for(Duration::from_secs(3 * 3600), Way::Status(302));
    let before = std::cell::Cell::new(0);
    let (status, _) = drained(&rig, &filter, |status| {
        if filter.closed().is_some() {
            before.set(status.calls);
        }
        rig.lane.waiting() == 0
    });
    let calls = status.calls - before.get();
    assert!(calls < 60, "{calls} calls for 250 records");
    assert_eq!(by_group(&filter.taken()), by_group(&rig.keys));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Any records refused in any way, behind a link that comes and goes: all that lies behind none of them arrives, in order;
    /// when nothing is refused any more, all of it.
    #[test]
    fn whatever_is_refused_all_else_arrives_in_order(
        groups in prop::collection::vec(0u8..30, 1..150),
        refused in prop::collection::btree_map(0usize..150, way(), 0..5),
        outage in prop::option::of((0u64..120, prop_oneof![way(), Just(Way::Away)])),
    ) {
        let rig = rig(&groups);
        let filter = Filter::of(refused.iter().map(|(index, way)| (format!("k{index}"), *way)));
        if let Some((seconds, way)) = outage {
            filter.close_for(Duration::from_secs(seconds), way);
        }
        let blocked = |index: usize| refused.keys().any(|first| *first <= index && groups.get(*first) == Some(&groups[index]));
        let free: Vec<_> = rig.keys.iter().enumerate().filter(|(index, _)| !blocked(*index)).map(|(_, key)| key.clone()).collect();
        let count = free.len();
        let (_, took) = drained(&rig, &filter, |_| filter.taken().len() >= count);
        let taken = filter.taken();
        prop_assert_eq!(by_group(&taken), by_group(&free));
        prop_assert!(took < Duration::from_secs(outage.map_or(0, |(seconds, _)| seconds) + 400), "{:?}", took);
        filter.refused.lock().unwrap().clear();
        drained(&rig, &filter, |_| rig.lane.waiting() == 0);
        let taken = filter.taken();
        prop_assert_eq!(by_group(&taken), by_group(&rig.keys));
    }
}
