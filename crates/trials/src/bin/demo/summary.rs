//! The end: what the customer got against what was published, and the figures beside it.

use crate::options::{Options, Sabotage};
use crate::play::Played;
use crate::scene::{QUEUE, Scene};
use std::fmt::Write as _;
use std::io::{Write as _, stdout};
use testkit::checker::{Rules, Verdict, judge};
use testkit::consumer::Delivered;

/// Last lines of the agent's log that a bad verdict shows.
const LOG_LINES: usize = 15;

/// Prints the verdict and the figures; whether it is clean.
pub(crate) fn tell(played: &Played, scene: &Scene, options: &Options) -> bool {
    let (mut delivered, mut offences) = (played.delivered.clone(), Vec::new());
    if let Some(sabotage) = options.sabotage {
        tamper(&mut delivered, sabotage);
        offences.push(format!("this run was told to tamper with what the customer received ({sabotage:?})"));
    }
    let verdict = judge(&played.published, &delivered, Rules::FIFO);
    offences.extend(verdict.details.iter().cloned());
    if verdict.published == 0 {
        offences.push("nothing was published: nothing is proven".into());
    }
    offences
        .extend(scene.stub.unexpected().into_iter().map(|call| format!("the queue did not know this call: {call}")));
    offences.extend(scene.stub.denied().into_iter().map(|call| format!("the agent may not, and tried: {call}")));
    if played.books.as_ref().is_some_and(|books| !books.balance()) {
        offences.push("the agent's own books do not balance".into());
    }
    // No user is left to tell when the terminal is gone; the exit status stays.
    let _ = stdout().write_all(text(played, &verdict, scene, options).as_bytes());
    let clean = verdict.is_clean() && offences.is_empty();
    if !clean {
        let _ = stdout().write_all(complaint(&offences, scene, options).as_bytes());
    }
    clean
}

fn text(played: &Played, verdict: &Verdict, scene: &Scene, options: &Options) -> String {
    let counters = scene.stub.counters(QUEUE);
    let mut text = format!("\n{verdict}\n\n");
    // Writing to a String cannot fail.
    let mut line = |label: &str, figures: std::fmt::Arguments<'_>| _ = writeln!(text, "  {label:<8} {figures}");
    line(
        "queue",
        format_args!(
            "{} raw sends in {} calls; its deduplication absorbed {}, it refused {}",
            counters.received, counters.calls, counters.absorbed, counters.refused
        ),
    );
    match &played.books {
        Some(b) => line(
            "journal",
            format_args!(
                "appended {} = accepted {} + waiting {} + evicted {} + quarantined {} + damaged {}",
                b.appended, b.accepted, b.waiting, b.evicted, b.quarantined, b.damaged
            ),
        ),
        None => line("journal", format_args!("the agent does not answer")),
    }
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let size = std::fs::metadata(&scene.program).map_or(0, |file| file.len());
    let ours = options.agent.is_none();
    let kind = if ours && cfg!(debug_assertions) { ", a development build" } else { "" };
    line(
        "agent",
        format_args!("peak resident memory {:.1} MiB, binary {:.1} MiB{kind}", mib(played.peak_memory), mib(size)),
    );
    let caught_up =
        played.caught_up.map(|took| format!("; caught up {:.1} s after the uplink's return", took.as_secs_f64()));
    line("lag", format_args!("{} s at its longest{}", played.longest_lag_s, caught_up.unwrap_or_default()));
    if verdict.duplicated_marked > 0 {
        line("repeats", format_args!("{} more, each marked as a possible duplicate", verdict.duplicated_marked));
    }
    line("seed", format_args!("{}", options.seed));
    text
}

fn complaint(offences: &[String], scene: &Scene, options: &Options) -> String {
    let log = scene.agent.log();
    let lines: Vec<&str> = log.lines().collect();
    let tail = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n    ");
    format!(
        "\nNOT CLEAN:\n  {}\n  the agent's last words:\n    {tail}\n  to look into it: cargo demo --keep --seed {} --seconds {} --devices {} --rate {}\n",
        offences.join("\n  "),
        options.seed,
        options.seconds,
        options.devices,
        options.rate
    )
}

/// What a broken agent, queue or consumer would have made of the delivery.
fn tamper(delivered: &mut Vec<Delivered>, sabotage: Sabotage) {
    if delivered.is_empty() {
        return;
    }
    let middle = delivered.len() / 2;
    match sabotage {
        Sabotage::Drop => drop(delivered.remove(middle)),
        Sabotage::Duplicate => {
            let message_id = "another-message".to_owned();
            delivered.push(Delivered { message_id, ..delivered[middle].clone() });
        }
        Sabotage::Reorder => {
            // By chance the device in the middle may not publish again; some device does.
            let again =
                |at: usize| (at + 1..delivered.len()).find(|&next| delivered[next].group == delivered[at].group);
            let pair = (0..delivered.len()).find_map(|at| Some((at, again(at)?)));
            let (at, next) = pair.expect("a device that publishes again; use fewer devices or more seconds");
            delivered.swap(at, next);
        }
    }
}
