//! `tidegate credentials token`: makes the token with which other machines may look at the status page, where only the agent can
//! read it, and says what to set and what to open.

use crate::cli::ExitCode;
use crate::cli::credentials::{ANOTHER_PLACE, of_service};
use crate::cli::new_file;
use crate::cli::output::{complain, say};
use crate::config::{Config, StatusConfig};
use crate::status::token::{Token, read_line};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;

/// Letters and digits that a person does not confuse, typed from one screen into another; 32 of them, 5 bits each.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// 120 bits, in groups of four.
const CHARS: usize = 24;
/// The page's port, where the configuration has none.
const PORT: u16 = 8377;
/// Beside the configuration, where that names no file.
const NAME: &str = "status-token";

/// Makes a token, unless one is there and `force` is not said; then tells the way to the page.
pub(in crate::cli) fn token(to: Option<&Path>, config: &Path, force: bool) -> ExitCode {
    let status = status_of(config);
    let configured = status.as_ref().and_then(|status| status.token_file.clone());
    let beside = || std::path::absolute(new_file::folder(config).join(NAME)).unwrap_or_else(|_| NAME.into());
    let place = to.map(Path::to_owned).or(configured).unwrap_or_else(beside);
    match made(&place, force) {
        Ok(true) => say!("A new token is in {}, which the agent can read and other users cannot.", place.display()),
        Ok(false) => say!("{} has a token, and it stays; --force makes another one.", place.display()),
        Err(error) => {
            complain!("{}", new_file::unwritable(&place, &error, ANOTHER_PLACE));
            return ExitCode::Failed;
        }
    }
    for line in way(&place, config, status.as_ref(), own_address()) {
        say!("{line}");
    }
    ExitCode::Done
}

/// What the file says of the page, without the environment, which the agent may not have.
fn status_of(config: &Path) -> Option<StatusConfig> {
    let text = std::fs::read_to_string(config).ok()?;
    Config::parse(&text, config, &BTreeMap::new()).ok().map(|config| config.status)
}

/// Whether a token was made.
fn made(place: &Path, force: bool) -> io::Result<bool> {
    if !force && Token::read(place).is_ok() {
        return Ok(false);
    }
    // A file with something else in it is a person's.
    if !force && place.exists() && !read_line(place)?.is_empty() {
        return Err(io::Error::other("it has a line that is no token; --force replaces it"));
    }
    let mut random = [0; CHARS];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    new_file::write(place, 0o640, of_service(), format!("{}\n", spelled(random)).as_bytes())?;
    Ok(true)
}

fn spelled(random: [u8; CHARS]) -> String {
    let letters: Vec<u8> = random.iter().map(|byte| ALPHABET[usize::from(byte % 32)]).collect();
    let groups: Vec<String> = letters.chunks(4).map(|group| String::from_utf8_lossy(group).into_owned()).collect();
    groups.join("-")
}

/// What is left to do for a look from another machine at `address` of this one.
fn way(place: &Path, config: &Path, status: Option<&StatusConfig>, address: Option<IpAddr>) -> Vec<String> {
    let listen = status.and_then(|status| status.listen);
    let is_set = status.is_some_and(|status| status.token_file.as_deref() == Some(place));
    let reached = listen.filter(|listen| !listen.ip().is_loopback());
    let mut lines = Vec::new();
    if !is_set || reached.is_none() {
        let at = reached.unwrap_or((Ipv4Addr::UNSPECIFIED, listen.map_or(PORT, |listen| listen.port())).into());
        lines.push(format!("Set in {}:", config.display()));
        lines.push("    [status]".to_owned());
        lines.push(format!("    listen = \"{at}\""));
        lines.push(format!("    token_file = \"{}\"", place.display()));
        lines.push("Then: systemctl reload tidegate".to_owned());
    }
    let port = listen.map_or(PORT, |listen| listen.port());
    let ip = reached.map(|listen| listen.ip()).filter(|ip| !ip.is_unspecified()).or(address);
    let host = ip.map_or_else(|| format!("ADDRESS-OF-THIS-GATEWAY:{port}"), |ip| SocketAddr::new(ip, port).to_string());
    lines.push(format!(
        "Open http://{host}/ in a browser: any user name, and as the password what this shows: sudo cat {}",
        place.display()
    ));
    lines.push("It travels in plain text: use a network that you trust.".to_owned());
    lines
}

/// The address that other machines most likely know this one by. Nothing is sent: the kernel chooses it when a socket is given a
/// destination.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // An address of documentation (RFC 5737), behind the default route.
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    socket.local_addr().ok().map(|addr| addr.ip()).filter(|ip| !ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DEFAULT_PATH;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    #[test]
    fn a_token_is_made_once_long_and_private() {
        let folder = tempfile::tempdir().expect("a folder");
        let place: PathBuf = folder.path().join("etc/status-token");
        assert!(made(&place, false).expect("made"));
        let first = read_line(&place).expect("a line");
        assert_eq!(first.len(), CHARS + 5, "{first}");
        Token::read(&place).expect("a token");
        assert_eq!(std::fs::metadata(&place).expect("there").permissions().mode() & 0o777, 0o640);
        assert!(!made(&place, false).expect("there"), "it stays");
        assert_eq!(read_line(&place).expect("a line"), first);
        assert!(made(&place, true).expect("made") && read_line(&place).expect("a line") != first);
        std::fs::write(&place, "short").expect("written");
        assert!(made(&place, false).expect_err("a person's").to_string().contains("--force"));
    }

    #[test]
    fn token_instructions_name_missing_settings_and_the_address() {
        let (place, config) = (Path::new("/etc/tidegate/status-token"), Path::new(DEFAULT_PATH));
        let status = |listen: &str, token_file: Option<&Path>| StatusConfig {
            listen: listen.parse().ok(),
            token_file: token_file.map(Path::to_owned),
            show_payloads: false,
        };
        let here = Some(IpAddr::from([192, 168, 1, 20]));
        let way = |status: Option<&StatusConfig>, address| way(place, config, status, address).join("\n");
        let new = way(Some(&status("127.0.0.1:8377", None)), here);
        assert!(
            new.contains("listen = \"0.0.0.0:8377\"") && new.contains("token_file = \"/etc/tidegate/status-token\""),
            "{new}"
        );
        assert!(new.contains("http://192.168.1.20:8377/") && new.contains("systemctl reload tidegate"), "{new}");
        let set = way(Some(&status("10.0.0.7:80", Some(place))), here);
        assert!(!set.contains("Set in") && set.contains("http://10.0.0.7:80/"), "{set}");
        let other = way(Some(&status("0.0.0.0:9000", None)), here);
        assert!(other.contains("listen = \"0.0.0.0:9000\"") && other.contains("http://192.168.1.20:9000/"), "{other}");
        assert!(way(None, None).contains("http://ADDRESS-OF-THIS-GATEWAY:8377/"));
    }
}
