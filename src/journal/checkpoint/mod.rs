//! The state file: it holds what must survive beside the records.

mod chain_state;
pub(crate) mod lane_state;
pub(crate) mod machine;
pub(crate) mod state;
pub(crate) mod state_loss;
