//! Measures a coordinator on this machine; `make bench` builds and runs it.

use aitbc_tests::bench::{Settings, run};
use clap::Parser;

fn main() -> anyhow::Result<()> {
    run(&Settings::parse())
}
