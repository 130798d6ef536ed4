//! One entry of a send call, free of JSON.

use crate::hex::hex;
use md5::{Digest, Md5};
use std::sync::Arc;

/// Name, data type and value of each attribute, sorted by name.
pub type Attributes = Vec<Attribute>;

/// A message attribute of type String or Number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attribute {
    /// Name of the attribute.
    pub name: String,
    /// Data type, custom suffix included.
    pub kind: String,
    /// Value of the attribute, as text.
    pub value: String,
}

/// A message as it came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Message {
    pub(crate) body: Arc<str>,
    pub(crate) group: Option<String>,
    pub(crate) dedup: Option<String>,
    pub(crate) attributes: Attributes,
    /// MD5 of the attributes; `None` when there are none.
    pub(crate) attributes_md5: Option<String>,
}

impl Message {
    /// Bytes as the service counts them.
    pub(crate) fn size(&self) -> usize {
        self.body.len() + self.attributes.iter().map(|a| a.name.len() + a.kind.len() + a.value.len()).sum::<usize>()
    }
}

/// MD5 of a body, as the answer carries it.
pub(crate) fn body_md5(body: &str) -> String {
    hex(&Md5::digest(body.as_bytes()))
}

/// MD5 of attributes sorted by name: length and bytes of name and type, a 1 for a text value, its length and bytes.
pub(crate) fn attributes_md5(attributes: &[Attribute]) -> Option<String> {
    if attributes.is_empty() {
        return None;
    }
    let mut digest = Md5::new();
    for Attribute { name, kind, value } in attributes {
        for part in [name, kind] {
            digest.update((part.len() as u32).to_be_bytes());
            digest.update(part);
        }
        digest.update([1]);
        digest.update((value.len() as u32).to_be_bytes());
        digest.update(value);
    }
    Some(hex(&digest.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_md5_of_attributes_is_that_of_their_framed_bytes() {
        let attributes = [Attribute { name: "a".into(), kind: "String".into(), value: "v".into() }];
        // Checked against `printf '\0\0\0\1a\0\0\0\6String\1\0\0\0\1v' | md5sum`.
        assert_eq!(attributes_md5(&attributes).as_deref(), Some("a18cbb58171ebf4ce88d9fb787f9210b"));
        assert_eq!(attributes_md5(&[]), None);
        assert_eq!(body_md5(""), "d41d8cd98f00b204e9800998ecf8427e");
    }
}
