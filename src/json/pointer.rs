//! JSON pointers (RFC 6901), as the configuration writes them and [`crate::json::scan`] follows them.

use std::fmt;
use std::str::FromStr;

/// Most levels of a pointer: what real payloads need is five; the reader's stack grows with it.
pub const LEVELS_MAX: usize = 16;

/// An RFC 6901 JSON pointer, taken apart: `/deviceInfo/devEui`. The empty pointer is the whole text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pointer {
    levels: Vec<String>,
}

impl Pointer {
    /// Its levels, with `~0` and `~1` unescaped.
    pub fn levels(&self) -> &[String] {
        &self.levels
    }
}

impl FromStr for Pointer {
    type Err = String;

    /// The error says what a pointer looks like, to be shown after the offending text.
    fn from_str(text: &str) -> Result<Pointer, String> {
        if text.is_empty() {
            return Ok(Pointer { levels: Vec::new() });
        }
        let Some(rest) = text.strip_prefix('/') else {
            return Err(format!("a JSON pointer, which starts with \"/\", such as \"/{text}\""));
        };
        let levels: Vec<String> = rest.split('/').map(unescape_level).collect::<Option<_>>().ok_or_else(|| {
            "a JSON pointer, in which \"~\" is written \"~0\" and a \"/\" inside a name \"~1\"".to_owned()
        })?;
        if levels.len() > LEVELS_MAX {
            return Err(format!("a JSON pointer of at most {LEVELS_MAX} levels"));
        }
        Ok(Pointer { levels })
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.levels.iter().try_for_each(|level| write!(f, "/{}", level.replace('~', "~0").replace('/', "~1")))
    }
}

fn unescape_level(level: &str) -> Option<String> {
    let mut out = String::with_capacity(level.len());
    let mut chars = level.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '~' => match chars.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            plain => plain,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_refused_with_what_they_should_look_like() {
        assert_eq!("ts".parse::<Pointer>().unwrap_err(), r#"a JSON pointer, which starts with "/", such as "/ts""#);
        assert!("/a~2".parse::<Pointer>().is_err());
        assert!("/a".repeat(LEVELS_MAX + 1).parse::<Pointer>().is_err());
        assert_eq!("/a~1b/~0/".parse::<Pointer>().unwrap().levels(), ["a/b", "~", ""]);
        assert_eq!("/a~1b/~0/".parse::<Pointer>().unwrap().to_string(), "/a~1b/~0/");
    }
}
