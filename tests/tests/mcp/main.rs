//! The network as MCP tools, as the official Python client sees them.

mod clients;
mod jobs;
mod money;

use aitbc_tests::harness::{FakeOllama, McpClient, Network, Process, Script, User};

/// A network, somebody whose agent uses it, and a miner with a scripted model; what is dropped first ends first.
struct Market {
    client: McpClient,
    model: FakeOllama,
    _miner: Process,
    agent: User,
    network: Network,
}

/// With these arguments for `aitbc mcp`.
fn market(script: Script, mode: &str, arguments: &[&str]) -> Market {
    let network = Network::start();
    let model = FakeOllama::start(script);
    let miner = mining(&network, &model);
    let agent = network.user("agent");
    Market {
        client: McpClient::start(&agent, mode, arguments),
        model,
        _miner: miner,
        agent,
        network,
    }
}

/// A miner that goes on.
fn mining(network: &Network, model: &FakeOllama) -> Process {
    let owner = network.user("owner").with("OLLAMA_HOST", model.address());
    let _registered = owner
        .types("aitbc miner register --price-per-hour 5")
        .succeeds();
    let miner = owner.starts("aitbc miner mine-ollama --model llama3 --continuous");
    miner.prints("polling");
    miner
}
