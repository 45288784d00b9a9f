//! What contracts, papers, references and tutorials are built of.

use super::{DocumentKind, Evidence};
use crate::model::{BlockKind, Parsed};

/// What was counted in one pass.
#[derive(Debug, Default)]
pub(super) struct Signs {
    words: usize,
    clauses: usize,
    defined: usize,
    recitals: usize,
    signatures: usize,
    citations: usize,
    references: usize,
    paper_headings: usize,
    requests: usize,
    fields: usize,
    steps: usize,
    prompts: usize,
    tutorial_headings: usize,
    manual_headings: usize,
    quoted_code: usize,
    tables: usize,
    headings: usize,
    bylines: usize,
}

/// Names of the parts of a paper. Three of them, as headings, are no accident.
const PAPER: [&str; 14] = [
    "abstract",
    "introduction",
    "background",
    "related work",
    "method",
    "methods",
    "methodology",
    "results",
    "evaluation",
    "discussion",
    "conclusion",
    "conclusions",
    "references",
    "acknowledgements",
];
const TUTORIAL: [&str; 8] = [
    "prerequisites",
    "getting started",
    "next steps",
    "what you will learn",
    "before you begin",
    "what you need",
    "step by step",
    "troubleshooting",
];
const MANUAL: [&str; 14] = [
    "installation",
    "install",
    "usage",
    "configuration",
    "options",
    "features",
    "requirements",
    "quick start",
    "quickstart",
    "examples",
    "commands",
    "environment variables",
    "limitations",
    "license",
];
const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];

impl Signs {
    pub(super) fn of(parsed: &Parsed) -> Self {
        let mut signs = Self::default();
        for block in &parsed.blocks {
            let text = parsed.text.get(block.range.clone()).unwrap_or_default();
            signs.words += text.split_whitespace().count();
            match block.kind {
                BlockKind::Heading(_) | BlockKind::Title => signs.heading(text),
                BlockKind::Code => signs.quoted_code += 1,
                BlockKind::Table => {
                    signs.tables += 1;
                    signs.fields += usize::from(names_fields(text));
                }
                _ => {}
            }
            signs.lines(text, block.kind);
        }
        for (name, value) in &parsed.attributes {
            let value = value.as_str().unwrap_or_default();
            signs.bylines += usize::from(match name.as_str() {
                "og:type" => value == "article",
                name => {
                    matches!(name, "author" | "date" | "article:published_time" | "article:author" | "byline")
                }
            });
        }
        signs
    }

    fn heading(&mut self, text: &str) {
        self.headings += 1;
        let line = text.lines().next().unwrap_or_default();
        let numbered = line.trim_start_matches(|char: char| {
            char.is_ascii_digit() || matches!(char, '#' | ' ' | '.' | ')' | '*' | '_')
        });
        let name = numbered.trim_end_matches([' ', ':', '#', '*', '_', '.']).to_lowercase();
        let name = name.as_str();
        self.paper_headings += usize::from(PAPER.contains(&name));
        self.tutorial_headings += usize::from(TUTORIAL.contains(&name));
        self.manual_headings += usize::from(MANUAL.contains(&name));
        let step = name
            .strip_prefix("step ")
            .is_some_and(|rest| rest.starts_with(|char: char| char.is_ascii_digit()));
        self.steps += usize::from(step);
    }

    fn lines(&mut self, text: &str, kind: BlockKind) {
        for line in text.lines() {
            let line = line.trim_start_matches(|char: char| {
                char.is_whitespace() || matches!(char, '#' | '*' | '>' | '`' | '-')
            });
            self.requests += usize::from(is_request(line));
            if kind == BlockKind::Code {
                self.prompts += usize::from(line.starts_with("$ ") || line.starts_with("% "));
                continue;
            }
            self.clauses += usize::from(is_clause(line));
            self.recitals += usize::from(is_recital(line));
            self.signatures += usize::from(is_signature(line));
            self.references += usize::from(is_reference(line));
            self.defined += defined(line);
            self.citations += citations(line);
        }
    }

