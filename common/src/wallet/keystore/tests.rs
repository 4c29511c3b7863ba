use proptest::prelude::*;

use super::*;

const QUICK: ScryptCost = ScryptCost {
    log_n: 2,
    r: 8,
    p: 1,
};
const FRESH: Fresh = Fresh {
    salt: [1; 32],
    iv: [2; 16],
    id: [3; 16],
};

/// The vectors of the Web3 Secret Storage specification: password and key are the same in both.
const PASSWORD: &str = "testpassword";
const SECRET: &str = "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d";
const PBKDF2: &str = r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"6087dab2f9fdbbfaddc31a909735c1e6"},
    "ciphertext":"5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46","kdf":"pbkdf2","kdfparams":{"c":262144,
    "dklen":32,"prf":"hmac-sha256","salt":"ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd"},
    "mac":"517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2"},
    "id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;
const SCRYPT: &str = r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"83dbcc02d8ccb40e466191a123791e0e"},
    "ciphertext":"d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c","kdf":"scrypt","kdfparams":{"dklen":32,
    "n":262144,"p":8,"r":1,"salt":"ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19"},
    "mac":"2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097"},
    "id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;

fn key(byte: u8) -> WalletKey {
    WalletKey::from_bytes(&[byte; 32]).unwrap()
}

fn quick(byte: u8, password: &str) -> Keystore {
    Keystore::encrypt(&key(byte), password, QUICK, &FRESH)
}

fn refusal(text: &str) -> KeystoreError {
    Keystore::parse(text.as_bytes()).unwrap_err()
}

#[test]
fn vectors_of_the_specification_open() {
    // The second one's n = 2^18 with r = 1, which is what eth-account writes too, is beyond a bound in RFC 7914.
    for text in [PBKDF2, SCRYPT] {
        let keystore = Keystore::parse(text.as_bytes()).unwrap();
        assert_eq!(keystore.address(), None);
        let key = keystore.decrypt(PASSWORD).unwrap();
        assert_eq!(hex::encode(*key.to_bytes()), SECRET);
        assert_eq!(
            keystore.decrypt("testpasswore").unwrap_err(),
            KeystoreError::WrongPassword
        );
        let again = Keystore::parse(&keystore.to_bytes()).unwrap();
        assert_eq!(again, keystore);
    }
}

#[test]
fn a_file_reads_as_other_tools_write_it() {
    let text = String::from_utf8(quick(7, "p").to_bytes()).unwrap();
    assert!(
        text.ends_with("\"version\":3}\n") && text.lines().count() == 1,
        "{text}"
    );
    for changed in [
        text.replace("\"crypto\"", "\"Crypto\""),
        text.replace("{\"address\":\"", "{\"x\":{\"y\":[]},\"address\":\"0x"),
        text.replace("\"salt\":\"", "\"salt\":\"0x"),
        text.replace("\"id\":", "\"name\":"),
    ] {
        assert_ne!(changed, text);
        let keystore = Keystore::parse(changed.as_bytes()).unwrap();
        assert_eq!(keystore.decrypt("p").unwrap().address(), key(7).address());
    }
}

#[test]
fn zeros_left_out_of_the_iv_are_put_back() {
    let fresh = Fresh {
        iv: [0, 0, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5],
        ..FRESH
    };
    let keystore = Keystore::encrypt(&key(7), "p", QUICK, &fresh);
    let text = String::from_utf8(keystore.to_bytes()).unwrap();
    let short = text.replace("\"iv\":\"0000", "\"iv\":\"");
    assert_ne!(short, text);
    assert_eq!(Keystore::parse(short.as_bytes()).unwrap(), keystore);
}

#[test]
fn an_address_that_is_not_the_key_s_is_refused() {
    let text = String::from_utf8(quick(7, "p").to_bytes()).unwrap();
    let other = text.replace(
        &hex::encode(key(7).address().0),
        &hex::encode(key(8).address().0),
    );
    let keystore = Keystore::parse(other.as_bytes()).unwrap();
    assert_eq!(
        keystore.decrypt("p").unwrap_err(),
        KeystoreError::OtherAddress {
            said: key(8).address(),
            is: key(7).address()
        }
    );
}

