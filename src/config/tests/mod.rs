//! What a configuration means once it is right: defaults, overrides, paths, and the shipped file against the code.

mod error_texts;

use super::*;
use crate::record::identity::Grouping;
use std::collections::BTreeSet;

pub(super) const MINIMAL: &str = r#"
[queues.main]
url = "https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo"
credentials_file = "credentials.csv"

[[routes]]
profile = "chirpstack-v4"
queue = "main"
"#;

pub(super) fn parse_with(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
    let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Config::parse(text, Path::new("tidegate.toml"), &environment)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

pub(super) fn parse(text: &str) -> Result<Config, String> {
    parse_with(text, &[])
}

#[test]
fn the_minimal_file_is_complete() {
    let config = parse(MINIMAL).expect("a configuration");
    assert_eq!(config.queues[0].region, "eu-west-1");
    assert_eq!(config.queues[0].credentials, CredentialsSource::CsvFile("credentials.csv".into()));
    assert_eq!(config.routes[0].topics, ["application/+/device/+/event/+"]);
    assert_eq!(config.mqtt.client_id, format!("tidegate-{}", config.gateway.id));
}

#[test]
fn every_example_file_is_a_configuration() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/config");
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let config = Config::parse(&text, &file, &BTreeMap::new());
        assert!(config.is_ok(), "{}: {:?}", file.display(), config.err());
    }
}

#[test]
fn relative_paths_count_from_the_files_folder() {
    let config =
        Config::parse(MINIMAL, Path::new("/etc/tidegate/tidegate.toml"), &BTreeMap::new()).expect("a configuration");
    assert_eq!(config.queues[0].credentials, CredentialsSource::CsvFile("/etc/tidegate/credentials.csv".into()));
}

#[test]
fn a_systemd_credential_is_found_with_and_without_its_variable() {
    let text = MINIMAL.replace("\"credentials.csv\"", "\"$CREDENTIALS_DIRECTORY/keys.csv\"");
    let path = |variables: &[_]| parse_with(&text, variables).expect("a configuration").queues.remove(0).credentials;
    let told = path(&[("CREDENTIALS_DIRECTORY", "/run/credentials/gate.service")]);
    assert_eq!(told, CredentialsSource::CsvFile("/run/credentials/gate.service/keys.csv".into()));
    assert_eq!(path(&[]), CredentialsSource::CsvFile("/run/credentials/tidegate.service/keys.csv".into()));
}

#[test]
fn line_ends_tabs_and_a_byte_order_mark_are_taken() {
    let text = format!("\u{feff}{}", MINIMAL.replace('\n', "\r\n").replace(" = ", "\t=\t"));
    parse(&text).expect("a configuration");
}

#[test]
fn variables_override_the_file_and_are_read_like_it() {
    let config = parse_with(
        &format!("[journal]\nmax_bytes = \"64 MiB\"\n{MINIMAL}"),
        &[
            ("TIDEGATE_JOURNAL_MAX_BYTES", "128 MiB"),
            ("TIDEGATE_GATEWAY_ID", "roof"),
            ("TIDEGATE_QUEUES_MAIN_MAX_IN_FLIGHT", "7"),
            ("TIDEGATE_QUEUES_MAIN_ALLOW_PLAIN_HTTP", "true"),
            ("TIDEGATE_STATUS_LISTEN", ""),
            ("TIDEGATE_LOG", "debug"),
            ("PATH", "/bin"),
        ],
    )
    .expect("a configuration");
    assert_eq!((config.journal.max_bytes, &*config.gateway.id), (Some(128 << 20), "roof"));
    assert_eq!((config.queues[0].max_in_flight, config.queues[0].allow_plain_http), (7, true));
    assert_eq!(config.status.listen, None);
}

#[test]
fn a_variable_may_supply_what_the_file_leaves_out() {
    let text = MINIMAL.replace("url = \"https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo\"\n", "");
    let url = "https://sqs.us-east-1.amazonaws.com/123456789012/other.fifo";
    let config = parse_with(&text, &[("TIDEGATE_QUEUES_MAIN_URL", url)]).expect("a configuration");
    assert_eq!((&*config.queues[0].url.text, &*config.queues[0].region), (url, "us-east-1"));
}

