//! One process with its output captured, in a process group of its own.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::pty::openpty;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;

use super::{Output, PATIENCE, guardian, wait_within};

/// Which of a process' outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Results.
    Stdout,
    /// Everything else.
    Stderr,
}

#[derive(Debug, Default)]
struct Captured {
    bytes: Vec<u8>,
    closed: bool,
}

#[derive(Debug, Default)]
struct Capture {
    captured: Mutex<Captured>,
    changed: Condvar,
}

impl Capture {
    fn read(from: impl Read + Send + 'static) -> Arc<Self> {
        let capture = Arc::new(Self::default());
        let sink = capture.clone();
        std::thread::spawn(move || sink.fill(from));
        capture
    }

    fn fill(&self, mut from: impl Read) {
        let mut part = [0; 8_192];
        loop {
            let count = from.read(&mut part).unwrap_or(0);
            let mut captured = self.captured.lock().unwrap_or_else(PoisonError::into_inner);
            captured.bytes.extend_from_slice(&part[..count]);
            captured.closed = count == 0;
            self.changed.notify_all();
            if count == 0 {
                return;
            }
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let captured = self.captured.lock().unwrap_or_else(PoisonError::into_inner);
        captured.bytes.clone()
    }

    /// Waits until `find` finds something in the bytes so far; `None` at the deadline or the end of the output.
    fn wait<T>(
        &self,
        limit: Duration,
        mut find: impl FnMut(&[u8], bool) -> Option<T>,
    ) -> Option<T> {
        let end = Instant::now() + limit;
        let mut captured = self.captured.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(found) = find(&captured.bytes, captured.closed) {
                return Some(found);
            }
            let left = end.saturating_duration_since(Instant::now());
            if captured.closed || left.is_zero() {
                return None;
            }
            captured = self
                .changed
                .wait_timeout(captured, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

/// A running process; it and everything it started is killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdout: Arc<Capture>,
    stderr: Arc<Capture>,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts a command. Its stdin is closed.
    #[must_use]
    pub fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null());
        Self::start_inner(command)
    }

    /// Starts a command whose stdin is a pipe.
    #[must_use]
    pub fn start_with_stdin(mut command: Command) -> (Self, ChildStdin) {
        command.stdin(Stdio::piped());
        let mut process = Self::start_inner(command);
        let stdin = process.child.stdin.take().expect("stdin is a pipe");
        (process, stdin)
    }

    /// Starts a command whose stdin and stderr are a terminal, and stdout a pipe. What it shows on the terminal is its
    /// stderr here, with the echo of what is typed.
    #[must_use]
    pub fn start_on_terminal(mut command: Command) -> (Self, Keyboard) {
        let name = shown(&command);
        let pty = openpty(None, None).expect("there are terminals");
        let side = || Stdio::from(pty.slave.try_clone().expect("it is open"));
        command.stdin(side()).stderr(side()).stdout(Stdio::piped());
        let mut child = spawn(&mut command, &name);
        // The terminal closes with the last process that has it.
        drop((command, pty.slave));
        let master = File::from(pty.master);
        let keyboard = Keyboard(master.try_clone().expect("it is open"));
        let process = Self {
            name,
            stdout: Capture::read(child.stdout.take().expect("stdout is a pipe")),
            stderr: Capture::read(master),
            child,
            status: None,
        };
        (process, keyboard)
    }

    fn start_inner(mut command: Command) -> Self {
        let name = shown(&command);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = spawn(&mut command, &name);
        let stdout = Capture::read(child.stdout.take().expect("stdout is a pipe"));
        let stderr = Capture::read(child.stderr.take().expect("stderr is a pipe"));
        Self {
            name,
            child,
            stdout,
            stderr,
            status: None,
        }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        pid_of(&self.child).as_raw()
    }

    /// The bytes on stdout so far.
    #[must_use]
    pub fn stdout_bytes(&self) -> Vec<u8> {
        self.stdout.bytes()
    }

    /// The text on stdout so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout.bytes()).into_owned()
    }

