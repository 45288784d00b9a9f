//! Bytes that are no program, or one that should not be.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use agent_primitives::{Clock, ManualClock, Timestamp};
use agent_tool_registry::{Artefact, Executor, Limits, TokioTimer};
use bytes::Bytes;
use proptest::prelude::*;

use crate::{answer, block_on, executions, guests, launch, register, until, wasm};

/// Why it is refused when it is registered. When it is called in spite of that, it is refused for the same reason.
fn refused(bytes: impl Into<Bytes>) -> String {
    let bytes = bytes.into();
    let reason = wasm().check(&Artefact::Module(bytes.clone()), &Limits::DEFAULT).unwrap_err();
    let error = answer(bytes, Limits::DEFAULT, "{}").unwrap_err();
    assert_eq!((error.code(), error.host_detail().as_deref()), ("AK0543", Some(reason.as_str())));
    assert_eq!(error.to_string(), "the tool's program cannot be run");
    assert!(!error.retryable());
    reason
}

#[test]
fn s26_an_import_that_is_not_there_is_named_at_registration() {
    let module = guests::wat(
        r#"(module (import "env" "open_socket" (func)) (memory (export "memory") 1)
            (func (export "alloc") (param i32) (result i32) (i32.const 0))
            (func (export "run") (param i32 i32) (result i64) (i64.const 0)))"#,
    );
    for (guest, import) in
        [(module, "open_socket"), (guests::importing("acme:tools/shell@1.0.0"), "acme:tools/shell@1.0.0")]
    {
        let error = register(guest.clone(), Limits::DEFAULT).unwrap_err();
        assert_eq!(error.code(), "AK0503");
        assert!(error.to_string().contains(import), "{error}");
        assert!(refused(guest).contains(import));
    }
}

#[test]
fn what_is_no_program_is_refused() {
    let no_program = "neither a module nor a component";
    let cases: [(&str, &[u8], &str); 7] = [
        ("nothing", b"", no_program),
        ("half a magic number", b"\0as", no_program),
        ("text", b"(module)", no_program),
        ("another version", b"\0asm\x02\0\0\0", no_program),
        ("an object file, as precompiled code is", b"\x7fELF\x02\x01\x01\0\0\0\0\0", no_program),
        ("an empty module", b"\0asm\x01\0\0\0", "no memory"),
        ("an empty component", b"\0asm\x0d\0\x01\0", "neither a function `run`"),
    ];
    for (case, bytes, reason) in cases {
        let said = refused(Bytes::copy_from_slice(bytes));
        assert!(said.contains(reason), "{case}: {said}");
    }
}

#[test]
fn sections_that_promise_too_much_are_refused_at_once() {
    let timer = TokioTimer::new();
    // Of each section: 4294967295 items, with a body of five bytes.
    for section in 1..=12_u8 {
        let mut bytes = b"\0asm\x01\0\0\0".to_vec();
        bytes.extend_from_slice(&[section, 5, 0xff, 0xff, 0xff, 0xff, 0x0f]);
        refused(bytes);
        // And one whose body is as large as can be.
        let mut bytes = b"\0asm\x01\0\0\0".to_vec();
        bytes.extend_from_slice(&[section, 0xff, 0xff, 0xff, 0xff, 0x0f, 0]);
        refused(bytes);
    }
    assert!(timer.monotonic().as_nanos() < 12 * 2 * 1_000_000_000);
}

#[test]
fn what_is_truncated_is_refused() {
    for guest in [guests::echo(), guests::saying(0)] {
        let accepts = |length: &usize| {
            wasm().check(&Artefact::Module(guest.slice(..*length)), &Limits::DEFAULT).is_ok()
        };
        // The names at the end are no part of the program: without all of them it is whole.
        assert_eq!((0..guest.len()).filter(accepts).count(), 1);
    }
}

