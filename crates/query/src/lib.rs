//! MySQL values, types, collations, expressions and vectorised operators.
