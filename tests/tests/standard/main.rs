//! A real network: founded by `init`, encrypted by a certificate of an authority of its own, watched by Prometheus.

mod trust;

use std::path::{Path, PathBuf};
use std::process::Command;

use aitbc_common::token::Scope;
use aitbc_proto::v1::{FaucetRequest, NetworkProfile};
use aitbc_tests::harness::{McpClient, Network, Output, Process, Stream, User, program};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use serde_json::json;

const WALLET: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
const SUBMIT: &str = "aitbc client submit --type inference --model llama3 --prompt Hello --json";

/// An authority with a name of its own.
fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut parameters = CertificateParams::new(Vec::new()).expect("no names");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    let key = KeyPair::generate().expect("there is randomness");
    CertifiedIssuer::self_signed(parameters, key).expect("a sound authority")
}

/// A coordinator without `--dev`, its authority's certificate, and its users.
struct Real {
    // Dropped before its folder.
    coordinator: Option<Process>,
    place: Network,
    port: String,
    ca: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Real {
    /// A folder where `init` made a network, and the files of a certificate for `localhost`.
    fn founded() -> (Self, Output) {
        let place = Network::without_coordinator();
        let issuer = authority("the network's");
        let ca = place.write("ca.pem", issuer.pem());
        let real = Self {
            coordinator: None,
            place,
            port: String::new(),
            ca,
            issuer,
        };
        real.certify(|_| {});
        let output = real.init(&["--allocate", &format!("{WALLET}=1000.000001")]);
        (real, output)
    }

    /// As [`Real::founded`], and the coordinator runs.
    fn started(more: &[&str]) -> Self {
        let (mut real, output) = Self::founded();
        let _founded = output.succeeds();
        real.start(more);
        real
    }

    fn init(&self, more: &[&str]) -> Output {
        let data = self.place.data_dir();
        let arguments = ["init", "--data-dir", path(&data)];
        Process::start(self.command(&[&arguments, more].concat())).wait()
    }

    /// Writes certificate and key.
    fn certify(&self, change: impl FnOnce(&mut CertificateParams)) {
        let mut parameters = CertificateParams::new(vec!["localhost".into()]).expect("a name");
        change(&mut parameters);
        let key = KeyPair::generate().expect("there is randomness");
        let certificate = parameters.signed_by(&key, &self.issuer);
        let certificate = certificate.expect("a sound certificate");
        let _files = [
            self.place.write("chain.pem", certificate.pem()),
            self.place.write("key.pem", key.serialize_pem()),
        ];
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let operator = self.place.user("operator");
        operator.command(&program("aitbc-coordinator"), arguments)
    }

    /// The command that starts it with the certificate, at a port of its own and then always there.
    fn serve(&self, more: &[&str]) -> Command {
        let port = if self.port.is_empty() {
            "0"
        } else {
            &self.port
        };
        let listen = format!("127.0.0.1:{port}");
        let file = |name: &str| self.place.folder().join(name);
        let (data, chain, key) = (self.place.data_dir(), file("chain.pem"), file("key.pem"));
        let usual = [
            "--listen",
            &listen,
            "--data-dir",
            path(&data),
            "--tls-certificate",
            path(&chain),
            "--tls-key",
            path(&key),
        ];
        self.command(&[&usual, more].concat())
    }

    fn start(&mut self, more: &[&str]) {
        let process = Process::start(self.serve(more));
        let address = process.wait_for(Stream::Stdout, "address", |text| {
            Some(
                text.strip_prefix("listening on 127.0.0.1:")?
                    .split_once('\n')?
                    .0
                    .to_owned(),
            )
        });
        self.port = address;
        self.coordinator = Some(process);
    }

    /// Asks it to stop and waits for its end.
    fn stop(&mut self) {
        let mut coordinator = self.coordinator.take().expect("it runs");
        coordinator.terminate();
        let _stopped = coordinator.wait().succeeds();
    }

    fn user(&self, name: &str) -> User {
        self.user_at(name, "localhost")
    }

    fn user_at(&self, name: &str, host: &str) -> User {
        let url = format!("https://{host}:{}", self.port);
        self.place
            .user(name)
            .with("AITBC_COORDINATOR", &url)
            .with("AITBC_CA_CERTIFICATE", path(&self.ca))
    }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a temporary folder is UTF-8")
}

/// The value of a metric.
fn metric(text: &str, name: &str) -> f64 {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok())
        .unwrap_or_else(|| panic!("no {name} in {text}"))
}

async fn scrape(coordinator: &Process) -> String {
    let url = coordinator.wait_for(Stream::Stderr, "address of the metrics", |text| {
        let rest = text.split_once("metrics on ")?.1;
        Some(rest.split_once('\n')?.0.to_owned())
    });
    let response = reqwest::get(url).await.expect("metrics are served");
    assert!(response.status().is_success());
    let media = response.headers()["content-type"].to_str().expect("ASCII");
    assert!(media.starts_with("text/plain"), "{media}");
    response.text().await.expect("text")
}

