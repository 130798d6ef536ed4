//! What arrives can be read by software that none of us wrote: sqs-consumer and the CloudEvents SDK of npm, the CloudEvents SDK and
//! Powertools of Python. They judge everything that all samples, and payloads that are hard to read, become in each format.

use crate::profiles::samples;
use crate::support::{AUDIT, LONG, Publisher, QUEUE, config, drained, mosquitto, online, stub, tidegate};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use testkit::agent::{AgentConfig, QueueTarget};
use testkit::broker::{EmbeddedBroker, EmbeddedOptions};
use testkit::consumer::Delivered;
use testkit::fake_sqs::QueueOptions;
use testkit::ministack::Ministack;
use testkit::process;
use testkit::samples::FOLDERS;

/// JSON nested deeper than this travels as bytes: `docs/message-format.md`.
const DEEPEST: usize = 60;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn nested(levels: usize) -> Vec<u8> {
    format!("{}{}", "[".repeat(levels), "]".repeat(levels)).into_bytes()
}

/// Topics and payloads that some reader, broker or format could stumble over.
fn hard() -> Vec<(String, Vec<u8>)> {
    let payloads: [&[u8]; 17] = [
        b"",
        b"ON",
        b"21.5",
        b"NaN",
        b"null",
        b" {\"a\": 21.50} \n",
        b"{\"a\": 21.50} \r\n",
        b" true",
        b"{\"a\":1,\"a\":2}",
        b"\"\\ud83d\"",
        "{\"a\u{fffe}\":\"\u{ffff}\"}".as_bytes(),
        "21,5 °C".as_bytes(),
        b"\xef\xbb\xbf{}",
        b"{}\0",
        b"\x0a\x03abc\xff",
        b"123456789012345678901234567890",
        b"a%20b %",
    ];
    let mut hard: Vec<(String, Vec<u8>)> =
        payloads.into_iter().map(|bytes| ("hard/x".into(), bytes.to_vec())).collect();
    hard.extend([DEEPEST, DEEPEST + 1, 1000, 20_000].map(|levels| ("hard/deep".into(), nested(levels))));
    hard.extend(
        ["100 %/°/a", "\u{1}\u{7f}\u{85}", "\u{fdd0}\u{1ffff}", "'\"\\{}"].map(|topic| (topic.into(), b"1".to_vec())),
    );
    hard.push(("hard/long".into(), "9".repeat(5000).into_bytes()));
    hard
}

/// What the SDKs are to have read: JSON as its value, else text, else bytes, else nothing.
fn as_expected(reader: &str, read: &Value, payload: &[u8], format: &str) -> Result<(), String> {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let bytes = read["bytes"].as_str().map(|text| STANDARD.decode(text).unwrap());
    // Lone surrogates and infinite numbers are beyond serde_json; that an SDK read something is all that can be asked.
    let data = read["data"].as_str().map(serde_json::from_str::<Value>);
    let beyond = matches!(data, Some(Err(_)));
    let data = data.and_then(Result::ok).unwrap_or_default();
    let kind = read["datacontenttype"].as_str().unwrap_or_default();
    let text = std::str::from_utf8(payload).ok();
    let same = match (payload, kind) {
        _ if format == "microshare" => beyond || data["obj"].is_object() || data["recType"].is_string(),
        // What the SDK of npm does otherwise, as `docs/message-format.md` tells: `false` in a structured event is not
        // data, and a value of a binary one that is neither object, list nor string comes as text.
        (b"false", _) if reader == "npm" && format == "cloudevents" => data.is_null(),
        ([b'0'..=b'9' | b'-' | b't' | b'f' | b'n', ..], "application/json") if reader == "npm" && format == "raw" => {
            data.as_str() == text
        }
        (b"", _) => data.is_null() && bytes.is_none(),
        (_, "application/json") if bytes.is_none() => {
            serde_json::from_slice(payload).map_or(beyond, |value: Value| equal(&data, &value))
        }
        (_, "text/plain") => data.as_str() == text,
        // An SDK may give bytes as text where they are some.
        _ => bytes.as_deref() == Some(payload) || data.as_str() == text && text.is_some(),
    };
    same.then_some(()).ok_or_else(|| format!("{reader}: {format}: {read} for {:?}", String::from_utf8_lossy(payload)))
}

