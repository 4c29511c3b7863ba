//! A user's `agent_config.json`, and what it becomes.

use serde::Deserialize;
use serde_json::{Map, Number, Value};

use super::{AgentType, Definition, FileRef, Limits};
use crate::genesis::SUPPLY_BOUND;
use crate::hash::hash_text;
use crate::job_input::{InputError, check_options};
use crate::money::MicroAit;
use crate::names::parse_model;

/// The JSON Schema (draft 2020-12) of `agent_config.json`, without its comments.
pub const CONFIG_SCHEMA: &str = include_str!("../../data/agent_config.schema.json");
/// Most bytes of an `agent_config.json`: 256 KiB.
pub const MAX_CONFIG_BYTES: usize = 256 << 10;
/// Most levels of lists and objects in one another in an `agent_config.json`.
pub const MAX_CONFIG_DEPTH: usize = 32;

/// The document, of the shape that [`CONFIG_SCHEMA`] asks for.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// For editors; not read.
    #[serde(rename = "$schema")]
    pub schema: Option<String>,
    /// `NAME[@sha256:DIGEST]`.
    pub model: String,
    /// The system prompt; the preset's where it is absent.
    pub system: Option<String>,
    /// Names of tools; the preset's where they are absent.
    pub tools: Option<Vec<String>>,
    /// Paths of files, from the folder of the config.
    #[serde(default)]
    pub files: Vec<String>,
    /// Where an execution ends at the latest.
    #[serde(default)]
    pub limits: ConfigLimits,
    /// Options of the model.
    #[serde(default)]
    pub options: Map<String, Value>,
    /// See [`Definition::egress_after_untrusted`].
    #[serde(default)]
    pub egress_after_untrusted: bool,
}

/// Limits as they are written: what is absent has its default, see [`Limits`].
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConfigLimits {
    /// Most steps of the model.
    pub steps: Option<Number>,
    /// Longest time in seconds.
    pub seconds: Option<Number>,
    /// Most tokens in and out.
    pub tokens: Option<Number>,
    /// Most to spend, in AIT with at most six decimals.
    pub spend_ait: Option<String>,
}

impl Config {
    /// The definition of an agent of that type; `files` are those that the config names, in their order. An error's field is
    /// the place in the config.
    pub fn resolve(
        self,
        agent_type: AgentType,
        files: Vec<FileRef>,
    ) -> Result<Definition, InputError> {
        let (model, digest) = parse_model(&self.model)
            .map_err(|error| InputError::at("model", &error.to_string(), error.hint()))?;
        let preset = agent_type.preset();
        let of_preset = || preset.tools.iter().map(ToString::to_string).collect();
        let definition = Definition {
            agent_type,
            model,
            model_digest: digest.as_ref().map(hash_text),
            system: self.system.unwrap_or_else(|| preset.system.to_owned()),
            tools: self.tools.unwrap_or_else(of_preset),
            files,
            limits: self.limits.resolve()?,
            options: check_options(Value::Object(self.options))?,
            egress_after_untrusted: self.egress_after_untrusted,
        };
        definition.validate()?;
        Ok(definition)
    }
}

impl ConfigLimits {
    fn resolve(self) -> Result<Limits, InputError> {
        let default = Limits::default();
        let short = |field, number: Option<Number>, default: u32| match whole(field, number)? {
            Some(value) => Ok(u32::try_from(value).unwrap_or(u32::MAX)),
            None => Ok(default),
        };
        let spend_ait = match self.spend_ait {
            None => None,
            Some(text) => {
                let field = "limits.spend_ait";
                let amount = MicroAit::parse(&text, MicroAit(SUPPLY_BOUND - 1))
                    .map_err(|error| InputError::at(field, &error.to_string(), error.hint()))?;
                Some(amount.six_decimals())
            }
        };
        Ok(Limits {
            steps: short("limits.steps", self.steps, default.steps)?,
            seconds: short("limits.seconds", self.seconds, default.seconds)?,
            tokens: whole("limits.tokens", self.tokens)?.unwrap_or(default.tokens),
            spend_ait,
        })
    }
}

