//! Finds the YAML in Markdown.

use super::super::error::{Code, Mark, Report};

/// Most blocks of one file.
const MAX_BLOCKS: usize = 32;

/// What a line of three or more backticks or tildes opens or closes.
struct Fence<'t> {
    char: char,
    length: usize,
    info: &'t str,
}

impl<'t> Fence<'t> {
    fn of(line: &'t str) -> Option<Self> {
        let char = line.chars().next().filter(|char| matches!(char, '`' | '~'))?;
        let info = line.trim_start_matches(char);
        let length = line.len() - info.len();
        // A line of code between backticks is no fence.
        let inline = char == '`' && info.contains('`');
        (3 <= length && !inline).then_some(Self { char, length, info: info.trim() })
    }

    fn closes(&self, opening: &Self) -> bool {
        self.char == opening.char && opening.length <= self.length && self.info.is_empty()
    }

    fn is_yaml(&self) -> bool {
        matches!(self.info, "yaml" | "yml")
    }

    /// Whether a reader may take it for YAML though it is not read as such.
    fn resembles_yaml(&self) -> bool {
        let info = self.info.to_ascii_lowercase();
        !self.is_yaml() && (info.contains("yaml") || info.contains("yml"))
    }
}

/// The YAML blocks of a file, each behind as many empty lines as stand before it, so that places in it are those of the
/// file. `None` after an error.
pub(super) fn of(text: &str, report: &mut Report) -> Option<Vec<String>> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Blocks { lines: &lines, blocks: Vec::new(), report };
    let mut next = found.front_matter()?;
    while let Some(line) = lines.get(next) {
        next = found.step(line, next)?;
    }
    if MAX_BLOCKS < found.blocks.len() {
        found.report.add(Code::Limit, Mark::NOWHERE, format!("more than {MAX_BLOCKS} blocks of YAML"));
        return None;
    }
    let Blocks { blocks, .. } = found;
    // Without front matter and fences, the file is YAML as it stands.
    Some(if blocks.is_empty() { vec![text.to_owned()] } else { blocks })
}

struct Blocks<'t, 'r> {
    lines: &'t [&'t str],
    blocks: Vec<String>,
    report: &'r mut Report,
}

impl Blocks<'_, '_> {
    /// Takes the front matter, if there is one, and returns where the rest begins.
    fn front_matter(&mut self) -> Option<usize> {
        if self.lines.first().map(|line| line.trim_end()) != Some("---") {
            return Some(0);
        }
        match self.lines.iter().skip(1).position(|line| line.trim_end() == "---") {
            Some(length) => {
                self.take(1, 1 + length);
                Some(length + 2)
            }
            None => self.refuse(0, "the front matter has no end", "close it with a line of `---`"),
        }
    }

    /// Reads one line outside of any block, with the block it opens, and returns the line after.
    fn step(&mut self, line: &str, at: usize) -> Option<usize> {
        if line.contains("<!--") {
            let help = "a reader of the rendered file does not see it; take it out";
            return self.refuse(at, "a comment of HTML", help);
        }
        let Some(opening) = Fence::of(line) else {
            let bare = line
                .trim_start_matches(|char: char| char.is_whitespace() || ">-*+.)0123456789".contains(char));
            let hidden = Fence::of(bare).is_some_and(|fence| fence.is_yaml() || fence.resembles_yaml());
            return if hidden {
                self.refuse(at, "a fence of YAML that is indented", "begin it at the start of the line")
            } else {
                Some(at + 1)
            };
        };
        if opening.resembles_yaml() {
            return self.refuse(at, "a fence that may be taken for YAML", "write ```yaml and nothing more");
        }
        let closes = |line: &&str| Fence::of(line).is_some_and(|fence| fence.closes(&opening));
        let Some(length) = self.lines.iter().skip(at + 1).position(closes) else {
            return self.refuse(at, "the fence has no end", "close it with a line of the same characters");
        };
        if opening.is_yaml() {
            self.take(at + 1, at + 1 + length);
        }
        Some(at + length + 2)
    }

    /// Takes the lines from `from` up to `to`.
    fn take(&mut self, from: usize, to: usize) {
        let mut block = "\n".repeat(from);
        for line in self.lines.iter().take(to).skip(from) {
            block.push_str(line);
            block.push('\n');
        }
        self.blocks.push(block);
    }

    fn refuse<T>(&mut self, line: usize, message: &str, help: &str) -> Option<T> {
        let line = u32::try_from(line).unwrap_or(u32::MAX - 1) + 1;
        self.report.add_help(Code::Unenforceable, Mark { line, column: 1 }, message, help);
        None
    }
}
