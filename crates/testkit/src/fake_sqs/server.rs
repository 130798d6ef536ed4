//! The stub on the network: accepting, reading, judging, answering.

use super::answer::{self, AnswerBody, Refusal, Stamp};
use super::calls;
use super::fault::Fault;
use super::protocol::{self, Operation, Unreadable};
use super::shared::Shared;
use super::signature::{self, Signed};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

/// Largest request read, bytes on the wire; a full batch with every byte escaped stays below.
const MAX_REQUEST: usize = 8 << 20;

/// Accepts until dropped; dropping it closes every connection.
pub(crate) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let _ = stream.set_nodelay(true);
                    let shared = shared.clone();
                    connections.spawn(async move {
                        shared.peers.send_modify(|peers| _ = peers.insert(peer.port(), true));
                        let service = service_fn(|request| serve(request, shared.clone()));
                        // A connection that ends in an error is what half of the faults are for.
                        let _ = hyper::server::conn::http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), service)
                            .await;
                        shared.peers.send_modify(|peers| _ = peers.insert(peer.port(), false));
                    });
                }
                // Out of descriptors, say: give way, then continue.
                Err(_) => sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Serves one request; an error closes the connection without an answer.
async fn serve(request: Request<Incoming>, shared: Arc<Shared>) -> io::Result<Response<AnswerBody>> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, MAX_REQUEST).collect().await.map_err(io::Error::other)?.to_bytes();
    let stamp = Stamp { now: shared.clock.service(), call: shared.calls.fetch_add(1, Relaxed) + 1 };
    let signed = Signed {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default(),
        headers: &parts.headers,
        body: &body,
    };
    let target = parts.headers.get("x-amz-target").and_then(|v| v.to_str().ok()).unwrap_or_default();
    let Some(operation) = target.strip_prefix("AmazonSQS.").filter(|_| parts.method == "POST") else {
        let what = format!("{} {} with target '{target}'", parts.method, parts.uri);
        return Ok(unexpected(&shared, what, stamp));
    };
    let read = protocol::read(operation, &body);
    let is_send = operation.starts_with("SendMessage");
    let generation = shared.faults.generation();
    let fault = match &read {
        Ok((queue, Operation::Send { entries, .. })) if is_send => {
            let holds = |text: &str| entries.iter().any(|entry| entry.message.body.contains(text));
            shared.faults.draw(name_of(queue), entries.len(), holds)
        }
        _ => None,
    };
    if is_send {
        sleep_if(Duration::from_micros(shared.latency_us.load(Relaxed))).await;
    }
    if let Some(done) = before(fault.as_ref(), generation, &shared, stamp).await {
        return done;
    }
    let served = match judge(operation, &signed, read, &shared) {
        Ok((queue, done)) => serve_operation(&shared, &queue, done, fault.as_ref(), stamp).await,
        Err(error) => Err(error),
    };
    let response = match served {
        Ok(response) => response,
        Err(Unreadable::Refused(refusal)) => answer::refused(&refusal, stamp),
        Err(Unreadable::Unexpected(what)) => unexpected(&shared, what, stamp),
    };
    after(fault, generation, response, &shared, stamp).await
}

/// Signature first, then the permission for the action, then what the request says.
fn judge(
    operation: &str,
    signed: &Signed<'_>,
    read: Result<(String, Operation), Unreadable>,
    shared: &Shared,
) -> Result<(String, Operation), Unreadable> {
    let key = {
        let keys = shared.keys();
        signature::authenticate(signed, &keys, &shared.region, shared.clock.service())?.clone()
    };
    let queue = read.as_ref().map_or("*", |(queue, _)| name_of(queue));
    signature::authorize(&key, operation, &format!("arn:aws:sqs:{}:{}:{queue}", shared.region, super::ACCOUNT))
        .inspect_err(|_| shared.denied(operation))?;
    read
}

