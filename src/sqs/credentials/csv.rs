//! The `.csv` that the IAM console gives for download, exactly as it comes.
//!
//! Its header has had two forms, `Access key ID,Secret access key` and, for users made with a console login,
//! `User name,Password,Access key ID,Secret access key,Console login link`; columns are found by name, so both are read,
//! and so is what editors and spreadsheets make of them: quotes, a byte order mark, CRLF, CR alone, blank lines, comments,
//! semicolons or tabs, with or without Excel's line `sep=;`.
//!
//! A file may be wrong in any way, so nothing of it is ever shown but what is shaped like a key id and no secret can be.

use aws_credential_types::Credentials;
use std::fmt;

/// Characters of a key id, by AWS's documents; today's have 20.
const ID_CHARS: std::ops::RangeInclusive<usize> = 16..=128;
/// Characters of a secret: what has as many is never shown.
const SECRET_CHARS: usize = 40;

/// Whether a field is a key id by its looks: an id is not a secret, AWS logs it with every call.
fn is_shaped_like_an_id(field: &str) -> bool {
    let legal = field.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    legal && ID_CHARS.contains(&field.len()) && field.len() != SECRET_CHARS
}

/// A long-lived access key. `Debug` shows no more than [`shown`](AccessKey::shown).
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKey {
    id: String,
    secret: String,
}

impl AccessKey {
    /// To tell two keys apart. Not to be shown: the file may have something else in that column.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// For people, behind the words "access key": the id, unless it looks like none (emulators take any).
    pub fn shown(&self) -> &str {
        if is_shaped_like_an_id(&self.id) { &self.id } else { "of an unusual form" }
    }

    /// The last four characters of the id, to tell one key from another; `None`: it looks like no id.
    pub fn id_end(&self) -> Option<&str> {
        is_shaped_like_an_id(&self.id).then(|| self.id.get(self.id.len() - 4..)).flatten()
    }

    /// How many characters the secret of an id like IAM's has, where IAM makes them of 40: it was cut off, or is a word of the page.
    pub fn odd_secret(&self) -> Option<usize> {
        let chars = self.secret.chars().count();
        (is_shaped_like_an_id(&self.id) && self.id.starts_with("AKIA") && chars != SECRET_CHARS).then_some(chars)
    }

    /// For the SDK.
    pub(super) fn into_credentials(self) -> Credentials {
        Credentials::new(self.id, self.secret, None, None, "csv")
    }
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessKey").field("id", &self.shown()).finish_non_exhaustive()
    }
}

/// Why a file holds no key for us. Never repeats anything of the file: any field of it may be a secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CsvError {
    /// A folder, a device, or far too large.
    #[error("not a credentials file; expected the IAM console's .csv as downloaded")]
    NotAFile,
    /// Nothing in it.
    #[error("the file is empty; download the access key's .csv again, or create a new key")]
    Empty,
    /// A spreadsheet's encoding.
    #[error("not plain text; expected UTF-8 (was it saved by a spreadsheet?); use the .csv as downloaded")]
    NotText,
    /// No header line that we know.
    #[error(
        "no header line with the columns 'Access key ID' and 'Secret access key'; use the .csv as downloaded from the IAM console"
    )]
    NoHeader,
    /// The list of users without keys, which the console also offers for download.
    #[error("it has passwords and no access key; create an access key for the user and use that .csv")]
    NoKeyColumn,
    /// The account's root key, in its own format.
    #[error("it holds the account's root key; create an IAM user that may only send to the queue and use its key")]
    RootKey,
    /// A header and nothing below.
    #[error("no key below the header line; create a new access key and use its .csv")]
    NoKey,
    /// More than one user's key.
    #[error("it holds more than one key; leave only the line of the key for this gateway")]
    SeveralKeys,
    /// A field that should hold a key holds none.
    #[error("the key id or the secret is missing, or contains blanks; use the .csv as downloaded")]
    BadField,
    /// What a page shows in a secret's place.
    #[error(
        "the secret is a row of asterisks, as a page hides it; the console shows a secret once: create a new access key and use its .csv"
    )]
    Hidden,
    /// A key that needs a session token, which this format has no place for.
    #[error(
        "the key is a temporary one (its id begins with ASIA); use a long-lived key, or credentials = \"aws-chain\""
    )]
    Temporary,
    /// Columns that were exchanged by hand.
    #[error("the key id's column holds no key id: id and secret seem to be exchanged; use the .csv as downloaded")]
    Swapped,
    /// A quote that is never closed.
    #[error("a quoted field has no end; use the .csv as downloaded")]
    OpenQuote,
}

