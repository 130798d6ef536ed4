//! The status page in a real browser (Chromium, by WebDriver) in twelve states, each caused for real, on a desk and on a phone, light
//! and dark. Screenshots stay in `target/screenshots`, to be looked at: `scripts/screenshots.sh`.

mod browser;

use crate::support::{
    AUDIT, LONG, PROGRAM, Publisher, config, drained, fleet, lane, mosquitto, online, stub, tidegate, until_online,
};
use browser::Browser;
use serde_json::{Value, json};
use std::path::Path;
use testkit::agent::{AgentConfig, AgentProcess, QueueTarget};
use testkit::broker::{Mosquitto, MosquittoOptions};
use testkit::clock_control::ClockControl;
use testkit::fake_sqs::{Fault, When};

/// What must hold of the page, and a picture of it, in each size and colour.
fn look(agent: &AgentProcess, state: &str, says: &[&str]) {
    let browser = Browser::start();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    for (device, width, height, mobile) in [("desktop", 1280, 900, false), ("phone", 360, 740, true)] {
        browser.devtools(
            "Emulation.setDeviceMetricsOverride",
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile }),
        );
        let mut brightness = Vec::new();
        for colour in ["light", "dark"] {
            let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": colour }] });
            browser.devtools("Emulation.setEmulatedMedia", media);
            browser.of_session("/url", &json!({ "url": format!("http://{}/", agent.status_addr()) }));
            let seen = browser.settled(
                "const b = getComputedStyle(document.body).backgroundColor.match(/[0-9.]+/g).map(Number);
                 const t = getComputedStyle(document.body).color.match(/[0-9.]+/g).map(Number);
                 const light = c => (c[0] + c[1] + c[2]) / 3;
                 const wide = [...document.querySelectorAll('body *')].filter(e => {
                     const r = e.getBoundingClientRect();
                     return r.width > 0 && r.right > innerWidth + 1 && !e.closest('table, svg');
                 }).map(e => e.tagName + ': ' + e.textContent.slice(0, 60));
                 return { text: document.body.innerText, back: light(b), ink: light(t), wide,
                          scroll: document.documentElement.scrollWidth, inner: innerWidth,
                          rules: [...document.styleSheets].map(s => s.cssRules.length),
                          charts: document.querySelectorAll('svg path').length,
                          font: parseFloat(getComputedStyle(document.body).fontSize) };",
            );
            let text = seen["text"].as_str().unwrap();
            for word in says {
                assert!(text.contains(word), "{state} {device} {colour}: {word} in\n{text}");
            }
            assert!(seen["scroll"].as_i64() <= seen["inner"].as_i64(), "{state} {device}: scrolls sideways: {seen:#}");
            assert_eq!(seen["wide"], json!([]), "{state} {device}: stands out of the page");
            assert!(seen["rules"][0].as_u64() > Some(10), "the style is in force: {seen:#}");
            assert!(seen["font"].as_f64() >= Some(14.0), "readable on a phone: {seen:#}");
            let (back, ink) = (seen["back"].as_f64().unwrap(), seen["ink"].as_f64().unwrap());
            assert!((back - ink).abs() > 120.0, "ink on paper of {colour}: {seen:#}");
            brightness.push(back);
            // What was opened stays open when the page renews itself, and is another page.
            let renewed = browser.script(
                "const before = document.body; document.getElementById('broker').open = true;
                 return renew().then(() => ({ open: document.getElementById('broker').open, other: before !== document.body }));",
            );
            assert_eq!(renewed, json!({ "open": true, "other": true }), "{state} {device} {colour}");
            browser.script("document.getElementById('broker').open = false");
            browser.screenshot(&folder.join(format!("{state}-{device}-{colour}.png")));
        }
        assert!(brightness[0] > brightness[1] + 100.0, "light is light and dark is dark: {brightness:?}");
    }
    let log = browser.of_session("/se/log", &json!({ "type": "browser" }));
    let errors: Vec<&Value> =
        log.as_array().unwrap().iter().filter(|entry| !entry["message"].to_string().contains("favicon")).collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

