//! One seed from its start to its judgement.

use crate::classes::{Act, CLASSES};
use crate::plan::{Lanes, Mix, Plan, Shape};
use crate::world::{BARE, BARE_QOS0, QUEUE, Setting, World};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use testkit::Result;
use testkit::checker::{BareVerdict, Rules, Verdict, adopt, judge, judge_bare};
use testkit::fake_sqs::Arrival;
use testkit::fleet::Fleet;
use testkit::ids::SmallIds;
use tokio::time::sleep;

/// Messages at the end, when everything works again.
const LAST: usize = 40;

/// Messages at a time while a fault lasts longer than its burst, and the pause after them.
const TRICKLE: usize = 10;
const TRICKLE_PAUSE: Duration = Duration::from_millis(50);

/// What came of a seed.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) seed: u64,
    /// Of each queue.
    pub(crate) verdicts: Vec<Verdict>,
    /// Of messages without identity.
    pub(crate) bare: BareVerdict,
    pub(crate) shape: Shape,
    /// How often the broker gave a packet id that had meant another message.
    pub(crate) reused_ids: u64,
    /// What else is wrong, in words.
    pub(crate) offences: Vec<String>,
    /// How often each class was really injected.
    pub(crate) tally: BTreeMap<&'static str, u64>,
    pub(crate) took: Duration,
    /// The agent's log, when something is wrong.
    pub(crate) log: String,
}

impl Outcome {
    /// Whether every promise was kept.
    pub(crate) fn is_clean(&self) -> bool {
        self.offences.is_empty() && self.bare.is_clean() && self.verdicts.iter().all(Verdict::is_clean)
    }
}

/// Plays a plan in its own world.
pub(crate) async fn run(setting: &Setting, plan: &Plan) -> Result<Outcome> {
    let start = Instant::now();
    let mut world = World::start(setting, plan).await?;
    let mut outcome = Outcome {
        seed: plan.seed,
        verdicts: Vec::new(),
        bare: BareVerdict::default(),
        shape: plan.shape,
        reused_ids: 0,
        offences: Vec::new(),
        tally: BTreeMap::new(),
        took: Duration::ZERO,
        log: String::new(),
    };
    // What does not come to its end is an offence of the agent's until shown otherwise.
    if let Err(error) = play(&mut world, plan, setting.steps, &mut outcome).await {
        outcome.offences.push(format!("not to its end: {error}"));
    }
    world.agent.kill().await?;
    if !outcome.is_clean() {
        outcome.log = world.agent.log();
    }
    outcome.tally = std::mem::take(&mut world.tally);
    outcome.reused_ids = world.small_ids.as_ref().map_or(0, SmallIds::reused);
    outcome.took = start.elapsed();
    Ok(outcome)
}

async fn play(world: &mut World, plan: &Plan, tell: bool, outcome: &mut Outcome) -> Result<()> {
    let mut fleet = world.fleet(plan.seed);
    let mut bare = world.bare_fleet(plan.seed, false);
    let mut weak = world.bare_fleet(plan.seed, true);
    let weak_share = if plan.shape.mix == Mix::None { 0 } else { 5 };
    for step in &plan.steps {
        world.undo(tokio::time::Instant::now()).await?;
        let (class, start) = (CLASSES[step.class].name, Instant::now());
        if step.act == Act::DoubleFault {
            world.double_fault(class, &mut fleet).await?;
        } else if step.act.needs_quiet() {
            world.suffer(class, &step.act).await?;
            let weak = weak.publish(step.burst * weak_share / 25);
            let (keyed, bare, weak) = tokio::join!(fleet.publish(step.burst), bare.publish(step.burst / 5), weak);
            keyed.and(bare).and(weak)?;
        } else {
            let over = AtomicBool::new(false);
            let suffer = async {
                sleep(step.after).await;
                let suffered = world.suffer(class, &step.act).await;
                over.store(true, Relaxed);
                suffered
            };
            let keyed = flow(&mut fleet, step.burst, &over);
            let weak = weak.publish(step.burst * weak_share / 25);
            let (keyed, bare, weak, suffered) = tokio::join!(keyed, bare.publish(step.burst / 5), weak, suffer);
            keyed.and(bare).and(weak).and(suffered)?;
        }
        if tell {
            println!("seed {}: {:5.1} s  {class}: {:?}", plan.seed, start.elapsed().as_secs_f64(), step.act);
        }
    }
    world.heal().await?;
    fleet.publish(LAST).await?;
    if plan.shape.mix == Mix::Window {
        world.connected_anew().await?;
    }
    let ended = world.drained(&fleet.last_id()).await;
    let counts = judge_all(world, plan.shape, [&fleet, &bare, &weak], outcome);
    outcome.offences.extend(world.stub.unexpected().into_iter().map(|what| format!("the queue did not know: {what}")));
    outcome.offences.extend(world.stub.denied().into_iter().map(|what| format!("without permission: {what}")));
    outcome.offences.extend(arrivals(world, &outcome.verdicts));
    books(&ended?, &counts, &mut outcome.offences);
    Ok(())
}

