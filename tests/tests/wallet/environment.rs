//! Names, choices, folders, and what other processes can see.

use aitbc_tests::harness::{FakeOllama, Network, Script, wait_for};

use super::{JUNK_ADDRESS, PASSWORD, import_junk, scripted, stored};

#[test]
fn wallets_are_listed_chosen_and_shown() {
    let network = Network::without_coordinator();
    let user = scripted(&network);
    user.types("aitbc wallet show")
        .refuses(5, "aitbc wallet create");
    let empty = user.types("aitbc wallet list --json").succeeds().json();
    assert_eq!(empty["wallets"].as_array().map(Vec::len), Some(0));
    assert_eq!(import_junk(&network, &user, "one")["active"], true);
    assert_eq!(import_junk(&network, &user, "two")["active"], false);

    let shown = |user: &aitbc_tests::harness::User, line: &str| {
        user.types(line).succeeds().json()["name"].clone()
    };
    assert_eq!(shown(&user, "aitbc wallet show --json"), "one");
    assert_eq!(shown(&user, "aitbc wallet show two --json"), "two");
    let other = user.clone().with("AITBC_WALLET", "two");
    assert_eq!(shown(&other, "aitbc wallet show --json"), "two");
    assert_eq!(shown(&user, "aitbc wallet use two --json"), "two");
    assert_eq!(shown(&user, "aitbc wallet show --json"), "two");

    let list = user.types("aitbc wallet list").succeeds().text();
    assert_eq!(
        list,
        format!(
            "WALLET  ADDRESS                                     STATE\none     {JUNK_ADDRESS}\ntwo     {JUNK_ADDRESS}  active\n"
        )
    );
    let list = user.types("aitbc wallet list --json").succeeds().json();
    assert_eq!(list["wallets"][1]["active"], true);
    assert_eq!(list["wallets"][1]["address"], JUNK_ADDRESS);
    user.types("aitbc wallet use tow")
        .refuses(5, "did you mean");
    let overridden = other.types("aitbc wallet use one").succeeds();
    assert!(
        overridden.stderr.contains("AITBC_WALLET"),
        "{}",
        overridden.stderr
    );

    // One damaged file does not hide the others.
    std::fs::write(user.aitbc_home().join("wallets/one.json"), "{").expect("writable");
    let list = user.types("aitbc wallet list").succeeds();
    assert!(list.text().contains("two") && list.stderr.contains("one.json"));
    user.types("aitbc wallet show one").refuses(4, "one.json");
}

#[test]
fn names_that_are_none_are_usage_errors() {
    let network = Network::without_coordinator();
    let user = scripted(&network);
    for name in ["../x", "A", "''", "a.b"] {
        user.types(&format!("aitbc wallet create --name {name}"))
            .refuses(2, "lower-case");
        user.types(&format!("aitbc wallet show {name}"))
            .refuses(2, "lower-case");
    }
    user.types("aitbc wallet create").refuses(2, "--name");
}

#[test]
fn a_folder_that_cannot_be_written_leaves_nothing_behind() {
    let network = Network::without_coordinator();
    for home in ["/dev/null/home", "/sys/aitbc"] {
        let user = scripted(&network).with("AITBC_HOME", home);
        let seed = network.folder().join("seed.txt");
        let line = format!(
            "aitbc wallet create --name x --seed-phrase-file {}",
            seed.display()
        );
        user.types(&line).refuses(1, "AITBC_HOME=");
        assert!(!seed.exists(), "words without a wallet");
    }
}

#[test]
fn the_password_reaches_no_other_program_and_no_core_dump() {
    let network = Network::start();
    let ollama = FakeOllama::start(Script::Answer);
    let user = scripted(&network).with("OLLAMA_HOST", ollama.address());
    let miner = user.start(&["miner", "mine-ollama", "--model", "llama3", "--continuous"]);
    let process = format!("/proc/{}", miner.pid());
    let environment = wait_for("aitbc to become aitbc-miner", || {
        let program = std::fs::read_link(format!("{process}/exe")).ok()?;
        // Empty for a moment, while the system puts the new program in place.
        let environment = std::fs::read(format!("{process}/environ")).expect("it is ours");
        (program.ends_with("aitbc-miner") && !environment.is_empty()).then_some(environment)
    });
    let environment = String::from_utf8_lossy(&environment);
    assert!(environment.contains("AITBC_HOME="), "{environment}");
    assert!(!environment.contains(PASSWORD), "{environment}");

    let user = network.user("other");
    let (wallet, keyboard) = user.starts_on_terminal(&["wallet", "create", "--name", "x"]);
    wallet.notes("New password: ");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", wallet.pid()));
    let limits = limits.expect("every process has limits");
    let core: Vec<&str> = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max core file size"))
        .expect("that limit exists")
        .split_whitespace()
        .collect();
    assert_eq!(core, ["0", "0", "bytes"]);
    keyboard.press("\x03");
    assert_eq!(stored(&user), Vec::<String>::new());
}
