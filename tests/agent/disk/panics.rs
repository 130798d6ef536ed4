//! The journal's writer panics in mid-stream: it continues with what it had in hand, and says so.

use crate::support::{
    Flow, arrived, assert_clean, assert_understood, config, fleet, lane, mosquitto, online, stub, until_found,
    until_logged, until_remarked,
};
use testkit::checker::Rules;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_panics_goes_on_and_loses_nothing() {
    let (stub, broker) = (stub(), mosquitto().await);
    let mut agent = online(config(broker.addr(), &stub)).await;
    let mut flow = Flow::start(fleet(broker.addr(), 50, Some(300.0)));
    flow.more(300).await;
    for place in ["commit", "publish", "sync"] {
        std::fs::write(agent.journal_path().join(format!("rig-panic-{place}")), "2").unwrap();
        flow.more(300).await;
    }
    println!("{}", until_remarked(&mut agent, &["the journal's writer panicked 4 times", "loses nothing"]).await);
    until_found(&mut agent, "journal_writer_panics", "act").await;
    until_logged(&mut agent, "is started again with what it had in hand").await;
    let published = flow.end().await.published();
    let delivered = arrived(&stub, &mut agent, &published).await;
    let verdict = assert_clean(&published, &delivered, Rules::FIFO, &agent);
    assert_eq!((verdict.announced, verdict.duplicated_marked), (0, 0), "{verdict}");
    let status = agent.status().await.unwrap();
    assert_eq!(lane(&status, "appended"), published.confirmed() as u64);
    assert_eq!(
        (&status["journal"]["writer"]["state"], &status["journal"]["writer_panics"]),
        (&"fine".into(), &4.into())
    );
    assert_understood(&stub);
}
