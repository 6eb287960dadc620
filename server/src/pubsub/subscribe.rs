//! SUBSCRIBE, UNSUBSCRIBE and their kin. A client's subscriptions lie on its core; the other cores
//! know how many each core has.

use std::sync::Arc;

use engine::args::Args;
use engine::command::call::{Run, ServerCommand};
use engine::command::spec::CommandSpec;
use engine::error::CommandError;
use engine::reply::Reply;

use super::directory::Who;
use super::subscriptions::Subscriptions;
use super::{Kind, Name};
use crate::admin::everywhere::Question;
use crate::connection::Connection;
use crate::core::Core;
use crate::core::io::ConnId;
use crate::tunnel::words::{PUSH, SUBSCRIBED, UNSUBSCRIBED};

/// Subscriptions of a core's clients that have come or gone.
#[derive(Clone, Debug)]
pub struct Change {
    pub core: u16,
    pub kind: Kind,
    pub comes: bool,
    pub names: Arc<[Name]>,
}

/// Whether a command changes what its client listens to.
pub fn is_subscribe(spec: &CommandSpec) -> bool {
    matches!(spec.run, Run::Server(ServerCommand::Subscribe))
}

/// Whether a client that speaks RESP2 may run it while it listens, where everything that comes is
/// a message.
pub fn runs_while_subscribed(spec: &CommandSpec) -> bool {
    match spec.run {
        Run::Server(command) => matches!(
            command,
            ServerCommand::Subscribe
                | ServerCommand::Ping
                | ServerCommand::Quit
                | ServerCommand::Reset
        ),
        _ => false,
    }
}

pub fn refused_while_subscribed(full_name: &str) -> CommandError {
    CommandError::from_text(format!(
        "ERR Can't execute '{full_name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / \
         RESET are allowed in this context"
    ))
}

impl Core {
    /// Any of the six. Each name has a confirmation of its own; they come once every core knows.
    pub(crate) fn subscribe(
        &mut self,
        connection: &mut Connection,
        spec: &CommandSpec,
        args: Args<'_>,
    ) {
        let (kind, comes) = meaning_of(spec.name);
        let mut own = connection.subscriptions.take().unwrap_or_default();
        let mut saying = Confirmations { connection, verb: spec.name, kind, text: Vec::new() };
        let changed = match (comes, args.len()) {
            (true, _) => add_all(&mut own, &mut saying, args),
            (false, 1) => remove_all(&mut own, &mut saying),
            (false, _) => remove_named(&mut own, &mut saying, args),
        };
        let mut text = saying.text;
        if connection.tunnelled {
            text.extend_from_slice(if own.is_empty() { UNSUBSCRIBED } else { SUBSCRIBED });
        }
        connection.subscriptions = (!own.is_empty()).then_some(own);
        let change = self.change_own(connection.id, kind, comes, changed);
        self.say_once_told(connection, change.map(Question::Subscriptions), text);
    }

    /// A client goes, or is as new.
    pub(crate) fn unsubscribe_all(&mut self, connection: &mut Connection) {
        let Some(mut own) = connection.subscriptions.take() else { return };
        for kind in Kind::ALL {
            if let Some(change) = self.change_own(connection.id, kind, false, own.take(kind)) {
                self.tell_others_of(&Question::Subscriptions(change));
            }
        }
    }

    /// Changes this core's directory; returns what the others have to hear, if anything.
    fn change_own(
        &mut self,
        conn: ConnId,
        kind: Kind,
        comes: bool,
        names: Vec<Name>,
    ) -> Option<Change> {
        let who = Who::Own(conn, self.pubsub.last_number);
        for name in &names {
            match comes {
                true => self.pubsub.directory.add(kind, name, who),
                false => self.pubsub.directory.remove(kind, name, who),
            }
        }
        let told = self.config.cores > 1 && !names.is_empty();
        told.then(|| Change { core: self.id, kind, comes, names: names.into() })
    }

    /// Another core's clients have changed what they listen to.
    pub(crate) fn note_subscriptions(&mut self, change: &Change) {
        let who = Who::Core(change.core);
        for name in change.names.iter() {
            match change.comes {
                true => self.pubsub.directory.add(change.kind, name, who),
                false => self.pubsub.directory.remove(change.kind, name, who),
            }
        }
    }
}

fn meaning_of(name: &str) -> (Kind, bool) {
    match name {
        "subscribe" => (Kind::Channel, true),
        "unsubscribe" => (Kind::Channel, false),
        "psubscribe" => (Kind::Pattern, true),
        "punsubscribe" => (Kind::Pattern, false),
        "ssubscribe" => (Kind::Shard, true),
        _ => (Kind::Shard, false),
    }
}

fn add_all(own: &mut Subscriptions, saying: &mut Confirmations<'_>, args: Args<'_>) -> Vec<Name> {
    let mut added = Vec::new();
    for word in args.iter_from(1) {
        let name = Name::from(word);
        if own.add(saying.kind, &name) {
            added.push(name);
        }
        saying.confirm(Some(word), own);
    }
    added
}

fn remove_named(
    own: &mut Subscriptions,
    saying: &mut Confirmations<'_>,
    args: Args<'_>,
) -> Vec<Name> {
    let mut removed = Vec::new();
    for word in args.iter_from(1) {
        removed.extend(own.remove(saying.kind, word));
        saying.confirm(Some(word), own);
    }
    removed
}

/// Without any there is one confirmation all the same, of nothing.
fn remove_all(own: &mut Subscriptions, saying: &mut Confirmations<'_>) -> Vec<Name> {
    let mut removed = Vec::new();
    while let Some(name) = own.pop(saying.kind) {
        saying.confirm(Some(&name), own);
        removed.push(name);
    }
    if removed.is_empty() {
        saying.confirm(None, own);
    }
    removed
}

/// What a client is told, a message for each name.
struct Confirmations<'a> {
    connection: &'a Connection,
    verb: &'static str,
    kind: Kind,
    text: Vec<u8>,
}

impl Confirmations<'_> {
    fn confirm(&mut self, name: Option<&[u8]>, own: &Subscriptions) {
        if self.connection.tunnelled {
            self.text.extend_from_slice(PUSH);
        }
        let mut reply = Reply::new(&mut self.text, self.connection.protocol);
        reply.push(3);
        reply.bulk(self.verb.as_bytes());
        reply.bulk_or_null(name);
        reply.count(own.shown_count(self.kind));
    }
}
