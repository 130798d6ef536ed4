//! The binary: everything is in the library, where tests can reach it.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    tidegate::cli::main()
}
