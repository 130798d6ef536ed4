//! Maybe sent: answers that are lost after the queue accepted, resumed one, three, four and six minutes later, in the same
//! process, after a kill, and after a reboot. No duplicate that does not say so; a mark wherever the queue's five minutes
//! may have passed; none where they surely have not.
//!
//! Minutes pass on the stub's clock and on the agent's own at once. The lane is parked meanwhile, so the doubt has to
//! survive that, too.

use crate::support::{
    LONG, PROGRAM, QUEUE, arrived, assert_clean, assert_understood, config, fleet, lane, mosquitto, stub, tail,
    until_online,
};
use std::collections::BTreeMap;
use std::time::Duration;
use testkit::agent::AgentProcess;
use testkit::checker::{Reading, Rules};
use testkit::clock_control::ClockControl;
use testkit::consumer::Delivered;
use testkit::fake_sqs::{Arrival, Fate, Fault, SqsStub, When};

/// What happens between the lost answers and the resends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Between {
    Nothing,
    Kill,
    Reboot,
}

/// Whether a message as it reached the queue says that it may be a duplicate.
fn says_so(arrival: &Arrival) -> bool {
    let delivered = Delivered {
        message_id: arrival.message_id.clone(),
        body: arrival.body.clone(),
        group: arrival.group.clone(),
        dedup: arrival.dedup.clone(),
        sequence_number: Some("1".into()),
        attributes: BTreeMap::new(),
    };
    Reading::of(&delivered).expect("one of ours").possible_duplicate
}

/// Waits until the lane is parked by more refusals than `before`; gives how many there were. An older refusal's state would
/// leave the next attempt on the wire while minutes pass, and no real request takes so long.
async fn parked(agent: &mut AgentProcess, before: u64) -> u64 {
    let refused = |s: &serde_json::Value| s["queues"][0]["drain"]["faults"]["AccessDenied"].as_u64().unwrap_or(0);
    let parked = |s: &serde_json::Value| s["queues"][0]["drain"]["state"] == "parked" && refused(s) > before;
    refused(&agent.wait_status("parked", LONG, parked).await.unwrap())
}

/// Loses the answers to a full batch, lets `minutes` pass, resumes; gives every arrival of the records in doubt.
async fn lost_and_resumed(minutes: u64, between: Between) -> (SqsStub, Vec<Arrival>, Vec<Arrival>) {
    let (stub, broker) = (stub(), mosquitto().await);
    let mut clock = ClockControl::new().unwrap();
    let mut configuration = config(broker.addr(), &stub);
    configuration.environment.push(clock.environment());
    let mut agent = AgentProcess::start(PROGRAM, configuration.clone()).await.unwrap();
    until_online(&mut agent).await;
    let no = Fault::Refuse { code: "AccessDenied", status: 403 };
    stub.faults().push(no.clone(), When::Always);
    let mut fleet = fleet(broker.addr(), 8, None);
    fleet.publish(40).await.unwrap();
    let refused = parked(&mut agent, 0).await;
    agent.wait_status("all waiting", LONG, |s| lane(s, "waiting") == 40).await.unwrap();
    // The next attempt is one batch: the queue accepts it, and the agent gets no answer. Then the lane is parked again.
    stub.faults().clear();
    stub.faults().push(Fault::AcceptThenDrop, When::Next(1));
    stub.faults().push(no, When::Always);
    agent.rewrite(configuration.clone()).unwrap();
    stub.wait_for(QUEUE, LONG, |counters| counters.accepted > 0).await.unwrap_or_else(|late| panic!("{late}"));
    parked(&mut agent, refused).await;
    let first = stub.log(QUEUE);
    let passed = minutes as i64 * 60_000;
    let low = -(uptime_ms() as i64) + 20_000;
    match between {
        Between::Nothing => clock.move_to(passed, passed, 0).unwrap(),
        Between::Kill => {
            agent.kill().await.unwrap();
            clock.move_to(passed, passed, 0).unwrap();
        }
        Between::Reboot => {
            agent.kill().await.unwrap();
            clock.move_to(passed, low, 1).unwrap();
        }
    }
    stub.advance(Duration::from_millis(passed as u64));
    stub.faults().clear();
    match between {
        Between::Nothing => agent.rewrite(configuration).unwrap(),
        Between::Kill | Between::Reboot => agent.spawn().unwrap(),
    }
    let published = fleet.published();
    let delivered = arrived(&stub, &mut agent, &published).await;
    let verdict = assert_clean(&published, &delivered, Rules::FIFO, &agent);
    assert_understood(&stub);
    let again = stub.log(QUEUE).split_off(first.len());
    println!("{minutes} min, {between:?}: {verdict}; marked {}", verdict.duplicated_marked);
    assert!(!first.is_empty() && first.iter().all(|arrival| matches!(arrival.fate, Fate::Accepted(_))));
    let of_first = |arrival: &Arrival| first.iter().any(|one| one.dedup == arrival.dedup);
    let (resent, fresh): (Vec<Arrival>, Vec<Arrival>) = again.into_iter().partition(of_first);
    assert!(
        first.iter().all(|one| resent.iter().any(|again| again.dedup == one.dedup)),
        "each goes again\n{}",
        tail(&agent.log())
    );
    (stub, resent, fresh)
}

fn uptime_ms() -> u64 {
    let at = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    at.tv_sec as u64 * 1000
}

async fn try_at(minutes: u64, between: Between) {
    let (_stub, resent, fresh) = lost_and_resumed(minutes, between).await;
    let marked = resent.iter().filter(|arrival| says_so(arrival)).count();
    let doubled = resent.iter().filter(|arrival| matches!(arrival.fate, Fate::Accepted(_))).count();
    let what = format!("{minutes} min, {between:?}: {} resent, {marked} marked, {doubled} doubled", resent.len());
    println!("{what}; of {} fresh ones {} marked", fresh.len(), fresh.iter().filter(|a| says_so(a)).count());
    if between == Between::Reboot || minutes >= 4 {
        assert_eq!(marked, resent.len(), "the window may have passed: {what}");
    } else {
        assert_eq!(marked, 0, "the window has surely not passed: {what}");
    }
    assert_eq!(doubled, if minutes >= 5 { resent.len() } else { 0 }, "what the queue can absorb it does: {what}");
    // A fresh record's mark can come of the stride alone, and only where the window may have passed.
    assert!(minutes >= 4 || between == Between::Reboot || !fresh.iter().any(says_so), "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resends_in_one_process_are_marked_beyond_the_window() {
    let tries = [1, 3, 4, 6].map(|minutes| try_at(minutes, Between::Nothing));
    futures_util::future::join_all(tries).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resends_after_a_kill_are_marked_beyond_the_window() {
    let tries = [1, 3, 4, 6].map(|minutes| try_at(minutes, Between::Kill));
    futures_util::future::join_all(tries).await;
}

/// The agent cannot know how long a reboot took: all say so, also within the window.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resends_after_a_reboot_are_all_marked() {
    let tries = [1, 3, 4, 6].map(|minutes| try_at(minutes, Between::Reboot));
    futures_util::future::join_all(tries).await;
}
