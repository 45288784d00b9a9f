use std::collections::HashMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};

use agent_primitives::search::{EmbedError, Embedder, TextKind, embed};
use candle_core::{Device, Tensor};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::tokens::TokenCounter;

const MAKE: &str = "the model is not there: run `.ci/model FOLDER` and set AGENT_OS_MODEL=FOLDER";

/// all-MiniLM-L6-v2.
static MINI: LazyLock<CandleBert> = LazyLock::new(|| {
    let named = std::env::var_os("AGENT_OS_MODEL").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tool/minilm"));
    assert!(folder.join("model.safetensors").is_file(), "{MAKE}");
    CandleBert::load(&folder).unwrap()
});

/// What a future answers, and how often it gave way.
fn run<T>(future: impl Future<Output = T>) -> (T, usize) {
    let mut future = Box::pin(future);
    for given in 0..1000 {
        if let Poll::Ready(answer) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return (answer, given);
        }
    }
    panic!("it never answers");
}

fn vectors(model: &CandleBert, kind: TextKind, texts: &[&str]) -> Vec<Vec<f32>> {
    run(embed(model, kind, texts)).0.unwrap()
}

fn dot(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}

#[test]
fn cosines_are_those_of_the_model_card() {
    let texts = [
        "That is a happy person",
        "That is a happy dog",
        "That is a very happy person",
        "Today is a sunny day",
    ];
    let vectors = vectors(&MINI, TextKind::Passage, &texts);
    for (vector, expected) in vectors[1..].iter().zip([0.6946, 0.9429, 0.2569]) {
        let cosine = dot(&vectors[0], vector);
        assert!((cosine - expected).abs() < 1e-3, "{cosine}, not {expected}");
    }
    for vector in &vectors {
        assert!((dot(vector, vector) - 1.0).abs() < 1e-5);
    }
}

#[test]
fn the_model_says_what_it_is() {
    assert_eq!((MINI.dimensions(), MINI.max_tokens()), (384, Some(256)));
    assert!(MINI.model().starts_with("bert-384-"), "{}", MINI.model());
    assert_eq!(MINI.tokens().count("That is a happy person"), 5);
}

#[test]
fn a_vector_does_not_depend_on_its_neighbours() {
    let alone = vectors(&MINI, TextKind::Query, &["a short one"]);
    let long = "a text that is a good deal longer than the other ".repeat(4);
    let beside = vectors(&MINI, TextKind::Passage, &[&long, "a short one"]);
    assert_eq!(alone[0], beside[1]);
}

#[test]
fn it_gives_way_between_texts() {
    let texts = ["one", "two", "three"];
    let (answer, given) = run(MINI.embed(TextKind::Passage, &texts));
    assert_eq!((answer.unwrap().len(), given), (3, 2));
}

#[test]
fn a_text_that_is_too_long_is_refused_and_says_where() {
    let long = "word ".repeat(254);
    let longer = "word ".repeat(255);
    let texts = ["short", &long, &longer];
    let refused = run(MINI.embed(TextKind::Passage, &texts)).0.unwrap_err();
    assert!(matches!(refused, EmbedError::TooLong { index: 2, tokens: 257, limit: 256 }), "{refused}");
    assert_eq!(MINI.fitting(TextKind::Passage, &longer).unwrap().trim_end(), long.trim_end());
    assert_eq!(MINI.fitting(TextKind::Passage, &long).unwrap(), long);
}

#[test]
fn what_fits_is_a_beginning_that_is_embedded() {
    let texts = ["ünïcödé wörds 漢字 ".repeat(60), "x".repeat(90) + &"-".repeat(2000), "🎉".repeat(900)];
    for text in &texts {
        let fitting = MINI.fitting(TextKind::Passage, text).unwrap();
        assert!(text.starts_with(fitting) && !fitting.is_empty());
        assert_eq!(vectors(&MINI, TextKind::Passage, &[fitting]).len(), 1);
    }
}

#[test]
fn a_text_of_megabytes_is_not_even_tokenised() {
    let text = " ".repeat(crate::tokens::MAX_TEXT + 1);
    let refused = run(MINI.embed(TextKind::Passage, &[&text])).0.unwrap_err();
    let EmbedError::Failed { source } = refused else { panic!("{refused}") };
    assert_eq!(source.downcast_ref::<ModelError>().unwrap().code(), "AK0645");
}

