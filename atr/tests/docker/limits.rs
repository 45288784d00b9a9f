//! How much a program in a container may use.

use std::time::Duration;

use agent_primitives::Clock as _;
use agent_tool_registry::executor::Cause;
use agent_tool_registry::{Arguments, Artefact, CallContext, TokioTimer};
use agent_tool_registry::{Executors, Level, Limits, Registry, SandboxPolicy, ToolError};
use serde_json::json;

use crate::{World, block_on, pause, processes, timed};

const EAGAIN: i64 = 11;
const EMFILE: i64 = 24;
const ENOSPC: i64 = 28;

#[test]
fn s01_it_has_as_many_processes_as_its_limit_says() {
    block_on(async {
        let world = World::new("s01").await;
        for limit in [1, 2, 32] {
            let limits = Limits { processes: limit, ..Limits::DEFAULT };
            let facts = world.call(&["/bin/probe", "forks"], limits).await.unwrap();
            // It is one of them itself.
            assert_eq!(facts, json!({"made": limit - 1, "error": EAGAIN}));
        }
    });
}

#[test]
fn s02_memory_beyond_the_limit_ends_it_scratch_included() {
    block_on(async {
        let world = World::new("s02").await;
        let limits = Limits { memory_bytes: 32 << 20, ..Limits::DEFAULT };
        let fits = world.call(&["/bin/probe", "memory", "20"], limits).await.unwrap();
        assert_eq!(fits, json!({"touched": 20}));
        let error = world.call(&["/bin/probe", "memory", "4096"], limits).await.unwrap_err();
        assert!(matches!(error, ToolError::MemoryExceeded { limit, .. } if limit == 32 << 20), "{error:?}");
        let error = world.call(&["/bin/probe", "fill"], limits).await.unwrap_err();
        assert_eq!(error.code(), "AK0536", "{error:?}");
    });
}

#[test]
fn s03_s04_a_deadline_ends_what_spins_and_what_sleeps() {
    block_on(async {
        let world = World::new("s03").await;
        for argv in [["/bin/probe", "spin"], ["/bin/sleep", "1000"]] {
            let mut tools = Registry::builder().executors(Executors::none().with(world.docker.clone()));
            let reference = world.image.clone();
            let argv = argv.map(str::to_owned).to_vec();
            tools
                .tool("t")
                .description("Test.")
                .isolation(SandboxPolicy::at_least(Level::Container))
                .limits(Limits { deadline: Duration::from_secs(1), ..Limits::DEFAULT })
                .program(json!({"type": "object"}), [Artefact::Image { reference, argv }])
                .unwrap();
            let tools = tools.build();
            let call = tools.prepare(&"t".parse().unwrap(), Arguments::parse(b"{}").unwrap()).unwrap();
            let context =
                CallContext::new(world.agent.parse().unwrap(), std::sync::Arc::new(TokioTimer::new()));
            let context = context.with_executions(world.executions.clone());
            let (took, result) = timed(call.run(context)).await;
            assert_eq!(result.unwrap_err().code(), "AK0520");
            assert!(took < Duration::from_secs(3), "{took:?}");
            world.gone_within(Duration::from_secs(5), &[]).await;
        }
    });
}

#[test]
fn s05_a_flood_on_both_streams_is_cut_and_nothing_of_it_kept() {
    block_on(async {
        let world = World::new("s05").await;
        let before = resident();
        let limits = Limits { output_bytes: 1 << 20, ..Limits::DEFAULT };
        let error = world.call(&["/bin/probe", "flood"], limits).await.unwrap_err();
        assert!(matches!(error, ToolError::OutputTooLarge { limit, .. } if limit == 1 << 20), "{error:?}");
        let grown = resident().saturating_sub(before);
        assert!(grown < 8 << 20, "{grown}");
    });
}

#[test]
fn s05_one_stream_that_nobody_reads_does_not_hold_up_the_other_and_is_not_hoarded() {
    use tokio::io::AsyncReadExt;
    block_on(async {
        let world = World::new("s05-one").await;
        let script = "yes >&2 & i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i + 1)); done; echo end";
        let mut session = world.start(&["/bin/sh", "-c", script]).await;
        let before = resident();
        let mut read = String::new();
        let mut chunk = [0; 4096];
        while !read.ends_with("end\n") {
            let length = session.stdout.read(&mut chunk).await.unwrap();
            assert_ne!(length, 0, "{read}");
            read += std::str::from_utf8(&chunk[..length]).unwrap();
        }
        assert!(resident().saturating_sub(before) < 8 << 20);
        drop(session);
        world.gone_within(Duration::from_secs(5), &[]).await;
    });
}

#[test]
fn s06_it_has_as_many_open_files_as_its_limit_says() {
    block_on(async {
        let world = World::new("s06").await;
        let limits = Limits { open_files: 40, ..Limits::DEFAULT };
        let facts = world.call(&["/bin/probe", "files"], limits).await.unwrap();
        // Three streams are open already.
        assert_eq!(facts, json!({"opened": 37, "error": EMFILE}));
    });
}

