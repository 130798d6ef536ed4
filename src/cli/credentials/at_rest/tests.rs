//! Where keys end up with a good TPM, a bad one and none, and what the command says of them there.

use super::*;
use proptest::prelude::*;
use std::os::unix::fs::PermissionsExt;

const CSV: &str = "Access key ID,Secret access key\nAKIAIOSFODNN7EXAMPLE,wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n";
const YES: &str = "yes\n+firmware\n+driver\n+system\n+subsystem\n";
/// A board without UEFI.
const DRIVER: &str = "partial\n-firmware\n+driver\n+system\n+subsystem\n";
const PARTIAL: &str = "partial\n-firmware\n-driver\n+system\n+subsystem\n";

/// A system whose systemd-creds says this of its TPM and has these faults; `None`: without the program.
pub(in crate::cli) fn system(has_tpm2: Option<&str>, faults: &[&str]) -> (tempfile::TempDir, Places) {
    let folder = tempfile::tempdir().expect("a folder");
    let places = Places::below(folder.path());
    if let Some(said) = has_tpm2 {
        // A link, not a copy: a file that was just written may still be open in a child of another test.
        let fake = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/credentials/at_rest/fake_systemd_creds.sh");
        std::os::unix::fs::symlink(fake, &places.creds).expect("linked");
        std::fs::write(folder.path().join("has-tpm2"), said).expect("written");
    }
    for fault in faults {
        std::fs::write(folder.path().join(fault), "").expect("written");
    }
    (folder, places)
}

#[test]
fn a_tpm_encrypts_keys_and_a_trial_decryption_proves_it() {
    for (has_tpm2, faults, wanted) in [
        (Some(YES), &[][..], Ok("--tpm2-pcrs= ")),
        (Some(DRIVER), &[], Ok("--tpm2-pcrs= ")),
        (Some(YES), &["picky"], Ok("--tpm2-pcrs=23")),
        (Some(YES), &["broken"], Err("State not recoverable")),
        (Some(YES), &["lossy"], Err("not what it encrypted")),
        (Some(YES), &["old"], Err("with systemd 252 some power cuts would lock the TPM")),
        (Some(PARTIAL), &[], Err("")),
        (Some("no\n"), &[], Err("")),
        (None, &[], Err("")),
    ] {
        let (folder, places) = system(has_tpm2, faults);
        // Whatever a former import left: the other one must not stay.
        for former in [&places.store, &places.encrypted] {
            place_file(former, b"former", None).expect("written");
        }
        let stored = store(&places, CSV.as_bytes()).expect("written");
        let (place, other) = match wanted {
            Ok(_) => (&places.encrypted, &places.store),
            Err(_) => (&places.store, &places.encrypted),
        };
        assert!(!other.exists(), "{has_tpm2:?} {faults:?}: {stored:?}");
        assert_eq!(std::fs::metadata(place).expect("there").permissions().mode() & 0o777, 0o600);
        let bytes = std::fs::read(place).expect("there");
        let (kind, named) = at_rest(&places.drop_in);
        assert_eq!(&named, place);
        match (wanted, stored) {
            (Ok(pcrs), Stored::Tpm) => {
                assert_eq!(kind, AtRest::Tpm);
                let text: String = String::from_utf8(bytes).expect("base64").split_whitespace().collect();
                let inner = STANDARD.decode(text).expect("base64");
                assert!(String::from_utf8_lossy(&inner).contains(pcrs), "{faults:?}");
            }
            (Err(why), Stored::Fallback(told)) => assert!(!why.is_empty() && told.contains(why), "{told}"),
            (Err(""), Stored::NoTpm) => {}
            (wanted, stored) => panic!("{has_tpm2:?} {faults:?}: {wanted:?}, {stored:?}"),
        }
        if wanted.is_err() {
            assert_eq!((kind, &*std::fs::read(place).expect("there")), (AtRest::Plain, CSV.as_bytes()));
        }
        let called = std::fs::read_to_string(folder.path().join("called")).unwrap_or_default();
        assert!(!called.contains("wJalr"), "everybody may read command lines: {called}");
    }
}

#[test]
fn what_encrypts_a_credential_is_read_off_its_head() {
    // The first characters of what systemd-creds 252 made: with a TPM (swtpm), one and a signed policy, the host key, TPM and
    // host key, and no key.
    for (head, wanted) in [
        ("DHzAexF2RZGcSwvqCLwg/iAA", AtRest::Tpm),
        ("+vfrk0HjQSyhpDb5Wik2LyAA", AtRest::Tpm),
        ("Whxqht+dQJax1aZeCGLxmiAA", AtRest::HostKey),
        ("k6iUCUh0RJCQyvL8k8q1UyAA", AtRest::HostKeyAndTpm),
        ("BYRp2vb1QySABUnaD46i+yAA", AtRest::NoKey),
        ("AAAAAAAAAAAAAAAAAAAAAAAA", AtRest::OtherKey),
        ("not base64!", AtRest::OtherKey),
        ("", AtRest::OtherKey),
    ] {
        assert_eq!(kind_of(head.as_bytes()), wanted, "{head}");
        assert_eq!(kind_of(format!("{head}\nand more").as_bytes()), wanted, "{head}");
    }
}

#[test]
fn a_systemd_too_old_to_pass_keys_is_refused() {
    for (said, refused) in [
        ("systemd 241 (241)\n+PAM +AUDIT", true),
        ("systemd 246", true),
        ("systemd 247 (247.3-7+deb11u7)", false),
        ("systemd 252 (252.39-1~deb12u2)", false),
        ("systemd 259~rc1", false),
        ("something else", false),
        ("", false),
    ] {
        assert_eq!(too_old(said).is_some(), refused, "{said}");
    }
}

#[test]
fn a_missing_or_foreign_drop_in_is_reported_as_such() {
    let (folder, places) = system(None, &[]);
    assert_eq!(at_rest(&places.drop_in).0, AtRest::NotOurs);
    place_file(&places.drop_in, b"[Service]\nLoadCredential=other:/x\n#LoadCredential=credentials.csv:/y\n", None)
        .expect("written");
    assert_eq!(at_rest(&places.drop_in).0, AtRest::NotOurs);
    place_drop_in(&places.drop_in, &folder.path().join("gone"), true).expect("written");
    assert!(matches!(at_rest(&places.drop_in).0, AtRest::Unreadable(_)));
}

proptest! {
    #[test]
    fn a_drop_in_says_what_it_was_made_of(place in "/[a-z./=: ]{0,40}[a-z]", encrypted: bool) {
        let text = drop_in(Path::new(&place), encrypted);
        prop_assert_eq!(loaded(&text), Some((PathBuf::from(&place), encrypted)));
        let last = loaded(&format!("{text}{}", drop_in(Path::new("/last"), !encrypted)));
        prop_assert_eq!(last, Some((PathBuf::from("/last"), !encrypted)), "as systemd takes the last one of a name");
    }

    #[test]
    fn no_content_of_a_credential_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let _ = kind_of(&bytes);
        let _ = loaded(&String::from_utf8_lossy(&bytes));
    }
}
