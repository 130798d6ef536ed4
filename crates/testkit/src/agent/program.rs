//! The agent's binary for an example: built by the same cargo with the same profile, so that it is never an old one.

use crate::{Error, Result, cargo};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;

/// Where the binary is: the one asked for, the one that cargo builds beside the example called `example` of the package
/// in `package`, or the one that lies beside us when we run without cargo. It tells `say` what it does.
pub async fn find(asked: Option<&Path>, package: &Path, example: &str, say: &mut dyn FnMut(&str)) -> Result<PathBuf> {
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
        Some(program) => build(Path::new(&program), package, example, &folder, say).await,
        None => {
            let beside = folder.join("tidegate");
            if !beside.is_file() {
                return Err(Error::Missing {
                    what: format!("no agent at {}: it", beside.display()),
                    remedy: format!("start with: cargo run --example {example}"),
                });
            }
            say(&format!("agent: {}, as it is", beside.display()));
            Ok(beside)
        }
    }
}

/// `target/<profile>`: we are `target/<profile>/examples/<name>`.
pub fn profile_folder() -> Result<PathBuf> {
    let exe = std::env::current_exe().map_err(Error::io("asking where this program is"))?;
    let folder = exe.parent().and_then(Path::parent).map(Path::to_owned);
    folder.ok_or_else(|| Error::peer("asking where this program is", exe.display()))
}

async fn build(
    program: &Path,
    package: &Path,
    example: &str,
    folder: &Path,
    say: &mut dyn FnMut(&str),
) -> Result<PathBuf> {
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    say(&format!("agent: cargo build --bin tidegate --profile {profile}, if it is not fresh"));
    // With the example beside it cargo chooses the features that all dependencies were just built with.
    let targets = ["--bin", "tidegate", "--example", example];
    let mut command = Command::from(cargo::build(program, package, &targets, profile));
    let what = "building the agent with cargo";
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true).output().await;
    let output = output.map_err(Error::io(what))?;
    if !output.status.success() {
        return Err(Error::peer(what, output.status));
    }
    let executable = cargo::executable(&output.stdout, "tidegate", "bin");
    executable.ok_or_else(|| Error::peer(what, "no binary called tidegate came of it"))
}
