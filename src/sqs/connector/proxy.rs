//! The proxy settings of the environment, checked before they are used.
//!
//! The library that matches destinations to proxies silently takes a setting that it cannot read for "no proxy". On a
//! network that wants one, that shows as a link which never comes up; on a network that must not be bypassed, as a
//! bypass. So a bad setting is an error here, before anything is sent.
//!
//! Loopback and link-local hosts never go through a proxy, whatever is set: what may travel in plain text inside this
//! machine must not leave it, and a machine's own metadata service cannot be reached from anywhere else.

use crate::config::queue_url::is_loopback_host;
use http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use std::net::IpAddr;

/// A proxy setting that cannot be used. Never repeats the setting, which may hold a password.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the proxy setting {variable} {problem}; expected http://[USER:PASSWORD@]HOST:PORT")]
pub struct ProxyError {
    /// The environment variable.
    pub variable: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// Which proxy leads to which destination.
#[derive(Debug, Default)]
pub struct ProxySettings {
    matcher: Option<Matcher>,
    over_tls: bool,
}

impl ProxySettings {
    /// Reads `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, each in capitals or small letters.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub fn from_env() -> Result<ProxySettings, ProxyError> {
        ProxySettings::read(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    /// As [`ProxySettings::from_env`], with the environment given.
    ///
    /// # Errors
    /// When a setting cannot be used.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<ProxySettings, ProxyError> {
        let first = |names: [&'static str; 2]| {
            let set =
                names.into_iter().find_map(|name| Some((name, variable(name).filter(|value| !value.is_empty())?)));
            if let Some((variable, value)) = &set {
                check(value).map_err(|problem| ProxyError { variable, problem })?;
            }
            Ok::<_, ProxyError>(set.map(|(_, value)| value).unwrap_or_default())
        };
        let https = first(["HTTPS_PROXY", "https_proxy"])?;
        let http = first(["HTTP_PROXY", "http_proxy"])?;
        let all = first(["ALL_PROXY", "all_proxy"])?;
        if https.is_empty() && http.is_empty() && all.is_empty() {
            return Ok(ProxySettings::default());
        }
        let over_tls = [&https, &http, &all].iter().any(|value| value.to_ascii_lowercase().starts_with("https://"));
        let no = ["NO_PROXY", "no_proxy"].into_iter().find_map(&variable).unwrap_or_default();
        let matcher = Matcher::builder().https(https).http(http).all(all).no(no).build();
        Ok(ProxySettings { matcher: Some(matcher), over_tls })
    }

    /// Whether any proxy is reached over TLS.
    pub fn over_tls(&self) -> bool {
        self.over_tls
    }

    /// The proxy for `destination`; `None` for the direct way.
    pub(super) fn on_the_way_to(&self, destination: &Uri) -> Option<Intercept> {
        let host = destination.host()?;
        if is_loopback_host(host) || is_link_local(host) {
            return None;
        }
        self.matcher.as_ref()?.intercept(destination)
    }
}

fn is_link_local(host: &str) -> bool {
    match host.trim_matches(['[', ']']).parse() {
        Ok(IpAddr::V4(ip)) => ip.is_link_local(),
        // fd00:ec2::254 is the metadata service's address in IPv6.
        Ok(IpAddr::V6(ip)) => ip.is_unicast_link_local() || ip.segments()[..2] == [0xfd00, 0xec2],
        Err(_) => false,
    }
}

/// Whether `value` is a proxy's address that the matcher will understand as it was meant.
fn check(value: &str) -> Result<(), &'static str> {
    if value.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("contains a blank");
    }
    let rest = match value.split_once("://") {
        None => value,
        Some((scheme, rest)) if matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https") => rest,
        Some((scheme, _)) if scheme.to_ascii_lowercase().starts_with("socks") => {
            return Err("names a SOCKS proxy, which is not supported");
        }
        Some(_) => return Err("does not start with http:// or https://"),
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#']) {
        return Err("has a path, or a '/', '?' or '#' in its password that must be written as %2F, %3F, %23");
    }
    let host_port = match authority.matches('@').count() {
        0 => authority,
        1 => authority.split_once('@').map_or(authority, |(_, host_port)| host_port),
        _ => return Err("has more than one '@'; one in the password must be written as %40"),
    };
    let (host, port) = match host_port.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((ip, rest)) if ip.parse::<std::net::Ipv6Addr>().is_ok() => (ip, port_after(rest)),
        _ => match host_port.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (host_port, None),
        },
    };
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':');
    if host.is_empty() || !host.bytes().all(legal) {
        return Err("has no valid host name");
    }
    match port.map(str::parse::<u16>) {
        None => {}
        Some(Ok(port)) if port != 0 => {}
        Some(_) => return Err("has a port that is not a number from 1 to 65535"),
    }
    match value.parse::<Uri>() {
        Ok(uri) if uri.authority().is_some() => Ok(()),
        _ => Err("is not a valid address; special characters of a password must be percent-encoded"),
    }
}

