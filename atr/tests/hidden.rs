//! What a caller learns of tools that it may not call: nothing, whatever their state and whatever is wrong with the call.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

use std::sync::Arc;

use agent_primitives::{Digest, ManualClock, ToolId};
use agent_tool_registry::executor::Pending;
use agent_tool_registry::invoke::{CallRequest, Decision, DenyReason};
use agent_tool_registry::{
    AccessRule, AccessRules, Authorizer, Call, Caller, Invoker, MemoryAudit, Registry, RegistryError, Stage,
    ToolError,
};
use serde_json::{Value, json};

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A failure of what runs the tool, which opens its circuit breaker.
fn panics() -> ToolError {
    panic!("the tool of this test always does")
}

fn id(name: &str) -> ToolId {
    name.parse().unwrap()
}

fn add(registry: &Registry, name: &str, version: &str, proposed: bool) -> Digest {
    let add = |tools: &mut agent_tool_registry::RegistryBuilder| -> Result<(), RegistryError> {
        let tool = tools.tool(name).version(version).description("Test.");
        let tool = if proposed { tool.proposed() } else { tool };
        let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]});
        tool.run_raw(schema, |_, _: Value| async { Err::<(), _>(panics()) })
    };
    registry.register(add).unwrap();
    let snapshot = registry.snapshot();
    let is = |tool: &&agent_tool_registry::Tool| tool.contract().version().to_string() == version;
    snapshot.versions(&id(name)).iter().find(is).unwrap().contract().digest()
}

/// One tool in each state that there is.
fn tools() -> Registry {
    let registry = Registry::builder().build();
    for name in ["approved", "proposed", "quarantined", "revoked", "changed", "deprecated", "failing"] {
        let name = format!("secret.{name}");
        let digest = add(&registry, &name, "1.0.0", name == "secret.proposed");
        let id = id(&name);
        match name.as_str() {
            "secret.quarantined" => registry.quarantine(&id, digest, "odd", "ada").unwrap(),
            "secret.revoked" => registry.revoke(&id, digest, "ada").unwrap(),
            "secret.changed" => registry.changed(&id, digest, Digest::of("x", b"x"), "ada").unwrap(),
            "secret.deprecated" => registry.deprecate(&id, digest, "use another", "ada").unwrap(),
            _ => {}
        }
    }
    add(&registry, "secret.early", "1.0.0-rc1", false);
    add(&registry, "public.note", "1.0.0", false);
    for name in ["one/both", "two/both", "secret/both", "secret/single", "secret2/single", "three/single"] {
        add(&registry, name, "1.0.0", false);
    }
    registry
}

fn rules() -> AccessRules {
    let allowed = ["public.*", "one/*", "two/*", "three/*", "both", "single"].map(AccessRule::allow);
    let all = AccessRule::allow("*").roles(["host"]);
    allowed.into_iter().chain([all, AccessRule::forbid("secret.forbidden*")]).collect()
}

fn invoker(registry: Registry, authorizer: impl Authorizer + 'static) -> (Invoker, MemoryAudit) {
    let audit = MemoryAudit::new(1024);
    let invoker = Invoker::builder(registry, Arc::new(ManualClock::default()), audit.clone());
    (invoker.authorizer(authorizer).build(), audit)
}

fn guest() -> Caller {
    Caller::new("eve".parse().unwrap())
}

fn host() -> Caller {
    Caller::new("ada".parse().unwrap()).with_role("host")
}

fn send(invoker: &Invoker, caller: Caller, call: Call) -> ToolError {
    block_on(invoker.on_behalf_of(caller).send(call)).unwrap_err()
}

/// All that a caller sees of an error.
fn told(error: &ToolError) -> String {
    format!("{} {error} {error:?} {:?} {}", error.code(), error.host_detail(), error.is_violation())
}

const STATES: [(&str, &str); 8] = [
    ("approved", "AK0515"),
    ("proposed", "AK0550"),
    ("quarantined", "AK0551"),
    ("revoked", "AK0552"),
    ("changed", "AK0553"),
    ("deprecated", "AK0515"),
    ("failing", "AK0564"),
    ("early", "AK0554"),
];

