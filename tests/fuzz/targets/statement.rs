//! Text of SQL: lexer, grammar, and what they leave of a statement's literals.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sql_parser::{LexMode, split};

fuzz_target!(|data: (u8, Vec<u8>)| {
    let (bits, sql) = data;
    let mode = LexMode {
        ansi_quotes: bits & 1 != 0,
        no_backslash_escapes: bits & 2 != 0,
        pipes_as_concat: bits & 4 != 0,
        real_as_float: bits & 8 != 0,
    };
    for piece in split(&sql, mode).unwrap_or_default() {
        if let Some(general) = piece.generalise(&sql)
            && let Ok(parsed) = piece.with_parameters(&general).parse(&sql)
        {
            assert_eq!(parsed.params, general.values.len());
            // What can be read with parameters can be read with the literals.
            assert!(piece.parse(&sql).is_ok());
        } else {
            let _ = piece.parse(&sql);
        }
    }
});
