//! A kernel whose record is kept in PostgreSQL.
#![cfg(all(feature = "postgres", unix))]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

#[path = "../../emk/tests/servers/process.rs"]
mod process;
#[path = "../../emk/tests/servers/postgres.rs"]
mod server;

use agent_control_plane::recorder::{FlightRecorder, LEDGER_NAME};
use agent_control_plane::{AgentSpec, Kernel, Policy};
use server::Postgres;

const POLICY: &str = r#"
version: 1
name: notes
rules:
  - { id: notes, effect: allow, calls: [read, write], paths: ["/mem/working/**"] }
"#;

#[tokio::test]
async fn what_a_kernel_did_is_there_after_the_server_was_killed() {
    let server = Postgres::start();
    let recorder = FlightRecorder::postgres(&server.address(), LEDGER_NAME).unwrap();
    let second = FlightRecorder::postgres(&server.address(), LEDGER_NAME).unwrap_err();
    assert_eq!(second.code(), "AK0807");
    let policy = Policy::from_yaml("notes.yaml", POLICY).unwrap();
    let kernel = Kernel::builder().policy(policy).recorder(recorder.clone()).build().unwrap();
    let agent = kernel.spawn(AgentSpec::new("clerk")).unwrap();
    agent.write("/mem/working/today", "call Ann").await.unwrap();
    recorder.flush().unwrap();
    let head = recorder.head();

    let folder = server.stop();
    assert!(agent.write("/mem/working/today", "call Bob").await.is_err(), "no effect without a record");

    let server = Postgres::start_in(folder);
    let again = FlightRecorder::postgres(&server.address(), LEDGER_NAME).unwrap();
    assert!(again.verify(Some(head), |_| {}).is_ok());
    assert!(head.count <= again.events(0).map(Result::unwrap).count() as u64);
}
