//! The connections of a server: a task for each, ended with the server, on one of its [`crate::status::places`].

use crate::status::answers::{Site, serve_connection};
use crate::status::places::{Peer, Places};
use crate::status::seat::Seat;
use crate::sync::locked;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::{AbortHandle, JoinSet};

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
