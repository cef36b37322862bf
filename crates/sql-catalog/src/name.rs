//! Identifiers.
//!
//! Not here: what may be an identifier (`sql-ddl` and the parser).

use std::fmt;

use serde::{Deserialize, Serialize};

/// An identifier that keeps the case it was written in and compares without case.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Name {
    /// As the user wrote it.
    #[serde(rename = "O")]
    pub original: String,
    /// In lower case: what comparison and lookup use.
    #[serde(rename = "L")]
    pub lower: String,
}

impl Name {
    /// An identifier as the user wrote it.
    pub fn new(text: impl Into<String>) -> Self {
        let original = text.into();
        let lower = original.to_lowercase();
        Name { original, lower }
    }

    /// The spelling to show.
    pub fn as_str(&self) -> &str {
        &self.original
    }

    /// True when `text` names the same thing.
    pub fn matches(&self, text: &str) -> bool {
        self.original == text || self.lower == text.to_lowercase()
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Name::new(text)
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.lower == other.lower
    }
}

impl Eq for Name {}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.original)
    }
}
