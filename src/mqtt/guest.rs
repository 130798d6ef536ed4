//! The client id of a guest: of the agent's kind, and never the agent's. Pure.
//!
//! Brokers judge client ids by their length (23 bytes are what MQTT 3.1 promises), their characters and how they begin. A guest
//! under an id of another kind would be told what the agent will not be.

/// Characters that are drawn, where the agent's id has as many: no other client has them by chance.
const DRAWN: usize = 8;
/// Least bytes of a guest's id: fewer leave too little to draw.
const LEAST: usize = 4;
const LOWER: &[u8] = b"abcdefghijklmnopqrstuvwxyz";
const UPPER: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const DIGITS: &[u8] = b"0123456789";

/// An id as long as `own` in bytes, at least [`LEAST`], with the same beginning; `draw` gives random numbers.
pub(super) fn client_id(own: &str, mut draw: impl FnMut() -> u32) -> String {
    let end = own.len().max(LEAST);
    let kept = &own[..own.floor_char_boundary(own.len().saturating_sub(DRAWN))];
    let has = |kind: &[u8]| own.bytes().any(|byte| kind.contains(&byte));
    let mut set: Vec<u8> = [LOWER, UPPER, DIGITS].into_iter().filter(|kind| has(kind)).flatten().copied().collect();
    // A short id of digits alone could be another client's.
    if set.is_empty() || set.len() < LOWER.len() && own.len() < DRAWN {
        set.extend_from_slice(LOWER);
    }
    let drawn = (kept.len()..end).map(|_| char::from(set[draw() as usize % set.len()]));
    let id: String = kept.chars().chain(drawn).collect();
    if id != own {
        return id;
    }
    let other = set.iter().map(|byte| char::from(*byte)).find(|other| !id.ends_with(*other));
    id[..id.len() - 1].chars().chain(other).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_guests_client_id_resembles_the_agents_but_differs(own in "[a-zA-Z0-9._é-]{1,40}", seed: u32) {
            let mut next = seed;
            let id = client_id(&own, || { next = next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223); next >> 8 });
            prop_assert_eq!(id.len(), own.len().max(LEAST));
            prop_assert!(id != own);
            let kept = own.floor_char_boundary(own.len().saturating_sub(DRAWN));
            prop_assert!(id.starts_with(&own[..kept]), "{} of {}", id, own);
            prop_assert!(id[kept..].bytes().all(|byte| byte.is_ascii_alphanumeric()));
        }
    }

    #[test]
    fn a_guests_client_id_uses_the_agents_character_kinds() {
        let id = |own: &str| {
            let mut n = 0;
            client_id(own, || {
                n += 7;
                n
            })
        };
        assert!(id("112233445566").bytes().all(|byte| byte.is_ascii_digit()), "{}", id("112233445566"));
        let upper = id("GW-ROOF-HQ");
        assert!(upper.starts_with("GW") && upper.bytes().all(|b| b.is_ascii_uppercase() || b == b'-'), "{upper}");
        assert!(
            id("0001").bytes().any(|byte| byte.is_ascii_lowercase()),
            "not another gateway's number: {}",
            id("0001")
        );
        assert_eq!(id("g").len(), LEAST);
    }

    #[test]
    fn a_draw_of_the_agents_own_id_becomes_another_one() {
        assert_eq!(client_id("aaaaaaaa", || 0), "aaaaaaab");
    }
}