/// The shipped file with what it marks as required filled in.
fn default_filled() -> String {
    DEFAULT_TOML.replace("# url = \"https", "url = \"https").replace("# credentials_file", "credentials_file")
}

#[test]
fn the_shipped_defaults_are_the_built_in_ones() {
    let shipped = Config::parse(&default_filled(), Path::new("/etc/tidegate/tidegate.toml"), &BTreeMap::new());
    let built_in = Config::parse(MINIMAL, Path::new("/etc/tidegate/tidegate.toml"), &BTreeMap::new());
    assert_eq!(
        format!("{:#?}", shipped.expect("the shipped file")),
        format!("{:#?}", built_in.expect("the minimal file"))
    );
}

/// Section and key of every line of the shipped file that sets one or shows one.
fn shown_keys() -> Vec<(String, String, usize)> {
    let mut section = String::new();
    let mut keys = Vec::new();
    for (number, line) in DEFAULT_TOML.lines().enumerate() {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_matches(['[', ']']).to_owned();
        } else if let Some((key, _)) =
            bare.split_once(" = ").filter(|(key, _)| !key.contains(' ') && !section.is_empty())
        {
            keys.push((section.clone(), key.to_owned(), number));
        }
    }
    keys
}

#[test]
fn the_shipped_file_shows_every_key_and_no_other() {
    let (config, asked) = read(&default_filled(), Path::new("tidegate.toml"), &BTreeMap::new());
    config.expect("the shipped file");
    let known: BTreeSet<String> = asked.asked.iter().map(|path| path.replace("route 1: ", "routes.")).collect();
    let shown: BTreeSet<String> = shown_keys().iter().map(|(section, key, _)| format!("{section}.{key}")).collect();
    assert_eq!(shown, known);
}

#[test]
fn every_example_of_the_shipped_file_can_be_used() {
    // What an example needs beside it, or must not have.
    let with = |key: &str, text: String| {
        match key {
        "password_file" => text.replace("# username", "username"),
        "ca_file" | "cert_pin" => text.replace("mqtt://127.0.0.1:1883", "mqtts://127.0.0.1:8883"),
        "client_cert_file" | "client_key_file" => text
            .replace("mqtt://127.0.0.1:1883", "mqtts://127.0.0.1:8883")
            .replace("# client_cert_file", "client_cert_file")
            .replace("# client_key_file", "client_key_file"),
        "credentials" => text.replace("\ncredentials_file", "\n# credentials_file"),
        "queues" => text.replace("queue = \"main\"\n", "").replace("# One section per route", "[queues.audit]\nurl = \"https://sqs.eu-west-1.amazonaws.com/123456789012/audit\"\ncredentials = \"aws-chain\"\n# One"),
        "key" => text.replace("\"chirpstack-v4\"\n", "\"microshare\"\ntopics = [\"a\"]\n"),
        "device" | "id" | "time" | "counter" | "type" => text.replace("\"chirpstack-v4\"\n", "\"generic\"\ntopics = [\"a\"]\n"),
        _ => text,
    }
    };
    for (section, key, number) in shown_keys() {
        let lines = DEFAULT_TOML.lines().enumerate();
        let text: Vec<&str> =
            lines.map(|(n, line)| if n == number { line.strip_prefix("# ").unwrap_or(line) } else { line }).collect();
        let text = text
            .join("\n")
            .replace("# url = \"https", "url = \"https")
            .replace("# credentials_file", "credentials_file");
        // Two sections have `id`; in [gateway] it needs nothing.
        let text = if section == "gateway" { text } else { with(&key, text) };
        parse(&text).unwrap_or_else(|said| panic!("{section}.{key}: {said}"));
    }
}

#[test]
fn what_a_profile_does_not_read_is_refused() {
    let with = |lines: &str| parse(&MINIMAL.replace("profile = \"chirpstack-v4\"", lines));
    for (lines, why) in [
        ("profile = \"rak\"\nkey = \"record-id\"", "the profile \"rak\" knows no record ids"),
        ("profile = \"rak\"\ntype = \"x\"", "the profile \"rak\" knows its payloads"),
        ("profile = \"plain\"\ntopics = [\"a\"]\ndevice = \"/id\"", "the profile \"plain\" knows its payloads"),
        ("profile = \"plain\"", "the profile \"plain\" has none of its own"),
    ] {
        let said = with(lines).expect_err("a mistake");
        assert!(said.contains(why), "{said}");
    }
    with("profile = \"plain\"\ntopics = [\"a/+\"]\ndevice = \"topic:2\"").expect("a configuration");
    let config = with("profile = \"microshare\"\ntopics = [\"a/+\"]\nkey = \"record-id\"").expect("a configuration");
    assert_eq!(config.routes[0].profile.name(), "microshare");
    assert!(matches!(config.routes[0].profile, Profile::Microshare(microshare) if microshare.record_id));
}

