//! SQL that destroys, grants, leaks or reaches out of the database.
//!
//! A text that is SQL is judged by its tree, where literals are data. Everything else is read as words: an order in prose
//! may hold a statement.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Function, Ident, ObjectName, Query, Select, SelectItem, SetExpr, Statement, Value, Visit, Visitor,
};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;

use super::super::sql::MAX_SQL_DEPTH;
use super::super::sql::lexical;
use super::words::{Set, is};

/// Columns and settings that hold secrets or rights.
const SECRET_COLUMNS: Set = "password* passwd* pwd pass_hash secret* ssn social_security* credit_card* card_number cc_number cvv \
    api_key* apikey* private_key* access_token* auth_token* pin_code authentication_string \
    salary_encrypted";
const RIGHTS_COLUMNS: Set = "role* is_admin admin isadmin is_superuser permission* privilege* password* passwd* balance \
    credit_limit is_staff access_level user_type";
/// Tables of the databases themselves.
const SYSTEM_TABLES: Set = "pg_shadow pg_authid pg_user_mapping* sys.user* mysql.user mysql.db master..sys* sys.sql_logins \
    dba_users all_users syslogins sysxlogins information_schema.* pg_catalog.* sqlite_master credit_card* \
    payment_card* secrets credentials admin_users api_keys user_passwords passwords";
/// Functions that read files, run programs, wait or connect elsewhere.
const FUNCTIONS: Set = "load_file pg_read_file pg_read_binary_file pg_ls_dir lo_import lo_export dblink* pg_sleep* sleep \
    benchmark sys_exec sys_eval load_extension writefile readfile pg_terminate_backend pg_cancel_backend \
    pg_reload_conf xp_* sp_* openrowset opendatasource extractvalue updatexml utl_http* utl_file* dbms_* \
    query_to_xml set_config pg_execute_server_program fts3_tokenizer edit";

/// Whether the text is or holds such SQL.
pub(super) fn in_text(text: &str) -> bool {
    if cut_short(text) {
        return true;
    }
    match whole(text) {
        Some(dangerous) => dangerous,
        None => embedded(text),
    }
}

/// A comment that swallows the rest of a condition: `name='admin'--' AND password=''`.
fn cut_short(text: &str) -> bool {
    let sql = text.get(..text.find("--").unwrap_or(0)).unwrap_or_default();
    let comment = text.get(sql.len()..).and_then(|rest| rest.lines().next()).unwrap_or_default();
    sql.trim_end().ends_with(['\'', '"']) && comment.contains(['\'', '"', '=']) && sql.contains('=')
}

/// Whether the text is SQL, whose literals then are data. Only kinds that no English sentence parses as: `show me the
/// money` is a statement to some.
pub(super) fn is_statement(text: &str) -> bool {
    is(&first_word(text), "select with insert update values") && whole(text).is_some()
}

fn first_word(text: &str) -> String {
    let text = text.trim_start_matches([' ', '\n', '\t', '\r', '(']);
    text.split(|char: char| !char.is_ascii_alphanumeric()).next().unwrap_or_default().to_ascii_lowercase()
}

/// Judges the tree; `None` if the text as a whole is no SQL, or only a word or two that could be anything.
fn whole(text: &str) -> Option<bool> {
    const STARTS: Set = "select with insert update delete merge explain values drop truncate alter create grant revoke \
        replace copy";
    // Without its FROM, `delete draft` is a statement to some, and an ordinary sentence.
    let deletes_something = first_word(text) == "delete" && !text.to_ascii_lowercase().contains("from");
    if !is(&first_word(text), STARTS) || deletes_something {
        return None;
    }
    let tokens = lexical::lenient(text)?;
    let parser = Parser::new(&GenericDialect {}).with_recursion_limit(MAX_SQL_DEPTH);
    let statements = parser.with_tokens_with_locations(tokens).parse_statements().ok()?;
    if statements.is_empty() {
        return None;
    }
    Some(
        statements.iter().any(dangerous)
            || (1 < statements.len() && statements.iter().any(|one| !matches!(one, Statement::Query(_)))),
    )
}

