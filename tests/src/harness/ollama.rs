//! Real model servers: Ollama, and the miner's own engine.

use std::path::Path;
use std::process::Command;

use super::{PATIENCE, Process, Scratch, Stream, model_file, program, tool, wait_for};

/// An Ollama server of this test's own, with SmolLM2 as `smollm2:135m` and as `llama3`.
#[derive(Debug)]
pub struct Ollama {
    server: Option<Process>,
    address: String,
    scratch: Scratch,
}

impl Ollama {
    /// Starts one with its models.
    #[must_use]
    pub fn start() -> Self {
        let mut ollama = Self::start_empty();
        let modelfile = ollama.scratch.write(
            "Modelfile",
            // Two threads of a busy machine with two cores wait for each other most of the time; and the model, asked
            // for nothing in particular, may talk for minutes.
            format!(
                "FROM {}\nPARAMETER num_thread 1\nPARAMETER num_predict 256\n",
                model_file().display()
            ),
        );
        let modelfile = modelfile.to_string_lossy();
        ollama.run(&["create", "smollm2:135m", "-f", &modelfile]);
        ollama.run(&["cp", "smollm2:135m", "llama3"]);
        ollama
    }

    /// Starts one without models.
    #[must_use]
    pub fn start_empty() -> Self {
        let scratch = Scratch::new();
        let mut ollama = Self {
            server: None,
            address: "127.0.0.1:0".to_owned(),
            scratch,
        };
        ollama.serve();
        ollama
    }

    fn serve(&mut self) {
        let process = Process::start(self.command(&["serve"]));
        self.address = process.wait_for(Stream::Stderr, "address of Ollama", |text| {
            let (_, rest) = text.split_once("Listening on ")?;
            rest.split_once(' ').map(|(address, _)| address.to_owned())
        });
        self.server = Some(process);
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(tool("AITBC_TEST_OLLAMA"));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.scratch.path())
            .env("OLLAMA_HOST", &self.address)
            .env("OLLAMA_MODELS", self.scratch.join("models"))
            .env("OLLAMA_NUM_PARALLEL", "1")
            .env("OLLAMA_KEEP_ALIVE", "10m")
            .current_dir(self.scratch.path());
        command
    }

    fn run(&mut self, arguments: &[&str]) {
        let _output = Process::start(self.command(arguments))
            .wait_at_most(PATIENCE)
            .succeeds();
    }

    /// `127.0.0.1:PORT`, as `OLLAMA_HOST` takes it.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends the server and whatever it started (kill -9).
    pub fn kill(&mut self) {
        self.server = None;
    }

    /// Starts it again on the same port, with the same models.
    pub fn restart(&mut self) {
        self.serve();
    }
}

/// `aitbc-miner engine`: a GGUF file behind Ollama's API.
#[derive(Debug)]
pub struct Engine {
    /// The running engine.
    pub process: Process,
    address: String,
}

impl Engine {
    /// Serves SmolLM2 as `llama3`.
    #[must_use]
    pub fn start(folder: &Path) -> Self {
        let mut command = Command::new(program("aitbc-miner"));
        command
            .args([
                "engine",
                "--listen",
                "127.0.0.1:0",
                "--threads",
                "1",
                "--context",
                "1024",
                "--model",
            ])
            .arg(format!("llama3={}", model_file().display()))
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", folder)
            .env("AITBC_HOME", folder.join("engine"));
        let process = Process::start(command);
        let address = wait_for("the engine's address", || {
            let text = format!("{}{}", process.stdout(), process.stderr());
            let (_, rest) = text.split_once("127.0.0.1:")?;
            let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
            rest[port.len()..]
                .contains('\n')
                .then(|| format!("127.0.0.1:{port}"))
        });
        Self { process, address }
    }

    /// `127.0.0.1:PORT`, as `OLLAMA_HOST` takes it.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}
