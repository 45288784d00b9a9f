//! Vectors of texts, made by a model that the host brings.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// What a text is to a model that embeds questions and passages differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TextKind {
    /// What is looked for.
    Query,
    /// What is found.
    Passage,
}

/// Why texts have no vectors.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbedError {
    /// The embedder answered another number of vectors than it was given texts.
    #[error("the embedder answered {found} vectors to {expected} texts")]
    Count {
        /// Number of texts.
        expected: usize,
        /// Number of vectors.
        found: usize,
    },
    /// A vector of another length than the embedder said.
    #[error("vector {index} has {found} dimensions, not {expected}")]
    Dimension {
        /// Place of the text.
        index: usize,
        /// What [`Embedder::dimensions`] says.
        expected: usize,
        /// Length of the vector.
        found: usize,
    },
    /// A vector of zeros, or with a component that is infinite or no number.
    #[error("vector {index} has no direction, or a component that is no finite number")]
    BadVector {
        /// Place of the text.
        index: usize,
    },
    /// A text that the model cannot take as a whole.
    #[error("text {index} has {tokens} tokens, the model takes {limit}")]
    TooLong {
        /// Place of the text.
        index: usize,
        /// Its tokens, as the model counts them.
        tokens: usize,
        /// [`Embedder::max_tokens`].
        limit: usize,
    },
    /// The model, or the way to it, failed.
    #[error("the embedder failed")]
    Failed {
        /// What it said.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl EmbedError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Count { .. } => "AK0700",
            Self::Dimension { .. } => "AK0701",
            Self::BadVector { .. } => "AK0702",
            Self::TooLong { .. } => "AK0703",
            Self::Failed { .. } => "AK0704",
        }
    }
}

/// The vectors of some texts, to be awaited.
pub type Embedding<'a> = Pin<Box<dyn Future<Output = Result<Vec<Vec<f32>>, EmbedError>> + Send + 'a>>;

/// A model that gives texts vectors, near each other where the texts mean the same.
///
/// Who stores vectors keeps [`Embedder::model`] beside them: vectors of two models have nothing to do with each other.
pub trait Embedder: fmt::Debug + Send + Sync {
    /// The name of the model with its version; equal names promise equal vectors.
    fn model(&self) -> &str;

    /// The length of every vector.
    fn dimensions(&self) -> usize;

    /// The most tokens of one text, as the model counts them; `None` where there is no limit.
    fn max_tokens(&self) -> Option<usize>;

    /// One vector for each text, in order. A text that is too long is refused, never cut in silence.
    ///
    /// Callers use [`embed`], which holds the answer to what is promised here.
    fn embed<'a>(&'a self, kind: TextKind, texts: &'a [&'a str]) -> Embedding<'a>;
}

/// Most texts given to an embedder at once.
pub const EMBED_BATCH: usize = 64;

/// The vectors of texts, asked for in batches of [`EMBED_BATCH`], one after another, and checked: one of the right length
/// for each text, finite and not zero.
///
/// # Errors
/// The first [`EmbedError`], with places counted over all texts. Nothing is answered in part.
///
/// # Cancel safety
/// Dropping the future keeps nothing; a batch on its way is the embedder's affair.
pub async fn embed(
    embedder: &dyn Embedder,
    kind: TextKind,
    texts: &[&str],
) -> Result<Vec<Vec<f32>>, EmbedError> {
    let mut vectors = Vec::with_capacity(texts.len());
    for batch in texts.chunks(EMBED_BATCH) {
        let first = vectors.len();
        let answer = embedder.embed(kind, batch).await.map_err(|error| moved(error, first))?;
        if answer.len() != batch.len() {
            return Err(EmbedError::Count { expected: batch.len(), found: answer.len() });
        }
        for (index, vector) in (first..).zip(&answer) {
            let (expected, found) = (embedder.dimensions(), vector.len());
            if expected != found {
                return Err(EmbedError::Dimension { index, expected, found });
            }
            if !vector.iter().all(|part| part.is_finite()) || vector.iter().all(|part| *part == 0.0) {
                return Err(EmbedError::BadVector { index });
            }
        }
        vectors.extend(answer);
    }
    Ok(vectors)
}

/// An embedder counts within its batch.
fn moved(error: EmbedError, by: usize) -> EmbedError {
    match error {
        EmbedError::TooLong { index, tokens, limit } => {
            EmbedError::TooLong { index: index + by, tokens, limit }
        }
        EmbedError::BadVector { index } => EmbedError::BadVector { index: index + by },
        EmbedError::Dimension { index, expected, found } => {
            EmbedError::Dimension { index: index + by, expected, found }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// Answers what it is told, whatever the text.
    #[derive(Debug)]
    struct Told(fn(usize) -> Vec<f32>, usize);

    impl Embedder for Told {
        fn model(&self) -> &str {
            "told"
        }

        fn dimensions(&self) -> usize {
            2
        }

        fn max_tokens(&self) -> Option<usize> {
            None
        }

        fn embed<'a>(&'a self, _: TextKind, texts: &'a [&'a str]) -> Embedding<'a> {
            Box::pin(async move { Ok((0..texts.len().saturating_sub(self.1)).map(self.0).collect()) })
        }
    }

    fn ask(told: &Told, texts: usize) -> Result<Vec<Vec<f32>>, EmbedError> {
        let texts = vec!["a"; texts];
        let mut asked = Box::pin(embed(told, TextKind::Passage, &texts));
        match asked.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => answer,
            Poll::Pending => panic!("it has nothing to wait for"),
        }
    }

    #[test]
    fn an_answer_is_held_to_its_promise() {
        let good = |_| vec![1.0, 0.0];
        assert_eq!(ask(&Told(good, 0), 130).unwrap().len(), 130);
        assert_eq!(ask(&Told(good, 1), 2).unwrap_err().code(), "AK0700");
        assert_eq!(ask(&Told(|_| vec![1.0], 0), 1).unwrap_err().code(), "AK0701");
        assert_eq!(ask(&Told(|_| vec![0.0, 0.0], 0), 1).unwrap_err().code(), "AK0702");
        let late = |index| if index == 3 { vec![f32::NAN, 0.0] } else { vec![1.0, 0.0] };
        assert!(matches!(ask(&Told(late, 0), 70).unwrap_err(), EmbedError::BadVector { index: 3 }));
    }
}
