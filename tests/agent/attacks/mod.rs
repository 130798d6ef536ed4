//! Attacks that once worked, tried again: by a client that may publish, by another user of the machine, by a client that
//! reaches the page, by the agent's own user once it is taken over. `docs/security.md` says who can do what.

mod escapes;
mod folder;
mod guessed_token;
mod keys;
mod links;
mod purge;
mod revoked_token;
mod slow_control;
mod slow_page;
mod visitor;
