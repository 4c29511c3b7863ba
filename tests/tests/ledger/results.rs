//! Where a result stands in the ledger: shown with it, kept with its receipt, and checked by others without a network.

use aitbc_common::identity::Identity;
use aitbc_common::layouts::{Record, RecordBody};
use aitbc_tests::harness::{Network, Process, User, tool, wait_for};
use aitbc_tests::lying_proxy::{Lie, LyingProxy};
use serde_json::Value;

struct Lab {
    network: Network,
    proxy: LyingProxy,
    client: User,
    miner: User,
}

fn lab() -> Lab {
    let network = Network::start();
    let proxy = LyingProxy::start(network.address());
    proxy.has_log_key(log_key(&network));
    let client = network
        .user("client")
        .with("AITBC_COORDINATOR", proxy.address());
    let miner = network.user("miner").with("OLLAMA_HOST", "127.0.0.1:1");
    let _registered = miner.types("aitbc miner register").succeeds();
    Lab {
        network,
        proxy,
        client,
        miner,
    }
}

fn log_key(network: &Network) -> Identity {
    let digits =
        std::fs::read_to_string(network.data_dir().join("log.key")).expect("the log's key");
    let mut seed = [0; 32];
    hex::decode_to_slice(digits.trim(), &mut seed).expect("64 digits");
    Identity::from_seed(&seed)
}

impl Lab {
    /// A job that was done by hand.
    fn done(&self, options: &str) -> String {
        let line = format!("aitbc client submit --model llama3 --prompt Hi --json {options}");
        let submitted = self.client.types(&line).succeeds().json();
        let job = submitted["job_id"].as_str().expect("a job id").to_owned();
        let _polled = self.miner.types("aitbc miner poll --wait 30s").succeeds();
        let _completed = self
            .miner
            .types(&format!(
                "printf Hello | aitbc miner complete {job} --output -"
            ))
            .succeeds();
        job
    }

    /// Waits until so many acknowledgements are recorded: nothing else follows from what was done, so that the ledger rests.
    fn acknowledged(&self, count: usize) {
        let auditor = self.network.user("auditor");
        wait_for("the acknowledgements", || {
            let export = auditor.types("aitbc ledger export").succeeds().text();
            let leaves = export.lines().filter_map(|line| {
                let line: Value = serde_json::from_str(line).ok()?;
                hex::decode(line["leaf"].as_str()?).ok()
            });
            let records = leaves.filter_map(|leaf| Record::decode(&leaf).ok());
            let acknowledged =
                records.filter(|record| matches!(record.body, RecordBody::Acknowledgement(..)));
            (acknowledged.count() == count).then_some(())
        });
    }

    fn result(&self, job: &str) -> Value {
        let line = format!("aitbc client result {job} --json");
        self.client.types(&line).succeeds().json()
    }
}

#[test]
fn a_result_shows_its_place_in_the_ledger_and_its_receipt_proves_it_offline() {
    let lab = lab();
    let job = lab.done("");
    let line = format!("aitbc client result {job} --receipt receipt.json");
    let shown = lab.client.types(&line).succeeds();
    assert_eq!(shown.stdout, b"Hello");
    assert!(
        shown.stderr.contains("✓ in the ledger: leaf "),
        "{}",
        shown.stderr
    );
    let ledger = lab.result(&job)["proof"]["ledger"].clone();
    assert_eq!(ledger["inclusion"], "valid");
    assert_eq!(ledger["record"]["type"], "receipt");
    assert!(ledger["leaf"].as_u64() < ledger["tree_size"].as_u64());
    let status = lab
        .client
        .types(&format!("aitbc client status {job} --json"))
        .succeeds()
        .json();
    assert_eq!(status["verdict"], "matches");
    assert!(status["acknowledged_at"].is_string(), "{status}");

    // The client's own machine knows the ledger; a stranger's has only the file's word for its key.
    let text = std::fs::read_to_string(lab.client.home_dir().join("receipt.json")).expect("a file");
    let stranger = lab.network.user("stranger");
    let stranger = stranger.with("AITBC_COORDINATOR", "127.0.0.1:1");
    for (user, key) in [(&lab.client, "known"), (&stranger, "not_known")] {
        std::fs::write(user.home_dir().join("receipt.json"), &text).expect("a folder");
        let checked = user
            .types("aitbc client verify receipt.json --json")
            .succeeds();
        let proof = &checked.json()["proof"];
        assert_eq!(proof["ledger"]["inclusion"], "valid", "{proof}");
        assert_eq!(proof["ledger"]["log_key"], key, "{proof}");
        assert_eq!(proof["acknowledgement"], "matches", "{proof}");
        assert_eq!(
            checked.stderr.contains("LOG_KEY_NOT_KNOWN"),
            key == "not_known",
            "{checked:?}"
        );
    }
    falsified(&stranger, &text);

    let found = read_by_python(&stranger, "receipt.json");
    assert_eq!(found["job_id"], job.as_str());
    assert_eq!(
        (&found["leaf"], &found["type"]),
        (&ledger["leaf"], &7.into())
    );
    assert_eq!(found["verdict"], 1);
}

