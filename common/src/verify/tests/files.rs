//! Embedding jobs and receipts in files.

use super::*;

#[test]
fn embedding_jobs_stream_nothing() {
    let spec = JobSpec {
        job_type: JobType::Embedding,
        ..spec()
    };
    let mut delivery = Delivery::of(spec.clone(), job(1), 1);
    delivery.receipt.output_len = 0;
    delivery.receipt.output_hash = sha256(b"");
    delivery.replace_result(r#"{"embeddings":[[0.5,-0.25]],"finish_reason":"stop","usage":{"input_tokens":14,"output_tokens":61}}"#);
    let trust = Trust {
        spec: Some(spec),
        ..delivery.trust()
    };
    delivery.verify_with(&trust, b"").unwrap();
    let file = delivery.file();
    verify_receipt_file(&file, Some(&trust), Some(&delivery.result)).unwrap();
    assert!(verify_receipt_file(&file, Some(&trust), Some(b"[[0.5]]")).is_err());
}

#[test]
fn receipt_files_check_offline() {
    let delivery = Delivery::new();
    let file = ReceiptFile::from_bytes(&delivery.file().to_bytes()).unwrap();
    assert_eq!(file, delivery.file());
    verify_receipt_file(&file, None, None).unwrap();
    verify_receipt_file(&file, Some(&delivery.trust()), Some(OUTPUT)).unwrap();
    assert!(verify_receipt_file(&file, None, Some(b"other")).is_err());
    let elsewhere = Trust {
        service_key: identity(9).public(),
        ..delivery.trust()
    };
    assert_eq!(
        verify_receipt_file(&file, Some(&elsewhere), None),
        Err(VerifyError::ServiceKey)
    );
    for bad in [&b""[..], b"{}", b"[]", br#"{"spec":"!"}"#] {
        assert!(matches!(
            ReceiptFile::from_bytes(bad),
            Err(ReceiptFileError::Malformed(_))
        ));
    }
    assert!(matches!(
        ReceiptFile::from_bytes(&vec![b' '; 2 << 20]),
        Err(ReceiptFileError::TooLarge(_))
    ));
}

#[test]
fn records_of_submitted_jobs_read_back() {
    let delivery = Delivery::new();
    let mut record = JobRecord::new(&spec(), &service().public(), "r-1", 1_000);
    assert_eq!(record.trust().unwrap().job_id, None);
    record.job_id = Some(job(1).to_string());
    let read = JobRecord::from_bytes(&record.to_bytes()).unwrap();
    assert_eq!(read, record);
    assert_eq!(read.trust().unwrap(), delivery.trust());
    for bend in [
        |r: &mut JobRecord| r.chain_id.push('0'),
        |r: &mut JobRecord| r.service_key.push('0'),
        |r: &mut JobRecord| r.spec.push(0),
        |r: &mut JobRecord| r.job_id = Some("job_x".to_owned()),
    ] {
        let mut bent = record.clone();
        bend(&mut bent);
        assert!(bent.trust().is_err());
    }
    assert!(JobRecord::from_bytes(b"{}").is_err());
}
