//! That the state was lost: noted by the opening that found it so, and in every state from then on.

use crate::record::{Epoch, Number};
use serde::{Deserialize, Serialize};

/// A state that was lost, with what is not known any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct StateLoss {
    /// Epoch of the opening that found it so: it tells one loss from another.
    #[serde(rename = "e")]
    pub(crate) epoch: Epoch,
    /// Which records below this number had an outcome is not known.
    #[serde(rename = "b")]
    pub(crate) before: Number,
    /// Positions that no generation held any more. They count as accepted, and nothing proves it.
    #[serde(rename = "p")]
    pub(crate) presumed: u64,
}
