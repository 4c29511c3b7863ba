use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex;

use aitbc_common::genesis::{Genesis, PreviousChain, chain_id};
use aitbc_common::identity::PublicKey;
use aitbc_common::runtime::errors::ExitCode;
use aitbc_common::runtime::random_bytes;
use aitbc_proto::v1::network_service_server::{NetworkService, NetworkServiceServer};
use aitbc_proto::v1::{GetNetworkInfoRequest, GetNetworkInfoResponse};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use super::*;

/// A network whose chain can be exchanged while it serves.
#[derive(Clone)]
struct Network(Arc<Mutex<u8>>);

/// The genesis file of the chain with this number; each takes over from the one before.
fn genesis(number: u8) -> Vec<u8> {
    let previous = (number > 10).then(|| PreviousChain {
        chain_id: chain_id(&genesis(number - 1)),
        root: [7; 32],
        size: 40,
    });
    Genesis {
        allocations: std::collections::BTreeMap::new(),
        faucet: None,
        previous,
        auditors: Vec::new(),
        fee_bps: 250,
        log_key: [1; 32],
        profile: "dev".into(),
        random: [number; 32],
        service_key: [3; 32],
        version: 1,
    }
    .to_bytes()
}

#[tonic::async_trait]
impl NetworkService for Network {
    async fn get_network_info(
        &self,
        _request: Request<GetNetworkInfoRequest>,
    ) -> Result<Response<GetNetworkInfoResponse>, Status> {
        let genesis = genesis(*self.0.lock().unwrap());
        Ok(Response::new(GetNetworkInfoResponse {
            chain_id: chain_id(&genesis).to_vec().into(),
            service_key: vec![3; 32].into(),
            genesis: genesis.into(),
            ..Default::default()
        }))
    }

    async fn faucet(
        &self,
        _: Request<aitbc_proto::v1::FaucetRequest>,
    ) -> Result<Response<aitbc_proto::v1::FaucetResponse>, Status> {
        Err(Status::unimplemented("this coordinator has no faucet"))
    }
}

async fn serve(network: Network) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder().add_service(NetworkServiceServer::new(network));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

fn temporary_folder() -> PathBuf {
    std::env::temp_dir().join(format!(
        "aitbc-context-{}",
        hex::encode(random_bytes::<8>())
    ))
}

#[tokio::test]
async fn a_new_development_network_on_loopback_is_remembered() {
    let folder = temporary_folder();
    let chain = Arc::new(Mutex::new(1));
    let context = Context::for_test(&folder, serve(Network(chain.clone())).await);
    let first = context.connect(Scope::Client).await.unwrap();
    *chain.lock().unwrap() = 2;
    let second = context.connect(Scope::Client).await.unwrap();
    assert_ne!(first.chain_id(), second.chain_id());
    let pin = context
        .home
        .pin(&second.url, second.chain_id(), second.service_key());
    assert_eq!(pin.unwrap(), Pin::Same);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn another_network_is_refused_by_what_changed() {
    let url = CoordinatorUrl::parse("https://example.org:1").unwrap();
    let (one, two) = (PublicKey([1; 32]), PublicKey([2; 32]));
    let error = changed_network(&url, (&[3; 32], &one), (&[4; 32], &one));
    assert_eq!(error.exit, ExitCode::ProofFailed);
    assert!(error.message.contains("sha256:0404"), "{}", error.message);
    let error = changed_network(&url, (&[3; 32], &one), (&[3; 32], &two));
    assert!(error.message.contains("ed25519:0202"), "{}", error.message);
    assert!(error.hint.unwrap().contains("config trust"));
}

#[tokio::test]
async fn a_network_that_was_restored_from_a_backup_says_so() {
    let folder = temporary_folder();
    let chain = Arc::new(Mutex::new(10));
    let context = Context::for_test(&folder, serve(Network(chain.clone())).await);
    let first = context.connect(Scope::Client).await.unwrap();
    *chain.lock().unwrap() = 11;
    let url = context.coordinator().unwrap();
    let second = Connection::open(&url, first.identity.clone(), Scope::Client)
        .await
        .unwrap();
    let said = restored(&context.home, &second, first.chain_id()).unwrap();
    let said = said.unwrap();
    assert!(said.contains("restored from a backup"), "{said}");
    assert!(said.contains("at 40 records"), "{said}");
    assert_eq!(restored(&context.home, &second, &[9; 32]).unwrap(), None);
    assert_eq!(restored(&context.home, &first, &[9; 32]).unwrap(), None);
    std::fs::remove_dir_all(folder).unwrap();
}
