//! The disk: files made durable, what a refusal means, who else can write there, and frames, the values that files hold.

pub(crate) mod beside;
pub(crate) mod files;
pub mod folder;
pub(crate) mod frame;
pub(crate) mod refusal;
pub(crate) mod reserve;
pub(crate) mod twoslot;
pub mod volume;
