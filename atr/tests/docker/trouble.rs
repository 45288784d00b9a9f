//! Daemons and images that are not as they should be.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use agent_tool_registry::executor::{Cause, Docker, Held, Order};
use agent_tool_registry::{
    Arguments, Artefact, CallContext, Executor, Executors, Guarantee, Level, Limits, Registry, SandboxPolicy,
    TokioTimer,
};
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder};
use serde_json::json;

use crate::daemon::Private;
use crate::{World, block_on, image, pause_for, processes, timed};

#[test]
fn s29_a_daemon_that_is_not_there_or_does_not_answer_is_unavailable_within_its_time() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let wedged = UnixListener::bind(at("wedged")).unwrap();
        drop(UnixListener::bind(at("closed")).unwrap());
        std::fs::write(at("file"), "").unwrap();
        for name in ["absent", "closed", "file", "wedged"] {
            let (took, refused) = timed(Docker::connect(at(name))).await;
            assert_eq!(refused.unwrap_err().code(), "AK0534", "{name}");
            assert!(took < Duration::from_millis(2500), "{name} {took:?}");
        }
        drop(wedged);
        assert!(Docker::connect(Path::new("relative")).await.is_err());
    });
}

#[test]
fn s40_a_program_of_the_machine_is_not_run_instead() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        assert!(Docker::connect(dir.path().join("absent")).await.is_err());
        let ran = dir.path().join("ran");
        let mut command = agent_tool_registry::Command::new("/bin/sh");
        command.args = vec!["-c".to_owned(), format!("touch {}; echo 1", ran.display())];
        let image =
            Artefact::Image { reference: format!("sha256:{}", "0".repeat(64)), argv: vec!["/x".to_owned()] };
        let mut tools = Registry::builder().executors(Executors::host());
        let policy = SandboxPolicy::at_least(Level::Container).requiring(Guarantee::NoNetwork);
        let tool = tools.tool("t").description("Test.").isolation(policy);
        tool.program(json!({"type": "object"}), [Artefact::Command(command), image]).unwrap();
        let tools = tools.build();
        let call = tools.prepare(&"t".parse().unwrap(), Arguments::parse(b"{}").unwrap()).unwrap();
        let context = CallContext::new("s40".parse().unwrap(), std::sync::Arc::new(TokioTimer::new()));
        assert_eq!(call.run(context).await.unwrap_err().code(), "AK0533");
        assert!(!ran.exists());
    });
}

#[test]
fn images_that_are_unknown_have_volumes_or_are_named_by_tag_are_not_run() {
    block_on(async {
        let mut world = World::new("images").await;
        let volume = image::import(&world.raw, "agent-os-volume", "1", &["VOLUME /data"]).await;
        // What the image brings to be run by itself is not run.
        let entry =
            ["ENTRYPOINT [\"/bin/echo\", \"entry\"]", "CMD [\"cmd\"]", "USER 0", "WORKDIR /tmp", "ENV X=1"];
        let entry = image::import(&world.raw, "agent-os-entry", "1", &entry).await;
        for (reference, code) in [
            (volume.clone(), "AK0543"),
            (format!("sha256:{}", "0".repeat(64)), "AK0530"),
            (format!("agent-os-probe@sha256:{}", "0".repeat(64)), "AK0530"),
        ] {
            world.image = reference;
            let (took, refused) =
                timed(world.docker.start(world.launch(&["/bin/echo"], Limits::DEFAULT))).await;
            assert_eq!(refused.unwrap_err().code(), code, "{}", world.image);
            assert!(took < Duration::from_secs(1), "{took:?}");
            world.assert_nothing_left().await;
        }
        world.image = entry;
        assert_eq!(world.text(&["/bin/echo", "--", "-x", "$HOME;", ""], b"").await.1, "-- -x $HOME; \n");
        assert!(world.shell("id; pwd").await.contains("uid=65534"));

        // By tag, the registry does not take it at all; nor one that will never be run.
        let mut tools = Registry::builder().executors(Executors::none().with(world.docker.clone()));
        for reference in ["agent-os-probe:latest", "agent-os-probe", "--privileged", &volume] {
            let artefact = Artefact::Image { reference: reference.to_owned(), argv: vec!["/x".to_owned()] };
            let refused = tools.tool("t").description("Test.").program(json!({"type": "object"}), [artefact]);
            assert_eq!(refused.unwrap_err().code(), "AK0503", "{reference}");
        }
    });
}

#[test]
fn any_agent_that_has_a_name_has_containers() {
    block_on(async {
        for name in ["x", "A-b_c.d", "team/a@example.org", "a:b"] {
            let Ok(agent) = name.parse() else { continue };
            let world = World::new("named").await;
            let mut launch = world.launch(&["/bin/echo", "1"], Limits::DEFAULT);
            launch.agent = agent;
            let finished = world.docker.call(launch, bytes::Bytes::new()).await;
            assert_eq!(finished.result.unwrap().into_value(), 1, "{name}");
        }
    });
}

