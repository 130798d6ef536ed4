//! Configurations as people write them: the reference moves, every other byte stays.

use super::*;
use crate::sqs::credentials::parse_csv;
use proptest::prelude::*;
use std::os::unix::fs::PermissionsExt;

const FILE: &str = "/etc/tidegate/tidegate.toml";

fn key(id: &str) -> (String, AccessKey) {
    let text = format!("Access key ID,Secret access key\n{id},wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n");
    let key = parse_csv(text.as_bytes()).expect("a key");
    (text, key)
}

/// One section per line of `queues`: its name, and what the section says about keys.
fn config(queues: &[(&str, &str)]) -> String {
    let url = |name: &str| format!("url = \"https://sqs.eu-west-1.amazonaws.com/123456789012/{name}\"");
    let mut text = "# credentials_file = \"credentials.csv\"\n[mqtt]\nurl = \"mqtt://127.0.0.1:1883\"\n".to_owned();
    for (name, keys) in queues {
        text += &format!("[queues.{name}]\n{}\n{keys}\n", url(name));
    }
    let names: Vec<String> = queues.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    text + &format!("[[routes]]\nprofile = \"rak\"\nqueues = [{}]\n", names.join(", "))
}

fn changed(text: &str, holds_it: &[&str]) -> (String, Vec<String>, Vec<PathBuf>) {
    match plan(text, Path::new(FILE), |file| holds_it.iter().any(|it| file == Path::new(it))) {
        Plan::Change { text, queues, files } => (text, queues, files.into_iter().collect()),
        other => panic!("{other:?}\n{text}"),
    }
}

#[test]
fn a_credentials_reference_moves_and_every_other_byte_stays() {
    let new = "\"$CREDENTIALS_DIRECTORY/credentials.csv\"";
    for written in [
        "credentials_file = \"credentials.csv\"",
        "credentials_file='credentials.csv' # credentials_file = \"credentials.csv\"",
        "\"credentials_file\"  =  \"\"\"credentials.csv\"\"\"",
        "credentials_file = \"cred\\u0065ntials.csv\"",
    ] {
        let text = config(&[("main", written)]);
        let (changed, queues, files) = changed(&text, &[]);
        assert_eq!(
            (queues, files),
            (vec!["main".to_owned()], vec!["/etc/tidegate/credentials.csv".into()]),
            "{written}"
        );
        let at = changed.find(new).unwrap_or_else(|| panic!("{changed}"));
        let (before, after) = (&changed[..at], &changed[at + new.len()..]);
        assert!(text.starts_with(before) && text.ends_with(after), "{changed}");
    }
    let inline = config(&[]).replace(
        "[[routes]]",
        "[queues]\nmain = { url = \"https://sqs.eu-west-1.amazonaws.com/123456789012/m\", credentials_file = \"k.csv\" }\n[[routes]]",
    );
    let inline = inline.replace("queues = []", "queue = \"main\"");
    assert_eq!(changed(&inline, &[]).0, inline.replace("\"k.csv\"", new));
}

#[test]
fn of_several_files_only_those_with_this_key_are_meant() {
    let (a, b) = ("credentials_file = \"a.csv\"", "credentials_file = \"/keys/b.csv\"");
    let text = config(&[("main", a), ("audit", b), ("copy", b), ("other", "credentials = \"aws-chain\"")]);
    let (new, queues, files) = changed(&text, &["/keys/b.csv"]);
    assert_eq!((queues, files), (vec!["audit".to_owned(), "copy".to_owned()], vec!["/keys/b.csv".into()]));
    assert!(new.contains(a) && !new.contains("b.csv"), "{new}");
    let Plan::ByHand { lines, .. } = plan(&text, Path::new(FILE), |_| false) else { panic!("nobody knows which") };
    assert_eq!(lines[0], format!("{FILE}:6: [queues.main]"));
    assert_eq!(lines.len(), 3, "{lines:?}");
}

#[test]
fn without_a_plain_file_or_valid_configuration_nothing_changes() {
    let there = config(&[("main", "credentials_file = \"$CREDENTIALS_DIRECTORY/credentials.csv\"")]);
    let chain = config(&[("main", "credentials = \"aws-chain\"")]);
    for text in [there, chain] {
        assert_eq!(plan(&text, Path::new(FILE), |_| true), Plan::Nothing);
    }
    for text in ["", "[queues.main]\ncredentials_file = \"credentials.csv\"\n", "[["] {
        assert!(matches!(plan(text, Path::new(FILE), |_| true), Plan::ByHand { .. }), "{text}");
    }
}

#[test]
fn rewrites_keep_the_mode_and_refuse_links_and_newer_text() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tidegate.toml");
    std::fs::write(&file, "old").expect("written");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).expect("set");
    rewrite(&file, "old", "new").expect("written");
    assert_eq!(std::fs::read_to_string(&file).expect("there"), "new");
    let about = std::fs::metadata(&file).expect("there");
    assert_eq!(about.permissions().mode() & 0o7777, 0o640);
    assert!(rewrite(&file, "old", "newer").is_err(), "somebody changed it");
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&file, &link).expect("linked");
    assert!(rewrite(&link, "new", "newer").is_err());
    assert_eq!(std::fs::read_to_string(&file).expect("there"), "new");
    assert_eq!(std::fs::read_dir(folder.path()).expect("there").count(), 2, "nothing beside");
}

#[test]
fn only_unlinked_plain_files_with_the_same_key_are_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, link) = (folder.path().join("credentials.csv"), folder.path().join("link"));
    let (text, imported) = key("AKIAIOSFODNN7EXAMPLE");
    assert_eq!(remove_plain(&file, &imported), Plain::Absent);
    std::fs::write(&file, key("AKIAOTHER00000000000").0).expect("written");
    assert!(matches!(remove_plain(&file, &imported), Plain::Stays(why) if why.contains("another key")));
    std::fs::write(&file, text).expect("written");
    std::os::unix::fs::symlink(&file, &link).expect("linked");
    assert!(matches!(remove_plain(&link, &imported), Plain::Stays(_)));
    assert_eq!(remove_plain(&file, &imported), Plain::Removed);
    assert!(!file.exists() && link.symlink_metadata().is_ok());
}

proptest! {
    /// Whatever the names, the spaces, the comments and the order.
    #[test]
    fn what_is_planned_is_the_same_configuration_with_other_keys(
        names in proptest::collection::btree_set("[a-z]{1,6}", 1..4),
        spaces in "[ \t]{0,3}",
        comment in "[a-z\"'= ]{0,20}",
        file in prop_oneof!["[a-z]{1,8}\\.csv", "/[a-z]{1,8}/[a-z. -]{1,8}x"],
    ) {
        let keys = format!("credentials_file{spaces}={spaces}\"{file}\"{spaces}#{comment}");
        let queues: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), keys.as_str())).collect();
        let text = config(&queues);
        let (new, changed, _) = changed(&text, &[]);
        prop_assert_eq!(changed.len(), names.len());
        prop_assert_eq!(new.replace(&as_credential(), &file), text.clone());
        prop_assert_eq!(plan(&new, Path::new(FILE), |_| true), Plan::Nothing, "and is not changed again");
    }

    #[test]
    fn no_text_makes_it_panic(text in "[a-z\\[\\]{}=.\"'\n#é ]{0,80}") {
        let _ = plan(&text, Path::new(FILE), |_| true);
    }
}
