//! The forms that values are written in: sizes, durations, host and port, names. Pure; each refusal says what was
//! expected and, where it can be guessed, what was meant.

use std::time::Duration;

/// Why a text is not the value that it should be.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Wrong {
    /// What was found there, in words; empty: the text itself is quoted.
    pub(super) found: String,
    /// What was expected, with its unit.
    pub(super) expected: String,
    /// What was probably meant.
    pub(super) suggestion: String,
}

impl Wrong {
    pub(super) fn expected(expected: impl Into<String>) -> Wrong {
        Wrong { expected: expected.into(), ..Wrong::default() }
    }

    /// A statement that says all.
    pub(super) fn because(found: impl Into<String>) -> Wrong {
        Wrong { found: found.into(), ..Wrong::default() }
    }

    pub(super) fn suggest(self, suggestion: impl Into<String>) -> Wrong {
        Wrong { suggestion: suggestion.into(), ..self }
    }

    pub(super) fn did_you_mean(self, value: impl std::fmt::Display) -> Wrong {
        self.suggest(format!("did you mean \"{value}\"?"))
    }
}

const SIZE_UNITS: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

const DURATION_UNITS_MS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Number and unit of `"512 MiB"`, with or without a space.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    Some((text[..digits].parse().ok()?, text[digits..].trim()))
}

/// Bytes of `"512 MiB"`, `"64 KiB"`, `"1 GiB"`, `"700 B"` or a plain number.
pub(super) fn size(text: &str) -> Result<u64, Wrong> {
    let wrong = || Wrong::expected("a size such as \"512 MiB\" or \"64 KiB\", or a number of bytes");
    let (number, unit) = number_and_unit(text).ok_or_else(wrong)?;
    if let Some((_, bytes)) = SIZE_UNITS.iter().find(|(name, _)| *name == unit || (unit.is_empty() && *name == "B")) {
        return number.checked_mul(*bytes).ok_or_else(wrong);
    }
    let meant = SIZE_UNITS.iter().find(|(name, _)| unit.to_lowercase().starts_with(&name.to_lowercase()[..1]));
    Err(meant.map_or_else(wrong, |(name, _)| wrong().did_you_mean(format!("{number} {name}"))))
}

/// A size as a person would write it: in the largest unit that divides it.
pub(crate) fn size_text(bytes: u64) -> String {
    let unit = SIZE_UNITS.iter().rev().find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{bytes} B"), |(name, unit)| format!("{} {name}", bytes / unit))
}

/// Time of `"30 s"`, `"500 ms"`, `"5 min"`, `"1 h"` or `"30 d"`; `0` needs no unit.
pub(super) fn duration(text: &str) -> Result<Duration, Wrong> {
    let wrong = || Wrong::expected("a time with its unit, such as \"30 s\", \"500 ms\" or \"5 min\"");
    let (number, unit) = number_and_unit(text).ok_or_else(wrong)?;
    if let Some((_, ms)) = DURATION_UNITS_MS.iter().find(|(name, _)| *name == unit) {
        return number.checked_mul(*ms).map(Duration::from_millis).ok_or_else(wrong);
    }
    let lower = unit.to_lowercase();
    match (number, &*lower) {
        (0, "") => Ok(Duration::ZERO),
        (_, "" | "sec" | "secs" | "second" | "seconds") => Err(wrong().did_you_mean(format!("{number} s"))),
        (_, "m" | "mins" | "minute" | "minutes") => Err(wrong().did_you_mean(format!("{number} min"))),
        (_, "msec" | "millis") => Err(wrong().did_you_mean(format!("{number} ms"))),
        (_, "hour" | "hours") => Err(wrong().did_you_mean(format!("{number} h"))),
        (_, "day" | "days") => Err(wrong().did_you_mean(format!("{number} d"))),
        _ => Err(wrong()),
    }
}

/// A time as a person would write it: in the largest unit that divides it.
pub(super) fn duration_text(time: Duration) -> String {
    let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let unit = DURATION_UNITS_MS.iter().rev().find(|(_, unit)| ms > 0 && ms.is_multiple_of(*unit));
    unit.map_or_else(|| "0 s".to_owned(), |(name, unit)| format!("{} {name}", ms / unit))
}

/// The same mistake, with the reason where what is behind the last colon is a number and no port.
pub(super) fn with_port_reason(wrong: Wrong, text: &str) -> Wrong {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.rsplit_once(':') {
        Some((_, port)) if number(port) && !port.parse::<u16>().is_ok_and(|port| port != 0) => {
            wrong.suggest("a port is a number from 1 to 65535")
        }
        _ => wrong,
    }
}

/// Splits `host`, `host:port` or `[v6]:port`.
pub(super) fn host_and_port(text: &str, default_port: u16) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (host, rest) = bracketed.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map_or(Some(default_port), |port| port.parse().ok().filter(|port| *port != 0))?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':');
    (!host.is_empty() && host.bytes().all(plain)).then(|| (host.to_owned(), port))
}