/// What follows the brackets of an IPv6 address: nothing, or a colon and a port.
fn port_after(rest: &str) -> Option<&str> {
    Some(rest).filter(|rest| !rest.is_empty()).map(|rest| rest.strip_prefix(':').unwrap_or("none"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn settings(pairs: &[(&str, &str)]) -> Result<ProxySettings, ProxyError> {
        ProxySettings::read(|name| pairs.iter().find(|(of, _)| *of == name).map(|(_, value)| value.to_string()))
    }

    fn way(pairs: &[(&str, &str)], destination: &'static str) -> Option<String> {
        let proxy = settings(pairs).unwrap().on_the_way_to(&Uri::from_static(destination));
        proxy.map(|proxy| proxy.uri().to_string())
    }

    const SQS: &str = "https://sqs.eu-west-1.amazonaws.com/";

    #[test]
    fn a_setting_silently_meaning_direct_is_an_error_hiding_passwords() {
        for (value, part) in [
            ("ftp://proxy:3128", "http:// or https://"),
            ("socks5://proxy:1080", "SOCKS"),
            ("http://", "host name"),
            ("ht!tp://proxy:3128", "http:// or https://"),
            ("http://user:s3cr@t@proxy:3128", "%40"),
            ("http://user:s3c/ret@proxy:3128", "%2F"),
            ("http://user:s3 cret@proxy:3128", "blank"),
            ("http://user:s3c\"ret@proxy:3128", "percent-encoded"),
            ("http://proxy:99999", "port"),
            ("http://proxy:0", "port"),
            ("http://proxy:", "port"),
            ("http://[::1]3128", "port"),
            ("http://pro xy", "blank"),
            ("http://proxy/path", "path"),
        ] {
            for variable in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"] {
                let error = settings(&[(variable, value)]).expect_err(value).to_string();
                assert!(error.contains(part) && error.contains(variable), "{value}: {error}");
                assert!(!error.contains("s3c"), "{error}");
            }
        }
    }

    #[test]
    fn the_schemes_proxy_is_taken_and_no_proxy_is_obeyed() {
        assert_eq!(way(&[], SQS), None);
        assert_eq!(way(&[("HTTPS_PROXY", "proxy:3128")], SQS).as_deref(), Some("http://proxy:3128/"));
        assert_eq!(way(&[("https_proxy", "https://proxy")], SQS).as_deref(), Some("https://proxy/"));
        assert_eq!(
            way(&[("HTTPS_PROXY", ""), ("https_proxy", "http://[fd00::1]:8080/")], SQS).as_deref(),
            Some("http://[fd00::1]:8080/")
        );
        assert_eq!(way(&[("HTTP_PROXY", "http://proxy:3128")], SQS), None);
        assert_eq!(way(&[("ALL_PROXY", "http://a"), ("HTTPS_PROXY", "http://b")], SQS).as_deref(), Some("http://b/"));
        for no in ["*", "amazonaws.com", ".amazonaws.com", "x, sqs.eu-west-1.amazonaws.com"] {
            assert_eq!(way(&[("ALL_PROXY", "http://a"), ("NO_PROXY", no)], SQS), None, "{no}");
        }
        assert_eq!(way(&[("ALL_PROXY", "http://a"), ("no_proxy", "10.0.0.0/8")], "https://10.1.2.3/"), None);
    }

    #[test]
    fn this_machine_and_its_metadata_service_bypass_every_proxy() {
        let all = &[("ALL_PROXY", "http://proxy:3128")];
        for here in [
            "http://127.0.0.1:5000/",
            "http://localhost/",
            "http://[::1]:5000/",
            "http://169.254.169.254/x",
            "http://[fd00:ec2::254]/",
            "https://127.0.0.1/",
        ] {
            assert_eq!(way(all, here), None, "{here}");
        }
        assert!(way(all, "http://10.0.0.1/").is_some());
    }

    #[test]
    fn a_password_is_percent_decoded_for_the_proxy() {
        let set = settings(&[("ALL_PROXY", "http://user:p%40ss@proxy:3128")]).unwrap();
        let proxy = set.on_the_way_to(&Uri::from_static(SQS)).unwrap();
        assert_eq!(proxy.uri().host(), Some("proxy"));
        assert_eq!(proxy.basic_auth().unwrap(), "Basic dXNlcjpwQHNz");
        assert!(!format!("{set:?}").contains("p%40ss") && !format!("{set:?}").contains("dXNlcjpwQHNz"));
    }

    proptest! {
        #[test]
        fn a_setting_that_is_taken_is_used(value in "(https?://)?([a-z:@%!4]{0,8}@)?[a-z.:\\[\\]0-9]{0,12}(:[0-9]{1,6})?/?|.{1,20}") {
            // An empty variable is one that is not set.
            prop_assume!(!value.is_empty());
            if let Ok(set) = settings(&[("ALL_PROXY", &value)]) {
                prop_assert!(set.on_the_way_to(&Uri::from_static(SQS)).is_some(), "silently direct: {value}");
            }
        }
    }
}
