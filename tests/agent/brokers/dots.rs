//! RabbitMQ speaks of topics with dots between the levels, so `spBv1.0/…` comes back as `spBv1/0/…`. Sparkplug B arrives all the
//! same, whichever form the route names.

use super::{Scene, broker};
use crate::support::{LONG, QUEUE};
use testkit::broker::{AnyBroker, BrokerKind};

/// A birth or data of the samples; the time and the bytes are all that the profile reads.
const PAYLOAD: &[u8] = include_bytes!("../../samples/sparkplug-b/ddata.bin");

async fn sparkplug_arrives(broker: &mut AnyBroker, name: &'static str, filter: &str) {
    let mut scene = Scene::set(broker, name, |config| {
        (config.profile, config.topics) = ("sparkplug-b".into(), vec![filter.to_owned()]);
    })
    .await;
    let mut publisher = scene.publisher();
    for topic in ["spBv1.0/G/NBIRTH/N", "spBv1.0/G/NDATA/N"] {
        publisher.publish(topic, PAYLOAD).await;
    }
    let both = scene.stub.wait_for(QUEUE, LONG, |counters| counters.accepted >= 2).await;
    both.unwrap_or_else(|late| panic!("{}", scene.said(&late.to_string())));
    scene.until_settled(2).await;
    let arrived = scene.stub.accepted(QUEUE);
    let types: Vec<_> = arrived.iter().map(|message| message.body.contains("sensor.birth")).collect();
    assert_eq!(types, [true, false], "{:?}", arrived.iter().map(|message| &message.body).collect::<Vec<_>>());
    assert_eq!(arrived[0].group, arrived[1].group, "one edge node");
    let status = scene.agent.status().await.unwrap();
    assert_eq!((&status["intake"]["unrouted"], &status["health"]), (&0.into(), &"fine".into()), "{status:#}");
    // The next route's messages are not for this one's session.
    assert!(scene.agent.term(LONG).await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sparkplug_arrives_through_rabbitmq_whichever_form_the_route_names() {
    let mut broker = broker(BrokerKind::RabbitMq).await;
    sparkplug_arrives(&mut broker, "dots", "spBv1.0/G/+/N").await;
    sparkplug_arrives(&mut broker, "slashes", "spBv1/0/G/+/N").await;
}
