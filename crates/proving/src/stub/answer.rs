//! Answers on the wire: AWS JSON 1.0, with the headers that the service's clients look at.

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::{HeaderMap, Response, StatusCode, header::HeaderValue};
use serde_json::{Value, json};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::SystemTime;

/// A refusal of a request or of one entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    /// `__type` after its namespace.
    pub(crate) kind: String,
    /// Code of the query protocol, as the `x-amzn-query-error` header carries it.
    pub(crate) query_code: String,
    pub(crate) text: String,
    pub(crate) retry_after_ms: Option<u64>,
}

impl Refusal {
    /// An error that the service's model names; most have a longer code in the query protocol.
    pub(crate) fn modelled(kind: &str, text: impl Into<String>) -> Refusal {
        let query_code = match kind {
            "QueueDoesNotExist" => "AWS.SimpleQueueService.NonExistentQueue".into(),
            "InvalidMessageContents" => kind.into(),
            _ => format!("AWS.SimpleQueueService.{kind}"),
        };
        Refusal { status: 400, kind: kind.into(), query_code, text: text.into(), retry_after_ms: None }
    }

    /// An error outside the model: the code is the same in both protocols.
    pub(crate) fn common(code: &str, text: impl Into<String>) -> Refusal {
        Refusal { status: 400, kind: code.into(), query_code: code.into(), text: text.into(), retry_after_ms: None }
    }

    pub(crate) fn status(self, status: u16) -> Refusal {
        Refusal { status, ..self }
    }

    pub(crate) fn retry_after(self, ms: Option<u64>) -> Refusal {
        Refusal { retry_after_ms: ms, ..self }
    }

    /// As one member of `Failed`.
    pub(crate) fn entry(&self, id: &str, sender_fault: bool) -> Value {
        json!({ "Id": id, "Code": self.query_code, "Message": self.text, "SenderFault": sender_fault })
    }
}

/// A body that may end early, to play a connection cut inside an answer.
#[derive(Debug)]
pub(crate) struct AnswerBody {
    data: Option<Bytes>,
    declared: u64,
    cut: Cut,
}

/// Whether and where a body breaks off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cut {
    No,
    /// After what is to be sent was handed over.
    Due,
    /// What was handed over has been flushed: an error before that would take the head with it.
    Now,
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match (self.data.take(), self.cut) {
            (Some(data), _) => Poll::Ready(Some(Ok(Frame::data(data)))),
            (None, Cut::No) => Poll::Ready(None),
            (None, Cut::Due) => {
                self.cut = Cut::Now;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            (None, Cut::Now) => Poll::Ready(Some(Err(io::Error::other("answer cut short on purpose")))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.cut == Cut::No
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.declared)
    }
}

/// What every answer carries: the service's time and a request id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    pub(crate) now: SystemTime,
    pub(crate) call: u64,
}

/// A 200 with `value` as its JSON body.
pub(crate) fn ok(value: &Value, stamp: Stamp) -> Response<AnswerBody> {
    json_answer(200, value, HeaderMap::new(), stamp)
}

/// An error answer.
pub(crate) fn refused(refusal: &Refusal, stamp: Stamp) -> Response<AnswerBody> {
    let namespace = if refusal.kind == refusal.query_code { "com.amazon.coral.service" } else { "com.amazonaws.sqs" };
    let body = json!({ "__type": format!("{namespace}#{}", refusal.kind), "message": refusal.text });
    let fault = if refusal.status < 500 { "Sender" } else { "Receiver" };
    let mut headers = HeaderMap::new();
    put(&mut headers, "x-amzn-query-error", &format!("{};{fault}", refusal.query_code));
    if let Some(ms) = refusal.retry_after_ms {
        put(&mut headers, "x-amz-retry-after", &ms.to_string());
    }
    json_answer(refusal.status, &body, headers, stamp)
}

/// An answer that is not the service's: another content type, any status, any body.
pub(crate) fn foreign(status: u16, content_type: &str, body: &'static str, stamp: Stamp) -> Response<AnswerBody> {
    let mut headers = HeaderMap::new();
    put(&mut headers, "content-type", content_type);
    build(status, Bytes::from_static(body.as_bytes()), headers, stamp)
}

/// `answer` with the second half of its body missing and the connection cut.
pub(crate) fn truncated(answer: Response<AnswerBody>) -> Response<AnswerBody> {
    let (parts, body) = answer.into_parts();
    let data = body.data.map(|data| data.slice(..data.len() / 2));
    Response::from_parts(parts, AnswerBody { data, declared: body.declared, cut: Cut::Due })
}

fn json_answer(status: u16, value: &Value, mut headers: HeaderMap, stamp: Stamp) -> Response<AnswerBody> {
    put(&mut headers, "content-type", "application/x-amz-json-1.0");
    build(status, Bytes::from(value.to_string()), headers, stamp)
}

fn build(status: u16, data: Bytes, mut headers: HeaderMap, stamp: Stamp) -> Response<AnswerBody> {
    put(&mut headers, "date", &httpdate::fmt_http_date(stamp.now));
    put(&mut headers, "x-amzn-requestid", &format!("00000000-0000-4000-8000-{:012x}", stamp.call));
    let body = AnswerBody { declared: data.len() as u64, data: Some(data).filter(|d| !d.is_empty()), cut: Cut::No };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.headers_mut() = headers;
    response
}

fn put(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
