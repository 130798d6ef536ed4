//! The agent as a process, between a broker and a queue: one file per promise.
//!
//! The peers are real where it matters (Mosquitto, ministack: `scripts/peers.sh`), the stub where a fault has to be
//! exact. Every test ends with the checker's verdict on what a consumer got. Random tests print their seed;
//! `TIDEGATE_SEED=…` replays it.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "peers of the agent are not bound by its edges"
)]
#![allow(clippy::print_stdout, reason = "seeds, messages and figures for a person")]

mod accounting;
mod attacks;
mod bad_input;
mod broker_faults;
mod brokers;
mod causes;
mod check_as_agent;
mod cli;
mod cli_at_broker;
mod cli_config_and_session;
mod cli_journal;
mod clock_faults;
mod consumer;
mod copied_card;
mod delivery;
mod disk;
mod duplicates;
mod endpoint_faults;
mod fallback_route;
mod false_repeats;
mod group_member;
mod health;
mod health_records;
mod journald;
mod kills;
mod middle_box;
mod moved_address;
mod page_token;
mod profiles;
mod prometheus;
mod proxy;
mod queue_outage;
mod quick_start;
mod readers;
mod recorded_once;
mod reload;
mod renamed_host;
mod renamed_queue;
mod sabotage;
mod shutdown;
mod slow_link;
mod state_file_lag;
mod status_page;
mod status_page_in_browser;
mod support;
mod suspend;
mod systemd;
mod technician;
mod tls;
mod tls_papers;
mod two_families;
mod two_queues;
mod upgrade;
