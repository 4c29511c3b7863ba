//! The coordinator's certificate: read from files at the start, and checked for what would puzzle its users.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aitbc_common::runtime::errors::{CommandError, ExitCode};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::{InconsistentKeys, ServerConfig, crypto::ring};
use tonic::transport::{Identity, ServerTlsConfig};
use webpki::{EndEntityCert, KeyUsage};

/// A connection must be encrypted within this.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Where certificate and key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, then the intermediate ones (PEM).
    pub certificate: PathBuf,
    /// Its private key (PEM: PKCS#8, SEC1 or PKCS#1).
    pub key: PathBuf,
}

impl TlsFiles {
    /// Reads both and checks that they belong together. What clients would refuse is told, and served all the same: a clock
    /// may be wrong, and a coordinator that serves some is better than one that serves nobody.
    pub fn load(&self) -> Result<(ServerTlsConfig, Vec<String>), CommandError> {
        let certificate = read(&self.certificate, "certificate")?;
        let key = read(&self.key, "private key")?;
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&certificate)
            .collect::<Result<_, _>>()
            .map_err(|error| unusable(&self.certificate, &format!("it is no PEM: {error}")))?;
        let first = chain
            .first()
            .cloned()
            .ok_or_else(|| unusable(&self.certificate, "there is no certificate in it"))?;
        let private = PrivateKeyDer::from_pem_slice(&key)
            .map_err(|_| unusable(&self.key, "there is no private key in it"))?;
        self.check_pair(chain, private)?;
        let warnings = self.warnings(&first, UnixTime::now());
        let settings = ServerTlsConfig::new()
            .identity(Identity::from_pem(certificate, key))
            .timeout(HANDSHAKE);
        Ok((settings, warnings))
    }

    fn check_pair(
        &self,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<(), CommandError> {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has both versions");
        let paired = builder.with_no_client_auth().with_single_cert(chain, key);
        paired.map(|_| ()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                let certificate = self.certificate.display();
                unusable(&self.key, &format!("it is not the key of {certificate}"))
            }
            rustls::Error::InvalidCertificate(error) => unusable(
                &self.certificate,
                &format!("the certificate is not valid: {error}"),
            ),
            error => unusable(&self.key, &error.to_string()),
        })
    }

    fn warnings(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> Vec<String> {
        let file = self.certificate.display();
        let Ok(parsed) = EndEntityCert::try_from(certificate) else {
            return vec![format!(
                "clients will not understand the certificate {file}"
            )];
        };
        // Who signed it is not known here, so a sound one ends with an unknown issuer; dates and uses come before that.
        let found =
            parsed.verify_for_usage(&[], &[], &[], now, KeyUsage::server_auth(), None, None);
        let problem = match found.err() {
            Some(webpki::Error::CertExpired { not_after, .. }) => {
                format!("expired on {}: clients will refuse it; renew it and restart", day(not_after))
            }
            Some(webpki::Error::CertNotValidYet { not_before, .. }) => {
                format!("is valid from {} on only: clients will refuse it until then", day(not_before))
            }
            Some(webpki::Error::CaUsedAsEndEntity) => {
                "is an authority's: clients will refuse it; make one without CA:TRUE, signed by that authority".to_owned()
            }
            Some(webpki::Error::RequiredEkuNotFoundContext(_)) => {
                "is not meant for servers: clients will refuse it; make one with extendedKeyUsage serverAuth".to_owned()
            }
            _ => return Vec::new(),
        };
        vec![format!("the certificate {file} {problem}")]
    }
}

fn read(path: &Path, what: &str) -> Result<Vec<u8>, CommandError> {
    fs::read(path).map_err(|error| {
        let doing = format!("read the {what} {}", path.display());
        CommandError::file(doing, &error)
            .with_hint("check the path, and that the coordinator's user may read it: --tls-certificate, --tls-key")
    })
}

fn unusable(path: &Path, why: &str) -> CommandError {
    let message = format!("{} cannot be used: {why}", path.display());
    CommandError::new(ExitCode::Failed, "TLS_FILES", message).with_hint(
        "give the certificate, then its intermediate ones, as --tls-certificate, and its private key as --tls-key (PEM)",
    )
}

fn day(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds)
        .map_or_else(|_| "another day".into(), |time| time.to_string())
}

#[cfg(test)]
mod tests;
