//! One connection, from the attempt to its end.
//!
//! `poll` is pinned: dropping it for a timer would restart an attempt to connect, and a broker that takes longer than the
//! timer would never be reached. It is dropped only together with the connection. Acks, the stop and timers are handled
//! while it is pending ([`acks`] says how); nothing here waits for the event loop that it drives.
//!
//! A broker may send without end, and faster than any disk is. While a sixteenth of `max_unacked_bytes` waits for the
//! journal, `poll` is not driven until a commit comes, so that the rest waits at the broker and not in our memory; for a
//! quarter of a second at most, because pings are its part, too. A journal that takes longer is stuck: then it is read on,
//! up to the bound.
//!
//! At the end of a connection it is offline first, and then what the event loop had read already is appended under the
//! dead connection's number: no ack can follow, and nothing that reached us is thrown away (the broker's session may be
//! gone by the next connection, and a QoS 0 message never comes again).

use crate::mqtt::acks::{self, Acks};
use crate::mqtt::arrivals::Arrivals;
use crate::mqtt::failure::{self, Cause};
use crate::mqtt::outage::{Outage, OutageKind};
use crate::mqtt::packet_limit::Limit;
use crate::mqtt::subscriptions::Ask;
use crate::mqtt::{Intake, IntakeState, PendingAck, options, wait};
use crate::record::Number;
use rumqttc::mqttbytes::v4::Packet;
use rumqttc::{AsyncClient, Event, EventLoop, MqttState, Outgoing};
use tokio::sync::watch;
use tokio::time::Instant;

/// Room for every SUBSCRIBE, and some.
const REQUESTS: usize = 1_024;

/// Of `max_unacked_bytes`: with so much waiting, more is not read for a moment.
const MUCH: u64 = 16;

/// Why a connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// It failed, or was never made.
    Failed(Cause),
    /// `max_unacked_bytes` is reached: too much waits for the disk.
    Full,
    /// The message for which the packet limit was raised is acknowledged, or did not come.
    Lower,
    /// Left politely, to come back at once: see [`crate::mqtt::arrivals`].
    SecondVisit,
    /// By a stop, in an orderly way.
    Stopped,
    /// The journal's end of a channel is gone.
    JournalGone,
}

/// A stop under way.
#[derive(Clone, Copy, Debug)]
struct Stopping {
    /// Appends that must be committed first.
    appended: u64,
    deadline: Instant,
    /// The broker was asked for an answer behind all acks.
    asked: bool,
    /// The disconnect is on its way.
    leaving: bool,
}

/// A polite end, after which another connection follows at once.
#[derive(Clone, Copy, Debug)]
struct Parting {
    deadline: Instant,
    second_visit: bool,
}

impl Parting {
    fn end(self) -> End {
        if self.second_visit { End::SecondVisit } else { End::Lower }
    }
}

/// One connection, from the attempt on.
pub(super) struct Link {
    pub(super) client: AsyncClient,
    /// Its number; 0 before the CONNACK.
    pub(super) number: u64,
    pub(super) online: bool,
    pub(super) since: Instant,
    limit: Limit,
    /// Nothing more is wanted here: the connection ends when the broker closes it, or then.
    parting: Option<Parting>,
    /// What came so far, to decide about a second visit and silent filters.
    pub(super) arrivals: Arrivals,
    /// When equal deliveries are not any more put down to an exchange of filters.
    pub(super) exchanged: Option<Instant>,
    /// When closed acks are noted, at the latest.
    note_acks: Option<Instant>,
    /// Whether the broker had kept our session.
    pub(super) session_kept: bool,
    /// Packet id of the last message that only the raised limit admitted.
    pub(super) oversize: Option<u16>,
    pub(super) acks: Acks,
    stopping: Option<Stopping>,
    /// When refused filters are asked for again.
    pub(super) again: Option<Instant>,
    /// Whether the broker was asked for its own count.
    pub(super) count_asked: bool,
    /// When the broker was asked for its traffic, or the connection was made.
    pub(super) traffic_asked: Instant,
    /// Whether to wait for a commit before more is read: not once the wait was in vain.
    patient: bool,
}

impl Link {
    /// The claim to the ack of a message that came here.
    pub(super) fn ticket(&self, packet_id: u16, qos: u8, bytes: u64) -> PendingAck {
        PendingAck { connection: self.number, packet_id, qos, bytes, place: 0, number: Number(0) }
    }

    /// Whether new QoS 1 messages are left to the broker.
    pub(super) fn stopping(&self) -> bool {
        self.stopping.is_some()
    }

    fn new(client: AsyncClient, limit: Limit) -> Link {
        Link {
            client,
            number: 0,
            online: false,
            since: Instant::now(),
            limit,
            session_kept: false,
            oversize: None,
            acks: Acks::default(),
            stopping: None,
            again: None,
            parting: None,
            arrivals: Arrivals::new(Instant::now(), false, true),
            exchanged: None,
            note_acks: None,
            count_asked: false,
            traffic_asked: Instant::now(),
            patient: true,
        }
    }

