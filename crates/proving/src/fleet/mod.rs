//! LoRaWAN sensors behind a ChirpStack v4 network server: one connection, many devices, QoS 1.
//!
//! The network server publishes for all of its devices over one connection, and so do we. An uplink counts as published
//! once the broker acknowledged it. When the connection breaks, everything unacknowledged is published again, oldest
//! first and with the same payload, before anything newer: so the first occurrences of a device's uplinks reach the
//! broker in order, and one `deduplicationId` stays one record however often the broker has seen it.

mod uplink;

pub use uplink::{Device, EQUAL_READINGS, Uplink, record_id};

use crate::checker::{Item, Published};
use crate::random::{Random, fresh_seed};
use crate::{Error, Result};
use rumqttc::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, Outgoing, Packet, QoS};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

/// Pause before connecting again; a broker that restarts is back within a few of them.
const RECONNECT: Duration = Duration::from_millis(50);

/// Which devices, how fast, to which broker.
#[derive(Clone, Debug)]
pub struct FleetOptions {
    /// Broker, plain TCP.
    pub broker: SocketAddr,
    /// Client id of the network server.
    pub client_id: String,
    /// User and password.
    pub credentials: Option<(String, String)>,
    /// Number of devices.
    pub devices: usize,
    /// Uplinks per second over all devices; `None`: as fast as the broker acknowledges.
    pub rate: Option<f64>,
    /// Most uplinks sent and not yet acknowledged.
    pub window: u16,
    /// Seed of ids, payloads and the choice of devices. Two fleets with one seed publish the same ids.
    pub seed: u64,
    /// Sensors whose messages carry no identity at all, and often equal the one before ([`Device::bare_reading`]): to be
    /// judged by [`crate::checker::judge_bare`].
    pub bare: bool,
    /// How long the broker may stay away or acknowledge nothing before publishing is given up.
    pub patience: Duration,
}

impl FleetOptions {
    /// `devices` devices at full speed, window 100, a fresh seed, patience 60 s.
    pub fn new(broker: SocketAddr, devices: usize) -> FleetOptions {
        let seed = fresh_seed();
        FleetOptions {
            broker,
            client_id: format!("network-server-{seed:016x}"),
            credentials: None,
            devices,
            rate: None,
            window: 100,
            seed,
            bare: false,
            patience: Duration::from_secs(60),
        }
    }
}

/// The devices and what they have published.
#[derive(Debug)]
pub struct Fleet {
    options: FleetOptions,
    devices: Vec<Device>,
    random: Random,
    items: Vec<Item>,
    /// Made and not acknowledged, by index in `items`.
    open: BTreeMap<usize, Uplink>,
    acknowledged: watch::Sender<u64>,
}

/// One connection to the broker.
struct Session {
    client: AsyncClient,
    /// Next index to send.
    next: usize,
    /// Given to the client and not yet seen on the wire, in order.
    handed: VecDeque<usize>,
    /// On the wire, by packet id.
    flying: HashMap<u16, usize>,
    connected: bool,
}

impl Fleet {
    /// Makes the devices; nothing is sent yet.
    pub fn new(options: FleetOptions) -> Fleet {
        let mut random = Random::seeded(options.seed);
        let devices = (0..options.devices).map(|index| Device::new(index, &mut random)).collect();
        Fleet {
            options,
            devices,
            random,
            items: Vec::new(),
            open: BTreeMap::new(),
            acknowledged: watch::Sender::new(0),
        }
    }

    /// Publishes `count` new uplinks of devices picked by chance, after what is still unacknowledged; comes back when
    /// the broker has acknowledged all of it. When the future is dropped, what it left open is published by the next
    /// call, or stays unconfirmed in [`Fleet::published`].
    pub async fn publish(&mut self, count: usize) -> Result<()> {
        let end = self.items.len() + count;
        let mut last_progress = Instant::now();
        loop {
            let left = self.open.len() + end - self.items.len();
            if left == 0 {
                return Ok(());
            }
            let before = *self.acknowledged.borrow();
            let Err(error) = self.session(end).await else { continue };
            if *self.acknowledged.borrow() > before {
                last_progress = Instant::now();
            }
            if last_progress.elapsed() > self.options.patience {
                let what = format!(
                    "publishing to {} ({left} of {count} left, seed {})",
                    self.options.broker, self.options.seed
                );
                return Err(Error::Timeout { what, after: self.options.patience, detail: format!("\n{error}") });
            }
            sleep(RECONNECT).await;
        }
    }