    pub(super) fn evidence(&self) -> Vec<Evidence> {
        use DocumentKind as K;
        // How often a thousand words have a sign at which it has its whole weight, and that weight.
        let rated = [
            (K::LegalContract, "numbered clauses", self.clauses, 3, 10.0, 0.5),
            (K::LegalContract, "terms that it defines", self.defined, 1, 4.0, 0.7),
            (K::LegalContract, "recitals", self.recitals, 1, 2.0, 0.5),
            (K::LegalContract, "lines to sign on", self.signatures, 2, 4.0, 0.4),
            (K::ResearchPaper, "citations", self.citations, 3, 5.0, 0.6),
            (K::ResearchPaper, "entries of a list of references", self.references, 3, 10.0, 0.6),
            (K::ApiDocumentation, "requests with a method and a path", self.requests, 2, 5.0, 0.85),
            (K::ApiDocumentation, "tables of fields", self.fields, 1, 5.0, 0.4),
            (K::Tutorial, "headings that are steps", self.steps, 2, 5.0, 0.7),
            (K::Tutorial, "commands at a prompt", self.prompts, 2, 10.0, 0.3),
            (K::TechnicalDocumentation, "quoted code", self.quoted_code, 1, 8.0, 0.5),
            (K::TechnicalDocumentation, "tables", self.tables, 1, 5.0, 0.3),
        ];
        // What a document has some number of, however long it is.
        let counted = [
            (K::ResearchPaper, "headings of a paper", self.paper_headings, 2, 4.0, 0.8),
            (K::Tutorial, "headings of a tutorial", self.tutorial_headings, 1, 2.0, 0.5),
            (K::TechnicalDocumentation, "headings of a manual", self.manual_headings, 1, 3.0, 0.7),
            (K::TechnicalDocumentation, "headings", self.headings, 3, 8.0, 0.3),
            (K::Article, "what it says of its author and date", self.bylines, 2, 3.0, 0.8),
            (K::Article, "long prose without code", self.prose(), 300, 600.0, 0.4),
        ];
        #[expect(clippy::cast_precision_loss, reason = "counts in a text")]
        let thousands = (self.words as f32 / 1000.0).max(0.2);
        let strength = |count: usize, least: usize, whole: f32, weight: f32, per: f32| {
            #[expect(clippy::cast_precision_loss, reason = "counts in a text")]
            let rate = count as f32 / per;
            if count < least { 0.0 } else { weight * (rate / whole).min(1.0) }
        };
        let rated = rated.map(|(kind, sign, count, least, whole, weight)| Evidence {
            kind,
            sign,
            count,
            weight: strength(count, least, whole, weight, thousands),
        });
        let counted = counted.map(|(kind, sign, count, least, whole, weight)| Evidence {
            kind,
            sign,
            count,
            weight: strength(count, least, whole, weight, 1.0),
        });
        rated.into_iter().chain(counted).filter(|one| 0.0 < one.weight).collect()
    }

    /// Words, if there is nothing but words.
    const fn prose(&self) -> usize {
        if self.quoted_code == 0 && self.requests == 0 && self.clauses == 0 && self.references == 0 {
            self.words
        } else {
            0
        }
    }
}

/// `4.2 The Supplier ...`, `(a) ...`, `Section 3.`, `ARTICLE IV`.
fn is_clause(line: &str) -> bool {
    let Some((first, rest)) = line.split_once(' ') else { return false };
    if rest.trim().is_empty() {
        return false;
    }
    let levels = first.trim_end_matches('.').split('.');
    let numbered = first.contains('.')
        && levels.clone().count() <= 4
        && levels
            .clone()
            .all(|level| (1..=2).contains(&level.len()) && level.bytes().all(|byte| byte.is_ascii_digit()));
    let lettered = first.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')).is_some_and(|inner| {
        (1..=4).contains(&inner.len())
            && (inner.len() == 1 && inner.bytes().all(|byte| byte.is_ascii_lowercase())
                || inner.bytes().all(|byte| matches!(byte, b'i' | b'v' | b'x')))
    });
    let named = matches!(first, "Section" | "Article" | "SECTION" | "ARTICLE" | "Clause")
        && rest.split(['.', ':', ' ']).next().is_some_and(|number| {
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit() || b"IVX".contains(&byte))
        });
    numbered || lettered || named
}

