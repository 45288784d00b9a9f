//! Walks a statement and collects what it does.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Cte, Expr, Function, FunctionArgumentClause, FunctionArguments, Ident, Insert,
    ObjectName, ObjectNamePart, OnInsert, Query, Select, SelectItem, SetExpr, Statement, TableFactor, Visit,
    Visitor,
};

use super::super::Truth;
use super::types::{built_in, known_collation, plain_alias};
use super::{Grammar, SqlGuard};

/// What a statement, or a part of one, does. A part that is none of these is never granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy::guard) enum Kind {
    Select,
    SelectForUpdate,
    Insert,
    Update,
    Delete,
    Merge,
    Explain,
}

impl Kind {
    pub(in crate::policy::guard) const NAMES: [(&'static str, Self); 7] = [
        ("select", Self::Select),
        ("select_for_update", Self::SelectForUpdate),
        ("insert", Self::Insert),
        ("update", Self::Update),
        ("delete", Self::Delete),
        ("merge", Self::Merge),
        ("explain", Self::Explain),
    ];
}

/// Why the walk ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Something that is not granted.
    Refused,
    /// Something whose effect is not known here.
    NotUnderstood,
}

/// Judges one parsed statement.
pub(super) fn judge(statement: &Statement, guard: &SqlGuard) -> Truth {
    let mut walk = Walk { guard, scopes: Vec::new(), seen: false, writes: writes(statement) };
    match statement.visit(&mut walk) {
        // A bare `VALUES` computes a result like a SELECT does.
        ControlFlow::Continue(()) if walk.seen => Truth::True,
        ControlFlow::Continue(()) => guard.statements.contains(&Kind::Select).into(),
        ControlFlow::Break(End::Refused) => Truth::False,
        ControlFlow::Break(End::NotUnderstood) => Truth::Unknown,
    }
}

struct Walk<'g> {
    guard: &'g SqlGuard,
    /// One for each query that encloses the place of the walk.
    scopes: Vec<Scope>,
    /// Whether any kind of statement was met.
    seen: bool,
    /// Whether anything in the statement writes. The target of a write is a table even if a common table expression
    /// has its name, so none of those names excuses a table then.
    writes: bool,
}

/// The common table expressions of one query. Each is visible to those after it and to the body, and to itself only
/// under `RECURSIVE`; before that its name is the name of a table.
#[derive(Default)]
struct Scope {
    /// Not yet visible: the query that defines it, and its name.
    pending: Vec<(*const Query, Ident)>,
    visible: Vec<Ident>,
    recursive: bool,
}

impl Walk<'_> {
    fn kind(&mut self, kind: Kind) -> ControlFlow<End> {
        self.seen = true;
        grant(self.guard.statements.contains(&kind))
    }

    fn table(&self, name: &ObjectName) -> ControlFlow<End> {
        grant(self.names_expression(name) || self.guard.tables.iter().any(|pattern| pattern.matches(name)))
    }

    fn function(&self, name: &ObjectName) -> ControlFlow<End> {
        grant(self.guard.functions.iter().any(|pattern| pattern.matches(name)))
    }

    fn builtin(&self, word: &str) -> ControlFlow<End> {
        grant(self.guard.functions.iter().any(|pattern| pattern.matches_word(word)))
    }

    fn call(&self, function: &Function) -> ControlFlow<End> {
        understood(matches!(function.parameters, FunctionArguments::None))?;
        if let FunctionArguments::List(list) = &function.args {
            let plain = |clause: &FunctionArgumentClause| match clause {
                FunctionArgumentClause::JsonReturningClause(returning) => built_in(&returning.data_type),
                _ => true,
            };
            understood(list.clauses.iter().all(plain))?;
        }
        self.function(&function.name)
    }

    /// An operator the author of the database defined can do anything, and `:=` assigns. Some only call the function of
    /// their name, which the application may have defined.
    fn operator(&self, op: &BinaryOperator) -> ControlFlow<End> {
        match op {
            BinaryOperator::Custom(_)
            | BinaryOperator::PGCustomBinaryOperator(_)
            | BinaryOperator::Assignment => ControlFlow::Break(End::NotUnderstood),
            BinaryOperator::Match => self.builtin("match"),
            BinaryOperator::Regexp => self.builtin("regexp"),
            BinaryOperator::Glob => self.builtin("glob"),
            _ => ControlFlow::Continue(()),
        }
    }

    /// `name 'text'` without `AS` is a value of the type `name` for some, and a column with an alias for others.
    fn plain_columns(&self, columns: &[SelectItem]) -> bool {
        let text_is_alias = matches!(self.guard.grammar, Grammar::MySql | Grammar::Sqlite);
        text_is_alias
            || columns.iter().all(|column| match column {
                SelectItem::ExprWithAlias { alias, .. } => alias.quote_style != Some('\''),
                SelectItem::ExprWithAliases { aliases, .. } => {
                    aliases.iter().all(|alias| alias.quote_style != Some('\''))
                }
                SelectItem::UnnamedExpr(_) | SelectItem::QualifiedWildcard(..) | SelectItem::Wildcard(_) => {
                    true
                }
            })
    }

    /// Whether the name is that of a visible common table expression, spelled the same to the letter: databases differ
    /// in how they fold case and quotes, and a name that only looks alike may be a table.
    fn names_expression(&self, name: &ObjectName) -> bool {
        let [ObjectNamePart::Identifier(name)] = name.0.as_slice() else { return false };
        let same = |other: &Ident| other.value == name.value && other.quote_style == name.quote_style;
        !self.writes && self.scopes.iter().any(|scope| scope.visible.iter().any(same))
    }

    fn insert(&mut self, insert: &Insert) -> ControlFlow<End> {
        self.kind(Kind::Insert)?;
        let strange = !insert.optimizer_hints.is_empty()
            || insert.overwrite
            || insert.output.is_some()
            || insert.multi_table_insert_type.is_some()
            || insert.partitioned.is_some();
        understood(!strange)?;
        match &insert.on {
            None => {}
            Some(OnInsert::OnConflict(_) | OnInsert::DuplicateKeyUpdate(_)) => self.kind(Kind::Update)?,
            Some(_) => return ControlFlow::Break(End::NotUnderstood),
        }
        if insert.replace_into || insert.or.is_some() {
            self.kind(Kind::Delete)?;
        }
        ControlFlow::Continue(())
    }
}

