//! The binary: everything is in the library, where tests can reach it.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    // Before there are threads. Where it is not taken, memory is only larger.
    lean_heap::set();
    tidegate::cli::main()
}
