//! A registry that lives: versions, states, and what happens to calls when either changes.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::collections::BTreeSet;
use std::future::{Future, pending};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use agent_primitives::{AgentId, Digest, ManualClock, Timestamp, ToolId};
use agent_tool_registry::{
    Arguments, CallContext, Endpoint, Provenance, Registry, RegistryBuilder, RegistryError, Status,
    TokioTimer, ToolError,
};
use semver::{Version, VersionReq};
use serde_json::{Value, json};

fn id(text: &str) -> ToolId {
    text.parse().unwrap()
}

fn context() -> CallContext {
    CallContext::new("tester".parse::<AgentId>().unwrap(), Arc::new(TokioTimer::new()))
}

fn none() -> Arguments {
    Arguments::from_value(json!({})).unwrap()
}

fn describe(
    tools: &mut RegistryBuilder,
    name: &str,
    version: &str,
    description: &str,
) -> Result<(), RegistryError> {
    let answer = Value::from(version);
    tools.tool(name).version(version).description(description).run_raw(
        json!({"type": "object"}),
        move |_, _| {
            let answer = answer.clone();
            async move { Ok(answer) }
        },
    )
}

fn propose(tools: &mut RegistryBuilder, name: &str, version: &str) -> Result<(), RegistryError> {
    let tool = tools.tool(name).version(version).description("Proposed.").proposed();
    tool.provenance(Provenance::Mcp(Digest::ZERO)).remote(
        json!({"type": "object"}),
        Endpoint::Remote(Digest::ZERO),
        |_, _| async { Ok(json!("remote")) },
    )
}

/// A registry with these versions of the tool `t`.
fn versions(all: &[&str]) -> Registry {
    let registry = Registry::builder().build();
    registry
        .register(|tools| all.iter().try_for_each(|version| describe(tools, "t", version, "Test.")))
        .unwrap();
    registry
}

fn digest(registry: &Registry, name: &str, version: &str) -> Digest {
    let version: Version = version.parse().unwrap();
    let snapshot = registry.snapshot();
    let tool = snapshot.versions(&id(name)).iter().find(|tool| *tool.contract().version() == version);
    tool.unwrap().contract().digest()
}

fn req(text: &str) -> VersionReq {
    text.parse().unwrap()
}

fn found(registry: &Registry, wanted: &str) -> Result<String, &'static str> {
    let found = registry.find(&id("t"), &req(wanted));
    found.map(|tool| tool.contract().version().to_string()).map_err(|error| error.code())
}

#[test]
fn t10_another_contract_of_one_version_is_a_conflict_and_the_first_stays() {
    let registry = versions(&["1.0.0"]);
    registry.register(|tools| describe(tools, "t", "1.0.0", "Test.")).unwrap();
    let refused = registry.register(|tools| {
        describe(tools, "other", "1.0.0", "Comes with it.")?;
        describe(tools, "t", "1.0.0", "Changed.")
    });
    assert_eq!(refused.unwrap_err().code(), "AK0502");
    assert_eq!(registry.get(&id("t")).unwrap().description(), "Test.");
    assert!(!registry.contains(&id("other")), "a registration that fails registers nothing");
    assert_eq!(registry.len(), 1);
}

#[test]
fn t25_t26_versions_are_chosen_by_the_rules_of_semver() {
    let registry = versions(&["1.9.9", "2.0.0-rc1", "0.9.0"]);
    assert_eq!(registry.get(&id("t")).unwrap().version().to_string(), "1.9.9");
    let cases = [
        ("*", Ok("1.9.9")),
        ("^1.2", Ok("1.9.9")),
        (">=0.1.0, <1.0.0", Ok("0.9.0")),
        ("=0.9.0", Ok("0.9.0")),
        ("^2.0.0-rc1", Ok("2.0.0-rc1")),
        ("^0.1.0", Err("AK0554")),
        ("^2", Err("AK0554")),
    ];
    for (wanted, expected) in cases {
        assert_eq!(found(&registry, wanted), expected.map(str::to_owned), "{wanted}");
    }
    let only = versions(&["2.0.0-rc1"]);
    assert_eq!(only.resolve(&id("t")).unwrap_err().code(), "AK0554");
}

