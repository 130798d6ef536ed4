//! Where filters of two routes meet, a message goes to the first route that takes it, and there alone.

use crate::support::{LONG, Publisher, QUEUE, config, drained, mosquitto, online, stub};
use std::collections::BTreeMap;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_goes_to_the_first_route_that_takes_it() {
    let (broker, stub) = (mosquitto().await, stub());
    let mut configuration = config(broker.addr(), &stub);
    // The default filters of the second one meet those of the first, and the third takes everything.
    configuration.profile = "zigbee2mqtt".to_owned();
    configuration.extra = "[[routes]]\nprofile = \"shelly\"\nqueue = \"main\"\nfallback = true\n\
                           [[routes]]\nprofile = \"plain\"\ntopics = [\"#\"]\nqueue = \"main\"\nfallback = true\n"
        .to_owned();
    let mut agent = online(configuration).await;
    let mut publisher = Publisher::new(broker.addr());
    let topics = ["zigbee2mqtt/online", "shelly1/online", "building/4/temperature"];
    for topic in topics {
        publisher.publish(topic, "1").await;
    }
    stub.wait_for(QUEUE, LONG, |counters| counters.accepted >= 3).await.unwrap();
    let status = drained(&mut agent, 3).await;
    let routes = status["intake"]["routes"].as_array().unwrap();
    let taken: Vec<_> = routes.iter().map(|route| route["messages"].as_u64().unwrap()).collect();
    assert_eq!(taken, [1, 1, 1], "{status:#}");
    let by_topic: BTreeMap<String, String> = stub
        .accepted(QUEUE)
        .iter()
        .map(|one| {
            let event: serde_json::Value = serde_json::from_str(&one.body).unwrap();
            let of = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
            (of("mqtttopic"), of("source").rsplit('/').next().unwrap_or_default().to_owned())
        })
        .collect();
    let read_by: Vec<&str> = topics.iter().map(|topic| by_topic[*topic].as_str()).collect();
    assert_eq!(read_by, ["zigbee2mqtt", "shelly", "plain"], "{by_topic:?}");
    assert_eq!(stub.accepted(QUEUE).len(), 3, "each once");
}
