//! The command line.

use clap::ValueEnum;
use power_cut::Device;
use testkit::random::fresh_seed;

const AFTER_HELP: &str = "\
Exit status:
  0  no promise broken, or the sabotage caught as often as it must be
  1  not so
  2  wrong command line
  3  no verdict

A failing run's trace is kept in target/torture, and --seed with --cut
takes it from there: threads do not run twice in the same order.";

/// The journal under load, cut off from its power at any moment of it, over and over, on a disk that is modelled.
#[derive(clap::Parser, Clone, Copy)]
#[command(name = "torture", bin_name = "cargo torture", after_help = AFTER_HELP)]
#[command(args_override_self = true)]
pub(crate) struct Options {
    /// Cut the power so many times.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub(crate) cuts: u64,
    /// Draw what is done and cut from N [default: a new one, printed].
    #[arg(long, value_name = "N", default_value_t = fresh_seed(), hide_default_value = true)]
    pub(crate) seed: u64,
    /// Play only cut K of this seed, and tell what it breaks in full.
    #[arg(long, value_name = "K")]
    pub(crate) cut: Option<u64>,
    /// Model this kind of disk.
    #[arg(long, value_name = "WHAT", default_value = "both")]
    pub(crate) device: Devices,
    /// Put a fault in; the run must catch it.
    #[arg(long, value_name = "NAME")]
    pub(crate) sabotage: Option<Sabotage>,
}

/// The disks of a run.
#[derive(ValueEnum, Clone, Copy)]
pub(crate) enum Devices {
    /// Without a cache.
    Plain,
    /// With a cache that a cut empties.
    Volatile,
    /// Both in turn.
    Both,
}

impl Devices {
    /// The one device of all cuts; `None`: both in turn.
    pub(crate) fn only(self) -> Option<Device> {
        match self {
            Devices::Plain => Some(Device::Plain),
            Devices::Volatile => Some(Device::Volatile),
            Devices::Both => None,
        }
    }
}

/// A fault put in on purpose.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
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
    /// Its name on a command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
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
