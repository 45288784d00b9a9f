//! Finding tools: what is found, by whom, and how well beside a search for substrings.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::collections::BTreeSet;
use std::sync::Arc;

use agent_primitives::{AgentId, Resource, ToolId};
use agent_tool_registry::{
    Arguments, CallContext, Effect, Filter, Registry, SEARCH_TOOLS, TokioTimer, Tool, ToolContract,
};
use serde_json::json;

const TOOLS: &str = include_str!("../testdata/search/tools.tsv");
const QUERIES: &str = include_str!("../testdata/search/queries.tsv");
/// How many of the answers are looked at.
const SHOWN: usize = 5;

fn id(text: &str) -> ToolId {
    text.parse().unwrap()
}

fn all(_contract: &ToolContract) -> bool {
    true
}

fn names(tools: &[Tool]) -> Vec<&str> {
    tools.iter().map(|tool| tool.contract().id().as_str()).collect()
}

/// Name, tags and description of each tool.
fn described() -> impl Iterator<Item = (&'static str, Vec<&'static str>, &'static str)> {
    TOOLS.lines().map(|line| {
        let mut fields = line.split('\t');
        let mut field = || fields.next().unwrap();
        (field(), field().split(',').collect(), field())
    })
}

fn catalogue() -> Registry {
    let registry = Registry::builder().build();
    registry
        .register(|tools| {
            described().try_for_each(|(name, tags, description)| {
                let tool = tools.tool(name).description(description).tags(tags).effects([Effect::Read]);
                tool.run_raw(json!({"type": "object"}), |_, _| async { Ok(()) })
            })
        })
        .unwrap();
    registry
}

/// What a registry without an index does: the tools whose name, tags or description hold the text, in order.
fn with_substring(text: &str) -> Vec<&'static str> {
    let text = text.to_lowercase();
    let holds = |part: &str| part.to_lowercase().contains(&text);
    described()
        .filter(|(name, tags, description)| {
            holds(name) || holds(description) || tags.iter().any(|tag| holds(tag))
        })
        .map(|(name, ..)| name)
        .collect()
}

/// The same for any of the words of three letters or more, those that hold the most of them first.
fn with_words(text: &str) -> Vec<&'static str> {
    let text = text.to_lowercase();
    let words: Vec<&str> = text.split_whitespace().filter(|word| 3 <= word.len()).collect();
    let mut found: Vec<(usize, &str)> = described()
        .map(|(name, tags, description)| {
            let whole = format!("{name} {} {description}", tags.join(" ")).to_lowercase();
            (words.iter().filter(|word| whole.contains(*word)).count(), name)
        })
        .filter(|(count, _)| 0 < *count)
        .collect();
    found.sort_by_key(|(count, _)| usize::MAX - count);
    found.into_iter().map(|(_, name)| name).collect()
}

#[test]
fn nearly_every_question_finds_its_tool_among_the_first_five() {
    let snapshot = catalogue().snapshot();
    let (mut asked, mut found, mut substring, mut words) = (0, 0, 0, 0);
    for line in QUERIES.lines() {
        let (query, expected) = line.split_once('\t').unwrap();
        let expected: Vec<&str> = expected.split(',').collect();
        assert!(expected.iter().all(|name| !snapshot.versions(&id(name)).is_empty()), "{line}");
        let hits = |shown: &[&str]| usize::from(shown.iter().take(SHOWN).any(|name| expected.contains(name)));
        let answer = snapshot.search(query, SHOWN, &all);
        asked += 1;
        found += hits(&names(&answer));
        substring += hits(&with_substring(query));
        words += hits(&with_words(query));
        if hits(&names(&answer)) == 0 {
            println!("missed: {query}: {:?}", names(&answer));
        }
    }
    println!(
        "recall@{SHOWN} over {asked} questions and {} tools: {found}, substring {substring}, any word {words}",
        snapshot.len()
    );
    assert!(100 <= asked && 200 <= snapshot.len());
    assert!(85 * asked <= 100 * found, "{found} of {asked}");
    assert!(words < found && substring < found);
}

#[test]
fn a_name_in_so_many_words_comes_first_and_equals_are_in_order() {
    let registry = catalogue();
    for name in ["mail.read", "github/close_issue", "http.get", "pdf.sign", "time.now"] {
        assert_eq!(names(&registry.search(name, 1, &all)), [name]);
    }
    assert_eq!(names(&registry.search("closeIssue", 1, &all)), ["github/close_issue"]);
    assert_eq!(names(&registry.search("SQL explain", 1, &all)), ["sql.explain"]);

    let alike = Registry::builder().build();
    alike
        .register(|tools| {
            ["c/same", "a/same", "b/same"].iter().try_for_each(|name| {
                tools
                    .tool(name)
                    .description("Alike.")
                    .run_raw(json!({"type": "object"}), |_, _| async { Ok(()) })
            })
        })
        .unwrap();
    assert_eq!(names(&alike.search("alike", 10, &all)), ["a/same", "b/same", "c/same"]);
    assert_eq!(names(&alike.search("alike", 2, &all)), ["a/same", "b/same"]);
    assert!(alike.search("", 10, &all).is_empty() && alike.search("nothing", 10, &all).is_empty());
}