/// JSON values as a reader with floats has them.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| equal(a, b)))
        }
        _ => a == b,
    }
}

/// Has Python's readers read what was delivered, and hold it against the schemas; gives the events.
pub(crate) async fn read_by_schema(delivered: &[Delivered]) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let messages = folder.path().join("messages");
    let text: String =
        delivered.iter().map(|message| format!("{}\n", json!({ "record": lambda_record(message) }))).collect();
    std::fs::write(&messages, text).unwrap();
    let read = read_in_python(&messages).await;
    let wrong: Vec<&Value> = read.iter().filter(|read| read["error"].is_string()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    read
}

/// A message as a Lambda function gets it.
pub(crate) fn lambda_record(message: &Delivered) -> Value {
    let attributes = message.attributes.iter();
    let attributes = attributes.map(|(name, value)| {
        let value =
            json!({ "stringValue": value, "dataType": "String", "stringListValues": [], "binaryListValues": [] });
        (name.clone(), value)
    });
    let now = "1796000000000";
    json!({
        "messageId": message.message_id, "receiptHandle": "r", "body": &*message.body, "md5OfBody": "0",
        "attributes": {
            "ApproximateReceiveCount": "1", "ApproximateFirstReceiveTimestamp": now, "SentTimestamp": now, "SenderId": "s",
        },
        "messageAttributes": serde_json::Map::from_iter(attributes),
        "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:eu-west-1:000000000000:q", "awsRegion": "eu-west-1",
    })
}

async fn read_in_python(messages: &Path) -> Vec<Value> {
    let (script, schemas) = (root().join("tests/readers/read.py"), root().join("docs/schemas"));
    let arguments = [script.to_str().unwrap(), messages.to_str().unwrap(), schemas.to_str().unwrap()];
    lines(&process::run(root().join(".peers/readers/venv/bin/python"), &arguments, LONG).await.unwrap())
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn software_that_none_of_us_wrote_reads_everything() {
    let ministack = Ministack::start(&root()).await.unwrap();
    // Mosquitto refuses control characters in topics; other brokers carry them.
    let broker = EmbeddedBroker::start(EmbeddedOptions::default()).await.unwrap();
    let formats = ["cloudevents", "raw", "microshare"];
    let mut queues = Vec::new();
    for format in formats {
        let name = format!("{format}.fifo");
        let url = ministack.create_queue(&name, &QueueOptions::fifo()).await.unwrap();
        let target = QueueTarget {
            name: format.into(),
            url: format!("https://sqs.{}.amazonaws.com/000000000000/{name}", ministack.region()),
            endpoint: Some(ministack.endpoint()),
            key: ministack.agent_key().clone(),
            extra: format!("body = \"{format}\""),
        };
        queues.push((target, url));
    }
    let mut config = AgentConfig::new(broker.addr(), queues[0].0.clone());
    config.queues = queues.iter().map(|(target, _)| target.clone()).collect();
    (config.profile, config.topics) = ("auto".to_owned(), vec!["#".to_owned()]);
    let mut agent = online(config).await;
    let folders = FOLDERS.iter().map(|(folder, _)| *folder).chain(["chirpstack-v4", "plain"]);
    let mut all: Vec<_> = folders.flat_map(samples).collect();
    all.extend(hard());
    let mut publisher = Publisher::new(broker.addr());
    for (topic, payload) in &all {
        publisher.publish(topic, payload.clone()).await;
    }
    drained(&mut agent, all.len() as u64).await;
    for (format, (_, url)) in formats.into_iter().zip(&queues) {
        judge(&ministack, format, url, &all).await;
    }
}

async fn judge(ministack: &Ministack, format: &str, url: &str, all: &[(String, Vec<u8>)]) {
    let readers = root().join(".peers/readers");
    let admin = ministack.admin_key();
    let (endpoint, count) = (ministack.endpoint(), all.len().to_string());
    let script = root().join("tests/readers/consume.mjs");
    let environment = format!("AWS_ACCESS_KEY_ID={} AWS_SECRET_ACCESS_KEY={}", admin.id, admin.secret);
    let (key, secret) = environment.split_once(' ').expect("two words");
    let arguments = [
        key,
        secret,
        "node",
        script.to_str().unwrap(),
        readers.to_str().unwrap(),
        &endpoint,
        ministack.region(),
        url,
        &count,
    ];
    let consumed = process::run("env", &arguments, LONG).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let messages = folder.path().join("messages");
    std::fs::write(&messages, &consumed).unwrap();
    let (node, python) = (lines(&consumed), read_in_python(&messages).await);
    let mut wrong = Vec::new();
    let mut positions = Vec::new();
    for (line, of_python) in node.iter().zip(&python) {
        let of_node = &line["event"];
        for (reader, read) in [("npm", of_node), ("Python", of_python)] {
            if let Some(error) = read["error"].as_str() {
                let body = line["record"]["body"].as_str().unwrap_or_default();
                wrong.push(format!("{format}: {reader}: {error}: {}", body.chars().take(300).collect::<String>()));
            }
        }
        let Some(position) = of_python["sequence"].as_str().and_then(|text| text.rsplit('-').next()) else { continue };
        let position: usize = position.parse().unwrap();
        positions.push(position);
        for name in ["id", "source", "type", "subject", "sequence"] {
            if of_node[name] != of_python[name] {
                wrong.push(format!("{format}: {name} is {} for npm, {} for Python", of_node[name], of_python[name]));
            }
        }
        // The order of publishing is the order of positions.
        let payload = &all[position - 1].1;
        wrong.extend(as_expected("npm", of_node, payload, format).err());
        wrong.extend(as_expected("Python", of_python, payload, format).err());
    }
    positions.sort_unstable();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), all.len(), wrong.join("\n"));
    assert_eq!(positions, (1..=all.len()).collect::<Vec<_>>(), "{format}");
}

