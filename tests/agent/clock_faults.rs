//! A clock that says 1970, or is ten years ahead, or jumps: order and delivery do not care, signatures recover, and times
//! say whether they could be told.

use crate::support::{
    Flow, LONG, QUEUE, arrived, arrived_once, assert_clean, assert_understood, config, fleet, mosquitto, online, stub,
    until_found, until_remarked,
};
use serde_json::Value;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use testkit::agent::AgentProcess;
use testkit::broker::Mosquitto;
use testkit::checker::Rules;
use testkit::clock_control::ClockControl;
use testkit::consumer::Delivered;
use testkit::fake_sqs::SqsStub;

const HOUR_MS: i64 = 3_600_000;
const YEAR_MS: i64 = 365 * 24 * HOUR_MS;

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

fn refused_signatures(status: &Value) -> u64 {
    status["queues"][0]["drain"]["faults"]["InvalidSignatureException"].as_u64().unwrap_or(0)
}

/// What each document says of its receipt: the time, if any, and whether it was corrected.
fn receipts(delivered: &[Delivered]) -> Vec<(Option<String>, bool)> {
    let of = |message: &Delivered| {
        let event: Value = serde_json::from_str(&message.body).unwrap();
        (event["recordedtime"].as_str().map(str::to_owned), event["timecorrected"] == true)
    };
    delivered.iter().map(of).collect()
}

