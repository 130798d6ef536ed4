//! `tidegate journal list` and `show`.

use crate::cli::ExitCode;
use crate::cli::journal::record::{HEAD, Line};
use crate::cli::journal::{Choice, Shown, failed};
use crate::cli::output::{complain, note, say, say_json, say_text};
use crate::journal::View;
use crate::record::Number;
use std::ops::ControlFlow;

/// Lists what is chosen; what else there is, it says on standard error.
pub(super) fn list(view: &View, choice: &Choice, limit: usize, json: bool) -> Result<ExitCode, ExitCode> {
    let lane = choice.lane(view)?;
    let (mut shown, mut more) = (0, false);
    if !json {
        say!("{HEAD}");
    }
    view.each(Number(choice.from), &mut |record| {
        if !choice.takes(view, record, lane) {
            return ControlFlow::Continue(());
        }
        if shown == limit {
            more = true;
            return ControlFlow::Break(());
        }
        shown += 1;
        let line = Line::of(view, record, false);
        match json {
            true => say_json(&line.json()),
            false => say!("{}", line.row()),
        }
        ControlFlow::Continue(())
    })
    .map_err(|error| failed(&error))?;
    if more {
        note!("there are more records: raise --limit to {}, or continue with --from and the last number", limit * 10);
    } else if shown == 0 {
        let waits = if choice.all {
            "the journal holds no record"
        } else {
            "no record waits; use --all to show sent records that are still on disk"
        };
        note!("{waits}");
    }
    Ok(ExitCode::Done)
}

/// Shows one record; its payload on request, and then last and as it is.
pub(super) fn show(view: &View, &Shown { number, payload, .. }: &Shown) -> Result<ExitCode, ExitCode> {
    let mut found = false;
    view.each(Number(number), &mut |record| {
        if record.number == Number(number) {
            found = true;
            say_text!("{}", Line::of(view, record, false).facts());
            say_payload(&record.draft.message.payload, payload);
        }
        ControlFlow::Break(())
    })
    .map_err(|error| failed(&error))?;
    if found {
        return Ok(ExitCode::Done);
    }
    let (first, last) = view.span();
    complain!(
        "record {number} is not in the journal (it holds {first} to about {last}); `tidegate journal verify` shows what is damaged"
    );
    Err(ExitCode::Failed)
}

/// Text as it can be shown, other bytes in hex: `journal export` has all of them.
pub(super) fn say_payload(payload: &[u8], shown: bool) {
    match (shown, std::str::from_utf8(payload)) {
        (false, _) => say!("{:<14} hidden; --payload shows it", "payload"),
        (true, Ok(text)) => say_text!("{:<14}\n{text}\n", "payload"),
        (true, Err(_)) => {
            say_text!("{:<14} in hex\n{}\n", "payload", hex::encode(payload));
        }
    }
}
