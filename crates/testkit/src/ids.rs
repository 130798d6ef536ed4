//! A broker that uses packet ids again at once: an MQTT proxy in front of one that counts.
//!
//! Mosquitto counts its ids up to 65,535 before it uses one again. Others (HiveMQ) take the lowest free one, so that one id
//! means many messages within a second. The proxy plays such a broker: each QoS 1 message on its way to the client gets
//! the lowest id that is free in the session, and the ack gets the broker's id back. What the broker delivers again keeps
//! the id that it had, over connections, as it would there; a new session begins anew.
//!
//! Proxy and broker together are one broker: an ack that reached the proxy and died with the broker behind it is one that a
//! broker lost. It knows one session only: that of the client that connected last.

use crate::Result;
use crate::port::HeldPort;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A running proxy; dropping it closes everything.
#[derive(Debug)]
pub struct SmallIds {
    addr: SocketAddr,
    accepting: JoinHandle<()>,
    session: Arc<Mutex<Session>>,
}

impl SmallIds {
    /// Starts on a free loopback port towards `broker`. Must be called inside a runtime.
    pub fn start(broker: SocketAddr) -> Result<SmallIds> {
        let port = HeldPort::take()?;
        let (addr, listener) = (port.addr(), port.listen()?);
        let session = Arc::new(Mutex::new(Session::default()));
        let accepting = tokio::spawn(accept(listener, broker, session.clone()));
        Ok(SmallIds { addr, accepting, session })
    }

    /// Address it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Highest id that it ever gave.
    pub fn highest(&self) -> u16 {
        lock(&self.session).highest
    }

    /// How often it gave an id that had meant another message before.
    pub fn reused(&self) -> u64 {
        lock(&self.session).reused
    }
}

impl Drop for SmallIds {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn lock(session: &Mutex<Session>) -> MutexGuard<'_, Session> {
    session.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The ids of one session. Pure.
#[derive(Debug, Default)]
struct Session {
    /// The connection that has it.
    connection: u64,
    /// Without an ack: our id → the broker's.
    flying: BTreeMap<u16, u16>,
    /// The broker's id → ours, acked or not.
    given: HashMap<u16, u16>,
    highest: u16,
    reused: u64,
}

impl Session {
    /// A client says CONNECT: the session is its.
    fn taken(&mut self) -> u64 {
        self.connection += 1;
        self.connection
    }

    /// The broker begins a session anew.
    fn begun(&mut self) {
        self.flying.clear();
        self.given.clear();
    }

    /// The id under which a message of the broker's id `theirs` is delivered.
    fn deliver(&mut self, theirs: u16, again: bool) -> u16 {
        let before = self.given.get(&theirs).copied();
        let flying = before.filter(|ours| self.flying.get(ours) == Some(&theirs));
        if let Some(ours) = flying {
            if again {
                return ours;
            }
            // The broker uses its id for another message: it knows of the ack.
            self.flying.remove(&ours);
        }
        let same = before.filter(|ours| again && !self.flying.contains_key(ours));
        let lowest = || (1..=u16::MAX).find(|id| !self.flying.contains_key(id)).unwrap_or(u16::MAX);
        let ours = same.unwrap_or_else(lowest);
        if ours <= self.highest && !again {
            self.reused += 1;
        }
        self.highest = self.highest.max(ours);
        self.flying.insert(ours, theirs);
        self.given.insert(theirs, ours);
        ours
    }

