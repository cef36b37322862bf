//! LIKE patterns and regular expressions.

use codec::types::Collation;
use regex::{Regex, RegexBuilder};

use crate::error::{EvalError, Result};

/// A LIKE pattern, prepared for many texts.
#[derive(Clone, Debug)]
pub struct Pattern {
    parts: Vec<Part>,
    collation: Collation,
    /// `abc%` under a byte-wise collation: the common case, answered by a comparison.
    prefix: Option<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    /// This character (byte, for binary strings).
    One(char),
    /// `_`
    Any,
    /// `%`
    Many,
}

/// Characters of text; bytes of binary strings, and bytes that are no UTF-8, stand for themselves.
fn chars(text: &[u8], binary: bool) -> Vec<char> {
    if !binary && let Ok(s) = std::str::from_utf8(text) {
        return s.chars().collect();
    }
    text.iter().map(|b| char::from(*b)).collect()
}

impl Pattern {
    /// Reads a pattern; without an escape character `\` stands for itself.
    pub fn new(pattern: &[u8], escape: Option<char>, collation: Collation) -> Pattern {
        let mut parts = Vec::new();
        let binary = collation == Collation::BINARY;
        let mut rest = chars(pattern, binary).into_iter();
        while let Some(c) = rest.next() {
            parts.push(match c {
                c if Some(c) == escape => Part::One(rest.next().unwrap_or(c)),
                '%' if parts.last() == Some(&Part::Many) => continue,
                '%' => Part::Many,
                '_' => Part::Any,
                c => Part::One(c),
            });
        }
        let mut prefix = None;
        if let Some((Part::Many, head)) = parts.split_last()
            && collation.is_bin()
            && !binary
        {
            let text: Option<String> =
                head.iter().map(|p| if let Part::One(c) = p { Some(*c) } else { None }).collect();
            prefix = text.map(String::into_bytes);
        }
        Pattern { parts, collation, prefix }
    }

    /// Whether the whole text matches.
    pub fn matches(&self, text: &[u8]) -> bool {
        if let Some(prefix) = &self.prefix {
            return text.starts_with(prefix);
        }
        let text = chars(text, self.collation == Collation::BINARY);
        // Greedy with one point of return: the last `%` seen.
        let (mut t, mut p) = (0, 0);
        let mut back: Option<(usize, usize)> = None;
        while t < text.len() {
            match self.parts.get(p) {
                Some(Part::Many) => {
                    back = Some((p + 1, t));
                    p += 1;
                    continue;
                }
                Some(Part::Any) => {
                    (t, p) = (t + 1, p + 1);
                    continue;
                }
                Some(Part::One(c)) if self.same(*c, text[t]) => {
                    (t, p) = (t + 1, p + 1);
                    continue;
                }
                _ => {}
            }
            match back {
                Some((after, from)) => {
                    back = Some((after, from + 1));
                    (p, t) = (after, from + 1);
                }
                None => return false,
            }
        }
        self.parts[p..].iter().all(|p| *p == Part::Many)
    }

    fn same(&self, a: char, b: char) -> bool {
        if a == b {
            return true;
        }
        if self.collation.is_bin() {
            return false;
        }
        let (mut x, mut y) = ([0; 4], [0; 4]);
        let (x, y) = (a.encode_utf8(&mut x), b.encode_utf8(&mut y));
        // LIKE compares character by character; padding plays no part, so that a space is only a space.
        if a == ' ' || b == ' ' {
            return false;
        }
        self.collation.compare(x.as_bytes(), y.as_bytes()).is_eq()
    }
}

/// A regular expression; case counts only under byte-wise collations.
pub fn regex(pattern: &[u8], collation: Collation) -> Result<Regex> {
    regex_of_type(pattern, collation, "", "regexp")
}

/// The same with a match type: `c` and `i` say whether case counts, `m` makes `^` and `$` match at lines, `n` lets `.`
/// match line ends, `u` makes only `\n` a line end (as it is here always). Of contradictory letters the last one counts.
pub fn regex_of_type(pattern: &[u8], collation: Collation, match_type: &str, function: &str) -> Result<Regex> {
    let (mut insensitive, mut lines, mut dot_all) = (!collation.is_bin(), false, false);
    for letter in match_type.chars() {
        match letter {
            'c' => insensitive = false,
            'i' => insensitive = true,
            'm' => lines = true,
            'n' => dot_all = true,
            'u' => {}
            _ => return Err(EvalError::WrongArguments(function.into())),
        }
    }
    let pattern = String::from_utf8_lossy(pattern);
    if pattern.is_empty() {
        return Err(EvalError::Regexp("empty (sub)expression".into()));
    }
    RegexBuilder::new(&pattern)
        .case_insensitive(insensitive)
        .multi_line(lines)
        .dot_matches_new_line(dot_all)
        .size_limit(1 << 20)
        .build()
        .map_err(|e| EvalError::Regexp(e.to_string().lines().last().unwrap_or("bad pattern").to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn like(text: &str, pattern: &str, collation: Collation) -> bool {
        Pattern::new(pattern.as_bytes(), Some('\\'), collation).matches(text.as_bytes())
    }

    #[test]
    fn patterns_match_whole_texts() {
        let bin = Collation::UTF8MB4_BIN;
        for (text, pattern, want) in [
            ("abc", "abc", true),
            ("abc", "a%", true),
            ("abc", "%c", true),
            ("abc", "%b%", true),
            ("abc", "a_c", true),
            ("abc", "a_", false),
            ("abc", "", false),
            ("", "%", true),
            ("", "", true),
            ("a%c", "a\\%c", true),
            ("abc", "a\\%c", false),
            ("aXbXc", "a%X%c", true),
            ("mississippi", "%iss%ip%", true),
            ("mississippi", "%iss%ix%", false),
            ("äöü", "_ö_", true),
            ("abc ", "abc", false),
            ("abc", "abc ", false),
        ] {
            assert_eq!(like(text, pattern, bin), want, "{text:?} LIKE {pattern:?}");
        }
        assert!(!like("ABC", "abc", bin));
        assert!(like("ABC", "abc", Collation::UTF8MB4_GENERAL_CI));
        assert!(like("ÉTÉ", "été", Collation::UTF8MB4_GENERAL_CI));
    }
}
