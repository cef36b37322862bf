//! Values fitted into columns: conversion, defaults, NOT NULL, and the warnings or errors of what does not fit.

use codec::datum::Datum;
use codec::time::TimeKind;
use codec::types::{FieldType, TypeCode, flags};
use query::context::{EvalContext, TimeZone};
use sql_base::SqlError;
use sql_catalog::convert::{self, Context, Problem, implicit_default};
use sql_catalog::row;
use sql_catalog::{ColumnDefault, ColumnInfo};
use sql_context::{ExecContext, eval_context};

/// How values are fitted in this statement.
pub(super) struct Fitting {
    pub(super) zone: TimeZone,
    strict: bool,
    ignore: bool,
    /// Values come from a file.
    file: bool,
    /// The row that is made, from 1.
    pub(super) row: u64,
    no_zero_date: bool,
    /// NO_AUTO_VALUE_ON_ZERO.
    pub(super) zero_is_value: bool,
    now: EvalContext,
    pub(super) warnings: Vec<(bool, SqlError)>,
}

/// MySQL's number of NO_AUTO_VALUE_ON_ZERO.
const NO_AUTO_VALUE_ON_ZERO: u64 = 1 << 19;

impl Fitting {
    pub(super) fn new(ctx: &ExecContext<'_>, ignore: bool) -> Fitting {
        let now = eval_context(ctx.session, true);
        let mode = now.sql_mode;
        Fitting {
            zone: now.time_zone.clone(),
            strict: now.is_strict(),
            ignore,
            file: ctx.session.loaded.is_some(),
            row: 1,
            no_zero_date: mode & query::context::sql_mode::NO_ZERO_DATE != 0,
            zero_is_value: mode & NO_AUTO_VALUE_ON_ZERO != 0,
            now,
            warnings: Vec::new(),
        }
    }

    /// A value as the column stores it (TIMESTAMPs in UTC).
    pub(super) fn fit(&mut self, d: Datum, from: &FieldType, column: &ColumnInfo) -> Result<Datum, SqlError> {
        let d = convert::as_written(d, from, &column.field_type);
        let zone = self.zone.clone();
        let cx = Context { column: column.name.as_str(), row: self.row, zone: &zone, no_zero_date: self.no_zero_date };
        let fitted = convert::convert(d, &column.field_type, &cx);
        match fitted.problem {
            None => {}
            Some(Problem::Note) => self.warnings.push((false, convert::error(&Problem::Note, &cx))),
            Some(p) if self.strict && !self.ignore || p == Problem::Json => return Err(convert::error(&p, &cx)),
            Some(p) => self.warnings.push((true, convert::error(&p.of_warning(&column.field_type), &cx))),
        }
        Ok(row::to_stored(fitted.value, &column.field_type, &zone))
    }

    /// A row that may not be: an error, or a warning where it is only left out.
    pub(super) fn refuse(&mut self, why: SqlError) -> Result<(), SqlError> {
        if !self.ignore {
            return Err(why);
        }
        self.warnings.push((true, why));
        Ok(())
    }

    /// What a column holds that the statement does not name.
    pub(super) fn default(&mut self, column: &ColumnInfo) -> Result<Datum, SqlError> {
        match &column.default {
            ColumnDefault::Null => Ok(Datum::Null),
            ColumnDefault::Constant(text) => Ok(row::constant_default(column, text)),
            ColumnDefault::CurrentTimestamp => Ok(self.now(&column.field_type)),
            ColumnDefault::None if !column.field_type.is_not_null() => Ok(Datum::Null),
            ColumnDefault::None if column.field_type.has(flags::AUTO_INCREMENT) => Ok(Datum::Null),
            ColumnDefault::None if column.field_type.tp == TypeCode::Enum => Ok(Datum::Enum(1)),
            ColumnDefault::None => {
                let error = SqlError::NoDefaultValue(column.name.original.clone());
                if self.strict && !self.ignore {
                    return Err(error);
                }
                self.warnings.push((true, error));
                Ok(implicit_default(&column.field_type))
            }
        }
    }

    /// Columns that the statement does not name and that have no default: told once, whatever the number of rows.
    pub(super) fn check_unnamed<'c>(&mut self, columns: impl Iterator<Item = &'c ColumnInfo>) -> Result<(), SqlError> {
        for column in columns.filter(|c| needs_value(c)) {
            let error = SqlError::NoDefaultValue(column.name.original.clone());
            if self.strict && !self.ignore {
                return Err(error);
            }
            self.warnings.push((true, error));
        }
        Ok(())
    }

    /// What such a column holds, and every other that the statement does not name.
    pub(super) fn unnamed(&mut self, column: &ColumnInfo) -> Result<Datum, SqlError> {
        if needs_value(column) { Ok(implicit_default(&column.field_type)) } else { self.default(column) }
    }

    pub(super) fn now(&self, ty: &FieldType) -> Datum {
        let now = self.now.now(ty.fsp());
        let kind = TimeKind::from_type(ty.tp).unwrap_or(TimeKind::DateTime);
        row::to_stored(Datum::Time(now.convert(kind, ty.fsp())), ty, &self.zone)
    }

    /// NOT NULL.
    pub(super) fn check_null(&mut self, d: Datum, column: &ColumnInfo, single: bool) -> Result<Datum, SqlError> {
        if !d.is_null() || !column.field_type.is_not_null() {
            return Ok(d);
        }
        if self.file && column.field_type.tp == TypeCode::Timestamp {
            return Ok(self.empty(column));
        }
        let error = match self.file {
            true => SqlError::NullToNotNull { column: column.name.original.clone(), row: self.row },
            false => SqlError::ColumnCannotBeNull(column.name.original.clone()),
        };
        if self.ignore || (!self.strict && !single) {
            self.warnings.push((true, error));
            return Ok(if self.file { self.empty(column) } else { implicit_default(&column.field_type) });
        }
        Err(error)
    }

    /// What a column holds that a line of a file has no field for: its default only if that is NULL, else what is nothing
    /// for its type. Who reads the file tells of it.
    pub(super) fn missing(&self, column: &ColumnInfo) -> Datum {
        let null = matches!(column.default, ColumnDefault::None | ColumnDefault::Null);
        if null && !column.field_type.is_not_null() { Datum::Null } else { self.empty(column) }
    }

    /// What is nothing for the type of a column that takes no NULL; for a TIMESTAMP that is now.
    fn empty(&self, column: &ColumnInfo) -> Datum {
        let ty = &column.field_type;
        match ty.tp {
            TypeCode::Timestamp if ty.is_not_null() => self.now(ty),
            TypeCode::Enum => Datum::Enum(0),
            _ => implicit_default(ty),
        }
    }

    pub(super) fn report(self, ctx: &mut ExecContext<'_>) -> u64 {
        let n = self.warnings.len() as u64;
        for (warning, e) in &self.warnings {
            if *warning { ctx.warn(e) } else { ctx.note(e) }
        }
        n
    }
}

/// Whether a value must be given. (Without one, an ENUM has its first member.)
fn needs_value(column: &ColumnInfo) -> bool {
    let ty = &column.field_type;
    column.default == ColumnDefault::None
        && ty.is_not_null()
        && !ty.has(flags::AUTO_INCREMENT)
        && ty.tp != TypeCode::Enum
}
