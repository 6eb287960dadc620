//! MULTI, EXEC, DISCARD, WATCH, UNWATCH. A transaction runs in one piece on its client's core with
//! all of its shards in hand, so it is atomic and isolated whatever the number of cores.

use std::borrow::Cow;

use engine::args::{Args, OwnedArgs};
use engine::command::call::{Run, ServerCommand};
use engine::command::spec::CommandSpec;
use engine::error::CommandError;
use engine::keyspace::Space;
use engine::reply::Reply;

use super::behind::waits_for_nodes;
use super::local::{Caller, find_command};
use super::parked::Parked;
use super::route::{ShardSet, add_shard};
use crate::connection::watched::WatchedKey;
use crate::connection::{Connection, Transaction};
use crate::core::Core;
use crate::core::message::{Message, UnwatchedKey};

const DISCARDED_BECAUSE: &str = "EXECABORT Transaction discarded because of: ";

impl Core {
    pub(crate) fn queue_command(
        &mut self,
        connection: &mut Connection,
        spec: &CommandSpec,
        args: Args<'_>,
    ) {
        let command = OwnedArgs::copy_of(args);
        if let Some(transaction) = &mut connection.transaction {
            transaction.waits |= waits_for_nodes(spec);
            transaction.add(command);
        }
        self.reply_with(connection, |reply| reply.simple("QUEUED"));
    }

    /// Shards that EXEC or WATCH needs, which no key specification tells.
    pub(crate) fn shards_of_session_command(
        &self,
        connection: &Connection,
        spec: &CommandSpec,
        args: Args<'_>,
    ) -> ShardSet {
        let mut needed = ShardSet::new();
        if matches!(spec.run, Run::Server(ServerCommand::Watch)) {
            for key in args.iter_from(1) {
                add_shard(&mut needed, self.shards.shard_of(key) as u16);
            }
            return needed;
        }
        for key in connection.watched.keys() {
            add_shard(&mut needed, self.shards.shard_of(key) as u16);
        }
        for command in connection.transaction.iter().flat_map(Transaction::commands) {
            if let Ok(spec) = find_command(command.as_args()) {
                for shard in self.shards_needed(spec, command.as_args()) {
                    add_shard(&mut needed, shard);
                }
            }
        }
        needed
    }

    pub(crate) fn multi(&mut self, connection: &mut Connection) {
        let nested = connection.transaction.is_some();
        if !nested {
            connection.transaction = Some(Transaction::default());
        }
        self.reply_with(connection, |reply| match nested {
            true => reply.error("ERR MULTI calls can not be nested"),
            false => reply.ok(),
        });
    }

