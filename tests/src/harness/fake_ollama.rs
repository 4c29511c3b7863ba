//! A scripted model server, for faults that a real one shows rarely: hanging, answering 500 or garbage, a cut stream.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What the server does with a request to generate; everything else it answers as Ollama does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// Answers in full: `Hello` and ` there`.
    Answer,
    /// Answers in full, half a second after the request.
    AnswerLate,
    /// Answers this in one piece.
    Say(&'static str),
    /// Says the next of [`FakeOllama::start_steps`]: as many as the model has said before in the conversation are left out.
    Steps,
    /// Takes the request and says nothing.
    Hang,
    /// Begins an answer and says nothing more.
    HangInMidStream,
    /// Answers a word ten times a second, for at most a minute.
    Trickle,
    /// Answers 500.
    Fail,
    /// Answers what is no JSON.
    Garbage,
    /// Begins an answer and closes the connection.
    Cut,
    /// Says that the model is not there.
    ModelMissing,
    /// Has no model, and downloads two fifths of one when it is asked to; the rest when it plays something else.
    Download,
}

/// The server; it ends with the test's process.
#[derive(Debug)]
pub struct FakeOllama {
    address: String,
    script: Arc<Mutex<Script>>,
    pulled: Arc<Mutex<Vec<String>>>,
    generating: Arc<AtomicUsize>,
    steps: Arc<Mutex<Vec<String>>>,
    chats: Arc<Mutex<Vec<(Instant, String)>>>,
    pace: Arc<Mutex<Duration>>,
}

