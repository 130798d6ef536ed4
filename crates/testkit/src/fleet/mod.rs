//! LoRaWAN sensors behind a ChirpStack v4 network server: one connection, many devices, QoS 1.
//!
//! The network server publishes for all of its devices over one connection, and so do we. An uplink counts as published
//! once the broker acknowledged it. When the connection breaks, everything unacknowledged is published again, oldest
//! first and with the same payload, before anything newer: so the first occurrences of a device's uplinks reach the
//! broker in order, and one `deduplicationId` stays one record however often the broker has seen it.

mod uplink;

pub use uplink::{APPLICATION, Device, EQUAL_READINGS, SWITCHED_AT_ONCE, Uplink, record_id};

use crate::checker::{Item, Published, Sending};
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

/// Topics of QoS 0 begin with it.
pub const WEAK: &str = "weak/";

/// Second topics begin with it.
pub const COPY: &str = "copy/";

/// Which devices, how fast, to which broker.
#[derive(Clone, Debug)]
pub struct FleetOptions {
    /// Address of the broker, plain TCP.
    pub broker: SocketAddr,
    /// Client id of the network server.
    pub client_id: String,
    /// User and password, where the broker wants some.
    pub credentials: Option<(String, String)>,
    /// Number of devices that send.
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
    /// Publish with QoS 0, on topics below [`WEAK`]: sent is all that can be known of such a message, so nothing of it is
    /// ever confirmed.
    pub qos0: bool,
    /// Publish each uplink on a second topic, too, below [`COPY`], right after the first.
    pub copies: bool,
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
            qos0: false,
            copies: false,
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
    /// The newest uplink, while its copy is still to be made.
    to_copy: Option<Uplink>,
    /// Everything that went to the client library, in order; kept for sensors without identity.
    sendings: Vec<Sending>,
    acknowledged: watch::Sender<u64>,
}

/// One connection to the broker.
struct Session {
    client: AsyncClient,
    /// Next index to send.
    next: usize,
    /// Given to the client and not yet seen on the wire, in order.
    handed: VecDeque<Place>,
    /// On the wire, by packet id.
    flying: HashMap<u16, Place>,
    connected: bool,
}

/// Where an uplink is in `items` and, if it is kept there, in `sendings`.
#[derive(Clone, Copy, Debug)]
struct Place {
    item: usize,
    sending: Option<usize>,
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
            to_copy: None,
            sendings: Vec::new(),
            acknowledged: watch::Sender::new(0),
        }
    }

    /// Publishes `count` new uplinks of devices picked by chance, after what is still unacknowledged; comes back when
    /// the broker has acknowledged all of it. When the future is dropped, what it left open is published by the next
    /// call, or stays unconfirmed in [`Fleet::published`].
    pub async fn publish(&mut self, count: usize) -> Result<()> {
        let end = self.items.len() + count * self.topics_each();
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
        Published { items: self.items.iter().step_by(self.topics_each()).cloned().collect() }
    }

    /// What was published on second topics, in order; nothing without [`FleetOptions::copies`].
    pub fn published_copies(&self) -> Published {
        let copies = self.items.iter().skip(1).step_by(2).filter(|_| self.options.copies);
        Published { items: copies.cloned().collect() }
    }

    /// Everything that may have reached the broker, in order, what was sent again included: for
    /// [`crate::checker::judge_bare`].
    pub fn sendings(&self) -> &[Sending] {
        &self.sendings
    }

    /// Messages that one uplink becomes: one per topic.
    pub fn topics_each(&self) -> usize {
        1 + usize::from(self.options.copies)
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
                let qos = if self.options.qos0 { QoS::AtMostOnce } else { QoS::AtLeastOnce };
                let sent = session.client.try_publish(&uplink.topic, qos, false, uplink.payload.clone());
                if sent.is_err() {
                    return None;
                }
                let sending = self.options.bare.then_some(self.sendings.len());
                self.sendings.extend(sending.map(|_| Sending {
                    topic: uplink.topic.clone(),
                    payload: String::from_utf8_lossy(&uplink.payload).into_owned(),
                    confirmed: false,
                }));
                session.handed.push_back(Place { item: session.next, sending });
            }
            session.next += 1;
        }
        None
    }

    /// Makes the next uplink, or the copy of the one before.
    fn make(&mut self) {
        let uplink = match self.to_copy.take() {
            Some(uplink) => Uplink { topic: format!("{COPY}{}", uplink.topic), ..uplink },
            None => self.fresh(),
        };
        self.open.insert(self.items.len(), uplink.clone());
        self.items.push(Item { id: uplink.id, group: uplink.eui, confirmed: false });
    }

    fn fresh(&mut self) -> Uplink {
        let device = self.random.below(self.devices.len() as u64) as usize;
        let mut uplink = match self.options.bare {
            true => self.devices[device].bare_reading(),
            false => self.devices[device].uplink(&mut self.random),
        };
        if self.options.qos0 {
            uplink.topic.insert_str(0, WEAK);
        }
        self.to_copy = self.options.copies.then(|| uplink.clone());
        uplink
    }

    fn take(&mut self, event: Event, session: &mut Session) {
        match event {
            Event::Incoming(Packet::ConnAck(_)) => session.connected = true,
            Event::Outgoing(Outgoing::Publish(id)) => {
                let Some(place) = session.handed.pop_front() else { return };
                if self.options.qos0 {
                    self.done(place.item);
                } else {
                    session.flying.insert(id, place);
                }
            }
            Event::Incoming(Packet::PubAck(ack)) => {
                if let Some(Place { item, sending }) = session.flying.remove(&ack.pkid) {
                    self.items[item].confirmed = true;
                    if let Some(sending) = sending {
                        self.sendings[sending].confirmed = true;
                    }
                    self.done(item);
                }
            }
            _ => {}
        }
    }

    /// Nothing more is to be done about an uplink.
    fn done(&mut self, item: usize) {
        self.open.remove(&item);
        self.acknowledged.send_modify(|n| *n += 1);
    }
}

/// The next event; silence for longer than `patience` is an error.
async fn poll(events: &mut EventLoop, patience: Duration) -> std::result::Result<Event, ConnectionError> {
    tokio::time::timeout(patience, events.poll()).await.unwrap_or(Err(ConnectionError::NetworkTimeout))
}
