//! Clients without a token, or with a wrong one, do not close the page to holders of it, however many connections they use.

use super::visitor::{TOKEN, agent, assert_open, bearer, visit};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

const GUESSERS: usize = 64;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_opens_while_64_connections_guess() {
    let agent = agent(Some(TOKEN)).await;
    let at = agent.status_addr();
    let (over, tried, wrong) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for guesser in 0..GUESSERS {
            let (over, tried, wrong) = (&over, &tried, &wrong);
            scope.spawn(move || {
                while !over.load(Relaxed) {
                    let guess = if guesser % 8 == 0 { String::new() } else { bearer("a-guess-that-is-wrong") };
                    // Cut off or refused: both are no way in.
                    if let Ok((status, body)) = visit(at, "/status.json", &guess) {
                        assert!(status == 401 && !body.contains("gateway"), "{status} {body}");
                        wrong.fetch_add(usize::from(!guess.is_empty()), Relaxed);
                    }
                    tried.fetch_add(1, Relaxed);
                }
            });
        }
        let asked = std::panic::catch_unwind(|| {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(5) || tried.load(Relaxed) < 2 * GUESSERS {
                assert!(begun.elapsed() < crate::support::LONG, "only {} were tried", tried.load(Relaxed));
                assert_open(at, &bearer(TOKEN));
            }
        });
        over.store(true, Relaxed);
        asked.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    println!("{tried:?} tried, {wrong:?} wrong tokens judged");
}
