//! Orders on their way to one container.

use std::fmt;

use tokio::sync::watch;

use crate::executor::session::{Control, Held, Order, Pending, Usage};
use crate::isolation::Level;

/// What is to be done to a container, and what has been done.
#[derive(Default)]
pub(super) struct Orders {
    wanted: watch::Sender<Wanted>,
    done: watch::Sender<Done>,
}

/// INVARIANT: at most three orders wait, since of neighbours that undo each other only the last counts, and a second
/// [`Order::Terminate`] adds nothing to one that waits.
#[derive(Default)]
struct Wanted {
    given: u64,
    waiting: Vec<Order>,
    killed: bool,
}

#[derive(Clone, Copy)]
struct Done {
    given: u64,
    held: Held,
}

impl Default for Done {
    fn default() -> Self {
        Self { given: 0, held: Held::Running }
    }
}

impl Wanted {
    fn give(&mut self, order: Order) {
        let moves = |order: &Order| matches!(order, Order::Stop | Order::Continue);
        match order {
            _ if self.killed => return,
            Order::Kill => {
                self.killed = true;
                self.waiting = vec![order];
            }
            Order::Terminate if self.waiting.contains(&order) => {}
            Order::Terminate => self.waiting.push(order),
            Order::Stop | Order::Continue => {
                self.waiting.pop_if(|last| moves(last));
                self.waiting.push(order);
            }
        }
        self.given += 1;
    }
}

impl Orders {
    /// Takes the orders that wait, and the number to be told to [`Orders::hold`] once they have taken hold.
    pub(super) fn take(&self) -> (Vec<Order>, u64) {
        let mut taken = (Vec::new(), 0);
        self.wanted.send_if_modified(|wanted| {
            taken = (std::mem::take(&mut wanted.waiting), wanted.given);
            false
        });
        taken
    }

    /// Resolves once an order waits.
    ///
    /// # Cancel safety
    /// Dropping the future takes no order away.
    pub(super) async fn given(&self) {
        let mut wanted = self.wanted.subscribe();
        // It fails only once the sender is gone, which is part of `self`.
        let _ = wanted.wait_for(|wanted| !wanted.waiting.is_empty()).await;
    }

    /// Whether a kill was ordered.
    pub(super) fn killed(&self) -> bool {
        self.wanted.borrow().killed
    }

    /// Says what the orders up to the one numbered `given` have come to.
    pub(super) fn hold(&self, given: u64, held: Held) {
        self.done.send_replace(Done { given, held });
    }
}

impl Control for Orders {
    fn level(&self) -> Level {
        Level::Container
    }

    fn order(&self, order: Order) {
        self.wanted.send_modify(|wanted| wanted.give(order));
    }

    fn held(&self) -> Pending<'_, Held> {
        let given = self.wanted.borrow().given;
        let mut done = self.done.subscribe();
        Box::pin(async move {
            let done = done.wait_for(|done| given <= done.given).await;
            done.map_or(Held::Dead, |done| done.held)
        })
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}

impl fmt::Debug for Orders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Container").field("held", &self.done.borrow().held).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_wait_in_order_and_never_more_than_three() {
        use Order::{Continue, Kill, Stop, Terminate};
        let cases: [(&[Order], &[Order]); 6] = [
            (&[Stop, Continue, Stop], &[Stop]),
            (&[Stop, Terminate, Continue], &[Stop, Terminate, Continue]),
            (&[Terminate, Terminate], &[Terminate]),
            (&[Stop, Terminate, Continue, Terminate, Stop, Terminate], &[Stop, Terminate, Stop]),
            (&[Stop, Terminate, Kill], &[Kill]),
            (&[Kill, Continue, Stop, Kill], &[Kill]),
        ];
        for (given, waiting) in cases {
            let orders = Orders::default();
            given.iter().for_each(|order| orders.order(*order));
            assert_eq!(orders.take().0, waiting, "{given:?}");
            assert_eq!(orders.take().0, &[], "{given:?}");
        }
    }

    #[test]
    fn an_order_after_a_kill_changes_nothing() {
        let orders = Orders::default();
        orders.order(Order::Kill);
        let (_, given) = orders.take();
        orders.order(Order::Continue);
        assert_eq!(orders.take(), (Vec::new(), given));
        assert!(orders.killed());
    }
}
