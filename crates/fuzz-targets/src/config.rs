//! Target `config`: any text is a configuration or is refused, with every problem in its place.

use std::collections::BTreeMap;
use std::path::Path;
use tidegate::config::{Config, ConfigProblem, DEFAULT_TOML, Place};

/// The file's text; behind a zero byte, if there is one, the environment as lines of `NAME=VALUE`.
///
/// Reading never panics. What is read is read again as the same, also behind a byte order mark. What is refused is
/// refused with at least one problem; each can be shown, and a place in the file lies in the file.
pub(super) fn run(input: &[u8]) {
    let input = String::from_utf8_lossy(input);
    let (text, variables) = input.split_once('\0').unwrap_or((&input, ""));
    let variables = variables.lines().filter_map(|line| line.split_once('='));
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    match parse(text, &variables) {
        Ok(config) => {
            let again = parse(&format!("\u{feff}{}", text.trim_start_matches('\u{feff}')), &variables);
            assert_eq!(format!("{config:?}"), format!("{:?}", again.expect("it was read before")));
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            problems.iter().for_each(|problem| check(problem, text));
        }
    }
}

fn parse(text: &str, variables: &BTreeMap<String, String>) -> Result<Config, Vec<ConfigProblem>> {
    Config::parse(text, Path::new("/etc/tidegate/tidegate.toml"), variables)
}

fn check(problem: &ConfigProblem, text: &str) {
    assert!(!problem.to_string().is_empty() && !problem.found.is_empty(), "{problem:?}");
    let Place::Line { line, column, width, .. } = &problem.place else { return };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let found = (*line).checked_sub(1).and_then(|index| text.split('\n').nth(index));
    let length = found.unwrap_or_else(|| panic!("line {line} of a shorter file: {problem}")).chars().count();
    assert!((1..=length + 1).contains(column), "column {column} in a line of {length}: {problem}");
    assert!(*width >= 1 && column - 1 + width <= length.max(*column), "{width} characters at {column}: {problem}");
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let document = include_str!("../../../docs/configuration.md");
    let shown = document.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    // The shipped file says its defaults in comments; uncommented they are keys.
    let uncommented: String =
        DEFAULT_TOML.lines().map(|line| format!("{}\n", line.strip_prefix("# ").unwrap_or(line))).collect();
    let mut seeds: Vec<String> = shown.map(str::to_owned).collect();
    seeds.extend([DEFAULT_TOML.to_owned(), uncommented]);
    let with_variables = format!("{}\0TIDEGATE_GATEWAY_ID=roof\nTIDEGATE_QUEUES_MAIN_URL=x", seeds[0]);
    seeds.push(with_variables);
    seeds.into_iter().map(String::into_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_outside_the_text_is_seen() {
        let text = "[gateway]\nid = 7\n";
        let problem = parse(text, &BTreeMap::new()).expect_err("a number is no label").remove(0);
        let passes = |line, column, width| {
            let place = Place::Line { line, column, width, excerpt: String::new() };
            let problem = ConfigProblem { place, ..problem.clone() };
            std::panic::catch_unwind(|| check(&problem, text)).is_ok()
        };
        assert!(passes(2, 6, 1) && passes(2, 7, 1) && passes(3, 1, 1));
        for (line, column, width) in [(0, 1, 1), (4, 1, 1), (2, 0, 1), (2, 8, 1), (2, 1, 0), (2, 1, 8)] {
            assert!(!passes(line, column, width), "{line}:{column}, {width}");
        }
    }
}
