//! The text of a query, and the places it names.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::str::FromStr;

use datafusion::error::DataFusionError;
use datafusion::sql::parser::{DFParser, Statement};
use datafusion::sql::sqlparser::ast::{
    self, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectName, OrderBy, OrderByExpr,
    OrderByKind, SelectItem, SetExpr, TableFactor, Value, Visit, VisitMut, Visitor, VisitorMut,
};
use datafusion::sql::sqlparser::parser::ParserError;

use crate::dialect::QueryDialect;
use crate::error::SqlError;
use crate::fitted::Question;

/// A table function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TableFunction {
    Images,
    Features,
    Results,
}

impl TableFunction {
    pub(crate) const ALL: [Self; 3] = [Self::Images, Self::Features, Self::Results];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Images => "images",
            Self::Features => "features",
            Self::Results => "results",
        }
    }

    /// What is wrong with arguments that aren't one text.
    pub(crate) fn needs_a_place(self) -> SqlError {
        let (takes, example) = match self {
            Self::Images => ("one text, the place of the photos", "images('s3://bucket/fruits/')"),
            Self::Features => ("one text, the OUT of a run", "features('out')"),
            Self::Results => ("one text, the OUT of a run", "results('out')"),
        };
        SqlError::Argument { function: self.name(), takes, example }
    }
}

/// A query that has been read, and what must be looked up before it can be planned.
///
/// ```
/// use fruitbatch_sql::{Query, SqlError};
///
/// "SELECT label, count(*) FROM results('out') GROUP BY label".parse::<Query>()?;
/// let refused = "DROP TABLE results".parse::<Query>();
/// assert!(matches!(refused, Err(SqlError::NotAQuery { .. })));
/// # Ok::<(), SqlError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Query {
    pub(crate) statement: Statement,
    /// Whether its plan is asked for, and not its answer.
    pub(crate) is_explained: bool,
    /// The tables it reads.
    pub(crate) tables: BTreeSet<(TableFunction, String)>,
    /// The places whose fitted models it asks.
    pub(crate) fitted: BTreeSet<String>,
    /// What `embed` is told of models.
    pub(crate) embeddings: BTreeSet<String>,
}

impl FromStr for Query {
    type Err = SqlError;

    fn from_str(text: &str) -> Result<Self, SqlError> {
        let mut statements =
            DFParser::parse_sql_with_dialect(text, &QueryDialect).map_err(|error| syntax(&error))?;
        let count = statements.len();
        let mut statement =
            statements.pop_front().filter(|_| count == 1).ok_or(SqlError::Statements { count })?;
        let is_explained = matches!(statement, Statement::Explain(_));
        let mut names = Names::default();
        let found = body(&mut statement)
            .map(|query| [VisitMut::visit(query, &mut OrderByAll), Visit::visit(query, &mut names)]);
        for found in found.ok_or_else(|| refused(&statement))? {
            if let ControlFlow::Break(error) = found {
                return Err(error);
            }
        }
        if let Some(name) = names.plain_tables.into_iter().find(|name| !names.ctes.contains(name)) {
            return Err(SqlError::NoSuchTable { name });
        }
        let Names { tables, fitted, embeddings, .. } = names;
        Ok(Self { statement, is_explained, tables, fitted, embeddings })
    }
}

/// The query proper, of one that is to be answered or explained.
fn body(statement: &mut Statement) -> Option<&mut ast::Query> {
    let query = match statement {
        Statement::Explain(explain) => return body(&mut explain.statement),
        Statement::Statement(statement) => match &mut **statement {
            ast::Statement::Query(query) => query,
            _ => return None,
        },
        _ => return None,
    };
    let writes = matches!(
        &*query.body,
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_)
    );
    (!writes).then_some(query)
}

/// Writes `ORDER BY ALL` as `ORDER BY 1, 2, ...`: DataFusion takes it for columns alone, and not for `count(*)`.
struct OrderByAll;

