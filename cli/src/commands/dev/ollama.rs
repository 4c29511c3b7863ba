//! Whether an Ollama runs on this machine.

use std::time::Duration;

use tokio::net::TcpStream;

const DEFAULT: &str = "127.0.0.1:11434";
const DEFAULT_PORT: u16 = 11_434;
const TIMEOUT: Duration = Duration::from_secs(1);

/// Whether something listens where Ollama does: `OLLAMA_HOST`, else its default address.
pub async fn is_there() -> bool {
    let address =
        std::env::var("OLLAMA_HOST").map_or_else(|_| DEFAULT.to_owned(), |host| address(&host));
    matches!(
        tokio::time::timeout(TIMEOUT, TcpStream::connect(address)).await,
        Ok(Ok(_))
    )
}

/// `HOST:PORT` of an `OLLAMA_HOST`, which may lack a scheme, the host or the port.
fn address(text: &str) -> String {
    let text = text.trim();
    let bare = text.split_once("://").map_or(text, |(_, rest)| rest);
    let bare = bare.split('/').next().unwrap_or_default();
    let (host, port) = match bare.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => (host, port.to_owned()),
        _ => (bare, DEFAULT_PORT.to_string()),
    };
    let host = match host {
        "" | "0.0.0.0" => "127.0.0.1",
        "[::]" => "[::1]",
        host => host,
    };
    format!("{host}:{port}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_filled_in() {
        for (given, meant) in [
            ("", DEFAULT),
            ("0.0.0.0", DEFAULT),
            (":1234", "127.0.0.1:1234"),
            ("http://localhost:1234/", "localhost:1234"),
            ("box", "box:11434"),
            ("[::]:5", "[::1]:5"),
        ] {
            assert_eq!(address(given), meant, "{given}");
        }
    }
}