#[test]
fn eight_mebibytes_are_the_most() {
    let padded = |size: usize| {
        let mut bytes = guests::echo().to_vec();
        // A custom section with the empty name: its identity, four bytes of length, the length of the name.
        let padding = size - bytes.len() - 6;
        bytes.push(0);
        let length = u32::try_from(padding + 1).unwrap();
        for place in 0..4 {
            let more = if place == 3 { 0 } else { 0x80 };
            bytes.push(u8::try_from(length >> (7 * place) & 0x7f).unwrap() | more);
        }
        bytes.push(0);
        bytes.resize(size, 0);
        Bytes::from(bytes)
    };
    assert_eq!(answer(padded(8 << 20), Limits::DEFAULT, "1").unwrap(), 1);
    assert!(refused(padded((8 << 20) + 1)).contains("larger than 8388608 bytes"));
}

#[test]
fn nobody_waits_for_long_for_a_compiler_and_what_it_makes_is_kept() {
    let body =
        "(local.set 0 (i32.add (i32.mul (local.get 0) (i32.const 3)) (i32.load (local.get 0))))".repeat(200);
    let functions = format!("(func (param i32) (result i32) {body} (local.get 0))").repeat(400);
    let large = guests::module(&format!(
        r#"{functions} (data (i32.const 16) "7")
        (func (export "run") (param i32 i32) (result i64) (i64.const 0x1000000001))"#
    ));
    let clock = ManualClock::at(Timestamp::from_micros(0));
    block_on(async {
        let mut impatient = launch(large.clone(), Limits::DEFAULT, &executions());
        impatient.timer = Arc::new(clock.clone());
        let call = tokio::spawn(async move { wasm().call(impatient, Bytes::from_static(b"{}")).await });
        until(|| clock.sleepers() == 1).await;
        clock.advance(Duration::from_secs(10));
        let error = call.await.unwrap().result.unwrap_err();
        assert_eq!(
            (error.code(), error.host_detail().as_deref()),
            ("AK0534", Some("it takes too long to compile"))
        );
        // On a clock that stands still, nobody becomes impatient.
        let mut patient = launch(large, Limits::DEFAULT, &executions());
        patient.timer = Arc::new(clock);
        let finished = wasm().call(patient, Bytes::from_static(b"{}")).await;
        assert_eq!(finished.result.unwrap().into_value(), 7);
    });
}