impl VisitorMut for OrderByAll {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<SqlError> {
        let (Some(OrderBy { kind, .. }), SetExpr::Select(select)) = (&mut query.order_by, &*query.body)
        else {
            return ControlFlow::Continue(());
        };
        let counted = select
            .projection
            .iter()
            .all(|item| matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. }));
        if let OrderByKind::All(options) = kind
            && counted
        {
            let options = *options;
            let places = (1..=select.projection.len()).map(|place| OrderByExpr {
                expr: Expr::value(Value::Number(place.to_string(), false)),
                options,
                with_fill: None,
            });
            *kind = OrderByKind::Expressions(places.collect());
        }
        ControlFlow::Continue(())
    }
}

fn refused(statement: &Statement) -> SqlError {
    let text = statement.to_string();
    let mut words = text.split_whitespace();
    // `CREATE EXTERNAL TABLE`, `COPY`, `INSERT`: what tells a person which is meant.
    let statement: Vec<&str> =
        words.by_ref().take_while(|word| word.chars().all(char::is_uppercase)).take(3).collect();
    let statement = if statement.is_empty() { text.chars().take(20).collect() } else { statement.join(" ") };
    SqlError::NotAQuery { statement }
}

fn syntax(error: &DataFusionError) -> SqlError {
    let problem = match error.find_root() {
        DataFusionError::SQL(error, _) => match &**error {
            ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.clone(),
            ParserError::RecursionLimitExceeded => "it is nested too deeply".to_owned(),
        },
        error => error.message().into_owned(),
    };
    SqlError::Syntax { problem }
}

/// What a query names.
#[derive(Debug, Default)]
struct Names {
    tables: BTreeSet<(TableFunction, String)>,
    fitted: BTreeSet<String>,
    embeddings: BTreeSet<String>,
    plain_tables: Vec<String>,
    ctes: BTreeSet<String>,
}

