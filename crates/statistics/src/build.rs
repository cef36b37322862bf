//! From a sample and counts to a distribution.
//!
//! Where the sample is the whole table, frequent values are just those that come most often. Where it is a part, a value
//! that came twice may have done so by chance: values are kept from the most frequent on, as long as the last of them
//! came more often than chance would have it for any of the others ([`is_no_chance`]). Values that are not kept are in the
//! histogram, which spreads them evenly, and that is what is known of them.

use crate::distribution::{Bucket, Distribution, Frequent};

/// How fine a distribution is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuildOptions {
    /// Buckets at most.
    pub buckets: usize,
    /// Frequent values at most.
    pub top_n: usize,
}

/// What is known of all rows.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Totals {
    /// All.
    pub rows: u64,
    /// NULLs that are not among the sample's keys.
    pub nulls: u64,
    /// Different values, as a sketch counts them.
    pub distinct: u64,
    /// Bytes of values.
    pub bytes: u64,
}

/// The distribution of the values of which `keys` is a sample.
pub fn build(mut keys: Vec<Vec<u8>>, totals: Totals, options: BuildOptions) -> Distribution {
    keys.sort_unstable();
    let sampled = keys.len() as u64;
    let present = totals.rows.saturating_sub(totals.nulls).max(sampled);
    let whole = sampled == present;
    let groups: Vec<(&[u8], u64)> =
        keys.chunk_by(|a, b| a == b).map(|equal| (equal[0].as_slice(), equal.len() as u64)).collect();
    let seen = groups.len() as u64;
    let distinct = if whole { seen } else { totals.distinct.clamp(seen, present) };
    let mut built = Distribution {
        version: 0,
        rows: present + totals.nulls,
        nulls: totals.nulls,
        distinct,
        bytes: totals.bytes,
        correlation: 0.0,
        frequent: Vec::new(),
        buckets: Vec::new(),
    };
    if sampled == 0 {
        return built;
    }
    let scale = present as f64 / sampled as f64;
    let frequent = frequent(&groups, distinct, sampled, present, options.top_n, whole);
    let mut rest = Vec::with_capacity(groups.len() - frequent.len());
    let mut next = frequent.iter().copied().peekable();
    for (at, (key, count)) in groups.iter().enumerate() {
        if next.next_if_eq(&at).is_some() {
            built.frequent.push(Frequent { key: key.to_vec(), rows: (*count as f64 * scale).round() as u64 });
        } else {
            rest.push((*key, *count));
        }
    }
    let frequent_rows: u64 = built.frequent.iter().map(|f| f.rows).sum();
    let rest_rows = present.saturating_sub(frequent_rows);
    let rest_distinct = distinct.saturating_sub(built.frequent.len() as u64);
    built.buckets = buckets(&rest, rest_rows, rest_distinct, options.buckets, whole);
    built
}

/// Positions of the frequent values, ascending.
fn frequent(
    groups: &[(&[u8], u64)],
    distinct: u64,
    sampled: u64,
    present: u64,
    most: usize,
    whole: bool,
) -> Vec<usize> {
    let mut order: Vec<usize> = (0..groups.len()).collect();
    if distinct as usize <= most && distinct == groups.len() as u64 {
        // All values there are.
        return order;
    }
    // Ties by key, so that one sample has one result.
    order.sort_by_key(|at| (std::cmp::Reverse(groups[*at].1), *at));
    order.truncate(most);
    order.retain(|at| groups[*at].1 > 1);
    if !whole {
        let mut kept_rows: u64 = order.iter().map(|at| groups[*at].1).sum();
        while let Some(last) = order.last() {
            let count = groups[*last].1;
            // What a value outside has on average in the sample, if this one is outside too.
            let others = distinct.saturating_sub(order.len() as u64 - 1).max(1);
            let average = (sampled - (kept_rows - count)) as f64 / others as f64;
            if is_no_chance(count as f64, average, others as f64, sampled as f64 / present as f64) {
                break;
            }
            kept_rows -= count;
            order.pop();
        }
    }
    order.sort_unstable();
    order
}

/// Whether a value that came `count` times is more frequent than `others` values which come `average` times each: that
/// less than one of them would come so often by chance. Counts of a small sample are Poisson's, and the logarithm of
/// their tail is bounded by Chernoff; a sample that is much of the table (`part`) leaves that much less to chance.
fn is_no_chance(count: f64, average: f64, others: f64, part: f64) -> bool {
    if count <= average {
        return false;
    }
    let tail = count * (count / average.max(1e-9)).ln() - count + average;
    tail / (1.0 - part).max(1e-6) > others.ln()
}

