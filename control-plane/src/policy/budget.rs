//! What compiling one document may cost, so that no document within its size holds up the host.

/// Most `matches` guards in one policy.
pub const MAX_REGEXES: usize = 1024;
/// What all `matches` guards of one policy may cost to parse: the bytes of each, and 1024 more for each
/// character class in one that ignores case somewhere.
pub const MAX_REGEX_COST: usize = 256 << 10;
/// Most bytes in all patterns of one policy that are neither an exact name nor a prefix.
pub const MAX_GLOB_BYTES: usize = 128 << 10;

/// Most `schema` guards in one policy. Each may hold what a tool's schema may.
pub const MAX_SCHEMAS: usize = 64;

/// Most bytes in all words of the `contains_any` guards of one policy.
pub const MAX_NEEDLE_BYTES: usize = 256 << 10;
/// Most words of all `contains_any` guards of one policy: what it costs to prepare them grows faster than their number.
pub const MAX_NEEDLES: usize = 8192;

/// A class that ignores case visits every character it has, up to all of Unicode.
const FOLDED_CLASS: usize = 1024;

/// What is left to spend.
#[derive(Debug)]
pub(super) struct Budget {
    regexes: usize,
    regex_cost: usize,
    glob_bytes: usize,
    schemas: usize,
    needles: usize,
    needle_bytes: usize,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self {
            regexes: MAX_REGEXES,
            regex_cost: MAX_REGEX_COST,
            glob_bytes: MAX_GLOB_BYTES,
            schemas: MAX_SCHEMAS,
            needles: MAX_NEEDLES,
            needle_bytes: MAX_NEEDLE_BYTES,
        }
    }

    /// Pays for one regex.
    ///
    /// # Errors
    /// Which limit it would break; nothing is paid then.
    pub(super) fn regex(&mut self, pattern: &str) -> Result<(), String> {
        let regexes = self.regexes.checked_sub(1);
        let regexes = regexes.ok_or_else(|| format!("more than {MAX_REGEXES} `matches` guards"))?;
        let cost = self.regex_cost.checked_sub(regex_cost(pattern)).ok_or_else(|| {
            format!("the regexes cost more than {MAX_REGEX_COST}: their bytes, and {FOLDED_CLASS} for a class under `i`")
        })?;
        (self.regexes, self.regex_cost) = (regexes, cost);
        Ok(())
    }

    /// Pays for one word to look for.
    ///
    /// # Errors
    /// That the limit would be broken; nothing is paid then.
    pub(super) fn needle(&mut self, word: &str) -> Result<(), String> {
        let words = self.needles.checked_sub(1);
        let words = words.ok_or_else(|| format!("more than {MAX_NEEDLES} words of `contains_any`"))?;
        let left = self.needle_bytes.checked_sub(word.len());
        self.needle_bytes = left
            .ok_or_else(|| format!("the words of `contains_any` hold more than {MAX_NEEDLE_BYTES} bytes"))?;
        self.needles = words;
        Ok(())
    }

    /// Pays for one schema.
    ///
    /// # Errors
    /// That the limit would be broken; nothing is paid then.
    pub(super) fn schema(&mut self) -> Result<(), String> {
        let left = self.schemas.checked_sub(1);
        self.schemas = left.ok_or_else(|| format!("more than {MAX_SCHEMAS} `schema` guards"))?;
        Ok(())
    }

    /// Pays for one pattern that has to be compiled.
    ///
    /// # Errors
    /// That the limit would be broken; nothing is paid then.
    pub(super) fn glob(&mut self, pattern: &str) -> Result<(), String> {
        let left = self.glob_bytes.checked_sub(pattern.len());
        self.glob_bytes = left.ok_or_else(|| {
            format!("patterns other than exact names and prefixes hold more than {MAX_GLOB_BYTES} bytes")
        })?;
        Ok(())
    }
}

fn regex_cost(pattern: &str) -> usize {
    let classes = if may_ignore_case(pattern) { folded_classes(pattern) } else { 0 };
    pattern.len().saturating_add(classes.saturating_mul(FOLDED_CLASS))
}

/// Whether some `(?…i…)` could stand in the pattern. Blanks may stand around the question mark.
fn may_ignore_case(pattern: &str) -> bool {
    let flags = |after: &str| {
        after.chars().take_while(|char| char.is_ascii_alphabetic() || *char == '-').any(|char| char == 'i')
    };
    pattern.split('?').skip(1).any(flags)
}

/// An upper bound for the classes whose case is folded. Each side of a set operation counts as one.
fn folded_classes(pattern: &str) -> usize {
    ["[", "\\p", "\\P", "--", "&&", "~~"].iter().map(|start| pattern.matches(start).count()).sum()
}
