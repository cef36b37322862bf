//! Tables that changed much are analysed by themselves: by the owner, one at a time, the one that changed most first.
//!
//! A table is due when the part of its rows that changed since its analysis is beyond `tidb_auto_analyze_ratio`, or when
//! it was never analysed; small ones are left alone, whose scans cost nothing ([`ROWS_MIN`]). It happens between
//! `tidb_auto_analyze_start_time` and `tidb_auto_analyze_end_time` only, and not at all with `tidb_enable_auto_analyze`
//! off. A table whose analysis failed is not tried again for a while. Statistics of tables that are gone go in any case.
//!
//! Not here: the analysis itself ([`super::analyze`]).

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, FixedOffset, NaiveTime, Utc};
use sql_base::SqlError;
use sql_catalog::TableKind;
use sql_context::vars::{self, GlobalVars};
use tokio::time::Instant;

use super::analyze::{self, AnalyzeOptions, Asked, most_changed};
use super::domain::Domain;

/// Rows from which on a table is analysed by itself.
const ROWS_MIN: u64 = 1_000;
/// How often the tables are looked at.
pub(super) const LOOK: Duration = Duration::from_secs(3);
/// How long a table is left alone whose analysis failed.
const REST: Duration = Duration::from_secs(60);

/// What the variables say.
#[derive(Debug, Clone, PartialEq)]
struct Rules {
    enabled: bool,
    ratio: f64,
    window: (String, String),
}

impl Rules {
    fn of(globals: &GlobalVars) -> Rules {
        let value = |name: &str| vars::find(name).map_or(String::new(), |v| globals.get(v));
        Rules {
            enabled: value("tidb_enable_auto_analyze") == "ON",
            ratio: value("tidb_auto_analyze_ratio").parse().unwrap_or(0.5),
            window: (value("tidb_auto_analyze_start_time"), value("tidb_auto_analyze_end_time")),
        }
    }

    /// A ratio of zero turns it off, too.
    fn allow(&self, now: DateTime<Utc>) -> bool {
        self.enabled && self.ratio > 0.0 && is_within(&self.window.0, &self.window.1, now)
    }
}

/// Whether a moment is between two times of day, `HH:MM +ZZZZ`; the end may be on the next day. A time that cannot be
/// read bounds nothing.
fn is_within(start: &str, end: &str, now: DateTime<Utc>) -> bool {
    let time_of_day = |text: &str| {
        let (time, zone) = text.trim().split_once(' ')?;
        let zone: FixedOffset = zone.trim().parse().ok()?;
        Some((NaiveTime::parse_from_str(time, "%H:%M").ok()?, now.with_timezone(&zone).time()))
    };
    let (Some((start, at_start)), Some((end, at_end))) = (time_of_day(start), time_of_day(end)) else { return true };
    // The minute that ends it belongs to it.
    let before_end =
        at_end < end + chrono::Duration::minutes(1) || end == NaiveTime::from_hms_opt(23, 59, 0).unwrap_or(end);
    match start <= end {
        true => at_start >= start && before_end,
        false => at_start >= start || before_end,
    }
}

/// Analyses tables for as long as this server is the owner.
pub(super) async fn run(domain: &Domain) {
    let mut failed: HashMap<i64, Instant> = HashMap::new();
    loop {
        tokio::time::sleep(LOOK).await;
        if let Err(error) = domain.statistics().forget_dropped(&domain.schemas().current()).await {
            tracing::info!(%error, "statistics of dropped tables are left");
        }
        if !Rules::of(domain.globals()).allow(Utc::now()) {
            continue;
        }
        failed.retain(|_, at| at.elapsed() < REST);
        let schema = domain.schemas().current();
        let known = domain.statistics().current();
        let counts = known.tables().iter().map(|(id, table)| (*id, table.meta)).collect();
        let due = most_changed(&counts, Rules::of(domain.globals()).ratio, ROWS_MIN);
        let due = due.into_iter().filter(|id| !failed.contains_key(id));
        let due = due.filter_map(|id| Some((schema.database_of_table(id)?, schema.table_by_id(id)?)));
        let Some((database, table)) = due.into_iter().find(|(_, table)| table.kind == TableKind::Base) else {
            continue;
        };
        let (options, asked) = (AnalyzeOptions::default(), Asked { connection: 0, words: "auto analyze table" });
        tracing::info!(database = %database.info.name, table = %table.name, "analyzing a table that has changed");
        if let Err(error) = analyze::analyze_table(domain, database, table, None, options, asked).await {
            tracing::warn!(table = %table.name, %error, "a table could not be analyzed");
            failed.insert(table.id, Instant::now());
            if matches!(error, SqlError::ShuttingDown) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_of_its_zone_and_may_cross_midnight() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let (noon, night) = (at("2026-01-01T12:00:00Z"), at("2026-01-01T23:30:00Z"));
        for (start, end, in_noon, in_night) in [
            ("00:00 +0000", "23:59 +0000", true, true),
            ("01:00 +0000", "06:00 +0000", false, false),
            ("22:00 +0000", "03:00 +0000", false, true),
            ("20:00 +0800", "21:00 +0800", true, false),
            ("nonsense", "06:00 +0000", true, true),
        ] {
            assert_eq!(
                (is_within(start, end, noon), is_within(start, end, night)),
                (in_noon, in_night),
                "{start} {end}"
            );
        }
    }

    #[test]
    fn nothing_is_analyzed_when_it_is_off() {
        let on = Rules { enabled: true, ratio: 0.5, window: ("00:00 +0000".into(), "23:59 +0000".into()) };
        assert!(on.allow(Utc::now()));
        assert!(!Rules { enabled: false, ..on.clone() }.allow(Utc::now()));
        assert!(!Rules { ratio: 0.0, ..on }.allow(Utc::now()));
    }
}
