//! The status page in a real browser (Chromium, by WebDriver): fine, offline, parked and full, on a desk and on a phone,
//! light and dark. Screenshots stay in `target/screenshots`, to be looked at.

use crate::support::{LONG, config, drained, fleet, lane, mosquitto, online, stub};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use testkit::agent::AgentProcess;
use testkit::fake_sqs::{Fault, When};

/// A browser, driven over WebDriver's plain HTTP.
struct Browser {
    driver: Child,
    port: u16,
    session: String,
    _profile: TempDir,
}

impl Browser {
    fn start() -> Browser {
        let mut driver = Command::new("chromedriver");
        driver.arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null());
        let mut driver = driver.spawn().expect("chromedriver, of the package chromium-driver: scripts/peers.sh");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.split("successfully on port ").nth(1)?.trim_end_matches('.').parse().ok());
        let profile = tempfile::tempdir().unwrap();
        let mut browser = Browser { driver, port: port.expect("a port"), session: String::new(), _profile: profile };
        let folder = format!("--user-data-dir={}", browser._profile.path().display());
        let flags = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-sync",
            &folder,
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": flags }, "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        browser.session =
            browser.call("POST", "/session", &wanted)["sessionId"].as_str().expect("a session").to_owned();
        browser
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let body = body.to_string();
        let (port, length) = (self.port, body.len());
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
        // The driver keeps its connections open: the answer ends where its head says.
        stream.set_read_timeout(Some(LONG)).unwrap();
        let mut reader = BufReader::new(stream);
        let (mut length, mut line) = (0, String::new());
        while reader.read_line(&mut line).expect("an answer within its time") > 2 {
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            line.clear();
        }
        let mut answer = vec![0; length];
        reader.read_exact(&mut answer).unwrap();
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        assert!(answer["value"]["error"].is_null(), "{path}: {answer:#}");
        answer["value"].clone()
    }

    fn of_session(&self, path: &str, body: &Value) -> Value {
        self.call("POST", &format!("/session/{}{path}", self.session), body)
    }

    fn devtools(&self, cmd: &str, params: Value) {
        self.of_session("/goog/cdp/execute", &json!({ "cmd": cmd, "params": params }));
    }

    fn script(&self, script: &str) -> Value {
        self.of_session("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// What `script` says of a page that has its style. The page reloads itself: asked in that moment, it has none yet.
    fn settled(&self, script: &str) -> Value {
        let asked = std::time::Instant::now();
        loop {
            let seen = self.script(script);
            if seen["rules"] != json!([]) || asked.elapsed() > LONG {
                return seen;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    fn screenshot(&self, file: &Path) {
        let picture = self.call("GET", &format!("/session/{}/screenshot", self.session), &json!({}));
        let bytes = STANDARD.decode(picture.as_str().expect("a picture")).unwrap();
        std::fs::write(file, bytes).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.call("DELETE", &format!("/session/{}", self.session), &json!({}));
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

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
        looked(agent, "parked", &["Action required", "Do this", "Allow sqs:SendMessage", "paused until mended"]).await;
    stub.faults().clear();
    stub.close().await;
    agent.retry().unwrap();
    let offline = |s: &Value| s["queues"][0]["drain"]["state"] == "offline";
    agent.wait_status("offline", LONG, offline).await.unwrap();
    let mut agent = looked(agent, "offline", &["Waiting", "Nothing has to be done", "next attempt in"]).await;
    // At a bound: the disk never has so much free space.
    let mut full = agent.config().clone();
    full.journal_extra = "on_full = \"stop\"\nmin_free = \"1024 GiB\"".to_owned();
    agent.reload(full).unwrap();
    agent.wait_status("the second run", LONG, |s| s["journal"]["epoch"] == 2).await.unwrap();
    fleet.publish(3).await.unwrap();
    let at_bound = |s: &Value| s["journal"]["writer"]["state"] == "full";
    agent.wait_status("full", LONG, at_bound).await.unwrap();
    looked(agent, "full", &["Action required", "nothing is acknowledged"]).await;
}
