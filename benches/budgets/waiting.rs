//! A journal in which a backlog waits already: made by the journal itself in minutes, on whatever machine, for one that would take
//! hours to be sent as much.

use crate::real::{Keeping, Real};
use crate::store::{Message, Store};
use crate::{FIRST_SEND, LONG, Outcome, PEAK_BYTES, QUEUE, REST, count, megabytes, peers, row};
use std::path::Path;
use std::time::{Duration, Instant};
use testkit::agent::AgentProcess;
use testkit::folder;

/// Records of a commit.
const GROUP: u64 = 50;

/// Journals so many records in `folder`.
pub(crate) fn fill(folder: &Path, records: u64) -> Outcome<()> {
    let mut journal = Box::new(Real::open(folder, Keeping::Thread)?);
    for first in (1..=records).step_by(GROUP as usize) {
        journal.commit((first..=records.min(first + GROUP - 1)).map(Message::of).collect())?;
    }
    journal.close()
}

/// Starts on a copy of the journal in `filled`, with the queue away and again with the queue there, and drains for so long.
pub(crate) async fn drain(program: &Path, kind: usize, filled: &Path, records: u64, time: Duration) -> Outcome<()> {
    let (_broker, mut stub, config) = peers().await?;
    let mut agent = AgentProcess::prepare(program, config)?;
    folder::copy(filled, &agent.journal_path())?;
    stub.close().await;
    agent.spawn()?;
    agent.wait_status("all waiting", LONG, |s| count(s, "waiting") == records).await?;
    tokio::time::sleep(REST).await;
    println!("{records} records waiting");
    megabytes("resident while they wait", agent.memory()?.resident, PEAK_BYTES[kind]);
    megabytes("resident while they wait: peak", agent.memory()?.peak, PEAK_BYTES[kind]);

    agent.kill().await?;
    stub.open()?;
    let begun = Instant::now();
    agent.spawn()?;
    stub.wait_for(QUEUE, LONG, |counters| counters.received > 0).await?;
    row("start to first send, all of them waiting", begun.elapsed().as_secs_f64(), FIRST_SEND.as_secs_f64(), "s");
    // Not an error when the time is over first.
    let _ = agent.wait_status("drained", time, |s| count(s, "waiting") == 0).await;
    let rate = stub.counters(QUEUE).accepted as f64 / begun.elapsed().as_secs_f64();
    megabytes("resident while they drained: peak", agent.memory()?.peak, PEAK_BYTES[kind]);
    agent.term(LONG).await?;
    let accepted = stub.counters(QUEUE).accepted;
    println!("{accepted} drained, {rate:.0} per second");
    agent.spawn()?;
    let status = agent.wait_status("open again", LONG, |s| count(s, "appended") >= records).await?;
    let left = count(&status, "waiting");
    match count(&status, "damaged") + count(&status, "evicted") {
        0 if left + accepted <= records + GROUP && left + accepted >= records => Ok(()),
        _ => Err(format!("{records} were waiting, {accepted} arrived: {status:#}").into()),
    }
}