/// What differs between two tellings of one message: its place in the journal, and the time of receipt.
const OF_THE_MOMENT: [&str; 4] = ["sequence", "recordedtime", "timeuncertain", "ce-sequence"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_explain_prints_is_what_is_sent() {
    let (stub, broker) = (stub(), mosquitto().await);
    let mut configuration = config(broker.addr(), &stub);
    configuration
        .queues
        .push(QueueTarget { extra: "body = \"raw\"".into(), ..QueueTarget::on_stub("audit", &stub, AUDIT) });
    let mut agent = online(configuration).await;
    let (topic, payload) = samples("chirpstack-v4").swap_remove(0);
    let file = agent.folder().join("payload");
    std::fs::write(&file, &payload).unwrap();
    Publisher::new(broker.addr()).publish(&topic, payload).await;
    drained(&mut agent, 1).await;
    let (said, error, code) = tidegate(&agent, &["explain", file.to_str().unwrap(), "--topic", &topic, "--json"]).await;
    assert_eq!(code, 0, "{error}");
    let explained: Value = serde_json::from_str(&said).unwrap();
    for (index, queue) in [QUEUE, AUDIT].into_iter().enumerate() {
        let (told, sent) = (&explained["queues"][index], stub.accepted(queue).swap_remove(0));
        let mut attributes = [told["attributes"].clone(), json!(sent.attributes)];
        let mut bodies =
            [told["body"].as_str().unwrap(), &*sent.body].map(|body| serde_json::from_str::<Value>(body).unwrap());
        for object in attributes.iter_mut().chain(&mut bodies).filter_map(Value::as_object_mut) {
            OF_THE_MOMENT.iter().for_each(|name| _ = object.remove(*name));
        }
        assert_eq!(attributes[0], attributes[1], "{queue}");
        assert_eq!(bodies[0], bodies[1], "{queue}");
        assert_eq!(
            (told["group_id"].as_str(), told["deduplication_id"].as_str()),
            (sent.group.as_deref(), sent.dedup.as_deref())
        );
    }
}
