//! Signed records of tools, and the set of them that nodes keep equal by gossip.
//!
//! A publisher signs the digest of a contract. Nodes exchange what is signed, and every node judges it by rules of its own:
//! which key may publish in which namespace, and how many of them it takes. Nothing that arrives makes a tool callable.
//! [`Replica::standing`] says what is known of a tool, and the host approves it or does not.
//!
//! The set does no input or output. [`Exchange::handle`] takes what a peer sent and answers what to send back; how bytes
//! travel is the host's business, and [`memory::Network`] is one way within one process. What is accepted is kept in a
//! [`Journal`].
//!
//! ```
//! use agent_primitives::Timestamp;
//! use agent_tool_registry::Registry;
//! use agent_tool_registry::replicate::{Publishers, Replica, SignedRecord, SigningKey, Standing};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut tools = Registry::builder();
//! tools.tool("com.example/echo").description("Repeats.").run_raw(
//!     serde_json::json!({"type": "object"}),
//!     |_cx, arguments| async move { Ok(arguments) },
//! )?;
//! let tools = tools.build();
//! let id = "com.example/echo".parse()?;
//! let contract = tools.get(&id).ok_or("registered above")?;
//!
//! let key = SigningKey::from_bytes(&[7; 32]);
//! let (now, later) = (Timestamp::from_micros(0), Timestamp::from_micros(1_000_000));
//! let record = SignedRecord::sign(&contract, &key, 1, later)?;
//!
//! let mut publishers = Publishers::default();
//! publishers.trust(key.public(), ["com.example"])?;
//! let mut replica = Replica::new(publishers);
//! assert!(matches!(replica.standing(&contract, now), Standing::Unknown));
//! replica.publish(record.into(), now)?;
//! assert!(matches!(replica.standing(&contract, now), Standing::Trusted { .. }));
//! # Ok(())
//! # }
//! ```

mod exchange;
mod item;
mod journal;
pub mod memory;
mod peer;
mod record;
mod replica;
mod revocation;
mod trust;

pub use emk::{PublicKey, SigningKey};
pub use exchange::{Exchange, MAX_MESSAGE_BYTES};
pub use item::{Item, MAX_ITEM_BYTES};
pub use journal::{Journal, JournalError, Recovery};
pub use peer::{MAX_PEERS, MUTED, PEER_BYTES, PEER_INVALID, PEER_ITEMS, PEER_QUESTIONS, WINDOW};
pub use record::SignedRecord;
pub use replica::{Evidence, MAX_ITEMS, MAX_PER_PUBLISHER, Replica, Report, Standing};
pub use revocation::{KEPT_AFTER, Revocation};
pub use trust::{MAX_PUBLISHERS, Publishers, TrustError};