/// Judges what each queue has; gives how many records each lane should have had.
fn judge_all(world: &World, shape: Shape, fleets: [&Fleet; 3], outcome: &mut Outcome) -> [u64; 2] {
    let [fleet, bare, weak] = fleets;
    let (published, delivered) = (fleet.published(), world.stub.accepted(QUEUE));
    let ordered = shape.mix != Mix::Window;
    let mut all = published.clone();
    for prefix in BARE {
        let sent: Vec<_> = bare.sendings().iter().filter(|sent| sent.topic.starts_with(prefix)).cloned().collect();
        outcome.bare.add(judge_bare(&sent, &delivered, prefix, ordered));
        adopt(&mut all, &delivered, prefix);
    }
    // A broker sends QoS 0 past what waits in its queue.
    outcome.bare.add(judge_bare(weak.sendings(), &delivered, BARE_QOS0, false));
    adopt(&mut all, &delivered, BARE_QOS0);
    let fifo = Rules { ordered, ..Rules::FIFO };
    outcome.verdicts.push(judge(&all, &delivered, fifo));
    let mut counts = [all.confirmed() as u64, published.confirmed() as u64];
    if let Some(second) = world.second_queue() {
        let (published, rules) = match shape.lanes {
            Lanes::Apart => (fleet.published_copies(), fifo),
            _ => (published, Rules::STANDARD),
        };
        counts[1] = published.confirmed() as u64;
        outcome.verdicts.push(judge(&published, &world.stub.accepted(second), rules));
    }
    counts
}

/// When and how the first record came that was doubled, and the one on the first position that is missing: what the queue
/// knows about them.
fn arrivals(world: &World, verdicts: &[Verdict]) -> Vec<String> {
    let details = || verdicts.iter().flat_map(|verdict| &verdict.details);
    let log = world.stub.log(QUEUE);
    let word = |text: &str, at: usize| text.split(' ').nth(at).map(str::to_owned);
    let doubled = details().find(|text| text.contains("was delivered again")).and_then(|text| word(text, 0));
    let missing =
        details().find(|text| text.starts_with("position ")).and_then(|text| word(text, 1)?.parse::<u64>().ok());
    // A record on a missing position may have been absorbed as another's repeat.
    let missing = missing.and_then(|position| {
        let there = log.iter().find(|arrival| arrival.body.contains(&format!("-{position:020}")))?;
        let event: Value = serde_json::from_str(&there.body).ok()?;
        event["id"].as_str().map(str::to_owned)
    });
    let start = log.first().map_or(0, |arrival| arrival.at_ms);
    let tell = |id: &str, arrival: &Arrival| {
        let event: Value = serde_json::from_str(&arrival.body).unwrap_or_default();
        format!(
            "{id}: call {} at {} ms of the queue: {:?}, sequence {}, recorded {}, kind of duplicate {}",
            arrival.call,
            arrival.at_ms - start,
            arrival.fate,
            event["sequence"],
            event["recordedtime"],
            event["duplicatekind"],
        )
    };
    let of = |id: String| {
        let mut lines: Vec<_> =
            log.iter().filter(|arrival| arrival.body.contains(&id)).map(|arrival| tell(&id, arrival)).collect();
        lines.truncate(8);
        lines
    };
    doubled.into_iter().chain(missing).flat_map(of).collect()
}

/// Publishes `burst` messages, and then a few at a time until the fault is over: it needs something to break.
async fn flow(fleet: &mut Fleet, burst: usize, over: &AtomicBool) -> Result<()> {
    fleet.publish(burst).await?;
    while !over.load(Relaxed) {
        fleet.publish(TRICKLE).await?;
        sleep(TRICKLE_PAUSE).await;
    }
    Ok(())
}

/// The agent's own books: nothing but what was published, all of it accepted, and the sums right.
fn books(status: &Value, counts: &[u64], offences: &mut Vec<String>) {
    for (lane, &count) in status["journal"]["lanes"].as_array().into_iter().flatten().zip(counts) {
        let of = |name: &str| lane[name].as_u64().unwrap_or(u64::MAX);
        if of("accepted") != count || of("appended") != count {
            offences.push(format!("books of a lane: {count} published, but {lane}"));
        }
    }
}
