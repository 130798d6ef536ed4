//! Reads `[queues.NAME]`: where records go, with which keys, in which form.

use crate::config::form::{At, Form, Located, plain_text};
use crate::config::parse::{self, Wrong};
use crate::config::queue_url::{QueueUrl, may_be_region};
use crate::config::reader::{Reader, Section};
use crate::config::{BodyFormat, CredentialsSource, Ordering, QueueConfig};
use crate::record::type_template::Template;
use std::time::Duration;
use toml::de::{DeTable, DeValue};

/// Four round trips of 50 ms carry 800 records/s, more than a FIFO queue takes from one gateway.
const MAX_IN_FLIGHT: usize = 4;
/// One billing unit of SQS, short to repeat on a bad link.
const BATCH_BYTES: u64 = 64 << 10;
/// SQS takes 1 MiB in a batch; 1 KiB stays free for what is counted differently.
const BATCH_BYTES_MAX: u64 = (1 << 20) - (1 << 10);
/// Name resolution, TCP and TLS over a slow mobile link.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A batch of 64 KiB at 32 kbit/s takes 16 s.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(20);

/// The queues that could be read, and the names of all that the file has.
pub(super) struct Queues {
    pub(super) queues: Vec<QueueConfig>,
    pub(super) names: Vec<String>,
}

/// The journal's state has room for eight lanes whatever has happened to them (a test holds each below 500 bytes of 4 KiB),
/// and usually for some more of queues that are not configured any more and still have records waiting.
const QUEUES_MAX: usize = 8;

/// Reads all queues, in the order of the file. None at all is a problem, and so are more than [`QUEUES_MAX`].
pub(super) fn queues<'d>(reader: &mut Reader<'d>, root: &'d DeTable<'d>) -> Queues {
    let mut out = Queues { queues: Vec::new(), names: Vec::new() };
    let Some(value) = root.get("queues") else {
        let at = At { key: String::new(), place: crate::config::problem::Place::File };
        let wrong = Wrong {
            found: "no queue".to_owned(),
            expected: "at least one section [queues.NAME]".to_owned(),
            ..Wrong::default()
        };
        reader.problem(&at, None, wrong.suggest("add [queues.main] with url and credentials_file"));
        return out;
    };
    let at = At { key: "queues".to_owned(), place: reader.source.place(value.span()) };
    let DeValue::Table(table) = value.get_ref() else {
        let wrong = Wrong { found: "queues is not a set of named sections".to_owned(), ..Wrong::default() };
        reader.problem(&at, None, wrong.suggest("write [queues.main] instead of [[queues]]"));
        return out;
    };
    // The parser sorts by name; people count in the order of the file.
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    for (name, value) in entries {
        let path = format!("queues.{}", name.get_ref());
        let at = At { key: path.clone(), place: reader.source.place(name.span()) };
        let Some(table) = value.get_ref().as_table() else {
            let wrong = Wrong::because("not a section")
                .suggest("a queue is a section of its own: write [queues.main] above its url");
            reader.problem(&at, None, wrong);
            continue;
        };
        // One problem, at the first one too many.
        if out.names.len() == QUEUES_MAX {
            let wrong =
                Wrong { expected: format!("at most {QUEUES_MAX} queues"), ..Wrong::because("one queue too many") };
            reader.problem(
                &at,
                None,
                wrong.suggest("let a queue's consumers tell the records apart, or run a second agent"),
            );
        }
        if let Err(wrong) = parse::label(name.get_ref()) {
            reader.problem(&at, Some(&Form::Text(name.get_ref())), wrong);
        }
        out.names.push(name.get_ref().to_string());
        let section = reader.section(&path, Some((table, name.span())), true);
        out.queues.extend(queue(section, name.get_ref()));
    }
    out
}

/// Words of `body`.
pub(super) const BODIES: [(&str, BodyFormat); 3] =
    [("cloudevents", BodyFormat::CloudEvents), ("raw", BodyFormat::Raw), ("microshare", BodyFormat::Microshare)];
/// Words of `ordering`.
pub(super) const ORDERINGS: [(&str, Ordering); 2] = [("strict", Ordering::Strict), ("packed", Ordering::Packed)];

