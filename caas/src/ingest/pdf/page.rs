//! The drawing instructions of a page, followed as far as they draw text.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use lopdf::content::{Content, Operation};
use lopdf::{Dictionary, Document, Object, ObjectId, Stream};

use super::super::IngestError;
use super::font::Font;
use super::{Budget, refused};

/// Drawings within drawings that are followed.
const MAX_FORMS: usize = 12;
/// Instructions between two looks at whether anybody still waits.
const PATIENCE: usize = 4096;

/// A line of a page.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Line {
    pub(super) text: String,
    /// The size of its letters, in points.
    pub(super) size: f32,
    /// Whether there is more room above it than between lines.
    pub(super) apart: bool,
}

/// The lines of a page, in the order in which they are drawn.
#[derive(Debug)]
pub(super) struct PageLines {
    pub(super) number: u32,
    pub(super) lines: Vec<Line>,
}

/// What was read of all pages.
pub(super) struct Read {
    pub(super) pages: Vec<PageLines>,
    pub(super) hidden: Vec<String>,
    /// Pages without text.
    pub(super) blank: u32,
    pub(super) replaced: usize,
    /// The part of the strings that could be decoded.
    pub(super) quality: f32,
}

pub(super) struct Pages<'d> {
    document: &'d Document,
    /// Fonts by the place of their dictionaries: pages share them.
    fonts: HashMap<usize, Rc<Font<'d>>>,
    pages: Vec<PageLines>,
    hidden: Vec<String>,
    blank: u32,
    replaced: usize,
    strings: u32,
    lost: u32,
    bytes: usize,
}

impl<'d> Pages<'d> {
    pub(super) fn new(document: &'d Document) -> Self {
        Self {
            document,
            fonts: HashMap::new(),
            pages: Vec::new(),
            hidden: Vec::new(),
            blank: 0,
            replaced: 0,
            strings: 0,
            lost: 0,
            bytes: 0,
        }
    }

    pub(super) fn read(
        &mut self,
        number: u32,
        id: ObjectId,
        budget: &mut Budget<'_>,
    ) -> Result<(), IngestError> {
        budget.check()?;
        let content = self.document.get_page_content_with_limit(id, budget.most());
        let content = content.map_err(|error| refused(&error, budget))?;
        budget.spend(content.len())?;
        let mut resources = Vec::new();
        if let Ok((own, above)) = self.document.get_page_resources(id) {
            resources.extend(own);
            resources.extend(above.into_iter().filter_map(|id| self.document.get_dictionary(id).ok()));
        }
        let mut drawing = Drawing::default();
        self.draw(&content, &resources, &mut drawing, 0, budget)?;
        let (lines, hidden) = drawing.finish();
        self.bytes += lines.iter().map(|line| line.text.len() + 1).sum::<usize>();
        budget.limits.text(self.bytes)?;
        self.blank += u32::from(lines.is_empty());
        self.replaced +=
            lines.iter().map(|line| line.text.matches(char::REPLACEMENT_CHARACTER).count()).sum::<usize>();
        self.hidden.extend((!hidden.is_empty()).then_some(hidden));
        self.pages.push(PageLines { number, lines });
        Ok(())
    }

    pub(super) fn finish(self) -> Read {
        let quality =
            if self.strings == 0 { 1.0 } else { 1.0 - f64::from(self.lost) / f64::from(self.strings) };
        #[expect(clippy::cast_possible_truncation, reason = "a share")]
        let quality = quality as f32;
        let Self { pages, hidden, blank, replaced, .. } = self;
        Read { pages, hidden, blank, replaced, quality }
    }

