//! Reading an identity allocates nothing for members that are not read, however many there are.
#![allow(clippy::disallowed_methods, reason = "samples are read from files")]

use serde_json::Value;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;
use tidegate::clock::{Moment, Trust};
use tidegate::profile::{Profile, ProfileOptions, REGISTRY};
use tidegate::record::{JournalId, Message};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: everything is handed to the system's allocator; counting touches no memory of the allocation.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that ends has no counter any more.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: as for the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as for the caller.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const RECEIVED: Moment = Moment { wall_ms: 1_770_900_000_000, boottime_ms: 5_000, trust: Trust::Confirmed };

/// JSON samples, each with its topic.
fn samples() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
    let index: Value =
        serde_json::from_slice(&std::fs::read(root.join("index.json")).expect("the index")).expect("JSON");
    let own = index["samples"].as_array().expect("entries").iter().filter_map(|entry| {
        let text = std::fs::read_to_string(root.join(entry["file"].as_str()?)).ok()?;
        text.starts_with('{').then(|| (entry["topic"].as_str().unwrap_or("t").to_owned(), text))
    });
    own.collect()
}

fn allocations(profile: &Profile, topic: &str, payload: String) -> usize {
    let message =
        Message { topic: topic.to_owned(), payload: payload.into(), qos: 1, retain: false, dup: false, packet_id: 1 };
    let before = ALLOCATIONS.with(Cell::get);
    let identity = profile.identify(&message, RECEIVED, JournalId(7));
    let count = ALLOCATIONS.with(Cell::get) - before;
    drop(identity);
    count
}

#[test]
fn members_that_are_not_read_cost_no_allocation() {
    let more: String = (0..1000).map(|n| format!("\"m\\u00e9{n}\":{{\"a\":[1,\"x\\n\",null]}},")).collect();
    let samples = samples();
    assert!(samples.len() > 60, "only {} samples", samples.len());
    for info in REGISTRY {
        let profile = Profile::named(info.name, ProfileOptions::default()).expect("a name of the registry");
        for (topic, text) in &samples {
            let longer = format!("{{{more}{}", &text[1..]);
            let (plain, longer) = (allocations(&profile, topic, text.clone()), allocations(&profile, topic, longer));
            // One or two may differ by a buffer that grows once; a thousand members would show.
            assert!(longer <= plain + 2, "{}: {plain} allocations, with a thousand members more {longer}", info.name);
        }
    }
}
