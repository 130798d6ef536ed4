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
mod tests;