fn queue(mut section: Section<'_, '_>, name: &str) -> Option<QueueConfig> {
    let url = section.text("url", |text| QueueUrl::parse(text).map_err(Wrong::because));
    if url.is_none() && !section.has("url") {
        let example = "url = \"https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo\"";
        section.missing("url", "the queue's URL, as the SQS console shows it", example);
    }
    let region = region(&mut section, url.as_ref());
    let endpoint = endpoint(&mut section, url.as_ref());
    let ca_file = section.path("ca_file").map(|file| file.value);
    let credentials = credentials(&mut section);
    let body = section.choice("body", &BODIES);
    let body = body.map_or(BodyFormat::CloudEvents, |body| body.value);
    let gap_records = section.boolean("gap_records").map_or(body == BodyFormat::CloudEvents, |gaps| gaps.value);
    let health_records =
        section.boolean("health_records").map_or(body == BodyFormat::CloudEvents, |health| health.value);
    let rectype = section.text("rectype", |text| text.parse::<Template>().map_err(Wrong::expected));
    if let Some(rectype) = rectype.as_ref().filter(|_| body == BodyFormat::Raw) {
        let wrong = Wrong::because("has no place in a raw body, and its attributes are fixed");
        section.reader.problem(&rectype.at, None, wrong.suggest("remove it, or use body = \"cloudevents\""));
    }
    let ordering = ordering(&mut section, url.as_ref());
    let max_in_flight = section.count("max_in_flight", 1..=32);
    let batch_bytes = section.size("batch_bytes", 1 << 10..=BATCH_BYTES_MAX);
    let second = Duration::from_secs(1);
    let connect_timeout = section.duration("connect_timeout", second..=60 * second);
    let connect_timeout = connect_timeout.map_or(CONNECT_TIMEOUT, |time| time.value);
    let attempt_timeout = section.duration("attempt_timeout", second..=300 * second);
    if let Some(Located { value, at }) = attempt_timeout.as_ref().filter(|attempt| attempt.value < connect_timeout) {
        let found = format!("{} is shorter than connect_timeout", parse::duration_text(*value));
        let expected = format!("at least {}", parse::duration_text(connect_timeout));
        section.reader.problem(at, None, Wrong { found, expected, suggestion: String::new() });
    }
    let link_probe = section.boolean("link_probe").is_none_or(|probe| probe.value);
    section.finish(hint);
    let (endpoint, allow_plain_http) = endpoint;
    let url = url?.value;
    let batch_bytes = batch_bytes.map_or(BATCH_BYTES, |bytes| bytes.value);
    Some(QueueConfig {
        name: name.to_owned(),
        region: region?,
        endpoint: endpoint.or_else(|| url.endpoint()),
        url,
        allow_plain_http,
        ca_file,
        credentials: credentials?,
        body,
        rectype: rectype.map(|rectype| rectype.value),
        gap_records,
        health_records,
        ordering: ordering.unwrap_or(Ordering::Strict),
        max_in_flight: max_in_flight.map_or(MAX_IN_FLIGHT, |count| count.value),
        batch_bytes: usize::try_from(batch_bytes).unwrap_or(usize::MAX),
        connect_timeout,
        // A default gives way to what was set; only two settings can contradict each other.
        attempt_timeout: attempt_timeout.map_or(ATTEMPT_TIMEOUT.max(connect_timeout), |time| time.value),
        link_probe,
    })
}

/// The URL's region or the key's; one must tell, and both must not differ.
fn region(section: &mut Section<'_, '_>, url: Option<&Located<QueueUrl>>) -> Option<String> {
    let region = section.text("region", |text| {
        let wrong = || Wrong::expected("a region such as \"eu-west-1\"");
        let lower = text.to_lowercase().replace('_', "-");
        if may_be_region(text) {
            Ok(text.to_owned())
        } else if may_be_region(&lower) {
            Err(wrong().did_you_mean(lower))
        } else {
            Err(wrong())
        }
    });
    let told = url.and_then(|url| url.value.region.clone());
    match (region, told) {
        (Some(region), Some(told)) if region.value != told => {
            let wrong =
                Wrong::because(format!("\"{}\" contradicts the queue's URL, which says \"{told}\"", region.value));
            section.reader.problem(&region.at, None, wrong.suggest("leave region out"));
            None
        }
        (Some(region), _) => Some(region.value),
        (None, Some(told)) => Some(told),
        (None, None) => {
            if url.is_some() && !section.has("region") {
                section.missing("region", "the queue's region, which its URL does not tell", "region = \"eu-west-1\"");
            }
            None
        }
    }
}

