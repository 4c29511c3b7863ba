//! Text with bounds.

/// Cuts a text off so that it has at most this many bytes and no half character.
pub(crate) fn cut(text: &mut String, bytes: usize) {
    if text.len() > bytes {
        let end = (0..=bytes)
            .rev()
            .find(|end| text.is_char_boundary(*end))
            .unwrap_or(0);
        text.truncate(end);
    }
}

/// What the system said, without its number: `Connection refused` rather than `Connection refused (os error 111)`.
pub(crate) fn plain_detail(detail: &str) -> String {
    let Some((before, rest)) = detail.split_once(" (os error ") else {
        return detail.to_owned();
    };
    let after = rest.split_once(')').map_or("", |(_, after)| after);
    format!("{before}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_errors_lose_their_numbers() {
        assert_eq!(
            plain_detail("Connection refused (os error 111)"),
            "Connection refused"
        );
        assert_eq!(
            plain_detail("away: refused (os error 111), again"),
            "away: refused, again"
        );
        assert_eq!(plain_detail("away"), "away");
    }

    #[test]
    fn no_character_is_halved() {
        for (bytes, left) in [(0, ""), (1, ""), (2, "é"), (3, "é"), (4, "éé"), (9, "éé")] {
            let mut text = "éé".to_owned();
            cut(&mut text, bytes);
            assert_eq!(text, left);
        }
    }
}
