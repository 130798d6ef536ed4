//! The connections of a server: a task for each, ended with the server, on one of its [`crate::status::places`].

use crate::status::places::{Kind, Peer, Places};
use crate::status::server::{Site, serve_connection};
use crate::sync::locked;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

/// The connections that a server has open.
#[derive(Default)]
pub(super) struct Connections {
    tasks: JoinSet<()>,
    /// Stops the task of a connection, by the id of its place.
    ends: HashMap<u64, AbortHandle>,
    places: Arc<Mutex<Places>>,
}

impl Connections {
    /// Serves one more, for so long at most, if there is a place; closes the connection of a client that loses its place.
    #[allow(
        clippy::disallowed_methods,
        reason = "one task per connection, ended with the server that src/agent/mod.rs owns"
    )]
    pub(super) async fn take(
        &mut self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: Peer,
        site: &Site,
        time: Duration,
    ) {
        while self.tasks.try_join_next().is_some() {}
        self.ends.retain(|_, end| !end.is_finished());
        let Some(place) = locked(&self.places).enter(peer) else { return };
        if let Some(end) = place.instead_of.and_then(|id| self.ends.remove(&id)) {
            end.abort();
        }
        let seat = Seat::new(self.places.clone(), place.id, place.kind);
        let served = site.clone();
        let serve = async move {
            let seat = Arc::new(seat);
            serve_connection(stream, served, seat.clone()).await;
            seat.sit_out().await;
        };
        let end = self.tasks.spawn(async move { drop(tokio::time::timeout(time, serve).await) });
        self.ends.insert(place.id, end);
        // A request that is there already is read before another client comes, which might be given the place.
        tokio::task::yield_now().await;
        site.ready().await;
    }
}

/// A connection's place, given back when it is dropped.
pub(crate) struct Seat {
    places: Arc<Mutex<Places>>,
    id: u64,
    kind: Kind,
    /// The end of a wrong token's pause.
    pause: Mutex<Option<Instant>>,
}

impl Seat {
    fn new(places: Arc<Mutex<Places>>, id: u64, kind: Kind) -> Seat {
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
    async fn sit_out(&self) {
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
