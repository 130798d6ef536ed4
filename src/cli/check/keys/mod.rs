//! The access keys: whether there are some, and what keeps them from a thief of the card.

use crate::cli::check::Step;
use crate::cli::credentials::at_rest::{AtRest, HANDED_OVER, Places, at_rest};
use crate::cli::credentials::is_somebody_else;
use crate::config::{Config, CredentialsSource, QueueConfig};
use crate::sqs::credentials::parse_csv;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

const IMPORT: &str = "tidegate credentials import FILE.csv, with the .csv as the IAM console gave it";

/// A line per queue, and how the keys lie on the disk.
pub(super) fn steps(config: &Config, places: &Places) -> Vec<Step> {
    let mut files: Vec<&PathBuf> = Vec::new();
    let mut steps: Vec<Step> = Vec::new();
    for queue in &config.queues {
        match &queue.credentials {
            CredentialsSource::CsvFile(path) => {
                steps.push(keys(&queue.name, path));
                if !files.contains(&path) {
                    files.push(path);
                }
            }
            CredentialsSource::AwsChain => {
                let found = "from the AWS chain, whatever it finds when a record is sent";
                steps.push(Step::open(format!("keys of {}", queue.name), found, ""));
            }
        }
    }
    // The step above says that a file is missing.
    let there = files.iter().filter(|file| file.starts_with(HANDED_OVER) || file.exists());
    steps.extend(there.map(|file| match file.starts_with(HANDED_OVER) {
        true => handed_over(&at_rest(&places.drop_in)),
        false => Step::open("keys at rest", plain(file), ""),
    }));
    steps.extend(left_over(&files, places));
    steps
}

/// A queue's step for a user who may not read its keys, and need not: `None` where it can be tried.
pub(super) fn not_ours(queue: &QueueConfig, step: &str, send: bool) -> Option<Step> {
    let CredentialsSource::CsvFile(path) = &queue.credentials else { return None };
    let error = std::fs::File::open(path).err()?;
    is_not_ours(&error).then(|| match send {
        // What a record was to prove is not proved.
        true => Step::bad(step, not_tried(path), "sudo tidegate check --send"),
        false => for_sudo(step, path),
    })
}

fn is_not_ours(error: &io::Error) -> bool {
    error.kind() == ErrorKind::PermissionDenied && is_somebody_else()
}

fn for_sudo(step: &str, path: &Path) -> Step {
    Step::open(step, not_tried(path), "sudo tidegate check")
}

fn not_tried(path: &Path) -> String {
    format!("not tried: only root and the agent's user may read {}", path.display())
}

fn keys(queue: &str, path: &Path) -> Step {
    let step = format!("keys of {queue}");
    match std::fs::read(path) {
        Err(error) if is_not_ours(&error) => for_sudo(&step, path),
        Err(error) => Step::bad(step, format!("{}: {error}", path.display()), IMPORT),
        Ok(bytes) => match parse_csv(&bytes) {
            Ok(key) => Step::good(step, format!("access key {} in {}", key.shown(), path.display())),
            Err(error) => Step::bad(step, format!("{}: {error}", path.display()), IMPORT),
        },
    }
}

fn plain(file: &Path) -> String {
    format!("plain in {}: anyone who takes the card has them", file.display())
}

/// How a credential that systemd hands over lies on the disk. Pure.
fn handed_over((kind, file): &(AtRest, PathBuf)) -> Step {
    let (step, place) = ("keys at rest", file.display());
    match kind {
        AtRest::Tpm => Step::good(step, format!("encrypted with this machine's TPM, in {place}")),
        AtRest::HostKeyAndTpm => {
            Step::good(step, format!("encrypted with this machine's TPM and host key, in {place}"))
        }
        AtRest::Plain => {
            let found = format!("plain in {place}, readable by root alone: anyone who takes the card has them");
            Step::open(step, found, "")
        }
        AtRest::HostKey => {
            let found = format!("encrypted in {place} with the host key, which lies on the same card");
            Step::open(step, format!("{found}: anyone who takes the card has them"), "")
        }
        AtRest::NoKey => {
            let found = format!("encrypted in {place} with no key at all: anyone who takes the card has them");
            Step::open(step, found, "")
        }
        AtRest::OtherKey => {
            Step::open(step, format!("encrypted in {place}, with a kind of key that is not known here"), "")
        }
        AtRest::NotOurs => {
            let found = format!("handed over by the unit, and {place} does not say from where");
            Step::open(step, found, "systemctl cat tidegate shows LoadCredential= or LoadCredentialEncrypted=")
        }
        AtRest::Unreadable(error) => Step::open(step, format!("{place}: {error}"), "sudo tidegate check"),
    }
}

/// A plain copy at the package's place beside a systemd credential.
fn left_over(files: &[&PathBuf], places: &Places) -> Option<Step> {
    let (plain, drop_in) = (&places.plain, &places.drop_in);
    let handed_over = files.iter().any(|file| file.starts_with(HANDED_OVER));
    if !plain.exists() || !handed_over && !drop_in.exists() {
        return None;
    }
    let (step, place) = ("no plain copy of the keys", plain.display());
    Some(match files.contains(&plain) {
        true => {
            let found = format!("{} hands keys to the unit, and the configuration reads {place}", drop_in.display());
            Step::bad(step, found, format!("tidegate credentials import --systemd {place}"))
        }
        false => Step::bad(step, format!("{place} lies beside what systemd hands to the unit"), format!("rm {place}")),
    })
}

#[cfg(test)]
mod tests;
