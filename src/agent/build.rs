//! What a configuration asks for beside the journal, made before anything of an older one is given up: so that what is
//! wrong with it is said at once, and changes nothing.

use crate::agent::{AgentError, options};
use crate::clock::Clock;
use crate::config::{BrokerAddress, Config};
use crate::journal::Journal;
use crate::mqtt::{self, IntakeOptions, Route};
use crate::profile::Profile;
use crate::record::LaneId;
use crate::sqs::client::{SenderError, SqsSender};
use crate::sync::locked;
use crate::tls::{self, TlsError, TlsOptions};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// A configuration that can be run.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) config: Config,
    pub(super) senders: Vec<SqsSender>,
    pub(super) broker_tls: Option<Arc<rustls::ClientConfig>>,
}

impl Prepared {
    /// # Errors
    /// A queue's settings, or the broker's, cannot be used.
    pub(super) fn new(config: Config, clock: &Clock) -> Result<Prepared, AgentError> {
        let senders = senders(&config, clock)?;
        let broker_tls = broker_tls(&config, clock)?;
        mqtt::check(&config.mqtt, broker_tls.as_ref(), config.routes.iter().flat_map(|route| &route.topics))?;
        Ok(Prepared { config, senders, broker_tls })
    }
}

fn senders(config: &Config, clock: &Clock) -> Result<Vec<SqsSender>, SenderError> {
    let mut senders: Vec<SqsSender> = Vec::new();
    for queue in &config.queues {
        let options = options::sender(queue);
        let beside = senders.iter().find_map(|sender| sender.beside(&options));
        senders.push(match beside {
            Some(sender) => sender,
            None => SqsSender::new(&options, clock)?,
        });
    }
    Ok(senders)
}

pub(crate) fn broker_tls(config: &Config, clock: &Clock) -> Result<Option<Arc<rustls::ClientConfig>>, TlsError> {
    if !matches!(config.mqtt.address, BrokerAddress::Tls { .. }) {
        return Ok(None);
    }
    let options = TlsOptions {
        ca_file: config.mqtt.ca_file.clone(),
        client_cert_file: config.mqtt.client_cert_file.clone(),
        client_key_file: config.mqtt.client_key_file.clone(),
        cert_pin: config.mqtt.cert_pin,
        exclusive_ca: true,
        alpn_http1: false,
    };
    tls::client_config(&options, clock).map(Some)
}

/// The options of the intake: its settings, and its calls into the journal.
pub(super) fn intake_options(
    config: &Config,
    tls: Option<Arc<rustls::ClientConfig>>,
    journal: &Journal,
    clock: &Clock,
    retry: &watch::Receiver<u64>,
) -> IntakeOptions {
    let noting = journal.clone();
    IntakeOptions {
        config: config.mqtt.clone(),
        tls,
        routes: routes(config, journal),
        journal: journal.id(),
        durable: journal.durable_number(),
        note_open_acks: Arc::new(move |acks, soon| noting.note_open_acks(acks, soon)),
        clock: clock.clone(),
        memory: config.journal.path.join("intake"),
        retry: retry.clone(),
        show_payloads: config.status.show_payloads,
    }
}

fn routes(config: &Config, journal: &Journal) -> Vec<Route> {
    let id = journal.id();
    let route = |route: &crate::config::RouteConfig| {
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
