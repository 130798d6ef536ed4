//! Keys as people keep them, rotated and damaged, and the chain over our own HTTP client.

use super::*;
use crate::clock::Clock;
use crate::sqs::connector::Http;
use crate::sqs::connector::proxy::ProxySettings;
use crate::sqs::credentials::chain::lifetime;
use crate::sqs::testing::{Reply, Server};
use proptest::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const ID: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// The secret of the files in `tests/cases/csv/`.
const SHARED: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

fn key_of(text: &str) -> (String, String) {
    let key = parse_csv(text.as_bytes()).unwrap_or_else(|error| panic!("{text:?}: {error}")).into_credentials();
    (key.access_key_id().into(), key.secret_access_key().into())
}

#[test]
fn both_generations_of_the_consoles_file_are_read_as_downloaded() {
    for text in [
        format!("Access key ID,Secret access key\n{ID},{SECRET}\n"),
        format!("\u{feff}Access key ID,Secret access key\r\n{ID},{SECRET}\r\n\r\n\r\n"),
        format!("Access key ID,Secret access key\n{ID},{SECRET}"),
        format!(
            "User name,Password,Access key ID,Secret access key,Console login link\r\n\
             gateway,\"p,\"\"w\n\",{ID},{SECRET},https://123456789012.signin.aws.amazon.com/console\r\n"
        ),
        format!("\"Access key ID\",\"Secret access key\"\n\"{ID}\",\"{SECRET}\"\n"),
        format!("Access key ID;Secret access key\n{ID};{SECRET}\n"),
        format!("\n secret ACCESS key , access key id \n {SECRET} , {ID} \n"),
        format!("Access key ID\tSecret access key\n{ID}\t{SECRET}\n"),
        format!("sep=;\r\nAccess key ID;Secret access key\r\n{ID};{SECRET}\r\n"),
        format!("\u{feff}\"sep=\t\"\r\nAccess key ID\tSecret access key\r\n{ID}\t{SECRET}\r\n"),
        format!("Access key ID,Secret access key\r{ID},{SECRET}\r"),
        format!("Access key ID,Secret access key\n# of the roof\n{ID},{SECRET}\n#end\n"),
        include_str!("../../../tests/cases/csv/comment.csv").replace(SHARED, SECRET),
        include_str!("../../../tests/cases/csv/excel-sep.csv").replace(SHARED, SECRET),
        include_str!("../../../tests/cases/csv/old-mac.csv").replace(SHARED, SECRET),
        format!("# made by hand\n\n# for the roof\nAccess key ID,Secret access key\n{ID},{SECRET}\n"),
    ] {
        assert_eq!(key_of(&text), (ID.into(), SECRET.into()), "{text:?}");
    }
}

#[test]
fn a_file_without_one_key_says_why_without_its_content() {
    let head = "Access key ID,Secret access key\n";
    for (text, wanted) in [
        (String::new(), CsvError::Empty),
        ("\u{feff} \r\n\r\n".into(), CsvError::Empty),
        ("sep=;\r\n# nothing\r\n".into(), CsvError::Empty),
        (format!("sep=;\n{head}{ID};{SECRET}\n"), CsvError::NoHeader),
        (format!("{head}# {ID},{SECRET}\n"), CsvError::BadField),
        (head.into(), CsvError::NoKey),
        (format!("{head}{ID},\n"), CsvError::BadField),
        (format!("{head}{ID}\n"), CsvError::BadField),
        (format!("{head}{ID},****************\n"), CsvError::Hidden),
        (format!("{head}{ID}, •••••••• \n"), CsvError::Hidden),
        (format!("{head}{ID},{SECRET} x\n"), CsvError::BadField),
        (format!("{head}{ID},{SECRET}\n{ID},{SECRET}\n"), CsvError::SeveralKeys),
        (format!("{head}{ID},\"{SECRET}\n"), CsvError::OpenQuote),
        (format!("{head}ASIAIOSFODNN7EXAMPLE,{SECRET}\n"), CsvError::Temporary),
        (format!("{ID},{SECRET}\n"), CsvError::NoHeader),
        (format!("aws_access_key_id = {ID}\naws_secret_access_key = {SECRET}\n"), CsvError::NoHeader),
        ("User name,Password,Console sign-in URL\ngateway,hunter2,https://x\n".into(), CsvError::NoKeyColumn),
        (format!("AWSAccessKeyId={ID}\r\nAWSSecretKey={SECRET}\r\n"), CsvError::RootKey),
        (format!("{head}{ID},{SECRET}\0\n"), CsvError::NotText),
        (format!("{head}{SECRET},{ID}\n"), CsvError::Swapped),
        (format!("Secret access key,Access key ID\n{ID},{SECRET}\n"), CsvError::Swapped),
        // Nothing in the other column that would tell; but no id has a slash.
        (format!("{head}{SECRET},{SECRET}\n"), CsvError::Swapped),
    ] {
        let error = parse_csv(text.as_bytes()).expect_err(&text);
        assert_eq!(error, wanted, "{text:?}");
    }
    let utf16: Vec<u8> = [0xff, 0xfe].into_iter().chain(head.bytes().flat_map(|b| [b, 0])).collect();
    assert_eq!(parse_csv(&utf16), Err(CsvError::NotText));
}

