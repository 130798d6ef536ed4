//! The gateway's id: what consumers tell gateways apart by, and what the session at the broker is called.

use crate::cli::init::answers::Answers;
use crate::cli::output::note;
use crate::config::{gateway_id_problem, host_name};

/// Host names that makers of images and boards give to all of them.
const GENERIC: &str = "armbian beaglebone box buildroot chirpstack chirpstack-gateway-os conduit debian dietpi gateway gw host \
                       hostname kerlink lede linux localhost lora lora-gateway lorawan milesight mlinux mtcap mtcdt multitech \
                       none openwrt pi rak rak-gateway rakwireless raspberry raspberrypi test tidegate ubuntu";

/// Whether many machines have this name: by its first label, and with any model behind `raspberrypi`.
fn is_generic(name: &str) -> bool {
    let name = name.split('.').next().unwrap_or_default().to_lowercase();
    let board =
        name.strip_prefix("raspberrypi").is_some_and(|model| model.chars().all(|c| c.is_ascii_digit() || c == '-'));
    name.is_empty() || board || GENERIC.split(' ').any(|generic| generic == name)
}

fn warn(name: &str) {
    note!(
        "\"{name}\" is a name that many machines have. Two gateways with one id cannot be told apart in the queue, and at one \
         broker each throws the other out."
    );
}

/// The id to write: as given, or as answered. `None`: `init` asks nothing, and the journal keeps the host name.
///
/// # Errors
/// It is not an id, or there is no answer.
pub(super) fn gateway(given: Option<&str>, answers: &mut Answers) -> Result<Option<String>, String> {
    let read = |id: &str| gateway_id_problem(id).map_or_else(|| Ok(id.to_owned()), Err);
    let host = host_name();
    let id = match given {
        Some(id) => read(id)?,
        None if answers.yes => {
            if is_generic(&host) {
                warn(&host);
                note!("This machine's host name is used nevertheless; give it another id with --gateway.");
            }
            return Ok(None);
        }
        // A name of that kind is not proposed: a person who wants it types it.
        None if is_generic(&host) => {
            warn(&host);
            answers.until("An id for this gateway, such as hq-tower-roof?", "", "--gateway", read)?
        }
        None => answers.until(&format!("An id for this gateway? [{host}]"), &host, "--gateway", read)?,
    };
    if is_generic(&id) {
        warn(&id);
    }
    Ok(Some(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_host_names_are_generic_and_chosen_ones_are_not() {
        for name in [
            "localhost",
            "localhost.localdomain",
            "RaspberryPi",
            "raspberrypi4-64",
            "openwrt.lan",
            "gateway",
            "",
            "rakwireless",
        ] {
            assert!(is_generic(name), "{name}");
        }
        for name in ["hq-tower-roof", "gateway-12", "raspberrypi-hall", "rak7268-ac1f", "debian-roof"] {
            assert!(!is_generic(name), "{name}");
        }
    }

    #[test]
    fn an_invalid_gateway_id_is_refused_with_a_suggestion() {
        let mut answers = Answers { yes: true };
        assert_eq!(gateway(Some("hq-tower"), &mut answers), Ok(Some("hq-tower".into())));
        let why = gateway(Some("hq tower"), &mut answers).expect_err("no id");
        assert!(why.contains("hq-tower") && why.contains("64 letters"), "{why}");
    }
}
