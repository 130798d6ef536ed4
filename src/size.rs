//! Sizes as people read them: `36 KiB`, `1.5 MiB`, `80 GiB`.

const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];

/// A number of bytes with its unit, a power of 1024: three digits at most, one behind the point where there is room.
pub fn text(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, 0);
    // What would be rounded to 1024 belongs to the next unit.
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let whole = unit == 0 || value >= 9.95 || (value - value.round()).abs() < 0.05;
    if whole { format!("{value:.0} {}", UNITS[unit]) } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_size_has_the_unit_that_makes_it_short() {
        let said = [0, 1, 1_023, 1_024, 1_536, 36_864, 67_108_864, 1_048_000, 83_000_000_000, u64::MAX].map(text);
        let expected =
            ["0 B", "1 B", "1023 B", "1 KiB", "1.5 KiB", "36 KiB", "64 MiB", "1023 KiB", "77 GiB", "16777216 TiB"];
        assert_eq!(said, expected);
    }

    proptest! {
        #[test]
        fn what_is_said_is_within_five_percent(bytes in 1u64..1 << 50) {
            let said = text(bytes);
            let (value, unit) = said.split_once(' ').unwrap();
            let unit = UNITS.iter().position(|name| *name == unit).unwrap();
            let meant = value.parse::<f64>().unwrap() * 1024f64.powi(unit as i32);
            prop_assert!((meant / bytes as f64 - 1.0).abs() <= 0.05, "{bytes} is said to be {said}");
            prop_assert!(value.len() <= 4, "{said}");
        }
    }
}