#[test]
fn a_secret_that_was_cut_short_is_odd() {
    let odd = |id: &str, secret: &str| {
        let text = format!("Access key ID,Secret access key\n{id},{secret}\n");
        parse_csv(text.as_bytes()).expect("a key").odd_secret()
    };
    assert_eq!(odd(ID, SECRET), None);
    assert_eq!((odd(ID, "Show"), odd(ID, &SECRET[1..])), (Some(4), Some(39)));
    assert_eq!(odd("test", "test"), None);
}

#[test]
fn an_emulators_key_works_and_its_id_is_not_shown() {
    for id in ["test", "my-key.1", "000000000000"] {
        let text = format!("Access key ID,Secret access key\n{id},test\n");
        assert_eq!(key_of(&text), (id.into(), "test".into()));
        let key = parse_csv(text.as_bytes()).unwrap();
        assert_eq!(key.shown(), "of an unusual form");
        assert!(!format!("{key:?}").contains(id), "{key:?}");
    }
    let text = format!("Access key ID,Secret access key\n{ID},test\n");
    assert_eq!(parse_csv(text.as_bytes()).unwrap().shown(), ID, "which is no secret");
}

#[test]
fn a_secret_is_not_shown_by_debug() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.csv");
    fs::write(&path, format!("Access key ID,Secret access key\n{ID},{SECRET}\n")).unwrap();
    let keys = CsvKeys::new(&path);
    let credentials = keys.current().unwrap();
    let shown = format!("{:?} {:?} {:?}", read_csv(&path).unwrap(), Keys::Csv(keys), credentials);
    assert!(shown.contains(ID) && !shown.contains(SECRET), "{shown}");
}

#[test]
fn a_rotated_key_is_used_and_broken_files_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.csv");
    let write = |id: &str| {
        // As an editor or a deployment does it: a new file takes the old one's place.
        let new = folder.path().join("new");
        fs::write(&new, format!("Access key ID,Secret access key\n{id},{SECRET}\n")).unwrap();
        fs::rename(&new, &path).unwrap();
    };
    let keys = CsvKeys::new(&path);
    assert!(matches!(keys.current(), Err(FileError::Unreadable { .. })));
    write(ID);
    assert!(keys.changed());
    assert_eq!(keys.current().unwrap().access_key_id(), ID);
    assert!(!keys.changed());
    write("AKIAROTATED000000000");
    assert!(keys.changed());
    assert_eq!(keys.current().unwrap().access_key_id(), "AKIAROTATED000000000");
    fs::write(&path, "Access key ID,Secr").unwrap();
    assert_eq!(keys.current().unwrap().access_key_id(), "AKIAROTATED000000000");
    fs::remove_file(&path).unwrap();
    assert_eq!(keys.current().unwrap().access_key_id(), "AKIAROTATED000000000");
    write(ID);
    assert_eq!(keys.current().unwrap().access_key_id(), ID);
}

