//! `cargo demo`: a real agent through a bad half minute, live in the terminal, judged by what a customer received.
//!
//! ```text
//! fleet ──► broker ──► agent (a process) ──► uplink (can be cut) ──► queue ──► consumer
//!   │                                                                            │
//!   └──────────────────────────────► checker ◄───────────────────────────────────┘
//! ```
//!
//! It promises to end by itself (but for `--keep`), to leave nothing behind, also on Ctrl-C, and not to flatter: the
//! verdict is computed from what the consumer received through the AWS SDK, and its exit status is 0 only when nothing
//! was lost, duplicated or out of order. Nothing of the agent is linked here.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the agent's edges are not those of its peers")]

mod customer;
mod failure;
mod keep;
mod options;
mod play;
mod scene;
mod screen;
mod summary;
mod watch;

use clap::Parser;
use failure::Failure;
use options::Options;
use scene::Scene;
use screen::Screen;
use std::io::{Write, stderr};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// Exit status when nothing could be judged; 1 says that the verdict is bad, 2 that the command line is.
const BROKEN: u8 = 3;
/// Exit status after Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime.block_on(run(&options)),
        Err(error) => Err(Failure::new(format!("the system refuses to start threads: {error}"), "free memory")),
    };
    match outcome {
        Ok(Some(true)) => ExitCode::SUCCESS,
        Ok(Some(false)) => ExitCode::FAILURE,
        Ok(None) => ExitCode::from(INTERRUPTED),
        Err(failure) => {
            // Without its terminal the demo has no place for the message.
            let _ = writeln!(stderr(), "demo: {failure}");
            ExitCode::from(BROKEN)
        }
    }
}

/// Runs the demo: whether the verdict is clean, or nothing when it was interrupted before there was one.
async fn run(options: &Options) -> Result<Option<bool>, Failure> {
    let stop = interrupted();
    tokio::pin!(stop);
    let mut screen = Screen::new();
    let scene = tokio::select! {
        scene = Scene::set_up(options, &mut screen) => scene?,
        () = &mut stop => return Ok(None),
    };
    let mut scene = scene;
    let judged = tokio::select! {
        judged = judged(&mut scene, options, screen) => judged.map(Some),
        () = &mut stop => Ok(None),
    };
    if options.keep && matches!(judged, Ok(Some(_))) {
        keep::show(&scene);
        stop.await;
    }
    scene.clean_up().await;
    judged
}

async fn judged(scene: &mut Scene, options: &Options, screen: Screen) -> Result<bool, Failure> {
    let played = play::play(scene, options, screen).await?;
    Ok(summary::tell(&played, scene, options))
}

/// Comes back on Ctrl-C, on SIGTERM, or when the terminal is closed.
async fn interrupted() {
    let listen = || {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hangup] = kinds.map(signal);
        std::io::Result::Ok((interrupt?, terminate?, hangup?))
    };
    match listen() {
        Ok((mut interrupt, mut terminate, mut hangup)) => tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        },
        // Without handlers a signal ends the process at once; there is nothing to wait for.
        Err(_) => std::future::pending().await,
    }
}
