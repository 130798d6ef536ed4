//! Places on a server: who gets one, who loses one, and to whom.

use super::*;
use proptest::prelude::*;

/// Peer 0 is this machine.
fn peer(number: u8) -> Peer {
    if number == 0 { Peer::Here } else { Peer::At([192, 0, 2, number].into()) }
}

#[derive(Clone, Debug)]
enum Act {
    Enter(u8),
    Answer(prop::sample::Index),
    Wait(prop::sample::Index),
    Pause(prop::sample::Index),
    Leave(prop::sample::Index),
}

/// More come than go, and more are answered than are done, so that places get short.
fn acts(peers: u8) -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        6 => (0..peers).prop_map(Act::Enter),
        4 => any::<prop::sample::Index>().prop_map(Act::Answer),
        1 => any::<prop::sample::Index>().prop_map(Act::Wait),
        1 => any::<prop::sample::Index>().prop_map(Act::Pause),
        1 => any::<prop::sample::Index>().prop_map(Act::Leave),
    ];
    prop::collection::vec(act, 0..300)
}

/// Does it; returns what a client that came was given.
fn act(places: &mut Places, act: &Act) -> Option<(Peer, Option<Place>)> {
    let id = |index: &prop::sample::Index| match places.taken.len() {
        0 => 0,
        count => places.taken[index.index(count)].id,
    };
    match act {
        Act::Enter(number) => return Some((peer(*number), places.enter(peer(*number)))),
        Act::Answer(index) => places.answer(id(index)),
        Act::Wait(index) => places.wait(id(index)),
        Act::Pause(index) => places.pause(id(index)),
        Act::Leave(index) => places.leave(id(index)),
    }
    None
}

fn after(acts: &[Act]) -> Places {
    let mut places = Places::default();
    for one in acts {
        act(&mut places, one);
    }
    places
}

