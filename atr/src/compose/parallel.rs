//! Futures side by side, in one task.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use crate::{Answer, ToolError};

type Answered = Result<Answer, ToolError>;
type Step<'a> = Pin<Box<dyn Future<Output = Answered> + Send + 'a>>;

/// A step under way, or what it answered.
enum Side<'a> {
    UnderWay(Step<'a>),
    Over(Box<Answered>),
}

fn sides<'a>(steps: impl Iterator<Item = impl Future<Output = Answered> + Send + 'a>) -> Vec<Side<'a>> {
    steps.map(|step| Side::UnderWay(Box::pin(step))).collect()
}

/// All of them to their ends, in order.
pub(super) async fn all<'a>(
    steps: impl Iterator<Item = impl Future<Output = Answered> + Send + 'a>,
) -> Vec<Answered> {
    let mut sides = sides(steps);
    // Each is polled whenever any has something to say: there are few.
    poll_fn(|task| {
        let mut under_way = false;
        for side in &mut sides {
            if let Side::UnderWay(step) = side {
                match step.as_mut().poll(task) {
                    Poll::Ready(answer) => *side = Side::Over(Box::new(answer)),
                    Poll::Pending => under_way = true,
                }
            }
        }
        if under_way { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    let over = sides.into_iter().filter_map(|side| match side {
        Side::Over(answer) => Some(*answer),
        Side::UnderWay(_) => None,
    });
    over.collect()
}

/// The first that succeeds; the others are dropped. All errors, in order, if none does.
pub(super) async fn first<'a>(
    steps: impl Iterator<Item = impl Future<Output = Answered> + Send + 'a>,
) -> Result<(usize, Answer), Vec<ToolError>> {
    let mut sides = sides(steps);
    let won = poll_fn(|task| {
        let mut under_way = false;
        for (at, side) in sides.iter_mut().enumerate() {
            if let Side::UnderWay(step) = side {
                match step.as_mut().poll(task) {
                    Poll::Ready(Ok(answer)) => return Poll::Ready(Some((at, answer))),
                    Poll::Ready(error) => *side = Side::Over(Box::new(error)),
                    Poll::Pending => under_way = true,
                }
            }
        }
        if under_way { Poll::Pending } else { Poll::Ready(None) }
    })
    .await;
    won.ok_or_else(|| {
        let errors = sides.into_iter().filter_map(|side| match side {
            Side::Over(answer) => answer.err(),
            Side::UnderWay(_) => None,
        });
        errors.collect()
    })
}