#[test]
fn a_change_keeping_inode_length_and_time_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.csv");
    let content = |id: &str| format!("Access key ID,Secret access key\n{id},{SECRET}\n");
    fs::write(&path, content(ID)).unwrap();
    let keys = CsvKeys::new(&path);
    assert_eq!(keys.current().unwrap().access_key_id(), ID);
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, content(&ID.replace("AKIA", "AKIB"))).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    assert_eq!(keys.current().unwrap().access_key_id(), ID.replace("AKIA", "AKIB"));
    assert!(!keys.changed());
    keys.forget();
    assert!(keys.changed());
}

/// A chain that counts how often it is asked.
#[derive(Debug, Clone, Default)]
struct Source {
    asked: Arc<AtomicUsize>,
    fails: Arc<std::sync::atomic::AtomicBool>,
    end: Option<SystemTime>,
}

impl ProvideCredentials for Source {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let count = self.asked.fetch_add(1, Relaxed) + 1;
        future::ProvideCredentials::ready(match self.fails.load(Relaxed) {
            true => Err(CredentialsError::not_loaded("none")),
            false => Ok(Credentials::new(format!("KEY{count}"), SECRET, Some("token".into()), self.end, "test")),
        })
    }
}

async fn id(keys: &ChainKeys) -> std::result::Result<String, CredentialsError> {
    keys.provide_credentials().await.map(|credentials| credentials.access_key_id().to_owned())
}

#[tokio::test]
async fn the_chain_is_asked_again_only_when_expired_or_told() {
    let clock = Clock::new(None);
    let now = UNIX_EPOCH + Duration::from_secs(clock.certificate_time_s().unsigned_abs());
    let source = Source { end: Some(now + Duration::from_secs(3600)), ..Source::default() };
    let keys = ChainKeys::given(source.clone(), &clock);
    assert_eq!(id(&keys).await.unwrap(), "KEY1");
    assert_eq!(id(&keys).await.unwrap(), "KEY1");
    assert_eq!(keys.provide_credentials().await.unwrap().expiry(), None, "the SDK must not judge by its clock");
    assert_eq!(keys.provide_credentials().await.unwrap().session_token(), Some("token"));
    keys.forget();
    assert_eq!(id(&keys).await.unwrap(), "KEY2");
    source.fails.store(true, Relaxed);
    assert_eq!(id(&keys).await.unwrap(), "KEY2");
    keys.forget();
    assert!(id(&keys).await.is_err(), "refused credentials are not used again");
    source.fails.store(false, Relaxed);
    assert_eq!(id(&keys).await.unwrap(), "KEY4");

    let expired = Source { end: Some(now), ..Source::default() };
    let keys = ChainKeys::given(expired, &clock);
    assert_eq!(id(&keys).await.unwrap(), "KEY1");
    assert_eq!(id(&keys).await.unwrap(), "KEY2", "what is at its end is asked for at each attempt");
}

/// Run by the test below in a process of its own, since the chain reads the process's environment.
#[tokio::test]
#[ignore = "needs the environment that its sibling gives it"]
async fn asks_the_chain_once() {
    let clock = Clock::new(None);
    let tls = crate::tls::client_tls(&crate::tls::TlsOptions::default(), Arc::new(clock.clone())).unwrap();
    let proxy_tls = tls.config.clone();
    let http = Http::new(tls, ProxySettings::from_env().unwrap(), proxy_tls, clock.clone(), 1);
    let keys = Keys::Chain(ChainKeys::new(&http, "eu-west-1", &clock));
    let wanted = std::env::var("WANTED_KEY").unwrap();
    match keys.provide_credentials().await {
        Ok(credentials) => assert_eq!(credentials.access_key_id(), wanted),
        Err(error) => assert_eq!(wanted, "", "{error:?}"),
    }
}

