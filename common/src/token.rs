//! Bearer tokens: JSON Web Tokens (RFC 7519) that an identity issues itself, signed with EdDSA (RFC 8037).
//!
//! Header `{"alg":"EdDSA","typ":"JWT"}` and nothing else; claims `iss`, `aud`, `scope`, `iat`, `exp`, `jti`, all
//! required, no others; at most 1 KiB in all.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::hash::Hash;
use crate::identity::{Identity, PublicKey};

/// Bytes of a token, at most.
pub const MAX_BYTES: usize = 1_024;
/// Seconds between `iat` and `exp`, at most.
pub const MAX_LIFETIME_S: u64 = 900;
/// Seconds that two clocks may differ.
pub const LEEWAY_S: u64 = 60;

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Get, list and watch.
    Read,
    /// Read, and the clients' calls.
    Client,
    /// The miners' calls, and read.
    Miner,
}

impl Scope {
    /// Whether a token of this scope may make a call that needs `needed`.
    #[must_use]
    pub fn covers(self, needed: Scope) -> bool {
        self == needed || needed == Scope::Read
    }

    /// `read`, `client` or `miner`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Client => "client",
            Scope::Miner => "miner",
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    iss: String,
    aud: String,
    scope: Scope,
    iat: u64,
    exp: u64,
    jti: String,
}

/// What a verified token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Who speaks.
    pub identity: PublicKey,
    /// What it allows.
    pub scope: Scope,
    /// When it ends: Unix time in seconds.
    pub expires_s: u64,
}

/// A token that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Over 1 KiB.
    #[error("the token has {0} bytes; the bound is {MAX_BYTES}")]
    TooLong(usize),
    /// Not a token of the expected form.
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// The signature is not the issuer's.
    #[error("the token's signature does not verify")]
    Signature,
    /// For another chain.
    #[error("the token is for {given}, this coordinator's chain is {wanted}")]
    WrongChain {
        /// The token's audience, at most 80 characters.
        given: String,
        /// The audience it should have.
        wanted: String,
    },
    /// Over its lifetime.
    #[error(
        "the token expired at {expired_s} (Unix seconds); the coordinator's clock says {now_s}"
    )]
    Expired {
        /// Its end.
        expired_s: u64,
        /// Now.
        now_s: u64,
    },
    /// Issued in the future.
    #[error(
        "the token was issued at {issued_s} (Unix seconds), in the future: the coordinator's clock says {now_s}"
    )]
    ClockSkew {
        /// Its beginning.
        issued_s: u64,
        /// Now.
        now_s: u64,
    },
}

/// The audience of a chain's tokens.
#[must_use]
pub fn audience(chain: &Hash) -> String {
    format!("aitbc:{}", hex::encode(chain))
}

