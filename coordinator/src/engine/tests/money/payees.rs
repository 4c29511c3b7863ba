//! Who is paid, where a wallet has said so in the ledger.

use aitbc_common::address::Address;

use super::*;

const WALLET: [u8; 20] = [0xaa; 20];
const OTHER: [u8; 20] = [0xbb; 20];

impl Rig {
    fn bind(&mut self, n: u8, wallet: Option<[u8; 20]>) {
        self.hear(vec![Notice::Bound {
            identity: miner_key(n),
            wallet: wallet.map(Address),
        }]);
    }

    fn pay_at(&mut self, n: u8, payout: [u8; 20]) -> Option<ErrorReason> {
        let change = MinerChange {
            slots: Some(1),
            models: Some(models()),
            payout: Some(payout),
            ..Default::default()
        };
        let reply = self.ask(Command::Register {
            key: miner_key(n),
            new_id: miner_id(n),
            change: Box::new(change),
        });
        refusal(&reply)
    }

    fn change_payee(&mut self, n: u8, payout: [u8; 20]) -> Option<ErrorReason> {
        let change = MinerChange {
            payout: Some(payout),
            ..Default::default()
        };
        let reply = self.ask(Command::Update {
            key: miner_key(n),
            change: Box::new(change),
        });
        refusal(&reply)
    }
}

#[test]
fn a_bound_miner_is_paid_at_its_wallet_and_nowhere_else() {
    let refused = Some(ErrorReason::PayeeBound);
    let mut rig = Rig::new();
    rig.bind(1, Some(WALLET));
    for _restarted in [false, true] {
        assert_eq!(rig.pay_at(1, OTHER), refused);
        rig.restart();
    }
    assert_eq!(rig.pay_at(1, WALLET), None);
    assert_eq!(rig.change_payee(1, OTHER), refused);
    rig.bind(1, None);
    rig.restart();
    assert_eq!(rig.change_payee(1, OTHER), None);
}

#[test]
fn a_wallet_that_has_bound_a_miner_becomes_no_payee_of_others() {
    let mut rig = Rig::new();
    assert_eq!(rig.pay_at(2, WALLET), None, "nothing is bound yet");
    rig.bind(1, Some(WALLET));
    rig.restart();
    assert_eq!(rig.pay_at(3, WALLET), Some(ErrorReason::PayeeBound));
    assert_eq!(rig.pay_at(2, WALLET), None, "what stays is no change");
    rig.bind(3, Some(WALLET));
    assert_eq!(rig.pay_at(3, WALLET), None);
    rig.bind(1, None);
    assert_eq!(
        rig.pay_at(4, WALLET),
        Some(ErrorReason::PayeeBound),
        "one is left"
    );
    rig.bind(3, Some(OTHER));
    assert_eq!(rig.pay_at(4, WALLET), None);
}

#[test]
fn binding_changes_the_payee_of_the_next_assignment() {
    let mut rig = Rig::new();
    rig.miner(1, 1);
    assert_eq!(rig.change_payee(1, OTHER), None);
    let first = rig.submit(1, 1);
    rig.accept(1, attempt(first, 1));
    rig.bind(1, Some(WALLET));
    assert_eq!(rig.assignment(first).payee.0, OTHER, "this one is promised");
    rig.ask(completion(attempt(first, 1), 1));
    rig.restart();
    rig.open(1, 2, vec![], vec![]);
    rig.inventory(2, 1);
    let second = rig.submit(2, 1);
    assert_eq!(rig.assignment(second).payee.0, WALLET);
}
