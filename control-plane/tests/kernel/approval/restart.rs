//! Tickets that outlive the process, and what a crash can make of them.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use agent_control_plane::approval::{ApprovalStore, FileStore, Request, StoreError};
use agent_control_plane::{Kernel, Policy};

use super::*;

/// A process that another test is just starting may hold a copy of the lock for a moment.
fn open(folder: &Path) -> FileStore {
    for _ in 0..10_000 {
        if let Ok(store) = FileStore::open(folder) {
            return store;
        }
        std::thread::yield_now();
    }
    panic!("the folder stays locked")
}

fn stored(folder: &Path, policy: &str, before: Option<&Host>) -> Host {
    Host::asking(policy, approvals().store(open(folder)), before)
}

/// The process is gone: its kernel is dropped without a word, which lets go of the folder.
fn crash(host: Host, agents: Vec<AgentHandle>) -> Host {
    let (clock, runs) = (host.clock.clone(), Arc::clone(&host.runs));
    drop(agents);
    let kernel = Kernel::builder().policy(Policy::deny_all()).build().unwrap();
    drop(host);
    Host { kernel, clock, runs }
}

fn only_file(folder: &Path) -> std::path::PathBuf {
    let mut files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.find(|path| path.extension().is_some_and(|extension| extension == "ticket")).unwrap()
}

#[tokio::test]
async fn a_grant_outlives_the_process_and_is_used_once_in_all_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let first = stored(folder.path(), POLICY, None);
    let agent = returning(&first, "a");
    let ticket = held(&agent, "transfer", "ten").await;
    let host = crash(first, vec![agent]);

    let second = stored(folder.path(), POLICY, Some(&host));
    let agent = returning(&second, "a");
    assert_eq!(held(&agent, "transfer", "ten").await, ticket, "it still waits");
    second.kernel.approve(ticket, &principal("ann"), Scope::Once).unwrap();
    let host = crash(second, vec![agent]);

    let third = stored(folder.path(), POLICY, Some(&host));
    let agent = returning(&third, "a");
    assert!(agent.exec("transfer", json!({"text": "ten"})).await.is_ok());
    let host = crash(third, vec![agent]);

    let fourth = stored(folder.path(), POLICY, Some(&host));
    let agent = returning(&fourth, "a");
    assert_eq!(code(agent.resume(ticket, call("transfer", "ten")).await), "AK0207");
    assert_ne!(held(&agent, "transfer", "ten").await, ticket);
    assert_eq!(fourth.runs(), 1);
}

#[tokio::test]
async fn an_orderly_shutdown_keeps_tickets_and_a_kill_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let first = stored(folder.path(), POLICY, None);
    let (agent, other) = (returning(&first, "a"), returning(&first, "b"));
    let (kept, lost) = (held(&agent, "transfer", "ten").await, held(&other, "transfer", "ten").await);
    for ticket in [kept, lost] {
        first.kernel.approve(ticket, &principal("ann"), Scope::Once).unwrap();
    }
    first.kernel.signal(&id("b"), Signal::Kill, "enough").unwrap();
    first.kernel.shutdown(Duration::ZERO).await.unwrap();
    let host = crash(first, vec![agent, other]);

    let second = stored(folder.path(), POLICY, Some(&host));
    let (agent, other) = (returning(&second, "a"), returning(&second, "b"));
    assert_eq!(code(other.resume(lost, call("transfer", "ten")).await), "AK0204");
    assert!(agent.resume(kept, call("transfer", "ten")).await.is_ok());
    assert_eq!(second.runs(), 1);
}

#[tokio::test]
async fn another_policy_voids_a_grant_and_the_same_one_does_not() {
    let other = POLICY.replace("name: asks", "name: asks-again");
    let relaid = format!("# the same rules\n{POLICY}");
    for (policy, expected) in [(other, Some("AK0206")), (relaid, None)] {
        let folder = tempfile::tempdir().unwrap();
        let first = stored(folder.path(), POLICY, None);
        let agent = returning(&first, "a");
        let ticket = held(&agent, "transfer", "ten").await;
        first.kernel.approve(ticket, &principal("ann"), Scope::Once).unwrap();
        let host = crash(first, vec![agent]);
        let second = stored(folder.path(), &policy, Some(&host));
        let agent = returning(&second, "a");
        let resumed = agent.resume(ticket, call("transfer", "ten")).await;
        assert_eq!(resumed.err().map(|error| error.code()), expected);
    }
}

