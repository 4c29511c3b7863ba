//! What went wrong with TLS, in words that say what to do.

use std::error::Error;
use std::io;

use rustls::CertificateError;

use super::CoordinatorUrl;
use crate::runtime::errors::{CommandError, ExitCode};

/// What to do where an authority is not known.
pub(super) const AUTHORITY_HINT: &str = "if its operator runs an authority of their own, name its certificate: --ca-certificate FILE, AITBC_CA_CERTIFICATE, \
     or aitbc config set ca_certificate /path/to/ca.pem";

/// The error of a connection that failed because of TLS.
pub(super) fn explain(url: &CoordinatorUrl, error: &(dyn Error + 'static)) -> Option<CommandError> {
    let place = url.host_and_port();
    let refused = |reason: &str, message: String, hint: String| {
        CommandError::new(ExitCode::Unreachable, reason, message).with_hint(hint)
    };
    if url.is_secure() && ended_early(error) {
        return Some(refused(
            "TLS_FAILED",
            format!("{place} ended the connection before it was encrypted"),
            plaintext_hint(url),
        ));
    }
    Some(match find(error)? {
        rustls::Error::InvalidCertificate(problem) => bad_certificate(url, problem),
        rustls::Error::InvalidMessage(_) => refused(
            "TLS_FAILED",
            format!("{place} does not speak TLS"),
            plaintext_hint(url),
        ),
        other => refused(
            "TLS_FAILED",
            format!("no encrypted connection to {place}: {other}"),
            "check the address, and that a coordinator of a current version listens there".into(),
        ),
    })
}

fn bad_certificate(url: &CoordinatorUrl, problem: &CertificateError) -> CommandError {
    let place = url.host_and_port();
    let (reason, why, hint) = match problem {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => (
            "TLS_UNTRUSTED",
            "is signed by nobody who is trusted here".to_owned(),
            AUTHORITY_HINT.to_owned(),
        ),
        CertificateError::NotValidForName => (
            "TLS_WRONG_NAME",
            "is for another name".to_owned(),
            name_hint(),
        ),
        CertificateError::NotValidForNameContext { presented, .. } => (
            "TLS_WRONG_NAME",
            format!("is not for {} but for {}", url.host, names(presented)),
            name_hint(),
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
            "TLS_EXPIRED",
            "expired".to_owned(),
            "check this machine's clock; if it is right, tell the coordinator's operator"
                .to_owned(),
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
            "TLS_EXPIRED",
            "is not valid yet".to_owned(),
            "check this machine's clock; if it is right, tell the coordinator's operator"
                .to_owned(),
        ),
        other => (
            "TLS_UNTRUSTED",
            format!("is refused: {other}"),
            "tell the coordinator's operator".to_owned(),
        ),
    };
    let message = format!("the certificate of {place} {why}");
    CommandError::new(ExitCode::Unreachable, reason, message).with_hint(hint)
}

fn name_hint() -> String {
    "name the coordinator as its certificate does: --coordinator https://NAME:PORT".to_owned()
}

fn plaintext_hint(url: &CoordinatorUrl) -> String {
    let place = url.host_and_port();
    if url.is_loopback() {
        format!(
            "if no certificate is set there, as with --dev, name it so: --coordinator http://{place}"
        )
    } else {
        "check the address, and with the operator that a coordinator with a certificate listens there".to_owned()
    }
}

/// The names of a certificate; they come from the other side.
fn names(presented: &[String]) -> String {
    let bounded: Vec<_> = presented
        .iter()
        .take(5)
        .map(|name| {
            let name = name.strip_prefix("DnsName(\"").unwrap_or(name);
            let name = name.strip_suffix("\")").unwrap_or(name);
            name.chars().take(100).collect::<String>()
        })
        .collect();
    if bounded.is_empty() {
        "no name at all".to_owned()
    } else {
        bounded.join(", ")
    }
}

/// The TLS library's error among the causes.
fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    causes(error).find_map(|cause| {
        let inner = cause
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        inner
            .and_then(|inner| inner.downcast_ref())
            .or_else(|| cause.downcast_ref())
    })
}

/// Whether the other side closed the connection where it should have answered.
fn ended_early(error: &(dyn Error + 'static)) -> bool {
    causes(error)
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::UnexpectedEof)
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let cause = next?;
        next = cause.source();
        Some(cause)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(problem: rustls::Error) -> CommandError {
        let url = CoordinatorUrl::parse("https://127.0.0.1:1").unwrap();
        let error = io::Error::new(io::ErrorKind::InvalidData, problem);
        explain(&url, &error).unwrap()
    }

    #[test]
    fn each_kind_of_failure_has_its_reason_and_a_hint() {
        let certificate = |problem| told(rustls::Error::InvalidCertificate(problem));
        for (error, reason, hint) in [
            (
                certificate(CertificateError::UnknownIssuer),
                "TLS_UNTRUSTED",
                "--ca-certificate",
            ),
            (
                certificate(CertificateError::NotValidForName),
                "TLS_WRONG_NAME",
                "https://NAME:PORT",
            ),
            (
                certificate(CertificateError::Expired),
                "TLS_EXPIRED",
                "clock",
            ),
            (
                certificate(CertificateError::NotValidYet),
                "TLS_EXPIRED",
                "clock",
            ),
            (
                certificate(CertificateError::Revoked),
                "TLS_UNTRUSTED",
                "operator",
            ),
            (
                told(rustls::Error::InvalidMessage(
                    rustls::InvalidMessage::InvalidContentType,
                )),
                "TLS_FAILED",
                "--coordinator http://127.0.0.1:1",
            ),
        ] {
            assert_eq!(
                (error.exit, error.reason.as_str()),
                (ExitCode::Unreachable, reason)
            );
            assert!(!error.retryable && error.hint.unwrap().contains(hint));
        }
    }

    #[test]
    fn what_has_nothing_to_do_with_tls_is_left_alone() {
        let url = CoordinatorUrl::parse("https://127.0.0.1:1").unwrap();
        let error = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(explain(&url, &error), None);
    }
}
