//! A certificate by its fingerprint, as `openssl x509 -noout -fingerprint -sha256` prints it.

use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// SHA-256 of a certificate's DER. As text: `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CertPin([u8; 32]);

const EXPECTED: &str =
    "\"sha256:\" and 64 hexadecimal digits, as openssl x509 -in CERTIFICATE -noout -fingerprint -sha256 prints them";

impl CertPin {
    /// The pin of a certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> CertPin {
        CertPin(Sha256::digest(certificate.as_ref()).into())
    }
}

impl FromStr for CertPin {
    /// What was expected.
    type Err = String;

    /// Takes `sha256:` with digits of either case, in pairs with colons or without.
    fn from_str(text: &str) -> Result<CertPin, String> {
        let digits = text.strip_prefix("sha256:").ok_or(EXPECTED)?.replace(':', "");
        let digits = digits.as_bytes();
        let mut pin = [0; 32];
        if digits.len() != 2 * pin.len() || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(EXPECTED.to_owned());
        }
        for (byte, pair) in pin.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| EXPECTED)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| EXPECTED)?;
        }
        Ok(CertPin(pin))
    }
}

impl fmt::Display for CertPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CertPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_parses_as_written_here_and_by_openssl() {
        let pin = CertPin::of(&CertificateDer::from(b"a certificate".to_vec()));
        assert_eq!(pin.to_string().parse(), Ok(pin));
        let hex = pin.to_string().to_uppercase()[7..].to_owned();
        let pairs: Vec<_> = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("ASCII")).collect();
        assert_eq!(format!("sha256:{}", pairs.join(":")).parse(), Ok(pin));
        let cut = &pin.to_string()[..70];
        for text in ["", "sha256:", "sha1:00", cut, &format!("{pin}0"), &format!("sha256:{}", "é".repeat(32)), &hex] {
            assert!(text.parse::<CertPin>().is_err(), "{text}");
        }
    }
}
