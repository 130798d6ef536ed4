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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name() -> impl Strategy<Value = String> {
        "[a-c]{1,2}"
    }

    fn given() -> impl Strategy<Value = GivenNames> {
        let maybe = || prop::option::of(name());
        (maybe(), maybe(), maybe()).prop_map(|(gateway_id, site, client_id)| GivenNames { gateway_id, site, client_id })
    }

    /// A start: what it chose, and what it leaves.
    fn start(given: &GivenNames, host: &str, kept: Option<&Kept>) -> (Names, Kept) {
        let names = choose(given, host, kept);
        let (client_id, gateway_id) = (names.client_id.clone(), Some(names.gateway_id.clone()));
        (names, Kept { url: "mqtt://b".into(), client_id, gateway_id, copy_of: None, seeded: false })
    }

    proptest! {
        #[test]
        fn a_name_changes_only_when_another_one_is_given(starts in prop::collection::vec((given(), name()), 1..8)) {
            let mut kept: Option<Kept> = None;
            for (given, host) in starts {
                let (names, next) = start(&given, &host, kept.as_ref());
                prop_assert_eq!(given.gateway_id.as_ref().unwrap_or(&names.gateway_id), &names.gateway_id);
                prop_assert_eq!(given.client_id.as_ref().unwrap_or(&names.client_id), &names.client_id);
                prop_assert_eq!(given.site.as_ref().unwrap_or(&names.gateway_id), &names.site);
                match &kept {
                    None => {
                        prop_assert_eq!(given.gateway_id.as_ref().unwrap_or(&host), &names.gateway_id);
                        let follows = format!("tidegate-{}", names.gateway_id);
                        prop_assert_eq!(given.client_id.as_ref().unwrap_or(&follows), &names.client_id);
                    }
                    Some(kept) => {
                        prop_assert!(given.client_id.is_some() || names.client_id == kept.client_id);
                        prop_assert!(given.gateway_id.is_some() || Some(&names.gateway_id) == kept.gateway_id.as_ref());
                        let news = news(&given, &host, kept, &names, &kept.url);
                        let session = news.iter().any(|news| matches!(news, News::Session { .. }));
                        prop_assert_eq!(session, names.client_id != kept.client_id, "an old session is never left unsaid");
                        let gateway = news.iter().any(|news| matches!(news, News::Gateway { .. }));
                        prop_assert_eq!(gateway, Some(&names.gateway_id) != kept.gateway_id.as_ref());
                    }
                }
                prop_assert!(kept.is_none() || news(&given, &host, &next, &names, &next.url).iter().all(|n| *n == News::Host));
                kept = Some(next);
            }
        }

        #[test]
        fn a_copy_renames_itself_only_where_the_original_can_connect(
            given in given(), host in name(), id: u64, local in 0usize..4, again: bool,
        ) {
            let tcp = |host: &str| BrokerAddress::Tcp { host: host.into(), port: 1883 };
            let own = [tcp("localhost"), tcp("127.1.2.3"), BrokerAddress::Tls { host: "::1".into(), port: 1 },
                BrokerAddress::Unix("/s".into())];
            let names = choose(&given, &host, None);
            prop_assert_eq!(of_copy(&given, None, &names, &own[local], JournalId(id)), None);
            let (_, mut kept) = start(&given, &host, None);
            kept.copy_of = again.then(|| "first".into());
            let base = if again { "first" } else { &names.client_id };
            let expected = format!("{base}-{}", &JournalId(id).to_string()[..8]);
            match of_copy(&given, Some(&kept), &names, &tcp("broker.lan"), JournalId(id)) {
                Some(Copy::Own { client_id, of }) => {
                    prop_assert!(given.client_id.is_none());
                    prop_assert_eq!((client_id, of), (expected, names.client_id));
                }
                Some(Copy::Given { proposed }) => {
                    prop_assert!(given.client_id.is_some());
                    prop_assert_eq!(proposed, expected);
                }
                None => prop_assert!(false, "a broker of both"),
            }
        }
    }

    proptest! {
        // It syncs files.
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn kept_names_are_read_back_and_damaged_ones_use_filters(
            at in any::<prop::sample::Index>(), flip in 1u8.., client in "(tidegate-)?[a-z]{1,8}", other: bool,
        ) {
            let folder = tempfile::tempdir().expect("folder");
            let intake = folder.path().join("intake");
            let (_, mut kept_) = start(&GivenNames::default(), "host", None);
            kept_.copy_of = other.then(|| client.clone());
            keep(folder.path(), &kept_).expect("kept");
            prop_assert_eq!(kept(folder.path(), "mqtt://elsewhere"), Some(kept_));
            let mut bytes = std::fs::read(intake.join(NAMES)).expect("there");
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            std::fs::write(intake.join(NAMES), bytes).expect("written");
            prop_assert_eq!(kept(folder.path(), "mqtt://b"), None);
            let filters = Filters { url: "mqtt://b".into(), client_id: client.clone() };
            cache::keep(&intake, FILTERS, &filters).expect("kept");
            let seed = kept(folder.path(), "mqtt://b").expect("0.1.0's");
            prop_assert_eq!(&seed.client_id, &client);
            prop_assert_eq!(seed.gateway_id.as_deref(), client.strip_prefix("tidegate-"));
            prop_assert_eq!(choose(&GivenNames::default(), "host", Some(&seed)).client_id, client);
            prop_assert_eq!(kept(folder.path(), "mqtt://elsewhere"), None, "another broker's session");
        }
    }

    #[test]
    fn another_name_of_the_same_broker_is_no_news() {
        let (names, kept) = start(&GivenNames::default(), "host", None);
        let said = |old: &str, new: &str| {
            let kept = Kept { url: old.into(), ..kept.clone() };
            news(&GivenNames::default(), "host", &kept, &names, new)
        };
        assert_eq!(said("mqtt://localhost:1883", "mqtts://127.0.0.1:8883"), []);
        let old = "mqtt://old.lan:1883";
        let session = News::Session { url: Some(old.into()), client_id: "tidegate-host".into() };
        assert_eq!(said(old, "mqtt://localhost:1883"), [session]);
    }
}
