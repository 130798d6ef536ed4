//! The fault plan: which send calls go wrong, how, and how often each fault was really injected.
//!
//! Faults apply to the two send calls only; the consumer always sees a healthy service. For each call the plan is walked
//! in the order in which faults were pushed and the first that fires is used; so a test says exactly what happens, or
//! gives a seed and lets chance say it. A fault that was planned and never fired proves nothing: assert on
//! [`Faults::fired`].

use crate::random::Random;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// One way in which a send call goes wrong. Indexes count entries from 0; beyond the last one the call is healthy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    // -- nothing is accepted --
    /// `RequestThrottled` (400), or another code, with a wait asked for in ms.
    Throttle {
        /// Code, e.g. `RequestThrottled` or `ThrottlingException`.
        code: &'static str,
        /// `x-amz-retry-after`.
        retry_after_ms: Option<u64>,
    },
    /// A 5xx, with an error body (`InternalFailure`) or with none.
    ServerError {
        /// HTTP status.
        status: u16,
        /// Whether there is an error body.
        body: bool,
    },
    /// Any refusal of the whole request by code, e.g. `ExpiredToken`, `AccessDenied`, `KMS.AccessDeniedException`.
    Refuse {
        /// Code of the query protocol.
        code: &'static str,
        /// HTTP status.
        status: u16,
    },
    /// A refusal by code, told in one of the ways in which the service and its kin tell it.
    RefuseAs {
        /// Code as it is to be written, prefix and suffix included.
        code: &'static str,
        /// HTTP status.
        status: u16,
        /// Where the answer has the code.
        telling: Telling,
    },
    /// No answer until the plan is cleared; then the connection is closed.
    Hang,
    /// The connection is closed after the request was read.
    DropRequest,
    /// A 200 with an empty body.
    EmptyOk,
    /// A web page with this status: the answer of something other than SQS.
    Html {
        /// HTTP status.
        status: u16,
    },
    // -- all is accepted, the answer suffers --
    /// The connection is closed instead of the answer.
    AcceptThenDrop,
    /// An empty 200 although all was accepted.
    AcceptThenEmpty,
    /// All is accepted, and no answer comes until the plan is cleared; then the connection is closed.
    AcceptThenHang,
    /// The answer ends in the middle.
    Truncated,
    /// The second half of the entries is accepted but not named in the answer.
    HalfMissing,
    /// The answer names the entries in the reverse order: honest, and to be taken so.
    Reversed,
    /// The answer names as many entries, by ids that no request had.
    Strangers,
    /// This entry is accepted and named both as accepted and as failed.
    TwoMinds(usize),
    /// Bytes of no meaning instead of the answer's JSON.
    Garbage,
    /// The answer comes one byte at a time, with this pause between two.
    Drip(Duration),
    /// The answer, followed by so many further bytes.
    Huge(u64),
    /// The answer never ends, as fast as the link takes it.
    Endless,
    /// This entry is accepted but not named in the answer.
    MissingEntry(usize),
    /// This entry is accepted and named twice.
    RepeatedEntry(usize),
    /// The MD5 of this entry's body is wrong in the answer.
    WrongMd5(usize),
    /// The answer comes after this time, in real time.
    Slow(Duration),
    // -- one entry suffers --
    /// This entry is not accepted and named in `Failed` with this code.
    FailEntry {
        /// The entry's index in the call.
        index: usize,
        /// E.g. `InternalError` or `InvalidMessageContents`.
        code: &'static str,
        /// `SenderFault` in the answer; implementations disagree about it, no client should decide on it.
        sender_fault: bool,
    },
}

/// Where an answer has a refusal's code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Telling {
    /// In the header of the query protocol and in the body, as SQS does it.
    Both,
    /// In the header of the query protocol alone; the body is empty.
    HeaderAlone,
    /// In the body alone, as `__type` behind a namespace.
    BodyAlone,
    /// In the error type's own header, behind it a place; the body is empty.
    TypeHeader,
}

impl Telling {
    /// All places, for a test of each.
    pub const ALL: [Telling; 4] = [Telling::Both, Telling::HeaderAlone, Telling::BodyAlone, Telling::TypeHeader];
}

impl Fault {
    /// A short name, the key of [`Faults::fired`].
    pub fn name(&self) -> &'static str {
        match self {
            Fault::Throttle { .. } => "throttle",
            Fault::ServerError { .. } => "server error",
            Fault::Refuse { .. } => "refuse",
            Fault::RefuseAs { .. } => "refuse as",
            Fault::Hang => "hang",
            Fault::DropRequest => "drop request",
            Fault::EmptyOk => "empty 200",
            Fault::Html { .. } => "html",
            Fault::AcceptThenDrop => "accept then drop",
            Fault::AcceptThenEmpty => "accept then empty 200",
            Fault::AcceptThenHang => "accept then hang",
            Fault::Truncated => "truncated",
            Fault::HalfMissing => "half missing",
            Fault::Reversed => "reversed",
            Fault::Strangers => "strangers",
            Fault::TwoMinds(_) => "two minds",
            Fault::Garbage => "garbage",
            Fault::Drip(_) => "drip",
            Fault::Huge(_) => "huge",
            Fault::Endless => "endless",
            Fault::MissingEntry(_) => "missing entry",
            Fault::RepeatedEntry(_) => "repeated entry",
            Fault::WrongMd5(_) => "wrong md5",
            Fault::Slow(_) => "slow",
            Fault::FailEntry { .. } => "fail entry",
        }
    }
}

