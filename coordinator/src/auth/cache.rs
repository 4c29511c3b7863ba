//! Tokens that verified, by their hash, until they expire.

use std::collections::HashMap;

use aitbc_common::hash::Hash;
use aitbc_common::token::{Claims, LEEWAY_S};

/// Tokens that are remembered.
const TOKENS: usize = 16_384;

/// Successes only; bounded.
#[derive(Debug, Default)]
pub(super) struct TokenCache {
    tokens: HashMap<Hash, Claims>,
}

impl TokenCache {
    /// What a token says, if it verified before and has not expired at `now_s`.
    pub(super) fn get(&mut self, token: &Hash, now_s: u64) -> Option<Claims> {
        let claims = self.tokens.get(token)?;
        if has_expired(claims, now_s) {
            self.tokens.remove(token);
            return None;
        }
        Some(claims.clone())
    }

    /// Remembers a token. When there are too many, expired ones go, and all if that is not enough.
    pub(super) fn insert(&mut self, token: Hash, claims: Claims, now_s: u64) {
        if self.tokens.len() >= TOKENS {
            self.tokens.retain(|_, claims| !has_expired(claims, now_s));
            if self.tokens.len() >= TOKENS {
                self.tokens.clear();
            }
        }
        self.tokens.insert(token, claims);
    }
}

fn has_expired(claims: &Claims, now_s: u64) -> bool {
    claims.expires_s.saturating_add(LEEWAY_S) < now_s
}

#[cfg(test)]
mod tests {
    use aitbc_common::identity::PublicKey;
    use aitbc_common::token::Scope;

    use super::*;

    #[test]
    fn expired_tokens_are_forgotten_and_the_cache_is_bounded() {
        let claims = |expires_s| Claims {
            identity: PublicKey::default(),
            scope: Scope::Read,
            expires_s,
        };
        let mut cache = TokenCache::default();
        cache.insert([1; 32], claims(100), 0);
        assert!(cache.get(&[1; 32], 160).is_some());
        assert!(cache.get(&[1; 32], 161).is_none());
        assert!(cache.tokens.is_empty());
        for number in 0..2 * TOKENS as u64 {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&number.to_be_bytes());
            cache.insert(key, claims(1_000), 0);
            assert!(cache.tokens.len() <= TOKENS);
        }
    }
}
