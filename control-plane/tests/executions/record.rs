//! What the record says of programs.

use agent_control_plane::primitives::Signal;
use serde_json::{Value, json};

use crate::place::{COUNTED, everywhere};
use crate::world::{World, id, until};

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["kind"].as_str().unwrap()).collect()
}

#[test]
fn the_record_says_where_a_tool_ran_and_how_orders_took_hold() {
    everywhere(|place| async move {
        let world = World::new(&place);
        let (agent, call) = world.running("a", "count").await;
        world.kernel.signal(&id("a"), Signal::Stop, "look").unwrap();
        // By the call itself: the host does not ask.
        tokio::select! {
            () = until(|| kinds(&world.events("a")).contains(&"ordered")) => {}
            () = world.time_passes() => {}
        }
        world.kernel.signal(&id("a"), Signal::Cont, "go on").unwrap();
        world.settled("a").await;
        assert_eq!(call.await.unwrap(), json!(COUNTED));
        let call = world.call(&agent, "spin");
        until(|| 0 < world.alive()).await;
        world.kernel.kill(&id("a"), "enough").unwrap();
        world.kernel.wait(&id("a")).await.unwrap();
        call.await.unwrap();
        until(|| kinds(&world.events("a")).iter().filter(|kind| **kind == "outcome").count() == 2).await;

        let events = world.events("a");
        let first = ["spawn", "intent", "signal", "ordered", "signal", "ordered", "ran", "outcome", "intent"];
        let (before, after) = events.split_at(first.len());
        assert_eq!(kinds(before), first);
        // The kill, and the call that notices it, are recorded by two threads. A program that was dropped with its call before
        // the order came was given none.
        let mut last = kinds(after);
        last.sort_unstable();
        // Nor does one that notices for itself that it was killed always come to say what it used.
        last.retain(|kind| !["ordered", "ran"].contains(kind));
        assert_eq!(last, ["exit", "outcome", "signal"]);
        let ordered: Vec<&Value> = events.iter().filter(|event| event["kind"] == "ordered").collect();
        let held = |word: &str| json!([{"level": place.level.as_str(), "held": word, "programs": 1}]);
        let said = [("stop", place.stopped.as_str()), ("continue", "running"), ("kill", "dead")];
        for (event, (order, word)) in ordered.into_iter().zip(said) {
            assert_eq!((&event["order"], &event["held"]), (&json!(order), &held(word)));
        }
        let ran = events.iter().find(|event| event["kind"] == "ran").unwrap();
        assert_eq!((&ran["level"], &ran["call"]), (&json!(place.level.as_str()), &json!(1)));
        assert!(ran["guarantees"].as_array().unwrap().contains(&json!("no_host_env")));
        assert_eq!(ran["cpu_micros"].is_u64(), place.measures, "what is not measured is not said");
    });
}

#[test]
fn an_agent_without_programs_leaves_no_word_about_them() {
    everywhere(|place| async move {
        let world = World::new(&place);
        let agent = world.kernel.spawn(agent_control_plane::AgentSpec::new("a")).unwrap();
        agent.exec("echo", json!({})).await.unwrap();
        for signal in [Signal::Stop, Signal::Cont, Signal::Term, Signal::Kill] {
            world.kernel.signal(&id("a"), signal, "look").unwrap();
        }
        let events = world.events("a");
        assert_eq!(
            kinds(&events),
            ["spawn", "intent", "outcome", "signal", "signal", "signal", "signal", "exit"]
        );
    });
}
