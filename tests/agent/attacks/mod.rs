//! Attacks that once worked, tried again: by whoever may publish, by another user of the machine, by whoever reaches the
//! page. `docs/security.md` says who can do what.

mod escapes;
mod folder;
mod links;
