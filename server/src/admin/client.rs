//! CLIENT: who is connected, and steering connections.

use engine::args::Args;
use engine::command::table;
use engine::number::parse_i64;
use engine::reply::Protocol;

use super::client_filter::{ClientFilter, parse_address};
use super::everywhere::{Purpose, Question};
use crate::connection::{Connection, ReplyMode, Transaction, Waiting};
use crate::core::Core;
use crate::pubsub::Kind;

impl Core {
    pub(crate) fn client_command(
        &mut self,
        connection: &mut Connection,
        sub: &str,
        args: Args<'_>,
    ) {
        match sub {
            "id" => {
                let id = connection.client_id as i64;
                self.reply_with(connection, |reply| reply.integer(id));
            }
            "getname" => {
                let name = connection.name.clone();
                let name = (!name.is_empty()).then_some(name);
                self.reply_with(connection, |reply| reply.bulk_or_null(name.as_deref()));
            }
            "setname" => {
                let result = set_name(connection, args.at(2));
                self.reply_result(connection, result);
            }
            "setinfo" => {
                let result = set_info(connection, args.at(2), args.at(3));
                self.reply_result(connection, result);
            }
            "info" => {
                let line = self.client_line(connection) + "\n";
                self.reply_with(connection, |reply| reply.verbatim(&line));
            }
            "list" => match ClientFilter::of_list(args) {
                Ok(filter) => {
                    let question = Question::Clients(filter);
                    self.ask_everywhere(connection, question, Purpose::ClientList);
                }
                Err(text) => self.reply_with(connection, |reply| reply.error(&text)),
            },
            "getredir" => self.reply_with(connection, |reply| reply.integer(-1)),
            "trackinginfo" => self.reply_with(connection, |reply| {
                reply.map(3);
                reply.bulk(b"flags");
                reply.set(1);
                reply.bulk(b"off");
                reply.bulk(b"redirect");
                reply.integer(-1);
                reply.bulk(b"prefixes");
                reply.array(0);
            }),
            "pause" => self.client_pause(connection, args),
            "unpause" => self.ask_everywhere(connection, Question::Unpause, Purpose::Ok),
            "kill" => self.client_kill(connection, args),
            "no-evict" => self.client_switch(connection, args, |c, on| c.no_evict = on),
            "no-touch" => self.client_switch(connection, args, |c, on| c.no_touch = on),
            "reply" => self.client_reply(connection, args),
            "unblock" => self.client_unblock(connection, args),
            other => {
                let text = format!("ERR unknown subcommand '{other}'. Try CLIENT HELP.");
                self.reply_with(connection, |reply| reply.error(&text));
            }
        }
    }

    pub(crate) fn reply_result(&mut self, connection: &mut Connection, result: Result<(), String>) {
        self.reply_with(connection, |reply| match &result {
            Ok(()) => reply.ok(),
            Err(text) => reply.error(text),
        });
    }

    fn client_switch(
        &mut self,
        connection: &mut Connection,
        args: Args<'_>,
        set: impl FnOnce(&mut Connection, bool),
    ) {
        let on = args.is(2, "on");
        if !on && !args.is(2, "off") {
            return self.reply_with(connection, |reply| reply.error("ERR syntax error"));
        }
        set(connection, on);
        self.reply_ok(connection);
    }

    fn client_reply(&mut self, connection: &mut Connection, args: Args<'_>) {
        if args.is(2, "on") {
            connection.reply_mode = ReplyMode::On;
            self.reply_ok(connection);
        } else if args.is(2, "off") {
            connection.reply_mode = ReplyMode::Off;
        } else if args.is(2, "skip") {
            if connection.reply_mode != ReplyMode::Off {
                connection.reply_mode = ReplyMode::SkipNext;
            }
        } else {
            self.reply_with(connection, |reply| reply.error("ERR syntax error"));
        }
    }

