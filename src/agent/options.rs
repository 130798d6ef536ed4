//! From the configuration to the options of each stage: here, and nowhere else. A stage knows its options, not the file's sections.

use crate::agent::names;
use crate::agent::signals::Signals;
use crate::clock::Clock;
use crate::config::effective::as_file;
use crate::config::{BrokerAddress, Config, JournalConfig, QueueConfig, RouteConfig};
use crate::drain::DrainOptions;
use crate::journal::{Bounds, BoundsOptions, GENERATION_BYTES, Journal, JournalOptions, QUIET, RESERVE_BYTES, volume};
use crate::mqtt::{BrokerOptions, IntakeOptions, Route};
use crate::profile::Profile;
use crate::record::LaneId;
use crate::sqs::client::SenderOptions;
use crate::sqs::entry::RenderOptions;
use crate::status::HubOptions;
use crate::sync::locked;
use crate::tls::{self, TlsError, TlsOptions};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// Where systemd makes the runtime folder by default.
const RUNTIME_FOLDER: &str = "/run/tidegate";
/// Flights may go on for so long after a stop.
const GRACE: Duration = Duration::from_secs(10);

/// What a client at the broker is told of it. Reads the files of its TLS.
///
/// # Errors
/// Certificates or keys cannot be used.
pub(crate) fn broker(config: &Config, clock: &Clock) -> Result<BrokerOptions, TlsError> {
    let section = &config.mqtt;
    let options = TlsOptions {
        ca_file: section.ca_file.clone(),
        client_cert_file: section.client_cert_file.clone(),
        client_key_file: section.client_key_file.clone(),
        cert_pin: section.cert_pin,
        exclusive_ca: true,
        alpn_http1: false,
    };
    let tls = match section.address {
        BrokerAddress::Tls { .. } => Some(tls::client_config(&options, clock)?),
        BrokerAddress::Tcp { .. } | BrokerAddress::Unix(_) => None,
    };
    Ok(BrokerOptions {
        address: section.address.clone(),
        url: section.url.clone(),
        client_id: section.client_id.clone(),
        username: section.username.clone(),
        password_file: section.password_file.clone(),
        keep_alive: section.keep_alive,
        tls,
    })
}

/// What the intake is told: its settings, and its calls into the journal. The client id is that of `config`, settled once the
/// journal was open; `broker` was made before that.
pub(super) fn intake(
    config: &Config,
    broker: BrokerOptions,
    (journal, journal_made): (&Journal, bool),
    clock: &Clock,
    retry: &watch::Receiver<u64>,
) -> IntakeOptions {
    let noting = journal.clone();
    IntakeOptions {
        broker: BrokerOptions { client_id: config.mqtt.client_id.clone(), ..broker },
        max_payload_bytes: config.mqtt.max_payload_bytes,
        max_unacked_bytes: config.mqtt.max_unacked_bytes,
        resubscribe_after: config.mqtt.resubscribe_after,
        routes: routes(config, journal),
        journal: journal.id(),
        durable: journal.durable_number(),
        note_open_acks: Arc::new(move |acks, soon| noting.note_open_acks(acks, soon)),
        clock: clock.clone(),
        memory: config.journal.path.join("intake"),
        retry: retry.clone(),
        journal_made,
        show_payloads: config.status.show_payloads,
    }
}

fn routes(config: &Config, journal: &Journal) -> Vec<Route> {
    let id = journal.id();
    let route = |route: &RouteConfig| {
        let lanes: Vec<LaneId> = route.queues.iter().filter_map(|queue| journal.lane_id(queue)).collect();
        let profile = route.profile.clone();
        let chosen = Chosen::default();
        Route {
            filters: route.topics.clone(),
            fallback: route.fallback,
            profile: route.profile.name().to_owned(),
            identify: Arc::new(move |message, received| {
                let reader = profile.of(message);
                chosen.note(&profile, reader, &message.topic);
                (reader.identify(message, received, id), reader.name())
            }),
            lanes,
        }
    };
    config.routes.iter().map(route).collect()
}

