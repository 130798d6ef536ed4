//! Nothing shows a secret, whatever the file with the key looks like; and a key need not touch the card on its way.

use crate::support::{PROGRAM, config, said, stub, tidegate};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use testkit::agent::AgentProcess;
use tokio::io::AsyncWriteExt;

const ID: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI+K7MDENG+bPxRfiCYEXAMPLEKEY";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_with_exchanged_columns_is_refused_without_its_secret() {
    let stub = stub();
    let agent = AgentProcess::prepare(PROGRAM, config("127.0.0.1:1".parse().unwrap(), &stub)).unwrap();
    let keys = std::fs::read_dir(agent.folder()).unwrap().flatten().map(|entry| entry.path());
    let keys = keys.into_iter().find(|path| path.extension().is_some_and(|e| e == "csv")).expect("the credentials");
    // The second one has nothing that looks like an id, as emulators have it: it works, and is not shown.
    for (row, code) in [(format!("{SECRET},{ID}"), 1), (format!("{SECRET},{SECRET}"), 0)] {
        let file = agent.folder().join("download.csv");
        std::fs::write(&file, format!("Access key ID,Secret access key\n{row}\n")).unwrap();
        let words = ["credentials", "import", &file.to_string_lossy(), "--to", &keys.to_string_lossy()];
        let (out, error, ended) = tidegate(&agent, &words).await;
        assert!(ended == code && !out.contains(SECRET) && !error.contains(SECRET), "{out}{error}");
        std::fs::copy(&file, &keys).unwrap();
        for words in [&["check", "--offline"][..], &["check", "--offline", "--json"], &["status"]] {
            let (out, error, _) = tidegate(&agent, words).await;
            assert!(!out.contains(SECRET) && !error.contains(SECRET), "{words:?}: {out}{error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_comes_in_by_standard_input() {
    let stub = stub();
    let agent = AgentProcess::prepare(PROGRAM, config("127.0.0.1:1".parse().unwrap(), &stub)).unwrap();
    let place = agent.folder().join("keys/c.csv");
    let import = async |text: &str| {
        let mut child = tokio::process::Command::new(PROGRAM)
            .args(["credentials", "import", "-", "--to"])
            .arg(&place)
            .arg("--config")
            .arg(agent.config_path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).await.unwrap();
        said(child.wait_with_output().await.unwrap())
    };
    let text = format!("Access key ID,Secret access key\n{ID},{SECRET}\n");
    let (out, error, code) = import(&text).await;
    assert!(code == 0 && out.contains(ID) && !out.contains(SECRET), "{out}{error}");
    assert!(!out.contains("Delete the download"), "there is none: {out}");
    assert_eq!(std::fs::read_to_string(&place).unwrap(), text);
    assert_eq!(std::fs::metadata(&place).unwrap().permissions().mode() & 0o777, 0o600);
    let (_, error, code) = import("").await;
    assert!(code == 1 && error.contains("standard input: the file is empty"), "{error}");
    assert_eq!(std::fs::read_to_string(&place).unwrap(), text, "what was there stays");
}
