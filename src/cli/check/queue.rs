//! A queue, asked with one call that sends nothing, or with one marked test record.

use crate::agent::options;
use crate::cli::check::{Step, keys};
use crate::clock::{Clock, rfc3339_ms};
use crate::config::{Config, QueueConfig};
use crate::record::own::PROFILE;
use crate::sqs::client::SqsSender;
use crate::sqs::entry::{RecordDigest, STRUCTURED, source};
use crate::sqs::{BatchSender, Entry, Fault, FaultClass, SendOutcome};

/// Signatures are refused beyond 15 minutes; a clock that is off by so much will get there.
const CLOCK_OFF_S: i64 = 60;
/// What the service says to a batch of nothing: it has looked at the signature by then.
const EMPTY: &str = "EmptyBatchRequest";

pub(super) async fn steps(config: &Config, queue: &QueueConfig, clock: &Clock, send: bool) -> Vec<Step> {
    let name = |what: &str| format!("queue {}: {what}", queue.name);
    if let Some(step) = keys::not_ours(queue, &name("reach"), send) {
        return vec![step];
    }
    let sender = match SqsSender::new(&options::sender(queue), clock) {
        Ok(sender) => sender,
        Err(error) => return vec![Step::bad(name("settings"), error.to_string(), "see the key that it names")],
    };
    let before = clock.last_good_s();
    let outcome = match send {
        true => sender.send(&[test_record(config, queue, clock.now().wall_ms)]).await,
        false => sender.knock().await,
    };
    let mut steps = Vec::new();
    let learnt = clock.last_good_s().filter(|now| Some(*now) != before);
    match &outcome {
        SendOutcome::Fault(fault) if fault.code.is_none() && fault.class != FaultClass::WaitForConfiguration => {
            let next =
                if fault.remedy.is_empty() { "check the uplink, name resolution and a proxy" } else { &fault.remedy };
            steps.push(Step::bad(name("reach"), &fault.text, next));
            steps
                .extend(["clock", "permission to send"].map(|what| Step::open(name(what), "not tried: no answer", "")));
            return steps;
        }
        // Without an answer of the service's: certificates, or keys that cannot even be read.
        SendOutcome::Fault(fault) if fault.code.is_none() => {
            steps.push(Step::bad(name("reach"), &fault.text, &fault.remedy));
            return steps;
        }
        _ => steps.push(Step::good(
            name("reach"),
            format!("{} answers", queue.endpoint.as_deref().unwrap_or(&queue.url.host)),
        )),
    }
    steps.push(clock_step(name("clock"), learnt, clock.now().wall_ms));
    steps.push(permission(name("permission to send"), &outcome, send));
    steps
}

/// By the service's own `Date`, over verified TLS.
fn clock_step(step: String, learnt: Option<i64>, own_ms: i64) -> Step {
    let Some(service_s) = learnt else {
        return Step::open(step, "not checked: needs an HTTPS answer with a Date header", "");
    };
    let off = own_ms / 1000 - service_s;
    if off.abs() > CLOCK_OFF_S {
        return Step::bad(step, format!("this machine is {off} s off the service's time"), "let NTP set the clock");
    }
    Step::good(step, format!("within {CLOCK_OFF_S} s of the service's"))
}

fn permission(step: String, outcome: &SendOutcome, send: bool) -> Step {
    match outcome {
        SendOutcome::Answer(answer) if send && answer.accepted.len() == 1 => {
            Step::good(step, "one test record was accepted; its type ends in \"test\"")
        }
        SendOutcome::Answer(answer) => match answer.refused.first() {
            Some(refused) => Step::bad(
                step,
                format!("{}: {}", refused.code, refused.text),
                "look the code up in the documentation of SendMessageBatch",
            ),
            None => Step::bad(step, "the answer names no entry: something between us and AWS answers", "check proxies"),
        },
        SendOutcome::Fault(Fault { code: Some(code), .. }) if code == EMPTY => {
            Step::open(step, "not proven: the service knows the key, and was sent nothing", "tidegate check --send")
        }
        SendOutcome::Fault(fault) => Step::bad(step, &fault.text, &fault.remedy),
    }
}

/// A record that consumers can tell from every other.
fn test_record(config: &Config, queue: &QueueConfig, at: i64) -> Entry {
    let kind = format!("{}.test", config.records.type_prefix);
    let id = format!("tidegate.test.{at}.{:08x}", getrandom::u32().unwrap_or_default());
    let body = serde_json::json!({
        "specversion": "1.0",
        "id": id,
        "source": source(&config.gateway.site, &config.gateway.id, PROFILE),
        "type": kind,
        "time": rfc3339_ms(at),
        "gatewayid": config.gateway.id,
        "data": "tidegate check --send",
    });
    Entry {
        body: body.to_string(),
        attributes: vec![("content-type", STRUCTURED.to_owned()), ("type", kind)],
        group: "tidegate.test".to_owned(),
        dedup: queue.url.fifo.then_some(id),
        deadline: None,
        digest: RecordDigest::default(),
    }
}
