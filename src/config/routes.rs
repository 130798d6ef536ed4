//! Reads `[[routes]]`: which topics go through which profile to which queues.
//!
//! A message goes to the first route that takes it. Filters of two routes may intersect only where the later one says
//! `fallback = true`: some brokers deliver such a message twice, others once, and by mistake it would be read by the wrong
//! profile. What an earlier route takes whole is not a filter of a fallback: it would be asked for in vain, and its
//! route be silent. Fan-out is `queues = [..]`.

use crate::config::RouteConfig;
use crate::config::form::{At, Form, Located, not_a_word, plain_text};
use crate::config::parse::{self, Wrong};
use crate::config::problem::{Place, nearest};
use crate::config::reader::{Reader, Section};
use crate::profile::generic::DeviceAt;
use crate::profile::{Profile, ProfileInfo, ProfileOptions, REGISTRY};
use crate::record::identity::Grouping;
use crate::topic::{covers, filter_problem, intersect};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Words of `group`.
pub(super) const GROUPINGS: [(&str, Grouping); 4] = [
    ("device", Grouping::Device),
    ("topic", Grouping::Topic),
    ("gateway", Grouping::Gateway),
    ("application", Grouping::Application),
];

/// Reads all routes. None at all is a problem. `queues` are the names that a route may use.
pub(super) fn routes<'d>(reader: &mut Reader<'d>, root: &'d DeTable<'d>, queues: &[String]) -> Vec<RouteConfig> {
    let Some(value) = root.get("routes") else {
        let at = At { key: String::new(), place: Place::File };
        let expected = "at least one section [[routes]] with profile and queue".to_owned();
        let wrong = Wrong { found: "no route: no message would be taken".to_owned(), expected, ..Wrong::default() };
        reader.problem(&at, None, wrong);
        return Vec::new();
    };
    let items = value.get_ref().as_array().filter(|items| items.iter().all(|item| item.get_ref().is_table()));
    let Some(items) = items else {
        let at = At { key: "routes".to_owned(), place: reader.source.place(value.span()) };
        let wrong = Wrong::because("routes is not a list of sections");
        reader.problem(&at, None, wrong.suggest("write [[routes]], with two brackets, above each route"));
        return Vec::new();
    };
    let mut routes = Vec::new();
    let mut filters: Vec<Located<String>> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let Some(table) = item.get_ref().as_table() else { continue };
        let section = reader.section(&format!("route {}: ", index + 1), Some((table, item.span())), false);
        let (route, own) = route(section, queues, &filters);
        let of_others = filters.len();
        for filter in own.filters {
            if !own.fallback {
                check_disjoint(reader, &filter, &filters[..of_others], OF_OTHERS);
            }
            check_disjoint(reader, &filter, &filters[of_others..], OF_ROUTE);
            filters.push(filter);
        }
        routes.extend(route);
    }
    routes
}

/// The filters of a route with their places, and whether they may meet those of earlier routes.
struct Own {
    filters: Vec<Located<String>>,
    fallback: bool,
}

/// One route, if it could be read, and its filters; `before` are those of earlier routes.
fn route(mut section: Section<'_, '_>, queues: &[String], before: &[Located<String>]) -> (Option<RouteConfig>, Own) {
    let info = section
        .text("profile", |name| REGISTRY.iter().find(|info| info.name == name).ok_or_else(|| not_a_profile(name)));
    if info.is_none() && !section.has("profile") {
        let expected = format!("one of {}", Profile::names().join(", "));
        section.missing("profile", &expected, "profile = \"chirpstack-v4\"");
    }
    let mut topics = topics(&mut section, info.as_ref());
    let fallback = section.boolean("fallback");
    if let Some(fallback) = fallback.as_ref().filter(|fallback| fallback.value) {
        topics = left_over(&mut section, topics, before, &fallback.at);
    }
    let fallback = fallback.is_some_and(|fallback| fallback.value);
    let options = options(&mut section, info.as_ref().map(|info| info.value));
    let targets = targets(&mut section, queues);
    section.finish(|key| match key {
        "topic" | "filter" => Some("did you mean \"topics\"?"),
        "qos" => Some("the agent always subscribes with QoS 1"),
        "priority" => Some("a message goes to the first route that takes it; write fallback = true in the later one"),
        _ => None,
    });
    let profile = info.and_then(|info| Profile::named(info.value.name, options.clone()));
    let route = profile.map(|profile| {
        let topics = topics.iter().map(|topic| topic.value.clone()).collect();
        RouteConfig { topics, fallback, profile, options: options.clone(), queues: targets }
    });
    (route, Own { filters: topics, fallback })
}

