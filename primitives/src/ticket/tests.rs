//! The machine against a model that remembers what was done and works the answer out each time.

use proptest::prelude::*;

use super::*;

const NAMES: [&str; 4] = ["w", "ann", "bob", "cid"];

fn principal(name: &str) -> Principal {
    name.parse().unwrap()
}

fn time(seconds: u8) -> Timestamp {
    Timestamp::from_micros(i64::from(seconds))
}

fn binding(number: u8) -> Digest {
    Digest::of("agent-os test v1", &[number])
}

fn ticket(quorums: &[(&[&str], u8)], scope: Scope, expires: u8) -> Ticket {
    let quorum =
        |(names, needed): &(&[&str], u8)| Quorum::new(names.iter().map(|name| principal(name)), *needed);
    let terms = Terms::new(quorums.iter().map(quorum), scope).unwrap();
    let id = TicketId::of(&binding(0), time(0), 1);
    Ticket::new(id, binding(0), "w".parse().unwrap(), terms, (time(0), time(expires)))
}

fn grant(by: &str, scope: Scope, at: u8) -> Grant {
    // `bob` and `cid` are the treasury.
    let groups = if matches!(by, "bob" | "cid") { vec![principal("treasury")] } else { Vec::new() };
    Grant { by: principal(by), groups, scope, at: time(at) }
}

#[test]
fn a_quorum_takes_distinct_principals_over_time() {
    let mut ticket = ticket(&[(&["treasury"], 2)], Scope::Once, 100);
    assert_eq!(ticket.grant(grant("bob", Scope::Once, 1)), Ok(TicketState::Pending));
    assert_eq!(ticket.grant(grant("bob", Scope::Once, 2)), Err(TicketError::NothingToAdd));
    assert_eq!(ticket.grant(grant("ann", Scope::Once, 2)), Err(TicketError::NotAnApprover));
    assert_eq!(ticket.take(&binding(0), true, time(3)), Err(TicketError::State(TicketState::Pending)));
    assert_eq!(ticket.grant(grant("cid", Scope::Once, 99)), Ok(TicketState::Granted));
    assert_eq!(ticket.take(&binding(0), true, time(99)), Ok(()));
    assert_eq!(ticket.take(&binding(0), true, time(99)), Err(TicketError::State(TicketState::Used)));
}

#[test]
fn every_quorum_has_to_be_met_and_the_least_scope_stands() {
    let mut ticket = ticket(&[(&[], 2), (&["treasury"], 1)], Scope::Session, 100);
    assert_eq!(ticket.grant(grant("ann", Scope::Session, 1)), Ok(TicketState::Pending));
    assert_eq!(ticket.grant(grant("bob", Scope::Task, 1)), Ok(TicketState::Granted));
    assert_eq!(ticket.scope(), Scope::Task);
    assert_eq!(ticket.take(&binding(0), true, time(2)), Ok(()));
    assert_eq!(ticket.take(&binding(0), true, time(3)), Ok(()));
    assert_eq!(ticket.take(&binding(0), false, time(3)), Err(TicketError::OtherLife));
    assert_eq!(ticket.take(&binding(0), true, time(100)), Err(TicketError::State(TicketState::Expired)));
}

#[test]
fn a_wider_scope_than_the_terms_allow_is_refused() {
    let mut ticket = ticket(&[], Scope::Once, 100);
    let wide = TicketError::ScopeTooWide(Scope::Once);
    assert_eq!(ticket.grant(grant("ann", Scope::Session, 1)), Err(wide));
    assert_eq!(ticket.state(), TicketState::Pending);
}

#[test]
fn a_name_of_a_ticket_survives_its_text() {
    let id = TicketId::of(&binding(3), time(9), 4);
    assert_eq!(id.to_string().parse(), Ok(id));
    for text in ["", "00", &"0".repeat(31), &"0".repeat(33), &"G".repeat(32), &"A".repeat(32)] {
        assert_eq!(text.parse::<TicketId>(), Err(BadTicketId), "{text}");
    }
}

