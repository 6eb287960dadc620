//! Writes the replies of a real server into a transcript. The server loses its data.
//!
//! `cargo run -p tests --bin record -- 127.0.0.1:6379 tests/transcripts/redis-8.2.txt`

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use tests::transcript::{parse, print, replay};

/// Runs a transcript's commands on a server, which is emptied, and writes its replies into the
/// file.
#[derive(Parser)]
struct Options {
    /// The server, for example 127.0.0.1:6379.
    server: SocketAddr,
    /// The transcript.
    file: PathBuf,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let text = std::fs::read_to_string(&options.file)
        .with_context(|| options.file.display().to_string())?;
    let lines = replay(&parse(&text)?, options.server)?;
    std::fs::write(&options.file, print(&lines))?;
    Ok(())
}
