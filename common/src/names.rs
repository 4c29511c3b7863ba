//! Names of models, as users write them and as they are hashed.

use thiserror::Error;

/// Most characters of a model name, in its canonical form.
pub const MAX_MODEL_NAME_CHARS: usize = 200;

/// The tag that a name without one has.
pub const DEFAULT_TAG: &str = "latest";

const DIGEST_PREFIX: &str = "sha256:";

/// Why a text names no model.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ModelNameError {
    /// Nothing was given.
    #[error("the model name is empty")]
    Empty,
    /// More than [`MAX_MODEL_NAME_CHARS`] characters.
    #[error("the model name has {0} characters, at most {MAX_MODEL_NAME_CHARS} are allowed")]
    TooLong(usize),
    /// A character that no model name has; the position counts characters from 1.
    #[error("the model name has {found:?} at character {position}")]
    Character {
        /// The character that does not belong there.
        found: char,
        /// Where it stands, in characters from 1.
        position: usize,
    },
    /// An empty part, such as in `llama3:` or `a//b`.
    #[error("the model name {0:?} has an empty part")]
    EmptyPart(String),
    /// What follows `@` is not `sha256:` and 64 hexadecimal digits.
    #[error("the digest {0:?} is not sha256: and 64 hexadecimal digits")]
    Digest(String),
}

impl ModelNameError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Digest(_) => {
                "pin a model by its full digest, as `aitbc models` shows it: llama3@sha256:…"
            }
            _ => "a model name looks like llama3, llama3:8b or hf.co/owner/model:tag",
        }
    }
}

/// The canonical form of a model name: `:latest` is added where there is no tag. Upper and lower case stay as they are.
///
/// Letters, digits, `_`, `-` and `.` are allowed; `/` separates parts and `:` the tag (or, before a `/`, a port).
/// Each part begins with a letter, a digit or `_`.
pub fn canonical_model(name: &str) -> Result<String, ModelNameError> {
    if name.is_empty() {
        return Err(ModelNameError::Empty);
    }
    let length = name.chars().count();
    if length > MAX_MODEL_NAME_CHARS {
        return Err(ModelNameError::TooLong(length));
    }
    let mut part_is_empty = true;
    for (index, found) in name.chars().enumerate() {
        match found {
            '/' | ':' if part_is_empty => return Err(ModelNameError::EmptyPart(name.to_owned())),
            '/' | ':' => part_is_empty = true,
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' => part_is_empty = false,
            '-' | '.' if !part_is_empty => {}
            _ => {
                return Err(ModelNameError::Character {
                    found,
                    position: index + 1,
                });
            }
        }
    }
    if part_is_empty {
        return Err(ModelNameError::EmptyPart(name.to_owned()));
    }
    let (path, last) = name
        .rsplit_once('/')
        .map_or(("", name), |(path, last)| (path, last));
    if let Some(second) = colon(last, 1) {
        let position = name.chars().count() - last.chars().count() + second + 1;
        return Err(ModelNameError::Character {
            found: ':',
            position,
        });
    }
    // A port belongs to the first part only.
    if let Some(at) = path
        .find('/')
        .and_then(|first| path[first..].find(':').map(|at| first + at))
    {
        return Err(ModelNameError::Character {
            found: ':',
            position: at + 1,
        });
    }
    if let Some(second) = colon(path, 1) {
        return Err(ModelNameError::Character {
            found: ':',
            position: second + 1,
        });
    }
    let canonical = if last.contains(':') {
        name.to_owned()
    } else {
        format!("{name}:{DEFAULT_TAG}")
    };
    match canonical.chars().count() {
        length if length > MAX_MODEL_NAME_CHARS => Err(ModelNameError::TooLong(length)),
        _ => Ok(canonical),
    }
}

fn colon(text: &str, skip: usize) -> Option<usize> {
    text.match_indices(':').nth(skip).map(|(at, _)| at)
}

