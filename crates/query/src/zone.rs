//! Time zones by name, from the IANA database as it is compiled into the program: no table has to be loaded, and every
//! server of a version reads a name the same way.

use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use jiff::tz::{TimeZone as Rules, TimeZoneDatabase};

use crate::context::{TimeZone, ZoneRules};

static DATABASE: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// A zone of the database.
#[derive(Debug)]
struct Named {
    name: String,
    rules: Rules,
}

impl ZoneRules for Named {
    fn offset_at(&self, utc_secs: i64) -> i32 {
        let moment = utc_secs.clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
        Timestamp::from_second(moment).map_or(0, |moment| self.rules.to_offset(moment).seconds())
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// The zone of this name, whatever its case; `None` when there is none.
pub fn named(name: &str) -> Option<TimeZone> {
    let rules = DATABASE.get(name).ok()?;
    let name = rules.iana_name().unwrap_or(name).to_owned();
    Some(TimeZone::Rules(Arc::new(Named { name, rules })))
}

#[cfg(test)]
mod tests {
    use codec::time::{Time, TimeKind};

    use super::*;
    use crate::context::Occurs;

    fn at(text: &str) -> Time {
        Time::parse(text, TimeKind::Timestamp, 0).unwrap().value
    }

    fn check(zone: &str, local: &str, occurs: Occurs, utc: &str, back: &str) {
        let zone = named(zone).unwrap();
        let local = at(local);
        assert_eq!(zone.occurs(&local), occurs, "{local}");
        let stored = zone.timestamp_to_utc(&local);
        assert_eq!(stored.to_string(), utc, "{local}");
        assert_eq!(zone.timestamp_to_local(&stored).to_string(), back, "{local}");
    }

    #[test]
    fn names_are_found_in_any_case_and_unknown_ones_are_not() {
        assert_eq!(named("europe/berlin").unwrap().name(), "Europe/Berlin");
        assert_eq!(named("Europe/Berlin"), named("EUROPE/BERLIN"));
        assert!(named("Europe/Nowhere").is_none());
        assert!(named("").is_none());
    }

    #[test]
    fn summer_time_has_hours_that_never_were_and_hours_that_were_twice() {
        let berlin = "Europe/Berlin";
        check(berlin, "2021-01-15 12:00:00", Occurs::Once, "2021-01-15 11:00:00", "2021-01-15 12:00:00");
        check(berlin, "2021-07-15 12:00:00", Occurs::Once, "2021-07-15 10:00:00", "2021-07-15 12:00:00");
        // Clocks went from 02:00 to 03:00.
        check(berlin, "2021-03-28 01:59:59", Occurs::Once, "2021-03-28 00:59:59", "2021-03-28 01:59:59");
        check(berlin, "2021-03-28 02:30:00", Occurs::Never, "2021-03-28 01:00:00", "2021-03-28 03:00:00");
        check(berlin, "2021-03-28 03:00:00", Occurs::Once, "2021-03-28 01:00:00", "2021-03-28 03:00:00");
        // And from 03:00 back to 02:00.
        check(berlin, "2021-10-31 01:59:59", Occurs::Once, "2021-10-30 23:59:59", "2021-10-31 01:59:59");
        check(berlin, "2021-10-31 02:30:00", Occurs::Twice, "2021-10-31 00:30:00", "2021-10-31 02:30:00");
        check(berlin, "2021-10-31 03:00:00", Occurs::Once, "2021-10-31 02:00:00", "2021-10-31 03:00:00");
    }

    #[test]
    fn zones_that_moved_by_less_or_more_than_an_hour_are_no_exception() {
        // Half an hour of summer time, in the southern hemisphere.
        let island = "Australia/Lord_Howe";
        check(island, "2021-10-03 02:10:00", Occurs::Never, "2021-10-02 15:30:00", "2021-10-03 02:30:00");
        check(island, "2021-04-04 01:45:00", Occurs::Twice, "2021-04-03 14:45:00", "2021-04-04 01:45:00");
        // A whole day was left out.
        let samoa = "Pacific/Apia";
        check(samoa, "2011-12-30 12:00:00", Occurs::Never, "2011-12-30 10:00:00", "2011-12-31 00:00:00");
        check(samoa, "2011-12-31 00:00:00", Occurs::Once, "2011-12-30 10:00:00", "2011-12-31 00:00:00");
    }

    #[test]
    fn rules_go_on_after_the_last_change_that_is_listed() {
        let zone = named("America/New_York").unwrap();
        assert_eq!(zone.offset_at(at("2090-07-01 00:00:00").to_epoch_micros() / 1_000_000), -4 * 3600);
        assert_eq!(zone.offset_at(at("2090-12-01 00:00:00").to_epoch_micros() / 1_000_000), -5 * 3600);
        zone.offset_at(i64::MAX);
        zone.offset_at(i64::MIN);
    }
}
