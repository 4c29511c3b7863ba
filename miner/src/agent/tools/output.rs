//! Outputs of tools: bounded, and of characters that neither a terminal nor an event's line suffers from.

/// Most bytes of a tool's output that a model gets to see.
pub const MAX_OUTPUT_BYTES: usize = 16 * 1024;

/// Room for the note that something was cut.
const NOTE_BYTES: usize = 80;

/// Characters that a terminal obeys, and that take six bytes each in an event's line.
fn is_control(c: char) -> bool {
    c.is_control() && c != '\n' && c != '\t'
}

/// The output as the model sees it, at most [`MAX_OUTPUT_BYTES`], and whether something was cut off; the cut is said
/// in the text too.
pub(super) fn bounded(text: String) -> (String, bool) {
    let text = if text.contains(is_control) {
        text.replace("\r\n", "\n").replace(is_control, "\u{fffd}")
    } else {
        text
    };
    if text.len() <= MAX_OUTPUT_BYTES {
        return (text, false);
    }
    let end = text.floor_char_boundary(MAX_OUTPUT_BYTES - NOTE_BYTES);
    let note = format!("\n[cut: the first {end} of {} bytes are shown]", text.len());
    (format!("{}{note}", &text[..end]), true)
}

/// At most `most` bytes of a text, with `…` where something was cut off.
pub(super) fn excerpt(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(most)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_output_is_cut_between_characters_and_says_so() {
        let text = "é".repeat(MAX_OUTPUT_BYTES);
        let (output, truncated) = bounded(text);
        assert!(truncated && output.len() <= MAX_OUTPUT_BYTES);
        assert!(output.ends_with("of 32768 bytes are shown]"), "{output}");
        let whole = "x".repeat(MAX_OUTPUT_BYTES);
        assert_eq!(bounded(whole.clone()), (whole, false));
    }

    #[test]
    fn no_terminal_obeys_an_output() {
        let (output, _) = bounded("a\r\nb\u{1b}[2J\u{9b}\tc\0".to_owned());
        assert_eq!(output, "a\nb\u{fffd}[2J\u{fffd}\tc\u{fffd}");
    }

    #[test]
    fn an_output_fits_into_an_event() {
        for text in ["\u{1}", "\"", "\\", "\n"] {
            let (output, _) = bounded(text.repeat(100_000));
            let line = serde_json::to_string(&output).unwrap();
            assert!(line.len() < 48 * 1024, "{} bytes of {text:?}", line.len());
        }
    }
}
