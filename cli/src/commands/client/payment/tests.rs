use super::*;

#[test]
fn a_lock_never_allows_more_than_the_specification() {
    let told = |rate| GetPayableResponse {
        max_price_per_hour_micro_ait: rate,
        ..GetPayableResponse::default()
    };
    assert_eq!(highest_rate(Some(7), &told(Some(9))), 7);
    assert_eq!(highest_rate(None, &told(Some(9))), 9);
    for any in [
        highest_rate(None, &told(None)),
        highest_rate(Some(NO_MAX_RATE), &told(Some(9))),
    ] {
        assert_eq!(any, MAX_PRICE_PER_HOUR.0);
    }
}

#[test]
fn a_payment_reads_as_documented() {
    let mut paid = Paid {
        sent: Sent {
            id: [0x5c; 32],
            index: 13,
            time_ms: 0,
            from: "test_wallet".into(),
        },
        job: "job_01m83xj880emq8k9w39qsaekf4".parse().unwrap(),
        amount: MicroAit(10_000_000),
        missing: 0,
        settlement: None,
    };
    let id = "5c".repeat(32);
    let funded = format!(
        "Payment confirmed: job_01m83xj880emq8k9w39qsaekf4 is funded\n  transaction  0x{id} (height 13)     locked  10 AIT \
             from test_wallet; you pay what the job uses, the rest returns"
    );
    assert_eq!(paid.text(), funded);
    let json = format!(
        r#"{{"tx_hash":"0x{id}","height":13,"index":13,"job_id":"job_01m83xj880emq8k9w39qsaekf4","status":"funded","payment_status":"funded","amount_ait":"10.000000","settlement":null}}"#
    );
    assert_eq!(paid.json().to_string(), json);
    let part = Paid {
        missing: 2_500_000,
        ..paid.clone()
    };
    let waits = format!("Payment confirmed: {} waits for 2.5 AIT more\n", part.job);
    assert!(part.text().starts_with(&waits), "{}", part.text());
    let document = part.json();
    assert_eq!(
        (&document["status"], &document["missing_ait"]),
        (&"pending".into(), &"2.500000".into())
    );
    paid.settlement = Some(Settlement {
        paid: 298,
        fee: 8,
        returned: 9_999_702,
        index: 14,
    });
    let settled = "\n  settled      0.000298 AIT (fee included), 9.999702 AIT returned";
    assert_eq!(paid.text(), format!("{funded}{settled}"));
    assert_eq!(paid.json()["settlement"]["fee_ait"], "0.000008");
}

#[test]
fn a_jobs_payment_is_told_where_there_is_one() {
    assert_eq!(job_payment(&Job::default()), None);
    let job = Job {
        locked_micro_ait: 10_000_000,
        paid_micro_ait: 298,
        fee_micro_ait: 8,
        returned_micro_ait: 9_999_702,
        ..Job::default()
    };
    assert_eq!(
        job_payment(&job).unwrap(),
        "10 AIT locked, 0.000298 AIT paid (0.000008 AIT of it fee), 9.999702 AIT returned"
    );
}