/// Issues a token, valid from `now_s` (Unix time in seconds) for `lifetime_s` (at most 900).
#[must_use]
pub fn issue(
    identity: &Identity,
    chain: &Hash,
    scope: Scope,
    now_s: u64,
    lifetime_s: u64,
    jti: [u8; 16],
) -> String {
    let header = Header {
        alg: "EdDSA".into(),
        typ: "JWT".into(),
    };
    let payload = Payload {
        iss: URL_SAFE_NO_PAD.encode(identity.public().0),
        aud: audience(chain),
        scope,
        iat: now_s,
        exp: now_s + lifetime_s.min(MAX_LIFETIME_S),
        jti: hex::encode(jti),
    };
    let json = |value: &dyn erased::Json| URL_SAFE_NO_PAD.encode(value.json());
    let signed = format!("{}.{}", json(&header), json(&payload));
    let signature = URL_SAFE_NO_PAD.encode(identity.sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

mod erased {
    /// Anything that serializes to JSON.
    pub trait Json {
        fn json(&self) -> Vec<u8>;
    }

    impl<T: serde::Serialize> Json for T {
        fn json(&self) -> Vec<u8> {
            serde_json::to_vec(self).expect("strings and numbers serialize")
        }
    }
}

/// Checks form, audience and times, then the signature, in this order: what is cheap comes first.
pub fn verify(token: &str, chain: &Hash, now_s: u64) -> Result<Claims, TokenError> {
    if token.len() > MAX_BYTES {
        return Err(TokenError::TooLong(token.len()));
    }
    let (signed, signature) = token
        .rsplit_once('.')
        .ok_or(TokenError::Malformed("it has no three parts"))?;
    let (header, payload) = signed
        .split_once('.')
        .ok_or(TokenError::Malformed("it has no three parts"))?;
    let header: Header = part(
        header,
        "its header is not {\"alg\":\"EdDSA\",\"typ\":\"JWT\"}",
    )?;
    if header.alg != "EdDSA" || header.typ != "JWT" {
        return Err(TokenError::Malformed(
            "its header is not {\"alg\":\"EdDSA\",\"typ\":\"JWT\"}",
        ));
    }
    let claims: Payload = part(payload, "its claims are not iss, aud, scope, iat, exp, jti")?;
    let mut key = [0; 32];
    match URL_SAFE_NO_PAD.decode(&claims.iss) {
        Ok(bytes) if bytes.len() == 32 => key.copy_from_slice(&bytes),
        _ => {
            return Err(TokenError::Malformed(
                "iss is not the base64url of a 32-byte public key",
            ));
        }
    }
    if claims.jti.is_empty() || claims.jti.len() > 64 {
        return Err(TokenError::Malformed("jti takes 1 to 64 characters"));
    }
    if claims.exp < claims.iat || claims.exp - claims.iat > MAX_LIFETIME_S {
        return Err(TokenError::Malformed("exp must be 0 to 900 s after iat"));
    }
    let wanted = audience(chain);
    if claims.aud != wanted {
        return Err(TokenError::WrongChain {
            given: claims.aud.chars().take(80).collect(),
            wanted,
        });
    }
    if claims.iat > now_s.saturating_add(LEEWAY_S) {
        return Err(TokenError::ClockSkew {
            issued_s: claims.iat,
            now_s,
        });
    }
    if claims.exp.saturating_add(LEEWAY_S) < now_s {
        return Err(TokenError::Expired {
            expired_s: claims.exp,
            now_s,
        });
    }
    let signature = URL_SAFE_NO_PAD
        .decode(signature)
        .map_err(|_| TokenError::Signature)?;
    if !PublicKey(key).verify(signed.as_bytes(), &signature) {
        return Err(TokenError::Signature);
    }
    Ok(Claims {
        identity: PublicKey(key),
        scope: claims.scope,
        expires_s: claims.exp,
    })
}

fn part<T: for<'de> Deserialize<'de>>(text: &str, problem: &'static str) -> Result<T, TokenError> {
    let bytes = URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| TokenError::Malformed(problem))?;
    serde_json::from_slice(&bytes).map_err(|_| TokenError::Malformed(problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAIN: Hash = [9; 32];

    fn signed(header: &str, payload: &str) -> String {
        let identity = Identity::from_seed(&[1; 32]);
        let text = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(payload)
        );
        format!(
            "{text}.{}",
            URL_SAFE_NO_PAD.encode(identity.sign(text.as_bytes()))
        )
    }

    fn payload(extra: &str) -> String {
        let iss = URL_SAFE_NO_PAD.encode(Identity::from_seed(&[1; 32]).public().0);
        format!(
            r#"{{"iss":"{iss}","aud":"{}","scope":"client","iat":1000,"exp":1120,"jti":"a"{extra}}}"#,
            audience(&CHAIN)
        )
    }

    #[test]
    fn an_issued_token_verifies() {
        let identity = Identity::from_seed(&[1; 32]);
        let token = issue(&identity, &CHAIN, Scope::Client, 1_000, 120, [0; 16]);
        let claims = verify(&token, &CHAIN, 1_060).unwrap();
        assert_eq!(
            claims,
            Claims {
                identity: identity.public(),
                scope: Scope::Client,
                expires_s: 1_120
            }
        );
        assert!(matches!(
            verify(&token, &[8; 32], 1_060),
            Err(TokenError::WrongChain { .. })
        ));
        assert!(matches!(
            verify(&token, &CHAIN, 939),
            Err(TokenError::ClockSkew { .. })
        ));
        assert!(matches!(
            verify(&token, &CHAIN, 1_181),
            Err(TokenError::Expired { .. })
        ));
        let forged = token.replacen('.', ".e30", 1);
        assert!(verify(&forged, &CHAIN, 1_060).is_err());
    }

    #[test]
    fn only_the_one_header_is_taken() {
        let good = r#"{"alg":"EdDSA","typ":"JWT"}"#;
        assert!(verify(&signed(good, &payload("")), &CHAIN, 1_000).is_ok());
        for header in [
            r#"{"alg":"none","typ":"JWT"}"#,
            r#"{"alg":"HS256","typ":"JWT"}"#,
            r#"{"alg":"EdDSA","typ":"JWT","jwk":{}}"#,
            r#"{"alg":"EdDSA","typ":"JWT","kid":"x"}"#,
            r#"{"alg":"EdDSA"}"#,
            "[]",
        ] {
            assert!(
                matches!(
                    verify(&signed(header, &payload("")), &CHAIN, 1_000),
                    Err(TokenError::Malformed(_))
                ),
                "{header}"
            );
        }
    }

    #[test]
    fn claims_are_exact_and_bounded() {
        let good = r#"{"alg":"EdDSA","typ":"JWT"}"#;
        let bad = [
            payload(r#","admin":true"#),
            payload("").replace("1120", "1901"),
            payload("").replace("client", "root"),
            payload("").replace("\"jti\":\"a\"", "\"jti\":\"\""),
        ];
        for claims in bad {
            assert!(
                verify(&signed(good, &claims), &CHAIN, 1_000).is_err(),
                "{claims}"
            );
        }
        let long = "x".repeat(MAX_BYTES + 1);
        assert_eq!(
            verify(&long, &CHAIN, 0),
            Err(TokenError::TooLong(MAX_BYTES + 1))
        );
        for junk in ["", ".", "..", "a.b.c", "é.é.é"] {
            assert!(verify(junk, &CHAIN, 0).is_err());
        }
    }
}
