//! Order within a group through partial failure, by the real sender against the stub: entry k of ten refused for the
//! moment, every k, one group and many, several flights at once, in both orderings.
//!
//! The queue's own log is the judge: what it accepted, in which call, beside what it refused.

use super::*;
use crate::config::CredentialsSource;
use crate::sqs::client::{SenderOptions, SqsSender};
use crate::sqs::connector::proxy::ProxySettings;
use testkit::fake_sqs::{AccessKey, Arrival, Fate, Fault as Told, QueueOptions, SqsStub, StubOptions, When};

/// A bound for what takes a moment, and half a minute under emulation.
const LONG: Duration = Duration::from_secs(300);

/// One way in which a batch fails in part.
#[derive(Clone, Copy, Debug)]
struct Case {
    ordering: Ordering,
    groups: u8,
    records: usize,
    index: usize,
    code: &'static str,
}

/// Drains a journal through the stub; gives its log, the keys and what the drain counted.
async fn drained(stub: &SqsStub, name: &str, case: Case) -> (Vec<Arrival>, Rig, DrainStatus) {
    let groups: Vec<u8> = (0..case.records).map(|n| (n % usize::from(case.groups)) as u8).collect();
    let rig = tokio::task::spawn_blocking(move || rig(&groups)).await.unwrap();
    stub.create_queue(name, QueueOptions::fifo()).unwrap();
    let told = Told::FailEntry { index: case.index, code: case.code, sender_fault: false };
    stub.faults().push_on(name, told, When::Next(4));
    let key = AccessKey::agent();
    let file = rig._dir.path().join("key.csv");
    std::fs::write(&file, format!("Access key ID,Secret access key\n{},{}\n", key.id, key.secret)).unwrap();
    let sender = SenderOptions {
        queue: name.into(),
        url: stub.queue_url(name),
        region: "eu-west-1".into(),
        endpoint: Some(stub.endpoint()),
        allow_plain_http: false,
        ca_file: None,
        credentials: CredentialsSource::CsvFile(file),
        max_in_flight: 4,
        // What is refused here is refused by an answer: a machine that is slow to give one must not repeat a call.
        connect_timeout: LONG,
        attempt_timeout: LONG,
        link_probe: true,
    };
    let clock = Clock::new(None);
    let sender = Arc::new(SqsSender::through(ProxySettings::default(), &sender, &clock).unwrap());
    let shared = Arc::new(DrainShared::default());
    let drain = Drain::new(rig.lane.clone(), sender, options(case.ordering), &clock, shared.clone());
    let (stop, stopped) = watch::channel(false);
    let count = case.records as u64;
    let watch = async {
        let done = stub.wait_for(name, LONG, |counters| counters.accepted >= count).await;
        // The last answers are on their way back.
        while done.is_ok() && rig.lane.waiting() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.send_replace(true);
        done.unwrap_or_else(|late| panic!("{case:?}: {late}"));
    };
    tokio::join!(drain.run(stopped), watch);
    let status = shared.lock().clone();
    (stub.log(name), rig, status)
}

fn accepted(arrival: &Arrival) -> bool {
    matches!(arrival.fate, Fate::Accepted(_))
}

fn id(arrival: &Arrival) -> (String, String) {
    (arrival.group.clone().unwrap(), arrival.dedup.clone().unwrap())
}

/// Records that overtook: accepted in a call in which an earlier one of their group was refused.
fn overtook(log: &[Arrival]) -> usize {
    let refused = |before: &Arrival, one: &Arrival| {
        before.call == one.call && before.group == one.group && matches!(before.fate, Fate::Refused(_))
    };
    (0..log.len()).filter(|&at| accepted(&log[at]) && log[..at].iter().any(|before| refused(before, &log[at]))).count()
}

async fn all(ordering: Ordering, groups: u8, records: usize) {
    let stub = SqsStub::start(StubOptions::default()).unwrap();
    let cases = (0..10).flat_map(|index| ["InternalError", "RequestThrottled"].map(|code| (index, code)));
    let runs = cases.map(|(index, code)| {
        let (stub, case) = (&stub, Case { ordering, groups, records, index, code });
        async move { (case, drained(stub, &format!("{index}-{code}.fifo"), case).await) }
    });
    let mut injected = 0;
    for (case, (log, rig, status)) in futures_util::future::join_all(runs).await {
        let arrived: Vec<_> = log.iter().filter(|arrival| accepted(arrival)).map(id).collect();
        let refused = log.iter().filter(|arrival| matches!(arrival.fate, Fate::Refused(_))).count();
        injected += refused;
        assert_eq!(arrived.len(), rig.keys.len(), "{case:?}: each once");
        assert_eq!(log.len(), rig.keys.len() + refused, "{case:?}: nothing was absorbed, so nothing was sent twice");
        let facts = rig.lane.journal().stats().lanes.remove(0);
        assert_eq!((facts.accepted, facts.waiting), (rig.keys.len() as u64, 0), "{case:?}");
        let counted = (status.inversions as usize, overtook(&log));
        assert_eq!(counted.0, counted.1, "{case:?}: it inverts what it counts and counts what it inverts");
        if case.ordering == Ordering::Strict || counted.0 == 0 {
            assert_eq!((by_group(&arrived), counted.0), (by_group(&rig.keys), 0), "{case:?}");
        }
        // A batch of one record has no entry beyond the first: strictly, a lone group has no other batches, and packed it
        // has none for the hundred records after the first failure.
        let (least, most) = match (case.ordering, groups) {
            (Ordering::Strict, 1) if case.index > 0 => (0, 0),
            (Ordering::Packed, 1) if case.index > 0 => (1, 3),
            _ => (4, 4),
        };
        assert!((least..=most).contains(&refused), "{case:?}: {refused} refused");
        stays_strict(&log, &case);
    }
    assert!(injected >= 8, "{ordering:?}, {groups} groups: only {injected} entries were refused");
}

/// After a batch that failed in part for a group with more than one record in it, the next hundred of it travel alone.
fn stays_strict(log: &[Arrival], case: &Case) {
    let entries =
        |call: u64, group: &Option<String>| log.iter().filter(|a| a.call == call && a.group == *group).count();
    let failed = log.iter().position(|a| matches!(a.fate, Fate::Refused(_)) && entries(a.call, &a.group) > 1);
    let Some(failed) = failed else { return };
    let (call, group) = (log[failed].call, &log[failed].group);
    let behind: Vec<_> = log.iter().filter(|a| a.call > call && a.group == *group).collect();
    for one in behind.iter().take(100) {
        assert_eq!(entries(one.call, group), 1, "{case:?}: strictly for a hundred records");
    }
}

#[tokio::test]
async fn strict_never_inverts_a_single_group() {
    all(Ordering::Strict, 1, 30).await;
}

#[tokio::test]
async fn strict_never_inverts_with_several_flights_of_many_groups() {
    all(Ordering::Strict, 60, 240).await;
}

#[tokio::test]
async fn packed_inverts_single_groups_only_as_counted_then_goes_strictly() {
    all(Ordering::Packed, 1, 160).await;
}

#[tokio::test]
async fn packed_inverts_only_as_counted_with_many_flights_and_groups() {
    all(Ordering::Packed, 24, 480).await;
}
