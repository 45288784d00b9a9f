//! The states of a kernel: what a shutdown comes to, and what makes a kernel panic.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use agent_control_plane::approval::{ApprovalStore, Request, StoreError, TicketId};
use agent_control_plane::emk::Checkpoint;
use agent_control_plane::emk::WhenFull;
use agent_control_plane::emk::anchor::{Anchor, AnchorError};
use agent_control_plane::emk::store::{Batch, LedgerReader, LedgerStore};
use agent_control_plane::emk::{Ledger, LedgerError, LedgerId, LedgerOptions, MemoryLimits, MemoryStore};
use agent_control_plane::kernel::{Counted, Part};
use agent_control_plane::primitives::{ManualClock, Signal};
use agent_control_plane::question::CallKind;
use agent_control_plane::recorder::{LEDGER_NAME, Sealing};
use agent_control_plane::{
    AgentSpec, Approvals, CallError, ExitStatus, FlightRecorder, Kernel, KernelState, Policy,
};
use serde_json::json;

use crate::host::{self, Host};

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// A store in memory that fails from the moment it is told to.
pub(crate) struct Faulty {
    store: MemoryStore,
    broken: Arc<AtomicBool>,
}

impl LedgerStore for Faulty {
    fn ledger(&self) -> &LedgerId {
        self.store.ledger()
    }

    fn head(&self) -> agent_control_plane::recorder::Head {
        self.store.head()
    }

    fn append(&mut self, batch: &Batch<'_>) -> Result<(), LedgerError> {
        if self.broken.load(Ordering::SeqCst) {
            let (path, error) = (std::path::Path::new("test"), std::io::Error::other("no such device"));
            return Err(LedgerError::io("write", path, error));
        }
        self.store.append(batch)
    }

    fn sync(&mut self) -> Result<(), LedgerError> {
        Ok(())
    }

    fn is_immediate(&self) -> bool {
        true
    }

    fn reader(&self) -> Arc<dyn LedgerReader> {
        self.store.reader()
    }
}

/// A recorder and what breaks it.
pub(crate) fn faulty() -> (FlightRecorder, Arc<AtomicBool>) {
    let broken = Arc::new(AtomicBool::new(false));
    let store = MemoryStore::new(LedgerId::new(LEDGER_NAME).unwrap(), MemoryLimits::default());
    let ledger = Ledger::open(Faulty { store, broken: Arc::clone(&broken) }, LedgerOptions::default());
    (FlightRecorder::on(ledger.unwrap()), broken)
}

#[test]
fn a_shutdown_tells_what_became_of_whom_and_what_is_on_record() {
    let host = Host::new();
    let kernel = &host.kernel;
    let leaves = kernel.spawn(AgentSpec::new("leaves")).unwrap();
    let violates = kernel.spawn(AgentSpec::new("violates")).unwrap();
    let hangs = kernel.spawn(AgentSpec::new("hangs")).unwrap();
    let mut call = pin!(hangs.exec("hang", json!({})));
    assert!(poll(call.as_mut()).is_pending());
    let before = kernel.recorder().head().count;

    let mut down = pin!(kernel.shutdown(Duration::from_secs(5)));
    assert!(poll(down.as_mut()).is_pending());
    assert!(matches!(poll(pin!(leaves.exit(0, "done"))), Poll::Ready(Ok(_))));
    kernel.signal(violates.id(), Signal::Policy, "test").unwrap();
    assert!(poll(down.as_mut()).is_pending(), "one is left");
    assert_eq!(kernel.shutdown_report(), None);
    host.clock.advance(Duration::from_secs(5));
    let Poll::Ready(Ok(report)) = poll(down.as_mut()) else { panic!("the grace period is over") };

    assert_eq!((report.ended, report.signalled, report.killed), (1, 1, 1), "{report:?}");
    assert_eq!(report.cancelled, 1);
    assert!(matches!(
        poll(call.as_mut()),
        Poll::Ready(Err(CallError::Dead(_) | CallError::KernelDown { .. }))
    ));
    assert_eq!(report.head, kernel.recorder().head());
    assert_eq!(report.records, report.head.count - before);
    let events: Vec<_> =
        kernel.recorder().events(before).map(|event| event.unwrap().to_json().unwrap()).collect();
    assert_eq!(events.len() as u64, report.records);
    assert_eq!(events.last().unwrap()["kind"], "shutdown");
    assert_eq!(events.iter().filter(|event| event["outcome"] == "cancelled").count(), 1);
    assert_eq!((report.unflushed.clone(), report.took), (None, Duration::from_secs(5)));
    assert_eq!(kernel.shutdown_report(), Some(report));
}