async fn serve_operation(
    shared: &Shared,
    queue: &str,
    operation: Operation,
    fault: Option<&Fault>,
    stamp: Stamp,
) -> Result<Response<AnswerBody>, Unreadable> {
    let now_ms = shared.clock.queue_ms();
    match operation {
        Operation::Send { entries, batch } => {
            let sent = shared.with_queue(queue, |q| calls::send(q, entries, batch, fault, now_ms, stamp))??;
            shared.arrived.send_modify(|n| *n += 1);
            Ok(sent)
        }
        Operation::Receive { most, wait_s, visibility_s } => {
            let deadline = Instant::now() + Duration::from_secs(wait_s);
            let mut arrived = shared.arrived.subscribe();
            loop {
                let now_ms = shared.clock.queue_ms();
                let visibility_ms = visibility_s.map(|s| s * 1000);
                let (handed, fifo) =
                    shared.with_queue(queue, |q| (q.receive(most, visibility_ms, now_ms), q.options.fifo))?;
                if !handed.is_empty() || timeout_at(deadline, arrived.changed()).await.is_err() {
                    return Ok(calls::received(&handed, fifo, stamp));
                }
            }
        }
        Operation::Delete { handles, batch } => {
            let deleted = shared.with_queue(queue, |q| calls::delete(q, &handles, batch, stamp))?;
            // A group that was locked may have more to give to a receiver that waits.
            shared.arrived.send_modify(|n| *n += 1);
            Ok(deleted)
        }
        Operation::Purge => {
            shared.with_queue(queue, |q| q.purge())?;
            Ok(answer::ok(&serde_json::json!({}), stamp))
        }
    }
}

/// Faults that keep the request from the queue.
async fn before(
    fault: Option<&Fault>,
    generation: u64,
    shared: &Shared,
    stamp: Stamp,
) -> Option<io::Result<Response<AnswerBody>>> {
    let text = "injected on purpose";
    let response = match fault? {
        Fault::Throttle { code, retry_after_ms } => {
            let refusal = match *code {
                "RequestThrottled" => Refusal::modelled(code, text),
                code => Refusal::common(code, text),
            };
            answer::refused(&refusal.retry_after(*retry_after_ms), stamp)
        }
        Fault::ServerError { status, body: true } => {
            answer::refused(&Refusal::common("InternalFailure", text).status(*status), stamp)
        }
        Fault::ServerError { status, body: false } => answer::foreign(*status, "text/plain", "", stamp),
        Fault::Refuse { code, status } => answer::refused(&Refusal::common(code, text).status(*status), stamp),
        Fault::RefuseAs { code, status, telling } => {
            answer::refused_as(&Refusal::common(code, text).status(*status), *telling, stamp)
        }
        Fault::Hang => {
            shared.faults.until_released(generation).await;
            return Some(Err(io::Error::other("hung on purpose")));
        }
        Fault::DropRequest => return Some(Err(io::Error::other("dropped on purpose"))),
        Fault::EmptyOk => answer::foreign(200, "application/x-amz-json-1.0", "", stamp),
        Fault::Html { status } => {
            answer::foreign(*status, "text/html", "<!doctype html><title>Sign in</title><p>Please sign in.</p>", stamp)
        }
        _ => return None,
    };
    Some(Ok(response))
}

/// Faults that spoil the answer to a request that was served.
async fn after(
    fault: Option<Fault>,
    generation: u64,
    response: Response<AnswerBody>,
    shared: &Shared,
    stamp: Stamp,
) -> io::Result<Response<AnswerBody>> {
    match fault {
        Some(Fault::AcceptThenHang) => {
            shared.faults.until_released(generation).await;
            Err(io::Error::other("hung on purpose"))
        }
        Some(Fault::AcceptThenDrop) => Err(io::Error::other("answer dropped on purpose")),
        Some(Fault::AcceptThenEmpty) => Ok(answer::foreign(200, "application/x-amz-json-1.0", "", stamp)),
        Some(Fault::Truncated) => Ok(answer::truncated(response)),
        Some(Fault::Garbage) => Ok(answer::garbage(stamp)),
        Some(Fault::Drip(pause)) => Ok(answer::dripping(response, pause)),
        Some(Fault::Huge(bytes)) => Ok(answer::followed_by(response, Some(bytes))),
        Some(Fault::Endless) => Ok(answer::followed_by(response, None)),
        Some(Fault::Slow(delay)) => {
            sleep_if(delay).await;
            Ok(response)
        }
        _ => Ok(response),
    }
}

fn unexpected(shared: &Shared, what: String, stamp: Stamp) -> Response<AnswerBody> {
    let refusal = Refusal::common("UnknownOperationException", format!("the stub does not know {what}"));
    shared.note_unexpected(what);
    answer::refused(&refusal, stamp)
}

/// The queue's name without its account.
fn name_of(queue: &str) -> &str {
    queue.rsplit('/').next().unwrap_or(queue)
}

async fn sleep_if(delay: Duration) {
    if !delay.is_zero() {
        sleep(delay).await;
    }
}
