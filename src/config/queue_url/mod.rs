//! What a queue's URL tells: endpoint, region, account, name, and whether it is a FIFO queue.
//!
//! The SDK sends to the region's own endpoint and ignores the URL's host. So a host that is not exactly that endpoint
//! (a VPC endpoint, a FIPS or dual-stack host, an emulator, another port) has to be given to it as an endpoint:
//! [`QueueUrl::endpoint`].

use crate::config::queue_link::{EXPECTED, from_arn, from_console, is_region, misspelt_region};
use std::net::IpAddr;

/// A queue URL, taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueUrl {
    /// The URL as configured.
    pub text: String,
    /// `http` or `https`.
    pub scheme: String,
    /// Host, without port, in lower case; an IPv6 address without its brackets.
    pub host: String,
    /// Port, when the URL names one.
    pub port: Option<u16>,
    /// Region, when the host tells it: one of SQS's standard hosts, or a VPC endpoint.
    pub region: Option<String>,
    /// Account id: twelve digits.
    pub account: String,
    /// Queue name, with `.fifo` if it has it.
    pub name: String,
    /// Whether the name ends in `.fifo`.
    pub fifo: bool,
}

/// Characters of a queue's name, at most, `.fifo` included (SQS documentation).
const QUEUE_NAME_CHARS: usize = 80;

impl QueueUrl {
    /// Takes `text` apart.
    ///
    /// # Errors
    /// A text for people: what is wrong with it and what was expected.
    pub fn parse(text: &str) -> Result<QueueUrl, String> {
        if text.is_empty() {
            return Err(format!("the queue's URL is empty; {EXPECTED}"));
        }
        if let Some(c) = text.chars().find(|c| c.is_whitespace() || c.is_control()) {
            return Err(format!("the queue's URL contains {c:?}, perhaps from copying; {EXPECTED}"));
        }
        if text.starts_with("arn:") {
            return Err(from_arn(text));
        }
        let (scheme, rest) =
            text.split_once("://").ok_or_else(|| format!("the queue's URL has no https://; {EXPECTED}"))?;
        let scheme = scheme.to_ascii_lowercase();
        if scheme != "https" && scheme != "http" {
            return Err(format!("the queue's URL starts with {scheme}://; {EXPECTED}"));
        }
        if let Some(error) = from_console(rest, |meant| QueueUrl::parse(meant).is_ok()) {
            return Err(error);
        }
        let (authority, path) =
            rest.split_once('/').ok_or_else(|| format!("the queue's URL ends after its host; {EXPECTED}"))?;
        let (host, port) = split_authority(authority)?;
        let (account, name) = split_path(path)?;
        if let Some(meant) = misspelt_region(&host) {
            return Err(format!("{host} is no host of SQS; did you mean {scheme}://{meant}/{path}?"));
        }
        Ok(QueueUrl {
            region: region_of(&host),
            fifo: name.ends_with(".fifo"),
            text: text.to_owned(),
            account: account.to_owned(),
            name: name.to_owned(),
            scheme,
            host,
            port,
        })
    }

    /// The endpoint to give to the client, `scheme://host[:port]`; `None` when it is the region's own, which the client
    /// finds by itself.
    pub fn endpoint(&self) -> Option<String> {
        let own = self.region.as_deref().is_some_and(|region| is_regions_own(&self.host, region));
        if own && self.scheme == "https" && self.port.is_none_or(|port| port == 443) {
            return None;
        }
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        Some(match self.port {
            Some(port) => format!("{}://{host}:{port}", self.scheme),
            None => format!("{}://{host}", self.scheme),
        })
    }

    /// Whether the host is this machine, so that plain http stays inside it.
    pub fn is_loopback(&self) -> bool {
        is_loopback_host(&self.host)
    }

    /// The queue's ARN, for IAM policies; `region` because the URL may not tell it.
    pub fn arn(&self, region: &str) -> String {
        let partition = match region {
            r if r.starts_with("cn-") => "aws-cn",
            r if r.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        };
        format!("arn:{partition}:sqs:{region}:{}:{}", self.account, self.name)
    }
}

