//! The status page's token, for networks where not everybody may look.
//!
//! Given as a bearer token or as the password of basic authentication (any user name), which every browser asks for by
//! itself. Only its SHA-256 is kept, and compared in constant time: how long an answer takes tells nothing about it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use sha2::{Digest, Sha256};
use std::io;
use std::path::Path;
use subtle::ConstantTimeEq;

/// Shorter ones can be guessed.
pub const TOKEN_CHARS_MIN: usize = 16;

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
/// It cannot be read.
pub fn read_line(file: &Path) -> io::Result<String> {
    let text = std::fs::read_to_string(file)?;
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
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
    fn a_short_token_is_refused() {
        assert!(token("fifteen-letters\n").unwrap_err().to_string().contains("16"));
        assert!(token("").is_err());
    }
}