    /// A command was refused: the transaction that it is part of fails with it, and is over if it
    /// was EXEC. Returns what is to be said.
    pub(crate) fn fail_transaction(
        &mut self,
        connection: &mut Connection,
        args: Args<'_>,
        refusal: Cow<'static, [u8]>,
    ) -> Cow<'static, [u8]> {
        let Some(transaction) = &mut connection.transaction else { return refusal };
        transaction.failed = true;
        let exec = |spec: &CommandSpec| matches!(spec.run, Run::Server(ServerCommand::Exec));
        if !find_command(args).is_ok_and(|spec| exec(spec) && spec.arity_fits(args.len())) {
            return refusal;
        }
        connection.transaction = None;
        self.unwatch_all(connection);
        [DISCARDED_BECAUSE.as_bytes(), &refusal].concat().into()
    }

    pub(crate) fn discard(&mut self, connection: &mut Connection) {
        let began = connection.transaction.take().is_some();
        if began {
            self.unwatch_all(connection);
        }
        self.reply_with(connection, |reply| match began {
            true => reply.ok(),
            false => reply.error("ERR DISCARD without MULTI"),
        });
    }

    pub(crate) fn watch(&mut self, connection: &mut Connection, args: Args<'_>) {
        if connection.transaction.is_some() {
            return self.reply_with(connection, |reply| {
                reply.error("ERR WATCH inside MULTI is not allowed");
            });
        }
        let db = connection.db;
        for key in args.iter_from(1) {
            if connection.watched.has(db, key) {
                continue;
            }
            // A key whose time is over is gone before it is watched.
            let unix_ms = self.now.unix_ms;
            Space::new(&mut self.shards, &self.settings, db, unix_ms).contains(key);
            let shard = self.shards.shard_of(key);
            self.touch_changed(&ShardSet::from_slice(&[shard as u16]));
            if let Some(held) = self.shards.get_mut(shard) {
                let version = held.watched.watch(db, key);
                connection.watched.add(WatchedKey { db, key: key.into(), version });
            }
        }
        self.reply_ok(connection);
    }

    /// Ends all watches of a connection without asking whether the keys changed.
    pub(crate) fn unwatch_all(&mut self, connection: &mut Connection) {
        if connection.watched.is_empty() {
            return self.unwatch_upstream(connection);
        }
        let mut by_core = vec![Vec::new(); self.config.cores];
        for watched in connection.watched.take() {
            let shard = self.shards.shard_of(&watched.key);
            let core = if self.shards.holds(shard) { self.id } else { self.homes[shard] };
            by_core[usize::from(core)].push(watched);
        }
        for (core, keys) in by_core.into_iter().enumerate() {
            match core as u16 {
                own if own == self.id => self.on_unwatch(keys),
                other if !keys.is_empty() => self.send_message(other, Message::Unwatch(keys)),
                _ => {}
            }
        }
        self.unwatch_upstream(connection);
    }

    pub(crate) fn on_unwatch(&mut self, keys: Vec<UnwatchedKey>) {
        for watched in keys {
            let shard = self.shards.shard_of(&watched.key);
            match self.shards.get_mut(shard) {
                Some(held) => {
                    held.watched.unwatch(watched.db, &watched.key, watched.version);
                }
                None => self.parked[shard].push_back(Parked::Unwatch(vec![watched])),
            }
        }
    }

    /// Whether every watched key is as it was; the watches end. Their shards are in hand.
    fn watched_keys_hold(&mut self, connection: &mut Connection) -> bool {
        let mut hold = !std::mem::take(&mut connection.watch_lost);
        for watched in connection.watched.take() {
            let unix_ms = self.now.unix_ms;
            Space::new(&mut self.shards, &self.settings, watched.db, unix_ms)
                .contains(&watched.key);
            let shard = self.shards.shard_of(&watched.key);
            let same = self.shards.get_mut(shard).is_some_and(|held| {
                held.watched.unwatch(watched.db, &watched.key, watched.version)
            });
            hold &= same;
        }
        hold
    }

    pub(crate) fn exec(&mut self, connection: &mut Connection, spec: &CommandSpec, args: Args<'_>) {
        let needed = self.shards_of_session_command(connection, spec, args);
        let Some(transaction) = connection.transaction.take() else {
            return self.reply_with(connection, |reply| reply.error("ERR EXEC without MULTI"));
        };
        if transaction.failed {
            self.unwatch_all(connection);
            return self.reply_with(connection, |reply| {
                reply.error("EXECABORT Transaction discarded because of previous errors.");
            });
        }
        if let Some(CommandError(why)) = self.refuse_transaction(transaction.commands()) {
            self.unwatch_all(connection);
            let before = DISCARDED_BECAUSE.as_bytes();
            return self.reply_with(connection, |reply| reply.error([before, &*why].concat()));
        }
        self.begin_observing(&needed);
        let part = connection.replies.begin_part();
        if self.watched_keys_hold(connection) {
            self.reply_with(connection, |reply| reply.array(transaction.commands().len()));
            for command in transaction.commands() {
                self.exec_one(connection, command);
            }
        } else {
            self.reply_with(connection, |reply| reply.null_array());
        }
        self.note_memory(&needed);
        self.hold_part(connection, part, &needed);
        self.close_large_entries(&needed);
        self.publish_behind(connection);
        self.serve_ready(&needed);
    }

    fn exec_one(&mut self, connection: &mut Connection, command: &OwnedArgs) {
        let args = command.as_args();
        let Ok(spec) = find_command(args) else { return };
        self.stats.commands += 1;
        let timing = self.start_timing(spec, args);
        if let Run::Server(server) = spec.run {
            self.measures.replied_error = false;
            match server {
                ServerCommand::Wait | ServerCommand::Waitaof => {
                    self.wait_in_transaction(connection, args);
                }
                ServerCommand::Publish => self.publish_in_transaction(connection, spec, args),
                server => self.run_server_command(connection, server, spec, args),
            }
            self.count_replied_error(spec);
            return self.stop_timing(timing, connection, spec, args);
        }
        let who = Caller::of(connection);
        let protocol = who.protocol;
        let (out, _) = connection.replies.begin();
        let failed = self.run_engine(spec, args, who, Reply::new(out, protocol));
        self.stats.errors += u64::from(failed);
        self.stop_timing(timing, connection, spec, args);
        if let Some(block) = self.block.take() {
            let (out, _) = connection.replies.begin();
            block.in_transaction.write(&mut Reply::new(out, protocol));
        }
    }
}