#[tokio::test]
async fn the_chain_finds_keys_in_environment_and_container_over_http() {
    let answer = format!(
        "{{\"AccessKeyId\":\"{ID}\",\"SecretAccessKey\":\"{SECRET}\",\"Token\":\"t\",\"Expiration\":\"2050-01-01T00:00:00Z\"}}"
    );
    let server =
        Server::start(None, move |_, _| Reply::answer(200, "content-type: application/json\r\n", &answer)).await;
    let container = format!("http://127.0.0.1:{}/keys", server.port);
    // The proxy does not exist: what is on this machine must be reached without it.
    let base = [("AWS_EC2_METADATA_DISABLED", "true"), ("HOME", "/nowhere"), ("ALL_PROXY", "http://127.0.0.1:1")];
    let ask = |wanted: &str, environment: &[(&str, &str)]| {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.env_clear().envs(base).envs(environment.iter().copied()).env("WANTED_KEY", wanted);
        child.args(["--exact", "--ignored", "sqs::credentials::tests::asks_the_chain_once"]);
        tokio::task::spawn_blocking(move || child.output().unwrap())
    };
    for (wanted, environment) in [
        ("KEY1", vec![("AWS_ACCESS_KEY_ID", "KEY1"), ("AWS_SECRET_ACCESS_KEY", SECRET)]),
        (ID, vec![("AWS_CONTAINER_CREDENTIALS_FULL_URI", container.as_str())]),
        ("", vec![]),
    ] {
        let output = ask(wanted, &environment).await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{wanted}: {said}");
    }
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn the_life_of_credentials_is_bounded_under_an_old_clock() {
    let end = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    assert_eq!(lifetime(end, 1_799_999_000), Duration::from_secs(1000));
    assert_eq!(lifetime(end, 1_900_000_000), Duration::ZERO);
    assert_eq!(lifetime(end, 0), Duration::from_secs(36 * 3600));
}

proptest! {
    #[test]
    fn no_content_causes_panics_and_every_error_is_fixed_text(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        let _ = parse_csv(&bytes);
    }

    #[test]
    fn any_legal_key_is_read_back_quoted_or_not(id in "[A-Z0-9]{1,30}", secret in "[!-~]{1,60}", quote: bool) {
        prop_assume!(!id.starts_with("ASIA") && !secret.bytes().all(|b| b == b'*'));
        let must_quote = quote || secret.contains([',', '"', ';']);
        let field = if must_quote { format!("\"{}\"", secret.replace('"', "\"\"")) } else { secret.clone() };
        prop_assert_eq!(key_of(&format!("Access key ID,Secret access key\n{id},{field}\n")), (id, secret));
    }

    /// Whatever a table holds, in whatever column: no text that people see shows a secret.
    #[test]
    fn no_text_of_this_module_ever_contains_a_secret(
        secret in "[A-Za-z0-9/+]{40}",
        fields in proptest::collection::vec(prop_oneof!["[A-Z0-9]{0,24}", "test", Just(String::new())], 0..4),
        at in 0_usize..5,
        header in prop_oneof![
            Just("Access key ID,Secret access key"),
            Just("Secret access key,Access key ID"),
            Just("User name,Password,Access key ID,Secret access key,Console login link"),
            Just("Access key ID;Secret access key"),
            Just(""),
        ],
        quote: bool,
    ) {
        let mut fields = fields;
        fields.insert(at.min(fields.len()), if quote { format!("\"{secret}\"") } else { secret.clone() });
        let text = format!("{header}\n{}\n", fields.join(if header.contains(';') { ";" } else { "," }));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.csv");
        fs::write(&path, &text).unwrap();
        let shown = match parse_csv(text.as_bytes()) {
            Ok(key) => format!("{key:?} {} {:?}", key.shown(), Keys::Csv(CsvKeys::new(&path))),
            Err(error) => format!("{error} {error:?} {0} {0:?}", read_csv(&path).expect_err("refused, too")),
        };
        prop_assert!(!shown.contains(&secret), "{text:?}: {shown}");
    }
}