#[test]
fn t18_what_is_not_allowed_or_not_callable_is_not_found() {
    let registry = catalogue();
    let allow = |contract: &ToolContract| contract.id().as_str() != "mail.send";
    assert!(names(&registry.search("send an email", SHOWN, &all)).contains(&"mail.send"));
    assert!(!names(&registry.search("send an email", 50, &allow)).contains(&"mail.send"));
    assert!(registry.search("mail.send", 1, &|_| false).is_empty());

    let digest = registry.get(&id("mail.send")).unwrap().digest();
    registry.quarantine(&id("mail.send"), digest, "test", "ada").unwrap();
    assert!(!names(&registry.search("send an email", 50, &all)).contains(&"mail.send"));
    registry.approve(&id("mail.send"), digest, "ada").unwrap();
    assert!(names(&registry.search("send an email", SHOWN, &all)).contains(&"mail.send"));
    assert!(registry.search("email", 1000, &all).len() <= 50);
}

#[test]
fn a_filter_takes_what_has_all_that_is_asked() {
    let registry = Registry::builder().build();
    registry
        .register(|tools| {
            let object = || json!({"type": "object"});
            let dear = tools.tool("dear").description("Costs.").tags(["a"]).cost(Resource::Tokens, 100);
            dear.effects([Effect::Read]).run_raw(object(), |_, _| async { Ok(()) })?;
            let both = tools.tool("both").description("Both.").tags(["a", "b"]).capabilities(["x.read"]);
            both.effects([Effect::Read, Effect::Network]).run_raw(object(), |_, _| async { Ok(()) })?;
            tools.tool("silent").description("Says nothing.").run_raw(object(), |_, _| async { Ok(()) })
        })
        .unwrap();
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let reads = Some([Effect::Read].into_iter().collect());
    let cases = [
        (Filter::default(), vec!["both", "dear", "silent"]),
        (Filter { tags: words(&["a"]), ..Filter::default() }, vec!["both", "dear"]),
        (Filter { tags: words(&["a", "b"]), ..Filter::default() }, vec!["both"]),
        (Filter { capabilities: words(&["x.read"]), ..Filter::default() }, vec!["both"]),
        (Filter { effects_at_most: reads, ..Filter::default() }, vec!["dear"]),
        (
            Filter { cost_at_most: [(Resource::Tokens, 99)].into(), ..Filter::default() },
            vec!["both", "silent"],
        ),
    ];
    for (filter, expected) in cases {
        assert_eq!(names(&registry.query(&filter, &all)), expected, "{filter:?}");
    }
    let digest = registry.get(&id("dear")).unwrap().digest();
    registry.deprecate(&id("dear"), digest, "too dear", "ada").unwrap();
    assert_eq!(names(&registry.query(&Filter::default(), &all)), ["both", "silent"]);
    let old = Filter { deprecated: true, ..Filter::default() };
    assert_eq!(registry.query(&old, &all).len(), 3);
    assert_eq!(registry.query(&old, &|contract| contract.id().as_str() == "dear").len(), 1);
}

#[tokio::test]
async fn a_model_finds_by_the_search_tool_what_its_agent_may_know_of() {
    let registry = catalogue();
    registry
        .register_search(|agent: &AgentId, contract| {
            agent.as_str() == "trusted" || !contract.tags().contains("payments")
        })
        .unwrap();
    let ask = async |agent: &str, arguments: serde_json::Value| {
        let context = CallContext::new(agent.parse().unwrap(), Arc::new(TokioTimer::new()));
        let call = registry.prepare(&id(SEARCH_TOOLS), Arguments::from_value(arguments).unwrap()).unwrap();
        let answer = call.run(context).await.unwrap().into_value();
        let found = answer.as_array().unwrap().clone();
        found.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let refund = json!({"query": "refund a customer"});
    assert_eq!(ask("trusted", refund.clone()).await.first().unwrap(), "payments.refund");
    let found = ask("guest", refund).await;
    assert!(!found.is_empty() && found.iter().all(|name| !name.starts_with("payments")), "{found:?}");
    assert_eq!(ask("guest", json!({"query": "find tools", "limit": 2})).await.len(), 2);
    let none = Arguments::from_value(json!({"query": "x", "limit": 0})).unwrap();
    assert_eq!(registry.prepare(&id(SEARCH_TOOLS), none).unwrap_err().code(), "AK0515");

    // The tool does not keep its registry.
    let call = Arguments::from_value(json!({"query": "mail"})).unwrap();
    let call = registry.prepare(&id(SEARCH_TOOLS), call).unwrap();
    drop(registry);
    let context = CallContext::new("a".parse().unwrap(), Arc::new(TokioTimer::new()));
    assert_eq!(call.run(context).await.unwrap_err().code(), "AK0523");
}