/// Buckets over groups of equal keys, of `rows` and `distinct` in all.
fn buckets(groups: &[(&[u8], u64)], rows: u64, distinct: u64, most: usize, whole: bool) -> Vec<Bucket> {
    let sampled: u64 = groups.iter().map(|g| g.1).sum();
    if sampled == 0 || most == 0 {
        return Vec::new();
    }
    let scale = rows as f64 / sampled as f64;
    let average = rows as f64 / distinct.max(1) as f64;
    // Sums are scaled and not parts, so that the parts add up.
    let scaled_rows = |n: u64| (n as f64 * scale).round() as u64;
    let scaled_distinct =
        |groups_before: usize| (groups_before as f64 * distinct as f64 / groups.len() as f64).round() as u64;
    let mut out: Vec<Bucket> = Vec::new();
    let (mut before, mut number) = (0_u64, None);
    for (at, (key, count)) in groups.iter().enumerate() {
        let own = before as u128 * most as u128 / u128::from(sampled);
        let (from, to) = (scaled_rows(before), scaled_rows(before + count));
        let repeats = match (whole, count) {
            // Met once by chance.
            (false, 1) => average.round().max(1.0) as u64,
            _ => scaled_rows(*count),
        };
        let values = scaled_distinct(at + 1) - scaled_distinct(at);
        match out.last_mut().filter(|_| number == Some(own)) {
            Some(bucket) => {
                bucket.rows += to - from;
                bucket.upper = key.to_vec();
                bucket.repeats = repeats.min(bucket.rows);
                bucket.distinct += values;
            }
            None => out.push(Bucket {
                rows: to - from,
                lower: key.to_vec(),
                upper: key.to_vec(),
                repeats: repeats.min(to - from),
                distinct: values,
            }),
        }
        number = Some(own);
        before += count;
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use codec::datum::{Datum, encode_key};
    use codec::key::prefix_next;
    use proptest::prelude::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;
    use crate::sketch::Sketch;

    fn key(n: i64) -> Vec<u8> {
        let mut out = Vec::new();
        encode_key(&mut out, &Datum::Int(n), None).unwrap();
        out
    }

    const USUAL: BuildOptions = BuildOptions { buckets: 256, top_n: 100 };

    fn totals(values: &[i64]) -> Totals {
        let mut sketch = Sketch::new(Sketch::HASHES_MAX);
        values.iter().for_each(|v| sketch.insert(&key(*v)));
        Totals { rows: values.len() as u64, nulls: 0, distinct: sketch.distinct(), bytes: 8 * values.len() as u64 }
    }

    fn of(values: &[i64], sample: &[i64], options: BuildOptions) -> Distribution {
        build(sample.iter().map(|v| key(*v)).collect(), totals(values), options)
    }

    /// Values after Zipf: the n-th most frequent comes about 1/n as often as the first.
    fn skewed(rows: usize, values: usize, seed: u64) -> Vec<i64> {
        let mut rng = StdRng::seed_from_u64(seed);
        let weights: Vec<f64> = (1..=values).map(|n| 1.0 / n as f64).collect();
        let all: f64 = weights.iter().sum();
        let mut sums = Vec::new();
        weights.iter().fold(0.0, |sum, w| {
            sums.push(sum + w / all);
            sum + w / all
        });
        // Which value is frequent has nothing to do with how large it is.
        let spread = |rank: usize| (rank as i64 * 7_919) % 100_003;
        (0..rows).map(|_| spread(sums.partition_point(|s| *s < rng.random::<f64>()))).collect()
    }

    fn counts(values: &[i64]) -> BTreeMap<i64, u64> {
        values.iter().fold(BTreeMap::new(), |mut map, v| {
            *map.entry(*v).or_default() += 1;
            map
        })
    }

    fn all_rows(d: &Distribution) -> u64 {
        d.nulls + d.frequent.iter().map(|f| f.rows).sum::<u64>() + d.buckets.iter().map(|b| b.rows).sum::<u64>()
    }

    #[test]
    fn frequent_values_of_a_skewed_column_are_found_in_a_sample() {
        let values = skewed(200_000, 5_000, 1);
        let exact = counts(&values);
        let mut rng = StdRng::seed_from_u64(2);
        let sample: Vec<i64> = values.iter().copied().filter(|_| rng.random::<f64>() < 0.1).collect();
        let built = of(&values, &sample, USUAL);
        let mut order: Vec<(u64, i64)> = exact.iter().map(|(v, n)| (*n, *v)).collect();
        order.sort_unstable_by(|a, b| b.cmp(a));
        for (rows, value) in &order[..20] {
            let found = built.equal(&key(*value));
            let error = (found - *rows as f64).abs() / *rows as f64;
            assert!(error < 0.25, "{value} has {rows} rows and is estimated {found}");
        }
        let error = built.distinct.abs_diff(exact.len() as u64) as f64 / exact.len() as f64;
        assert!(error < 0.05, "{} of {} values", built.distinct, exact.len());
    }

    #[test]
    fn ranges_of_a_skewed_column_are_near_from_a_sample() {
        let values = skewed(200_000, 5_000, 3);
        let mut rng = StdRng::seed_from_u64(4);
        let sample: Vec<i64> = values.iter().copied().filter(|_| rng.random::<f64>() < 0.1).collect();
        let built = of(&values, &sample, USUAL);
        for (low, high) in [(0, 1_000), (5_000, 30_000), (40_000, 41_000), (0, 100_003), (99_000, 200_000)] {
            let exact = values.iter().filter(|v| (low..high).contains(*v)).count() as f64;
            let found = built.range(&key(low), Some(&key(high)));
            // Within a bucket or a part in fifty of all.
            assert!((found - exact).abs() < 200_000.0 / 50.0, "[{low}, {high}): {exact} rows, estimated {found}");
        }
    }

    #[test]
    fn values_that_came_twice_by_chance_are_not_frequent() {
        // 100,000 rows of 50,000 values, two each; in a tenth of them some come twice.
        let values: Vec<i64> = (0..100_000).map(|n| n % 50_000).collect();
        let mut rng = StdRng::seed_from_u64(5);
        let sample: Vec<i64> = values.iter().copied().filter(|_| rng.random::<f64>() < 0.1).collect();
        assert!(counts(&sample).values().any(|n| *n == 2));
        let built = of(&values, &sample, USUAL);
        assert_eq!(built.frequent, []);
        let found = built.equal(&key(77));
        assert!((1.0..4.0).contains(&found), "{found}");
    }

    #[test]
    fn few_values_are_all_frequent_and_exact() {
        let values: Vec<i64> = (0..1_000).map(|n| n % 3).collect();
        let built = of(&values, &values, USUAL);
        assert_eq!(built.buckets, []);
        assert_eq!([0, 1, 2].map(|v| built.equal(&key(v))), [334.0, 333.0, 333.0]);
        assert_eq!(built.range(&key(1), None), 666.0);
    }

    #[test]
    fn nulls_are_counted_where_a_range_has_them() {
        let mut built = of(&[1, 2, 3], &[1, 2, 3], USUAL);
        built.nulls = 7;
        built.rows += 7;
        assert_eq!(built.range(&[], None), 10.0);
        assert_eq!(built.range(&prefix_next(&[0]), None), 3.0);
        assert_eq!(built.range(&[0], Some(&[1])), 7.0);
    }

    #[test]
    fn rows_added_beyond_are_where_the_range_goes_on() {
        let values: Vec<i64> = (0..1_000).collect();
        let built = of(&values, &values, USUAL);
        assert_eq!(built.part_beyond(&key(100), Some(&key(200))), 0.0);
        assert_eq!(built.part_beyond(&key(2_000), None), 1.0);
        let half = built.part_beyond(&key(999), Some(&key(1_499)));
        assert!((0.45..0.55).contains(&half), "{half}");
    }

    proptest! {
        /// Of the whole table nothing is lost, whatever it holds and however coarse the result.
        #[test]
        fn all_rows_are_somewhere(
            values in prop::collection::vec(-50_i64..50, 0..600),
            buckets in 1_usize..40,
            top_n in 0_usize..20,
        ) {
            let built = of(&values, &values, BuildOptions { buckets, top_n });
            prop_assert_eq!(all_rows(&built), values.len() as u64);
            prop_assert!(built.buckets.len() <= buckets && built.frequent.len() <= top_n);
            let exact = counts(&values);
            prop_assert_eq!(built.distinct, exact.len() as u64);
            for f in &built.frequent {
                prop_assert!(exact.iter().any(|(v, n)| key(*v) == f.key && *n == f.rows));
            }
            for pair in built.buckets.windows(2) {
                prop_assert!(pair[0].upper < pair[1].lower);
            }
            let whole = built.range(&[], None);
            prop_assert!((whole - values.len() as f64).abs() < 1e-6);
        }

        /// A range is off by no more than the bucket at each of its ends.
        #[test]
        fn a_range_is_off_by_two_buckets_at_most(
            values in prop::collection::vec(-500_i64..500, 1..800),
            low in -520_i64..520,
            width in 0_i64..600,
            buckets in 1_usize..60,
        ) {
            let built = of(&values, &values, BuildOptions { buckets, top_n: 5 });
            let exact = values.iter().filter(|v| (low..low + width).contains(*v)).count() as f64;
            let found = built.range(&key(low), Some(&key(low + width)));
            let widest = built.buckets.iter().map(|b| b.rows).max().unwrap_or(0) as f64;
            prop_assert!((found - exact).abs() <= 2.0 * widest + 1e-6, "{} against {}", found, exact);
        }

        /// Ranges beside each other add up, and a wider one is not smaller.
        #[test]
        fn ranges_add_up(
            values in prop::collection::vec(-500_i64..500, 1..400),
            cuts in prop::collection::btree_set(-510_i64..510, 3),
        ) {
            let built = of(&values, &values, BuildOptions { buckets: 16, top_n: 5 });
            let cuts: Vec<Vec<u8>> = cuts.into_iter().map(key).collect();
            let part = |a: usize, b: usize| built.range(&cuts[a], Some(&cuts[b]));
            // A point is estimated by its value and not by its width.
            if prefix_next(&cuts[0]) != cuts[1] && prefix_next(&cuts[1]) != cuts[2] {
                prop_assert!((part(0, 1) + part(1, 2) - part(0, 2)).abs() < 1e-6);
            }
        }
    }
}
