//! Golden scripts: each statement of `testdata/*.sql` with what it parses to, in the `.golden` file beside it.
//! `UPDATE=1` rewrites the golden files.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

/// What tells a statement apart from others, in one line: trees of queries as SQL, ours as they are. Warnings follow.
fn describe(sql: &str) -> String {
    let parsed = parse_one(sql.as_bytes(), LexMode::default());
    let warnings = parsed.iter().flat_map(|parsed| &parsed.warnings);
    let warnings: String = warnings.map(|w| format!("\n  WARNING {}: {w}", w.code().0)).collect();
    let statement = match parsed {
        Ok(parsed) => match parsed.statement {
            Statement::Query(q) => format!("Query {q}"),
            Statement::Insert(i) => format!("Insert {i}"),
            Statement::Update { with, update } => {
                format!("Update {}{update}", with.map(|with| format!("{with} ")).unwrap_or_default())
            }
            Statement::Delete { with, delete, ignore } => format!(
                "Delete {}{delete}{}",
                with.map(|with| format!("{with} ")).unwrap_or_default(),
                if ignore { " (IGNORE)" } else { "" }
            ),
            other => strip_spans(&format!("{other:?}")),
        },
        Err(e) => format!("ERROR {} ({}): {e}", e.code().0, e.code().1),
    };
    statement + &warnings
}

/// Removes positions from a debug text: they make goldens unreadable.
fn strip_spans(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(", span: Span(") {
        out.push_str(&rest[..at]);
        let after = &rest[at + ", span: Span(".len()..];
        let mut depth = 1;
        let end = after.char_indices().find(|(_, c)| {
            depth += i32::from(*c == '(') - i32::from(*c == ')');
            depth == 0
        });
        rest = &after[end.map_or(after.len(), |(i, _)| i + 1)..];
    }
    out + rest
}

