//! Looks at everything a few times a second while something else runs, and draws it.

use crate::screen::Screen;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use testkit::http;
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

const PERIOD: Duration = Duration::from_millis(200);
/// An agent that takes longer to answer is shown as down.
const ANSWER: Duration = Duration::from_secs(1);

/// What the row shows.
#[derive(Clone, Default, Debug)]
pub(crate) struct Figures {
    /// The uplink carries.
    pub(crate) uplink: bool,
    /// Messages that the broker acknowledged to the sensors.
    pub(crate) published: u64,
    /// What the agent says; nothing while it does not answer.
    pub(crate) agent: Option<Books>,
    /// Messages that the consumer received.
    pub(crate) delivered: u64,
}

/// The lane's books as the agent's status tells them.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Books {
    pub(crate) appended: u64,
    pub(crate) waiting: u64,
    pub(crate) accepted: u64,
    pub(crate) evicted: u64,
    pub(crate) quarantined: u64,
    pub(crate) damaged: u64,
    pub(crate) lag_s: u64,
    /// Received and not yet durable.
    pub(crate) unacked: u64,
    /// Redeliveries recognised since the agent's last start.
    pub(crate) repeats: u64,
    /// The most urgent remark.
    pub(crate) remark: Option<String>,
}

impl Books {
    /// Reads `/status.json`; nothing until the journal is open and intake runs.
    fn read(status: &Value) -> Option<Books> {
        let (lane, drain) = (&status["queues"][0]["lane"], &status["queues"][0]["drain"]);
        Some(Books {
            appended: lane["appended"].as_u64()?,
            waiting: lane["waiting"].as_u64()?,
            accepted: lane["accepted"].as_u64()?,
            evicted: lane["evicted"].as_u64()?,
            quarantined: lane["quarantined"].as_u64()?,
            damaged: lane["damaged"].as_u64()?,
            lag_s: drain["lag_s"].as_u64()?,
            unacked: status["intake"]["unacked_messages"].as_u64()?,
            repeats: status["intake"]["repeats"].as_u64()?,
            remark: status["remarks"][0].as_str().map(str::to_owned),
        })
    }

    /// Everything appended is somewhere, and nowhere twice.
    pub(crate) fn balance(&self) -> bool {
        self.appended == self.accepted + self.waiting + self.evicted + self.quarantined + self.damaged
    }
}

/// The figures, where they come from, and the screen that shows them.
pub(crate) struct Watch {
    pub(crate) screen: Screen,
    pub(crate) figures: Figures,
    /// The longest lag seen, in seconds.
    pub(crate) longest_lag_s: u64,
    status: SocketAddr,
    published: Receiver<u64>,
    delivered: Receiver<u64>,
}

impl Watch {
    pub(crate) fn new(screen: Screen, status: SocketAddr, published: Receiver<u64>, delivered: Receiver<u64>) -> Watch {
        let figures = Figures { uplink: true, ..Figures::default() };
        Watch { screen, figures, longest_lag_s: 0, status, published, delivered }
    }

    /// Does `work`, and shows the figures meanwhile.
    pub(crate) async fn beside<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        let mut tick = interval(PERIOD);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                _ = tick.tick() => self.look().await,
            }
        }
    }

    /// Shows the figures until `at`.
    pub(crate) async fn until(&mut self, at: Instant) {
        self.beside(tokio::time::sleep_until(at)).await;
    }

    /// Reads the figures now and shows them.
    pub(crate) async fn look(&mut self) {
        let reply = timeout(ANSWER, http::get(self.status, "/status.json")).await;
        let status = reply.ok().and_then(Result::ok).and_then(|reply| serde_json::from_slice(&reply.body).ok());
        self.figures.agent = status.as_ref().and_then(Books::read);
        self.figures.published = *self.published.borrow();
        self.figures.delivered = *self.delivered.borrow();
        let lag_s = self.figures.agent.as_ref().map_or(0, |books| books.lag_s);
        self.longest_lag_s = self.longest_lag_s.max(lag_s);
        self.screen.row(&self.figures);
    }

    /// Something happened.
    pub(crate) fn event(&mut self, text: &str) {
        self.screen.event(text);
    }
}