#[test]
fn what_a_host_that_died_has_left_is_removed_by_the_next_and_nothing_else_is() {
    block_on(async {
        let world = World::new("reaper").await;
        let here = |file: &str| std::fs::read_to_string(file).unwrap().trim().to_owned();
        let boot = here("/proc/sys/kernel/random/boot_id");
        let space = std::fs::read_link("/proc/self/ns/pid").unwrap().display().to_string();
        // This process has never had the number 1.
        let gone = format!("{boot} {space} 1 1");
        let before = format!("another-boot {space} 1 1");
        let own = {
            let stat = here("/proc/self/stat");
            let start = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().to_owned();
            format!("{boot} {space} {} {start}", std::process::id())
        };
        let cases = [
            ("atr-reaper-gone", gone.as_str(), "99999999999", false),
            ("atr-reaper-before", before.as_str(), "1000", false),
            ("atr-reaper-elsewhere", before.as_str(), "99999999999", true),
            ("atr-reaper-alive", own.as_str(), "1000", true),
            ("reaper-foreign", gone.as_str(), "1000", true),
        ];
        for (name, owner, deadline, _) in cases {
            let labels = [("atr.owner", owner), ("atr.deadline", deadline), ("atr.agent", "reaper-old")];
            let body = ContainerCreateBody {
                image: Some(world.image.clone()),
                entrypoint: Some(vec!["/bin/sleep".to_owned(), "1000".to_owned()]),
                labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
                host_config: Some(HostConfig {
                    network_mode: Some("none".to_owned()),
                    ..HostConfig::default()
                }),
                ..ContainerCreateBody::default()
            };
            let options = CreateContainerOptionsBuilder::default().name(name).build();
            world.raw.create_container(Some(options), body).await.unwrap();
            world.raw.start_container(name, None).await.unwrap();
        }
        let next = crate::connected(crate::daemon::shared()).await;
        let there = async |name: &str| world.raw.inspect_container(name, None).await.is_ok();
        for _ in 0..500 {
            if !there("atr-reaper-gone").await && !there("atr-reaper-before").await {
                break;
            }
            pause_for(Duration::from_millis(20)).await;
        }
        // The connection looks at all of them before it answers to another.
        drop(next);
        let mut found = HashMap::new();
        for (name, ..) in cases {
            found.insert(name, there(name).await);
            let force = RemoveContainerOptionsBuilder::default().force(true).build();
            let _ = world.raw.remove_container(name, Some(force)).await;
        }
        for (name, _, _, stays) in cases {
            assert_eq!(found[name], stays, "{name}");
        }
    });
}

/// What this suite's own program is told when it is run as a host that dies.
const HOST: &str = "ATR_DOCKER_HOST";

#[test]
fn a_host_that_is_killed_leaves_its_containers_to_the_next_stopped_or_not() {
    block_on(async {
        if std::env::var_os(HOST).is_some() {
            let world = World::new("dead-host").await;
            let [runs, stopped] =
                [world.start(&["/bin/probe", "family"]), world.start(&["/bin/sleep", "1000"])];
            let (_runs, stopped) = tokio::join!(runs, stopped);
            stopped.control.order(Order::Stop);
            assert_eq!(stopped.control.held().await, Held::Hard);
            std::io::stdout().write_all(format!("{HOST}\n").as_bytes()).unwrap();
            std::future::pending::<()>().await;
        }
        let world = World::new("dead-host").await;
        let mut host = Command::new(std::env::current_exe().unwrap());
        let test = "trouble::a_host_that_is_killed_leaves_its_containers_to_the_next_stopped_or_not";
        host.args(["--exact", "--nocapture", test]).env(HOST, "1").stdout(Stdio::piped());
        let mut host = host.spawn().unwrap();
        let mut lines = BufReader::new(host.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert!(lines.any(|line| line == HOST), "it did not come to run anything");
        let left = world.containers().await;
        assert_eq!(left.len(), 2);
        host.kill().unwrap();
        host.wait().unwrap();
        let _next = crate::connected(crate::daemon::shared()).await;
        world.gone_within(Duration::from_secs(20), &left).await;
    });
}

#[test]
fn a_daemon_that_dies_or_hangs_takes_no_program_with_it_that_goes_on() {
    let mut daemon = Private::start();
    block_on(async {
        let world = World::at(&daemon.socket(), "died").await;
        let session = world.start(&["/bin/probe", "family"]).await;
        let id = world.containers().await.remove(0);
        assert!(!processes(&id).is_empty());
        daemon.kill();
        let (took, exit) = timed(session.exit).await;
        assert!(matches!(exit.cause, Cause::Lost(_)), "{exit:?}");
        assert!(took < Duration::from_secs(7), "{took:?}");
        assert_eq!(processes(&id), [] as [&str; 0]);
        // No other is started, and nothing of the machine instead.
        let refused = world.docker.start(world.launch(&["/bin/echo"], Limits::DEFAULT)).await;
        assert_eq!(refused.unwrap_err().code(), "AK0534");
        // Once there is a daemon again, what is left is removed, and all is as before.
        daemon.restart();
        world.gone_within(Duration::from_secs(20), &[]).await;
        assert_eq!(world.shell("echo 1").await, "1\n");

        let session = world.start(&["/bin/probe", "family"]).await;
        let id = world.containers().await.remove(0);
        daemon.stop();
        let refused = timed(world.docker.start(world.launch(&["/bin/echo"], Limits::DEFAULT))).await;
        assert_eq!(refused.1.unwrap_err().code(), "AK0534");
        assert!(refused.0 < Duration::from_millis(2500), "{:?}", refused.0);
        session.control.order(Order::Kill);
        let (took, exit) = timed(session.exit).await;
        assert_eq!(exit.cause, Cause::Killed);
        assert!(took < Duration::from_secs(7), "{took:?}");
        assert_eq!(processes(&id), [] as [&str; 0]);
        daemon.resume();
        assert_eq!(session.control.held().await, Held::Dead);
        world.gone_within(Duration::from_secs(40), &[]).await;
    });
}
