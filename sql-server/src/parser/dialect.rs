//! `sqlparser`'s MySQL dialect, with what it lacks.

use std::any::TypeId;

use sqlparser::ast::{BinaryOperator, Expr, Statement};
use sqlparser::dialect::{Dialect, MySqlDialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

const MYSQL: MySqlDialect = MySqlDialect {};

/// MySQL as our users write it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MeridianDialect;

/// Answers as the MySQL dialect does.
macro_rules! as_mysql {
    ($($method:ident),* $(,)?) => { $(fn $method(&self) -> bool { MYSQL.$method() })* };
}

impl Dialect for MeridianDialect {
    // The grammar asks "is this MySQL" in many places; it is.
    fn dialect(&self) -> TypeId {
        TypeId::of::<MySqlDialect>()
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        MYSQL.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        MYSQL.is_identifier_part(ch)
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        MYSQL.is_delimited_identifier_start(ch)
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        MYSQL.identifier_quote_style(identifier)
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        is_mod(parser).then(|| Ok(self.prec_value(Precedence::MulDivModOp)))
    }

    fn parse_infix(&self, parser: &mut Parser, expr: &Expr, precedence: u8) -> Option<Result<Expr, ParserError>> {
        // `a MOD b`
        if is_mod(parser) {
            parser.advance_token();
            let right = parser.parse_subexpr(precedence);
            let left = Box::new(expr.clone());
            return Some(right.map(|r| Expr::BinaryOp { left, op: BinaryOperator::Modulo, right: Box::new(r) }));
        }
        MYSQL.parse_infix(parser, expr, precedence)
    }

    fn parse_statement(&self, parser: &mut Parser) -> Option<Result<Statement, ParserError>> {
        MYSQL.parse_statement(parser)
    }

    fn is_table_factor_alias(&self, explicit: bool, kw: &Keyword, parser: &mut Parser) -> bool {
        // `SELECT … FROM t LOCK IN SHARE MODE`
        (explicit || *kw != Keyword::LOCK) && MYSQL.is_table_factor_alias(explicit, kw, parser)
    }

    fn is_reserved_for_identifier(&self, kw: Keyword) -> bool {
        // Or a CASE that is nested too deeply would be read once more, as a name, and be a syntax error.
        kw == Keyword::CASE || MYSQL.is_reserved_for_identifier(kw)
    }

    fn supports_bang_not_operator(&self) -> bool {
        true
    }

    as_mysql!(
        supports_string_literal_backslash_escape,
        supports_string_literal_concatenation,
        ignores_wildcard_escapes,
        supports_numeric_prefix,
        supports_bitwise_shift_operators,
        supports_multiline_comment_hints,
        require_interval_qualifier,
        supports_limit_comma,
        supports_create_table_select,
        supports_insert_set,
        supports_user_host_grantee,
        supports_table_hints,
        requires_single_line_comment_whitespace,
        supports_match_against,
        supports_select_modifiers,
        supports_set_names,
        supports_comma_separated_set_assignments,
        supports_update_order_by,
        supports_data_type_signed_suffix,
        supports_cross_join_constraint,
        supports_double_ampersand_operator,
        supports_binary_kw_as_cast,
        supports_comment_optimizer_hint,
        supports_constraint_keyword_without_name,
        supports_key_column_option,
        supports_group_by_with_modifier,
        supports_left_associative_joins_without_parens,
    );
}

fn is_mod(parser: &Parser) -> bool {
    matches!(&parser.peek_token_ref().token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case("MOD"))
}
