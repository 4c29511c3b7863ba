//! A stake that is slashed, in the history of the vectors.

use aitbc_common::layouts::{Contradiction, ExpireReason, RecordBody, Slash, TransactionKind};

use super::cast::{BOB, MINER, OWNER, identity};
use super::counting;
use super::history::{DAY, History};
use super::records::contradiction;

fn slash(amount: u64, evidence: Contradiction) -> RecordBody {
    RecordBody::Slash(Box::new(Slash { amount, evidence }))
}

/// A miner that contradicts itself, with a stake of which a part is being unstaked.
pub fn slashing(history: &mut History) {
    let miner = identity(&MINER).public().0;
    let stake = |history: &mut History, name: &str, kind, amount| {
        history.transact(name, &BOB, kind, amount, miner, Vec::new())
    };
    stake(history, "stake to slash", TransactionKind::Stake, 4_999);
    let leaving = stake(
        history,
        "unstake a part to slash",
        TransactionKind::Unstake,
        2_000,
    );
    let evidence = contradiction(history.chain_id, 0x70, 2);
    refusals(history, &evidence);
    history.append("slash", slash(5_000, evidence.clone()));
    history.refuse_body(
        "slash of nothing",
        slash(0, contradiction(history.chain_id, 0x70, 3)),
    );
    stake(
        history,
        "stake after the slash",
        TransactionKind::Stake,
        900,
    );
    history.refuse_body("slash twice for one attempt", slash(900, evidence));
    let later = stake(
        history,
        "unstake after the slash",
        TransactionKind::Unstake,
        300,
    );
    history.seal();
    history.now += 7 * DAY;
    let unstaked = |lock, reason| RecordBody::Expire { lock, reason };
    use ExpireReason::{Forfeited, Unstaked};
    history.refuse_body("unstaked what was slashed", unstaked(leaving, Unstaked));
    history.refuse_body("forfeited what was not slashed", unstaked(later, Forfeited));
    history.append("forfeited", unstaked(leaving, Forfeited));
    history.append("unstaked later", unstaked(later, Unstaked));
}

fn refusals(history: &mut History, evidence: &Contradiction) {
    let forged = |at: usize| {
        let mut bytes = evidence.encode();
        bytes[at] ^= 1;
        Contradiction::decode(evidence.miner, &bytes).expect("two statements")
    };
    let last = evidence.encode().len() - 1;
    let second = evidence.first.encode().len();
    let turned = Contradiction {
        first: evidence.second.clone(),
        second: evidence.first.clone(),
        ..evidence.clone()
    };
    let same = Contradiction {
        second: evidence.first.clone(),
        ..evidence.clone()
    };
    let anothers = Contradiction {
        miner: identity(&OWNER).public(),
        ..evidence.clone()
    };
    for (name, amount, wrong) in [
        ("slash of more than is staked", 5_001, evidence.clone()),
        ("slash of what is available alone", 3_000, evidence.clone()),
        ("slash with a forged checkpoint", 5_000, forged(second - 1)),
        ("slash with a forged receipt", 5_000, forged(last)),
        ("slash with another attempt", 5_000, forged(4)),
        ("slash in another order", 5_000, turned),
        ("slash for one statement", 5_000, same),
        ("slash of another miner", 5_000, anothers),
        (
            "slash on another chain",
            5_000,
            contradiction(counting(0x01), 0x70, 2),
        ),
    ] {
        history.refuse_body(name, slash(amount, wrong));
    }
}
