//! The command line: few flags, read by hand; what is not known is refused.

use power_cut::Device;
use testkit::random::fresh_seed;
use tidegate::failpoints::Failpoint as Rigged;

/// What `--help` prints, and every refusal.
pub(crate) const HELP: &str = "\
torture: the journal under load, cut off from its power at any moment of it, over and over, on a disk that is modelled.

  --cuts N         how many cuts (default 1000)
  --seed N         what is done and cut; default: another one each time, printed at the end
  --cut K          only cut number K of this seed, and what it breaks in full
  --device WHAT    plain, volatile (a cache that a cut empties), or both in turn (default)
  --sabotage NAME  stock-flush, no-dir-sync, cursor-first, forged-frame, stale-slot or
                   forget-holes: the run must catch it

Exit status: 0 no promise broken, or the sabotage caught as often as it must be; 1 otherwise; 2 wrong command line;
3 no verdict. A failing run's trace is kept in target/torture, and --seed with --cut takes it from there: threads do not
run twice in the same order.";

/// What the command line asks for.
pub(crate) enum Asked {
    Run(Options),
    Help,
}

/// How to run.
#[derive(Clone, Copy)]
pub(crate) struct Options {
    pub(crate) cuts: u64,
    pub(crate) seed: u64,
    pub(crate) cut: Option<u64>,
    pub(crate) device: Option<Device>,
    pub(crate) sabotage: Option<Sabotage>,
}

/// A fault put in on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sabotage {
    /// `sync_file_range` answers as a kernel does, so that sled's own flush is all there is.
    StockFlush,
    /// Syncs of folders do not count.
    NoDirSync,
    /// The durable cursor runs ahead of what was settled.
    CursorFirst,
    /// Payloads, of which some hold frames, stand in the files as they came, and count after a cut.
    ForgedFrame,
    /// A start goes on from the older half of the state file.
    StaleSlot,
    /// The state file leaves out the holes that no gap record announces yet.
    ForgetHoles,
}

impl Sabotage {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Sabotage::StockFlush => "stock-flush",
            Sabotage::NoDirSync => "no-dir-sync",
            Sabotage::CursorFirst => Rigged::CursorFirst.name(),
            Sabotage::ForgedFrame => Rigged::ForgedFrame.name(),
            Sabotage::StaleSlot => Rigged::StaleSlot.name(),
            Sabotage::ForgetHoles => Rigged::ForgetHoles.name(),
        }
    }

    /// The least share of cuts of a device that must fail, in percent: what sled as it comes was measured to lose. `None`:
    /// the fault has nothing to do with the device, and one failure is enough.
    pub(crate) fn least_percent(self, device: Device) -> Option<u64> {
        match (self, device) {
            (Sabotage::StockFlush, Device::Plain) => Some(3),
            (Sabotage::StockFlush, Device::Volatile) => Some(40),
            _ => None,
        }
    }
}

/// Reads the arguments; an error says which one is wrong, and why.
pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut options = Options { cuts: 1_000, seed: fresh_seed(), cut: None, device: None, sabotage: None };
    while let Some(flag) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{flag} needs a value after it"));
        match &*flag {
            "-h" | "--help" => return Ok(Asked::Help),
            "--cuts" => options.cuts = number(&flag, &value()?)?.max(1),
            "--seed" => options.seed = number(&flag, &value()?)?,
            "--cut" => options.cut = Some(number(&flag, &value()?)?),
            "--device" => options.device = device(&value()?)?,
            "--sabotage" => options.sabotage = Some(sabotage(&value()?)?),
            _ => return Err(format!("'{flag}' is not known")),
        }
    }
    Ok(Asked::Run(options))
}

fn number(flag: &str, text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{flag} takes a whole number, not '{text}'"))
}

fn device(text: &str) -> Result<Option<Device>, String> {
    match text {
        "plain" => Ok(Some(Device::Plain)),
        "volatile" => Ok(Some(Device::Volatile)),
        "both" => Ok(None),
        _ => Err(format!("--device takes plain, volatile or both, not '{text}'")),
    }
}

fn sabotage(text: &str) -> Result<Sabotage, String> {
    let all = [
        Sabotage::StockFlush,
        Sabotage::NoDirSync,
        Sabotage::CursorFirst,
        Sabotage::ForgedFrame,
        Sabotage::StaleSlot,
        Sabotage::ForgetHoles,
    ];
    let named = all.into_iter().find(|sabotage| sabotage.name() == text);
    named.ok_or_else(|| {
        format!("--sabotage takes stock-flush, no-dir-sync, cursor-first, forged-frame, stale-slot or forget-holes, not '{text}'")
    })
}
