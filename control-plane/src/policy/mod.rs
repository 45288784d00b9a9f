//! What agents may do: the policy language and the engine that judges by it.
//!
//! A [`Policy`] is compiled once from a document and never changes. [`Policy::decide`] answers one question, whether
//! this agent may make this call, as a pure function: the same policy and the same question give the same
//! [`Decision`], and no input makes it fail. Nothing is allowed that no rule allows.
//!
//! # The document
//!
//! YAML 1.2, JSON or TOML, at most [`MAX_POLICY_BYTES`]. All three say the same; here it is in YAML:
//!
//! ```yaml
//! version: 1
//! name: carbon-auditor            # optional
//! packs: [read_only]              # optional: built-in rules, by name
//! on_violation: kill              # optional: kill (default), stop or deny
//! unmatched: deny                 # optional: deny (default), or abstain: see Layers
//! rules:
//!   - id: reporting-queries       # unique, 1 to 128 of [A-Za-z0-9._-]
//!     effect: allow               # allow, ask or deny
//!     calls: [exec]               # read, write, open, exec, signal
//!     tools: ["db.query"]
//!     agents: ["auditor-*"]       # optional: everybody, if left out
//!     when:                       # optional: all entries must hold
//!       args.query: { sql: { statements: [select], tables: ["emissions.*"] } }
//!   - id: big-transfers
//!     effect: ask
//!     calls: [exec]
//!     tools: ["bank.transfer"]
//!     when: { args.amount: { gt: 1000 } }
//!     ask:                        # optional, only where the effect is ask
//!       approvers: [treasury]     # names and groups whose word counts: anybody the host lets approve, if left out
//!       quorum: 2                 # how many different ones: 1 to 16, 1 if left out
//!       timeout: 10m              # at most 7d; the host's own, if left out
//!       scope: once               # the most that can be granted: once (default), task or session
//!   - id: no-history
//!     effect: deny
//!     calls: [write]
//!     paths: ["/mem/episodic/**"]
//!     on_violation: deny          # only where the effect is deny or ask
//! ```
//!
//! In TOML a rule is a `[[rules]]` table, and the keys of `when` are quoted: `when = { "args.amount" = { gt = 1000 } }`.
//!
//! An unknown field, word or guard, a repeated key, a tag, an anchor, a date, an empty selector and a rule that could never
//! match are errors. [`PolicyErrors`] lists as many as one reading finds, each with its line and column, and a
//! document with one error is refused as a whole. Text must be text: a bare `123` or `true` needs quotes where text
//! is meant, and so does, in a guard, what other readers of YAML take for a boolean, a number or a date (`yes`, `off`,
//! `1_000`, `0b1`, `1:30`, `2001-12-14`). There are at most [`MAX_RULES`] rules, nested at most [`MAX_DEPTH`] levels deep, with at most
//! [`MAX_REGEXES`] regexes that cost at most [`MAX_REGEX_COST`], at most [`MAX_GLOB_BYTES`] of patterns that are
//! neither an exact name nor a prefix, [`MAX_SCHEMAS`] schemas and [`MAX_NEEDLES`] words of [`MAX_NEEDLE_BYTES`] to look for.
//! [`schema`] gives the form of a document as a JSON Schema.
//!
//! # Packs
//!
//! - `default_deny` has no rules.
//! - `read_only` allows `read` and `open` on `/**`, the agent's own tree, and nothing else: no tool, no write, no signal.
//! - `audit` allows every tool and the whole own tree, signals aside. Everything is recorded as under any policy; it is the
//!   pack for finding out what an agent does before writing down what it may do. It protects nothing.
//! - `no_pii` allows nothing. It denies `exec` with arguments that hold cards, IBANs, social security or telephone
//!   numbers, keys, tokens or credentials, in any text and reading; the agent lives on. Mail addresses do not count, since
//!   whatever sends mail needs them. What an agent writes into files is not looked at.
//! - `strict` allows every tool and the whole own tree, but for `exec` with arguments in which a `hazard` is found, or a
//!   card, a social security number or a key, and but for tools whose id says that they delete; the agent lives on. It can be used on
//!   its own, with tools nobody has written rules for, and it is what it looks like: a net of detectors. The red-team set
//!   under `testdata/` has four parts, each written before the detectors had seen it. When they first met it, they missed 0 of
//!   42, 2 of 52, 8 of 72 and 8 of 96 of the harmful calls of each, and stopped 0 of 25, 1 of 31, 2 of 40 and 0 of 40
//!   harmless ones; by now they know all four. Orders that are wrong only for who gives them, such as a payment to somebody else, they do
//!   not see at all. A list of what is granted is safer. Beside such a list, take the hazards into rules of your
//!   own: every pack's allow rules stand beside yours.
//!
//! # How rules combine
//!
//! A rule matches when its calls, its selectors and all its conditions do. Among the rules that match, deny stands
//! over ask and ask over allow; the order in the document means nothing. If no rule matches, the answer is deny.
//!
//! What a refusal does to the agent is the strictest `on_violation` of the rules that made it, or the document's own
//! when nothing matched. On an `ask` rule it says what a human's no does. What `stop` does an agent cannot hold back with
//! its signal mask, unlike a `SIGSTOP` that the host raises.
//!
//! A rule may say more than its effect, such as how often what it grants may be done. All rules that match and have the
//! winning effect oblige together: each of their limits must leave room. What outranked rules say does not count.
//!
//! Of several rules that ask, each one's quorum must be met, and the shortest timeout and the least scope stand. A consent is
//! for one exact call, whatever its scope: see [`crate::approval`].
//!
//! The calls `close`, `check_policy` and `exit`, and an agent's changing of its own signal mask and waiting for its own
//! signals, touch nothing but the caller; they are always allowed and cannot be named. An `open` for writing, appending
//! or creating is judged as `open` and as `write`, and the stricter answer stands.
//!
//! # Layers
//!
//! A [`PolicySet`] is the organisation's policy, which applies to everybody, and further ones: for everybody, for tenants,
//! for agents, by name or by pattern; the policy of an agent's task comes with its
//! [`AgentSpec`](crate::AgentSpec::task_policy). Every layer that applies is asked and the strictest answer stands, so a
//! layer only tightens: nothing a set allows is denied by one of its layers, and their order means nothing for a verdict.
//! Nothing matched is deny in each layer. One that is there to refuse a few things says `unmatched: abstain`; it is then
//! not asked about what it does not mention. The organisation's policy cannot: what it does not allow, nobody may do.
//!
//! The rules and the `on_violation` of a [`Decision`] are those of the strictest layer; what the others said stands behind
//! it ([`Decision::with`]). Policies in other languages are layers too: see [`engine`].
//!
//! # Reload
//!
//! [`Kernel::reload`](crate::Kernel::reload) puts another set in force without any call waiting. A call is judged by one
//! generation from beginning to end, and its decision and the record say which. What the new set no longer allows is out
//! of reach from the next call on. What it allows beyond the old one reaches agents that are alive only when they are
//! spawned anew, unless that is forced: until then a call is judged by the set in force and by the one its agent was
//! spawned under, and the stricter answer stands. To take a narrowing back gives an agent no more than it was spawned
//! with. A set that does not load, or names tools that are not registered, changes nothing and is recorded as refused.
//!
//! Before that, a candidate can be judged beside the set in force ([`Kernel::shadow`](crate::Kernel::shadow)), on a
//! recording ([`simulate`]) and by questions with expected answers ([`mod@test`]).
//!
//! # What a rule selects
//!
//! | selector | goes with | matched against |
//! | --- | --- | --- |
//! | `tools` | `exec` | the tool's id |
//! | `paths` | `read`, `write`, `open` | the path as the agent sees it |
//! | `targets` | `signal` | the receiving agent's id |
//! | `signals` | `signal` | the signal's name; all signals, if left out |
//! | `agents` | every call | the calling agent's id |
//! | `tenants` | every call | the tenant the host gave the calling agent; an agent without one matches none |
//!
//! The first three are required for their calls: to mean everything, write `"*"` or, for paths, `"/**"`. Each is a
//! list of exact names or patterns. In patterns `*` stands for any run of characters, `?` for exactly one byte, `{a,b}`
//! for either; case counts. A character beyond ASCII, which only paths can hold, is two to four bytes, so `/a/?` does not
//! match `/a/é`: in a rule that denies, write `*`. In ids `*` crosses `.` and `/`. In paths `*` and `?` stop at `/`, and `**`, only as a whole
//! segment, stands for any number of segments: `/a/**` is everything below `/a`, but not `/a` itself, which is listed on its own;
//! `/**` is everything, `/` included.
//!
//! # What a condition looks at
//!
//! Each entry of `when` names a value and a guard. The value is `args` or a part of it (`args.filter.0.name`; a key
//! with dots, spaces or quotes is quoted: `args."a.b"`), `context.<key>` (what the host said about the agent when it
//! was spawned), `agent`, `tenant`, and for the calls that have one `tool`, `path`, `target` and `signal`. A bare number is an
//! index of an array, or a key of an object. Nothing an agent sends can be read as `context`.
//!
//! # Conditions on the situation
//!
//! Some entries of `when` look at the agent's life, or at the world around it, instead of at a value, and take a map of their
//! own, or a list of maps.
//!
//! ## Where things came from
//!
//! | entry | holds when |
//! | --- | --- |
//! | `labels: {..}` | the agent, by all that it has read, carries labels as the map says |
//! | `labels.args: {..}` | the arguments of the call, taken together, do |
//! | `labels.authority: {..}` | the arguments that decide who, what, where or how much, taken together, do: all that the tool's contract does not call content |
//! | `labels.content: {..}` | the arguments that the contract calls content do |
//! | `labels.args.NAME: {..}` | one argument does; one that is not there carries nothing |
//! | `effects: {..}` | the tool declares effects as the map says; an error for a tool that declares none |
//!
//! The map of `labels` has `any_of`, `all_of`, `none_of`, that of `effects` has `only`, `any_of`, `none_of`; what stands in
//! one map must all hold. What an argument carries is described in [`flow`](crate::flow): all that the agent does, unless
//! it can be traced to something that carries less.
//!
//! ## Time, mode, budgets
//!
//! - `time: { zone: Europe/Berlin, days: [mon, tue], from: "08:00", to: "18:00" }`, or a list of such windows of which one
//!   must hold the time of the call. `zone` is UTC if left out, `days` every day; `to` is the first minute outside, at most
//!   `"24:00"`. A window that ends before it begins ends on the next day, and belongs to the day it begins on.
//! - `mode: { in: [maintenance] }` or `not_in`: what the host has put the kernel in, `normal` if nothing.
//! - `budget: { account: agent, resource: tokens, remaining: { lt: 1000 } }`, or a list of such that must all hold. The
//!   account is `agent` if left out, `task` (its present life), `tenant` or `kernel`; the resource `tokens`, `calls`,
//!   `bytes`, `wall_time` or a currency. `remaining` and `used` are compared by `lt`, `lte`, `gt` and `gte` with a number,
//!   with an amount (`5 USD`) or with a share of the limit (`"80%"`). What calls under way have reserved counts as used. It
//!   is an error of the condition when the account does not limit the resource.
//!
//! ## What the agent has done
//!
//! Four look at what the agent has done so far, this call not included. What it did are the calls that were allowed and
//! recorded, whatever came of them: a read that found nothing has been a read. An `open` for writing is also a `write`.
//!
//! | condition | holds when |
//! | --- | --- |
//! | `count: { tools: ["mail.*"], within: 1h, gte: 5 }` | it did so that often (`eq ne lt lte gt gte`, a whole number) |
//! | `sum: { of: args.amount, tools: [refund], within: 1h, gt: 10000 }` | the argument of these calls **and of this one** adds up to that |
//! | `after: { calls: [read], paths: ["/mem/semantic/**"], within: 1h }` | it has done so |
//! | `unless_after: { .. }` | it has not |
//!
//! Each is one map or a list of maps, all of which must hold. What is meant is selected as in a rule, by `calls` with
//! `tools`, `paths` and `targets`; where `calls` is left out, these mean every call they go with. `within` is a duration
//! such as `90s`, `5m`, `1h` or `7d`: what is as old as that, or older, does not count. Left out, all of the agent's life
//! counts. Agents are counted one by one, and a new life of the same name starts with nothing.
//!
//! Sums are exact decimals of at most 18 places, and `of` names an argument at the top, as only those are kept. A call
//! with no such argument, or one that is no number, makes the sum an error. A negative value lowers the sum: bound it.
//!
//! The past is kept within bounds, and exactly: see [`crate::history`]. What lies beyond them is unknown, which is an error
//! of the condition, also of `unless_after`. Agents that lived under a policy with none of these conditions have a past
//! that was not kept; when a policy with such a condition comes into force, what they did before is unknown.
//!
//! # Limits
//!
//! `limits` on a rule that allows or asks bounds how often and how much it grants: one map, or a list of them.
//!
//! | bound | means |
//! | --- | --- |
//! | `rate: 60/min` | at most 60 calls in any 60 seconds, wherever they begin; periods are `s`, `min`, `hour`, `day`. Of more than 10 000 calls room comes back up to 1/60 of the period late |
//! | `rate: {rate: 60/min, burst: 10}` | paced (GCRA): ten at once and then one each second; any minute holds at most 70 |
//! | `concurrency: 4` | at most four such calls under way at once |
//! | `cost: 5 USD/day` | at most so much in any 24 hours, wherever they begin; room comes back up to 1/60 of the period late; only for `exec` |
//! | `per: agent` | counted for each agent over all its lives (if left out), for each `tenant`, or for everybody (`policy`) |
//!
//! A call counts when it is let through; for an `ask` rule before the human is asked, so that the rate also bounds how often
//! a human is asked, whatever the answer. Concurrency and cost are given back when the call does not take place. Refused
//! calls and questions count nothing. A refusal by a limit is an error the agent can act on (`AK0301` to `AK0304`) and
//! never a violation: it stops and kills nobody. A limit that has nothing to count by (`per: tenant` and no tenant, a cost and
//! a tool that declares none in that currency) refuses. Counts live in memory, under the
//! policy's name and the rule's id, and go on when a policy of that name is loaded anew.
//!
//! # Guards
//!
//! Several guards in one map must all hold.
//!
//! | guard | holds when the value |
//! | --- | --- |
//! | `eq: v`, `ne: v` | is, is not equal to `v`; numbers by value (`1` is `1.0`), text to the byte, nothing converted |
//! | `in: [..]`, `not_in: [..]` | is equal to one, to none of these; of another type than each, it is an error |
//! | `lt`, `lte`, `gt`, `gte` | is a number that compares so; exact |
//! | `len: {lte: 5}` | is a text (characters), array or object of a length that compares so (`eq ne lt lte gt gte`) |
//! | `matches: regex` | is a text that the regex finds itself in; write `^…$` for the whole; linear time |
//! | `path: {under: [/data]}` | is an absolute path with one spelling, at or below one of these folders |
//! | `url: {..}` | is a URL as described below |
//! | `email: {domains: [..]}` | is one plain mail address in one of these domains |
//! | `ip: {in: [10.0.0.0/8]}` | is one address, plainly spelt, in one of these networks |
//! | `sql: {..}` | is a statement as described below |
//! | `command: {programs: [..], arguments: guard}` | is one simple shell command of a listed program, every argument of which passes the guard (left out: any argument) |
//! | `schema: {..}` | fits this JSON Schema (2020-12) |
//! | `contains_any: [words]` | holds one of these words in some text |
//! | `sensitive: [kinds]`, `sensitive: any` | holds data of one of these kinds in some text |
//! | `hazard: [kinds]`, `hazard: any` | holds, in some text, what one of these detectors looks for |
//! | `not: guard` | does not pass the guard |
//! | `any_of: [guards]` | passes at least one |
//! | `each: guard`, `some: guard` | is an array of which every, at least one item passes |
//! | `first: guard`, `rest: guard` | is an array whose first item, whose remainder passes |
//! | `any_leaf: guard`, `every_leaf: guard` | holds, at any depth, a text that passes, only texts that pass; keys count as texts |
//!
//! ## When a guard cannot be applied
//!
//! A missing value, a value of another type, or text that does not parse makes a guard neither true nor false. That
//! is an error, also under `not`; `any_of` may still be true, and a map of guards false, by another guard. `each`
//! and `every_leaf` hold where there is nothing to judge, `some` and `any_leaf` do not, and `first` and `rest` cannot be applied to one. `eq`, `ne`, `in` and
//! `not_in` cannot be applied to a value whose JSON type is that of none of their literals: `ne: evil` does not hold for
//! `["evil"]`. Null is comparable with everything, and everything with literals that are all null. A rule whose
//! conditions end in an error **matches if it denies or asks and does not match if it allows**. `ne` and `not_in` are
//! no exception: on a missing value they are errors.
//!
//! ## `url`
//!
//! `schemes` (of `http https ws wss ftp`) and `hosts` are required. `hosts` lists names, compared after IDNA:
//! `api.example.com` is that name, `*.example.com` one or more labels in front of it but not the bare name, `*` any
//! name or address. `ports` is `default` (also if left out) or a list. `addresses` lists the classes an address literal
//! may have, of `public private loopback link_local`; none, if left out. A literal is classed by where it leads in any
//! spelling (decimal, octal, hex, IPv4 inside IPv6) and must also be in `hosts`; `localhost` counts as one.
//!
//! **Names are not resolved.** Under `*`, or a wildcard over a domain whose owner is not trusted, a name can lead to any
//! address, private ones included, whatever `addresses` says: the tool that connects has to check that. Names that are
//! internal by their form (a single label, and whatever ends in `localhost`, `localdomain`, `local`, `internal`,
//! `intranet`, `private`, `corp`, `home`, `home.arpa` or `lan`) are not matched by `*`, nor by a wildcard that does not
//! itself end in one of these: list them by name, or as `*.corp.internal`.
//!
//! User names in URLs, control characters, blanks, backslashes, escapes in the host and whatever else the parser
//! would repair or strip are errors of the guard, as is a URL of more than 8 KiB.
//!
//! `networks` lists ranges of addresses (`203.0.113.0/24`, `fd00::/8`); a literal in one of them needs neither an entry in
//! `hosts` nor a class. In `url` as in `ip`, an IPv6 address that carries an IPv4 one (`::ffff:10.0.0.1`) counts as that.
//!
//! ## `email`
//!
//! The text is exactly one address: a local part of letters, digits and `_+-='&~#`, in atoms between single dots, at a
//! domain that is compared like the host of a URL, with the same patterns and the same care for internal names. Comments,
//! quoted local parts, display names, lists, address literals, routes by `%` and `!`, a leading `-`, and blanks and
//! control characters anywhere are errors of the guard.
//!
//! ## `command`
//!
//! The guard is a grant: the text is words parted by blanks, some in quotes, that a shell would pass on as they are. Operators,
//! redirections, substitutions, variables, patterns, backslashes, comments, assignments, `~`, `%`, `^`, line ends and
//! unclosed quotes are errors of the guard, whatever the program. Names of programs are compared to the byte, so `/bin/ls`
//! is not `ls`. An array of arguments is for `first` and `rest`.
//!
//! ## `schema`
//!
//! Within the bounds of a tool's schema: no reference to anything outside of it or to itself, no `$id` and no anchors,
//! regexes in linear time, `format` not asserted.
//!
//! ## Guards on all texts
//!
//! `contains_any`, `sensitive` and `hazard` take a value of any type and look at every text in it at any depth, keys
//! included, and at numbers as they print. Each text is read in all the ways of [`agent_primitives::text`]: compatibility forms, case,
//! zero-width characters, look-alikes, percent, HTML and backslash escapes, base64, hexadecimal and so on. The texts of the value are also put together, with and without a blank, in the
//! order of the document and in the opposite order of each object's entries, so that what was split over two fields is
//! found (addresses, telephone numbers and credentials excepted). Where that makes a word that nobody wrote, it is found as well. If there is more to look at than
//! a decision may take, the guard is in error, and a rule that denies matches.
//!
//! `contains_any` finds a word in the middle of another: `ban` in `bank`.
//!
//! `sensitive` knows `card iban ssn email phone api_key jwt private_key credential`; see [`agent_primitives::detect`]. A text
//! under a key that names a secret (`password`, `api_key`, …) is a credential.
//!
//! `hazard` is made of detectors. They miss what they do not know and stop some harmless text, so they belong into rules
//! that deny or ask, beside rules that grant:
//!
//! A text of more than 64 KiB is an error of `hazard`.
//!
//! - `sql`: statements that destroy, grant, run programs or read files; updates of everything or of rights; columns and
//!   tables that hold passwords and the like; conditions made true. A text that is SQL is judged by its tree, and
//!   its literals are data; in other text, the beginnings of such statements count.
//! - `shell`: command lines, also inside of prose, that remove recursively or by force, overwrite disks, escalate, stop services, open
//!   connections, upload files, or run what they fetched or decoded.
//! - `code`: program text that starts processes, deletes files, runs text or reaches for the interpreter; templates and
//!   look-ups that run.
//! - `path`: paths into the system, into hidden folders of homes, to keys and password files, and any with `..`.
//! - `url`: addresses inside of the machine or the network, user names in URLs, schemes that read files or run
//!   code, known drop sites, and hosts that call themselves hostile.
//! - `orders`: English phrases that order to forget rules, to destroy, to give secrets or data away, to lower defences or
//!   raise rights, to hide it from people, or that claim authority for such an act.
//!
//! ## `sql`
//!
//! The guard is a grant: the text is exactly one statement, and everything in it, at any depth, is listed. In a deny
//! rule it belongs under `not`.
//!
//! - `statements` (required), of `select select_for_update insert update delete merge explain`: every statement
//!   inside the statement counts, so a CTE that deletes needs `delete`, and `EXPLAIN ANALYZE DELETE` needs `explain`
//!   and `delete`. An upsert needs `update` too, a replacing insert `delete`. Whatever is not in that list cannot be
//!   granted, `SELECT … INTO` included.
//! - `tables` (required): every relation anywhere must match one. `*` stands for a run of characters within one part:
//!   `orders` is only the unqualified name, `emissions.*` any table of that schema. Unquoted names ignore case (not
//!   for `mysql`), quoted ones do not. Where nothing is written, a common table expression is not a table where it is
//!   in scope and spelled as it was defined.
//! - `functions`: every function called must match one; [`DEFAULT_SQL_FUNCTIONS`] if left out, none if empty. Calls
//!   with their own syntax count by name (`substring`, `extract`, `trim`, …). A function used as a table must be
//!   listed in both, and `match`, `glob`, `regexp` and `rlike` as operators need the function of that name (but
//!   `regexp` and `rlike` not in `mysql`). In Postgres `a.name` calls the function `name` on the row `a` if `a` has no
//!   such column. That cannot be told from a column here, so a role that runs such text must not be able to execute
//!   functions on rows of the granted tables that it should not call.
//! - `dialect`: `generic` (also if left out), `postgres`, `mysql`, `sqlite`. Name the database if you can; `generic`
//!   refuses all text that databases cut into different tokens, such as backslashes in strings, `#`, brackets and
//!   dollar quotes; `mysql` refuses backslashes, whose meaning is a setting of the server.
//!
//! Casts to types that are not built in, `regclass` included, and collations other than those that come with the
//! database are errors of the guard.
//!
//! Comments that some database executes (`/*!`, `/*+`), nested comments and constructs whose effect is not known here
//! are errors of the guard. So is text beyond 64 KiB, or nested deeper than about four subqueries.

