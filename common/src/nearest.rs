//! "Did you mean …?": the nearest known word to one that is not known.

use strsim::{damerau_levenshtein, jaro_winkler};

/// Longer words are never compared: the comparison costs the product of both lengths.
const MAX_WORD_CHARS: usize = 100;

/// From this many characters on, a word that begins a candidate suggests it (`temp` → `temperature`).
const MIN_PREFIX_CHARS: usize = 3;

/// The candidate that `word` was probably meant to be, if any is near enough.
///
/// Case is ignored. Near enough means that at most a third of the word has to change (at least one character; a swap of
/// neighbours counts as one change), or that the word is the beginning of the candidate. Among equally near candidates the
/// one with the more similar beginning wins, then the first.
pub fn nearest<'a, I>(word: &str, candidates: I) -> Option<&'a str>
where
    I: IntoIterator<Item = &'a str>,
{
    let word = word.trim().to_lowercase();
    let length = word.chars().count();
    if length == 0 || length > MAX_WORD_CHARS {
        return None;
    }
    let allowed = (length / 3).max(1);
    let mut best: Option<(usize, f64, &str)> = None;
    for candidate in candidates {
        let lower = candidate.to_lowercase();
        if lower.chars().count() > MAX_WORD_CHARS {
            continue;
        }
        let changes = damerau_levenshtein(&word, &lower);
        let begins = length >= MIN_PREFIX_CHARS && lower.starts_with(&word);
        // A single character that changes into another is no resemblance.
        let alike = changes <= allowed && changes < length.max(lower.chars().count());
        if !alike && !begins {
            continue;
        }
        let changes = if begins {
            changes.min(allowed)
        } else {
            changes
        };
        let similarity = jaro_winkler(&word, &lower);
        let better = match best {
            None => true,
            Some((fewest, highest, _)) => {
                changes < fewest || (changes == fewest && similarity > highest)
            }
        };
        if better {
            best = Some((changes, similarity, candidate));
        }
    }
    best.map(|(_, _, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: [&str; 6] = [
        "temperature",
        "top_p",
        "top_k",
        "seed",
        "stop",
        "num_predict",
    ];

    #[test]
    fn finds_typing_errors() {
        for (typed, meant) in [
            ("temprature", "temperature"),
            ("Temperature", "temperature"),
            ("tpo_p", "top_p"),
            ("sed", "seed"),
            ("num_predcit", "num_predict"),
            ("temp", "temperature"),
        ] {
            assert_eq!(nearest(typed, OPTIONS), Some(meant), "{typed}");
        }
    }

    #[test]
    fn suggests_nothing_for_strangers() {
        for typed in ["", "x", "logit_bias", "wholly_unrelated", "\u{1F600}"] {
            assert_eq!(nearest(typed, OPTIONS), None, "{typed}");
        }
        assert_eq!(nearest(&"t".repeat(10_000), OPTIONS), None);
        assert_eq!(nearest("seed", []), None);
    }

    #[test]
    fn the_exact_word_wins() {
        assert_eq!(nearest("top_k", OPTIONS), Some("top_k"));
    }
}
