//! `quoring-ctl`: for operators. Exit code 0: all is well; 1: something is damaged; 2: it could not
//! be looked at.

use std::io::{BufWriter, ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use tools::ctl::{log, nodes, status, verify};

/// Looks at a server or its data directory; forms and changes clusters
#[derive(Parser)]
#[command(name = "quoring-ctl", version)]
struct Flags {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Print the records of log segments and check that they form a chain
    Log {
        /// Segments, or directories of them (core-0)
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// Show keys and values whole
        #[arg(long)]
        full: bool,
    },
    /// Say how a running server is
    Status {
        #[arg(long, default_value = "127.0.0.1")]
        host: String,
        #[arg(long, default_value_t = 6379)]
        port: u16,
        /// The server's --requirepass; better in the environment as QUORING_PASSWORD
        #[arg(long)]
        password: Option<String>,
    },
    /// Form a cluster of the machines that wait for one (--join); say it to one of them
    Init(At),
    /// Say who is in the cluster
    Nodes(At),
    /// Say how a node comes into the cluster: its machine adds itself
    AddNode,
    /// Take a node out of the cluster; say it to the node that leads
    RemoveNode {
        node: u64,
        #[command(flatten)]
        at: At,
    },
    /// Have a node lead nothing; say it to the node that leads
    Drain {
        node: u64,
        #[command(flatten)]
        at: At,
    },
    /// Let a node lead again
    Undrain {
        node: u64,
        #[command(flatten)]
        at: At,
    },
    /// Let the nodes use what newer programs can, once all run such ones; there is no way back
    RaiseVersion {
        /// The newest that the leading node's program applies, if left out
        version: Option<u16>,
        #[command(flatten)]
        at: At,
    },
    /// Let the node of this directory go on without the others, which are lost for good
    ForceQuorum {
        /// The --dir of the survivor, whose server is stopped
        directory: PathBuf,
        #[arg(long)]
        yes_i_accept_losing_acknowledged_writes: bool,
    },
    /// Say whether every log of a data directory is sound
    Verify {
        /// The server's --dir
        directory: PathBuf,
    },
}

/// A running server.
#[derive(clap::Args)]
struct At {
    /// Its port for clients
    #[arg(long, default_value = "127.0.0.1:6379")]
    at: String,
    /// The server's --requirepass; better in the environment as QUORING_PASSWORD
    #[arg(long)]
    password: Option<String>,
}

impl At {
    fn server(self) -> anyhow::Result<status::Server> {
        let (host, port) = self.at.rsplit_once(':').context("--at is HOST:PORT")?;
        let password = self.password.or_else(|| std::env::var("QUORING_PASSWORD").ok());
        Ok(status::Server { host: host.into(), port: port.parse()?, password })
    }
}

/// Bytes shown of a key or value, unless `--full`.
const SHOWN_BYTES_MAX: usize = 64;

fn main() -> ExitCode {
    let flags = Flags::parse();
    let mut out = BufWriter::new(std::io::stdout().lock());
    let result = match flags.action {
        Action::Log { paths, full } => {
            log::print(&paths, if full { usize::MAX } else { SHOWN_BYTES_MAX }, &mut out)
        }
        Action::Status { host, port, password } => {
            let password = password.or_else(|| std::env::var("QUORING_PASSWORD").ok());
            status::print(&status::Server { host, port, password }, &mut out)
        }
        Action::Init(at) => tell(at, &["NODES", "INIT"], &mut out),
        Action::Nodes(at) => tell(at, &["NODES"], &mut out),
        Action::AddNode => nodes::say_how_to_add(&mut out),
        Action::RemoveNode { node, at } => tell_of(at, "REMOVE", node, &mut out),
        Action::Drain { node, at } => tell_of(at, "DRAIN", node, &mut out),
        Action::Undrain { node, at } => tell_of(at, "UNDRAIN", node, &mut out),
        Action::RaiseVersion { version: None, at } => {
            tell(at, &["NODES", "RAISE-VERSION"], &mut out)
        }
        Action::RaiseVersion { version: Some(version), at } => {
            tell(at, &["NODES", "RAISE-VERSION", &version.to_string()], &mut out)
        }
        Action::ForceQuorum { directory, yes_i_accept_losing_acknowledged_writes } => {
            nodes::force_quorum(&directory, yes_i_accept_losing_acknowledged_writes, &mut out)
        }
        Action::Verify { directory } => verify::verify(&directory, &mut out),
    };
    let result = result.and_then(|sound| Ok(out.flush().map(|()| sound)?));
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // Who reads the output has seen enough.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quoring-ctl: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn tell(at: At, words: &[&str], out: &mut impl Write) -> anyhow::Result<bool> {
    nodes::tell(&at.server()?, words, out)
}

fn tell_of(at: At, what: &str, node: u64, out: &mut impl Write) -> anyhow::Result<bool> {
    tell(at, &["NODES", what, &node.to_string()], out)
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}
