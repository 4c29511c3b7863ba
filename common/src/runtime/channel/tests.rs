use super::*;

#[test]
fn addresses_read_and_show_the_same() {
    for (given, shown) in [
        ("127.0.0.1:50051", "http://127.0.0.1:50051"),
        ("localhost:1", "http://localhost:1"),
        ("[::1]:65535", "http://[::1]:65535"),
        ("http://127.0.0.1:50051/", "http://127.0.0.1:50051"),
        ("HTTPS://example.org:443", "https://example.org:443"),
        ("example.org:50051", "https://example.org:50051"),
        ("https://127.0.0.1:1", "https://127.0.0.1:1"),
    ] {
        assert_eq!(
            CoordinatorUrl::parse(given).unwrap().to_string(),
            shown,
            "{given}"
        );
    }
    assert!(CoordinatorUrl::parse("127.9.9.9:1").unwrap().is_loopback());
}

#[test]
fn what_is_no_address_is_refused_with_a_hint() {
    let long = "x".repeat(100_000);
    for bad in [
        "",
        ":",
        "127.0.0.1",
        "localhost",
        ":50051",
        "host:",
        "host:0",
        "host:65536",
        "host:-1",
        "http://example.org:1",
        "ftp://localhost:1",
        "http://",
        "localhost:1/path",
        "localhost:1?q",
        "user@localhost:1",
        "a b:1",
        "::1:50051",
        "host:5\n1",
        &long,
    ] {
        let error = CoordinatorUrl::parse(bad).unwrap_err();
        assert_eq!(error.exit, ExitCode::Usage, "{bad}");
        assert!(error.hint.is_some() && error.message.len() < 400, "{bad}");
    }
}

#[test]
fn tokens_are_renewed_before_they_end_and_after_the_clock_went_back() {
    let authorization = Authorization::new(
        Arc::new(Identity::from_seed(&[1; 32])),
        [2; 32],
        Scope::Client,
    );
    let first = authorization.header(1_000);
    assert_eq!(authorization.header(1_089), first);
    let second = authorization.header(1_090);
    assert_ne!(second, first);
    assert_ne!(authorization.header(500), second);
    let text = first.to_str().unwrap().strip_prefix("Bearer ").unwrap();
    assert_eq!(
        token::verify(text, &[2; 32], 1_001).unwrap().scope,
        Scope::Client
    );
}

fn honest_info() -> GetNetworkInfoResponse {
    let genesis = Genesis {
        allocations: std::collections::BTreeMap::new(),
        faucet: None,
        previous: None,
        auditors: Vec::new(),
        fee_bps: 250,
        log_key: [1; 32],
        profile: "dev".into(),
        random: [2; 32],
        service_key: [3; 32],
        version: 1,
    }
    .to_bytes();
    GetNetworkInfoResponse {
        chain_id: genesis::chain_id(&genesis).to_vec().into(),
        service_key: vec![3; 32].into(),
        genesis: genesis.into(),
        ..Default::default()
    }
}

#[test]
fn a_coordinator_must_agree_with_its_genesis_file() {
    let url = CoordinatorUrl::default();
    assert!(check_network(&url, &honest_info()).is_ok());
    let mut another_key = honest_info();
    another_key.service_key = vec![4; 32].into();
    let mut another_chain = honest_info();
    another_chain.chain_id = vec![4; 32].into();
    let mut short = honest_info();
    short.chain_id = vec![4; 31].into();
    for lie in [
        another_key,
        another_chain,
        short,
        GetNetworkInfoResponse::default(),
    ] {
        assert_eq!(
            check_network(&url, &lie).unwrap_err().exit,
            ExitCode::ProofFailed
        );
    }
}

#[tokio::test]
async fn nobody_there_is_exit_code_3_with_a_hint() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let url = CoordinatorUrl::parse(&free.to_string()).unwrap();
    let error = Connection::open(&url, Arc::new(Identity::from_seed(&[1; 32])), Scope::Read)
        .await
        .unwrap_err();
    assert_eq!(error.exit, ExitCode::Unreachable);
    assert!(
        error.message.ends_with("connection refused"),
        "{}",
        error.message
    );
    assert!(error.retryable && error.hint.is_some());
}