/// Reads the one key of a file's content.
///
/// # Errors
/// See [`CsvError`].
pub fn parse_csv(bytes: &[u8]) -> Result<AccessKey, CsvError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0')).ok_or(CsvError::NotText)?;
    // CR alone ended a line once, and some spreadsheets still write it.
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let (hint, text) = without_notes(&text);
    let header_line = text.lines().next().ok_or(CsvError::Empty)?;
    if header_line.trim_start().starts_with("AWSAccessKeyId=") {
        return Err(CsvError::RootKey);
    }
    let separator = hint.or_else(|| separator_of(header_line)).unwrap_or(',');
    let mut rows = rows(text, separator)?.into_iter();
    let header: Vec<String> = rows.next().unwrap_or_default().iter().map(|name| name.trim().to_lowercase()).collect();
    let column = |name: &str| header.iter().position(|title| title == name);
    let (Some(id), Some(secret)) = (column("access key id"), column("secret access key")) else {
        return Err(if column("password").is_some() { CsvError::NoKeyColumn } else { CsvError::NoHeader });
    };
    let row = rows.next().ok_or(CsvError::NoKey)?;
    if rows.next().is_some() {
        return Err(CsvError::SeveralKeys);
    }
    let field = |at: usize| {
        let value = row.get(at).map(|value| value.trim()).unwrap_or_default();
        let legal = !value.is_empty() && value.bytes().all(|b| b.is_ascii_graphic());
        legal.then(|| value.to_owned()).ok_or(CsvError::BadField)
    };
    if row.get(secret).is_some_and(|field| is_hidden(field.trim())) {
        return Err(CsvError::Hidden);
    }
    let key = AccessKey { id: field(id)?, secret: field(secret)? };
    // No signature can name an id with a slash, and a service's answer would repeat it.
    if !is_shaped_like_an_id(&key.id) && (is_shaped_like_an_id(&key.secret) || key.id.contains('/')) {
        return Err(CsvError::Swapped);
    }
    if key.id.len() >= 16 && key.id.starts_with("ASIA") {
        return Err(CsvError::Temporary);
    }
    Ok(key)
}

/// Whether a field is what a page shows in a secret's place.
fn is_hidden(field: &str) -> bool {
    field.chars().count() >= 4 && field.chars().all(|c| matches!(c, '*' | '•' | '●'))
}

/// The text from its header on, and the separator that a spreadsheet noted: above the header may be blank lines, comments (`#`),
/// and Excel's `sep=;`. No header of the console begins so.
fn without_notes(mut text: &str) -> (Option<char>, &str) {
    let mut hint = None;
    while !text.is_empty() {
        let (line, rest) = text.split_once('\n').unwrap_or((text, ""));
        let line = line.trim_matches(['"', ' ']);
        let noted = line.get(..4).filter(|start| start.eq_ignore_ascii_case("sep=")).map(|_| &line[4..]);
        match noted.map(|noted| noted.trim_matches(' ').chars().collect::<Vec<_>>()).as_deref() {
            Some([separator]) => hint = Some(*separator),
            _ if line.trim().is_empty() || line.starts_with('#') => {}
            _ => break,
        }
        text = rest;
    }
    (hint, text)
}

/// What separates a header's columns: none of these is in their names.
fn separator_of(header: &str) -> Option<char> {
    [',', ';', '\t'].into_iter().find(|separator| header.contains(*separator))
}

/// Rows of fields, empty rows and comments left out; quoted fields may hold separators, doubled quotes and line ends.
fn rows(text: &str, separator: char) -> Result<Vec<Vec<String>>, CsvError> {
    let mut rows = vec![vec![String::new()]];
    let (mut quoted, mut chars) = (false, text.chars().peekable());
    while let Some(c) = chars.next() {
        let row = rows.last_mut().expect("never empty");
        let field = row.last_mut().expect("never empty");
        match c {
            '"' if quoted && chars.next_if_eq(&'"').is_some() => field.push('"'),
            '"' if quoted => quoted = false,
            '"' if field.trim().is_empty() => {
                field.clear();
                quoted = true;
            }
            c if quoted => field.push(c),
            '\n' => rows.push(vec![String::new()]),
            c if c == separator => row.push(String::new()),
            c => field.push(c),
        }
    }
    if quoted {
        return Err(CsvError::OpenQuote);
    }
    // A comment is a line without a separator: a secret may begin with anything, but is in a column.
    let comment = |row: &[String]| row.len() == 1 && row[0].trim_start().starts_with('#');
    rows.retain(|row| row.iter().any(|field| !field.trim().is_empty()) && !comment(row));
    Ok(rows)
}
