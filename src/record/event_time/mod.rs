//! When it happened, as the payload says: parsed exactly, checked, and written in UTC with the fraction as published.
//!
//! Promises: no float ever holds an instant, so no digit is lost or invented; whether a time counts for a *key* depends
//! on the message alone ([`EventTime::parse`] has fixed bounds), so that a redelivery gets the same key; whether it is
//! *shown* depends on the moment of receipt as well ([`EventTime::believable`]). Order never comes from it.
//!
//! A receipt judges only where it is known to be right: when the message comes, if the clock is confirmed then, and else when the
//! record is sent, by the corrected receipt ([`crate::record::Receipt`]). The time of sending judges nothing: a reading that
//! waited for weeks is as old as it says, and a clock that lagged behind does not make it one from the future.

use std::fmt;
use time::{Date, Month, OffsetDateTime};

/// 2015-01-01T00:00:00Z, seconds since 1970: no network server of ours is older, every unset clock is.
const EARLIEST_S: i64 = 1_420_070_400;
/// 2100-01-01T00:00:00Z, seconds since 1970: below what an overflowing 32-bit counter of seconds gives (2106).
const LATEST_S: i64 = 4_102_444_800;
/// How far ahead of the receipt an event may be: a day, for devices whose clocks were set to the wrong time zone.
const AHEAD_MS: i64 = 24 * 60 * 60 * 1000;
/// Most digits of a fraction: nanoseconds need nine, yoctoseconds 24.
const FRACTION_DIGITS_MAX: usize = 24;

/// An instant from 2015 to 2099, with the fraction of a second in the digits that were published.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventTime {
    seconds: i64,
    fraction: String,
}

impl EventTime {
    /// Reads RFC 3339 with an offset, or seconds, milliseconds, microseconds or nanoseconds since 1970 (told apart by
    /// magnitude; fractions and exponents too, as a number or as a string of digits). `None` for anything else, for a
    /// local time without an offset, and for what lies outside 2015 to 2099.
    pub fn parse(text: &str) -> Option<EventTime> {
        let text = text.trim();
        let at = if text.contains([':']) { parse_rfc3339(text) } else { parse_epoch(text) }?;
        (EARLIEST_S..LATEST_S).contains(&at.seconds).then_some(at)
    }

    /// From seconds and nanoseconds since 1970; none, three, six or nine digits of fraction, as few as tell all.
    /// Bounds as [`EventTime::parse`].
    pub fn from_nanos(seconds: i64, nanos: u32) -> Option<EventTime> {
        let fraction = match nanos {
            1_000_000_000.. => return None,
            0 => String::new(),
            n if n % 1_000_000 == 0 => format!("{:03}", n / 1_000_000),
            n if n % 1_000 == 0 => format!("{:06}", n / 1_000),
            n => format!("{n:09}"),
        };
        (EARLIEST_S..LATEST_S).contains(&seconds).then_some(EventTime { seconds, fraction })
    }

    /// Whole seconds since 1970.
    pub fn seconds(&self) -> i64 {
        self.seconds
    }

    /// Whether it tells apart what happened within one second. A fraction of zeros does not: a clock of whole seconds may
    /// be written so.
    pub fn is_fine(&self) -> bool {
        self.fraction.bytes().any(|digit| digit != b'0')
    }

    /// Whether it can be shown as the event's time: not more than a day after the receipt, in ms since 1970, where that is
    /// known to be right.
    pub fn believable(&self, sure_receipt_ms: Option<i64>) -> bool {
        sure_receipt_ms.is_none_or(|ms| self.seconds.saturating_mul(1000) <= ms.saturating_add(AHEAD_MS))
    }
}

impl fmt::Display for EventTime {
    /// RFC 3339 in UTC, `Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = OffsetDateTime::from_unix_timestamp(self.seconds).map_err(|_| fmt::Error)?;
        let (year, month, day) = at.to_calendar_date();
        let (hour, minute, second) = at.to_hms();
        write!(f, "{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}", u8::from(month))?;
        if self.fraction.is_empty() { f.write_str("Z") } else { write!(f, ".{}Z", self.fraction) }
    }
}

