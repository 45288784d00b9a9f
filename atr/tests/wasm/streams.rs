//! Programs that are spoken with.

use agent_tool_registry::executor::{Cause, Held, Order, Session};
use agent_tool_registry::{Executor, Guarantee, Limits};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{block_on, executions, guests, launch, until, wasm};

async fn start(guest: bytes::Bytes) -> Session {
    wasm().start(launch(guest, Limits::DEFAULT, &executions())).await.unwrap()
}

/// Sends a message and awaits one: four bytes of length, then JSON.
async fn exchange(session: &mut Session, message: &Value) -> Value {
    let text = message.to_string();
    session.stdin.write_all(&u32::try_from(text.len()).unwrap().to_be_bytes()).await.unwrap();
    session.stdin.write_all(text.as_bytes()).await.unwrap();
    let length = session.stdout.read_u32().await.unwrap();
    let mut answer = vec![0; usize::try_from(length).unwrap()];
    session.stdout.read_exact(&mut answer).await.unwrap();
    serde_json::from_slice(&answer).unwrap()
}

#[test]
fn messages_go_to_and_fro_until_the_input_is_closed() {
    block_on(async {
        let mut session = start(guests::cat()).await;
        assert_eq!(session.guarantees, Guarantee::ALL.into_iter().collect());
        for number in 0..100 {
            let message = json!({"number": number, "text": "x".repeat(number * 100)});
            assert_eq!(exchange(&mut session, &message).await, message);
        }
        drop(session.stdin);
        let exit = session.exit.await;
        assert_eq!(exit.cause, Cause::Code(0));
        assert_eq!(session.control.held().await, Held::Dead);
        // It is over for the reader too.
        assert_eq!(session.stdout.read_u8().await.unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
    });
}

#[test]
fn more_than_fits_a_pipe_goes_through() {
    block_on(async {
        let Session { mut stdin, mut stdout, exit, .. } = start(guests::cat()).await;
        let sent: Vec<u8> = (0..1_000_000_u32).map(|number| u8::try_from(number % 251).unwrap()).collect();
        let writing = async {
            stdin.write_all(&sent).await.unwrap();
            stdin.shutdown().await.unwrap();
        };
        let mut came = Vec::new();
        let (_, length, exit) = tokio::join!(writing, stdout.read_to_end(&mut came), exit);
        assert_eq!((length.unwrap(), exit.cause), (sent.len(), Cause::Code(0)));
        assert!(came == sent);
    });
}

#[test]
fn what_was_written_last_arrives() {
    block_on(async {
        let parting = guests::command_with(
            r#"(data (i32.const 64) "good bye")"#,
            "(call $write (call $get-stdout) (i32.const 64) (i32.const 8) (i32.const 0)) (unreachable)",
        );
        let mut session = start(parting).await;
        assert_eq!(session.exit.await.cause, Cause::Trap("UnreachableCodeReached".to_owned()));
        let mut text = String::new();
        session.stdout.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "good bye");
    });
}

#[test]
fn a_program_whose_output_nobody_reads_is_told() {
    block_on(async {
        let mut session = start(guests::cat()).await;
        drop(session.stdout);
        session.stdin.write_all(b"anybody?").await.unwrap();
        assert_eq!(session.exit.await.cause, Cause::Code(1));
    });
}

#[test]
fn it_runs_whether_or_not_anybody_waits_for_its_end() {
    block_on(async {
        let mut session = start(guests::cat()).await;
        session.stdin.write_all(b"x").await.unwrap();
        assert_eq!(session.stdout.read_u8().await.unwrap(), b'x');
    });
}

#[test]
fn one_that_waits_is_stopped_at_once_and_goes_on() {
    block_on(async {
        let mut session = start(guests::cat()).await;
        assert_eq!(exchange(&mut session, &json!(1)).await, json!(1));
        session.control.order(Order::Stop);
        assert_eq!(session.control.held().await, Held::Hard);
        session.stdin.write_all(b"x").await.unwrap();
        let stopped = session.control.usage();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(session.control.usage(), stopped);
        session.control.order(Order::Continue);
        assert_eq!(session.stdout.read_u8().await.unwrap(), b'x');
    });
}

#[test]
fn one_that_is_asked_to_end_sees_its_input_end() {
    block_on(async {
        let mut session = start(guests::cat()).await;
        assert_eq!(exchange(&mut session, &json!("first")).await, json!("first"));
        session.control.order(Order::Terminate);
        assert_eq!(session.exit.await.cause, Cause::Code(0));
        assert_eq!(session.stdin.write_all(b"x").await.unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    });
}

#[test]
fn one_that_waits_is_killed_at_once_and_so_is_one_whose_session_is_dropped() {
    block_on(async {
        let asleep = || guests::command("(call $sleep (i64.const -1)) (i32.const 0)");
        for guest in [guests::cat(), asleep(), guests::command("(loop $again (br $again)) (i32.const 0)")] {
            let mine = executions();
            let session = wasm().start(launch(guest.clone(), Limits::DEFAULT, &mine)).await.unwrap();
            mine.order(Order::Kill);
            assert_eq!(session.exit.await.cause, Cause::Killed);
            assert!(mine.is_empty());

            let mine = executions();
            let session = wasm().start(launch(guest, Limits::DEFAULT, &mine)).await.unwrap();
            let control = std::sync::Arc::clone(&session.control);
            drop(session);
            assert_eq!(control.held().await, Held::Dead);
            until(|| mine.is_empty()).await;
        }
    });
}

#[test]
fn what_has_no_streams_cannot_be_started() {
    block_on(async {
        for guest in [guests::echo(), guests::saying(0)] {
            let refused = wasm().start(launch(guest, Limits::DEFAULT, &executions())).await.unwrap_err();
            assert_eq!(refused.code(), "AK0543");
        }
    });
}

#[test]
fn a_thousand_at_once_take_little_memory() {
    fn resident() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    }
    block_on(async {
        let mut sessions = Vec::new();
        sessions.push(start(guests::cat()).await);
        let before = resident();
        for _ in 1..1000 {
            sessions.push(start(guests::cat()).await);
        }
        for (number, session) in sessions.iter_mut().enumerate() {
            assert_eq!(exchange(session, &json!(number)).await, json!(number));
        }
        let grown = resident().saturating_sub(before);
        assert!(grown < 300 << 20, "{} MiB", grown >> 20);
        let ends = sessions.into_iter().map(|session| session.exit);
        for (number, exit) in ends.enumerate() {
            assert_eq!(exit.await.cause, Cause::Code(0), "{number}");
        }
    });
}
