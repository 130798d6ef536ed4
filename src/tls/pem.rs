//! PEM files as people have them: saved by an editor with a byte order mark, as UTF-16, as DER, with the wrong label. The
//! parser sees "no certificate" in all of these; the error here names the cause.

use crate::tls::TlsError;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;

/// No bundle of roots is larger than a few hundred KiB; a device file or a log must not fill the memory.
const MOST_BYTES: u64 = 4 * 1024 * 1024;

/// All certificates of a file, in its order; at least one.
///
/// # Errors
/// When the file cannot be read, holds no certificate, or holds a damaged section.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(path)?;
    let certs: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certs {
        Ok(certs) if !certs.is_empty() => Ok(certs),
        Ok(_) => Err(content(path, format!("no certificate in it; {}", guess(&pem, "CERTIFICATE")))),
        Err(error) => Err(content(path, format!("not valid PEM: {}", reason(&error)))),
    }
}

/// The first private key of a file.
///
/// # Errors
/// When the file cannot be read or holds no usable key. The error never repeats any of the file's content.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let pem = read(path)?;
    // The older form of an encrypted key has the plain one's label.
    if pem.windows(ENCRYPTED.len()).any(|window| window == ENCRYPTED) {
        return Err(content(path, passphrase(path)));
    }
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => {
            if labels(&pem).iter().any(|label| label.contains("ENCRYPTED")) {
                return content(path, passphrase(path));
            }
            content(path, format!("no private key in it; {}", guess(&pem, "PRIVATE KEY")))
        }
        error => content(path, format!("not valid PEM: {}", reason(&error))),
    })
}

/// The file's bytes without a byte order mark.
fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let unreadable = |source| TlsError::Unreadable { path: path.into(), source };
    let about = std::fs::metadata(path).map_err(unreadable)?;
    if !about.is_file() || about.len() > MOST_BYTES {
        return Err(content(path, format!("not a PEM file: expected a regular file of at most {MOST_BYTES} bytes")));
    }
    let mut bytes = std::fs::read(path).map_err(unreadable)?;
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(content(path, "saved as UTF-16; save it as plain text (ASCII or UTF-8)".into()));
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
    Ok(bytes)
}

/// The header of a key that OpenSSL encrypted in its older form.
const ENCRYPTED: &[u8] = b"Proc-Type: 4,ENCRYPTED";

fn passphrase(path: &Path) -> String {
    format!(
        "the key is encrypted, and nobody is there to type its passphrase; store it without one: openssl pkey -in {0} -out {0}.plain",
        path.display()
    )
}

/// What the file's blocks say that they are.
fn labels(pem: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(pem);
    let label = |line: &str| Some(line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----")?.to_owned());
    text.lines().filter_map(label).collect()
}

/// Why a file that can be read holds none of `wanted`.
fn guess(pem: &[u8], wanted: &str) -> String {
    let labels = labels(pem);
    match labels.first().map(String::as_str) {
        _ if pem.is_empty() => "the file is empty".into(),
        None if pem.starts_with(&[0x30, 0x82]) => {
            "it looks like DER or PKCS#12; convert it to PEM (openssl x509, openssl pkey)".into()
        }
        None => format!("expected PEM: a block that starts with -----BEGIN {wanted}-----"),
        Some("OPENSSH PRIVATE KEY") => "it is a key of ssh-keygen; make one with openssl genpkey".into(),
        Some("CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST") => {
            "it is a request for a certificate; name the certificate that the CA made of it".into()
        }
        Some("TRUSTED CERTIFICATE") => "it is in OpenSSL's 'trusted' form; convert it with openssl x509".into(),
        Some(label) => {
            // A label is at most what one line of the file holds: never key material, but cut it anyway.
            let label: String = label.chars().take(40).filter(|c| !c.is_control()).collect();
            format!("expected {wanted}, found {label}")
        }
    }
}

/// The parser's errors quote the line they stumbled over, which may be a key's: keep the kind alone.
fn reason(error: &rustls::pki_types::pem::Error) -> &'static str {
    use rustls::pki_types::pem::Error::*;
    match error {
        MissingSectionEnd { .. } => "a block has no -----END line; was the file cut off?",
        IllegalSectionStart { .. } => "a -----BEGIN line is damaged",
        Base64Decode(_) => "a block holds characters that are not base64",
        SectionTooLarge => "a block is too large",
        _ => "it cannot be parsed",
    }
}

fn content(path: &Path, problem: String) -> TlsError {
    TlsError::Content { path: path.into(), problem }
}