proptest! {
    #[test]
    fn bounds_hold_and_no_peer_being_answered_is_dropped(acts in acts(6)) {
        let mut places = Places::default();
        for one in &acts {
            let before = places.taken.clone();
            let came = act(&mut places, one);
            let gone: Vec<Taken> =
                before.into_iter().filter(|old| places.taken.iter().all(|taken| taken.id != old.id)).collect();
            if let Some((_, place)) = came {
                let named: Vec<u64> = place.and_then(|place| place.instead_of).into_iter().collect();
                prop_assert_eq!(gone.iter().map(|gone| gone.id).collect::<Vec<_>>(), named);
                prop_assert!(gone.iter().all(|gone| gone.state != State::Answered));
            }
            let count = |which: &dyn Fn(&Taken) -> bool| places.count(which);
            prop_assert!(count(&|taken| taken.kind == Kind::Any) <= 28);
            prop_assert!(count(&|taken| taken.kind == Kind::Any && taken.peer != Peer::Here) <= 20);
            prop_assert!(count(&|taken| taken.kind == Kind::Brief) <= 4);
            for peer in (0..6).map(peer) {
                prop_assert!(count(&|taken| taken.kind == Kind::Brief && taken.peer == peer) <= 2);
                let own = count(&|taken| taken.kind == Kind::Any && taken.peer == peer);
                let most = if peer == Peer::Here { 28 } else { 8 };
                prop_assert!(own <= most);
            }
        }
    }

    #[test]
    fn newcomers_are_limited_only_while_all_others_are_being_answered(
        acts in acts(6), number in 0u8..6,
    ) {
        let mut places = after(&acts);
        let before = places.taken.clone();
        let newcomer = peer(number);
        let place = places.enter(newcomer);
        let of = |kind: Kind| before.iter().filter(move |taken| taken.kind == kind);
        let own = |kind: Kind| of(kind).filter(|taken| taken.peer == newcomer);
        let idles = |taken: &Taken| taken.idles(newcomer).is_some();
        if place.is_none_or(|place| place.kind == Kind::Brief) {
            // What it might have had: its own places, else those of its kind of peer.
            prop_assert!(!own(Kind::Any).any(idles));
            if newcomer == Peer::Here {
                prop_assert!(of(Kind::Any).count() == 28 && own(Kind::Any).count() >= 8);
            } else if own(Kind::Any).count() < 8 {
                let elsewhere = || of(Kind::Any).filter(|taken| taken.peer != Peer::Here);
                prop_assert!(!elsewhere().any(idles));
                prop_assert!(elsewhere().count() == 20 || of(Kind::Any).count() == 28);
            }
        }
        if place.is_none() {
            prop_assert!(!own(Kind::Brief).any(idles));
            if own(Kind::Brief).count() < 2 {
                prop_assert!(!of(Kind::Brief).any(idles) && of(Kind::Brief).count() == 4);
            }
        }
    }

    #[test]
    fn the_peers_longest_idle_connection_makes_room_hurrying_no_pause(
        acts in acts(6), number in 0u8..6,
    ) {
        let mut places = after(&acts);
        let before = places.taken.clone();
        let Some(Place { instead_of: Some(gone), .. }) = places.enter(peer(number)) else { return Ok(()) };
        let gone = before.iter().find(|taken| taken.id == gone).unwrap();
        let of_its_peer = before.iter().filter(|taken| taken.kind == gone.kind && taken.peer == gone.peer);
        let longest = of_its_peer.filter_map(|taken| taken.idles(peer(number))).min();
        prop_assert!(longest.is_some() && gone.idles(peer(number)) == longest);
        let hurries = gone.peer == peer(number) && matches!(gone.state, State::Pauses(_));
        prop_assert!(!hurries || gone.peer == Peer::Here);
    }

    /// However often one address comes, and whatever it does with its connections.
    #[test]
    fn one_address_takes_no_place_of_others(
        others in prop::collection::vec((0u8..6, any::<bool>()), 0..=8), flood in acts(1),
    ) {
        let mut places = Places::default();
        for (number, answered) in others {
            let id = places.enter(peer(number)).expect("room").id;
            if answered {
                places.answer(id);
            }
        }
        let flooder = Peer::At([203, 0, 113, 1].into());
        let of = |places: &Places, own: bool| -> Vec<u64> {
            let taken = places.taken.iter().filter(|taken| (taken.peer == flooder) == own);
            taken.map(|taken| taken.id).collect()
        };
        let before = of(&places, false);
        for one in &flood {
            let own = of(&places, true);
            match one {
                Act::Enter(_) => _ = places.enter(flooder),
                _ if own.is_empty() => {}
                Act::Answer(index) => places.answer(own[index.index(own.len())]),
                Act::Wait(index) => places.wait(own[index.index(own.len())]),
                Act::Pause(index) => places.pause(own[index.index(own.len())]),
                Act::Leave(index) => places.leave(own[index.index(own.len())]),
            }
        }
        prop_assert_eq!(of(&places, false), before);
        let place = places.enter(peer(7)).expect("a place for yet another address");
        prop_assert_eq!((place.kind, place.instead_of), (Kind::Any, None));
    }

    #[test]
    fn a_peer_on_this_machine_always_gets_a_place(others in acts(6)) {
        let mut places = Places::default();
        for one in others.iter().filter(|one| !matches!(one, Act::Enter(0))) {
            act(&mut places, one);
        }
        for _ in 0..8 {
            let place = places.enter(Peer::Here).expect("a place");
            prop_assert_eq!((place.kind, place.instead_of), (Kind::Any, None));
            places.answer(place.id);
        }
    }

    #[test]
    fn machines_are_told_apart_by_what_they_cannot_choose(network: u64, one: u64, other: u64, v4: [u8; 4]) {
        let v6 = |host: u64| IpAddr::V6((u128::from(network) << 64 | u128::from(host)).into());
        prop_assume!(network != 0);
        prop_assert_eq!(Peer::of(v6(one), None), Peer::of(v6(other), None));
        let plain = IpAddr::from(v4);
        let mapped = IpAddr::V6(std::net::Ipv4Addr::from(v4).to_ipv6_mapped());
        prop_assert_eq!(Peer::of(mapped, None), Peer::of(plain, None));
        prop_assert_eq!(Peer::of(plain, None) == Peer::Here, v4[0] == 127);
        prop_assert_eq!(Peer::of(plain, Some(mapped)), Peer::Here);
    }
}

#[test]
fn loopback_is_this_machine() {
    for ip in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
        assert_eq!(Peer::of(ip.parse().unwrap(), None), Peer::Here, "{ip}");
    }
    assert_eq!(Peer::of("192.0.2.1".parse().unwrap(), Some("192.0.2.2".parse().unwrap())), peer(1));
}
