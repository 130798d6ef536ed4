//! Schedules of all kinds, and black holes: listeners of this machine whose queue is full, so that the kernel drops what comes.

use super::*;
use proptest::prelude::*;
use rustix::net::{AddressFamily, SocketType};
use std::os::fd::OwnedFd;

/// A listener that takes no connection and refuses none.
struct BlackHole {
    address: SocketAddr,
    _listener: OwnedFd,
    _fill: Vec<TcpStream>,
}

impl BlackHole {
    async fn open(ip: &str) -> BlackHole {
        let family = if ip.contains(':') { AddressFamily::INET6 } else { AddressFamily::INET };
        let listener = rustix::net::socket(family, SocketType::STREAM, None).unwrap();
        rustix::net::bind(&listener, &SocketAddr::new(ip.parse().unwrap(), 0)).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let address = SocketAddr::try_from(rustix::net::getsockname(&listener).unwrap()).unwrap();
        let mut fill = Vec::new();
        while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
            fill.push(stream);
            assert!(fill.len() < 10, "a queue of length 0 is full");
        }
        BlackHole { address, _listener: listener, _fill: fill }
    }
}

/// Black holes of both families first, a good address last: it gets its turn after the stagger times those before it, and never waits
/// for one of them to run out.
#[tokio::test]
async fn a_good_address_behind_black_holes_gets_its_turn() {
    let good = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let holes = [BlackHole::open("127.0.0.1").await, BlackHole::open("::1").await, BlackHole::open("127.0.0.1").await];
    let mut addresses: Vec<SocketAddr> = holes.iter().map(|hole| hole.address).collect();
    addresses.push(good.local_addr().unwrap());
    let (limit, start) = (Duration::from_secs(40), Instant::now());
    let stream = first_of(addresses, Some(limit), TcpStream::connect).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), good.local_addr().unwrap());
    let took = start.elapsed();
    // Divided by four, the limit would be 10 s for the first one alone.
    assert!(took >= STAGGER * 3 && took < limit / 4, "{took:?}");
}

#[tokio::test]
async fn black_holes_alone_end_at_the_limit_with_the_addresses() {
    let holes = [BlackHole::open("127.0.0.1").await, BlackHole::open("127.0.0.1").await];
    let limit = Duration::from_millis(800);
    let error = first_of(holes.iter().map(|hole| hole.address).collect(), Some(limit), TcpStream::connect).await;
    let TcpError::Address { first, count, source } = error.unwrap_err() else { panic!("it has addresses") };
    assert_eq!((first, count, source.kind()), (holes[0].address, 2, io::ErrorKind::TimedOut));
}

#[tokio::test]
async fn a_refusing_address_tells_more_than_an_unreachable_family() {
    let of = |text: &str| text.parse::<SocketAddr>().unwrap();
    let (no_way, refuses) = (of("[2001:db8::1]:443"), of("192.0.2.1:443"));
    let connect = |address: SocketAddr| async move {
        Err::<(), _>(io::Error::from(match address.is_ipv6() {
            true => io::ErrorKind::NetworkUnreachable,
            false => io::ErrorKind::ConnectionRefused,
        }))
    };
    let error = first_of(vec![no_way, refuses], None, connect).await.unwrap_err();
    assert_eq!(error.to_string(), "192.0.2.1:443 and 1 more");
}

#[tokio::test]
async fn a_name_without_an_address_is_named() {
    let error = Tcp::new(Some(Duration::from_secs(30)), LinkChanges::none())
        .call(Uri::from_static("https://nowhere.invalid"))
        .await;
    let error = error.unwrap_err();
    assert!(error.to_string().contains("nowhere.invalid"), "{error}");
}

/// A dial into a black hole, and a change of the gateway's network: a new connection is tried at once. TCP's own tries come one, three
/// and seven seconds after the first.
#[tokio::test]
async fn a_change_of_the_network_begins_the_dialling_anew() {
    let hole = BlackHole::open("127.0.0.1").await;
    let changes = LinkChanges::none();
    let dialled = Tcp::new(None, changes.clone()).call(format!("http://{}", hole.address).parse().unwrap());
    let freed = async {
        tokio::time::sleep(Duration::from_millis(3_300)).await;
        rustix::net::listen(&hole._listener, 64).unwrap();
        changes.tell();
        Instant::now()
    };
    let (stream, start) = tokio::join!(dialled, freed);
    stream.unwrap();
    assert!(start.elapsed() < Duration::from_millis(3_500), "{:?}", start.elapsed());
}

fn address(v6: bool, n: usize) -> SocketAddr {
    let text = if v6 { format!("[2001:db8::{n:x}]:443") } else { format!("192.0.2.{n}:443") };
    text.parse().unwrap()
}

proptest! {
    #[test]
    fn families_go_in_turn_and_no_address_is_lost(families in prop::collection::vec(any::<bool>(), 1..12)) {
        let given: Vec<SocketAddr> = families.iter().enumerate().map(|(n, v6)| address(*v6, n)).collect();
        let turns = in_turn(given.clone());
        prop_assert_eq!(turns.len(), given.len());
        prop_assert_eq!(turns[0], given[0]);
        for v6 in [true, false] {
            let of = |all: &[SocketAddr]| all.iter().copied().filter(|one| one.is_ipv6() == v6).collect::<Vec<_>>();
            prop_assert_eq!(of(&turns), of(&given), "each family in its order");
        }
        let pairs = families.iter().filter(|v6| **v6).count().min(families.iter().filter(|v6| !**v6).count());
        prop_assert!(turns[..2 * pairs].chunks(2).all(|pair| pair[0].is_ipv6() != pair[1].is_ipv6()));
    }

    /// Whatever fails when: each address goes, none before its turn but after a failure, all of them within the limit; and again, while
    /// it keeps silent, after [`AGAIN`], and after twice as long each time.
    #[test]
    fn addresses_are_dialled_within_the_limit_and_again_while_silent(
        count in 1usize..12,
        limit_ms in 50u64..60_000,
        fails in prop::collection::vec(any::<bool>(), 12),
    ) {
        let (start, limit) = (Instant::now(), Duration::from_millis(limit_ms));
        let mut schedule = Schedule::new((0..count).map(|n| address(false, n)).collect(), Some(limit), start);
        let mut first = Vec::new();
        let mut now = start;
        while first.len() < count {
            now = now.max(schedule.next_at().expect("one is left"));
            let address = schedule.due(now).expect("it is due");
            if fails[first.len()] {
                schedule.failed(address, now);
            }
            first.push(address);
        }
        prop_assert_eq!(first.iter().collect::<std::collections::HashSet<_>>().len(), count);
        prop_assert!(now < start + limit, "{:?}", now - start);
        prop_assert!(now <= start + STAGGER * count as u32);
        let silent: Vec<SocketAddr> = first.iter().zip(fails).filter(|(_, fails)| !fails).map(|(one, _)| *one).collect();
        let mut again = AGAIN;
        for expected in silent.iter().cycle().take(2 * silent.len()) {
            let at = schedule.next_at().expect("a silent one goes again");
            prop_assert_eq!(at, now + again);
            (now, again) = (at, again * 2);
            prop_assert_eq!(schedule.due(now), Some(*expected));
        }
        prop_assert!(!silent.is_empty() || schedule.next_at().is_none());
    }
}
