//! What is known of a table's values without reading them.
//!
//! ```text
//!   storage node          SQL server, ANALYZE            SQL server, planner
//!   rows ─► Collector ─►  merge ─► build ─► Distribution ─► TableStatistics::… rows of a range, of a value
//!           (sample, sketches, counts; one for each region)
//! ```
//!
//! Values are *sortable keys* throughout: the bytes that [`codec::datum::encode_key`] makes of a value with its column's
//! type, those of all columns one after another for an index. So one histogram serves columns of all types and indexes
//! of any width, comparing is comparing bytes, and a range of index keys is a range of the histogram.
//!
//! Invariants:
//! - a distribution's frequent values are in no bucket: `nulls + frequent + buckets` are all rows of the analysis;
//! - estimates are finite, not negative, and no more than the table's rows;
//! - a [`Statistics`] does not change: who plans with it keeps an `Arc`, and its version tells plans apart.
//!
//! Nothing here reads a key, a clock or a schema: seeds and times come in. Not here: how conditions become ranges
//! (`sql-planner`), where distributions are kept (`sql-catalog`).

mod build;
mod distribution;
mod sample;
mod scalar;
mod sketch;
mod table;
mod wire;

pub use build::{BuildOptions, Totals, build};
pub use distribution::{Bucket, Distribution, Frequent};
pub use sample::{Cell, Collector, CollectorOptions, Counts, Sample, SamplingMethod};
pub use sketch::Sketch;
pub use table::{PSEUDO_ROWS, Statistics, TableMeta, TableStatistics};
pub use wire::{
    collector_from_pb, collector_to_pb, decode_distribution, decode_meta, encode_distribution, encode_meta,
};
