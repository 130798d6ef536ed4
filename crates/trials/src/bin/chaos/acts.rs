//! Each fault, done to a world. It counts only what really happened: a fault that found nothing to break proves nothing.

use crate::classes::Act;
use crate::plan::Mix;
use crate::world::{PATIENCE, Undo, World};
use serde_json::Value;
use std::time::Duration;
use testkit::Result;
use testkit::fleet::Fleet;
use testkit::small_disk::SmallDisk;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Messages before and after the broker forgets.
const DOUBLE_FAULT: usize = 40;
/// How much longer each sync takes meanwhile.
const DOUBLE_FAULT_SYNC_MS: u64 = 600;
/// A fault that has found nothing to break for so long is given up: longer than a lane waits between two attempts.
pub(crate) const FIND: Duration = Duration::from_secs(35);
/// After so long the run tells the agent to try at once.
const IMPATIENCE: Duration = Duration::from_millis(300);
/// Looks after which what was on the wire has arrived, [`ON_THE_WIRE`] apart. One long sleep would not do: on a busy machine
/// the peers, who live in this process, may get no time while it passes.
const LOOKS: u32 = 20;
const ON_THE_WIRE: Duration = Duration::from_millis(10);
/// A commit that does not fail on a full disk by then has found space.
const FILLED: Duration = Duration::from_secs(4);
/// Between two looks at something that cannot be awaited.
pub(crate) const LOOK: Duration = Duration::from_millis(5);

/// Waits until what was on the wire to the broker has arrived.
async fn arrived_all() {
    for _ in 0..LOOKS {
        sleep(ON_THE_WIRE).await;
    }
}

impl Act {
    /// Whether it needs every message to be acknowledged by the broker before, and none published meanwhile.
    pub(crate) fn needs_quiet(&self) -> bool {
        matches!(self, Act::KillBroker { .. } | Act::DoubleFault)
    }

    /// Whether something that is still broken would keep this fault from happening: it has to be mended first.
    fn is_hidden_by(&self, undo: &Undo) -> bool {
        let calls = matches!(
            self,
            Act::Endpoint { .. }
                | Act::Park { .. }
                | Act::Filter { .. }
                | Act::KillInDoubt { .. }
                | Act::LoseAnswers { .. }
                | Act::CutUplink
        );
        let calls = calls || self.is_of_own_link();
        let commits = matches!(self, Act::FillDisk { .. } | Act::KillAgentOnFullDisk | Act::SlowDisk { .. });
        match undo {
            // A request that hangs while minutes pass would arrive as no real one does.
            Undo::ThawUplink => calls || matches!(self, Act::Suspend { .. } | Act::Reboot { .. }),
            Undo::OpenUplink | Undo::Mend | Undo::LoudLink => calls,
            Undo::FreeDisk => calls || commits,
            // Without messages there are soon no calls.
            Undo::ThawBroker => calls || commits,
            Undo::GoodLink => self.is_of_own_link(),
            Undo::FastDisk => false,
        }
    }
}

