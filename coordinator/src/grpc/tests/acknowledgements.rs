//! Owners say what became of results: over the network, into the ledger.

use aitbc_common::hash::Hash;
use aitbc_common::identity::Identity;
use aitbc_common::layouts::{Acknowledgement, Receipt, Record, RecordBody, Verdict};
use aitbc_common::runtime::unix_ms;
use aitbc_common::token::Scope;
use aitbc_proto::v1::{self, ErrorReason, ReceiptVerdict};
use tonic::{Code, Status};

use super::{Answer, Connection, Miner, Running, start, submit};

/// A completed job, and its receipt's id.
async fn completed(running: &Running, client: &Connection) -> (String, Hash) {
    let (mut miner, _) = Miner::open(running, vec![]).await;
    let job_id = submit(client, "r").await;
    let assign = miner.assigned().await;
    let answer = Answer::new(100);
    miner.send_all(&assign, &answer).await;
    let complete = answer.complete(&assign, &miner.identity);
    let receipt = Receipt::decode(&complete.receipt).unwrap();
    let id = receipt.id(&complete.signature);
    miner.say(super::Up::Complete(complete)).await;
    assert_eq!(miner.acknowledged().await, None);
    (job_id, id)
}

fn matches(client: &Connection, receipt_id: Hash) -> Acknowledgement {
    Acknowledgement {
        verdict: Verdict::Matches,
        chain_id: *client.chain_id(),
        receipt_id,
        owner: client.identity.public(),
        time_ms: unix_ms(),
    }
}

async fn says(
    client: &Connection,
    job_id: &str,
    signer: &Identity,
    acknowledgement: &Acknowledgement,
) -> Result<v1::Job, Status> {
    let request = v1::AcknowledgeResultRequest {
        job_id: job_id.into(),
        acknowledgement: acknowledgement.encode().into(),
        signature: acknowledgement.sign(signer).to_vec().into(),
    };
    let answer = client.jobs().acknowledge_result(request).await?;
    Ok(answer.into_inner().job.unwrap())
}

async fn evidence(client: &Connection, id: &Hash, records: usize) -> Vec<RecordBody> {
    let end = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let request = v1::ListEvidenceRecordsRequest {
            evidence_id: id.to_vec().into(),
        };
        let answer = client.ledger().list_evidence_records(request).await;
        let found = answer.unwrap().into_inner().records;
        if found.len() >= records {
            let body = |record: v1::LogRecord| Record::decode(&record.leaf).unwrap().body;
            return found.into_iter().map(body).collect();
        }
        assert!(tokio::time::Instant::now() < end, "{found:?}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_an_owner_says_is_shown_and_logged_behind_the_receipt() {
    let running = start().await;
    let client = running.client().await;
    let (job_id, receipt_id) = completed(&running, &client).await;
    let said = matches(&client, receipt_id);
    for _ in 0..2 {
        let job = says(&client, &job_id, &client.identity, &said)
            .await
            .unwrap();
        assert_eq!(job.verdict(), ReceiptVerdict::Matches);
        assert!(job.acknowledged_at.is_some());
    }
    let records = evidence(&client, &receipt_id, 2).await;
    let [
        RecordBody::Receipt(entry),
        RecordBody::Acknowledgement(logged, _),
    ] = &records[..]
    else {
        panic!("{records:?}")
    };
    assert_eq!((entry.receipt_id, logged), (receipt_id, &said));
    let _audited = super::funding::audit(&running).await;
    assert_eq!(evidence(&client, &receipt_id, 2).await.len(), 2, "once");
    assert!(evidence(&client, &[3; 32], 0).await.is_empty());
}

#[tokio::test]
async fn what_is_not_the_owners_word_on_this_receipt_is_refused() {
    let running = start().await;
    let client = running.client().await;
    let (job_id, receipt_id) = completed(&running, &client).await;
    let said = matches(&client, receipt_id);
    let mallory = running.connect(9, Scope::Client).await;
    let refused = |answer: Result<v1::Job, Status>| {
        let status = answer.unwrap_err();
        let error = aitbc_common::runtime::status::ApiError::from_status(&status).unwrap();
        (status.code(), error.reason)
    };
    // A stranger's own word on another's job: the same as for a job that there never was.
    let strangers = Acknowledgement {
        owner: mallory.identity.public(),
        ..said.clone()
    };
    let unknown = "job_01m83xj880emq8k9w39qsaekf4";
    for job in [job_id.as_str(), unknown] {
        let answer = says(&mallory, job, &mallory.identity, &strangers).await;
        assert_eq!(
            refused(answer),
            (Code::NotFound, ErrorReason::JobNotFound),
            "{job}"
        );
    }
    let invalid = (Code::InvalidArgument, ErrorReason::InvalidField);
    let changed = [
        Acknowledgement {
            receipt_id: [1; 32],
            ..said.clone()
        },
        Acknowledgement {
            chain_id: [1; 32],
            ..said.clone()
        },
        Acknowledgement {
            owner: mallory.identity.public(),
            ..said.clone()
        },
        Acknowledgement {
            time_ms: u64::MAX,
            ..said.clone()
        },
    ];
    for changed in changed {
        let answer = says(&client, &job_id, &client.identity, &changed).await;
        assert_eq!(refused(answer), invalid, "{changed:?}");
    }
    let forged = says(&client, &job_id, &mallory.identity, &said).await;
    assert_eq!(refused(forged), invalid);
    let mut request = v1::AcknowledgeResultRequest {
        job_id: job_id.clone(),
        acknowledgement: said.encode().into(),
        signature: vec![0; 10].into(),
    };
    let short = client.jobs().acknowledge_result(request.clone()).await;
    assert_eq!(short.unwrap_err().code(), Code::InvalidArgument);
    request.acknowledgement = vec![1, 3].into();
    let cut = client.jobs().acknowledge_result(request).await;
    assert_eq!(cut.unwrap_err().code(), Code::InvalidArgument);
    let waiting = submit(&client, "another").await;
    let early = says(&client, &waiting, &client.identity, &said).await;
    assert_eq!(
        refused(early),
        (Code::FailedPrecondition, ErrorReason::WrongStatus)
    );
    let records = evidence(&client, &receipt_id, 1).await;
    assert!(
        matches!(records[..], [RecordBody::Receipt(_)]),
        "{records:?}"
    );
}