#[test]
fn a_hidden_tool_is_answered_like_a_name_that_no_tool_has() {
    let (invoker, audit) = invoker(tools(), rules());
    for _ in 0..5 {
        assert_eq!(send(&invoker, host(), Call::new("secret.failing", br#"{"a": 1}"#)).code(), "AK0522");
    }
    let wrong = [&b"{}"[..], br#"{"a": 1}"#, br#"{"a": "x", "b": 1}"#, b"{", &[b'['; 10_000]];
    for (state, code) in STATES {
        let name = format!("secret.{state}");
        for arguments in wrong {
            let calls = |name: &str| {
                let call = Call::new(name, arguments);
                [
                    call.clone(),
                    call.clone().with_version("^1".parse().unwrap()),
                    call.with_version("^9".parse().unwrap()),
                ]
            };
            for (hidden, absent) in calls(&name).into_iter().zip(calls("secret.none")) {
                let (hidden, absent) = (send(&invoker, guest(), hidden), send(&invoker, guest(), absent));
                assert_eq!(told(&hidden), told(&absent), "{name}");
                assert_eq!(hidden.code(), "AK0556", "{name}");
            }
        }
        // Who may call it is told what is wrong, and so is the record whoever asks.
        assert_eq!(send(&invoker, host(), Call::new(&name, b"{}")).code(), code, "{name}");
        let denied = send(&invoker, guest(), Call::new(&name, b"{}"));
        let record = audit.records().pop().unwrap();
        let recorded = if code == "AK0515" { denied.code() } else { code };
        assert_eq!((record.error, record.decision), (Some(recorded), Some("deny")), "{name}");
    }
    assert_eq!(send(&invoker, host(), Call::new("secret.none", b"{}")).code(), "AK0510");
    let record = audit.records().pop().unwrap();
    assert_eq!((record.error, record.failed_at), (Some("AK0510"), Some(Stage::Resolve)));
}

#[test]
fn a_forbidden_name_is_a_violation_whether_or_not_there_is_such_a_tool() {
    let registry = tools();
    add(&registry, "secret.forbidden.one", "1.0.0", true);
    let (invoker, _) = invoker(registry, rules());
    let names = ["secret.forbidden.one", "secret.forbidden.none"];
    let [there, absent] = names.map(|name| told(&send(&invoker, host(), Call::new(name, b"{}"))));
    assert_eq!(there, absent);
    assert!(there.contains("a rule forbids it") && there.ends_with("true"));
}

#[test]
fn an_ambiguous_name_names_only_what_the_caller_may_call() {
    let (invoker, _) = invoker(tools(), rules());
    let ambiguous = |error: ToolError| match error {
        ToolError::Ambiguous { candidates, .. } => {
            candidates.iter().map(ToString::to_string).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(
        ambiguous(send(&invoker, host(), Call::new("both", b"{}"))),
        ["one/both", "secret/both", "two/both"]
    );
    assert_eq!(ambiguous(send(&invoker, guest(), Call::new("both", b"{}"))), ["one/both", "two/both"]);
    // With one left it is not ambiguous: that it is would tell of the others.
    assert_eq!(send(&invoker, guest(), Call::new("single", b"{}")).code(), "AK0510");
}

/// Decides by the contract, and says nothing of names that no tool has.
#[derive(Debug)]
struct ByTag;

impl Authorizer for ByTag {
    fn name(&self) -> &'static str {
        "by tag"
    }

    fn decide<'a>(&'a self, request: CallRequest<'a>) -> Pending<'a, Decision> {
        let open = request.contract.id().as_str().starts_with("public");
        let decision = if open { Decision::Allow } else { Decision::Deny(DenyReason::NotAllowed) };
        Box::pin(std::future::ready(decision))
    }
}

#[test]
fn an_authorizer_that_only_knows_contracts_hides_names_too() {
    let (invoker, _) = invoker(tools(), ByTag);
    let absent = told(&send(&invoker, guest(), Call::new("secret.none", b"{}")));
    for (state, _) in STATES {
        let name = format!("secret.{state}");
        assert_eq!(told(&send(&invoker, guest(), Call::new(&name, b"{}"))), absent, "{name}");
    }
    assert_eq!(send(&invoker, guest(), Call::new("public.note", b"{}")).code(), "AK0515");
}

#[test]
fn a_confusable_tool_does_not_name_a_hidden_one() {
    let registry = Registry::builder().build();
    add(&registry, "secret/pay.invoice", "1.0.0", false);
    let tools = |tools: &mut agent_tool_registry::RegistryBuilder| {
        let tool = tools.tool("secret/pay_invoice").description("Test.").proposed();
        let provenance = agent_tool_registry::Provenance::Mcp(Digest::of("x", b"x"));
        tool.provenance(provenance).run_raw(json!({"type": "object"}), |_, _: Value| async { Ok(()) })
    };
    registry.register(tools).unwrap();
    let rules = AccessRules::new()
        .with(AccessRule::allow("secret/pay_invoice"))
        .with(AccessRule::allow("*").roles(["host"]));
    let (invoker, audit) = invoker(registry, rules);
    assert_eq!(send(&invoker, host(), Call::new("secret/pay_invoice", b"{}")).code(), "AK0506");
    let told = told(&send(&invoker, guest(), Call::new("secret/pay_invoice", b"{}")));
    assert!(told.starts_with("AK0551") && !told.contains("pay.invoice"), "{told}");
    assert_eq!(audit.records().len(), 2);
}

#[test]
fn a_refusal_for_one_who_sees_only_some_tools_is_as_if_only_those_were_there() {
    let registry = tools();
    let snapshot = registry.snapshot();
    let refusal = |name: &str, seen: &dyn Fn(&str) -> bool| {
        let error = snapshot.get(&id(name)).unwrap_err();
        snapshot.refusal(&id(name), error, &|contract| seen(contract.id().as_str()))
    };
    let open = |name: &str| !name.starts_with("secret");
    for name in ["secret.proposed", "secret.quarantined", "secret.changed", "secret.none", "secret.early"] {
        let ToolError::NotFound { suggestion: None, .. } = refusal(name, &open) else { panic!("{name}") };
        assert_eq!(refusal(name, &|_| true).code(), snapshot.get(&id(name)).unwrap_err().code());
    }
    let single = refusal("single", &open);
    assert_eq!(single.to_string(), "no tool is named `single`; did you mean `three/single`?");
    // The nearest name is hidden, so the next one is told.
    let seen = |name: &str| name != "public.note";
    assert_eq!(
        refusal("public.not", &|_| true).to_string(),
        "no tool is named `public.not`; did you mean `public.note`?"
    );
    add(&registry, "public.notary", "1.0.0", false);
    let snapshot = registry.snapshot();
    let error = snapshot.get(&id("public.not")).unwrap_err();
    let next = snapshot.refusal(&id("public.not"), error, &|contract| seen(contract.id().as_str()));
    assert_eq!(next.to_string(), "no tool is named `public.not`; did you mean `public.notary`?");
}
