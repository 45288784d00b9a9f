//! Every example leaves a recording that decides itself again.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::collections::BTreeSet;
use std::future::Future;
use std::path::Path;

use agent_control_plane::FlightRecorder;
use agent_control_plane::policy::simulate::Cause;
use agent_control_plane::recorder::{Body, Recording, Replay, replay_recorded};

macro_rules! examples {
    ($($name:ident: $path:literal),* $(,)?) => {
        $(
            #[path = $path]
            #[expect(dead_code, reason = "its `main` is for who runs it")]
            mod $name;
        )*
        const ALL: &[&str] = &[$(stringify!($name)),*];
    };
}

examples! {
    approval: "../approval.rs",
    budget: "../budget.rs",
    information_flow: "../information_flow.rs",
    live: "../live.rs",
    process_agent: "../process_agent.rs",
    quickstart: "../quickstart.rs",
    replay: "../replay.rs",
}

async fn replayed<F>(run: impl FnOnce(FlightRecorder) -> F) -> Replay
where
    F: Future<Output = Result<(), Box<dyn std::error::Error>>>,
{
    let folder = tempfile::tempdir().unwrap();
    let recorder = FlightRecorder::open(folder.path()).unwrap();
    run(recorder.clone()).await.unwrap();
    recorder.close().unwrap();
    let recording = Recording::open(folder.path()).unwrap();
    recording.verify(Some(recorder.head()), |_| {}).unwrap();
    replay_recorded(recording.events(0).unwrap()).unwrap()
}

/// The one that does not end by itself, until a human would have to answer.
async fn until_it_asks(recorder: FlightRecorder) -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("socket");
    let mut follow = recorder.follow(0);
    let asked = async {
        while let Some(stored) = follow.next().await {
            if matches!(stored?.event()?.body, Body::Held { .. }) {
                break;
            }
        }
        Ok(())
    };
    tokio::select! {
        ended = live::run(recorder.clone(), &socket) => ended,
        asked = asked => asked,
    }
}

#[tokio::test]
async fn every_decision_of_every_example_is_made_again_to_the_byte() {
    for (name, replay) in [
        ("approval", replayed(approval::run).await),
        ("budget", replayed(budget::run).await),
        ("information_flow", replayed(information_flow::run).await),
        ("live", replayed(until_it_asks).await),
        ("process_agent", replayed(process_agent::run).await),
        ("quickstart", replayed(quickstart::run).await),
    ] {
        assert!(replay.is_exact(), "{name}: {replay:#?}");
        assert!(0 < replay.decisions && replay.identical == replay.decisions, "{name}: {replay:#?}");
    }
    // One of its arguments was not to be kept.
    let replay = replayed(replay::run).await;
    assert_eq!((replay.changed.len(), replay.not_judged_by[&Cause::Redacted]), (0, 1), "{replay:#?}");
    assert_eq!(replay.identical + 1, replay.decisions);
}

#[test]
fn no_example_is_left_out() {
    let files = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    let files = files.map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let names: BTreeSet<String> =
        files.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(names, ALL.iter().map(|name| (*name).to_owned()).collect());
}
