//! What brokers and networks do that once lost or doubled readings, each with a real Mosquitto and the right number of
//! records.

use crate::support::{
    AUDIT, CLIENT_ID, LONG, PROGRAM, QUEUE, config, drained, mosquitto, online, stub, until_found, until_online,
    until_remarked,
};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Outgoing, Packet, QoS};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use testkit::agent::{AgentConfig, AgentProcess, QueueTarget};
use testkit::broker::{Mosquitto, MosquittoOptions};
use testkit::consumer::Delivered;
use testkit::fake_sqs::SqsStub;

/// Takes plain values under `topics`.
fn plain(broker: SocketAddr, stub: &SqsStub, topics: &[&str]) -> AgentConfig {
    let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
    AgentConfig { profile: "plain".into(), topics, ..config(broker, stub) }
}

/// Topics and payloads of what arrived, in order.
fn arrived(stub: &SqsStub, queue: &str) -> Vec<(String, String)> {
    let body = |message: &Delivered| -> Value { serde_json::from_str(&message.body).expect("a CloudEvent") };
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let of = |message: &Delivered| {
        let body = body(message);
        (text(&body["mqtttopic"]), text(&body["data"]))
    };
    stub.accepted(queue).iter().map(of).collect()
}

/// A client that publishes what the test gives it, with any flags.
struct ManualClient {
    client: AsyncClient,
    events: EventLoop,
}

impl ManualClient {
    fn new(broker: SocketAddr) -> ManualClient {
        let mut options = MqttOptions::new("hands", broker.ip().to_string(), broker.port());
        options.set_max_packet_size(4 << 20, 4 << 20);
        let (client, events) = AsyncClient::new(options, 1024);
        ManualClient { client, events }
    }

    async fn publish(&mut self, topic: &str, qos: QoS, retain: bool, payload: Vec<u8>) {
        self.client.publish(topic, qos, retain, payload).await.unwrap();
        let sent = async {
            loop {
                match self.events.poll().await.unwrap() {
                    Event::Incoming(Packet::PubAck(_)) => return,
                    Event::Outgoing(Outgoing::Publish(_)) if qos == QoS::AtMostOnce => return,
                    _ => {}
                }
            }
        };
        tokio::time::timeout(LONG, sent).await.expect("the broker takes it");
    }

    /// The broker has taken everything before it: QoS 0 has no answer.
    async fn settled(&mut self) {
        self.publish("hands/settled", QoS::AtLeastOnce, false, b"x".to_vec()).await;
    }
}

/// Forty small retained QoS 0 messages with one of 1.2 MB among them; 20 of 41 were taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_retained_message_costs_none_of_the_others() {
    let (stub, broker) = (stub(), mosquitto().await);
    let mut hands = ManualClient::new(broker.addr());
    for n in 0..41 {
        let payload = if n == 20 { vec![b'x'; 1_200_000] } else { format!("{n}").into_bytes() };
        hands.publish(&format!("a/{n:03}"), QoS::AtMostOnce, true, payload).await;
    }
    hands.settled().await;
    let mut agent = online(plain(broker.addr(), &stub, &["a/#"])).await;
    let status = drained(&mut agent, 40).await;
    assert_eq!(status["journal"]["quarantine"]["entries"], 1, "{status:#}");
    assert_eq!(status["intake"]["oversize"], 1, "{status:#}");
    let mut topics: Vec<String> = arrived(&stub, QUEUE).into_iter().map(|(topic, _)| topic).collect();
    topics.sort();
    topics.dedup();
    assert_eq!(topics, (0..41).filter(|n| *n != 20).map(|n| format!("a/{n:03}")).collect::<Vec<_>>());
    // A broker that takes the new connection before it has seen the end of the old one sends the rest of the first replay
    // too: those come twice, and say so.
    let mut seen = std::collections::HashSet::new();
    for message in stub.accepted(QUEUE) {
        let body: Value = serde_json::from_str(&message.body).expect("a CloudEvent");
        let again = !seen.insert(body["mqtttopic"].to_string());
        assert!(!again || body["possibleduplicate"] == true, "came twice, unmarked: {body:#}");
    }
    assert!(!agent.log().contains("leaves RETAIN"), "{}", agent.log());
}