mod ask;
mod budget;
mod condition;
mod decision;
mod document;
pub mod engine;
mod error;
mod fields;
mod guard;
mod index;
mod limits;
mod pack;
mod pattern;
pub(crate) mod permit;
pub(crate) mod request;
mod rule;
mod schema;
pub mod security_md;
mod set;
pub mod simulate;
mod snapshot;
mod source;
mod subject;
pub mod test;

use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use agent_primitives::{AgentId, Digest, ToolId, suggest};
use serde_json::Value;

pub use self::ask::{MAX_APPROVERS, MAX_ASK_TIMEOUT};
pub use self::budget::{
    MAX_GLOB_BYTES, MAX_NEEDLE_BYTES, MAX_NEEDLES, MAX_REGEX_COST, MAX_REGEXES, MAX_SCHEMAS,
};
pub use self::decision::{Decision, MAX_DECIDING_RULES, OnViolation};
pub use self::document::{MAX_POLICY_BYTES, MAX_RULES};
pub use self::engine::{Opinion, PolicyEngine};
pub use self::error::{MAX_ERRORS, PolicyError, PolicyErrors};
pub use self::guard::DEFAULT_SQL_FUNCTIONS;
pub(crate) use self::limits::{RuleLimit, Scope};
pub use self::rule::RuleInfo;
pub use self::schema::schema;
pub(crate) use self::set::Standing;
pub use self::set::{MAX_LAYERS, MAX_PATTERN_LAYERS, PolicySet, PolicySetBuilder};
pub use self::source::MAX_DEPTH;