fn dangerous(statement: &Statement) -> bool {
    let harmless_kind = matches!(
        statement,
        Statement::Query(_)
            | Statement::Insert(_)
            | Statement::Update(_)
            | Statement::Explain { .. }
            | Statement::ExplainTable { .. }
            | Statement::ShowTables { .. }
            | Statement::ShowColumns { .. }
    );
    !harmless_kind || statement.visit(&mut Search).is_break()
}

/// Looks for what is dangerous wherever it stands in a tree.
struct Search;

impl Visitor for Search {
    type Break = ();

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<()> {
        let harms = match statement {
            Statement::Insert(insert) => {
                is(&insert.table.to_string().to_ascii_lowercase(), "admin* role* permission* user_roles")
                    || (is(&insert.table.to_string().to_ascii_lowercase(), "user* account*")
                        && names_admin(&insert.to_string()))
                    || insert.columns.iter().any(|column| is_column(&column.to_string(), RIGHTS_COLUMNS))
            }
            Statement::Update(update) => {
                let sets_rights = update
                    .assignments
                    .iter()
                    .any(|assignment| is_column(&assignment.target.to_string(), RIGHTS_COLUMNS));
                sets_rights || update.selection.as_ref().is_none_or(always_true)
            }
            Statement::Query(_) | Statement::Explain { .. } => false,
            // Nested or explained: as bad as on its own.
            Statement::Delete(_)
            | Statement::Merge(_)
            | Statement::Drop { .. }
            | Statement::Truncate { .. } => true,
            _ => false,
        };
        found(harms)
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        // A set operation over tables of the catalogue is how injected text reads them.
        let mixes = matches!(&*query.body, SetExpr::SetOperation { .. });
        let text = if mixes { query.body.to_string().to_ascii_lowercase() } else { String::new() };
        found(["sysobjects", "all_tables", "@@version"].iter().any(|catalogue| text.contains(catalogue)))
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        let into = select.into.is_some();
        let secrets = select.projection.iter().any(|item| match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                is_column(&expr.to_string(), SECRET_COLUMNS)
            }
            _ => false,
        });
        found(into || secrets || select.selection.as_ref().is_some_and(tautology))
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        let name = relation.to_string().to_ascii_lowercase();
        let last = name.rsplit('.').next().unwrap_or_default().trim_matches(['"', '`']).to_owned();
        found(is(&name, SYSTEM_TABLES) || is(&last, SYSTEM_TABLES))
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(Function { name, .. }) => {
                let name = name.to_string().to_ascii_lowercase();
                let last = name.rsplit('.').next().unwrap_or_default().to_owned();
                found(is(&name, FUNCTIONS) || is(&last, FUNCTIONS))
            }
            Expr::CompoundIdentifier(parts) => found(parts.last().is_some_and(secret)),
            _ => ControlFlow::Continue(()),
        }
    }
}

fn names_admin(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["'admin'", "'root'", "'superuser'", "'administrator'"].iter().any(|name| text.contains(name))
}

fn secret(column: &Ident) -> bool {
    is(&column.value.to_ascii_lowercase(), "password_hash passwd private_key api_key cvv")
}

fn is_column(text: &str, known: Set) -> bool {
    let name = text.to_ascii_lowercase();
    let name = name.rsplit('.').next().unwrap_or_default().trim_matches(['"', '`', '[', ']', '(', ')']);
    is(name, known)
}

/// `… OR 1=1` somewhere on the way of OR and AND from the root.
fn tautology(expr: &Expr) -> bool {
    use sqlparser::ast::BinaryOperator::{And, Or};
    match expr {
        Expr::BinaryOp { left, op: Or, right } => {
            always_true(left) || always_true(right) || tautology(left) || tautology(right)
        }
        Expr::BinaryOp { left, op: And, right } => tautology(left) || tautology(right),
        Expr::Nested(inner) => tautology(inner),
        _ => false,
    }
}

