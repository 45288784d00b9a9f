//! Tools that change while they are called.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use agent_primitives::ToolId;
use agent_tool_registry::{
    Invoker, MemoryAudit, Registry, RegistryBuilder, RegistryError, TokioTimer, ToolError,
};
use serde_json::{Value, json};

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A version of `t` that answers which one it is.
fn version(number: usize) -> impl FnOnce(&mut RegistryBuilder) -> Result<(), RegistryError> {
    move |tools| {
        let schema = json!({"type": "object", "title": number.to_string()});
        let tool = tools.tool("t").version(&format!("1.0.{number}")).description("Test.");
        tool.run_raw(schema, move |_, _: Value| async move { Ok(number) })
    }
}

#[test]
fn what_answers_is_the_version_on_record_while_versions_come_and_go() {
    let id: ToolId = "t".parse().unwrap();
    let registry = Registry::builder().build();
    let audit = MemoryAudit::new(100_000);
    let invoker = Invoker::permissive(registry.clone(), Arc::new(TokioTimer::new()), audit.clone());
    let over = AtomicBool::new(false);
    let answered = AtomicUsize::new(0);
    thread::scope(|scope| {
        for name in ["a", "b", "c"] {
            let (invoker, over, answered) = (&invoker, &over, &answered);
            scope.spawn(move || {
                while !over.load(Ordering::Acquire) {
                    let caller: agent_primitives::AgentId = name.parse().unwrap();
                    match block_on(invoker.invoke(caller, "t", b"{}")) {
                        Ok(_) => drop(answered.fetch_add(1, Ordering::Relaxed)),
                        Err(ToolError::NotFound { .. } | ToolError::Revoked { .. }) => {}
                        Err(other) => panic!("{other:?}"),
                    }
                }
            });
        }
        for number in 0..300 {
            registry.register(version(number)).unwrap();
            let newest = registry.get(&id).unwrap();
            // Of those that are revoked something stays, and there is room for so many only.
            match number % 9 {
                2 => registry.revoke(&id, newest.digest(), "ada").unwrap(),
                1 | 4 | 7 => {}
                _ => registry.unregister(&id, "ada").unwrap(),
            }
        }
        registry.register(version(1000)).unwrap();
        while answered.load(Ordering::Relaxed) < 50 {
            thread::yield_now();
        }
        over.store(true, Ordering::Release);
    });
    let records = audit.records();
    let mut answers = 0;
    for record in records.iter().filter(|record| record.error.is_none()) {
        let number: usize = record.version.as_deref().unwrap().rsplit('.').next().unwrap().parse().unwrap();
        let output = agent_tool_registry::Output::of(number, 64).unwrap();
        assert_eq!(record.result, Some(output.digest()), "{record:?}");
        answers += 1;
    }
    assert_eq!(answers, answered.load(Ordering::Relaxed));
}