/// What `auto` has chosen on a route so far: each choice is said once.
#[derive(Default)]
struct Chosen(Mutex<BTreeSet<&'static str>>);

impl Chosen {
    fn note(&self, asked: &Profile, reader: &Profile, topic: &str) {
        if std::ptr::eq(asked, reader) {
            return;
        }
        let new = locked(&self.0).insert(reader.name());
        if new {
            tracing::info!(
                profile = reader.name(),
                topic = &*crate::visible::line(topic),
                "chosen by topic and payload"
            );
        }
    }
}

/// What the configured journal is opened with.
pub(crate) fn journal(config: &Config) -> JournalOptions {
    let named = |which: fn(&QueueConfig) -> bool| -> Vec<String> {
        config.queues.iter().filter(|queue| which(queue)).map(|queue| queue.name.clone()).collect()
    };
    JournalOptions {
        path: config.journal.path.clone(),
        bounds: Bounds::of(&bounds(&config.journal), volume::space(&config.journal.path)),
        reserve_bytes: RESERVE_BYTES,
        generation_bytes: crate::failpoints::generation_bytes().unwrap_or(GENERATION_BYTES),
        quiet: crate::failpoints::quiet().unwrap_or(QUIET),
        lanes: named(|_| true),
        silent: named(|queue| !queue.gap_records),
        absorbing: named(|queue| queue.url.fifo),
        machine: crate::failpoints::machine().unwrap_or_else(|| "/".into()),
        runtime: runtime_folder(),
    }
}

/// The bounds as the configuration gives them.
pub(crate) fn bounds(section: &JournalConfig) -> BoundsOptions {
    let JournalConfig { max_bytes, max_age, min_free, on_full, .. } = *section;
    BoundsOptions { max_bytes, max_age, min_free, on_full }
}

/// What the sender of a queue is made with.
pub(crate) fn sender(queue: &QueueConfig) -> SenderOptions {
    SenderOptions {
        queue: queue.name.clone(),
        url: queue.url.text.clone(),
        region: queue.region.clone(),
        endpoint: queue.endpoint.clone(),
        allow_plain_http: queue.allow_plain_http,
        ca_file: queue.ca_file.clone(),
        credentials: queue.credentials.clone(),
        max_in_flight: queue.max_in_flight,
        connect_timeout: queue.connect_timeout,
        attempt_timeout: queue.attempt_timeout,
        link_probe: queue.link_probe,
    }
}

/// What the messages of a queue are rendered by.
pub(crate) fn rendering(config: &Config, queue: &QueueConfig) -> RenderOptions {
    RenderOptions {
        format: queue.body,
        fifo: queue.url.fifo,
        type_prefix: config.records.type_prefix.clone(),
        gateway_id: config.gateway.id.clone(),
        site: config.gateway.site.clone(),
        rectype: queue.rectype.clone(),
        redact: config.records.redact.clone(),
    }
}

/// What the drain of a queue is told.
pub(super) fn drain(config: &Config, queue: &QueueConfig, signals: &Signals) -> DrainOptions {
    DrainOptions {
        queue: queue.name.clone(),
        rendering: rendering(config, queue),
        ordering: queue.ordering,
        max_in_flight: queue.max_in_flight,
        batch_bytes: queue.batch_bytes,
        link_probe: queue.link_probe,
        grace: GRACE,
        link: signals.link.clone(),
        retry: signals.retry.clone(),
    }
}

/// What the status shows of a configuration.
pub(super) fn hub(config: &Config) -> HubOptions {
    HubOptions {
        names: names::of(config),
        config: as_file(&config.settings(), |_| ""),
        queues: config.queues.iter().map(|queue| (queue.name.clone(), queue.url.text.clone())).collect(),
        journal: config.journal.path.clone(),
    }
}

/// The folder that systemd makes for the boot (`RuntimeDirectory=`), or the one that another supervisor made.
fn runtime_folder() -> Option<PathBuf> {
    let given = std::env::var_os("RUNTIME_DIRECTORY").filter(|folders| !folders.is_empty());
    let first = given.and_then(|folders| std::env::split_paths(&folders).next());
    first.or_else(|| Some(PathBuf::from(RUNTIME_FOLDER)).filter(|folder| folder.is_dir()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{BodyFormat, CredentialsSource, OnFull, Ordering};

    const TEXT: &str = r#"
        [gateway]
        id = "roof"
        site = "hq"
        [mqtt]
        url = "mqtt://broker.lan:1884"
        client_id = "agent"
        username = "user"
        password_file = "/password"
        keep_alive = "45 s"
        [journal]
        path = "/journal"
        max_bytes = "64 MiB"
        max_age = "3 d"
        min_free = "5 MiB"
        on_full = "stop"
        [queues.main]
        url = "https://sqs.eu-west-1.amazonaws.com/123456789012/main.fifo"
        endpoint = "http://proxy.lan:9000"
        allow_plain_http = true
        ca_file = "/ca.pem"
        credentials_file = "/key.csv"
        body = "microshare"
        rectype = "io.example.packed"
        ordering = "packed"
        max_in_flight = 7
        batch_bytes = "32 KiB"
        connect_timeout = "3 s"
        attempt_timeout = "9 s"
        link_probe = false
        [queues.other]
        url = "https://sqs.eu-central-1.amazonaws.com/123456789012/other"
        credentials = "aws-chain"
        gap_records = false
        [records]
        type_prefix = "com.example"
        redact = ["/a"]
        [[routes]]
        profile = "rak"
        queues = ["main", "other"]
    "#;

    fn config() -> Config {
        let config = Config::parse(TEXT, "/tidegate.toml".as_ref(), &Default::default());
        config.unwrap_or_else(|problems| panic!("{problems:#?}"))
    }

    #[test]
    fn broker_journal_and_status_have_what_their_sections_say() {
        let config = config();
        let broker = broker(&config, &Clock::new(None)).expect("no TLS");
        assert_eq!(broker.address, BrokerAddress::Tcp { host: "broker.lan".into(), port: 1884 });
        assert_eq!((&*broker.url, &*broker.client_id), ("mqtt://broker.lan:1884", "agent"));
        assert_eq!((broker.username.as_deref(), broker.password_file), (Some("user"), Some("/password".into())));
        assert_eq!((broker.keep_alive, broker.tls.is_none()), (Duration::from_secs(45), true));
        let (max_age, on_full) = (Some(Duration::from_secs(3 * 86_400)), OnFull::Stop);
        let given = BoundsOptions { max_bytes: Some(64 << 20), max_age, min_free: Some(5 << 20), on_full };
        assert_eq!(bounds(&config.journal), given);
        let journal = journal(&config);
        assert_eq!((journal.path, journal.lanes), ("/journal".into(), vec!["main".to_owned(), "other".to_owned()]));
        // By default a queue of other bodies than CloudEvents takes no gap records.
        assert_eq!((journal.silent.len(), journal.absorbing), (2, vec!["main".to_owned()]));
        assert_eq!(journal.bounds, Bounds { max_bytes: 64 << 20, max_age, min_free: 5 << 20, on_full });
        let hub = hub(&config);
        assert_eq!((&*hub.names.gateway_id, &*hub.names.site, &*hub.names.client_id), ("roof", "hq", "agent"));
        assert_eq!((hub.queues[0].0.as_str(), hub.queues[1].1.as_str()), ("main", &*config.queues[1].url.text));
        assert!(hub.config.contains("client_id = \"agent\""));
        assert_eq!(hub.journal, config.journal.path);
    }

    #[test]
    fn sender_and_drain_have_what_their_queue_says() {
        let config = config();
        let of_main = sender(&config.queues[0]);
        let url = "https://sqs.eu-west-1.amazonaws.com/123456789012/main.fifo";
        assert_eq!((&*of_main.queue, &*of_main.url, &*of_main.region), ("main", url, "eu-west-1"));
        assert_eq!((of_main.endpoint.as_deref(), of_main.allow_plain_http), (Some("http://proxy.lan:9000"), true));
        assert_eq!(of_main.ca_file, Some("/ca.pem".into()));
        assert_eq!(of_main.credentials, CredentialsSource::CsvFile("/key.csv".into()));
        let times = (Duration::from_secs(3), Duration::from_secs(9));
        assert_eq!((of_main.connect_timeout, of_main.attempt_timeout), times);
        assert_eq!((of_main.max_in_flight, of_main.link_probe), (7, false));
        assert_eq!(sender(&config.queues[1]).endpoint, None, "the region's own");
        let signals = Signals { stop: watch::channel(false).1, retry: watch::channel(1).1, link: watch::channel(2).1 };
        let DrainOptions { queue, rendering, ordering, max_in_flight, batch_bytes, link_probe, grace, link, retry } =
            drain(&config, &config.queues[0], &signals);
        assert_eq!((&*queue, ordering, max_in_flight, batch_bytes), ("main", Ordering::Packed, 7, 32 << 10));
        assert_eq!((link_probe, grace, *link.borrow(), *retry.borrow()), (false, GRACE, 2, 1));
        assert_eq!(
            (rendering.format, rendering.fifo, &*rendering.type_prefix),
            (BodyFormat::Microshare, true, "com.example")
        );
        assert_eq!((&*rendering.gateway_id, &*rendering.site), ("roof", "hq"));
        assert_eq!(rendering.rectype.map(|rectype| rectype.to_string()).as_deref(), Some("io.example.packed"));
        assert_eq!(rendering.redact.len(), 1);
    }
}
