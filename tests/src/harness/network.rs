//! A network on this machine: a coordinator on a free port with its data in a temporary folder, and its users.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use aitbc_common::identity::Identity;
use aitbc_common::runtime::channel::{Connection, CoordinatorUrl};
use aitbc_common::runtime::files::Home;
use aitbc_common::token::Scope;

use super::{Keyboard, Output, Process, Scratch, Stream, program};

/// A coordinator and a folder for its users.
#[derive(Debug)]
pub struct Network {
    // Fields are dropped in this order: processes before folders.
    coordinator: Option<Process>,
    address: String,
    arguments: Vec<String>,
    scratch: Scratch,
}

impl Network {
    /// Starts a coordinator on a free port.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// As [`Network::start`], with more arguments for the coordinator.
    #[must_use]
    pub fn start_with(arguments: &[&str]) -> Self {
        let mut network = Self::without_coordinator();
        network.arguments = arguments.iter().map(ToString::to_string).collect();
        network.start_coordinator("127.0.0.1:0");
        network
    }

    /// As [`Network::start`], with a settings file.
    #[must_use]
    pub fn start_with_settings(settings: &str) -> Self {
        let mut network = Self::without_coordinator();
        let file = network.write("coordinator.toml", settings);
        network.arguments = vec!["--config".into(), file.to_string_lossy().into_owned()];
        network.start_coordinator("127.0.0.1:0");
        network
    }

    /// Users without a coordinator: their commands go to a port where nobody listens.
    #[must_use]
    pub fn without_coordinator() -> Self {
        Self {
            coordinator: None,
            address: free_address(),
            arguments: Vec::new(),
            scratch: Scratch::new(),
        }
    }

    /// Where the coordinator listens: `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The coordinator's data folder.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.scratch.join("data")
    }

    /// A folder for this test's files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// Writes a file into that folder.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        self.scratch.write(name, bytes)
    }

    /// The running coordinator.
    #[must_use]
    pub fn coordinator(&self) -> &Process {
        self.coordinator.as_ref().expect("the coordinator runs")
    }

    /// The command that starts this network's coordinator at an address.
    #[must_use]
    pub fn coordinator_command(&self, listen: &str) -> Command {
        let mut command = self.user("operator").command(
            &program("aitbc-coordinator"),
            &["--dev", "--listen", listen, "--data-dir"],
        );
        command.arg(self.data_dir()).args(&self.arguments);
        command
    }

    fn start_coordinator(&mut self, listen: &str) {
        let process = Process::start(self.coordinator_command(listen));
        self.address = process.wait_for(
            Stream::Stdout,
            "address of the coordinator",
            listening_address,
        );
        self.coordinator = Some(process);
    }

    /// kill -9.
    pub fn kill_coordinator(&mut self) {
        self.coordinator
            .take()
            .expect("the coordinator runs")
            .kill();
    }

    /// Starts it again on the same port and data folder.
    pub fn restart_coordinator(&mut self) {
        let address = self.address.clone();
        self.start_coordinator(&address);
    }

    /// Asks the coordinator to stop and waits for its end.
    pub fn stop_coordinator(&mut self) -> Output {
        let mut coordinator = self.coordinator.take().expect("the coordinator runs");
        coordinator.terminate();
        coordinator.wait()
    }

    /// A user of this machine, with keys and settings of their own.
    #[must_use]
    pub fn user(&self, name: &str) -> User {
        let home = self.scratch.join(name);
        std::fs::create_dir_all(&home).expect("a temporary folder is writable");
        User {
            variables: vec![
                ("HOME".into(), home.to_string_lossy().into_owned()),
                (
                    "AITBC_HOME".into(),
                    home.join("aitbc").to_string_lossy().into_owned(),
                ),
                ("AITBC_COORDINATOR".into(), self.address.clone()),
            ],
            home,
        }
    }
}

/// The address in what a coordinator prints first.
fn listening_address(text: &str) -> Option<String> {
    let (start, _) = text.match_indices("127.0.0.1:").next()?;
    let rest = &text[start..];
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':')?;
    Some(rest[..end].to_owned())
}

/// An address where nobody listens.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("it is bound").to_string()
}

/// Someone with keys and settings of their own.
#[derive(Debug, Clone)]
pub struct User {
    home: PathBuf,
    variables: Vec<(String, String)>,
}

impl User {
    /// The same user with another environment variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self = self.without(name);
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same user without an environment variable.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self
    }

    /// Where their keys and settings are.
    #[must_use]
    pub fn home(&self) -> Home {
        Home::below(&self.aitbc_home())
    }

    /// The folder that their commands run in.
    #[must_use]
    pub fn home_dir(&self) -> &Path {
        &self.home
    }

    /// The folder of their keys and settings.
    #[must_use]
    pub fn aitbc_home(&self) -> PathBuf {
        self.home.join("aitbc")
    }

    /// Any program, in this user's environment and home folder; nothing of the test's own environment reaches it.
    #[must_use]
    pub fn command(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        let programs = program_folder();
        command
            .args(arguments)
            .env_clear()
            .env(
                "PATH",
                format!("{}:/usr/local/bin:/usr/bin:/bin", programs.display()),
            )
            .env("LANG", "C.UTF-8")
            .env("RUST_BACKTRACE", "1")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.home);
        command
    }

    /// Runs `aitbc` with these arguments to its end.
    #[must_use]
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.start(arguments).wait()
    }

    /// Starts `aitbc` with these arguments.
    #[must_use]
    pub fn start(&self, arguments: &[&str]) -> Process {
        Process::start(self.command(&program("aitbc"), arguments))
    }

    /// Starts `aitbc` with these arguments on a terminal; its stdout is a pipe.
    #[must_use]
    pub fn starts_on_terminal(&self, arguments: &[&str]) -> (Process, Keyboard) {
        Process::start_on_terminal(self.command(&program("aitbc"), arguments))
    }

    /// Runs a line as it would be typed into a shell.
    #[must_use]
    #[track_caller]
    pub fn types(&self, line: &str) -> Output {
        self.starts(line).wait()
    }

    /// Starts a line as it would be typed into a shell.
    #[must_use]
    pub fn starts(&self, line: &str) -> Process {
        let line = if line.contains(['|', ';', '\n']) {
            line.to_owned()
        } else {
            format!("exec {line}")
        };
        Process::start(self.command(Path::new("/bin/sh"), &["-c", &line]))
    }

    /// This user's identity, made if there is none yet.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.home()
            .identity()
            .expect("a temporary folder is writable")
    }

    /// The identity of this user's miner.
    #[must_use]
    pub fn miner_identity(&self) -> Identity {
        self.home()
            .miner_identity("rig-1")
            .expect("a temporary folder is writable")
    }

    /// Where this user's coordinator is.
    #[must_use]
    pub fn coordinator_url(&self) -> CoordinatorUrl {
        let (_, address) = self
            .variables
            .iter()
            .find(|(name, _)| name == "AITBC_COORDINATOR")
            .expect("a user knows a coordinator");
        CoordinatorUrl::parse(address).expect("the harness gave it")
    }

    /// A connection to the coordinator as this user.
    pub async fn connect(&self, scope: Scope) -> Connection {
        self.connect_as(self.identity(), scope).await
    }

    /// A connection to the coordinator as any identity.
    pub async fn connect_as(&self, identity: Identity, scope: Scope) -> Connection {
        Connection::open(&self.coordinator_url(), Arc::new(identity), scope)
            .await
            .expect("the coordinator answers")
    }
}

fn program_folder() -> PathBuf {
    program("aitbc")
        .parent()
        .expect("it is in a folder")
        .to_owned()
}
