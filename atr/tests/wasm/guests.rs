//! Guests, as text.

use bytes::Bytes;

pub(crate) fn wat(text: &str) -> Bytes {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}\n{text}")).into()
}

/// A module with one page of memory, an `alloc` that answers 1024, and `rest`.
pub(crate) fn module(rest: &str) -> Bytes {
    wat(&format!(
        r#"(module
            (memory (export "memory") 1)
            (func (export "alloc") (param i32) (result i32) (i32.const 1024))
            {rest})"#
    ))
}

/// The same with the instructions of `run`, whose parameters are `$ptr` and `$len`.
pub(crate) fn running(instructions: &str) -> Bytes {
    module(&format!(r#"(func (export "run") (param $ptr i32) (param $len i32) (result i64) {instructions})"#))
}

/// Answers with its arguments.
pub(crate) fn echo() -> Bytes {
    running(
        "(i64.or
            (i64.shl (i64.extend_i32_u (local.get $ptr)) (i64.const 32))
            (i64.extend_i32_u (local.get $len)))",
    )
}

/// Computes for ever.
pub(crate) fn spinner() -> Bytes {
    running("(loop $again (br $again)) (unreachable)")
}

/// Answers `text`, which is JSON.
pub(crate) fn answering(text: &str) -> Bytes {
    let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
    module(&format!(
        r#"(data (i32.const 16) "{quoted}")
        (func (export "run") (param i32 i32) (result i64)
            (i64.or (i64.shl (i64.const 16) (i64.const 32)) (i64.const {})))"#,
        text.len()
    ))
}

/// Answers with the i32 that `instructions` leave, as JSON: what is not between 0 and 9 is `-1`.
pub(crate) fn digit(before: &str, instructions: &str) -> Bytes {
    module(&format!(
        r#"(data (i32.const 16) "-1") {before}
        (func (export "run") (param i32 i32) (result i64) (local $n i32)
            (local.set $n {instructions})
            (if (i32.gt_u (local.get $n) (i32.const 9))
                (then (return (i64.or (i64.shl (i64.const 16) (i64.const 32)) (i64.const 2)))))
            (i32.store8 (i32.const 32) (i32.add (local.get $n) (i32.const 48)))
            (i64.or (i64.shl (i64.const 32) (i64.const 32)) (i64.const 1)))"#
    ))
}

/// A component that exports `run: func(string) -> result<string, string>`, made from a core function `run` that takes a
/// string and answers the place of its result. `imports` come first, `lowered` are given to the core module as `host`.
pub(crate) fn function(imports: &str, lowered: &str, core: &str) -> Bytes {
    wat(&format!(
        r#"(component
            {imports}
            (core module $main
                {core}
                (memory (export "memory") 2)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
            (core instance $main (instantiate $main {lowered}))
            (func $run (param "input" string) (result (result string (error string)))
                (canon lift (core func $main "run")
                    (memory (core memory $main "memory")) (realloc (core func $main "realloc"))))
            (export "run" (func $run)))"#
    ))
}

/// A function whose result is the variant `case` with its arguments.
pub(crate) fn saying(case: u8) -> Bytes {
    function(
        "",
        "",
        &format!(
            r#"(func (export "run") (param $ptr i32) (param $len i32) (result i32)
                (i32.store8 (i32.const 0) (i32.const {case}))
                (i32.store (i32.const 4) (local.get $ptr))
                (i32.store (i32.const 8) (local.get $len))
                (i32.const 0))"#
        ),
    )
}

/// A function that answers `length` zero bytes.
pub(crate) fn long(length: u32) -> Bytes {
    function(
        "",
        "",
        &format!(
            r#"(func (export "run") (param i32 i32) (result i32)
                (drop (memory.grow (i32.const 200)))
                (i32.store (i32.const 4) (i32.const 65536))
                (i32.store (i32.const 8) (i32.const {length}))
                (i32.const 0))"#
        ),
    )
}