async fn looked(agent: AgentProcess, state: &'static str, says: &'static [&'static str]) -> AgentProcess {
    tokio::task::spawn_blocking(move || {
        look(&agent, state, says);
        agent
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_glance_tells_the_state_on_desk_and_phone() {
    let (broker, mut stub) = (mosquitto().await, stub());
    let mut agent = online(config(broker.addr(), &stub)).await;
    let mut fleet = fleet(broker.addr(), 5, None);
    fleet.publish(60).await.unwrap();
    drained(&mut agent, 60).await;
    let mut agent = looked(agent, "fine", &["Fine", "nothing waits", "hq-tower-roof", "last accepted", "as of"]).await;
    stub.faults().push(Fault::Refuse { code: "AccessDenied", status: 403 }, When::Always);
    fleet.publish(25).await.unwrap();
    let parked = |s: &Value| lane(s, "waiting") == 25 && s["queues"][0]["drain"]["state"] == "parked";
    agent.wait_status("parked", LONG, parked).await.unwrap();
    let mut agent =
        looked(agent, "parked", &["Action required", "Do this", "Allow sqs:SendMessage", "parked, next attempt in"])
            .await;
    stub.faults().clear();
    stub.close().await;
    agent.retry().unwrap();
    let offline = |s: &Value| s["queues"][0]["drain"]["state"] == "offline";
    agent.wait_status("offline", LONG, offline).await.unwrap();
    let mut agent =
        looked(agent, "offline", &["Waiting", "It goes on by itself", "If it lasts", "next attempt in"]).await;
    // At a bound: the disk never has so much free space.
    let mut full = agent.config().clone();
    full.journal_extra = "on_full = \"stop\"\nmin_free = \"1024 GiB\"".to_owned();
    agent.reload(full).unwrap();
    agent.wait_status("the second run", LONG, |s| s["journal"]["epoch"] == 2).await.unwrap();
    fleet.publish(3).await.unwrap();
    let at_bound = |s: &Value| s["journal"]["writer"]["state"] == "full";
    agent.wait_status("full", LONG, at_bound).await.unwrap();
    looked(agent, "full", &["Action required", "nothing new is taken", "it is full", "df -h"]).await;
}

fn finds(code: &'static str, severity: &'static str) -> impl Fn(&Value) -> bool {
    move |status| {
        let findings = status["findings"].as_array().into_iter().flatten();
        findings.into_iter().any(|finding| finding["code"] == code && finding["severity"] == severity)
    }
}

async fn until(agent: &mut AgentProcess, code: &'static str) {
    agent.wait_status(code, LONG, finds(code, "act")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute, and makes pictures for a person"]
async fn eight_more_states_show_fault_and_remedy() {
    states_of_the_broker().await;
    states_of_the_intake().await;
    states_of_the_journal().await;
    states_of_the_queues().await;
}

async fn states_of_the_broker() {
    let (stub, mut broker) = (stub(), mosquitto().await);
    let mut clock = ClockControl::new().unwrap();
    let mut configuration = config(broker.addr(), &stub);
    configuration.environment.push(clock.environment());
    let mut agent = online(configuration).await;
    let mut sensors = fleet(broker.addr(), 5, None);
    sensors.publish(20).await.unwrap();
    drained(&mut agent, 20).await;
    broker.stop().await.unwrap();
    agent.wait_status("away", LONG, finds("broker_away", "waiting")).await.unwrap();
    clock.move_to(240_000, 240_000, 0).unwrap();
    until(&mut agent, "broker_away").await;
    looked(agent, "broker-away", &["Action required", "Do this", "broker"]).await;

    let users = vec![("gateway".to_owned(), "right".to_owned())];
    let broker = Mosquitto::start(&MosquittoOptions { users, ..MosquittoOptions::default() }).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "wrong\n").unwrap();
    let mut configuration = config(broker.addr(), &stub);
    configuration.mqtt_extra = format!("username = \"gateway\"\npassword_file = \"{}\"", file.display());
    let mut agent = AgentProcess::start(PROGRAM, configuration).await.unwrap();
    until(&mut agent, "broker_refuses_login").await;
    looked(agent, "password-refused", &["Action required", "Do this", "password"]).await;
}

async fn states_of_the_intake() {
    let (stub, broker) = (stub(), mosquitto().await);
    let extra = "[[routes]]\nprofile = \"generic\"\ntopics = [\"plain/#\"]\nqueue = \"main\"\n".into();
    let mut agent = online(AgentConfig { extra, ..config(broker.addr(), &stub) }).await;
    Publisher::new(broker.addr()).publish_qos0("plain/1", "7").await;
    until(&mut agent, "route_qos0").await;
    looked(agent, "qos0", &["Action required", "Do this", "QoS 0"]).await;

    let mut one = online(config(broker.addr(), &stub)).await;
    let other = AgentProcess::start(PROGRAM, config(broker.addr(), &stub)).await.unwrap();
    until(&mut one, "client_id_twice").await;
    looked(one, "one-id-twice", &["Action required", "Do this", "client id"]).await;
    drop(other);
}

async fn states_of_the_journal() {
    let (mut stub, broker) = (stub(), mosquitto().await);
    let mut configuration = config(broker.addr(), &stub);
    configuration.journal_extra = "max_bytes = \"16 MiB\"".into();
    let mut agent = online(configuration).await;
    let mut sensors = fleet(broker.addr(), 50, None);
    sensors.publish(50).await.unwrap();
    drained(&mut agent, 50).await;
    stub.close().await;
    let mut publisher = Publisher::new(broker.addr());
    for n in 0..60 {
        publisher.publish(&format!("application/1/device/00112233445566{n:02}/event/up"), vec![b'x'; 400_000]).await;
    }
    until(&mut agent, "records_evicted").await;
    let agent =
        looked(agent, "evicted", &["Action required", "Do this", "evicted", "its oldest records make room"]).await;
    drop(agent);

    let mut agent = online(config(broker.addr(), &stub)).await;
    sensors.publish(5).await.unwrap();
    agent.wait_status("5 wait", LONG, |s| lane(s, "waiting") >= 5).await.unwrap();
    let (listed, ..) = tidegate(&agent, &["journal", "list", "--json"]).await;
    let first: Value = serde_json::from_str(listed.lines().next().expect("a line")).expect("JSON");
    tidegate(&agent, &["journal", "quarantine", "add", &first["number"].to_string()]).await;
    stub.open().unwrap();
    agent.retry().unwrap();
    until(&mut agent, "records_quarantined").await;
    agent.wait_status("the rest", LONG, |s| lane(s, "waiting") == 0).await.unwrap();
    looked(agent, "quarantined", &["Action required", "Do this", "quarantine"]).await;
}

async fn states_of_the_queues() {
    let (mut stub, broker) = (stub(), mosquitto().await);
    let mut both = config(broker.addr(), &stub);
    both.queues.push(QueueTarget::on_stub("audit", &stub, AUDIT));
    let mut agent = online(both).await;
    stub.faults().push_on(AUDIT, Fault::Refuse { code: "AccessDenied", status: 403 }, When::Always);
    let mut sensors = fleet(broker.addr(), 20, None);
    sensors.publish(400).await.unwrap();
    let parked = |s: &Value| s["queues"][1]["drain"]["state"] == "parked" && lane(s, "waiting") == 0;
    agent.wait_status("one parked, one fine", LONG, parked).await.unwrap();
    looked(agent, "one-of-two-parked", &["Action required", "Do this", "audit"]).await;

    stub.faults().clear();
    let mut agent = online(config(broker.addr(), &stub)).await;
    stub.close().await;
    sensors.publish(3_000).await.unwrap();
    agent.wait_status("waiting", LONG, |s| lane(s, "waiting") >= 3_000).await.unwrap();
    stub.set_latency(std::time::Duration::from_millis(800));
    stub.open().unwrap();
    agent.retry().unwrap();
    agent.wait_status("draining", LONG, |s| (1..2_900).contains(&lane(s, "waiting"))).await.unwrap();
    until_online(&mut agent).await;
    looked(agent, "draining", &["waiting"]).await;
}
