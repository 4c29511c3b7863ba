//! Other languages, with nothing of ours but the contract and the formats.

use std::path::{Path, PathBuf};
use std::time::Duration;

use aitbc_common::layouts::SignedTransaction;
use aitbc_common::ledger::log::leaf_hash;
use aitbc_tests::harness::{Network, Ollama, Output, Process, Stream, User, tool};
use serde_json::{Value, json};

#[path = "interop/market.rs"]
mod market;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths here are UTF-8")
}

/// Python without writing beside its modules.
fn python(user: &User, arguments: &[&str]) -> Process {
    let user = user.clone().with("PYTHONDONTWRITEBYTECODE", "1");
    Process::start(user.command(&tool("AITBC_TEST_PYTHON"), arguments))
}

fn identity_file(user: &User) -> PathBuf {
    let _made = user.identity();
    user.home().identity_file()
}

#[test]
fn python_checks_the_test_vectors() {
    let network = Network::without_coordinator();
    let (script, vectors) = (file("interop/vectors.py"), file("../proto/vectors"));
    let checked = python(&network.user("me"), &[text(&script), text(&vectors)])
        .wait()
        .succeeds();
    assert!(
        checked.text().contains("checks passed"),
        "{}",
        checked.text()
    );
}

fn vectors(name: &str) -> Value {
    let file = file("../proto/vectors").join(name);
    let text = std::fs::read_to_string(file).expect("the vectors");
    serde_json::from_str(&text).expect("JSON")
}

/// An export of these records, one a line.
fn export(path: &Path, leaves: &[String]) {
    let lines: Vec<String> = leaves
        .iter()
        .enumerate()
        .map(|(index, leaf)| {
            let hash = leaf_hash(&hex::decode(leaf).expect("hexadecimal digits"));
            json!({"index": index, "leaf": leaf, "hash": hex::encode(hash)}).to_string() + "\n"
        })
        .collect();
    std::fs::write(path, lines.concat()).expect("a temporary folder is writable");
}

#[test]
fn python_replays_an_exported_ledger() {
    let network = Network::without_coordinator();
    let user = network.user("me");
    let (script, exported) = (
        file("interop/replay.py"),
        network.folder().join("ledger.ndjson"),
    );
    let replay = || python(&user, &[text(&script), text(&exported)]).wait();
    let stored = vectors("ledger.json");
    let mut leaves: Vec<String> = stored["records"]
        .as_array()
        .expect("records")
        .iter()
        .map(|record| record["leaf"].as_str().expect("a leaf").to_owned())
        .collect();
    export(&exported, &leaves);
    let summary = replay().succeeds().json();
    let seals = stored["seals"].as_array().expect("seals");
    let last = seals.last().expect("a seal");
    for (found, expected) in [
        (&summary["chain_id"], &stored["chain_id"]),
        (&summary["state_root"], &last["state_root"]),
        (&summary["log_root"], &last["log_root"]),
        (&summary["size"], &last["size"]),
    ] {
        assert_eq!(found, expected, "{summary}");
    }
    let balances = summary["balances"].as_object().expect("balances");
    let sum: u64 = balances
        .values()
        .map(|of| {
            of["balance"]
                .as_str()
                .expect("a number")
                .parse::<u64>()
                .expect("a number")
        })
        .sum();
    assert!(balances.len() == 3 && sum < 72_000_000, "{summary}");

    // One bit of the last byte of any record: a memo, a reason, a fee, a signature, what was burned.
    for at in [5, 10, 14, 34] {
        let mut changed = hex::decode(&leaves[at]).expect("hexadecimal digits");
        *changed.last_mut().expect("not empty") ^= 1;
        let good = std::mem::replace(&mut leaves[at], hex::encode(changed));
        export(&exported, &leaves);
        let refused = replay();
        assert!(
            refused.code == 1 && refused.stderr.contains(&format!("error: record {at}: ")),
            "{refused:?}"
        );
        leaves[at] = good;
    }
}

