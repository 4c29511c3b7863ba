//! Who calls: bearer tokens that identities issue themselves.

mod cache;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};

use aitbc_common::hash::{Hash, sha256};
use aitbc_common::identity::PublicKey;
use aitbc_common::runtime::status::ApiError;
use aitbc_common::runtime::unix_ms;
use aitbc_common::token::{self, Claims, Scope, TokenError};
use aitbc_proto::v1::ErrorReason;
use tonic::Request;
use tonic::metadata::MetadataMap;

use self::cache::TokenCache;
use crate::limits::Limits;

/// Checks tokens.
pub struct Authenticator {
    chain_id: Hash,
    limits: Arc<Limits>,
    cache: Mutex<TokenCache>,
}

impl Authenticator {
    /// For the tokens of this chain.
    #[must_use]
    pub fn new(chain_id: Hash, limits: Arc<Limits>) -> Self {
        Self {
            chain_id,
            limits,
            cache: Mutex::default(),
        }
    }

    /// Whose token a call carries; it must cover `needed`. Size, claims and the limit of the caller's address come before
    /// the signature; a token that verified is remembered until it expires.
    pub fn authenticate<T>(
        &self,
        request: &Request<T>,
        needed: Scope,
    ) -> Result<PublicKey, ApiError> {
        let address = address_of(request);
        let claims = self.claims(request.metadata(), address, unix_ms() / 1_000)?;
        if !claims.scope.covers(needed) {
            let message = format!(
                "the token's scope is {}, the call needs {}: make one with aitbc token --scope {}",
                claims.scope.name(),
                needed.name(),
                needed.name()
            );
            return Err(ApiError::new(ErrorReason::WrongScope, message));
        }
        Ok(claims.identity)
    }

    /// Counts a public call against its address.
    pub fn public<T>(&self, request: &Request<T>) -> Result<(), ApiError> {
        self.limits.address(address_of(request))
    }

    fn claims(
        &self,
        metadata: &MetadataMap,
        address: IpAddr,
        now_s: u64,
    ) -> Result<Claims, ApiError> {
        let token = bearer(metadata)?;
        let key = sha256(token.as_bytes());
        if let Some(claims) = self.cache().get(&key, now_s) {
            return Ok(claims);
        }
        self.limits.address(address)?;
        let claims =
            token::verify(token, &self.chain_id, now_s).map_err(|error| refusal(&error))?;
        self.cache().insert(key, claims.clone(), now_s);
        Ok(claims)
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, TokenCache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bearer(metadata: &MetadataMap) -> Result<&str, ApiError> {
    let refuse = |message: &str| ApiError::new(ErrorReason::TokenInvalid, message);
    let mut values = metadata.get_all("authorization").iter();
    let value = values.next().ok_or_else(|| {
        refuse("no authorization: send \"authorization: Bearer TOKEN\" (aitbc token makes one)")
    })?;
    if values.next().is_some() {
        return Err(refuse("authorization is given more than once"));
    }
    if value.len() > token::MAX_BYTES + "Bearer ".len() {
        return Err(refuse("the token is over 1 KiB"));
    }
    let text = value
        .to_str()
        .map_err(|_| refuse("the authorization is not plain text"))?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(refuse("the authorization is not \"Bearer TOKEN\"")),
    }
}

fn refusal(error: &TokenError) -> ApiError {
    let reason = match error {
        TokenError::WrongChain { .. } => ErrorReason::WrongChain,
        TokenError::Expired { .. } => ErrorReason::TokenExpired,
        TokenError::ClockSkew { .. } => ErrorReason::ClockSkew,
        _ => ErrorReason::TokenInvalid,
    };
    ApiError::new(reason, error.to_string())
}

/// Where a call comes from.
pub fn address_of<T>(request: &Request<T>) -> IpAddr {
    request
        .remote_addr()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip())
}

#[cfg(test)]
mod tests {
    use aitbc_common::identity::Identity;

    use super::*;
    use crate::limits::LimitConfig;

    const CHAIN: Hash = [7; 32];

    fn request(authorization: &str) -> Request<()> {
        let mut request = Request::new(());
        request
            .metadata_mut()
            .insert("authorization", authorization.parse().unwrap());
        request
    }

    fn reason(authenticator: &Authenticator, authorization: &str, needed: Scope) -> ErrorReason {
        authenticator
            .authenticate(&request(authorization), needed)
            .unwrap_err()
            .reason
    }

    #[test]
    fn tokens_are_told_apart() {
        let authenticator =
            Authenticator::new(CHAIN, Arc::new(Limits::new(LimitConfig::default())));
        let identity = Identity::from_seed(&[1; 32]);
        let now = unix_ms() / 1_000;
        let issue = |chain: &Hash, scope, at, life| {
            format!(
                "Bearer {}",
                token::issue(&identity, chain, scope, at, life, [0; 16])
            )
        };
        let good = issue(&CHAIN, Scope::Client, now, 120);
        for _cached in 0..2 {
            assert_eq!(
                authenticator.authenticate(&request(&good), Scope::Read),
                Ok(identity.public())
            );
            assert_eq!(
                authenticator.authenticate(&request(&good), Scope::Client),
                Ok(identity.public())
            );
        }
        assert_eq!(
            reason(&authenticator, &good, Scope::Miner),
            ErrorReason::WrongScope
        );
        assert_eq!(
            reason(
                &authenticator,
                &issue(&[8; 32], Scope::Client, now, 120),
                Scope::Read
            ),
            ErrorReason::WrongChain
        );
        assert_eq!(
            reason(
                &authenticator,
                &issue(&CHAIN, Scope::Client, now - 900, 120),
                Scope::Read
            ),
            ErrorReason::TokenExpired
        );
        assert_eq!(
            reason(
                &authenticator,
                &issue(&CHAIN, Scope::Client, now + 900, 120),
                Scope::Read
            ),
            ErrorReason::ClockSkew
        );
        for junk in [
            "",
            "Bearer",
            "Bearer ",
            "Basic abc",
            "Bearer a.b.c",
            &format!("Bearer {}", "x".repeat(2_000)),
        ] {
            assert_eq!(
                reason(&authenticator, junk, Scope::Read),
                ErrorReason::TokenInvalid,
                "{junk}"
            );
        }
        let none = authenticator
            .authenticate(&Request::new(()), Scope::Read)
            .unwrap_err();
        assert_eq!(none.code, tonic::Code::Unauthenticated);
        assert!(none.message.contains("aitbc token"));
    }
}