/// Somebody else's program comes to the same.
fn read_by_python(user: &User, file: &str) -> Value {
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/receipt_file.py");
    let arguments = [script.to_str().expect("UTF-8"), file];
    let python = user.command(&tool("AITBC_TEST_PYTHON"), &arguments);
    Process::start(python).wait().succeeds().json()
}

/// Whatever is changed in a receipt file is noticed; what is no receipt file is a mistake of the command.
fn falsified(user: &User, text: &str) {
    let file: Value = serde_json::from_str(text).expect("JSON");
    let check = |name: &str, bytes: &[u8]| {
        let path = user.home_dir().join("changed.json");
        std::fs::write(path, bytes).expect("a folder");
        let output = user.types("aitbc client verify changed.json --json");
        assert!(output.stdout.is_empty(), "{name}: {output:?}");
        output.code
    };
    let places: [&[&str]; 8] = [
        &["spec"],
        &["receipt"],
        &["receipt_sig"],
        &["assignment"],
        &["acknowledgement"],
        &["acknowledgement_sig"],
        &["ledger", "leaf"],
        &["ledger", "log_key"],
    ];
    for place in places {
        let mut changed = file.clone();
        let value = place.iter().fold(&mut changed, |at, key| &mut at[*key]);
        let base64 = value.as_str().expect("a text");
        // A character in the middle: the bytes of that place change, and nothing else.
        let (before, after) = base64.split_at(base64.len() / 2);
        let other = if after.starts_with('A') { "B" } else { "A" };
        *value = Value::from(format!("{before}{other}{}", &after[1..]));
        assert_eq!(
            check(&place.join("."), changed.to_string().as_bytes()),
            8,
            "{place:?}"
        );
    }
    let proof = file["ledger"]["proof"].as_str().expect("a text");
    let index: u64 = proof
        .lines()
        .find_map(|line| line.strip_prefix("index "))
        .and_then(|index| index.parse().ok())
        .expect("an index");
    let root = proof
        .rsplit("\n\n")
        .nth(1)
        .and_then(|lines| lines.lines().last())
        .expect("a root");
    for other in [
        proof.replace(&format!("index {index}"), &format!("index {}", index - 1)),
        proof.replace(root, &format!("A{}", &root[1..])),
        proof.replace("@v1", "@v2"),
        String::new(),
    ] {
        assert_ne!(other, proof);
        let mut changed = file.clone();
        changed["ledger"]["proof"] = Value::from(other.clone());
        assert_eq!(check(&other, changed.to_string().as_bytes()), 8, "{other}");
    }
    // A record that is in the ledger, but of something else: the genesis file.
    for bytes in ["", "{}", "[1,2]", "a receipt", &text[..text.len() / 2]] {
        assert_eq!(check(bytes, bytes.as_bytes()), 2, "{bytes}");
    }
    let mut broken = file;
    broken["receipt"] = Value::from("!");
    assert_eq!(check("base64", broken.to_string().as_bytes()), 2);
}

#[test]
fn lies_about_the_record_of_a_result_are_caught_and_silence_is_said() {
    let lab = lab();
    let (first, second) = (lab.done(""), lab.done(""));
    let _seen = lab.result(&first);
    let _seen = lab.result(&second);
    // A fork is told from a longer log where both have the same length.
    lab.acknowledged(2);
    let _seen = lab.result(&second);
    let line = format!("aitbc client result {second} --json");
    for (lie, reason) in [
        (Lie::InclusionChanged, "LEDGER_PROOF_INVALID"),
        (Lie::OtherEvidence, "LEDGER_PROOF_INVALID"),
        (Lie::EvidenceChanged, "LEDGER_PROOF_INVALID"),
        (Lie::EvidenceRepeated, "LEDGER_PROOF_INVALID"),
        (Lie::Rollback, "LEDGER_ROLLBACK"),
        (Lie::Fork, "LEDGER_FORK"),
    ] {
        lab.proxy.tells(lie);
        let caught = lab.client.types(&line).exits(8);
        assert_eq!(caught.json_error()["reason"], reason, "{lie:?}");
        assert!(caught.stdout.is_empty(), "{lie:?}: {caught:?}");
    }
    lab.proxy.tells(Lie::EvidenceWithheld);
    let silent = lab.client.types(&line).succeeds();
    assert_eq!(silent.json()["proof"]["ledger"], Value::Null);
    assert!(silent.stderr.contains("NOT_YET_LOGGED"), "{silent:?}");
    lab.proxy.tells(Lie::None);
    let third = lab.done("");
    lab.proxy.tells(Lie::NotAcknowledged);
    let line = format!("aitbc client result {third} --json");
    let said = lab.client.types(&line).succeeds();
    assert!(said.stderr.contains("NOT_ACKNOWLEDGED"), "{said:?}");
    assert_eq!(said.json()["proof"]["ledger"]["inclusion"], "valid");
    lab.proxy.tells(Lie::None);
    let later = lab.client.types(&line).succeeds();
    assert!(later.stderr.is_empty(), "{later:?}");
}

