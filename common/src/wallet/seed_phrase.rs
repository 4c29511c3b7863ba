//! Seed phrases: 12 to 24 English words (BIP-39) from which a wallet's key is derived (BIP-32/44).

use std::fmt;

use bip32::{DerivationPath, XPrv};
use bip39::{Language, Mnemonic};
use zeroize::Zeroizing;

use super::WalletKey;
use crate::nearest::nearest;

/// Where Ethereum's tools look for the first account (BIP-44).
const PATH: &str = "m/44'/60'/0'/0/0";
/// Longer texts are not looked at: 24 words have at most 215 characters.
const MAX_BYTES: usize = 1_024;

/// The words of a wallet; wiped from memory when dropped. Whoever has them has the money.
#[derive(Clone, PartialEq, Eq)]
pub struct SeedPhrase(Mnemonic);

/// Why a text is no seed phrase. The words themselves are not repeated, but for one that is in no list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeedPhraseError {
    /// Not 12, 15, 18, 21 or 24 words.
    #[error("a seed phrase has 12, 15, 18, 21 or 24 words, these are {0}")]
    Count(usize),
    /// A word that is not in the list; counted from 1.
    #[error("word {0} of the seed phrase is not in the list of words")]
    UnknownWord(usize),
    /// All words exist, and they do not belong together: one is wrong or in the wrong place.
    #[error("the words do not belong together: one is wrong or in the wrong place")]
    Checksum,
    /// Much longer than 24 words.
    #[error("this is too long for a seed phrase")]
    TooLong,
}

impl SeedPhrase {
    /// 24 words for 32 random bytes.
    #[must_use]
    pub fn from_entropy(entropy: &[u8; 32]) -> Self {
        let mnemonic = Mnemonic::from_entropy_in(Language::English, entropy);
        Self(mnemonic.expect("32 bytes are 24 words"))
    }

    /// Reads 12 to 24 English words; case, line ends and the number of blanks do not matter.
    pub fn parse(text: &str) -> Result<Self, SeedPhraseError> {
        if text.len() > MAX_BYTES {
            return Err(SeedPhraseError::TooLong);
        }
        let lower = Zeroizing::new(text.to_lowercase());
        let count = lower.split_whitespace().count();
        if !matches!(count, 12 | 15 | 18 | 21 | 24) {
            return Err(SeedPhraseError::Count(count));
        }
        if let Some(unknown) = lower
            .split_whitespace()
            .position(|word| !is_seed_word(word))
        {
            return Err(SeedPhraseError::UnknownWord(unknown + 1));
        }
        Mnemonic::parse_in_normalized(Language::English, &lower)
            .map(Self)
            .map_err(|_| SeedPhraseError::Checksum)
    }

    /// The words, in order.
    pub fn words(&self) -> impl Iterator<Item = &'static str> {
        self.0.words()
    }

    /// The words with blanks between them, wiped from memory when dropped.
    #[must_use]
    pub fn text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(MAX_BYTES));
        for word in self.words() {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(word);
        }
        text
    }

    /// The key of the first account, `m/44'/60'/0'/0/0`. The passphrase is a 25th word: empty unless one was chosen, and every
    /// other one gives another key.
    #[must_use]
    pub fn key(&self, passphrase: &str) -> WalletKey {
        let seed = Zeroizing::new(self.0.to_seed(passphrase));
        let path: DerivationPath = PATH.parse().expect("the path is well-formed");
        let key = XPrv::derive_from_path(&*seed, &path)
            .expect("a path derives with probability 1 − 2^−125");
        WalletKey::from_signing_key(key.private_key().clone())
    }
}

impl fmt::Debug for SeedPhrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SeedPhrase({} words)", self.0.word_count())
    }
}

/// Whether a word, in lower case, can be part of a seed phrase.
#[must_use]
pub fn is_seed_word(word: &str) -> bool {
    Language::English.word_list().binary_search(&word).is_ok()
}

/// The word of the list that was probably meant.
#[must_use]
pub fn nearest_seed_word(word: &str) -> Option<&'static str> {
    nearest(word, Language::English.word_list().iter().copied())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const JUNK: &str = "test test test test test test test test test test test junk";

    #[test]
    fn well_known_words_give_their_well_known_address() {
        let key = SeedPhrase::parse(JUNK).unwrap().key("");
        assert_eq!(
            key.address().to_string(),
            "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
        );
    }

    #[test]
    fn vectors_of_bip_39() {
        let zero = SeedPhrase::from_entropy(&[0; 32]);
        assert_eq!(
            zero.text().as_str(),
            format!("{}art", "abandon ".repeat(23))
        );
        // Trezor's vectors use the passphrase TREZOR.
        assert_eq!(
            hex::encode(zero.0.to_seed("TREZOR")),
            "bda85446c68413707090a52022edd26a1c9462295029f2e60cd7c4f2bbd3097170af7a4d73245cafa9c3cca8d561a7c3de6f5d4a10be8ed2a5e608d68f92fcc8"
        );
        assert_eq!(
            SeedPhrase::from_entropy(&[0xff; 32]).text().as_str(),
            format!("{}vote", "zoo ".repeat(23))
        );
    }

    #[test]
    fn a_passphrase_gives_another_key_and_is_normalised() {
        let phrase = SeedPhrase::parse(JUNK).unwrap();
        assert_ne!(phrase.key("x").address(), phrase.key("").address());
        assert_eq!(
            phrase.key("\u{e9}").address(),
            phrase.key("e\u{301}").address()
        );
    }

    #[test]
    fn blanks_and_case_do_not_matter() {
        let typed = format!("\n  {}\t\r\n", JUNK.to_uppercase().replace(' ', "  \n"));
        assert_eq!(SeedPhrase::parse(&typed), SeedPhrase::parse(JUNK));
    }

    #[test]
    fn mistakes_are_told_apart() {
        use SeedPhraseError::{Checksum, Count, TooLong, UnknownWord};
        for (text, error) in [
            (String::new(), Count(0)),
            ("test ".repeat(13), Count(13)),
            (JUNK.replace("junk", "jnuk"), UnknownWord(12)),
            (JUNK.replace("junk", "test"), Checksum),
            ("\u{1f600} ".repeat(12), UnknownWord(1)),
            ("x".repeat(2_000), TooLong),
        ] {
            assert_eq!(SeedPhrase::parse(&text), Err(error), "{text:?}");
        }
        assert_eq!(nearest_seed_word("jnuk"), Some("junk"));
    }

    #[test]
    fn debug_never_shows_the_words() {
        let shown = format!("{:?}", SeedPhrase::parse(JUNK).unwrap());
        assert_eq!(shown, "SeedPhrase(12 words)");
    }

    proptest! {
        #[test]
        fn words_read_back(entropy in any::<[u8; 32]>()) {
            let phrase = SeedPhrase::from_entropy(&entropy);
            prop_assert_eq!(phrase.words().count(), 24);
            prop_assert_eq!(&SeedPhrase::parse(&phrase.text()).unwrap(), &phrase);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,300}") {
            let _no_panic = SeedPhrase::parse(&text);
        }
    }
}
