//! Runs a command whose shards are in hand, and holds its reply until it may leave.

use std::borrow::Cow;

use engine::args::{Args, OwnedArgs};
use engine::command::call::{self, Call, Run, ServerCommand};
use engine::command::spec::CommandSpec;
use engine::command::spec::flag::{BLOCKING, DENYOOM, NO_AUTH, NO_MULTI, PROTECTED, WRITE};
use engine::command::table;
use engine::effect::bytes_of_words;
use engine::error::{CommandError, c_text};
use engine::keyspace::Space;
use engine::reply::{Protocol, Reply};
use replication::fault::{Fault, is_planted};

use smallvec::SmallVec;

use super::behind::note_unreleased;
use super::eviction::OUT_OF_MEMORY;
use super::route::{Route, ShardSet};
use crate::commit::gate::Waiter;
use crate::connection::replies::{Hold, Part};
use crate::connection::{Connection, ReplyMode};
use crate::core::Core;
use crate::core::io::ConnId;
use crate::pubsub::subscribe::{is_subscribe, refused_while_subscribed, runs_while_subscribed};
use crate::replica::serving::Serving;
use crate::tunnel::words;

/// Longest part of an unknown command's arguments that its error repeats, as in Redis.
const ECHOED_ARGUMENTS_BYTES_MAX: usize = 128;

impl Core {
    /// One command of a client: checked, then run here, sent to where it runs, or queued.
    pub(crate) fn run_command(&mut self, connection: &mut Connection, args: Args<'_>) {
        if connection.reply_mode == ReplyMode::SkipNext {
            connection.reply_mode = ReplyMode::Skipping;
        } else if connection.reply_mode == ReplyMode::Skipping {
            connection.reply_mode = ReplyMode::On;
        }
        connection.commands_total += 1;
        self.run_words(connection, args);
    }

    /// The same, once what CLIENT REPLY says of it is known.
    #[inline]
    pub(crate) fn run_words(&mut self, connection: &mut Connection, args: Args<'_>) {
        let spec = match self.check(connection, args) {
            Ok(spec) => spec,
            Err(_) if words::is_inner(connection, args) => {
                // What is replayed may be on its way to the next primary already.
                let now = self.now;
                if is_planted(Fault::ReplayOvertaken) {
                    return words::obey(connection, args, now);
                }
                return self.behind(connection, |_, c| words::obey(c, args, now));
            }
            Err(CommandError(text)) => {
                if let Ok(spec) = find_command(args) {
                    self.measures.calls.reject(spec);
                }
                return self.refuse(connection, args, text);
            }
        };
        connection.last_command = Some(spec);
        if self.pause.is_on() && self.is_paused(connection, spec) {
            return self.postpone(connection, args);
        }
        if let Serving::AsReplica(_) = self.replicas.serving {
            return self.run_as_replica(connection, spec, args);
        }
        self.admit(connection, spec, args);
    }

    /// A command does not run, nor does the transaction that it was for: its client is told so in
    /// its turn.
    pub(crate) fn refuse(
        &mut self,
        connection: &mut Connection,
        args: Args<'_>,
        text: Cow<'static, [u8]>,
    ) {
        let text = self.fail_transaction(connection, args, text);
        self.stats.errors += 1;
        self.behind(connection, |core, connection| {
            core.reply_with(connection, |reply| reply.error(&text));
        });
    }

    /// A checked command runs, goes to where it runs, or is queued.
    #[inline]
    pub(crate) fn admit(
        &mut self,
        connection: &mut Connection,
        spec: &'static CommandSpec,
        args: Args<'_>,
    ) {
        if connection.transaction.is_none() {
            return self.dispatch(connection, spec, args);
        }
        if !runs_inside_multi(spec) {
            if let Some(refusal) = self.refuse_queueing(spec) {
                if let Some(transaction) = &mut connection.transaction {
                    transaction.failed = true;
                }
                self.stats.errors += 1;
                self.measures.calls.reject(spec);
                return self.reply_with(connection, |reply| reply.error(refusal));
            }
            return self.queue_command(connection, spec, args);
        }
        if self.must_exec_behind(connection, spec) {
            return self.wait_behind(connection, args);
        }
        self.dispatch(connection, spec, args);
    }

