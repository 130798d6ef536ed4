//! Reads `[gateway]`, `[mqtt]`, `[journal]`, `[records]` and `[status]`, with their defaults and bounds.
//!
//! A wrong value is noted and its default read on, so that one run shows all problems; nothing that was read beside a
//! problem is ever used.

use crate::config::broker::broker_url;
use crate::config::form::{At, Form, Located, plain_text};
use crate::config::parse::{self, Wrong, with_port_reason};
use crate::config::reader::{Reader, Section};
use crate::config::{BrokerAddress, GatewayConfig, JournalConfig, MqttConfig, OnFull, RecordsConfig, StatusConfig};
use crate::json::pointer::Pointer;
use crate::tls::CertPin;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use toml::de::{DeTable, DeValue};

/// Journals on a gateway's own broker need no address from anyone.
const BROKER_URL: &str = "mqtt://127.0.0.1:1883";
/// Where the package keeps its data.
const JOURNAL_PATH: &str = "/var/lib/tidegate/journal";
/// Where the status page listens.
const STATUS_LISTEN: &str = "127.0.0.1:8377";
/// Below, two generations with their overhead do not fit.
const JOURNAL_BYTES_MIN: u64 = 16 << 20;
/// Far beyond any gateway's disk: a slip of the unit.
const JOURNAL_BYTES_MAX: u64 = 1 << 40;
/// Shorter, and a restart of the router would cost records.
const JOURNAL_AGE_MIN: Duration = Duration::from_secs(60);
const JOURNAL_AGE_MAX: Duration = Duration::from_secs(3650 * 24 * 3600);
/// Base64 of this and the envelope around it still fit an SQS message of 1 MiB.
const PAYLOAD_BYTES_MAX: u64 = 700 << 10;
/// Enough for a burst, little beside the 24 MB that the agent may use.
/// Longer than most sensors' interval; what it costs is the retained messages once more.
const RESUBSCRIBE_AFTER: Duration = Duration::from_secs(300);
const UNACKED_BYTES: u64 = 8 << 20;
/// Shorter than the idle time-out of every NAT and broker seen.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// A commit that waits longer gains nothing and delays every ack.
const LINGER_MAX: Duration = Duration::from_secs(1);
/// Words of `on_full`.
pub(super) const ON_FULL: [(&str, OnFull); 2] = [("drop-oldest", OnFull::DropOldest), ("stop", OnFull::Stop)];
/// Prefix of record types: the project's own word.
const TYPE_PREFIX: &str = "tidegate";
/// Session keys that network servers publish in join and uplink events when a join server is in use.
const REDACT: [&str; 3] = ["/joinServerContext/appSKey", "/join_accept/app_s_key", "/uplink_message/app_s_key"];

/// The section `name` of the file's top level, whose keys the environment overrides. `None` in the file is fine.
pub(super) fn top<'d, 'r>(reader: &'r mut Reader<'d>, root: &'d DeTable<'d>, name: &'static str) -> Section<'d, 'r> {
    let value = root.get(name);
    let table = value.and_then(|value| Some((value.get_ref().as_table()?, value.span())));
    if let (Some(value), None) = (value, &table) {
        let at = At { key: name.to_owned(), place: reader.source.place(value.span()) };
        let found = match value.get_ref() {
            DeValue::Array(_) => format!("[[{name}]] is a list of sections"),
            _ => format!("{name} is a {}", value.get_ref().type_str()),
        };
        let expected = format!("one section [{name}]");
        reader.problem(&at, None, Wrong { found, expected, suggestion: String::new() });
    }
    reader.section(name, table, true)
}

pub(super) fn gateway(mut section: Section<'_, '_>) -> GatewayConfig {
    let id = section.text("id", parse::label).map_or_else(host_name, |id| id.value);
    let site = section.text("site", parse::label).map_or_else(|| id.clone(), |site| site.value);
    section.finish(|key| (key == "name").then_some("the gateway's label is \"id\""));
    GatewayConfig { id, site }
}

