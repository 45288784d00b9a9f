//! Tools that are programs: what they answer, how they fail, and that nothing of them stays.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]
#![expect(clippy::unwrap_in_result, reason = "a test may fail loudly")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use agent_primitives::{AgentId, Clock, ManualClock};
use agent_tool_registry::{
    Arguments, CallContext, Command, Level, Limits, Output, Registry, RegistryError, SandboxPolicy,
    TokioTimer, ToolError,
};
use serde_json::{Value, json};

/// Tests that count this process's descriptors and children must not see another test's.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn any_object() -> Value {
    json!({"type": "object", "additionalProperties": true})
}

fn shell(script: &str, dir: &Path) -> Command {
    Command {
        program: "/bin/sh".into(),
        args: vec!["-c".to_owned(), script.to_owned()],
        env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
        current_dir: dir.to_owned(),
    }
}

fn register(command: Command, limits: Limits) -> Result<Registry, RegistryError> {
    let mut builder = Registry::builder();
    builder
        .tool("t")
        .description("Test.")
        .limits(limits)
        .isolation(SandboxPolicy::at_least(Level::Child))
        .command(any_object(), command)?;
    Ok(builder.build())
}

fn context() -> CallContext {
    CallContext::new("tester".parse::<AgentId>().unwrap(), Arc::new(TokioTimer::new()))
}

async fn call(registry: &Registry, arguments: Value, cx: CallContext) -> Result<Output, ToolError> {
    registry.prepare(&"t".parse().unwrap(), Arguments::from_value(arguments)?)?.run(cx).await
}

fn run(script: &str, limits: Limits, arguments: Value) -> Result<Output, ToolError> {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let registry = register(shell(script, dir.path()), limits).unwrap();
    block_on(call(&registry, arguments, context()))
}

fn run_plain(script: &str) -> Result<Output, ToolError> {
    run(script, Limits::DEFAULT, json!({}))
}

/// Whether the process is there and is not a zombie.
fn is_running(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap().trim_start().starts_with('Z'))
}

