//! Vectors of hashes, ids, names, tokens and files.

use aitbc_common::address::Address;
use aitbc_common::genesis::{Genesis, chain_id};
use aitbc_common::hash::{hash_text, sha256, tagged};
use aitbc_common::identity::Identity;
use aitbc_common::ids::{JobId, ListingId, MinerId, RentalId, shard_of};
use aitbc_common::layouts::Requirements;
use aitbc_common::names::canonical_model;
use aitbc_common::token::{self, Scope};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{check, counting, number};

#[test]
fn tagged_hash() {
    let vectors: Vec<Value> = [
        ("aitbc/spec/v1", b"".as_slice()),
        ("aitbc/receipt/v1", b"abc"),
        ("", &[0; 252]),
    ]
    .into_iter()
    .map(|(tag, bytes)| {
        json!({
            "tag": tag,
            "bytes": hex::encode(bytes),
            "sha256": hash_text(&sha256(bytes)),
            "hash": hex::encode(tagged(tag, bytes)),
        })
    })
    .collect();
    check("tagged_hash.json", &json!({"vectors": vectors}));
}

#[test]
fn ids() {
    let owner = Identity::from_seed(&[0x11; 32]).public();
    let mut vectors = Vec::new();
    for (created_ms, shard, random) in [
        (1_795_428_000_000, shard_of(&owner), counting(0xa0)),
        (0, 0, [0; 10]),
        ((1 << 48) - 1, 63, [0xff; 10]),
    ] {
        let job = JobId::new(created_ms, shard, random);
        let miner = MinerId::new(created_ms, shard, random);
        assert_eq!(job.to_string().parse(), Ok(job));
        vectors.push(json!({
            "bytes": hex::encode(job.0),
            "job_id": job.to_string(),
            "miner_id": miner.to_string(),
            "created_ms": number(job.created_ms()),
            "shard": job.shard(),
        }));
    }
    let good = JobId::new(1_795_428_000_000, 37, counting(0xa0)).to_string();
    let invalid: Vec<String> = vec![
        String::new(),
        "last".into(),
        "job_".into(),
        good.to_uppercase(),
        good.replace("job_", "jobs_"),
        good.replace("job_", "miner_"),
        good.replace("job_", ""),
        format!("{good}0"),
        good[..good.len() - 1].to_owned(),
        format!("{} ", &good[..good.len() - 1]),
        format!("{}u", &good[..good.len() - 1]),
        "job_8zzzzzzzzzzzzzzzzzzzzzzzzz".into(),
    ];
    for text in &invalid {
        assert!(text.parse::<JobId>().is_err(), "{text}");
    }
    check(
        "ids.json",
        &json!({
            "owner_key": hex::encode(owner.0),
            "owner_shard": shard_of(&owner),
            "vectors": vectors,
            "invalid_job_ids": invalid,
        }),
    );
}

#[test]
fn requirements() {
    let (ms, shard, bytes) = (1_795_427_000_000, 12, counting(0xb0));
    let miner = Some(MinerId::new(ms, shard, bytes));
    let offer = Some(ListingId::new(ms, shard, bytes));
    let rental = Some(RentalId::new(ms, shard, bytes));
    let vectors: Vec<Value> = [
        (0, None, 0, None, None),
        (24, None, 0, None, None),
        (0, miner, 0, None, None),
        (4_096, miner, 0, None, None),
        (0, None, 1, None, None),
        (8, miner, 1_000_000, offer, None),
        (0, None, 0, None, rental),
        (24, miner, 750_000, offer, rental),
    ]
    .into_iter()
    .map(|(min_vram_gib, miner, min_reputation_ppm, offer, rental)| {
        let requirements = Requirements {
            min_vram_gib,
            miner,
            min_reputation_ppm,
            offer,
            rental,
        };
        json!({
            "min_vram_gib": min_vram_gib,
            "miner": miner.map(|miner| miner.to_string()),
            "min_reputation_ppm": min_reputation_ppm,
            "offer": offer.map(|offer| offer.to_string()),
            "rental": rental.map(|rental| rental.to_string()),
            "requirements_hash": hex::encode(requirements.hash()),
        })
    })
    .collect();
    check("requirements.json", &json!({"vectors": vectors}));
}

#[test]
fn model_name() {
    let vectors: Vec<Value> = ["llama3", "llama3:8b", "hf.co/owner/Model-GGUF", "localhost:5000/library/llama3"]
        .into_iter()
        .map(|name| {
            let canonical = canonical_model(name).expect(name);
            json!({"name": name, "canonical": canonical, "model_name_hash": hex::encode(sha256(canonical.as_bytes()))})
        })
        .collect();
    let invalid = [
        "", "lla ma", "llama3:", ":8b", "a//b", "/a", "a/", "a:b:c", "a/b:1/c", "-llama", "llämä",
    ];
    for name in invalid {
        assert!(canonical_model(name).is_err(), "{name}");
    }
    check(
        "model_name.json",
        &json!({"vectors": vectors, "invalid": invalid}),
    );
}