    /// Acknowledges what came on this connection; in order, because tickets come in order.
    fn acknowledge(&mut self, tickets: &[PendingAck]) {
        let stale = crate::failpoints::is_armed(crate::failpoints::Failpoint::StaleAcks);
        let due = |ticket: &&PendingAck| (ticket.connection == self.number || stale) && ticket.qos > 0;
        if self.online && !self.leaving() && self.parting.is_none() {
            tickets.iter().filter(due).for_each(|ticket| self.acks.add(ticket.packet_id, ticket.qos));
            self.acks.wake(&self.client);
        }
    }

    fn leaving(&self) -> bool {
        self.stopping.is_some_and(|stopping| stopping.leaving)
    }

    /// Says goodbye and waits for the broker to close. Closing first, over messages that were not read, would be a reset,
    /// and a reset makes the broker forget the acks that it has not read yet.
    pub(super) fn part(&mut self, deadline: Instant, second_visit: bool) {
        self.parting = Some(Parting { deadline, second_visit });
        let _ = self.client.try_disconnect();
    }

    fn leave(&mut self, deadline: Instant) {
        if let Some(stopping) = &mut self.stopping {
            stopping.leaving = true;
            stopping.deadline = deadline;
            // Should the queue be full after all, the deadline ends the connection without the courtesy.
            let _ = self.client.try_disconnect();
        }
    }
}

fn lost_read(lost: &tokio::task::JoinError) -> Outage {
    Outage::slow(format!("cannot read mqtt.password_file: {lost}"), "").of(OutageKind::PasswordFile)
}

impl Intake {
    /// Connects and stays connected as long as it lasts.
    pub(super) async fn connection(&mut self, stop: &mut watch::Receiver<bool>) -> End {
        self.memory.doubt_filters(Instant::now());
        self.memory.keep_asked(self.subscriptions.maybe_soon());
        let doubted = self.memory.settled().await;
        self.remembered(doubted);
        let password = match self.password().await {
            Ok(password) => password,
            Err(outage) => return End::Failed(Cause::Outage(outage)),
        };
        let packet_bytes = self.limit.packet_bytes(self.options.max_payload_bytes);
        let options = options::build(&self.options.broker, password, packet_bytes);
        let (client, mut event_loop) = AsyncClient::new(options, REQUESTS);
        event_loop.network_options.set_connection_timeout(self.timing.connect.as_secs().max(1));
        event_loop.network_options.set_tcp_nodelay(true);
        let mut link = Link::new(client, self.limit);
        let Err(mut end) = self.hold(&mut link, &mut event_loop, stop).await;
        link.online = false;
        for event in std::mem::take(&mut event_loop.state.events) {
            let late = match event {
                Event::Incoming(Packet::Publish(publish)) => self.receive(publish, &mut link),
                Event::Incoming(Packet::SubAck(suback)) => {
                    self.granted(&suback, &mut link);
                    Ok(())
                }
                _ => Ok(()),
            };
            if let Err(End::JournalGone) = late {
                end = End::JournalGone;
            }
        }
        self.note_open_acks();
        self.backoff.ended(link.number != 0, link.since.elapsed(), &self.timing);
        self.blame_count(&end);
        end
    }

    async fn password(&self) -> Result<Option<String>, Outage> {
        let Some(path) = self.options.broker.password_file.clone() else { return Ok(None) };
        let read = tokio::task::spawn_blocking(move || options::read_password(&path)).await;
        read.unwrap_or_else(|lost| Err(lost_read(&lost))).map(Some)
    }

