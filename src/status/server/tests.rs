//! The server on pipes, whose peers say who they are: what they can take from each other, and what of the server.

use super::*;
use crate::clock::Clock;
use crate::mqtt::names::Names;
use crate::status::HubOptions;
use crate::status::answers::{HEAD_BYTES_MAX, HEAD_TIME, LOOKS_MAX, WRONG_TOKEN, serve_connection};
use crate::status::seat::Seat;
use crate::status::token::Token;
use http::HeaderValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{Instant, timeout};

const TOKEN: &str = "a-token-of-some-length";
const ADDRESS: Peer = Peer::At(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)));
const OTHER: Peer = Peer::At(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2)));

fn board() -> Arc<StatusHub> {
    let names = Names { gateway_id: "roof".into(), site: "roof".into(), client_id: "tidegate-roof".into() };
    let url = "https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo";
    let options = HubOptions {
        names,
        config: "[gateway]\nid = \"roof\"\n".into(),
        queues: vec![("main".into(), url.into())],
        journal: "/var/lib/tidegate".into(),
    };
    Arc::new(StatusHub::new(options, &Clock::new(None), Default::default()))
}

/// A server and its clients.
struct World {
    site: Site,
    connections: Connections,
}

impl World {
    fn new(door: Door) -> World {
        World { site: Site::new(board(), door), connections: Connections::default() }
    }

    /// A client comes and has said this already.
    async fn comes(&mut self, peer: Peer, said: &str) -> DuplexStream {
        let (mut stream, wire) = tokio::io::duplex(128 * 1024);
        stream.write_all(said.as_bytes()).await.unwrap();
        self.connections.take(wire, peer, &self.site, CONNECTION_TIME).await;
        stream
    }

    /// What a client that asks for this is answered; nothing, if the server hangs up on it.
    async fn asks(&mut self, peer: Peer, path: &str, more: &str) -> String {
        let said = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}Connection: close\r\n\r\n");
        heard(self.comes(peer, &said).await).await
    }
}

async fn heard(mut stream: DuplexStream) -> String {
    let mut answer = String::new();
    // Being hung up on is one of the outcomes.
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

/// Which of them are open and were told nothing.
async fn open(streams: &mut [DuplexStream]) -> usize {
    let mut open = 0;
    for stream in streams {
        open += usize::from(timeout(Duration::ZERO, stream.read_u8()).await.is_err());
    }
    open
}

#[tokio::test]
async fn a_head_without_end_is_refused_before_it_takes_memory() {
    // A pipe of one byte: what the peer could write is what the server took.
    let (peer, wire) = tokio::io::duplex(1);
    let (mut answers, mut requests) = tokio::io::split(peer);
    let sending = async move {
        let mut taken = 0;
        requests.write_all(b"GET /livez HTTP/1.1\r\n").await.expect("the request's line");
        while taken < 4 * HEAD_BYTES_MAX && requests.write_all(b"x: y\r\n").await.is_ok() {
            taken += 6;
        }
        let _ = requests.shutdown().await;
        taken
    };
    let mut answer = String::new();
    let serve = serve_connection(wire, Site::new(board(), Door::Loopback), Seat::alone(false));
    let ((), taken, _) = tokio::join!(serve, sending, answers.read_to_string(&mut answer));
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert!(taken <= HEAD_BYTES_MAX + 4096, "{taken} bytes were taken in");
}

#[tokio::test(start_paused = true)]
async fn a_request_head_is_awaited_three_seconds_even_after_answers() {
    let mut world = World::new(Door::Loopback);
    for said in ["", "GET / HTTP/1.1\r\nHost: loc", "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"] {
        let begun = Instant::now();
        let stream = world.comes(Peer::Here, said).await;
        let answer = heard(stream).await;
        assert_eq!(begun.elapsed().as_secs(), HEAD_TIME.as_secs(), "{said:?}: {:?}", begun.elapsed());
        assert_eq!(answer.contains("live\n"), said.ends_with("\r\n\r\n"), "{said:?}: {answer}");
    }
}

#[tokio::test]
async fn an_address_slow_64_times_has_8_places_without_obstructing() {
    for slow in [Peer::Here, ADDRESS] {
        let mut world = World::new(Door::Loopback);
        let mut others = vec![world.comes(OTHER, "").await];
        let mut streams = Vec::new();
        for n in 0..64 {
            streams.push(world.comes(slow, if n % 2 == 0 { "" } else { "GET / HTTP/1.1\r\nHost: loc" }).await);
        }
        assert_eq!(open(&mut streams).await, if slow == Peer::Here { 27 } else { 8 });
        for peer in [Peer::Here, ADDRESS, OTHER] {
            for path in ["/livez", "/"] {
                let answer = world.asks(peer, path, "").await;
                assert!(answer.starts_with("HTTP/1.1 200 "), "{peer:?} {path}: {answer}");
            }
        }
        assert_eq!(open(&mut others).await, 1, "who was there before stays");
    }
}

/// The heads of all came before any of them was read.
#[tokio::test]
async fn a_prompt_request_is_answered_amid_a_flood_of_peers() {
    let mut world = World::new(Door::Loopback);
    for _ in 0..100 {
        drop(world.comes(Peer::Here, "").await);
    }
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let asking = world.comes(Peer::Here, request).await;
    let mut flood = Vec::new();
    for _ in 0..100 {
        flood.push(world.comes(Peer::Here, "").await);
    }
    let answer = heard(asking).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("</html>\n"), "{answer}");
}