#[test]
fn python_signs_transactions_that_are_valid() {
    let network = Network::without_coordinator();
    let (script, orders) = (
        file("interop/transaction.py"),
        network.folder().join("orders.ndjson"),
    );
    let stored = vectors("transaction.json");
    let chain = hex::decode(stored["chain_id"].as_str().expect("text")).expect("digits");
    let chain: [u8; 32] = chain.try_into().expect("32 bytes");
    let (secret, seed) = (
        &stored["keys"]["wallets"][1]["secret"],
        &stored["keys"]["identities"][2]["seed"],
    );
    // Another wallet and another identity than the vectors', and other numbers.
    let lines = stored["vectors"]
        .as_array()
        .expect("vectors")
        .iter()
        .enumerate()
        .map(|(nonce, vector)| {
            let mut order = vector["fields"].clone();
            order["nonce"] = json!(nonce);
            order["memo"] = vector["payload"].clone();
            order["terms"] = vector["terms"].clone();
            match order["sign_mode"].as_u64() {
                Some(0) => order["secret"] = secret.clone(),
                _ => order["seed"] = seed.clone(),
            }
            order.to_string() + "\n"
        });
    std::fs::write(&orders, lines.collect::<String>()).expect("a temporary folder is writable");
    let signed = python(&network.user("me"), &[text(&script), text(&orders)])
        .wait()
        .succeeds();
    let made: Vec<SignedTransaction> = signed
        .text()
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).expect("JSON");
            let bytes = hex::decode(line["stored"].as_str().expect("text")).expect("digits");
            let signed = SignedTransaction::decode(&bytes).expect("a transaction");
            assert_eq!(signed.verify(&chain), Ok(()), "{line}");
            assert_eq!(line["tx_id"], hex::encode(signed.transaction.id()));
            signed
        })
        .collect();
    for (nonce, signed) in (0..).zip(&made) {
        assert_eq!(signed.transaction.nonce, nonce);
    }
    assert_eq!(Some(made.len()), stored["vectors"].as_array().map(Vec::len));
}

#[test]
fn a_python_program_pays_somebody() {
    let network = Network::start();
    let user = network
        .user("me")
        .with("AITBC_WALLET_PASSWORD", "correct horse");
    let wallets = &vectors("transaction.json")["keys"]["wallets"];
    let word = |wallet: usize, name: &str| wallets[wallet][name].as_str().expect("text").to_owned();
    let secret = network.write("secret", word(0, "secret"));
    let import = format!(
        "aitbc wallet import --name payer --private-key-file {}",
        text(&secret)
    );
    let _imported = user.types(&import).succeeds();
    let _drawn = user.types("aitbc wallet faucet --amount 2.5").succeeds();
    let stubs = network.folder().join("stubs");
    std::fs::create_dir(&stubs).expect("a temporary folder is writable");
    let (script, protos, payee) = (
        file("interop/submit.py"),
        file("../proto"),
        word(1, "address"),
    );
    let arguments = [
        text(&script),
        text(&protos),
        text(&stubs),
        network.address(),
        text(&secret),
        &payee,
        "1000000",
    ];
    let paid = python(&user, &arguments)
        .wait_at_most(Duration::from_secs(60))
        .succeeds()
        .json();
    let id = paid["tx_id"].as_str().expect("an id");
    let _proven = user
        .types(&format!("aitbc wallet verify 0x{id}"))
        .succeeds();
    let balance = user.types("aitbc wallet balance --json").succeeds().json();
    assert_eq!(balance["available_ait"], "1.500000", "{balance}");
}

#[test]
fn a_python_client_follows_its_job_through_a_restart() {
    let mut network = Network::start();
    let ollama = Ollama::start();
    let user = network.user("me").with("OLLAMA_HOST", ollama.address());
    let miner = user.starts("aitbc miner mine-ollama --model llama3 --continuous");
    miner.prints("polling");

    let document = json!({
        "prompt": "Numbers.",
        "format": {"type": "array", "items": {"type": "integer"}, "minItems": 600, "maxItems": 700},
        "options": {"num_predict": 500},
    });
    let (script, protos, stubs) = (
        file("interop/client.py"),
        file("../proto"),
        network.folder().join("stubs"),
    );
    std::fs::create_dir(&stubs).expect("a temporary folder is writable");
    let identity = identity_file(&user);
    let arguments = [
        text(&script),
        text(&protos),
        text(&stubs),
        network.address(),
        text(&identity),
        "llama3",
        &document.to_string(),
    ];
    let mut client = python(&user, &arguments);
    client.wait_for(Stream::Stdout, "output", |text| {
        (text.matches("streaming").count() >= 3).then_some(())
    });
    network.kill_coordinator();
    client.prints("reconnecting");
    network.restart_coordinator();

    let finished = client.wait_at_most(Duration::from_secs(150)).succeeds();
    let text = finished.text();
    let summary: Value =
        serde_json::from_str(text.lines().last().expect("a summary")).expect("JSON");
    assert!(summary["reconnects"].as_u64() > Some(0), "{summary}");
    assert!(summary["checkpoints"].as_u64() > Some(0), "{summary}");
    assert_eq!(summary["attempt"], 1, "{summary}");
    let job = summary["job_id"].as_str().expect("a job id");
    let result = user
        .types(&format!("aitbc client result {job} --json"))
        .succeeds()
        .json();
    let hash = summary["output_sha256"].as_str().expect("a hash");
    assert_eq!(
        result["receipt"]["output_hash"],
        format!("sha256:{hash}").as_str()
    );
}