    /// Polls until the connection ends.
    async fn hold(
        &mut self,
        link: &mut Link,
        event_loop: &mut EventLoop,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<std::convert::Infallible, End> {
        loop {
            let polled = {
                let due = link.acks.take();
                let mut poll = std::pin::pin!(acks::poll(event_loop, due, self.timing.connect));
                loop {
                    let wake = self.wake(link);
                    let enough = self.has_enough(link);
                    tokio::select! {
                        biased;
                        _ = stop.wait_for(|stop| *stop), if !link.stopping() => self.begin_stop(link)?,
                        tickets = self.tickets.recv() => {
                            let tickets = tickets.ok_or(End::JournalGone)?;
                            self.committed(&tickets);
                            link.patient = true;
                            link.acknowledge(&tickets);
                            self.leave_if_done(link);
                        }
                        outcome = self.memory.changed() => self.remembered(outcome),
                        () = wait(wake) => self.woken(link)?,
                        () = wait(enough.then(|| Instant::now() + self.timing.patience)) => link.patient = false,
                        polled = &mut poll, if !enough => break polled,
                    }
                }
            };
            match polled {
                Ok(event) => self.event(event, link, &mut event_loop.state)?,
                Err(_) if link.leaving() => return Err(End::Stopped),
                Err(error) => {
                    if let Some(parting) = link.parting {
                        return Err(parting.end());
                    }
                    let broker = &self.options.broker;
                    let connected = link.number != 0;
                    return Err(End::Failed(failure::cause(&error, &broker.url, &broker.client_id, connected)));
                }
            }
        }
    }

    fn event(&mut self, event: Event, link: &mut Link, state: &mut MqttState) -> Result<(), End> {
        match event {
            Event::Incoming(Packet::Publish(publish)) => return self.receive(publish, link),
            Event::Incoming(Packet::ConnAck(connack)) => {
                self.release_old(state);
                self.connected(&connack, link);
            }
            Event::Incoming(Packet::SubAck(suback)) => self.granted(&suback, link),
            Event::Incoming(Packet::UnsubAck(unsuback)) => {
                if self.subscriptions.released(unsuback.pkid) {
                    // The answer behind all acks: the broker has them.
                    link.leave(Instant::now() + self.timing.leave);
                    return Ok(());
                }
                self.keep_filters(link);
            }
            Event::Outgoing(Outgoing::Subscribe(id) | Outgoing::Unsubscribe(id)) => self.subscriptions.sent(id),
            Event::Outgoing(Outgoing::PubAck(id) | Outgoing::PubRec(id)) => {
                self.recogniser.flushed(id);
                link.note_acks.get_or_insert_with(|| Instant::now() + self.timing.note_acks);
                link.acks.left(id);
                self.leave_if_done(link);
                if link.limit == Limit::Raised && link.oversize == Some(id) {
                    link.part(Instant::now() + self.timing.part, false);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether the journal is to catch up before more is read.
    fn has_enough(&self, link: &Link) -> bool {
        let much = self.options.max_unacked_bytes / MUCH;
        link.online && link.patient && !link.stopping() && link.parting.is_none() && self.unacked.bytes > much
    }

    fn wake(&self, link: &Link) -> Option<Instant> {
        let raised = (link.online && link.limit == Limit::Raised).then(|| link.since + self.timing.raised);
        let stopping = link.stopping.map(|stopping| stopping.deadline);
        let parting = link.parting.map(|parting| parting.deadline);
        let free = link.online && link.parting.is_none() && link.stopping.is_none();
        let visit = link.arrivals.visit_at().filter(|_| free);
        let silent = link.arrivals.ask_at(self.options.resubscribe_after).filter(|_| free);
        let traffic = free.then(|| link.traffic_asked + self.timing.traffic);
        let due = [
            self.save_due(),
            raised,
            stopping,
            link.again,
            parting,
            visit,
            silent,
            link.exchanged,
            link.note_acks,
            traffic,
        ];
        due.into_iter().flatten().min()
    }

    fn woken(&mut self, link: &mut Link) -> Result<(), End> {
        let now = Instant::now();
        self.save_if_due();
        if link.note_acks.take_if(|at| *at <= now).is_some() {
            self.note_open_acks();
        }
        if let Some(parting) = link.parting {
            return if parting.deadline <= now { Err(parting.end()) } else { Ok(()) };
        }
        if link.exchanged.take_if(|at| *at <= now).is_some() {
            self.recogniser.exchanging(false);
        }
        if link.online && link.stopping.is_none() {
            self.look_after(now, link);
        }
        if link.again.is_some_and(|again| again <= now) {
            link.again = None;
            self.ask(self.subscriptions.missing(), link);
        }
        if link.online && link.limit == Limit::Raised && link.since + self.timing.raised <= now {
            if link.oversize.is_none() {
                tracing::error!(
                    "a message over the packet limit did not come again: it is lost, unless the broker still has it"
                );
            }
            return Err(End::Lower);
        }
        match link.stopping {
            None => Ok(()),
            Some(stopping) if stopping.deadline <= now && stopping.leaving => Err(End::Stopped),
            Some(stopping) if stopping.deadline <= now => {
                tracing::warn!(
                    messages = self.unacked.messages,
                    "stopping before the broker has every ack; what it has none for comes again"
                );
                link.leave(now + self.timing.leave);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn begin_stop(&mut self, link: &mut Link) -> Result<(), End> {
        self.shared.enter(IntakeState::Stopping);
        if !link.online {
            return Err(End::Stopped);
        }
        let deadline = Instant::now() + self.timing.stop;
        link.stopping = Some(Stopping { appended: self.unacked.appended, deadline, asked: false, leaving: false });
        self.leave_if_done(link);
        Ok(())
    }

    /// At a stop, once everything received is durable and its acks have left: asks for an answer behind them, and leaves when
    /// it comes. Acks that are still in a socket's buffer when we are gone are lost, and their messages would come again.
    fn leave_if_done(&mut self, link: &mut Link) {
        let committed = self.unacked.committed;
        let done = |stopping: &Stopping| !stopping.asked && stopping.appended <= committed;
        let have_left = link.acks.have_left();
        if let Some(stopping) = link.stopping.as_mut().filter(|stopping| done(stopping) && have_left) {
            stopping.asked = true;
            self.ask(vec![Ask::Barrier], link);
        }
    }
}