/// The endpoint, if one is set, and whether plain http may leave this machine.
fn endpoint(section: &mut Section<'_, '_>, url: Option<&Located<QueueUrl>>) -> (Option<String>, bool) {
    let endpoint = section.text("endpoint", |text| {
        parse::endpoint(text).map(|(tls, host)| (tls, host, text.trim_end_matches('/').to_owned()))
    });
    let plain = section.boolean("allow_plain_http").is_some_and(|plain| plain.value);
    // The endpoint is what is talked to; the URL's host only where there is none.
    let exposed = match (&endpoint, url) {
        (Some(Located { value: (tls, host, _), at }), _) => (!tls && !parse::is_loopback(host)).then(|| at.clone()),
        (None, Some(url)) if !section.has("endpoint") => {
            (url.value.scheme == "http" && !url.value.is_loopback()).then(|| url.at.clone())
        }
        _ => None,
    };
    if let Some(at) = exposed.filter(|_| !plain && !section.has("allow_plain_http")) {
        let wrong = Wrong::because("plain http would send every record readable over the network");
        section.reader.problem(&at, None, wrong.suggest("use https://, or say allow_plain_http = true if you mean it"));
    }
    (endpoint.map(|endpoint| endpoint.value.2), plain)
}

/// One of the two ways, and not both.
fn credentials(section: &mut Section<'_, '_>) -> Option<CredentialsSource> {
    let chain = section.read("credentials", |form| match plain_text(form)? {
        "aws-chain" => Ok(CredentialsSource::AwsChain),
        text => {
            let wrong = Wrong::expected("\"aws-chain\", the standard AWS chain");
            let file = text.ends_with(".csv") || text.contains('/');
            let file = file.then_some("a file is named with credentials_file");
            Err(wrong.suggest(file.unwrap_or("keys do not stand here: name the downloaded .csv with credentials_file")))
        }
    });
    let file = section.path("credentials_file");
    match (section.has("credentials"), section.has("credentials_file")) {
        (true, true) => {
            let at = file.as_ref().map_or_else(|| section.at.clone(), |file| file.at.clone());
            let wrong = Wrong::because("both credentials and credentials_file are set");
            section.reader.problem(&at, None, wrong.suggest("keep one of them"));
            None
        }
        (false, false) => {
            let found = "credentials_file is missing".to_owned();
            let expected = "the IAM console's .csv as downloaded, or credentials = \"aws-chain\"".to_owned();
            let suggestion = "credentials_file = \"/etc/tidegate/credentials.csv\"".to_owned();
            let at = section.at.clone();
            section.reader.problem(&at, None, Wrong { found, expected, suggestion });
            None
        }
        _ => chain.map(|chain| chain.value).or(file.map(|file| CredentialsSource::CsvFile(file.value))),
    }
}

/// FIFO queues only: a Standard queue keeps no order that could be strict or packed.
fn ordering(section: &mut Section<'_, '_>, url: Option<&Located<QueueUrl>>) -> Option<Ordering> {
    let ordering = section.choice("ordering", &ORDERINGS)?;
    if url.is_some_and(|url| !url.value.fifo) {
        let wrong = Wrong::because("has no meaning on a Standard queue, which keeps no order");
        section.reader.problem(&ordering.at, None, wrong.suggest("remove it, or use a queue whose name ends in .fifo"));
    }
    Some(ordering.value)
}

fn hint(key: &str) -> Option<&'static str> {
    Some(match key {
        "access_key_id"
        | "aws_access_key_id"
        | "access_key"
        | "secret_access_key"
        | "aws_secret_access_key"
        | "secret_key" => "keys do not stand here: name the IAM console's .csv with credentials_file",
        "queue_url" | "queue" => "did you mean \"url\"?",
        "format" => "did you mean \"body\"?",
        "max_inflight" => "did you mean \"max_in_flight\"?",
        "fifo" | "type" => "whether a queue is FIFO is told by its URL, which then ends in .fifo",
        _ => return None,
    })
}
