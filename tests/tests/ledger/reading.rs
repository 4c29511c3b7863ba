//! Records and transactions, shown and proven.

use aitbc_tests::harness::{Network, Process};

use super::{AIT, Payer, somebody};

#[test]
fn a_transfer_is_shown_proven_and_explained() {
    let network = Network::start();
    let me = network.user("me");
    let hash = Payer::new(&me).transfers(10 * AIT, "for the fox");
    let shown = me
        .types(&format!("aitbc ledger tx {hash} --json"))
        .succeeds()
        .json();
    assert_eq!(shown["tx_hash"], hash.as_str());
    assert_eq!(
        (&shown["status"], &shown["resolution"]),
        (&"done".into(), &serde_json::Value::Null)
    );
    let record = &shown["record"];
    for (field, value) in [
        ("type", "tx"),
        ("kind", "transfer"),
        ("amount_ait", "10.000000"),
        ("memo", "for the fox"),
        ("to", &somebody().to_string()),
    ] {
        assert_eq!(record[field], value, "{record}");
    }
    assert_eq!(record["proof"]["inclusion"], "valid");
    let index = record["index"].as_u64().expect("a number");
    let same = me
        .types(&format!("aitbc ledger record {index} --json"))
        .succeeds();
    assert_eq!(&same.json()["signature"], &record["signature"]);
    let told = me.types(&format!("aitbc wallet verify {hash}")).succeeds();
    assert!(
        told.text().contains("✓") && told.text().contains("sent 10 AIT from"),
        "{told:?}"
    );
    for bad in ["x", "-1", "1e3", "18446744073709551616"] {
        me.types(&format!("aitbc ledger record {bad}"))
            .refuses(2, "no record's place");
    }
    me.types("aitbc ledger record 1000")
        .refuses(5, "there is no record 1000");
    let unknown = format!("aitbc wallet verify 0x{}", "11".repeat(32));
    me.types(&unknown).refuses(5, "no transaction");
    me.types("aitbc wallet verify 0x11")
        .refuses(2, "no transaction's hash");
}

#[test]
fn a_stake_on_its_way_out_is_proven_by_the_state() {
    let network = Network::start();
    let me = network.user("me");
    let hash = Payer::new(&me).unstakes();
    let shown = me
        .types(&format!("aitbc wallet verify {hash} --json"))
        .succeeds()
        .json();
    assert_eq!(shown["status"], "leaving", "{shown}");
    let told = me.types(&format!("aitbc wallet verify {hash}")).succeeds();
    assert!(told.text().contains("leaving; it is free at"), "{told:?}");
}

#[test]
fn a_new_chain_at_a_known_address_is_a_warning_on_loopback() {
    let mut network = Network::start();
    let me = network.user("me");
    let before = me.types("aitbc ledger checkpoint --json").succeeds().json();
    let _stopped = network.stop_coordinator();
    std::fs::remove_dir_all(network.data_dir()).expect("it is there");
    network.restart_coordinator();
    let after = me.types("aitbc ledger checkpoint --json").succeeds();
    assert!(after.stderr.contains("NETWORK_CHANGED"), "{after:?}");
    assert_ne!(after.json()["chain_id"], before["chain_id"]);
}

#[test]
fn commands_at_once_keep_the_newest_checkpoint() {
    let network = Network::start();
    let me = network.user("me");
    let mut payer = Payer::new(&me);
    for round in 0..4 {
        let mut running: Vec<Process> = (0..4)
            .map(|_| me.starts("aitbc ledger checkpoint --json"))
            .collect();
        payer.transfers(1, &format!("round {round}"));
        running.push(me.starts("aitbc ledger checkpoint --json"));
        let sizes = running
            .iter_mut()
            .map(|process| process.wait().succeeds().json()["size"].as_u64());
        let newest = sizes.max().flatten().expect("five sizes");
        let chain = hex::encode(payer.connection.chain_id());
        let kept = me
            .home()
            .state_dir()
            .join("ledger")
            .join(chain)
            .join("checkpoint");
        let kept = std::fs::read_to_string(kept).expect("it is kept");
        assert_eq!(kept.lines().nth(1), Some(newest.to_string().as_str()));
    }
}