/// Terms in quotation marks with their meaning: `"Goods" means`, `(the "Supplier")`.
fn defined(line: &str) -> usize {
    let straight = line.replace(['“', '”'], "\"");
    let parts: Vec<&str> = straight.split('"').collect();
    let terms = parts.iter().enumerate().filter(|(at, term)| {
        let named = at % 2 == 1 && term.starts_with(char::is_uppercase) && term.len() <= 60;
        let before =
            at.checked_sub(1).and_then(|before| parts.get(before)).map_or("", |text| text.trim_end());
        let after = parts.get(at + 1).map_or("", |text| text.trim_start());
        let in_brackets = after.starts_with(')')
            && before.rsplit('(').next().is_some_and(|opened| {
                opened.len() < before.len()
                    && matches!(
                        opened.trim(),
                        "" | "the"
                            | "each a"
                            | "each an"
                            | "together the"
                            | "collectively"
                            | "collectively the"
                            | "hereinafter"
                            | "this"
                    )
            });
        named
            && (after.starts_with("means ")
                || after.starts_with("shall mean ")
                || after.starts_with("has the meaning")
                || in_brackets)
    });
    terms.count()
}

/// `WHEREAS, ...`; `NOW, THEREFORE, ...`; `This Agreement is made between ... and ...`.
fn is_recital(line: &str) -> bool {
    let start = line
        .get(..line.len().min(60))
        .or_else(|| line.get(..line.char_indices().nth(40)?.0))
        .unwrap_or_default();
    start.starts_with("WHEREAS")
        || start.starts_with("NOW, THEREFORE")
        || start.starts_with("NOW THEREFORE")
        || start.starts_with("IN WITNESS WHEREOF")
        || (start.starts_with("This ")
            && (start.contains(" is made ") || start.contains(" is entered into "))
            && line.contains(" between "))
}

/// `By: ____________`, `Name:`, `Title:` above a rule.
fn is_signature(line: &str) -> bool {
    line.contains("_____") && line.split_once(':').is_some_and(|(label, _)| label.len() <= 20)
        || line.trim_end().len() > 15 && line.trim_end().bytes().all(|byte| byte == b'_')
}

/// `[12] A. Author, ...` and `Author, A. (2001). ...`.
fn is_reference(line: &str) -> bool {
    let bracketed =
        line.strip_prefix('[').and_then(|rest| rest.split_once(']')).is_some_and(|(number, rest)| {
            (1..=3).contains(&number.len())
                && number.bytes().all(|byte| byte.is_ascii_digit())
                && 20 < rest.len()
        });
    let dated = line.starts_with(char::is_uppercase)
        && line.split_once('(').is_some_and(|(authors, rest)| {
            authors.len() <= 120 && authors.contains(", ") && authors.contains(". ") && is_year(rest)
        });
    bracketed || dated
}

/// `[3]`, `[3, 4]` within a line, `(Author, 2001)`, `Author et al. (2001)`.
fn citations(line: &str) -> usize {
    let bracketed = line.split('[').skip(1).filter(|rest| {
        rest.split_once(']').is_some_and(|(inner, _)| {
            (1..=20).contains(&inner.len())
                && inner.starts_with(|char: char| char.is_ascii_digit())
                && inner.bytes().all(|byte| byte.is_ascii_digit() || b", -".contains(&byte))
        })
    });
    let named = line.split('(').skip(1).filter(|rest| {
        rest.split_once(')').is_some_and(|(inner, _)| {
            inner.len() <= 100
                && inner.starts_with(char::is_uppercase)
                && inner.rsplit_once(", ").is_some_and(|(_, year)| is_year(year))
        })
    });
    bracketed.count() + named.count()
}

/// Whether a text begins with a year of the last centuries.
fn is_year(text: &str) -> bool {
    let digits: String = text.chars().take_while(char::is_ascii_digit).take(5).collect();
    digits.len() == 4 && (digits.starts_with("1") || digits.starts_with("20"))
}

/// `GET /users/{id}`.
fn is_request(line: &str) -> bool {
    let mut words = line.split_whitespace().map(|word| word.trim_matches('`'));
    words.next().is_some_and(|first| METHODS.contains(&first))
        && words.next().is_some_and(|path| path.starts_with('/') || path.starts_with("http"))
}

/// A table whose first row names fields and their types.
fn names_fields(table: &str) -> bool {
    let head = table.lines().next().unwrap_or_default().to_lowercase();
    let cells: Vec<&str> = head.split('|').map(str::trim).collect();
    let has = |names: &[&str]| cells.iter().any(|cell| names.contains(cell));
    has(&["parameter", "field", "name", "key", "status", "code"])
        && has(&["type", "description", "meaning", "required"])
}
