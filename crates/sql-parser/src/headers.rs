//! Names of select items without an alias: the text of the expression as it was written, which a tree no longer
//! has. They become aliases of the tree.
//!
//! ```text
//! SELECT DISTINCT a, 1+1, count( * ) FROM t      the tokens between commas that are in no parenthesis
//!                 │  └┬┘  └───┬────┘
//!        its own name └ "1+1" └ "count( * )"
//! ```

use std::cell::OnceCell;
use std::collections::HashMap;

use super::ast::{Expr, Ident, Literal, Query, Select, SelectItem, SetExpr, TableFactor, TableWithJoins, With};
use super::grammar::{Keyword, Token};
use super::{StatementParser, offset};

/// Bytes of a name that MySQL makes of an expression at most.
const NAME_BYTES_MAX: usize = 256;

/// Words between SELECT and its first item.
const MODIFIERS: &[&str] = &[
    "ALL",
    "DISTINCT",
    "DISTINCTROW",
    "HIGH_PRIORITY",
    "STRAIGHT_JOIN",
    "SQL_SMALL_RESULT",
    "SQL_BIG_RESULT",
    "SQL_BUFFER_RESULT",
    "SQL_NO_CACHE",
    "SQL_CALC_FOUND_ROWS",
];

/// Gives the items of a query, and of those in its FROM, their names.
pub(super) fn name_items(parser: &StatementParser<'_>, query: &mut Query) {
    Namer { parser, selects: OnceCell::new() }.query(query);
}

/// The same for the queries of a change's WITH.
pub(super) fn name_items_of_with(parser: &StatementParser<'_>, with: Option<&mut With>) {
    with.into_iter().flat_map(|with| &mut with.ctes).for_each(|cte| name_items(parser, &mut cte.query));
}

struct Namer<'a, 'b> {
    parser: &'a StatementParser<'b>,
    /// Index of each SELECT token, by its offset.
    selects: OnceCell<HashMap<usize, usize>>,
}

impl Namer<'_, '_> {
    fn query(&self, query: &mut Query) {
        for cte in query.with.iter_mut().flat_map(|with| &mut with.ctes) {
            self.query(&mut cte.query);
        }
        let mut body = &mut query.body;
        // A long UNION is deep on its left.
        while let SetExpr::SetOperation { left, right, .. } = body {
            self.body(right);
            body = left;
        }
        self.body(body);
    }

    fn body(&self, body: &mut SetExpr) {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::Query(query) => self.query(query),
            SetExpr::SetOperation { left, right, .. } => {
                self.body(left);
                self.body(right);
            }
            _ => {}
        }
    }

    fn tables(&self, tables: &mut TableWithJoins) {
        for factor in std::iter::once(&mut tables.relation).chain(tables.joins.iter_mut().map(|j| &mut j.relation)) {
            match factor {
                TableFactor::Derived { subquery, .. } => self.query(subquery),
                TableFactor::Nested(tables) => self.tables(tables),
                _ => {}
            }
        }
    }

    fn select(&self, select: &mut Select) {
        select.from.iter_mut().for_each(|from| self.tables(from));
        let nameless =
            |item: &SelectItem| matches!(item, SelectItem::Expr { expr, alias: None } if !has_own_name(expr));
        if !select.projection.iter().any(nameless) {
            return;
        }
        let texts = self.item_texts(select.at.0);
        if texts.len() != select.projection.len() {
            return;
        }
        for (item, text) in select.projection.iter_mut().zip(texts) {
            if nameless(item)
                && let SelectItem::Expr { expr, alias } = item
            {
                *alias = Some(Ident::quoted(given_name(expr).unwrap_or(text)));
            }
        }
    }

    /// Texts of the items after the SELECT at this offset.
    fn item_texts(&self, select: usize) -> Vec<String> {
        let tokens = |i: usize| self.parser.p.token_at(i);
        let selects = self.selects.get_or_init(|| {
            let all = (0..).map(|i| (i, tokens(i))).take_while(|(_, t)| t.token != Token::EOF);
            all.filter(|(_, t)| is_keyword(&t.token, Keyword::SELECT)).map(|(i, t)| (offset(t), i)).collect()
        });
        let Some(select) = selects.get(&select) else { return Vec::new() };
        let mut at = select + 1;
        // Hints.
        while matches!(tokens(at).token, Token::Whitespace(_)) {
            at += 1;
        }
        while matches!(&tokens(at).token, Token::Word(w) if w.quote_style.is_none()
            && MODIFIERS.iter().any(|m| w.value.eq_ignore_ascii_case(m)))
        {
            at += 1;
        }
        let mut texts = Vec::new();
        let mut depth = 0;
        let mut start = at;
        loop {
            let token = &tokens(at).token;
            let ends = *token == Token::EOF || depth == 0 && (*token == Token::RParen || ends_list(token));
            if ends || depth == 0 && *token == Token::Comma {
                if start < at {
                    let (from, to) = (offset(tokens(start)), tokens(at - 1).span.end.column as usize - 1);
                    let text = String::from_utf8_lossy(&self.parser.sql[from..to]);
                    let cut = (0..=NAME_BYTES_MAX.min(text.len())).rev().find(|i| text.is_char_boundary(*i));
                    texts.push(text[..cut.unwrap_or(0)].to_owned());
                }
                if ends {
                    return texts;
                }
                start = at + 1;
            }
            match token {
                Token::LParen => depth += 1,
                Token::RParen => depth -= 1,
                _ => {}
            }
            at += 1;
        }
    }
}

fn is_keyword(token: &Token, keyword: Keyword) -> bool {
    matches!(token, Token::Word(w) if w.keyword == keyword)
}

/// Words that can only follow a select list.
fn ends_list(token: &Token) -> bool {
    use Keyword as K;
    let Token::Word(w) = token else { return false };
    matches!(
        w.keyword,
        K::FROM
            | K::INTO
            | K::WHERE
            | K::GROUP
            | K::HAVING
            | K::WINDOW
            | K::ORDER
            | K::LIMIT
            | K::UNION
            | K::EXCEPT
            | K::INTERSECT
            | K::FOR
            | K::LOCK
    )
}

/// Columns, strings and NULL have names whatever is around them.
fn has_own_name(e: &Expr) -> bool {
    matches!(e.without_parentheses(), Expr::Column(_) | Expr::Literal(Literal::Text(_) | Literal::Null))
}

/// `NAME_CONST('name', value)`; a number in parentheses.
fn given_name(e: &Expr) -> Option<String> {
    match e.without_parentheses() {
        Expr::Literal(Literal::Number(text)) => Some(text.clone()),
        Expr::Function(f) if f.name.value.eq_ignore_ascii_case("name_const") => match f.args.first()? {
            Expr::Literal(Literal::Text(name)) => Some(name.clone()),
            _ => None,
        },
        _ => None,
    }
}
