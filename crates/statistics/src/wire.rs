//! To and from messages: a collector's between storage nodes and SQL servers (`tipb`), a distribution's as it is kept
//! (`meridian_statistics`).

use prost::Message;
use proto::{meridian_statistics as kept, tipb};

use crate::distribution::{Bucket, Distribution, Frequent};
use crate::sample::{Collector, Counts, Sample};
use crate::sketch::Sketch;
use crate::table::TableMeta;

/// What a storage node answers.
pub fn collector_to_pb(collector: &Collector) -> tipb::RowSampleCollector {
    let sketch = |counts: &Counts| {
        let (mask, hashset) = counts.sketch.parts();
        tipb::FmSketch { mask, hashset }
    };
    tipb::RowSampleCollector {
        samples: collector.samples().map(|s| tipb::RowSample { row: s.row.clone(), weight: s.weight }).collect(),
        null_counts: collector.counts.iter().map(|c| signed(c.nulls)).collect(),
        count: signed(collector.rows),
        fm_sketch: collector.counts.iter().map(sketch).collect(),
        total_size: collector.counts.iter().map(|c| signed(c.bytes)).collect(),
    }
}

/// Counts, rows and samples of an answer, for [`Collector::merge`]. `None`: it contradicts itself.
pub fn collector_from_pb(pb: tipb::RowSampleCollector, sketch_size: usize) -> Option<(Vec<Counts>, u64, Vec<Sample>)> {
    if pb.null_counts.len() != pb.fm_sketch.len() || pb.total_size.len() != pb.fm_sketch.len() {
        return None;
    }
    let counts = pb.fm_sketch.into_iter().zip(pb.null_counts).zip(pb.total_size);
    let counts = counts.map(|((sketch, nulls), bytes)| Counts {
        nulls: unsigned(nulls),
        bytes: unsigned(bytes),
        sketch: Sketch::from_parts(sketch.mask, sketch.hashset, sketch_size),
    });
    let samples = pb.samples.into_iter().map(|s| Sample { weight: s.weight, row: s.row });
    Some((counts.collect(), unsigned(pb.count), samples.collect()))
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn unsigned(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

/// A table's counts as they are kept.
pub fn encode_meta(meta: &TableMeta) -> Vec<u8> {
    let TableMeta { rows, modified, snapshot_ts, version } = *meta;
    kept::Meta { row_count: signed(rows), modify_count: signed(modified), snapshot_ts, version }.encode_to_vec()
}

/// What [`encode_meta`] wrote.
pub fn decode_meta(bytes: &[u8]) -> Result<TableMeta, prost::DecodeError> {
    let kept::Meta { row_count, modify_count, snapshot_ts, version } = kept::Meta::decode(bytes)?;
    Ok(TableMeta { rows: unsigned(row_count), modified: unsigned(modify_count), snapshot_ts, version })
}

/// A distribution as it is kept.
pub fn encode_distribution(id: i64, is_index: bool, d: &Distribution) -> Vec<u8> {
    let bucket = |b: &Bucket| kept::Bucket {
        count: signed(b.rows),
        lower: b.lower.clone(),
        upper: b.upper.clone(),
        repeats: signed(b.repeats),
        ndv: signed(b.distinct),
    };
    let message = kept::Distribution {
        id,
        is_index,
        version: d.version,
        row_count: signed(d.rows),
        ndv: signed(d.distinct),
        null_count: signed(d.nulls),
        total_size: signed(d.bytes),
        top_n: d.frequent.iter().map(|f| kept::Frequent { key: f.key.clone(), count: signed(f.rows) }).collect(),
        buckets: d.buckets.iter().map(bucket).collect(),
        correlation: d.correlation,
    };
    message.encode_to_vec()
}

/// What [`encode_distribution`] wrote: the id, whether it is an index's, and the distribution.
pub fn decode_distribution(bytes: &[u8]) -> Result<(i64, bool, Distribution), prost::DecodeError> {
    let m = kept::Distribution::decode(bytes)?;
    let bucket = |b: kept::Bucket| Bucket {
        rows: unsigned(b.count),
        lower: b.lower,
        upper: b.upper,
        repeats: unsigned(b.repeats),
        distinct: unsigned(b.ndv),
    };
    let mut d = Distribution {
        version: m.version,
        rows: unsigned(m.row_count),
        nulls: unsigned(m.null_count),
        distinct: unsigned(m.ndv),
        bytes: unsigned(m.total_size),
        correlation: m.correlation,
        frequent: m.top_n.into_iter().map(|f| Frequent { key: f.key, rows: unsigned(f.count) }).collect(),
        buckets: m.buckets.into_iter().map(bucket).collect(),
    };
    // Looked up by key.
    d.frequent.sort_by(|a, b| a.key.cmp(&b.key));
    d.buckets.sort_by(|a, b| a.upper.cmp(&b.upper));
    Ok((m.id, m.is_index, d))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::{BuildOptions, Totals, build};
    use crate::sample::{Cell, CollectorOptions, SamplingMethod};

    #[test]
    fn what_is_kept_comes_back() {
        let keys = (0..500_u16).map(|n| [vec![3], (n / 3).to_be_bytes().to_vec()].concat()).collect();
        let totals = Totals { rows: 900, nulls: 100, distinct: 300, bytes: 1_234 };
        let built = build(keys, totals, BuildOptions { buckets: 8, top_n: 4 });
        let built = Distribution { version: 9, correlation: -0.25, ..built };
        assert_eq!(decode_distribution(&encode_distribution(7, true, &built)).unwrap(), (7, true, built));
        let meta = TableMeta { rows: 1, modified: 2, snapshot_ts: 3, version: 4 };
        assert_eq!(decode_meta(&encode_meta(&meta)).unwrap(), meta);
    }

    #[test]
    fn a_collector_comes_over_the_wire() {
        let options = |seed| CollectorOptions {
            method: SamplingMethod::Size(10),
            sketch_size: 100,
            columns: 1,
            groups: vec![vec![0]],
            seed,
        };
        let mut there = Collector::new(options(1));
        for n in 0..50_u8 {
            let value = [8, n];
            there.add(&[Cell { value: &value, identity: &value, is_null: false }]);
        }
        let bytes = collector_to_pb(&there).encode_to_vec();
        let pb = tipb::RowSampleCollector::decode(&bytes[..]).unwrap();
        let mut here = Collector::new(options(2));
        let (counts, rows, samples) = collector_from_pb(pb, 100).unwrap();
        assert!(here.merge(&counts, rows, samples));
        assert_eq!((here.rows, &here.counts), (50, &there.counts));
        let mut sent: Vec<_> = there.samples().collect();
        let mut got: Vec<_> = here.samples().collect();
        sent.sort();
        got.sort();
        assert_eq!(sent, got);
    }
}