#[test]
fn what_is_not_known_is_named() {
    for (field, from, to) in [
        ("version", "\"version\":3", "\"version\":4"),
        ("cipher", "aes-128-ctr", "aes-128-cbc"),
        ("prf", "hmac-sha256", "hmac-sha512"),
        ("kdf", "\"kdf\":\"pbkdf2\"", "\"kdf\":\"argon2id\""),
    ] {
        let error = refusal(&PBKDF2.replace(from, to));
        assert!(
            matches!(&error, KeystoreError::Unsupported { field: named, .. } if *named == field),
            "{error:?}"
        );
    }
}

#[test]
fn hostile_costs_are_refused_before_anything_is_computed() {
    for (text, from, to) in [
        (PBKDF2, "262144", "4294967295"),
        (PBKDF2, "262144", "0"),
        (SCRYPT, "\"n\":262144", "\"n\":2097152"),
        (SCRYPT, "\"n\":262144", "\"n\":9223372036854775808"),
        (SCRYPT, "\"n\":262144", "\"n\":1"),
        (SCRYPT, "\"p\":8", "\"p\":4294967295"),
        (SCRYPT, "\"r\":1", "\"r\":4294967295"),
        (SCRYPT, "\"r\":1", "\"r\":0"),
    ] {
        assert_eq!(
            refusal(&text.replace(from, to)),
            KeystoreError::TooCostly,
            "{to}"
        );
    }
}

#[test]
fn malformed_files_are_refused() {
    let long = format!("{PBKDF2}{}", " ".repeat(MAX_BYTES));
    for text in [
        String::new(),
        "[]".to_owned(),
        "{}".to_owned(),
        "[".repeat(10_000),
        long,
        PBKDF2.replace("\"dklen\":32", "\"dklen\":16"),
        PBKDF2.replace("\"c\":262144", "\"c\":-1"),
        PBKDF2.replace("\"c\":262144,", ""),
        PBKDF2.replace("517ead92", "517ead9"),
        PBKDF2.replace("6087dab2", "6087dab2ff"),
        PBKDF2.replace("5318b4d5", "5318b4dz"),
        PBKDF2.replace("ae3cd4e7", &"00".repeat(2_000)),
        SCRYPT.replace("\"n\":262144", "\"n\":262143"),
        SCRYPT.replace("\"n\":262144", "\"n\":0"),
        SCRYPT.replace("\"version\":3", "\"version\":3,\"address\":\"0x12\""),
    ] {
        assert!(
            matches!(refusal(&text), KeystoreError::Malformed(_)),
            "{:?}",
            &text[..text.len().min(80)]
        );
    }
}

#[test]
fn a_key_that_is_none_is_refused() {
    let zeros = [0; 32];
    let mut keystore = quick(7, "p");
    let derived = keystore.kdf.derive(b"p");
    keystore.ciphertext = zeros;
    apply_cipher(&derived, &FRESH.iv, &mut keystore.ciphertext);
    keystore.mac = checksum(&derived, &keystore.ciphertext);
    assert_eq!(keystore.decrypt("p").unwrap_err(), KeystoreError::NoKey);
}

#[test]
fn debug_shows_the_address_only() {
    let shown = format!("{:?}", quick(7, "p"));
    assert!(shown.contains("0x") && !shown.contains("salt"), "{shown}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_key_comes_back_with_its_password_only(
        secret in any::<[u8; 32]>(), password in "\\PC{1,40}", other in "\\PC{0,40}", iv in any::<[u8; 16]>(),
    ) {
        let Some(key) = WalletKey::from_bytes(&secret) else { return Ok(()) };
        let keystore = Keystore::encrypt(&key, &password, QUICK, &Fresh { iv, ..FRESH });
        let read = Keystore::parse(&keystore.to_bytes()).unwrap();
        prop_assert_eq!(&read, &keystore);
        prop_assert_eq!(read.address(), Some(key.address()));
        prop_assert_eq!(&*read.decrypt(&password).unwrap().to_bytes(), &secret);
        prop_assert!(other == password || read.decrypt(&other) .is_err());
    }

    #[test]
    fn changed_files_never_open_as_another_key(at in 0..400usize, to in any::<u8>()) {
        let mut bytes = quick(7, "p").to_bytes();
        let at = at % bytes.len();
        bytes[at] = to;
        if let Ok(Ok(key)) = Keystore::parse(&bytes).map(|keystore| keystore.decrypt("p")) {
            prop_assert_eq!(key.address(), super::tests::key(7).address());
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in any::<Vec<u8>>()) {
        let _no_panic = Keystore::parse(&bytes);
    }
}