    /// What was published, in order: for the checker.
    pub fn published(&self) -> Published {
        Published { items: self.items.clone() }
    }

    /// Record id of the newest uplink; empty before the first.
    pub fn last_id(&self) -> String {
        self.items.last().map(|item| item.id.clone()).unwrap_or_default()
    }

    /// Counts acknowledgements, also while [`Fleet::publish`] is running elsewhere.
    pub fn progress(&self) -> watch::Receiver<u64> {
        self.acknowledged.subscribe()
    }

    /// Topic filter that covers the fleet.
    pub fn filter() -> &'static str {
        "application/+/device/+/event/+"
    }

    /// The seed, to print when a test fails.
    pub fn seed(&self) -> u64 {
        self.options.seed
    }

    /// Publishes over one connection until all up to `end` is acknowledged, or the connection fails.
    async fn session(&mut self, end: usize) -> std::result::Result<(), ConnectionError> {
        let (client, mut events) = self.connect();
        let next = self.open.keys().next().copied().unwrap_or(self.items.len());
        let mut session = Session { client, next, handed: VecDeque::new(), flying: HashMap::new(), connected: false };
        let started = (Instant::now(), self.items.len());
        while !self.open.is_empty() || self.items.len() < end {
            // A poll that is dropped while it connects starts to connect anew, so one poll outlives the timer.
            let poll = poll(&mut events, self.options.patience);
            tokio::pin!(poll);
            let event = loop {
                let due = self.feed(&mut session, started, end);
                tokio::select! {
                    event = &mut poll => break event?,
                    () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
                }
            };
            self.take(event, &mut session);
        }
        Ok(())
    }

    fn connect(&self) -> (AsyncClient, EventLoop) {
        let FleetOptions { broker, client_id, credentials, window, .. } = &self.options;
        let mut options = MqttOptions::new(client_id, broker.ip().to_string(), broker.port());
        options.set_clean_session(true).set_inflight(window.saturating_mul(2)).set_keep_alive(Duration::from_secs(30));
        if let Some((user, password)) = credentials {
            options.set_credentials(user, password);
        }
        AsyncClient::new(options, usize::from(*window) + 1)
    }

    /// Hands to the client what the window and the rate allow; gives the time at which the rate allows more.
    fn feed(&mut self, session: &mut Session, started: (Instant, usize), end: usize) -> Option<Instant> {
        while session.connected && session.handed.len() + session.flying.len() < usize::from(self.options.window) {
            if session.next == self.items.len() {
                if session.next == end {
                    return None;
                }
                let sent = (session.next - started.1) as f64;
                let due =
                    started.0 + self.options.rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(sent / rate));
                if due > Instant::now() {
                    return Some(due);
                }
                self.make();
            }
            // Only what is open can be next: acknowledgements of this connection are for what it has sent.
            if let Some(uplink) = self.open.get(&session.next) {
                let sent = session.client.try_publish(&uplink.topic, QoS::AtLeastOnce, false, uplink.payload.clone());
                if sent.is_err() {
                    return None;
                }
                session.handed.push_back(session.next);
            }
            session.next += 1;
        }
        None
    }

    /// Makes the next uplink.
    fn make(&mut self) {
        let device = self.random.below(self.devices.len() as u64) as usize;
        let uplink = match self.options.bare {
            true => self.devices[device].bare_reading(),
            false => self.devices[device].uplink(&mut self.random),
        };
        self.open.insert(self.items.len(), uplink.clone());
        self.items.push(Item { id: uplink.id, group: uplink.eui, confirmed: false });
    }

    fn take(&mut self, event: Event, session: &mut Session) {
        match event {
            Event::Incoming(Packet::ConnAck(_)) => session.connected = true,
            Event::Outgoing(Outgoing::Publish(id)) => {
                if let Some(index) = session.handed.pop_front() {
                    session.flying.insert(id, index);
                }
            }
            Event::Incoming(Packet::PubAck(ack)) => {
                if let Some(index) = session.flying.remove(&ack.pkid) {
                    self.open.remove(&index);
                    self.items[index].confirmed = true;
                    self.acknowledged.send_modify(|n| *n += 1);
                }
            }
            _ => {}
        }
    }
}

/// The next event; silence for longer than `patience` is an error.
async fn poll(events: &mut EventLoop, patience: Duration) -> std::result::Result<Event, ConnectionError> {
    tokio::time::timeout(patience, events.poll()).await.unwrap_or(Err(ConnectionError::NetworkTimeout))
}
