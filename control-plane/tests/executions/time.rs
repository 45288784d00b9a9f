//! Time for which an agent is stopped counts for no deadline of what is under way, and for no budget.

use std::time::Duration;

use agent_control_plane::AgentSpec;
use agent_control_plane::budget::{AccountId, Budget};
use agent_control_plane::call::{RawArguments, Syscall};
use agent_control_plane::primitives::{Resource, Signal};
use serde_json::json;

use crate::place::{everywhere, in_shells};
use crate::world::{World, id, real, until};

const SECOND: Duration = Duration::from_secs(1);

/// The limit of the tool, which is 30 s: of a program, and of a function of the host.
#[test]
fn the_limit_of_a_tool_stands_still_while_its_agent_is_stopped() {
    everywhere(|place| async move {
        for tool in ["spin", "wait"] {
            let world = World::new(&place);
            let agent = world.kernel.spawn(AgentSpec::new("a")).unwrap();
            let call = world.call(&agent, tool);
            if tool == "spin" {
                until(|| 0 < world.alive()).await;
            } else {
                until(|| 0 < world.clock.sleepers()).await;
            }
            world.clock.advance(29 * SECOND);
            for _ in 0..3 {
                world.kernel.signal(&id("a"), Signal::Stop, "look").unwrap();
                world.clock.advance(3600 * SECOND);
                world.kernel.signal(&id("a"), Signal::Cont, "go on").unwrap();
            }
            world.clock.advance(SECOND / 2);
            real(Duration::from_millis(50)).await;
            assert!(!call.is_finished(), "{tool}");
            world.clock.advance(SECOND / 2);
            assert_eq!(call.await.unwrap(), "AK0520", "{tool}");
            world.nothing_will_be_left().await;
        }
    });
}

#[test]
fn the_deadline_of_a_caller_stands_still_once_the_tool_has_begun() {
    everywhere(|place| async move {
        let world = World::new(&place);
        let agent = world.kernel.spawn(AgentSpec::new("a")).unwrap();
        let exec = Syscall::Exec {
            tool: "spin".to_owned(),
            arguments: RawArguments::Value(json!({})),
            deadline: Some(10 * SECOND),
        };
        let call = tokio::spawn(async move { agent.syscall(exec).await.unwrap_err().code() });
        until(|| 0 < world.alive()).await;
        world.kernel.signal(&id("a"), Signal::Stop, "look").unwrap();
        world.clock.advance(3600 * SECOND);
        world.kernel.signal(&id("a"), Signal::Cont, "go on").unwrap();
        world.clock.advance(9 * SECOND);
        real(Duration::from_millis(50)).await;
        assert!(!call.is_finished());
        world.clock.advance(SECOND);
        assert!(["AK0520", "AK0904"].contains(&call.await.unwrap()));
        world.nothing_will_be_left().await;
    });
}

#[test]
fn a_budget_of_time_is_not_used_by_standing_still() {
    in_shells(|place| async move {
        let world = World::new(&place);
        let budget = Budget::new().limit(Resource::WallTime, 5_000_000);
        let agent = world.kernel.spawn(AgentSpec::new("a").budget(budget)).unwrap();
        let call = world.call(&agent, "polite");
        world.computes().await;
        world.clock.advance(SECOND);
        world.kernel.signal(&id("a"), Signal::Stop, "look").unwrap();
        world.clock.advance(3600 * SECOND);
        world.kernel.signal(&id("a"), Signal::Cont, "go on").unwrap();
        world.clock.advance(SECOND);
        real(Duration::from_millis(50)).await;
        assert!(!call.is_finished());
        world.kernel.signal(&id("a"), Signal::Term, "please").unwrap();
        assert_eq!(call.await.unwrap(), 7);
        let used = world.kernel.usage(&AccountId::Agent(id("a")));
        let time = used.iter().find(|used| used.resource == Resource::WallTime).unwrap();
        assert_eq!(time.used, 2_000_000);
    });
}
