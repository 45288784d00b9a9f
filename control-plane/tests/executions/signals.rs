//! Signals to an agent, and its end, at the programs that are its tools.

use std::time::Duration;

use agent_control_plane::atr::executor::Held;
use agent_control_plane::kernel::{DEFAULT_GRACE, Raise};
use agent_control_plane::primitives::{Signal, SignalSet};
use agent_control_plane::{AgentHandle, AgentSpec, AgentState};
use serde_json::{Value, json};

use crate::place::{COUNTED, everywhere, in_shells};
use crate::world::{World, id, programs, real, until};

#[test]
fn s30_a_spinner_is_stopped_where_it_computes_and_comes_to_the_right_result() {
    everywhere(|place| async move {
        let world = World::new(&place);
        let (_agent, call) = world.running("a", "count").await;
        world.kernel.signal(&id("a"), Signal::Stop, "look").unwrap();
        world.comes_to("a", &[place.stopped]).await;
        world.nothing_runs(&place).await;
        assert!(!call.is_finished());
        world.kernel.signal(&id("a"), Signal::Cont, "go on").unwrap();
        assert_eq!(call.await.unwrap(), json!(COUNTED));
        world.nothing_is_left(&place).await;
    });
}

#[test]
fn s31_a_kill_reaches_a_tree_that_has_lost_its_parents_running_or_stopped() {
    everywhere(|place| async move {
        for stopped in [false, true] {
            let world = World::new(&place);
            let (_agent, call) = world.running("a", "family").await;
            until(|| place.family() <= world.alive()).await;
            if stopped {
                world.kernel.signal(&id("a"), Signal::Stop, "look").unwrap();
                world.settled("a").await;
                world.nothing_runs(&place).await;
            }
            world.kernel.kill(&id("a"), "enough").unwrap();
            world.kernel.wait(&id("a")).await.unwrap();
            world.nothing_is_left(&place).await;
            assert_eq!(call.await.unwrap(), "AK0902");
        }
    });
}

#[test]
fn s32_what_ignores_sigterm_is_dead_when_its_grace_is_over() {
    everywhere(|place| async move {
        let world = World::new(&place);
        let (_agent, call) = world.running("a", "deaf").await;
        world.kernel.signal(&id("a"), Signal::Term, "please").unwrap();
        // The clock stands still, for what is left of the grace is to be known.
        world.kernel.settled(&id("a")).await.unwrap();
        world.clock.advance(DEFAULT_GRACE - Duration::from_millis(1));
        let before = world.ticks();
        until(|| before < world.ticks()).await;
        world.clock.advance(Duration::from_millis(1));
        assert_eq!(call.await.unwrap(), "AK0902", "the call itself notices, nobody else looks");
        world.nothing_is_left(&place).await;
    });
}

#[test]
fn a_program_that_is_asked_to_end_may_still_answer() {
    in_shells(|place| async move {
        let world = World::new(&place);
        let (_agent, call) = world.running("a", "polite").await;
        world.kernel.signal(&id("a"), Signal::Term, "please").unwrap();
        assert_eq!(call.await.unwrap(), 7);
    });
}

/// Only what takes the default action reaches programs; a handler that takes it over keeps it from them.
#[test]
fn what_is_masked_or_handled_reaches_no_program_until_its_default_action_is_taken() {
    in_shells(|place| async move {
        let world = World::new(&place);
        let (agent, call) = world.running("a", "polite").await;
        let both = SignalSet::EMPTY.with(Signal::Term).with(Signal::Stop);
        agent.mask(both, SignalSet::EMPTY).await.unwrap();
        for signal in [Signal::Stop, Signal::Term] {
            assert_eq!(world.kernel.signal(&id("a"), signal, "held back"), Ok(Raise::Pending));
        }
        world.comes_to("a", &[Held::Running]).await;
        let before = world.ticks();
        until(|| before + 5 < world.ticks()).await;
        assert!(!call.is_finished());
        world.kernel.signal(&id("a"), Signal::Cont, "takes the stop back").unwrap();
        agent.mask(SignalSet::EMPTY, both).await.unwrap();
        assert_eq!(call.await.unwrap(), 7);

        let world = World::new(&place);
        let (agent, _call) = world.running("b", "spin").await;
        let handler = |_| async { Ok::<(), String>(()) };
        agent.on_signal(Signal::Stop, handler).await.unwrap();
        world.kernel.signal(&id("b"), Signal::Stop, "handled").unwrap();
        agent.exec("echo", json!({})).await.unwrap();
        world.comes_to("b", &[Held::Running]).await;
        agent.reset_signal(Signal::Stop).await.unwrap();
        world.kernel.signal(&id("b"), Signal::Stop, "by default").unwrap();
        world.comes_to("b", &[place.stopped]).await;
    });
}

