//! Topic filters: which are valid, which topics they match, and whether two of them can match one topic.
//!
//! Two filters that intersect make some brokers deliver a message twice and others once, so the configuration refuses
//! them, unless a route says that it takes what others leave; that is decided here from the filters alone, without a topic at hand. By MQTT 3.1.1, section 4.7: `+` is one
//! level, empty ones too; `#` is any number of levels, none too, and comes last; neither matches the first level of a
//! topic that starts with `$`.

/// Longest topic or filter in bytes: MQTT writes its length in 16 bits.
const BYTES_MAX: usize = 65_535;

/// What is wrong with a filter; `None` when MQTT allows it. `$share/group/filter` is allowed where `filter` is.
pub fn filter_problem(filter: &str) -> Option<&'static str> {
    if let Some(shared) = filter.strip_prefix("$share/") {
        return match shared.split_once('/') {
            Some((group, rest)) if !group.is_empty() && !group.contains(['+', '#']) => filter_problem(rest),
            _ => Some("a shared subscription is written \"$share/group/filter\""),
        };
    }
    if filter.is_empty() {
        return Some("a filter has at least one character");
    }
    if filter.len() > BYTES_MAX {
        return Some("a filter has at most 65,535 bytes");
    }
    if filter.contains('\0') {
        return Some("a filter holds no NUL character");
    }
    let levels: Vec<&str> = filter.split('/').collect();
    let (last, before) = levels.split_last()?;
    if before.iter().any(|level| level.contains('#')) || (last.contains('#') && *last != "#") {
        return Some("\"#\" must be alone in the last level");
    }
    if levels.iter().any(|level| level.contains('+') && *level != "+") {
        return Some("\"+\" must be alone in its level");
    }
    None
}

/// The filter that a shared subscription shares; any other filter itself.
pub fn unshared(filter: &str) -> &str {
    filter.strip_prefix("$share/").and_then(|shared| shared.split_once('/')).map_or(filter, |(_, rest)| rest)
}

/// Whether a valid filter matches a topic name.
pub fn matches(filter: &str, topic: &str) -> bool {
    let filter = unshared(filter);
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        match (wanted, levels.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (literal, Some(level)) if literal == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

/// Whether a subscription to a valid filter may deliver a message on this topic: the filter matches as it is written, or
/// with slashes for its dots. RabbitMQ makes slashes of a topic's dots, so `spBv1.0/+/NDATA/+` gets `spBv1/0/G/NDATA/N`.
pub fn matches_delivered(filter: &str, topic: &str) -> bool {
    let filter = unshared(filter);
    matches(filter, topic) || (filter.contains('.') && matches(&filter.replace('.', "/"), topic))
}

/// Which of some routes, each with its filters, takes a delivery on this topic: one with a filter that matches as it is
/// written, else one with a filter that matches with slashes for its dots; the first of them.
///
/// Two routes may meet in the second form alone. That is not a mistake in a configuration: only one broker's topics look so.
pub fn route_of<'a, R, F>(routes: R, topic: &str) -> Option<usize>
where
    R: IntoIterator<Item = F, IntoIter: Clone>,
    F: IntoIterator<Item = &'a String>,
{
    let routes = routes.into_iter();
    let takes = |by: fn(&str, &str) -> bool| {
        let mut routes = routes.clone();
        routes.position(|filters| filters.into_iter().any(|filter| by(filter, topic)))
    };
    takes(matches).or_else(|| takes(matches_delivered))
}

/// Whether there is a topic that both of two valid filters match.
pub fn intersect(a: &str, b: &str) -> bool {
    let (a, b) = (unshared(a), unshared(b));
    let wild = |filter: &str| filter.starts_with(['+', '#']);
    if (wild(a) && b.starts_with('$')) || (wild(b) && a.starts_with('$')) {
        return false;
    }
    // By the walk below they would meet in the empty topic alone, which is none.
    if [(a, b), (b, a)].contains(&("/#", "+")) {
        return false;
    }
    let (mut a, mut b) = (a.split('/'), b.split('/'));
    loop {
        match (a.next(), b.next()) {
            (None, None) | (Some("#"), _) | (_, Some("#")) => return true,
            (Some(x), Some(y)) if x == y || x == "+" || y == "+" => {}
            _ => return false,
        }
    }
}

/// Whether one valid filter matches every topic that another one matches.
pub fn covers(wide: &str, narrow: &str) -> bool {
    let (wide, narrow) = (unshared(wide), unshared(narrow));
    // Each wild card leaves out the topics of the broker's own.
    if wide.starts_with(['+', '#']) && narrow.starts_with('$') {
        return false;
    }
    // No topic is empty: so many levels are there at least.
    let narrow = match narrow {
        "#" => "+/#",
        "/#" => "/+/#",
        narrow => narrow,
    };
    let (mut wide, mut narrow) = (wide.split('/'), narrow.split('/'));
    loop {
        match (wide.next(), narrow.next()) {
            (None, None) | (Some("#"), _) => return true,
            (Some(x), Some(y)) if y != "#" && (x == y || x == "+") => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests;
