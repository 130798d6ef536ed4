//! Walks the parsed file section by section, one typed value at a time, and keeps every problem instead of stopping at
//! the first.
//!
//! A section remembers which keys were asked for. What the file has and was never asked for is an unknown key; so the
//! reading code is the one list of keys there is, and the tests compare the shipped defaults with it.

use crate::config::form::{At, Form, Located, not_a_word, plain_text};
use crate::config::parse::{self, Wrong};
use crate::config::problem::{ConfigProblem, Place, Source, is_secret_key, nearest};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::de::DeTable;

/// Where systemd tells a unit that its credentials lie (`LoadCredential=`, systemd 247).
pub(super) const CREDENTIALS_VARIABLE: &str = "CREDENTIALS_DIRECTORY";
/// Where they lie for the package's unit.
const UNIT_CREDENTIALS: &str = "/run/credentials/tidegate.service";
/// Start of the name of every environment variable that overrides a key.
pub(super) const VARIABLE_PREFIX: &str = "TIDEGATE_";

/// The reader of one configuration.
pub(super) struct Reader<'d> {
    pub(super) source: &'d Source<'d>,
    /// Folder that relative paths count from.
    pub(super) base: &'d Path,
    environment: &'d BTreeMap<String, String>,
    pub(super) problems: Vec<ConfigProblem>,
    /// Every key asked for so far.
    pub(super) asked: BTreeSet<String>,
    /// Every one of them that was set.
    pub(super) set: BTreeSet<String>,
    /// Every variable that would have been read so far.
    variables: BTreeSet<String>,
}

impl<'d> Reader<'d> {
    pub(super) fn new(source: &'d Source<'d>, base: &'d Path, environment: &'d BTreeMap<String, String>) -> Reader<'d> {
        let (problems, asked, set, variables) = (Vec::new(), BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        Reader { source, base, environment, problems, asked, set, variables }
    }

    /// Notes a problem. `form` describes what was found there unless `wrong` says it better.
    pub(super) fn problem(&mut self, at: &At, form: Option<&Form<'_>>, wrong: Wrong) {
        let last = at.key.rsplit(['.', ' ']).next().unwrap_or_default();
        let found = match form {
            _ if !wrong.found.is_empty() => wrong.found,
            Some(_) if is_secret_key(last) => "found a value that is not shown".to_owned(),
            Some(form) => form.describe(),
            None => String::new(),
        };
        let Wrong { expected, suggestion, .. } = wrong;
        let file = self.source.file.clone();
        let key = at.key.trim_end_matches([':', ' ']).to_owned();
        self.problems.push(ConfigProblem { file, place: at.place.clone(), key, found, expected, suggestion });
    }

    /// The section `path` whose table is `table`, if the file has it. With `variables`, the environment overrides its
    /// keys.
    pub(super) fn section(
        &mut self,
        path: &str,
        table: Option<(&'d DeTable<'d>, Range<usize>)>,
        variables: bool,
    ) -> Section<'d, '_> {
        let place = table.as_ref().map_or(Place::File, |(_, span)| self.source.place(span.clone()));
        let at = At { key: path.to_owned(), place };
        Section { reader: self, at, table: table.map(|(table, _)| table), variables, asked: Vec::new() }
    }

    /// Notes a variable of ours that names no key.
    pub(super) fn finish_environment(&mut self, sections: &[&str]) {
        for name in self.environment.keys().filter(|name| !self.variables.contains(*name)) {
            let rest = name.strip_prefix(VARIABLE_PREFIX).unwrap_or_default();
            let ours =
                sections.iter().any(|s| rest.strip_prefix(&*s.to_uppercase()).is_some_and(|r| r.starts_with('_')));
            if !ours {
                continue;
            }
            let known = self.variables.iter().map(String::as_str);
            let mut wrong = Wrong::because("names no key");
            if let Some(meant) = nearest(name, known) {
                wrong = wrong.suggest(format!("did you mean {meant}?"));
            } else if rest.starts_with("QUEUES_") {
                wrong = wrong.suggest("only queues of the file have variables: add [queues.NAME] there");
            }
            let at = At { key: String::new(), place: Place::Variable(name.clone()) };
            self.problems.push(ConfigProblem {
                file: self.source.file.clone(),
                place: at.place,
                key: at.key,
                found: wrong.found,
                expected: String::new(),
                suggestion: wrong.suggestion,
            });
        }
    }
}