fn whole(field: &str, number: Option<Number>) -> Result<Option<u64>, InputError> {
    let Some(number) = number else {
        return Ok(None);
    };
    number.as_u64().map(Some).ok_or_else(|| {
        InputError::at(
            field,
            &format!("{number} is no whole number above zero"),
            "write it without sign, point and exponent, for example 20",
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{
        BUILT_IN_TOOLS, MAX_AGENT_SECONDS, MAX_AGENT_STEPS, MAX_AGENT_TOKENS, MAX_FILES,
        MAX_SYSTEM_BYTES, MAX_TOOL_NAME_CHARS, MAX_TOOLS,
    };
    use super::*;

    fn resolve(config: Value) -> Result<Definition, InputError> {
        let config: Config = serde_json::from_value(config).expect("of the schema's shape");
        config.resolve(AgentType::Analysis, Vec::new())
    }

    fn refused(config: Value) -> String {
        resolve(config).unwrap_err().field.unwrap_or_default()
    }

    #[test]
    fn what_a_config_leaves_out_is_filled_in() {
        for agent_type in AgentType::ALL {
            let config: Config = serde_json::from_value(json!({"model": "llama3"})).unwrap();
            let definition = config.resolve(agent_type, Vec::new()).unwrap();
            let preset = agent_type.preset();
            assert_eq!(definition.model, "llama3:latest");
            assert_eq!(definition.system, preset.system);
            assert_eq!(definition.tools, preset.tools);
            assert_eq!(definition.limits, Limits::default());
            assert!(!definition.egress_after_untrusted);
        }
    }

    #[test]
    fn what_a_config_says_goes_before_its_types_preset() {
        let digest = hash_text(&[7; 32]);
        let definition = resolve(json!({
            "model": format!("llama3:8b@{digest}"),
            "system": "",
            "tools": [],
            "limits": {"steps": 3, "spend_ait": "0.5"},
            "options": {"stop": "END"},
            "egress_after_untrusted": true,
        }))
        .unwrap();
        assert_eq!(definition.model, "llama3:8b");
        assert_eq!(definition.model_digest, Some(digest));
        assert!(definition.system.is_empty() && definition.tools.is_empty());
        assert_eq!(
            (definition.limits.steps, definition.limits.seconds),
            (3, 600)
        );
        assert_eq!(definition.limits.spend(), Some(MicroAit(500_000)));
        assert_eq!(definition.options["stop"], json!(["END"]));
        assert!(definition.egress_after_untrusted);
    }

    #[test]
    fn errors_name_the_place_in_the_config() {
        let with = |key: &str, value: Value| {
            let mut config = json!({"model": "llama3"});
            config[key] = value;
            config
        };
        assert_eq!(refused(with("model", json!("llama3@latest"))), "model");
        assert_eq!(refused(with("tools", json!(["sql", "sql"]))), "tools[1]");
        for limits in [json!(20.0), json!(-1), json!(0), json!(1e18)] {
            assert_eq!(
                refused(with("limits", json!({ "steps": limits }))),
                "limits.steps"
            );
        }
        assert_eq!(
            refused(with("limits", json!({"spend_ait": "0"}))),
            "limits.spend_ait"
        );
        assert_eq!(
            refused(with("options", json!({"top_k": 1.5}))),
            "options.top_k"
        );
    }

    #[test]
    fn the_schema_has_the_bounds_of_a_definition() {
        let schema: Value = serde_json::from_str(CONFIG_SCHEMA).unwrap();
        let number = |pointer: &str| schema.pointer(pointer).and_then(Value::as_u64);
        for (pointer, bound) in [
            ("/properties/system/maxLength", MAX_SYSTEM_BYTES as u64),
            ("/properties/tools/maxItems", MAX_TOOLS as u64),
            ("/properties/files/maxItems", MAX_FILES as u64),
            (
                "/properties/limits/properties/steps/maximum",
                MAX_AGENT_STEPS.into(),
            ),
            (
                "/properties/limits/properties/seconds/maximum",
                MAX_AGENT_SECONDS.into(),
            ),
            (
                "/properties/limits/properties/tokens/maximum",
                MAX_AGENT_TOKENS,
            ),
        ] {
            assert_eq!(number(pointer), Some(bound), "{pointer}");
        }
        let tools = &schema["properties"]["tools"]["items"];
        assert_eq!(tools["examples"], json!(BUILT_IN_TOOLS));
        let part = format!("[A-Za-z0-9_.-]{{1,{MAX_TOOL_NAME_CHARS}}}");
        let pattern = format!("^({}|mcp:{part}(/{part})?)$", BUILT_IN_TOOLS.join("|"));
        assert_eq!(tools["pattern"], pattern);
    }

    #[test]
    fn the_schema_has_the_ranges_of_the_models_options() {
        let schema: Value = serde_json::from_str(CONFIG_SCHEMA).unwrap();
        let options = schema["properties"]["options"]["properties"]
            .as_object()
            .unwrap();
        for (name, rule) in options.iter().filter(|(name, _)| *name != "stop") {
            let fits = |value: Value| {
                let options = Map::from_iter([(name.clone(), value)]);
                check_options(Value::Object(options)).is_ok()
            };
            let (least, most) = (&rule["minimum"], &rule["maximum"]);
            assert!(fits(least.clone()) && fits(most.clone()), "{name}");
            let below = json!(least.as_i64().unwrap() - 1);
            let above = json!(most.as_i64().unwrap() + 1);
            assert!(!fits(below) && !fits(above), "{name}");
        }
        let unknown = check_options(json!({"no_such_option": 1})).unwrap_err();
        for name in options.keys() {
            assert!(unknown.hint.contains(name), "{name}: {}", unknown.hint);
        }
        assert_eq!(unknown.hint.matches(',').count() + 1, options.len());
    }
}
