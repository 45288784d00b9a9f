//! How humans hear of requests and how their answers come back.

use std::path::Path;

use agent_control_plane::approval::{
    Answering, Approver, ChannelApprover, FILE_INTERVAL, FileApprover, NOTIFY_DEADLINE, Request, Unreachable,
};

use super::*;

#[tokio::test]
async fn a_host_answers_what_comes_out_of_a_channel() {
    let (approver, mut requests) = ChannelApprover::new(4);
    let host = Host::asking(POLICY, approvals().approver(approver), None);
    let agent = waiting(&host, "a");
    let (yes, no) = (start(&agent, "transfer", "yes").await, start(&agent, "transfer", "no").await);
    for _ in 0..2 {
        let request = requests.next().await.unwrap();
        assert_eq!(request.state(), TicketState::Pending);
        if request.what().contains("yes") {
            host.kernel.approve(request.id(), &principal("ann"), Scope::Once).unwrap();
        } else {
            host.kernel.refuse(request.id(), &principal("ann"), "no").unwrap();
        }
    }
    assert!(yes.await.unwrap().is_ok());
    assert_eq!((code(no.await.unwrap()), host.runs()), ("AK0202", 1));
}

fn answer(folder: &Path, ticket: TicketId, name: &str, text: &str) {
    std::fs::write(folder.join("answer.unfinished"), text).unwrap();
    let to = folder.join(format!("{ticket}.{name}.answer.json"));
    std::fs::rename(folder.join("answer.unfinished"), to).unwrap();
}

/// Moves the clock until a call has ended: files are read on another thread, in real time.
async fn until_over(host: &Host, task: JoinHandle<Result<Value, CallError>>) -> Result<Value, CallError> {
    let mut task = task;
    for _ in 0..200 {
        host.clock.advance(FILE_INTERVAL);
        if let Ok(ended) = tokio::time::timeout(Duration::from_millis(10), &mut task).await {
            return ended.unwrap();
        }
    }
    panic!("the call did not end");
}