/// Why a text is not a gateway id; `None`: it is one.
pub(crate) fn gateway_id_problem(text: &str) -> Option<String> {
    let wrong = parse::label(text).err()?;
    let meant = if wrong.suggestion.is_empty() { String::new() } else { format!("; {}", wrong.suggestion) };
    Some(format!("\"{text}\" is no id; expected {}{meant}", wrong.expected))
}

/// The kernel's host name as a label.
pub(crate) fn host_name() -> String {
    let name = rustix::system::uname();
    let label = parse::label_of(&name.nodename().to_string_lossy());
    if label.is_empty() { "gateway".to_owned() } else { label }
}

pub(super) fn mqtt(mut section: Section<'_, '_>, gateway_id: &str) -> MqttConfig {
    let url = section.text("url", |text| Ok((broker_url(text)?, text.to_owned())));
    let default = || (BrokerAddress::Tcp { host: "127.0.0.1".to_owned(), port: 1883 }, BROKER_URL.to_owned());
    let (address, url) = url.map_or_else(default, |url| url.value);
    let client_id = section.text("client_id", client_id).map(|id| id.value);
    let username = section.text("username", |text| Ok(text.to_owned())).map(|name| name.value);
    let password_file = section.path("password_file");
    if let (Some(file), false) = (&password_file, section.has("username")) {
        let wrong = Wrong::because("a password without a user name").suggest("set mqtt.username too");
        section.reader.problem(&file.at, None, wrong);
    }
    let tls = tls_files(&mut section, &address);
    let cert_pin = cert_pin(&mut section, &address);
    let keep_alive = section.duration("keep_alive", Duration::from_secs(5)..=Duration::from_secs(3600));
    let resubscribe_after = section.duration("resubscribe_after", Duration::ZERO..=Duration::from_secs(24 * 3600));
    let payload = section.size("max_payload_bytes", 1 << 10..=PAYLOAD_BYTES_MAX);
    let unacked = section.size("max_unacked_bytes", 64 << 10..=256 << 20);
    let max_payload_bytes = payload.map_or(PAYLOAD_BYTES_MAX, |bytes| bytes.value);
    if let Some(unacked) = unacked.as_ref().filter(|unacked| unacked.value < max_payload_bytes) {
        let expected = format!("at least max_payload_bytes, {}", parse::size_text(max_payload_bytes));
        let found = format!("{} is less than one payload may have", parse::size_text(unacked.value));
        section.reader.problem(&unacked.at, None, Wrong { found, expected, suggestion: String::new() });
    }
    section.finish(mqtt_hint);
    let [ca_file, client_cert_file, client_key_file] = tls;
    MqttConfig {
        address,
        url,
        client_id: client_id.unwrap_or_else(|| format!("tidegate-{gateway_id}")),
        username,
        password_file: password_file.map(|file| file.value),
        ca_file,
        client_cert_file,
        client_key_file,
        cert_pin,
        keep_alive: keep_alive.map_or(KEEP_ALIVE, |time| time.value),
        resubscribe_after: resubscribe_after.map_or(RESUBSCRIBE_AFTER, |time| time.value),
        max_payload_bytes,
        max_unacked_bytes: unacked.map_or(UNACKED_BYTES, |bytes| bytes.value),
    }
}