#[tokio::test]
async fn a_guessing_address_has_few_tries_and_obstructs_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, TOKEN).unwrap();
    let mut world = World::new(Door::Token(TokenFile::new(path, board())));
    let guess = "GET / HTTP/1.1\r\nAuthorization: Bearer a-guess-that-is-wrong\r\n\r\n";
    let right = format!("Authorization: Bearer {TOKEN}\r\n");
    let begun = Instant::now();
    let mut guesses = Vec::new();
    for _ in 0..64 {
        guesses.push(world.comes(ADDRESS, guess).await);
    }
    for peer in [Peer::Here, OTHER] {
        assert!(world.asks(peer, "/", &right).await.starts_with("HTTP/1.1 200 "), "{peer:?}");
        assert!(world.asks(peer, "/", "").await.starts_with("HTTP/1.1 401 "), "{peer:?}");
    }
    // One look at the file after the other: all guesses are judged. To hang up and come back saves no pause.
    let mut first = guesses.remove(0);
    drop(guesses);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let early = begun.elapsed() < WRONG_TOKEN;
    let turned_away = world.asks(ADDRESS, "/", &right).await;
    assert!(turned_away.is_empty() || !early, "no other try before the pause is over: {turned_away}");
    let mut answer = [0; 13];
    first.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 401 ");
    assert!(begun.elapsed() >= WRONG_TOKEN);
    // The others' pauses began a moment later.
    while !world.asks(ADDRESS, "/", &right).await.starts_with("HTTP/1.1 200 ") {
        assert!(begun.elapsed() < 20 * WRONG_TOKEN);
        tokio::task::yield_now().await;
    }
}

/// Looks at the file are shared: by those who asked before it began, and by no others.
#[tokio::test]
async fn no_request_is_judged_by_a_files_former_token() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let file = TokenFile::new(path.clone(), board());
    for round in 0..100 {
        let token = format!("token-of-round-{round:03}");
        // Looks of the round before, on their way at every stage.
        let mut before = Vec::new();
        for _ in 0..round % 4 {
            let mut look = Box::pin(file.look());
            if futures_util::poll!(&mut look).is_pending() {
                before.push(look);
            }
        }
        std::fs::write(&path, &token).unwrap();
        let given = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
        let rest = futures_util::future::join_all(before);
        let (tokens, _) = tokio::join!(futures_util::future::join_all((0..30).map(|_| file.look())), rest);
        let right = |token: &Option<Token>| token.as_ref().is_some_and(|t| t.is_given(Some(&given)));
        assert!(tokens.iter().all(right), "{round}");
    }
}

#[tokio::test(start_paused = true)]
async fn health_checks_are_answered_while_the_disk_stalls() {
    let mut world = World::new(Door::Loopback);
    let looks = world.site.looks.clone();
    let _stuck = looks.acquire_many(u32::try_from(LOOKS_MAX).unwrap()).await.unwrap();
    let mut stuck = Vec::new();
    for n in 0..28 {
        let peer = if n % 2 == 0 { Peer::Here } else { Peer::At([192, 0, 2, 100 + n].into()) };
        stuck.push(world.comes(peer, "GET /status.json HTTP/1.1\r\nHost: localhost\r\n\r\n").await);
    }
    for peer in [Peer::Here, ADDRESS, OTHER] {
        let live = world.asks(peer, "/livez", "").await;
        assert!(live.starts_with("HTTP/1.1 200 ") && live.contains("connection: close"), "{live}");
        let page = world.asks(peer, "/", "").await;
        assert!(page.starts_with("HTTP/1.1 503 ") && page.ends_with("busy, ask again\n"), "{page}");
    }
    assert_eq!(open(&mut stuck).await, 28, "whoever is being answered stays");
    for stream in stuck {
        assert!(heard(stream).await.contains("the disk takes too long"));
    }
}
