//! Agents that are programs.

use std::sync::{Arc, Mutex};

use agent_control_plane::atr::executor::Child;
use agent_control_plane::atr::{Access, Artefact, Command, Executors, Level, Permissions, SandboxPolicy};
use agent_control_plane::kernel::{Hosted, SpawnError};
use agent_control_plane::primitives::Signal;
use agent_control_plane::{AgentSpec, AgentState, ExitStatus};
use serde_json::{Value, json};

use crate::place::{Does, Place, everywhere, in_shells, on_the_machine};
use crate::world::{World, id, programs, until};

/// A program in the shell that says each of these frames, and then what comes after.
fn says(frames: &[&str], then: &str) -> String {
    let frame = |text: &&str| {
        let length = u32::try_from(text.len()).unwrap().to_be_bytes();
        let head: String = length.iter().map(|byte| format!("\\{byte:03o}")).collect();
        format!("printf '{head}{}'; ", text.replace('\\', "\\\\").replace('%', "%%"))
    };
    frames.iter().map(frame).chain([then.to_owned()]).collect()
}

/// Runs a program to its end.
async fn run(world: &World, place: &Place, script: &str) -> ExitStatus {
    let hosted = place.hosted(place.shell(script, &world.mark));
    world.kernel.host(AgentSpec::new("a"), hosted, json!({"to": "do"})).await.unwrap()
}

/// The end of a program as the end of its agent.
#[test]
fn the_end_of_a_program_is_the_end_of_its_agent() {
    in_shells(|place| async move {
        let exited = |code| ExitStatus::Exited { code, message: String::new() };
        let crashed = |text: &str| ExitStatus::Crashed { panic: text.to_owned() };
        let broken = |what: &str| crashed(&format!("its program broke the framing of its calls: {what}"));
        let long = broken("a frame of 1048577 bytes, more than 1048576");
        let cases = [
            ("exit 0", exited(0)),
            ("exit 3", exited(3)),
            ("kill -SEGV $$", crashed("its program was ended by signal 11")),
            ("printf '\\000\\000\\000\\000'; while :; do :; done", broken("a frame of no length")),
            ("printf '\\000\\020\\000\\001'; while :; do :; done", long),
            (
                "printf '\\000\\000\\000\\005abc'; exec 1>&-; while :; do :; done",
                broken("an end in the middle of a frame"),
            ),
        ];
        // The init of a container has the streams too, so there they end with the program and not before.
        let cases = cases
            .into_iter()
            .filter(|(script, _)| place.level != Level::Container || !script.contains("exec"));
        for (script, status) in cases {
            let world = World::new(&place);
            assert_eq!(run(&world, &place, script).await, status, "{script}");
            world.nothing_is_left(&place).await;
            let rejected = world.events("a").iter().any(|event| event["kind"] == "rejected");
            assert_eq!(rejected, status.to_string().contains("framing"), "{script}");
        }
    });
}

#[test]
fn calls_are_judged_recorded_and_answered_whatever_else_the_frames_hold() {
    in_shells(|place| async move {
        let world = World::new(&place);
        let frames = [
            r#"{"id": 1, "call": {"write": {"path": "/mem/working/a", "text": "x"}}}"#,
            r#"{"id": 2, "call": {"exec": {"tool": "mail", "arguments": {}}}}"#,
            r#"{"id": 3, "call": {"read": {"path": "/etc/passwd"}}}"#,
            r#"{"id": 4, "call": {"reed": {}}}"#,
            "not json",
            r#"{"id": 5, "call": {"exit": {"code": 9, "message": "bye"}}, "sudo": true}"#,
        ];
        let script = says(&frames, "while :; do :; done");
        let hosted = place.hosted(place.shell(&script, &world.mark));
        let kernel = &world.kernel;
        tokio::select! {
            _ = kernel.host(AgentSpec::new("a"), hosted, json!(null)) => panic!("it does not end"),
            () = until(|| {
                let kinds = world.events("a").iter().filter(|event| {
                    ["outcome", "refused", "rejected"].contains(&event["kind"].as_str().unwrap())
                }).count();
                kinds == 6
            }) => {}
        }
        let events = world.events("a");
        let of = |kind: &str| events.iter().filter(|event| event["kind"] == kind).count();
        assert_eq!([of("intent"), of("refused"), of("rejected")], [1, 2, 3]);
        world.nothing_will_be_left().await;
    });
}

