//! A loopback port that stays ours while no process listens on it.
//!
//! Peers are stopped and started again on the same port. Choosing a free port by binding and closing would let another
//! process take it in between. So the port is held by a socket that is bound and never listens: to connect is refused,
//! the kernel gives the port to no other process as a free one, and a listener that sets `SO_REUSEADDR` (all of our peers
//! do) can still take it. Linux checks the conflict only between listening sockets.

use crate::{Error, Result};
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::{TcpListener, TcpSocket};

/// A port on 127.0.0.1, kept until dropped.
#[derive(Debug)]
pub struct HeldPort {
    _holder: TcpSocket,
    addr: SocketAddr,
}

impl HeldPort {
    /// Takes a free port.
    pub fn take() -> Result<HeldPort> {
        let holder = bound(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let addr = holder.local_addr().map_err(Error::io("asking for the port held"))?;
        Ok(HeldPort { _holder: holder, addr })
    }

    /// Address of the port.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Starts to listen on the port in this process. Must be called inside a runtime.
    pub fn listen(&self) -> Result<TcpListener> {
        bound(self.addr)?.listen(1024).map_err(Error::io(format!("listening on {}", self.addr)))
    }
}

fn bound(addr: SocketAddr) -> Result<TcpSocket> {
    let bind = || {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(addr)?;
        Ok(socket)
    };
    bind().map_err(Error::io(format!("binding {addr}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use tokio::net::TcpStream;

    #[tokio::test]
    async fn a_held_port_refuses_until_listened_on_and_again_afterwards() {
        let port = HeldPort::take().unwrap();
        for _ in 0..3 {
            let refused = TcpStream::connect(port.addr()).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
            let listener = port.listen().unwrap();
            TcpStream::connect(port.addr()).await.unwrap();
            drop(listener);
        }
    }
}
