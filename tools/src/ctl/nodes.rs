//! `quoring-ctl init`, `nodes`, `remove-node`, `drain`, `undrain`, `raise-version`: said to a
//! running server at its port for clients; and `force-quorum`, done to the directory of one that is
//! stopped.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::status::{Server, command};

const RETRY: Duration = Duration::from_millis(100);
const RETRIES_MAX: Duration = Duration::from_secs(10);

/// Says this to the server; prints what it answers. Where a change is under way, or the lead, it is
/// said again.
pub fn tell(server: &Server, words: &[&str], out: &mut impl Write) -> Result<bool> {
    let began = Instant::now();
    let reply = loop {
        match command(server, words) {
            Err(why)
                if format!("{why:#}").contains("ask again") && began.elapsed() < RETRIES_MAX =>
            {
                std::thread::sleep(RETRY);
            }
            other => break other?,
        }
    };
    writeln!(out, "{}", reply.trim_end())?;
    Ok(true)
}

/// Nothing is said to a server: a machine that is to be a node asks for that itself.
pub fn say_how_to_add(out: &mut impl Write) -> Result<bool> {
    writeln!(
        out,
        "A machine adds itself: start quoring on it with an empty --dir, --join HOST:PEERPORT of \
         any node of the cluster, the cluster's --cluster-token and --shards. It learns what there \
         is, and then votes; `quoring-ctl nodes` shows how far it is."
    )?;
    Ok(true)
}

/// The node of this directory goes on without the others.
pub fn force_quorum(directory: &Path, accepted: bool, out: &mut impl Write) -> Result<bool> {
    if !accepted {
        bail!(
            "this gives up on a majority: what the other nodes acknowledged and this one lacks is \
             lost, and the others can never come back with what they have. Only where they are \
             lost for good, say --yes-i-accept-losing-acknowledged-writes"
        );
    }
    let identity = server::startup::alone::force_quorum(directory)
        .map_err(|error| anyhow::anyhow!("{}: {error}", directory.display()))?;
    writeln!(
        out,
        "node {} goes on alone from its next start on (epoch {}). Nodes {:?} do not count any \
         more and are refused: give them empty directories, and start them with --join",
        identity.node, identity.epoch, identity.lost
    )?;
    Ok(true)
}
