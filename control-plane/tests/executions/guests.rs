//! Guests: what each program is in WebAssembly.

use agent_control_plane::atr::{Artefact, Executors, Level, Wasm};

use crate::place::{COUNTED, Does, Place};
use crate::seen::{Eye, Mark};
use crate::wat_text::{command, module, running};

const SPIN: &str = "(loop $again (br $again))";
/// How often it goes round for each number that it counts: a guest counts some hundred times faster than the shell.
const ROUNDS: u32 = 400;

pub(crate) fn place(like: &Place) -> Place {
    let executors = Executors::none().with(Wasm::new().unwrap());
    Place { eye: Eye::Guests { threads: String::new() }, ..Place::elsewhere(like, Level::Wasm, executors) }
}

/// Takes as much memory as it is found by; it begins with one page.
fn grown(mark: &Mark) -> String {
    format!("(drop (memory.grow (i32.const {})))", mark.pages() - 1)
}

pub(crate) fn tool(does: Does, mark: &Mark) -> Option<Artefact> {
    Some(Artefact::Module(match does {
        Does::Spin | Does::Deaf | Does::Family => running(&format!("{} {SPIN} (unreachable)", grown(mark))),
        Does::Count => module(&counting(mark)),
        Does::Polite => return None,
    }))
}

/// As [`tool`], as a command; what is polite reads until there is no more, and ends with 1. Nobody asks an agent to count.
pub(crate) fn agent(does: Does, mark: &Mark) -> Artefact {
    let then = match does {
        Does::Spin | Does::Deaf | Does::Family | Does::Count => format!("{SPIN} (i32.const 0)"),
        Does::Polite => "(local.set $in (call $get-stdin))
            (loop $again
                (call $read (local.get $in) (i64.const 4096) (i32.const 0))
                (br_if $again (i32.eqz (i32.load8_u (i32.const 0)))))
            (i32.const 1)"
            .to_owned(),
    };
    Artefact::Module(command(&format!("{} {then}", grown(mark))))
}

/// Writes what it has counted in decimal digits, from the end of its page backwards.
fn counting(mark: &Mark) -> String {
    format!(
        r#"(func (export "run") (param i32 i32) (result i64) (local $n i32) (local $round i32) (local $at i32)
            {}
            (loop $number
                (local.set $round (i32.const {ROUNDS}))
                (loop $again
                    (local.set $round (i32.sub (local.get $round) (i32.const 1)))
                    (br_if $again (local.get $round)))
                (local.set $n (i32.add (local.get $n) (i32.const 1)))
                (br_if $number (i32.lt_u (local.get $n) (i32.const {COUNTED}))))
            (local.set $at (i32.const 65536))
            (loop $digit
                (local.set $at (i32.sub (local.get $at) (i32.const 1)))
                (i32.store8 (local.get $at)
                    (i32.add (i32.const 48) (i32.rem_u (local.get $n) (i32.const 10))))
                (local.set $n (i32.div_u (local.get $n) (i32.const 10)))
                (br_if $digit (local.get $n)))
            (i64.or
                (i64.shl (i64.extend_i32_u (local.get $at)) (i64.const 32))
                (i64.extend_i32_u (i32.sub (i32.const 65536) (local.get $at)))))"#,
        grown(mark)
    )
}
