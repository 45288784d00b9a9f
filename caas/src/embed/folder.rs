//! What a folder says of its model.

use std::io::ErrorKind;
use std::path::Path;

use candle_transformers::models::bert::{Config, HiddenAct, PositionEmbeddingType};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::tokens::{ModelError, ModelTokens, line, read};

const CONFIG: &str = "config.json";
const MODULES: &str = "modules.json";
const POOLING: &str = "1_Pooling/config.json";
const SENTENCES: &str = "sentence_bert_config.json";
const PROMPTS: &str = "config_sentence_transformers.json";
pub(super) const TOKENIZER: &str = "tokenizer.json";
pub(super) const WEIGHTS: &str = "model.safetensors";

/// Largest description.
const MAX_DESCRIPTION: u64 = 1 << 20;
/// Largest vocabulary file.
const MAX_TOKENIZER: u64 = 64 << 20;
/// Largest file of weights. While it is read it is in memory twice.
const MAX_WEIGHTS: u64 = 4 << 30;
/// Most layers; the largest BERT has 24.
const MAX_LAYERS: usize = 96;
/// Widest layer.
const MAX_WIDTH: usize = 1 << 16;
/// Longest text in tokens.
const MAX_POSITIONS: usize = 1 << 15;
/// Largest vocabulary.
const MAX_VOCABULARY: usize = 1 << 21;
/// Longest prompt in bytes.
const MAX_PROMPT: usize = 1024;

/// How the vectors of a text's tokens become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pooling {
    Mean,
    /// The vector of the first token.
    First,
}

/// What is put before a text.
#[derive(Debug, Default)]
pub(super) struct Prompts {
    pub(super) query: String,
    pub(super) passage: String,
}

/// A folder that was read and makes sense so far.
pub(super) struct Folder {
    pub(super) config: Config,
    pub(super) tokens: ModelTokens,
    pub(super) weights: Vec<u8>,
    pub(super) pooling: Pooling,
    pub(super) prompts: Prompts,
    pub(super) max_tokens: usize,
    /// Equal for equal files only.
    pub(super) digest: blake3::Hash,
}

impl Folder {
    pub(super) fn read(folder: &Path) -> Result<Self, ModelError> {
        let mut files = Files { folder, hasher: blake3::Hasher::new_derive_key(CONTEXT) };
        let described: Described = parse(CONFIG, &files.must(CONFIG, MAX_DESCRIPTION)?)?;
        let config = described.config()?;
        let modules = files.may(MODULES)?;
        if let Some(modules) = modules {
            check_modules(&parse::<Vec<Module>>(MODULES, &modules)?)?;
        }
        let pooling = match files.may(POOLING)? {
            Some(bytes) => pooling(&parse(POOLING, &bytes)?)?,
            None => Pooling::Mean,
        };
        let sentences: Sentences = match files.may(SENTENCES)? {
            Some(bytes) => parse(SENTENCES, &bytes)?,
            None => Sentences::default(),
        };
        if sentences.do_lower_case {
            return Err(unsupported(SENTENCES, "texts in lower case"));
        }
        let prompts = match files.may(PROMPTS)? {
            Some(bytes) => parse::<Asked>(PROMPTS, &bytes)?.prompts()?,
            None => Prompts::default(),
        };
        let tokens = ModelTokens::parse(TOKENIZER, &files.must(TOKENIZER, MAX_TOKENIZER)?)?;
        if config.vocab_size < tokens.vocabulary() {
            return Err(malformed(TOKENIZER, "more tokens than the model has weights for"));
        }
        let weights = files.must(WEIGHTS, MAX_WEIGHTS)?;
        let positions = config.max_position_embeddings;
        let max_tokens = sentences.max_seq_length.map_or(positions, |most| most.min(positions));
        let digest = files.hasher.finalize();
        Ok(Self { config, tokens, weights, pooling, prompts, max_tokens, digest })
    }
}

/// Changes where the arithmetic over the same files does, for then their vectors do.
const CONTEXT: &str = "agent-os caas sentence embedder v1";

struct Files<'a> {
    folder: &'a Path,
    hasher: blake3::Hasher,
}