    fn client_unblock(&mut self, connection: &mut Connection, args: Args<'_>) {
        let error = match args.len() {
            3 => false,
            4 if args.is(3, "timeout") => false,
            4 if args.is(3, "error") => true,
            _ => {
                return self.reply_with(connection, |reply| {
                    reply.error("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
                });
            }
        };
        let Some(client_id) = parse_i64(args.at(2)) else {
            return self.reply_with(connection, |reply| {
                reply.error("ERR value is not an integer or out of range");
            });
        };
        let question = Question::Unblock { client_id: client_id as u64, error };
        self.ask_everywhere(connection, question, Purpose::Count);
    }

    fn client_kill(&mut self, connection: &mut Connection, args: Args<'_>) {
        let (filter, purpose) = if args.len() == 3 {
            let Some(peer) = parse_address(args.at(2)) else {
                return self.reply_with(connection, |reply| reply.error("ERR No such client"));
            };
            (ClientFilter::of_peer(peer), Purpose::KillOne)
        } else {
            match ClientFilter::of_kill(connection.client_id, args) {
                Ok(filter) => (filter, Purpose::Count),
                Err(text) => return self.reply_with(connection, |reply| reply.error(&text)),
            }
        };
        self.ask_everywhere(connection, Question::KillClients(filter), purpose);
    }

    /// Closes the clients that fit; the asking one is closed once it has its reply.
    pub(crate) fn kill_clients(
        &mut self,
        filter: &ClientFilter,
        asking: Option<&mut Connection>,
    ) -> u64 {
        let fitting: Vec<_> =
            self.connections.iter().filter(|c| filter.fits(c, self.now)).map(|c| c.id).collect();
        let mut count = fitting.len() as u64;
        for conn in fitting {
            self.kill_connection(conn);
        }
        if let Some(asking) = asking.filter(|asking| filter.fits(asking, self.now)) {
            asking.closing = true;
            count += 1;
        }
        count
    }

    /// One line of CLIENT LIST, with Redis's field names.
    pub(crate) fn client_line(&self, c: &Connection) -> String {
        let seconds = |since_ns: u64| self.now.mono_ns.saturating_sub(since_ns) / 1_000_000_000;
        let blocked =
            matches!(c.waiting, Waiting::Key(_) | Waiting::Nodes(_) | Waiting::Pause { .. });
        let flags = match (c.is_subscribed(), &c.transaction, blocked) {
            (true, _, true) => "Pb",
            (true, Some(_), _) => "Px",
            (true, None, _) => "P",
            (false, _, true) => "b",
            (false, Some(_), _) => "x",
            (false, None, _) => "N",
        };
        let multi = c.transaction.as_ref().map_or(-1, |t| t.commands().len() as i64);
        format!(
            "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={} sub={} \
             psub={} ssub={} multi={} watch={} qbuf={} qbuf-free={} argv-mem=0 multi-mem={} \
             rbs=0 rbp=0 obl=0 oll=0 omem={} tot-mem={} events=r cmd={} user=default redir=-1 \
             resp={} lib-name={} lib-ver={} tot-net-in={} tot-net-out={} tot-cmds={}",
            c.client_id,
            c.peer,
            c.local,
            c.id.index,
            String::from_utf8_lossy(&c.name),
            seconds(c.created_ns),
            seconds(c.last_active_ns),
            flags,
            c.db,
            c.subscription_count(Kind::Channel),
            c.subscription_count(Kind::Pattern),
            c.subscription_count(Kind::Shard),
            multi,
            c.watched.len(),
            c.query.len(),
            c.query.capacity() - c.query.len(),
            c.transaction.as_ref().map_or(0, Transaction::memory_bytes),
            c.replies.unsent_bytes(),
            c.memory_bytes(),
            c.last_command.map_or("NULL".into(), table::full_name),
            if c.protocol == Protocol::Resp3 { 3 } else { 2 },
            String::from_utf8_lossy(&c.library_name),
            String::from_utf8_lossy(&c.library_version),
            c.bytes_in,
            c.bytes_out,
            c.commands_total,
        )
    }
}

fn is_plain(text: &[u8]) -> bool {
    text.iter().all(|b| (b'!'..=b'~').contains(b))
}

pub(crate) fn set_name(connection: &mut Connection, name: &[u8]) -> Result<(), String> {
    if !is_plain(name) {
        return Err(
            "ERR Client names cannot contain spaces, newlines or special characters.".into()
        );
    }
    connection.name = name.to_vec();
    Ok(())
}

fn set_info(connection: &mut Connection, option: &[u8], value: &[u8]) -> Result<(), String> {
    let place = if option.eq_ignore_ascii_case(b"lib-name") {
        &mut connection.library_name
    } else if option.eq_ignore_ascii_case(b"lib-ver") {
        &mut connection.library_version
    } else {
        return Err(format!("ERR Unrecognized option '{}'", String::from_utf8_lossy(option)));
    };
    if !is_plain(value) {
        let option = String::from_utf8_lossy(option);
        return Err(format!("ERR {option} cannot contain spaces, newlines or special characters."));
    }
    *place = value.to_vec();
    Ok(())
}
