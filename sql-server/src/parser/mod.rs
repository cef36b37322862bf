//! From SQL text to [`Statement`].

mod ast;

pub use ast::*;
