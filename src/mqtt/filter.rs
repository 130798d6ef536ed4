//! Topic filters: which topics they match. Our own, because the client library's matcher panics on a topic that begins
//! with a character of several bytes, and matches no filter at all against a topic that begins with `$`.

/// Whether `filter` is well formed: not empty, `#` alone and last, `+` alone in its level.
pub fn valid(filter: &str) -> bool {
    let filter = unshared(filter);
    if filter.is_empty() || filter.len() > usize::from(u16::MAX) || filter.contains('\0') {
        return false;
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let last = levels.peek().is_none();
        if level.contains('#') && (level != "#" || !last) || level.contains('+') && level != "+" {
            return false;
        }
    }
    true
}

/// Whether `filter` matches `topic`. A wildcard in the first level matches no topic that begins with `$`.
pub fn matches(filter: &str, topic: &str) -> bool {
    let filter = unshared(filter);
    if topic.starts_with('$') && filter.starts_with(['#', '+']) {
        return false;
    }
    let mut topic = topic.split('/');
    for level in filter.split('/') {
        if level == "#" {
            return true;
        }
        match topic.next() {
            Some(part) if level == "+" || level == part => {}
            _ => return false,
        }
    }
    topic.next().is_none()
}

/// The filter inside a shared subscription.
fn unshared(filter: &str) -> &str {
    let inner = filter.strip_prefix("$share/").and_then(|rest| rest.split_once('/'));
    inner.map_or(filter, |(_, inner)| inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn wildcards_match_as_the_protocol_says() {
        for (filter, topic, expected) in [
            ("a/b", "a/b", true),
            ("a/b", "a/b/c", false),
            ("a/+", "a/b", true),
            ("a/+", "a", false),
            ("a/+/c", "a//c", true),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("#", "a/b", true),
            ("#", "$SYS/x", false),
            ("+/x", "$SYS/x", false),
            ("$SYS/#", "$SYS/x", true),
            ("/a", "a", false),
            ("+/+", "/a", true),
            ("über/+", "über/raum", true),
            ("+/raum", "über/raum", true),
            ("$share/g/a/+", "a/b", true),
        ] {
            assert_eq!(matches(filter, topic), expected, "{filter} {topic}");
        }
    }

    #[test]
    fn malformed_filters_are_refused() {
        for filter in ["", "a/#/b", "a#", "a/b+", "$share/g/", "a\0"] {
            assert!(!valid(filter), "{filter:?}");
        }
        for filter in ["#", "+", "a/+/b/#", "/", "$share/g/a", "$SYS/#"] {
            assert!(valid(filter), "{filter:?}");
        }
    }

    proptest! {
        #[test]
        fn no_topic_panics_and_a_topic_matches_itself(topic in "\\PC{0,12}", filter in "\\PC{0,12}") {
            matches(&filter, &topic);
            prop_assume!(!topic.contains(['+', '#']) && !topic.starts_with("$share/"));
            prop_assert!(matches(&topic, &topic));
        }
    }
}
