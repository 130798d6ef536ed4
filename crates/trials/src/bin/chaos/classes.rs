//! Every class of fault, and how one of it is drawn. Pure.

use std::time::Duration;
use testkit::fake_sqs::Fault;
use testkit::random::Random;

/// One thing that goes wrong, with all that chance decides about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Act {
    /// SIGKILL; it stays away for a while.
    KillAgent { away: Duration },
    /// The disk is filled; while commits fail the agent is killed; then there is space again.
    KillAgentOnFullDisk,
    /// SIGSTOP for a while.
    FreezeAgent { still: Duration },
    /// Killed, and back under another boot id, so much later.
    Reboot { later: Duration },
    /// Answers to accepted batches are lost, the agent is killed over it and comes back so much later.
    KillInDoubt { later: Duration, reboot: bool },
    /// The machine sleeps: the time since boot continues, for the queue as well.
    Suspend { asleep: Duration },
    /// The wall clock is set to something else.
    SetWallClock { ahead_ms: i64 },
    /// SIGKILL of a broker that has saved its sessions.
    KillBroker { away: Duration },
    /// The broker stops in good order and starts again.
    RestartBroker { away: Duration },
    /// A slow commit, a broker that forgets everything, new messages under old packet ids, late acks, a killed agent.
    DoubleFault,
    /// Connections to the broker are cut.
    CutBroker,
    /// Connections to the broker hang.
    FreezeBroker { still: Duration },
    /// Connections to the queue are cut.
    CutUplink,
    /// Connections to the queue hang.
    FreezeUplink { still: Duration },
    /// The queue cannot be reached.
    RefuseUplink { away: Duration },
    /// The uplink carries so little for a while.
    SlowLink { bit_s: u32, rtt_ms: u32, slow: Duration },
    /// The uplink loses so many packets of a hundred for a while.
    LossyLink { loss_percent: u32, lossy: Duration },
    /// No packet passes for a while, without a sign of it.
    SilentLink { silent: Duration },
    /// No packet passes for a while, or none of that; then the gateway has another address.
    MovedLink { away: Duration },
    /// Answers of the queue are lost on the way.
    LoseAnswers { count: u64 },
    /// The endpoint does this to the next few calls.
    Endpoint { fault: Fault, calls: u32 },
    /// The endpoint refuses every call with this code until a person has mended it.
    Park { code: &'static str, status: u16, broken: Duration },
    /// Something on the way refuses so what holds this text, for a while.
    Filter { text: &'static str, fault: Fault, shut: Duration },
    /// The disk is full for a while.
    FillDisk { full: Duration },
    /// Every sync takes so much longer for a while.
    SlowDisk { sync_ms: u64, slow: Duration },
    /// SIGHUP, so many times, each with other filters for the same topics; then perhaps a SIGKILL.
    ReloadFilters { times: u32, pause: Duration, killed: bool },
}

/// What a class needs of the machine that not every one has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Needs {
    Nothing,
    /// A small disk that can be mounted and filled.
    Disk,
    /// A link of its own between two network namespaces.
    Link,
}

/// What this machine has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Means {
    pub(crate) disk: bool,
    pub(crate) link: bool,
}

/// A kind of fault: its name in the verdict, and how one of it is drawn.
pub(crate) struct Class {
    pub(crate) name: &'static str,
    pub(crate) needs: Needs,
    pub(crate) draw: fn(&mut Random) -> Act,
}

impl Class {
    /// Whether it can be done with these means.
    pub(crate) fn is_within(&self, means: Means) -> bool {
        match self.needs {
            Needs::Nothing => true,
            Needs::Disk => means.disk,
            Needs::Link => means.link,
        }
    }
}

const fn class(name: &'static str, draw: fn(&mut Random) -> Act) -> Class {
    Class { name, needs: Needs::Nothing, draw }
}