#[test]
fn an_agent_that_never_awaits_is_stopped_resumed_and_killed() {
    everywhere(|place| async move {
        let world = World::new(&place);
        let hosted = place.hosted(place.agent(Does::Family, &world.mark));
        let kernel = Arc::clone(&world.kernel);
        let run = {
            let kernel = Arc::clone(&kernel);
            tokio::spawn(async move { kernel.host(AgentSpec::new("a"), hosted, json!(null)).await.unwrap() })
        };
        until(|| place.family() <= world.alive()).await;
        kernel.signal(&id("a"), Signal::Stop, "look").unwrap();
        world.comes_to("a", &[place.stopped]).await;
        world.nothing_runs(&place).await;
        kernel.signal(&id("a"), Signal::Cont, "go on").unwrap();
        let before = world.ticks();
        until(|| before < world.ticks()).await;
        // Nobody asks, and the agent makes no call: its driver puts it on record.
        until(|| world.events("a").iter().any(|event| event["order"] == "continue")).await;
        kernel.signal(&id("a"), Signal::Kill, "enough").unwrap();
        let ExitStatus::Signaled { signal: Signal::Kill, .. } = run.await.unwrap() else { panic!("killed") };
        world.nothing_is_left(&place).await;
    });
}

#[test]
fn a_program_that_ends_of_a_sigterm_ended_by_it() {
    everywhere(|place| async move {
        let cases: &[(Option<&str>, &str)] = if place.has_shell() {
            &[
                (Some("while :; do :; done"), "ended by SIGTERM: please"),
                (Some("trap 'exit 4' TERM; while :; do :; done"), "exited with 4"),
            ]
        } else {
            &[(None, "exited with 1")]
        };
        for (script, end) in cases {
            let world = World::new(&place);
            let polite = || place.agent(Does::Polite, &world.mark);
            let hosted = place.hosted(script.map_or_else(polite, |script| place.shell(script, &world.mark)));
            let terminate = async {
                match script {
                    // By then the shell has set its trap.
                    Some(_) => world.computes().await,
                    // It reads, and uses no time.
                    None => until(|| 0 < world.alive()).await,
                }
                world.kernel.signal(&id("a"), Signal::Term, "please").unwrap();
                std::future::pending::<()>().await;
            };
            let status = tokio::select! {
                status = world.kernel.host(AgentSpec::new("a"), hosted, json!(null)) => status.unwrap(),
                () = terminate => unreachable!(),
            };
            assert_eq!(status.to_string(), *end);
        }
    });
}

#[test]
fn what_is_dropped_is_gone() {
    everywhere(|place| async move {
        let world = World::new(&place);
        let hosted = place.hosted(place.agent(Does::Spin, &world.mark));
        tokio::select! {
            _ = world.kernel.host(AgentSpec::new("a"), hosted, json!(null)) => panic!("it does not end"),
            () = world.computes() => {}
        }
        until(|| world.alive() == 0).await;
        assert!(matches!(world.kernel.agent(&id("a")), Some(AgentState::Zombie(_))));
    });
}

#[test]
fn children_are_programs_too_and_end_with_their_parent() {
    everywhere(|place| async move {
        let world = World::with(&place, |builder, mark| {
            let hosted = place.hosted(place.agent(Does::Family, mark));
            builder.programs(programs().program("spin", hosted))
        });
        let parent = world.kernel.spawn(AgentSpec::new("p")).unwrap();
        parent.spawn("one", "spin", json!(null)).await.unwrap();
        parent.spawn("two", "spin", json!(null)).await.unwrap();
        until(|| 2 * place.family() <= world.alive()).await;
        world.kernel.kill(&id("p"), "enough").unwrap();
        for child in ["p::one", "p::two"] {
            world.kernel.wait(&id(child)).await.unwrap();
        }
        world.nothing_is_left(&place).await;
    });
}

/// Nothing is run with less: the agent does not come into being.
#[test]
fn s40_where_nothing_is_isolated_enough_no_agent_is_started() {
    everywhere(|place| async move {
        let world = World::with(&place, |builder, mark| {
            let hosted = Hosted::new(Executors::none().with(Child), [Place::command("exit 0", mark)]);
            builder.programs(programs().program("confined", hosted))
        });
        let hosted = Hosted::new(Executors::host(), [Place::command("exit 0", &world.mark)])
            .sandbox(SandboxPolicy::at_least(Level::MicroVm));
        let refused = world.kernel.host(AgentSpec::new("a"), hosted, json!(null)).await.unwrap_err();
        assert!(matches!(&refused, SpawnError::Unrunnable(_)) && refused.code() == "AK0980", "{refused}");
        let parent = world.kernel.spawn(AgentSpec::new("p")).unwrap();
        let refused = parent.spawn("child", "confined", json!(null)).await.unwrap_err();
        assert_eq!(refused.code(), "AK0980");
        assert!(world.events("a").is_empty() && world.events("p::child").is_empty());
    });
}

const CLIENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/clients");

/// The client that hosts start from, with an interpreter of the machine.
fn client(place: &Place, script: &str) -> Hosted {
    let clients = std::fs::canonicalize(CLIENTS).unwrap();
    let script = format!("import sys; sys.path.insert(0, {clients:?})\n{script}");
    let command =
        ["-I", "-B", "-c", &script].into_iter().fold(Command::new("/usr/bin/python3"), Command::arg);
    place.hosted(Artefact::Command(command)).permissions(Permissions::system().folder(clients, Access::Read))
}

#[test]
fn the_python_client_makes_every_call() {
    let script = r#"
from agent_os import Agent, Refused
agent = Agent()
print("this is no frame")
assert agent.id == "a" and agent.input == {"n": [1, 2]}
assert agent.exec("echo", {"x": agent.input}) == {"x": {"n": [1, 2]}}
for data in (b"text", b"\x00\xff" * 100000, b""):
    version = agent.write("/mem/working/f", data)
    assert agent.read("/mem/working/f") == data
fd = agent.open("/mem/working/f", read=True, append=True)
agent.write(descriptor=fd, data="more")
assert agent.read(descriptor=fd, offset=0) == b"more"
agent.close(fd)
assert agent.check_policy("exec", tool="mail", arguments={})["verdict"] == "deny"
try:
    agent.exec("mail", {})
    raise SystemExit(2)
except Refused as refused:
    assert refused.error["rule"].endswith("no-mail"), refused.error
agent.mask(block=["SIGTERM"])
try:
    agent.signal("b", "SIGTERM", "not allowed")
    raise SystemExit(3)
except Refused as refused:
    assert refused.error["class"] == "forbidden", refused.error
many = [agent.begin("exec", tool="echo", arguments={"n": n}) for n in range(200)]
assert [agent.finish(n)["output"]["n"] for n in many] == list(range(200))
assert agent.await_signal(["SIGTERM"], 60000)["reason"] == "please"
agent.exit(5, "bye")
"#;
    on_the_machine(|place| async move {
        let world = World::new(&place);
        let heard = Arc::new(Mutex::new(String::new()));
        let hear = Arc::clone(&heard);
        let hosted = client(&place, script)
            .on_stderr(move |_, text| hear.lock().unwrap().push_str(&String::from_utf8_lossy(text)));
        let awaits = || world.events("a").iter().any(|event| event["request"]["await"].is_u64());
        let terminate = async {
            until(awaits).await;
            world.kernel.signal(&id("a"), Signal::Term, "please").unwrap();
            std::future::pending::<()>().await;
        };
        let status = tokio::select! {
            status = world.kernel.host(AgentSpec::new("a"), hosted, json!({"n": [1, 2]})) => status.unwrap(),
            () = terminate => unreachable!(),
        };
        let heard = heard.lock().unwrap().clone();
        assert_eq!(status.to_string(), "exited with 5: bye", "{heard}");
        assert_eq!(heard, "this is no frame\n");
    });
}

/// A flood of calls, and answers that nobody reads, take no more than their bounds; the agent can still be ended.
#[test]
fn a_program_that_never_reads_its_answers_is_held_up_and_can_be_killed() {
    in_shells(|place| async move {
        let world = World::new(&place);
        let frame = r#"{"id": 1, "call": {"exec": {"tool": "echo", "arguments": {"x": "0123456789"}}}}"#;
        let script = format!("while :; do {}done", says(&[frame], ""));
        let hosted = place.hosted(place.shell(&script, &world.mark));
        let calls = || world.events("a").iter().filter(|event| event["kind"] == "outcome").count();
        let flood = async {
            until(|| 100 < calls()).await;
            world.kernel.signal(&id("a"), Signal::Kill, "enough").unwrap();
            std::future::pending::<Value>().await
        };
        let status = tokio::select! {
            status = world.kernel.host(AgentSpec::new("a"), hosted, json!(null)) => status.unwrap(),
            _ = flood => unreachable!(),
        };
        assert!(matches!(status, ExitStatus::Signaled { signal: Signal::Kill, .. }));
        world.nothing_is_left(&place).await;
    });
}
