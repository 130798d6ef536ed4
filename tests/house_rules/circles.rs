//! Circles: no file of the agent imports, by whatever way round, a file that imports it. A folder's `mod.rs` and what is below it are one
//! house: they name each other freely. Tests excepted.

use super::edges::{is_of_tests, product};
use super::options::paths;
use super::{files, none, text};
use std::collections::{BTreeMap, BTreeSet};

type Arrows = BTreeMap<String, BTreeSet<String>>;

/// `src/a/b.rs` and `src/a/b/mod.rs` are `a::b`.
fn module(path: &str) -> String {
    let name = path.trim_start_matches("src/").trim_end_matches(".rs").replace('/', "::");
    name.strip_suffix("::mod").unwrap_or(&name).to_owned()
}

fn is_within(inner: &str, outer: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with("::"))
}

/// The modules that a file names by `crate::`, or by `super::`, those of its own house left out.
fn arrows_of(own: &str, source: &str, modules: &BTreeSet<String>) -> BTreeSet<String> {
    let product = product(source);
    let mut named = Vec::new();
    for (at, _) in product.match_indices("crate::") {
        named.extend(paths(&product[at + "crate::".len()..]));
    }
    let parent = own.rsplit_once("::").map_or("", |(parent, _)| parent);
    for (at, _) in product.match_indices("super::").filter(|(at, _)| !product[..*at].ends_with("::")) {
        named.extend(paths(&product[at + "super::".len()..]).into_iter().map(|path| format!("{parent}::{path}")));
    }
    let deepest = |path: String| {
        let parts: Vec<&str> = path.split("::").collect();
        (1..=parts.len()).rev().map(|n| parts[..n].join("::")).find(|name| modules.contains(name))
    };
    let of_others = |name: &String| name != own && !is_within(name, own) && !is_within(own, name);
    named.into_iter().filter_map(deepest).filter(of_others).collect()
}

/// The arrows between modules that are in a circle, or on a way between two.
fn circles(mut arrows: Arrows) -> Arrows {
    loop {
        let before = arrows.clone();
        let with_way_in: BTreeSet<String> = arrows.values().flatten().cloned().collect();
        arrows.retain(|name, to| !to.is_empty() && with_way_in.contains(name));
        let left: BTreeSet<String> = arrows.keys().cloned().collect();
        arrows.values_mut().for_each(|to| to.retain(|name| left.contains(name)));
        if arrows == before {
            return arrows;
        }
    }
}

fn said(circles: Arrows) -> Vec<String> {
    let of = |(from, to): (String, BTreeSet<String>)| {
        format!("{from} imports {}: in a circle", to.into_iter().collect::<Vec<_>>().join(" and "))
    };
    circles.into_iter().map(of).collect()
}

#[test]
fn files_of_the_agent_import_each_other_in_no_circle() {
    let product: Vec<String> = files("src", ".rs").into_iter().filter(|path| !is_of_tests(path)).collect();
    let modules: BTreeSet<String> = product.iter().map(|path| module(path)).collect();
    let arrows = product.iter().map(|path| (module(path), arrows_of(&module(path), &text(path), &modules)));
    let arrows: Arrows = arrows.collect();
    let count: usize = arrows.values().map(BTreeSet::len).sum();
    assert!(count > 500, "{count} imports are not all");
    none(&said(circles(arrows)));
}

#[test]
fn a_circle_of_three_files_is_seen() {
    let sources = [
        ("src/a/mod.rs", "mod one;\nuse one::One;"),
        ("src/a/one.rs", "use crate::a::Whole;\nuse crate::{a::two::Two, b};"),
        ("src/a/two.rs", "fn of(three: &super::three::Three) {}"),
        (
            "src/a/three.rs",
            "// crate::b\nuse crate::a::one::{self, One};\n#[cfg(test)]\nmod tests {\n    use crate::b;",
        ),
        ("src/b.rs", "use std::fmt;"),
    ];
    let modules: BTreeSet<String> = sources.iter().map(|(path, _)| module(path)).collect();
    let arrows = |without: &str| -> Arrows {
        let all = sources.iter().filter(|(path, _)| *path != without);
        all.map(|(path, source)| (module(path), arrows_of(&module(path), source, &modules))).collect()
    };
    let found = said(circles(arrows("")));
    let expected = ["a::one imports a::two", "a::three imports a::one", "a::two imports a::three"];
    assert_eq!(found, expected.map(|arrow| format!("{arrow}: in a circle")));
    assert!(said(circles(arrows("src/a/two.rs"))).is_empty());
}