/// Scheme and host of an SQS endpoint: `http(s)://host[:port]`, nothing behind.
pub(super) fn endpoint(text: &str) -> Result<(bool, String), Wrong> {
    let wrong = || Wrong::expected("\"https://host\" or \"http://host:port\", without a path");
    let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
    let (tls, port) = match scheme {
        "https" => (true, 443),
        "http" => (false, 80),
        _ => return Err(wrong()),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, _) = host_and_port(rest, port).ok_or_else(|| with_port_reason(wrong(), rest))?;
    Ok((tls, host))
}

/// Whether a host is this machine, so that what is sent in plain text stays inside it.
pub(super) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Most characters of a label.
const LABEL_CHARS_MAX: usize = 64;

/// A label that travels in topics, attributes and file names: letters, digits, `.`, `_` and `-`.
pub(super) fn label(text: &str) -> Result<String, Wrong> {
    let plain = label_of(text);
    if plain == text && !text.is_empty() {
        return Ok(plain);
    }
    let wrong = Wrong::expected(format!("1 to {LABEL_CHARS_MAX} letters, digits, \".\", \"_\" or \"-\""));
    Err(if plain.is_empty() { wrong } else { wrong.did_you_mean(plain.to_lowercase()) })
}

/// The nearest label to any text; empty when nothing of it can stay.
pub(super) fn label_of(text: &str) -> String {
    let plain: String = text
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' })
        .take(LABEL_CHARS_MAX)
        .collect();
    if plain == text { plain } else { plain.trim_matches('-').to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BrokerAddress;
    use crate::config::broker::broker_url;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_size_reads_as_it_is_written(bytes in prop_oneof![any::<u64>(), (0_u64..4096).prop_map(|n| n << 20)]) {
            prop_assert_eq!(size(&size_text(bytes)), Ok(bytes));
            prop_assert_eq!(size(&bytes.to_string()), Ok(bytes));
        }

        #[test]
        fn a_time_reads_as_it_is_written(ms in 0_u64..10_000_000_000) {
            let time = Duration::from_millis(ms);
            prop_assert_eq!(duration(&duration_text(time)), Ok(time));
        }

        #[test]
        fn any_text_is_judged(text in "\\PC{0,20}", url in "(mqtt|unix|http)://[\\[\\]a:@/0-9]{0,12}") {
            let _ = (size(&text), duration(&text), broker_url(&text), endpoint(&text));
            let _ = (broker_url(&url), endpoint(&url));
            let label = label_of(&text);
            prop_assert!(label.is_empty() || super::label(&label).is_ok());
        }
    }

    #[test]
    fn sizes_and_times_without_clear_unit_get_a_suggestion() {
        for (text, guess) in [("512 MB", "512 MiB"), ("512M", "512 MiB"), ("64kb", "64 KiB"), ("1 gib", "1 GiB")] {
            assert_eq!(size(text).expect_err(text).suggestion, format!("did you mean \"{guess}\"?"));
        }
        for (text, guess) in
            [("30", "30 s"), ("30sec", "30 s"), ("5m", "5 min"), ("2 hours", "2 h"), ("30 days", "30 d")]
        {
            assert_eq!(duration(text).expect_err(text).suggestion, format!("did you mean \"{guess}\"?"));
        }
        for text in ["", "x", "-1 s", "1.5 s", "99999999999999999999 s", "18446744073709551615 h"] {
            assert!(duration(text).is_err() && size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_number_that_is_no_port_is_told_so() {
        let told = |wrong: Option<Wrong>| wrong.expect("refused").suggestion.contains("from 1 to 65535");
        for port in ["0", "99999", "65536", "18446744073709551616"] {
            assert!(told(broker_url(&format!("mqtt://broker.lan:{port}")).err()), "{port}");
            assert!(told(broker_url(&format!("mqtts://[::1]:{port}/")).err()), "{port}");
            assert!(told(endpoint(&format!("https://sqs.lan:{port}")).err()), "{port}");
        }
        for other in ["mqtt://broker.lan:", "mqtt://broker.lan:x", "mqtt://broker lan:1883"] {
            assert!(!told(broker_url(other).err()), "{other}");
        }
    }

    #[test]
    fn broker_addresses_are_read() {
        let host = |host: &str, port| (host.to_owned(), port);
        let tcp = |(host, port)| Ok(BrokerAddress::Tcp { host, port });
        assert_eq!(broker_url("mqtt://127.0.0.1"), tcp(host("127.0.0.1", 1883)));
        assert_eq!(broker_url("mqtt://broker.lan:1884/"), tcp(host("broker.lan", 1884)));
        assert_eq!(broker_url("mqtt://[::1]:1884"), tcp(host("::1", 1884)));
        assert_eq!(broker_url("mqtts://h"), Ok(BrokerAddress::Tls { host: "h".to_owned(), port: 8883 }));
        assert_eq!(broker_url("unix:///run/mqtt.sock"), Ok(BrokerAddress::Unix("/run/mqtt.sock".into())));
        for text in
            ["", "mqtt://", "mqtt://h:0", "mqtt://h:99999", "mqtt://h/topic", "unix://x", "http://h", "mqtt://::1"]
        {
            assert!(broker_url(text).is_err(), "{text}");
        }
    }
}