/// The variable that overrides a key.
pub(super) fn variable_name(path: &str) -> String {
    let upper = path.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' });
    VARIABLE_PREFIX.chars().chain(upper).collect()
}

/// One section of the file.
pub(super) struct Section<'d, 'r> {
    pub(super) reader: &'r mut Reader<'d>,
    /// Key and place of its header.
    pub(super) at: At,
    table: Option<&'d DeTable<'d>>,
    variables: bool,
    asked: Vec<&'static str>,
}

impl<'d> Section<'d, '_> {
    /// The value of a key as it was written; the environment's before the file's.
    pub(super) fn take(&mut self, key: &'static str) -> Option<(Form<'d>, At)> {
        self.asked.push(key);
        let separator = if self.at.key.is_empty() || self.at.key.ends_with(' ') { "" } else { "." };
        let path = format!("{}{separator}{key}", self.at.key);
        self.reader.asked.insert(path.clone());
        if self.has(key) {
            self.reader.set.insert(path.clone());
        }
        if self.variables {
            let name = variable_name(&path);
            let value = self.reader.environment.get(&name);
            self.reader.variables.insert(name.clone());
            if let Some(value) = value {
                return Some((Form::Variable(value), At { key: path, place: Place::Variable(name) }));
            }
        }
        let value = self.table?.get(key)?;
        Some((Form::of(value.get_ref()), At { key: path, place: self.reader.source.place(value.span()) }))
    }

    /// Whether a key is set at all, rightly or wrongly.
    pub(super) fn has(&self, key: &str) -> bool {
        let variable = || self.reader.environment.contains_key(&variable_name(&format!("{}.{key}", self.at.key)));
        self.table.is_some_and(|table| table.contains_key(key)) || (self.variables && variable())
    }

    /// A value, read by `parse`; `None` when it is not set, or wrong and noted.
    pub(super) fn read<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&Form<'d>) -> Result<T, Wrong>,
    ) -> Option<Located<T>> {
        let (form, at) = self.take(key)?;
        match parse(&form) {
            Ok(value) => Some(Located { value, at }),
            Err(wrong) => {
                self.reader.problem(&at, Some(&form), wrong);
                None
            }
        }
    }

    /// Text in quotes, not empty, read by `parse`.
    pub(super) fn text<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> Option<Located<T>> {
        self.read(key, |form| parse(plain_text(form)?))
    }

    /// A size within bounds, both written as a person would.
    pub(super) fn size(&mut self, key: &'static str, bounds: RangeInclusive<u64>) -> Option<Located<u64>> {
        self.read(key, |form| {
            let bytes = match form {
                Form::Text(text) | Form::Variable(text) | Form::Integer(text) => parse::size(&text.replace('_', ""))?,
                _ => parse::size("")?,
            };
            let span = || format!("{} to {}", parse::size_text(*bounds.start()), parse::size_text(*bounds.end()));
            if bounds.contains(&bytes) { Ok(bytes) } else { Err(Wrong::expected(span())) }
        })
    }

    /// A time within bounds, both written as a person would.
    pub(super) fn duration(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<Duration>,
    ) -> Option<Located<Duration>> {
        self.read(key, |form| {
            let time = match form {
                Form::Text(text) | Form::Variable(text) | Form::Integer(text) => parse::duration(text)?,
                _ => parse::duration("")?,
            };
            let span =
                || format!("{} to {}", parse::duration_text(*bounds.start()), parse::duration_text(*bounds.end()));
            if bounds.contains(&time) { Ok(time) } else { Err(Wrong::expected(span())) }
        })
    }

    /// A number within bounds.
    pub(super) fn count(&mut self, key: &'static str, bounds: RangeInclusive<usize>) -> Option<Located<usize>> {
        self.read(key, |form| {
            let number = match form {
                Form::Integer(digits) | Form::Variable(digits) => digits.parse().ok(),
                _ => None,
            };
            let wrong = || Wrong::expected(format!("a number from {} to {}", bounds.start(), bounds.end()));
            number.filter(|number| bounds.contains(number)).ok_or_else(wrong)
        })
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, key: &'static str) -> Option<Located<bool>> {
        self.read(key, |form| match form {
            Form::Bool(flag) => Ok(*flag),
            Form::Variable("true") => Ok(true),
            Form::Variable("false") => Ok(false),
            _ => Err(Wrong::expected("true or false, without quotes")),
        })
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)]) -> Option<Located<T>> {
        self.text(key, |text| {
            if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
                return Ok(*value);
            }
            Err(not_a_word(text, &words.iter().map(|(word, _)| *word).collect::<Vec<_>>()))
        })
    }

    /// A path; a relative one counts from the configuration's folder, and one behind `$CREDENTIALS_DIRECTORY/` from where
    /// systemd puts a unit's credentials.
    pub(super) fn path(&mut self, key: &'static str) -> Option<Located<PathBuf>> {
        let (base, credentials) = (self.reader.base, self.reader.environment.get(CREDENTIALS_VARIABLE));
        self.text(key, |text| {
            if text.starts_with('~') {
                return Err(Wrong::expected("a path; \"~\" has no meaning here").suggest("write the whole path"));
            }
            let Some(variable) = text.strip_prefix('$') else { return Ok(base.join(text)) };
            let name = variable.strip_prefix(CREDENTIALS_VARIABLE).and_then(|rest| rest.strip_prefix('/'));
            let Some(name) = name.filter(|name| !name.is_empty()) else {
                let wrong = Wrong::expected(format!("a path; ${CREDENTIALS_VARIABLE} is the only variable known here"));
                return Err(wrong.suggest(format!("${CREDENTIALS_VARIABLE}/credentials.csv")));
            };
            // Commands that are run by hand have no such variable, and look where the package's unit has them.
            Ok(Path::new(credentials.map_or(UNIT_CREDENTIALS, String::as_str)).join(name))
        })
    }

    /// Notes that a key is missing.
    pub(super) fn missing(&mut self, key: &'static str, expected: &str, suggestion: &str) {
        let at = self.at.clone();
        self.reader.problem(
            &at,
            None,
            Wrong {
                found: format!("{key} is missing"),
                expected: expected.to_owned(),
                suggestion: suggestion.to_owned(),
            },
        );
    }

    /// Notes every variable of the section that is a mistake which `hint` knows by the key's name. Others are looked at in
    /// [`Reader::finish_environment`], when all that are read are known.
    fn finish_variables(&mut self, hint: &impl Fn(&str) -> Option<&'static str>) {
        let prefix = variable_name(&format!("{}.", self.at.key));
        for name in self.reader.environment.keys() {
            let Some(text) = name.strip_prefix(&prefix).and_then(|key| hint(&key.to_lowercase())) else { continue };
            if !self.reader.variables.insert(name.clone()) {
                continue;
            }
            let own = |key: &str| variable_name(&format!("{}.{key}", self.at.key));
            let text =
                self.asked.iter().fold(text.to_owned(), |text, key| text.replace(&format!("\"{key}\""), &own(key)));
            let at = At { key: String::new(), place: Place::Variable(name.clone()) };
            self.reader.problem(&at, None, Wrong::because("names no key").suggest(text));
        }
    }

    /// Notes every key that was not asked for; `hint` knows what some of them were meant to be.
    pub(super) fn finish(mut self, hint: impl Fn(&str) -> Option<&'static str>) {
        if self.variables {
            self.finish_variables(&hint);
        }
        let Section { reader, at: section, table, asked, .. } = self;
        for (key, _) in table.into_iter().flatten() {
            let name: &str = key.get_ref();
            if asked.contains(&name) {
                continue;
            }
            let mut wrong = Wrong::because(format!("unknown key \"{name}\""));
            if let Some(text) = hint(name) {
                wrong = wrong.suggest(text);
            } else if let Some(meant) = nearest(name, asked.iter().copied()) {
                wrong = wrong.did_you_mean(meant);
            } else {
                wrong = wrong.suggest(format!("known here: {}", asked.join(", ")));
            }
            let at = At { key: section.key.clone(), place: reader.source.place(key.span()) };
            reader.problem(&at, None, wrong);
        }
    }
}
