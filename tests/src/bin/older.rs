//! The server as a program of the release before: of what members of a cluster say to each other it
//! applies the first version only. For tests of upgrades with real processes.

use server::config::flags::Flags;
use server::startup::{self, StartError};

use replication::version::Versions;

fn main() -> Result<(), StartError> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let mut config = Flags::from_command_line().into_config(1)?;
    config.applied = Versions::UNSAID;
    startup::run(config, |running, _| {
        let addresses: Vec<String> = running.addresses().iter().map(ToString::to_string).collect();
        eprintln!("address={} ready", addresses.join(" "));
    })
}
