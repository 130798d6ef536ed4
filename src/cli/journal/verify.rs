//! `tidegate journal verify`.

use crate::cli::ExitCode;
use crate::cli::journal::export::Progress;
use crate::cli::journal::failed;
use crate::cli::output::{say, say_json, say_text};
use crate::journal::View;
use crate::size;

/// Reads everything; exit code 8 when something is missing that should be there.
pub(super) fn verify(view: &View, json: bool) -> Result<ExitCode, ExitCode> {
    let mut progress = Progress::new("generations");
    let found = view.verify(&mut |done, all| progress.at(done as u64, all as u64));
    progress.end();
    let found = found.map_err(|error| failed(&error))?;
    let facts = view.stats().map_err(|error| failed(&error))?;
    let missing = found.missing();
    let sound = found.is_whole() && (facts.journal_id.is_some() || facts.just_made);
    if json {
        let lacking =
            found.lacking.iter().map(|(queue, records)| serde_json::json!({ "queue": queue, "records": records }));
        say_json(&serde_json::json!({
            "sound": sound, "missing": missing, "journal": facts, "generations": found.generations, "gone": found.gone,
            "waiting_missing": lacking.collect::<Vec<_>>(),
        }));
    } else {
        for one in &found.generations {
            let from = one.first;
            say_text!("generation {from}: {} records, {}", one.records, size::text(one.bytes));
            for (from, to) in &one.missing {
                say_text!(", MISSING {from} to {to}");
            }
            if one.cut_off > 0 {
                say_text!(", {} of a commit that was cut off and never acknowledged", one.cut_off);
            }
            say!("");
        }
        for (from, to) in &found.gone {
            say!("MISSING {from} to {to}: the generations that held these numbers are not there");
        }
        if facts.just_made {
            say!("the journal is only just made, nothing was written to it yet");
        } else if facts.journal_id.is_none() {
            say!(
                "the state file is damaged: at the next start everything on disk counts as waiting, and goes again, marked"
            );
        }
        for lane in &facts.lanes {
            say!(
                "queue {}: appended {} = accepted {} + waiting {} + evicted {} + quarantined {} + damaged {}",
                lane.name,
                lane.appended,
                lane.accepted,
                lane.waiting,
                lane.evicted,
                lane.quarantined,
                lane.damaged
            );
        }
        for (queue, count) in &found.lacking {
            say!("queue {queue}: {count} of the records that wait are MISSING");
        }
        match (sound, missing) {
            (true, _) => say!("sound"),
            (false, 0) => {}
            (false, n) => say!("{n} records cannot be read back; the agent books them as damaged and announces them"),
        }
    }
    Ok(if sound { ExitCode::Done } else { ExitCode::JournalDamaged })
}
