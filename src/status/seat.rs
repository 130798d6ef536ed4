//! A connection's place on a server, as long as it has it ([`crate::status::places`]).

use crate::status::places::{Kind, Places};
use crate::sync::locked;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// A connection to the page lasts so long at most.
pub(super) const CONNECTION_TIME: Duration = Duration::from_secs(10);

/// A connection's place, given back when it is dropped.
pub(crate) struct Seat {
    places: Arc<Mutex<Places>>,
    id: u64,
    kind: Kind,
    /// The end of a wrong token's pause.
    pause: Mutex<Option<Instant>>,
}

impl Seat {
    pub(super) fn new(places: Arc<Mutex<Places>>, id: u64, kind: Kind) -> Seat {
        Seat { places, id, kind, pause: Mutex::default() }
    }

    /// A place of a server that has no other connection.
    #[cfg(any(test, feature = "internals"))]
    pub(crate) fn alone(brief: bool) -> Arc<Seat> {
        let kind = if brief { Kind::Brief } else { Kind::Any };
        Arc::new(Seat::new(Arc::default(), 0, kind))
    }

    /// Whether it is good for brief requests alone.
    pub(super) fn is_brief(&self) -> bool {
        self.kind == Kind::Brief
    }

    /// A request is being answered, as long as the returned value lives.
    pub(super) fn answer(self: &Arc<Seat>) -> Answering {
        locked(&self.places).answer(self.id);
        Answering(self.clone())
    }

    /// Waits for so long, because of a wrong token.
    pub(super) async fn pause(&self, time: Duration) {
        locked(&self.places).pause(self.id);
        let end = Instant::now() + time;
        *locked(&self.pause) = Some(end);
        tokio::time::sleep_until(end).await;
        locked(&self.places).wait(self.id);
    }

    /// Keeps the place of a client that has gone until its pause is over: to hang up and to come back saves none of it.
    pub(super) async fn sit_out(&self) {
        let end = *locked(&self.pause);
        if let Some(end) = end {
            tokio::time::sleep_until(end).await;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        locked(&self.places).leave(self.id);
    }
}

/// Marks its place as being answered until it is dropped; see [`Seat::answer`].
pub(super) struct Answering(Arc<Seat>);

impl Drop for Answering {
    fn drop(&mut self) {
        locked(&self.0.places).wait(self.0.id);
    }
}
