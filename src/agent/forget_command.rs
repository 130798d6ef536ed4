//! The whole command that ends a session which the broker keeps, for remedies: as a shell reads it.

use crate::config::DEFAULT_PATH;
use std::path::Path;

/// The whole command that ends a session; `file` is the configuration that tells where the broker is.
pub(crate) fn forget_command(client_id: &str, file: &Path) -> String {
    let mut command = format!("tidegate forget-session --client-id {}", word(client_id));
    if file != Path::new(DEFAULT_PATH) {
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        command += &format!(" --config {}", word(&file.display().to_string()));
    }
    command
}

/// The same at another broker than the file's.
pub(super) fn forget_command_at(url: &str, client_id: &str, file: &Path) -> String {
    format!("TIDEGATE_MQTT_URL={} {}", word(url), forget_command(client_id, file))
}

/// As a shell reads it.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:@%+,=".contains(c);
    let bare = !text.is_empty() && !text.starts_with('-') && text.chars().all(plain);
    if bare { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        // It starts shells.
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn a_shell_reads_the_command_as_it_is_meant(client in "[ -~]{1,20}") {
            let command = forget_command(&client, Path::new("/etc/tidegate/tidegate.toml"));
            let words = command.strip_prefix("tidegate forget-session --client-id ").expect("no file to name");
            let printed = std::process::Command::new("sh").args(["-c", &format!("printf %s {words}")]).output();
            prop_assert_eq!(printed.expect("a shell").stdout, client.into_bytes());
        }
    }

    #[test]
    fn the_forget_command_names_an_unusual_file_or_broker() {
        let file = Path::new("/srv/a b.toml");
        assert_eq!(forget_command("x", file), "tidegate forget-session --client-id x --config '/srv/a b.toml'");
        let at = forget_command_at("mqtt://old:1883", "x", Path::new(DEFAULT_PATH));
        assert_eq!(at, "TIDEGATE_MQTT_URL=mqtt://old:1883 tidegate forget-session --client-id x");
    }
}