    /// The text on stderr so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.bytes()).into_owned()
    }

    /// Waits until `find` finds something in the text so far; panics after [`PATIENCE`] or when the output has ended.
    #[track_caller]
    pub fn wait_for<T>(
        &self,
        stream: Stream,
        what: &str,
        mut find: impl FnMut(&str) -> Option<T>,
    ) -> T {
        let capture = match stream {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
        };
        let found = capture.wait(PATIENCE, |bytes, _| find(&String::from_utf8_lossy(bytes)));
        found.unwrap_or_else(|| {
            panic!(
                "{}: no {what}\nstdout: {}\nstderr: {}",
                self.name,
                self.stdout(),
                self.stderr()
            )
        })
    }

    /// Waits until stdout contains `text`.
    #[track_caller]
    pub fn prints(&self, text: &str) {
        self.wait_for(Stream::Stdout, &format!("{text:?} on stdout"), |all| {
            all.contains(text).then_some(())
        });
    }

    /// Waits until stdout has at least this many bytes.
    #[track_caller]
    pub fn prints_bytes(&self, count: usize) {
        let found = self
            .stdout
            .wait(PATIENCE, |bytes, _| (bytes.len() >= count).then_some(()));
        assert!(
            found.is_some(),
            "{}: fewer than {count} bytes\nstdout: {}\nstderr: {}",
            self.name,
            self.stdout(),
            self.stderr()
        );
    }

    /// Waits until stderr contains `text`.
    #[track_caller]
    pub fn notes(&self, text: &str) {
        self.wait_for(Stream::Stderr, &format!("{text:?} on stderr"), |all| {
            all.contains(text).then_some(())
        });
    }

    /// Waits for its end, at most [`PATIENCE`].
    #[must_use]
    #[track_caller]
    pub fn wait(&mut self) -> Output {
        self.wait_at_most(PATIENCE)
    }

    /// Waits for its end; panics at the deadline.
    #[must_use]
    #[track_caller]
    pub fn wait_at_most(&mut self, limit: Duration) -> Output {
        let end = Instant::now() + limit;
        while self.has_ended().is_none() {
            assert!(
                Instant::now() < end,
                "{} still runs after {limit:?}\nstdout: {}\nstderr: {}",
                self.name,
                self.stdout(),
                self.stderr()
            );
            std::thread::park_timeout(Duration::from_millis(5));
        }
        let status = self.status.expect("it has ended");
        // Children that outlive it may hold the pipes; what it printed itself is there.
        self.kill_group();
        for capture in [&self.stdout, &self.stderr] {
            capture.wait(Duration::from_secs(5), |_, closed| closed.then_some(()));
        }
        Output {
            command: self.name.clone(),
            stdout: self.stdout.bytes(),
            stderr: self.stderr(),
            code: status
                .code()
                .unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
        }
    }

    /// Its exit status, where it has ended.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().expect("it is our child");
        }
        self.status
    }

    /// Asks it to stop (SIGTERM).
    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// As Ctrl-C does (SIGINT).
    pub fn interrupt(&self) {
        self.signal(Signal::SIGINT);
    }

    /// Freezes it (SIGSTOP).
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets it go on (SIGCONT).
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// kill -9 of this process alone: its children have to notice by themselves.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.status = Some(self.child.wait().expect("it is our child"));
    }

    fn signal(&self, signal: Signal) {
        if self.status.is_none() {
            kill(pid_of(&self.child), signal)
                .expect("a child that was not waited for can be signalled");
        }
    }

    fn kill_group(&self) {
        // Nobody is left in the group in the usual case.
        let _nobody_left = killpg(pid_of(&self.child), Signal::SIGKILL);
    }

    /// Waits until nothing that it started runs any more.
    pub fn wait_for_children(&self) {
        wait_within(Duration::from_secs(20), "its children to end", || {
            (!group_runs(self.pid())).then_some(())
        });
    }
}

/// The keys of a terminal.
#[derive(Debug)]
pub struct Keyboard(File);

impl Keyboard {
    /// Types characters, as they are.
    pub fn press(&self, keys: &str) {
        (&self.0)
            .write_all(keys.as_bytes())
            .expect("the terminal is open");
    }

    /// Types a line and Enter.
    pub fn types(&self, line: &str) {
        self.press(&format!("{line}\r"));
    }

    /// Whether the terminal shows what is typed, as it does for a shell.
    #[must_use]
    pub fn echoes(&self) -> bool {
        let settings = tcgetattr(&self.0).expect("it is a terminal");
        settings.local_flags.contains(LocalFlags::ECHO)
    }
}

fn spawn(command: &mut Command, name: &str) -> Child {
    let child = command
        .process_group(0)
        .spawn()
        .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
    guardian::watch_group(pid_of(&child).as_raw());
    child
}

/// Whether a process of this group runs. One that has ended and was not waited for does not count.
fn group_runs(group: i32) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return killpg(Pid::from_raw(group), None).is_ok();
    };
    processes.flatten().any(|process| {
        let stat = std::fs::read_to_string(process.path().join("stat")).unwrap_or_default();
        // PID (NAME) STATE PARENT GROUP …; a name may contain anything.
        let mut fields = stat
            .rsplit_once(") ")
            .map_or("", |(_, rest)| rest)
            .split(' ');
        let (state, _parent, of) = (fields.next(), fields.next(), fields.next());
        of == Some(group.to_string().as_str()) && state != Some("Z")
    })
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill_group();
        if self.status.is_none() {
            let _reaped = self.child.wait();
        }
        guardian::forget_group(self.pid());
    }
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("process ids are small"))
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words
        .map(|word| {
            let word = word.to_string_lossy();
            let name = word.rsplit("/debug/").next().unwrap_or(&word);
            name.chars().take(200).collect()
        })
        .collect();
    words.join(" ")
}