    fn draw(
        &mut self,
        content: &[u8],
        resources: &[&'d Dictionary],
        drawing: &mut Drawing,
        depth: usize,
        budget: &mut Budget<'_>,
    ) -> Result<(), IngestError> {
        // What cannot be parsed has no text; the pages beside it have.
        let Ok(content) = Content::decode(content) else {
            (self.strings, self.lost) = (self.strings + 1, self.lost + 1);
            return Ok(());
        };
        let mut font: Option<Rc<Font<'d>>> = None;
        for (at, operation) in content.operations.iter().enumerate() {
            if at % PATIENCE == 0 {
                budget.check()?;
                budget.limits.text(self.bytes + drawing.bytes)?;
            }
            match operation.operator.as_str() {
                "Tf" => font = self.font(operation, resources, budget)?,
                "Do" if depth < MAX_FORMS => self.form(operation, resources, drawing, depth, budget)?,
                _ => {}
            }
            let shown = drawing.step(operation);
            let Some(font) = &font else {
                continue;
            };
            for part in shown {
                match part {
                    Object::String(bytes, _) => {
                        let (width, count, spaces) = font.width(bytes);
                        let text = font.text(bytes);
                        self.strings += 1;
                        self.lost += u32::from(text.is_none());
                        drawing.show(text.as_deref().unwrap_or("\u{fffd}"), width, count, spaces);
                    }
                    other => drawing.kern(other.as_float().unwrap_or(0.0)),
                }
            }
        }
        Ok(())
    }

    fn font(
        &mut self,
        operation: &Operation,
        resources: &[&'d Dictionary],
        budget: &mut Budget<'_>,
    ) -> Result<Option<Rc<Font<'d>>>, IngestError> {
        let Some(Ok(name)) = operation.operands.first().map(Object::as_name) else { return Ok(None) };
        let found = resources.iter().find_map(|resources| {
            let fonts = self.document.get_dict_in_dict(resources, b"Font").ok()?;
            self.document.get_dict_in_dict(fonts, name).ok()
        });
        let Some(found) = found else { return Ok(None) };
        let place = std::ptr::from_ref(found) as usize;
        if let Some(font) = self.fonts.get(&place) {
            return Ok(Some(Rc::clone(font)));
        }
        let font = match Font::of(found, self.document, budget) {
            Ok(font) => Rc::new(font),
            Err(error @ IngestError::TooLarge { .. }) => return Err(error),
            Err(_) => return Ok(None),
        };
        self.fonts.insert(place, Rc::clone(&font));
        Ok(Some(font))
    }

    /// A drawing that is kept apart from the page.
    fn form(
        &mut self,
        operation: &Operation,
        resources: &[&'d Dictionary],
        drawing: &mut Drawing,
        depth: usize,
        budget: &mut Budget<'_>,
    ) -> Result<(), IngestError> {
        let Some(Ok(name)) = operation.operands.first().map(Object::as_name) else { return Ok(()) };
        let found: Option<&'d Stream> = resources.iter().find_map(|resources| {
            let objects = self.document.get_dict_in_dict(resources, b"XObject").ok()?;
            objects.get_deref(name, self.document).and_then(Object::as_stream).ok()
        });
        let Some(stream) = found else { return Ok(()) };
        if !stream.dict.get(b"Subtype").and_then(Object::as_name).is_ok_and(|name| name == b"Form") {
            return Ok(());
        }
        let content =
            stream.get_plain_content_with_limit(budget.most()).map_err(|error| refused(&error, budget))?;
        budget.spend(content.len())?;
        let own = self.document.get_dict_in_dict(&stream.dict, b"Resources").ok();
        let resources: Vec<&Dictionary> = own.into_iter().chain(resources.iter().copied()).collect();
        let outside = drawing.matrix;
        if let Ok(matrix) = stream.dict.get_deref(b"Matrix", self.document).and_then(Object::as_array)
            && let Some(matrix) = Matrix::of(matrix)
        {
            drawing.matrix = matrix.then(drawing.matrix);
        }
        let drawn = self.draw(&content, &resources, drawing, depth + 1, budget);
        drawing.matrix = outside;
        drawn
    }
}

/// A change of coordinates: `[a b c d e f]` of the PDF standard.
#[derive(Clone, Copy, Debug)]
struct Matrix([f32; 6]);

impl Default for Matrix {
    fn default() -> Self {
        Self([1.0, 0.0, 0.0, 1.0, 0.0, 0.0])
    }
}

impl Matrix {
    fn of(numbers: &[Object]) -> Option<Self> {
        let numbers: Vec<f32> = numbers.iter().map(Object::as_float).collect::<Result<_, _>>().ok()?;
        let numbers: [f32; 6] = numbers.try_into().ok()?;
        numbers.iter().all(|number| number.is_finite()).then_some(Self(numbers))
    }

    fn then(self, next: Self) -> Self {
        let (Self([a, b, c, d, e, f]), Self([g, h, i, j, k, l])) = (self, next);
        Self([
            a * g + b * i,
            a * h + b * j,
            c * g + d * i,
            c * h + d * j,
            e * g + f * i + k,
            e * h + f * j + l,
        ])
    }

    fn moved(self, x: f32, y: f32) -> Self {
        Self([1.0, 0.0, 0.0, 1.0, x, y]).then(self)
    }
}

/// Where the pen is, and the lines so far.
#[derive(Default)]
struct Drawing {
    matrix: Matrix,
    saved: Vec<Matrix>,
    text: Matrix,
    line: Matrix,
    size: f32,
    leading: f32,
    spacing: f32,
    word_spacing: f32,
    scale: Option<f32>,
    invisible: bool,
    lines: Vec<Line>,
    unseen: Vec<Line>,
    /// Where the last text ended.
    end: Option<(f32, f32)>,
    bytes: usize,
}

/// Most states that a drawing saves.
const MAX_SAVED: usize = 256;

