//! The script: messages flow, the uplink is cut, the agent is killed while records wait, it comes back, the uplink comes
//! back, everything drains.
//!
//! The outage takes from a quarter to three fifths of the time, 20 s at most. The cut is the cruel kind: answers to
//! batches that the queue has accepted are lost, so that the agent must send them again without knowing. The kill comes
//! at a moment within the outage that the seed decides, and the power stays away for up to two seconds.

use crate::customer::Customer;
use crate::failure::Failure;
use crate::options::Options;
use crate::scene::Scene;
use crate::screen::Screen;
use crate::watch::{Books, Figures, Watch};
use std::time::Duration;
use testkit::checker::Published;
use testkit::consumer::Delivered;
use testkit::fleet::Fleet;
use testkit::random::Random;
use tokio::time::{Instant, timeout};

/// Answers to lose at the cut.
const ANSWERS: u64 = 2;
/// Without any progress for so long it is given up; the agent's longest pause between attempts is 30 s here.
const PATIENCE: Duration = Duration::from_secs(40);
/// Between two looks at something that cannot be awaited.
const LOOK: Duration = Duration::from_millis(100);

/// What came of it.
pub(crate) struct Played {
    pub(crate) published: Published,
    pub(crate) delivered: Vec<Delivered>,
    /// The agent's last word.
    pub(crate) books: Option<Books>,
    /// Most resident memory of either of the agent's lives, bytes.
    pub(crate) peak_memory: u64,
    pub(crate) longest_lag_s: u64,
    /// From the uplink's return until no record was late.
    pub(crate) caught_up: Option<Duration>,
}

/// When what happens, from the start.
struct Times {
    cut: Duration,
    kill: Duration,
    /// How long the agent stays dead.
    dead: Duration,
    restore: Duration,
}

impl Times {
    fn new(options: &Options) -> Times {
        let whole = Duration::from_secs(options.seconds.into());
        let cut = whole.mul_f64(0.25);
        let outage = whole.mul_f64(0.35).min(Duration::from_secs(20));
        let part = 0.3 + 0.4 * (Random::seeded(options.seed).below(1000) as f64 / 1000.0);
        let dead = whole.mul_f64(0.07).min(Duration::from_secs(2));
        Times { cut, kill: cut + outage.mul_f64(part), dead, restore: cut + outage }
    }
}

/// Plays it through.
pub(crate) async fn play(scene: &mut Scene, options: &Options, mut screen: Screen) -> Result<Played, Failure> {
    let times = Times::new(options);
    let mut fleet = Fleet::new(scene.fleet.clone());
    let customer = Customer::start(&scene.stub);
    screen.start_clock();
    let mut watch = Watch::new(screen, scene.agent.status_addr(), fleet.progress(), customer.count());
    let start = Instant::now();
    let (count, whole) =
        (options.rate as usize * options.seconds as usize, Duration::from_secs(options.seconds.into()));
    let publishing = tokio::spawn(async move { publish(&mut fleet, count, whole).await.map(|()| fleet) });

    watch.until(start + times.cut).await;
    cut(scene, &mut watch, (times.kill - times.cut) / 2).await;
    watch.until(start + times.kill).await;
    let first_peak = kill(scene, &mut watch).await?;
    watch.beside(tokio::time::sleep(times.dead)).await;
    bring_back(scene, &mut watch).await?;
    watch.until(start + times.restore).await;
    let caught_up = restore(scene, &mut watch).await?;

    let next = "see that the machine is not overloaded, or lower --rate";
    let published = watch.beside(publishing).await;
    let fleet = published
        .map_err(|error| Failure::new(format!("the sensors: {error}"), next))?
        .map_err(Failure::at("the sensors", next))?;
    let published = fleet.published();
    let sent = published.confirmed() as u64;
    watch.event(&format!("sensors done: the broker acknowledged {sent} messages"));
    drain(&mut watch, sent).await;
    let peak_memory = scene.agent.memory().map_or(first_peak, |memory| memory.peak.max(first_peak));
    let delivered = watch.beside(customer.finish()).await?;
    watch.look().await;
    let Watch { figures, longest_lag_s, .. } = watch;
    Ok(Played { published, delivered, books: figures.agent, peak_memory, longest_lag_s, caught_up })
}

/// Publishes `count` messages at the fleet's rate, or as many of them as the broker takes in time.
async fn publish(fleet: &mut Fleet, count: usize, within: Duration) -> testkit::Result<()> {
    match timeout(within + Duration::from_secs(1), fleet.publish(count)).await {
        Ok(published) => published,
        // Too fast for this machine: what is on its way is finished, and the verdict counts what was published.
        Err(_) => fleet.publish(0).await,
    }
}