const fn of_disk(name: &'static str, draw: fn(&mut Random) -> Act) -> Class {
    Class { name, needs: Needs::Disk, draw }
}

const fn of_link(name: &'static str, draw: fn(&mut Random) -> Act) -> Class {
    Class { name, needs: Needs::Link, draw }
}

/// A time of so many milliseconds, by chance.
pub(crate) fn between(random: &mut Random, least_ms: u64, most_ms: u64) -> Duration {
    Duration::from_millis(least_ms + random.below(most_ms - least_ms + 1))
}

fn some(random: &mut Random, fault: Fault) -> Act {
    Act::Endpoint { fault, calls: 1 + random.below(4) as u32 }
}

fn index(random: &mut Random) -> usize {
    // Early entries: a batch need not have ten.
    random.below(4) as usize
}

fn park(random: &mut Random, code: &'static str, status: u16) -> Act {
    Act::Park { code, status, broken: between(random, 200, 1200) }
}

/// Two digits: some message in four has them in an id.
fn filter(random: &mut Random, fault: Fault) -> Act {
    let text = ["7e", "a3", "0c", "d9"][random.below(4) as usize];
    Act::Filter { text, fault, shut: between(random, 300, 3000) }
}

const MINUTES: u64 = 60;
const YEAR_MS: i64 = 365 * 24 * 3600 * 1000;

