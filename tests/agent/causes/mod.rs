//! The rows of the trouble table that no other promise's test causes: each is caused for real, and everything that shows findings
//! says it.

mod broker;
mod journal;
mod queue;
mod scripted;
