//! Answers that never come: nothing is ever paid twice.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use aitbc_common::token::Scope;
use aitbc_tests::harness::{Network, User, wait_for};

use super::{OTHER, available, count, network_and_user, submit, wallet};

const HONEST: u8 = 0;
/// Once a transaction has passed, nothing comes back any more.
const MUTE: u8 = 1;
/// Once a transaction has passed, the connection ends, and the next one is honest.
const CUT: u8 = 2;

/// Carries bytes between a client and the coordinator, and does what it is told with the answer to a transaction.
struct Wire {
    address: String,
    mode: Arc<AtomicU8>,
}

impl Wire {
    /// `mark` is in a transaction and in nothing else that is sent as it is: the chain id.
    fn start(coordinator: &str, mark: [u8; 32]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let mode = Arc::new(AtomicU8::new(HONEST));
        let (shared, coordinator) = (Arc::clone(&mode), coordinator.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(&coordinator).expect("the coordinator listens");
                carry(&client, &server, &shared, mark);
            }
        });
        Self { address, mode }
    }

    fn becomes(&self, mode: u8) {
        self.mode.store(mode, Ordering::SeqCst);
    }
}

fn carry(client: &TcpStream, server: &TcpStream, mode: &Arc<AtomicU8>, mark: [u8; 32]) {
    let copy = |stream: &TcpStream| stream.try_clone().expect("it is open");
    let passed = Arc::new(AtomicU8::new(HONEST));
    let (mut from, mut to) = (copy(client), copy(server));
    let (mode, told) = (Arc::clone(mode), Arc::clone(&passed));
    std::thread::spawn(move || {
        let mut seen = Vec::new();
        each_part(&mut from, |part| {
            seen.extend_from_slice(part);
            if seen.windows(mark.len()).any(|window| window == mark) {
                let now = mode.load(Ordering::SeqCst);
                if now == CUT {
                    mode.store(HONEST, Ordering::SeqCst);
                }
                told.store(now, Ordering::SeqCst);
            }
            let keep = seen.len().saturating_sub(mark.len());
            seen.drain(..keep);
            to.write_all(part).is_ok()
        });
        let _closed = to.shutdown(Shutdown::Both);
    });
    let (mut from, mut to) = (copy(server), copy(client));
    std::thread::spawn(move || {
        each_part(&mut from, |part| match passed.load(Ordering::SeqCst) {
            MUTE => true,
            CUT => false,
            _ => to.write_all(part).is_ok(),
        });
        let _closed = to.shutdown(Shutdown::Both);
    });
}

fn each_part(from: &mut TcpStream, mut with: impl FnMut(&[u8]) -> bool) {
    let mut part = [0; 16_384];
    while let Ok(count @ 1..) = from.read(&mut part) {
        if !with(&part[..count]) {
            return;
        }
    }
}

/// A user with 100 AIT, and the same one behind a wire.
fn on_a_wire() -> (Network, User, User, Wire) {
    let (network, user) = network_and_user();
    wallet(&network, &user, "test_wallet");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let chain_id = *runtime.block_on(user.connect(Scope::Read)).chain_id();
    let wire = Wire::start(network.address(), chain_id);
    let behind = user.clone().with("AITBC_COORDINATOR", &wire.address);
    (network, user, behind, wire)
}

/// Runs a command whose transaction is recorded, and kills it before it hears of it.
fn killed_before_the_answer(user: &User, behind: &User, wire: &Wire, line: &str, kind: &str) {
    let before = count(user, kind);
    wire.becomes(MUTE);
    let mut process = behind.starts(line);
    wait_for("the transaction", || {
        (count(user, kind) == before + 1).then_some(())
    });
    process.kill();
    wire.becomes(HONEST);
}

#[test]
fn a_killed_client_pays_once() {
    let (_network, user, behind, wire) = on_a_wire();
    let send = format!("aitbc wallet send {OTHER} 2.5");
    killed_before_the_answer(&user, &behind, &wire, &send, "sent");
    let again = user.types(&send).succeeds();
    assert!(again.text().starts_with("Sent: 2.5 AIT"), "{again:?}");
    assert_eq!(
        (count(&user, "sent"), available(&user)),
        (1, "97.500000".into())
    );
    // With an answer it is another one.
    let _second = user.types(&send).succeeds();
    assert_eq!(
        (count(&user, "sent"), available(&user)),
        (2, "95.000000".into())
    );

    // A job likewise.
    let job = submit(&user, "--hold");
    let pay = format!("aitbc client pay {job} --amount 10");
    killed_before_the_answer(&user, &behind, &wire, &pay, "locked");
    let _again = user.types(&pay).succeeds();
    assert_eq!(
        (count(&user, "locked"), available(&user)),
        (1, "85.000000".into())
    );

    // Another transaction comes after it.
    killed_before_the_answer(&user, &behind, &wire, &send, "sent");
    let other = user
        .types(&format!("aitbc wallet send {OTHER} 1"))
        .succeeds();
    assert!(
        other.stderr.contains("had no answer is recorded"),
        "{other:?}"
    );
    assert_eq!(
        (count(&user, "sent"), available(&user)),
        (4, "81.500000".into())
    );
}

#[test]
fn a_lost_connection_is_made_again_and_pays_once() {
    let (_network, user, behind, wire) = on_a_wire();
    wire.becomes(CUT);
    let _sent = behind
        .types(&format!("aitbc wallet send {OTHER} 2.5"))
        .succeeds();
    assert_eq!(
        (count(&user, "sent"), available(&user)),
        (1, "97.500000".into())
    );
}

#[test]
fn a_client_that_is_killed_before_it_sends_pays_once() {
    let (mut network, user) = network_and_user();
    wallet(&network, &user, "test_wallet");
    // What was signed is kept, whoever else spends meanwhile.
    let send = format!("aitbc wallet send {OTHER} 2.5");
    let folder = user.aitbc_home().join("state/transactions");
    network.coordinator().freeze();
    let mut process = user.starts(&send);
    process.kill();
    network.coordinator().thaw();
    assert!(
        !folder.exists(),
        "nothing is signed before the nonce is known"
    );
    network.kill_coordinator();
    user.types(&send).refuses(3, "cannot reach");
    network.restart_coordinator();
    let _sent = user.types(&send).succeeds();
    assert_eq!(
        (count(&user, "sent"), available(&user)),
        (1, "97.500000".into())
    );
}

#[test]
fn a_payment_whose_output_is_lost_says_that_it_is_done() {
    let (network, user) = network_and_user();
    wallet(&network, &user, "test_wallet");
    let lost = user.types(&format!("aitbc wallet send {OTHER} 2.5 >/dev/full"));
    lost.refuses(1, "is record");
    assert!(lost.stderr.contains("do not run it again"), "{lost:?}");
    assert_eq!(count(&user, "sent"), 1);
    let submit = "aitbc client submit --model llama3 --prompt Hi >/dev/full";
    user.types(submit).refuses(1, "is submitted");
}
