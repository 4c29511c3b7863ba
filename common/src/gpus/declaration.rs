//! The grammar of `--gpus`: `N x MODEL[, N x MODEL …]`.

use thiserror::Error;

use super::{Canonical, Gpu, GpuNameError, normalise};
use crate::limits::MINER_GPUS;

/// Most GPUs of one group.
pub const MAX_COUNT: u32 = 64;
/// Most groups of one declaration.
pub const MAX_GROUPS: usize = MINER_GPUS;

/// Why a declaration of GPUs was not understood.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message} (at character {position} of the GPU list)")]
pub struct GpuParseError {
    /// What is wrong.
    pub message: String,
    /// Where it stands, in characters from 1.
    pub position: usize,
    /// What to write instead.
    pub hint: String,
}

/// One `N x MODEL`, with where it begins.
struct Group<'a> {
    text: &'a str,
    /// Characters before it.
    start: usize,
}

impl Group<'_> {
    fn error(&self, offset: usize, message: String) -> GpuParseError {
        self.error_with(
            offset,
            message,
            "write for example: 1x RTX 4090, 2x A100 80GB".to_owned(),
        )
    }

    fn error_with(&self, offset: usize, message: String, hint: String) -> GpuParseError {
        let inside = self.text.get(..offset).unwrap_or(self.text).chars().count();
        GpuParseError {
            message,
            position: self.start + inside + 1,
            hint,
        }
    }
}

/// Reads `1x RTX 4090` or `2 x A100 80GB, 1 x RTX 4090`.
///
/// At most [`MAX_GROUPS`] groups of 1 to [`MAX_COUNT`] GPUs; names as [`normalise`] takes them. One that the catalogue lacks is
/// accepted when it states its memory (`1x RTX 9999 48GB`), and refused as a probable typing error when it does not.
pub fn parse_gpus(text: &str) -> Result<Vec<Gpu>, GpuParseError> {
    let mut gpus = Vec::new();
    let mut start = 0;
    for (index, text) in text.split(',').enumerate() {
        let group = Group { text, start };
        if index >= MAX_GROUPS {
            return Err(group.error(0, format!("more than {MAX_GROUPS} groups of GPUs")));
        }
        gpus.push(parse_group(&group)?);
        start += text.chars().count() + 1;
    }
    Ok(gpus)
}

fn parse_group(group: &Group<'_>) -> Result<Gpu, GpuParseError> {
    let text = group.text;
    let begin = text.len() - text.trim_start().len();
    if begin == text.len() {
        return Err(group.error(0, "a number of GPUs is missing".to_owned()));
    }
    let digits = text[begin..].bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return Err(group.error(begin, "a number of GPUs, as in 1x, is missing".to_owned()));
    }
    let number = &text[begin..begin + digits];
    let count = number
        .parse::<u32>()
        .ok()
        .filter(|count| (1..=MAX_COUNT).contains(count));
    let Some(count) = count else {
        let shown: String = number.chars().take(12).collect();
        return Err(group.error(
            begin,
            format!("{shown} GPUs: the number must be 1 to {MAX_COUNT}"),
        ));
    };
    let rest = &text[begin + digits..];
    let sign = begin + digits + (rest.len() - rest.trim_start().len());
    let Some(after) = ["x", "X", "*", "×"]
        .iter()
        .find_map(|times| text[sign..].strip_prefix(times))
    else {
        return Err(group.error(sign, format!("an x is missing after {count}")));
    };
    let name_at = text.len() - after.trim_start().len();
    parse_name(group, name_at, after.trim(), count)
}

