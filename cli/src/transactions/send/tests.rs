use aitbc_common::wallet::WalletKey;

use super::*;

#[test]
fn only_the_ledgers_word_ends_a_transaction_that_may_be_recorded() {
    let status = |reason| Status::from(ApiError::new(reason, "x"));
    for (reason, fresh, sent_before) in [
        (ErrorReason::Nonce, true, true),
        (ErrorReason::InsufficientFunds, true, true),
        (ErrorReason::TransactionRefused, true, true),
        (ErrorReason::MinerNotBound, true, true),
        (ErrorReason::RateLimited, true, false),
        (ErrorReason::StorageFull, true, false),
        (ErrorReason::Unavailable, false, false),
        (ErrorReason::Internal, false, false),
    ] {
        assert_eq!(decides(&status(reason), false), fresh, "{reason:?}");
        assert_eq!(decides(&status(reason), true), sent_before, "{reason:?}");
    }
    assert!(!decides(&Status::unavailable("cut"), false));
    assert!(is_worth_repeating(&Status::deadline_exceeded("late")));
    assert!(!is_worth_repeating(&status(ErrorReason::Nonce)));
}

#[test]
fn an_earlier_transaction_is_the_same_where_it_asks_for_the_same() {
    let key = WalletKey::from_bytes(&[7; 32]).unwrap();
    let made = |kind, valid_until, payload: &[u8]| {
        let transaction = Transaction {
            kind,
            sign_mode: SignMode::Wallet,
            chain_id: [1; 32],
            public_key: [0; 33],
            account: key.address(),
            nonce: 4,
            valid_until,
            amount: 10,
            max_fee: 0,
            target: [2; 32],
            payload_hash: [0; 32],
        };
        SignedTransaction::by_wallet(transaction, payload.to_vec(), &key).unwrap()
    };
    let draft = |kind, payload| Draft {
        kind,
        amount: 10,
        target: [2; 32],
        payload,
        job: None,
        rental: None,
        refusal: None,
    };
    let memo = |text: &str| draft(TransactionKind::Transfer, Payload::Fixed(text.into()));
    let earlier = made(TransactionKind::Transfer, 0, b"October");
    assert!(same(&memo("October"), &earlier));
    assert!(!same(&memo("November"), &earlier));
    let more = Draft {
        amount: 11,
        ..memo("October")
    };
    assert!(!same(&more, &earlier));

    let terms = AllowTerms {
        expires_at: 5_000,
        seq: 3,
    };
    let earlier = made(TransactionKind::Allow, VALIDITY_MS + 1_000, &terms.encode());
    let allow = |term| draft(TransactionKind::Allow, Payload::Allowance(term));
    assert!(same(&allow(4_000), &earlier));
    assert!(!same(&allow(4_001), &earlier));
}
