//! Fuzzes the journal's pure readers.
#![no_main]

tidegate_fuzz::fuzz!("journal_parsers");