impl World {
    /// Does `act`, which is of the class called `class`.
    pub(crate) async fn suffer(&mut self, class: &'static str, act: &Act) -> Result<()> {
        let hidden_until = self.due.iter().filter(|(_, undo)| act.is_hidden_by(undo)).map(|(at, _)| *at).max();
        if let Some(at) = hidden_until {
            sleep_until(at).await;
        }
        self.undo(Instant::now()).await?;
        let happened = match act {
            Act::KillAgent { .. } | Act::KillAgentOnFullDisk | Act::FreezeAgent { .. } | Act::Reboot { .. } => {
                self.strike_agent(act).await?
            }
            Act::KillInDoubt { later, reboot } => self.kill_in_doubt(*later, *reboot).await?,
            Act::Suspend { .. } | Act::SetWallClock { .. } => self.move_clock(act).await?,
            Act::KillBroker { away } => {
                // What it sends or hears after the save it would not know of: a reading without an identity would come
                // again as a new one. So it has sent all it may, and hears of nothing more.
                self.broker_link.black_hole(true);
                arrived_all().await;
                self.broker.save().await?;
                self.broker.kill().await?;
                self.broker_link.black_hole(false);
                sleep(*away).await;
                self.broker.restart().await?;
                1
            }
            Act::RestartBroker { away } => {
                self.broker.stop().await?;
                sleep(*away).await;
                self.broker.restart().await?;
                1
            }
            Act::DoubleFault => unreachable!("needs the sensors: see double_fault"),
            Act::ReloadFilters { times, pause, killed } => self.reload_filters(*times, *pause, *killed).await?,
            Act::FillDisk { full } => {
                let failed = self.fill_disk().await?;
                self.later(*full, Undo::FreeDisk);
                failed
            }
            Act::SlowDisk { sync_ms, slow } => {
                self.clock.sync_ms = *sync_ms;
                self.clock.set()?;
                self.later(*slow, Undo::FastDisk);
                1
            }
            Act::Endpoint { fault, calls } => {
                let before = self.stub.faults().fired_of(fault.name());
                self.stub.faults().push(fault.clone(), testkit::fake_sqs::When::Next(*calls));
                self.fired(fault.name(), before).await
            }
            Act::Park { code, status, broken } => {
                let before = self.stub.faults().fired_of("refuse");
                let fault = testkit::fake_sqs::Fault::Refuse { code, status: *status };
                self.stub.faults().push(fault, testkit::fake_sqs::When::Always);
                self.later(*broken, Undo::Mend);
                self.fired("refuse", before).await
            }
            Act::Filter { text, fault, shut } => {
                let before = self.stub.faults().fired_of(fault.name());
                self.stub.faults().push(fault.clone(), testkit::fake_sqs::When::Holds(text));
                self.later(*shut, Undo::Mend);
                self.fired(fault.name(), before).await
            }
            Act::CutBroker
            | Act::FreezeBroker { .. }
            | Act::CutUplink
            | Act::FreezeUplink { .. }
            | Act::RefuseUplink { .. }
            | Act::LoseAnswers { .. } => self.strike_link(act).await?,
            Act::SlowLink { .. } | Act::LossyLink { .. } | Act::SilentLink { .. } | Act::MovedLink { .. } => {
                self.strike_own_link(act).await?
            }
        };
        self.count(class, happened);
        Ok(())
    }

    async fn strike_agent(&mut self, act: &Act) -> Result<u64> {
        match act {
            Act::FreezeAgent { still } => {
                self.agent.freeze()?;
                sleep(*still).await;
                self.agent.thaw()?;
            }
            Act::KillAgent { away } => {
                self.agent.kill().await?;
                sleep(*away).await;
                self.agent.spawn()?;
            }
            Act::Reboot { later } => {
                self.agent.kill().await?;
                self.pass(*later, true).await?;
                self.agent.spawn()?;
            }
            Act::KillAgentOnFullDisk => {
                let failed = self.fill_disk().await?;
                self.agent.kill().await?;
                self.disk.as_ref().map_or(Ok(()), SmallDisk::clear)?;
                self.agent.spawn()?;
                return Ok(failed);
            }
            _ => {}
        }
        Ok(1)
    }

    /// Time passes for the agent, and then for the queue, too: what the agent takes for old is at least as old. What was
    /// on the wire arrives before: a request that takes minutes is none that the agent has to reckon with.
    async fn pass(&mut self, time: Duration, reboot: bool) -> Result<()> {
        // The agent is frozen and cut off, or dead. A fixed wait is not enough: on a busy machine a request lay unread in the
        // queue's socket, or in a connection that the link had not accepted yet, while the rig let six minutes go by. No real
        // service reads a request from a connection that has been silent for so long.
        let open = self.uplink.is_open();
        self.uplink.close().await;
        self.stub.ended(&self.uplink.ports(), PATIENCE).await?;
        self.clock.boot += u8::from(reboot);
        self.clock.boottime_ms += time.as_millis() as i64;
        self.clock.set()?;
        self.stub.advance(time);
        if open { self.uplink.open() } else { Ok(()) }
    }

