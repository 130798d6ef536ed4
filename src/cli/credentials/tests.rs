//! Where the import puts a key, and what it tells the person.

use super::*;
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_key_file_is_replaced_whole_and_stays_private() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("keys/credentials.csv");
    place_file(&place, b"one", None).expect("written");
    place_file(&place, b"two", None).expect("written again");
    assert_eq!(std::fs::read(&place).expect("there"), b"two");
    assert_eq!(std::fs::metadata(&place).expect("there").permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(place.parent().expect("a folder")).expect("a folder").count(), 1, "nothing beside");
}

const CSV: &str = "Access key ID,Secret access key\nAKIAIOSFODNN7EXAMPLE,wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n";

/// Imports into the store of a system whose configuration has these lines about keys; returns all that the command said.
fn imported(places: &Places, keys: &str) -> (String, PathBuf) {
    let config = places.plain.with_file_name("tidegate.toml");
    let text = format!(
        "[queues.main]\nurl = \"https://sqs.eu-west-1.amazonaws.com/123456789012/site\"\n{keys}\n\
         [[routes]]\nprofile = \"rak\"\nqueue = \"main\"\n"
    );
    std::fs::create_dir_all(config.parent().expect("a folder")).expect("made");
    std::fs::write(&config, text).expect("written");
    let key = parse_csv(CSV.as_bytes()).expect("a key");
    let said = into_store(places, CSV.as_bytes(), &key, &config).expect("written").join("\n");
    assert!(!said.contains("wJalr"), "{said}");
    (said, config)
}

#[test]
fn of_several_key_files_a_person_names_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("tidegate.toml");
    let read = |files: [&str; 3]| {
        let queue = |(name, file): (&str, &str)| {
            format!(
                "[queues.{name}]\nurl = \"https://sqs.eu-west-1.amazonaws.com/123456789012/{name}\"\ncredentials_file = \"{file}\"\n"
            )
        };
        let queues: String = ["main", "audit", "third"].into_iter().zip(files).map(queue).collect();
        let text = format!("{queues}[[routes]]\nprofile = \"rak\"\nqueue = \"main\"\n");
        std::fs::write(&config, text).expect("written");
        configured(&config)
    };
    assert_eq!(read(["/a.csv", "/a.csv", "/a.csv"]), Ok("/a.csv".into()));
    let why = read(["/a.csv", "/b.csv", "/a.csv"]).expect_err("which one?");
    assert!(why.contains("--to /a.csv (main, third), or --to /b.csv (audit)"), "{why}");
    assert_eq!(configured(Path::new("/nowhere.toml")), Ok(DEFAULT_PLACE.into()));
}

#[test]
fn into_the_store_means_out_of_the_agents_reach() {
    for (tpm, says) in
        [(Some("yes\n"), "encrypted with this machine's TPM"), (None, "anyone who takes the card has the key")]
    {
        let (_folder, places) = at_rest::tests::system(tpm, &[]);
        place_file(&places.plain, CSV.as_bytes(), None).expect("written");
        let (said, config) = imported(&places, "credentials_file = \"credentials.csv\"");
        assert!(said.contains(says), "{said}");
        assert!(!places.plain.exists(), "{said}");
        let read = configured(&config).expect("one file");
        assert_eq!(read, Path::new("/run/credentials/tidegate.service/credentials.csv"), "{said}");
        assert!(said.contains("removed ") && said.contains("systemctl daemon-reload"), "{said}");
    }
    let (_folder, places) = at_rest::tests::system(Some("yes\n"), &["broken"]);
    let (said, _) = imported(&places, "credentials_file = \"credentials.csv\"");
    assert!(said.contains("NOT ENCRYPTED") && said.contains("State not recoverable"), "{said}");
}

#[test]
fn an_uncertain_credentials_import_gives_a_person_the_line() {
    let (_folder, places) = at_rest::tests::system(None, &[]);
    place_file(&places.plain, CSV.as_bytes(), None).expect("written");
    let (said, config) = imported(&places, "credentials_file = \"credentials.csv\"\nno_such_key = 1");
    assert!(said.contains("is not changed: it has mistakes"), "{said}");
    assert!(said.contains(&format!("rm {};", places.plain.display())), "{said}");
    assert!(places.plain.exists() && std::fs::read_to_string(&config).expect("there").contains("no_such_key"));
    // Another key lies there: it goes by hand alone.
    std::fs::write(&places.plain, CSV.replace("AKIAIO", "AKIAXX")).expect("written");
    let (said, _) = imported(&places, "credentials_file = \"credentials.csv\"");
    assert!(places.plain.exists() && said.contains("holds another key"), "{said}");
    // A copy of a former import, which no queue reads.
    std::fs::write(&places.plain, CSV).expect("written");
    let (said, _) = imported(&places, "credentials_file = \"$CREDENTIALS_DIRECTORY/credentials.csv\"");
    assert!(!places.plain.exists(), "{said}");
}

#[test]
fn the_services_user_is_found_by_its_whole_name() {
    let users = "root:x:0:0::/root:/bin/sh\ntidegate2:x:7:8::/:/bin/false\ntidegate:x:990:991::/:/bin/false\n";
    let (user, group) = user_of(users, "tidegate").expect("a user");
    assert_eq!((user.as_raw(), group.as_raw()), (990, 991));
    assert!(user_of("tidegatex:x:1:1::/:", "tidegate").is_none());
}
