//! Tools that are registered, approved and withdrawn while the kernel runs.

use std::sync::Arc;

use agent_control_plane::atr::{Effect, Registry, RegistryBuilder, RegistryError};
use agent_control_plane::kernel::Widening;
use agent_control_plane::primitives::{Digest, ManualClock, ToolId};
use agent_control_plane::recorder::Body;
use agent_control_plane::{AgentSpec, Kernel, Policy};
use serde_json::{Value, json};

const POLICY: &str = r#"
version: 1
name: live
rules:
  - { id: mail, effect: allow, calls: [exec], tools: ["mail/*"] }
  - { id: look, effect: allow, calls: [read], paths: ["/tools/**", "/tools"] }
"#;

fn kernel(tools: &Registry) -> Kernel {
    let policy = Policy::from_yaml("live.yaml", POLICY).unwrap();
    let clock = Arc::new(ManualClock::default());
    Kernel::builder().policy(policy).tools(tools.clone()).timer(clock).build().unwrap()
}

fn describe(tools: &mut RegistryBuilder, name: &str, description: &str) -> Result<(), RegistryError> {
    tools
        .tool(name)
        .description(description)
        .effects([Effect::Read])
        .output_labels(["mail"])
        .proposed()
        .run_raw(json!({"type": "object"}), |_, _| async { Ok("hello") })
}

fn digest(tools: &Registry, name: &ToolId) -> Digest {
    tools.snapshot().versions(name)[0].contract().digest()
}

#[tokio::test]
async fn a_tool_is_called_once_it_is_approved_and_no_more_once_it_is_not() {
    let tools = Registry::builder().build();
    let kernel = kernel(&tools);
    let agent = kernel.spawn(AgentSpec::new("a")).unwrap();
    let name: ToolId = "mail/list".parse().unwrap();
    let call = || agent.exec("mail/list", json!({}));

    assert_eq!(call().await.unwrap_err().code(), "AK0510");
    tools.register(|tools| describe(tools, "mail/list", "Lists mail.")).unwrap();
    assert_eq!(call().await.unwrap_err().code(), "AK0550");
    assert!(kernel.tools().iter().all(|contract| *contract.id() != name));
    assert!(agent.read("/tools/mail/list.json").await.is_err());

    tools.approve(&name, digest(&tools, &name), "ada").unwrap();
    assert_eq!(call().await.unwrap(), "hello");
    assert!(kernel.tools().iter().any(|contract| *contract.id() == name));
    assert!(agent.read("/tools/mail/list.json").await.is_ok());
    assert_eq!(kernel.labels(agent.id()).unwrap().to_string(), "mail, tool:mail/list");

    tools.quarantine(&name, digest(&tools, &name), "changed its mind", "ada").unwrap();
    assert_eq!(call().await.unwrap_err().code(), "AK0551");
    assert!(agent.read("/tools/mail/list.json").await.is_err());

    let rejected: Vec<String> = kernel
        .recorder()
        .events(0)
        .map(Result::unwrap)
        .filter_map(|stored| match stored.event().unwrap().body {
            Body::Rejected { code, .. } => Some(code.to_owned()),
            _ => None,
        })
        .collect();
    assert_eq!(rejected, ["AK0510", "AK0550", "AK0551"]);
}

#[tokio::test]
async fn a_call_that_waited_meets_the_tool_as_it_stands_then() {
    let tools = Registry::builder().build();
    tools.register(|tools| describe(tools, "mail/list", "Lists mail.")).unwrap();
    let name: ToolId = "mail/list".parse().unwrap();
    tools.approve(&name, digest(&tools, &name), "ada").unwrap();
    let kernel = kernel(&tools);
    let agent = kernel.spawn(AgentSpec::new("a")).unwrap();

    let call = agent.exec("mail/list", json!({}));
    tools.revoke(&name, digest(&tools, &name), "ada").unwrap();
    assert_eq!(call.await.unwrap_err().code(), "AK0552");
}

#[test]
fn a_policy_names_what_is_registered_when_it_is_loaded_whatever_its_state() {
    let tools = Registry::builder().build();
    let kernel = kernel(&tools);
    let named = || Policy::from_yaml("live.yaml", &POLICY.replace("mail/*", "mail/list")).unwrap();
    assert!(kernel.reload(named(), Widening::Force).is_err());
    tools.register(|tools| describe(tools, "mail/list", "Lists mail.")).unwrap();
    assert_eq!(kernel.reload(named(), Widening::Force).unwrap(), 2);
}