#[tokio::test]
async fn time_goes_on_while_no_process_runs_and_never_back() {
    let folder = tempfile::tempdir().unwrap();
    let first = stored(folder.path(), POLICY, None);
    first.clock.advance(Duration::from_secs(1000));
    let agent = returning(&first, "a");
    let ticket = held(&agent, "transfer", "ten").await;
    first.kernel.approve(ticket, &principal("ann"), Scope::Once).unwrap();
    drop((agent, first));

    // A clock that was set back by an hour buys no time: the ticket is good for what was left of it.
    let second = stored(folder.path(), POLICY, None);
    second.clock.advance(Duration::from_secs(299));
    let agent = returning(&second, "a");
    second.clock.advance(Duration::from_secs(1));
    assert_eq!(code(agent.resume(ticket, call("transfer", "ten")).await), "AK0203");
}

#[tokio::test]
async fn a_tasks_consent_ends_with_the_process_and_a_sessions_does_not() {
    for (scope, expected) in [(Scope::Task, Some("AK0206")), (Scope::Session, None)] {
        let folder = tempfile::tempdir().unwrap();
        let first = stored(folder.path(), POLICY, None);
        let agent = returning(&first, "a");
        let ticket = held(&agent, "soft", "x").await;
        first.kernel.approve(ticket, &principal("ann"), scope).unwrap();
        assert!(agent.resume(ticket, call("soft", "x")).await.is_ok());
        let host = crash(first, vec![agent]);
        let second = stored(folder.path(), POLICY, Some(&host));
        // Lives are numbered from the length of the record, which starts anew here.
        let _earlier = returning(&second, "earlier");
        let agent = returning(&second, "a");
        for _ in 0..2 {
            let resumed = agent.resume(ticket, call("soft", "x")).await;
            assert_eq!(resumed.err().map(|error| error.code()), expected);
        }
    }
}

#[tokio::test]
async fn a_file_cut_off_anywhere_or_changed_anywhere_lets_nothing_through() {
    let folder = tempfile::tempdir().unwrap();
    let first = stored(folder.path(), POLICY, None);
    let agent = returning(&first, "a");
    let ticket = held(&agent, "transfer", "ten").await;
    first.kernel.approve(ticket, &principal("ann"), Scope::Once).unwrap();
    drop(crash(first, vec![agent]));

    let path = only_file(folder.path());
    let whole = std::fs::read(&path).unwrap();
    let open = || open(folder.path()).load();
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(open().unwrap_err().to_string().contains("is damaged"), "{length} bytes");
        let mut changed = whole.clone();
        changed[length] ^= 1;
        std::fs::write(&path, &changed).unwrap();
        assert!(open().is_err(), "byte {length}");
    }
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(open().unwrap().len(), 1);
    std::fs::rename(&path, path.with_file_name(format!("{}.ticket", "0".repeat(32)))).unwrap();
    assert!(open().is_err(), "a file under another ticket's name");
}

/// What the disk holds after each step of writing a ticket anew, with the writing process killed right there.
#[tokio::test]
async fn a_crash_at_any_point_of_using_a_ticket_up_never_lets_it_through_twice() {
    let folder = tempfile::tempdir().unwrap();
    let host = stored(folder.path(), POLICY, None);
    let agent = returning(&host, "a");
    let ticket = held(&agent, "transfer", "ten").await;
    host.kernel.approve(ticket, &principal("ann"), Scope::Once).unwrap();
    let path = only_file(folder.path());
    let granted = std::fs::read(&path).unwrap();
    assert!(agent.exec("transfer", json!({"text": "ten"})).await.is_ok());
    let used = std::fs::read(&path).unwrap();
    drop(crash(host, vec![agent]));

    let unfinished = path.with_extension("unfinished");
    // Before the rename the effect has not begun, and the ticket may be used; after it, it may not.
    let lengths = [0, 1, used.len() / 2, used.len() - 1, used.len()];
    let before = lengths.into_iter().map(|length| (granted.as_slice(), Some(&used[..length]), 1));
    for (kept, beside, runs) in before.chain([(used.as_slice(), None, 0)]) {
        std::fs::write(&path, kept).unwrap();
        let _ = std::fs::remove_file(&unfinished);
        if let Some(beside) = beside {
            std::fs::write(&unfinished, beside).unwrap();
        }
        let host = stored(folder.path(), POLICY, None);
        assert!(!unfinished.exists());
        let agent = returning(&host, "a");
        for _ in 0..2 {
            let _ = agent.resume(ticket, call("transfer", "ten")).await;
        }
        assert_eq!(host.runs(), runs);
        drop(crash(host, vec![agent]));
    }
}

