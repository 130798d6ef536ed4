//! Attacks that once worked, tried again: by whoever may publish, by another user of the machine, by whoever reaches the
//! page. `docs/security.md` says who can do what.

mod escapes;
mod folder;
mod guessed_token;
mod links;
mod revoked_token;
mod slow_control;
mod slow_page;
mod visitor;
