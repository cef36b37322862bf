//! Regular expressions.

use codec::datum::Datum;
use regex::Regex;

use super::args::*;
use crate::context::EvalContext;
use crate::error::{EvalError, Result};
use crate::expr::Call;
use crate::expr::function::{Arg, Body, Function, Group, Length, Ret, RowKernel};
use crate::infer;
use crate::value;

const fn of(name: &'static str, count: (usize, usize), args: &'static [Arg], ret: Ret, kernel: RowKernel) -> Function {
    Function::kernel(Group::Regexp, name, count, args, ret, kernel)
}

const TEXT: Ret = Ret::Text(Length::Open);

pub(super) static ROWS: &[Function] = &[
    Function::new(Group::Regexp, "regexp", Body::Syntax).alias(&["rlike"]).pushed(),
    Function::built(Group::Regexp, "regexp_like", (2, 3), |args| match args.len() {
        2 => {
            let [text, pattern] = super::take(args);
            infer::regexp(text, pattern)
        }
        _ => super::kernel_call(&MATCHES, args),
    }),
    of("regexp_replace", (3, 6), &[Arg::Str, Arg::Str, Arg::Str, Arg::Int, Arg::Int, Arg::Str], TEXT, replace),
    of("regexp_substr", (2, 5), &[Arg::Str, Arg::Str, Arg::Int, Arg::Int, Arg::Str], TEXT, |c, v, _| {
        let s = lossy(&v[0]);
        let found = Search::new(c, v, 2, 4)?.find(&s, int_at(v, 3, 1));
        or_null(found.map(|m| Datum::from(&s[m])))
    }),
    of("regexp_instr", (2, 6), &[Arg::Str, Arg::Str, Arg::Int, Arg::Int, Arg::Int, Arg::Str], Ret::Int, |c, v, _| {
        let s = lossy(&v[0]);
        let end = match int_at(v, 4, 0) {
            0 => false,
            1 => true,
            // MySQL words it so.
            _ => return Err(EvalError::WrongArguments("regexp_instr: return_option must be 1 or 0.".into())),
        };
        let found = Search::new(c, v, 2, 5)?.find(&s, int_at(v, 3, 1));
        let position = |m: std::ops::Range<usize>| s[..if end { m.end } else { m.start }].chars().count() as i64 + 1;
        integer(found.map_or(0, position))
    }),
];

/// REGEXP_LIKE with a match type.
static MATCHES: Function = of("regexp_like", (3, 3), &[Arg::Str], Ret::Int, |c, v, _| {
    let regex = value::regex_of_type(text(&v[1]), collation(c)?, &lossy(&v[2]), c.func.name())?;
    integer(regex.is_match(&lossy(&v[0])).into())
});

/// A pattern, and the byte from which it is looked for.
struct Search {
    regex: Regex,
    from: usize,
}

impl Search {
    /// Of `text, pattern, …` with a position and a match type among what follows.
    fn new(call: &Call, v: &[Datum], position: usize, match_type: usize) -> Result<Search> {
        let options = v.get(match_type).map(lossy).unwrap_or_default();
        let regex = value::regex_of_type(text(&v[1]), collation(call)?, &options, call.func.name())?;
        let s = lossy(&v[0]);
        let position = int_at(v, position, 1);
        let Some(skip) = usize::try_from(position).ok().and_then(|p| p.checked_sub(1)) else {
            return Err(EvalError::RegexpIndex);
        };
        // Right behind the last character is a place, too.
        let Some(from) = s.char_indices().map(|(at, _)| at).chain([s.len()]).nth(skip) else {
            return Err(EvalError::RegexpIndex);
        };
        Ok(Search { regex, from })
    }

    /// Where a match is; numbers below one mean the first.
    fn find(&self, s: &str, occurrence: i64) -> Option<std::ops::Range<usize>> {
        let skip = usize::try_from(occurrence.max(1) - 1).ok()?;
        self.regex.find_iter(&s[self.from..]).nth(skip).map(|m| m.start() + self.from..m.end() + self.from)
    }
}

/// REGEXP_REPLACE(text, pattern, by[, position[, occurrence[, match_type]]]); occurrence 0 means all.
fn replace(call: &Call, v: &[Datum], _: &mut EvalContext) -> Result<Datum> {
    let s = lossy(&v[0]);
    if s.is_empty() {
        return string("");
    }
    let search = Search::new(call, v, 3, 5)?;
    let (before, rest) = s.split_at(search.from);
    let by = replacement(&lossy(&v[2]));
    let occurrence = int_at(v, 4, 0);
    if occurrence <= 0 {
        return string(format!("{before}{}", search.regex.replace_all(rest, by.as_str())));
    }
    let captures = search.regex.captures_iter(rest).nth(usize::try_from(occurrence - 1).unwrap_or(usize::MAX));
    match captures.as_ref().and_then(|c| Some((c, c.get(0)?))) {
        None => string(s),
        Some((captures, whole)) => {
            let mut out = format!("{before}{}", &rest[..whole.start()]);
            captures.expand(&by, &mut out);
            out.push_str(&rest[whole.end()..]);
            string(out)
        }
    }
}

/// MySQL writes groups as `$1` and takes the next character after a backslash as it is; the crate reads `${1}` and `$$`.
fn replacement(by: &str) -> String {
    let mut out = String::new();
    let mut rest = by.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' => match rest.next() {
                Some('$') => out.push_str("$$"),
                Some(c) => out.push(c),
                None => {}
            },
            '$' => {
                let mut digits = String::new();
                while let Some(d) = rest.next_if(char::is_ascii_digit) {
                    digits.push(d);
                }
                out.push_str(&if digits.is_empty() { "$$".into() } else { format!("${{{digits}}}") });
            }
            c => out.push(c),
        }
    }
    out
}
