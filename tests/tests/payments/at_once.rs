//! Several programs spend from one wallet at once: each transaction has a nonce of its own, none is lost, none is made
//! twice.

use super::{OTHER, available, count, network_and_user, scripted, wallet};

/// Programs at once.
const MANY: usize = 6;

#[test]
fn programs_of_one_user_take_turns() {
    let (network, user) = network_and_user();
    wallet(&network, &user, "test_wallet");
    let started: Vec<_> = (1..=MANY)
        .map(|n| user.starts(&format!("aitbc wallet send {OTHER} {n} --json")))
        .collect();
    let mut sent = Vec::new();
    for mut process in started {
        let answer = process.wait().succeeds().json();
        sent.push(answer["tx_hash"].as_str().expect("an id").to_owned());
    }
    sent.sort_unstable();
    sent.dedup();
    assert_eq!(sent.len(), MANY);
    assert_eq!(count(&user, "sent"), MANY);
    // 1 + 2 + … + 6.
    assert_eq!(available(&user), "79.000000");
    let _sound = user.types("aitbc ledger audit").succeeds();
}

#[test]
fn a_wallet_on_two_machines_pays_what_it_says_it_paid() {
    let (network, user) = network_and_user();
    wallet(&network, &user, "test_wallet");
    let other = scripted(&network, "laptop");
    let seed = network.folder().join("test_wallet.seed");
    let line = format!(
        "aitbc wallet import --name copy --seed-phrase-file {}",
        seed.display()
    );
    let _imported = other.types(&line).succeeds();
    let started: Vec<_> = [&user, &other]
        .iter()
        .cycle()
        .take(MANY)
        .map(|user| user.starts(&format!("aitbc wallet send {OTHER} 1")))
        .collect();
    let mut paid = 0;
    for mut process in started {
        let output = process.wait();
        if output.code == 0 {
            paid += 1;
        } else {
            // Somebody else took the nonce between the look and the transaction.
            output.refuses(output.code, "nonce");
        }
    }
    assert!(paid >= 1);
    assert_eq!(count(&user, "sent"), paid);
    assert_eq!(available(&user), format!("{}.000000", 100 - paid));
    // Nothing is left that would be sent later.
    for user in [&user, &other] {
        let _next = user
            .types(&format!("aitbc wallet send {OTHER} 1"))
            .succeeds();
    }
    assert_eq!(count(&user, "sent"), paid + 2);
    let _sound = user.types("aitbc ledger audit").succeeds();
}
