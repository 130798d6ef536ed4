//! Answers on the wire: AWS JSON 1.0, with the headers that the service's clients look at.

use super::fault::Telling;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::{HeaderMap, Response, StatusCode, header::HeaderValue};
use serde_json::{Value, json};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, Sleep, sleep};

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

/// A body that may end early, late, slowly or never.
#[derive(Debug)]
pub(crate) struct AnswerBody {
    data: Option<Bytes>,
    /// The length said beforehand; `None`: it comes in chunks.
    declared: Option<u64>,
    then: Then,
}

/// What follows the data that a body begins with.
#[derive(Debug)]
enum Then {
    /// Nothing: the body ends.
    End,
    /// A cut, once what is to be sent was handed over.
    CutDue,
    /// A cut: what was handed over has been flushed, an error before that would take the head with it.
    CutNow,
    /// So many further bytes; without a number they never end.
    Filler(Option<u64>),
    /// The rest of the answer, a byte at a time.
    Drip { rest: Bytes, pause: Duration, timer: Pin<Box<Sleep>> },
}

/// Blanks: a reader that does not count bytes takes them for JSON.
const FILLER: Bytes = Bytes::from_static(&[b' '; 16 * 1024]);

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(data) = self.data.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let frame = match &mut self.then {
            Then::End => None,
            Then::CutDue => {
                self.then = Then::CutNow;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Then::CutNow => return Poll::Ready(Some(Err(io::Error::other("answer cut short on purpose")))),
            Then::Filler(None) => Some(FILLER),
            Then::Filler(Some(left)) => {
                let now = (*left).min(FILLER.len() as u64);
                *left -= now;
                Some(FILLER.slice(..now as usize)).filter(|filler| !filler.is_empty())
            }
            Then::Drip { rest, pause, timer } => {
                ready!(timer.as_mut().poll(context));
                timer.as_mut().reset(Instant::now() + *pause);
                let rest_len = rest.len();
                (rest_len > 0).then(|| rest.split_to(1))
            }
        };
        Poll::Ready(frame.map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && matches!(self.then, Then::End)
    }

    fn size_hint(&self) -> SizeHint {
        self.declared.map_or_else(SizeHint::default, SizeHint::with_exact)
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

/// An error answer, as SQS gives it.
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

/// An error answer whose code is where `telling` says.
pub(crate) fn refused_as(refusal: &Refusal, telling: Telling, stamp: Stamp) -> Response<AnswerBody> {
    let fault = if refusal.status < 500 { "Sender" } else { "Receiver" };
    let (code, mut headers) = (&refusal.query_code, HeaderMap::new());
    match telling {
        Telling::Both => return refused(refusal, stamp),
        Telling::HeaderAlone => put(&mut headers, "x-amzn-query-error", &format!("{code};{fault}")),
        Telling::TypeHeader => put(&mut headers, "x-amzn-errortype", &format!("{code}:http://internal.test/doc/")),
        Telling::BodyAlone => {
            let body = json!({ "__type": format!("com.amazonaws.sqs#{code}"), "message": refusal.text });
            return json_answer(refusal.status, &body, headers, stamp);
        }
    }
    put(&mut headers, "content-type", "application/x-amz-json-1.0");
    build(refusal.status, Bytes::new(), headers, stamp)
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
    Response::from_parts(parts, AnswerBody { data, declared: body.declared, then: Then::CutDue })
}

/// `answer` with so many bytes behind it, or bytes without end.
pub(crate) fn followed_by(answer: Response<AnswerBody>, bytes: Option<u64>) -> Response<AnswerBody> {
    let more = |body: AnswerBody| AnswerBody { declared: None, then: Then::Filler(bytes), ..body };
    answer.map(more)
}

/// `answer` a byte at a time, with `pause` between two.
pub(crate) fn dripping(answer: Response<AnswerBody>, pause: Duration) -> Response<AnswerBody> {
    answer.map(|body| {
        let rest = body.data.unwrap_or_default();
        AnswerBody { then: Then::Drip { rest, pause, timer: Box::pin(sleep(pause)) }, data: None, ..body }
    })
}

/// A 200 of the right type with bytes of no meaning.
pub(crate) fn garbage(stamp: Stamp) -> Response<AnswerBody> {
    let mut headers = HeaderMap::new();
    put(&mut headers, "content-type", "application/x-amz-json-1.0");
    let noise: Vec<u8> = (0..600u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    build(200, noise.into(), headers, stamp)
}

fn json_answer(status: u16, value: &Value, mut headers: HeaderMap, stamp: Stamp) -> Response<AnswerBody> {
    put(&mut headers, "content-type", "application/x-amz-json-1.0");
    build(status, Bytes::from(value.to_string()), headers, stamp)
}

fn build(status: u16, data: Bytes, mut headers: HeaderMap, stamp: Stamp) -> Response<AnswerBody> {
    put(&mut headers, "date", &httpdate::fmt_http_date(stamp.now));
    put(&mut headers, "x-amzn-requestid", &format!("00000000-0000-4000-8000-{:012x}", stamp.call));
    let declared = Some(data.len() as u64);
    let body = AnswerBody { declared, data: Some(data).filter(|d| !d.is_empty()), then: Then::End };
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