use self::error::{Code, Mark, Report, quoted};
pub(crate) use self::snapshot::Looks;
use self::snapshot::Snapshot;
use self::source::Format;
use crate::question::{Caller, Question};

/// A compiled policy: immutable, shared, cheap to clone.
///
/// ```
/// use agent_control_plane::policy::Policy;
/// use agent_control_plane::question::{CallKind, Caller, Object, Question};
/// use agent_primitives::Verdict;
/// use serde_json::{Map, json};
///
/// let policy = Policy::from_yaml(
///     "transfers.yaml",
///     r#"
/// version: 1
/// name: transfers
/// rules:
///   - { id: small, effect: allow, calls: [exec], tools: ["bank.transfer"], when: { args.amount: { gt: 0 } } }
///   - { id: large, effect: ask, calls: [exec], tools: ["bank.transfer"], when: { args.amount: { gt: 1000 } } }
/// "#,
/// )?;
/// let (agent, tool) = ("support-1".parse()?, "bank.transfer".parse()?);
/// let decide = |arguments: serde_json::Value| {
///     let object = Object::Tool { id: &tool, arguments: &arguments };
///     policy.decide(&Caller::new(&agent, &Map::new()), &Question::new(CallKind::Exec, object))
/// };
/// assert_eq!(decide(json!({ "amount": 20 })).verdict(), Verdict::Allow);
/// assert_eq!(decide(json!({ "amount": 2000 })).deciding_rule(), Some("large"));
/// assert_eq!(decide(json!({ "amount": "20" })).verdict(), Verdict::Ask);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Policy {
    snapshot: Arc<Snapshot>,
}

