//! Pages.

use std::collections::BTreeSet;

use aitbc_common::token::Scope;
use aitbc_proto::v1;

use super::{Miner, llama3, register, start};

/// A model of this name and digest.
fn model(name: &str, digest: u8) -> v1::MinerModel {
    v1::MinerModel {
        name: name.into(),
        digest: vec![digest; 32].into(),
        ..llama3()
    }
}

#[tokio::test]
async fn pages_of_models_leave_none_out_where_several_have_one_name() {
    let running = start().await;
    // Three miners, each with its own build of the same model.
    let mut sessions = Vec::new();
    for seed in 2..5 {
        let models = vec![model("llama3:latest", seed), model("phi:latest", 1)];
        sessions.push(Miner::open_as(&running, seed, models, Vec::new()).await);
    }
    let client = running.client().await;
    let (mut seen, mut token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let request = v1::ListModelsRequest {
            page_size: 1,
            page_token: token,
        };
        let page = client
            .jobs()
            .list_models(request)
            .await
            .unwrap()
            .into_inner();
        assert!(page.models.len() <= 1);
        seen.extend(
            page.models
                .into_iter()
                .map(|model| (model.name, model.digest)),
        );
        (token, pages) = (page.next_page_token, pages + 1);
        if token.is_empty() {
            break;
        }
        assert!(pages < 10, "pages without end");
    }
    let distinct: BTreeSet<_> = seen.iter().cloned().collect();
    assert_eq!((seen.len(), distinct.len()), (4, 4), "{seen:?}");
    assert!(seen.is_sorted());
    let wrong = v1::ListModelsRequest {
        page_token: "llama3:latest".into(),
        ..v1::ListModelsRequest::default()
    };
    let refused = client.jobs().list_models(wrong).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
}

#[tokio::test]
async fn pages_of_miners_with_many_models_fit_a_message() {
    let running = start().await;
    for seed in 10..110 {
        let connection = running.connect(seed, Scope::Miner).await;
        let name = |n| format!("{}-{n}:latest", "x".repeat(150));
        register(
            &connection,
            (0..256).map(|n| model(&name(n), seed)).collect(),
        )
        .await;
    }
    let client = running.connect(1, Scope::Read).await;
    let (mut miners, mut token) = (BTreeSet::new(), String::new());
    loop {
        let request = v1::ListMinersRequest {
            page_size: 1_000,
            page_token: token,
            ..v1::ListMinersRequest::default()
        };
        let page = client
            .miners()
            .list_miners(request)
            .await
            .unwrap()
            .into_inner();
        miners.extend(page.miners.into_iter().map(|miner| miner.miner_id));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(miners.len(), 100);
}
