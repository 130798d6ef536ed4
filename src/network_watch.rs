//! The gateway's own network: tells when its addresses or routes have changed, so that no wait for the link need run out, and no
//! connection of before need be waited for.
//!
//! The kernel reports it unasked on a netlink socket; nothing wakes while nothing changes. It is a hint and no more: a
//! drain that waits for the link tries one batch at once. Where a sandbox refuses the socket the waits run out as they
//! are, and whatever the messages hold, nothing but a try can come of them.
//!
//! A router announces the same IPv6 address every few minutes, or seconds: that is not a change ([`Known`]).

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use std::collections::HashSet;
use std::io;
use std::time::Duration;
use tokio::net::UnixDatagram;

/// Multicast groups of rtnetlink, as bits: addresses and routes of both families.
const GROUPS: u32 = 0x10 | 0x40 | 0x100 | 0x400;
/// Message types (linux/rtnetlink.h).
const NEW_ADDRESS: u16 = 20;
const GONE_ADDRESS: u16 = 21;
const NEW_ROUTE: u16 = 24;
const GONE_ROUTE: u16 = 25;
/// Length, type, flags, sequence and port of a message; messages are aligned to four bytes.
const HEADER: usize = 16;
/// What precedes the attributes of a message about an address, and the attribute that says how long it is good for.
const ABOUT_ADDRESS: usize = 8;
const LIFETIMES: u16 = 6;
/// More addresses than a gateway has; beyond them a repeated one may count as new.
const ADDRESSES: usize = 64;
/// An address comes before its routes, and those before the name server: one try for all of them.
const SETTLE: Duration = Duration::from_millis(300);

/// Listens for changes of addresses and routes.
#[derive(Debug)]
pub struct LinkWatch {
    /// Of another family than its type says: to receive datagrams, that makes no difference.
    socket: UnixDatagram,
    known: Known,
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
        Ok(LinkWatch { socket: UnixDatagram::from_std(socket.into())?, known: Known::default() })
    }

    /// Waits until something has changed, and has settled. Cancelling it loses at most one hint.
    ///
    /// # Errors
    /// The socket is of no use any more.
    pub async fn changed(&mut self) -> io::Result<()> {
        let mut buffer = [0; 8192];
        while !told(self.socket.recv(&mut buffer).await, &buffer, &mut self.known)? {}
        tokio::time::sleep(SETTLE).await;
        while told(self.socket.try_recv(&mut buffer), &buffer, &mut self.known).is_ok() {}
        Ok(())
    }
}

/// Whether what was received tells of a change.
fn told(received: io::Result<usize>, buffer: &[u8], known: &mut Known) -> io::Result<bool> {
    match received {
        Ok(length) => Ok(known.tells_of_a_change(&buffer[..length])),
        // So much has changed that the kernel left some of it out.
        Err(error) if error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error()) => Ok(true),
        Err(error) => Err(error),
    }
}

/// The addresses that were told of, without how long they are good for. Pure.
#[derive(Default, Debug)]
struct Known(HashSet<Vec<u8>>);

impl Known {
    /// Whether one of the messages is of an address or a route that has come or gone.
    fn tells_of_a_change(&mut self, mut messages: &[u8]) -> bool {
        let mut changed = false;
        while let Some((header, rest)) = messages.split_at_checked(HEADER) {
            let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
            let kind = u16::from_ne_bytes([header[4], header[5]]);
            let body = rest.get(..length.saturating_sub(HEADER)).unwrap_or(rest);
            changed |= match kind {
                NEW_ADDRESS => self.is_new(body),
                GONE_ADDRESS => {
                    // The same one may come again.
                    self.0.clear();
                    true
                }
                NEW_ROUTE | GONE_ROUTE => true,
                _ => false,
            };
            let Some(next) = length.max(HEADER).checked_next_multiple_of(4) else { break };
            messages = messages.get(next..).unwrap_or_default();
        }
        changed
    }

    fn is_new(&mut self, body: &[u8]) -> bool {
        if self.0.len() >= ADDRESSES {
            self.0.clear();
        }
        self.0.insert(without_lifetimes(body))
    }
}

/// A message about an address without the attribute that differs each time.
fn without_lifetimes(body: &[u8]) -> Vec<u8> {
    let (about, mut attributes) = body.split_at(body.len().min(ABOUT_ADDRESS));
    let mut kept = about.to_vec();
    while let Some(header) = attributes.first_chunk::<4>() {
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]])).max(header.len());
        let kind = u16::from_ne_bytes([header[2], header[3]]);
        let (attribute, rest) = attributes.split_at(length.next_multiple_of(4).min(attributes.len()));
        if kind != LIFETIMES {
            kept.extend_from_slice(attribute);
        }
        attributes = rest;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.resize(HEADER, 0);
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// An address that ends in `last`, good for so many seconds.
    fn address(last: u8, seconds: u32) -> Vec<u8> {
        let mut body = vec![10, 64, 0, 0, 2, 0, 0, 0];
        body.extend([8, 0, 1, 0, 192, 0, 2, last]);
        body.extend([8, 0, LIFETIMES as u8, 0]);
        body.extend(seconds.to_ne_bytes());
        body
    }

    proptest! {
        #[test]
        fn one_change_among_others_is_enough_and_nothing_else_is(
            kinds in prop::collection::vec((0u16..60, prop::collection::vec(any::<u8>(), 0..90)), 0..12),
        ) {
            let bytes: Vec<u8> = kinds.iter().flat_map(|(kind, body)| message(*kind, body)).collect();
            let changed = kinds.iter().any(|(kind, _)| [NEW_ADDRESS, GONE_ADDRESS, NEW_ROUTE, GONE_ROUTE].contains(kind));
            prop_assert_eq!(Known::default().tells_of_a_change(&bytes), changed);
        }

        #[test]
        fn bytes_of_any_kind_end_the_reading(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            Known::default().tells_of_a_change(&bytes);
            without_lifetimes(&bytes);
        }
    }

    #[test]
    fn a_reannounced_address_is_no_change_until_it_was_gone() {
        let mut known = Known::default();
        let mut new =
            |kind: u16, last: u8, seconds: u32| known.tells_of_a_change(&message(kind, &address(last, seconds)));
        assert!(new(NEW_ADDRESS, 1, 1800));
        assert!(!new(NEW_ADDRESS, 1, 1799), "only good for longer");
        assert!(new(NEW_ADDRESS, 2, 1800));
        assert!(new(GONE_ADDRESS, 1, 0));
        assert!(new(NEW_ADDRESS, 1, 1800));
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
            let quiet = tokio::time::timeout(Duration::from_millis(100), link.changed()).await;
            assert!(quiet.is_err(), "nothing has come yet");
            let status = Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip of iproute2");
            assert!(status.success());
            tokio::time::timeout(Duration::from_secs(10), link.changed()).await.expect("told").unwrap();
        });
    }
}