/// Certificates: a key needs its certificate and the other way round, and neither does anything without TLS.
fn tls_files(section: &mut Section<'_, '_>, address: &BrokerAddress) -> [Option<PathBuf>; 3] {
    let files = ["ca_file", "client_cert_file", "client_key_file"].map(|key| section.path(key));
    let lone = match &files {
        [_, Some(cert), None] if !section.has("client_key_file") => Some((cert, "client_key_file")),
        [_, None, Some(key)] if !section.has("client_cert_file") => Some((key, "client_cert_file")),
        _ => None,
    };
    if let Some((Located { at, .. }, other)) = lone {
        let wrong =
            Wrong::because(format!("is set without {other}")).suggest(format!("set mqtt.{other} too, or neither"));
        section.reader.problem(at, None, wrong);
    }
    if !matches!(address, BrokerAddress::Tls { .. }) {
        for file in files.iter().flatten() {
            section.reader.problem(&file.at, None, no_tls());
        }
    }
    files.map(|file| file.map(|file| file.value))
}

/// The broker's one certificate; says nothing without TLS.
fn cert_pin(section: &mut Section<'_, '_>, address: &BrokerAddress) -> Option<CertPin> {
    let pin = section.text("cert_pin", |text| {
        text.parse::<CertPin>().map_err(|expected| {
            // As openssl prints it, with the word in front.
            let pasted = text.rsplit(['=', ' ']).next().unwrap_or_default();
            let meant = format!("sha256:{}", pasted.strip_prefix("sha256:").unwrap_or(pasted)).parse::<CertPin>();
            let wrong = Wrong::expected(expected);
            meant.map_or_else(|_| wrong.clone(), |meant| wrong.clone().did_you_mean(meant))
        })
    })?;
    if !matches!(address, BrokerAddress::Tls { .. }) {
        section.reader.problem(&pin.at, None, no_tls());
    }
    Some(pin.value)
}

fn no_tls() -> Wrong {
    Wrong::because("has no effect: the broker's url is not mqtts://").suggest("set mqtt.url to \"mqtts://host:8883\"")
}

fn client_id(text: &str) -> Result<String, Wrong> {
    if text.len() <= 128 { Ok(text.to_owned()) } else { Err(Wrong::expected("at most 128 bytes")) }
}

fn mqtt_hint(key: &str) -> Option<&'static str> {
    Some(match key {
        "password" => "put the password into a file and name it in \"password_file\"",
        "user" => "did you mean \"username\"?",
        "host" | "port" | "broker" | "address" | "server" => {
            "host and port belong into \"url\", such as \"mqtt://127.0.0.1:1883\""
        }
        "topics" | "topic" | "subscribe" => "topics stand in [[routes]]",
        "qos" => "the agent always subscribes with QoS 1",
        "clean_session" => "the agent always keeps its session, or the broker would keep nothing for it",
        "pin" | "fingerprint" | "cert_fingerprint" => "did you mean \"cert_pin\"?",
        "insecure" | "tls_insecure" | "verify" => {
            "the broker's certificate is always checked: name its CA with \"ca_file\", or the certificate itself with \"cert_pin\""
        }
        "tls" => "TLS is chosen by the url: \"mqtts://host:8883\"",
        _ => return None,
    })
}

pub(super) fn journal(mut section: Section<'_, '_>) -> JournalConfig {
    let path = section.path("path").map_or_else(|| PathBuf::from(JOURNAL_PATH), |path| path.value);
    let max_bytes = section.size("max_bytes", JOURNAL_BYTES_MIN..=JOURNAL_BYTES_MAX);
    let max_age = section.duration("max_age", JOURNAL_AGE_MIN..=JOURNAL_AGE_MAX);
    let min_free = section.size("min_free", 0..=JOURNAL_BYTES_MAX);
    let on_full = section.choice("on_full", &ON_FULL);
    let linger = section.duration("linger", Duration::ZERO..=LINGER_MAX);
    section.finish(|key| match key {
        "max_size" | "size" => Some("did you mean \"max_bytes\"?"),
        "retention" | "ttl" | "expiry" => Some("did you mean \"max_age\"?"),
        "reserve" => Some("did you mean \"min_free\"?"),
        _ => None,
    });
    JournalConfig {
        path,
        max_bytes: max_bytes.map(|bytes| bytes.value),
        max_age: max_age.map(|age| age.value),
        min_free: min_free.map(|bytes| bytes.value),
        on_full: on_full.map_or(OnFull::DropOldest, |on_full| on_full.value),
        linger: linger.map_or(Duration::ZERO, |linger| linger.value),
    }
}

