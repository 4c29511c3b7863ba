//! A GPU is rented, used, prolonged and given back.

use aitbc_tests::harness::{Network, model_file, wait_for};
use serde_json::json;

use super::{document, renter};

#[test]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
fn a_gpu_is_rented_used_prolonged_and_given_back() {
    let mut network = Network::start();
    let provider = network
        .user("provider")
        .with("OLLAMA_HOST", "127.0.0.1:1")
        .with("AITBC_WALLET_PASSWORD", "a password");
    let (first, second) = (renter(&network, "first"), renter(&network, "second"));
    let _registered = provider
        .types("aitbc miner register --gpus '1x RTX 4090' --price-per-hour 1000")
        .succeeds();
    let listed = document(
        &provider,
        "aitbc marketplace gpu register --model 'RTX 4090' --hourly-rate 6",
    );
    let listing = listed["listing_id"].as_str().expect("an id").to_owned();
    let rent = format!("aitbc marketplace rent {listing} --hours 2");
    first.types(&rent).refuses(1, "cannot be rented now");
    assert_eq!(
        document(&first, "aitbc wallet balance")["escrow_ait"],
        "0.000000"
    );

    let mut mining = provider.starts(&format!(
        "aitbc miner mine --model llama3={} --threads 1 --context 1024 --continuous",
        model_file().display()
    ));
    wait_for("the GPU to be free", || {
        let line = "aitbc marketplace offers list --available";
        let offers = document(&first, line);
        (offers["offers"].as_array().map(Vec::len) == Some(1)).then_some(())
    });
    first
        .types(&format!("{rent} --max-price 5.9"))
        .refuses(1, "6 AIT");
    let rental = document(&first, &rent);
    assert_eq!(
        (&rental["status"], &rental["locked_ait"]),
        (&json!("active"), &json!("12.000000")),
        "{rental}"
    );
    // One has it; the other's money is not kept.
    second.types(&rent).refuses(1, "cannot be rented now");
    let id = rental["rental_id"].as_str().expect("an id").to_owned();
    second
        .types(&format!("aitbc marketplace release {id}"))
        .refuses(5, "no rental of yours");
    assert_eq!(
        document(&second, "aitbc wallet balance")["escrow_ait"],
        "0.000000"
    );

    let submit = format!(
        r#"aitbc client submit --model llama3 --rental {id} --data '{{"prompt":"Hi","options":{{"num_predict":4}}}}'"#
    );
    second.types(&submit).refuses(5, "rental");
    let under_last = submit.replace(&id, "last");
    second.types(&under_last).refuses(5, "you have no rental");
    let _submitted = first.types(&under_last).succeeds();
    let _result = first.types("aitbc client result last --wait").succeeds();

    let longer = document(&first, "aitbc marketplace extend last --hours 1");
    assert_eq!(longer["locked_ait"], "18.000000", "{longer}");
    network.kill_coordinator();
    network.restart_coordinator();
    let kept = document(&first, "aitbc marketplace rentals")["rentals"][0].clone();
    assert_eq!(
        (&kept["status"], &kept["ends_at"]),
        (&json!("active"), &longer["ends_at"])
    );
    let theirs = document(&provider, "aitbc marketplace rentals --as-provider");
    assert_eq!(theirs["rentals"][0]["rental_id"], id.as_str());

    let _released = first.types("aitbc marketplace release last").succeeds();
    first.types(&under_last).refuses(5, "no rental of yours");
    first
        .types("aitbc marketplace extend last --hours 1")
        .refuses(1, "is over");
    let over = wait_for("the last payment", || {
        let rental = document(&first, "aitbc marketplace rentals")["rentals"][0].clone();
        (rental["returned_ait"] != "0.000000").then_some(rental)
    });
    assert_eq!(
        (&over["status"], &over["end"]),
        (&json!("ended"), &json!("released")),
        "{over}"
    );
    // A minute at least, at 6 AIT an hour; all that was locked is paid or returned.
    let ait = |field: &str| {
        over[field]
            .as_str()
            .and_then(|text| text.parse::<f64>().ok())
    };
    assert!(ait("paid_ait") >= Some(0.1), "{over}");
    wait_for("an empty escrow", || {
        (document(&first, "aitbc wallet balance")["escrow_ait"] == "0.000000").then_some(())
    });
    let audited = first.types("aitbc ledger audit").succeeds().text();
    assert!(audited.contains("open locks  0"), "{audited}");
    mining.kill();
}

#[test]
fn bad_terms_are_refused_before_anything_is_signed() {
    let network = Network::start();
    let user = renter(&network, "user");
    let listing = "listing_01m83xj880e4ma4jz41b93y214";
    for (line, code, part) in [
        (format!("rent {listing} --hours 0"), 2, "1 to 720"),
        (format!("rent {listing} --hours -1"), 2, "1 to 720"),
        (format!("rent {listing} --for 59s"), 2, "1m to 30d"),
        (format!("rent {listing} --for 65s"), 2, "1m to 30d"),
        (format!("rent {listing} --for NaN"), 2, "1m to 30d"),
        (format!("rent {listing}"), 2, "--hours"),
        (
            format!("rent {listing} --hours 1 --max-price NaN"),
            2,
            "NaN",
        ),
        ("rent job_x --hours 1".to_owned(), 2, "listing"),
        (format!("rent {listing} --hours 1"), 5, "listing"),
        (
            "release rental_01m83xj880e4ma4jz41b93y214".to_owned(),
            5,
            "no rental of yours",
        ),
        ("extend last --hours 1".to_owned(), 5, "rental"),
    ] {
        user.types(&format!("aitbc marketplace {line}"))
            .refuses(code, part);
    }
    let _listed = network
        .user("provider")
        .types("aitbc marketplace gpu register --model 'RTX 4090' --hourly-rate 6")
        .succeeds();
    let offers = document(&user, "aitbc marketplace offers list");
    let listing = &offers["offers"][0]["listing_id"];
    let listing = listing.as_str().expect("an id");
    for (options, code, part) in [
        ("--hours 1", 1, "cannot be rented now: no miner yet"),
        ("--hours 1 --max-price 5.9", 1, "it costs 6 AIT/hour"),
    ] {
        user.types(&format!("aitbc marketplace rent {listing} {options}"))
            .refuses(code, part);
    }
    // The miner was registered with this wallet as its payee.
    let owner = user.with("OLLAMA_HOST", "127.0.0.1:1");
    let _registered = owner
        .types("aitbc miner register --gpus '1x A100' --price-per-hour 1")
        .succeeds();
    let own = document(
        &owner,
        "aitbc marketplace gpu register --model A100 --hourly-rate 1",
    );
    let own = own["listing_id"].as_str().expect("an id");
    owner
        .types(&format!("aitbc marketplace rent {own} --hours 1"))
        .refuses(1, "this is your own GPU");
    let history = document(&owner, "aitbc wallet history");
    assert!(!history.to_string().contains("lock"), "{history}");
}