/// An agent that goes by `clock` and takes messages.
async fn online_by(clock: &ClockControl, broker: &Mosquitto, stub: &SqsStub) -> AgentProcess {
    let mut configuration = config(broker.addr(), stub);
    configuration.environment.push(clock.environment());
    online(configuration).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_1970_it_delivers_undated_until_the_clock_is_right() {
    let (mut stub, broker) = (stub(), mosquitto().await);
    let mut clock = ClockControl::new().unwrap();
    clock.move_to(100_000_000 - now_ms(), 0, 0).unwrap();
    let mut agent = online_by(&clock, &broker, &stub).await;
    let mut fleet = fleet(broker.addr(), 20, None);
    fleet.publish(60).await.unwrap();
    arrived(&stub, &mut agent, &fleet.published()).await;
    println!("{}", until_remarked(&mut agent, &["the clock is wrong"]).await);
    until_found(&mut agent, "clock_wrong", "waiting").await;
    let refused = refused_signatures(&agent.status().await.unwrap());
    assert!(
        (1..=4).contains(&refused),
        "one refusal teaches the skew; those in the air beside it are refused, too: {refused}"
    );
    stub.close().await;
    fleet.publish(60).await.unwrap();
    agent.wait_status("waiting", LONG, |s| crate::support::lane(s, "waiting") == 60).await.unwrap();
    let before = now_ms();
    // NTP answers; the records that wait are dated by the boot's own clock.
    clock.move_to(0, 0, 0).unwrap();
    stub.open().unwrap();
    arrived(&stub, &mut agent, &fleet.published()).await;
    fleet.publish(60).await.unwrap();
    let published = fleet.published();
    let delivered = arrived(&stub, &mut agent, &published).await;
    assert_clean(&published, &delivered, Rules::FIFO, &agent);
    let said = receipts(&delivered);
    assert!(said[..60].iter().all(|(time, corrected)| time.is_none() && !corrected), "{:?}", said[0]);
    let today = tidegate::clock::rfc3339_ms(before).unwrap();
    let right = |time: &Option<String>| time.as_deref().is_some_and(|time| time[..10] == today[..10]);
    assert!(said[60..120].iter().all(|(time, corrected)| right(time) && *corrected), "{:?}", said[60]);
    assert!(said[120..].iter().all(|(time, corrected)| right(time) && !corrected), "{:?}", said[120]);
    let status = agent.status().await.unwrap();
    assert_eq!(refused_signatures(&status), refused, "a step of the clock costs no signature");
    assert_eq!(status["clock_plausible"], true);
    assert_understood(&stub);
}

/// What each document says of its receipt: how many seconds after `since_ms` it was, and under which mark.
fn dated(delivered: &[Delivered], since_ms: i64) -> Vec<(i64, &'static str)> {
    let of = |message: &Delivered| {
        let event: Value = serde_json::from_str(&message.body).unwrap();
        let at = event["recordedtime"].as_str().expect("a time");
        let at = tidegate::record::event_time::EventTime::parse(at).expect("RFC 3339");
        let mark = ["timecorrected", "timeuncertain"].into_iter().find(|mark| event[mark] == true);
        (at.seconds() - since_ms / 1000, mark.unwrap_or("none"))
    };
    delivered.iter().map(of).collect()
}

/// A file sets the clock at boot, five hours off (ahead, because before its own build the agent would know better).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipts_before_time_synchronisation_say_so_and_are_corrected() {
    let (mut stub, broker) = (stub(), mosquitto().await);
    let mut clock = ClockControl::new().unwrap();
    clock.unsynchronised = true;
    clock.move_to(5 * HOUR_MS, 0, 0).unwrap();
    let since_ms = now_ms();
    let mut agent = online_by(&clock, &broker, &stub).await;
    let mut fleet = fleet(broker.addr(), 20, None);
    fleet.publish(60).await.unwrap();
    arrived(&stub, &mut agent, &fleet.published()).await;
    assert_eq!(agent.status().await.unwrap()["clock_confirmed"], false);
    stub.close().await;
    fleet.publish(60).await.unwrap();
    agent.wait_status("waiting", LONG, |s| crate::support::lane(s, "waiting") == 60).await.unwrap();
    // NTP steps the clock, and says so to the kernel.
    clock.unsynchronised = false;
    clock.move_to(0, 0, 0).unwrap();
    stub.open().unwrap();
    arrived(&stub, &mut agent, &fleet.published()).await;
    // Hours without a time server: the kernel takes its word back, and nothing has stepped the clock.
    clock.unsynchronised = true;
    clock.set().unwrap();
    fleet.publish(60).await.unwrap();
    let published = fleet.published();
    let delivered = arrived(&stub, &mut agent, &published).await;
    assert_clean(&published, &delivered, Rules::FIFO, &agent);
    let ran_s = (now_ms() - since_ms) / 1000 + 1;
    let said = dated(&delivered, since_ms);
    for (index, (after_s, mark)) in said.iter().enumerate() {
        let (wanted, off_s) = [("timeuncertain", 5 * HOUR_MS / 1000), ("timecorrected", 0), ("none", 0)][index / 60];
        assert_eq!(*mark, wanted, "{index}");
        assert!((-1..=ran_s).contains(&(after_s - off_s)), "{index}: {after_s} s after the start, of {ran_s}");
    }
    assert_eq!(agent.status().await.unwrap()["clock_confirmed"], true);
    assert_understood(&stub);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clock_jumps_and_kills_lose_double_and_reorder_nothing() {
    let (stub, broker) = (stub(), mosquitto().await);
    let mut clock = ClockControl::new().unwrap();
    clock.move_to(10 * YEAR_MS, 0, 0).unwrap();
    let mut agent = online_by(&clock, &broker, &stub).await;
    let mut flow = Flow::start(fleet(broker.addr(), 40, Some(300.0)));
    for (step, wall_ms) in
        [10 * YEAR_MS, 0, -3 * HOUR_MS, 10 * YEAR_MS, 1_000 - now_ms(), HOUR_MS, 0].into_iter().enumerate()
    {
        clock.move_to(wall_ms, 0, 0).unwrap();
        let target = stub.counters(QUEUE).accepted + 60;
        flow.more(60).await;
        let gone_on = stub.wait_for(QUEUE, LONG, |counters| counters.accepted >= target).await;
        gone_on.unwrap_or_else(|late| panic!("step {step}, {wall_ms} ms: {late}\n{}", agent.log()));
        if step % 2 == 1 {
            agent.restart().await.unwrap();
        }
    }
    let published = flow.end().await.published();
    arrived_once(&stub, &mut agent, &published).await;
    assert_understood(&stub);
}

/// The time since boot jumps too, as after hours of suspend: what is in doubt then says so, and nothing else happens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hours_of_suspend_leave_order_and_delivery_alone() {
    let (stub, broker) = (stub(), mosquitto().await);
    let mut clock = ClockControl::new().unwrap();
    let mut agent = online_by(&clock, &broker, &stub).await;
    let mut flow = Flow::start(fleet(broker.addr(), 40, Some(300.0)));
    for hours in [1, 30, 1_000] {
        flow.more(60).await;
        clock.move_to(hours * HOUR_MS, hours * HOUR_MS, 0).unwrap();
        stub.advance(Duration::from_millis((hours * HOUR_MS) as u64));
    }
    flow.more(60).await;
    let published = flow.end().await.published();
    let delivered = arrived(&stub, &mut agent, &published).await;
    assert_clean(&published, &delivered, Rules::FIFO, &agent);
    assert_understood(&stub);
}
