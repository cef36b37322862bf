//! `sqlparser`'s MySQL dialect, with what it lacks.

use std::any::TypeId;

use query::interval::Unit;
use sqlparser::ast::{
    BinaryOperator, DateTimeField, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, Interval, Statement, UnaryOperator,
};
use sqlparser::dialect::{Dialect, MySqlDialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

const MYSQL: MySqlDialect = MySqlDialect {};

/// How tightly `-a`, `~a` and `!a` bind: more than any operator between two operands.
const UNARY_PRECEDENCE: u8 = 50;
/// How tightly `<<` and `>>` bind: between `+` and `&`.
const SHIFT_PRECEDENCE: u8 = 28;

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

    // MySQL 8.0 Reference Manual, "Operator Precedence"; and by its grammar `IN`, `BETWEEN`, `LIKE` and `REGEXP` bind
    // more tightly than comparisons: `a = b IN (1, 2)` is `a = (b IN (1, 2))`.
    fn prec_value(&self, prec: Precedence) -> u8 {
        match prec {
            Precedence::Period => 100,
            Precedence::DoubleColon | Precedence::AtTz | Precedence::PgOther => 60,
            Precedence::Caret => 45,
            Precedence::MulDivModOp => 40,
            Precedence::PlusMinus => 30,
            Precedence::Ampersand => 26,
            Precedence::Pipe | Precedence::Colon => 24,
            Precedence::Between | Precedence::Like => 22,
            Precedence::Eq | Precedence::Is => 20,
            Precedence::UnaryNot => 15,
            Precedence::And => 10,
            Precedence::Xor => 8,
            Precedence::Or => 5,
        }
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        match parser.peek_token_ref().token {
            Token::ShiftLeft | Token::ShiftRight => Some(Ok(SHIFT_PRECEDENCE)),
            _ => is_mod(parser).then(|| Ok(self.prec_value(Precedence::MulDivModOp))),
        }
    }

    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        let op = match &parser.peek_token_ref().token {
            Token::Word(w) => return (w.keyword == Keyword::INTERVAL).then(|| interval(parser)),
            Token::Minus => UnaryOperator::Minus,
            Token::Plus => UnaryOperator::Plus,
            Token::Tilde => UnaryOperator::BitwiseNot,
            Token::ExclamationMark => UnaryOperator::BangNot,
            Token::LParen if is_values(parser) => return Some(values_subquery(parser)),
            _ => return None,
        };
        parser.advance_token();
        let operand = parser.parse_subexpr(UNARY_PRECEDENCE);
        Some(operand.map(|expr| Expr::UnaryOp { op, expr: Box::new(expr) }))
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

    // `EXTRACT(YEAR_MONTH FROM d)`
    fn allow_extract_custom(&self) -> bool {
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

/// `INTERVAL n unit`, with MySQL's composed units, or the function `INTERVAL(n, a, b, …)`.
fn interval(parser: &mut Parser) -> Result<Expr, ParserError> {
    parser.advance_token();
    if is_list(parser) {
        parser.expect_token(&Token::LParen)?;
        let args = parser.parse_comma_separated(Parser::parse_expr)?;
        parser.expect_token(&Token::RParen)?;
        let args = args.into_iter().map(|e| FunctionArg::Unnamed(FunctionArgExpr::Expr(e))).collect();
        return Ok(Expr::Function(Function {
            name: vec![Ident::new("interval")].into(),
            uses_odbc_syntax: false,
            parameters: FunctionArguments::None,
            args: FunctionArguments::List(FunctionArgumentList {
                duplicate_treatment: None,
                args,
                clauses: Vec::new(),
            }),
            filter: None,
            null_treatment: None,
            over: None,
            within_group: Vec::new(),
        }));
    }
    let value = Box::new(parser.parse_expr()?);
    let unit = match &parser.peek_token_ref().token {
        Token::Word(w) if Unit::parse(&w.value).is_some() => Ident::new(w.value.to_ascii_uppercase()),
        _ => return parser.expected_ref("a unit of time", parser.peek_token_ref()),
    };
    parser.advance_token();
    Ok(Expr::Interval(Interval {
        value,
        leading_field: Some(DateTimeField::Custom(unit)),
        leading_precision: None,
        last_field: None,
        fractional_seconds_precision: None,
    }))
}

/// Whether `(VALUES ROW` comes next.
fn is_values(parser: &Parser) -> bool {
    let word = |n: usize, keyword: Keyword| match &parser.token_at(parser.index() + n).token {
        Token::Word(w) => w.keyword == keyword && w.quote_style.is_none(),
        _ => false,
    };
    word(1, Keyword::VALUES) && word(2, Keyword::ROW)
}

/// `(VALUES ROW(…), …)` as an operand.
fn values_subquery(parser: &mut Parser) -> Result<Expr, ParserError> {
    parser.expect_token(&Token::LParen)?;
    let query = parser.parse_query()?;
    parser.expect_token(&Token::RParen)?;
    Ok(Expr::Subquery(query))
}

/// Whether a parenthesis comes next that has a comma of its own.
fn is_list(parser: &Parser) -> bool {
    let mut depth = 0;
    for i in parser.index().. {
        match &parser.token_at(i).token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            Token::Comma if depth == 1 => return true,
            Token::EOF => return false,
            _ => {}
        }
        if depth == 0 {
            return false;
        }
    }
    false
}

fn is_mod(parser: &Parser) -> bool {
    matches!(&parser.peek_token_ref().token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case("MOD"))
}