/// Splits `NAME[@sha256:HEX]` into the canonical name and the pinned digest.
pub fn parse_model(text: &str) -> Result<(String, Option<[u8; 32]>), ModelNameError> {
    match text.split_once('@') {
        None => Ok((canonical_model(text)?, None)),
        Some((name, digest)) => Ok((canonical_model(name)?, Some(parse_digest(digest)?))),
    }
}

/// Reads a digest as it is written for people: `sha256:` and 64 hexadecimal digits.
pub fn parse_digest(text: &str) -> Result<[u8; 32], ModelNameError> {
    let mut digest = [0_u8; 32];
    text.strip_prefix(DIGEST_PREFIX)
        .filter(|digits| hex::decode_to_slice(digits, &mut digest).is_ok())
        .map(|_| digest)
        .ok_or_else(|| ModelNameError::Digest(text.chars().take(MAX_MODEL_NAME_CHARS).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_the_default_tag() {
        for (given, canonical) in [
            ("llama3", "llama3:latest"),
            ("llama3:8b", "llama3:8b"),
            ("llama3.2:1b-instruct-q4_K_M", "llama3.2:1b-instruct-q4_K_M"),
            ("hf.co/owner/Model-GGUF", "hf.co/owner/Model-GGUF:latest"),
            (
                "localhost:5000/library/llama3",
                "localhost:5000/library/llama3:latest",
            ),
            ("_private", "_private:latest"),
        ] {
            assert_eq!(canonical_model(given).as_deref(), Ok(canonical));
            assert_eq!(
                canonical_model(canonical).as_deref(),
                Ok(canonical),
                "stable"
            );
        }
    }

    #[test]
    fn refuses_what_names_no_model() {
        assert_eq!(canonical_model(""), Err(ModelNameError::Empty));
        assert_eq!(
            canonical_model("lla ma"),
            Err(ModelNameError::Character {
                found: ' ',
                position: 4
            })
        );
        assert_eq!(
            canonical_model("-llama"),
            Err(ModelNameError::Character {
                found: '-',
                position: 1
            })
        );
        assert_eq!(
            canonical_model("a:b:c"),
            Err(ModelNameError::Character {
                found: ':',
                position: 4
            })
        );
        assert_eq!(
            canonical_model("a/b:1/c"),
            Err(ModelNameError::Character {
                found: ':',
                position: 4
            })
        );
        assert_eq!(
            canonical_model("llämä"),
            Err(ModelNameError::Character {
                found: 'ä',
                position: 3
            })
        );
        for empty_part in ["llama3:", ":8b", "a//b", "/a", "a/"] {
            assert_eq!(
                canonical_model(empty_part),
                Err(ModelNameError::EmptyPart(empty_part.to_owned()))
            );
        }
        assert_eq!(
            canonical_model(&"a".repeat(201)),
            Err(ModelNameError::TooLong(201))
        );
        assert_eq!(
            canonical_model(&"a".repeat(200)),
            Err(ModelNameError::TooLong(207))
        );
        assert!(canonical_model(&"a".repeat(193)).is_ok());
    }

    #[test]
    fn reads_a_pinned_digest() {
        let pinned = format!("llama3@sha256:{}", "0a".repeat(32));
        assert_eq!(
            parse_model(&pinned),
            Ok(("llama3:latest".to_owned(), Some([10; 32])))
        );
        assert_eq!(
            parse_model("llama3"),
            Ok(("llama3:latest".to_owned(), None))
        );
        for bad in [
            "llama3@",
            "llama3@sha256:",
            "llama3@0a0a",
            "llama3@sha256:zz",
            "llama3@sha512:00",
        ] {
            assert!(
                matches!(parse_model(bad), Err(ModelNameError::Digest(_))),
                "{bad}"
            );
        }
        assert_eq!(
            parse_model(&format!("@sha256:{}", "0a".repeat(32))),
            Err(ModelNameError::Empty)
        );
    }
}
