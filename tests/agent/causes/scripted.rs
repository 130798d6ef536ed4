//! A broker that answers as it is told, and can be told otherwise at any time.

use rumqttc::mqttbytes::v4::{Packet, SubAck, SubscribeReasonCode};
use rumqttc::mqttbytes::{Error, QoS};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What it says to a client.
#[derive(Clone, Copy, Debug)]
pub(super) enum Manner {
    /// These bytes instead of a CONNACK, and it hangs up.
    Says(&'static [u8]),
    /// It takes the client, and continues with the second half of a QoS 2 handshake, twice over.
    Releases,
    /// It takes the client, and grants every filter with QoS 0.
    GrantsLittle,
}

/// A running one; dropping it closes everything.
pub(super) struct ScriptedBroker {
    addr: SocketAddr,
    manner: Arc<Mutex<Manner>>,
    accepting: JoinHandle<()>,
}

impl ScriptedBroker {
    pub(super) async fn start(manner: Manner) -> ScriptedBroker {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (addr, manner) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(manner)));
        let told = manner.clone();
        let accepting = tokio::spawn(async move {
            // One after the other: an agent has one connection.
            while let Ok((stream, _)) = listener.accept().await {
                let manner = *told.lock().unwrap();
                let _ = serve(stream, manner).await;
            }
        });
        ScriptedBroker { addr, manner, accepting }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// From the next connection on.
    pub(super) fn behave(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }
}

impl Drop for ScriptedBroker {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Until one of both hangs up.
async fn serve(mut stream: TcpStream, manner: Manner) -> std::io::Result<()> {
    let mut received = bytes::BytesMut::new();
    loop {
        let packet = match Packet::read(&mut received, usize::MAX) {
            Ok(packet) => packet,
            Err(Error::InsufficientBytes(_)) => match stream.read_buf(&mut received).await? {
                0 => return Ok(()),
                _ => continue,
            },
            Err(_) => return Ok(()),
        };
        let mut answer = bytes::BytesMut::new();
        match (packet, manner) {
            (Packet::Connect(_), Manner::Says(bytes)) => return stream.write_all(bytes).await,
            (Packet::Connect(_), Manner::Releases) => {
                answer.extend_from_slice(b"\x20\x02\x01\x00\x62\x02\x00\x07\x62\x02\x00\x07");
            }
            (Packet::Connect(_), Manner::GrantsLittle) => answer.extend_from_slice(b"\x20\x02\x00\x00"),
            (Packet::Subscribe(subscribe), _) => {
                let granted = SubscribeReasonCode::Success(QoS::AtMostOnce);
                SubAck::new(subscribe.pkid, vec![granted; subscribe.filters.len()])
                    .write(&mut answer)
                    .expect("encodes");
            }
            (Packet::PingReq, _) => answer.extend_from_slice(b"\xd0\x00"),
            _ => {}
        }
        stream.write_all(&answer).await?;
    }
}
