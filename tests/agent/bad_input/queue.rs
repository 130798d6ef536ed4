//! What is wrong at the queue: its URL, the key, the file that the key is in.

use crate::support::{
    LONG, QUEUE, arrived, assert_clean, config, fleet, lane, mosquitto, online, stub, until_remarked,
};
use std::time::Duration;
use testkit::agent::{AgentConfig, AgentProcess, credentials_csv};
use testkit::broker::Mosquitto;
use testkit::checker::Rules;
use testkit::fake_sqs::{AccessKey, Allowed, QueueOptions, SqsStub};
use testkit::fleet::Fleet;

/// From the mending to the first record accepted: the look is taken every two seconds.
const SOON: Duration = Duration::from_secs(20);

/// Runs on a mistake until the status says so, mends it by `mend`, and sees everything arrive in order.
async fn said_and_mended(
    (stub, broker): (SqsStub, Mosquitto),
    configuration: AgentConfig,
    words: &[&str],
    mend: impl AsyncFnOnce(&SqsStub, &mut AgentProcess, &mut Fleet),
) {
    let mut agent = online(configuration).await;
    let mut fleet = fleet(broker.addr(), 10, None);
    fleet.publish(60).await.unwrap();
    let remark = until_remarked(&mut agent, words).await;
    println!("{remark}");
    let status = agent.wait_status("all waiting", LONG, |s| lane(s, "waiting") == 60).await.unwrap();
    assert_eq!((&status["queues"][0]["drain"]["state"], &status["health"]), (&"parked".into(), &"act".into()));
    mend(&stub, &mut agent, &mut fleet).await;
    stub.wait_for(QUEUE, SOON, |counters| counters.accepted > 0)
        .await
        .unwrap_or_else(|late| panic!("{late}\n{}", agent.log()));
    fleet.publish(40).await.unwrap();
    let published = fleet.published();
    let delivered = arrived(&stub, &mut agent, &published).await;
    assert_clean(&published, &delivered, Rules::FIFO, &agent);
    assert_eq!(stub.counters(QUEUE).absorbed, 0, "a refused call leaves no doubt");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_queue_is_named_and_its_records_wait() {
    let peers = (stub(), mosquitto().await);
    peers.0.delete_queue(QUEUE);
    let configuration = config(peers.1.addr(), &peers.0);
    let again = configuration.clone();
    let words = ["queue main:", "the queue does not exist", "compare the queue's URL with the SQS console"];
    said_and_mended(peers, configuration, &words, async |stub, agent, _| {
        stub.create_queue(QUEUE, QueueOptions::fifo()).unwrap();
        // A touched credentials file is a reason to look at once; else the next probe would find it.
        agent.rewrite(again).unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_secrets_unknown_keys_and_missing_permissions_are_told_apart() {
    let agent = AccessKey::agent();
    let wrong = AccessKey::new(&agent.id, "another/secret/000000000000000EXAMPLEKEY", Allowed::SendOnly);
    let unknown = AccessKey::new("AKIANOBODY000EXAMPLE", &agent.secret, Allowed::SendOnly);
    let nothing = AccessKey::new("AKIANOTHING00EXAMPLE", &agent.secret, Allowed::Nothing);
    for (key, words) in [
        (wrong, ["the signature is refused", "the secret access key does not belong to the key id"]),
        (unknown, ["the access key is not known or not active", "activate the key in IAM or install a new one"]),
        (nothing.clone(), ["the credentials may not send to this queue", "allow sqs:SendMessage on the queue's ARN"]),
    ] {
        let peers = (stub(), mosquitto().await);
        peers.0.set_key(nothing.clone());
        let mended = config(peers.1.addr(), &peers.0);
        let mut configuration = mended.clone();
        configuration.queues[0].key = key;
        let words = ["queue main:", words[0], words[1]];
        said_and_mended(peers, configuration, &words, async |_, agent, _| agent.rewrite(mended).unwrap()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credentials_file_may_come_late() {
    let (stub, broker) = (stub(), mosquitto().await);
    let mut agent = AgentProcess::prepare(crate::support::PROGRAM, config(broker.addr(), &stub)).unwrap();
    let file = agent.folder().join("credentials-main.csv");
    std::fs::remove_file(&file).unwrap();
    agent.spawn().unwrap();
    crate::support::until_online(&mut agent).await;
    let mut fleet = fleet(broker.addr(), 10, None);
    fleet.publish(60).await.unwrap();
    let remark = until_remarked(&mut agent, &["queue main:", &file.display().to_string()]).await;
    println!("{remark}");
    assert_eq!(agent.status().await.unwrap()["queues"][0]["drain"]["state"], "parked");
    std::fs::write(&file, "not,a,key\n").unwrap();
    let remark = until_remarked(&mut agent, &["queue main:", "credentials file", "Access key ID"]).await;
    println!("{remark}");
    std::fs::write(&file, credentials_csv(&AccessKey::agent())).unwrap();
    stub.wait_for(QUEUE, SOON, |counters| counters.accepted > 0)
        .await
        .unwrap_or_else(|late| panic!("{late}\n{}", agent.log()));
    let published = fleet.published();
    let delivered = arrived(&stub, &mut agent, &published).await;
    assert_clean(&published, &delivered, Rules::FIFO, &agent);
}