pub(super) fn records(mut section: Section<'_, '_>) -> RecordsConfig {
    let type_prefix = section.text("type_prefix", |text| {
        let word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let ok = text.len() <= 64 && text.split('.').all(word);
        let wrong = || Wrong::expected("words of letters, digits and \"-\" with dots between, such as \"com.example\"");
        if ok { Ok(text.to_owned()) } else { Err(wrong()) }
    });
    let redact = redact(&mut section);
    section.finish(|_| None);
    RecordsConfig { type_prefix: type_prefix.map_or_else(|| TYPE_PREFIX.to_owned(), |prefix| prefix.value), redact }
}

/// The list as written, which may be empty; without one, [`REDACT`].
fn redact(section: &mut Section<'_, '_>) -> Vec<Pointer> {
    let built_in = || REDACT.iter().filter_map(|pointer| pointer.parse().ok()).collect();
    let Some((form, at)) = section.take("redact") else { return built_in() };
    if matches!(form, Form::Array(items) if items.is_empty()) {
        return Vec::new();
    }
    let mut out = Vec::new();
    for text in
        crate::config::routes::strings(section, form, at, "a list of JSON pointers such as [\"/object/secret\"]")
    {
        match text.value.parse::<Pointer>() {
            Ok(pointer) if !pointer.levels().is_empty() => out.push(pointer),
            Ok(_) => {
                let wrong = Wrong::expected("a JSON pointer to a member: the whole payload cannot be left out");
                section.reader.problem(&text.at, Some(&Form::Text(&text.value)), wrong);
            }
            Err(expected) => {
                section.reader.problem(&text.at, Some(&Form::Text(&text.value)), Wrong::expected(expected));
            }
        }
    }
    out
}

pub(super) fn status(mut section: Section<'_, '_>) -> StatusConfig {
    let listen = section.read("listen", |form| match form {
        Form::Text("") | Form::Variable("") => Ok(None),
        Form::Integer(port) => listen_address(port).map(Some),
        form => listen_address(plain_text(form)?).map(Some),
    });
    let token_file = section.path("token_file");
    let show_payloads = section.boolean("show_payloads");
    if let (Some(Located { value: Some(address), at }), None) = (&listen, &token_file)
        && !address.ip().is_loopback()
    {
        let expected = "a loopback address, or status.token_file beside it: others can reach this one";
        let wrong = Wrong::expected(expected).did_you_mean(format!("127.0.0.1:{}", address.port()));
        section.reader.problem(at, Some(&Form::Text(&address.to_string())), wrong);
    }
    section.finish(|key| match key {
        "port" | "host" | "address" => Some("address and port stand in \"listen\", such as \"127.0.0.1:8377\""),
        "token" | "password" => Some("put the token into a file and name it in \"token_file\""),
        _ => None,
    });
    StatusConfig {
        listen: listen.map_or_else(|| STATUS_LISTEN.parse().ok(), |listen| listen.value),
        token_file: token_file.map(|file| file.value),
        show_payloads: show_payloads.is_some_and(|show| show.value),
    }
}

fn listen_address(text: &str) -> Result<SocketAddr, Wrong> {
    let wrong = || Wrong::expected("an address and a port such as \"127.0.0.1:8377\", or \"\" to switch the page off");
    let address: SocketAddr = text.parse().map_err(|_| {
        let port = text.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
        let meant = port.map_or_else(|| STATUS_LISTEN.to_owned(), |port| format!("127.0.0.1:{port}"));
        with_port_reason(wrong().did_you_mean(meant), text)
    })?;
    if address.port() == 0 { Err(with_port_reason(wrong(), text)) } else { Ok(address) }
}