#[tokio::test]
async fn requests_and_answers_are_files_in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::asking(POLICY, approvals().approver(FileApprover::new(folder.path())), None);
    let agent = waiting(&host, "a");
    let task = start(&agent, "stops", "x").await;
    let ticket = host.kernel.approvals()[0].id();
    let request = folder.path().join(format!("{ticket}.request.json"));
    while !request.exists() {
        tokio::time::timeout(Duration::from_millis(5), std::future::pending::<()>()).await.unwrap_err();
    }
    let shown: Value = serde_json::from_slice(&std::fs::read(&request).unwrap()).unwrap();
    assert_eq!((&shown["agent"], &shown["what"]), (&json!("a"), &json!(r#"tool `stops` {"text":"x"}"#)));

    for (name, text) in [
        ("0", r#"{"by": "ann", "answer": "grant"}"#),
        ("1", r#"{"by": "a", "answer": "grant"}"#),
        ("2", r#"{"by": "bob", "answer": "grant", "approved": true}"#),
        ("3", r#"{"by": "bob", "answer": "yes"}"#),
        ("4", "granted"),
        ("5", r#"{"by": "bob", "answer": "grant", "scope": "once"}"#),
        ("6", r#"{"by": "bob", "answer": "grant", "scope": "once"}"#),
        ("7", r#"{"by": "cid", "answer": "grant"}"#),
    ] {
        answer(folder.path(), ticket, name, text);
    }
    assert!(until_over(&host, task).await.is_ok());
    let granted: Vec<String> = steps(&host)
        .into_iter()
        .filter(|(step, _)| *step == ApprovalStep::Granted)
        .map(|(_, by)| by)
        .collect();
    let mut by = granted;
    by.sort();
    assert_eq!((by, host.runs()), (vec!["bob".to_owned(), "cid".to_owned()], 1));

    let task = start(&agent, "soft", "x").await;
    let ticket = host.kernel.approvals()[0].id();
    answer(folder.path(), ticket, "0", r#"{"by": "ann", "answer": "refuse", "reason": "no"}"#);
    assert_eq!(code(until_over(&host, task).await), "AK0202");
    assert!(!request.exists(), "the first request is cleared away");
}

#[tokio::test]
async fn an_answer_in_a_file_is_found_when_its_ticket_is_presented() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::asking(POLICY, approvals().approver(FileApprover::new(folder.path())), None);
    let agent = returning(&host, "a");
    let ticket = held(&agent, "transfer", "x").await;
    assert!(folder.path().join(format!("{ticket}.request.json")).exists());
    answer(folder.path(), ticket, "0", r#"{"by": "ann", "answer": "grant"}"#);
    host.clock.advance(FILE_INTERVAL);
    assert!(agent.resume(ticket, call("transfer", "x")).await.is_ok());
}

#[tokio::test]
async fn humans_are_told_by_the_next_call_when_the_first_gave_up_before_they_were() {
    let (approver, mut requests) = ChannelApprover::new(1);
    let host = Host::asking(POLICY, approvals().approver(approver), None);
    let agent = waiting(&host, "a");
    let _fills_the_channel = start(&agent, "transfer", "first").await;
    let gives_up = start(&agent, "transfer", "second").await;
    gives_up.abort();
    settle().await;
    assert!(requests.next().await.unwrap().what().contains("first"));
    let again = start(&agent, "transfer", "second").await;
    let request = requests.next().await.unwrap();
    assert!(request.what().contains("second"));
    host.kernel.approve(request.id(), &principal("ann"), Scope::Once).unwrap();
    assert!(again.await.unwrap().is_ok());
}

/// Fails in one way or another.
#[derive(Debug)]
enum Broken {
    Refuses,
    Panics,
    Hangs,
}

impl Approver for Broken {
    fn notify<'a>(&'a self, _: &'a Request) -> Answering<'a, Result<(), Unreachable>> {
        match self {
            Self::Refuses => Box::pin(async { Err(Unreachable::new("nobody at home")) }),
            Self::Panics => panic!("an approver's own fault"),
            Self::Hangs => Box::pin(std::future::pending()),
        }
    }
}

#[tokio::test]
async fn a_call_nobody_can_be_told_of_is_refused_and_one_way_is_enough() {
    let broken = || approvals().approver(Broken::Refuses).approver(Broken::Panics).approver(Broken::Hangs);
    let host = Host::asking(POLICY, broken(), None);
    let agent = waiting(&host, "a");
    let task = start(&agent, "transfer", "x").await;
    host.clock.advance(NOTIFY_DEADLINE);
    assert_eq!(code(task.await.unwrap()), "AK0210");
    assert_eq!((host.kernel.approvals().len(), host.kernel.agent(&id("a"))), (0, Some(AgentState::Ready)));

    let (works, mut requests) = ChannelApprover::new(1);
    let host = Host::asking(POLICY, broken().approver(works), None);
    let agent = waiting(&host, "a");
    let task = start(&agent, "transfer", "x").await;
    host.clock.advance(NOTIFY_DEADLINE);
    let request = requests.next().await.unwrap();
    host.kernel.approve(request.id(), &principal("ann"), Scope::Once).unwrap();
    assert!(task.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_kernel_without_approvals_says_so() {
    let host = Host::with(POLICY, agent_control_plane::FlightRecorder::memory().unwrap());
    let agent = waiting(&host, "a");
    assert_eq!(code(agent.exec("transfer", json!({"text": "x"})).await), "AK0201");
    let forged = TicketId::from_bytes([7; 16]);
    assert_eq!(host.kernel.approve(forged, &principal("ann"), Scope::Once).unwrap_err().code(), "AK0220");
    assert!(host.kernel.approvals().is_empty() && host.kernel.approval(forged).is_none());
}
