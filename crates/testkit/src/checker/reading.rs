//! What a delivery says about itself: which record it is, its position, whether it may be a repeat.
//!
//! A structured CloudEvents body says it in members, a `raw` or `microshare` one in message attributes (`ce-id`,
//! `ce-sequence`, `ce-possibleduplicate` …), where `%` is written `%25`.

use crate::consumer::Delivered;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// The parts of a delivery that the judge looks at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reading {
    /// Record id, equal for repeats of one record.
    pub id: String,
    /// CloudEvents type, if it says one.
    pub kind: String,
    /// Gateway; empty when it does not say.
    pub gateway: String,
    /// Epoch and position, if it says them.
    pub sequence: Option<(u64, u64)>,
    /// It says that it may have been delivered before.
    pub possible_duplicate: bool,
    /// Ranges of positions, both ends included, that it announces as missing: only in a gap record.
    pub announced: Vec<(u64, u64)>,
    /// It came from a FIFO queue.
    pub fifo: bool,
}

/// The members of a structured body that matter; the data is skipped unless it is a gap record's.
#[derive(Deserialize)]
struct Event<'a> {
    specversion: String,
    id: String,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    partitionkey: Option<String>,
    #[serde(default)]
    sequence: Option<String>,
    #[serde(default)]
    possibleduplicate: Option<Value>,
    #[serde(default)]
    gatewayid: String,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

impl Reading {
    /// Reads a delivery, or says what is wrong with it.
    pub fn of(delivered: &Delivered) -> Result<Reading, String> {
        match serde_json::from_str::<Event<'_>>(&delivered.body) {
            Ok(event) if event.specversion == "1.0" => Reading::of_event(event, delivered),
            _ => Reading::of_attributes(delivered),
        }
    }

    /// Whether it announces missing positions instead of carrying a message.
    pub fn is_gap(&self) -> bool {
        self.kind.ends_with(".gap")
    }

    fn of_event(event: Event<'_>, delivered: &Delivered) -> Result<Reading, String> {
        if let (Some(key), Some(group)) = (&event.partitionkey, &delivered.group)
            && key != group
        {
            return Err(format!("{}: partitionkey {key} but message group {group}", event.id));
        }
        let mut reading = Reading {
            sequence: event.sequence.as_deref().map(parse_sequence).transpose()?,
            id: event.id,
            kind: event.kind,
            gateway: event.gatewayid,
            possible_duplicate: event.possibleduplicate.is_some_and(|v| v == Value::Bool(true) || v == "true"),
            announced: Vec::new(),
            fifo: delivered.sequence_number.is_some(),
        };
        if reading.is_gap() {
            let data = event.data.map_or("null", RawValue::get);
            reading.announced = ranges(&serde_json::from_str(data).unwrap_or_default())
                .ok_or_else(|| format!("{}: a gap record without readable ranges: {data}", reading.id))?;
        }
        reading.checked(delivered)
    }

    fn of_attributes(delivered: &Delivered) -> Result<Reading, String> {
        let get = |name: &str| delivered.attributes.get(name).map(|value| value.replace("%25", "%"));
        let reading = Reading {
            id: get("ce-id").or_else(|| delivered.dedup.clone()).ok_or("neither a CloudEvents body nor ce-id")?,
            kind: get("ce-type").unwrap_or_default(),
            gateway: get("ce-source").as_deref().and_then(gateway).unwrap_or_default(),
            sequence: get("ce-sequence").as_deref().map(parse_sequence).transpose()?,
            possible_duplicate: get("ce-possibleduplicate").as_deref() == Some("true"),
            announced: serde_json::from_str(&delivered.body).ok().and_then(|v| ranges(&v)).unwrap_or_default(),
            fifo: delivered.sequence_number.is_some(),
        };
        let announced = if reading.is_gap() { reading.announced.clone() } else { Vec::new() };
        Reading { announced, ..reading }.checked(delivered)
    }

    /// On a FIFO queue the deduplication id must be the record's own.
    fn checked(self, delivered: &Delivered) -> Result<Reading, String> {
        match &delivered.dedup {
            Some(dedup) if *dedup != self.id => Err(format!("{}: deduplication id {dedup}", self.id)),
            _ => Ok(self),
        }
    }
}

/// The gateway out of `//{site}/{gateway}/{profile}`.
fn gateway(source: &str) -> Option<String> {
    source.strip_prefix("//")?.split('/').nth(1).map(str::to_owned)
}

/// `{journal:016x}-{epoch:010}-{position:020}`, digits counted: within a journal the text must sort as the numbers do. Release 0.1.0
/// had it without the journal.
fn parse_sequence(text: &str) -> Result<(u64, u64), String> {
    let wrong = || format!("sequence '{text}' is not 16 hex digits, ten digits and twenty digits, with dashes between");
    let parts: Vec<&str> = text.split('-').collect();
    let (epoch, position) = match parts[..] {
        [epoch, position] => (epoch, position),
        [journal, epoch, position] if journal.len() == 16 && u64::from_str_radix(journal, 16).is_ok() => {
            (epoch, position)
        }
        _ => return Err(wrong()),
    };
    if (epoch.len(), position.len()) != (10, 20) {
        return Err(wrong());
    }
    Ok((epoch.parse().map_err(|_| wrong())?, position.parse().map_err(|_| wrong())?))
}

/// `ranges` of a gap record: a list of `[first, last]` or of objects with `first` and `last` (or `from` and `to`).
fn ranges(data: &Value) -> Option<Vec<(u64, u64)>> {
    let range = |value: &Value| {
        let either = |a: &str, b: &str| value.get(a).or_else(|| value.get(b)).and_then(Value::as_u64);
        let pair = |index: usize| value.get(index).and_then(Value::as_u64);
        Some((pair(0).or_else(|| either("first", "from"))?, pair(1).or_else(|| either("last", "to"))?))
    };
    data.get("ranges")?.as_array()?.iter().map(range).collect()
}
