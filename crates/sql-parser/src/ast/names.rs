//! Names as they were written, and where.

use std::fmt;

/// Where something stands in the text that was parsed: the offset of its first byte. Trees that differ in nothing but
/// places are equal.
#[derive(Debug, Clone, Copy, Default)]
pub struct Place(pub usize);

impl PartialEq for Place {
    fn eq(&self, _: &Place) -> bool {
        true
    }
}

impl Eq for Place {}

/// One part of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ident {
    /// Without quotes.
    pub value: String,
    /// It had quotes.
    pub quoted: bool,
    /// Where it is.
    pub at: Place,
}

impl Ident {
    /// A name that was not written with quotes.
    pub fn new(value: impl Into<String>) -> Ident {
        Ident { value: value.into(), quoted: false, at: Place::default() }
    }

    /// A name that the server itself has, for which no quotes are needed whatever it is.
    pub fn quoted(value: impl Into<String>) -> Ident {
        Ident { value: value.into(), quoted: true, at: Place::default() }
    }
}

impl fmt::Display for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.quoted { write!(f, "`{}`", self.value.replace('`', "``")) } else { f.write_str(&self.value) }
    }
}

/// `[[a.]b.]c`: of a column, a table, a function. Never without a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(pub Vec<Ident>);

impl Name {
    /// The part that the others qualify.
    pub fn last(&self) -> &str {
        self.0.last().map_or("", |part| &part.value)
    }

    /// The name, if it has one part.
    pub fn single(&self) -> Option<&Ident> {
        match &self.0[..] {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Where it is.
    pub fn at(&self) -> Place {
        self.0.first().map(|part| part.at).unwrap_or_default()
    }

    /// Its parts, without quotes.
    pub fn parts(&self) -> Vec<String> {
        self.0.iter().map(|part| part.value.clone()).collect()
    }
}

impl From<Ident> for Name {
    fn from(ident: Ident) -> Name {
        Name(vec![ident])
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, part) in self.0.iter().enumerate() {
            write!(f, "{}{part}", if i > 0 { "." } else { "" })?;
        }
        Ok(())
    }
}
