//! NODES: who is in the cluster, and changes of that. What is asked for is only begun here; NODES
//! says how far it is.

use engine::args::Args;
use engine::number::parse_i64;
use replication::group::NodeId;
use replication::group::roster::Duty;
use replication::link::meeting::{self, Welcome};
use replication::version::Version;

use super::everywhere::{Answer, Purpose, Question};
use super::replication::{GroupsSeen, text_of_range};
use crate::connection::Connection;
use crate::core::Core;
use crate::replica::members::MembersOrder;

impl Core {
    /// NODES [REMOVE node | DRAIN node | UNDRAIN node | RAISE-VERSION [version]]
    pub(crate) fn nodes_command(&mut self, connection: &mut Connection, args: Args<'_>) {
        if args.len() == 1 {
            return self.ask_everywhere(connection, Question::Snapshot, Purpose::Nodes);
        }
        if let Some(order) = order_of(args) {
            return self.ask_everywhere(connection, Question::Members(order), Purpose::Members);
        }
        let why = match args.is(1, "init") {
            true => "ERR this node is of a cluster, or alone",
            false => {
                "ERR NODES takes REMOVE, DRAIN or UNDRAIN, and the number of a node, or \
                 RAISE-VERSION and the version"
            }
        };
        self.reply_with(connection, |reply| reply.error(why));
    }

    /// A line a node, and one of the cluster.
    pub(super) fn describe_nodes(&self, groups: &GroupsSeen) -> String {
        let (own, leader) = (NodeId(self.node.node), self.leader());
        let mut text = String::new();
        for known in &self.roster().nodes {
            let node = known.node;
            let role = if groups.votes_in_all(node) { "voter" } else { "learner" };
            let duty = match known.duty {
                Duty::Full => "full",
                Duty::Drained => "drained",
                Duty::Leaving => "leaving",
            };
            let link = if node == own || self.links.is_linked(node) { "up" } else { "down" };
            let leads = if leader == Some(node) { "yes" } else { "no" };
            let lag = groups.lag_of(node).filter(|_| leader == Some(own));
            let lag = lag.map_or("unknown".into(), |lag| lag.to_string());
            let applies = text_of_range(self.links.applied_by(node));
            let (number, address) = (node.0, known.address);
            text += &format!(
                "node={number} address={address} role={role} duty={duty} leads={leads} \
                 link={link} lag={lag} applies={applies}\r\n"
            );
        }
        text += &format!("cluster version={}\r\n", groups.version());
        text
    }

    /// The first core has the word, the others have none.
    pub(super) fn answer_members(&mut self, order: MembersOrder) -> Answer {
        match self.is_coordinator() {
            true => Answer::Members(self.obey_members(order).map(drop)),
            false => Answer::Done,
        }
    }

    /// A machine without a number asks at the port for nodes.
    pub(crate) fn answer_meeting(&mut self, question: &meeting::Question) -> meeting::Answer {
        let shards = self.homes.len() as u16;
        if question.shards != 0 && question.shards != shards {
            let asked = question.shards;
            return meeting::Answer::Wait(format!("the cluster has {shards} shards, not {asked}"));
        }
        let own_ms = self.config.election_timeout_ms as u16;
        if let Some(why) = question.differs_in_timeout(own_ms) {
            return meeting::Answer::Wait(why);
        }
        if let Some(why) = question.lacks_version(self.roster().version) {
            return meeting::Answer::Wait(why);
        }
        if let Some(of) = self.welcome(question.directory) {
            return meeting::Answer::Welcome(Welcome {
                node: of.node,
                epoch: of.epoch,
                shards,
                founded: of.founded,
                founders: of.founders,
                lost: of.lost,
                roster: self.roster().clone(),
            });
        }
        let (address, directory) = (question.address, question.directory);
        match self.obey_members(MembersOrder::Add { address, directory }) {
            Ok(NodeId(node)) => meeting::Answer::Wait(format!("it becomes node {node}")),
            Err(why) => {
                self.pass_on_join(address, directory);
                meeting::Answer::Wait(format!("node {}: {why}", self.node.node))
            }
        }
    }
}

fn order_of(args: Args<'_>) -> Option<MembersOrder> {
    if args.len() == 2 && args.is(1, "raise-version") {
        return Some(MembersOrder::Raise(None));
    }
    if args.len() != 3 {
        return None;
    }
    let number = parse_i64(args.at(2));
    if args.is(1, "raise-version") {
        let version = number.and_then(|number| u16::try_from(number).ok())?;
        return Some(MembersOrder::Raise(Some(Version(version))));
    }
    let node = number.and_then(|number| u64::try_from(number).ok())?;
    let order = [
        ("remove", MembersOrder::Remove as fn(NodeId) -> MembersOrder),
        ("drain", MembersOrder::Drain),
        ("undrain", MembersOrder::Undrain),
    ];
    order.iter().find(|(name, _)| args.is(1, name)).map(|(_, make)| make(NodeId(node)))
}
