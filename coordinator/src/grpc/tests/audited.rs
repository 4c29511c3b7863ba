//! Jobs whose work may be audited.

use aitbc_common::layouts::JobSpec;
use aitbc_proto::v1;
use bytes::Bytes;

use super::start;

fn request(input: &'static str, job_type: v1::JobType, allow_audit: bool) -> v1::SubmitJobRequest {
    v1::SubmitJobRequest {
        request_id: "audited".into(),
        spec: Some(v1::JobSpec {
            r#type: job_type.into(),
            model: "llama3".into(),
            input: Bytes::from_static(input.as_bytes()),
            salt: vec![7; 32].into(),
            allow_audit,
            ..v1::JobSpec::default()
        }),
        ..v1::SubmitJobRequest::default()
    }
}

#[tokio::test]
async fn a_job_says_whether_it_may_be_audited_and_its_retry_keeps_that() {
    let running = start().await;
    let client = running.client().await;
    for (input, job_type, field) in [
        (r#"{"prompt":"Hi"}"#, v1::JobType::Inference, "temperature"),
        (
            r#"{"prompt":"Hi","options":{"temperature":0.5}}"#,
            v1::JobType::Inference,
            "temperature",
        ),
        (r#"{"input":"Hi"}"#, v1::JobType::Embedding, "embedding"),
    ] {
        let given = request(input, job_type, true);
        let refused = client.jobs().submit_job(given).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{input}");
        assert!(refused.message().contains(field), "{refused:?}");
        let mut hot = request(input, job_type, false);
        hot.request_id = format!("{}, not audited", input.len());
        client.jobs().submit_job(hot).await.unwrap();
    }
    let input = r#"{"prompt":"Hi","options":{"temperature":0}}"#;
    let given = request(input, v1::JobType::Inference, true);
    let submitted = client.jobs().submit_job(given).await.unwrap().into_inner();
    let job_id = submitted.job_id;
    let ask = v1::GetJobRequest {
        job_id: job_id.clone(),
    };
    let job = client.jobs().get_job(ask).await.unwrap().into_inner();
    assert!(job.job.unwrap().audit_allowed);

    let cancel = v1::CancelJobRequest {
        job_id: job_id.clone(),
    };
    client.jobs().cancel_job(cancel).await.unwrap();
    let retry = v1::RetryJobRequest {
        request_id: "again".into(),
        job_id,
        salt: vec![8; 32].into(),
    };
    let again = client.jobs().retry_job(retry).await.unwrap().into_inner();
    let spec = JobSpec::decode(&again.spec).unwrap();
    assert!(spec.allows_audit());
    let computed = spec.job_ref().to_vec();
    assert_eq!(again.submitted.unwrap().job_ref, computed);
}
