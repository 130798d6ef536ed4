//! The agent's binary: built by the same cargo with the same profile, so that it is never an old one.

use crate::failure::Failure;
use crate::screen::Screen;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;

/// Where the binary is: the one asked for, the one that cargo builds, or the one beside us when we run without cargo.
pub(crate) async fn find(asked: Option<&Path>, screen: &mut Screen) -> Result<PathBuf, Failure> {
    if let Some(path) = asked {
        let missing =
            || Failure::new(format!("no file {}", path.display()), "give --agent the path of a tidegate binary");
        // The agent runs in a folder of its own.
        return path.canonicalize().ok().filter(|path| path.is_file()).ok_or_else(missing);
    }
    let folder = profile_folder()?;
    match std::env::var_os("CARGO") {
        Some(cargo) => build(Path::new(&cargo), &folder, screen).await,
        None => {
            let beside = folder.join("tidegate");
            if !beside.is_file() {
                return Err(Failure::new(
                    format!("no agent at {}", beside.display()),
                    "start the demo with: cargo demo",
                ));
            }
            screen.say(&format!("agent: {}, as it is", beside.display()));
            Ok(beside)
        }
    }
}

/// `target/<profile>`: we are `target/<profile>/examples/demo`.
pub(crate) fn profile_folder() -> Result<PathBuf, Failure> {
    let exe = std::env::current_exe().ok();
    let folder = exe.as_deref().and_then(Path::parent).and_then(Path::parent);
    folder
        .map(Path::to_owned)
        .ok_or_else(|| Failure::new("cannot tell where this program is", "start it with: cargo demo"))
}

async fn build(cargo: &Path, folder: &Path, screen: &mut Screen) -> Result<PathBuf, Failure> {
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    screen.say(&format!("agent: cargo build --bin tidegate --profile {profile}, if it is not fresh"));
    let mut command = Command::new(cargo);
    // With the example beside it cargo chooses the features that all dependencies were just built with.
    command.args(["build", "--quiet", "--bin", "tidegate", "--example", "demo", "--profile", profile]);
    command.arg("--message-format=json-render-diagnostics").current_dir(env!("CARGO_MANIFEST_DIR"));
    // What `cargo run` tells us about our package, build scripts (ring's) would take for a change.
    let told = |name: &str| name == "OUT_DIR" || name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(told)) {
        command.env_remove(name);
    }
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true).output().await;
    let next = "see that 'cargo build --bin tidegate' works, or give a binary with --agent";
    let output = output.map_err(|error| Failure::new(format!("starting {}: {error}", cargo.display()), next))?;
    if !output.status.success() {
        return Err(Failure::new(format!("cargo could not build the agent ({})", output.status), next));
    }
    let executable = String::from_utf8_lossy(&output.stdout).lines().find_map(executable);
    executable.ok_or_else(|| Failure::new("cargo built no binary called tidegate", next))
}

/// The agent's binary in a line of cargo's messages, if it is that line.
fn executable(line: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    let is_agent = message["target"]["name"] == "tidegate" && message["target"]["kind"][0] == "bin";
    message["executable"].as_str().filter(|_| is_agent).map(PathBuf::from)
}
