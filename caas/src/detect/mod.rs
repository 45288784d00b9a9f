//! What kind of document a text is: a contract, a program, a paper.
//!
//! Only how a text is built counts: numbered clauses, terms that it defines, requests with paths, citations, the names of its
//! headings, the shape of its lines. No word is evidence by itself, since every word of a language of programs or of law is in
//! ordinary prose too. The kind chooses defaults, such as how fast a document ages; it never moves a document in a ranking.

mod code;
mod signs;

use crate::model::{Format, Parsed, words};
use signs::Signs;

words! {
    /// What kind of document a text is.
    DocumentKind, "kind of document",
    /// An agreement between parties.
    LegalContract = "legal_contract",
    /// What a thing does and how it is used.
    TechnicalDocumentation = "technical_documentation",
    /// A program.
    SourceCode = "source_code",
    /// A paper with references.
    ResearchPaper = "research_paper",
    /// An article of a journal, a newspaper, a site.
    Article = "article",
    /// Steps to follow.
    Tutorial = "tutorial",
    /// Requests and their answers.
    ApiDocumentation = "api_documentation",
    /// There is too little that tells.
    Unknown = "unknown",
}

/// Below this confidence a kind is [`DocumentKind::Unknown`].
pub const MIN_CONFIDENCE: f32 = 0.6;

/// Something about a text that tells its kind.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Evidence {
    /// The kind it speaks for.
    pub kind: DocumentKind,
    /// What was found.
    pub sign: &'static str,
    /// How often.
    pub count: usize,
    /// How much it says by itself, 0 to 1: it grows with how often a thousand words have it.
    pub weight: f32,
}

/// The kind of a text, and why.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Detection {
    /// The kind, `Unknown` below [`MIN_CONFIDENCE`].
    pub kind: DocumentKind,
    /// The confidence in the likeliest kind, 0 to 1, whether or not it is enough. It orders kinds; it is no probability.
    pub confidence: f32,
    /// All that was found, for whatever kind, strongest first.
    pub evidence: Vec<Evidence>,
}

/// Tells the kind of a document. One pass over the text; the same text gives the same answer.
///
/// Signs of one kind are put together as if each were an independent witness, 1 - (1 - a)(1 - b), and a kind with a single sign
/// is believed by half, unless it is the sign that makes the kind what it is.
#[must_use]
pub fn detect(parsed: &Parsed) -> Detection {
    let mut evidence = if parsed.format == Format::Code {
        vec![Evidence { kind: DocumentKind::SourceCode, sign: "its format", count: 1, weight: 1.0 }]
    } else {
        let mut evidence = Signs::of(parsed).evidence();
        evidence.extend(code::evidence(parsed));
        evidence
    };
    evidence.sort_by(|one, other| other.weight.total_cmp(&one.weight));
    let mut best = (DocumentKind::Unknown, 0.0);
    for kind in DocumentKind::ALL {
        let confidence = confidence(evidence.iter().filter(|one| one.kind == *kind));
        if best.1 < confidence {
            best = (*kind, confidence);
        }
    }
    let (kind, confidence) = best;
    let kind = if confidence < MIN_CONFIDENCE { DocumentKind::Unknown } else { kind };
    Detection { kind, confidence, evidence }
}

fn confidence<'e>(evidence: impl Iterator<Item = &'e Evidence>) -> f32 {
    let (mut doubt, mut signs, mut proves) = (1.0, 0, false);
    for one in evidence {
        doubt *= 1.0 - one.weight;
        signs += 1;
        proves |= matches!(one.kind, DocumentKind::SourceCode | DocumentKind::ApiDocumentation);
    }
    let confidence = 1.0 - doubt;
    if signs == 1 && !proves { confidence / 2.0 } else { confidence }
}
