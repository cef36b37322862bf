//! JSON paths: `$.a."b c"[0]`, wildcards, `**`, places counted from the end, ranges.
//!
//! | leg | leads to |
//! |---|---|
//! | `.name`, `."any name"` | the member of an object |
//! | `.*` | all members |
//! | `[3]`, `[last]`, `[last-2]` | the element of an array; of anything else its first and last is the thing itself |
//! | `[1 to 3]`, `[last-1 to last]` | these elements |
//! | `[*]` | all elements |
//! | `**` | this and everything below, for the leg that follows |

use codec::json::{Json, key_order};

use crate::error::{EvalError, Result};

/// A place in an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// From the first, which is 0.
    Start(usize),
    /// From the last, which is 0.
    End(usize),
}

impl Place {
    /// The index in an array of `len`; negative before its start, `len` or more behind its end.
    pub(super) fn index(self, len: usize) -> i64 {
        let clip = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        match self {
            Place::Start(n) => clip(n),
            Place::End(n) => clip(len) - 1 - clip(n).min(i64::MAX / 2),
        }
    }

    /// The index of an element that is there.
    pub(super) fn within(self, len: usize) -> Option<usize> {
        usize::try_from(self.index(len)).ok().filter(|i| *i < len)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Leg {
    Member(String),
    AllMembers,
    Cell(Place),
    Range(Place, Place),
    AllCells,
    Descend,
}

/// A path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) legs: Vec<Leg>,
}

/// What is left of a path to read.
struct Reader<'a> {
    all: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.all[self.at..]
    }

    fn space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.rest().starts_with(word);
        if found {
            self.at += word.len();
        }
        found
    }

    /// The error at this place, which messages count from one.
    fn wrong<T>(&self) -> Result<T> {
        Err(EvalError::InvalidJsonPath(self.all[..self.at].chars().count().max(1)))
    }

    fn number(&mut self) -> Result<usize> {
        let digits = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        let Ok(n) = self.rest()[..digits].parse::<u32>() else { return self.wrong() };
        self.at += digits;
        Ok(n as usize)
    }

    fn place(&mut self) -> Result<Place> {
        if !self.take("last") {
            return Ok(Place::Start(self.number()?));
        }
        self.space();
        if !self.take("-") {
            return Ok(Place::End(0));
        }
        self.space();
        Ok(Place::End(self.number()?))
    }

    fn cell(&mut self) -> Result<Leg> {
        self.space();
        let leg = if self.take("*") {
            Leg::AllCells
        } else {
            let from = self.place()?;
            let spaced = self.rest().starts_with(char::is_whitespace);
            self.space();
            if spaced && self.take("to") {
                if !self.rest().starts_with(char::is_whitespace) {
                    return self.wrong();
                }
                self.space();
                let to = self.place()?;
                let backwards = match (from, to) {
                    (Place::Start(a), Place::Start(b)) => a > b,
                    (Place::End(a), Place::End(b)) => a < b,
                    _ => false,
                };
                if backwards {
                    return self.wrong();
                }
                Leg::Range(from, to)
            } else {
                Leg::Cell(from)
            }
        };
        self.space();
        if self.take("]") { Ok(leg) } else { self.wrong() }
    }

    fn member(&mut self) -> Result<Leg> {
        self.space();
        if self.take("*") {
            return Ok(Leg::AllMembers);
        }
        if self.rest().starts_with('"') {
            let mut escaped = false;
            let end = self.rest().char_indices().skip(1).find(|(_, c)| {
                let end = *c == '"' && !escaped;
                escaped = *c == '\\' && !escaped;
                end
            });
            let Some((end, _)) = end else { return self.wrong() };
            let Ok(Json::String(name)) = Json::parse(&self.rest()[..=end]) else { return self.wrong() };
            self.at += end + 1;
            return Ok(Leg::Member(name));
        }
        let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        let name: String = self.rest().chars().take_while(|c| is_name(*c)).collect();
        if name.is_empty() || name.starts_with(|c: char| c.is_numeric()) {
            return self.wrong();
        }
        self.at += name.len();
        Ok(Leg::Member(name))
    }
}

impl Path {
    /// Reads a path; 3143 tells where it goes wrong.
    pub(super) fn parse(text: &str) -> Result<Path> {
        let mut r = Reader { all: text, at: 0 };
        r.space();
        if !r.take("$") {
            return r.wrong();
        }
        let mut legs = Vec::new();
        loop {
            r.space();
            if r.rest().is_empty() {
                break;
            }
            let leg = if r.take("**") {
                Leg::Descend
            } else if r.take(".") {
                r.member()?
            } else if r.take("[") {
                r.cell()?
            } else {
                return r.wrong();
            };
            // Something must be looked for below, and once.
            if leg == Leg::Descend && legs.last() == Some(&Leg::Descend) {
                return r.wrong();
            }
            legs.push(leg);
        }
        if legs.last() == Some(&Leg::Descend) {
            return r.wrong();
        }
        Ok(Path { legs })
    }

    /// Whether it may lead to several places.
    pub(super) fn is_wild(&self) -> bool {
        self.legs.iter().any(|l| matches!(l, Leg::AllMembers | Leg::AllCells | Leg::Range(..) | Leg::Descend))
    }

