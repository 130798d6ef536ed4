//! Fuzzes a journal with one file changed.
#![no_main]

tidegate_fuzz::fuzz!("journal_files");
