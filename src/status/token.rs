//! The status page's token, for networks where not every client may look.
//!
//! A client gives it as a bearer token or as the password of basic authentication (any user name), which every browser asks
//! for by itself. Only its SHA-256 is kept, and compared in constant time: how long an answer takes tells nothing about it.
//!
//! The file is read at each request ([`TokenFile`]): a token that was taken out of it opens nothing more. While it holds
//! no token, the server lets no client in, and the board says why.

use crate::first_line;
use crate::status::StatusHub;
use crate::sync::locked;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use sha2::{Digest, Sha256};
use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use subtle::ConstantTimeEq;
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

/// Characters of the shortest token; shorter ones can be guessed.
pub const TOKEN_CHARS_MIN: usize = 16;
/// Requests that may wait for a look at a time.
const WAITING_MAX: usize = 8;
/// A file that takes longer cannot be read.
const LOOK_TIME: Duration = Duration::from_secs(5);
/// While the file is bad, the server looks at it so often.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// A token, by its hash.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Token {
    /// Reads the first line of a file.
    ///
    /// # Errors
    /// It cannot be read, or holds less than [`TOKEN_CHARS_MIN`] characters.
    pub fn read(file: &Path) -> io::Result<Token> {
        let text = read_line(file)?;
        if text.chars().count() < TOKEN_CHARS_MIN {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("its first line has less than {TOKEN_CHARS_MIN} characters; put a longer token there"),
            ));
        }
        Ok(Token(hash(text.as_bytes())))
    }

    /// Whether a request's `Authorization` gives this token.
    pub fn is_given(&self, authorization: Option<&HeaderValue>) -> bool {
        given(authorization).is_some_and(|given| bool::from(hash(&given).ct_eq(&self.0)))
    }
}

/// The first line of a file, without blanks around it.
///
/// # Errors
/// As [`first_line::read`].
pub fn read_line(file: &Path) -> io::Result<String> {
    Ok(first_line::read(file)?.trim().to_owned())
}

/// The file of the page's token, looked at again for each request.
pub(crate) struct TokenFile {
    path: PathBuf,
    board: Arc<StatusHub>,
    /// One look at a time: a file system that hangs must not take the runtime's threads one by one.
    turn: Arc<Semaphore>,
    /// Bounds how many requests wait for a look at a time.
    waiting: Semaphore,
    /// How many looks were asked for, so far.
    asked: AtomicU64,
    last: Mutex<Last>,
    /// Whether no client gets in: what the last look found, and so at the beginning.
    closed: watch::Sender<bool>,
}

/// What the last look found.
#[derive(Default)]
struct Last {
    /// How many had asked when it began: it answers them, and none who came later.
    asked: u64,
    token: Option<Token>,
}

impl std::fmt::Debug for TokenFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TokenFile({})", self.path.display())
    }
}

impl TokenFile {
    /// A file that was not looked at yet; it reports to `board` what becomes of it.
    pub(crate) fn new(path: PathBuf, board: Arc<StatusHub>) -> Arc<TokenFile> {
        let (turn, waiting) = (Arc::new(Semaphore::new(1)), Semaphore::new(WAITING_MAX));
        let closed = watch::Sender::new(true);
        Arc::new(TokenFile { path, board, turn, waiting, asked: AtomicU64::new(0), last: Mutex::default(), closed })
    }

    /// The token of this moment. `None`: no client gets in, and the board says why.
    pub(super) async fn look(self: &Arc<TokenFile>) -> Option<Token> {
        let looked = async {
            let _waiting = self.waiting.acquire().await.ok()?;
            self.look_as(self.asked.fetch_add(1, SeqCst) + 1).await
        };
        match timeout(LOOK_TIME, looked).await {
            Ok(token) => token,
            Err(_) => {
                self.say(Some(&io::Error::new(io::ErrorKind::TimedOut, "it takes too long to read")));
                None
            }
        }
    }

    /// Waits until there is room to wait for another look.
    pub(super) async fn ready(&self) {
        drop(self.waiting.acquire().await);
    }

