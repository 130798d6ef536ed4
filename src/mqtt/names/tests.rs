//! Names: which one holds, given, kept or made, and after a copy.

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
