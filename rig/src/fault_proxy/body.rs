//! The body of an answer on its way back, and what happens to it there.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};

use super::faults::{Faults, OpenWatch, Seen};
use super::forward::Failure;

/// The size of the pieces in which a slow answer comes.
const PIECE: usize = 1 << 10;

/// What strikes an answer.
pub(super) enum Struck {
    Nothing,
    Trickle(Duration),
    Cut,
}

type Next = Pin<Box<dyn Future<Output = (Source, Option<Result<Frame<Bytes>, Failure>>)> + Send>>;

/// A body that passes through.
pub(super) struct Passing {
    source: Option<Source>,
    next: Option<Next>,
    size: SizeHint,
}

/// Where the frames come from.
struct Source {
    pieces: VecDeque<Bytes>,
    incoming: Option<Incoming>,
    cut: bool,
    trickle: Duration,
    watch: Option<Arc<OpenWatch>>,
    heard: Option<(Seen, Arc<Faults>)>,
}

impl Passing {
    pub(super) fn of(
        body: Incoming,
        struck: Struck,
        watch: Option<Arc<OpenWatch>>,
        seen: Seen,
        faults: Arc<Faults>,
    ) -> Self {
        let (trickle, cut) = match struck {
            Struck::Trickle(trickle) => (trickle, false),
            Struck::Cut => (Duration::ZERO, true),
            Struck::Nothing => (Duration::ZERO, false),
        };
        let size = body.size_hint();
        let heard = Some((seen, faults));
        let source = Source { pieces: VecDeque::new(), incoming: Some(body), cut, trickle, watch, heard };
        Passing { source: Some(source), next: None, size }
    }

    /// The first half of something, and then an error. What is said to come is the whole.
    pub(super) fn halved(all: Bytes) -> Self {
        let size = SizeHint::with_exact(all.len() as u64);
        let half = all.slice(..all.len() / 2);
        let source = Source {
            pieces: VecDeque::from([half]),
            incoming: None,
            cut: true,
            trickle: Duration::ZERO,
            watch: None,
            heard: None,
        };
        Passing { source: Some(source), next: None, size }
    }
}

impl Source {
    async fn next(mut self) -> (Self, Option<Result<Frame<Bytes>, Failure>>) {
        let frame = self.frame().await;
        (self, frame)
    }

    async fn frame(&mut self) -> Option<Result<Frame<Bytes>, Failure>> {
        if let Some(piece) = self.pieces.pop_front() {
            tokio::time::sleep(self.trickle).await;
            return Some(Ok(Frame::data(piece)));
        }
        let frame = match (&mut self.incoming, &self.watch) {
            (Some(incoming), None) => incoming.frame().await,
            (Some(incoming), Some(watch)) => tokio::select! {
                frame = incoming.frame() => frame,
                () = watch.cut() => return Some(Err(Failure::other("cut on the way"))),
            },
            (None, _) => None,
        };
        if self.watch.is_some()
            && let Some((seen, faults)) = &self.heard
        {
            faults.until_heard(seen).await;
            if self.watch.as_ref().is_some_and(|watch| watch.is_forgotten()) {
                // Neither an event nor its end is ever heard of again.
                return std::future::pending().await;
            }
        }
        match frame {
            Some(Ok(frame)) if self.trickle > Duration::ZERO => match frame.into_data() {
                Ok(mut data) => {
                    while data.len() > PIECE {
                        self.pieces.push_back(data.split_to(PIECE));
                    }
                    tokio::time::sleep(self.trickle).await;
                    self.pieces.push_back(data);
                    self.pieces.pop_front().map(|piece| Ok(Frame::data(piece)))
                }
                Err(frame) => Some(Ok(frame)),
            },
            Some(Ok(frame)) => Some(Ok(frame)),
            Some(Err(error)) => Some(Err(Failure::other(error))),
            None if self.cut => Some(Err(Failure::other("cut on the way"))),
            None => None,
        }
    }
}

impl Body for Passing {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        if self.next.is_none() {
            let Some(source) = self.source.take() else { return Poll::Ready(None) };
            self.next = Some(Box::pin(source.next()));
        }
        let Some(next) = &mut self.next else { return Poll::Ready(None) };
        let (source, frame) = ready!(next.as_mut().poll(context));
        self.next = None;
        if matches!(frame, Some(Ok(_))) {
            self.source = Some(source);
        }
        Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        self.size
    }
}
