//! What the control socket does beyond the status server: changes in the quarantine, acknowledgements, and a wait for messages
//! ([`crate::status::control`] has the requests).

use crate::journal::{Journal, JournalError, Named, Requeued};
use crate::mqtt::Heard;
use crate::status::seat::CONNECTION_TIME;
use crate::status::{StatusHub, acknowledged};
use crate::topic::filter_problem;
use http::StatusCode;
use http_body_util::{BodyExt, Limited};
use hyper::Request;
use hyper::body::Incoming;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Largest body of a request: a few thousand numbers.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// The command sends it with the head.
const BODY_TIME: Duration = Duration::from_secs(3);
/// A change waits for the disk.
const CHANGE_TIME: Duration = CONNECTION_TIME.saturating_mul(4);
/// Most messages that one request may wait for, and how long.
const MESSAGES_MAX: usize = 1000;
pub(super) const WITHIN_MAX_S: u64 = 3600;

/// Does what a request asks for. `None`: it asks for no change.
pub(super) async fn change(request: Request<Incoming>, board: &Arc<StatusHub>) -> Option<(StatusCode, String)> {
    let text =
        "the disk takes too long, and it may be done later: tidegate journal quarantine list shows what is there\n";
    let late = || Some((StatusCode::SERVICE_UNAVAILABLE, text.to_owned()));
    timeout(CHANGE_TIME, changed(request, board)).await.unwrap_or_else(|_| late())
}

async fn changed(request: Request<Incoming>, board: &Arc<StatusHub>) -> Option<(StatusCode, String)> {
    if request.uri().path() == "/acknowledge" {
        return Some(acknowledged(request.into_body(), board).await);
    }
    let what = match request.uri().path() {
        "/quarantine/requeue" => Change::Requeue,
        "/quarantine/drop" => Change::Drop,
        "/quarantine/add" => Change::Add,
        _ => return None,
    };
    let Ok(Some(names)) = timeout(BODY_TIME, names(request.into_body())).await else {
        return Some((StatusCode::BAD_REQUEST, "a list of ids and numbers, or null\n".to_owned()));
    };
    let Some(journal) = board.journal() else {
        return Some((StatusCode::SERVICE_UNAVAILABLE, "the journal is not open yet\n".to_owned()));
    };
    let changed = tokio::task::spawn_blocking(move || act(&journal, what, names.as_deref())).await;
    Some(match changed.map_err(io::Error::other) {
        Ok(Ok(outcome)) => (StatusCode::OK, serde_json::to_string(&outcome).unwrap_or_default()),
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    })
}

/// Acknowledges losses.
async fn acknowledged(body: Incoming, board: &Arc<StatusHub>) -> (StatusCode, String) {
    let Ok(Some(request)) = timeout(BODY_TIME, read_json::<acknowledged::Request>(body)).await else {
        return (StatusCode::BAD_REQUEST, "who, and which codes\n".to_owned());
    };
    let board = board.clone();
    let done = tokio::task::spawn_blocking(move || board.acknowledge(&request)).await;
    match done.map_err(io::Error::other).flatten() {
        Ok(Some(done)) => (StatusCode::OK, serde_json::to_string(&done).unwrap_or_default()),
        Ok(None) => (StatusCode::SERVICE_UNAVAILABLE, "the journal is not open yet\n".to_owned()),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

/// What a person wants of the quarantine.
#[derive(Clone, Copy, Debug)]
enum Change {
    Requeue,
    Drop,
    Add,
}

/// What `GET /messages` asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Asked {
    filters: Vec<String>,
    count: usize,
    within: Duration,
}

impl Asked {
    fn parse(query: &str) -> Option<Asked> {
        let mut asked = Asked { filters: Vec::new(), count: 1, within: Duration::ZERO };
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "filter" => asked.filters.push(decoded(value)?),
                "count" => asked.count = value.parse().ok().filter(|count| (1..=MESSAGES_MAX).contains(count))?,
                "within" => {
                    let seconds = value.parse().ok().filter(|seconds| *seconds <= WITHIN_MAX_S)?;
                    asked.within = Duration::from_secs(seconds);
                }
                _ => return None,
            }
        }
        let valid = |filter: &String| filter_problem(filter).is_none();
        (!asked.filters.is_empty() && asked.filters.iter().all(valid)).then_some(asked)
    }
}

/// Text without its percent-encoding.
fn decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        out.push(match byte {
            b'%' => {
                let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
                rest = &rest[2..];
                u8::from_str_radix(digits, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(out).ok()
}

/// The next messages that the agent receives, as a JSON list; those that came when the time is over.
pub(super) async fn messages(query: &str, board: &StatusHub) -> (StatusCode, String) {
    let Some(Asked { filters, count, within }) = Asked::parse(query) else {
        return (StatusCode::BAD_REQUEST, "filter, count and within, as the documents say\n".to_owned());
    };
    let Some(intake) = board.intake_shared() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "the agent is not that far yet\n".to_owned());
    };
    let Some(mut listener) = intake.listen(filters, count) else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many listen already\n".to_owned());
    };
    // A reload ends this server, and with it the wait.
    drop(intake);
    let mut heard: Vec<Heard> = Vec::new();
    let all = async {
        while let Some(message) = listener.next().await {
            heard.push(message.into());
        }
    };
    let _ = timeout(within, all).await;
    (StatusCode::OK, serde_json::to_string(&heard).unwrap_or_default())
}

fn act(journal: &Journal, what: Change, names: Option<&[Named]>) -> Result<Requeued, JournalError> {
    match what {
        Change::Requeue => journal.requeue(names),
        Change::Drop => journal.drop_quarantined(names),
        Change::Add => journal.quarantine_by_hand(&Named::numbers(names.unwrap_or_default())),
    }
}

async fn names(body: Incoming) -> Option<Option<Vec<Named>>> {
    read_json(body).await
}

async fn read_json<T: serde::de::DeserializeOwned>(body: Incoming) -> Option<T> {
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await.ok()?;
    serde_json::from_slice(&body.to_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_question_is_read_as_the_command_writes_it(
            filters in prop::collection::vec("[a-z/ü%&=+ ]{0,8}#?", 1..4), count in 0usize..1100, within in 0u64..4000,
        ) {
            let query = crate::cli::messages_query(&filters, count, Duration::from_secs(within));
            let asked = Asked::parse(&query);
            let good = filters.iter().all(|filter| filter_problem(filter).is_none())
                && (1..=MESSAGES_MAX).contains(&count)
                && within <= WITHIN_MAX_S;
            let expected = Asked { filters, count, within: Duration::from_secs(within) };
            prop_assert_eq!(asked, good.then_some(expected), "{}", query);
        }

        #[test]
        fn any_question_is_read_to_an_end(query in "(filter=|count=|within=|&|%|[0-9a-f#+]){0,12}") {
            let _ = Asked::parse(&query);
        }
    }
}
