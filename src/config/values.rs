//! Values of the configuration that the stages use, too: choices and names. They know no section of it and no other module, and
//! `tests/house_rules/options.rs` lists what a stage may import.

use std::path::PathBuf;

/// The names as they were given; `None`: not at all.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GivenNames {
    /// `gateway.id`, if given.
    pub gateway_id: Option<String>,
    /// `gateway.site`, if given.
    pub site: Option<String>,
    /// `mqtt.client_id`, if given.
    pub client_id: Option<String>,
}

/// What happens at a bound of the journal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnFull {
    /// Evict the oldest records, counted and announced.
    DropOldest,
    /// Stop acknowledging; the broker holds the rest.
    Stop,
}

/// Where a queue's credentials come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CredentialsSource {
    /// `credentials_file`: the IAM console's `.csv` as downloaded.
    CsvFile(PathBuf),
    /// `credentials = "aws-chain"`: the standard AWS chain.
    AwsChain,
}

/// How a record becomes an SQS body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyFormat {
    /// Structured CloudEvents 1.0 JSON.
    CloudEvents,
    /// The payload itself, context in attributes.
    Raw,
    /// The envelope that consumers of Microshare's streams read.
    Microshare,
}

/// How a group's records share batches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ordering {
    /// A batch holds at most one record of a group.
    Strict,
    /// A group's consecutive records may share a batch.
    Packed,
}