#[tokio::test]
async fn a_second_shutdown_returns_the_same_report_and_adds_nothing() {
    let host = Host::new();
    let _agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    let first = host.kernel.shutdown(Duration::ZERO).await.unwrap();
    host.clock.advance(Duration::from_secs(60));
    assert_eq!(host.kernel.shutdown(Duration::from_secs(9)).await.unwrap(), first);
    assert_eq!(host.kernel.recorder().head(), first.head);
}

#[test]
fn a_shutdown_that_is_given_up_is_finished_by_the_next() {
    let host = Host::new();
    let _agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    {
        let mut given_up = pin!(host.kernel.shutdown(Duration::from_secs(5)));
        assert!(poll(given_up.as_mut()).is_pending());
    }
    host.clock.advance(Duration::from_secs(2));
    let Poll::Ready(Ok(report)) = poll(pin!(host.kernel.shutdown(Duration::ZERO))) else { panic!() };
    assert_eq!((report.killed, report.took), (1, Duration::from_secs(2)));
}

#[test]
fn a_record_that_cannot_be_finished_is_an_error_that_keeps_the_report() {
    let (recorder, broken) = faulty();
    let host = Host::with(host::POLICY, recorder);
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    broken.store(true, Ordering::SeqCst);
    let Poll::Ready(Err(CallError::KernelDown { reason })) = poll(pin!(host.kernel.shutdown(Duration::ZERO)))
    else {
        panic!("the record is not whole");
    };
    assert!(reason.contains("no such device"), "{reason}");
    assert!(matches!(host.kernel.state(), KernelState::Panicked(_)), "the first SIGTERM found it out");
    assert!(matches!(poll(pin!(agent.exec("echo", json!({})))), Poll::Ready(Err(_))));
    let report = host.kernel.shutdown_report().unwrap();
    assert!(report.unflushed.is_some_and(|why| why.contains("no such device")));
    assert_eq!(host.runs(), 0);
}

#[test]
fn a_recorder_that_fails_closes_every_gate_before_anything_else() {
    let (recorder, broken) = faulty();
    let host = Host::with(host::POLICY, recorder);
    let kernel = &host.kernel;
    let hangs = kernel.spawn(AgentSpec::new("hangs")).unwrap();
    let other = kernel.spawn(AgentSpec::new("other")).unwrap();
    let mut call = pin!(hangs.exec("hang", json!({})));
    assert!(poll(call.as_mut()).is_pending());
    broken.store(true, Ordering::SeqCst);
    let Poll::Ready(Err(CallError::KernelDown { .. })) = poll(pin!(other.exec("echo", json!({})))) else {
        panic!("what cannot be recorded is not done");
    };
    let KernelState::Panicked(reason) = kernel.state() else { panic!("a promise cannot be kept") };
    assert!(reason.contains("the recorder failed"), "{reason}");
    for agent in [&hangs, &other] {
        let status = poll(pin!(kernel.wait(agent.id())));
        let Poll::Ready(Some(ExitStatus::Signaled { signal: Signal::Kill, reason })) = status else {
            panic!("{status:?}");
        };
        assert!(reason.contains("the recorder failed"), "{reason}");
    }
    assert!(matches!(poll(call.as_mut()), Poll::Ready(Err(_))));
    assert_eq!(host.runs(), 1, "the hanging tool is the only one that ran");
}

