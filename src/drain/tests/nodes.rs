//! Sparkplug: what an earlier release grouped by device goes before what follows of its edge node.

use super::*;

/// A message of one of two edge nodes: its own, or that of one of two devices, grouped as today or as version 0.1.0 did.
#[derive(Clone, Copy, Debug)]
struct Said {
    node: u8,
    device: Option<u8>,
    former: bool,
}

fn said() -> impl Strategy<Value = Said> {
    (0_u8..2, prop::option::of(0_u8..2), any::<bool>()).prop_map(|(node, device, former)| Said { node, device, former })
}

impl Said {
    fn draft(self, n: usize, lane: &Lane) -> Draft {
        let (topic, group) = match self.device {
            Some(device) if self.former => {
                (format!("DDATA/N{}/D{device}", self.node), format!("G/N{}/D{device}", self.node))
            }
            Some(device) => (format!("DDATA/N{}/D{device}", self.node), format!("G/N{}", self.node)),
            None => (format!("NDATA/N{}", self.node), format!("G/N{}", self.node)),
        };
        let mut draft = draft(&group, &format!("k{n}"), lane, 200);
        draft.profile = "sparkplug-b".into();
        draft.message.topic = format!("spBv1.0/G/{topic}");
        draft
    }
}

fn by_node(records: &[(String, String)]) -> BTreeMap<String, Vec<&str>> {
    let mut nodes: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    records.iter().for_each(|(group, key)| nodes.entry(ordered_by(group)).or_default().push(key));
    nodes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn records_of_a_node_fly_singly_in_order_across_releases(
        all in prop::collection::vec(said(), 1..80), script in prop::collection::vec(act(), 0..30),
    ) {
        let rig = journaled(all.iter().enumerate().map(|(n, said)| move |lane: &Lane| said.draft(n, lane)));
        let queue = Arc::new(Queue { script: Mutex::new(script), ..Queue::default() });
        let status = run(drain_all(&rig, &queue, Ordering::Strict));
        let arrived = queue.arrived.lock().unwrap().clone();
        prop_assert_eq!(*queue.overlaps.lock().unwrap(), 0, "a node in one flight at a time");
        prop_assert_eq!(by_node(&arrived), by_node(&rig.keys));
        prop_assert_eq!(status.inversions, 0);
        // What SQS is told stays as it was journaled.
        let groups: HashSet<_> = arrived.iter().cloned().collect();
        prop_assert_eq!(groups, rig.keys.iter().cloned().collect());
    }
}