    /// A path to one place at most; 3149 otherwise.
    pub(super) fn parse_one(text: &str) -> Result<Path> {
        let path = Path::parse(text)?;
        if path.is_wild() { Err(EvalError::JsonPathWildcard) } else { Ok(path) }
    }

    /// Every value it leads to, in document order, each once.
    pub(super) fn find<'a>(&self, doc: &'a Json) -> Vec<&'a Json> {
        let mut out = Vec::new();
        find(doc, &self.legs, &mut out);
        if self.legs.contains(&Leg::Descend) {
            let mut seen = std::collections::HashSet::new();
            out.retain(|j| seen.insert(std::ptr::from_ref::<Json>(j)));
        }
        out
    }

    /// The value to change, if it is there. For paths to one place.
    pub(super) fn find_mut<'a>(legs: &[Leg], doc: &'a mut Json) -> Option<&'a mut Json> {
        let Some((leg, rest)) = legs.split_first() else { return Some(doc) };
        let next = match (leg, doc) {
            (Leg::Member(name), Json::Object(members)) => {
                let at = members.binary_search_by(|(k, _)| key_order(k, name)).ok()?;
                &mut members[at].1
            }
            (Leg::Cell(place), Json::Array(items)) => {
                let at = place.within(items.len())?;
                &mut items[at]
            }
            (Leg::Cell(place), other) if !matches!(other, Json::Array(_)) && place.within(1) == Some(0) => other,
            _ => return None,
        };
        Path::find_mut(rest, next)
    }
}

fn find<'a>(doc: &'a Json, legs: &[Leg], out: &mut Vec<&'a Json>) {
    let Some((leg, rest)) = legs.split_first() else {
        out.push(doc);
        return;
    };
    match (leg, doc) {
        (Leg::Member(name), Json::Object(_)) => {
            if let Some(j) = doc.get(name) {
                find(j, rest, out);
            }
        }
        (Leg::AllMembers, Json::Object(members)) => members.iter().for_each(|(_, j)| find(j, rest, out)),
        (Leg::AllCells, Json::Array(items)) => items.iter().for_each(|j| find(j, rest, out)),
        (Leg::Cell(_) | Leg::Range(..), doc) => {
            let items = match doc {
                Json::Array(items) => &items[..],
                // Anything else is an array of one.
                other => std::slice::from_ref(other),
            };
            let (from, to) = match leg {
                Leg::Cell(place) => (place.index(items.len()), place.index(items.len())),
                Leg::Range(from, to) => (from.index(items.len()).max(0), to.index(items.len())),
                _ => return,
            };
            for (i, j) in items.iter().enumerate() {
                if (from..=to).contains(&(i as i64)) {
                    find(j, rest, out);
                }
            }
        }
        (Leg::Descend, doc) => {
            find(doc, rest, out);
            match doc {
                Json::Array(items) => items.iter().for_each(|j| find(j, legs, out)),
                Json::Object(members) => members.iter().for_each(|(_, j)| find(j, legs, out)),
                _ => {}
            }
        }
        _ => {}
    }
}

/// A leg to a member, as paths that are shown write it.
pub(super) fn member_text(name: &str) -> String {
    let plain = !name.is_empty()
        && !name.starts_with(|c: char| c.is_numeric())
        && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '$');
    if plain { format!(".{name}") } else { format!(".{}", Json::String(name.into())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_and_lead() {
        let doc = Json::parse(r#"{"a": [3, [5, 6], {"b": 7}], "b": {"c d": 8}, "c": 9}"#).unwrap();
        let get = |path: &str| match Path::parse(path) {
            Ok(p) => p.find(&doc).iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            Err(EvalError::InvalidJsonPath(at)) => format!("error at {at}"),
            Err(e) => e.to_string(),
        };
        for (path, want) in [
            ("$.a[0]", "3"),
            (" $ . a [ 0 ] ", "3"),
            ("$.a[last]", r#"{"b": 7}"#),
            ("$.a[last-1][last]", "6"),
            ("$.a[last - 3]", ""),
            ("$.a[1 to last]", r#"[5, 6] {"b": 7}"#),
            ("$.a[0 to 1]", "3 [5, 6]"),
            ("$.a[last-9 to 0]", "3"),
            ("$.c[0]", "9"),
            ("$.c[last]", "9"),
            ("$.c[0 to 5]", "9"),
            ("$.c[1]", ""),
            ("$.b.\"c d\"", "8"),
            ("$**.b", r#"{"c d": 8} 7"#),
            ("$.a**[0]", r#"3 5 6 {"b": 7} 7"#),
            ("$.*", r#"[3, [5, 6], {"b": 7}] {"c d": 8} 9"#),
            ("$.a[*].b", "7"),
            ("$**", "error at 3"),
            ("a", "error at 1"),
            ("$.a[2 to 1]", "error at 10"),
            ("$.1", "error at 2"),
            ("$.a[", "error at 4"),
        ] {
            assert_eq!(get(path), want, "{path}");
        }
    }
}
