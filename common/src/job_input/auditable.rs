//! Inputs whose work can be audited: the same job run again elsewhere, its output compared byte for byte.

use serde_json::{Map, Value};

use super::{InputError, JobInput, JobType, json};

/// The seed of a job that may be audited and names none.
pub const AUDIT_SEED: u64 = 0;

/// Checks that an input can be audited: inference at temperature 0.
///
/// # Errors
/// It samples, or is no inference.
pub fn check_auditable(input: &JobInput) -> Result<(), InputError> {
    if temperature(input)? == Some(0.0) {
        return Ok(());
    }
    Err(InputError::at(
        "options.temperature",
        "must be 0 where the work may be audited",
        r#"write {"options":{"temperature":0}}, or do not allow audits"#,
    ))
}

/// An input made fit for audits: `options.temperature` is 0 and `options.seed` [`AUDIT_SEED`] where they are absent. An input
/// that has both keeps its bytes.
///
/// # Errors
/// It asks for another temperature, is no inference or no input at all.
pub fn make_auditable(job_type: JobType, bytes: Vec<u8>) -> Result<Vec<u8>, InputError> {
    let input = JobInput::parse(job_type, &bytes)?;
    if temperature(&input)?.is_some() {
        check_auditable(&input)?;
    }
    let text = std::str::from_utf8(&bytes).expect("parsed as UTF-8 before");
    let mut document = json::parse_object(text, "")?;
    let options = document
        .entry("options")
        .or_insert_with(|| Value::Object(Map::new()));
    let Value::Object(options) = options else {
        return Ok(bytes);
    };
    if options.contains_key("temperature") && options.contains_key("seed") {
        return Ok(bytes);
    }
    options
        .entry("temperature")
        .or_insert_with(|| Value::from(0));
    options
        .entry("seed")
        .or_insert_with(|| Value::from(AUDIT_SEED));
    Ok(Value::Object(document).to_string().into_bytes())
}

fn temperature(input: &JobInput) -> Result<Option<f64>, InputError> {
    match input {
        JobInput::Inference(input) => Ok(input.options.get("temperature").and_then(Value::as_f64)),
        JobInput::Embedding(_) => Err(InputError::document(
            "only inference can be audited: the numbers of an embedding differ in their last digits between GPUs",
            "do not allow audits of an embedding job",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(text: &str) -> Result<String, InputError> {
        make_auditable(JobType::Inference, text.as_bytes().to_vec())
            .map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn what_may_be_audited_does_not_sample() {
        for text in [
            r#"{"prompt":"x"}"#,
            r#"{"prompt":"x","options":{"num_predict":3}}"#,
            r#"{"prompt":"x","options":{"temperature":0.0}}"#,
        ] {
            let made = made(text).unwrap();
            check_auditable(&JobInput::parse(JobType::Inference, made.as_bytes()).unwrap())
                .unwrap();
            let document: Value = serde_json::from_str(&made).unwrap();
            assert_eq!(document["options"]["seed"], 0, "{made}");
        }
        let whole = r#"{ "options":{"seed":7,"temperature":0}, "prompt":"x"}"#;
        assert_eq!(made(whole).unwrap(), whole, "its bytes are passed on");
        let hot = r#"{"prompt":"x","options":{"temperature":0.7}}"#;
        let refused = made(hot).unwrap_err();
        assert_eq!(refused.field.as_deref(), Some("options.temperature"));
        let sampled = JobInput::parse(JobType::Inference, br#"{"prompt":"x"}"#).unwrap();
        assert!(check_auditable(&sampled).is_err());
    }

    #[test]
    fn an_embedding_is_not_audited() {
        let refused = make_auditable(JobType::Embedding, br#"{"input":"x"}"#.to_vec());
        assert!(refused.unwrap_err().message.contains("embedding"));
    }
}
