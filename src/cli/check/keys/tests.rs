//! What the check says of keys on the disk, and of a copy that was forgotten there.

use super::*;
use crate::cli::check::CheckResult;
use std::collections::BTreeMap;

const CSV: &str = "Access key ID,Secret access key\nAKIAIOSFODNN7EXAMPLE,secret\n";
/// Heads of encrypted credentials, as systemd-creds makes them with a TPM and with the host key.
const TPM: &str = "DHzAexF2RZGcSwvqCLwg/iAA";
const HOST: &str = "Whxqht+dQJax1aZeCGLxmiAA";

struct System(tempfile::TempDir, Places);

impl System {
    fn new() -> System {
        let folder = tempfile::tempdir().expect("a folder");
        let places = Places::below(folder.path());
        System(folder, places)
    }

    fn write(&self, file: &Path, text: &str) {
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
        std::fs::write(file, text).expect("written");
    }

    fn drop_in(&self, key: &str, file: &Path) {
        self.write(&self.1.drop_in, &format!("[Service]\n{key}=credentials.csv:{}\n", file.display()));
    }

    /// What the check says of keys at rest and of copies, with a configuration that reads them there.
    fn said(&self, credentials_file: &Path) -> Vec<(CheckResult, String, String)> {
        let text = format!(
            "[queues.main]\nurl = \"https://sqs.eu-west-1.amazonaws.com/123456789012/site\"\ncredentials_file = \"{}\"\n\
             [[routes]]\nprofile = \"rak\"\nqueue = \"main\"\n",
            credentials_file.display()
        );
        let config = Config::parse(&text, Path::new("/etc/tidegate/tidegate.toml"), &BTreeMap::new()).expect("valid");
        let steps = steps(&config, &self.1).into_iter().filter(|step| !step.step.starts_with("keys of"));
        steps.map(|step| (step.mark, step.found, step.next)).collect()
    }
}

#[test]
fn check_says_what_protects_keys_on_a_stolen_card() {
    let handed_over = Path::new("$CREDENTIALS_DIRECTORY/credentials.csv");
    let system = System::new();
    let Places { plain, store, encrypted, .. } = system.1.clone();
    let [(CheckResult::Open, found, _)] = &system.said(handed_over)[..] else { panic!("no drop-in is there") };
    assert!(found.contains("does not say from where"), "{found}");
    system.drop_in("LoadCredentialEncrypted", &encrypted);
    let [(CheckResult::Open, _, next)] = &system.said(handed_over)[..] else { panic!("it cannot be read") };
    assert_eq!(next, "sudo tidegate check");
    for (head, mark, says) in [
        (TPM, CheckResult::Good, "this machine's TPM"),
        (HOST, CheckResult::Open, "the host key, which lies on the same card"),
    ] {
        system.write(&encrypted, head);
        let said = system.said(handed_over);
        assert!(said.len() == 1 && said[0].0 == mark && said[0].1.contains(says), "{said:?}");
    }
    system.drop_in("LoadCredential", &store);
    let said = system.said(handed_over);
    assert!(said.len() == 1 && said[0].1.contains("readable by root alone: anyone who takes the card"), "{said:?}");
    assert!(system.said(&plain).is_empty(), "it is not there, which is said of the key");
}

#[test]
fn a_plain_copy_beside_a_credential_is_to_be_removed() {
    let handed_over = Path::new("$CREDENTIALS_DIRECTORY/credentials.csv");
    let system = System::new();
    let Places { plain, store, .. } = system.1.clone();
    system.write(&plain, CSV);
    let said = system.said(&plain);
    assert!(said.len() == 1 && said[0].1.starts_with("plain in"), "without a credential it belongs there: {said:?}");
    system.drop_in("LoadCredential", &store);
    let bad = |said: Vec<(CheckResult, String, String)>| {
        said.into_iter().find(|(mark, ..)| *mark == CheckResult::Bad).expect("bad").2
    };
    assert_eq!(bad(system.said(handed_over)), format!("rm {}", plain.display()));
    assert_eq!(bad(system.said(&plain)), format!("tidegate credentials import --systemd {}", plain.display()));
    std::fs::remove_file(&plain).expect("removed");
    assert!(system.said(handed_over).iter().all(|(mark, ..)| *mark != CheckResult::Bad));
}

#[test]
fn an_id_of_an_unusual_form_is_not_shown() {
    let system = System::new();
    let file = system.0.path().join("key.csv");
    system.write(&file, "Access key ID,Secret access key\nhunter2,AKIA\n");
    let step = keys("main", &file);
    assert!(step.mark == CheckResult::Good && !step.found.contains("hunter2"), "{step:?}");
}
