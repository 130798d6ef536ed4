//! Counts that must not be taken for each other: a journal's numbers, a lane's positions, a journal's opens.
//!
//! What was read from a disk may be anything, so sums with them saturate: none wraps, and none panics.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::{Add, Sub};

macro_rules! count {
    ($(#[$about:meta])* $name:ident) => {
        $(#[$about])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The largest value, behind all others.
            pub const MAX: $name = $name(u64::MAX);

            /// The one behind this one.
            #[must_use]
            pub const fn next(self) -> $name {
                $name(self.0.saturating_add(1))
            }

            /// Those from this one to before `end`.
            pub fn until(self, end: $name) -> impl Iterator<Item = $name> + Clone + use<> {
                (self.0..end.0).map($name)
            }

            /// The one before this one.
            #[must_use]
            pub const fn before(self) -> $name {
                $name(self.0.saturating_sub(1))
            }
        }

        impl Add<u64> for $name {
            type Output = $name;

            fn add(self, steps: u64) -> $name {
                $name(self.0.saturating_add(steps))
            }
        }

        /// Steps from another one to this one; 0 where that one lies behind it.
        impl Sub for $name {
            type Output = u64;

            fn sub(self, other: $name) -> u64 {
                self.0.saturating_sub(other.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(out)
            }
        }
    };
}

count! {
    /// A record's place in its lane, without holes, from 1.
    Position
}
count! {
    /// A record's place in the journal, over all lanes, from 1.
    Number
}
count! {
    /// Opens of a journal since it was made; never used twice.
    Epoch
}

impl Position {
    /// The first one of a lane.
    pub const FIRST: Position = Position(1);
}
