//! Orders, and what happens when nobody waits any more.

use std::time::Duration;

use agent_tool_registry::executor::{Cause, Held, Order, Session};
use agent_tool_registry::{Executor, Level, Limits};
use tokio::io::AsyncReadExt;

use crate::{World, block_on, pause_for, processes, ticks, timed};

const SOON: Duration = Duration::from_secs(5);

async fn ready(session: &mut Session) {
    let mut word = [0; 6];
    session.stdout.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"ready\n");
}

#[test]
fn s30_a_stop_holds_for_the_whole_family_and_continue_undoes_it() {
    block_on(async {
        let world = World::new("s30").await;
        let mut session = world.start(&["/bin/probe", "family"]).await;
        assert_eq!(session.control.level(), Level::Container);
        ready(&mut session).await;
        let id = world.containers().await.remove(0);
        world.executions.order(Order::Stop);
        let (took, held) = timed(world.executions.held()).await;
        assert_eq!(held, [Held::Hard]);
        assert!(took < Duration::from_secs(3), "{took:?}");
        let before = ticks(&id);
        pause_for(Duration::from_millis(300)).await;
        assert_eq!(ticks(&id), before);
        world.executions.order(Order::Continue);
        assert_eq!(world.executions.held().await, [Held::Running]);
        pause_for(Duration::from_millis(300)).await;
        assert!(before < ticks(&id));
        session.control.order(Order::Kill);
        assert_eq!(session.control.held().await, Held::Dead);
        assert_eq!(session.exit.await.cause, Cause::Killed);
        world.gone_within(SOON, &[id]).await;
    });
}

#[test]
fn s31_a_kill_reaches_what_is_stopped_and_nothing_undoes_it() {
    block_on(async {
        let world = World::new("s31").await;
        let mut session = world.start(&["/bin/probe", "family"]).await;
        ready(&mut session).await;
        let id = world.containers().await.remove(0);
        world.executions.order(Order::Stop);
        world.executions.held().await;
        let (took, held) = timed(async {
            world.executions.order(Order::Kill);
            session.control.order(Order::Continue);
            session.control.held().await
        })
        .await;
        assert_eq!(held, Held::Dead);
        assert!(took < SOON, "{took:?}");
        assert_eq!(processes(&id), [] as [&str; 0]);
        assert_eq!(session.exit.await.cause, Cause::Killed);
        world.gone_within(SOON, &[id]).await;
        // What is killed starts nothing more.
        let refused = world.docker.start(world.launch(&["/bin/echo"], Limits::DEFAULT)).await;
        assert_eq!(refused.unwrap_err().code(), "AK0541");
    });
}

#[test]
fn a_program_may_end_itself_when_asked_and_is_killed_if_it_does_not() {
    block_on(async {
        let world = World::new("terminate").await;
        let script = "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.1; done";
        let mut session = world.start(&["/bin/sh", "-c", script]).await;
        ready(&mut session).await;
        session.control.order(Order::Terminate);
        let mut last = String::new();
        session.stdout.read_to_string(&mut last).await.unwrap();
        assert_eq!((session.exit.await.cause, last.as_str()), (Cause::Code(7), "bye\n"));

        let session = world.start(&["/bin/sleep", "1000"]).await;
        session.control.order(Order::Terminate);
        assert_eq!(session.exit.await.cause, Cause::Killed);

        let mut session = world.start(&["/bin/probe", "stubborn"]).await;
        ready(&mut session).await;
        session.control.order(Order::Terminate);
        assert_eq!(session.control.held().await, Held::Running);
        session.control.order(Order::Kill);
        assert_eq!(session.exit.await.cause, Cause::Killed);
        world.assert_nothing_left().await;
    });
}

#[test]
fn what_is_stopped_before_it_starts_waits_and_what_is_killed_does_not_start() {
    block_on(async {
        let world = World::new("early").await;
        world.executions.order(Order::Stop);
        let launch = world.launch(&["/bin/echo", "1"], Limits::DEFAULT);
        let docker = world.docker.clone();
        let call = tokio::spawn(async move { docker.call(launch, bytes::Bytes::new()).await.result });
        pause_for(Duration::from_millis(300)).await;
        assert!(!call.is_finished());
        assert!(world.containers().await.is_empty());
        world.executions.order(Order::Continue);
        assert_eq!(call.await.unwrap().unwrap().into_value(), 1);

        // Orders that arrive while the container is being made: whatever they hit, it ends killed, and nothing is left.
        for moment in [0, 5, 20, 60, 120, 200] {
            let launch = world.launch(&["/bin/sleep", "1000"], Limits::DEFAULT);
            let executions =
                agent_tool_registry::executor::Executions::new(std::sync::Arc::clone(&launch.timer));
            let launch = agent_tool_registry::executor::Launch { executions: executions.clone(), ..launch };
            let docker = world.docker.clone();
            let call = tokio::spawn(async move { docker.call(launch, bytes::Bytes::new()).await.result });
            pause_for(Duration::from_millis(moment)).await;
            executions.order(Order::Stop);
            executions.order(Order::Kill);
            assert_eq!(call.await.unwrap().unwrap_err().code(), "AK0541", "{moment}");
            world.gone_within(SOON, &[]).await;
        }
    });
}

#[test]
fn what_nobody_waits_for_is_gone_soon_wherever_it_was_dropped() {
    block_on(async {
        let world = World::new("dropped").await;
        // While it starts, at several moments.
        for moment in [0, 5, 20, 60, 120, 200, 400] {
            let launch = world.launch(&["/bin/probe", "family"], Limits::DEFAULT);
            let docker = world.docker.clone();
            let start = tokio::spawn(async move { docker.start(launch).await.map(drop) });
            pause_for(Duration::from_millis(moment)).await;
            start.abort();
            let _ = start.await;
        }
        world.gone_within(SOON, &[]).await;
        // While it runs.
        let session = world.start(&["/bin/probe", "family"]).await;
        let id = world.containers().await.remove(0);
        assert!(!processes(&id).is_empty());
        drop(session);
        world.gone_within(SOON, &[id]).await;
        // Once its exit is dropped.
        let session = world.start(&["/bin/probe", "family"]).await;
        let id = world.containers().await.remove(0);
        let Session { exit, control, .. } = session;
        drop(exit);
        assert_eq!(control.held().await, Held::Dead);
        world.gone_within(SOON, &[id]).await;
    });
}

#[test]
fn the_runtime_of_the_caller_is_not_needed_to_remove_anything() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (world, session) = runtime.block_on(async {
        let world = World::new("runtime").await;
        let session = world.start(&["/bin/probe", "family"]).await;
        (world, session)
    });
    let docker = world.docker.clone();
    drop(runtime);
    // No runtime is there now.
    drop(session);
    block_on(async {
        docker.idle().await;
        let world = World { raw: World::new("runtime").await.raw, ..world };
        world.assert_nothing_left().await;
        drop(docker);
        // The same connection serves another runtime.
        assert_eq!(world.shell("echo 1").await, "1\n");
    });
}
