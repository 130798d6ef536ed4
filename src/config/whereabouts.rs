//! Where a running agent is to be found: read out of a file that may have mistakes, because the agent runs on the one before.
//!
//! What a mistake hides has its default. The file is read for as much as it tells; nothing else that it says is used.

use crate::config::problem::Source;
use crate::config::reader::Reader;
use crate::config::{Config, ConfigError, DEFAULT_PATH, environment, file_text, sections};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use toml::de::DeTable;

/// Where an agent answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Whereabouts {
    /// The journal's folder, with the control socket in it.
    pub journal: PathBuf,
    /// The status server, unless it is switched off.
    pub listen: Option<SocketAddr>,
    /// The file with the token that it wants.
    pub token_file: Option<PathBuf>,
}

impl From<&Config> for Whereabouts {
    fn from(config: &Config) -> Whereabouts {
        let (journal, listen) = (config.journal.path.clone(), config.status.listen);
        Whereabouts { journal, listen, token_file: config.status.token_file.clone() }
    }
}

impl Whereabouts {
    /// Where the agent answers whose file says nothing of it.
    pub fn usual() -> Whereabouts {
        Whereabouts::of_text("", Path::new(DEFAULT_PATH))
    }

    /// Reads a file with mistakes, and the environment of this process.
    ///
    /// # Errors
    /// The file cannot be read, or is not text.
    pub fn of_file(path: &Path) -> Result<Whereabouts, ConfigError> {
        Ok(Whereabouts::of_text(&file_text(path)?, path))
    }

    fn of_text(text: &str, path: &Path) -> Whereabouts {
        let source = Source::new(path.display().to_string(), text);
        // A parser that loses its way may lose what follows, too; the two sections by themselves are read nevertheless.
        let alone = [section(source.text, "journal"), section(source.text, "status")].concat();
        let (whole, errors) = DeTable::parse_recoverable(source.text);
        let document = if errors.is_empty() { whole } else { DeTable::parse_recoverable(&alone).0 };
        let environment = environment();
        let mut reader = Reader::new(&source, path.parent().unwrap_or(Path::new("")), &environment);
        let journal = sections::journal(sections::top(&mut reader, document.get_ref(), "journal"));
        let status = sections::status(sections::top(&mut reader, document.get_ref(), "status"));
        Whereabouts { journal: journal.path, listen: status.listen, token_file: status.token_file }
    }
}

/// The lines of a section, its header included.
fn section(text: &str, name: &str) -> String {
    let header = format!("[{name}]");
    let lines = text.lines().skip_while(|line| line.trim() != header);
    let own = lines.enumerate().take_while(|(index, line)| *index == 0 || !line.trim_start().starts_with('['));
    own.map(|(_, line)| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[journal]\npath = \"/data/journal\"\n[status]\nlisten = \"127.0.0.1:9000\"\n";

    fn of(text: &str) -> Whereabouts {
        Whereabouts::of_text(text, Path::new("/etc/tidegate/tidegate.toml"))
    }

    #[test]
    fn an_agent_is_found_despite_mistakes_elsewhere_in_its_file() {
        let good = of(GOOD);
        assert_eq!((&*good.journal, good.listen), (Path::new("/data/journal"), "127.0.0.1:9000".parse().ok()));
        let mistakes = [
            "[mqtt]\nurl = 7\n",
            "nonsense\n",
            "[mqtt\n",
            "[gateway]\nid = “roof”\n",
            "[gateway]\nid = \n",
            "[queues.main]\nurl = \"x\n",
        ];
        for mistake in mistakes {
            assert_eq!(of(&format!("{GOOD}{mistake}")), good, "{mistake} behind");
            assert_eq!(of(&format!("{mistake}{GOOD}")), good, "{mistake} before");
        }
    }

    #[test]
    fn what_a_mistake_hides_has_its_default() {
        let found = of("[journal]\npath = 5\n[status]\nlisten = \"nowhere\"\n");
        assert_eq!(found.journal, Path::new("/var/lib/tidegate/journal"));
        assert_eq!(found.listen, "127.0.0.1:8377".parse().ok());
        assert_eq!(of("").journal, found.journal);
    }
}
