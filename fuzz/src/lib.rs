//! A target of `crates/fuzz-targets` as a libFuzzer binary, and its seeds as files.

/// The body of a binary that fuzzes the target of that name.
#[macro_export]
macro_rules! fuzz {
    ($name:literal) => {
        libfuzzer_sys::fuzz_target!(init: $crate::begin($name), |input: &[u8]| {
            (fuzz_targets::target($name).run)(input)
        });
    };
}

/// With `TIDEGATE_FUZZ_SEEDS=FOLDER`, writes the target's seeds there, one file each, and ends the process.
pub fn begin(name: &str) {
    let Some(folder) = std::env::var_os("TIDEGATE_FUZZ_SEEDS").map(std::path::PathBuf::from) else { return };
    std::fs::create_dir_all(&folder).expect("a folder for the seeds");
    for (index, seed) in (fuzz_targets::target(name).seeds)().iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{index:03}")), seed).expect("a seed is written");
    }
    std::process::exit(0);
}