#[tokio::test]
async fn a_folder_has_one_owner() {
    let folder = tempfile::tempdir().unwrap();
    let _first = FileStore::open(folder.path()).unwrap();
    assert!(FileStore::open(folder.path()).is_err());
}

/// A store whose writes fail once told so.
#[derive(Clone, Debug, Default)]
struct Breakable(Arc<AtomicBool>);

impl ApprovalStore for Breakable {
    fn load(&self) -> Result<Vec<Request>, StoreError> {
        Ok(Vec::new())
    }

    fn save(&self, _: &Request) -> Result<(), StoreError> {
        if self.0.load(Ordering::SeqCst) { Err(StoreError::new("the disk is full")) } else { Ok(()) }
    }

    fn remove(&self, _: TicketId) -> Result<(), StoreError> {
        Ok(())
    }
}

#[tokio::test]
async fn nothing_is_asked_granted_or_done_on_a_ticket_that_cannot_be_kept() {
    let store = Breakable::default();
    let host = Host::asking(POLICY, approvals().store(store.clone()), None);
    let agent = returning(&host, "a");
    let (first, second) = (held(&agent, "transfer", "1").await, held(&agent, "transfer", "2").await);
    host.kernel.approve(second, &principal("ann"), Scope::Once).unwrap();

    store.0.store(true, Ordering::SeqCst);
    let error = host.kernel.approve(first, &principal("ann"), Scope::Once).unwrap_err();
    assert_eq!(error.code(), "AK0227", "{error}");
    assert_eq!(host.kernel.approval(first).unwrap().state(), TicketState::Revoked);
    assert_eq!(code(agent.resume(second, call("transfer", "2")).await), "AK0209");
    assert_eq!(code(agent.exec("transfer", json!({"text": "3"})).await), "AK0209");
    assert_eq!((host.runs(), host.kernel.agent(&id("a"))), (0, Some(AgentState::Ready)));

    store.0.store(false, Ordering::SeqCst);
    assert_eq!(code(agent.resume(second, call("transfer", "2")).await), "AK0207", "used up all the same");
}

/// The folder to keep tickets in, for the process that gets killed.
const FOLDER: &str = "AGENT_OS_TEST_KILLED_DESK";
const TELL: &str =
    "{version: 1, rules: [{id: tell, effect: ask, calls: [exec], tools: [tell], ask: {timeout: 7d}}]}";

#[test]
fn what_a_killed_process_did_on_a_ticket_no_other_does_again() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    if let Ok(folder) = std::env::var(FOLDER) {
        return runtime.block_on(use_tickets_until_killed(Path::new(&folder)));
    }
    for after in [1, 5, 20] {
        let folder = tempfile::tempdir().unwrap();
        let test = "approval::restart::what_a_killed_process_did_on_a_ticket_no_other_does_again";
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let effects = output.lines().map_while(Result::ok).filter(|line| line.contains("effect "));
        let seen: Vec<String> = effects.take(after).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(seen.len(), after);
        runtime.block_on(async {
            let kept = open(folder.path()).load().unwrap();
            let host = stored(folder.path(), TELL, None);
            let agent = returning(&host, "a");
            for request in kept {
                let text: String = request.what().chars().filter(char::is_ascii_digit).collect();
                // An agent that presents used tickets over and over goes in circles, and is stopped for it.
                host.kernel.signal(&id("a"), Signal::Cont, "go on").unwrap();
                let again = agent.resume(request.id(), call("tell", &text)).await;
                let done = seen.iter().any(|line| line.trim_end().ends_with(&format!("effect {text}")));
                assert!(!(done && again.is_ok()), "effect {text} a second time");
                host.kernel.signal(&id("a"), Signal::Cont, "go on").unwrap();
                assert!(agent.resume(request.id(), call("tell", &text)).await.is_err());
            }
        });
    }
}

/// Is held, granted and let through for ever; each tells about its effect on standard output, as it happens.
async fn use_tickets_until_killed(folder: &Path) {
    let host = stored(folder, TELL, None);
    let agent = returning(&host, "a");
    for number in 0u64.. {
        let text = number.to_string();
        let ticket = held(&agent, "tell", &text).await;
        host.kernel.approve(ticket, &principal("ann"), Scope::Once).unwrap();
        agent.resume(ticket, call("tell", &text)).await.unwrap();
    }
}
