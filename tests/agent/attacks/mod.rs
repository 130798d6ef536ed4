//! Attacks, tried again at each change: what somebody who can reach the agent must not be able to do to it.

mod guessed_token;
mod revoked_token;
mod slow_control;
mod slow_page;
mod visitor;
