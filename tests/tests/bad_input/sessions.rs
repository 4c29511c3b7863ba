//! Sessions that are not opened as they should be.

use std::time::Duration;

use aitbc_common::layouts::SessionProof;
use aitbc_common::runtime::channel::Connection;
use aitbc_common::token::Scope;
use aitbc_proto::v1::coordinator_message::Message as Down;
use aitbc_proto::v1::miner_message::Message as Up;
use aitbc_proto::v1::{
    Challenge, CoordinatorMessage, ErrorReason, Hello, MinerHeartbeat, MinerMessage,
    OpenSessionRequest, OpenSessionResponse,
};
use aitbc_tests::harness::{Network, User};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use super::refused;

/// A stream that was opened; the coordinator's challenge has arrived.
struct Session {
    up: mpsc::Sender<OpenSessionRequest>,
    down: Streaming<OpenSessionResponse>,
    challenge: Challenge,
}

impl Session {
    async fn open(connection: &Connection) -> Self {
        let (up, messages) = mpsc::channel(4);
        let answer = connection
            .miners()
            .open_session(ReceiverStream::new(messages))
            .await;
        let mut down = answer.expect("a registered miner").into_inner();
        let first = down
            .message()
            .await
            .expect("a first message")
            .expect("a first message");
        let Some(CoordinatorMessage {
            message: Some(Down::Challenge(challenge)),
        }) = first.messages.into_iter().next()
        else {
            panic!("the first message is no challenge");
        };
        Self {
            up,
            down,
            challenge,
        }
    }

    async fn send(&self, message: Up) {
        let batch = OpenSessionRequest {
            messages: vec![MinerMessage {
                message: Some(message),
            }],
        };
        self.up.send(batch).await.expect("the stream is open");
    }

    /// What comes next; at most 20 s.
    async fn next(&mut self) -> Result<Vec<CoordinatorMessage>, Status> {
        let next = tokio::time::timeout(Duration::from_secs(20), self.down.message());
        let batch = next.await.expect("an answer in time")?;
        batch
            .map(|batch| batch.messages)
            .ok_or_else(|| Status::cancelled("the stream ended"))
    }

    async fn refuses(&mut self, code: Code, reason: ErrorReason) {
        loop {
            match self.next().await {
                Ok(messages)
                    if messages
                        .iter()
                        .any(|message| matches!(message.message, Some(Down::Welcome(_)))) =>
                {
                    panic!("welcome");
                }
                Ok(_) => {}
                Err(status) => return refused::<()>(Err(status), code, reason),
            }
        }
    }
}

struct Miner {
    user: User,
    id: String,
    connection: Connection,
}

impl Miner {
    async fn register(user: User) -> Self {
        let registered = user.types("aitbc miner register --json").succeeds().json();
        let id = registered["miner_id"].as_str().expect("an id").to_owned();
        let connection = user.connect_as(user.miner_identity(), Scope::Miner).await;
        Self {
            user,
            id,
            connection,
        }
    }

    fn hello(&self, challenge: &Challenge, takeover: bool) -> Up {
        let proof = SessionProof {
            chain_id: challenge.chain_id[..].try_into().expect("32 bytes"),
            challenge: challenge.challenge[..].try_into().expect("32 bytes"),
            miner_id: self.id.parse().expect("an id"),
        };
        Up::Hello(Hello {
            miner_id: self.id.clone(),
            proof: proof.sign(&self.user.miner_identity()).to_vec().into(),
            takeover,
            version: "test".into(),
            ..Default::default()
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hello_must_answer_this_challenge() {
    let network = Network::start();
    let miner = Miner::register(network.user("miner")).await;
    let old = Session::open(&miner.connection).await;
    let mut session = Session::open(&miner.connection).await;
    assert_ne!(old.challenge.challenge, session.challenge.challenge);
    session.send(miner.hello(&old.challenge, false)).await;
    session
        .refuses(Code::Unauthenticated, ErrorReason::SessionProofInvalid)
        .await;

    // Another miner's id, signed with one's own key.
    let other = Miner::register(network.user("other")).await;
    let mut session = Session::open(&miner.connection).await;
    let Up::Hello(mut hello) = miner.hello(&session.challenge, false) else {
        unreachable!("a hello")
    };
    hello.miner_id.clone_from(&other.id);
    session.send(Up::Hello(hello)).await;
    let status = loop {
        if let Err(status) = session.next().await {
            break status;
        }
    };
    assert!(
        [
            Code::Unauthenticated,
            Code::PermissionDenied,
            Code::NotFound
        ]
        .contains(&status.code()),
        "{status:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hello_must_come_first_and_soon() {
    let network = Network::start();
    let miner = Miner::register(network.user("miner")).await;
    let mut session = Session::open(&miner.connection).await;
    session.send(Up::Heartbeat(MinerHeartbeat::default())).await;
    session
        .refuses(Code::InvalidArgument, ErrorReason::SessionProtocol)
        .await;

    let mut silent = Session::open(&miner.connection).await;
    let start = std::time::Instant::now();
    while silent.next().await.is_ok() {}
    assert!(
        start.elapsed() < Duration::from_secs(15),
        "a silent session is closed after 5 s"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_session_at_a_time() {
    let network = Network::start();
    let miner = Miner::register(network.user("miner")).await;
    let mut first = Session::open(&miner.connection).await;
    first.send(miner.hello(&first.challenge, false)).await;
    let welcomed = first.next().await.expect("welcome");
    assert!(
        matches!(welcomed[0].message, Some(Down::Welcome(_))),
        "{welcomed:?}"
    );

    let mut second = Session::open(&miner.connection).await;
    second.send(miner.hello(&second.challenge, false)).await;
    second
        .refuses(Code::FailedPrecondition, ErrorReason::SessionExists)
        .await;

    let mut third = Session::open(&miner.connection).await;
    third.send(miner.hello(&third.challenge, true)).await;
    let welcomed = third.next().await.expect("welcome");
    assert!(
        matches!(welcomed[0].message, Some(Down::Welcome(_))),
        "{welcomed:?}"
    );
    while first.next().await.is_ok() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn only_registered_miners_open_sessions() {
    let network = Network::start();
    let user = network.user("nobody");
    let connection = user.connect_as(user.miner_identity(), Scope::Miner).await;
    let (up, messages) = mpsc::channel::<OpenSessionRequest>(1);
    let refusal = match connection
        .miners()
        .open_session(ReceiverStream::new(messages))
        .await
    {
        Err(status) => status,
        Ok(answer) => {
            let hello = Hello {
                miner_id: "miner_01m83xj880es8r65rzyjka792g".into(),
                proof: vec![0; 64].into(),
                ..Default::default()
            };
            let batch = OpenSessionRequest {
                messages: vec![MinerMessage {
                    message: Some(Up::Hello(hello)),
                }],
            };
            let _closed = up.send(batch).await;
            let mut down = answer.into_inner();
            loop {
                if let Err(status) = down.message().await {
                    break status;
                }
            }
        }
    };
    assert!(
        [
            Code::FailedPrecondition,
            Code::Unauthenticated,
            Code::NotFound
        ]
        .contains(&refusal.code()),
        "{refusal:?}"
    );
}
