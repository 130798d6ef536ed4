//! A loopback port that stays ours while no process listens on it.
//!
//! Peers are stopped and started again on the same port. Choosing a free port by binding and closing would let another
//! process take it in between. So the port is held by a socket that is bound and never listens: to connect is refused,
//! the kernel gives the port to no other process as a free one, and a listener that sets `SO_REUSEADDR` (all of our peers
//! do) can still take it. Linux checks the conflict only between listening sockets.

use crate::{Error, Result};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use tokio::net::{TcpListener, TcpSocket};

/// A port, kept until dropped.
#[derive(Debug)]
pub struct HeldPort {
    _holder: TcpSocket,
    addr: SocketAddr,
    /// File of the network namespace that it is in, if that is not ours.
    namespace: Option<PathBuf>,
}

impl HeldPort {
    /// Takes a free port on 127.0.0.1.
    pub fn take() -> Result<HeldPort> {
        HeldPort::of(Ipv4Addr::LOCALHOST.into(), None)
    }

    /// Takes a free port on an address of the network namespace whose file is given.
    pub fn take_in(namespace: &Path, ip: IpAddr) -> Result<HeldPort> {
        HeldPort::of(ip, Some(namespace.to_owned()))
    }

    fn of(ip: IpAddr, namespace: Option<PathBuf>) -> Result<HeldPort> {
        let holder = bound(SocketAddr::new(ip, 0), namespace.as_deref())?;
        let addr = holder.local_addr().map_err(Error::io("asking for the port held"))?;
        Ok(HeldPort { _holder: holder, addr, namespace })
    }

    /// Address of the port.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Starts to listen on the port in this process. Must be called inside a runtime.
    pub fn listen(&self) -> Result<TcpListener> {
        bound(self.addr, self.namespace.as_deref())?
            .listen(1024)
            .map_err(Error::io(format!("listening on {}", self.addr)))
    }
}

/// A socket stays in the namespace in which it was made.
fn bound(addr: SocketAddr, namespace: Option<&Path>) -> Result<TcpSocket> {
    let bind = || {
        let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(addr)?;
        Ok(socket)
    };
    let socket = match namespace {
        None => bind(),
        Some(file) => {
            // A thread of its own enters it, and ends.
            let inside = || {
                move_into_link_name_space(File::open(file)?.as_fd(), Some(LinkNameSpaceType::Network))?;
                bind()
            };
            let ended = std::thread::scope(|threads| threads.spawn(inside).join());
            ended.unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
        }
    };
    socket.map_err(Error::io(format!("binding {addr}")))
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
