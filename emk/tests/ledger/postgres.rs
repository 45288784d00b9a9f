//! A ledger in a PostgreSQL server that is killed, shared and tampered with.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use emk::{EntryKind, Ledger, LedgerError, LedgerOptions, PostgresStore};
use postgres::{Client, NoTls};

use crate::id;
use crate::server::Postgres;
use crate::shared::Shared;

static SERVER: Shared<Postgres> = Shared::new();
static SCHEMAS: AtomicU64 = AtomicU64::new(0);

/// The address of an empty schema of its own.
fn schema(server: &Postgres) -> String {
    let name = format!("test_{}", SCHEMAS.fetch_add(1, Ordering::Relaxed));
    let mut client = Client::connect(&server.address(), NoTls).unwrap();
    client.batch_execute(&format!("CREATE SCHEMA {name}")).unwrap();
    format!("{} options='-c search_path={name}'", server.address())
}

fn server() -> (Arc<Postgres>, String) {
    let server = SERVER.get(Postgres::start);
    let address = schema(&server);
    (server, address)
}

fn open(address: &str) -> Result<Ledger, LedgerError> {
    Ledger::open(PostgresStore::open(address, id())?, LedgerOptions::default())
}

/// Holds a ledger on a server against what every store has to do.
pub(crate) fn on_a_server(check: impl Fn(&Ledger)) {
    let (_server, address) = server();
    check(&open(&address).unwrap());
}

fn append(ledger: &Ledger, body: &[u8]) -> Result<u64, LedgerError> {
    let appended = ledger.append(EntryKind::Event, body)?;
    ledger.durable_blocking(appended.seq)?;
    Ok(appended.seq)
}

#[test]
fn a_server_that_is_killed_has_lost_nothing_that_was_acknowledged() {
    let server = Postgres::start();
    let address = server.address();
    let ledger = open(&address).unwrap();
    let acknowledged: u64 = std::thread::scope(|scope| {
        let (sender, half_way) = std::sync::mpsc::sync_channel(1);
        let writer = scope.spawn(|| {
            let sender = sender;
            let mut done = 0_u64;
            while append(&ledger, &done.to_le_bytes()).is_ok() {
                done += 1;
                if done == 200 {
                    sender.send(()).unwrap();
                }
            }
            done
        });
        half_way.recv().unwrap();
        let folder = server.stop();
        let acknowledged = writer.join().unwrap();
        assert!(
            matches!(ledger.append(EntryKind::Event, b"x"), Err(LedgerError::Io { .. })),
            "it is poisoned"
        );
        assert!(200 <= acknowledged);
        let _server = Postgres::start_in(folder);
        let again = open(&address).unwrap();
        let found = again.head().count;
        assert!(acknowledged <= found && found <= acknowledged + 1, "{acknowledged} of {found}");
        assert_eq!(again.verify(None, Some(again.head()), |_| {}).unwrap().entries, found);
        for (number, entry) in (0_u64..).zip(again.read(0)) {
            assert_eq!(entry.unwrap().body, number.to_le_bytes().as_slice());
        }
        append(&again, b"and on").unwrap();
        acknowledged
    });
    assert_ne!(acknowledged, 0);
}

#[test]
fn a_second_writer_is_refused_until_the_first_has_closed() {
    let (_server, address) = server();
    let ledger = open(&address).unwrap();
    append(&ledger, b"1").unwrap();
    assert!(matches!(open(&address), Err(LedgerError::Locked { .. })));
    ledger.close().unwrap();
    let again = open(&address).unwrap();
    assert_eq!(again.head(), ledger.head());
    append(&again, b"2").unwrap();
    assert_eq!(again.verify(None, None, |_| {}).unwrap().entries, 2);
}

#[test]
fn an_end_that_does_not_hold_is_not_written_on() {
    for (tampering, code) in [
        ("UPDATE emk_ledger SET body = 'other' WHERE seq = 1490", "AK0819"),
        ("UPDATE emk_ledger SET kind = 77 WHERE seq = 1499", "AK0819"),
        ("UPDATE emk_ledger SET hash = 'short' WHERE seq = 1499", "AK0819"),
        ("DELETE FROM emk_ledger WHERE seq = 1200", "AK0815"),
        ("DELETE FROM emk_ledger WHERE seq = 0", "AK0815"),
        ("COMMENT ON TABLE emk_ledger IS 'emk ledger 2'", "AK0810"),
    ] {
        let (_server, address) = server();
        let ledger = open(&address).unwrap();
        for number in 0..1500_u64 {
            ledger.append(EntryKind::Event, &number.to_le_bytes()).unwrap();
        }
        ledger.close().unwrap();
        Client::connect(&address, NoTls).unwrap().batch_execute(tampering).unwrap();
        assert_eq!(open(&address).unwrap_err().code(), code, "{tampering}");
    }
}

#[test]
fn what_was_changed_long_ago_is_found_by_verification() {
    let (_server, address) = server();
    let ledger = open(&address).unwrap();
    for number in 0..1500_u64 {
        ledger.append(EntryKind::Event, &number.to_le_bytes()).unwrap();
    }
    ledger.flush().unwrap();
    let tampering = "UPDATE emk_ledger SET body = 'other' WHERE seq = 3";
    Client::connect(&address, NoTls).unwrap().batch_execute(tampering).unwrap();
    assert_eq!(ledger.verify(None, None, |_| {}).unwrap_err().seq, 3);
}

#[tokio::test]
async fn it_is_opened_read_and_dropped_inside_a_runtime() {
    let (_server, address) = std::thread::spawn(server).join().unwrap();
    let ledger = open(&address).unwrap();
    let appended = ledger.append(EntryKind::Event, b"x").unwrap();
    ledger.durable(appended.seq).await.unwrap();
    ledger.close().unwrap();
    assert_eq!(ledger.read(0).count(), 1);
    drop(ledger);
    assert_eq!(open(&address).unwrap().head().count, 1);
}