#[test]
fn the_names_of_the_kernels_own_tools_stay_its_own() {
    let tools = Registry::builder().build();
    let (one, other) = (kernel(&tools), kernel(&tools));
    tools.register(|tools| describe(tools, "kernel.late", "Comes late.")).unwrap();
    let late = "kernel.late".parse().unwrap();
    tools.approve(&late, digest(&tools, &late), "ada").unwrap();
    for kernel in [one, other] {
        let shown: Vec<String> = kernel.tools().iter().map(|tool| tool.id().to_string()).collect();
        assert_eq!(shown, ["kernel.declassify", "kernel.spawn"]);
    }
}

#[tokio::test]
async fn t18_an_agent_finds_by_search_what_it_could_call() {
    let tools = Registry::builder().build();
    tools.register(|tools| describe(tools, "mail/list", "Lists mail.")).unwrap();
    tools.register(|tools| describe(tools, "bank/list", "Lists mail of the bank.")).unwrap();
    for name in ["mail/list", "bank/list"] {
        let name = name.parse().unwrap();
        tools.approve(&name, digest(&tools, &name), "ada").unwrap();
    }
    let policy = POLICY.replace("\"mail/*\"", "\"mail/*\", \"search_*\"");
    let policy = Policy::from_yaml("live.yaml", &policy).unwrap();
    let kernel = Kernel::builder().policy(policy).tools(tools.clone()).build().unwrap();
    tools.register_search(kernel.sight()).unwrap();

    let agent = kernel.spawn(AgentSpec::new("a")).unwrap();
    let found = agent.exec("search_tools", json!({"query": "list mail"})).await.unwrap();
    let names: Vec<&str> =
        found.as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["mail/list"]);
    assert_eq!(agent.exec("bank/list", json!({})).await.unwrap_err().code(), "AK0102");
    let sight = kernel.sight();
    let contract = tools.get(&"mail/list".parse().unwrap()).unwrap();
    assert!(!sight(&"nobody".parse().unwrap(), &contract), "nobody sees nothing");
}

#[tokio::test]
async fn a_refusal_names_no_tool_that_is_hidden_from_the_agent() {
    let tools = Registry::builder().build();
    let kernel = kernel(&tools);
    for name in ["mail/list", "vault/open", "safe/open"] {
        tools.register(|tools| describe(tools, name, "Does something.")).unwrap();
        let name: ToolId = name.parse().unwrap();
        tools.approve(&name, digest(&tools, &name), "ada").unwrap();
    }
    let agent = kernel.spawn(AgentSpec::new("a")).unwrap();
    let told = async |name: &str| agent.exec(name, json!({})).await.unwrap_err().to_string();

    assert!(told("mail/lst").await.contains("mail/list"));
    for name in ["vault/opn", "open", "list/open"] {
        let told = told(name).await;
        assert!(!told.contains("vault/open") && !told.contains("safe/open"), "{told}");
    }
}

#[tokio::test]
async fn a_refusal_tells_nothing_of_a_tool_that_is_hidden_from_the_agent() {
    let tools = Registry::builder().build();
    let kernel = kernel(&tools);
    for name in ["mail/list", "vault/open", "vault/shut", "vault/gone", "vault/new"] {
        tools.register(|tools| describe(tools, name, "Does something.")).unwrap();
        let name: ToolId = name.parse().unwrap();
        let digest = digest(&tools, &name);
        match name.as_str() {
            "vault/new" => {}
            "vault/shut" => tools.quarantine(&name, digest, "odd", "ada").unwrap(),
            "vault/gone" => tools.revoke(&name, digest, "ada").unwrap(),
            _ => tools.approve(&name, digest, "ada").unwrap(),
        }
    }
    let agent = kernel.spawn(AgentSpec::new("a")).unwrap();
    let told = async |name: &str, arguments: Value| {
        let error = agent.exec(name, arguments).await.unwrap_err();
        (error.code(), error.to_string().replace(name, "NAME"))
    };

    let odd = json!({"no such": "argument"});
    let absent = told("vault/none", odd.clone()).await;
    for name in ["vault/open", "vault/shut", "vault/gone", "vault/new"] {
        assert_eq!(told(name, odd.clone()).await, absent, "{name}");
    }
    for name in ["vault/shut", "vault/gone", "vault/new"] {
        assert_eq!(told(name, json!({})).await, absent, "{name}");
    }
    // Of one that it sees, it is told what is wrong.
    assert_ne!(told("mail/list", odd).await, absent);
}
