//! Sparkplug B: identity, node and device of real payloads and of damaged ones.

use super::*;
use crate::clock::{BootId, Moment};
use crate::profile::{Profile, ProfileOptions, order_key};
use crate::record::Epoch;
use crate::record::Number;
use crate::record::identity::Grouping;
use crate::record::{Draft, Identity, JournalId, LaneId, Record};
use proptest::prelude::*;

fn identify(topic: &str, grouping: Grouping) -> Identity {
    let payload = bytes::Bytes::from_static(&[8, 1]);
    let message = Message { topic: topic.to_owned(), payload, qos: 0, retain: false, dup: false, packet_id: 0 };
    let options = ProfileOptions { grouping, ..ProfileOptions::default() };
    let profile = Profile::named("sparkplug-b", options).expect("a profile");
    profile.identify(&message, Moment::default(), JournalId(1))
}

fn record(profile: &str, topic: &str, identity: Identity) -> Record {
    let message = Message {
        topic: topic.to_owned(),
        payload: bytes::Bytes::new(),
        qos: 0,
        retain: false,
        dup: false,
        packet_id: 0,
    };
    let draft = Draft {
        received: Moment::default(),
        message,
        profile: profile.to_owned(),
        identity,
        lanes: vec![LaneId(0)],
        duplicate: None,
    };
    Record {
        journal: JournalId(1),
        epoch: Epoch(1),
        number: Number(1),
        boot: BootId::default(),
        key: "k".into(),
        slots: vec![],
        requeued: false,
        open_acks: None,
        draft,
    }
}

/// As version 0.1.0 grouped what a device published.
fn former(topic: &str) -> String {
    let levels: Vec<&str> = topic.split('/').collect();
    sqs_id(&[&levels[1..2], &levels[3..]].concat().join("/"))
}

fn any_name() -> impl Strategy<Value = String> {
    "[A-Za-z0-9 .:é-]{1,50}"
}

proptest! {
    #[test]
    fn node_and_devices_share_one_group_in_both_topic_spellings(
        group in any_name(), node in any_name(), device in any_name(), kind in "BIRTH|DATA|DEATH",
    ) {
        prop_assume!(group != "STATE");
        let of = |topic: &str| identify(topic, Grouping::Device);
        let of_node = of(&format!("spBv1.0/{group}/N{kind}/{node}"));
        let of_device = of(&format!("spBv1.0/{group}/D{kind}/{node}/{device}"));
        prop_assert_eq!((&of_node.group, of_node.device.as_deref()), (&of_device.group, Some(&*node)));
        prop_assert_eq!(of_device.device.as_deref(), Some(&*device), "the subject stays the device");
        for (slashed, as_written) in
            [(format!("N{kind}/{node}"), of_node), (format!("D{kind}/{node}/{device}"), of_device)]
        {
            prop_assert_eq!(of(&format!("spBv1/0/{group}/{slashed}")), as_written, "a broker made slashes of dots");
        }
    }

    #[test]
    fn only_records_grouped_by_device_are_reordered_by_node(
        group in any_name(), node in any_name(), device in any_name(),
        grouping in prop::sample::select(vec![Grouping::Device, Grouping::Topic, Grouping::Gateway, Grouping::Application]),
    ) {
        prop_assume!(group != "STATE");
        let topic = format!("spBv1.0/{group}/DDATA/{node}/{device}");
        let today = identify(&topic, grouping);
        let key = |profile: &str, identity: Identity| order_key(&record(profile, &topic, identity)).into_owned();
        prop_assert_eq!(key("sparkplug-b", today.clone()), today.group.clone(), "today's group");
        let old = Identity { group: former(&topic), ..today.clone() };
        let by_node = identify(&topic, Grouping::Device).group;
        prop_assert_eq!(key("sparkplug-b", old.clone()), by_node);
        prop_assert_eq!(key("generic", old.clone()), old.group);
    }
}

#[test]
fn a_host_and_a_node_are_grouped_as_ever() {
    for (topic, group) in [("spBv1.0/STATE/host-1", "host-1"), ("spBv1.0/G/NBIRTH/N", "G/N")] {
        let identity = identify(topic, Grouping::Device);
        assert_eq!(identity.group, group);
        assert_eq!(order_key(&record("sparkplug-b", topic, identity)), group);
    }
}
