//! A BERT-like model on this machine's processor.

use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::path::Path;
use std::sync::Arc;
use std::task::Poll;

use agent_primitives::search::{EmbedError, Embedder, Embedding, TextKind};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::BertModel;
use tokenizers::Encoding;

use super::ModelError;
use super::folder::{Folder, Pooling, Prompts, TOKENIZER, WEIGHTS, malformed};
use crate::tokens::{ModelTokens, line};

/// A sentence embedder. Clones share its weights.
///
/// Each text is embedded by itself, so its vector does not depend on what is embedded beside it. Vectors have length 1.
///
/// The work is done on the thread that polls the future, and on the threads of the process's rayon pool; nothing is spawned.
/// One text of 256 tokens takes tens of milliseconds, during which that thread does nothing else. Between two texts
/// the future gives way once, so that its executor can look at time limits and other tasks. A host whose executor must stay
/// quick runs the future on a thread for such work.
///
/// # Cancel safety
/// Dropping the future ends the work at the next text.
#[derive(Clone)]
pub struct CandleBert {
    shared: Arc<Shared>,
}

struct Shared {
    name: String,
    model: BertModel,
    tokens: ModelTokens,
    pooling: Pooling,
    prompts: Prompts,
    dimensions: usize,
    max_tokens: usize,
}

impl CandleBert {
    /// The model in a folder: `config.json`, `tokenizer.json` and `model.safetensors`, and, where they are there,
    /// `modules.json`, `1_Pooling/config.json`, `sentence_bert_config.json` and `config_sentence_transformers.json`, as
    /// the library sentence-transformers writes them.
    ///
    /// It reads the files at once, on this thread. Its name holds the digest of all that bears on the vectors.
    ///
    /// # Errors
    /// [`ModelError`] `AK0640` to `AK0644`. A model that asks for what is not done here is refused, for its vectors would be
    /// wrong without a sign of it.
    pub fn load(folder: &Path) -> Result<Self, ModelError> {
        let Folder { config, tokens, weights, pooling, prompts, max_tokens, digest } = Folder::read(folder)?;
        let framed = tokens.encode("")?.len();
        if max_tokens <= framed {
            return Err(malformed(TOKENIZER, "no text fits between the tokens around it"));
        }
        let tensors = checked(&weights)?;
        drop(weights);
        let weights = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
        let model = BertModel::load(weights, &config).map_err(|error| malformed(WEIGHTS, &line(&error)))?;
        let dimensions = config.hidden_size;
        let name = format!("bert-{dimensions}-{}", digest.to_hex());
        Ok(Self {
            shared: Arc::new(Shared { name, model, tokens, pooling, prompts, dimensions, max_tokens }),
        })
    }

    /// Counts as the model does, without the tokens around a text, for whoever cuts texts to fit.
    #[must_use]
    pub fn tokens(&self) -> ModelTokens {
        self.shared.tokens.clone()
    }