    /// Sends a checked command to where its shards are.
    pub(crate) fn dispatch(
        &mut self,
        connection: &mut Connection,
        spec: &'static CommandSpec,
        args: Args<'_>,
    ) {
        let exec = matches!(spec.run, Run::Server(ServerCommand::Exec | ServerCommand::Watch));
        if self.shards.count() == 1 && self.shards.holds(0) {
            return self.run_here(connection, spec, args, &ShardSet::from_slice(&[0]));
        }
        let needed = match exec {
            true => self.shards_of_session_command(connection, spec, args),
            false => self.shards_needed(spec, args),
        };
        match self.route(&needed) {
            Route::Here => self.run_here(connection, spec, args, &needed),
            Route::Core { core, shard } if !exec && !spec.has(BLOCKING) => {
                self.forward(connection, (core, shard), spec, args);
            }
            Route::Away(shard) => self.park(connection, shard, args),
            Route::Core { shard, .. } => {
                self.gather(connection, ShardSet::from_slice(&[shard]), args);
            }
            Route::Gather(needed) => self.gather(connection, needed, args),
        }
    }

    /// Runs a command now: the shards that it needs are in hand.
    pub(crate) fn run_here(
        &mut self,
        connection: &mut Connection,
        spec: &'static CommandSpec,
        args: Args<'_>,
        needed: &ShardSet,
    ) {
        self.stats.commands += 1;
        let timing = self.start_timing(spec, args);
        if let Run::Server(command) = spec.run {
            self.measures.replied_error = false;
            self.run_server_command(connection, command, spec, args);
            self.count_replied_error(spec);
            return self.stop_timing(timing, connection, spec, args);
        }
        self.make_room(spec);
        self.begin_observing(needed);
        let who = Caller::of(connection);
        let (out, start) = connection.replies.begin();
        let failed = self.run_engine(spec, args, who, Reply::new(out, who.protocol));
        self.stats.errors += u64::from(failed);
        self.note_memory(needed);
        self.hold_reply(connection, start, needed);
        self.close_large_entries(needed);
        if let Some(block) = self.block.take() {
            // It counts as run, and for SLOWLOG, once it is served.
            self.begin_waiting(connection, block, OwnedArgs::copy_of(args));
        } else {
            self.stop_timing(timing, connection, spec, args);
        }
        self.serve_ready(needed);
    }

    /// A command of the server's own has replied: counts it as failed if that was an error.
    pub(crate) fn count_replied_error(&mut self, spec: &'static CommandSpec) {
        if std::mem::take(&mut self.measures.replied_error) {
            self.stats.errors += 1;
            self.measures.calls.fail(spec);
        }
    }

    pub(crate) fn begin_observing(&mut self, needed: &ShardSet) {
        if needed.len() > 1 {
            self.separate(needed);
        }
        for shard in needed {
            if let Some(held) = self.shards.get_mut(usize::from(*shard)) {
                held.begin_observing();
            }
        }
    }

    /// Runs an engine command and writes its reply. Returns whether it was an error.
    pub(crate) fn run_engine(
        &mut self,
        spec: &'static CommandSpec,
        args: Args<'_>,
        who: Caller,
        reply: Reply<'_>,
    ) -> bool {
        let Run::Engine(handler) = spec.run else { return false };
        let mut reply = reply;
        if spec.has(WRITE)
            && let Some(refusal) = self.refuse_write(spec.has(DENYOOM))
        {
            self.measures.calls.refuse(spec);
            reply.error(refusal);
            return true;
        }
        if let Err(CommandError(refusal)) = self.settings.entry.check_words(bytes_of_words(args)) {
            self.measures.calls.refuse(spec);
            reply.error(&refusal);
            return true;
        }
        let keeps_expired = self.pause.is_on() || !self.decides();
        let mut space = Space::new(&mut self.shards, &self.settings, who.db, self.now.unix_ms);
        space.notes_access = !who.no_touch || spec.name == "touch";
        space.keeps_expired = keeps_expired && !spec.has(WRITE);
        let mut call = Call { args, space, reply, rng: &mut self.rng, block: None };
        let failed = call::run(handler, &mut call);
        self.block = call.block.take();
        if failed {
            self.measures.calls.fail(spec);
        }
        failed
    }