#[test]
fn init_founds_a_network_once_and_says_what_it_is() {
    let (real, output) = Real::founded();
    let output = output.succeeds();
    let text = output.text();
    for part in [
        "chain id:    sha256:",
        "service key: ed25519:",
        "log key:     ed25519:",
        "supply:      1000.000001 AIT, owned by 1 address",
        "auditors:    0x",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!output.stderr.contains("warning"), "{}", output.stderr);
    let before = std::fs::read(real.place.data_dir().join("genesis.json")).expect("a genesis file");
    real.init(&[]).refuses(1, "there is a network");
    let after = std::fs::read(real.place.data_dir().join("genesis.json")).expect("a genesis file");
    assert_eq!(before, after);
    real.init(&["--allocate", &format!("{WALLET}=1.0000001")])
        .refuses(2, "6 decimals");

    let poor = real.place.folder().join("poor");
    let poor = Process::start(real.command(&["init", "--data-dir", path(&poor)])).wait();
    let poor = poor.succeeds();
    assert!(
        poor.stderr.contains("nobody owns anything"),
        "{}",
        poor.stderr
    );
}

#[test]
fn an_agent_does_not_submit_what_nobody_pays() {
    let real = Real::started(&[]);
    let agent = real.user("agent");
    let asked = json!({"model": "llama3", "prompt": "Hello"});
    let mut client = McpClient::start(&agent, "auto", &[]);
    let refused = client.refuses("submit", &asked);
    assert_eq!(refused["reason"], "NO_ALLOWANCE", "{refused}");
    let message = refused["message"].as_str().unwrap_or_default();
    assert!(
        message.contains("on this network jobs are paid for"),
        "{refused}"
    );
    let allowed = ["--allowance", WALLET, "--max-spend", "1"];
    let mut client = McpClient::start(&agent, "auto", &allowed);
    let refused = client.refuses("submit", &asked);
    assert_eq!(refused["reason"], "USAGE", "{refused}");
    let paid = json!({"model": "llama3", "prompt": "Hello", "pay": "1"});
    let refused = client.refuses("submit", &paid);
    assert_eq!(refused["reason"], "NO_ALLOWANCE", "{refused}");
    let jobs = agent.types("aitbc client list --json").succeeds().json();
    assert_eq!(jobs["jobs"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_an_unfunded_job_waits_and_no_miner_gets_it() {
    let mut real = Real::started(&["--metrics-listen", "127.0.0.1:0"]);
    let (client, miner) = (real.user("client"), real.user("miner"));
    let submitted = client.types(SUBMIT).succeeds().json();
    assert_eq!(submitted["status"], "pending", "{submitted}");
    let job = submitted["job_id"].as_str().expect("an id").to_owned();
    let payout = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
    let register = format!("aitbc miner register --payout {payout}");
    let _registered = miner.types(&register).succeeds();
    let nothing = miner.types("aitbc miner poll --wait 2s --json").succeeds();
    assert_eq!(nothing.json()["job"], serde_json::Value::Null);
    // The same commands where no funds are required: it is the funds that the miner waits for.
    let free = Network::start();
    let _job = free.user("client").types(SUBMIT).succeeds();
    let _registered = free.user("miner").types("aitbc miner register").succeeds();
    let given = free
        .user("miner")
        .types("aitbc miner poll --json")
        .succeeds();
    assert!(given.json()["job"].is_object());

    let text = scrape(real.coordinator.as_ref().expect("it runs")).await;
    for (name, expected) in [
        ("aitbc_jobs{status=\"pending\"}", 1.0),
        ("aitbc_jobs{status=\"queued\"}", 0.0),
        ("aitbc_miners", 1.0),
        ("aitbc_ledger_supply_ait", 1000.000001),
        ("aitbc_ledger_open_locks", 0.0),
        ("aitbc_ledger_accounts_sum_micro_ait", 0.0),
        (
            "aitbc_ledger_invariant_violations{invariant=\"conservation\"}",
            0.0,
        ),
        (
            "aitbc_ledger_invariant_violations{invariant=\"pending\"}",
            0.0,
        ),
    ] {
        assert_eq!(
            metric(&text, name).to_bits(),
            f64::to_bits(expected),
            "{name}"
        );
    }
    assert!(metric(&text, "aitbc_ledger_records") >= 2.0);

    let url = "https://localhost:".to_owned() + &real.port;
    let url = aitbc_common::runtime::channel::CoordinatorUrl::parse(&url).expect("an address");
    let ca = std::fs::read(&real.ca).expect("a file");
    let connection = aitbc_common::runtime::channel::Connection::open(
        &url.with_authority(ca),
        client.identity().into(),
        Scope::Client,
    )
    .await
    .expect("the coordinator answers");
    assert!(connection.info.funding_required);
    assert_eq!(connection.info.profile(), NetworkProfile::Standard);
    let request = FaucetRequest {
        address: vec![7; 20].into(),
        ..FaucetRequest::default()
    };
    let refused = connection.network().faucet(request).await.unwrap_err();
    assert!(refused.message().contains("no faucet"), "{refused:?}");
    drop(connection);

    real.stop();
    real.start(&[]);
    let status = real
        .user("client")
        .types(&format!("aitbc client status {job} --json"));
    assert_eq!(status.succeeds().json()["status"], "pending");
}

#[test]
fn a_certificate_that_does_not_fit_is_refused_in_words_that_help() {
    let real = Real::started(&[]);
    let client = real.user("client");
    let refused = |user: &User, reason: &str, message: &str, hint: &str| {
        let error = user.types("aitbc models --json").exits(3).json_error();
        assert_eq!(error["reason"], reason, "{error}");
        let told = |field: &str, part: &str| {
            assert!(
                error[field]
                    .as_str()
                    .is_some_and(|text| text.contains(part)),
                "{error}"
            );
        };
        told("message", message);
        told("hint", hint);
    };
    let _models = client.types("aitbc models").succeeds();
    let other = real
        .place
        .write("other.pem", authority("somebody else's").pem());
    let wrong = client.clone().with("AITBC_CA_CERTIFICATE", path(&other));
    refused(
        &wrong,
        "TLS_UNTRUSTED",
        "nobody who is trusted",
        "--ca-certificate FILE",
    );
    // The option wins over the variable.
    let option = format!("aitbc models --ca-certificate {}", path(&real.ca));
    let _models = wrong.types(&option).succeeds();

    let at = |address: String| client.clone().with("AITBC_COORDINATOR", &address);
    let by_number = at(format!("https://127.0.0.1:{}", real.port));
    refused(
        &by_number,
        "TLS_WRONG_NAME",
        "not for 127.0.0.1 but for localhost",
        "https://NAME:PORT",
    );
    let plaintext = at(format!("http://127.0.0.1:{}", real.port));
    let tls = format!("https://127.0.0.1:{}", real.port);
    refused(
        &plaintext,
        "UNREACHABLE",
        "does not answer as a coordinator",
        &tls,
    );
    let free = Network::start();
    let encrypted = at(format!("https://{}", free.address()));
    refused(&encrypted, "TLS_FAILED", free.address(), free.address());

    let missing = client.with("AITBC_CA_CERTIFICATE", "/nonexistent/ca.pem");
    missing
        .types("aitbc models")
        .refuses(1, "/nonexistent/ca.pem");
}

#[test]
fn what_a_coordinator_cannot_serve_with_is_told_before_it_serves() {
    let (mut real, output) = Real::founded();
    let _founded = output.succeeds();
    let run = |command: Command| Process::start(command).wait();
    let data = real.place.data_dir();
    let data = path(&data);
    let key = real.place.folder().join("key.pem");
    let beyond = ["--data-dir", data, "--listen", "0.0.0.0:0"];
    run(real.command(&beyond)).refuses(2, "--tls-certificate FILE");
    let half = [&beyond[..], &["--tls-key", path(&key)]].concat();
    run(real.command(&half)).refuses(2, "--tls-certificate FILE");
    let chain = real.place.folder().join("chain.pem");
    let missing = [
        &beyond[..],
        &[
            "--tls-certificate",
            path(&chain),
            "--tls-key",
            "/nonexistent.pem",
        ],
    ]
    .concat();
    run(real.command(&missing)).refuses(1, "/nonexistent.pem");
    run(real.command(&["--dev", "--data-dir", data])).refuses(1, "without --dev");
    let empty = real.place.folder().join("empty");
    run(real.command(&["--data-dir", path(&empty)])).refuses(1, "init --data-dir");
    let play = Network::start();
    let folder = play.data_dir();
    run(real.command(&["--listen", "127.0.0.1:0", "--data-dir", path(&folder)]))
        .refuses(1, "with --dev");

    let other = KeyPair::generate().expect("there is randomness");
    let good = std::fs::read(&key).expect("a file");
    let _mismatch = real.place.write("key.pem", other.serialize_pem());
    run(real.serve(&[])).refuses(1, "not the key of");
    let _back = real.place.write("key.pem", good);

    real.certify(|parameters| parameters.not_after = date_time_ymd(2020, 5, 1));
    real.start(&[]);
    let coordinator = real.coordinator.as_ref().expect("it runs");
    coordinator.notes("expired on 2020-05-01");
    let expired = real.user("client").types("aitbc models --json").exits(3);
    assert_eq!(expired.json_error()["reason"], "TLS_EXPIRED");
}

#[test]
fn a_real_network_on_loopback_needs_no_certificate() {
    let (real, output) = Real::founded();
    let _founded = output.succeeds();
    let data = real.place.data_dir();
    let arguments = ["--listen", "127.0.0.1:0", "--data-dir", path(&data)];
    let process = Process::start(real.command(&arguments));
    let address = process.wait_for(Stream::Stdout, "address", |text| {
        Some(
            text.strip_prefix("listening on ")?
                .split_once('\n')?
                .0
                .to_owned(),
        )
    });
    let client = real
        .place
        .user("client")
        .with("AITBC_COORDINATOR", &address);
    assert_eq!(client.types(SUBMIT).succeeds().json()["status"], "pending");
}