const HIDDEN: usize = 8;

/// A folder with a model of one small layer.
fn small() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, value: Value| put(folder.path(), name, value.to_string().as_bytes());
    write(
        "config.json",
        json!({
            "model_type": "bert", "vocab_size": 8, "hidden_size": HIDDEN, "num_hidden_layers": 1,
            "num_attention_heads": 2, "intermediate_size": 16, "hidden_act": "gelu", "max_position_embeddings": 12,
            "type_vocab_size": 2, "layer_norm_eps": 1e-12,
        }),
    );
    put(folder.path(), "tokenizer.json", include_bytes!("../../testdata/tokens/tokenizer.json"));
    save(folder.path(), &weights());
    folder
}

fn put(folder: &Path, name: &str, bytes: &[u8]) {
    let file = folder.join(name);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, bytes).unwrap();
}

fn save(folder: &Path, weights: &HashMap<String, Tensor>) {
    candle_core::safetensors::save(weights, folder.join("model.safetensors")).unwrap();
}

fn weights() -> HashMap<String, Tensor> {
    let layer = "encoder.layer.0";
    let mut shapes = vec![
        ("embeddings.word_embeddings.weight".to_owned(), vec![8, HIDDEN]),
        ("embeddings.position_embeddings.weight".to_owned(), vec![12, HIDDEN]),
        ("embeddings.token_type_embeddings.weight".to_owned(), vec![2, HIDDEN]),
    ];
    let linear = [
        ("attention.self.query", HIDDEN, HIDDEN),
        ("attention.self.key", HIDDEN, HIDDEN),
        ("attention.self.value", HIDDEN, HIDDEN),
        ("attention.output.dense", HIDDEN, HIDDEN),
        ("intermediate.dense", 16, HIDDEN),
        ("output.dense", HIDDEN, 16),
    ];
    for (name, out, into) in linear {
        shapes.push((format!("{layer}.{name}.weight"), vec![out, into]));
        shapes.push((format!("{layer}.{name}.bias"), vec![out]));
    }
    for name in [
        "embeddings.LayerNorm",
        &format!("{layer}.attention.output.LayerNorm"),
        &format!("{layer}.output.LayerNorm"),
    ] {
        shapes.push((format!("{name}.weight"), vec![HIDDEN]));
        shapes.push((format!("{name}.bias"), vec![HIDDEN]));
    }
    let mut next = 0.0_f32;
    let mut tensor = |shape: Vec<usize>| {
        let numbers: Vec<f32> = (0..shape.iter().product())
            .map(|_| {
                next += 1.0;
                (next * 0.7).sin()
            })
            .collect();
        Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap()
    };
    shapes.into_iter().map(|(name, shape)| (name, tensor(shape))).collect()
}

fn code(folder: &TempDir) -> &'static str {
    CandleBert::load(folder.path()).unwrap_err().code()
}

#[test]
fn a_folder_needs_three_files() {
    assert_eq!(CandleBert::load(small().path()).unwrap().max_tokens(), Some(12));
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        let folder = small();
        std::fs::remove_file(folder.path().join(name)).unwrap();
        assert_eq!(code(&folder), "AK0640", "{name}");
        std::fs::create_dir(folder.path().join(name)).unwrap();
        assert_eq!(code(&folder), "AK0640", "{name}");
    }
}

#[test]
fn files_are_bounded() {
    for (name, bytes) in [
        ("config.json", (1 << 20) + 1),
        ("tokenizer.json", (64 << 20) + 1),
        ("model.safetensors", (4 << 30) + 1),
    ] {
        let folder = small();
        // A hole: it takes no room on the disk.
        std::fs::File::create(folder.path().join(name)).unwrap().set_len(bytes).unwrap();
        assert_eq!(code(&folder), "AK0641", "{name}");
    }
}

/// The configuration with another value.
fn configured(name: &str, value: Value) -> TempDir {
    let folder = small();
    let file = folder.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    config[name] = value;
    std::fs::write(file, config.to_string()).unwrap();
    folder
}