/// What the receipt of a polled job will say that its miner saw of the ledger.
fn pretends(miner: &User, job: &str, size: u64) {
    let folder = miner.aitbc_home().join("miners/rig-1/polled");
    let file = folder.join(format!("{job}.json"));
    let text = std::fs::read_to_string(&file).expect("a polled job");
    let mut polled: Value = serde_json::from_str(&text).expect("JSON");
    polled["work_ms"] = 5.into();
    polled["seen"] = serde_json::json!([size, "11".repeat(32)]);
    std::fs::write(&file, polled.to_string()).expect("a folder");
}

#[test]
fn a_client_that_is_shown_another_ledger_than_the_miner_hears_of_it() {
    let lab = lab();
    let job = lab.done("");
    let _honest = lab.result(&job);
    // A machine that has seen nothing yet: the miner's word is all there is to hold against the coordinator's.
    let folder = lab.client.home().state_dir().join("ledger");
    std::fs::remove_dir_all(&folder).expect("it was kept");
    lab.proxy.tells(Lie::ConsistencyChanged);
    let result = format!("aitbc client result {job} --json");
    let caught = lab.client.types(&result).exits(8);
    let error = caught.json_error();
    assert_eq!(error["reason"], "LEDGER_WITNESS_CONTRADICTS", "{error}");
    assert!(caught.stdout.is_empty(), "{caught:?}");
    let message = error["message"].as_str().expect("a text");
    let (_, evidence) = message.split_once("evidence: ").expect("it is kept");
    let texts: Vec<String> = evidence
        .split(" and ")
        .map(|path| std::fs::read_to_string(path).expect("a file"))
        .collect();
    assert!(texts[0].starts_with("aitbc/"), "{texts:?}");
    assert!(texts[1].starts_with("receipt of ed25519:"), "{texts:?}");
}

#[test]
fn a_receipt_of_a_miner_that_saw_another_ledger_is_refused() {
    let lab = lab();
    let submit = "aitbc client submit --model llama3 --prompt Hi --json";
    let submitted = lab.client.types(submit).succeeds().json();
    let job = submitted["job_id"].as_str().expect("a job id");
    let _polled = lab.miner.types("aitbc miner poll --wait 30s").succeeds();
    let complete = format!("printf Hello | aitbc miner complete {job} --output -");
    // Other records than the log's first two; and more than it has.
    for size in [2, 1_000_000] {
        pretends(&lab.miner, job, size);
        lab.miner.types(&complete).refuses(8, "another ledger");
    }
}

#[test]
fn what_was_paid_is_proven_with_the_result() {
    let lab = lab();
    let _priced = lab
        .miner
        .types("aitbc miner register --price-per-hour 3600")
        .succeeds();
    let client = lab
        .client
        .clone()
        .with("AITBC_WALLET_PASSWORD", "correct horse");
    let _wallet = client
        .types("aitbc wallet create --name mine --seed-phrase-file seed.txt")
        .succeeds();
    let submit = "aitbc client submit --model llama3 --prompt Hi --hold --json";
    let submitted = client.types(submit).succeeds().json();
    let job = submitted["job_id"].as_str().expect("a job id").to_owned();
    // Three locks, of which the work uses two up: at 1 AIT a second.
    for amount in ["0.001", "0.002", "20"] {
        let pay = format!("aitbc client pay {job} --amount {amount}");
        let _paid = client.types(&pay).succeeds();
    }
    let _polled = lab.miner.types("aitbc miner poll --wait 30s").succeeds();
    let complete = format!("printf Hello | aitbc miner complete {job} --output -");
    let _completed = lab.miner.types(&complete).succeeds();
    wait_for("the settlement", || {
        let status = format!("aitbc client status {job} --json");
        let status = client.types(&status).succeeds().json();
        (status["payment_status"] == "settled").then_some(())
    });
    let line = format!("aitbc client result {job} --receipt paid.json --json");
    let result = client.types(&line).succeeds().json();
    assert_eq!(result["proof"]["ledger"]["record"]["type"], "post");
    let verified = client
        .types("aitbc client verify paid.json --json")
        .succeeds();
    let proof = &verified.json()["proof"];
    assert_eq!(proof["ledger"]["record"]["type"], "post");
    assert_eq!(read_by_python(&client, "paid.json")["type"], 3);
    for lie in [Lie::PaymentOverstated, Lie::EvidenceCut] {
        lab.proxy.tells(lie);
        let caught = client.types(&line).exits(8);
        let reason = caught.json_error()["reason"].clone();
        assert!(
            ["LEDGER_PAYMENT_DIFFERS", "LEDGER_RECORD_DIFFERS"]
                .contains(&reason.as_str().unwrap_or_default()),
            "{lie:?}: {caught:?}"
        );
    }
}
