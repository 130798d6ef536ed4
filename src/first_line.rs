//! The first line of a file that a person wrote with whatever editor was at hand: a password, a token.
//!
//! Never waits for a pipe, never reads more than it has to, and says what an editor did to the file. Nothing of the content is
//! in an error: it may be the secret.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What is read of the file, in bytes; a longer line is none of ours.
const BYTES_MAX: u64 = 4096;
/// What some editors put in front of UTF-8 text.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// The first line of a file, without a byte order mark and without its end; blanks stay.
///
/// # Errors
/// It cannot be read, is not a file, or its first line is longer than 4 KiB or not text.
pub fn read(file: &Path) -> io::Result<String> {
    // Opening a pipe without a writer would wait.
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(file)?;
    if !file.metadata()?.is_file() {
        return Err(invalid("it is no regular file"));
    }
    let mut bytes = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut bytes)?;
    of(&bytes)
}

fn of(bytes: &[u8]) -> io::Result<String> {
    if matches!(bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]) {
        return Err(invalid("it is UTF-16 text; save it as UTF-8 text"));
    }
    // CR alone ends a line, too: no real password contains one, and old editors wrote it.
    let line = match bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
        Some(end) => &bytes[..end],
        None if bytes.len() as u64 == BYTES_MAX => return Err(invalid("its first line is longer than 4 KiB")),
        None => bytes,
    };
    let line = std::str::from_utf8(line).map_err(|_| invalid("its first line is no UTF-8 text; save it as such"))?;
    Ok(line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line).to_owned())
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_read_however_an_editor_saved_it() {
        for text in ["s3 cret", "s3 cret\n", "s3 cret\r\nmore", "s3 cret\rmore", "\u{feff}s3 cret\r\n"] {
            assert_eq!(of(text.as_bytes()).expect(text), "s3 cret", "{text:?}");
        }
        assert_eq!(of(b"s3 cret \t\n").expect("text"), "s3 cret \t", "what blanks mean is the reader's business");
        assert_eq!(of("\u{feff}".as_bytes()).expect("text"), "");
        assert_eq!(of(b"").expect("text"), "");
    }

    #[test]
    fn what_is_no_text_is_named_and_never_shown() {
        let long = vec![b'x'; BYTES_MAX as usize];
        for (bytes, part) in [
            (&b"\xff\xfes\x003\x00"[..], "UTF-16"),
            (b"\xfe\xff\x00s", "UTF-16"),
            (b"p\xe4ss\n", "UTF-8"),
            (&long, "4 KiB"),
        ] {
            let error = of(bytes).expect_err(part).to_string();
            assert!(error.contains(part) && !error.contains("s3") && !error.contains("xxx"), "{error}");
        }
    }
}
