//! FAILOVER: the lead goes to another node, planned. As in Redis it is only begun here; INFO says
//! how far it is (`master_failover_state`) and how the last one went (`quoring_last_failover`).

use std::net::SocketAddr;

use engine::args::Args;
use engine::error::{CommandError, NOT_AN_INTEGER, SYNTAX};
use engine::number::parse_i64;
use replication::group::NodeId;

use super::everywhere::{Purpose, Question};
use crate::connection::Connection;
use crate::core::Core;
use crate::replica::handover::FailoverOrder;
use crate::replica::serving::Serving;

const NO_REPLICA: CommandError =
    CommandError::new("ERR FAILOVER target HOST and PORT is not a replica.");

/// What the words ask for.
#[derive(Default)]
struct Asked<'a> {
    to: Option<(&'a [u8], i64)>,
    force: bool,
    timeout_ms: Option<u64>,
}

impl Core {
    /// FAILOVER [TO host port [FORCE]] [ABORT] [TIMEOUT milliseconds]. Host and port are those that
    /// INFO and ROLE give of the other nodes.
    pub(crate) fn failover(&mut self, connection: &mut Connection, args: Args<'_>) {
        match self.failover_order(args) {
            Ok(order) => self.ask_everywhere(connection, Question::Failover(order), Purpose::Ok),
            Err(error) => self.reply_with(connection, |reply| reply.error(&error.0)),
        }
    }

    fn failover_order(&self, args: Args<'_>) -> Result<FailoverOrder, CommandError> {
        if args.len() == 2 && args.is(1, "abort") {
            return match self.hands_over() {
                true => Ok(FailoverOrder::Abort),
                false => Err(CommandError::new("ERR No failover in progress.")),
            };
        }
        let asked = parse(args)?;
        if self.hands_over() {
            return Err(CommandError::new("ERR FAILOVER already in progress."));
        }
        if matches!(self.replicas.serving, Serving::AsReplica(_)) {
            return Err(CommandError::new("ERR FAILOVER is not valid when server is a replica."));
        }
        if !self.replicas.is_grouped() || self.candidates().next().is_none() {
            return Err(CommandError::new("ERR FAILOVER requires connected replicas."));
        }
        if asked.force && (asked.timeout_ms.is_none() || asked.to.is_none()) {
            return Err(CommandError::new(
                "ERR FAILOVER with force option requires both a timeout and target HOST and IP.",
            ));
        }
        if asked.force {
            return Err(CommandError::new(
                "ERR FAILOVER cannot be forced: a node that lacks acknowledged writes is not \
                 elected. Leave FORCE out",
            ));
        }
        let to = asked.to.map(|(host, port)| self.named_node(host, port)).transpose()?;
        if to.is_some_and(|node| !self.links.is_linked(node)) {
            return Err(CommandError::new("ERR FAILOVER target replica is not online."));
        }
        let sync_ns_max = asked.timeout_ms.map(|ms| ms.saturating_mul(1_000_000));
        Ok(FailoverOrder::Begin { to, sync_ns_max })
    }

    fn hands_over(&self) -> bool {
        match self.is_coordinator() {
            true => !self.handover.is_idle(),
            false => self.replicas.lead.is_handing_over,
        }
    }

    /// The other node at that address.
    fn named_node(&self, host: &[u8], port: i64) -> Result<NodeId, CommandError> {
        let is_named = |address: &SocketAddr| {
            address.ip().to_string().as_bytes() == host && i64::from(address.port()) == port
        };
        let found = self.other_nodes().find(|(_, address)| is_named(address));
        found.map(|(node, _)| node).ok_or(NO_REPLICA)
    }
}

fn parse(args: Args<'_>) -> Result<Asked<'_>, CommandError> {
    let mut asked = Asked::default();
    let mut at = 1;
    while at < args.len() {
        if args.is(at, "timeout") && at + 1 < args.len() && asked.timeout_ms.is_none() {
            let ms = parse_i64(args.at(at + 1)).ok_or(NOT_AN_INTEGER)?;
            let positive = u64::try_from(ms).ok().filter(|ms| *ms > 0);
            let error = CommandError::new("ERR FAILOVER timeout must be greater than 0");
            asked.timeout_ms = Some(positive.ok_or(error)?);
            at += 2;
        } else if args.is(at, "to") && at + 2 < args.len() && asked.to.is_none() {
            let port = parse_i64(args.at(at + 2)).ok_or(NOT_AN_INTEGER)?;
            asked.to = Some((args.at(at + 1), port));
            at += 3;
        } else if args.is(at, "force") && !asked.force {
            asked.force = true;
            at += 1;
        } else {
            return Err(SYNTAX);
        }
    }
    Ok(asked)
}
