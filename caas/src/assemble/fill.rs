//! What goes into a context, layer by layer.

use std::ops::Range;
use std::sync::Arc;

use agent_primitives::LabelSet;

use super::cut::cut;
use super::render::{self, Mark, ordered};
use super::{
    AssembleError, Item, Layer, LeftOut, Neighbours, Note, Options, Order, Origin, Reason, Request, Why,
};
use crate::model::{Chunk, Found, Tier};
use crate::tokens::TokenCounter;

/// A part that is shown.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) layer: Layer,
    pub(super) origin: Origin,
    pub(super) why: Why,
    pub(super) text: String,
    pub(super) labels: LabelSet,
    pub(super) tokens: usize,
    pub(super) cut: bool,
}

/// What is shown, best first in each layer.
#[derive(Debug)]
pub(super) struct Filled {
    parts: Vec<Part>,
    pub(super) notes: Vec<String>,
    pub(super) left_out: Vec<LeftOut>,
}

impl Filled {
    pub(super) fn in_order(&self, order: Order) -> Vec<&Part> {
        ordered(&self.parts, order)
    }

    /// Takes out what matters least: a note, else the last of warm, of cold, of hot. `false` where nothing is left.
    pub(super) fn drop_least(&mut self) -> bool {
        if self.notes.pop().is_some() {
            return true;
        }
        let last = [Layer::Warm, Layer::Cold, Layer::Hot]
            .into_iter()
            .find_map(|layer| self.parts.iter().rposition(|part| part.layer == layer));
        let Some(last) = last else { return false };
        let part = self.parts.remove(last);
        self.left_out.push(LeftOut::Part(part.origin, Reason::NoRoom));
        true
    }

    fn has(&self, chunk: &Chunk) -> bool {
        self.parts.iter().any(|part| part.origin.chunk() == Some(chunk.id))
    }
}

/// Fills the layers in the order in which room passes on: hot, cold, warm.
pub(super) fn fill(
    request: &Request<'_>,
    options: &Options,
    counter: &dyn TokenCounter,
    mark: &Mark,
) -> Result<Filled, AssembleError> {
    let fixed = counter.count(&render::opening(mark));
    let Some(room) = request.budget.checked_sub(fixed) else {
        return Err(AssembleError::BudgetTooSmall { need: fixed, budget: request.budget });
    };
    let share = |thousandths: u16| {
        room / 1000 * usize::from(thousandths) + room % 1000 * usize::from(thousandths) / 1000
    };
    let (hot, warm) = (share(options.shares.hot), share(options.shares.warm));
    let filled = Filled { parts: Vec::new(), notes: Vec::new(), left_out: Vec::new() };
    let mut filler = Filler { filled, counter, mark, room: hot, low: share(options.low) };
    filler.items(Layer::Hot, request.triad.hot());
    filler.room += room - hot - warm;
    filler.found(request.found);
    filler.notes(request.notes);
    if let Some(neighbours) = request.neighbours.filter(|_| options.neighbours) {
        filler.neighbours(request.found, neighbours);
    }
    filler.room += warm;
    filler.items(Layer::Warm, request.triad.warm());
    Ok(filler.filled)
}

struct Filler<'a> {
    filled: Filled,
    counter: &'a dyn TokenCounter,
    mark: &'a Mark,
    /// Tokens that the layer has left.
    room: usize,
    /// Tokens that what is of low value has left.
    low: usize,
}