/// Loses a few answers, then refuses everything.
async fn cut(scene: &mut Scene, watch: &mut Watch, at_most: Duration) {
    scene.uplink.drop_answers(ANSWERS);
    let uplink = &scene.uplink;
    let lost = async {
        while uplink.answers_dropped() < ANSWERS {
            tokio::time::sleep(LOOK / 20).await;
        }
    };
    // With few messages there may be no answer to lose.
    let _ = watch.beside(timeout(at_most.min(Duration::from_secs(1)), lost)).await;
    scene.uplink.close().await;
    scene.uplink.drop_answers(0);
    watch.figures.uplink = false;
    let lost = scene.uplink.answers_dropped();
    watch.event(&format!("uplink cut; the queue's answers to {lost} batches were lost on the way"));
}

/// Kills the agent; its peak memory until then.
async fn kill(scene: &mut Scene, watch: &mut Watch) -> Result<u64, Failure> {
    watch.look().await;
    let (books, link) = (watch.figures.agent.clone(), "the agent ended before it was to be killed");
    let Some(books) = books else {
        let words = scene.agent.log();
        return Err(Failure::new(format!("{link}; it said:\n{}", words.trim_end()), "this is a bug worth reporting"));
    };
    if let Some(remark) = &books.remark {
        watch.event(&format!("agent says: {remark}"));
    }
    let memory = scene.agent.memory().map_err(Failure::at("reading the agent's memory", "is /proc mounted?"))?;
    let killing = "see that no other program minds this one's processes";
    scene.agent.kill().await.map_err(Failure::at("killing the agent", killing))?;
    watch.event(&format!("agent killed (SIGKILL) with {} records waiting in its journal", books.waiting));
    Ok(memory.peak)
}

/// Starts the agent again.
async fn bring_back(scene: &mut Scene, watch: &mut Watch) -> Result<(), Failure> {
    let start = Instant::now();
    watch.beside(scene.start_agent()).await?;
    let took = start.elapsed().as_secs_f64();
    watch.look().await;
    let waiting = watch.figures.agent.as_ref().map_or(0, |books| books.waiting);
    watch.event(&format!("agent back in {took:.1} s with {waiting} records waiting"));
    Ok(())
}

/// Lets the uplink carry again; how long it took until no record was late.
async fn restore(scene: &mut Scene, watch: &mut Watch) -> Result<Option<Duration>, Failure> {
    let next = "another program took the uplink's port: try again";
    scene.uplink.open().map_err(Failure::at("restoring the uplink", next))?;
    watch.figures.uplink = true;
    watch.event("uplink restored");
    let start = Instant::now();
    let caught_up = |figures: &Figures| figures.agent.as_ref().is_some_and(|books| books.lag_s == 0);
    if !progress_until(watch, caught_up).await {
        return Ok(None);
    }
    let took = start.elapsed();
    watch.event(&format!("caught up after {:.1} s", took.as_secs_f64()));
    Ok(Some(took))
}

/// Waits until the agent has taken and handed over everything, or nothing moves any more: then the verdict says it.
async fn drain(watch: &mut Watch, sent: u64) {
    let drained = |figures: &Figures| {
        figures.agent.as_ref().is_some_and(|b| b.appended >= sent && b.waiting == 0 && b.unacked == 0)
    };
    if !progress_until(watch, drained).await {
        return;
    }
    match &watch.figures.agent {
        Some(Books { evicted: 0, quarantined: 0, damaged: 0, .. }) | None => {
            watch.event("everything accepted; the customer reads the rest");
        }
        Some(b) => {
            let (evicted, quarantined, damaged) = (b.evicted, b.quarantined, b.damaged);
            let text = format!("evicted {evicted}, quarantined {quarantined}, damaged {damaged}");
            watch.event(&format!("nothing waits any more, but the agent gave up records: {text}"));
        }
    }
}

/// Shows the figures until `done`; false when nothing moved for [`PATIENCE`].
async fn progress_until(watch: &mut Watch, done: impl Fn(&Figures) -> bool) -> bool {
    let moved = |figures: &Figures| {
        let books = figures.agent.as_ref().map(|books| (books.appended, books.accepted));
        (books, figures.delivered)
    };
    let (mut last, mut since) = (moved(&watch.figures), Instant::now());
    loop {
        watch.until(Instant::now() + LOOK).await;
        if done(&watch.figures) {
            return true;
        }
        let now = moved(&watch.figures);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        if since.elapsed() > PATIENCE {
            watch.event(&format!("given up: nothing has moved for {} s", PATIENCE.as_secs()));
            return false;
        }
    }
}