    /// Why no write can be taken now.
    fn refuse_write(&self, denyoom: bool) -> Option<&'static str> {
        let out_of_memory = denyoom && self.refuses_memory();
        self.refuse_logging().or_else(|| out_of_memory.then_some(OUT_OF_MEMORY))
    }

    /// Holds the reply that begins at `start` until everything it tells is released; takes it back
    /// if the client wants none.
    pub(crate) fn hold_reply(
        &mut self,
        connection: &mut Connection,
        mut start: usize,
        needed: &ShardSet,
    ) {
        self.silence(connection, start);
        let (id, silent) = (connection.id, connection.is_silent());
        let Connection { replies, unreleased, .. } = connection;
        self.for_each_fence(id, silent.then_some(unreleased), needed, |hold| {
            start = replies.hold_from(start, hold);
        });
    }

    /// As [`Core::hold_reply`] for a part of several replies.
    pub(crate) fn hold_part(&mut self, connection: &mut Connection, part: Part, needed: &ShardSet) {
        let (id, silent) = (connection.id, connection.is_silent());
        if silent {
            connection.replies.discard_part(part);
        }
        let mut holds: SmallVec<[Hold; 4]> = SmallVec::new();
        let unreleased = silent.then_some(&mut connection.unreleased);
        self.for_each_fence(id, unreleased, needed, |hold| holds.push(hold));
        connection.replies.hold_part(part, &holds);
    }

    /// What the client's reply has to wait for, shard by shard; for one that wants none it is
    /// noted.
    #[inline]
    fn for_each_fence(
        &mut self,
        id: ConnId,
        mut unreleased: Option<&mut Vec<(u16, u64)>>,
        needed: &ShardSet,
        mut hold: impl FnMut(Hold),
    ) {
        if needed.len() > 1 {
            self.link(needed);
        }
        for &shard in needed {
            let Some((index, open)) = self.fence_of(shard) else { continue };
            if !self.is_home(usize::from(shard)) {
                // A gathering's foreign shard: its home tells when it is released.
                self.gatherings.note_foreign(shard, index);
                continue;
            }
            if let Some(unreleased) = &mut unreleased {
                note_unreleased(unreleased, shard, index);
                continue;
            }
            // The connection looks at its own fences when it is told.
            let fence = [(shard, index)];
            let fences = if open { &[][..] } else { &fence };
            if self.gate.wait(Waiter::Connection(id), fences, open).is_ok() {
                hold(Hold::Release { shard, index });
            }
        }
    }

    /// The entry that must be released before what was read or changed in a shard may be shown,
    /// and whether that is the one being collected. Notes the shard as touched.
    pub(crate) fn fence_of(&mut self, shard: u16) -> Option<(u64, bool)> {
        let held = self.shards.get_mut(usize::from(shard))?;
        let (changed, wrote) = (!held.effects.is_empty(), held.wrote());
        let (open_index, observed) = (held.open_index(), held.observed());
        if changed && self.is_home(usize::from(shard)) {
            self.touch(shard);
        }
        let observed = if is_planted(Fault::ReadUnreleased) { 0 } else { observed };
        let index = if wrote { open_index } else { observed };
        (index > 0).then_some((index, index == open_index))
    }

    /// Notes what was changed although there is no reply to be fenced: keys whose time was over.
    pub(crate) fn touch_changed(&mut self, needed: &ShardSet) {
        for &shard in needed {
            let held = self.shards.get(usize::from(shard));
            if held.is_some_and(|held| !held.effects.is_empty()) && self.is_home(shard.into()) {
                self.touch(shard);
            }
        }
    }

    /// CLIENT REPLY OFF and SKIP: takes the reply back.
    pub(crate) fn silence(&self, connection: &mut Connection, start: usize) {
        if connection.is_silent() {
            connection.replies.discard_from(start);
        }
    }

    pub(crate) fn reply_ok(&mut self, connection: &mut Connection) {
        self.reply_with(connection, |reply| reply.ok());
    }

    /// Writes a reply that tells nothing of the data.
    pub(crate) fn reply_with(
        &mut self,
        connection: &mut Connection,
        write: impl FnOnce(&mut Reply<'_>),
    ) {
        let (out, start) = connection.replies.begin();
        write(&mut Reply::new(out, connection.protocol));
        self.measures.replied_error |= out.get(start) == Some(&b'-');
        self.silence(connection, start);
    }

    /// Finds the command and checks what can be checked before it runs.
    fn check(
        &self,
        connection: &Connection,
        args: Args<'_>,
    ) -> Result<&'static CommandSpec, CommandError> {
        let spec = match find_command(args) {
            Ok(spec) if spec.arity_fits(args.len()) => spec,
            Ok(spec) if spec.has(PROTECTED) && args.len() > 1 => {
                self.check_protected(connection)?;
                return Err(unknown_or_arity(args));
            }
            Ok(spec) => return Err(engine::error::wrong_arity(&full_name(spec, args))),
            Err(error) => {
                if table::find(args.at(0)).is_some_and(|parent| parent.has(PROTECTED)) {
                    self.check_protected(connection)?;
                    return Err(unknown_or_arity(args));
                }
                return Err(error);
            }
        };
        if !connection.authenticated && !spec.has(NO_AUTH) {
            return Err(CommandError::new("NOAUTH Authentication required."));
        }
        if spec.has(PROTECTED) {
            self.check_protected(connection)?;
        }
        if connection.is_subscribed()
            && connection.protocol == Protocol::Resp2
            && !runs_while_subscribed(spec)
        {
            return Err(refused_while_subscribed(&full_name(spec, args)));
        }
        if connection.transaction.is_some() && (spec.has(NO_MULTI) || is_subscribe(spec)) {
            return Err(CommandError::new("ERR Command not allowed inside a transaction"));
        }
        Ok(spec)
    }
}