impl Policy {
    /// Compiles a document. `source_name` stands in front of every error.
    ///
    /// # Errors
    /// [`PolicyErrors`] lists everything that was found wrong; no part of such a document is ever in force.
    pub fn from_yaml(source_name: &str, text: &str) -> Result<Self, PolicyErrors> {
        Self::read(source_name, Format::Yaml, text)
    }

    /// Compiles a document in JSON, read strictly; otherwise as [`Policy::from_yaml`].
    ///
    /// # Errors
    /// As [`Policy::from_yaml`].
    pub fn from_json(source_name: &str, text: &str) -> Result<Self, PolicyErrors> {
        Self::read(source_name, Format::Json, text)
    }

    /// Compiles a document in TOML; otherwise as [`Policy::from_yaml`].
    ///
    /// # Errors
    /// As [`Policy::from_yaml`].
    pub fn from_toml(source_name: &str, text: &str) -> Result<Self, PolicyErrors> {
        Self::read(source_name, Format::Toml, text)
    }

    fn read(source_name: &str, format: Format, text: &str) -> Result<Self, PolicyErrors> {
        document::load(&source_name.into(), format, text.as_bytes()).map(Self::of)
    }

    /// Reads a regular file and compiles it; at most [`MAX_POLICY_BYTES`] are read. The name ends in `.yaml`, `.yml`,
    /// `.json` or `.toml` and so says what the file is written in. Blocks the thread.
    ///
    /// # Errors
    /// As [`Policy::from_yaml`], and `AK0110` when the file cannot be read, has another name or is not UTF-8.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, PolicyErrors> {
        let file: Arc<str> = path.as_ref().display().to_string().into();
        let Some(format) = Format::of(path.as_ref()) else {
            let mut report = Report::new(&file);
            let message = "the name does not say what the policy is written in";
            let help = "let it end in .yaml, .yml, .json or .toml";
            report.add_help(Code::Unreadable, Mark::NOWHERE, message, help);
            return report.finish(None);
        };
        match read(path.as_ref()) {
            Ok(bytes) => document::load(&file, format, &bytes).map(Self::of),
            Err(error) => {
                let mut report = Report::new(&file);
                report.add(Code::Unreadable, Mark::NOWHERE, format!("cannot read the policy: {error}"));
                report.finish(None)
            }
        }
    }

    /// The policy that allows nothing but what is always allowed, and kills who tries.
    #[must_use]
    pub fn deny_all() -> Self {
        Self::of(document::deny_all())
    }

    /// A built-in policy on its own.
    ///
    /// # Errors
    /// `AK0113` when there is no pack of that name; the help names the nearest.
    pub fn pack(name: &str) -> Result<Self, PolicyErrors> {
        match pack::PACKS.iter().find(|pack| pack.name == name) {
            Some(pack) => {
                let text = format!("version: 1\nname: {0}\npacks: [{0}]\n", pack.name);
                Self::from_yaml(&format!("pack:{}", pack.name), &text)
            }
            None => {
                let mut report = Report::new(&"policy".into());
                let known = pack::PACKS.map(|pack| pack.name);
                report.unknown(Code::UnknownWord, Mark::NOWHERE, "pack", name, &known);
                report.finish(None)
            }
        }
    }

    /// Answers a question. Pure and total: equal policies and equal questions give equal answers, and no input makes it
    /// panic. The cost grows with the rules that select what is asked about, not with all rules.
    #[must_use]
    pub fn decide(&self, caller: &Caller<'_>, question: &Question<'_>) -> Decision {
        decision::decide(&self.snapshot, caller, question)
    }

    /// Checks that each tool a rule names one by one is among `known`; patterns are not checked.
    ///
    /// # Errors
    /// One `AK0131` for each such tool that is not, with its place in the document and the nearest known name.
    pub fn check_tools<'t>(&self, known: impl IntoIterator<Item = &'t ToolId>) -> Result<(), PolicyErrors> {
        let known: std::collections::BTreeSet<&str> = known.into_iter().map(ToolId::as_str).collect();
        let mut report = Report::new(&self.snapshot.file);
        for (tool, at) in &self.snapshot.named_tools {
            if !known.contains(&**tool) {
                let message = format!("no tool is registered as {}", quoted(tool));
                match suggest::nearest(tool, known.iter().copied()) {
                    Some(nearest) => {
                        report.add_help(
                            Code::UnknownTool,
                            *at,
                            message,
                            format!("did you mean `{nearest}`?"),
                        );
                    }
                    None => report.add(Code::UnknownTool, *at, message),
                }
            }
        }
        report.finish(Some(()))
    }

    /// Whether the answer to a question of this agent depends on nothing that changes while it lives.
    pub(crate) fn is_timeless(&self, agent: &AgentId, question: &Question<'_>) -> bool {
        decision::is_timeless(&self.snapshot, agent, question)
    }

    /// What the rules look at besides the call.
    pub(crate) fn looks(&self) -> Looks {
        self.snapshot.looks
    }

    /// The policy's name; `unnamed` if the document gives none.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.snapshot.name
    }

    /// The digest of what the document says, packs included. Layout, comments and the order of keys do not change it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.snapshot.digest
    }

    /// The rules: those of the packs first, then the document's own, in order.
    #[must_use]
    pub fn rules(&self) -> impl ExactSizeIterator<Item = RuleInfo<'_>> {
        self.snapshot.rules.iter().map(RuleInfo::from)
    }

    /// The document as JSON. Loading its text gives a policy with the same digest.
    #[must_use]
    pub fn to_json(&self) -> Value {
        self.snapshot.document.clone()
    }

    fn of(snapshot: Snapshot) -> Self {
        Self { snapshot: Arc::new(snapshot) }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("name", &self.name())
            .field("digest", &self.digest())
            .field("rules", &self.snapshot.rules.len())
            .finish_non_exhaustive()
    }
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    // Asked before opening, which for a pipe would wait for a writer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut bytes = Vec::new();
    // One byte more than is allowed, so that the loader sees that there is too much.
    std::fs::File::open(path)?.take(MAX_POLICY_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
