//! Programs that are stopped and killed, and would rather not be.

use std::time::Duration;

use agent_tool_registry::executor::{Held, Order};
use serde_json::json;

use crate::host::{Tool, pass, ticks, timer, until};

#[test]
fn s30_what_is_stopped_does_not_run_and_goes_on_as_if_nothing_had_been() {
    let tool = Tool::new();
    let run = tool.watched(async |executions| {
        let call = tool.call(&["work", "300"], json!({}), executions);
        let stop_and_go = async {
            until("it computes", || tool.pids().iter().any(|pid| 2 < ticks(&[*pid]))).await;
            executions.order(Order::Stop);
            let ordered = timer().monotonic();
            assert_eq!(executions.held().await, [Held::Hard]);
            let took = timer().monotonic().since(ordered);
            assert!(took < Duration::from_millis(50), "{took:?}");
            let (pids, before) = (tool.pids(), ticks(&tool.pids()));
            pass(Duration::from_millis(300)).await;
            assert_eq!(ticks(&pids), before);
            executions.order(Order::Continue);
            assert_eq!(executions.held().await, [Held::Running]);
            std::future::pending::<()>().await;
        };
        tokio::select! { run = call => run, () = stop_and_go => panic!() }
    });
    assert_eq!(run.value(), json!({"worked": 300}));
}

#[test]
fn s30_a_process_that_has_left_session_and_parent_is_stopped_as_well() {
    let tool = Tool::new();
    tool.watched(async |executions| {
        let call = tool.call(&["escape"], json!({}), executions);
        let stop_and_go = async {
            let computes = |pid: &u32| 2 < ticks(&[*pid]);
            until("it computes", || tool.pids().iter().any(computes)).await;
            for _ in 0..3 {
                executions.order(Order::Stop);
                assert_eq!(executions.held().await, [Held::Hard]);
                let (pids, before) = (tool.pids(), ticks(&tool.pids()));
                pass(Duration::from_millis(300)).await;
                assert_eq!(ticks(&pids), before);
                executions.order(Order::Continue);
                until("it goes on", || before < ticks(&pids)).await;
            }
        };
        tokio::select! { run = call => panic!("{run:?}"), () = stop_and_go => {} }
    });
}

#[test]
fn a_program_that_sleeps_while_it_is_stopped_wakes_as_if_it_had_not_been() {
    let tool = Tool::new();
    let run = tool.watched(async |executions| {
        let call = tool.call(&["nap", "200"], json!({}), executions);
        let stop_and_go = async {
            until("it runs", || tool.processes() == 1).await;
            for _ in 0..5 {
                executions.order(Order::Stop);
                assert_eq!(executions.held().await, [Held::Hard]);
                executions.order(Order::Continue);
            }
            std::future::pending::<()>().await;
        };
        tokio::select! { run = call => run, () = stop_and_go => panic!() }
    });
    assert_eq!(run.value(), json!({"napped": 0}));
}

#[test]
fn s31_what_is_stopped_can_be_killed() {
    let tool = Tool::new();
    for mode in ["spin", "stubborn", "escape", "bomb"] {
        let (run, took) = tool.watched(async |executions| {
            let call = tool.call(&[mode], json!({}), executions);
            let kill = async {
                until("it runs", || 0 < tool.processes()).await;
                executions.order(Order::Stop);
                assert_eq!(executions.held().await, [Held::Hard], "{mode}");
                executions.order(Order::Kill);
                timer().monotonic()
            };
            let (run, killed) = tokio::join!(call, kill);
            (run, timer().monotonic().since(killed))
        });
        assert_eq!(run.code(), "AK0541", "{mode}: {run:?}");
        assert!(took < Duration::from_millis(500), "{mode}: {took:?}");
    }
}

#[test]
fn s32_whoever_does_not_end_when_asked_is_ended() {
    let tool = Tool::new();
    let grace = Duration::from_millis(200);
    let (run, took) = tool.watched(async |executions| {
        let call = tool.call(&["stubborn"], json!({}), executions);
        let end = async {
            until("it runs", || tool.processes() == 1).await;
            // A moment to have forgotten its signals.
            pass(Duration::from_millis(50)).await;
            executions.order(Order::Terminate);
            pass(grace).await;
            assert_eq!(tool.processes(), 1, "it ignores what it was asked");
            executions.order(Order::Kill);
            timer().monotonic()
        };
        let (run, killed) = tokio::join!(call, end);
        (run, timer().monotonic().since(killed))
    });
    assert_eq!(run.code(), "AK0541", "{run:?}");
    assert!(took < Duration::from_millis(500), "{took:?}");
}

#[test]
fn whoever_ends_when_asked_need_not_be_killed() {
    let tool = Tool::new();
    let run = tool.watched(async |executions| {
        let call = tool.call(&["sleep"], json!({}), executions);
        let end = async {
            until("it runs", || tool.processes() == 1).await;
            executions.order(Order::Terminate);
        };
        tokio::join!(call, end).0
    });
    assert_eq!(run.code(), "AK0541", "{run:?}");
}

#[test]
fn a_program_that_stops_itself_ends_at_its_deadline() {
    let tool = Tool::new().limits(|limits| limits.deadline = Duration::from_millis(500));
    // SIGSTOP to everybody in its group.
    let run = tool.run(&["sys", &format!("{},0,{}", libc::SYS_kill, libc::SIGSTOP)]);
    assert_eq!(run.code(), "AK0520", "{run:?}");
}

#[test]
fn nothing_is_inherited_of_the_hosts_signals() {
    assert_eq!(Tool::new().run(&["signals"]).value(), json!([0, 0, 0]));
}
