//! What a configuration asks for beside the journal, made before anything of an older one is given up: so that what is
//! wrong with it is said at once, and changes nothing.

use crate::agent::{AgentError, options};
use crate::clock::Clock;
use crate::config::Config;
use crate::mqtt::{self, BrokerOptions};
use crate::sqs::client::{SenderError, SqsSender};

/// A configuration that can be run.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) config: Config,
    pub(super) senders: Vec<SqsSender>,
    pub(super) broker: BrokerOptions,
}

impl Prepared {
    /// # Errors
    /// A queue's settings, or the broker's, cannot be used.
    pub(super) fn new(config: Config, clock: &Clock) -> Result<Prepared, AgentError> {
        let senders = senders(&config, clock)?;
        let broker = options::broker(&config, clock)?;
        let filters = config.routes.iter().flat_map(|route| &route.topics);
        mqtt::check(&broker, config.mqtt.max_payload_bytes, filters)?;
        Ok(Prepared { config, senders, broker })
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
