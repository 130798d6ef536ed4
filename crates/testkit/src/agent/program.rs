//! The agent's binary for a trial: built by the same cargo with the same profile, so that it is never an old one.

use crate::{Error, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;

/// Where the binary is: the one asked for, the one that cargo builds beside the program called `trial` of the package in
/// `package`, or the one that lies beside us when we run without cargo. It tells `say` what it does.
pub async fn find(asked: Option<&Path>, package: &Path, trial: &str, say: &mut dyn FnMut(&str)) -> Result<PathBuf> {
    if let Some(path) = asked {
        let missing = || Error::Missing {
            what: format!("no file {}: the agent", path.display()),
            remedy: "give --agent the path of a tidegate binary".into(),
        };
        // The agent runs in its own folder.
        return path.canonicalize().ok().filter(|path| path.is_file()).ok_or_else(missing);
    }
    let folder = profile_folder()?;
    match std::env::var_os("CARGO") {
        Some(program) => build(Path::new(&program), package, trial, &folder, say).await,
        None => {
            let beside = folder.join("tidegate");
            if !beside.is_file() {
                return Err(Error::Missing {
                    what: format!("no agent at {}: it", beside.display()),
                    remedy: format!("start with: cargo {trial}"),
                });
            }
            say(&format!("agent: {}, as it is", beside.display()));
            Ok(beside)
        }
    }
}

/// `target/<profile>`: we are `target/<profile>/<name>`, or a test, in a folder below it.
pub fn profile_folder() -> Result<PathBuf> {
    let exe = std::env::current_exe().map_err(Error::io("asking where this program is"))?;
    let folder = exe.parent().and_then(|folder| if folder.ends_with("deps") { folder.parent() } else { Some(folder) });
    folder.map(Path::to_owned).ok_or_else(|| Error::peer("asking where this program is", exe.display()))
}

async fn build(
    program: &Path,
    package: &Path,
    trial: &str,
    folder: &Path,
    say: &mut dyn FnMut(&str),
) -> Result<PathBuf> {
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    say(&format!("agent: cargo build --bin tidegate --profile {profile}, if it is not fresh"));
    let mut command = Command::new(program);
    command.args(["build", "--quiet", "--package", "tidegate", "--bin", "tidegate"]);
    // With the trial beside it cargo chooses the features that all dependencies were just built with.
    command.args(["--package", "trials", "--bin", trial, "--profile", profile]);
    command.arg("--message-format=json-render-diagnostics").current_dir(package);
    // What cargo tells us about our package, build scripts (ring's) would take for a change.
    let told = |name: &str| name == "OUT_DIR" || name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(told)) {
        command.env_remove(name);
    }
    let what = "building the agent with cargo";
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true).output().await;
    let output = output.map_err(Error::io(what))?;
    if !output.status.success() {
        return Err(Error::peer(what, output.status));
    }
    executable(&output.stdout).ok_or_else(|| Error::peer(what, "no binary called tidegate came of it"))
}

/// The agent's executable, from what cargo said.
fn executable(said: &[u8]) -> Option<PathBuf> {
    String::from_utf8_lossy(said).lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let is_it = message["target"]["name"] == "tidegate" && message["target"]["kind"][0] == "bin";
        message["executable"].as_str().filter(|_| is_it).map(PathBuf::from)
    })
}
