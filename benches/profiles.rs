//! What it costs to read one record's identity, and to take one into the chain, by profile, on the samples of the network server
//! that it is for.
//!
//!     cargo bench --bench profiles
//!
//! The limit is measured in the same run, on the same bytes: one pass of `serde_json` that checks the text and keeps
//! nothing. A ratio below 1 means that the profile did not even look at all of it; above 1 are small payloads, where hashing
//! the key weighs more than reading.
#![allow(clippy::print_stdout, reason = "figures for a person")]

use serde::de::IgnoredAny;
use serde_json::Value;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};
use tidegate::clock::{Moment, Trust};
use tidegate::profile::{Profile, ProfileOptions, REGISTRY};
use tidegate::record::chain::{START, digest, link};
use tidegate::record::{JournalId, Message, Position};

/// How long each is measured.
const SPAN: Duration = Duration::from_millis(200);
const RECEIVED: Moment = Moment { wall_ms: 1_770_900_000_000, boottime_ms: 5_000, trust: Trust::Confirmed };

fn folder(profile: &str) -> &str {
    match profile {
        "rak" => "rak-wisgateos",
        "kerlink" => "kerlink-wanesy",
        "thingpark" => "actility-thingpark",
        "auto" => "chirpstack-v4",
        other => other,
    }
}

fn samples(folder: &str) -> Vec<Message> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
    let index: Value =
        serde_json::from_slice(&std::fs::read(root.join("index.json")).expect("the index")).expect("JSON");
    let files = index["samples"].as_array().expect("entries").iter();
    files
        .filter(|entry| entry["file"].as_str().is_some_and(|file| file.starts_with(&format!("{folder}/"))))
        .map(|entry| Message {
            topic: entry["topic"].as_str().expect("a topic").to_owned(),
            payload: std::fs::read(root.join(entry["file"].as_str().expect("a file"))).expect("a sample").into(),
            qos: 1,
            retain: false,
            dup: false,
            packet_id: 1,
        })
        // Two of a quarter of a megabyte would say nothing of the others.
        .filter(|message: &Message| message.payload.len() < 10_000)
        .collect()
}

/// Nanoseconds for one round over all messages, the best of several.
fn measure(messages: &[Message], mut once: impl FnMut(&Message)) -> f64 {
    let (start, mut best) = (Instant::now(), f64::INFINITY);
    while start.elapsed() < SPAN {
        let round = Instant::now();
        for _ in 0..20 {
            messages.iter().for_each(&mut once);
        }
        best = best.min(round.elapsed().as_nanos() as f64 / 20.0);
    }
    best / messages.len() as f64
}

fn main() {
    let head = ["bytes", "ns a record", "ns a pass", "ratio", "ns the chain"];
    println!("{:20} {:>8} {:>12} {:>12} {:>7} {:>13}", "profile", head[0], head[1], head[2], head[3], head[4]);
    for info in REGISTRY {
        let messages = samples(folder(info.name));
        let profile = Profile::named(info.name, ProfileOptions::default()).expect("a name of the registry");
        let bytes = messages.iter().map(|message| message.payload.len()).sum::<usize>() / messages.len().max(1);
        let read = measure(&messages, |message| {
            black_box(profile.identify(black_box(message), RECEIVED, JournalId(7)));
        });
        let pass = measure(&messages, |message| {
            let _ = black_box(serde_json::from_slice::<IgnoredAny>(black_box(&message.payload)));
        });
        let mut value = START;
        let chain = measure(&messages, |message| {
            let of =
                digest(Position(7), "cs4.up.5f0d7c1e.0123456789abcdef", &message.topic, black_box(&message.payload));
            value = link(&value, &of);
        });
        black_box(value);
        println!("{:20} {bytes:8} {read:12.0} {pass:12.0} {:7.2} {chain:13.0}", info.name, read / pass);
    }
}
