//! Fuzzes what a queue answers.
#![no_main]

tidegate_fuzz::fuzz!("answers");
