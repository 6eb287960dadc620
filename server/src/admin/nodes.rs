//! NODES: who is in the cluster, and changes of that. What is asked for is only begun here; NODES
//! says how far it is.

use engine::args::Args;
use engine::number::parse_i64;
use replication::group::NodeId;
use replication::group::roster::Duty;
use replication::link::meeting::{Answer, Question, Welcome};

use crate::connection::Connection;
use crate::core::Core;
use crate::replica::members::MembersOrder;

impl Core {
    /// NODES [REMOVE node | DRAIN node | UNDRAIN node]
    pub(crate) fn nodes_command(&mut self, connection: &mut Connection, args: Args<'_>) {
        if args.len() == 1 {
            let text = self.describe_nodes();
            return self.reply_with(connection, |reply| reply.bulk(text.as_bytes()));
        }
        let result = match order_of(args) {
            Some(order) => self.obey_members(order).map(drop),
            None if args.is(1, "init") => Err("this node is of a cluster, or alone".into()),
            None => Err("NODES takes REMOVE, DRAIN or UNDRAIN, and the number of a node".into()),
        };
        self.reply_with(connection, |reply| match result {
            Ok(()) => reply.ok(),
            Err(why) => reply.error(format!("ERR {why}")),
        });
    }

    /// A line a node.
    fn describe_nodes(&self) -> String {
        let Some((_, first)) = self.replicas.iter().next() else { return String::new() };
        let (own, leader) = (NodeId(self.node.node), first.group.leader());
        let mut text = String::new();
        for known in &self.roster().nodes {
            let node = known.node;
            let votes = |voters: &[NodeId]| voters.contains(&node);
            let mut groups = self.replicas.iter().map(|(_, replica)| replica.group.members());
            let role =
                if groups.all(|members| votes(&members.voters)) { "voter" } else { "learner" };
            let duty = match known.duty {
                Duty::Full => "full",
                Duty::Drained => "drained",
                Duty::Leaving => "leaving",
            };
            let link = if node == own || self.links.is_linked(node) { "up" } else { "down" };
            let leads = if leader == Some(node) { "yes" } else { "no" };
            let lag = self.replicas.iter().map(|(_, replica)| replica.group.lag_of_member(node));
            let lag = lag.sum::<Option<u64>>().map_or("unknown".into(), |lag| lag.to_string());
            text += &format!(
                "node={} address={} role={role} duty={duty} leads={leads} link={link} lag={lag}\r\n",
                node.0, known.address
            );
        }
        text
    }

    /// A machine without a number asks at the port for nodes.
    pub(crate) fn answer_meeting(&mut self, question: &Question) -> Answer {
        let shards = self.homes.len() as u16;
        if question.shards != 0 && question.shards != shards {
            let asked = question.shards;
            return Answer::Wait(format!("the cluster has {shards} shards, not {asked}"));
        }
        if let Some(of) = self.welcome(question.directory) {
            return Answer::Welcome(Welcome {
                node: of.node,
                epoch: of.epoch,
                shards,
                founders: of.founders,
                lost: of.lost,
                roster: self.roster().clone(),
            });
        }
        let (address, directory) = (question.address, question.directory);
        match self.obey_members(MembersOrder::Add { address, directory }) {
            Ok(NodeId(node)) => Answer::Wait(format!("it becomes node {node}")),
            Err(why) => Answer::Wait(format!("node {}: {why}", self.node.node)),
        }
    }
}

fn order_of(args: Args<'_>) -> Option<MembersOrder> {
    if args.len() != 3 {
        return None;
    }
    let node = parse_i64(args.at(2)).and_then(|node| u64::try_from(node).ok())?;
    let order = [
        ("remove", MembersOrder::Remove as fn(NodeId) -> MembersOrder),
        ("drain", MembersOrder::Drain),
        ("undrain", MembersOrder::Undrain),
    ];
    order.iter().find(|(name, _)| args.is(1, name)).map(|(_, make)| make(NodeId(node)))
}
