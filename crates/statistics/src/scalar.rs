//! Where a key lies between two others.

/// The part of the way from `low` to `high` at which `key` is, by the eight bytes after what the two have in common:
/// exact for integers and times, whose keys are big-endian numbers; near for floats, decimals and strings.
pub(crate) fn position(low: &[u8], high: &[u8], key: &[u8]) -> f64 {
    if key <= low {
        return 0.0;
    }
    if key >= high {
        return 1.0;
    }
    let same = low.iter().zip(high).take_while(|(a, b)| a == b).count();
    let number = |key: &[u8]| {
        let mut bytes = [0_u8; 8];
        for (byte, held) in bytes.iter_mut().zip(key.get(same..).unwrap_or_default()) {
            *byte = *held;
        }
        u64::from_be_bytes(bytes)
    };
    let (from, to, at) = (number(low), number(high), number(key));
    match to.checked_sub(from) {
        None | Some(0) => 0.5,
        Some(way) => (at.saturating_sub(from) as f64 / way as f64).clamp(0.0, 1.0),
    }
}

/// How wide a range is in units of another, which may lie elsewhere: for numbers of one encoding.
pub(crate) fn width_in(unit: (&[u8], &[u8]), range: (&[u8], &[u8])) -> f64 {
    // A common origin for all four.
    let ends = [unit.0, unit.1, range.0, range.1];
    let same =
        (0..).take_while(|at| ends.iter().all(|e| e.get(*at).is_some() && e.get(*at) == ends[0].get(*at))).count();
    let number = |key: &[u8]| {
        let mut bytes = [0_u8; 8];
        for (byte, held) in bytes.iter_mut().zip(key.get(same..).unwrap_or_default()) {
            *byte = *held;
        }
        u64::from_be_bytes(bytes)
    };
    let unit_width = number(unit.1).saturating_sub(number(unit.0)).max(1);
    number(range.1).saturating_sub(number(range.0)) as f64 / unit_width as f64
}

#[cfg(test)]
mod tests {
    use codec::datum::{Datum, encode_key};

    use super::*;

    fn key(d: Datum) -> Vec<u8> {
        let mut out = Vec::new();
        encode_key(&mut out, &d, None).unwrap();
        out
    }

    #[test]
    fn integers_lie_where_arithmetic_says() {
        for (low, high, at, expect) in [
            (0_i64, 100_i64, 25_i64, 0.25),
            (-100, 100, 0, 0.5),
            (i64::MIN, i64::MAX, 0, 0.5),
            (5, 6, 5, 0.0),
            (1000, 1010, 1007, 0.7),
        ] {
            let found = position(&key(low.into()), &key(high.into()), &key(at.into()));
            assert!((found - expect).abs() < 1e-9, "{low} {at} {high}: {found}");
        }
    }

    #[test]
    fn strings_lie_in_their_order() {
        let at = |s: &str| position(&key("apple".into()), &key("pear".into()), &key(s.into()));
        assert!(at("a") == 0.0 && at("b") < at("h") && at("h") < at("p") && at("q") == 1.0);
    }

    #[test]
    fn a_range_beside_is_measured_in_widths() {
        let k = |n: i64| key(n.into());
        let width = width_in((&k(0), &k(100)), (&k(100), &k(150)));
        assert!((width - 0.5).abs() < 1e-9, "{width}");
    }
}