    /// Looks, unless a look that began after this one was asked for has been made meanwhile: however many ask at a time,
    /// none of them waits for more than two.
    async fn look_as(self: &Arc<TokenFile>, number: u64) -> Option<Token> {
        let turn = self.turn.clone().acquire_owned().await.ok()?;
        if let Last { asked, token } = &*self.last()
            && *asked >= number
        {
            return token.clone();
        }
        let this = self.clone();
        let read = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let asked = this.asked.load(SeqCst);
            let token = Token::read(&this.path);
            this.say(token.as_ref().err());
            *this.last() = Last { asked, token: token.as_ref().ok().cloned() };
            token.ok()
        });
        read.await.ok().flatten()
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        locked(&self.last)
    }

    /// Waits until a look found a token.
    pub(super) async fn opened(&self) {
        // Never an error: `self` holds the sender.
        let _ = self.closed.subscribe().wait_for(|closed| !closed).await;
    }

    /// Looks where no request makes it: at once, at each count of `hangups`, and while the file is bad, again and again.
    pub(super) async fn watch(self: &Arc<TokenFile>, mut hangups: watch::Receiver<u64>) -> Infallible {
        loop {
            self.look().await;
            let hangup = async {
                if hangups.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            let again = async {
                let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
                sleep(LOOK_AGAIN).await;
            };
            tokio::select! {
                () = hangup => {}
                () = again => {}
            }
        }
    }

    fn say(&self, error: Option<&io::Error>) {
        let file = self.path.display();
        let why = error.map(|error| format!("the status page stays closed: status.token_file {file}: {error}"));
        let was_closed = self.closed.send_replace(why.is_some());
        match (self.board.page_closed(why.clone()), why) {
            (true, Some(why)) => tracing::error!("{why}"),
            (_, None) if was_closed => tracing::info!(%file, "the status page is open to holders of the token"),
            _ => {}
        }
    }
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn given(authorization: Option<&HeaderValue>) -> Option<Vec<u8>> {
    let (scheme, value) = authorization?.to_str().ok()?.split_once(' ')?;
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" => Some(value.trim().as_bytes().to_vec()),
        "basic" => {
            let both = STANDARD.decode(value.trim()).ok()?;
            let colon = both.iter().position(|byte| *byte == b':')?;
            Some(both[colon + 1..].to_vec())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token(text: &str) -> io::Result<Token> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, text).unwrap();
        Token::read(&file)
    }

    fn header(text: &str) -> HeaderValue {
        HeaderValue::from_str(text).unwrap()
    }

    proptest! {
        #[test]
        fn only_the_token_itself_opens_in_either_way(text in "[!-~]{16,40}", other in "[!-~]{0,40}") {
            let token = token(&format!("  {text}\r\nmore\n")).unwrap();
            for (given, opens) in [(&text, true), (&other, other == text)] {
                let basic = STANDARD.encode(format!("anybody:{given}"));
                for value in [format!("Bearer {given}"), format!("bearer {given}"), format!("Basic {basic}")] {
                    prop_assert_eq!(token.is_given(Some(&header(&value))), opens, "{}", value);
                }
                let digest = header(&format!("Digest {given}"));
                prop_assert!(!token.is_given(Some(&digest)));
            }
            prop_assert!(!token.is_given(None));
            let shown = format!("{token:?}");
            prop_assert!(!shown.contains(&text));
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        assert!(token("fifteen-letters\n").unwrap_err().to_string().contains("16"));
        assert!(token("").is_err());
        assert!(token(&"x".repeat(4095)).is_ok() && token(&("x".repeat(4095) + "\nmore")).is_ok());
        assert!(token(&"x".repeat(4096)).unwrap_err().to_string().contains("4 KiB"));
    }

    #[test]
    fn what_is_no_file_is_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Token::read(folder.path()).is_err());
        assert!(Token::read("/dev/zero".as_ref()).unwrap_err().to_string().contains("regular file"));
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(Token::read(&pipe).unwrap_err().to_string().contains("regular file"));
    }
}