/// For whom an engine command runs.
#[derive(Clone, Copy)]
pub struct Caller {
    pub db: u16,
    pub protocol: Protocol,
    pub no_touch: bool,
}

impl Caller {
    pub fn of(connection: &Connection) -> Caller {
        Caller { db: connection.db, protocol: connection.protocol, no_touch: connection.no_touch }
    }
}

/// A container that does not tell apart what it does not know from what has too few words.
pub fn unknown_or_arity(args: Args<'_>) -> CommandError {
    let name = args.at(0).to_ascii_uppercase();
    let sub = truncated(args.at(1), ECHOED_ARGUMENTS_BYTES_MAX);
    let before = &b"ERR unknown subcommand or wrong number of arguments for '"[..];
    CommandError::from_text([before, sub, b"'. Try ", &name, b" HELP."].concat())
}

pub(crate) fn runs_inside_multi(spec: &CommandSpec) -> bool {
    matches!(
        spec.run,
        Run::Server(
            ServerCommand::Exec
                | ServerCommand::Discard
                | ServerCommand::Multi
                | ServerCommand::Watch
                | ServerCommand::Quit
                | ServerCommand::Reset
        )
    )
}

/// The command that these words name, a container's subcommand if it is one.
pub fn find_command(args: Args<'_>) -> Result<&'static CommandSpec, CommandError> {
    let Some(spec) = table::find(args.at(0)) else { return Err(unknown_command(args)) };
    if spec.subcommands.is_empty() || args.len() == 1 {
        return Ok(spec);
    }
    table::find_subcommand(spec, args.at(1)).ok_or_else(|| {
        let name = spec.name.to_uppercase();
        let sub = truncated(args.at(1), ECHOED_ARGUMENTS_BYTES_MAX);
        let parts = [&b"ERR unknown subcommand '"[..], sub, b"'. Try ", name.as_bytes(), b" HELP."];
        CommandError::from_text(parts.concat())
    })
}

fn truncated(text: &[u8], len_max: usize) -> &[u8] {
    c_text(&text[..text.len().min(len_max)])
}

fn unknown_command(args: Args<'_>) -> CommandError {
    let name = truncated(args.at(0), ECHOED_ARGUMENTS_BYTES_MAX);
    let mut text = [&b"ERR unknown command '"[..], name, b"', with args beginning with: "].concat();
    let start = text.len();
    for word in args.iter_from(1) {
        let room = ECHOED_ARGUMENTS_BYTES_MAX.saturating_sub(text.len() - start);
        if room == 0 {
            break;
        }
        text.extend_from_slice(&[b"'", truncated(word, room), b"' "].concat());
    }
    CommandError::from_text(text)
}

/// `name`, or `container|sub` for a subcommand, as errors give it.
pub fn full_name(spec: &CommandSpec, args: Args<'_>) -> String {
    match table::find(args.at(0)) {
        Some(parent) if !std::ptr::eq(parent, spec) => format!("{}|{}", parent.name, spec.name),
        _ => spec.name.to_owned(),
    }
}

/// A reply in a buffer of its own, as forwarded commands need it.
pub fn write_reply(protocol: Protocol, write: impl FnOnce(&mut Reply<'_>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut Reply::new(&mut bytes, protocol));
    bytes
}
