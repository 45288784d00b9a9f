//! The three forms, and what comes of their answers.

use agent_tool_registry::executor::Finished;
use agent_tool_registry::{Access, Guarantee, Level, Limits, Permissions, SandboxPolicy, ToolError};
use agent_tool_registry::{Artefact, Executor, Executors};
use serde_json::json;

use crate::{answer, block_on, call, context, executions, guests, launch, register, tool, wasm};

#[test]
fn each_form_answers() {
    for (form, guest) in
        [("module", guests::echo()), ("function", guests::saying(0)), ("command", guests::cat())]
    {
        let said = r#"{"a":[1,"ä"]}"#;
        assert_eq!(answer(guest, Limits::DEFAULT, said).unwrap(), json!({"a": [1, "ä"]}), "{form}");
    }
}

#[test]
fn a_tool_is_run_with_all_guarantees_and_says_what_it_used() {
    let policy = SandboxPolicy { require: Guarantee::ALL.into_iter().collect(), ..SandboxPolicy::CONFINED };
    let executors = Executors::none().with(wasm().clone());
    let artefacts = [Artefact::Module(guests::echo())];
    let chosen = executors.choose(&artefacts, policy, &Permissions::none(), &Limits::DEFAULT);
    assert_eq!(chosen.unwrap().0.level(), Level::Wasm);

    let registry = register(guests::echo(), Limits { fuel: Some(1_000_000), ..Limits::DEFAULT }).unwrap();
    let cx = context();
    block_on(tool(&registry, cx.clone())).unwrap();
    let ran = cx.ran().unwrap();
    assert_eq!((ran.level, ran.guarantees), (Level::Wasm, Guarantee::ALL.into_iter().collect()));
    assert_eq!(ran.usage.peak_memory, Some(64 << 10));
    assert!((1..1000).contains(&ran.usage.fuel.unwrap()), "{ran:?}");
    assert!(ran.usage.cpu.is_some_and(|cpu| !cpu.is_zero()));
    assert!(cx.executions().is_empty());
}

#[test]
fn a_function_fails_in_its_own_words() {
    let error = answer(guests::saying(1), Limits::DEFAULT, "no such account").unwrap_err();
    assert_eq!((error.code(), error.to_string().as_str()), ("AK0523", "the tool failed: no such account"));
}

#[test]
fn a_command_that_fails_keeps_its_complaint_for_the_host() {
    let complaint = r#"(data (i32.const 64) "where is /root")"#;
    let complain = "(call $write (call $get-stderr) (i32.const 64) (i32.const 14) (i32.const 0))";
    for ending in ["(i32.const 1)", "(call $exit (i32.const 1)) (unreachable)"] {
        let guest = guests::command_with(complaint, &format!("{complain} {ending}"));
        let error = answer(guest, Limits::DEFAULT, "{}").unwrap_err();
        assert_eq!(
            (error.code(), error.host_detail().as_deref()),
            ("AK0531", Some("where is /root")),
            "{ending}"
        );
    }
}

#[test]
fn answers_that_are_none() {
    let limits = Limits { output_bytes: 4096, ..Limits::DEFAULT };
    let at =
        |place: u64, length: u64| guests::running(&format!("(i64.const {})", (place << 32 | length) as i64));
    let cases = [
        ("not JSON", guests::answering("{"), "AK0525"),
        ("two values", guests::answering("1 2"), "AK0525"),
        ("nothing", guests::answering(""), "AK0525"),
        (
            "not UTF-8",
            guests::module(
                r#"(data (i32.const 16) "\"\ff\"")
            (func (export "run") (param i32 i32) (result i64) (i64.const 0x1000000003))"#,
            ),
            "AK0525",
        ),
        ("outside of memory", at(65_535, 2), "AK0525"),
        ("far outside of memory", at(0xffff_ffff, 4096), "AK0525"),
        ("too long", at(0, 4097), "AK0524"),
        ("as long as can be", at(0, 0xffff_ffff), "AK0524"),
        ("a text that is too long", guests::long(4097), "AK0524"),
        ("a text that is far too long", guests::long(12 << 20), "AK0524"),
        ("a text outside of memory", guests::long(200 << 20), "AK0539"),
        ("exit without an answer", guests::command("(call $exit (i32.const 0)) (unreachable)"), "AK0525"),
    ];
    for (case, guest, code) in cases {
        assert_eq!(answer(guest, limits, "{}").unwrap_err().code(), code, "{case}");
    }
}

#[test]
fn arguments_go_where_alloc_says_or_nowhere() {
    for place in ["65535", "-1", "0x7fffffff"] {
        let guest = guests::wat(&format!(
            r#"(module (memory (export "memory") 1)
                (func (export "alloc") (param i32) (result i32) (i32.const {place}))
                (func (export "run") (param i32 i32) (result i64) (unreachable)))"#
        ));
        let error = answer(guest, Limits::DEFAULT, "{}").unwrap_err();
        assert_eq!(
            error.host_detail().as_deref(),
            Some("`alloc` answered a place outside its memory"),
            "{place}"
        );
    }
}

#[test]
fn a_thousand_runs_give_the_same_answer_and_burn_the_same_fuel() {
    let limits = Limits { fuel: Some(1_000_000), ..Limits::DEFAULT };
    let run = || {
        let Finished { result, usage, .. } = block_on(call(guests::looking_around(), limits, "{}"));
        (result.unwrap().into_value(), usage.fuel.unwrap())
    };
    let first = run();
    let numbers = first.0.as_str().unwrap();
    assert_ne!(numbers.get(..16), numbers.get(16..32), "the same number twice is not random");
    for _ in 1..1000 {
        assert_eq!(run(), first);
    }
}

#[test]
fn another_seed_gives_other_random_numbers() {
    let other = agent_tool_registry::Wasm::with_seed([1; 32]).unwrap();
    let run = |wasm: &agent_tool_registry::Wasm| {
        let launch = launch(guests::looking_around(), Limits::DEFAULT, &executions());
        block_on(wasm.call(launch, "{}".into())).result.unwrap().into_value()
    };
    assert_ne!(run(wasm()), run(&other));
}

#[test]
fn randomness_for_secrets_is_not_given() {
    let error = answer(guests::wanting_secrets(), Limits::DEFAULT, "{}").unwrap_err();
    assert_eq!((error.code(), error.host_detail().as_deref()), ("AK0540", Some("wasi:random/random")));
}

#[test]
fn nothing_of_the_host_can_be_granted() {
    let folder = std::env::temp_dir();
    for permissions in [Permissions::none().folder(folder, Access::Read), Permissions::none().with_proc()] {
        let mut launch = launch(guests::echo(), Limits::DEFAULT, &executions());
        launch.permissions = permissions;
        let refused = block_on(wasm().call(launch, "{}".into())).result.unwrap_err();
        assert!(matches!(refused, ToolError::ExecutorUnavailable { level: Level::Wasm, .. }), "{refused:?}");
    }
}

#[test]
fn a_program_of_another_kind_is_not_taken() {
    let image =
        Artefact::Image { reference: format!("sha256:{}", "0".repeat(64)), argv: vec!["/x".to_owned()] };
    assert!(!wasm().takes(&image));
    assert!(wasm().check(&image, &Limits::DEFAULT).is_err());
    let launch = agent_tool_registry::executor::Launch {
        artefact: image,
        ..launch(guests::echo(), Limits::DEFAULT, &executions())
    };
    assert_eq!(block_on(wasm().call(launch, "{}".into())).result.unwrap_err().code(), "AK0534");
}
