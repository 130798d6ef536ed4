//! What the link carries, and how much of it may be in the air. Pure.
//!
//! Flights share the link, so a flight's own time says little. What is counted is its *share*: the time for which it would have had
//! the link alone, a second for one flight, half a second for each of two. Bytes by share is the link's rate.
//!
//! What is aloft when the link goes is lost, so on one that comes and goes little is: a batch takes a fifth of the time for which it
//! stayed up before, or has stayed up since, and one more flies beside it at most.

use crate::sqs::limits::LEAST_MESSAGE_BYTES;
use std::time::Duration;
use tokio::time::Instant;

/// A batch takes this long on the link at most, where it is slow: 25 KB at 10 kbit/s. Longer ones risk more at once (how long AWS waits
/// for a body that arrives slowly is not documented), shorter ones cost more in headers, of 0.8 KB each.
const BATCH: Duration = Duration::from_secs(20);
/// The next batch goes when no more than this is left of those in the air, so that the link carries on while an answer comes back.
const AHEAD: Duration = Duration::from_secs(3);
/// A connection beside the one that is in use costs so many bytes, its handshake included. Where the link takes longer for them than
/// the next batch would go ahead, the connection comes too late for it, and its tries crowd out what is under way.
const CONNECTION_BYTES: f64 = 1_500.0;
/// Of the time for which the link has lately stayed up, a batch takes a fifth at most: what is aloft when the link goes, goes again.
const FIFTH: u32 = 5;
/// A batch takes so long at least, however short the link stays up: shorter ones are headers for the most part.
const SHORTEST_BATCH: Duration = Duration::from_millis(500);
/// Bounds of what is computed: no link is faster than that a batch takes this, nor slower than a byte per second.
const SHORTEST: Duration = Duration::from_micros(100);
const SLOWEST: f64 = 1.0;
/// The first batch, while the rate is not known: 54 s at 2.4 kbit/s.
const FIRST_BYTES: usize = 16 * 1024;

/// Time that a flight would have had the link alone.
pub type Share = Duration;

/// Whether one more flight may go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Room {
    /// Now, with at most so many bytes.
    Bytes(usize),
    /// When a flight has come back.
    AfterFlight,
    /// Then, as far as can be told.
    At(Instant),
}

/// The pace of one lane.
#[derive(Clone, Copy, Default, Debug)]
pub struct Pace {
    rate: Option<f64>,
    /// Share of a flight that would always have been in the air, and when it was counted last.
    share: Share,
    counted: Option<Instant>,
    /// The first and the last answer since the link came back.
    up: Option<(Instant, Instant)>,
    /// Between the first and the last answer before it went.
    stayed_up: Option<Duration>,
}

impl Pace {
    /// Bytes per second, as far as flights have told.
    pub fn rate(&self) -> Option<f64> {
        self.rate
    }

    /// Bytes that one more flight may have now beside `aloft`, each with its bytes and the share when it went.
    pub fn room(&self, now: Instant, aloft: &[(usize, Share)], bound: usize) -> Room {
        let Some(rate) = self.rate else {
            return if aloft.is_empty() { Room::Bytes(bound.min(FIRST_BYTES)) } else { Room::AfterFlight };
        };
        let longest = self.longest();
        let carried = rate * longest.as_secs_f64();
        let batch = (carried as usize).max(LEAST_MESSAGE_BYTES).min(bound);
        let ahead = rate * AHEAD.min(longest / 2).as_secs_f64();
        // One beside the one that flies, at most, where connections cost more than that, or all that is aloft may be lost at any time.
        let most = match rate * AHEAD.as_secs_f64() < CONNECTION_BYTES {
            true => 1,
            false if longest < AHEAD && carried < bound as f64 => 2,
            false => usize::MAX,
        };
        if aloft.len() >= most {
            return Room::AfterFlight;
        }
        let share = self.share_at(now, aloft.len());
        let left = |(bytes, since): &(usize, Share)| *bytes as f64 - rate * share.saturating_sub(*since).as_secs_f64();
        let left: f64 = aloft.iter().map(|flight| left(flight).max(0.0)).sum();
        if left + batch as f64 <= carried {
            return Room::Bytes(batch);
        }
        let early = left - ahead;
        if early <= 0.0 {
            return Room::Bytes(batch);
        }
        Room::At(now + Duration::try_from_secs_f64(early / rate).unwrap_or(BATCH).min(BATCH))
    }

    /// A flight goes beside `flights` others. Gives the share so far, to be given back with [`Pace::landed`].
    pub fn launched(&mut self, now: Instant, flights: usize) -> Share {
        self.count(now, flights);
        self.share
    }

    /// One of `flights` has landed with so many bytes.
    pub fn landed(&mut self, now: Instant, flights: usize, launched: Share, bytes: usize, arrived: bool) {
        self.count(now, flights);
        let alone = self.share.saturating_sub(launched);
        if arrived && bytes > 0 {
            let rate = bytes as f64 / alone.max(SHORTEST).as_secs_f64();
            self.rate = Some(self.rate.map_or(rate, |old| (old + rate) / 2.0).max(SLOWEST));
        }
    }

    /// Something came over the link.
    pub fn answered(&mut self, now: Instant) {
        self.up = Some((self.up.map_or(now, |(since, _)| since), now));
    }

    /// The link went.
    pub fn went(&mut self) {
        self.stayed_up = self.up.take().map(|(since, last)| last - since).or(self.stayed_up);
    }

    /// For how long a batch may take the link.
    fn longest(&self) -> Duration {
        let Some(stayed) = self.stayed_up else { return BATCH };
        let stays = self.up.map_or(Duration::ZERO, |(since, last)| last - since);
        (stayed.max(stays) / FIFTH).clamp(SHORTEST_BATCH, BATCH)
    }

    /// Nothing is known of the link any more.
    pub fn forget(&mut self) {
        self.rate = None;
    }

    fn count(&mut self, now: Instant, flights: usize) {
        self.share = self.share_at(now, flights);
        self.counted = Some(now);
    }

    fn share_at(&self, now: Instant, flights: usize) -> Share {
        match self.counted {
            Some(counted) if flights > 0 => self.share + now.saturating_duration_since(counted) / flights as u32,
            _ => self.share,
        }
    }
}

#[cfg(test)]
mod tests;