fn check_golden(name: &str) {
    let script = std::fs::read_to_string(testdata().join(format!("{name}.sql"))).unwrap();
    let mut actual = String::new();
    let mut statements = 0;
    for line in script.lines().filter(|l| !l.trim().is_empty() && !l.starts_with("-- ")) {
        statements += 1;
        actual.push_str(&format!("{line}\n  {}\n", describe(line)));
    }
    assert!(statements > 0);
    let path = testdata().join(format!("{name}.golden"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &actual).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    for (e, a) in expected.lines().zip(actual.lines()) {
        assert_eq!(e, a, "{name}.golden (UPDATE=1 rewrites it)");
    }
    assert_eq!(expected.lines().count(), actual.lines().count());
}

#[test]
fn statements_that_applications_send() {
    check_golden("common");
}

#[test]
fn statements_of_tidb() {
    check_golden("tidb");
}

#[test]
fn statements_that_are_refused() {
    check_golden("refused");
}

#[test]
fn options_that_are_not_heeded_are_refused_or_leave_a_warning() {
    check_golden("options");
}

#[test]
fn many_statements_are_split_and_placed() {
    let sql = b"select 1; ; select ';' /* ; */;\n-- x;\nupdate t set a = ? where b = ?;";
    let all = parse(sql, LexMode::default()).unwrap();
    let texts: Vec<_> = all.iter().map(|s| std::str::from_utf8(&sql[s.start..s.end]).unwrap()).collect();
    assert_eq!(texts, ["select 1", "select ';'", "update t set a = ? where b = ?"]);
    assert_eq!(all[2].params, 2);
}

#[test]
fn errors_tell_the_text_from_the_token_on() {
    let near = |sql: &str| match parse_one(sql.as_bytes(), LexMode::default()) {
        Err(SqlError::Syntax { near, line }) => format!("{line}: {near}"),
        other => format!("{other:?}"),
    };
    assert_eq!(near("selct 1"), "1: selct 1");
    assert_eq!(near("select *\nfrom t wher a = 1"), "2: a = 1");
    assert_eq!(near("create table t (a int"), "1: ");
    assert_eq!(near("insert into t values (1"), "1: ");
    assert_eq!(near("select 'abc"), "1: 'abc");
    assert_eq!(near("select 1; select 2"), "1: select 2");
    assert_eq!(near("drop table select"), "1: select");
}

#[test]
fn items_without_alias_are_named_by_their_text() {
    let names = |sql: &str| {
        let parsed = parse_one(sql.as_bytes(), LexMode::default()).unwrap();
        let Statement::Query(query) = parsed.statement else { panic!("{sql}") };
        let sqlparser::ast::SetExpr::Select(select) = *query.body else { panic!("{sql}") };
        let name = |item: sqlparser::ast::SelectItem| match item {
            sqlparser::ast::SelectItem::ExprWithAlias { alias, .. } => alias.value,
            other => format!("({other})"),
        };
        select.projection.into_iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(
        names("select 1+1,  count( * ) , (a), 'x', t.a, 2 b from t"),
        ["1+1", "count( * )", "((a))", "('x')", "(t.a)", "b"]
    );
    assert_eq!(names("select distinct SQL_NO_CACHE 0x41 , @A, @@Version, ?"), ["0x41", "@A", "@@Version", "?"]);
    assert_eq!(
        names("select (select 1, (2) from t), extract(year from d) limit 1"),
        ["(select 1, (2) from t)", "extract(year from d)"]
    );
    assert_eq!(names("select case when a then b else c end where 1"), ["case when a then b else c end"]);
    assert_eq!(names("select name_const('n', 1+1), null"), ["n", "(NULL)"]);
    assert_eq!(names(&format!("select {}1", "1+".repeat(200)))[0].len(), 256);
    assert_eq!(names("select `1+1`, t.* from (select 1+1) t"), ["(`1+1`)", "(t.*)"]);
}

#[test]
fn nothing_is_its_own_error() {
    for sql in ["", "  ", ";", "-- nothing", "/* nothing */"] {
        let result = parse_one(sql.as_bytes(), LexMode::default());
        assert!(matches!(result, Err(SqlError::EmptyQuery)), "{sql:?}: {result:?}");
    }
}

#[test]
fn deep_and_long_expressions_are_refused_not_overflown() {
    let parens = format!("select {}1{}", "(".repeat(100_000), ")".repeat(100_000));
    let chain = format!("select 1{}", "+1".repeat(1_000_000));
    let nots = format!("select {} 1", "not ".repeat(100_000));
    let minus = format!("select {}1", "- ".repeat(100_000));
    let explains = "explain ".repeat(100_000) + "select 1";
    let unions = "select 1 union ".repeat(100_000) + "select 1";
    let conditions = format!("select {}1{}", "case when ".repeat(2_000), " then 1 end".repeat(2_000));
    let results = format!("select {}1{}", "case when 1 then ".repeat(2_000), " end".repeat(2_000));
    let casts = format!("select {}1{}", "cast(".repeat(2_000), " as char)".repeat(2_000));
    for sql in [parens, chain, nots, minus, unions, conditions, results, casts] {
        let result = parse_one(sql.as_bytes(), LexMode::default());
        assert!(matches!(result, Err(SqlError::StackOverrun)), "{}: {:?}", &sql[..40], result.err());
    }
    assert!(parse_one(explains.as_bytes(), LexMode::default()).is_err());
    // Wide is not deep.
    let wide = format!("insert into t values (1,-1,'a'){}", ",(2,-2,'b')".repeat(50_000));
    assert!(parse_one(wide.as_bytes(), LexMode::default()).is_ok());
    let list = format!("select * from t where a in (1{})", ",-1".repeat(50_000));
    assert!(parse_one(list.as_bytes(), LexMode::default()).is_ok());
    let update = format!("update t set a = 1 where a in (1{})", ",-1".repeat(50_000));
    assert!(parse_one(update.as_bytes(), LexMode::default()).is_ok());
}

#[test]
fn reserved_words_are_sorted() {
    assert!(RESERVED.is_sorted());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_bytes_parse_or_fail(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes, LexMode::default());
    }

    #[test]
    fn any_words_parse_or_fail(words in proptest::collection::vec(
        proptest::sample::select(vec![
            "select", "from", "where", "t", "a", "1", "'x'", "(", ")", ",", "*", "=", "create", "table", "int", "primary", "key",
            "alter", "add", "column", "index", "on", "insert", "into", "values", "set", "@a", "@@x", "placement", "policy",
            "default", "show", "like", "join", "using", "order", "by", "group", "limit", "offset", "and", "or", "not", "null",
            "between", "in", "exists", "case", "when", "then", "else", "end", "update", "delete", "begin", "/*!", "*/", "`", ";",
            "explain", "with", "as", "union", "all", "for", "lock", "interval", "day", "cast", "convert", "char", "?", "-", ".",
        ]), 0..24)) {
        let _ = parse(words.join(" ").as_bytes(), LexMode::default());
    }
}
