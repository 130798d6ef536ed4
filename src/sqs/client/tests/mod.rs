//! The whole way through the SDK, against a server that plays a script.

mod http;
mod keys;
mod table;
mod tls;

use super::*;
use crate::sqs::testing::{Reply, Seen, Server};
use crate::sqs::{AcceptedEntry, Answer, Fault};
use md5::{Digest, Md5};
use serde_json::json;
use std::path::Path;
use tempfile::TempDir;

const KEY: &str = "AKIAIOSFODNN7EXAMPLE";

/// A sender's surroundings: its folder with a credentials file, and its clock.
struct Site {
    folder: TempDir,
    clock: Clock,
}

impl Site {
    fn new() -> Site {
        let site = Site { folder: TempDir::new().unwrap(), clock: Clock::new(None) };
        site.install_key(KEY);
        site
    }

    fn key_file(&self) -> std::path::PathBuf {
        self.folder.path().join("key.csv")
    }

    fn install_key(&self, id: &str) {
        std::fs::write(self.key_file(), format!("Access key ID,Secret access key\n{id},not-a-secret\n")).unwrap();
    }

    fn queue(&self, endpoint: &str) -> SenderOptions {
        SenderOptions {
            queue: "main".into(),
            url: "https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo".into(),
            region: "eu-west-1".into(),
            endpoint: Some(endpoint.into()),
            allow_plain_http: false,
            ca_file: None,
            credentials: CredentialsSource::CsvFile(self.key_file()),
            max_in_flight: 4,
            connect_timeout: Duration::from_secs(5),
            attempt_timeout: Duration::from_secs(10),
            link_probe: true,
        }
    }

    /// A sender to a plain-http server on loopback.
    fn sender(&self, server: &Server) -> SqsSender {
        self.sender_with(server, |_| {})
    }

    fn sender_with(&self, server: &Server, change: impl FnOnce(&mut SenderOptions)) -> SqsSender {
        let mut queue = self.queue(&format!("http://127.0.0.1:{}", server.port));
        change(&mut queue);
        SqsSender::through(ProxySettings::default(), &queue, &self.clock).unwrap()
    }

    fn file(&self, name: &str, content: &str) -> std::path::PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

fn batch(count: usize) -> Vec<Entry> {
    let entry = |n: usize| Entry {
        body: format!("{{\"n\":{n}}}"),
        attributes: vec![("gateway", "g\u{e9}".into())],
        group: format!("group-{n}"),
        dedup: Some(format!("dedup-{n}")),
        deadline: None,
        digest: Default::default(),
    };
    (0..count).map(entry).collect()
}

/// An honest answer: every entry accepted, with its MD5.
fn accept_all(request: &Seen) -> Reply {
    let entries = request.body["Entries"].as_array().cloned().unwrap_or_default();
    let accepted: Vec<_> = entries
        .iter()
        .map(|entry| {
            let md5: String =
                Md5::digest(entry["MessageBody"].as_str().unwrap()).iter().map(|byte| format!("{byte:02x}")).collect();
            json!({"Id": entry["Id"], "MessageId": "m", "MD5OfMessageBody": md5, "SequenceNumber": "18850"})
        })
        .collect();
    Reply::answer(200, "content-type: application/x-amz-json-1.0\r\n", &json!({"Successful": accepted}).to_string())
}

fn answer(outcome: SendOutcome) -> Answer {
    match outcome {
        SendOutcome::Answer(answer) => answer,
        SendOutcome::Fault(fault) => panic!("{fault:?}"),
    }
}

fn fault(outcome: SendOutcome) -> Fault {
    match outcome {
        SendOutcome::Fault(fault) => fault,
        SendOutcome::Answer(answer) => panic!("{answer:?}"),
    }
}

/// The one fault that a server's reply leads to.
async fn fault_of(reply: Reply) -> Fault {
    let server = Server::start(None, move |_, _| reply.clone()).await;
    fault(Site::new().sender(&server).send(&batch(2)).await)
}
