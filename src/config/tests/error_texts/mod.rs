//! The mistakes that people make, with the full texts that they are shown.

mod people;
mod queues;
mod routes;
mod syntax;
mod values;

use crate::config::Config;
use crate::config::tests::{MINIMAL, parse};
use std::path::Path;

/// The errors of the minimal file with a text in front.
fn said_of(front: &str) -> String {
    parse(&format!("{front}{MINIMAL}")).expect_err("a mistake")
}

/// The errors of the minimal file with one text in place of another.
fn said_after(from: &str, to: &str) -> String {
    assert!(MINIMAL.contains(from), "{from}");
    parse(&MINIMAL.replace(from, to)).expect_err("a mistake")
}

/// Mistakes and their texts, separated so that each can be read as it is shown.
fn check(cases: &[(String, &str)]) {
    for (said, expected) in cases {
        assert_eq!(said, expected.trim_start_matches('\n').trim_end(), "\n--- said:\n{said}\n---");
    }
}

#[test]
fn no_problem_shows_a_secret() {
    for text in [
        "[mqtt]\npassword = \"hunter2\"\n",
        "[mqtt]\npassword = hunter2\n",
        "[mqtt]\nurl = \"mqtt://me:hunter2@broker\"\n",
        "[mqtt]\nurl = mqtt://me:hunter2@broker\n",
        "[queues.x]\nsecret_access_key = \"hunter2\"\ncredentials = \"hunter2\"\n",
        "[queues]\nx = { url = 1, aws_secret_access_key = \"hunter2\" }\n",
    ] {
        let said = said_of(text);
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn an_unreadable_configuration_file_is_reported_with_the_remedy() {
    let folder = tempfile::tempdir().expect("a folder");
    let load = |path: &Path| Config::load(path).expect_err("no configuration").to_string();
    let missing = folder.path().join("tidegate.toml");
    assert!(
        load(&missing).ends_with("create it with `tidegate init`, or name another with --config"),
        "{}",
        load(&missing)
    );
    assert!(load(folder.path()).ends_with("name the file, not its folder"), "{}", load(folder.path()));
    std::fs::write(&missing, b"\xff\xfe[\0m\0").expect("a file");
    assert!(load(&missing).ends_with("it is UTF-16 text; save it as UTF-8 text"), "{}", load(&missing));
    std::fs::write(&missing, b"[gateway]\nid = \"B\xfcro\"\n").expect("a file");
    assert!(load(&missing).ends_with("line 2 is not UTF-8 text; save it as UTF-8 text"), "{}", load(&missing));
    std::fs::write(&missing, "[gateway]\nid = \"B\"\n").expect("a file");
    assert!(load(&missing).ends_with("\n\n2 problems in the configuration"), "{}", load(&missing));
}

proptest::proptest! {
    #[test]
    fn any_damaged_file_is_judged_and_told(at: proptest::sample::Index, cut in 0_usize..40, noise in "[a-z\"'=\\[\\]{}#.,“\t\r\né0-9]{0,6}") {
        let chars: Vec<char> = crate::config::DEFAULT_TOML.chars().collect();
        let at = at.index(chars.len());
        let rest = chars.iter().skip(at + cut);
        let text: String = chars[..at].iter().chain(&noise.chars().collect::<Vec<_>>()).chain(rest).collect();
        // The url and the credentials are missing in any case.
        proptest::prop_assert!(!parse(&text).expect_err("problems").is_empty());
    }
}