fn always_true(expr: &Expr) -> bool {
    use sqlparser::ast::BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq, Or};
    match expr {
        Expr::Nested(inner) => always_true(inner),
        Expr::Value(value) => match &value.value {
            Value::Boolean(value) => *value,
            Value::Number(number, _) => number != "0",
            _ => false,
        },
        Expr::BinaryOp { left, op: Or, right } => always_true(left) || always_true(right),
        Expr::BinaryOp { left, op: Eq | LtEq | GtEq, right } if left == right => true,
        Expr::BinaryOp { left, op: Eq | NotEq | Gt | Lt | LtEq | GtEq, right } => {
            matches!((&**left, &**right), (Expr::Value(_), Expr::Value(_)))
        }
        Expr::IsNotNull(inner) => {
            matches!(&**inner, Expr::Identifier(column) if column.value.eq_ignore_ascii_case("id"))
        }
        Expr::Like { pattern, negated: false, .. } => pattern.to_string() == "'%'",
        _ => false,
    }
}

fn found(yes: bool) -> ControlFlow<()> {
    if yes { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// Looks for the beginnings of statements in words, comments taken out and put to a blank.
fn embedded(text: &str) -> bool {
    [without_comments(text, ""), without_comments(text, " ")].iter().any(|text| spelt(text))
}

fn spelt(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    // What glues a keyword together at run time: `'DR' || 'OP'`.
    let glued: String =
        lower.chars().filter(|char| !matches!(char, '\'' | '"' | '|' | '+' | ' ' | '\n' | '\t')).collect();
    let has_glue =
        ["'||'", "' || '", "'+'", "' + '", "\"+\"", "\" + \""].iter().any(|glue| lower.contains(glue));
    let words: Vec<&str> = lower
        .split(|char: char| {
            !(char.is_alphanumeric() || matches!(char, '_' | '.' | ';' | '(' | '*' | '=' | '@'))
        })
        .filter(|word| !word.is_empty())
        .collect();
    let words: Vec<&str> = words.into_iter().flat_map(cut).collect();
    let injected = [
        "or1=1",
        "or'1'='1",
        "or\"1\"=\"1",
        "or1=1--",
        "or''='",
        "or'a'='a",
        "or'x'='x",
        "ortrue--",
        "unionselect",
        "unionallselect",
        ";shutdown",
        "waitfordelay",
        "or1=1#",
    ];
    let dense: String = lower.chars().filter(|char| !char.is_whitespace()).collect();
    let tautological = injected.iter().any(|mark| dense.contains(mark)) && sql_like(&lower);
    let built = has_glue
        && ["droptable", "dropdatabase", "deletefrom", "truncatetable", "altertable", "grantall"]
            .iter()
            .any(|verb| glued.contains(verb));
    let coded = 2 < lower.matches("char(").count() + lower.matches("chr(").count();
    tautological
        || built
        || coded
        || words.iter().enumerate().any(|(at, word)| {
            let next = |step: usize| words.get(at + step).copied().unwrap_or_default();
            begins(word, &next)
        })
}

/// `unionselect` and the like also stand in words such as `color1=1`, so a mark of SQL must be near.
fn sql_like(lower: &str) -> bool {
    lower.contains(['\'', '"', '=', ';']) || lower.contains("--") || lower.contains("select")
}

/// Punctuation that ends a statement or opens a call is a word of its own.
fn cut(word: &str) -> Vec<&str> {
    word.split_inclusive([';', '('])
        .flat_map(|part| {
            let plain = part.trim_end_matches([';', '(']);
            [plain, part.get(plain.len()..).unwrap_or_default()]
        })
        .filter(|part| !part.is_empty())
        .collect()
}

/// Whether a dangerous statement begins with `word`. `next(n)` is the n-th word after it.
fn begins<'t>(word: &str, next: &dyn Fn(usize) -> &'t str) -> bool {
    const OBJECTS: Set = "table tables database databases schema schemas index view user role column function procedure \
        trigger sequence constraint login tablespace extension collection";
    const STOP: Set = "of the a in for is was on to and at your his her our";
    let named = |step: usize| {
        let name = next(step);
        name.starts_with(|first: char| first.is_alphabetic() || first == '_' || first == '*')
            && !is(name, STOP)
    };
    match word {
        "drop" => is(next(1), OBJECTS) && (named(2) || matches!(next(2), "" | ";")),
        "truncate" => {
            next(1) == "table"
                || (named(1) && matches!(next(2), ";" | "" | "cascade" | "restart") && next(1) != "long")
        }
        "delete" => next(1) == "from" && named(2) || next(1) == "*" && next(2) == "from",
        "alter" => {
            matches!(next(1), "table" | "user" | "role" | "database" | "system" | "login" | "schema")
                && named(2)
        }
        "grant" => {
            (1..8).any(|step| matches!(next(step), "on" | "to"))
                && matches!(
                    next(1),
                    "all"
                        | "select"
                        | "insert"
                        | "update"
                        | "delete"
                        | "execute"
                        | "superuser"
                        | "dba"
                        | "usage"
                        | "create"
                        | "admin"
                )
        }
        "revoke" => (1..8).any(|step| next(step) == "from"),
        "create" => {
            matches!(next(1), "user" | "role" | "login" | "trigger" | "extension")
                && named(2)
                && matches!(
                    next(3),
                    "with"
                        | "identified"
                        | "superuser"
                        | "password"
                        | "before"
                        | "after"
                        | "createdb"
                        | ";"
                        | ""
                )
        }
        "update" => update(next),
        "insert" => next(1) == "into" && is(next(2), "admin* role* permission* user_roles"),
        "into" => matches!(next(1), "outfile" | "dumpfile"),
        "load" => next(1) == "data" && matches!(next(2), "infile" | "local"),
        "copy" => {
            (1..6).any(|step| matches!(next(step), "program" | "stdin" | "stdout"))
                && (1..6).any(|step| matches!(next(step), "to" | "from"))
        }
        "exec" | "execute" | "call" => {
            next(1).starts_with("xp_")
                || next(1).starts_with("sp_")
                || next(1) == "immediate"
                || next(1).starts_with("master..")
        }
        "attach" => next(1) == "database",
        "shutdown" => next(1) == ";" || next(1) == "with" && next(2) == "nowait",
        "select" => select(next),
        "flush" => next(1) == "privileges",
        "set" => matches!(next(1), "global") || next(1) == "session" && next(2) == "authorization",
        name => {
            next(1) == "("
                && is(
                    name,
                    "load_file pg_read_file lo_import pg_sleep benchmark xp_cmdshell dblink* utl_http*",
                )
                || name.starts_with("xp_cmdshell")
        }
    }
}

fn update<'t>(next: &dyn Fn(usize) -> &'t str) -> bool {
    let Some(set) = (2..5).find(|step| next(*step) == "set") else { return false };
    let rest: Vec<&str> =
        (set + 1..set + 24).map(next).take_while(|word| *word != ";" && !word.is_empty()).collect();
    let assigns = rest.iter().any(|word| word.contains('='));
    let rights =
        rest.iter().take(6).any(|word| is_column(word.split('=').next().unwrap_or_default(), RIGHTS_COLUMNS));
    assigns && (rights || !rest.contains(&"where")) || rights && rest.contains(&"where")
}

fn select<'t>(next: &dyn Fn(usize) -> &'t str) -> bool {
    let words: Vec<&str> = (1..24).map(next).take_while(|word| *word != ";" && !word.is_empty()).collect();
    let Some(from) = words.iter().position(|word| *word == "from") else { return false };
    let (columns, tables) = words.split_at_checked(from).unwrap_or_default();
    columns.iter().any(|column| is_column(column, SECRET_COLUMNS))
        || tables.iter().skip(1).take(1).any(|table| is(table, SYSTEM_TABLES))
}

fn without_comments(text: &str, filler: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("/*") {
        plain.push_str(before);
        // What stands in `/*!…*/` is executed by some.
        let inner = after.split_once("*/");
        match inner {
            Some((obeyed, after)) => {
                match obeyed.strip_prefix('!') {
                    Some(obeyed) => {
                        plain.push_str(obeyed.trim_start_matches(|char: char| char.is_ascii_digit()));
                    }
                    None => plain.push_str(filler),
                }
                rest = after;
            }
            None => {
                rest = after;
                break;
            }
        }
    }
    plain.push_str(rest);
    plain
}
