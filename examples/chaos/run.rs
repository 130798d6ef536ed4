//! One seed from its start to its judgement.

use crate::plan::{Act, CLASSES, Plan};
use crate::world::{AUDIT, BARE, QUEUE, Setting, World};
use proving::Result;
use proving::checker::{Rules, Verdict, adopt, judge, judge_bare};
use proving::fleet::Fleet;
use proving::stub::Arrival;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Messages at the end, when everything works again.
const LAST: usize = 40;

/// Messages at a time while a fault goes on for longer than its burst, and the pause after them.
const TRICKLE: usize = 10;
const TRICKLE_PAUSE: Duration = Duration::from_millis(50);

/// What came of a seed.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) seed: u64,
    /// Of each queue.
    pub(crate) verdicts: Vec<Verdict>,
    /// Messages without identity that the broker acknowledged.
    pub(crate) bare: usize,
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
        self.offences.is_empty() && self.verdicts.iter().all(Verdict::is_clean)
    }
}

/// Plays a plan in a world of its own.
pub(crate) async fn run(setting: &Setting, plan: &Plan) -> Result<Outcome> {
    let start = Instant::now();
    let mut world = World::start(setting, plan.seed, plan.two_queues).await?;
    let mut outcome = Outcome {
        seed: plan.seed,
        verdicts: Vec::new(),
        bare: 0,
        offences: Vec::new(),
        tally: BTreeMap::new(),
        took: Duration::ZERO,
        log: String::new(),
    };
    // What does not come to its end is an offence of the agent's until somebody shows otherwise.
    if let Err(error) = play(&mut world, plan, setting.steps, &mut outcome).await {
        outcome.offences.push(format!("not to its end: {error}"));
    }
    world.agent.kill().await?;
    if !outcome.is_clean() {
        outcome.log = world.agent.log();
    }
    outcome.tally = std::mem::take(&mut world.tally);
    outcome.took = start.elapsed();
    Ok(outcome)
}

async fn play(world: &mut World, plan: &Plan, tell: bool, outcome: &mut Outcome) -> Result<()> {
    let mut fleet = world.fleet(plan.seed);
    let mut bare = world.bare_fleet(plan.seed);
    for step in &plan.steps {
        world.undo(tokio::time::Instant::now())?;
        let (class, start) = (CLASSES[step.class].name, Instant::now());
        if step.act == Act::DoubleFault {
            world.double_fault(class, &mut fleet).await?;
        } else if step.act.needs_quiet() {
            world.suffer(class, &step.act).await?;
            let (keyed, bare) = tokio::join!(fleet.publish(step.burst), bare.publish(step.burst / 5));
            keyed.and(bare)?;
        } else {
            let over = AtomicBool::new(false);
            let suffer = async {
                sleep(step.after).await;
                let suffered = world.suffer(class, &step.act).await;
                over.store(true, Relaxed);
                suffered
            };
            let keyed = flow(&mut fleet, step.burst, &over);
            let (keyed, bare, suffered) = tokio::join!(keyed, bare.publish(step.burst / 5), suffer);
            keyed.and(bare).and(suffered)?;
        }
        if tell {
            println!("seed {}: {:5.1} s  {class}: {:?}", plan.seed, start.elapsed().as_secs_f64(), step.act);
        }
    }
    world.heal().await?;
    fleet.publish(LAST).await?;
    let (published, bare) = (fleet.published(), bare.published());
    let count = published.confirmed() as u64;
    let ended = world.drained(&fleet.last_id()).await;
    let delivered = world.stub.accepted(QUEUE);
    outcome.offences.extend(judge_bare(&bare, &delivered, BARE));
    outcome.bare = bare.confirmed();
    let mut all = published.clone();
    adopt(&mut all, &delivered, BARE);
    outcome.verdicts.push(judge(&all, &delivered, Rules::FIFO));
    if plan.two_queues {
        outcome.verdicts.push(judge(&published, &world.stub.accepted(AUDIT), Rules::STANDARD));
    }
    outcome.offences.extend(world.stub.unexpected().into_iter().map(|what| format!("the queue did not know: {what}")));
    outcome.offences.extend(world.stub.denied().into_iter().map(|what| format!("without permission: {what}")));
    outcome.offences.extend(arrivals(world, &outcome.verdicts));
    books(&ended?, &[all.confirmed() as u64, count], &mut outcome.offences);
    Ok(())
}

/// When and how the first record came that was doubled: what the queue knows about it.
fn arrivals(world: &World, verdicts: &[Verdict]) -> Vec<String> {
    let doubled =
        verdicts.iter().flat_map(|verdict| &verdict.details).find(|text| text.contains("was delivered again"));
    let Some(id) = doubled.and_then(|text| text.split(' ').next()) else { return Vec::new() };
    let log = world.stub.log(QUEUE);
    let start = log.first().map_or(0, |arrival| arrival.at_ms);
    let of_it = log.iter().filter(|arrival| arrival.body.contains(id));
    let tell = |arrival: &Arrival| {
        let says = arrival.body.contains("possibleduplicate");
        format!(
            "{id}: call {} at {} ms of the queue: {:?}, says so: {says}",
            arrival.call,
            arrival.at_ms - start,
            arrival.fate
        )
    };
    of_it.map(tell).collect()
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