/// Every class.
#[rustfmt::skip]
pub(crate) const CLASSES: &[Class] = &[
    class("agent killed", |r| Act::KillAgent { away: between(r, 0, 700) }),
    class("agent killed while it starts", |r| Act::KillAgent { away: between(r, 0, 20) }),
    of_disk("agent killed on a full disk", |_| Act::KillAgentOnFullDisk),
    class("agent frozen", |r| Act::FreezeAgent { still: between(r, 100, 1500) }),
    class("rebooted", |r| Act::Reboot { later: between(r, 1_000, 200_000) }),
    class("killed in doubt, soon back", |r| Act::KillInDoubt { later: between(r, 0, 60_000), reboot: false }),
    class("killed in doubt, back after six minutes", |_| Act::KillInDoubt { later: Duration::from_secs(6 * MINUTES), reboot: false }),
    class("rebooted in doubt, back after six minutes", |_| Act::KillInDoubt { later: Duration::from_secs(6 * MINUTES), reboot: true }),
    class("suspended for six minutes", |_| Act::Suspend { asleep: Duration::from_secs(6 * MINUTES) }),
    class("clock in 1970", |_| Act::SetWallClock { ahead_ms: -56 * YEAR_MS }),
    class("clock ten years ahead", |_| Act::SetWallClock { ahead_ms: 10 * YEAR_MS }),
    class("clock set back an hour", |_| Act::SetWallClock { ahead_ms: -3_600_000 }),
    class("broker killed", |r| Act::KillBroker { away: between(r, 0, 400) }),
    class("broker restarted", |r| Act::RestartBroker { away: between(r, 0, 400) }),
    class("broker forgets during a slow commit", |_| Act::DoubleFault),
    class("broker link cut", |_| Act::CutBroker),
    class("broker link frozen", |r| Act::FreezeBroker { still: between(r, 100, 1200) }),
    class("uplink cut", |_| Act::CutUplink),
    class("uplink frozen", |r| Act::FreezeUplink { still: between(r, 100, 1500) }),
    class("uplink away", |r| Act::RefuseUplink { away: between(r, 300, 1500) }),
    of_link("slow link", |r| Act::SlowLink { bit_s: 32_000 << r.below(4), rtt_ms: 20 + r.below(580) as u32, slow: between(r, 1000, 5000) }),
    of_link("lossy link", |r| Act::LossyLink { loss_percent: 5 + r.below(26) as u32, lossy: between(r, 1000, 5000) }),
    of_link("silent link", |r| Act::SilentLink { silent: between(r, 300, 4000) }),
    of_link("moved link", |r| { let stays = r.chance(0.5); Act::MovedLink { away: if stays { Duration::ZERO } else { between(r, 300, 3000) } } }),
    class("answer lost", |r| Act::LoseAnswers { count: 1 + r.below(6) }),
    class("throttled", |r| some(r, Fault::Throttle { code: "RequestThrottled", retry_after_ms: None })),
    class("throttled with a wait", |r| some(r, Fault::Throttle { code: "ThrottlingException", retry_after_ms: Some(200) })),
    class("server error", |r| some(r, Fault::ServerError { status: 500, body: true })),
    class("server error without a body", |r| some(r, Fault::ServerError { status: 503, body: false })),
    class("never answers", |_| Act::Endpoint { fault: Fault::Hang, calls: 1 }),
    class("request dropped", |r| some(r, Fault::DropRequest)),
    class("empty 200", |r| some(r, Fault::EmptyOk)),
    class("a web page", |r| some(r, Fault::Html { status: 200 })),
    class("a login page", |r| some(r, Fault::Html { status: 403 })),
    class("accepted, answer dropped", |r| some(r, Fault::AcceptThenDrop)),
    class("accepted, empty 200", |r| some(r, Fault::AcceptThenEmpty)),
    class("answer truncated", |r| some(r, Fault::Truncated)),
    class("entry missing from the answer", |r| { let i = index(r); some(r, Fault::MissingEntry(i)) }),
    class("entry named twice", |r| { let i = index(r); some(r, Fault::RepeatedEntry(i)) }),
    class("wrong MD5", |r| { let i = index(r); some(r, Fault::WrongMd5(i)) }),
    class("accepted, no answer", |_| Act::Endpoint { fault: Fault::AcceptThenHang, calls: 1 }),
    class("half of the entries missing", |r| some(r, Fault::HalfMissing)),
    class("answer in reverse", |r| some(r, Fault::Reversed)),
    class("answer about strangers", |r| some(r, Fault::Strangers)),
    class("entry accepted and refused", |r| { let i = index(r); some(r, Fault::TwoMinds(i)) }),
    class("garbage", |r| some(r, Fault::Garbage)),
    class("answer in drips", |_| Act::Endpoint { fault: Fault::Drip(Duration::from_millis(1)), calls: 1 }),
    class("answer of 50 MB", |_| Act::Endpoint { fault: Fault::Huge(50 << 20), calls: 1 }),
    class("endless answer", |_| Act::Endpoint { fault: Fault::Endless, calls: 1 }),
    class("slow answer", |r| { let slow = between(r, 50, 800); some(r, Fault::Slow(slow)) }),
    class("entry refused for now", |r| { let index = index(r); some(r, Fault::FailEntry { index, code: "InternalError", sender_fault: false }) }),
    class("entry throttled", |r| { let index = index(r); some(r, Fault::FailEntry { index, code: "RequestThrottled", sender_fault: true }) }),
    class("payloads filtered with a page", |r| filter(r, Fault::Html { status: 403 })),
    class("payloads filtered by a cut", |r| filter(r, Fault::DropRequest)),
    class("payloads filtered for size", |r| filter(r, Fault::Html { status: 413 })),
    class("credentials expired", |r| park(r, "ExpiredToken", 403)),
    class("permission taken away", |r| park(r, "AccessDenied", 403)),
    class("queue deleted", |r| park(r, "AWS.SimpleQueueService.NonExistentQueue", 400)),
    class("key disabled", |r| park(r, "KMS.DisabledException", 400)),
    of_disk("disk full", |r| Act::FillDisk { full: between(r, 200, 1200) }),
    class("filters reloaded", |r| Act::ReloadFilters { times: 2 + r.below(5) as u32, pause: between(r, 0, 200), killed: r.chance(0.4) }),
    class("disk slow", |r| { let sync_ms = 5 << r.below(8); Act::SlowDisk { sync_ms, slow: between(r, 300, 1200) } }),
];