#[test]
fn t13_a_name_that_several_namespaces_have_is_ambiguous() {
    let registry = versions(&["1.0.0"]);
    registry.register(|tools| describe(tools, "mcp.one/search", "1.0.0", "One.")).unwrap();
    let alone = registry.resolve(&id("search")).unwrap_err();
    assert_eq!(alone.to_string(), "no tool is named `search`; did you mean `mcp.one/search`?");

    registry.register(|tools| describe(tools, "mcp.two/search", "1.0.0", "Two.")).unwrap();
    registry.register(|tools| propose(tools, "mcp.three/search", "1.0.0")).unwrap();
    let error = registry.prepare(&id("search"), none()).unwrap_err();
    assert_eq!(error.code(), "AK0555");
    assert_eq!(error.to_string(), "`search` may be any of `mcp.one/search`, `mcp.two/search`");

    registry.register(|tools| describe(tools, "search", "1.0.0", "None.")).unwrap();
    assert_eq!(registry.get(&id("search")).unwrap().description(), "None.");
}

#[tokio::test]
async fn only_what_is_approved_or_deprecated_is_called() {
    let registry = Registry::builder().build();
    registry.register(|tools| propose(tools, "t", "1.0.0")).unwrap();
    let (name, one) = (id("t"), digest(&registry, "t", "1.0.0"));
    let prepared = |registry: &Registry| registry.prepare(&id("t"), none()).map_err(|error| error.code());
    let refused = |registry: &Registry| prepared(registry).map(drop);

    assert_eq!(refused(&registry), Err("AK0550"));
    assert!(registry.get(&name).is_none());
    assert_eq!(registry.deprecate(&name, one, "no", "ada").unwrap_err().code(), "AK0550");

    registry.approve(&name, one, "ada").unwrap();
    let call = prepared(&registry).unwrap();
    assert_eq!(call.warning(), None);
    assert_eq!(call.run(context()).await.unwrap().into_value(), "remote");

    registry.deprecate(&name, one, "use `u`", "ada").unwrap();
    let call = prepared(&registry).unwrap();
    assert_eq!(call.warning().as_deref(), Some("use `u`"));

    registry.quarantine(&name, one, "smells\nof 10.0.0.1", "scanner").unwrap();
    let error = call.run(context()).await.unwrap_err();
    assert_eq!((error.code(), error.to_string().as_str()), ("AK0551", "the tool `t` is quarantined"));
    assert_eq!(error.host_detail().as_deref(), Some("smells of 10.0.0.1"));
    assert_eq!(refused(&registry), Err("AK0551"));

    registry.changed(&name, one, Digest::of("test", b"other"), "watcher").unwrap();
    registry.register(|tools| propose(tools, "t", "2.0.0")).unwrap();
    assert_eq!(refused(&registry), Err("AK0553"), "the newer one was only proposed");
    registry.approve(&name, digest(&registry, "t", "2.0.0"), "ada").unwrap();
    assert_eq!(refused(&registry), Ok(()));

    registry.revoke(&name, one, "ada").unwrap();
    for again in [registry.approve(&name, one, "eve"), registry.quarantine(&name, one, "", "eve")] {
        assert_eq!(again.unwrap_err().code(), "AK0552");
    }
    assert_eq!(registry.status(&name, &Version::new(1, 0, 0)), Some(Status::Revoked));
    assert_eq!(registry.status(&name, &Version::new(3, 0, 0)), None);
}

#[test]
fn who_approves_says_what_was_seen() {
    let registry = Registry::builder().build();
    registry.register(|tools| propose(tools, "t", "1.0.0")).unwrap();
    let other = Digest::of("test", b"other");
    let error = registry.approve(&id("t"), other, "ada").unwrap_err();
    let ToolError::DefinitionChanged { approved, observed, .. } = error else { panic!("{error}") };
    assert_eq!((approved, observed), (other, digest(&registry, "t", "1.0.0")));
    assert_eq!(registry.approve(&id("u"), other, "ada").unwrap_err().code(), "AK0510");
    assert_eq!(registry.status(&id("t"), &Version::new(1, 0, 0)), Some(Status::Proposed));
}