/// Asks grpcurl.
fn grpcurl(network: &Network, user: &User, token: &str, arguments: &[&str]) -> Output {
    let header = format!("authorization: Bearer {token}");
    let mut all = vec!["-plaintext", "-H", &header];
    let (options, call) = arguments.split_at(arguments.len() - 1);
    all.extend(options);
    all.extend([network.address()]);
    all.extend(call);
    Process::start(user.command(&tool("AITBC_TEST_GRPCURL"), &all)).wait()
}

#[test]
fn grpcurl_lists_and_calls_the_services() {
    let network = Network::start();
    let user = network.user("me");
    let token = user
        .types("aitbc token")
        .succeeds()
        .text()
        .trim()
        .to_owned();
    let listed = grpcurl(&network, &user, &token, &["list"])
        .succeeds()
        .text();
    for service in [
        "aitbc.v1.JobService",
        "aitbc.v1.MinerService",
        "aitbc.v1.NetworkService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
    ] {
        assert!(
            listed.lines().any(|line| line == service),
            "{service} is missing:\n{listed}"
        );
    }
    let health = grpcurl(&network, &user, &token, &["grpc.health.v1.Health/Check"]).succeeds();
    assert!(health.text().contains("SERVING"), "{}", health.text());
    let submitted = user
        .types("aitbc client submit --model llama3 --prompt Hi --json")
        .succeeds()
        .json();
    let jobs = grpcurl(&network, &user, &token, &["aitbc.v1.JobService/ListJobs"])
        .succeeds()
        .json();
    assert_eq!(jobs["jobs"][0]["jobId"], submitted["job_id"]);
    let request = json!({"job_id": submitted["job_id"]}).to_string();
    let job = grpcurl(
        &network,
        &user,
        &token,
        &["-d", &request, "aitbc.v1.JobService/GetJob"],
    )
    .succeeds()
    .json();
    assert_eq!(job["job"]["status"], "JOB_STATUS_QUEUED");
    let refused = grpcurl(&network, &user, "x", &["aitbc.v1.JobService/ListJobs"]);
    assert!(
        refused.code != 0 && refused.stderr.contains("Unauthenticated"),
        "{refused:?}"
    );
}

#[test]
fn tokens_of_other_libraries_are_accepted() {
    let network = Network::start();
    let user = network.user("me");
    let _job = user
        .types("aitbc client submit --model llama3 --prompt Hi")
        .succeeds();
    let identity = user.identity();
    let seed = hex::encode(*identity.seed());
    let key = hex::encode(identity.public().0);
    let genesis = std::fs::read(network.data_dir().join("genesis.json")).expect("the genesis file");
    let chain = hex::encode(aitbc_common::genesis::chain_id(&genesis));

    let script = file("interop/jwt_token.py");
    let by_pyjwt = python(&user, &[text(&script), &seed, &key, &chain, "read"])
        .wait()
        .succeeds();
    let (script, modules) = (
        file("interop/jose_token.mjs"),
        tool("AITBC_TEST_NODE_MODULES"),
    );
    let arguments = [text(&script), text(&modules), &seed, &key, &chain, "read"];
    let by_jose = Process::start(user.command(&tool("AITBC_TEST_NODE"), &arguments))
        .wait()
        .succeeds();
    for made in [by_pyjwt, by_jose] {
        let token = made.text().trim().to_owned();
        let jobs = grpcurl(&network, &user, &token, &["aitbc.v1.JobService/ListJobs"])
            .succeeds()
            .json();
        assert_eq!(
            jobs["jobs"].as_array().map(Vec::len),
            Some(1),
            "{}: the same identity sees its job",
            made.command
        );
    }
}