/// The filters of a fallback that earlier routes leave something of. One that is written and takes nothing is a mistake, and
/// so is a route of which none is left.
fn left_over(
    section: &mut Section<'_, '_>,
    topics: Vec<Located<String>>,
    before: &[Located<String>],
    fallback: &At,
) -> Vec<Located<String>> {
    let (some, written) = (!topics.is_empty(), section.has("topics"));
    let mut left = Vec::new();
    for topic in topics {
        let Some(other) = before.iter().find(|other| covers(&other.value, &topic.value)) else {
            left.push(topic);
            continue;
        };
        if written {
            let found =
                format!("\"{}\" takes nothing: \"{}\"{} takes it all before", topic.value, other.value, line(other));
            let wrong = Wrong::because(found).suggest("remove it, or put this route above the other one");
            section.reader.problem(&topic.at, None, wrong);
        }
    }
    if some && left.is_empty() && !written {
        let wrong = Wrong::because("nothing is left for this route: earlier ones take all topics of its profile");
        section.reader.problem(fallback, None, wrong.suggest("put it above them, or give it topics of its own"));
    }
    left
}

/// Names that people use for what a profile reads.
const OTHER_NAMES: [(&str, &str); 7] = [
    ("ttn", "tts-v3"),
    ("the-things", "tts-v3"),
    ("z2m", "zigbee2mqtt"),
    ("zigbee", "zigbee2mqtt"),
    ("actility", "thingpark"),
    ("wanesy", "kerlink"),
    ("json", "generic"),
];

/// What to say about a name that no profile has: where it begins several names, each with what it reads.
fn not_a_profile(name: &str) -> Wrong {
    let wrong = not_a_word(name, &Profile::names());
    let plain = name.to_lowercase().replace(['_', ' '], "-");
    let other = OTHER_NAMES.iter().find(|(other, _)| plain.starts_with(other)).map(|(_, profile)| *profile);
    let fits = |info: &&ProfileInfo| other == Some(info.name) || info.name.starts_with(&format!("{plain}-"));
    let fitting: Vec<String> =
        REGISTRY.iter().filter(fits).map(|info| format!("\"{}\" ({})", info.name, info.summary)).collect();
    match &fitting[..] {
        [] => wrong,
        [one] => wrong.suggest(format!("did you mean {one}?")),
        several => wrong.suggest(format!("write one of {}; or \"auto\", which tells them apart", several.join(", "))),
    }
}

/// The route's filters, or its profile's.
fn topics(section: &mut Section<'_, '_>, info: Option<&Located<&'static ProfileInfo>>) -> Vec<Located<String>> {
    let Some((form, at)) = section.take("topics") else {
        let Some(info) = info else { return Vec::new() };
        if info.value.default_topics.is_empty() {
            let expected = format!("topic filters: the profile \"{}\" has none of its own", info.value.name);
            section.missing("topics", &expected, "topics = [\"site/+/sensor/#\"]");
        }
        let default = info.value.default_topics.iter();
        return default.map(|topic| Located { value: (*topic).to_owned(), at: info.at.clone() }).collect();
    };
    strings(section, form, at, "a list of topic filters such as [\"site/+/sensor/#\"]")
        .into_iter()
        .filter(|topic| match wrong_filter(&topic.value) {
            Some(wrong) => {
                section.reader.problem(&topic.at, Some(&Form::Text(&topic.value)), wrong);
                false
            }
            None => true,
        })
        .collect()
}

fn wrong_filter(filter: &str) -> Option<Wrong> {
    if let Some(rule) = filter_problem(filter) {
        return Some(Wrong::expected(format!("a topic filter: {rule}")));
    }
    if filter.starts_with("$share/") {
        let wrong = Wrong::expected("a plain topic filter: a shared subscription would tear a device's messages apart");
        return Some(wrong.did_you_mean(crate::topic::unshared(filter)));
    }
    if filter == "$SYS" || filter.starts_with("$SYS/") {
        return Some(Wrong::expected("topics of devices: $SYS is the broker's own, which the agent watches by itself"));
    }
    None
}

/// A list of texts, not empty, each with its place.
pub(super) fn strings(section: &mut Section<'_, '_>, form: Form<'_>, at: At, expected: &str) -> Vec<Located<String>> {
    let Form::Array(items) = form else {
        let wrong = Wrong::expected(expected);
        let wrong = match form {
            Form::Text(text) => wrong.suggest(format!("write it in brackets: [\"{text}\"]")),
            _ => wrong,
        };
        section.reader.problem(&at, Some(&form), wrong);
        return Vec::new();
    };
    if items.is_empty() {
        section.reader.problem(
            &at,
            None,
            Wrong { found: "the list is empty".to_owned(), expected: expected.to_owned(), ..Wrong::default() },
        );
    }
    let mut out = Vec::new();
    for item in items {
        let at = At { key: at.key.clone(), place: section.reader.source.place(item.span()) };
        match item_text(item) {
            Ok(text) => out.push(Located { value: text.to_owned(), at }),
            Err((form, wrong)) => section.reader.problem(&at, Some(&form), wrong),
        }
    }
    out
}

fn item_text<'d>(item: &'d Spanned<DeValue<'d>>) -> Result<&'d str, (Form<'d>, Wrong)> {
    let form = Form::of(item.get_ref());
    plain_text(&form).map_err(|wrong| (form, wrong))
}