#[test]
fn s27_scratch_is_as_large_as_its_limit_says_files_without_content_included() {
    block_on(async {
        let world = World::new("s27").await;
        let limits = Limits { scratch_bytes: 4 << 20, ..Limits::DEFAULT };
        let facts = world.call(&["/bin/probe", "fill"], limits).await.unwrap();
        assert_eq!((&facts["error"], &facts["empty_error"]), (&json!(ENOSPC), &json!(ENOSPC)));
        assert!(facts["written"].as_u64().unwrap() <= 4 << 20, "{facts}");
        assert!(facts["empty_files"].as_u64().unwrap() <= 1024, "{facts}");
    });
}

#[test]
fn processor_time_is_counted_over_all_processes() {
    block_on(async {
        let world = World::new("cpu").await;
        let limits = Limits { cpu: Duration::from_millis(700), ..Limits::DEFAULT };
        for processes in ["1", "8"] {
            let (took, result) = timed(world.call(&["/bin/probe", "burn", processes], limits)).await;
            let error = result.unwrap_err();
            assert!(matches!(error, ToolError::CpuExceeded { .. }), "{error:?}");
            assert!(took < Duration::from_secs(10), "{took:?}");
        }
        // What waits uses nothing.
        let fits = world.call(&["/bin/sh", "-c", "sleep 1; echo 1"], limits).await.unwrap();
        assert_eq!(fits, json!(1));
    });
}

#[test]
fn eight_at_once_have_limits_of_their_own() {
    block_on(async {
        let world = std::sync::Arc::new(World::new("eight").await);
        let limits = Limits { processes: 32, ..Limits::DEFAULT };
        let calls: Vec<_> = (0..8)
            .map(|_| {
                let world = std::sync::Arc::clone(&world);
                tokio::spawn(async move {
                    use agent_tool_registry::Executor;
                    let launch = world.launch(&["/bin/probe", "forks"], limits);
                    world.docker.call(launch, bytes::Bytes::new()).await.result
                })
            })
            .collect();
        for call in calls {
            let facts = call.await.unwrap().unwrap().into_value();
            assert_eq!(facts, json!({"made": 31, "error": EAGAIN}));
        }
        world.assert_nothing_left().await;
    });
}

#[test]
fn s19_s20_it_is_said_how_a_program_ended() {
    block_on(async {
        let world = World::new("s20").await;
        let ends: [(&[&str], Cause, &str); 8] = [
            (&["/bin/probe", "crash"], Cause::Signal(11), ""),
            (&["/bin/sh", "-c", "echo why >&2; exit 3"], Cause::Code(3), "why"),
            (&["/bin/sh", "-c", "kill -ABRT $$"], Cause::Signal(6), ""),
            (&["/bin/echo"], Cause::Code(0), ""),
            (&["/bin/absent"], Cause::Code(127), "No such file"),
            (&["/bin/plain"], Cause::Code(126), "Permission denied"),
            (&["/tmp"], Cause::Code(126), "Permission denied"),
            (&["/bin/other-machine"], Cause::Code(127), "not found"),
        ];
        for (argv, cause, complaint) in ends {
            let (exit, _, stderr) = world.text(argv, b"").await;
            assert_eq!(exit.cause, cause, "{argv:?} {stderr}");
            assert!(stderr.contains(complaint), "{argv:?} {stderr}");
        }
        let error =
            world.call(&["/bin/sh", "-c", "echo why >&2; exit 3"], Limits::DEFAULT).await.unwrap_err();
        assert!(matches!(&error, ToolError::ExitCode { code: 3, stderr, .. } if stderr.as_str() == "why\n"));
    });
}

#[test]
fn large_input_and_output_pass_each_other_whole() {
    block_on(async {
        let world = World::new("large").await;
        let text: String = (0..300_000).map(|number| format!("{number}\n")).collect();
        let (exit, out, _) = {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let session = world.start(&["/bin/cat"]).await;
            let (mut stdin, mut stdout, exit) = (session.stdin, session.stdout, session.exit);
            let mut out = String::new();
            let write = async {
                stdin.write_all(text.as_bytes()).await.unwrap();
                drop(stdin);
            };
            let ((), read, exit) = tokio::join!(write, stdout.read_to_string(&mut out), exit);
            (exit, out, read.unwrap())
        };
        assert_eq!(exit.cause, Cause::Code(0));
        assert!(out == text, "{} bytes of {}", out.len(), text.len());
        // A program that reads nothing answers all the same.
        let arguments = bytes::Bytes::from(format!("\"{}\"", "x".repeat(1 << 20)));
        let launch = world.launch(&["/bin/echo", "1"], Limits::DEFAULT);
        let finished = agent_tool_registry::Executor::call(&world.docker, launch, arguments).await;
        assert_eq!(finished.result.unwrap().into_value(), json!(1));
        world.assert_nothing_left().await;
    });
}

#[test]
fn ten_calls_leave_no_descriptor() {
    block_on(async {
        let world = World::new("descriptors").await;
        let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        world.call(&["/bin/echo", "1"], Limits::DEFAULT).await.unwrap();
        let before = open();
        for _ in 0..10 {
            world.call(&["/bin/echo", "1"], Limits::DEFAULT).await.unwrap();
        }
        // A stream of the last call is closed by the connection's own thread, a moment after the call.
        let timer = TokioTimer::new();
        let until = timer.monotonic().after(Duration::from_secs(5));
        while before < open() {
            assert!(timer.monotonic() < until, "{before} {}", open());
            pause().await;
        }
        assert!(processes("no such container").is_empty());
    });
}

/// Memory of this process.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() << 10
}