    /// The broker's id of what is acknowledged; `None`: nothing flies under this one.
    fn acked(&mut self, ours: u16) -> Option<u16> {
        self.flying.remove(&ours)
    }
}

async fn accept(listener: TcpListener, broker: SocketAddr, session: Arc<Mutex<Session>>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((client, _)) = accepted {
                    let session = session.clone();
                    connections.spawn(async move { carry(client, broker, &session).await });
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Carries one connection until either side ends it.
async fn carry(client: TcpStream, broker: SocketAddr, session: &Mutex<Session>) {
    let Ok(server) = TcpStream::connect(broker).await else { return };
    let _ = client.set_nodelay(true).and(server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let connection = Mutex::new(0);
    let mine = || connection.lock().map(|mine| *mine).unwrap_or_default();
    let up = copy(from_client, to_server, |packet| {
        let mut session = lock(session);
        if packet.kind() == CONNECT {
            *connection.lock().unwrap_or_else(PoisonError::into_inner) = session.taken();
        }
        if packet.kind() != PUBACK {
            return Ok(true);
        }
        // What a connection says after another one took its session counts no more.
        let theirs = packet.id(0).filter(|_| session.connection == mine()).and_then(|ours| session.acked(ours));
        theirs.inspect(|theirs| packet.set_id(0, *theirs));
        Ok(theirs.is_some())
    });
    let down = copy(from_server, to_client, |packet| {
        let mut session = lock(session);
        if session.connection != mine() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        if packet.kind() == CONNACK && packet.body().first().is_some_and(|flags| flags & 1 == 0) {
            session.begun();
        }
        if packet.kind() == PUBLISH && packet.flags() & 6 != 0 {
            let topic = packet.id(0).map_or(0, usize::from);
            if let Some(theirs) = packet.id(2 + topic) {
                let ours = session.deliver(theirs, packet.flags() & 8 != 0);
                packet.set_id(2 + topic, ours);
            }
        }
        Ok(true)
    });
    let _ = tokio::try_join!(up, down);
}

const CONNECT: u8 = 1;
const CONNACK: u8 = 2;
const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;

/// One whole MQTT packet, to be changed in place.
struct Frame<'a> {
    bytes: &'a mut [u8],
    /// Where what follows the fixed header begins.
    start: usize,
}

impl Frame<'_> {
    fn kind(&self) -> u8 {
        self.bytes[0] >> 4
    }

    fn flags(&self) -> u8 {
        self.bytes[0] & 15
    }

    fn body(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Two bytes, so far into the body.
    fn id(&self, at: usize) -> Option<u16> {
        self.body().get(at..at + 2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
    }

    fn set_id(&mut self, at: usize, id: u16) {
        let at = self.start + at;
        self.bytes[at..at + 2].copy_from_slice(&id.to_be_bytes());
    }
}

/// Copies packet by packet; `seen` may change one, keep it back, or end the connection.
async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    seen: impl Fn(&mut Frame<'_>) -> io::Result<bool>,
) -> io::Result<()> {
    let (mut buffer, mut out) = (Vec::new(), Vec::new());
    loop {
        if from.read_buf(&mut buffer).await? == 0 {
            // A side that ends its half ends the connection: no MQTT client half-closes.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut done = 0;
        while let Some((start, end)) = whole(&buffer[done..]) {
            let mut frame = Frame { bytes: &mut buffer[done..done + end], start };
            if seen(&mut frame)? {
                out.extend_from_slice(frame.bytes);
            }
            done += end;
        }
        buffer.drain(..done);
        to.write_all(&out).await?;
        out.clear();
    }
}

/// Where the body of the first packet begins and ends, if all of it is there.
fn whole(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut length = 0;
    for (index, byte) in bytes.iter().skip(1).take(4).enumerate() {
        length |= usize::from(byte & 127) << (7 * index);
        if byte & 128 == 0 {
            let start = index + 2;
            return (bytes.len() >= start + length).then_some((start, start + length));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_id_is_taken_except_for_a_redelivery() {
        let mut session = Session::default();
        assert_eq!([501, 502, 503].map(|theirs| session.deliver(theirs, false)), [1, 2, 3]);
        assert_eq!(session.acked(1), Some(501));
        assert_eq!(session.acked(1), None);
        assert_eq!(session.deliver(504, false), 1);
        assert_eq!([502, 503, 504].map(|theirs| session.deliver(theirs, true)), [2, 3, 1]);
        assert_eq!(session.acked(3), Some(503));
        assert_eq!(session.deliver(503, true), 3, "the ack got lost behind us");
        assert_eq!(session.deliver(502, false), 2, "the broker has come round");
        session.begun();
        assert_eq!(session.deliver(9, false), 1);
        assert_eq!(session.highest, 3);
    }

    #[test]
    fn a_packet_is_taken_when_all_of_it_is_there() {
        assert_eq!(whole(&[0x40, 2, 0, 1, 0x40]), Some((2, 4)));
        assert_eq!(whole(&[0x40, 2, 0]), None);
        assert_eq!(whole(&[0xd0, 0]), Some((2, 2)));
        assert_eq!(whole(&[0x30]), None);
        let long = [vec![0x30, 0x80, 1], vec![0; 128]].concat();
        assert_eq!(whole(&long), Some((3, 131)));
        assert_eq!(whole(&long[..130]), None);
    }
}
