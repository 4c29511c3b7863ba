//! Jobs that somebody polls and completes by hand.

use aitbc_tests::harness::Network;

use super::job_id;

#[test]
fn poll_extend_complete_and_verify() {
    let network = Network::start();
    let (client, miner) = (network.user("client"), network.user("miner"));
    let _registered = miner
        .types("aitbc miner register --price-per-hour 0.5")
        .succeeds();
    let submitted = client
        .types("aitbc client submit --type inference --model llama3 --prompt Hello")
        .succeeds();
    let job = job_id(&submitted.text());

    let polled = miner
        .types("aitbc miner poll --wait --lease 1m --json")
        .succeeds()
        .json();
    assert_eq!(polled["job"]["job_id"], job.as_str());
    let _extended = miner.types(&format!("aitbc miner extend {job}")).succeeds();
    let completed = miner
        .types(&format!(
            "printf 'Hellö, world' | aitbc miner complete {job} --output -"
        ))
        .succeeds();
    assert!(
        completed.text().contains("completed"),
        "{}",
        completed.text()
    );

    let result = client
        .types(&format!(
            "aitbc client result {job} --receipt receipt.json --output answer.txt"
        ))
        .succeeds();
    assert!(
        result.stderr.contains("signed by rig-1"),
        "{}",
        result.stderr
    );
    let status = client
        .types(&format!("aitbc client status {job}"))
        .succeeds();
    let verified = client.types("aitbc client verify receipt.json").succeeds();
    for shown in [result.stderr.clone(), status.text(), verified.text()] {
        assert!(shown.contains("manual (by hand)"), "{shown}");
        assert!(
            !shown.contains("sha256:0000") && !shown.contains("/s"),
            "{shown}"
        );
    }
    let fetched = client
        .types(&format!("aitbc client result {job}"))
        .succeeds();
    assert_eq!(fetched.stdout, "Hellö, world".as_bytes());
    let _checked = client
        .types("aitbc client verify receipt.json --output answer.txt")
        .succeeds();

    // Another output does not fit the receipt, nor does a changed receipt.
    let _other = client.types("printf 'Hello, world' >other.txt; exec aitbc client verify receipt.json --output other.txt").exits(8);
    let damage = r#"sed 's/"receipt_sig": "...../"receipt_sig": "AAAAA/' receipt.json >damaged.json; exec aitbc client verify damaged.json"#;
    let _damaged = client.types(damage).exits(8);
    let cut = "head -c 500 receipt.json >cut.json; exec aitbc client verify cut.json";
    let _no_receipt = client.types(cut).exits(2);
}

#[test]
fn a_job_that_is_failed_goes_to_another_miner() {
    let network = Network::start();
    let (client, one, two) = (
        network.user("client"),
        network.user("one"),
        network.user("two"),
    );
    for miner in [&one, &two] {
        let _registered = miner.types("aitbc miner register").succeeds();
    }
    let submitted = client
        .types("aitbc client submit --type inference --model llama3 --prompt Hello")
        .succeeds();
    let job = job_id(&submitted.text());
    let _polled = one.types("aitbc miner poll").succeeds();
    let failed = one
        .types(&format!("aitbc miner fail {job} --message 'out of disk'"))
        .succeeds();
    assert!(failed.text().contains("queued"), "{}", failed.text());

    let polled = two
        .types("aitbc miner poll --wait 30s --json")
        .succeeds()
        .json();
    assert_eq!(polled["job"]["job_id"], job.as_str());
    assert_eq!(polled["job"]["attempt"], 2);
    let status = client
        .types(&format!("aitbc client status {job} --json"))
        .succeeds()
        .json();
    assert_eq!(status["retries_spent"], 1);
    assert_eq!(status["attempts"][0]["outcome"], "failed");
    let _completed = two
        .types(&format!(
            "printf done | aitbc miner complete {job} --output -"
        ))
        .succeeds();
    assert_eq!(
        client
            .types(&format!("aitbc client result {job}"))
            .succeeds()
            .stdout,
        b"done"
    );
}