impl Files<'_> {
    fn must(&mut self, name: &str, limit: u64) -> Result<Vec<u8>, ModelError> {
        let bytes = read(&self.folder.join(name), name, limit)?;
        self.hasher.update(name.as_bytes());
        self.hasher.update(blake3::hash(&bytes).as_bytes());
        Ok(bytes)
    }

    /// A file that a folder need not have.
    fn may(&mut self, name: &str) -> Result<Option<Vec<u8>>, ModelError> {
        match self.must(name, MAX_DESCRIPTION) {
            Err(ModelError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }
}

/// What is read of `config.json`.
#[derive(Deserialize)]
struct Described {
    model_type: String,
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    hidden_act: String,
    max_position_embeddings: usize,
    type_vocab_size: usize,
    layer_norm_eps: f64,
    position_embedding_type: Option<String>,
}

impl Described {
    fn config(self) -> Result<Config, ModelError> {
        if self.model_type != "bert" {
            return Err(unsupported(CONFIG, &format!("the architecture `{}`", self.model_type)));
        }
        if let Some(kind) = self.position_embedding_type.filter(|kind| kind != "absolute") {
            return Err(unsupported(CONFIG, &format!("positions `{kind}`")));
        }
        let hidden_act = match self.hidden_act.as_str() {
            "gelu" => HiddenAct::Gelu,
            "gelu_new" | "gelu_pytorch_tanh" => HiddenAct::GeluApproximate,
            "relu" => HiddenAct::Relu,
            other => return Err(unsupported(CONFIG, &format!("the activation `{other}`"))),
        };
        let bounded = [
            ("vocab_size", self.vocab_size, MAX_VOCABULARY),
            ("hidden_size", self.hidden_size, MAX_WIDTH),
            ("num_hidden_layers", self.num_hidden_layers, MAX_LAYERS),
            ("num_attention_heads", self.num_attention_heads, MAX_WIDTH),
            ("intermediate_size", self.intermediate_size, MAX_WIDTH),
            ("max_position_embeddings", self.max_position_embeddings, MAX_POSITIONS),
            ("type_vocab_size", self.type_vocab_size, MAX_WIDTH),
        ];
        if let Some((name, value, most)) =
            bounded.iter().find(|(_, value, most)| !(1..=*most).contains(value))
        {
            return Err(malformed(CONFIG, &format!("`{name}` is {value}, not 1 to {most}")));
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err(malformed(CONFIG, "the heads do not divide `hidden_size`"));
        }
        if !self.layer_norm_eps.is_finite() || self.layer_norm_eps < 0.0 {
            return Err(malformed(CONFIG, "`layer_norm_eps` is no small positive number"));
        }
        Ok(Config {
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.num_attention_heads,
            intermediate_size: self.intermediate_size,
            hidden_act,
            max_position_embeddings: self.max_position_embeddings,
            type_vocab_size: self.type_vocab_size,
            layer_norm_eps: self.layer_norm_eps,
            position_embedding_type: PositionEmbeddingType::Absolute,
            model_type: Some(self.model_type),
            ..Config::default()
        })
    }
}

#[derive(Deserialize)]
struct Module {
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

/// A step that was left out would change every vector, so steps that are not known are refused.
fn check_modules(modules: &[Module]) -> Result<(), ModelError> {
    for module in modules {
        let kind = module.kind.rsplit('.').next().unwrap_or_default();
        match (kind, module.path.as_str()) {
            ("Transformer", "") | ("Pooling", "1_Pooling") | ("Normalize", _) => {}
            _ => return Err(unsupported(MODULES, &format!("the step `{kind}` in `{}`", module.path))),
        }
    }
    Ok(())
}

fn pooling(described: &Map<String, Value>) -> Result<Pooling, ModelError> {
    if described.get("include_prompt") == Some(&Value::Bool(false)) {
        return Err(unsupported(POOLING, "prompts that do not count"));
    }
    let modes = described
        .iter()
        .filter(|(name, value)| name.starts_with("pooling_mode_") && **value == Value::Bool(true));
    let modes: Vec<&str> = modes.map(|(name, _)| name.as_str()).collect();
    match modes.as_slice() {
        ["pooling_mode_mean_tokens"] => Ok(Pooling::Mean),
        ["pooling_mode_cls_token"] => Ok(Pooling::First),
        others => Err(unsupported(POOLING, &format!("the modes {others:?}"))),
    }
}

/// What is read of `sentence_bert_config.json`.
#[derive(Default, Deserialize)]
struct Sentences {
    max_seq_length: Option<usize>,
    #[serde(default)]
    do_lower_case: bool,
}

/// What is read of `config_sentence_transformers.json`.
#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    prompts: Map<String, Value>,
}

impl Asked {
    fn prompts(&self) -> Result<Prompts, ModelError> {
        let prompt = |names: &[&str]| match names.iter().find_map(|name| self.prompts.get(*name)) {
            None | Some(Value::Null) => Ok(String::new()),
            Some(Value::String(prompt)) if prompt.len() <= MAX_PROMPT => Ok(prompt.clone()),
            Some(_) => Err(malformed(PROMPTS, &format!("a prompt is no text of at most {MAX_PROMPT} bytes"))),
        };
        Ok(Prompts { query: prompt(&["query"])?, passage: prompt(&["passage", "document"])? })
    }
}

fn parse<T: DeserializeOwned>(file: &str, bytes: &[u8]) -> Result<T, ModelError> {
    serde_json::from_slice(bytes).map_err(|error| malformed(file, &line(&error)))
}

pub(super) fn malformed(file: &str, reason: &str) -> ModelError {
    ModelError::Malformed { file: file.to_owned(), reason: reason.to_owned() }
}

fn unsupported(file: &str, what: &str) -> ModelError {
    ModelError::Unsupported { file: file.to_owned(), what: what.to_owned() }
}