/// One uplink on two topics, routed to two queues; the second queue got none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_uplink_on_two_topics_reaches_both_queues_once() {
    let (stub, broker) = (stub(), mosquitto().await);
    let mut configuration = config(broker.addr(), &stub);
    configuration.queues.push(QueueTarget::on_stub("audit", &stub, AUDIT));
    (configuration.profile, configuration.topics) = ("plain".into(), vec!["nothing/here".into()]);
    configuration.extra = "[[routes]]\nprofile = \"multitech\"\ntopics = [\"lora/+/up\"]\nqueue = \"main\"\n\
         [[routes]]\nprofile = \"multitech\"\ntopics = [\"lora/+/+/up\"]\nqueue = \"audit\"\n"
        .into();
    let mut agent = online(configuration).await;
    let mut hands = ManualClient::new(broker.addr());
    for n in 0..100 {
        let uplink = format!(
            "{{\"deveui\":\"02-f1-e2-d3-c4-b5-a6-01\",\"appeui\":\"02-00-00-00-00-00-00-01\",\"fcnt\":{n},\"port\":2,\
             \"data\":\"AQ==\",\"time\":\"2026-02-11T08:15:30.{:03}Z\"}}",
            n + 1
        );
        for topic in ["lora/02-f1-e2-d3-c4-b5-a6-01/up", "lora/02-00-00-00-00-00-00-01/02-f1-e2-d3-c4-b5-a6-01/up"] {
            hands.publish(topic, QoS::AtLeastOnce, false, uplink.clone().into_bytes()).await;
        }
    }
    drained(&mut agent, 100).await;
    assert_eq!((arrived(&stub, QUEUE).len(), arrived(&stub, AUDIT).len()), (100, 100));
}

/// A route's filters changed by SIGHUP again and again while messages come; some never arrived.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_that_change_under_load_cost_no_message() {
    let (stub, broker) = (stub(), mosquitto().await);
    // Each takes the same four topics; filters of one configuration are disjoint.
    let forms: [&[&str]; 3] = [&["a/+/x", "a/+/y"], &["a/1/#", "a/2/+"], &["a/#"]];
    let mut agent = online(plain(broker.addr(), &stub, &["a/#"])).await;
    let address = broker.addr();
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let publisher = tokio::spawn(async move {
        let mut options = MqttOptions::new("flood", address.ip().to_string(), address.port());
        options.set_inflight(500);
        let (client, mut events) = AsyncClient::new(options, 1_000);
        let (mut sent, mut acked) = (0_u64, 0_u64);
        loop {
            tokio::select! {
                _ = &mut stopped => break,
                event = events.poll() => acked += u64::from(matches!(event.unwrap(), Event::Incoming(Packet::PubAck(_)))),
                () = tokio::time::sleep(Duration::from_micros(300)), if sent - acked < 400 => {
                    let topic = ["a/1/x", "a/2/x", "a/1/y", "a/2/y"][(sent % 4) as usize];
                    if client.try_publish(topic, QoS::AtLeastOnce, false, sent.to_string()).is_ok() {
                        sent += 1;
                    }
                }
            }
        }
        while acked < sent {
            acked += u64::from(matches!(events.poll().await.unwrap(), Event::Incoming(Packet::PubAck(_))));
        }
        sent
    });
    for round in 0..12 {
        let form = forms[round % 3];
        agent.reload(plain(broker.addr(), &stub, form)).unwrap();
        let taken = move |s: &Value| {
            let filters = s["intake"]["routes"][0]["filters"].as_array().cloned().unwrap_or_default();
            let granted = filters.iter().all(|filter| filter["granted"] == true);
            granted && filters.iter().map(|filter| &filter["filter"]).eq(form.iter().copied())
        };
        agent.wait_status("the new filters", LONG, taken).await.unwrap();
    }
    stop.send(()).unwrap();
    let sent = publisher.await.unwrap();
    let everything = |s: &Value| {
        s["journal"]["lanes"][0]["appended"].as_u64() >= Some(sent) && s["journal"]["lanes"][0]["waiting"] == 0
    };
    agent.wait_status("everything", LONG, everything).await.unwrap();
    let mut seen = vec![0_u32; usize::try_from(sent).unwrap()];
    for message in stub.accepted(QUEUE) {
        let body: Value = serde_json::from_str(&message.body).unwrap();
        let n: usize = body["data"].to_string().trim_matches('"').parse().unwrap();
        let again = seen[n] > 0;
        assert!(!again || body["possibleduplicate"] == true, "{n} came twice, unmarked");
        seen[n] += 1;
    }
    let missing: Vec<usize> = (0..seen.len()).filter(|n| seen[*n] == 0).collect();
    assert!(missing.is_empty(), "{} of {sent} are missing: {:?}", missing.len(), &missing[..missing.len().min(20)]);
    println!("{sent} messages, {} twice", seen.iter().filter(|times| **times > 1).count());
}

