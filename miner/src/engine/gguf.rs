//! What a GGUF file says about itself, in the words of Ollama's API.

use super::error::failure;
use super::load_log::capture;
use aitbc_common::runtime::errors::plain_io_error;
use anyhow::Context;
use llama_cpp_2::gguf::GgufContext;
use llama_cpp_2::model::LlamaModel;
use serde_json::{Map, Value, json};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The first bytes of every GGUF file.
const MAGIC: [u8; 4] = *b"GGUF";
// Value types, from the GGUF specification.
const TYPE_BOOL: i64 = 7;
const TYPE_STRING: i64 = 8;
const TYPE_ARRAY: i64 = 9;

/// Says what is wrong with a file that is no GGUF file, before llama.cpp is asked to load it.
pub(super) fn check_file(path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    let refused = |error: &io::Error| {
        failure(
            "MODEL_FILE",
            format!(
                "cannot open the model file {shown}: {}",
                plain_io_error(error)
            ),
            "check --model",
        )
    };
    let mut file = File::open(path).map_err(|error| refused(&error))?;
    if file.metadata().map_err(|error| refused(&error))?.is_dir() {
        return Err(failure(
            "MODEL_FILE",
            format!("{shown} is a folder"),
            "give the path of a .gguf file in it",
        ));
    }
    let mut magic = [0; MAGIC.len()];
    let complete = file.read_exact(&mut magic).is_ok();
    if !complete || magic != MAGIC {
        let hint = "the engine runs models in llama.cpp's format, usually named *.gguf";
        return Err(failure(
            "MODEL_FILE",
            format!("{shown} is not a GGUF file"),
            hint,
        ));
    }
    Ok(())
}

/// The scalar keys of the file's header by their types; arrays (the vocabulary) are left out, as is the
/// chat template, which has a place of its own.
pub(super) fn model_info(path: &Path, model: &LlamaModel) -> anyhow::Result<Map<String, Value>> {
    let (header, log) = capture(|| GgufContext::from_file(path));
    let header =
        header.with_context(|| format!("cannot read the header of {}: {log}", path.display()))?;
    let mut info = Map::new();
    for index in 0..header.n_kv() {
        let Some(key) = header.key_at(index) else {
            continue;
        };
        let kind = i64::from(header.kv_type(index));
        if kind == TYPE_ARRAY || key == "tokenizer.chat_template" {
            continue;
        }
        if let Ok(text) = model.meta_val_str(key) {
            info.insert(key.to_owned(), typed(kind, text));
        }
    }
    let parameters = info.entry("general.parameter_count").or_insert(Value::Null);
    *parameters = json!(model.n_params());
    Ok(info)
}

fn typed(kind: i64, text: String) -> Value {
    match kind {
        TYPE_STRING => Value::String(text),
        TYPE_BOOL => Value::Bool(text == "true"),
        _ => serde_json::from_str(&text).unwrap_or(Value::String(text)),
    }
}

/// `details` of a model as in `/api/tags`, plus the context that the engine runs it with.
pub(super) fn details(info: &Map<String, Value>, parameters: u64, context_tokens: u32) -> Value {
    let family = architecture(info);
    json!({
        "parent_model": "",
        "format": "gguf",
        "family": family,
        "families": [family],
        "parameter_size": parameter_size(parameters),
        "quantization_level": quantization(info.get("general.file_type").and_then(Value::as_u64)),
        "context_length": context_tokens,
    })
}

/// The model's architecture, the prefix of its own keys.
pub(super) fn architecture(info: &Map<String, Value>) -> &str {
    info.get("general.architecture")
        .and_then(Value::as_str)
        .unwrap_or("unknown")
}

/// `134.52M`, `7.2B`: Ollama's form.
fn parameter_size(parameters: u64) -> String {
    let count = parameters as f64;
    match parameters {
        1_000_000_000.. => format!("{:.1}B", count / 1e9),
        1_000_000.. => format!("{:.2}M", count / 1e6),
        1_000.. => format!("{:.2}K", count / 1e3),
        _ => parameters.to_string(),
    }
}

/// Name of a file type, from llama.cpp's `llama_ftype`.
fn quantization(file_type: Option<u64>) -> &'static str {
    match file_type {
        Some(0) => "F32",
        Some(1) => "F16",
        Some(2) => "Q4_0",
        Some(3) => "Q4_1",
        Some(7) => "Q8_0",
        Some(8) => "Q5_0",
        Some(9) => "Q5_1",
        Some(10) => "Q2_K",
        Some(11) => "Q3_K_S",
        Some(12) => "Q3_K_M",
        Some(13) => "Q3_K_L",
        Some(14) => "Q4_K_S",
        Some(15) => "Q4_K_M",
        Some(16) => "Q5_K_S",
        Some(17) => "Q5_K_M",
        Some(18) => "Q6_K",
        Some(19) => "IQ2_XXS",
        Some(20) => "IQ2_XS",
        Some(21) => "Q2_K_S",
        Some(22) => "IQ3_XS",
        Some(23) => "IQ3_XXS",
        Some(24) => "IQ1_S",
        Some(25) => "IQ4_NL",
        Some(26) => "IQ3_S",
        Some(27) => "IQ3_M",
        Some(28) => "IQ2_S",
        Some(29) => "IQ2_M",
        Some(30) => "IQ4_XS",
        Some(31) => "IQ1_M",
        Some(32) => "BF16",
        Some(36) => "TQ1_0",
        Some(37) => "TQ2_0",
        Some(38) => "MXFP4_MOE",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_like_ollamas() {
        assert_eq!(parameter_size(134_515_008), "134.52M");
        assert_eq!(parameter_size(7_241_732_096), "7.2B");
        assert_eq!(parameter_size(12), "12");
    }

    #[test]
    fn values_keep_their_types() {
        assert_eq!(typed(TYPE_STRING, "2".into()), json!("2"));
        assert_eq!(typed(TYPE_BOOL, "true".into()), json!(true));
        assert_eq!(typed(4, "8192".into()), json!(8192));
        assert_eq!(typed(6, "0.000010".into()), json!(0.00001));
    }

    #[test]
    fn files_that_are_no_model_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("notes.gguf");
        std::fs::write(&text, "GG").unwrap();
        for (path, expected) in [
            (folder.path().join("missing.gguf"), "cannot open"),
            (folder.path().to_owned(), "is a folder"),
            (text, "is not a GGUF file"),
        ] {
            let error = format!("{:#}", check_file(&path).unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
    }
}
