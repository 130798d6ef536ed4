//! Filters and topics: what matches, what meets, and which filters MQTT refuses.

use super::*;
use proptest::prelude::*;

const LEVELS: [&str; 4] = ["", "a", "b", "$S"];

/// Every topic of one to four levels over a small alphabet: no filter of up to three levels needs more to be told
/// from another.
fn topics() -> Vec<String> {
    let mut all = Vec::new();
    let mut longest: Vec<String> = LEVELS.map(str::to_owned).to_vec();
    for _ in 0..4 {
        all.extend(longest.iter().filter(|topic| !topic.is_empty()).cloned());
        longest = longest.iter().flat_map(|t| LEVELS.map(|level| format!("{t}/{level}"))).collect();
    }
    all
}

fn any_filter() -> impl Strategy<Value = String> {
    let level = prop::sample::select(vec!["", "a", "b", "$S", "+"]);
    let levels = (prop::collection::vec(level, 1..4), any::<bool>()).prop_map(|(mut levels, hash)| {
        if hash {
            levels.pop();
            levels.push("#");
        }
        levels.join("/")
    });
    levels.prop_filter("a valid filter", |filter| filter_problem(filter).is_none())
}

/// By the words of the specification, level for level.
fn matches_by_the_book(filter: &[&str], topic: &[&str]) -> bool {
    match (filter, topic) {
        ([], []) | (["#"], _) => true,
        ([wanted, filter @ ..], [level, topic @ ..]) => {
            (*wanted == "+" || wanted == level) && matches_by_the_book(filter, topic)
        }
        _ => false,
    }
}

proptest! {
    #[test]
    fn filters_intersect_exactly_where_some_topic_matches_both(a in any_filter(), b in any_filter()) {
        let common = topics().into_iter().find(|topic| matches(&a, topic) && matches(&b, topic));
        prop_assert_eq!(intersect(&a, &b), common.is_some(), "{:?}", common);
        prop_assert_eq!(intersect(&a, &b), intersect(&b, &a));
    }

    #[test]
    fn a_filter_covers_another_if_it_matches_all_its_topics(a in any_filter(), b in any_filter()) {
        let beyond = topics().into_iter().find(|topic| matches(&b, topic) && !matches(&a, topic));
        prop_assert_eq!(covers(&a, &b), beyond.is_none(), "{:?}", beyond);
    }

    #[test]
    fn a_filter_matches_what_the_book_says(filter in any_filter(), pick: prop::sample::Index) {
        let topics = topics();
        let topic = pick.get(&topics);
        let (f, t): (Vec<&str>, Vec<&str>) = (filter.split('/').collect(), topic.split('/').collect());
        let hidden = topic.starts_with('$') && filter.starts_with(['+', '#']);
        prop_assert_eq!(matches(&filter, topic), !hidden && matches_by_the_book(&f, &t));
    }

    #[test]
    fn a_filter_delivers_its_matches_with_dots_or_slashes(
            levels in prop::collection::vec("a|b|a[.]b|[.]|[+]|b[.]", 1..4), hash: bool,
            topic in "(a|b|[.])?(/(a|b|a[.]b|[.])?){0,5}", share: bool) {
        let plain = levels.join("/") + if hash { "/#" } else { "" };
        let filter = if share { format!("$share/g.1/{plain}") } else { plain.clone() };
        prop_assume!(!topic.is_empty());
        let slashed = plain.replace('.', "/");
        prop_assert_eq!(filter_problem(&slashed), None, "what is made of a valid filter is one");
        prop_assert_eq!(matches_delivered(&filter, &topic), matches(&plain, &topic) || matches(&slashed, &topic));
        // What a broker makes of a topic that the filter matches.
        if matches(&filter, &topic) && !hash && !plain.contains('+') {
            prop_assert!(matches_delivered(&filter, &topic.replace('.', "/")));
        }
        if !plain.contains('.') {
            prop_assert_eq!(matches_delivered(&filter, &topic), matches(&filter, &topic));
        }
    }

    #[test]
    fn an_exactly_matching_route_precedes_one_matching_by_slashes(
            routes in prop::collection::vec(prop::collection::vec("(a|b|a[.]b|[+])(/(a|b|a[.]b|[+])){0,2}", 1..3), 1..4),
            topic in "(a|b|a[.]b)(/(a|b|a[.]b)){0,3}") {
        let by = |by: fn(&str, &str) -> bool| routes.iter().position(|route| route.iter().any(|f| by(f, &topic)));
        let route = route_of(routes.iter(), &topic);
        prop_assert_eq!(route, by(matches).or(by(matches_delivered)));
    }

    #[test]
    fn a_filter_intersects_itself(filter in any_filter()) {
        prop_assert!(intersect(&filter, &filter));
    }

    #[test]
    fn any_text_is_judged(filter in "[a+#/$\\PC]{0,12}") {
        if filter_problem(&filter).is_none() {
            intersect(&filter, "a/#");
            matches(&filter, "a/b");
        }
    }
}

#[test]
fn wrong_filters_are_refused_with_the_rule() {
    for (filter, rule) in [
        ("", "a filter has at least one character"),
        ("a/#/b", "\"#\" must be alone in the last level"),
        ("a/b#", "\"#\" must be alone in the last level"),
        ("a/b+/c", "\"+\" must be alone in its level"),
        ("a\0", "a filter holds no NUL character"),
        ("$share/g", "a shared subscription is written \"$share/group/filter\""),
        ("$share/+/a", "a shared subscription is written \"$share/group/filter\""),
        ("$share/g/a#", "\"#\" must be alone in the last level"),
    ] {
        assert_eq!(filter_problem(filter), Some(rule), "{filter}");
    }
    for filter in ["#", "+", "/", "a//b", "a/+/#", "$SYS/#", "$share/g/a/#", "Büro/+"] {
        assert_eq!(filter_problem(filter), None, "{filter}");
    }
}

#[test]
fn a_topic_whose_dots_a_broker_made_slashes_is_taken() {
    assert!(matches_delivered("spBv1.0/+/NDATA/+", "spBv1/0/G/NDATA/N"));
    assert!(matches_delivered("spBv1.0/+/NDATA/+", "spBv1.0/G/NDATA/N"));
    assert!(matches_delivered("$share/g.1/a.b", "a/b") && !matches_delivered("a/b", "a.b"));
    assert!(!matches_delivered("spBv1.0/+/NDATA/+", "spBv1/0/G/DDATA/N/D"));
    let routes = [vec!["a.b".to_owned()], vec!["a/b".to_owned()]];
    assert_eq!(route_of(&routes, "a/b"), Some(1), "as it is written goes first");
    assert_eq!(route_of(&routes, "a.b"), Some(0));
    assert_eq!(route_of(&routes[..1], "a/b"), Some(0));
    assert_eq!(route_of(&routes, "c"), None);
    assert!(!intersect("a.b", "a/b"), "no mistake in a configuration");
}

#[test]
fn the_parent_level_belongs_to_its_hash() {
    assert!(matches("a/#", "a") && intersect("a/#", "a"));
    assert!(!intersect("#", "$SYS/broker") && !intersect("+/broker", "$SYS/broker"));
    assert!(intersect("$share/g/a/+", "a/b"));
}
