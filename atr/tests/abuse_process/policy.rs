//! Policies that this machine, or this sandbox, cannot keep: nothing is run with less.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use agent_tool_registry::executor::{Child, Executions, Executors, Process};
use agent_tool_registry::isolation::IsolationReport;
use agent_tool_registry::{
    Access, Command, Guarantee, GuaranteeSet, Level, Permissions, SandboxPolicy, ToolError,
};
use serde_json::json;

use crate::host::{Counts, Tool, alone, block_on, everything, timer};

fn call(tool: &Tool) -> Result<serde_json::Value, ToolError> {
    let marker = tool.folder().join("out");
    let path = format!("{},'{}/ran,0x1c0", libc::SYS_creat, marker.display());
    let run = block_on(tool.call(&["sys", &path], json!({}), &Executions::new(timer())));
    assert_eq!(marker.join("ran").exists(), run.result.is_ok(), "it ran, or it did not");
    run.result
}

#[test]
fn s40_what_cannot_be_kept_is_not_run() {
    let _alone = alone();
    let (tool, _) = Tool::new().granted("out", Access::Write);
    let process = || Executors::none().with(Process::new());
    let child = || Executors::none().with(Child);
    let require = |level, guarantees: &[Guarantee]| {
        guarantees.iter().copied().fold(SandboxPolicy::at_least(level), SandboxPolicy::requiring)
    };
    let all: GuaranteeSet = Guarantee::ALL.into_iter().collect();
    use Guarantee::{FsConfined, HardStop, MemoryCapTotal, NoHostEnv, NoNetwork, PidsCap, SyscallFilter};
    let cases: Vec<(&str, Executors, SandboxPolicy, GuaranteeSet)> = vec![
        ("a container", process(), require(Level::Container, &[]), GuaranteeSet::NONE),
        ("WebAssembly", process(), require(Level::Wasm, &[]), GuaranteeSet::NONE),
        (
            "a virtual machine",
            process(),
            require(Level::MicroVm, &[HardStop]),
            GuaranteeSet::NONE.with(HardStop),
        ),
        ("nothing at all", Executors::none(), require(Level::Child, &[]), GuaranteeSet::NONE),
        ("a sandbox by a child", child(), require(Level::Process, &[]), GuaranteeSet::NONE),
        ("everything by a child", child(), require(Level::Child, &Guarantee::ALL), all.without(NoHostEnv)),
        (
            "no network by a child",
            child(),
            require(Level::Child, &[NoNetwork]),
            GuaranteeSet::NONE.with(NoNetwork),
        ),
        (
            "files by a child",
            child(),
            require(Level::Child, &[FsConfined]),
            GuaranteeSet::NONE.with(FsConfined),
        ),
        (
            "memory by a child",
            child(),
            require(Level::Child, &[MemoryCapTotal]),
            GuaranteeSet::NONE.with(MemoryCapTotal),
        ),
        (
            "processes by a child",
            child(),
            require(Level::Child, &[PidsCap]),
            GuaranteeSet::NONE.with(PidsCap),
        ),
        ("a stop by a child", child(), require(Level::Child, &[HardStop]), GuaranteeSet::NONE.with(HardStop)),
        (
            "a filter by a child",
            child(),
            require(Level::Child, &[SyscallFilter]),
            GuaranteeSet::NONE.with(SyscallFilter),
        ),
    ];
    for (name, executors, policy, lacking) in cases {
        let tool = Tool {
            executors,
            policy,
            permissions: tool.permissions.clone(),
            program: tool.program.clone(),
            ..Tool::new()
        };
        match call(&tool).unwrap_err() {
            ToolError::IsolationUnavailable { wanted, missing, .. } => {
                assert_eq!((wanted, missing), (policy.min, lacking), "{name}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn what_can_be_kept_is_said_to_have_been_in_force() {
    let (tool, _) = Tool::new().granted("out", Access::Write);
    for policy in [SandboxPolicy::CONFINED, everything(), SandboxPolicy::at_least(Level::Child)] {
        let tool = Tool { policy, executors: Executors::host(), current_dir: "/".into(), ..Tool::new() };
        let run = tool.run(&["hello"]);
        let ran = run.ran.unwrap();
        assert_eq!(policy.require.missing_from(ran.guarantees), GuaranteeSet::NONE);
        assert!(policy.min <= ran.level);
        assert_eq!(run.value(), json!({"hello": 1}));
    }
    assert!(tool.folder().exists());
}

#[test]
fn permissions_that_cannot_be_given_are_not_given_in_part() {
    let _alone = alone();
    let tool = Tool::new();
    let never = [
        "/",
        "/proc",
        "/proc/self",
        "/sys",
        "/dev/null",
        "/run",
        "/etc",
        "/root",
        "/home",
        "/var",
        "x",
        "/a/../b",
    ];
    for path in never {
        let tool = Tool { permissions: Permissions::none().folder(path, Access::Read), ..Tool::new() };
        assert_eq!(tool.register(&["hello"]).unwrap_err().code(), "AK0503", "{path}");
    }
    for path in ["/scratch", "/scratch/within"] {
        let tool = Tool { permissions: Permissions::none().folder(path, Access::Read), ..Tool::new() };
        let run = block_on(tool.call(&["hello"], json!({}), &Executions::new(timer())));
        assert_eq!(run.code(), "AK0534", "{path}: {run:?}");
    }
    // The program must not lie where it may write.
    let mut permissions = Permissions::none();
    permissions = permissions.folder(tool.folder(), Access::Write);
    let tool = Tool { permissions, ..tool };
    let run = block_on(tool.call(&["hello"], json!({}), &Executions::new(timer())));
    assert_eq!(run.code(), "AK0534", "{run:?}");
}

#[test]
fn variables_that_steer_a_loader_are_refused_and_not_dropped() {
    for name in ["LD_PRELOAD", "GLIBC_TUNABLES", "PYTHONPATH", "BASH_ENV", "GIT_SSH_COMMAND", "lower"] {
        let tool = Tool::new();
        let mut command = Command::new(&tool.program).arg("hello");
        command.env.insert(name.to_owned(), "/scratch/x".to_owned());
        let mut builder = agent_tool_registry::Registry::builder().executors(tool.executors.clone());
        let any = json!({"type": "object", "additionalProperties": true});
        builder.tool("t").description("Hostile.").isolation(everything()).command(any, command).unwrap();
        let arguments = agent_tool_registry::Arguments::from_value(json!({})).unwrap();
        let invocation = builder.build().prepare(&"t".parse().unwrap(), arguments).unwrap();
        let cx = agent_tool_registry::CallContext::new(crate::host::agent(), timer());
        assert_eq!(block_on(invocation.run(cx)).unwrap_err().code(), "AK0534", "{name}");
    }
}

#[test]
fn what_is_no_program_is_an_error_without_its_path() {
    let _alone = alone();
    let tool = Tool::new();
    let write = |name: &str, bytes: &[u8], mode| {
        let path = tool.folder().join(name);
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        path
    };
    let mut foreign = std::fs::read(&tool.program).unwrap();
    // The machine of an ELF file: one that this is not.
    foreign[18] = 0x16;
    let cases = [
        tool.folder().join("missing"),
        tool.folder().to_owned(),
        write("empty", b"", 0o755),
        write("text", b"no program", 0o755),
        write("script", b"#!/nowhere/interpreter\n", 0o755),
        write("not-executable", b"\x7fELF", 0o644),
        write("foreign", &foreign, 0o755),
        write("half", &foreign[..100], 0o755),
    ];
    for program in cases {
        let hostile = Tool { program: program.clone(), ..Tool::new() };
        let run = block_on(hostile.call(&["hello"], json!({}), &Executions::new(timer())));
        assert!(["AK0530", "AK0534"].contains(&run.code()), "{program:?}: {run:?}");
        let error = run.result.unwrap_err();
        assert!(!error.to_string().contains(tool.folder().to_str().unwrap()), "{error}");
    }
}

#[test]
fn what_this_machine_has_is_reported_and_nothing_is_left_by_looking() {
    let _alone = alone();
    let executors = Executors::host();
    let tool = Tool::new();
    let started = timer().monotonic();
    let report = IsolationReport::probe(&executors);
    let took = timer().monotonic().since(started);
    // Some 10 ms on an idle machine.
    assert!(took < Duration::from_millis(250), "{took:?}");
    // The first look makes what splits sandboxes off, which stays as long as its host.
    let before = Counts::now(tool.folder());
    assert_eq!(IsolationReport::probe(&executors), report);
    assert_eq!(Counts::now(tool.folder()), before);

    assert!(report.seccomp && report.user_namespaces && report.network_namespaces && report.landlock_scopes);
    let groups = report.cgroup.as_ref().unwrap();
    assert_eq!(groups.controllers, ["cpu", "memory", "pids"]);
    assert!(groups.freeze);
    let levels: Vec<_> = report.levels.iter().map(|level| (level.level, level.guarantees)).collect();
    let expected = [
        (Level::InProcess, GuaranteeSet::NONE),
        (Level::Child, GuaranteeSet::NONE.with(Guarantee::NoHostEnv)),
        (Level::Process, Guarantee::ALL.into_iter().collect()),
    ];
    assert_eq!(levels, expected);
    assert!(report.levels.iter().all(|level| level.unavailable.is_none()));

    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<IsolationReport>(&json).unwrap(), report);
}