fn encoded(header: &str, claims: &str, seed: &[u8; 32]) -> String {
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let signature = Identity::from_seed(seed).sign(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

const HEADER: &str = r#"{"alg":"EdDSA","typ":"JWT"}"#;
const NOW_S: u64 = 1_795_428_000;

fn claims(change: impl Fn(&mut Value), chain: &[u8; 32]) -> String {
    let mut claims = json!({
        "iss": URL_SAFE_NO_PAD.encode(Identity::from_seed(&[0x11; 32]).public().0),
        "aud": token::audience(chain),
        "scope": "client",
        "iat": NOW_S,
        "exp": NOW_S + 120,
        "jti": "00112233445566778899aabbccddeeff",
    });
    change(&mut claims);
    claims.to_string()
}

/// Tokens to refuse: each with what is wrong with it.
fn refused_tokens(chain: &[u8; 32]) -> Vec<(&'static str, String)> {
    let seed = [0x11; 32];
    let good = || claims(|_| (), chain);
    let changed = |change: &dyn Fn(&mut Value)| encoded(HEADER, &claims(change, chain), &seed);
    let padding = "x".repeat(token::MAX_BYTES);
    let unsigned = encoded(HEADER, &good(), &seed);
    vec![
        (
            "alg none",
            encoded(r#"{"alg":"none","typ":"JWT"}"#, &good(), &seed),
        ),
        (
            "alg HS256",
            encoded(r#"{"alg":"HS256","typ":"JWT"}"#, &good(), &seed),
        ),
        (
            "jwk header",
            encoded(
                r#"{"alg":"EdDSA","jwk":{"kty":"OKP"},"typ":"JWT"}"#,
                &good(),
                &seed,
            ),
        ),
        (
            "kid header",
            encoded(r#"{"alg":"EdDSA","kid":"1","typ":"JWT"}"#, &good(), &seed),
        ),
        ("no typ", encoded(r#"{"alg":"EdDSA"}"#, &good(), &seed)),
        (
            "expired",
            changed(&|c| (c["iat"], c["exp"]) = (json!(NOW_S - 200), json!(NOW_S - 61))),
        ),
        (
            "from the future",
            changed(&|c| (c["iat"], c["exp"]) = (json!(NOW_S + 61), json!(NOW_S + 120))),
        ),
        (
            "lifetime over 900 s",
            changed(&|c| c["exp"] = json!(NOW_S + 901)),
        ),
        (
            "ends before it begins",
            changed(&|c| c["exp"] = json!(NOW_S - 1)),
        ),
        (
            "another chain",
            encoded(HEADER, &claims(|_| (), &[9; 32]), &seed),
        ),
        ("unknown scope", changed(&|c| c["scope"] = json!("admin"))),
        ("another claim", changed(&|c| c["admin"] = json!(true))),
        ("no jti", changed(&|c| c["jti"] = json!(""))),
        (
            "signed by another key",
            encoded(HEADER, &good(), &[0x12; 32]),
        ),
        (
            "unsigned",
            unsigned[..=unsigned.rfind('.').expect("three parts")].to_owned(),
        ),
        ("over 1 KiB", changed(&|c| c["jti"] = json!(padding))),
        (
            "two parts",
            unsigned[..unsigned.rfind('.').expect("three parts")].to_owned(),
        ),
        ("empty", String::new()),
    ]
}

#[test]
fn tokens() {
    let (seed, chain) = ([0x11; 32], counting(0x01));
    let identity = Identity::from_seed(&seed);
    let vectors: Vec<Value> = [(Scope::Read, 900), (Scope::Client, 120), (Scope::Miner, 0)]
        .into_iter()
        .map(|(scope, lifetime_s)| {
            let token = token::issue(&identity, &chain, scope, NOW_S, lifetime_s, counting(0x00));
            assert!(token::verify(&token, &chain, NOW_S).is_ok());
            json!({"scope": scope.name(), "lifetime_s": lifetime_s, "jti": hex::encode(counting::<16>(0x00)), "token": token})
        })
        .collect();
    let invalid: Vec<Value> = refused_tokens(&chain)
        .into_iter()
        .map(|(name, token)| {
            let error = token::verify(&token, &chain, NOW_S).expect_err(name);
            json!({"name": name, "token": token, "error": error.to_string()})
        })
        .collect();
    check(
        "token.json",
        &json!({
            "chain_id": hex::encode(chain),
            "seed": hex::encode(seed),
            "now_s": NOW_S,
            "vectors": vectors,
            "invalid": invalid,
        }),
    );
}

#[test]
fn genesis() {
    let genesis = Genesis {
        allocations: std::collections::BTreeMap::new(),
        faucet: None,
        previous: None,
        auditors: Vec::new(),
        fee_bps: 250,
        log_key: Identity::from_seed(&[0x44; 32]).public().0,
        profile: "dev".into(),
        random: counting(0x80),
        service_key: Identity::from_seed(&[0x33; 32]).public().0,
        version: 1,
    };
    let file = genesis.to_bytes();
    check(
        "genesis.json",
        &json!({
            "fields": {
                "version": genesis.version,
                "profile": genesis.profile,
                "random": hex::encode(genesis.random),
                "service_key": hex::encode(genesis.service_key),
                "log_key": hex::encode(genesis.log_key),
                "fee_bps": genesis.fee_bps,
            },
            "file": String::from_utf8(file.clone()).expect("JSON is UTF-8"),
            "chain_id": hex::encode(chain_id(&file)),
        }),
    );
}

#[test]
fn dev_payee() {
    let vectors: Vec<Value> = [[0x11; 32], [0x22; 32], counting(0x00)]
        .into_iter()
        .map(|seed: [u8; 32]| {
            let address = Address::dev_payee(&Identity::from_seed(&seed));
            json!({"seed": hex::encode(seed), "bytes": hex::encode(address.0), "address": address.to_string()})
        })
        .collect();
    let invalid = [
        "",
        "0x",
        "f39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
        "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb9226",
        "0xF39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
        "0xg39fd6e51aad88f6f4ce6ab8827279cfffb92266",
    ];
    for text in invalid {
        assert!(text.parse::<Address>().is_err(), "{text}");
    }
    check(
        "dev_payee.json",
        &json!({"vectors": vectors, "invalid_addresses": invalid}),
    );
}
