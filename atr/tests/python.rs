//! Functions in Python as tools, by an interpreter of this machine.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]
#![expect(clippy::unwrap_in_result, reason = "a test may fail loudly")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent_primitives::AgentId;
use agent_tool_registry::executor::Process;
use agent_tool_registry::executor::python::{MAX_SOURCE, PythonFunction};
use agent_tool_registry::{
    Arguments, CallContext, Executors, Level, Limits, Registry, SandboxPolicy, TokioTimer, ToolError,
};
use serde_json::{Value, json};

/// Where the tests run it: what a host would take, and the least that can run it at all.
fn places() -> Vec<(Level, Executors, SandboxPolicy)> {
    vec![
        (Level::Child, Executors::host(), SandboxPolicy::at_least(Level::Child)),
        (Level::Process, Executors::none().with(Process::new()), SandboxPolicy::CONFINED),
    ]
}

fn interpreter() -> PathBuf {
    let paths = std::env::var_os("PATH").unwrap();
    let found = std::env::split_paths(&paths).map(|path| path.join("python3")).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("the tests need `python3`"))
}

/// Registers a function and calls it.
fn call(
    place: &(Level, Executors, SandboxPolicy),
    source: &str,
    arguments: Value,
) -> Result<Value, ToolError> {
    let (_, executors, sandbox) = place;
    let function = PythonFunction::new(interpreter(), source, "tool").unwrap();
    let mut builder = Registry::builder().executors(executors.clone());
    builder
        .tool("t")
        .description("Test.")
        .isolation(*sandbox)
        .permissions(function.permissions().clone())
        .limits(Limits { output_bytes: 64 << 10, ..Limits::DEFAULT })
        .program(json!({"type": "object", "additionalProperties": true}), [function.artefact()])
        .unwrap();
    let registry = builder.build();
    let context = CallContext::new("tester".parse::<AgentId>().unwrap(), Arc::new(TokioTimer::new()));
    let run = async {
        let invocation = registry.prepare(&"t".parse().unwrap(), Arguments::from_value(arguments)?)?;
        invocation.run(context).await.map(agent_tool_registry::Output::into_value)
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run)
}

#[test]
fn arguments_come_by_name_and_the_value_is_the_answer() {
    for place in places() {
        let cases = [
            ("def tool(a, b=2):\n    return a * b", json!({"a": 21}), json!(42)),
            (
                "def tool(**all):\n    return all",
                json!({"é\u{1F600}": [null, 1.5]}),
                json!({"é\u{1F600}": [null, 1.5]}),
            ),
            ("def tool():\n    return None", json!({}), Value::Null),
            (
                "import asyncio\nasync def tool(a):\n    await asyncio.sleep(0)\n    return [a]",
                json!({"a": 1}),
                json!([1]),
            ),
            ("tool = lambda: __import__('json').dumps({})", json!({}), json!("{}")),
            (
                "import dataclasses, statistics\n@dataclasses.dataclass\nclass P:\n    x: int\ndef tool(n):\n    return statistics.mean([P(n).x, 4])",
                json!({"n": 2}),
                json!(3),
            ),
            (
                "import threading\ndef tool():\n    threading.Thread(target=threading.Event().wait).start()\n    return 'left a thread'",
                json!({}),
                json!("left a thread"),
            ),
        ];
        for (source, arguments, answer) in cases {
            assert_eq!(call(&place, source, arguments).unwrap(), answer, "{source}");
        }
    }
}

#[test]
fn what_a_function_prints_does_not_come_into_its_answer() {
    for place in places() {
        let source = "import os, sys\nprint('{\"forged\": 1}')\ndef tool():\n    print('{\"forged\": 2}')\n    os.system('echo 3')\n    os.write(1, b'4')\n    return 'mine'";
        assert_eq!(call(&place, source, json!({})).unwrap(), "mine");
    }
}

#[test]
fn an_exception_fails_the_call_and_its_traceback_is_for_the_host() {
    for place in places() {
        let cases = [
            ("def tool():\n    raise ValueError('a secret')", "ValueError: a secret"),
            ("def tool():\n    return object()", "not JSON serializable"),
            ("def tool():\n    return float('nan')", "not JSON compliant"),
            ("def tool(a):\n    return a", "missing 1 required positional argument"),
            ("def other():\n    return 1", "no attribute 'tool'"),
            ("def tool(:", "SyntaxError"),
            ("import numpy\ndef tool():\n    return 1", "No module named 'numpy'"),
        ];
        for (source, detail) in cases {
            let error = call(&place, source, json!({})).unwrap_err();
            assert!(matches!(error, ToolError::ExitCode { code: 1, .. }), "{source}: {error}");
            assert!(error.host_detail().unwrap().contains(detail), "{source}: {:?}", error.host_detail());
            assert_eq!(error.to_string(), "the tool's process ended with exit code 1");
        }
        let error = call(&place, "def tool():\n    raise SystemExit(7)", json!({})).unwrap_err();
        assert!(matches!(error, ToolError::ExitCode { code: 7, .. }), "{error}");
    }
}

/// Cargo puts `CARGO_MANIFEST_DIR` into the environment of every test.
#[test]
fn no_variable_of_the_host_reaches_a_function() {
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    for place in places() {
        let source = "import os\ndef tool():\n    return sorted(os.environ)";
        let names = call(&place, source, json!({})).unwrap();
        let theirs = ["PATH", "LANG", "LC_CTYPE", "HOME", "TMPDIR"];
        let names: Vec<&str> = names.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        assert!(names.iter().all(|name| theirs.contains(name)), "{names:?}");
    }
}

#[test]
fn a_confined_function_reads_nothing_of_the_host() {
    let source = "
def tool(path):
    try:
        open(path).read()
        return 'read'
    except OSError as error:
        return type(error).__name__";
    for place in places().iter().filter(|(level, ..)| *level != Level::Child) {
        for path in ["/etc/passwd", "/etc/hostname", "/proc/1/environ", env!("CARGO_MANIFEST_DIR")] {
            let answer = call(place, source, json!({"path": path})).unwrap();
            assert!(
                ["FileNotFoundError", "PermissionError"].contains(&answer.as_str().unwrap()),
                "{path}: {answer}"
            );
        }
    }
}

#[test]
fn what_is_no_function_is_refused_before_it_is_called() {
    let refused =
        |path: &Path, source: &str, name: &str| PythonFunction::new(path, source, name).unwrap_err().code();
    for name in ["", "a b", "1st", "a.b", "f()", "x\n"] {
        assert_eq!(refused(&interpreter(), "def f():\n    pass", name), "AK0983", "{name:?}");
    }
    assert_eq!(refused(&interpreter(), &"#".repeat(MAX_SOURCE + 1), "f"), "AK0983");
    assert_eq!(refused(&interpreter(), "a\0b", "f"), "AK0983");
    for path in ["/nonexistent/python3", "python3", "/bin/true", "/bin/sh"] {
        assert_eq!(refused(Path::new(path), "def f():\n    pass", "f"), "AK0982", "{path}");
    }
}
