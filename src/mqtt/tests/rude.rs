//! A scripted broker: it does only what a test tells it to, however rude.

use bytes::BytesMut;
use rumqttc::mqttbytes::v4::{
    ConnAck, Connect, ConnectReturnCode, Packet, Publish, SubAck, Subscribe, SubscribeReasonCode, UnsubAck,
};
use rumqttc::mqttbytes::{Error, QoS};
use std::future::Future;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Longest wait for something that must happen.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long something must not happen.
const QUIET: Duration = Duration::from_millis(150);

pub(super) const COUNT: &str = "$SYS/broker/publish/messages/dropped";

pub(super) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} did not happen"))
}

pub(in crate::mqtt) struct Broker(TcpListener);

impl Broker {
    pub(super) async fn start() -> Broker {
        Broker(TcpListener::bind("127.0.0.1:0").await.expect("a port"))
    }

    pub(super) fn port(&self) -> u16 {
        self.0.local_addr().expect("an address").port()
    }

    /// The next connection, its CONNECT not yet read.
    pub(super) async fn accept(&self) -> Peer {
        let (socket, _) = soon("a connection", self.0.accept()).await.expect("a socket");
        Peer { socket, buffer: BytesMut::new() }
    }

    /// No client connects for a while.
    pub(super) async fn nobody(&self) {
        assert!(timeout(QUIET, self.0.accept()).await.is_err(), "nobody should connect yet");
    }

    /// The next connection, answered in full: see [`Peer::welcome`].
    pub(super) async fn welcome(&self, session_present: bool) -> (Peer, Vec<String>) {
        let mut peer = self.accept().await;
        let asked = peer.welcome(session_present).await;
        (peer, asked)
    }
}

/// One connection of the scripted broker.
pub(super) struct Peer {
    socket: TcpStream,
    buffer: BytesMut,
}

impl Peer {
    pub(super) async fn send(&mut self, packets: &[Packet]) {
        let mut bytes = BytesMut::new();
        for packet in packets {
            packet.write(&mut bytes, usize::MAX).expect("encodes");
        }
        self.raw(&bytes).await;
    }

    pub(super) async fn raw(&mut self, bytes: &[u8]) {
        // The client may cut the connection while a large packet is still being written.
        let _ = self.socket.write_all(bytes).await;
    }

    /// The next packet, keep-alives aside; `None` when the client has closed.
    pub(super) async fn next(&mut self) -> Option<Packet> {
        loop {
            match Packet::read(&mut self.buffer, usize::MAX) {
                Ok(Packet::PingReq) => self.send(&[Packet::PingResp]).await,
                Ok(packet) => return Some(packet),
                Err(Error::InsufficientBytes(_)) => {
                    let read = soon("a packet or an end", self.socket.read_buf(&mut self.buffer)).await;
                    if !matches!(read, Ok(1..)) {
                        return None;
                    }
                }
                Err(error) => panic!("the client sent what is no packet: {error}"),
            }
        }
    }

    pub(super) async fn connect(&mut self) -> Connect {
        match self.next().await {
            Some(Packet::Connect(connect)) => connect,
            other => panic!("not a CONNECT: {other:?}"),
        }
    }

    pub(super) async fn connack(&mut self, code: ConnectReturnCode, session_present: bool) {
        self.send(&[Packet::ConnAck(ConnAck::new(code, session_present))]).await;
    }

    pub(super) async fn subscribe(&mut self) -> Subscribe {
        match self.next().await {
            Some(Packet::Subscribe(subscribe)) => subscribe,
            other => panic!("not a SUBSCRIBE: {other:?}"),
        }
    }

    pub(super) async fn answer(&mut self, subscribe: &Subscribe, code: SubscribeReasonCode) {
        let codes = vec![code; subscribe.filters.len()];
        self.send(&[Packet::SubAck(SubAck::new(subscribe.pkid, codes))]).await;
    }

    /// Reads the CONNECT, accepts it, and grants what is asked up to the broker's own count, which intake asks for last.
    /// Returns the filters asked for; those dropped with a `-` before them.
    pub(super) async fn welcome(&mut self, session_present: bool) -> Vec<String> {
        let connect = self.connect().await;
        assert!(!connect.clean_session && connect.client_id == "tidegate-test");
        self.connack(ConnectReturnCode::Success, session_present).await;
        let mut asked = Vec::new();
        loop {
            match self.next().await {
                Some(Packet::Subscribe(subscribe)) => {
                    self.answer(&subscribe, SubscribeReasonCode::Success(subscribe.filters[0].qos)).await;
                    if subscribe.filters[0].path == COUNT {
                        return asked;
                    }
                    assert!(subscribe.filters.iter().all(|filter| filter.qos == QoS::AtLeastOnce));
                    asked.extend(subscribe.filters.into_iter().map(|filter| filter.path));
                }
                Some(Packet::Unsubscribe(unsubscribe)) => {
                    self.send(&[Packet::UnsubAck(UnsubAck::new(unsubscribe.pkid))]).await;
                    asked.extend(unsubscribe.topics.into_iter().map(|topic| format!("-{topic}")));
                }
                other => panic!("not a wish: {other:?}"),
            }
        }
    }

    /// The packet ids of the next acks.
    pub(super) async fn acks(&mut self, count: usize) -> Vec<u16> {
        let mut ids = Vec::new();
        while ids.len() < count {
            match self.next().await {
                Some(Packet::PubAck(ack)) => ids.push(ack.pkid),
                other => panic!("not a PUBACK: {other:?} after {ids:?}"),
            }
        }
        ids
    }

    /// Nothing comes for a while.
    pub(super) async fn quiet(&mut self) {
        if let Ok(packet) = timeout(QUIET, self.next()).await {
            panic!("nothing should come yet: {packet:?}");
        }
    }

    /// The client closes the connection, whatever it sends before.
    pub(super) async fn closed(&mut self) {
        while self.next().await.is_some() {}
    }
}

pub(super) fn publish(id: u16, topic: &str, payload: &[u8]) -> Packet {
    let mut publish = Publish::new(topic, if id == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce }, payload);
    publish.pkid = id;
    Packet::Publish(publish)
}

/// The same packet, sent again by the broker.
pub(super) fn again(packet: &Packet) -> Packet {
    let Packet::Publish(publish) = packet else { panic!("not a PUBLISH") };
    Packet::Publish(Publish { dup: true, ..publish.clone() })
}

pub(super) fn retained(packet: &Packet) -> Packet {
    let Packet::Publish(publish) = packet else { panic!("not a PUBLISH") };
    Packet::Publish(Publish { retain: true, ..publish.clone() })
}