#[test]
fn a_description_that_does_not_fit_is_damaged() {
    let cases = [
        ("hidden_size", json!(0)),
        ("hidden_size", json!(9)),
        ("hidden_size", json!(16)),
        ("hidden_size", json!("8")),
        ("num_attention_heads", json!(0)),
        ("num_attention_heads", json!(3)),
        ("num_hidden_layers", json!(2)),
        ("num_hidden_layers", json!(1_000_000)),
        ("vocab_size", json!(u64::MAX)),
        ("vocab_size", json!(7)),
        ("vocab_size", json!(9)),
        ("max_position_embeddings", json!(2)),
        ("layer_norm_eps", json!(-1)),
    ];
    for (name, value) in cases {
        assert_eq!(code(&configured(name, value.clone())), "AK0642", "{name}: {value}");
    }
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        for keep in [0, 7, 100, 2000] {
            let folder = small();
            let bytes = std::fs::read(folder.path().join(name)).unwrap();
            put(folder.path(), name, &bytes[..keep.min(bytes.len() - 3)]);
            assert_eq!(code(&folder), "AK0642", "{name} of {keep} bytes");
        }
    }
}

#[test]
fn a_model_of_another_build_is_refused() {
    let cases = [
        ("model_type", json!("roberta")),
        ("hidden_act", json!("silu")),
        ("position_embedding_type", json!("relative_key")),
    ];
    for (name, value) in cases {
        assert_eq!(code(&configured(name, value)), "AK0643", "{name}");
    }
    let cases = [
        ("1_Pooling/config.json", json!({ "pooling_mode_max_tokens": true })),
        (
            "1_Pooling/config.json",
            json!({ "pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true }),
        ),
        ("1_Pooling/config.json", json!({})),
        ("1_Pooling/config.json", json!({ "pooling_mode_mean_tokens": true, "include_prompt": false })),
        ("modules.json", json!([{ "path": "2_Dense", "type": "sentence_transformers.models.Dense" }])),
        ("modules.json", json!([{ "path": "../else", "type": "sentence_transformers.models.Pooling" }])),
        ("sentence_bert_config.json", json!({ "do_lower_case": true })),
    ];
    for (name, value) in cases {
        let folder = small();
        put(folder.path(), name, value.to_string().as_bytes());
        assert_eq!(code(&folder), "AK0643", "{name}: {value}");
    }
}

#[test]
fn a_weight_that_is_no_number_is_found() {
    for bad in [f32::NAN, f32::INFINITY] {
        let folder = small();
        let mut weights = weights();
        let name = "encoder.layer.0.intermediate.dense.bias";
        let mut numbers = weights[name].to_vec1::<f32>().unwrap();
        numbers[3] = bad;
        weights.insert(name.to_owned(), Tensor::from_vec(numbers, 16, &Device::Cpu).unwrap());
        save(folder.path(), &weights);
        let error = CandleBert::load(folder.path()).unwrap_err();
        assert!(matches!(&error, ModelError::BadWeights { tensor } if tensor == name), "{error}");
        assert_eq!(error.code(), "AK0644");
    }
}

#[test]
fn the_first_token_or_the_mean_is_taken_as_the_folder_says() {
    let mean = small();
    let first = small();
    put(first.path(), "1_Pooling/config.json", br#"{"pooling_mode_cls_token": true}"#);
    let (mean, first) = (CandleBert::load(mean.path()).unwrap(), CandleBert::load(first.path()).unwrap());
    let texts = ["one two"];
    assert_ne!(vectors(&mean, TextKind::Passage, &texts), vectors(&first, TextKind::Passage, &texts));
    // What bears on the vectors is in the name.
    assert_ne!(mean.model(), first.model());
    assert_eq!(mean.model(), CandleBert::load(small().path()).unwrap().model());
}

#[test]
fn prompts_of_the_folder_go_before_texts() {
    let folder = small();
    put(folder.path(), "config_sentence_transformers.json", br#"{"prompts": {"query": "three "}}"#);
    let (asked, plain) =
        (CandleBert::load(folder.path()).unwrap(), CandleBert::load(small().path()).unwrap());
    let by_hand = vectors(&plain, TextKind::Query, &["three one two"]);
    assert_eq!(vectors(&asked, TextKind::Query, &["one two"]), by_hand);
    assert_eq!(vectors(&asked, TextKind::Passage, &["three one two"]), by_hand);
    // They take room: twelve tokens, less the two around the text and the prompt.
    let text = "one ".repeat(20);
    assert_eq!(asked.tokens().count(asked.fitting(TextKind::Query, &text).unwrap()), 9);
    assert_eq!(asked.tokens().count(asked.fitting(TextKind::Passage, &text).unwrap()), 10);
}
