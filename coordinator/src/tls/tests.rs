use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd,
};

use super::*;

struct Files {
    _folder: tempfile::TempDir,
    tls: TlsFiles,
}

fn files(change: impl FnOnce(&mut CertificateParams)) -> Files {
    let folder = tempfile::tempdir().unwrap();
    let mut parameters = CertificateParams::new(vec!["localhost".into()]).unwrap();
    change(&mut parameters);
    let key = KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    let tls = TlsFiles {
        certificate: folder.path().join("certificate.pem"),
        key: folder.path().join("key.pem"),
    };
    fs::write(&tls.certificate, certificate.pem()).unwrap();
    fs::write(&tls.key, key.serialize_pem()).unwrap();
    Files {
        _folder: folder,
        tls,
    }
}

#[test]
fn a_sound_pair_is_taken_without_a_word() {
    let (_, warnings) = files(|_| {}).tls.load().unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    let server = |parameters: &mut CertificateParams| {
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    };
    assert!(files(server).tls.load().unwrap().1.is_empty());
}

#[test]
fn what_clients_would_refuse_is_told() {
    type Change = fn(&mut CertificateParams);
    let cases: [(Change, &str); 4] = [
        (
            |p| p.not_after = date_time_ymd(2020, 5, 1),
            "expired on 2020-05-01",
        ),
        (
            |p| p.not_before = date_time_ymd(2090, 1, 1),
            "valid from 2090-01-01",
        ),
        (
            |p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
            "authority's",
        ),
        (
            |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
            "not meant for servers",
        ),
    ];
    for (change, told) in cases {
        let (_, warnings) = files(change).tls.load().unwrap();
        assert!(
            warnings.len() == 1 && warnings[0].contains(told),
            "{warnings:?}"
        );
    }
}

#[test]
fn what_cannot_serve_is_refused_with_the_files_name_and_a_hint() {
    let (good, other) = (files(|_| {}), files(|_| {}));
    let swapped = TlsFiles {
        certificate: good.tls.certificate.clone(),
        key: other.tls.key.clone(),
    };
    let no_key = TlsFiles {
        certificate: good.tls.certificate.clone(),
        key: good.tls.certificate.clone(),
    };
    let no_certificate = TlsFiles {
        certificate: good.tls.key.clone(),
        key: good.tls.key.clone(),
    };
    let missing = TlsFiles {
        certificate: good.tls.certificate.clone(),
        key: "/nonexistent/key.pem".into(),
    };
    for (tls, told) in [
        (swapped, "not the key of"),
        (no_key, "no private key"),
        (no_certificate, "no certificate"),
        (missing, "cannot read the private key /nonexistent/key.pem"),
    ] {
        let error = tls.load().unwrap_err();
        assert!(error.message.contains(told), "{}", error.message);
        assert!(error.hint.is_some());
    }
}