/// Whether `text` may name a region: services that are not AWS's call theirs otherwise than [`is_region`] knows.
pub fn may_be_region(text: &str) -> bool {
    text.contains('-') && text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
}

/// Whether `host` (no port; brackets allowed) is this machine.
pub fn is_loopback_host(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match host.parse::<IpAddr>() {
        Ok(ip) => ip.is_loopback(),
        Err(_) => {
            let host = host.to_ascii_lowercase();
            host == "localhost" || host.ends_with(".localhost")
        }
    }
}

/// Whether the client, told `region`, would talk to the service behind `host` anyway: its present name or a legacy one.
fn is_regions_own(host: &str, region: &str) -> bool {
    let tail = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    host == format!("sqs.{region}.{tail}")
        || host == format!("{region}.queue.{tail}")
        || (region == "us-east-1" && host == "queue.amazonaws.com")
}

fn region_of(host: &str) -> Option<String> {
    if host == "queue.amazonaws.com" {
        return Some("us-east-1".into());
    }
    let stem = ["amazonaws.com.cn", "amazonaws.com", "api.amazonwebservices.com.cn", "api.aws"]
        .iter()
        .find_map(|tail| host.strip_suffix(tail)?.strip_suffix('.'))?;
    let region = stem
        .strip_prefix("sqs.")
        .or_else(|| stem.strip_prefix("sqs-fips."))
        .or_else(|| stem.strip_suffix(".queue"))
        .or_else(|| stem.strip_suffix(".vpce")?.split_once(".sqs.").map(|(_, region)| region))?;
    is_region(region).then(|| region.to_owned())
}

fn split_authority(authority: &str) -> Result<(String, Option<u16>), String> {
    if authority.contains('@') {
        return Err(format!("the queue's URL holds a user name or a key before its host; {EXPECTED}"));
    }
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((ip, "")) => (ip, None),
        Some((ip, rest)) => (ip, Some(rest.strip_prefix(':').unwrap_or("?"))),
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let is_ip = host.parse::<IpAddr>().is_ok();
    if host.is_empty() || !(is_ip || host.bytes().all(legal)) || (authority.starts_with('[') && !is_ip) {
        return Err(format!("{host:?} in the queue's URL is not a host name; {EXPECTED}"));
    }
    let port = match port {
        None => None,
        Some(text) => match text.parse::<u16>() {
            Ok(port) if port != 0 => Some(port),
            _ => return Err(format!("port {text:?} in the queue's URL is not a number from 1 to 65535")),
        },
    };
    Ok((host.to_ascii_lowercase(), port))
}

fn split_path(path: &str) -> Result<(&str, &str), String> {
    if path.contains(['?', '#']) {
        return Err(format!("the queue's URL has a '?' or '#' part; {EXPECTED}"));
    }
    let parts: Vec<&str> = path.split('/').collect();
    let (account, name) = match parts[..] {
        [account, name] if !name.is_empty() => (account, name),
        [account] | [account, _] => {
            return Err(format!("the queue's URL has no queue name after {account:?}; {EXPECTED}"));
        }
        _ => return Err(format!("the path /{path} of the queue's URL has too many parts; expected /ACCOUNT/QUEUE")),
    };
    if account.len() != 12 || !account.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("{account:?} in the queue's URL is not an AWS account id; expected twelve digits"));
    }
    check_name(name)?;
    Ok((account, name))
}

fn check_name(name: &str) -> Result<(), String> {
    let stem = name.strip_suffix(".fifo").unwrap_or(name);
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if let Some(c) = stem.chars().find(|c| !legal(*c)) {
        let hint = if name.to_ascii_lowercase().ends_with(".fifo") { " (.fifo is written in lower case)" } else { "" };
        return Err(format!(
            "queue name {name:?} contains {c:?}{hint}; expected letters, digits, '-', '_', and '.fifo' at the end of a FIFO queue"
        ));
    }
    if stem.is_empty() || name.len() > QUEUE_NAME_CHARS {
        return Err(format!(
            "queue name {name:?} has {} characters; expected 1 to {QUEUE_NAME_CHARS}, '.fifo' included",
            name.len()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
