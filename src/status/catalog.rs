//! The catalogue of `journalctl -x`: what each finding's MESSAGE_ID means and what to do, made of the codes. The package installs
//! it as `/usr/lib/systemd/catalog/tidegate.catalog`.

use crate::journald::message_id;
use crate::status::findings::codes::CODES;
use std::fmt::Write as _;

/// The whole file.
pub fn text() -> String {
    let mut out = String::from(
        "# Made of the codes of findings by `TIDEGATE_WRITE_DOCS=1 cargo test --test house_rules generated`.\n",
    );
    for row in CODES {
        let subject = row.word.replace('_', " ");
        let _ = write!(
            out,
            "\n-- {}\nSubject: tidegate: {subject}\nDefined-By: tidegate\nSupport: file:///usr/share/doc/tidegate/docs/troubleshooting.md\n\n\
             What it costs: {}.\n",
            message_id(row.word),
            row.cost
        );
        // Where each finding has a remedy of its own, journalctl puts that in.
        let _ = match (row.remedy, row.command) {
            ("", "") => writeln!(out, "What to do: nothing, it comes back by itself."),
            ("", _) => writeln!(out, "@F_REMEDY@"),
            (remedy, _) => writeln!(out, "What to do: {remedy}."),
        };
        let command = if row.command.is_empty() { "sudo tidegate status" } else { row.command };
        let _ = writeln!(out, "Run: {command}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_code_has_an_id_of_its_own() {
        let ids: BTreeSet<String> = CODES.iter().map(|row| message_id(row.word)).collect();
        assert_eq!(ids.len(), CODES.len());
        assert!(ids.iter().all(|id| id.len() == 32 && text().contains(&format!("\n-- {id}\n"))), "{ids:?}");
    }
}
