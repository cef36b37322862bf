//! Window functions: their names, the types of their results, and what the rules ask of a window's keys.
//!
//! ```text
//! OVER (PARTITION BY g ORDER BY v RANGE BETWEEN 5 PRECEDING AND CURRENT ROW)
//!       which rows      in which   which of them the function sees
//!                       order
//! ```
//!
//! The keys of partition and order belong to the plan's node ([`super::plan::Plan::Window`]), which is one for all calls over
//! the same; a frame belongs to a call.
//!
//! Not here: what names mean (`binder::windows`), which rows a frame has (`sql-exec`'s `frames`).

use codec::types::{FieldType, TypeCode, flags};
use query::expr::{Expr, Func};
use query::types::EvalType;

use super::plan::SortKey;

/// Functions that are nothing but window functions.
pub const WINDOW_FUNCTIONS: &[&str] = &[
    "row_number",
    "rank",
    "dense_rank",
    "percent_rank",
    "cume_dist",
    "ntile",
    "lag",
    "lead",
    "first_value",
    "last_value",
    "nth_value",
];

/// The type of ROW_NUMBER and its like, as MySQL describes it.
pub fn number_type() -> FieldType {
    FieldType { flen: 21, ..FieldType::bigint_unsigned() }.with_flags(flags::NOT_NULL)
}

/// The type of PERCENT_RANK and CUME_DIST.
pub fn part_type() -> FieldType {
    FieldType::double().with_flags(flags::NOT_NULL)
}

/// The type of a value that is taken from another row: it may be missing, is no key any more, and an integer is described
/// as MySQL's intermediate tables hold it.
pub fn value_type(ty: &FieldType) -> FieldType {
    const OF_COLUMNS: u32 = flags::NOT_NULL
        | flags::PRI_KEY
        | flags::UNIQUE_KEY
        | flags::MULTIPLE_KEY
        | flags::AUTO_INCREMENT
        | flags::NO_DEFAULT_VALUE
        | flags::ON_UPDATE_NOW
        | flags::PART_KEY;
    let mut ty = ty.clone();
    ty.flags &= !OF_COLUMNS;
    if matches!(ty.tp, TypeCode::Tiny | TypeCode::Short | TypeCode::Int24 | TypeCode::Long) {
        ty.tp = TypeCode::LongLong;
    }
    ty
}

/// In which order a window wants its input.
pub fn input_order(partition: &[Expr], order: &[SortKey]) -> Vec<SortKey> {
    let partition = partition.iter().map(|e| SortKey { expr: e.clone(), desc: false });
    let mut keys: Vec<SortKey> = Vec::new();
    for key in partition.chain(order.iter().cloned()) {
        // The second time a key stands among them it decides nothing.
        if !key.expr.is_constant() && !keys.iter().any(|k| k.expr == key.expr) {
            keys.push(key);
        }
    }
    keys
}

/// Whether a condition is true for all rows of a partition by these keys or for none, so that it may go below the window:
/// whole partitions may be missing there, and nothing else, which would change what is counted.
pub fn is_of_partition(condition: &Expr, keys: &[Expr]) -> bool {
    let columns = condition.columns();
    if columns.is_empty() || condition.is_volatile() {
        return false;
    }
    // Strings that are equal as keys may yet differ (in case, in spaces at the end), but not where they are compared under
    // the collation of the key.
    let collation = match condition {
        Expr::Call(call) if call.args.iter().all(|a| !matches!(a, Expr::Call(_))) => match call.func {
            Func::Compare(_, EvalType::String, collation) | Func::In(EvalType::String, collation) => Some(collation),
            _ => None,
        },
        _ => None,
    };
    let same = |ty: &FieldType| match EvalType::of(ty) {
        EvalType::String => collation == Some(ty.collation),
        domain => domain != EvalType::Json,
    };
    columns.iter().all(|id| keys.iter().any(|k| matches!(k, Expr::Column { index, ty, .. } if index == id && same(ty))))
}

#[cfg(test)]
mod tests {
    use codec::types::Collation;
    use query::expr::CmpOp;
    use query::infer;

    use super::*;

    fn number(id: usize) -> Expr {
        Expr::column(id, FieldType::bigint())
    }

    fn text(id: usize) -> Expr {
        Expr::column(id, FieldType::varchar(10).with_collation(Collation::UTF8MB4_GENERAL_CI))
    }

    fn is(a: Expr, b: Expr) -> Expr {
        infer::compare(CmpOp::Eq, a, b).unwrap()
    }

    #[test]
    fn a_condition_of_the_partition_reads_its_keys_only() {
        let keys = [number(0), number(1)];
        assert!(is_of_partition(&is(number(0), Expr::constant(1_i64)), &keys));
        assert!(is_of_partition(&is(infer::neg(number(0)).unwrap(), number(1)), &keys));
        assert!(!is_of_partition(&is(number(2), Expr::constant(1_i64)), &keys));
        assert!(!is_of_partition(&is(number(0), number(2)), &keys));
        assert!(!is_of_partition(&Expr::constant(1_i64), &keys));
    }

    #[test]
    fn equal_strings_are_alike_under_their_collation_only() {
        let keys = [text(0)];
        assert!(is_of_partition(&is(text(0), Expr::constant("a")), &keys));
        let binary = infer::collate(text(0), Collation::UTF8MB4_BIN);
        assert!(!is_of_partition(&is(binary, Expr::constant("a")), &keys));
        let hex = query::functions::call("hex", vec![text(0)]).unwrap();
        assert!(!is_of_partition(&is(hex, Expr::constant("41")), &keys));
    }

    #[test]
    fn the_input_is_sorted_by_each_key_once() {
        let key = |expr, desc| SortKey { expr, desc };
        let order = [key(number(1), true), key(number(0), true), key(Expr::null(), false), key(number(2), false)];
        let keys = input_order(&[number(0), number(0)], &order);
        assert_eq!(keys, [key(number(0), false), key(number(1), true), key(number(2), false)]);
        assert!(input_order(&[Expr::constant(1_i64)], &[]).is_empty());
    }

    #[test]
    fn a_value_of_another_row_may_be_missing() {
        let ty = value_type(&FieldType::new(TypeCode::Long).with_flags(flags::NOT_NULL | flags::UNSIGNED));
        assert_eq!((ty.tp, ty.is_not_null(), ty.is_unsigned()), (TypeCode::LongLong, false, true));
    }
}
