//! What is sent, bit by bit, so that a bar can show how far it is.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use hyper::body::{Body, Frame, SizeHint};
use indicatif::ProgressBar;

/// So much goes out between two steps of the bar.
const STEP: usize = 64 << 10;

/// The body of a request.
#[derive(Debug)]
pub(super) struct Upload {
    left: Bytes,
    bar: ProgressBar,
}

impl Upload {
    pub(super) fn new(body: Bytes, bar: ProgressBar) -> Self {
        Self { left: body, bar }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if !self.left.has_remaining() {
            return Poll::Ready(None);
        }
        let step = self.left.len().min(STEP);
        let next = self.left.split_to(step);
        self.bar.inc(step as u64);
        Poll::Ready(Some(Ok(Frame::data(next))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}
