//! The watcher, on real files and a clock that stands still unless it is told to move.
#![cfg(feature = "watch")]
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::sync::Arc;
use std::time::Duration;

use agent_control_plane::kernel::Widening;
use agent_control_plane::policy::PolicySet;
use agent_control_plane::primitives::ManualClock;
use agent_control_plane::watch::{PolicyWatcher, SETTLE};
use agent_control_plane::{Kernel, KernelState, Policy};

/// Real time the system may take to tell about a change.
const PATIENCE: Duration = Duration::from_secs(20);

fn text(name: &str) -> String {
    format!("version: 1\nname: {name}\nrules: []\n")
}

/// Waits for the next reload, moving the clock whenever the watcher waits for the files to come to rest.
async fn reloaded(watcher: &PolicyWatcher, clock: &ManualClock) {
    let moved = async {
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        loop {
            tick.tick().await;
            if 0 < clock.sleepers() {
                clock.advance(SETTLE);
            }
        }
    };
    let reload = async {
        tokio::select! {
            () = watcher.next_reload() => {}
            () = moved => {}
        }
    };
    tokio::time::timeout(PATIENCE, reload).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_on_disk_comes_into_force_and_a_broken_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.yaml");
    std::fs::write(&file, text("first")).unwrap();
    let clock = ManualClock::default();
    let kernel = Kernel::builder()
        .policy(PolicySet::load(&file).unwrap())
        .timer(Arc::new(clock.clone()))
        .build()
        .unwrap();
    let watcher = PolicyWatcher::watch(&kernel, &file, Widening::AtNextSpawn).unwrap();

    std::fs::write(&file, text("second")).unwrap();
    reloaded(&watcher, &clock).await;
    assert_eq!((kernel.policy().organisation().name(), kernel.generation()), ("second", 2));
    assert!(watcher.last_error().is_none());

    std::fs::write(&file, "version: 1\nrulez: []\n").unwrap();
    reloaded(&watcher, &clock).await;
    assert_eq!((kernel.policy().organisation().name(), kernel.generation()), ("second", 2));
    assert!(watcher.last_error().unwrap().to_string().contains("rulez"));
    assert_eq!(kernel.state(), KernelState::Degraded);
    assert!(kernel.impairments()[0].reason.contains("rulez"));
    assert_eq!(kernel.metrics().reload_failures, 1);

    // Written beside it and renamed over it, as editors do; what says the same is no new generation.
    let replace = |text: String| {
        let beside = folder.path().join(".policy.yaml.swp");
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(&beside, &file).unwrap();
    };
    replace(text("second"));
    reloaded(&watcher, &clock).await;
    assert_eq!((watcher.last_error().is_none(), kernel.generation()), (true, 2));
    assert_eq!(kernel.state(), KernelState::Running);
    replace(text("third"));
    reloaded(&watcher, &clock).await;
    assert_eq!((kernel.policy().organisation().name(), kernel.generation()), ("third", 3));
}

#[tokio::test]
async fn what_is_not_there_cannot_be_watched() {
    let kernel = Kernel::builder().policy(Policy::deny_all()).build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("no/such/policy.yaml");
    let error = PolicyWatcher::watch(&kernel, &missing, Widening::Force).unwrap_err();
    assert_eq!(error.code(), "AK0143");
}
