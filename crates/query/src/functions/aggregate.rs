//! Aggregate and window functions: their names. [`crate::ops`] computes those of which storage nodes do a part.

use crate::expr::function::{Body, Function, Group};

const fn aggregate(name: &'static str) -> Function {
    Function::new(Group::Aggregate, name, Body::Aggregate)
}

const fn window(name: &'static str) -> Function {
    Function::new(Group::Window, name, Body::Aggregate)
}

pub(super) static ROWS: &[Function] = &[
    aggregate("count").pushed(),
    aggregate("sum").pushed(),
    aggregate("avg").pushed(),
    aggregate("min").pushed(),
    aggregate("max").pushed(),
    aggregate("bit_and").pushed(),
    aggregate("bit_or").pushed(),
    aggregate("bit_xor").pushed(),
    aggregate("group_concat"),
    aggregate("stddev_pop").alias(&["std", "stddev"]),
    aggregate("stddev_samp"),
    aggregate("var_pop").alias(&["variance"]),
    aggregate("var_samp"),
    aggregate("json_arrayagg"),
    aggregate("json_objectagg"),
    Function::new(Group::Aggregate, "grouping", Body::Syntax),
    window("cume_dist"),
    window("dense_rank"),
    window("first_value"),
    window("lag"),
    window("last_value"),
    window("lead"),
    window("nth_value"),
    window("ntile"),
    window("percent_rank"),
    window("rank"),
    window("row_number"),
];