/// A function that answers three numbers, in hexadecimal: a random one, another, and what time it is.
pub(crate) fn looking_around() -> Bytes {
    function(
        r#"(import "wasi:random/insecure@0.2.0" (instance $random
                (export "get-insecure-random-u64" (func (result u64)))))
            (import "wasi:clocks/monotonic-clock@0.2.3" (instance $clock (export "now" (func (result u64)))))
            (core func $random (canon lower (func $random "get-insecure-random-u64")))
            (core func $now (canon lower (func $clock "now")))"#,
        r#"(with "host" (instance (export "random" (func $random)) (export "now" (func $now))))"#,
        r#"(import "host" "random" (func $random (result i64)))
            (import "host" "now" (func $now (result i64)))
            (func $hex (param $at i32) (param $n i64) (local $end i32)
                (local.set $end (i32.add (local.get $at) (i32.const 16)))
                (loop $digit
                    (i32.store8 (local.get $at)
                        (i32.load8_u (i32.wrap_i64 (i64.shr_u (local.get $n) (i64.const 60)))))
                    (local.set $n (i64.shl (local.get $n) (i64.const 4)))
                    (local.set $at (i32.add (local.get $at) (i32.const 1)))
                    (br_if $digit (i32.lt_u (local.get $at) (local.get $end)))))
            (data (i32.const 0) "0123456789abcdef")
            (data (i32.const 64) "\"................................................\"")
            (func (export "run") (param i32 i32) (result i32)
                (call $hex (i32.const 65) (call $random))
                (call $hex (i32.const 81) (call $random))
                (call $hex (i32.const 97) (call $now))
                (i32.store (i32.const 36) (i32.const 64))
                (i32.store (i32.const 40) (i32.const 50))
                (i32.const 32))"#,
    )
}

/// A function that asks for randomness fit for secrets.
pub(crate) fn wanting_secrets() -> Bytes {
    function(
        r#"(import "wasi:random/random@0.2.0" (instance $random (export "get-random-u64" (func (result u64)))))
            (core func $random (canon lower (func $random "get-random-u64")))"#,
        r#"(with "host" (instance (export "random" (func $random))))"#,
        r#"(import "host" "random" (func $random (result i64)))
            (func (export "run") (param i32 i32) (result i32) (drop (call $random)) (i32.const 0))"#,
    )
}

/// A component that imports an interface of which `linker` may know nothing.
pub(crate) fn importing(interface: &str) -> Bytes {
    wat(&format!(
        r#"(component
            (import "{interface}" (instance $host (export "go" (func))))
            (core func $go (canon lower (func $host "go")))
            (core module $main
                (import "host" "go" (func $go))
                (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
                (func (export "run") (param i32 i32) (result i32) (call $go) (i32.const 0)))
            (core instance $main (instantiate $main (with "host" (instance (export "go" (func $go))))))
            (func $run (param "input" string) (result (result string (error string)))
                (canon lift (core func $main "run") (memory (core memory $main "memory")) (realloc (core func $main "realloc"))))
            (export "run" (func $run)))"#
    ))
}

/// A WASI command. `main` is the body of `run`, which leaves 0 for success; it may call `$get-stdin`, `$get-stdout`,
/// `$get-stderr`, `$read` (stream, length, place of the result), `$write` (stream, place, length, place of the result),
/// `$exit` (0 or 1) and `$sleep` (nanoseconds). A result of `$read` is a discriminant, and at 4 and 8 place and length.
pub(crate) fn command(main: &str) -> Bytes {
    command_with("", main)
}

