//! The `quoring` program.

use std::process::ExitCode;

use server::config::flags::Flags;
use server::config::log_filter::log_filter;
use server::startup::{self, Banner, StartError};
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match begin_log().and_then(|()| start(Flags::from_command_line())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quoring: {error}");
            ExitCode::FAILURE
        }
    }
}

fn begin_log() -> Result<(), StartError> {
    let value = std::env::var_os("QUORING_LOG").map(|value| value.to_string_lossy().into_owned());
    let filter = EnvFilter::try_new(log_filter(value.as_deref())?)
        .map_err(|error| format!("QUORING_LOG cannot be understood: {error}"))?;
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter).init();
    Ok(())
}

fn start(flags: Flags) -> Result<(), StartError> {
    let processors = server::runtime::threads::allowed_processors()?.len();
    let config = flags.into_config(processors)?;
    // The allocator asks for huge pages; a fault on one clears 2 MB, or waits until there is one.
    if config.disable_thp
        && let Err(error) = rustix::thread::disable_transparent_huge_pages(true)
    {
        tracing::warn!("transparent huge pages stay on, writes may be slow at times: {error}");
    }
    startup::run(config, |running, banner| announce(running.addresses(), banner))?;
    tracing::info!("stopped; everything acknowledged is durable");
    Ok(())
}

fn announce(addresses: &[std::net::SocketAddr], banner: &Banner) {
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        cores = banner.cores,
        shards = banner.shards,
        directory = banner.directory.as_deref().unwrap_or("none"),
        durability = banner.durability.name(),
        entries_recovered = banner.entries_recovered,
        records_cut = banner.records_cut,
        entries_cut = banner.entries_cut,
        address = %addresses.join(" "),
        "ready"
    );
}
