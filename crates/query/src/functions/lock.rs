//! User-level locks (manual, "Locking Functions"): names that sessions lock. Who holds them is not known here
//! ([`UserLocks`]); what is said of names, patience and NULL is.

use std::sync::Arc;
use std::time::Duration;

use codec::datum::Datum;

use super::args::*;
use crate::context::{EvalContext, UserLocks};
use crate::error::{EvalError, Result};
use crate::expr::function::{Arg, Function, Group, Ret, RowKernel};

/// The longest name of a lock, in characters.
const NAME_CHARS_MAX: usize = 64;

const fn of(name: &'static str, count: (usize, usize), args: &'static [Arg], ret: Ret, kernel: RowKernel) -> Function {
    Function::kernel(Group::Lock, name, count, args, ret, kernel).nulls().volatile()
}

pub(super) static ROWS: &[Function] = &[
    of("get_lock", (2, 2), &[Arg::Str, Arg::Int], Ret::Int, |_, v, x| {
        let name = name(&v[0])?;
        // A negative patience has no end, and NULL is none.
        let patience = if v[1].is_null() { Some(0) } else { u64::try_from(int(&v[1])).ok() };
        integer(locks(x)?.acquire(&name, patience.map(Duration::from_secs))?.into())
    }),
    of("release_lock", (1, 1), &[Arg::Str], Ret::Int, |_, v, x| {
        let released = locks(x)?.release(&name(&v[0])?)?;
        or_null(released.map(|released| Datum::Int(released.into())))
    }),
    of("release_all_locks", (0, 0), &[], Ret::UInt, |_, _, x| Ok(Datum::UInt(locks(x)?.release_all()?))),
    of("is_free_lock", (1, 1), &[Arg::Str], Ret::Int, |_, v, x| {
        integer(locks(x)?.holder(&name(&v[0])?)?.is_none().into())
    }),
    of("is_used_lock", (1, 1), &[Arg::Str], Ret::UInt, |_, v, x| {
        or_null(locks(x)?.holder(&name(&v[0])?)?.map(Datum::UInt))
    }),
];

/// The name as it is compared: case does not count.
fn name(value: &Datum) -> Result<String> {
    let wrong = |text: &str| EvalError::UserLockName(text.to_owned());
    if value.is_null() {
        return Err(wrong("NULL"));
    }
    let given = lossy(value);
    match given.chars().count() {
        1..=NAME_CHARS_MAX => Ok(given.to_lowercase()),
        _ => Err(wrong(&given)),
    }
}

fn locks(x: &EvalContext) -> Result<Arc<dyn UserLocks>> {
    x.user_locks.clone().ok_or_else(|| EvalError::Unsupported("user-level locks outside of a session".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_1_to_64_characters_and_no_case() {
        let text = |text: &str| Datum::string(text);
        assert_eq!(name(&text("Über_1")), Ok("über_1".into()));
        assert_eq!(name(&text(&"é".repeat(64))), Ok("é".repeat(64)));
        for wrong in [text(""), text(&"x".repeat(65)), Datum::Null] {
            assert_eq!(name(&wrong).unwrap_err().code(), 3057);
        }
    }
}
