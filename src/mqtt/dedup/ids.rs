//! How a broker uses its packet ids, as far as it shows.
//!
//! MQTT lets a broker use an id again once it has the ack for it. Some count up to 65,535 first (Mosquitto); others take the
//! lowest free one, or go round in a small circle, and then one id means many messages within a minute (HiveMQ, rumqttd).
//! Of the second kind a redelivery cannot be told from the next message with equal bytes, unless its ack is surely open.

use std::collections::VecDeque;

/// Deliveries that are looked back on.
const SPAN: usize = 2_048;

/// What a broker does with its ids.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum IdUse {
    /// Too few deliveries were seen.
    Unknown,
    /// No id came twice in a long row.
    Distinct,
    /// One came again within the row.
    Reused,
}

/// The ids of the last deliveries of one session that were not redeliveries.
#[derive(Debug, Default)]
pub(super) struct Ids {
    row: VecDeque<u16>,
    /// One bit for each id that is in `row`; empty until the first.
    standing: Vec<u64>,
    /// Deliveries since an id last came again within the row; `None`: that never happened.
    since_reuse: Option<usize>,
}

impl Ids {
    /// A delivery that is not a redelivery came under `packet_id`.
    pub(super) fn came(&mut self, packet_id: u16) {
        if self.standing.is_empty() {
            self.standing = vec![0; 1 + usize::from(u16::MAX) / 64];
        }
        self.since_reuse = self.since_reuse.map(|since| since + 1).filter(|since| *since < SPAN);
        let (word, bit) = (usize::from(packet_id / 64), 1 << (packet_id % 64));
        if self.standing[word] & bit != 0 {
            self.since_reuse = Some(0);
            // The row has it once, at its newest place.
            self.row.retain(|id| *id != packet_id);
        }
        self.standing[word] |= bit;
        self.row.push_back(packet_id);
        if self.row.len() > SPAN
            && let Some(oldest) = self.row.pop_front()
        {
            self.standing[usize::from(oldest / 64)] &= !(1 << (oldest % 64));
        }
    }

    /// The session ended: a broker counts anew in the next one. How it reuses ids stays the same.
    pub(super) fn session_ended(&mut self) {
        *self = Ids { since_reuse: self.since_reuse, ..Ids::default() };
    }

    /// What the ids show of the broker's habit.
    pub(super) fn show(&self) -> IdUse {
        match self.since_reuse {
            Some(_) => IdUse::Reused,
            None if self.row.len() < SPAN => IdUse::Unknown,
            None => IdUse::Distinct,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_counting_broker_is_known_after_a_run_despite_wraparound() {
        let mut ids = Ids::default();
        let counted = || (1..=u16::MAX).cycle();
        for (n, id) in counted().take(200_000).enumerate() {
            ids.came(id);
            assert_eq!(ids.show(), if n + 1 < SPAN { IdUse::Unknown } else { IdUse::Distinct }, "after {n}");
        }
    }

    proptest! {
        #[test]
        fn a_broker_reusing_few_ids_is_found_at_first_reuse(circle in 1u16..4_000) {
            let mut ids = Ids::default();
            let small = usize::from(circle) <= SPAN;
            for (n, id) in (1..=circle).cycle().take(usize::from(circle) + 3).enumerate() {
                ids.came(id);
                prop_assert_eq!(ids.show() == IdUse::Reused, small && n >= usize::from(circle));
            }
        }

        #[test]
        fn one_reuse_is_remembered_for_the_length_of_the_row(at in 1u16..1_000) {
            let mut ids = Ids::default();
            (1..=at).for_each(|id| ids.came(id));
            ids.came(at);
            for n in 1..=SPAN as u16 {
                prop_assert_eq!(ids.show(), IdUse::Reused);
                ids.came(at + n);
            }
            prop_assert_eq!(ids.show(), IdUse::Distinct);
        }
    }
}
