//! A server that does what its script says.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Url;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::runner::server_url;

/// What the server does after it has read a request.
#[derive(Clone)]
pub(super) enum Step {
    /// Sends these bytes.
    Send(String),
    /// Is silent for a while.
    Pause(Duration),
    /// Is silent until the client goes away.
    Hang,
}

pub(super) struct Server {
    pub(super) url: Url,
    /// Paths and bodies seen.
    pub(super) requests: Arc<Mutex<Vec<(String, String)>>>,
    /// How many clients went away while the server was silent.
    pub(super) left: watch::Receiver<u32>,
}

async fn read_request(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| {
                    line.to_lowercase()
                        .strip_prefix("content-length:")?
                        .trim()
                        .parse()
                        .ok()
                })
                .unwrap_or(0);
            if body.len() >= length {
                return Some((head.split(' ').nth(1)?.to_owned(), body.to_owned()));
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// Answers every request with the same script; the connection is closed after it.
pub(super) async fn serve(script: Vec<Step>) -> Server {
    serve_each(move |_, _| script.clone()).await
}

/// Answers each request with the script for its path and body; the connection is closed after it.
pub(super) async fn serve_each(
    script: impl Fn(&str, &str) -> Vec<Step> + Clone + Send + 'static,
) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let requests = Arc::new(Mutex::new(Vec::new()));
    let (gone, left) = watch::channel(0);
    let seen = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (script, seen, gone) = (script.clone(), Arc::clone(&seen), gone.clone());
            tokio::spawn(async move {
                let Some(request) = read_request(&mut stream).await else {
                    return;
                };
                let steps = script(&request.0, &request.1);
                seen.lock().expect("no panic").push(request);
                for step in steps {
                    match step {
                        Step::Send(text) => {
                            let _ = stream.write_all(text.as_bytes()).await;
                        }
                        Step::Pause(time) => tokio::time::sleep(time).await,
                        Step::Hang => {
                            let mut rest = [0; 64];
                            while stream.read(&mut rest).await.is_ok_and(|length| length > 0) {}
                            gone.send_modify(|count| *count += 1);
                        }
                    }
                }
            });
        }
    });
    Server {
        url: server_url(&url).expect("valid"),
        requests,
        left,
    }
}

const HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n";

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// The beginning of an answer, with these records.
pub(super) fn begin(records: &[&str]) -> Step {
    let records: String = records
        .iter()
        .map(|record| chunk(&format!("{record}\n")))
        .collect();
    Step::Send(format!("{HEAD}{records}"))
}

pub(super) fn token(text: &str) -> String {
    serde_json::json!({"model": "llama3", "response": text, "done": false}).to_string()
}

pub(super) const DONE: &str = r#"{"response":"","done":true,"done_reason":"stop","prompt_eval_count":9,"eval_count":2,"prompt_eval_duration":20000000,"eval_duration":30000000,"load_duration":40000000,"total_duration":99000000}"#;

pub(super) fn end() -> Step {
    Step::Send("0\r\n\r\n".to_owned())
}

pub(super) fn answer(status: &str, body: &str) -> Vec<Step> {
    let length = body.len();
    vec![Step::Send(format!(
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    ))]
}