#[test]
fn a_kernel_that_is_booting_is_prepared_and_takes_no_call() {
    let policy = Policy::from_yaml("test.yaml", host::POLICY).unwrap();
    let runs = Arc::default();
    let kernel = Kernel::builder().policy(policy).tools(host::tools(&runs)).booting().build().unwrap();
    assert_eq!(kernel.state(), KernelState::Booting);
    let agent = kernel.spawn(AgentSpec::new("a")).unwrap();
    kernel.reload(kernel.policy(), agent_control_plane::kernel::Widening::Force).unwrap();
    let call = || poll(pin!(agent.exec("echo", json!({"text": "x"}))));
    assert!(matches!(call(), Poll::Ready(Err(CallError::KernelDown { .. }))));
    kernel.ready().unwrap();
    assert_eq!(kernel.state(), KernelState::Running);
    assert!(matches!(call(), Poll::Ready(Ok(_))));
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

/// What of the record tells that something is impaired.
fn health(kernel: &Kernel) -> Vec<String> {
    let events = kernel.recorder().events(0).map(|event| event.unwrap().to_json().unwrap());
    let of_health = events.filter(|event| event["kind"] == "impaired" || event["kind"] == "mended");
    of_health
        .map(|event| format!("{} {}", event["kind"].as_str().unwrap(), event["part"].as_str().unwrap()))
        .collect()
}

#[test]
fn a_record_that_begins_to_forget_degrades_the_kernel_for_good() {
    let limits = MemoryLimits { records: 20, bytes: 1 << 20, when_full: WhenFull::DropOldest };
    let store = MemoryStore::new(LedgerId::new(LEDGER_NAME).unwrap(), limits);
    let recorder = FlightRecorder::on(Ledger::open(store, LedgerOptions::default()).unwrap());
    let host = Host::with(host::POLICY, recorder);
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    assert_eq!(host.kernel.state(), KernelState::Running);
    for _ in 0..20 {
        assert!(matches!(poll(pin!(agent.exec("echo", json!({"text": "x"})))), Poll::Ready(Ok(_))));
    }
    assert_eq!(host.kernel.state(), KernelState::Degraded);
    assert_eq!(host.kernel.impairments()[0].part, Part::Record);
    assert_eq!(health(&host.kernel), ["impaired record"]);
    assert!(matches!(poll(pin!(agent.exec("echo", json!({"text": "x"})))), Poll::Ready(Ok(_))), "it goes on");
}

/// A store of approvals that can be written only sometimes.
#[derive(Clone, Debug, Default)]
struct Moody(Arc<AtomicBool>);

impl ApprovalStore for Moody {
    fn load(&self) -> Result<Vec<Request>, StoreError> {
        Ok(Vec::new())
    }

    fn save(&self, _request: &Request) -> Result<(), StoreError> {
        if self.0.load(Ordering::SeqCst) { Err(StoreError::new("the disk is full")) } else { Ok(()) }
    }

    fn remove(&self, _ticket: TicketId) -> Result<(), StoreError> {
        Ok(())
    }
}

#[tokio::test]
async fn approvals_that_cannot_be_kept_degrade_the_kernel_until_they_can() {
    let store = Moody::default();
    let host = Host::asking(host::POLICY, Approvals::new().store(store.clone()), None);
    let agent =
        host.kernel.spawn(AgentSpec::new("a").on_ask(agent_control_plane::kernel::OnAsk::Return)).unwrap();
    store.0.store(true, Ordering::SeqCst);
    let error = agent.exec("transfer", json!({"text": "1"})).await.unwrap_err();
    assert!(matches!(error, CallError::Denied(_)), "{error}");
    assert_eq!(host.kernel.state(), KernelState::Degraded);
    let impaired = &host.kernel.impairments()[0];
    assert_eq!((impaired.part, impaired.reason.contains("the disk is full")), (Part::Approvals, true));
    store.0.store(false, Ordering::SeqCst);
    let error = agent.exec("transfer", json!({"text": "2"})).await.unwrap_err();
    assert!(matches!(error, CallError::Held { .. }), "{error}");
    assert_eq!((host.kernel.state(), host.kernel.impairments()), (KernelState::Running, Vec::new()));
    assert_eq!(health(&host.kernel), ["impaired approvals", "mended approvals"]);
}

#[tokio::test]
async fn a_record_that_does_not_hold_panics_the_kernel() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::with(host::POLICY, FlightRecorder::open(folder.path()).unwrap());
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    agent.exec("echo", json!({"text": "x"})).await.unwrap();
    host.kernel.recorder().flush().unwrap();
    assert!(host.kernel.verify_record(|_| {}).is_ok());
    let segment = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.metadata().unwrap().len() > 100)
        .unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    assert!(host.kernel.verify_record(|_| {}).is_err());
    let KernelState::Panicked(reason) = host.kernel.state() else { panic!("it went on") };
    assert!(reason.contains("does not hold"), "{reason}");
    assert!(agent.exec("echo", json!({"text": "x"})).await.is_err());
    assert_eq!(host.runs(), 1);
}