/// Grouping, and the pointers of profiles that read them.
fn options(section: &mut Section<'_, '_>, info: Option<&'static ProfileInfo>) -> ProfileOptions {
    let grouping = section.choice("group", &GROUPINGS);
    if let (Some(group), Some(info)) = (&grouping, info)
        && group.value == Grouping::Application
        && !info.knows_applications
    {
        let wrong = Wrong::because(format!("the profile \"{}\" knows no applications", info.name));
        section.reader.problem(
            &group.at,
            None,
            Wrong { expected: "\"device\", \"topic\" or \"gateway\"".to_owned(), ..wrong },
        );
    }
    let device = section.text("device", |text| text.parse::<DeviceAt>().map_err(Wrong::expected));
    let record_type = section.text("type", parse::label);
    let record_id = section.choice("key", &[("default", false), ("record-id", true)]);
    if let (Some(key), Some(info)) = (record_id.as_ref().filter(|key| key.value), info)
        && info.name != "microshare"
    {
        let wrong = Wrong::because(format!("the profile \"{}\" knows no record ids", info.name));
        section.reader.problem(&key.at, None, wrong.suggest("remove it: it belongs to profile = \"microshare\""));
    }
    let pointers = ["id", "time", "counter"].map(|key| section.text(key, |text| text.parse().map_err(Wrong::expected)));
    if let Some(info) = info.filter(|info| !info.reads_pointers) {
        // Plain values tell their device by the topic, if at all.
        let plain = |device: &&Located<DeviceAt>| info.name != "plain" || matches!(device.value, DeviceAt::Pointer(_));
        let device = device.as_ref().filter(plain).map(|device| &device.at);
        let record_type = record_type.as_ref().map(|name| &name.at);
        let pointers = pointers.iter().flatten().map(|pointer| &pointer.at);
        for at in device.into_iter().chain(record_type).chain(pointers) {
            let wrong = Wrong::because(format!("has no effect: the profile \"{}\" knows its payloads", info.name));
            section.reader.problem(at, None, wrong.suggest("remove it, or use profile = \"generic\""));
        }
    }
    let [id, time, counter] = pointers.map(|pointer| pointer.map(|pointer| pointer.value));
    let grouping = grouping.map_or_else(Grouping::default, |group| group.value);
    ProfileOptions {
        grouping,
        device: device.map(|device| device.value),
        id,
        time,
        counter,
        record_type: record_type.map(|name| name.value),
        record_id: record_id.is_some_and(|key| key.value),
    }
}

/// `queue = "main"` or `queues = ["main", "audit"]`, each the name of a queue, none twice.
fn targets(section: &mut Section<'_, '_>, known: &[String]) -> Vec<String> {
    let one = section.text("queue", |name| Ok(name.to_owned()));
    let mut targets: Vec<Located<String>> = one.into_iter().collect();
    if let Some((form, at)) = section.take("queues") {
        if section.has("queue") {
            let wrong = Wrong::because("both queue and queues are set").suggest("keep queues, with all names in it");
            section.reader.problem(&at, None, wrong);
        }
        targets.extend(strings(section, form, at, "a list of queue names such as [\"main\", \"audit\"]"));
    } else if !section.has("queue") {
        let expected = "the name of a queue, or queues = [..] for several";
        section.missing("queue", expected, &format!("queue = \"{}\"", known.first().map_or("main", String::as_str)));
    }
    let mut out: Vec<String> = Vec::new();
    for Located { value, at } in targets {
        // Without any queue the missing queue is the problem, and is reported elsewhere.
        if !known.contains(&value) && !known.is_empty() {
            let wrong = Wrong::because(format!("there is no queue \"{value}\""));
            let wrong = match nearest(&value, known.iter().map(String::as_str)) {
                Some(meant) => wrong.did_you_mean(meant),
                None => wrong.suggest(format!("add a section [queues.{value}]")),
            };
            section.reader.problem(&at, None, wrong);
        } else if out.contains(&value) {
            section.reader.problem(&at, None, Wrong::because(format!("the queue \"{value}\" is named twice")));
        }
        out.push(value);
    }
    out
}

/// What to do about filters of two routes that meet.
const OF_OTHERS: &str = "make them disjoint, or write fallback = true in the later route: it takes what the earlier one leaves; \
                         to send a topic to several queues, use queues = [..] on one route";
/// What to do about filters of one route that meet.
const OF_ROUTE: &str = "make them disjoint: some brokers deliver a message once for each filter that matches it";

/// Notes the first of these filters that can match the same topic.
fn check_disjoint(reader: &mut Reader<'_>, filter: &Located<String>, before: &[Located<String>], todo: &str) {
    let Some(other) = before.iter().find(|other| intersect(&other.value, &filter.value)) else { return };
    let found = format!("\"{}\" and \"{}\"{} can match the same topic", filter.value, other.value, line(other));
    reader.problem(&filter.at, None, Wrong::because(found).suggest(todo));
}

/// Where a filter is, to be put behind it.
fn line(filter: &Located<String>) -> String {
    match &filter.at.place {
        Place::Line { line, .. } => format!(" in line {line}"),
        _ => String::new(),
    }
}