/// Children of this process, zombies included.
fn children() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
    lists.map(|list| list.split_whitespace().count()).sum()
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Turns the runtime over until `done`; the limit is only there so that a failing test ends.
async fn until(done: impl Fn() -> bool) {
    let timer = TokioTimer::new();
    let give_up = timer.monotonic().after(Duration::from_secs(20));
    while !done() {
        assert!(timer.monotonic() < give_up, "it never happened");
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_program_reads_canonical_arguments_and_answers_with_json() {
    let output = run("cat", Limits::DEFAULT, json!({"b": 1.0, "a": ["x"]})).unwrap();
    assert_eq!(output.value(), &json!({"a": ["x"], "b": 1}));
    assert_eq!(&output.canonical()[..], br#"{"a":["x"],"b":1}"#);
}

#[test]
fn large_arguments_and_large_answers_pass_each_other() {
    let arguments = json!({"text": "x".repeat((1 << 20) - 100)});
    assert_eq!(run("cat", Limits::DEFAULT, arguments.clone()).unwrap().into_value(), arguments);
}

#[test]
fn a_program_that_does_not_read_its_arguments_still_answers() {
    let arguments = json!({"text": "x".repeat((1 << 20) - 100)});
    for script in ["echo 1", "exec 0<&-; echo 1", "sleep 0.05; echo 1"] {
        assert_eq!(
            run(script, Limits::DEFAULT, arguments.clone()).unwrap().into_value(),
            json!(1),
            "{script}"
        );
    }
}

#[test]
fn a_program_gets_its_own_environment_and_directory_and_nothing_else() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let script = r#"printf '{"dir":"%s","home":"%s","word":"%s","names":"%s"}' "$(pwd)" "$HOME" "$WORD" "$(env | sort | cut -d= -f1 | tr '\n' ' ')""#;
    let mut command = shell(script, dir.path());
    command.env.insert("WORD".to_owned(), "declared".to_owned());
    let registry = register(command, Limits::DEFAULT).unwrap();
    let output = block_on(call(&registry, json!({}), context())).unwrap().into_value();
    assert_eq!(output["dir"], dir.path().canonicalize().unwrap().to_str().unwrap());
    assert_eq!((&output["home"], &output["word"]), (&json!(""), &json!("declared")));
    for name in output["names"].as_str().unwrap().split_whitespace() {
        // The shell sets some of these itself.
        assert!(["PATH", "WORD", "PWD", "OLDPWD", "SHLVL", "_"].contains(&name), "{name}");
    }
}

#[test]
fn a_program_that_fails_is_reported_without_what_it_said() {
    let error = run_plain("echo /root/secret >&2; echo '{}'; exit 7").unwrap_err();
    assert_eq!(error.code(), "AK0531");
    assert_eq!(error.to_string(), "the tool's process ended with exit code 7");
    assert_eq!(error.host_detail().as_deref(), Some("/root/secret\n"));
    assert!(!format!("{error:?}").contains("secret"));

    let error = run_plain("echo dying >&2; kill -SEGV $$").unwrap_err();
    assert_eq!((error.code(), error.retryable()), ("AK0532", true));
    assert_eq!(error.to_string(), "the tool's process was ended by signal 11");
    assert_eq!(error.host_detail().as_deref(), Some("dying\n"));
}

#[test]
fn what_is_not_one_json_value_is_not_an_answer() {
    for script in ["echo hello", "true", "echo '{} {}'", "echo '{\"a\":1,\"a\":2}'", "printf '\"\\377\"'"] {
        assert_eq!(run_plain(script).unwrap_err().code(), "AK0525", "{script}");
    }
}

#[test]
fn a_flood_is_cut_off_at_the_limit() {
    let limits = Limits { output_bytes: 4096, ..Limits::DEFAULT };
    let error = run("yes", limits, json!({})).unwrap_err();
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        ("AK0524", "the tool's output is larger than 4096 bytes")
    );
    let fits =
        run("printf '\"'; head -c 4094 /dev/zero | tr '\\0' x; printf '\"'", limits, json!({})).unwrap();
    assert_eq!(fits.canonical().len(), 4096);
    let one_more = run("printf '\"'; head -c 4095 /dev/zero | tr '\\0' x; printf '\"'", limits, json!({}));
    assert_eq!(one_more.unwrap_err().code(), "AK0524");
}

#[test]
fn a_limit_that_only_webassembly_is_held_to_is_refused_and_not_ignored() {
    let limits = Limits { fuel: Some(1), ..Limits::DEFAULT };
    assert_eq!(run("echo 1", limits, json!({})).unwrap_err().code(), "AK0534");
}

#[test]
fn complaints_are_kept_up_to_the_limit_and_never_block() {
    let limits = Limits { stderr_bytes: 100, ..Limits::DEFAULT };
    let error = run("head -c 1000000 /dev/zero | tr '\\0' e >&2; exit 1", limits, json!({})).unwrap_err();
    assert_eq!(error.host_detail().as_deref(), Some(format!("{}\n[cut]", "e".repeat(100)).as_str()));
    let output = run("head -c 1000000 /dev/zero >&2; echo 1", limits, json!({})).unwrap();
    assert_eq!(output.into_value(), json!(1));
}

#[test]
fn a_program_that_cannot_be_started_is_an_error_without_its_path() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let mut command = shell("true", dir.path());
    command.program = "/nowhere/secret-program".into();
    let error =
        block_on(call(&register(command, Limits::DEFAULT).unwrap(), json!({}), context())).unwrap_err();
    assert_eq!(error.code(), "AK0530");
    assert_eq!(error.to_string(), "the tool's process could not be run");
    assert!(!format!("{error:?}").contains("secret-program"));
}

#[test]
fn without_a_runtime_a_program_is_not_started() {
    let dir = tempfile::tempdir().unwrap();
    let registry = register(shell("echo 1", dir.path()), Limits::DEFAULT).unwrap();
    let mut running = Box::pin(call(&registry, json!({}), context()));
    let Poll::Ready(answer) = running.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("it runs")
    };
    assert_eq!(answer.unwrap_err().code(), "AK0530");
}

#[test]
fn a_command_that_depends_on_its_surroundings_is_refused() {
    let good = || shell("true", Path::new("/"));
    let named = |name: &str| BTreeMap::from([(name.to_owned(), "x".to_owned())]);
    let refused = [
        Command { program: "sh".into(), ..good() },
        Command { current_dir: "tmp".into(), ..good() },
        Command { args: vec!["a\0b".to_owned()], ..good() },
        Command { env: named(""), ..good() },
        Command { env: named("A=B"), ..good() },
    ];
    for command in refused {
        let shown = format!("{command:?}");
        assert!(
            matches!(register(command, Limits::DEFAULT), Err(RegistryError::SpecInvalid { .. })),
            "{shown}"
        );
    }
}

#[test]
fn another_program_is_another_contract_and_no_environment_value_shows() {
    let secret = |value: &str| Command {
        env: BTreeMap::from([("TOKEN".to_owned(), value.to_owned())]),
        ..shell("true", Path::new("/"))
    };
    let digest = |command| {
        let registry = register(command, Limits::DEFAULT).unwrap();
        registry.snapshot().callable().next().unwrap().contract().digest()
    };
    assert_eq!(digest(secret("one")), digest(secret("two")));
    assert_ne!(digest(secret("one")), digest(shell("true", Path::new("/"))));
    assert_ne!(digest(shell("true", Path::new("/"))), digest(shell("false", Path::new("/"))));
    assert_ne!(digest(shell("true", Path::new("/"))), digest(shell("true", Path::new("/tmp"))));
    assert!(!format!("{:?}", secret("hunter2")).contains("hunter2"));
}

