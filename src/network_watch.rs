//! The gateway's link: tells when an address or a route has come, so that a wait for the link need not run out.
//!
//! The kernel reports it unasked on a netlink socket; nothing wakes while nothing changes. It is a hint and no more: a
//! drain that waits for the link tries one batch at once. Where a sandbox refuses the socket the waits run out as they
//! are, and whatever the messages hold, nothing but a try can come of them.

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use std::io;
use std::time::Duration;
use tokio::net::UnixDatagram;

/// Multicast groups of rtnetlink, as bits: addresses and routes of both families.
const GROUPS: u32 = 0x10 | 0x40 | 0x100 | 0x400;
/// Message types: a new address, a new route.
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;
/// Length, type, flags, sequence and port of a message; messages are aligned to four bytes.
const HEADER: usize = 16;
/// An address comes before its routes, and those before the name server: one try for all of them.
const SETTLE: Duration = Duration::from_millis(300);

/// Listens for new addresses and routes.
#[derive(Debug)]
pub struct LinkWatch {
    /// Of another family than its type says: to receive datagrams, that makes no difference.
    socket: UnixDatagram,
}

impl LinkWatch {
    /// Starts to listen; inside a runtime.
    ///
    /// # Errors
    /// The kernel, or what confines the process, refuses the socket.
    pub fn open() -> io::Result<LinkWatch> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
        Ok(LinkWatch { socket: UnixDatagram::from_std(socket.into())? })
    }

    /// Waits until something has come, and has settled. Cancelling it loses at most one hint.
    ///
    /// # Errors
    /// The socket is of no use any more.
    pub async fn returned(&mut self) -> io::Result<()> {
        let mut buffer = [0; 8192];
        while !told(self.socket.recv(&mut buffer).await, &buffer)? {}
        tokio::time::sleep(SETTLE).await;
        while self.socket.try_recv(&mut buffer).is_ok() {}
        Ok(())
    }
}

/// Whether what was received tells of something new.
fn told(received: io::Result<usize>, buffer: &[u8]) -> io::Result<bool> {
    match received {
        Ok(length) => Ok(tells_of_something_new(&buffer[..length])),
        // So much has changed that the kernel left some of it out.
        Err(error) if error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error()) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Whether one of the messages is of a new address or a new route.
fn tells_of_something_new(mut messages: &[u8]) -> bool {
    while let Some((header, _)) = messages.split_at_checked(HEADER) {
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        if kind == NEW_ADDRESS || kind == NEW_ROUTE {
            return true;
        }
        let Some(next) = length.max(HEADER).checked_next_multiple_of(4) else { return false };
        messages = messages.get(next..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    fn message(kind: u16, body: usize) -> Vec<u8> {
        let mut bytes = ((HEADER + body) as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.resize((HEADER + body).next_multiple_of(4), 0);
        bytes
    }

    proptest! {
        #[test]
        fn one_new_address_or_route_among_others_is_enough_and_nothing_else_is(
            kinds in prop::collection::vec((0u16..60, 0usize..90), 0..12),
        ) {
            let bytes: Vec<u8> = kinds.iter().flat_map(|(kind, body)| message(*kind, *body)).collect();
            let new = kinds.iter().any(|(kind, _)| [NEW_ADDRESS, NEW_ROUTE].contains(kind));
            prop_assert_eq!(tells_of_something_new(&bytes), new);
        }

        #[test]
        fn bytes_of_any_kind_end_the_reading(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            tells_of_something_new(&bytes);
        }
    }

    /// In a private network namespace, which it may change.
    #[test]
    fn a_new_address_is_told() {
        const INSIDE: &str = "TIDEGATE_TEST_OWN_NETWORK";
        if std::env::var_os(INSIDE).is_none() {
            let program = std::env::current_exe().unwrap();
            let name = "network_watch::tests::a_new_address_is_told";
            let mut own = Command::new("unshare");
            own.args(["--user", "--map-root-user", "--net", "--"])
                .arg(program)
                .args(["--exact", name])
                .env(INSIDE, "1");
            let output = own.output().expect("unshare of util-linux");
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && said.contains("1 passed"), "{said}{output:?}");
            return;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut link = LinkWatch::open().unwrap();
            let quiet = tokio::time::timeout(Duration::from_millis(100), link.returned()).await;
            assert!(quiet.is_err(), "nothing has come yet");
            let status = Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip of iproute2");
            assert!(status.success());
            tokio::time::timeout(Duration::from_secs(10), link.returned()).await.expect("told").unwrap();
        });
    }
}