#[test]
fn an_approved_version_comes_before_a_higher_one_that_is_not() {
    let registry = versions(&["1.0.0", "2.0.0", "3.0.0"]);
    registry.deprecate(&id("t"), digest(&registry, "t", "3.0.0"), "too new", "ada").unwrap();
    registry.quarantine(&id("t"), digest(&registry, "t", "2.0.0"), "broken", "ada").unwrap();
    assert_eq!(registry.get(&id("t")).unwrap().version().to_string(), "1.0.0");
    assert_eq!(found(&registry, "^3"), Ok("3.0.0".to_owned()));
    assert_eq!(found(&registry, "^2"), Err("AK0551"));
    registry.revoke(&id("t"), digest(&registry, "t", "1.0.0"), "ada").unwrap();
    assert_eq!(registry.get(&id("t")).unwrap().version().to_string(), "3.0.0");
}

#[tokio::test]
async fn revoking_ends_a_running_call_and_unregistering_does_not() {
    let registry = Registry::builder().build();
    let dropped = Arc::new(AtomicUsize::new(0));
    struct CountsDrop(Arc<AtomicUsize>);
    impl Drop for CountsDrop {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let counts = Arc::clone(&dropped);
    registry
        .register(move |tools| {
            for name in ["hangs", "stays"] {
                let counts = Arc::clone(&counts);
                tools.tool(name).description("Hangs.").run_raw(json!({"type": "object"}), move |_, _| {
                    let held = CountsDrop(Arc::clone(&counts));
                    async move {
                        let _held = held;
                        pending::<()>().await;
                        Ok(())
                    }
                })?;
            }
            Ok(())
        })
        .unwrap();
    let mut task = Context::from_waker(Waker::noop());
    let mut hangs = pin!(registry.prepare(&id("hangs"), none()).unwrap().run(context()));
    let mut stays = pin!(registry.prepare(&id("stays"), none()).unwrap().run(context()));
    let waits = registry.prepare(&id("stays"), none()).unwrap();
    assert!(hangs.as_mut().poll(&mut task).is_pending() && stays.as_mut().poll(&mut task).is_pending());

    registry.unregister(&id("stays"), "ada").unwrap();
    assert!(stays.as_mut().poll(&mut task).is_pending());
    assert_eq!(registry.prepare(&id("stays"), none()).unwrap_err().code(), "AK0510");
    assert_eq!(waits.run(context()).await.unwrap_err().code(), "AK0510", "it had not begun");

    registry.revoke(&id("hangs"), digest(&registry, "hangs", "1.0.0"), "ada").unwrap();
    let Poll::Ready(ended) = hangs.as_mut().poll(&mut task) else { panic!("it goes on") };
    assert_eq!(ended.unwrap_err().code(), "AK0552");
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
}

#[test]
fn what_was_revoked_does_not_come_back_under_its_version() {
    let registry = versions(&["1.0.0", "2.0.0"]);
    registry.revoke(&id("t"), digest(&registry, "t", "1.0.0"), "ada").unwrap();
    registry.unregister(&id("t"), "ada").unwrap();
    assert_eq!(registry.len(), 1);
    registry.register(|tools| describe(tools, "t", "1.0.0", "Test.")).unwrap();
    assert_eq!(registry.resolve(&id("t")).unwrap_err().code(), "AK0552");
    assert_eq!(registry.unregister(&id("t"), "ada").unwrap_err().code(), "AK0552");
}

#[test]
fn every_change_of_state_is_logged_once() {
    let clock = ManualClock::at(Timestamp::from_micros(5));
    let registry = Registry::builder().clock(Arc::new(clock)).build();
    registry.register(|tools| propose(tools, "t", "1.0.0")).unwrap();
    let digest = digest(&registry, "t", "1.0.0");
    registry.approve(&id("t"), digest, "ada").unwrap();
    registry.approve(&id("t"), digest, "ada").unwrap();
    registry.unregister(&id("t"), "bob").unwrap();
    let log = registry.transitions();
    let lines: Vec<_> =
        log.iter().map(|line| (line.from.clone(), line.to.clone(), line.by.as_str())).collect();
    let expected = [(Status::Proposed, Some(Status::Approved), "ada"), (Status::Approved, None, "bob")];
    assert_eq!(lines, expected);
    assert!(log.iter().all(|line| line.digest == digest && line.at == Timestamp::from_micros(5)));
}

#[test]
fn t30_of_many_who_race_for_one_version_one_wins() {
    let registry = Registry::builder().build();
    let (won, lost) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (registry, won, lost) = (&registry, &won, &lost);
            scope.spawn(move || {
                for round in 0..125 {
                    let description = format!("Contract {}.", (thread * 125 + round) % 10);
                    match registry.register(|tools| describe(tools, "t", "1.0.0", &description)) {
                        Ok(()) => won.fetch_add(1, Ordering::SeqCst),
                        Err(error) => {
                            assert_eq!(error.code(), "AK0502");
                            lost.fetch_add(1, Ordering::SeqCst)
                        }
                    };
                }
            });
        }
    });
    assert_eq!(registry.len(), 1);
    assert_eq!((won.into_inner(), lost.into_inner()), (100, 900), "the same contract again is no conflict");
}