#[derive(Clone, Debug)]
enum Operation {
    Grant(&'static str, Scope),
    Refuse(&'static str),
    Revoke,
    Take(u8, bool),
}

fn operation() -> impl Strategy<Value = Operation> {
    let name = || prop::sample::select(&NAMES[..]);
    prop_oneof![
        4 => (name(), prop::sample::select(&Scope::ALL[..])).prop_map(|(by, scope)| Operation::Grant(by, scope)),
        1 => name().prop_map(Operation::Refuse),
        1 => Just(Operation::Revoke),
        4 => (0..2u8, any::<bool>()).prop_map(|(call, life)| Operation::Take(call, life)),
    ]
}

/// Everything that was ever done with effect, and nothing else.
#[derive(Default)]
struct Model {
    granted: Vec<(&'static str, Scope)>,
    refused: bool,
    revoked: bool,
    taken: usize,
}

impl Model {
    fn enough(&self, treasury: usize, anybody: usize) -> bool {
        let count = |names: &[&str]| self.granted.iter().filter(|(by, _)| names.contains(by)).count();
        treasury <= count(&["bob", "cid"]) && anybody <= count(&NAMES)
    }

    fn scope(&self) -> Scope {
        self.granted.iter().map(|(_, scope)| *scope).min().unwrap_or(Scope::Once)
    }
}

proptest! {
    /// No order of operations lets a ticket through twice, late, for another call, below quorum, or on the requester's word.
    #[test]
    fn a_ticket_lets_through_exactly_what_was_agreed_to(
        widest in prop::sample::select(&Scope::ALL[..]),
        treasury in 1..3u8,
        anybody in 1..4u8,
        expires in 1..20u8,
        steps in prop::collection::vec((operation(), 0..3u8), 0..24),
    ) {
        let mut ticket = ticket(&[(&["treasury"], treasury), (&[], anybody)], widest, expires);
        let (treasury, anybody) = (usize::from(treasury), usize::from(anybody));
        let (mut model, mut now) = (Model::default(), 0u8);
        for (operation, passed) in steps {
            now += passed;
            let dead = expires <= now || model.refused || model.revoked
                || (0 < model.taken && model.scope() == Scope::Once);
            let granted = model.enough(treasury, anybody);
            match operation {
                Operation::Grant(by, scope) => {
                    let twice = model.granted.iter().any(|(earlier, _)| *earlier == by);
                    let only_treasury = !model.enough(treasury, 0) && model.enough(0, anybody);
                    let adds = !only_treasury || matches!(by, "bob" | "cid");
                    let good = !dead && !granted && !twice && adds && by != "w" && scope <= widest;
                    prop_assert_eq!(ticket.grant(grant(by, scope, now)).is_ok(), good);
                    if good {
                        model.granted.push((by, scope));
                    }
                }
                Operation::Refuse(by) => {
                    let good = !dead && !granted && by != "w";
                    let groups = grant(by, Scope::Once, now).groups;
                    prop_assert_eq!(ticket.refuse(&principal(by), &groups, time(now)).is_ok(), good);
                    model.refused |= good;
                }
                Operation::Revoke => {
                    prop_assert_eq!(ticket.revoke(time(now)).is_ok(), !dead);
                    model.revoked |= !dead;
                }
                Operation::Take(call, same_life) => {
                    let good = !dead && granted && call == 0 && (same_life || model.scope() != Scope::Task);
                    prop_assert_eq!(ticket.take(&binding(call), same_life, time(now)).is_ok(), good);
                    model.taken += usize::from(good);
                }
            }
            let stored = serde_json::to_string(&ticket).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Ticket>(&stored).unwrap(), &ticket);
        }
        prop_assert!(model.granted.iter().all(|(by, _)| *by != "w"));
        prop_assert!(model.taken <= 1 || model.scope() != Scope::Once);
    }
}