/// A clean stop left acks unsent, and what is retained came again as new, with DUP set.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_clean_stop_nothing_comes_again() {
    let (stub, broker) = (stub(), mosquitto().await);
    let mut hands = ManualClient::new(broker.addr());
    for n in 0..3_000 {
        hands.client.publish(format!("a/{n}"), QoS::AtLeastOnce, true, format!("{n}")).await.unwrap();
        if n % 500 == 499 {
            let mut acks = 0;
            while acks < 500 {
                acks += u32::from(matches!(hands.events.poll().await.unwrap(), Event::Incoming(Packet::PubAck(_))));
            }
        }
    }
    let mut agent = AgentProcess::start(PROGRAM, plain(broker.addr(), &stub, &["a/#"])).await.unwrap();
    let some = |s: &Value| s["intake"]["received"].as_u64() > Some(500);
    agent.wait_status("a part of them", LONG, some).await.unwrap();
    assert!(agent.term(LONG).await.unwrap().success());
    agent.restart().await.unwrap();
    until_online(&mut agent).await;
    let status = drained(&mut agent, 3_000).await;
    assert_eq!(arrived(&stub, QUEUE).len(), 3_000, "{status:#}");
    assert_eq!(status["intake"]["possible_duplicates"], 0, "{status:#}");
}

/// What comes under a filter that the agent does not know of is counted, shown and kept in part.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_without_a_route_are_counted_and_told() {
    let (stub, broker) = (stub(), mosquitto().await);
    // A session of the agent's client id that holds a filter which the agent does not remember.
    let mut options = MqttOptions::new(CLIENT_ID, broker.addr().ip().to_string(), broker.addr().port());
    options.set_clean_session(false);
    let (client, mut events) = AsyncClient::new(options, 8);
    client.subscribe("b/#", QoS::AtLeastOnce).await.unwrap();
    while !matches!(events.poll().await.unwrap(), Event::Incoming(Packet::SubAck(_))) {}
    client.disconnect().await.unwrap();
    while !matches!(events.poll().await, Ok(Event::Outgoing(Outgoing::Disconnect)) | Err(_)) {}
    drop(events);
    let mut hands = ManualClient::new(broker.addr());
    for n in 0..10 {
        hands.publish(&format!("b/deep/{n}"), QoS::AtLeastOnce, false, b"21.5".to_vec()).await;
    }
    let mut agent = online(plain(broker.addr(), &stub, &["a/#"])).await;
    let remark =
        until_remarked(&mut agent, &["10 messages under b/deep belong to no route", "name their topics"]).await;
    println!("{remark}");
    until_found(&mut agent, "messages_unrouted", "act").await;
    let status = agent.status().await.unwrap();
    assert_eq!((&status["intake"]["unrouted"], &status["health"]), (&10.into(), &"act".into()), "{status:#}");
    assert_eq!(status["journal"]["quarantine"]["entries"], 4, "the first ones show what they are: {status:#}");
    hands.publish("a/x", QoS::AtLeastOnce, false, b"1".to_vec()).await;
    drained(&mut agent, 1).await;
}

/// A broker without memory loses the session with everything in it, and reports that to no client.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_session_is_counted_and_told() {
    let stub = stub();
    let options = MosquittoOptions { autosave_after_changes: None, ..MosquittoOptions::default() };
    let mut broker = Mosquitto::start(&options).await.unwrap();
    let mut agent = online(plain(broker.addr(), &stub, &["a/#"])).await;
    let status = agent.status().await.unwrap();
    assert_eq!((&status["intake"]["sessions_lost"], &status["health"]), (&0.into(), &"fine".into()), "{status:#}");
    broker.restart().await.unwrap();
    let remark = until_remarked(&mut agent, &["did not keep our session", "persistence true"]).await;
    println!("{remark}");
    let status = agent.status().await.unwrap();
    assert_eq!((&status["intake"]["sessions_lost"], &status["health"]), (&1.into(), &"act".into()), "{status:#}");
    until_online(&mut agent).await;
}