impl Drawing {
    /// Follows an instruction; gives what it shows.
    fn step<'o>(&mut self, operation: &'o Operation) -> &'o [Object] {
        let operands = operation.operands.as_slice();
        let number = |at: usize| {
            operands
                .get(at)
                .and_then(|number| number.as_float().ok())
                .filter(|number| number.is_finite())
                .unwrap_or(0.0)
        };
        match operation.operator.as_str() {
            "q" if self.saved.len() < MAX_SAVED => self.saved.push(self.matrix),
            "Q" => self.matrix = self.saved.pop().unwrap_or_default(),
            "cm" => self.matrix = Matrix::of(operands).unwrap_or_default().then(self.matrix),
            "BT" => (self.text, self.line) = (Matrix::default(), Matrix::default()),
            "Tf" => self.size = number(1),
            "TL" => self.leading = number(0),
            "Tc" => self.spacing = number(0),
            "Tw" => self.word_spacing = number(0),
            "Tz" => self.scale = Some(number(0) / 100.0),
            "Tr" => self.invisible = matches!(operands.first(), Some(Object::Integer(3 | 7))),
            "Td" => self.next_line(number(0), number(1)),
            "TD" => {
                self.leading = -number(1);
                self.next_line(number(0), number(1));
            }
            "Tm" => {
                self.line = Matrix::of(operands).unwrap_or_default();
                self.text = self.line;
            }
            "T*" => self.next_line(0.0, -self.leading),
            "Tj" => return operands,
            "'" => {
                self.next_line(0.0, -self.leading);
                return operands;
            }
            "\"" => {
                (self.word_spacing, self.spacing) = (number(0), number(1));
                self.next_line(0.0, -self.leading);
                return operands.get(2..).unwrap_or_default();
            }
            "TJ" => {
                return operands
                    .first()
                    .and_then(|list| list.as_array().ok())
                    .map(Vec::as_slice)
                    .unwrap_or_default();
            }
            _ => {}
        }
        &[]
    }

    fn next_line(&mut self, x: f32, y: f32) {
        self.line = self.line.moved(x, y);
        self.text = self.line;
    }

    fn kern(&mut self, thousandths: f32) {
        let back = -thousandths / 1000.0 * self.size * self.scale.unwrap_or(1.0);
        self.text = self.text.moved(back, 0.0);
    }

    fn show(&mut self, text: &str, width: f32, count: u16, spaces: u16) {
        let Matrix([_, _, c, d, x, y]) = self.text.then(self.matrix);
        let size = (self.size * (c * c + d * d).sqrt()).abs();
        let start = (x, y);
        let spacing = f32::from(count) * self.spacing + f32::from(spaces) * self.word_spacing;
        self.text = self.text.moved((width * self.size + spacing) * self.scale.unwrap_or(1.0), 0.0);
        let Matrix([.., x, y]) = self.text.then(self.matrix);
        // Letters of half a point are not there to be read.
        let lines = if self.invisible || size < 0.5 { &mut self.unseen } else { &mut self.lines };
        place(lines, text, start, self.end, size);
        self.end = Some((x, y));
        self.bytes += text.len();
    }

    /// The lines that are seen, and what is not seen. A page without any letter that is seen is a picture of a text with the
    /// text laid over it: what is there is what is in the picture.
    fn finish(self) -> (Vec<Line>, String) {
        let written = |lines: Vec<Line>| -> Vec<Line> {
            let lines = lines.into_iter().filter(|line| !line.text.trim().is_empty());
            lines.map(|line| Line { text: line.text.trim_end().to_owned(), ..line }).collect()
        };
        let (lines, unseen) = (written(self.lines), written(self.unseen));
        if lines.is_empty() {
            return (unseen, String::new());
        }
        let unseen: Vec<&str> = unseen.iter().map(|line| line.text.as_str()).collect();
        (lines, unseen.join("\n"))
    }
}

/// Writes text where the pen is: on the same line, apart from the word before if there is a gap, or on a new one.
fn place(lines: &mut Vec<Line>, text: &str, start: (f32, f32), end: Option<(f32, f32)>, size: f32) {
    let text: String = text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    let height = size.max(1.0);
    if let (Some(line), Some((x, y))) = (lines.last_mut(), end)
        && (start.1 - y).abs() < height * 0.5
        // A column to the left begins a line of its own.
        && x - height * 2.0 < start.0
    {
        let gap = start.0 - x;
        if height * 0.15 < gap && !line.text.ends_with(' ') && !text.starts_with(' ') {
            line.text.push(' ');
        }
        line.text.push_str(&text);
        line.size = line.size.max(size);
        return;
    }
    let apart = end.is_none_or(|(_, y)| y - start.1 > height * 1.75 || y < start.1);
    lines.push(Line { text: text.trim_start().to_owned(), size, apart });
}

/// How often each of the lines at the edges of the pages is there; used to find what is repeated.
pub(super) fn edges(page: &PageLines, depth: usize) -> BTreeMap<String, ()> {
    let top = page.lines.iter().take(depth);
    let bottom = page.lines.iter().rev().take(depth);
    top.chain(bottom).map(|line| (shape(&line.text), ())).collect()
}

/// A line with its numbers left out: page 3 of 10 is page 4 of 10.
pub(super) fn shape(line: &str) -> String {
    let mut shape = String::new();
    for char in line.trim().chars() {
        let char = if char.is_ascii_digit() { '#' } else { char };
        if char != '#' || !shape.ends_with('#') {
            shape.push(char);
        }
    }
    shape
}