#[test]
fn readers_see_whole_registrations_while_a_writer_writes() {
    let registry = Registry::builder().build();
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let registry = registry.clone();
                scope.spawn(move || {
                    let mut seen = BTreeSet::new();
                    while seen.last() != Some(&100) {
                        let snapshot = registry.snapshot();
                        // Each registration brings two tools at once.
                        assert_eq!(snapshot.len() % 2, 0);
                        assert_eq!(snapshot.all().count(), snapshot.len());
                        seen.insert(snapshot.len());
                    }
                })
            })
            .collect();
        for number in 0..50 {
            let pair = |tools: &mut RegistryBuilder| {
                describe(tools, &format!("a{number}"), "1.0.0", "Left.")?;
                describe(tools, &format!("b{number}"), "1.0.0", "Right.")
            };
            registry.register(pair).unwrap();
        }
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

#[test]
fn a_name_that_can_be_taken_for_an_approved_one_of_others_arrives_quarantined() {
    let registry = Registry::builder().build();
    registry.register(|tools| describe(tools, "github/create_issue", "1.0.0", "Ours.")).unwrap();
    registry
        .register(|tools| {
            let names = ["github/createIssue", "github/create_isue", "githud/create_issue", "github/list"];
            names.iter().try_for_each(|name| propose(tools, name, "1.0.0"))?;
            describe(tools, "github/create_issues", "1.0.0", "Ours too.")
        })
        .unwrap();
    let code = |name: &str| registry.resolve(&id(name)).map(drop).map_err(|error| error.code());
    for name in ["github/createIssue", "github/create_isue", "githud/create_issue"] {
        assert_eq!(code(name), Err("AK0506"), "{name}");
    }
    assert_eq!(code("github/list"), Err("AK0550"));
    assert_eq!(code("github/create_issues"), Ok(()), "of the same publisher");
    let looked_at = digest(&registry, "githud/create_issue", "1.0.0");
    registry.approve(&id("githud/create_issue"), looked_at, "ada").unwrap();
    assert_eq!(code("githud/create_issue"), Ok(()));
}

#[test]
fn what_is_no_requirement_of_versions_is_said_to_be_none() {
    for wanted in ["garbage", "", ">=", "1.x.y"] {
        assert_eq!(Registry::requirement(wanted).unwrap_err().code(), "AK0507", "{wanted}");
    }
    assert!(Registry::requirement(">=1.0.0, <2.0.0").is_ok());
}

#[test]
fn t09_a_text_with_hidden_characters_is_not_registered() {
    let mut tools = Registry::builder();
    let refused = describe(&mut tools, "t", "1.0.0", "Adds\u{200b} two.").unwrap_err();
    assert_eq!(refused.code(), "AK0505");
    assert_eq!(
        refused.to_string(),
        "the text at `/description` of `t` holds U+200B, or is not in normal form C there"
    );
    let hidden = json!({"type": "object", "properties": {"a": {"type": "string", "title": "x\u{e0041}"}}});
    let tool = tools.tool("t").description("Adds.").output_schema(json!({"title": "\u{202e}"}));
    assert_eq!(
        tool.run_raw(json!({"type": "object"}), |_, _| async { Ok(()) }).unwrap_err().code(),
        "AK0505"
    );
    let refused = tools.tool("t").description("Adds.").run_raw(hidden, |_, _| async { Ok(()) });
    assert!(refused.unwrap_err().to_string().contains("/input_schema/properties/a/title"));
    assert!(tools.build().is_empty());
}
