//! Tokens, where no model says what they are, and where one does.

use std::sync::Arc;

use caas_core::tokens::TokenCounter;

use crate::options::Options;

/// What counts, by the name that it has in rows.
pub(crate) type Counter = (&'static str, Arc<dyn TokenCounter>);

/// Pieces, and the tokens of the model where there is one.
pub(crate) fn counters(options: &Options) -> anyhow::Result<Vec<Counter>> {
    let mut counters: Vec<Counter> = vec![("estimated tokens", Arc::new(Pieces))];
    counters.extend(of_model(options)?.map(|tokens| ("tokens of the model", tokens)));
    Ok(counters)
}

#[cfg(feature = "tokenizers")]
fn of_model(options: &Options) -> anyhow::Result<Option<Arc<dyn TokenCounter>>> {
    let Some(folder) = options.model() else { return Ok(None) };
    let file = folder.join("tokenizer.json");
    Ok(Some(Arc::new(caas_core::tokens::ModelTokens::read("tokens of the model", &file)?)))
}

#[cfg(not(feature = "tokenizers"))]
fn of_model(options: &Options) -> anyhow::Result<Option<Arc<dyn TokenCounter>>> {
    let asks = options.asks_for_model();
    anyhow::ensure!(!asks, "`--model` needs `--features candle`, or `tokenizers` for its tokens alone");
    Ok(None)
}

/// Letters of one token at the most. Vocabularies of models hold most words of this length whole.
const LETTERS: usize = 9;

/// Runs of letters and digits, in pieces of at most nine, and every mark: about what WordPiece counts in English.
#[derive(Debug)]
pub(crate) struct Pieces;

impl TokenCounter for Pieces {
    fn name(&self) -> &str {
        "pieces of nine letters"
    }

    fn count(&self, text: &str) -> usize {
        let words = text.split(|char: char| !char.is_alphanumeric());
        let pieces: usize = words.map(|word| word.chars().count().div_ceil(LETTERS)).sum();
        let mark = |char: &char| !char.is_alphanumeric() && !char.is_whitespace();
        (pieces + text.chars().filter(mark).count()).min(text.len())
    }
}