impl Names {
    fn table(&mut self, name: &ObjectName, arguments: &[FunctionArg]) -> ControlFlow<SqlError> {
        let name = folded(name);
        let Some(function) = TableFunction::ALL.into_iter().find(|function| function.name() == name) else {
            return ControlFlow::Break(SqlError::NoSuchTable { name: format!("{name}(...)") });
        };
        match arguments {
            [argument] if let Some(place) = text(argument) => {
                self.tables.insert((function, place.to_owned()));
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Break(function.needs_a_place()),
        }
    }
}

impl Visitor for Names {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<SqlError> {
        let ctes = query.with.iter().flat_map(|with| &with.cte_tables);
        self.ctes.extend(ctes.map(|cte| folded(&ObjectName::from(vec![cte.alias.name.clone()]))));
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<SqlError> {
        match factor {
            TableFactor::Table { name, args: Some(arguments), .. } => self.table(name, &arguments.args),
            TableFactor::Function { name, args, .. } => self.table(name, args),
            TableFactor::Table { name, args: None, .. } => {
                self.plain_tables.push(folded(name));
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<SqlError> {
        let Expr::Function(function) = expression else { return ControlFlow::Continue(()) };
        let FunctionArguments::List(list) = &function.args else { return ControlFlow::Continue(()) };
        let name = folded(&function.name);
        let second = list.args.get(1).and_then(text);
        if let Some(question) = Question::of_function(&name) {
            let Some(place) = second.filter(|_| list.args.len() == 2) else {
                let example = match question {
                    Question::Cluster => "cluster_of(features, 'out')",
                    Question::Distance => "distance_of(features, 'out')",
                    Question::NearestLabel => "nearest_label_of(features, 'out')",
                };
                let takes = "features and a text, the OUT of a run";
                return ControlFlow::Break(SqlError::Argument {
                    function: question.function(),
                    takes,
                    example,
                });
            };
            self.fitted.insert(place.to_owned());
        } else if let ("embed" | "embed_or_failure", Some(model)) = (name.as_str(), second) {
            self.embeddings.insert(model.to_owned());
        }
        ControlFlow::Continue(())
    }
}

/// A name as SQL compares it: letters are small unless it is quoted.
fn folded(name: &ObjectName) -> String {
    let parts = name.0.iter().map(|part| match part.as_ident() {
        Some(name) if name.quote_style.is_some() => name.value.clone(),
        Some(name) => name.value.to_lowercase(),
        None => part.to_string(),
    });
    parts.collect::<Vec<_>>().join(".")
}

fn text(argument: &FunctionArg) -> Option<&str> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))) => match &value.value {
            Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Query {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn refusal(text: &str) -> SqlError {
        text.parse::<Query>().expect_err(text)
    }

    #[test]
    fn places_are_found_wherever_they_stand() {
        let query = parsed(
            "WITH similar AS (SELECT cosine_similarity(a.features, b.features) AS s FROM FEATURES('o') a JOIN features('p') b \
             ON a.path = b.path) SELECT s, (SELECT count(*) FROM images('photos')) FROM similar WHERE EXISTS \
             (SELECT 1 FROM results('it''s') r WHERE cluster_of(embed(content, 'vgg16'), 'q') = r.cluster) ORDER BY ALL",
        );
        let tables: Vec<_> =
            query.tables.iter().map(|(function, place)| (function.name(), place.as_str())).collect();
        assert_eq!(tables, [("images", "photos"), ("features", "o"), ("features", "p"), ("results", "it's")]);
        assert_eq!(query.fitted, BTreeSet::from(["q".to_owned()]));
        assert_eq!(query.embeddings, BTreeSet::from(["vgg16".to_owned()]));
        for text in [
            "SELECT 1",
            "VALUES (1), (2)",
            "EXPLAIN SELECT * FROM results('o')",
            "EXPLAIN ANALYZE SELECT * FROM results('o')",
            "FROM results('o')",
            "SELECT path, cluster, distance FROM results('o') WHERE cluster IN (1, 2) ORDER BY cluster",
            "SELECT * EXCLUDE (etag), [1, 2.5], {'a': 1} FROM features('o')",
            "SELECT count(*) FILTER (WHERE label IS NULL), row_number() OVER (PARTITION BY label ORDER BY path) FROM results('o')",
            "SELECT label, count(*) FROM results('o') GROUP BY ALL ORDER BY ALL;",
            "SELECT * FROM results('o') r, LATERAL (SELECT r.path) x",
        ] {
            parsed(text);
        }
    }

    #[test]
    fn nothing_is_changed_by_a_query() {
        for (text, begins) in [
            ("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 'x'", "CREATE EXTERNAL TABLE"),
            ("CREATE TABLE t AS SELECT 1", "CREATE TABLE"),
            ("CREATE VIEW v AS SELECT 1", "CREATE VIEW"),
            ("COPY (SELECT 1) TO 'x.csv'", "COPY"),
            ("INSERT INTO t VALUES (1)", "INSERT INTO"),
            ("WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x", "WITH"),
            ("DELETE FROM t", "DELETE FROM"),
            ("SET x = 1", "SET"),
            ("EXPLAIN INSERT INTO t VALUES (1)", "EXPLAIN INSERT INTO"),
        ] {
            match refusal(text) {
                SqlError::NotAQuery { statement } => assert_eq!(statement, begins, "{text}"),
                other => panic!("{text}: {other}"),
            }
        }
    }

    #[test]
    fn errors_say_what_to_write() {
        for (text, part) in [
            ("SELEC 1", "can't be read"),
            ("SELECT 'open", "can't be read"),
            ("", "there are 0 statements"),
            ("SELECT 1; SELECT 2", "there are 2 statements"),
            ("SELECT * FROM results", "there is no table `results`"),
            ("SELECT * FROM photos('x')", "there is no table `photos(...)`"),
            ("SELECT * FROM information_schema.tables", "there is no table `information_schema.tables`"),
            ("SELECT * FROM images()", "images('s3://bucket/fruits/')"),
            ("SELECT * FROM images(\"photos\")", "single quotes"),
            ("SELECT * FROM results('a', 'b')", "one text"),
            ("SELECT cluster_of(features) FROM features('o')", "cluster_of(features, 'out')"),
            ("SELECT distance_of(features, path) FROM features('o')", "the OUT of a run"),
        ] {
            let error = refusal(text);
            assert!(error.is_usage() && error.to_string().contains(part), "{text}: {error}");
        }
        let deep = format!("SELECT {}1{}", "(".repeat(500), ")".repeat(500));
        assert!(matches!(refusal(&deep), SqlError::Syntax { .. }));
    }
}
