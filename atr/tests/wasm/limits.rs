//! What a guest is held to.

use std::net::TcpListener;
use std::time::Duration;

use agent_primitives::Clock;
use agent_tool_registry::{Executor, Limits, TokioTimer, ToolError};
use serde_json::json;

use crate::{answer, block_on, call, context, guests, register, tool};

const FUEL: Limits = Limits { fuel: Some(1_000_000), ..Limits::DEFAULT };

#[test]
fn s03_an_endless_loop_ends_at_its_deadline_on_any_runtime() {
    let limits = Limits { deadline: Duration::from_secs(1), ..Limits::DEFAULT };
    let runtimes =
        [tokio::runtime::Builder::new_current_thread(), tokio::runtime::Builder::new_multi_thread()];
    for mut runtime in runtimes {
        let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
        let registry = register(guests::spinner(), limits).unwrap();
        let (timer, cx) = (TokioTimer::new(), context());
        let start = timer.monotonic();
        let spinning = runtime.spawn(tool(&registry, cx.clone()));
        let error = runtime.block_on(spinning).unwrap().unwrap_err();
        let took = timer.monotonic().since(start);
        assert!(matches!(error, ToolError::Timeout), "{error:?}");
        assert!((Duration::from_secs(1)..Duration::from_millis(1250)).contains(&took), "{took:?}");
        assert!(cx.executions().is_empty());
    }
}

#[test]
fn s05_endless_output_is_cut_off() {
    let endless = guests::command(
        "(local.set $out (call $get-stdout))
        (loop $again
            (call $write (local.get $out) (i32.const 0) (i32.const 4096) (i32.const 8192))
            (br_if $again (i32.eqz (i32.load8_u (i32.const 8192)))))
        (i32.const 1)",
    );
    let finished = block_on(call(endless, Limits::DEFAULT, "{}"));
    assert_eq!(finished.result.unwrap_err().code(), "AK0524");
    // An endless complaint is no failure; the deadline, or here the processor time, ends it.
    let complaining = guests::command(
        "(local.set $out (call $get-stderr))
        (loop $again
            (call $write (local.get $out) (i32.const 0) (i32.const 4096) (i32.const 8192))
            (br $again))
        (i32.const 1)",
    );
    let limits = Limits { cpu: Duration::from_millis(50), ..Limits::DEFAULT };
    assert_eq!(answer(complaining, limits, "{}").unwrap_err().code(), "AK0535");
}

#[test]
fn s11_no_socket_can_even_be_imported() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    for interface in ["wasi:sockets/tcp@0.2.0", "wasi:sockets/udp@0.2.3", "wasi:sockets/ip-name-lookup@0.2.0"]
    {
        let error = register(guests::importing(interface), Limits::DEFAULT).unwrap_err();
        assert!(error.to_string().contains(interface), "{error}");
    }
    let refused = listener.accept().unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn s22_s23_traps_are_named_and_the_next_call_works() {
    let recursion = guests::module(
        r#"(func $deeper (param i32) (result i32) (i32.add (i32.const 1) (call $deeper (local.get 0))))
        (func (export "run") (param i32 i32) (result i64) (i64.extend_i32_u (call $deeper (i32.const 0))))"#,
    );
    let cases = [
        (guests::running("(unreachable)"), "UnreachableCodeReached"),
        (guests::running("(i64.load (i32.const -8))"), "MemoryOutOfBounds"),
        (guests::running("(i64.div_u (i64.const 1) (i64.const 0))"), "IntegerDivisionByZero"),
        (recursion, "StackOverflow"),
    ];
    for (guest, word) in cases {
        let error = answer(guest, Limits::DEFAULT, "{}").unwrap_err();
        assert_eq!((error.code(), error.to_string()), ("AK0539", format!("the tool trapped: {word}")));
        assert_eq!(answer(guests::echo(), Limits::DEFAULT, "1").unwrap(), 1);
    }
}

