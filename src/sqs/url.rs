//! What a queue's URL tells: endpoint, region, account, name, and whether it is a FIFO queue.

/// A queue URL, taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueUrl {
    /// The URL as configured.
    pub text: String,
    /// `http` or `https`.
    pub scheme: String,
    /// Host, without port.
    pub host: String,
    /// Port, when the URL names one.
    pub port: Option<u16>,
    /// Region, when the host is one of SQS's standard ones.
    pub region: Option<String>,
    /// Account id: twelve digits.
    pub account: String,
    /// Queue name, with `.fifo` if it has it.
    pub name: String,
    /// Whether the name ends in `.fifo`.
    pub fifo: bool,
}

impl QueueUrl {
    /// Takes a queue URL apart. The error says what is expected, to be shown after the offending text.
    pub fn parse(text: &str) -> Result<QueueUrl, String> {
        const EXPECTED: &str = "a queue URL as the SQS console shows it, such as \"https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo\"";
        let wrong = || EXPECTED.to_owned();
        let (scheme, rest) =
            text.split_once("://").filter(|(s, _)| matches!(*s, "http" | "https")).ok_or_else(wrong)?;
        let (authority, path) = rest.split_once('/').ok_or_else(wrong)?;
        let (account, name) = path.split_once('/').ok_or_else(wrong)?;
        let (host, port) = match authority.rsplit_once(':').filter(|(_, port)| !port.contains(']')) {
            Some((host, port)) => (host, Some(port.parse().map_err(|_| wrong())?)),
            None => (authority, None),
        };
        let account_ok = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
        let stem = name.strip_suffix(".fifo").unwrap_or(name);
        let name_ok = (1..=80).contains(&name.len()) && !stem.is_empty();
        let name_ok = name_ok && stem.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        if host.is_empty() || !account_ok || !name_ok {
            return Err(wrong());
        }
        let standard = host
            .strip_prefix("sqs.")
            .and_then(|rest| rest.strip_suffix(".amazonaws.com").or_else(|| rest.strip_suffix(".amazonaws.com.cn")));
        Ok(QueueUrl {
            text: text.to_owned(),
            scheme: scheme.to_owned(),
            host: host.to_owned(),
            port,
            region: standard.map(str::to_owned),
            account: account.to_owned(),
            name: name.to_owned(),
            fifo: name.ends_with(".fifo"),
        })
    }

    /// The endpoint to give to the client, `scheme://host[:port]`; `None` when it is the region's own.
    pub fn endpoint(&self) -> Option<String> {
        if self.region.is_some() && self.scheme == "https" && self.port.is_none() {
            return None;
        }
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        Some(format!("{}://{}{port}", self.scheme, self.host))
    }

    /// Whether the host is this machine, so that plain http stays inside it.
    pub fn is_loopback(&self) -> bool {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}