    async fn move_clock(&mut self, act: &Act) -> Result<u64> {
        match act {
            Act::Suspend { asleep } => {
                // It is stopped over the jump, as in a suspend; no connection lives that long.
                self.agent.freeze()?;
                self.pass(*asleep, false).await?;
                self.agent.thaw()?;
            }
            Act::SetWallClock { ahead_ms } => {
                self.clock.wall_ms = *ahead_ms;
                self.clock.set()?;
            }
            _ => {}
        }
        Ok(1)
    }

    /// Other filters for the same topics, by SIGHUP, again and again; counts those that came into effect.
    async fn reload_filters(&mut self, times: u32, pause: Duration, killed: bool) -> Result<u64> {
        for _ in 0..times {
            // An agent that does not answer yet may not listen to signals yet either.
            self.agent.wait_ready(PATIENCE).await?;
            let config = self.next_filters();
            self.agent.reload(config)?;
            sleep(pause).await;
        }
        if killed {
            self.agent.kill().await?;
            self.agent.spawn()?;
        }
        let wanted = self.filters();
        let asked = |s: &Value| {
            let routes = s["intake"]["routes"].as_array();
            let filters =
                routes.into_iter().flatten().flat_map(|route| route["filters"].as_array().into_iter().flatten());
            filters.filter_map(|filter| filter["filter"].as_str()).eq(wanted.iter().map(String::as_str))
        };
        self.agent.wait_status("other filters", PATIENCE, asked).await.map(|_| u64::from(times))
    }

    async fn kill_in_doubt(&mut self, later: Duration, reboot: bool) -> Result<u64> {
        let name = testkit::fake_sqs::Fault::AcceptThenDrop.name();
        let before = self.stub.faults().fired_of(name);
        self.stub.faults().push(testkit::fake_sqs::Fault::AcceptThenDrop, testkit::fake_sqs::When::Next(4));
        let happened = self.fired(name, before).await;
        self.agent.kill().await?;
        self.pass(later, reboot).await?;
        self.agent.spawn()?;
        Ok(happened.min(1))
    }

    async fn strike_link(&mut self, act: &Act) -> Result<u64> {
        match act {
            Act::CutBroker => self.broker_link.cut(),
            Act::CutUplink => self.uplink.cut(),
            Act::FreezeBroker { still } => {
                self.broker_link.black_hole(true);
                self.later(*still, Undo::ThawBroker);
            }
            Act::FreezeUplink { still } => {
                self.uplink.black_hole(true);
                self.later(*still, Undo::ThawUplink);
            }
            Act::RefuseUplink { away } => {
                self.uplink.close().await;
                self.later(*away, Undo::OpenUplink);
            }
            Act::LoseAnswers { count } => {
                let before = self.uplink.answers_dropped();
                self.uplink.drop_answers(*count);
                return Ok(self.find(|world| world.uplink.answers_dropped() - before).await);
            }
            _ => {}
        }
        Ok(1)
    }

    /// Waits until a fault that was armed has fired at all; gives how often it has.
    async fn fired(&mut self, name: &'static str, before: u64) -> u64 {
        self.find(|world| world.stub.faults().fired_of(name) - before).await
    }

    /// Looks until `count` is not 0, or gives up; gives the count. A lane that failed often pauses for up to 30 s before
    /// it would run into the next fault; a person who cannot wait tells it to try now.
    async fn find(&mut self, count: impl Fn(&World) -> u64) -> u64 {
        let start = Instant::now();
        let mut told = start;
        while count(self) == 0 && start.elapsed() < FIND {
            sleep(LOOK).await;
            // An agent that does not answer yet may not listen to signals yet either.
            if told.elapsed() > IMPATIENCE && self.agent.status().await.is_ok() {
                let _ = self.agent.retry();
                told = Instant::now();
            }
        }
        count(self)
    }

    /// Fills the disk and waits until a commit fails on it.
    async fn fill_disk(&mut self) -> Result<u64> {
        let Some(disk) = &self.disk else { return Ok(0) };
        disk.fill(0)?;
        let failing = |s: &Value| s["journal"]["writer"]["state"] != "fine";
        Ok(u64::from(self.agent.wait_status("a failing commit", FILLED, failing).await.is_ok()))
    }

