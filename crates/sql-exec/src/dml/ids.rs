//! Handles and AUTO_INCREMENT values of new rows.

use std::sync::Arc;

use codec::datum::Datum;
use codec::table::Handle;
use codec::types::TypeCode;
use sql_base::SqlError;
use sql_catalog::{AutoIdKind, TableInfo, row};
use sql_context::ExecContext;

use super::fitting::Fitting;
use super::row::{Row, Way};

/// The least value not under `from` of `offset`, `offset + step`, `offset + 2 * step`, … An offset greater than the step
/// is ignored, as in MySQL.
fn next_of_series(from: i64, step: u64, offset: u64) -> Option<i64> {
    let (step, offset) = (i64::try_from(step).ok()?, if offset > step { 0 } else { i64::try_from(offset).ok()? });
    from.checked_add((offset - from).rem_euclid(step))
}

/// What identifies a new row.
pub(super) struct NewId {
    pub(super) handle: Handle,
    /// The handle was made for the row, and cannot exist.
    pub(super) fresh: bool,
    /// The AUTO_INCREMENT value, if it was made for the row; else 0.
    pub(super) generated: u64,
}

/// Gives AUTO_INCREMENT values to new rows, and tells them, 0 for a row that had one. Values that are generated rise, and are
/// above those given by hand in the rows before.
pub(super) async fn auto_increment(
    ctx: &mut ExecContext<'_>,
    table: &Arc<TableInfo>,
    way: &Way<'_>,
    rows: &mut [Row],
    fitting: &mut Fitting,
) -> Result<Vec<u64>, SqlError> {
    let ids = ctx.auto_ids(table)?;
    let mut generated = vec![0; rows.len()];
    if let Some(column) = table.auto_increment_column() {
        let zero_is_value = fitting.zero_is_value;
        let to_generate = |row: &[Datum]| match &row[column.offset] {
            Datum::Null => true,
            Datum::Int(0) | Datum::UInt(0) => !zero_is_value,
            Datum::Float(v) => *v == 0.0 && !zero_is_value,
            _ => false,
        };
        let settings = ctx.session.vars.settings();
        let (step, offset) = (settings.auto_increment_increment, settings.auto_increment_offset);
        let (_, max) = column.field_type.signed_range();
        let limit = if column.field_type.is_unsigned() { column.field_type.unsigned_max() } else { max as u64 };
        let mut left = rows.iter().filter(|row| to_generate(&row.new)).count() as u64;
        // The next value that is allocated already, and the greatest given by hand that the allocator has not heard of.
        let (mut next, mut given): (Option<i64>, i64) = (None, 0);
        for (row, generated) in rows.iter_mut().zip(&mut generated) {
            if !to_generate(&row.new) {
                given = given.max(match &row.new[column.offset] {
                    Datum::Float(v) => *v as i64,
                    d => d.as_i64().unwrap_or(0),
                });
                continue;
            }
            let value = match next.filter(|next| *next > given) {
                Some(value) => value,
                None => {
                    if given > 0 {
                        ids.rebase(table, AutoIdKind::AutoIncrement, given).await?;
                    }
                    // Among `left * step` neighbours, `left` are of the series.
                    let from = ids.allocate(table, AutoIdKind::AutoIncrement, left.saturating_mul(step)).await?;
                    next_of_series(from, step, offset).ok_or(SqlError::AutoIncrementExhausted)?
                }
            };
            if value as u64 > limit {
                return Err(SqlError::AutoIncrementExhausted);
            }
            let made = match column.field_type.tp {
                TypeCode::Float | TypeCode::Double => Datum::Float(value as f64),
                _ => row::handle_datum(value, &column.field_type),
            };
            way.set(row, column.offset, made, fitting)?;
            *generated = value as u64;
            next = value.checked_add(step as i64);
            left -= 1;
        }
        if given > 0 {
            ids.rebase(table, AutoIdKind::AutoIncrement, given).await?;
        }
    }
    Ok(generated)
}

/// Gives handles to new rows, which are complete.
pub(super) async fn handles(
    ctx: &mut ExecContext<'_>,
    table: &Arc<TableInfo>,
    rows: &[Row],
    generated: Vec<u64>,
) -> Result<Vec<NewId>, SqlError> {
    if table.is_clustered() {
        let ids = rows.iter().zip(generated).map(|(Row { new, .. }, generated)| {
            let handle = row::handle_of_row(table, new)?.ok_or_else(|| {
                let missing = table.primary_key().into_iter().find(|c| new[c.offset].is_null());
                SqlError::ColumnCannotBeNull(missing.map_or_else(String::new, |c| c.name.original.clone()))
            })?;
            Ok(NewId { handle, fresh: false, generated })
        });
        return ids.collect();
    }
    let start = match rows.len() as u64 {
        0 => 0,
        n => ctx.auto_ids(table)?.allocate(table, AutoIdKind::RowId, n).await?,
    };
    let given = (start..).map(Handle::Int).zip(generated);
    Ok(given.map(|(handle, generated)| NewId { handle, fresh: true, generated }).collect())
}

#[cfg(test)]
mod tests {
    use super::next_of_series;

    #[test]
    fn a_series_goes_on_from_anywhere() {
        assert_eq!(next_of_series(1, 1, 1), Some(1));
        assert_eq!(next_of_series(7, 1, 1), Some(7));
        assert_eq!(next_of_series(1, 10, 5), Some(5));
        assert_eq!(next_of_series(5, 10, 5), Some(5));
        assert_eq!(next_of_series(6, 10, 5), Some(15));
        assert_eq!(next_of_series(1, 5, 10), Some(5), "an offset beyond the step counts for nothing");
        assert_eq!(next_of_series(i64::MAX, 10, 5), None);
    }
}