impl Filler<'_> {
    fn items(&mut self, layer: Layer, items: &[Item]) {
        let whole = self.room;
        for item in items {
            let part = Part {
                layer,
                origin: Origin::Item { id: Arc::clone(&item.id) },
                why: Why::Priority(item.priority),
                text: item.text.to_string(),
                labels: item.labels.clone(),
                tokens: 0,
                cut: false,
            };
            self.place(part, whole);
        }
    }

    fn found(&mut self, found: &[Found]) {
        let whole = self.room;
        for found in found {
            if self.filled.has(&found.chunk) {
                self.leave_out(Origin::of(found), Reason::Duplicate);
                continue;
            }
            self.chunk(found, &found.chunk, Why::Found(found.rank, found.scores), whole);
        }
    }

    /// Shows a chunk, without its parts of low value where they have had their share.
    fn chunk(&mut self, found: &Found, chunk: &Chunk, why: Why, whole: usize) {
        let mut origin = Origin::of(found);
        if let Origin::Chunk { chunk: id, path, range, page, .. } = &mut origin {
            (*id, *path, *range, *page) =
                (chunk.id, Arc::clone(&chunk.path), chunk.range.clone(), chunk.page);
        }
        let of_low_value = pieces(chunk, |tier| tier == Tier::Low);
        let low = self.counter.count(&of_low_value);
        let (text, spent, is_cut) = if low <= self.low {
            (chunk.text.to_string(), low, false)
        } else {
            (pieces(chunk, |tier| tier != Tier::Low), 0, true)
        };
        if text.trim().is_empty() {
            self.leave_out(origin, Reason::LowValue);
            return;
        }
        let labels = found.metadata.labels.clone();
        let part = Part { layer: Layer::Cold, origin, why, text, labels, tokens: 0, cut: is_cut };
        if self.place(part, whole) {
            self.low -= spent;
        }
    }

    /// Shows what stands beside what is shown, where there is room for all of it.
    fn neighbours(&mut self, found: &[Found], neighbours: &dyn Neighbours) {
        for found in found {
            if !self.filled.has(&found.chunk) {
                continue;
            }
            let ordinal = found.chunk.ordinal;
            for beside in [ordinal.checked_add(1), ordinal.checked_sub(1)].into_iter().flatten() {
                let Some(chunk) = neighbours.chunk(&found.document, beside) else { continue };
                if !self.filled.has(&chunk) && chunk.path == found.chunk.path {
                    let left_out = self.filled.left_out.len();
                    self.chunk(found, &chunk, Why::Neighbour(found.chunk.id), 0);
                    // Nobody asked for it, so nobody needs to know that it is not there.
                    self.filled.left_out.truncate(left_out);
                }
            }
        }
    }

    fn notes(&mut self, notes: &[Note]) {
        for (place, note) in notes.iter().enumerate() {
            let shown = |id| self.filled.parts.iter().any(|part| part.origin.chunk() == Some(id));
            let tokens = self.counter.count(&render::note(&note.text));
            let reason = if !note.about.iter().copied().all(shown) {
                Reason::Incomplete
            } else if self.mark.is_in(&note.text) {
                Reason::HoldsMark
            } else if self.room < tokens {
                Reason::NoRoom
            } else {
                self.room -= tokens;
                self.filled.notes.push(note.text.clone());
                continue;
            };
            self.filled.left_out.push(LeftOut::Note(place, reason));
        }
    }

    /// Shows a part if there is room. One for which the `whole` layer would not be enough is cut; any other is left out, and
    /// what comes behind it may still fit.
    fn place(&mut self, mut part: Part, whole: usize) -> bool {
        if self.mark.is_in(&part.text) {
            self.leave_out(part.origin, Reason::HoldsMark);
            return false;
        }
        // Numbers grow with the parts; the last one of them all is at least as long as any.
        let number = self.filled.parts.len() + 1;
        let tokens = self.counter.count(&render::part(&part, number, self.mark));
        if tokens <= self.room {
            part.tokens = tokens;
        } else if tokens <= whole || whole == 0 {
            self.leave_out(part.origin, Reason::NoRoom);
            return false;
        } else {
            let borders = self.counter.count(&render::part(
                &Part { text: String::new(), ..part.clone() },
                number,
                self.mark,
            ));
            let shorter = cut(&part.text, self.room.saturating_sub(borders), self.counter);
            let Some(shorter) = shorter else {
                self.leave_out(part.origin, Reason::NoRoom);
                return false;
            };
            part.text = shorter;
            part.cut = true;
            part.tokens = self.counter.count(&render::part(&part, number, self.mark));
            if self.room < part.tokens {
                self.leave_out(part.origin, Reason::NoRoom);
                return false;
            }
        }
        self.room -= part.tokens;
        self.filled.parts.push(part);
        true
    }

    fn leave_out(&mut self, origin: Origin, reason: Reason) {
        self.filled.left_out.push(LeftOut::Part(origin, reason));
    }
}

/// The parts of a chunk whose tier is wanted, as they are written.
fn pieces(chunk: &Chunk, wanted: impl Fn(Tier) -> bool) -> String {
    let text = |range: &Range<usize>| chunk.text.get(range.clone()).unwrap_or_default().to_owned();
    let wanted: Vec<String> =
        chunk.tiers.iter().filter(|(tier, _)| wanted(*tier)).map(|(_, range)| text(range)).collect();
    wanted.join("\n")
}
