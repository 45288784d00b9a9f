//! What a thousand cancelled calls leave behind: nothing. It counts what the whole process has, so it is alone in it.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use agent_primitives::AgentId;
use agent_tool_registry::{
    Answer, CallContext, Command, Invoker, Level, MemoryAudit, Registry, SandboxPolicy, TokioTimer, ToolError,
};
use serde_json::{Value, json};

type Running = Pin<Box<dyn Future<Output = Result<Answer, ToolError>>>>;

fn any_object() -> Value {
    json!({"type": "object", "additionalProperties": true})
}

#[test]
fn a_thousand_cancelled_calls_leave_nothing_behind() {
    let mut tools = Registry::builder();
    tools
        .tool("program")
        .description("Hangs.")
        .isolation(SandboxPolicy::at_least(Level::Child))
        .command(any_object(), Command::new("/bin/sleep").arg("60"))
        .unwrap();
    let hang = |_: CallContext, _: Value| async {
        pending::<()>().await;
        Ok(())
    };
    tools.tool("function").description("Hangs.").run_raw(any_object(), hang).unwrap();
    let invoker = Invoker::permissive(tools.build(), Arc::new(TokioTimer::new()), MemoryAudit::new(1));
    let caller: AgentId = "a".parse().unwrap();
    let count = |of: &str| std::fs::read_dir(of).unwrap().count();
    // Of every thread; one that ends meanwhile has none.
    let children = || {
        let of = |task: std::fs::DirEntry| {
            std::fs::read_to_string(task.path().join("children")).unwrap_or_default()
        };
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        tasks.map(|task| of(task.unwrap()).split_whitespace().count()).sum::<usize>()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let cancel = async |tool: &str| {
            let mut call: Running = Box::pin(invoker.invoke(caller.clone(), tool, b"{}"));
            assert!(poll_once(&mut call).await.is_pending());
            while tool == "program" && children() == 0 {
                assert!(poll_once(&mut call).await.is_pending());
                tokio::task::yield_now().await;
            }
            drop(call);
            while children() != 0 {
                tokio::task::yield_now().await;
            }
        };
        cancel("program").await;
        let before = (count("/proc/self/fd"), count("/proc/self/task"));
        for number in 0..1000 {
            cancel(if number % 20 == 0 { "program" } else { "function" }).await;
        }
        assert_eq!((count("/proc/self/fd"), count("/proc/self/task")), before);
    });
    let counted = invoker.metrics().to_prometheus();
    assert!(counted.contains("atr_calls_total{tool=\"function\",outcome=\"failed\"} 950"), "{counted}");
}

/// Polls once, on behalf of the task.
async fn poll_once(call: &mut Running) -> Poll<Result<Answer, ToolError>> {
    std::future::poll_fn(|task| Poll::Ready(call.as_mut().poll(task))).await
}