impl Visitor for Walk<'_> {
    type Break = End;

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<End> {
        match statement {
            Statement::Query(_) => ControlFlow::Continue(()),
            Statement::Insert(insert) => self.insert(insert),
            Statement::Update(update) => {
                self.kind(Kind::Update)?;
                understood(
                    update.optimizer_hints.is_empty() && update.output.is_none() && update.or.is_none(),
                )
            }
            Statement::Delete(delete) => {
                self.kind(Kind::Delete)?;
                understood(delete.optimizer_hints.is_empty() && delete.output.is_none())
            }
            Statement::Merge(merge) => {
                self.kind(Kind::Merge)?;
                understood(merge.optimizer_hints.is_empty() && merge.output.is_none())
            }
            Statement::Explain { .. } => self.kind(Kind::Explain),
            _ => ControlFlow::Break(End::Refused),
        }
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<End> {
        let mut scope = Scope::default();
        if let Some(with) = &query.with {
            scope.recursive = with.recursive;
            scope.pending = with
                .cte_tables
                .iter()
                .rev()
                .map(|table| (std::ptr::from_ref(&*table.query), table.alias.name.clone()))
                .collect();
            let plain = |table: &Cte| table.from.is_none() && plain_alias(&table.alias);
            understood(with.cte_tables.iter().all(plain))?;
        }
        if let Some(enclosing) = self.scopes.last_mut() {
            enclosing.enter(query);
        }
        self.scopes.push(scope);
        understood(query.for_clause.is_none() && query.settings.is_none() && query.format_clause.is_none())?;
        understood(query.pipe_operators.is_empty())?;
        if !query.locks.is_empty() {
            self.kind(Kind::SelectForUpdate)?;
        }
        body(&query.body)
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<End> {
        self.scopes.pop();
        if let Some(enclosing) = self.scopes.last_mut() {
            enclosing.leave(query);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<End> {
        self.kind(Kind::Select)?;
        understood(select.optimizer_hints.is_empty() && select.lateral_views.is_empty())?;
        understood(self.plain_columns(&select.projection))?;
        understood(select.connect_by.is_empty() && select.value_table_mode.is_none())?;
        // Creates a table, assigns variables or writes a file, as the database likes.
        grant(select.into.is_none())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<End> {
        self.table(relation)
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<End> {
        match factor {
            TableFactor::Table { alias: Some(alias), .. }
            | TableFactor::Derived { alias: Some(alias), .. }
            | TableFactor::Function { alias: Some(alias), .. }
            | TableFactor::NestedJoin { alias: Some(alias), .. }
            | TableFactor::UNNEST { alias: Some(alias), .. } => understood(plain_alias(alias))?,
            _ => {}
        }
        match factor {
            TableFactor::Table { name, args: Some(_), .. } => self.function(name),
            TableFactor::Table { json_path: Some(_), .. } => ControlFlow::Break(End::NotUnderstood),
            TableFactor::Table { .. } | TableFactor::Derived { .. } | TableFactor::NestedJoin { .. } => {
                ControlFlow::Continue(())
            }
            TableFactor::Function { name, .. } => {
                self.function(name)?;
                self.table(name)
            }
            TableFactor::UNNEST { .. } => self.builtin("unnest"),
            _ => ControlFlow::Break(End::NotUnderstood),
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<End> {
        match expr {
            Expr::Function(function) => self.call(function),
            Expr::BinaryOp { op, .. }
            | Expr::AnyOp { compare_op: op, .. }
            | Expr::AllOp { compare_op: op, .. } => self.operator(op),
            Expr::Cast { data_type, .. } => understood(built_in(data_type)),
            Expr::TypedString(typed) => understood(built_in(&typed.data_type)),
            Expr::Convert { data_type, .. } => {
                understood(data_type.as_ref().is_none_or(built_in))?;
                self.builtin("convert")
            }
            Expr::Collate { collation, .. } => understood(known_collation(collation, self.guard.grammar)),
            // An operator of its own in MySQL, a call of the function elsewhere.
            Expr::RLike { .. } if self.guard.grammar == Grammar::MySql => ControlFlow::Continue(()),
            Expr::RLike { regexp, .. } => self.builtin(if *regexp { "regexp" } else { "rlike" }),
            Expr::Extract { .. } => self.builtin("extract"),
            Expr::Ceil { .. } => self.builtin("ceil"),
            Expr::Floor { .. } => self.builtin("floor"),
            Expr::Position { .. } => self.builtin("position"),
            Expr::Substring { .. } => self.builtin("substring"),
            Expr::Trim { .. } => self.builtin("trim"),
            Expr::Overlay { .. } => self.builtin("overlay"),
            Expr::InUnnest { .. } => self.builtin("unnest"),
            Expr::MatchAgainst { .. } => self.builtin("match"),
            other => understood(computes_only(other)),
        }
    }
}

impl Scope {
    /// Under `RECURSIVE` an expression sees itself.
    fn enter(&mut self, query: &Query) {
        if self.recursive {
            self.leave(query);
        }
    }

    /// An expression whose definition is behind becomes visible. Addresses are compared, never followed.
    fn leave(&mut self, query: &Query) {
        if self.pending.last().is_some_and(|(defined_by, _)| std::ptr::eq(*defined_by, query)) {
            self.visible.extend(self.pending.pop().map(|(_, name)| name));
        }
    }
}

/// Refuses `TABLE name`, whose name the parser keeps as text without its quotes. Everything else in a body is visited.
fn body(body: &SetExpr) -> ControlFlow<End> {
    let mut pending = vec![body];
    while let Some(body) = pending.pop() {
        match body {
            SetExpr::Table(_) => return ControlFlow::Break(End::NotUnderstood),
            SetExpr::SetOperation { left, right, .. } => pending.extend([&**left, &**right]),
            SetExpr::Select(_)
            | SetExpr::Query(_)
            | SetExpr::Values(_)
            | SetExpr::Insert(_)
            | SetExpr::Update(_)
            | SetExpr::Delete(_)
            | SetExpr::Merge(_) => {}
        }
    }
    ControlFlow::Continue(())
}

/// Expressions that compute on their parts and nothing else.
fn computes_only(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::Identifier(_)
            | Expr::CompoundIdentifier(_)
            | Expr::CompoundFieldAccess { .. }
            | Expr::JsonAccess { .. }
            | Expr::IsFalse(_)
            | Expr::IsNotFalse(_)
            | Expr::IsTrue(_)
            | Expr::IsNotTrue(_)
            | Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::IsUnknown(_)
            | Expr::IsNotUnknown(_)
            | Expr::IsDistinctFrom(..)
            | Expr::IsNotDistinctFrom(..)
            | Expr::IsJson { .. }
            | Expr::IsNormalized { .. }
            | Expr::InList { .. }
            | Expr::InSubquery { .. }
            | Expr::Between { .. }
            | Expr::Like { .. }
            | Expr::ILike { .. }
            | Expr::SimilarTo { .. }
            | Expr::UnaryOp { .. }
            | Expr::AtTimeZone { .. }
            | Expr::Nested(_)
            | Expr::Value(_)
            | Expr::Case { .. }
            | Expr::Exists { .. }
            | Expr::Subquery(_)
            | Expr::GroupingSets(_)
            | Expr::Cube(_)
            | Expr::Rollup(_)
            | Expr::Tuple(_)
            | Expr::Array(_)
            | Expr::Interval(_)
            | Expr::Wildcard(_)
            | Expr::QualifiedWildcard(..)
    )
}

/// Whether any part of the statement writes.
fn writes(statement: &Statement) -> bool {
    struct Writes;
    impl Visitor for Writes {
        type Break = ();

        fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<()> {
            let reads = matches!(statement, Statement::Query(_) | Statement::Explain { .. });
            if reads { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        }
    }
    statement.visit(&mut Writes).is_break()
}

fn grant(granted: bool) -> ControlFlow<End> {
    if granted { ControlFlow::Continue(()) } else { ControlFlow::Break(End::Refused) }
}

fn understood(known: bool) -> ControlFlow<End> {
    if known { ControlFlow::Continue(()) } else { ControlFlow::Break(End::NotUnderstood) }
}