impl FakeOllama {
    /// Starts one that offers the model `llama3:latest`.
    #[must_use]
    pub fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let script = Arc::new(Mutex::new(script));
        let shared = script.clone();
        let pulled: Arc<Mutex<Vec<String>>> = Arc::default();
        let pulls = Arc::clone(&pulled);
        let generating: Arc<AtomicUsize> = Arc::default();
        let steps: Arc<Mutex<Vec<String>>> = Arc::default();
        let chats: Arc<Mutex<Vec<(Instant, String)>>> = Arc::default();
        let pace: Arc<Mutex<Duration>> = Arc::default();
        let shared = Shared {
            script: shared,
            pulls,
            running: Arc::clone(&generating),
            steps: Arc::clone(&steps),
            chats: Arc::clone(&chats),
            pace: Arc::clone(&pace),
        };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        Self {
            address,
            script,
            pulled,
            generating,
            steps,
            chats,
            pace,
        }
    }

    /// Starts one that plays [`Script::Steps`]: it says these one after the other, each as a whole reply to a chat, and hangs
    /// after the last.
    #[must_use]
    pub fn start_steps(steps: Vec<String>) -> Self {
        let server = Self::start(Script::Steps);
        *server.steps.lock().unwrap_or_else(PoisonError::into_inner) = steps;
        server
    }

    /// Waits so long before each step from now on.
    pub fn paces(&self, pace: Duration) {
        *self.pace.lock().unwrap_or_else(PoisonError::into_inner) = pace;
    }

    /// The bodies of the requests to chat.
    #[must_use]
    pub fn chats(&self) -> Vec<String> {
        let chats = self.chats.lock().unwrap_or_else(PoisonError::into_inner);
        chats.iter().map(|(_, body)| body.clone()).collect()
    }

    /// When each of them came.
    #[must_use]
    pub fn chatted_at(&self) -> Vec<Instant> {
        let chats = self.chats.lock().unwrap_or_else(PoisonError::into_inner);
        chats.iter().map(|(at, _)| *at).collect()
    }

    /// Answers that are being generated now: the model stops where its reader leaves.
    #[must_use]
    pub fn generating(&self) -> usize {
        self.generating.load(Ordering::SeqCst)
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The bodies of the requests to download.
    #[must_use]
    pub fn pulled(&self) -> Vec<String> {
        let pulled = self.pulled.lock();
        pulled.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Does something else from now on.
    pub fn plays(&self, script: Script) {
        *self.script.lock().unwrap_or_else(PoisonError::into_inner) = script;
    }
}

/// What the connections of a server share with it.
#[derive(Clone)]
struct Shared {
    script: Arc<Mutex<Script>>,
    pulls: Arc<Mutex<Vec<String>>>,
    running: Arc<AtomicUsize>,
    steps: Arc<Mutex<Vec<String>>>,
    chats: Arc<Mutex<Vec<(Instant, String)>>>,
    pace: Arc<Mutex<Duration>>,
}

/// Answers one request; the connection then closes.
fn serve(stream: TcpStream, shared: &Shared) -> Option<()> {
    let Shared {
        script,
        pulls,
        running,
        ..
    } = shared;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut request = String::new();
    reader.read_line(&mut request).ok()?;
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let header = header.trim().to_ascii_lowercase();
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if header.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let path = request.split(' ').nth(1)?.to_owned();
    let now = || *script.lock().unwrap_or_else(PoisonError::into_inner);
    let mut stream = stream;
    if path == "/api/pull" {
        let mut pulls = pulls.lock().unwrap_or_else(PoisonError::into_inner);
        pulls.push(String::from_utf8_lossy(&body).into_owned());
        drop(pulls);
        return pull(stream, now);
    }
    let script = now();
    let reply = match path.as_str() {
        "/api/chat" if script == Script::Steps => {
            let body = String::from_utf8_lossy(&body).into_owned();
            return step(stream, shared, body);
        }
        "/api/generate" | "/api/chat" => {
            running.fetch_add(1, Ordering::SeqCst);
            let done = generate(stream, script, path == "/api/chat");
            running.fetch_sub(1, Ordering::SeqCst);
            return done;
        }
        "/api/version" => r#"{"version":"0.17.4"}"#.to_owned(),
        "/api/tags" if script == Script::Download => r#"{"models":[]}"#.to_owned(),
        "/api/tags" => tags(),
        "/api/ps" => r#"{"models":[]}"#.to_owned(),
        "/api/show" => {
            r#"{"details":{"family":"llama"},"model_info":{"general.architecture":"llama","llama.context_length":8192},"capabilities":["completion"]}"#
                .to_owned()
        }
        _ => return respond(&mut stream, "404 Not Found", r#"{"error":"no such path"}"#),
    };
    respond(&mut stream, "200 OK", &reply)
}

/// Says the next step of a conversation.
fn step(mut stream: TcpStream, shared: &Shared, body: String) -> Option<()> {
    // A count that is too small for the prompt would mean that it was cut.
    let read = 100.max(body.len() / 40);
    let said = body.matches(r#""role":"assistant""#).count();
    let steps = shared.steps.lock().unwrap_or_else(PoisonError::into_inner);
    let step = steps.get(said).cloned();
    drop(steps);
    let mut chats = shared.chats.lock().unwrap_or_else(PoisonError::into_inner);
    chats.push((Instant::now(), body));
    drop(chats);
    let Some(step) = step else {
        return hold(&stream);
    };
    let pace = *shared.pace.lock().unwrap_or_else(PoisonError::into_inner);
    // The pace is what is played here: nothing is waited for.
    std::thread::park_timeout(pace);
    begin_lines(&mut stream)?;
    let step = step.replace('\\', r"\\").replace('"', r#"\""#);
    chunk(&mut stream, &token(&step, true))?;
    chunk(&mut stream, &last(read, 30_000_000, true))?;
    stream.write_all(b"0\r\n\r\n").ok()
}

/// The end of an answer to so many tokens, which took so many nanoseconds.
fn last(read: usize, work: u64, chat: bool) -> String {
    let end = format!(
        r#""done":true,"done_reason":"stop","total_duration":50000000,"load_duration":1000000,"prompt_eval_count":{read},"prompt_eval_duration":10000000,"eval_count":2,"eval_duration":{work}"#
    );
    token("", chat).replace(r#""done":false"#, &end)
}

fn tags() -> String {
    let digest = "6b4f07566ccec04e27c2fb969b4d4a8d9984f7452501ef9a4e8b03e56ef3c2a7";
    format!(
        r#"{{"models":[{{"name":"llama3:latest","model":"llama3:latest","size":98363022,"digest":"{digest}","details":{{"family":"llama","parameter_size":"134.52M","quantization_level":"Q4_1"}}}}]}}"#
    )
}

fn respond(stream: &mut TcpStream, status: &str, body: &str) -> Option<()> {
    let length = body.len();
    write!(stream, "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}").ok()
}

fn token(text: &str, chat: bool) -> String {
    let part = if chat {
        format!(r#""message":{{"role":"assistant","content":"{text}"}}"#)
    } else {
        format!(r#""response":"{text}""#)
    };
    format!(r#"{{"model":"llama3","created_at":"2026-01-01T00:00:00Z",{part},"done":false}}"#)
}

fn chunk(stream: &mut TcpStream, line: &str) -> Option<()> {
    write!(stream, "{:x}\r\n{line}\n\r\n", line.len() + 1).ok()?;
    stream.flush().ok()
}

fn generate(mut stream: TcpStream, script: Script, chat: bool) -> Option<()> {
    match script {
        Script::Hang => return hold(&stream),
        Script::Fail => {
            return respond(
                &mut stream,
                "500 Internal Server Error",
                r#"{"error":"llama runner process has terminated"}"#,
            );
        }
        Script::ModelMissing => {
            return respond(
                &mut stream,
                "404 Not Found",
                r#"{"error":"model 'llama3' not found"}"#,
            );
        }
        _ => {}
    }
    begin_lines(&mut stream)?;
    if script == Script::AnswerLate {
        // The pace is what is played here: nothing is waited for.
        std::thread::park_timeout(Duration::from_millis(500));
    }
    if script == Script::Garbage {
        chunk(&mut stream, "<html>this is no answer</html>")?;
        return stream.write_all(b"0\r\n\r\n").ok();
    }
    let first = match script {
        Script::Say(text) => text,
        _ => "Hello",
    };
    chunk(&mut stream, &token(first, chat))?;
    match script {
        Script::HangInMidStream => return hold(&stream),
        Script::Trickle => trickle(&mut stream, chat)?,
        Script::Cut => return None,
        _ => {}
    }
    if !matches!(script, Script::Say(_)) {
        chunk(&mut stream, &token(" there", chat))?;
    }
    let work = match script {
        Script::AnswerLate => 480_000_000,
        _ => 30_000_000,
    };
    chunk(&mut stream, &last(14, work, chat))?;
    stream.write_all(b"0\r\n\r\n").ok()
}

/// The pace is what is played here: nothing is waited for.
fn trickle(stream: &mut TcpStream, chat: bool) -> Option<()> {
    for _ in 0..600 {
        std::thread::park_timeout(Duration::from_millis(100));
        chunk(stream, &token(" and", chat))?;
    }
    Some(())
}

fn begin_lines(stream: &mut TcpStream) -> Option<()> {
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n").ok()
}

fn pull(mut stream: TcpStream, now: impl Fn() -> Script) -> Option<()> {
    begin_lines(&mut stream)?;
    chunk(&mut stream, r#"{"status":"pulling manifest"}"#)?;
    chunk(
        &mut stream,
        r#"{"status":"pulling 6b4f07566cce","digest":"sha256:6b4f","total":1000,"completed":400}"#,
    )?;
    super::wait_for("the end of the download", || {
        (now() != Script::Download).then_some(())
    });
    chunk(&mut stream, r#"{"status":"success"}"#)?;
    stream.write_all(b"0\r\n\r\n").ok()
}

/// Keeps the connection open until the other side closes it.
fn hold(mut stream: &TcpStream) -> Option<()> {
    stream.read_exact(&mut [0]).ok()
}
