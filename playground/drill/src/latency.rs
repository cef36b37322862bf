//! Whether operations are as fast as they were in calm: pure. A cluster is whole only when they are.

use std::collections::BTreeMap;

use crate::history::{Kind, Op};
use crate::rto;

/// The window of the median that must be as before…
const LATENCY_WINDOW_US: u64 = 3_000_000;
/// …so often in a row: while leaders move back, one window may be fast by chance.
const LATENCY_WINDOWS: u64 = 3;
/// How far back [`fast_since`] looks.
pub(crate) const LOOKED_AT_US: u64 = LATENCY_WINDOWS * LATENCY_WINDOW_US;
/// As fast as before: within a fifth…
const LATENCY_FACTOR: f64 = 1.2;
/// …and this much: where nothing is far, a fifth is less than what a busy machine makes of it.
const LATENCY_SLACK_MS: f64 = 10.0;

/// Median latency of answered operations by region and kind, milliseconds.
pub(crate) fn medians(ops: &[Op]) -> BTreeMap<(String, Kind), f64> {
    let mut latencies: BTreeMap<(String, Kind), Vec<u64>> = BTreeMap::new();
    for op in ops.iter().filter(|op| rto::answered(op)) {
        latencies.entry((op.region.clone(), op.kind)).or_default().push(op.latency_us());
    }
    latencies.into_iter().filter_map(|(key, l)| Some((key, rto::Latency::of(l)?.p50_ms))).collect()
}

/// When the operations were as fast as before in each of the last windows, the end of the first of these; else why that
/// is not so. Only windows after healing count.
pub(crate) fn fast_since(
    ops: &[Op],
    before: &BTreeMap<(String, Kind), f64>,
    healed_us: u64,
    now_us: u64,
) -> Result<u64, Vec<String>> {
    // The latest first: what it says is what is still so.
    for back in 0..LATENCY_WINDOWS {
        let end = now_us.saturating_sub(back * LATENCY_WINDOW_US);
        if end < healed_us + LATENCY_WINDOW_US {
            let (fast, wanted) = (back * LATENCY_WINDOW_US, LATENCY_WINDOWS * LATENCY_WINDOW_US);
            let (fast, wanted) = (fast / 1_000_000, wanted / 1_000_000);
            return Err(vec![format!("as fast as before for {fast} s of {wanted} s")]);
        }
        let within = end - LATENCY_WINDOW_US..end;
        let of: Vec<Op> = ops.iter().filter(|op| within.contains(&op.complete_us)).cloned().collect();
        let slower = slower(&of, before);
        if !slower.is_empty() {
            let ago = back * LATENCY_WINDOW_US / 1_000_000;
            return Err(match ago {
                0 => slower,
                ago => slower.into_iter().map(|what| format!("{what} ({ago} s ago)")).collect(),
            });
        }
    }
    Ok(now_us - (LATENCY_WINDOWS - 1) * LATENCY_WINDOW_US)
}

/// What is not as fast as before, a sentence each.
fn slower(ops: &[Op], before: &BTreeMap<(String, Kind), f64>) -> Vec<String> {
    let now = medians(ops);
    let mut slower = Vec::new();
    for ((region, kind), before) in before {
        let kind_text = if *kind == Kind::Read { "reads" } else { "writes" };
        match now.get(&(region.clone(), *kind)) {
            None => slower.push(format!("{region}: no {kind_text}")),
            Some(now) if *now > before * LATENCY_FACTOR + LATENCY_SLACK_MS => {
                slower.push(format!("{region}: {kind_text} take {now:.0} ms, {before:.0} ms before"));
            }
            Some(_) => {}
        }
    }
    slower
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Call, Outcome as Fate};

    #[test]
    fn one_fast_window_between_slow_ones_is_not_as_fast_as_before() {
        let op = |at_s: u64, ms: u64| Op {
            process: 0,
            region: "eu".into(),
            server: "sql-1".into(),
            kind: Kind::Read,
            invoke_us: at_s * 1_000_000 - ms * 1000,
            complete_us: at_s * 1_000_000,
            outcome: Fate::Ok,
            call: Call::Get { key: 0, value: Some(0) },
        };
        let before = BTreeMap::from([(("eu".to_owned(), Kind::Read), 100.0)]);
        let ms_by_second = |slow: &[u64]| -> Vec<Op> {
            (10..40).map(|second| op(second, if slow.contains(&second) { 400 } else { 100 })).collect()
        };
        let since = |slow: &[u64], now_s: u64| fast_since(&ms_by_second(slow), &before, 10_000_000, now_s * 1_000_000);
        let slow: Vec<u64> = (10..14).chain(17..20).collect();
        let slow_now = "eu: reads take 400 ms, 100 ms before".to_owned();
        assert_eq!(since(&slow, 12), Err(vec!["as fast as before for 0 s of 9 s".to_owned()]), "no window yet");
        assert_eq!(since(&slow, 13), Err(vec![slow_now.clone()]));
        assert_eq!(since(&slow, 17), Err(vec![format!("{slow_now} (3 s ago)")]), "it is fast once");
        assert_eq!(since(&slow, 20), Err(vec![slow_now.clone()]), "and slow again");
        assert_eq!(since(&slow, 26), Err(vec![format!("{slow_now} (6 s ago)")]));
        assert_eq!(since(&slow, 29), Ok(23_000_000), "three windows in a row: since the end of the first");
        assert_eq!(since(&[], 18), Err(vec!["as fast as before for 6 s of 9 s".to_owned()]));
        assert_eq!(since(&[], 19), Ok(13_000_000));
    }

    #[test]
    fn as_fast_as_before_means_within_a_fifth_and_answering_at_all() {
        let op = |ms: u64| Op {
            process: 0,
            region: "eu".into(),
            server: "sql-1".into(),
            kind: Kind::Read,
            invoke_us: 0,
            complete_us: ms * 1000,
            outcome: Fate::Ok,
            call: Call::Get { key: 0, value: Some(0) },
        };
        let before = BTreeMap::from([(("eu".to_owned(), Kind::Read), 100.0)]);
        assert!(slower(&[op(90), op(130), op(500)], &before).is_empty());
        assert_eq!(slower(&[op(131)], &before), ["eu: reads take 131 ms, 100 ms before"]);
        assert_eq!(slower(&[], &before), ["eu: no reads"]);
    }
}
