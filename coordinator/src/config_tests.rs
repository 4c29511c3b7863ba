//! Settings, read and refused.

use aitbc_common::runtime::errors::ExitCode;

use super::*;

fn options(arguments: &[&str]) -> Options {
    Options::parse_from(std::iter::once("aitbc-coordinator").chain(arguments.iter().copied()))
}

#[test]
fn options_win_over_defaults() {
    let config = Config::load(&options(&[
        "--dev",
        "--listen",
        "localhost:0",
        "--store",
        "memory",
        "--reflection",
        "false",
    ]))
    .unwrap();
    assert_eq!(config.address().unwrap(), "127.0.0.1:0".parse().unwrap());
    assert_eq!(config.store, StoreKind::Memory);
    assert!(!config.server().reflection);
    assert_eq!(config.limits(), LimitConfig::default());
    assert!(
        Config::load(&options(&["--dev"]))
            .unwrap()
            .server()
            .reflection
    );
}

#[test]
fn a_setting_that_does_not_parse_points_to_the_coordinators_help() {
    let name = format!("aitbc-coordinator-{}.toml", std::process::id());
    let file = std::env::temp_dir().join(name);
    std::fs::write(&file, "connections = \"many\"\n").unwrap();
    let path = file.display().to_string();
    let error = Config::load(&options(&["--dev", "--config", &path])).unwrap_err();
    std::fs::remove_file(file).unwrap();
    assert_eq!(error.exit, ExitCode::Usage);
    let hint = error.hint.unwrap();
    assert!(hint.contains("aitbc-coordinator --help"), "{hint}");
}

#[test]
fn what_cannot_work_is_refused_with_a_hint() {
    for arguments in [
        &["--listen", "0.0.0.0:50051"][..],
        &["--tls-key", "key.pem"],
        &["--tls-certificate", "chain.pem"],
        &["--store", "memory"],
        &["--metrics-listen", "0.0.0.0:9090"],
        &["--metrics-listen", "9090"],
        &["--dev", "--listen", "0.0.0.0:50051"],
        &[
            "--dev",
            "--listen",
            "0.0.0.0:50051",
            "--tls-certificate",
            "c",
            "--tls-key",
            "k",
        ],
        &["--dev", "--listen", "nonsense"],
        &["--dev", "--config", "/nonexistent.toml"],
    ] {
        let error = Config::load(&options(arguments)).unwrap_err();
        assert!(error.hint.is_some(), "{arguments:?}");
    }
    let plain = Config::load(&options(&["--listen", "[::]:1"])).unwrap_err();
    assert_eq!(plain.exit, ExitCode::Usage);
    assert!(plain.hint.unwrap().contains("--tls-certificate"));
}

#[test]
fn a_real_network_is_encrypted_beyond_loopback_and_bounded() {
    let loopback = Config::load(&options(&[])).unwrap();
    assert!(!loopback.server().reflection);
    assert_eq!(loopback.limits(), LimitConfig::STANDARD);
    assert!(loopback.metrics_address().unwrap().is_none());
    let beyond = &[
        "--listen",
        "0.0.0.0:1",
        "--tls-certificate",
        "c",
        "--tls-key",
        "k",
    ];
    let beyond = Config::load(&options(beyond)).unwrap();
    assert!(beyond.tls().unwrap().is_some());
    let metrics = Config::load(&options(&["--metrics-listen", "localhost:9"])).unwrap();
    assert!(metrics.metrics_address().unwrap().is_some());
}

#[test]
fn init_takes_options_of_its_own_only() {
    let parse = |words: &str| {
        Options::try_parse_from(std::iter::once("aitbc-coordinator").chain(words.split(' ')))
    };
    assert!(parse("init --data-dir x --fee-bps 10000").is_ok());
    assert!(parse("init --fee-bps 10001").is_err());
    assert!(parse("init --previous x").is_err());
    assert!(parse("--dev init").is_err());
}

#[test]
fn a_file_is_read_and_typing_errors_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    let path = file.to_str().unwrap();
    std::fs::write(
        &file,
        "dev = true\nlisten = \"127.0.0.1:1\"\ncontent_days = 1\n",
    )
    .unwrap();
    let config = Config::load(&options(&["--config", path])).unwrap();
    assert_eq!(config.server().connections_per_address, 20_000);
    assert_eq!(
        (config.listen.as_str(), config.retention().content_ms),
        ("127.0.0.1:1", DAY_MS)
    );
    std::fs::write(&file, "dev = true\nlissen = \"x\"\n").unwrap();
    assert!(
        Config::load(&options(&["--config", path]))
            .unwrap_err()
            .hint
            .unwrap()
            .contains("listen")
    );
}

#[test]
fn a_misspelt_variable_is_told_and_a_clusters_own_are_let_be() {
    let names = [
        "AITBC_COORDINATOR_LISTN",
        "AITBC_COORDINATOR_LISTEN",
        "AITBC_COORDINATOR_SERVICE_HOST",
        "AITBC_COORDINATOR_PORT_50051_TCP_ADDR",
        "LISTN",
    ];
    let misspelt = Config::misspelt_variables(names.map(str::to_owned).into_iter());
    let expected = ("AITBC_COORDINATOR_LISTN", "AITBC_COORDINATOR_LISTEN");
    assert_eq!(misspelt, [(expected.0.to_owned(), expected.1.to_owned())]);
}
