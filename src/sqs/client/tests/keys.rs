//! Credentials that end, and their renewal while the link is away.

use super::*;
use crate::sqs::FaultClass::{Link, OnceMore, WaitForConfiguration};
use crate::sync::locked;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use std::sync::Mutex;

/// The keys of this name, or an error.
type Given<T> = Result<T, fn() -> CredentialsError>;

#[derive(Clone, Debug)]
struct Source(Arc<Mutex<Given<String>>>);

impl Source {
    fn new(key: &str) -> Source {
        Source(Arc::new(Mutex::new(Ok(key.into()))))
    }

    fn set(&self, given: Given<&str>) {
        *locked(&self.0) = given.map(str::to_owned);
    }
}

impl ProvideCredentials for Source {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let given = locked(&self.0).clone();
        future::ProvideCredentials::ready(match given {
            Ok(key) => Ok(Credentials::new(key, "not-a-secret", Some("token".into()), None, "test")),
            Err(error) => Err(error()),
        })
    }
}

fn sender(site: &Site, server: &Server, source: &Source) -> SqsSender {
    let queue = site.queue(&format!("http://127.0.0.1:{}", server.port));
    let tie = Tie::of(&queue).unwrap();
    let http = http_client(&queue, ProxySettings::default(), &site.clock).unwrap();
    let keys = Keys::Chain(ChainKeys::given(source.clone(), &site.clock));
    let reach = Reach::of(&tie, &http);
    let client = sdk_client(&tie, http, keys.clone());
    SqsSender::on(Arc::new(Shared { client, keys, clock: site.clock.clone(), tie, reach }), &queue)
}

#[tokio::test]
async fn an_expired_token_with_new_keys_is_retried_immediately() {
    let server = Server::start(None, |_, request| match request.header("authorization").contains("OLD") {
        true => Reply::refusal(403, "ExpiredToken", "The security token included in the request is expired"),
        false => accept_all(request),
    })
    .await;
    let (site, source) = (Site::new(), Source::new("OLD"));
    let sender = sender(&site, &server, &source);
    assert_eq!(fault(sender.send(&batch(1)).await).class, WaitForConfiguration, "the same keys again");
    source.set(Ok("OLDER"));
    assert_eq!(fault(sender.send(&batch(1)).await).class, WaitForConfiguration, "just loaded, and refused, too");
    source.set(Ok("NEW"));
    assert_eq!(answer(sender.send(&batch(1)).await).accepted.len(), 1, "refused keys are not held on to");
    // Renewed while the attempt was on its way.
    source.set(Ok("OLD"));
    sender.reload();
    let renewed = source.clone();
    let server = Server::start(None, move |n, request| {
        renewed.set(Ok("NEW"));
        if n == 0 { Reply::refusal(403, "ExpiredToken", "expired") } else { accept_all(request) }
    })
    .await;
    let sender = self::sender(&site, &server, &source);
    assert_eq!(fault(sender.send(&batch(1)).await).class, OnceMore);
    assert_eq!(answer(sender.send(&batch(1)).await).accepted.len(), 1);
    assert!(server.seen()[1].header("authorization").contains("NEW"));
}

#[tokio::test]
async fn a_key_file_changed_before_the_refusal_is_used_immediately() {
    let site = Site::new();
    let path = site.key_file();
    let server = Server::start(None, move |n, request| {
        let text = "Access key ID,Secret access key\nAKIAROTATED000000000,not-a-secret\n";
        std::fs::write(&path, text).unwrap();
        if n == 0 { Reply::refusal(403, "InvalidClientTokenId", "gone") } else { accept_all(request) }
    })
    .await;
    let sender = site.sender(&server);
    assert_eq!(fault(sender.send(&batch(1)).await).class, OnceMore);
    assert_eq!(answer(sender.send(&batch(1)).await).accepted.len(), 1);
    assert!(server.seen()[1].header("authorization").contains("AKIAROTATED000000000"));
}

#[tokio::test]
async fn only_an_unreachable_source_of_credentials_is_a_link_fault() {
    let server = Server::start(None, |_, request| accept_all(request)).await;
    let (site, source) = (Site::new(), Source::new("KEY"));
    let sender = sender(&site, &server, &source);
    for (error, class) in [
        ((|| CredentialsError::provider_timed_out(Duration::from_secs(10))) as fn() -> CredentialsError, Link),
        (|| CredentialsError::provider_error(crate::sqs::connector::fault::NetError::no_answer(Duration::ZERO)), Link),
        (|| CredentialsError::not_loaded("no providers in chain provided credentials"), WaitForConfiguration),
    ] {
        source.set(Err(error));
        sender.reload();
        let fault = fault(sender.send(&batch(1)).await);
        assert_eq!((fault.class, fault.never_sent), (class, true), "{fault:?}");
        assert!(fault.text.starts_with("no credentials"), "{fault:?}");
    }
    source.set(Ok("KEY"));
    assert_eq!(answer(sender.send(&batch(1)).await).accepted.len(), 1);
    assert!(server.seen().len() == 1);
}

/// What is told to be mended is tried at once: a file that is the same as before, and was refused, is not.
#[tokio::test]
async fn only_a_changed_file_makes_a_refused_key_news() {
    let server = Server::start(None, |n, request| match n {
        0 | 1 => Reply::refusal(403, "AccessDenied", "not authorized to perform: sqs:sendmessage"),
        _ => accept_all(request),
    })
    .await;
    let site = Site::new();
    let sender = site.sender(&server);
    for _ in 0..2 {
        assert_eq!(fault(sender.send(&batch(1)).await).class, WaitForConfiguration);
        assert!(!sender.is_mended(), "nothing has changed");
    }
    site.install_key("AKIAROTATED000000000");
    assert!(sender.is_mended());
    assert_eq!(answer(sender.send(&batch(1)).await).accepted.len(), 1);
    assert!(server.seen()[2].header("authorization").contains("AKIAROTATED000000000"));
}
