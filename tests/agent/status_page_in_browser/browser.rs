//! A browser, and what it is asked.

use crate::support::LONG;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// A browser, driven over WebDriver's plain HTTP.
pub(super) struct Browser {
    driver: Child,
    port: u16,
    session: String,
    _profile: TempDir,
}

impl Browser {
    pub(super) fn start() -> Browser {
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

    pub(super) fn call(&self, method: &str, path: &str, body: &Value) -> Value {
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

    pub(super) fn of_session(&self, path: &str, body: &Value) -> Value {
        self.call("POST", &format!("/session/{}{path}", self.session), body)
    }

    pub(super) fn devtools(&self, cmd: &str, params: Value) {
        self.of_session("/goog/cdp/execute", &json!({ "cmd": cmd, "params": params }));
    }

    pub(super) fn script(&self, script: &str) -> Value {
        self.of_session("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// What `script` says of a page that has its style. The page reloads itself: asked in that moment, it has none yet.
    pub(super) fn settled(&self, script: &str) -> Value {
        let asked = std::time::Instant::now();
        loop {
            let seen = self.script(script);
            if seen["rules"] != json!([]) || asked.elapsed() > LONG {
                return seen;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    pub(super) fn screenshot(&self, file: &Path) {
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
