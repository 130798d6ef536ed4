//! Which clients of a server get a place, so that none of them can shut the others out.
//!
//! Pure: its callers say which client comes, whose request is being answered and who goes, and it says whose connection
//! is closed. A client that holds a place and is not being answered keeps us waiting, for a request or for reading its
//! answer; where places are short, the one that has done so longest makes room for the next to come. Only where all are
//! being answered the server turns a client away, and a few more places are kept for what is answered in a moment.
//!
//! A client that gave a wrong token sits out a pause. That place is free for all but the same address, which could guess
//! as often as it likes if it could hurry its own pauses.

use std::net::IpAddr;

/// Places for any request.
const ANY: usize = 28;
/// Of them for this machine alone: others have the rest at most.
const HERE: usize = 8;
/// The most of them that one address has.
const ADDRESS: usize = 8;
/// Places for brief requests alone, once those for any request are all being answered; and the most of them that one
/// peer has.
const BRIEF: usize = 4;
const BRIEF_EACH: usize = 2;

/// A connected client, as far as places go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Peer {
    /// A client on this machine.
    Here,
    /// An address elsewhere: of IPv6 its network, within which a machine takes what addresses it likes.
    At(IpAddr),
}

impl Peer {
    /// The client that connects from address `from` to our address `to`.
    pub(super) fn of(from: IpAddr, to: Option<IpAddr>) -> Peer {
        match from.to_canonical() {
            ip if ip.is_loopback() || to.is_some_and(|to| to.to_canonical() == ip) => Peer::Here,
            IpAddr::V6(ip) => Peer::At(IpAddr::V6((ip.to_bits() >> 64 << 64).into())),
            ip => Peer::At(ip),
        }
    }
}

/// What a place is good for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Good for any request.
    Any,
    /// One request that is answered in a moment.
    Brief,
}

/// A place for a newcomer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    /// Names it; never used twice.
    pub(super) id: u64,
    /// What it is good for.
    pub(super) kind: Kind,
    /// The client that had the place until now: its connection is to be closed.
    pub(super) instead_of: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Taken {
    id: u64,
    peer: Peer,
    kind: Kind,
    state: State,
}

/// What a connection does; since when, in steps of `Places::now`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Waits(u64),
    Answered,
    Pauses(u64),
}

impl Taken {
    /// Since when it could do without its place, if `newcomer` wants one.
    fn idles(&self, newcomer: Peer) -> Option<u64> {
        match self.state {
            State::Waits(since) => Some(since),
            State::Pauses(since) if self.peer != newcomer || newcomer == Peer::Here => Some(since),
            State::Pauses(_) | State::Answered => None,
        }
    }
}

/// The places of a server.
#[derive(Debug, Default)]
pub(super) struct Places {
    taken: Vec<Taken>,
    /// Grows with each change: only the order matters.
    now: u64,
}

impl Places {
    /// A client comes. `None`: it is turned away.
    pub(super) fn enter(&mut self, peer: Peer) -> Option<Place> {
        let (kind, instead_of) = match (self.room(peer), self.brief_room(peer)) {
            (Some(room), _) => (Kind::Any, room),
            (None, Some(room)) => (Kind::Brief, room),
            (None, None) => return None,
        };
        if let Some(id) = instead_of {
            self.leave(id);
        }
        self.now += 1;
        let id = self.now;
        self.taken.push(Taken { id, peer, kind, state: State::Waits(id) });
        Some(Place { id, kind, instead_of })
    }

    /// The client's request is being answered. Does nothing when the place is no longer its own; the same below.
    pub(super) fn answer(&mut self, id: u64) {
        self.set(id, State::Answered);
    }

    /// The client's answer is made.
    pub(super) fn wait(&mut self, id: u64) {
        self.now += 1;
        self.set(id, State::Waits(self.now));
    }

    /// The client sits out the pause of a wrong token.
    pub(super) fn pause(&mut self, id: u64) {
        self.now += 1;
        self.set(id, State::Pauses(self.now));
    }

    /// The client has gone, and its place is free.
    pub(super) fn leave(&mut self, id: u64) {
        self.taken.retain(|taken| taken.id != id);
    }

    fn set(&mut self, id: u64, state: State) {
        self.taken.iter_mut().filter(|taken| taken.id == id).for_each(|taken| taken.state = state);
    }

    /// A place for any request: a free one (`Some(None)`), one that another client must leave, or none.
    fn room(&self, peer: Peer) -> Option<Option<u64>> {
        let any = |taken: &Taken| taken.kind == Kind::Any;
        let own = |taken: &Taken| any(taken) && taken.peer == peer;
        let here = |taken: &Taken| any(taken) && taken.peer == Peer::Here;
        let elsewhere = |taken: &Taken| any(taken) && taken.peer != Peer::Here;
        let is_here = peer == Peer::Here;
        if !is_here && self.count(own) >= ADDRESS {
            return self.longest(peer, own).map(Some);
        }
        if !is_here && self.count(elsewhere) >= ANY - HERE {
            return self.longest(peer, elsewhere).map(Some);
        }
        if self.count(any) < ANY {
            return Some(None);
        }
        // This machine has its own places and more: what it has beyond them is lent.
        let other = || if is_here { None } else { self.longest(peer, elsewhere) };
        self.longest(peer, here).or_else(other).map(Some)
    }

    /// The same for a place for a brief request.
    fn brief_room(&self, peer: Peer) -> Option<Option<u64>> {
        let brief = |taken: &Taken| taken.kind == Kind::Brief;
        let own = |taken: &Taken| brief(taken) && taken.peer == peer;
        if self.count(own) >= BRIEF_EACH {
            return self.longest(peer, own).map(Some);
        }
        if self.count(brief) < BRIEF {
            return Some(None);
        }
        self.longest(peer, brief).map(Some)
    }

    fn count(&self, which: impl Fn(&Taken) -> bool) -> usize {
        self.taken.iter().filter(|taken| which(taken)).count()
    }

    /// The one of them that could do without its place longest.
    fn longest(&self, newcomer: Peer, which: impl Fn(&Taken) -> bool) -> Option<u64> {
        let those = self.taken.iter().filter(|taken| which(taken));
        those.filter_map(|taken| Some((taken.idles(newcomer)?, taken.id))).min().map(|(_, id)| id)
    }
}

#[cfg(test)]
mod tests {
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
}
