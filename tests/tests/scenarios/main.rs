//! The scenarios, word for word as a user types them, as processes on a network of their own: against a real Ollama, on
//! the embedded engine, and by hand.

mod agents;
mod by_hand;
mod commands;
mod samples;
mod six;

use aitbc_tests::harness::{Engine, Network, Ollama, Process, User, model_file};

/// What runs the model.
enum Backend {
    /// A real Ollama.
    Ollama { _server: Ollama },
    /// The miner's own engine, as its child.
    Embedded,
    /// The miner's own engine, on its own.
    Engine { _server: Engine },
}

/// A network with one user, who is client and miner, and something that runs `llama3`.
struct Lab {
    // Dropped first, so that the miner goes before what it talks to.
    miner: Option<Process>,
    backend: Backend,
    user: User,
    _network: Network,
}

impl Lab {
    fn on_ollama() -> Self {
        let network = Network::start();
        let ollama = Ollama::start();
        let user = network.user("me").with("OLLAMA_HOST", ollama.address());
        Self {
            miner: None,
            backend: Backend::Ollama { _server: ollama },
            user,
            _network: network,
        }
    }

    fn on_the_embedded_engine() -> Self {
        let network = Network::start();
        let user = network.user("me").with("OLLAMA_HOST", "127.0.0.1:1");
        Self {
            miner: None,
            backend: Backend::Embedded,
            user,
            _network: network,
        }
    }

    fn on_an_engine() -> Self {
        let network = Network::start();
        let engine = Engine::start(network.folder());
        let user = network.user("me").with("OLLAMA_HOST", engine.address());
        Self {
            miner: None,
            backend: Backend::Engine { _server: engine },
            user,
            _network: network,
        }
    }

    /// The command that mines, as a user types it.
    fn mine_command(&self) -> String {
        match &self.backend {
            Backend::Ollama { .. } | Backend::Engine { .. } => {
                "aitbc miner mine-ollama --model llama3 --continuous".to_owned()
            }
            Backend::Embedded => format!(
                "aitbc miner mine --model llama3={} --threads 1 --context 1024 --continuous",
                model_file().display()
            ),
        }
    }

    /// Starts to mine.
    fn mine(&mut self) -> &mut Process {
        self.mine_with("")
    }

    /// Starts to mine, with more options.
    fn mine_with(&mut self, options: &str) -> &mut Process {
        let line = format!("{} {options}", self.mine_command());
        self.miner.insert(self.user.starts(line.trim()))
    }

    /// The running miner.
    fn miner(&mut self) -> &mut Process {
        self.miner.as_mut().expect("the miner runs")
    }
}

/// The first job id in a text.
fn job_id(text: &str) -> String {
    let start = text
        .find("job_0")
        .unwrap_or_else(|| panic!("no job id in {text:?}"));
    text[start..start + 30].to_owned()
}