#[test]
fn the_metrics_are_what_the_record_says() {
    let host = Host::new();
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    let exec = |tool: &str| poll(pin!(agent.exec(tool, json!({"text": "x"})))).is_ready();
    assert!(exec("echo") && exec("echo") && exec("soft") && exec("soft") && exec("missing") && exec("panic"));
    let mut hangs = pin!(agent.exec("hang", json!({})));
    assert!(poll(hangs.as_mut()).is_pending());
    let metrics = host.kernel.metrics();
    let exec = |counted, count| (CallKind::Exec, counted, count);
    assert_eq!(metrics.calls, [exec(Counted::Allow, 4), exec(Counted::Deny, 2), exec(Counted::Invalid, 1)]);
    // A tool's panic is the tool's fault.
    assert_eq!((metrics.denials(), metrics.bugs, metrics.in_flight, metrics.agents.running), (2, 0, 1, 1));
    assert_eq!((metrics.head, metrics.policy_generation), (host.kernel.recorder().head(), 1));
    assert!(metrics.record_bytes > 0);
    host.kernel.signal(agent.id(), Signal::Kill, "test").unwrap();
    let metrics = host.kernel.metrics();
    assert_eq!(metrics.signals, [(Signal::Kill, 1)]);
    assert_eq!((metrics.in_flight, metrics.agents.running), (0, 0));
    assert_eq!(metrics.to_json()["calls"][0], json!({"syscall": "exec", "verdict": "allow", "count": 4}));
}

/// An anchor that fails for as long as it is told to.
struct Shaky(Arc<AtomicBool>);

impl Anchor for Shaky {
    fn name(&self) -> &str {
        "shaky"
    }

    fn keep(&mut self, _: &Checkpoint) -> Result<(), AnchorError> {
        if self.0.load(Ordering::SeqCst) {
            Err(AnchorError::Failed("the line is down".to_owned()))
        } else {
            Ok(())
        }
    }
}

#[tokio::test]
async fn an_anchor_that_fails_degrades_the_kernel_until_it_has_caught_up() {
    let folder = tempfile::tempdir().unwrap();
    let down = Arc::new(AtomicBool::new(true));
    let sealing = Sealing::new(Arc::new(ManualClock::default())).anchor(Shaky(Arc::clone(&down))).unwrap();
    let recorder = FlightRecorder::open_sealed(folder.path(), sealing).unwrap();
    let kernel = Kernel::builder().policy(Policy::deny_all()).recorder(recorder).build().unwrap();
    assert_eq!(kernel.state(), KernelState::Running);
    kernel.recorder().seal().unwrap();
    assert_eq!(kernel.state(), KernelState::Degraded);
    let impaired = kernel.impairments();
    assert_eq!((impaired[0].part, impaired[0].reason.contains("the line is down")), (Part::Anchors, true));
    down.store(false, Ordering::SeqCst);
    kernel.recorder().seal().unwrap();
    assert_eq!(kernel.state(), KernelState::Running);
    kernel.shutdown(Duration::ZERO).await.unwrap();
    let seals = kernel.recorder().seals().unwrap();
    let sealed = seals.checkpoint.unwrap().size;
    assert_eq!(sealed + 1, kernel.recorder().head().count, "a shutdown seals what was recorded");
}