/// Takes what it expects from the front of a text.
struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    /// Exactly `count` digits, as a number.
    fn digits(&mut self, count: usize) -> Option<i64> {
        let digits = self.0.get(..count).filter(|d| d.bytes().all(|b| b.is_ascii_digit()))?;
        self.0 = &self.0[count..];
        digits.parse().ok()
    }

    /// One byte of `set`.
    fn one_of(&mut self, set: &[u8]) -> Option<u8> {
        let byte = *self.0.as_bytes().first().filter(|byte| set.contains(byte))?;
        self.0 = &self.0[1..];
        Some(byte)
    }

    /// As many digits as there are.
    fn run(&mut self) -> &'a str {
        let len = self.0.bytes().take_while(u8::is_ascii_digit).count();
        let (run, rest) = self.0.split_at(len);
        self.0 = rest;
        run
    }
}

fn parse_rfc3339(text: &str) -> Option<EventTime> {
    let mut c = Cursor(text);
    let year = c.digits(4)?;
    c.one_of(b"-")?;
    let month = Month::try_from(u8::try_from(c.digits(2)?).ok()?).ok()?;
    c.one_of(b"-")?;
    let date = Date::from_calendar_date(i32::try_from(year).ok()?, month, u8::try_from(c.digits(2)?).ok()?).ok()?;
    c.one_of(b"Tt ")?;
    let hour = c.digits(2).filter(|h| *h < 24)?;
    c.one_of(b":")?;
    let minute = c.digits(2).filter(|m| *m < 60)?;
    c.one_of(b":")?;
    // Second 60 is a leap second; counted on, it is the first of the next minute, as in Unix time.
    let second = c.digits(2).filter(|s| *s <= 60)?;
    let fraction = match c.one_of(b".,") {
        Some(_) => c.run(),
        None => "",
    };
    let offset_s = match c.one_of(b"Zz+-")? {
        b'Z' | b'z' => 0,
        sign => {
            let hours = c.digits(2).filter(|h| *h < 24)?;
            c.one_of(b":");
            let minutes = c.digits(2).filter(|m| *m < 60)?;
            (hours * 60 + minutes) * if sign == b'-' { -60 } else { 60 }
        }
    };
    if !c.0.is_empty() || fraction.len() > FRACTION_DIGITS_MAX {
        return None;
    }
    let midnight = date.midnight().assume_utc().unix_timestamp();
    let seconds = midnight + hour * 3600 + minute * 60 + second - offset_s;
    Some(EventTime { seconds, fraction: fraction.to_owned() })
}

/// Digits, maybe a fraction, maybe an exponent: shifted as text, never as a float.
fn parse_epoch(text: &str) -> Option<EventTime> {
    let mut c = Cursor(text);
    let whole = c.run();
    let fraction = match c.one_of(b".") {
        Some(_) => Some(c.run()).filter(|digits| !digits.is_empty())?,
        None => "",
    };
    let exponent: i32 = match c.one_of(b"eE") {
        Some(_) => c.0.strip_prefix('+').unwrap_or(c.0).parse().ok()?,
        None if c.0.is_empty() => 0,
        None => return None,
    };
    if whole.is_empty() || whole.len() + fraction.len() > 2 * FRACTION_DIGITS_MAX || !(-20..=20).contains(&exponent) {
        return None;
    }
    let (whole, fraction) = shift(whole, fraction, exponent);
    let whole = whole.trim_start_matches('0');
    // Seconds < 1e11 <= milliseconds < 1e14 <= microseconds < 1e17 <= nanoseconds, by the digits before the point.
    let places = match whole.len() {
        0..=11 => 0,
        12..=14 => 3,
        15..=17 => 6,
        18..=20 => 9,
        _ => return None,
    };
    let (seconds, fraction) = shift(whole, &fraction, -places);
    if fraction.len() > FRACTION_DIGITS_MAX {
        return None;
    }
    Some(EventTime { seconds: seconds.parse().ok()?, fraction })
}

/// Moves the decimal point to the right by `places`.
fn shift(whole: &str, fraction: &str, places: i32) -> (String, String) {
    let count = places.unsigned_abs() as usize;
    if places >= 0 {
        let padded = format!("{fraction:0<count$}");
        let (moved, rest) = padded.split_at(count);
        (format!("{whole}{moved}"), rest.to_owned())
    } else {
        let padded = format!("{whole:0>width$}", width = count + 1);
        let (rest, moved) = padded.split_at(padded.len() - count);
        (rest.to_owned(), format!("{moved}{fraction}"))
    }
}

#[cfg(test)]
mod tests;
