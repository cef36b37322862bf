//! A column's value computed from the one whose place it is to take.
//!
//! Both sides of a schema change call this, the writes of all servers and the filling of what is there, and they must agree
//! to the byte: all that the value depends on is in the row and in [`Conversion`].

use codec::datum::Datum;
use codec::time::{Time, TimeKind};
use codec::types::FieldType;
use query::context::{TimeZone, sql_mode};
use query::value::{Problem, StoreContext, fit};
use sql_base::SqlError;

use super::convert::{self, Context, implicit_default, to_local, to_stored};
use crate::{ColumnInfo, Conversion, TableInfo};

impl Conversion {
    fn has_mode(&self, mode: u64) -> bool {
        self.sql_mode & mode != 0
    }

    fn is_strict(&self) -> bool {
        self.has_mode(sql_mode::STRICT_TRANS_TABLES | sql_mode::STRICT_ALL_TABLES)
    }
}

/// The value of `column` in a row, as it is stored. In strict mode what does not convert is an error; otherwise `warn` is
/// told. `number` is the row's, from 1, for messages.
pub(crate) fn value(
    table: &TableInfo,
    column: &ColumnInfo,
    conversion: &Conversion,
    row: &[Datum],
    number: u64,
    warn: &mut dyn FnMut(SqlError),
) -> Result<Datum, SqlError> {
    let gone = || SqlError::InvalidDdlJob(format!("column {} of table '{}' is gone", conversion.from, table.name));
    let from = table.columns.iter().find(|held| held.id == conversion.from).ok_or_else(gone)?;
    let (from_type, to) = (&from.field_type, &column.field_type);
    let value = row.get(from.offset).cloned().unwrap_or_default();
    if value.is_null() {
        return null(conversion, from_type, to, number, warn);
    }
    let zone = TimeZone::parse(&conversion.zone).ok_or_else(|| SqlError::UnknownTimeZone(conversion.zone.clone()))?;
    let today = Time::parse(&conversion.today, TimeKind::Date, 0).ok().map(|parsed| parsed.value);
    let cx = StoreContext {
        zone: &zone,
        no_zero_date: conversion.has_mode(sql_mode::NO_ZERO_DATE),
        no_zero_in_date: conversion.has_mode(sql_mode::NO_ZERO_IN_DATE),
        today,
    };
    let local = convert::as_written(to_local(value, from_type, &zone), from_type, to);
    let fitted = fit(local, from_type, to, &cx);
    // What text loses on its way into shorter text is called otherwise than in an INSERT.
    let problem = match fitted.problem {
        Some(Problem::TooLong) if from_type.tp.is_string() && to.tp.is_string() => Some(Problem::Truncated),
        problem => problem,
    };
    let told = Context { column: &conversion.name, row: number, zone: &zone, no_zero_date: cx.no_zero_date };
    match problem {
        None => {}
        Some(problem @ Problem::Note) => warn(convert::error(&problem, &told)),
        Some(problem) if conversion.is_strict() || problem == Problem::Json => {
            return Err(convert::error(&problem, &told));
        }
        Some(problem) => warn(convert::error(&problem.of_warning(to), &told)),
    }
    Ok(to_stored(fitted.value, to, &zone))
}

fn null(
    conversion: &Conversion,
    from: &FieldType,
    to: &FieldType,
    number: u64,
    warn: &mut dyn FnMut(SqlError),
) -> Result<Datum, SqlError> {
    if !conversion.not_null {
        return Ok(Datum::Null);
    }
    let error = match from.declaration() == to.declaration() && from.collation == to.collation {
        true => SqlError::InvalidUseOfNull,
        false => SqlError::DataTruncated { column: conversion.name.clone(), row: number },
    };
    if conversion.is_strict() {
        return Err(error);
    }
    warn(error);
    Ok(implicit_default(to))
}

#[cfg(test)]
mod tests {
    use codec::types::TypeCode;

    use super::*;

    const STRICT: u64 = sql_mode::DEFAULT;

    fn check(from: FieldType, to: FieldType, mode: u64, value: Datum, expect: Result<Datum, u16>) {
        let conversion = Conversion {
            from: 1,
            name: "c".into(),
            sql_mode: mode,
            zone: "+02:00".into(),
            today: "2020-05-06".into(),
            not_null: to.is_not_null(),
        };
        let new = ColumnInfo { converts: Some(Box::new(conversion)), ..ColumnInfo::new(1, "n", to.clone()) };
        let table = TableInfo::new(1, "t", vec![ColumnInfo::new(0, "c", from.clone()), new]);
        let row = [value.clone(), Datum::Null];
        let column = &table.columns[1];
        let conversion = column.converts.as_deref().unwrap();
        let found = super::value(&table, column, conversion, &row, 7, &mut |_| {}).map_err(|e| e.code().0);
        assert_eq!(found, expect, "{value:?} from {} to {}", from.declaration(), to.declaration());
    }

    #[test]
    fn values_are_converted_as_alter_table_does() {
        let not_null = |ty: FieldType| FieldType { flags: ty.flags | codec::types::flags::NOT_NULL, ..ty };
        let int = || FieldType::new(TypeCode::Long);
        let text = |text: &str| Datum::string(text);
        check(FieldType::varchar(20), int(), STRICT, text("12"), Ok(Datum::Int(12)));
        check(FieldType::varchar(20), int(), STRICT, text("twelve"), Err(1366));
        check(FieldType::varchar(20), int(), 0, text("twelve"), Ok(Datum::Int(0)));
        check(FieldType::varchar(20), FieldType::varchar(3), STRICT, text("ab"), Ok(text("ab")));
        check(FieldType::varchar(20), FieldType::varchar(1), STRICT, text("ab"), Err(1265));
        check(FieldType::varchar(20), FieldType::varchar(1), 0, text("ab"), Ok(text("a")));
        check(FieldType::bigint(), int(), STRICT, Datum::Int(1 << 40), Err(1264));
        check(FieldType::bigint(), FieldType::varchar(2), STRICT, Datum::Int(123), Err(1406));
        check(int(), not_null(int()), STRICT, Datum::Null, Err(1138));
        check(int(), not_null(FieldType::bigint()), STRICT, Datum::Null, Err(1265));
        check(int(), not_null(FieldType::bigint()), 0, Datum::Null, Ok(Datum::Int(0)));
        check(int(), FieldType::bigint(), STRICT, Datum::Null, Ok(Datum::Null));
    }

    #[test]
    fn a_timestamp_becomes_the_statements_local_time_and_a_time_gets_its_day() {
        let at = |text: &str, kind: TimeKind| Datum::Time(Time::parse(text, kind, 0).unwrap().value);
        let stamp = FieldType { decimal: 0, ..FieldType::new(TypeCode::Timestamp) };
        let noon = || at("2021-01-01 12:00:00", TimeKind::Timestamp);
        let local = || at("2021-01-01 14:00:00", TimeKind::DateTime);
        check(stamp.clone(), FieldType::datetime(0), STRICT, noon(), Ok(local()));
        check(FieldType::datetime(0), stamp, STRICT, local(), Ok(noon()));
        let clock = codec::time::Duration::parse("10:11:12", 0).unwrap().value;
        let span = FieldType { decimal: 0, ..FieldType::new(TypeCode::Duration) };
        let then = at("2020-05-06 10:11:12", TimeKind::DateTime);
        check(span, FieldType::datetime(0), STRICT, Datum::Duration(clock), Ok(then));
    }
}