    /// Late acks of a dead connection meet new messages under the old packet ids: the broker forgets its sessions while a
    /// commit is slow, and the agent is killed between the late tickets and the next commit. A right agent loses
    /// nothing: what the broker forgot had reached it and is durable before the kill, and the rest the broker still has.
    pub(crate) async fn double_fault(&mut self, class: &'static str, fleet: &mut Fleet) -> Result<()> {
        self.undo(Instant::now() + PATIENCE).await?;
        self.mend()?;
        // A broker that has just forgotten everything counts its packet ids from 1; so will the next one.
        if !self.forgotten(fleet).await? {
            return Ok(());
        }
        let (before, old) = self.received().await?;
        self.clock.sync_ms = DOUBLE_FAULT_SYNC_MS;
        self.clock.set()?;
        fleet.publish(DOUBLE_FAULT).await?;
        let messages = (DOUBLE_FAULT * fleet.topics_each()) as u64;
        let all = |s: &Value| s["intake"]["received"].as_u64() >= Some(before + messages);
        self.agent.wait_status("all received", PATIENCE, all).await?;
        self.broker_forgets().await?;
        // The first of them is a commit, the others are the next one, which has begun; what comes now is in a third.
        self.durable(old + 1).await?;
        fleet.publish(DOUBLE_FAULT).await?;
        // Everything old is durable, and with it the late tickets are out.
        self.durable(old + DOUBLE_FAULT as u64).await?;
        sleep(Duration::from_millis(DOUBLE_FAULT_SYNC_MS / 4)).await;
        self.agent.kill().await?;
        self.clock.sync_ms = 0;
        self.clock.set()?;
        self.agent.spawn()?;
        self.count(class, 1);
        Ok(())
    }

    /// The broker forgets everything, when all that it was given is durable with the agent. `false`: that never was, so
    /// something is lost already, and the run had better come to its judgement.
    async fn forgotten(&mut self, fleet: &mut Fleet) -> Result<bool> {
        if self.shape.mix == Mix::Window {
            // What it held back behind QoS 0 traffic comes on the next connection.
            self.connected_anew().await?;
        }
        // A broker hands over in order: once its last message has reached the queue, it holds nothing more. A lane that failed often need
        // not wait out its pause to show it.
        self.agent.wait_ready(PATIENCE).await?;
        self.agent.retry()?;
        fleet.publish(1).await?;
        let last = fleet.last_id();
        if timeout(PATIENCE / 2, self.arrived(&last)).await.is_err() {
            return Ok(false);
        }
        self.broker_forgets().await.map(|()| true)
    }

    async fn arrived(&self, id: &str) {
        while !self.has_arrived(id) {
            sleep(4 * LOOK).await;
        }
    }

    /// Waits until `count` records are durable in the first lane.
    async fn durable(&mut self, count: u64) -> Result<()> {
        let durable = |s: &Value| s["journal"]["lanes"][0]["appended"].as_u64() >= Some(count);
        self.agent.wait_status("so many durable", PATIENCE, durable).await.map(drop)
    }

    /// The broker comes back without its memory; waits until the agent is online with it.
    async fn broker_forgets(&mut self) -> Result<()> {
        let before = self.agent.status().await?["intake"]["connections"].as_u64();
        self.broker.forget().await?;
        self.broker.restart().await?;
        self.connection_after(before).await
    }

    /// Cuts the agent off from the broker, and waits until it is back.
    pub(crate) async fn connected_anew(&mut self) -> Result<()> {
        self.agent.wait_ready(PATIENCE).await?;
        let before = self.agent.status().await?["intake"]["connections"].as_u64();
        self.broker_link.cut();
        self.connection_after(before).await
    }

    async fn connection_after(&mut self, before: Option<u64>) -> Result<()> {
        let another = |s: &Value| s["intake"]["connections"].as_u64() > before;
        self.agent.wait_status("another connection", PATIENCE, another).await?;
        self.online().await
    }

    /// Messages received by this agent process, and records in the first lane.
    async fn received(&self) -> Result<(u64, u64)> {
        let status = self.agent.status().await?;
        let of = |value: &Value| value.as_u64().unwrap_or(0);
        Ok((of(&status["intake"]["received"]), of(&status["journal"]["lanes"][0]["appended"])))
    }
}