#[test]
fn shapes_that_are_not_allowed_are_refused() {
    let run = r#"(func (export "run") (param i32 i32) (result i64) (i64.const 0))"#;
    let alloc = r#"(func (export "alloc") (param i32) (result i32) (i32.const 0))"#;
    let memory = r#"(memory (export "memory") 1)"#;
    let cases = [
        ("no memory", format!("(module {alloc} {run})"), "no memory"),
        ("no alloc", format!("(module {memory} {run})"), "no `alloc`"),
        ("no run", format!("(module {memory} {alloc})"), "no `run`"),
        ("a global as memory", format!(r#"(module (global (export "memory") i32 (i32.const 0)) {alloc} {run})"#), "no memory"),
        ("a global as run", format!(r#"(module {memory} {alloc} (global (export "run") i32 (i32.const 0)))"#), "no `run`"),
        ("run answers an i32", format!(r#"(module {memory} {alloc} (func (export "run") (param i32 i32) (result i32) (i32.const 0)))"#), "no `run`"),
        ("run takes too much", format!(r#"(module {memory} {alloc} (func (export "run") (param i32 i32 i32) (result i64) (i64.const 0)))"#), "no `run`"),
        ("alloc answers nothing", format!(r#"(module {memory} {run} (func (export "alloc") (param i32)))"#), "no `alloc`"),
        ("alloc takes an i64", format!(r#"(module {memory} {run} (func (export "alloc") (param i64) (result i32) (i32.const 0)))"#), "no `alloc`"),
        ("two memories", format!("(module {memory} (memory 1) {alloc} {run})"), "memor"),
        ("64-bit memory", format!(r#"(module (memory (export "memory") i64 1) {alloc} {run})"#), "memory64"),
        ("shared memory", format!(r#"(module (memory (export "memory") 1 1 shared) {alloc} {run})"#), "threads"),
        ("an atomic", format!("(module {memory} {alloc} {run} (func (drop (i32.atomic.load (i32.const 0)))))"), "threads"),
        ("relaxed SIMD", format!("(module {memory} {alloc} {run} (func (param v128) (drop (i8x16.relaxed_swizzle (local.get 0) (local.get 0)))))"), "relaxed"),
        ("garbage collection", format!("(module {memory} {alloc} {run} (type (struct (field i32))))"), "gc"),
        ("nine tables", format!("(module {memory} {alloc} {run} {})", "(table 1 funcref)".repeat(9)), "tables"),
        ("a table that is too long", format!("(module {memory} {alloc} {run} (table 10001 funcref))"), "10000 entries"),
        ("a table bomb", format!("(module {memory} {alloc} {run} (table 4294967295 funcref))"), "10000 entries"),
        ("two memories in two modules", r#"(component
            (core module $m (memory 1)) (core instance (instantiate $m)) (core instance (instantiate $m)))"#.to_owned(), "more than 1 memory"),
        ("a run that is no function", r#"(component (component $c) (instance $i (instantiate $c)) (export "run" (instance $i)))"#.to_owned(), "its `run` is not"),
        ("a run of another type", r#"(component (core module $m (func (export "f") (result i32) (i32.const 0))) (core instance $i (instantiate $m))
            (func $f (result u32) (canon lift (core func $i "f"))) (export "run" (func $f)))"#.to_owned(), "its `run` is not"),
    ];
    let reasons: BTreeSet<String> = cases
        .into_iter()
        .map(|(case, text, reason)| {
            let said = refused(guests::wat(&text));
            assert!(said.contains(reason), "{case}: {said}");
            said
        })
        .collect();
    assert!(reasons.iter().all(|reason| !reason.contains('\n') && reason.chars().count() <= 257));
}

#[test]
fn memory_as_large_as_can_be_is_refused_before_it_is_reserved() {
    for pages in [65_536, 4097] {
        let guest = guests::wat(&format!(
            r#"(module (memory (export "memory") {pages})
                (func (export "alloc") (param i32) (result i32) (i32.const 0))
                (func (export "run") (param i32 i32) (result i64) (i64.const 0)))"#
        ));
        let error = answer(guest, Limits::DEFAULT, "{}").unwrap_err();
        assert_eq!(error.code(), "AK0536");
    }
}

#[test]
fn a_call_fails_and_nothing_else_when_data_does_not_fit_its_memory() {
    let guest = guests::module(
        r#"(data (i32.const 65535) "ab") (func (export "run") (param i32 i32) (result i64) (i64.const 0))"#,
    );
    assert_eq!(answer(guest, Limits::DEFAULT, "{}").unwrap_err().code(), "AK0539");
    assert_eq!(answer(guests::echo(), Limits::DEFAULT, "1").unwrap(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// Whatever is done to a good program, what comes of it is an answer or an error: no panic, no hang, no crash.
    #[test]
    fn a_damaged_program_is_refused_or_run(
        which in 0..3_usize,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let guest = [guests::echo(), guests::saying(0), guests::cat()].into_iter().nth(which).unwrap();
        let mut bytes = guest.to_vec();
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        let limits = Limits {
            fuel: Some(100_000),
            deadline: Duration::from_secs(5),
            ..Limits::DEFAULT
        };
        let _ = answer(bytes.into(), limits, "1");
    }

    #[test]
    fn bytes_by_chance_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..512), component: bool) {
        let mut module = if component { b"\0asm\x0d\0\x01\0".to_vec() } else { b"\0asm\x01\0\0\0".to_vec() };
        module.extend(bytes);
        prop_assert!(wasm().check(&Artefact::Module(module.into()), &Limits::DEFAULT).is_err());
    }
}