/// Whatever stops an agent stops what runs for it; a rule's `on_violation: stop` does it whatever is masked.
#[test]
fn every_way_to_stop_an_agent_stops_its_programs() {
    everywhere(|place| async move {
        for signal in [Signal::Budget, Signal::Loop, Signal::Drift] {
            let world = World::new(&place);
            let (_agent, _call) = world.running("a", "spin").await;
            world.kernel.signal(&id("a"), signal, "stop").unwrap();
            world.comes_to("a", &[place.stopped]).await;
        }
    });
}

#[test]
fn sixteen_programs_of_one_agent_stop_and_end_together() {
    everywhere(|place| async move {
        let world = World::new(&place);
        let agent = world.kernel.spawn(AgentSpec::new("a")).unwrap();
        let calls: Vec<_> = (0..16).map(|_| world.call(&agent, "spin")).collect();
        until(|| world.alive() == 16).await;
        world.kernel.signal(&id("a"), Signal::Stop, "look").unwrap();
        world.comes_to("a", &[place.stopped; 16]).await;
        world.nothing_runs(&place).await;
        world.kernel.kill(&id("a"), "enough").unwrap();
        for call in calls {
            assert_eq!(call.await.unwrap(), "AK0902");
        }
        world.nothing_is_left(&place).await;
    });
}

#[test]
fn a_stopped_agent_starts_nothing_and_a_dead_one_never_will() {
    everywhere(|place| async move {
        let world = World::new(&place);
        let agent = world.kernel.spawn(AgentSpec::new("a")).unwrap();
        world.kernel.signal(&id("a"), Signal::Stop, "look").unwrap();
        let call = world.call(&agent, "count");
        real(Duration::from_millis(100)).await;
        assert_eq!(world.alive(), 0);
        world.kernel.signal(&id("a"), Signal::Cont, "go on").unwrap();
        assert_eq!(call.await.unwrap(), json!(COUNTED));
        world.kernel.signal(&id("a"), Signal::Stop, "look").unwrap();
        let call = world.call(&agent, "count");
        world.kernel.kill(&id("a"), "enough").unwrap();
        assert_eq!((call.await.unwrap(), world.alive()), (json!("AK0902"), 0));
    });
}

/// One stop or resumption is the last, whoever raises them, and the programs are as the agent is.
#[test]
fn programs_come_to_be_as_their_agent_is_however_signals_race() {
    everywhere(|place| async move {
        let world = World::new(&place);
        let (_agent, _call) = world.running("a", "spin").await;
        std::thread::scope(|scope| {
            for signal in [Signal::Stop, Signal::Cont, Signal::Stop, Signal::Cont] {
                let kernel = &world.kernel;
                scope.spawn(move || {
                    (0..200).for_each(|_| assert!(kernel.signal(&id("a"), signal, "race").is_ok()));
                });
            }
        });
        let stopped = matches!(world.kernel.agent(&id("a")), Some(AgentState::Stopped { .. }));
        let expected = if stopped { place.stopped } else { Held::Running };
        world.comes_to("a", &[expected]).await;
    });
}

#[test]
fn an_exit_ends_the_tools_that_run() {
    everywhere(|place| async move {
        let world = World::new(&place);
        let (agent, call) = world.running("a", "family").await;
        agent.exit(0, "done").await.unwrap();
        assert_eq!(call.await.unwrap(), "AK0902");
        world.nothing_is_left(&place).await;
    });
}

#[test]
fn the_end_of_a_parent_ends_the_tools_of_its_children() {
    everywhere(|place| async move {
        let spin = |agent: AgentHandle, _: Value| async move {
            agent.exec("family", json!({})).await.map_or(1, |_| 0)
        };
        let world = World::with(&place, |builder, _| builder.programs(programs().program("spin", spin)));
        let parent = world.kernel.spawn(AgentSpec::new("p")).unwrap();
        parent.spawn("child", "spin", json!(null)).await.unwrap();
        until(|| place.family() <= world.alive()).await;
        world.kernel.signal(&id("p"), Signal::Stop, "look").unwrap();
        world.comes_to("p::child", &[place.stopped]).await;
        world.nothing_runs(&place).await;
        world.kernel.kill(&id("p"), "enough").unwrap();
        world.kernel.wait(&id("p::child")).await.unwrap();
        world.nothing_is_left(&place).await;
    });
}

#[test]
fn a_shutdown_leaves_nothing_behind() {
    everywhere(|place| async move {
        let world = World::new(&place);
        let (_agent, call) = world.running("a", "deaf").await;
        let report = world.kernel.shutdown(Duration::ZERO).await.unwrap();
        assert_eq!(report.killed, 1);
        world.nothing_is_left(&place).await;
        assert_eq!(call.await.unwrap(), "AK0902");
    });
}

#[test]
fn a_call_that_is_given_up_ends_its_program() {
    everywhere(|place| async move {
        let world = World::new(&place);
        let (_agent, call) = world.running("a", "family").await;
        call.abort();
        until(|| world.alive() == 0).await;
        assert_eq!(world.kernel.agent(&id("a")), Some(AgentState::Ready));
    });
}
