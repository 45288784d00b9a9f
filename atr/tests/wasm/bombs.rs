//! Small programs that would keep a compiler busy for long.

use std::sync::Arc;
use std::time::Duration;

use agent_primitives::{Clock, ManualClock, Timestamp};
use agent_tool_registry::executor::Finished;
use agent_tool_registry::{Artefact, Executor, Limits, TokioTimer, Wasm};
use bytes::Bytes;

use crate::{block_on, executions, guests, launch, until, wasm};

const I32: u8 = 0x7f;
const EMPTY: u8 = 0x40;
const END: u8 = 0x0b;

/// A number in LEB128.
fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while 0x7f < number {
        bytes.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).unwrap());
    bytes
}

fn section(id: u8, items: usize, content: &[u8]) -> Vec<u8> {
    let count = leb(items);
    [vec![id], leb(count.len() + content.len()), count, content.to_vec()].concat()
}

/// A module with all that it needs, and these bodies of functions besides; their type takes and gives `wide` numbers.
fn with_bodies(wide: usize, bodies: &[Vec<u8>]) -> Bytes {
    let numbers = [leb(wide), vec![I32; wide]].concat();
    let types = [&[0x60, 1, I32, 1, I32, 0x60, 2, I32, I32, 1, 0x7e, 0x60][..], &numbers, &numbers].concat();
    let functions = [vec![0, 1], vec![2; bodies.len()]].concat();
    let mut exports = Vec::new();
    for (name, rest) in [("memory", [2, 0]), ("alloc", [0, 0]), ("run", [0, 1])] {
        exports.extend([leb(name.len()), name.as_bytes().to_vec(), rest.to_vec()].concat());
    }
    // `alloc` answers 0, and `run` no text at all.
    let ours = [vec![0, 0x41, 0, END], vec![0, 0x42, 0, END]];
    let code: Vec<u8> =
        ours.iter().chain(bodies).flat_map(|body| [leb(body.len()), body.clone()].concat()).collect();
    [
        b"\0asm\x01\0\0\0".to_vec(),
        section(1, 3, &types),
        section(3, functions.len(), &functions),
        section(5, 1, &[0, 1]),
        section(7, 3, &exports),
        section(10, 2 + bodies.len(), &code),
    ]
    .concat()
    .into()
}

/// A body with this many locals that are numbers, and these instructions.
fn body(locals: usize, instructions: &[u8]) -> Vec<u8> {
    [&[1][..], &leb(locals), &[I32], instructions, &[END]].concat()
}

/// `opcode` (if or loop) again and again, each of which reads one local and sets another.
fn branches(opcode: u8, locals: usize, count: usize) -> Vec<u8> {
    let one = |number: usize| {
        let open: &[u8] = if opcode == 0x04 { &[0x20, 0, 0x04, EMPTY] } else { &[0x03, EMPTY] };
        [open, &[0x20], &leb(number % locals), &[0x41, 1, 0x6a, 0x21], &leb(number * 7 % locals), &[END]]
            .concat()
    };
    (0..count).flat_map(one).collect()
}

fn nested_loops(depth: usize) -> Vec<u8> {
    [[0x03, EMPTY].repeat(depth), vec![END; depth]].concat()
}

/// Takes some seconds to compile here, and is not too much.
fn slow(number: usize) -> Bytes {
    with_bodies(0, &[body(1000 + number, &branches(0x04, 1000, 600))])
}

#[test]
fn what_would_take_long_to_compile_is_refused_before_that_begins() {
    let functions = "too many functions, or too many locals and branches";
    let deep = "loops lie too deep";
    let cases = [
        (
            "many branches with many locals",
            with_bodies(0, &[body(10_000, &branches(0x04, 10_000, 10_000))]),
            Some(functions),
        ),
        (
            "many loops with many locals",
            with_bodies(0, &[body(10_000, &branches(0x03, 10_000, 10_000))]),
            Some(functions),
        ),
        (
            "the same in many functions",
            with_bodies(0, &vec![body(1000, &branches(0x03, 1000, 500)); 100]),
            Some(functions),
        ),
        ("many functions", with_bodies(0, &vec![body(0, &[]); 50_000]), Some(functions)),
        // Each call hands on two thousand numbers, in two bytes.
        ("wide calls", with_bodies(1000, &[body(0, &[0x10, 2].repeat(20_000))]), Some(functions)),
        ("deep loops", with_bodies(0, &[body(1, &nested_loops(65))]), Some(deep)),
        ("loops one after the other", with_bodies(0, &[body(1, &nested_loops(64).repeat(10))]), None),
        ("a hundred functions", with_bodies(0, &vec![body(1, &branches(0x04, 1, 4)); 100]), None),
    ];
    let timer = TokioTimer::new();
    for (case, bomb, reason) in cases {
        assert!(bomb.len() < 2 << 20, "{case}: {} bytes", bomb.len());
        let began = timer.monotonic();
        let said = wasm().check(&Artefact::Module(bomb), &Limits::DEFAULT);
        let took = timer.monotonic().since(began);
        match reason {
            Some(reason) => {
                assert!(said.as_ref().is_err_and(|said| said.contains(reason)), "{case}: {said:?}");
                assert!(took < Duration::from_secs(5), "{case}: {took:?}");
            }
            None => assert_eq!(said, Ok(()), "{case}"),
        }
    }
}

#[test]
fn what_takes_long_to_compile_keeps_no_other_program_waiting() {
    let clock = ManualClock::at(Timestamp::from_micros(0));
    let wasm = Wasm::new().unwrap();
    // On a clock that stands still, nobody becomes impatient.
    let call = |module: Bytes| {
        let (wasm, timer) = (wasm.clone(), Arc::new(clock.clone()));
        let launch = launch(module, Limits::DEFAULT, &executions());
        tokio::spawn(async move {
            let launch = agent_tool_registry::executor::Launch { timer, ..launch };
            wasm.call(launch, Bytes::from_static(b"1")).await
        })
    };
    let code = |finished: Finished| finished.result.unwrap_err().code();
    block_on(async {
        // As many as there are compilers.
        let slow_ones = [call(slow(1)), call(slow(2))];
        until(|| clock.sleepers() == 2).await;
        clock.advance(Duration::from_secs(10));
        for call in slow_ones {
            assert_eq!(code(call.await.unwrap()), "AK0534");
        }
        let again = call(slow(1));
        assert_eq!(call(guests::echo()).await.unwrap().result.unwrap().into_value(), 1);
        assert!(!again.is_finished(), "it was not slow enough to show anything");
        // What is made of it is kept all the same.
        assert_eq!(code(again.await.unwrap()), "AK0525");
    });
}