    /// The longest beginning of a text that the model takes. What is left out is the caller's to tell.
    ///
    /// # Errors
    /// `Failed`, where the text cannot be tokenised.
    pub fn fitting<'t>(&self, kind: TextKind, text: &'t str) -> Result<&'t str, EmbedError> {
        let Shared { max_tokens, .. } = *self.shared;
        let mut fitting = text;
        loop {
            let encoding = self.encode(kind, fitting).map_err(failed)?;
            if encoding.len() <= max_tokens {
                return Ok(fitting);
            }
            let own = encoding.get_offsets().iter().zip(encoding.get_special_tokens_mask());
            let own: Vec<usize> =
                own.filter(|(_, special)| **special == 0).map(|((_, end), _)| *end).collect();
            let room = max_tokens.saturating_sub(encoding.len() - own.len());
            let end = room.checked_sub(1).and_then(|last| own.get(last)).copied().unwrap_or(0);
            let end = end.saturating_sub(self.prompt(kind).len());
            // A word that is cut may have more tokens than its beginning had in the whole: then it goes as well.
            let most = end.min(fitting.len().saturating_sub(1));
            let border = (0..=most).rev().find(|place| fitting.is_char_boundary(*place)).unwrap_or(0);
            fitting = fitting.get(..border).unwrap_or_default();
        }
    }

    fn prompt(&self, kind: TextKind) -> &str {
        match kind {
            TextKind::Query => &self.shared.prompts.query,
            TextKind::Passage => &self.shared.prompts.passage,
        }
    }

    fn encode(&self, kind: TextKind, text: &str) -> Result<Encoding, ModelError> {
        match self.prompt(kind) {
            "" => self.shared.tokens.encode(text),
            prompt => self.shared.tokens.encode(&format!("{prompt}{text}")),
        }
    }

    fn vector(&self, kind: TextKind, index: usize, text: &str) -> Result<Vec<f32>, EmbedError> {
        let encoding = self.encode(kind, text).map_err(failed)?;
        let (tokens, limit) = (encoding.len(), self.shared.max_tokens);
        if limit < tokens {
            return Err(EmbedError::TooLong { index, tokens, limit });
        }
        let pooled =
            self.pooled(&encoding).map_err(|error| failed(ModelError::Failed { source: Box::new(error) }))?;
        unit(pooled).ok_or(EmbedError::BadVector { index })
    }

    fn pooled(&self, encoding: &Encoding) -> candle_core::Result<Vec<f32>> {
        let Shared { model, pooling, .. } = &*self.shared;
        let ids = Tensor::new(encoding.get_ids(), &Device::Cpu)?.unsqueeze(0)?;
        let types = Tensor::new(encoding.get_type_ids(), &Device::Cpu)?.unsqueeze(0)?;
        // One text, nothing filled up: there is nothing to mask, and every token counts in the mean.
        let hidden = model.forward(&ids, &types, None)?.squeeze(0)?;
        match pooling {
            Pooling::Mean => hidden.mean(0)?.to_vec1(),
            Pooling::First => hidden.get(0)?.to_vec1(),
        }
    }
}

impl Embedder for CandleBert {
    fn model(&self) -> &str {
        &self.shared.name
    }

    fn dimensions(&self) -> usize {
        self.shared.dimensions
    }

    fn max_tokens(&self) -> Option<usize> {
        Some(self.shared.max_tokens)
    }

    fn embed<'a>(&'a self, kind: TextKind, texts: &'a [&'a str]) -> Embedding<'a> {
        Box::pin(async move {
            let mut vectors = Vec::new();
            for (index, text) in texts.iter().enumerate() {
                if index != 0 {
                    give_way().await;
                }
                vectors.push(self.vector(kind, index, text)?);
            }
            Ok(vectors)
        })
    }
}

impl fmt::Debug for CandleBert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { name, pooling, prompts, max_tokens, .. } = &*self.shared;
        f.debug_struct("CandleBert")
            .field("name", name)
            .field("pooling", pooling)
            .field("prompts", prompts)
            .field("max_tokens", max_tokens)
            .finish_non_exhaustive()
    }
}

/// The tensors of a file, every number of them finite.
fn checked(bytes: &[u8]) -> Result<HashMap<String, Tensor>, ModelError> {
    let damaged = |error: candle_core::Error| malformed(WEIGHTS, &line(&error));
    let tensors = candle_core::safetensors::load_buffer(bytes, &Device::Cpu).map_err(damaged)?;
    for (name, tensor) in &tensors {
        let numbers = tensor.flatten_all().and_then(|flat| flat.to_dtype(DType::F32)?.to_vec1::<f32>());
        if !numbers.map_err(damaged)?.iter().all(|number| number.is_finite()) {
            return Err(ModelError::BadWeights { tensor: name.clone() });
        }
    }
    Ok(tensors)
}

/// The vector of length 1 in the same direction, where there is one.
fn unit(mut vector: Vec<f32>) -> Option<Vec<f32>> {
    let length = vector.iter().map(|part| f64::from(*part).powi(2)).sum::<f64>().sqrt();
    if !length.is_finite() || length == 0.0 {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "a part of a unit vector is in -1 to 1")]
    vector.iter_mut().for_each(|part| *part = (f64::from(*part) / length) as f32);
    Some(vector)
}

fn failed(error: ModelError) -> EmbedError {
    EmbedError::Failed { source: Box::new(error) }
}

/// Pending once, and awake at once.
async fn give_way() {
    let mut given = false;
    poll_fn(|context| {
        if given {
            return Poll::Ready(());
        }
        given = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
