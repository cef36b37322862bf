//! What the catalogue stores of a view: beside its name and columns, which are a table's, the text of its query.
//!
//! The text is canonical: every name in it is whole (`sql-parser` prints it, `sql-planner` knows what names mean), so it
//! means the same in whatever session it is read. Names and numbers in storage are TiDB's.
//!
//! Not here: what the text means; that is found out whenever the view is used, because its tables may have changed.

use serde::{Deserialize, Serialize};

use super::name::Name;

/// ALGORITHM: how the view is to be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "u8", from = "u8")]
pub enum ViewAlgorithm {
    /// As the server likes.
    #[default]
    Undefined,
    /// As part of the statement that names it.
    Merge,
    /// As a table of its own, which can't be changed.
    TempTable,
}

impl ViewAlgorithm {
    /// As SHOW CREATE VIEW prints it.
    pub fn as_str(self) -> &'static str {
        match self {
            ViewAlgorithm::Undefined => "UNDEFINED",
            ViewAlgorithm::Merge => "MERGE",
            ViewAlgorithm::TempTable => "TEMPTABLE",
        }
    }
}

impl From<ViewAlgorithm> for u8 {
    fn from(algorithm: ViewAlgorithm) -> u8 {
        algorithm as u8
    }
}

impl From<u8> for ViewAlgorithm {
    fn from(number: u8) -> Self {
        match number {
            1 => ViewAlgorithm::Merge,
            2 => ViewAlgorithm::TempTable,
            _ => ViewAlgorithm::Undefined,
        }
    }
}

/// WITH CHECK OPTION: which rows may be written through the view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckOption {
    /// Those that the view itself shows; views below it check for themselves.
    Local,
    /// Those that the view and all views below it show.
    Cascaded,
}

impl CheckOption {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            CheckOption::Local => "LOCAL",
            CheckOption::Cascaded => "CASCADED",
        }
    }
}

/// Whose view it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definer {
    /// User.
    #[serde(rename = "Username")]
    pub user: String,
    /// Where from.
    #[serde(rename = "Hostname")]
    pub host: String,
}

/// A view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewInfo {
    /// ALGORITHM.
    #[serde(rename = "view_algorithm")]
    pub algorithm: ViewAlgorithm,
    /// DEFINER.
    #[serde(rename = "view_definer")]
    pub definer: Definer,
    /// SQL SECURITY INVOKER rather than DEFINER.
    #[serde(rename = "view_invoker", default)]
    pub invoker: bool,
    /// The query, canonical.
    #[serde(rename = "view_select")]
    pub select: String,
    /// WITH CHECK OPTION.
    #[serde(rename = "view_check", default)]
    pub check_option: Option<CheckOption>,
    /// Names of the columns.
    #[serde(rename = "view_cols")]
    pub columns: Vec<Name>,
    /// The names were given beside the query; otherwise they are the query's own.
    #[serde(rename = "view_cols_given", default)]
    pub columns_given: bool,
    /// `character_set_client` of the session that made it.
    #[serde(default)]
    pub charset: String,
    /// `collation_connection` of that session.
    #[serde(default)]
    pub collation: String,
}
