//! `quoring-ctl`: for operators. Exit code 0: all is well; 1: something is damaged; 2: it could not
//! be looked at.

use std::io::{BufWriter, ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tools::ctl::{log, status, verify};

/// Looks at a server or its data directory; changes nothing in it
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
    /// Say whether every log of a data directory is sound
    Verify {
        /// The server's --dir
        directory: PathBuf,
    },
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

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}