fn parse_name(group: &Group<'_>, at: usize, name: &str, count: u32) -> Result<Gpu, GpuParseError> {
    let named = normalise(name).map_err(|error| {
        let offset = match error {
            GpuNameError::Control { offset, .. } => offset,
            _ => 0,
        };
        group.error(at + offset, error.to_string())
    })?;
    match named.canonical {
        Canonical::Known(known) => {
            if let Some(stated) = known.unsold_vram_gib() {
                let sizes: Vec<String> = known
                    .vram_gib
                    .iter()
                    .map(|size| format!("{size} GiB"))
                    .collect();
                let sold = if sizes.is_empty() {
                    "it shares the processor's memory".to_owned()
                } else {
                    format!("it comes with {}", sizes.join(" or "))
                };
                return Err(group.error_with(
                    at,
                    format!("{} has no version with {stated} GiB", known.model),
                    format!("{sold}; leave the size out if unsure"),
                ));
            }
            Ok(Gpu {
                model: named.model,
                count,
                vram_gib: known.vram(),
            })
        }
        Canonical::Unknown {
            nearest,
            stated_vram_gib,
        } => {
            if stated_vram_gib.is_some() {
                return Ok(Gpu {
                    model: named.model,
                    count,
                    vram_gib: stated_vram_gib,
                });
            }
            let hint = match nearest {
                Some(nearest) => format!(
                    "did you mean {nearest}? For a newer GPU name its memory: {count}x {name} 24GB"
                ),
                None => format!("check the spelling, or name its memory: {count}x {name} 24GB"),
            };
            Err(group.error_with(at, format!("no GPU called {name:?} is known"), hint))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu(model: &str, count: u32, vram_gib: Option<u32>) -> Gpu {
        Gpu {
            model: model.to_owned(),
            count,
            vram_gib,
        }
    }

    fn error(text: &str) -> GpuParseError {
        parse_gpus(text).expect_err(text)
    }

    #[test]
    fn reads_the_grammar() {
        let rtx = gpu("NVIDIA GeForce RTX 4090", 1, Some(24));
        for text in [
            "1x RTX 4090",
            "1 x rtx4090",
            " 1X  NVIDIA GeForce RTX 4090 ",
            "1×RTX 4090",
            "1*4090",
        ] {
            assert_eq!(parse_gpus(text), Ok(vec![rtx.clone()]), "{text}");
        }
        assert_eq!(
            parse_gpus("2 x A100 80GB, 1x RTX 4090"),
            Ok(vec![gpu("NVIDIA A100", 2, Some(80)), rtx])
        );
        assert_eq!(
            parse_gpus("1x M3 Max"),
            Ok(vec![gpu("Apple M3 Max", 1, None)])
        );
        assert_eq!(
            parse_gpus("1x 7900 XTX"),
            Ok(vec![gpu("AMD Radeon RX 7900 XTX", 1, Some(24))])
        );
    }

    #[test]
    fn a_new_gpu_states_its_memory() {
        assert_eq!(
            parse_gpus("1x RTX 9999 48GB"),
            Ok(vec![gpu("RTX 9999 48GB", 1, Some(48))])
        );
        let error = error("1x RTX 4900");
        assert_eq!(error.position, 4);
        assert!(
            error.hint.contains("did you mean NVIDIA GeForce RTX 4090?"),
            "{}",
            error.hint
        );
    }

    #[test]
    fn errors_show_where() {
        for (text, position, part) in [
            ("", 1, "number of GPUs is missing"),
            ("RTX 4090", 1, "number of GPUs"),
            ("0x RTX 4090", 1, "1 to 64"),
            ("65x RTX 4090", 1, "1 to 64"),
            ("99999999999999999999x RTX 4090", 1, "1 to 64"),
            ("-1x RTX 4090", 1, "number of GPUs"),
            ("1 RTX 4090", 3, "x is missing"),
            ("1x", 3, "name of the GPU"),
            ("1x RTX 4090,", 13, "missing"),
            ("1x RTX 4090, 2 A100", 16, "x is missing"),
            ("1x RTX 4090 48GB", 4, "no version with 48 GiB"),
            ("1x RTX\u{7}4090", 7, "control"),
            ("1x Voodoo", 4, "no GPU called"),
        ] {
            let error = error(text);
            assert!(error.message.contains(part), "{text}: {error}");
            assert_eq!(error.position, position, "{text}: {error}");
            assert!(!error.hint.is_empty());
        }
        assert!(
            error(&format!("1x {}", "a".repeat(65)))
                .message
                .contains("65 characters")
        );
        assert!(
            error(&["1x RTX 4090"; 17].join(","))
                .message
                .contains("more than 16")
        );
        assert_eq!(
            parse_gpus(&["1x RTX 4090"; 16].join(",")).map(|gpus| gpus.len()),
            Ok(16)
        );
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = parse_gpus(&text);
        }

        #[test]
        fn never_panics_near_the_grammar(text in "[0-9]{0,3} ?[x×]? ?(RTX|A100|é|,| |4090|GB|80){0,8}") {
            let _ = parse_gpus(&text);
        }
    }
}
