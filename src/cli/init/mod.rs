//! `tidegate init`: a few questions (or flags), a look at the broker's live topics, and a commented configuration that
//! loads. Nothing that a person wrote is overwritten unasked, and nothing is written before every question is answered.
//! An agent that runs at that broker is listened to; only where none does, a guest connects.

mod answers;
mod broker;
mod file;
mod filters;
mod names;
mod propose;
mod queue;
mod routes;

use crate::cli::ExitCode;
use crate::cli::new_file;
use crate::cli::output::{complain, say};
use crate::config::{Config, DEFAULT_PATH};
use answers::Answers;
use broker::Met;
use file::{Keys, Place};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// How the command was asked; what is not said is asked for.
#[derive(clap::Args, Debug)]
pub(super) struct InitOptions {
    /// The broker, such as mqtt://127.0.0.1:1883.
    #[arg(long, value_name = "URL")]
    broker: Option<String>,
    /// Its user name; "" for none.
    #[arg(long)]
    username: Option<String>,
    /// File with its password in the first line.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The queue's URL, as the SQS console shows it.
    #[arg(long, value_name = "URL")]
    queue: Option<String>,
    /// The queue's region, where its URL does not tell it.
    #[arg(long)]
    region: Option<String>,
    /// The service's address, where the URL does not tell it.
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Let records travel readable, to a service without TLS.
    #[arg(long)]
    allow_plain_http: bool,
    /// Where the access key's .csv is or will be.
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
    /// A label for this gateway, which no other one has.
    #[arg(long, value_name = "ID")]
    gateway: Option<String>,
    /// The profile, instead of a proposal from what the broker carries.
    #[arg(long)]
    profile: Option<String>,
    /// Topic filters of that profile, commas between them.
    #[arg(long, value_name = "FILTERS", value_delimiter = ',')]
    topics: Vec<String>,
    /// How long to look at the broker; 0 not to look.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=600))]
    listen: u64,
    /// Take the proposals and defaults without asking.
    #[arg(long, short)]
    yes: bool,
    /// Replace the file if there is one.
    #[arg(long)]
    force: bool,
}

pub(super) fn init(file: &Path, options: &InitOptions) -> ExitCode {
    match made(file, options, &mut Answers { yes: options.yes }) {
        Ok(()) => ExitCode::Done,
        Err(why) => {
            complain!("{why}");
            ExitCode::Failed
        }
    }
}

fn made(file: &Path, options: &InitOptions, answers: &mut Answers) -> Result<(), String> {
    let (place, journal) = file::look(file).map_err(|error| new_file::unwritable(file, &error, ""))?;
    file::prepare(file).map_err(|error| new_file::unwritable(file, &error, ""))?;
    if place == Place::Other && !options.force {
        let question = format!("{} is there already. Replace it (its old text is kept beside it)?", file.display());
        if options.yes || !answers.agrees(&question, false)? {
            let file = file.display();
            return Err(format!("{file} stays as it is; to replace it: --force, or name another with --config"));
        }
    }
    let met = broker::meet(file, options, answers)?;
    let routes = routes::routes(&met, options, answers)?;
    let gateway = names::gateway(options.gateway.as_deref(), answers)?;
    let queue = queue::queue(file, options, answers)?;
    let keys = Keys {
        gateway: gateway.as_deref(),
        broker: &met.broker.keys,
        journal: journal.as_deref(),
        queue: &queue,
        routes: &routes,
    };
    let text = file::text(&keys);
    Config::parse(&text, file, &BTreeMap::new()).map_err(|problems| {
        let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
        format!("this would not be a good configuration:\n{}", said.join("\n"))
    })?;
    met.broker.keep_password().map_err(|(password, error)| new_file::unwritable(&password, &error, ""))?;
    let kept = file::write(file, &text, &place).map_err(|error| new_file::unwritable(file, &error, ""))?;
    if let Some(kept) = kept {
        say!("The old text of {} is in {}.", file.display(), kept.display());
    }
    next(file, &met, Path::new(&queue.credentials_file));
    Ok(())
}

/// What to do now, in commands that can be run as they stand.
fn next(file: &Path, met: &Met, credentials: &Path) {
    let usual = file == Path::new(DEFAULT_PATH);
    let with = if usual { String::new() } else { format!(" --config {}", file.display()) };
    say!("Wrote {}. Next:", file.display());
    let mut steps = Vec::new();
    if !credentials.exists() {
        steps.push((
            format!("tidegate credentials import FILE.csv{with}"),
            "the access key, as the IAM console gave it",
        ));
    }
    steps.push((format!("tidegate policy{with}"), "what that user must be allowed"));
    steps.push((format!("tidegate check{with}"), "the whole way, step by step"));
    steps.push(match (met.by_agent, usual) {
        (true, _) => ("systemctl reload tidegate".to_owned(), "the running agent takes it"),
        (false, true) => ("systemctl enable --now tidegate".to_owned(), ""),
        (false, false) => (format!("tidegate run{with}"), ""),
    });
    let width = steps.iter().filter(|(_, why)| !why.is_empty()).map(|(step, _)| step.len()).max().unwrap_or_default();
    for (step, why) in steps {
        match why {
            "" => say!("    {step}"),
            why => say!("    {step:width$}  # {why}"),
        }
    }
}