/// When a fault fires.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum When {
    /// On every call, until cleared.
    Always,
    /// On the next so many calls.
    Next(u32),
    /// On each call with this probability, under the plan's seed.
    Chance(f64),
    /// On every call with a message whose body holds this text, until cleared: something on the way looks inside.
    Holds(&'static str),
}

/// The plan; shared by the stub and the test.
#[derive(Debug)]
pub struct Faults {
    plan: Mutex<Plan>,
    /// Raised when hanging calls must be let go.
    released: watch::Sender<u64>,
}

#[derive(Debug)]
struct Plan {
    armed: Vec<Armed>,
    random: Random,
    fired: BTreeMap<&'static str, u64>,
}

#[derive(Debug)]
struct Armed {
    queue: Option<String>,
    fault: Fault,
    when: When,
}

impl Faults {
    pub(crate) fn new(seed: u64) -> Faults {
        let plan = Plan { armed: Vec::new(), random: Random::seeded(seed), fired: BTreeMap::new() };
        Faults { plan: Mutex::new(plan), released: watch::Sender::new(0) }
    }

    /// Adds a fault for every queue.
    pub fn push(&self, fault: Fault, when: When) {
        self.plan().armed.push(Armed { queue: None, fault, when });
    }

    /// Adds a fault for one queue.
    pub fn push_on(&self, queue: &str, fault: Fault, when: When) {
        self.plan().armed.push(Armed { queue: Some(queue.into()), fault, when });
    }

    /// Starts the plan's chances again from `seed`.
    pub fn seed(&self, seed: u64) {
        self.plan().random = Random::seeded(seed);
    }

    /// Removes all faults and lets hanging calls go. What has fired stays counted.
    pub fn clear(&self) {
        self.plan().armed.clear();
        self.released.send_modify(|n| *n += 1);
    }

    /// How often each fault was injected, by [`Fault::name`].
    pub fn fired(&self) -> BTreeMap<&'static str, u64> {
        self.plan().fired.clone()
    }

    /// How often the fault called `name` was injected.
    pub fn fired_of(&self, name: &str) -> u64 {
        self.plan().fired.get(name).copied().unwrap_or(0)
    }

    /// The fault of a send call to `queue` with `entries` entries, if one fires; counts it. `holds`: whether one of them holds a text.
    pub(crate) fn draw(&self, queue: &str, entries: usize, holds: impl Fn(&str) -> bool) -> Option<Fault> {
        let plan = &mut *self.plan();
        let Plan { armed, random, fired } = plan;
        let mine = |armed: &Armed| armed.queue.as_deref().is_none_or(|name| name == queue);
        let fires = |armed: &Armed, random: &mut Random| match armed.when {
            When::Always | When::Next(_) => true,
            When::Chance(p) => random.chance(p),
            When::Holds(text) => holds(text),
        };
        let index = armed.iter().position(|a| mine(a) && reaches(&a.fault, entries) && fires(a, random))?;
        let fault = armed[index].fault.clone();
        if let When::Next(left) = &mut armed[index].when {
            *left -= 1;
            if *left == 0 {
                armed.remove(index);
            }
        }
        *fired.entry(fault.name()).or_default() += 1;
        Some(fault)
    }

    /// How often the plan was cleared: to be read before a fault is drawn.
    pub(crate) fn generation(&self) -> u64 {
        *self.released.borrow()
    }

    /// Waits until the plan is cleared for the next time after `generation`.
    pub(crate) async fn until_released(&self, generation: u64) {
        // The sender lives as long as the plan; an error would mean that there is nothing left to wait for.
        let _ = self.released.subscribe().wait_for(|now| *now > generation).await;
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn reaches(fault: &Fault, entries: usize) -> bool {
    match fault {
        Fault::MissingEntry(index) | Fault::RepeatedEntry(index) | Fault::WrongMd5(index) => *index < entries,
        Fault::TwoMinds(index) => *index < entries,
        // With a single entry there is no half to leave out and no order to turn.
        Fault::HalfMissing | Fault::Reversed => entries > 1,
        Fault::FailEntry { index, .. } => *index < entries,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_fire_in_order_and_as_often_as_said() {
        let faults = Faults::new(1);
        faults.push(Fault::EmptyOk, When::Next(2));
        faults.push_on("b", Fault::Hang, When::Next(1));
        faults.push(Fault::MissingEntry(3), When::Always);
        let draw = |queue, entries| faults.draw(queue, entries, |_| false);
        let drawn: Vec<_> = (0..4).map(|_| draw("a", 4).map(|f| f.name())).collect();
        assert_eq!(drawn, [Some("empty 200"), Some("empty 200"), Some("missing entry"), Some("missing entry")]);
        assert_eq!(draw("a", 3), None, "no fourth entry to leave out");
        assert_eq!(draw("b", 1), Some(Fault::Hang));
        faults.clear();
        assert_eq!(draw("a", 4), None);
        assert_eq!(faults.fired_of("empty 200"), 2);
        faults.push(Fault::DropRequest, When::Holds("poison"));
        assert_eq!(draw("a", 4), None);
        assert_eq!(faults.draw("a", 4, |text| "a poisoned body".contains(text)), Some(Fault::DropRequest));
    }

    #[test]
    fn chances_repeat_under_the_same_seed() {
        let run = |seed| -> Vec<bool> {
            let faults = Faults::new(seed);
            faults.push(Fault::EmptyOk, When::Chance(0.5));
            (0..64).map(|_| faults.draw("a", 1, |_| false).is_some()).collect()
        };
        assert_eq!(run(5), run(5));
        assert_ne!(run(5), run(6));
    }
}
