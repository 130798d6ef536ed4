//! The names in use, kept with the journal: the gateway's id and the client id at the broker.
//!
//! The broker's session hangs on the client id, and what waits there is lost to a client that comes under another one. So
//! a name that the configuration does not give is drawn from the host name once and then stays, whatever the host is
//! called later: a DHCP server, or a boot that is not that far yet, must not cost what waits. Only a name that the
//! configuration gives changes it; that is deliberate, and the log names the command that ends the session of before.
//!
//! The file `intake/names` in the journal's folder holds them. A journal of 0.1.0 has no such file, but the filters of
//! its session, and with them the client id that it used.

use crate::config::queue_url::is_loopback_host;
use crate::config::{BrokerAddress, GivenNames};
use crate::journal::refusal;
use crate::mqtt::cache::{self, FILTERS};
use crate::record::JournalId;
use serde::{Deserialize, Serialize};
use std::path::Path;

const NAMES: &str = "names";
/// What comes before the gateway's id in a client id that tidegate chose.
const PREFIX: &str = "tidegate-";

/// What was in use when the journal was open last.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Kept {
    /// The broker's URL, as configured.
    pub url: String,
    /// The client id there.
    pub client_id: String,
    /// The gateway's id; `None` where 0.1.0 left no trace of it.
    pub gateway_id: Option<String>,
    /// The client id of the gateway whose journal this one was copied from, until the configuration gives `mqtt.client_id`.
    #[serde(default)]
    pub copy_of: Option<String>,
    /// Guessed from what 0.1.0 left.
    #[serde(skip)]
    pub seeded: bool,
}

/// What 0.1.0 left: whose session held its filters.
#[derive(Serialize, Deserialize)]
struct Filters {
    url: String,
    client_id: String,
}

/// The names in use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Names {
    /// `gateway.id`
    pub gateway_id: String,
    /// `gateway.site`
    pub site: String,
    /// `mqtt.client_id`
    pub client_id: String,
}

/// The rule: what is given, else what is kept, else what follows from the host name. Pure.
pub fn choose(given: &GivenNames, host: &str, kept: Option<&Kept>) -> Names {
    let kept_gateway = kept.and_then(|kept| kept.gateway_id.as_deref());
    let gateway_id = given.gateway_id.as_deref().or(kept_gateway).unwrap_or(host).to_owned();
    let site = given.site.clone().unwrap_or_else(|| gateway_id.clone());
    let client_id = given.client_id.clone().or_else(|| kept.map(|kept| kept.client_id.clone()));
    Names { client_id: client_id.unwrap_or_else(|| format!("{PREFIX}{gateway_id}")), gateway_id, site }
}

/// What a person should know about the names of this start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum News {
    /// The host is called otherwise; the gateway's id stays.
    Host,
    /// The gateway's id was changed.
    Gateway {
        /// The id of before.
        was: String,
    },
    /// Client id or broker were changed: the session of before stays at the broker.
    Session {
        /// The broker of before, where it is another one.
        url: Option<String>,
        /// The client id of before.
        client_id: String,
    },
}

/// What changed from `kept` to `names` at the broker `url`. Pure.
pub fn news(given: &GivenNames, host: &str, kept: &Kept, names: &Names, url: &str) -> Vec<News> {
    let mut news = Vec::new();
    match &kept.gateway_id {
        Some(id) if given.gateway_id.is_none() && id != host => news.push(News::Host),
        Some(id) if *id != names.gateway_id && !kept.seeded => news.push(News::Gateway { was: id.clone() }),
        _ => {}
    }
    let moved = !may_be_one(&kept.url, url);
    if moved || kept.client_id != names.client_id {
        news.push(News::Session { url: moved.then(|| kept.url.clone()), client_id: kept.client_id.clone() });
    }
    news
}

/// Whether two URLs may mean one broker: `localhost` and `127.0.0.1`, its plain door and the one with TLS.
fn may_be_one(url: &str, other: &str) -> bool {
    let both = BrokerAddress::of(url).zip(BrokerAddress::of(other));
    both.map_or(url == other, |(one, other)| one.may_be(&other))
}

/// What becomes of the client id of a journal that was copied from another gateway's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Copy {
    /// The configuration gives none: this copy takes its own, and leaves that of the original alone.
    Own {
        /// The client id of the copy.
        client_id: String,
        /// The client id of the original.
        of: String,
    },
    /// The configuration gives it, so only the operator can change it.
    Given {
        /// What it could be changed to.
        proposed: String,
    },
}

/// At a broker that both can reach, two agents under one client id throw each other out. `None`: the broker is this
/// machine's own, and knows no other. Pure.
pub fn of_copy(
    given: &GivenNames,
    kept: Option<&Kept>,
    names: &Names,
    broker: &BrokerAddress,
    journal: JournalId,
) -> Option<Copy> {
    if !is_remote(broker) {
        return None;
    }
    let base = kept.and_then(|kept| kept.copy_of.as_ref()).unwrap_or(&names.client_id).clone();
    let own = format!("{base}-{:08x}", journal.0 >> 32);
    Some(match given.client_id {
        Some(_) => Copy::Given { proposed: own },
        None => Copy::Own { client_id: own, of: names.client_id.clone() },
    })
}

fn is_remote(broker: &BrokerAddress) -> bool {
    match broker {
        BrokerAddress::Tcp { host, .. } | BrokerAddress::Tls { host, .. } => !is_loopback_host(host),
        BrokerAddress::Unix(_) => false,
    }
}

/// What is kept in a journal's folder; `url` is the broker that is configured. Needs no lock; blocks for a small read.
pub fn kept(journal: &Path, url: &str) -> Option<Kept> {
    let folder = journal.join("intake");
    cache::read::<Kept>(&folder.join(NAMES)).or_else(|| {
        let Filters { url, client_id } =
            cache::read::<Filters>(&folder.join(FILTERS)).filter(|filters| may_be_one(&filters.url, url))?;
        let gateway_id = client_id.strip_prefix(PREFIX).map(str::to_owned);
        Some(Kept { url, client_id, gateway_id, copy_of: None, seeded: true })
    })
}

/// Whether what is kept can be read: a client id that cannot be read now is not one that was never kept, and under another
/// one what waits at the broker would stay there. Blocks for a small read.
///
/// # Errors
/// It is there, and the disk refuses.
pub fn readable(journal: &Path) -> std::io::Result<()> {
    match std::fs::read(journal.join("intake").join(NAMES)) {
        // Something that is not a folder is not the journal's, which opening the journal reports.
        Err(error) if !refusal::is_absence(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Keeps the names. The journal must be open, and ours. Blocks.
///
/// # Errors
/// The disk refuses; the text names the file.
pub fn keep(journal: &Path, kept: &Kept) -> Result<(), String> {
    cache::keep(&journal.join("intake"), NAMES, kept).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