#[test]
fn s24_memory_beyond_the_limit_is_refused_and_the_guest_goes_on() {
    let limits = Limits { memory_bytes: 1 << 20, ..Limits::DEFAULT };
    let grown = |pages: &str| guests::digit("", &format!("(memory.grow (i32.const {pages}))"));
    assert_eq!(answer(grown("16384"), limits, "{}").unwrap(), -1);
    assert_eq!(answer(grown("16"), limits, "{}").unwrap(), -1);
    // The one page it had.
    let finished = block_on(call(grown("15"), limits, "{}"));
    assert_eq!(finished.result.unwrap().into_value(), 1);
    assert_eq!(finished.usage.peak_memory, Some(1 << 20));
}

#[test]
fn tables_count_as_memory_and_are_bounded() {
    let grown = |entries: &str| {
        guests::digit(
            "(table $t 1 funcref)",
            &format!("(table.grow $t (ref.null func) (i32.const {entries}))"),
        )
    };
    assert_eq!(answer(grown("10000"), Limits::DEFAULT, "{}").unwrap(), -1);
    assert_eq!(answer(grown("9999"), Limits::DEFAULT, "{}").unwrap(), 1);
    let tight = Limits { memory_bytes: 128 << 10, ..Limits::DEFAULT };
    assert_eq!(answer(grown("9999"), tight, "{}").unwrap(), -1);
    assert_eq!(answer(grown("8000"), tight, "{}").unwrap(), 1);
}

#[test]
fn a_guest_that_begins_with_too_much_memory_does_not_begin() {
    let limits = Limits { memory_bytes: 64 << 10, ..Limits::DEFAULT };
    let module = guests::wat(
        r#"(module (memory (export "memory") 2)
            (func (export "alloc") (param i32) (result i32) (i32.const 0))
            (func (export "run") (param i32 i32) (result i64) (i64.const 0)))"#,
    );
    assert_eq!(answer(module.clone(), limits, "{}").unwrap_err().code(), "AK0536");
    assert!(register(module, limits).unwrap_err().to_string().contains("131072 bytes"));
    // Memory and tables together.
    let both = guests::digit("(table 1 funcref)", "(i32.const 1)");
    assert_eq!(answer(both, limits, "{}").unwrap_err().code(), "AK0536");
}

#[test]
fn s25_fuel_runs_out_at_the_same_place_each_time() {
    for _ in 0..100 {
        let finished = block_on(call(guests::spinner(), FUEL, "{}"));
        assert!(matches!(finished.result, Err(ToolError::FuelExhausted)), "{:?}", finished.result);
        assert_eq!(finished.usage.fuel, Some(1_000_000));
    }
}

#[test]
fn start_functions_are_held_to_the_limits() {
    let starting = guests::module(
        r#"(func $start (loop $again (br $again))) (start $start)
        (func (export "run") (param i32 i32) (result i64) (i64.const 0))"#,
    );
    let quick = Limits { cpu: Duration::from_millis(20), ..Limits::DEFAULT };
    assert_eq!(answer(starting.clone(), FUEL, "{}").unwrap_err().code(), "AK0538");
    assert_eq!(answer(starting.clone(), quick, "{}").unwrap_err().code(), "AK0535");
    let registry = register(starting, Limits { deadline: Duration::from_millis(50), ..Limits::DEFAULT });
    assert_eq!(block_on(tool(&registry.unwrap(), context())).unwrap_err().code(), "AK0520");
}

