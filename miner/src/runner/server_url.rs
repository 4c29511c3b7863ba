//! The address of a model server, in the forms that `OLLAMA_HOST` has.

use reqwest::Url;
use thiserror::Error;

/// Where Ollama listens by default.
pub const DEFAULT_SERVER_URL: &str = "http://127.0.0.1:11434";

const DEFAULT_PORT: u16 = 11434;

/// A text that is no address of a model server.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{given:?} is no address of a model server: {problem}")]
pub struct ServerUrlError {
    /// What was given.
    pub given: String,
    /// What is wrong with it.
    pub problem: String,
}

impl ServerUrlError {
    /// What to write instead.
    pub fn hint(&self) -> &'static str {
        "write for example http://127.0.0.1:11434, 127.0.0.1:11434 or :11434"
    }
}

/// Reads `host`, `host:port`, `:port`, `http://host[:port][/path]`, an IPv6 address with or without brackets; nothing is
/// [`DEFAULT_SERVER_URL`]. An address to listen on (`0.0.0.0`, `::`) becomes loopback.
pub fn server_url(text: &str) -> Result<Url, ServerUrlError> {
    let given = text.trim();
    let fail = |problem: String| ServerUrlError {
        given: given.chars().take(200).collect(),
        problem,
    };
    if given.is_empty() {
        return Ok(Url::parse(DEFAULT_SERVER_URL).expect("the default address is one"));
    }
    let (scheme, rest, port) = match given.split_once("://") {
        None => ("http", given, DEFAULT_PORT),
        Some(("http", rest)) => ("http", rest, 80),
        Some(("https", _)) => {
            return Err(fail(
                "only http is spoken, on this machine or in a network of your own".to_owned(),
            ));
        }
        Some((scheme, _)) => return Err(fail(format!("the scheme {scheme} is not http"))),
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let authority = complete(authority, port);
    let mut url = Url::parse(&format!("{scheme}://{authority}/{path}"))
        .map_err(|error| fail(error.to_string()))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(fail(
            "a user name and a password do not belong here".to_owned(),
        ));
    }
    match url.host_str() {
        Some("0.0.0.0") => url
            .set_host(Some("127.0.0.1"))
            .map_err(|error| fail(error.to_string()))?,
        Some("[::]") => url
            .set_host(Some("[::1]"))
            .map_err(|error| fail(error.to_string()))?,
        _ => {}
    }
    Ok(url)
}

fn complete(authority: &str, port: u16) -> String {
    if authority.parse::<std::net::Ipv6Addr>().is_ok() {
        return format!("[{authority}]:{port}");
    }
    match authority.rsplit_once(':') {
        Some(("", port)) => format!("127.0.0.1:{port}"),
        Some((_, after)) if !after.ends_with(']') => authority.to_owned(),
        _ if authority.is_empty() => format!("127.0.0.1:{port}"),
        _ => format!("{authority}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_are_understood() {
        for (given, url) in [
            ("", "http://127.0.0.1:11434/"),
            ("127.0.0.1", "http://127.0.0.1:11434/"),
            ("localhost:5000", "http://localhost:5000/"),
            (":5000", "http://127.0.0.1:5000/"),
            ("http://gpu-box:1234", "http://gpu-box:1234/"),
            ("http://gpu-box", "http://gpu-box/"),
            ("http://gpu-box:1234/ollama", "http://gpu-box:1234/ollama"),
            ("0.0.0.0", "http://127.0.0.1:11434/"),
            ("0.0.0.0:5000", "http://127.0.0.1:5000/"),
            ("::1", "http://[::1]:11434/"),
            ("[::1]", "http://[::1]:11434/"),
            ("[::]:5000", "http://[::1]:5000/"),
            (" 127.0.0.1:5000 ", "http://127.0.0.1:5000/"),
        ] {
            assert_eq!(
                server_url(given).map(String::from),
                Ok(url.to_owned()),
                "{given:?}"
            );
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for given in [
            "https://host",
            "ftp://host",
            "host:port",
            "host:99999",
            "http://",
            "user:secret@host",
            "a b",
        ] {
            let result = server_url(given);
            assert!(
                result.is_err() || given == "http://",
                "{given:?}: {result:?}"
            );
        }
    }
}