#[test]
fn routes_hand_their_options_to_the_profile() {
    let text = MINIMAL.replace(
        "profile = \"chirpstack-v4\"",
        "profile = \"generic\"\ntopics = [\"a/#\"]\ngroup = \"topic\"\ndevice = \"topic:2\"\ntime = \"/ts\"",
    );
    let config = parse(&text).expect("a configuration");
    let Profile::Generic(generic) = &config.routes[0].profile else { panic!("the generic profile") };
    assert_eq!(generic.options.grouping, Grouping::Topic);
    assert_eq!(generic.options.device.as_ref().map(ToString::to_string).as_deref(), Some("topic:2"));
    assert_eq!(generic.options.time.as_ref().map(ToString::to_string).as_deref(), Some("/ts"));
    assert_eq!(config.routes[0].topics, ["a/#"]);
}

#[test]
fn journal_bounds_are_read_and_age_defaults_to_off() {
    let config = parse(MINIMAL).expect("a configuration");
    // Bytes and floor go by the partition then.
    assert_eq!((config.journal.max_age, config.journal.max_bytes, config.journal.min_free), (None, None, None));
    let bounds = "[journal]\nmax_age = \"30 d\"\nmin_free = 0\non_full = \"stop\"\n";
    let config = parse(&format!("{bounds}{MINIMAL}")).expect("a configuration");
    assert_eq!(config.journal.max_age, Some(Duration::from_secs(30 * 24 * 3600)));
    assert_eq!((config.journal.min_free, config.journal.on_full), (Some(0), OnFull::Stop));
    let wrong = parse(&format!("[journal]\nmax_age = \"10 s\"\nreserve = \"1 MiB\"\n{MINIMAL}")).unwrap_err();
    assert!(wrong.contains("expected 1 min to 3650 d") && wrong.contains("min_free"), "{wrong}");
}

#[test]
fn gap_records_go_to_cloudevents_queues_unless_configured_otherwise() {
    for (lines, expected) in [
        ("", true),
        ("body = \"raw\"\n", false),
        ("body = \"raw\"\ngap_records = true\n", true),
        ("gap_records = false\n", false),
    ] {
        let text = MINIMAL.replace("credentials_file", &format!("{lines}credentials_file"));
        assert_eq!(parse(&text).expect("a configuration").queues[0].gap_records, expected, "{lines}");
    }
}

#[test]
fn health_records_go_to_cloudevents_queues_unless_configured_otherwise() {
    for (lines, expected) in [
        ("", true),
        ("body = \"microshare\"\n", false),
        ("body = \"raw\"\nhealth_records = true\n", true),
        ("health_records = false\n", false),
    ] {
        let text = MINIMAL.replace("credentials_file", &format!("{lines}credentials_file"));
        assert_eq!(parse(&text).expect("a configuration").queues[0].health_records, expected, "{lines}");
    }
}

#[test]
fn more_queues_than_the_journal_state_holds_are_refused() {
    let queue = |n: usize| {
        let url = format!("https://sqs.eu-west-1.amazonaws.com/123456789012/q{n}.fifo");
        format!("[queues.q{n}]\nurl = \"{url}\"\ncredentials_file = \"/c.csv\"\n")
    };
    let file = |queues: usize| {
        let queues: String = (1..=queues).map(queue).collect();
        format!("{queues}[[routes]]\nprofile = \"chirpstack-v4\"\nqueue = \"q1\"\n")
    };
    assert_eq!(parse(&file(8)).expect("a configuration").queues.len(), 8);
    let wrong = parse(&file(10)).unwrap_err();
    assert!(wrong.contains("queues.q9") && wrong.contains("at most 8 queues"), "{wrong}");
    assert_eq!(wrong.matches("at most 8 queues").count(), 1, "said once: {wrong}");
}
