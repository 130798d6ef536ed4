//! A request's body that looks at the boot's clock in the moment in which it leaves.
//!
//! A batch is rendered, signed and dialled for; a machine that is suspended meanwhile sends it hours later, and what it
//! said of itself ("the queue absorbs this repeat") is no longer true. The body is the last part that the connection asks
//! for, in the same step as it writes: one that is too late ends in [`TooLate`]. A request without its body is none, so it
//! was surely not accepted.

use crate::clock::boottime_ms;
use aws_smithy_types::body::{Error, SdkBody};
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};

/// The request did not leave in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the machine stood still for {late_ms} ms before the request could leave; it is made anew")]
pub(super) struct TooLate {
    late_ms: u64,
}

/// An SDK's body, and until when it may leave.
#[derive(Debug)]
pub(super) struct TimedBody {
    body: SdkBody,
    leaves_by_ms: Option<u64>,
}

impl TimedBody {
    pub(super) fn new(body: SdkBody, leaves_by_ms: Option<u64>) -> TimedBody {
        TimedBody { body, leaves_by_ms }
    }
}

impl Body for TimedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let late_ms = self.leaves_by_ms.map_or(0, |last| boottime_ms().saturating_sub(last));
        if late_ms > 0 {
            return Poll::Ready(Some(Err(TooLate { late_ms }.into())));
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        Body::size_hint(&self.body)
    }
}
