//! What the broker is, and where it is a Mosquitto of this machine, what its settings cost: a client sees neither.

mod conf;

use crate::cli::check::Step;
use crate::config::{BrokerAddress, Config, host_name};
use conf::Settings;
use std::io::ErrorKind;
use std::net::{IpAddr, UdpSocket};
use std::path::{Path, PathBuf};

/// Where packages put it.
const PROGRAM: &str = "/usr/sbin/mosquitto";
/// What dpkg and opkg have installed.
const INSTALLED: [&str; 2] = ["/var/lib/dpkg/status", "/usr/lib/opkg/status"];

/// What the broker calls itself, `version`, and what its release is known for. Pure.
pub(super) fn version(version: &str) -> Step {
    let step = "broker's version";
    let lower = version.to_lowercase();
    if let Some(release) = lower.strip_prefix("mosquitto version ") {
        let found = format!("Mosquitto {release}");
        let next = "install 2.0.13 or later: docs/broker.md";
        return match numbers(release) {
            [2, 0, 11 | 12] => {
                let why = "it keeps to no window: after a kill of the agent in a backlog, thousands of messages come twice, each marked";
                Step::open(step, format!("{found}: {why}"), next)
            }
            old if old < [2, 0, 11] => Step::open(step, format!("{found}: tidegate is not tried with it"), next),
            _ => Step::good(step, found),
        };
    }
    if lower.contains("amqtt") {
        let found = format!(
            "{version}: it keeps sessions in memory alone, and loses what waits for the agent when it restarts"
        );
        return Step::open(step, found, "a broker that keeps them on disk, such as Mosquitto: docs/broker.md");
    }
    Step::good(step, version)
}

/// The first three numbers of a release.
fn numbers(release: &str) -> [u64; 3] {
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok());
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

/// The version of its package, as the broker would say it. Pure.
fn of_package(installed: &str) -> Option<String> {
    let mut paragraphs = installed.split("\n\n");
    let own = paragraphs.find(|text| text.lines().any(|line| line == "Package: mosquitto"))?;
    let version = own.lines().find_map(|line| line.strip_prefix("Version: "))?;
    let release = version.split_once(':').map_or(version, |(_, release)| release);
    Some(format!("mosquitto version {release}"))
}

/// What the settings of the broker cost, where it is a Mosquitto of this machine; `rate`: messages a second, where known.
/// `asked`: the broker itself was asked for its version; where not, its package tells it.
pub(super) fn settings(config: &Config, rate: Option<f64>, asked: bool) -> Vec<Step> {
    let door = match &config.mqtt.address {
        BrokerAddress::Tcp { host, port } | BrokerAddress::Tls { host, port } if is_here(host) => port.to_string(),
        BrokerAddress::Unix(path) => path.display().to_string(),
        _ => return Vec::new(),
    };
    let (mut found, mut closed, mut steps) = (None, None, Vec::new());
    for Running { root, file, packaged } in running() {
        match Settings::read(&root, &file) {
            Ok(settings) if settings.has_door(&door) => {
                let texts = INSTALLED.iter().filter_map(|path| std::fs::read_to_string(path).ok());
                let of_package = texts.filter(|_| packaged && !asked).find_map(|text| of_package(&text));
                steps.extend(of_package.map(|text| version(&text)));
                found = Some(settings);
                break;
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => closed = Some(file),
            _ => {}
        }
    }
    let unread = |file: &Path| {
        let found = format!("{} cannot be read", file.display());
        Step::open("broker's settings", found, "run it as root: sudo tidegate check")
    };
    match (found, closed) {
        (Some(settings), _) => {
            let closed = settings.unread.iter().find(|(_, kind)| *kind == ErrorKind::PermissionDenied);
            // What is closed to us may say otherwise.
            steps.extend(closed.map_or_else(|| settings.costs(rate), |(file, _)| vec![unread(file)]));
        }
        (None, Some(file)) => steps.push(unread(&file)),
        (None, None) => {}
    }
    steps
}

/// Whether a broker at this host is on this machine: an address that a socket can be bound to is ours.
fn is_here(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(ip) => UdpSocket::bind((ip, 0)).is_ok(),
        Err(_) => bare.eq_ignore_ascii_case("localhost") || bare.eq_ignore_ascii_case(&host_name()),
    }
}

/// A Mosquitto that runs.
struct Running {
    /// The `/` that it sees.
    root: PathBuf,
    /// Its configuration file.
    file: PathBuf,
    /// Whether it is the program of the installed package.
    packaged: bool,
}

/// Those that run: a file that lies there may be another broker's.
fn running() -> Vec<Running> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
    let file_of = |process: PathBuf| {
        let name = std::fs::read_to_string(process.join("comm")).ok()?;
        let line = std::fs::read(process.join("cmdline")).ok().filter(|_| name.trim_end() == "mosquitto")?;
        let words: Vec<_> = line.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
        let at = words.iter().position(|word| word == "-c" || word == "--config-file")?;
        let file = PathBuf::from(words.get(at + 1)?.as_ref());
        let file = if file.is_absolute() { file } else { std::fs::read_link(process.join("cwd")).ok()?.join(file) };
        let is = |link: &str, path: &str| std::fs::read_link(process.join(link)).is_ok_and(|to| to == Path::new(path));
        let packaged = is("root", "/") && is("exe", PROGRAM);
        let root = process.join("root");
        // Only its own user and root may look through that.
        let root = if root.join(".").is_dir() { root } else { "/".into() };
        Some(Running { root, file, packaged })
    };
    processes.filter_map(file_of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::CheckResult::{Good, Open};

    #[test]
    fn a_release_with_known_trouble_is_named() {
        for (text, mark, says) in [
            ("mosquitto version 2.0.21", Good, "Mosquitto 2.0.21"),
            ("mosquitto version 2.1.0", Good, "2.1.0"),
            ("mosquitto version 2.0.11", Open, "no window"),
            ("mosquitto version 2.0.9", Open, "not tried"),
            ("mosquitto version 1.6.12", Open, "not tried"),
            ("aMQTT version 0.12.1", Open, "in memory alone"),
            ("VerneMQ 1.13", Good, "VerneMQ"),
        ] {
            let step = version(text);
            assert!(step.mark == mark && step.found.contains(says), "{text}: {step:?}");
        }
    }

    #[test]
    fn the_package_database_gives_an_unasked_brokers_version() {
        let dpkg = "Package: mosquitto-clients\nVersion: 9\n\nPackage: mosquitto\nStatus: install ok installed\n\
                    Version: 1:2.0.11-1.2+deb12u1\nDescription: broker\n\nPackage: mount\nVersion: 8\n";
        let text = of_package(dpkg).expect("installed");
        assert_eq!(text, "mosquitto version 2.0.11-1.2+deb12u1");
        assert!(version(&text).found.contains("no window"), "{text}");
        assert_eq!(of_package("Package: mount\nVersion: 8\n"), None);
    }

    #[test]
    fn this_machine_is_told_from_others() {
        for here in ["127.0.0.1", "127.9.9.9", "localhost", "LOCALHOST", &host_name()] {
            assert!(is_here(here), "{here}");
        }
        // TEST-NET-1, which no machine has.
        for there in ["192.0.2.1", "broker.example"] {
            assert!(!is_here(there), "{there}");
        }
    }
}