/// The same with `before` in the core module.
pub(crate) fn command_with(before: &str, main: &str) -> Bytes {
    wat(&format!(
        r#"(component
        (import "wasi:io/error@0.2.0" (instance $errors (export "error" (type (sub resource)))))
        (alias export $errors "error" (type $error))
        (import "wasi:io/poll@0.2.0" (instance $poll
            (export "pollable" (type $p (sub resource)))
            (export "[method]pollable.block" (func (param "self" (borrow $p))))))
        (alias export $poll "pollable" (type $pollable))
        (import "wasi:io/streams@0.2.0" (instance $streams
            (alias outer 1 $error (type $e))
            (export "error" (type $error (eq $e)))
            (type $failure (variant (case "last-operation-failed" (own $error)) (case "closed")))
            (export "stream-error" (type $stream-error (eq $failure)))
            (export "input-stream" (type $input (sub resource)))
            (export "output-stream" (type $output (sub resource)))
            (export "[method]input-stream.blocking-read"
                (func (param "self" (borrow $input)) (param "len" u64)
                    (result (result (list u8) (error $stream-error)))))
            (export "[method]output-stream.blocking-write-and-flush"
                (func (param "self" (borrow $output)) (param "contents" (list u8))
                    (result (result (error $stream-error)))))))
        (alias export $streams "input-stream" (type $input))
        (alias export $streams "output-stream" (type $output))
        (import "wasi:cli/stdin@0.2.0" (instance $stdin
            (alias outer 1 $input (type $i))
            (export "input-stream" (type $input (eq $i)))
            (export "get-stdin" (func (result (own $input))))))
        (import "wasi:cli/stdout@0.2.0" (instance $stdout
            (alias outer 1 $output (type $o))
            (export "output-stream" (type $output (eq $o)))
            (export "get-stdout" (func (result (own $output))))))
        (import "wasi:cli/stderr@0.2.0" (instance $stderr
            (alias outer 1 $output (type $o))
            (export "output-stream" (type $output (eq $o)))
            (export "get-stderr" (func (result (own $output))))))
        (import "wasi:cli/exit@0.2.0" (instance $exit (export "exit" (func (param "status" (result))))))
        (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
            (alias outer 1 $pollable (type $p))
            (export "pollable" (type $pollable (eq $p)))
            (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))))
        (core module $libc
            (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
        (core instance $libc (instantiate $libc))
        (core func $get-stdin (canon lower (func $stdin "get-stdin")))
        (core func $get-stdout (canon lower (func $stdout "get-stdout")))
        (core func $get-stderr (canon lower (func $stderr "get-stderr")))
        (core func $exit (canon lower (func $exit "exit")))
        (core func $subscribe (canon lower (func $clock "subscribe-duration")))
        (core func $block (canon lower (func $poll "[method]pollable.block")))
        (core func $read (canon lower (func $streams "[method]input-stream.blocking-read")
            (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
        (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
            (memory (core memory $libc "memory"))))
        (core module $main
            (import "libc" "memory" (memory 1))
            (import "host" "get-stdin" (func $get-stdin (result i32)))
            (import "host" "get-stdout" (func $get-stdout (result i32)))
            (import "host" "get-stderr" (func $get-stderr (result i32)))
            (import "host" "exit" (func $exit (param i32)))
            (import "host" "subscribe" (func $subscribe (param i64) (result i32)))
            (import "host" "block" (func $block (param i32)))
            (import "host" "read" (func $read (param i32 i64 i32)))
            (import "host" "write" (func $write (param i32 i32 i32 i32)))
            (func $sleep (param i64) (call $block (call $subscribe (local.get 0))))
            {before}
            (func (export "run") (result i32) (local $in i32) (local $out i32) (local $n i32) {main}))
        (core instance $main (instantiate $main
            (with "libc" (instance $libc))
            (with "host" (instance
                (export "get-stdin" (func $get-stdin))
                (export "get-stdout" (func $get-stdout))
                (export "get-stderr" (func $get-stderr))
                (export "exit" (func $exit))
                (export "subscribe" (func $subscribe))
                (export "block" (func $block))
                (export "read" (func $read))
                (export "write" (func $write))))))
        (func $run (result (result)) (canon lift (core func $main "run")))
        (instance $runs (export "run" (func $run)))
        (export "wasi:cli/run@0.2.0" (instance $runs)))"#
    ))
}

/// A command that writes what it reads until there is no more.
pub(crate) fn cat() -> Bytes {
    command(
        "(local.set $in (call $get-stdin))
        (local.set $out (call $get-stdout))
        (loop $again
            (call $read (local.get $in) (i64.const 4096) (i32.const 0))
            (if (i32.load8_u (i32.const 0)) (then (return (i32.const 0))))
            (call $write (local.get $out) (i32.load (i32.const 4)) (i32.load (i32.const 8)) (i32.const 16))
            (br_if $again (i32.eqz (i32.load8_u (i32.const 16)))))
        (i32.const 1)",
    )
}