#[test]
fn processor_time_is_limited_and_sleep_is_not_counted() {
    let limits = Limits { cpu: Duration::from_millis(100), ..Limits::DEFAULT };
    for spinner in [guests::spinner(), guests::command("(loop $again (br $again)) (i32.const 0)")] {
        let finished = block_on(call(spinner, limits, "{}"));
        assert_eq!(finished.result.unwrap_err().code(), "AK0535");
        let used = finished.usage.cpu.unwrap();
        assert!((limits.cpu..limits.cpu * 2).contains(&used), "{used:?}");
    }
    let sleeper = guests::command_with(
        r#"(data (i32.const 64) "7")"#,
        "(call $sleep (i64.const 300000000))
        (call $write (call $get-stdout) (i32.const 64) (i32.const 1) (i32.const 0))
        (i32.const 0)",
    );
    let start = TokioTimer::new();
    assert_eq!(answer(sleeper, limits, "{}").unwrap(), json!(7));
    assert!(Duration::from_millis(300) <= Duration::from_nanos(start.monotonic().as_nanos()));
}

#[test]
fn a_guest_that_computes_leaves_the_runtime_to_others() {
    block_on(async {
        let spinning = tokio::spawn(call(guests::spinner(), Limits::DEFAULT, "{}"));
        for _ in 0..20 {
            assert_eq!(call(guests::echo(), Limits::DEFAULT, "1").await.result.unwrap().into_value(), 1);
            tokio::task::yield_now().await;
        }
        assert!(!spinning.is_finished());
        spinning.abort();
        assert!(spinning.await.unwrap_err().is_cancelled());
    });
}

#[test]
fn the_guests_of_an_agent_have_so_much_memory_together() {
    const STACK: u64 = (3 << 20) / 2;
    const MIB: u64 = 1 << 20;
    let limits = Limits { memory_bytes: 4 * MIB, ..Limits::DEFAULT };
    // Room for two stacks and 6 MiB.
    let wasm = agent_tool_registry::Wasm::new().unwrap().agent_memory(2 * STACK + 6 * MIB);
    let by = |agent: &str, module: bytes::Bytes| {
        let executions = crate::executions();
        let launch = agent_tool_registry::executor::Launch {
            agent: agent.parse().unwrap(),
            ..crate::launch(module, limits, &executions)
        };
        let wasm = wasm.clone();
        let call = async move { wasm.call(launch, bytes::Bytes::from_static(b"{}")).await };
        (executions, call)
    };
    // 3 MiB and a page; what it had before, or -1.
    let more = || guests::digit("", "(memory.grow (i32.const 48))");
    let code = |finished: agent_tool_registry::executor::Finished| match finished.result {
        Ok(answer) => answer.into_value(),
        Err(error) => json!(error.code()),
    };
    block_on(async {
        let holding =
            guests::running("(drop (memory.grow (i32.const 63))) (loop $again (br $again)) (unreachable)");
        let mut held = Vec::new();
        let (executions, call) = by("greedy", holding.clone());
        held.push(tokio::spawn(call));
        let has = || executions.under_way().first().and_then(|control| control.usage().peak_memory);
        crate::until(|| has() == Some(4 * MIB)).await;
        // A stack and 2 MiB are left, and that is for this agent alone.
        assert_eq!(code(by("greedy", more()).1.await), -1);
        assert_eq!(code(by("modest", more()).1.await), 1);
        for _ in 0..2 {
            let (executions, call) = by("greedy", guests::spinner());
            held.push(tokio::spawn(call));
            crate::until(|| !executions.is_empty()).await;
        }
        // Their two stacks leave half a mebibyte, which is room for none.
        assert_eq!(code(by("greedy", guests::echo()).1.await), "AK0534");
        assert_eq!(code(by("modest", guests::echo()).1.await), json!({}));
        for call in held {
            call.abort();
            assert!(call.await.unwrap_err().is_cancelled());
        }
        assert_eq!(code(by("greedy", more()).1.await), 1, "it is given back");
    });
    let beyond = Limits { memory_bytes: 2 * STACK + 6 * MIB + 1, ..limits };
    let refused = wasm.guarantees(&agent_tool_registry::Permissions::none(), &beyond);
    assert_eq!(refused.unwrap_err().code(), "AK0534");
}