#[test]
fn a_grandchild_that_holds_the_pipes_neither_delays_the_answer_nor_survives() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let registry =
        register(shell("sleep 1000 & echo $! > pid; echo 1", dir.path()), Limits::DEFAULT).unwrap();
    block_on(async {
        assert_eq!(call(&registry, json!({}), context()).await.unwrap().into_value(), json!(1));
        let pid = fs::read_to_string(dir.path().join("pid")).unwrap();
        until(|| !is_running(pid.trim())).await;
    });
}

#[test]
fn a_grandchild_that_left_the_group_does_not_delay_the_answer_for_long() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    // `timeout` moves itself to a process group of its own.
    let script = "timeout 1000 sh -c 'echo $$ > pid; exec sleep 1000' & while ! [ -s pid ]; do sleep 0.01; done; echo 1";
    let registry = register(shell(script, dir.path()), Limits::DEFAULT).unwrap();
    let answer = block_on(call(&registry, json!({}), context()));
    let pid = fs::read_to_string(dir.path().join("pid")).unwrap();
    assert!(is_running(pid.trim()), "it did not leave the group, so this test shows nothing");
    let kill = std::process::Command::new("/bin/sh").args(["-c", &format!("kill -9 {pid}")]).status();
    assert!(kill.unwrap().success());
    assert_eq!(answer.unwrap().into_value(), json!(1));
}

/// A program that notes its own number and those of a child and a grandchild, and hangs.
const FAMILY: &str =
    "sh -c 'sleep 1000 & echo $! > grandchild; wait' & echo $! > child; echo $$ > leader; wait";

async fn family(dir: &Path) -> Vec<String> {
    let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap_or_default().trim().to_owned();
    let numbers = || ["leader", "child", "grandchild"].map(read);
    until(|| numbers().iter().all(|number| !number.is_empty())).await;
    numbers().into()
}

#[test]
fn a_deadline_kills_the_whole_family() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let registry = register(shell(FAMILY, dir.path()), Limits::DEFAULT).unwrap();
    let clock = ManualClock::default();
    let cx = CallContext::new("tester".parse().unwrap(), Arc::new(clock.clone()));
    block_on(async {
        let running = tokio::spawn(async move { call(&registry, json!({}), cx).await });
        let family = family(dir.path()).await;
        assert!(family.iter().all(|pid| is_running(pid)));
        clock.advance(Duration::from_secs(30));
        assert_eq!(running.await.unwrap().unwrap_err().code(), "AK0520");
        until(|| !family.iter().any(|pid| is_running(pid))).await;
        until(|| children() == 0).await;
    });
}

#[test]
fn dropping_the_future_kills_the_whole_family() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let registry = register(shell(FAMILY, dir.path()), Limits::DEFAULT).unwrap();
    block_on(async {
        let running = tokio::spawn(async move { call(&registry, json!({}), context()).await });
        let family = family(dir.path()).await;
        running.abort();
        assert!(running.await.unwrap_err().is_cancelled());
        until(|| !family.iter().any(|pid| is_running(pid))).await;
        until(|| children() == 0).await;
    });
}

#[test]
fn two_hundred_cancelled_calls_leave_nothing() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let registry = register(shell("sleep 1000 & wait", dir.path()), Limits::DEFAULT).unwrap();
    block_on(async {
        // The first call opens what the runtime keeps open.
        cancelled(&registry).await;
        until(|| children() == 0).await;
        let before = descriptors();
        for _ in 0..200 {
            cancelled(&registry).await;
        }
        until(|| children() == 0).await;
        assert_eq!(descriptors(), before);
    });
}

/// Starts a call and drops it as soon as it waits.
async fn cancelled(registry: &Registry) {
    let mut running = Box::pin(call(registry, json!({}), context()));
    let polled = std::future::poll_fn(|task| Poll::Ready(running.as_mut().poll(task).is_pending())).await;
    assert!(polled, "the program has ended already");
    assert!(0 < children());
}

#[test]
fn many_calls_at_once_are_each_answered() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let registry = register(shell("cat", dir.path()), Limits::DEFAULT).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let calls: Vec<_> = (0..40)
            .map(|number| {
                let registry = registry.clone();
                tokio::spawn(async move { call(&registry, json!({ "n": number }), context()).await })
            })
            .collect();
        for (number, running) in calls.into_iter().enumerate() {
            assert_eq!(running.await.unwrap().unwrap().into_value(), json!({ "n": number }));
        }
        until(|| children() == 0).await;
    });
}
