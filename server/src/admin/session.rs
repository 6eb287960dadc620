//! Commands of one connection: PING, SELECT, HELLO, AUTH, RESET and their kin; and the switch that
//! leads to every other server command.

use engine::args::Args;
use engine::command::call::ServerCommand;
use engine::command::parse;
use engine::command::spec::CommandSpec;
use engine::number::parse_i64;
use engine::reply::Protocol;

use super::client::set_name;
use super::everywhere::{Purpose, Question};
use crate::connection::{Connection, ReplyMode};
use crate::core::Core;

/// Version of Redis whose interface this is.
pub const REDIS_VERSION: &str = "7.2.4";

impl Core {
    pub(crate) fn run_server_command(
        &mut self,
        connection: &mut Connection,
        command: ServerCommand,
        spec: &'static CommandSpec,
        args: Args<'_>,
    ) {
        match command {
            ServerCommand::Ping => self.ping(connection, args),
            ServerCommand::Echo => {
                let text = args.at(1);
                self.reply_with(connection, |reply| reply.bulk(text));
            }
            ServerCommand::Select => self.select(connection, args),
            ServerCommand::Auth => self.auth(connection, args),
            ServerCommand::Hello => self.hello(connection, args),
            ServerCommand::Quit => {
                self.reply_ok(connection);
                connection.closing = true;
            }
            ServerCommand::Reset => self.reset(connection),
            ServerCommand::Time => self.time(connection),
            ServerCommand::Multi => self.multi(connection),
            ServerCommand::Exec => self.exec(connection, spec, args),
            ServerCommand::Discard => self.discard(connection),
            ServerCommand::Watch => self.watch(connection, args),
            ServerCommand::Publish => self.publish(connection, spec, args),
            ServerCommand::Subscribe => self.subscribe(connection, spec, args),
            ServerCommand::Unwatch => {
                self.unwatch_all(connection);
                self.reply_ok(connection);
            }
            command => self.run_admin_command(connection, command, spec, args),
        }
    }

    /// Those that look at the server or steer it.
    fn run_admin_command(
        &mut self,
        connection: &mut Connection,
        command: ServerCommand,
        spec: &'static CommandSpec,
        args: Args<'_>,
    ) {
        match command {
            ServerCommand::ClientCommand => self.client_command(connection, spec.name, args),
            ServerCommand::Config => self.config_command(connection, spec.name, args),
            ServerCommand::Info => self.info(connection, args),
            ServerCommand::Command => self.command_command(connection, spec, args),
            ServerCommand::Help => self.help(connection, args),
            ServerCommand::Slowlog => self.slowlog_command(connection, spec.name, args),
            ServerCommand::Latency => self.latency_command(connection, spec.name, args),
            ServerCommand::Memory => self.memory_command(connection, spec.name),
            ServerCommand::Debug => self.debug_command(connection, spec.name, args),
            ServerCommand::Lolwut => self.lolwut(connection, args),
            ServerCommand::Lastsave => self.lastsave(connection),
            ServerCommand::Bgsave => self.bgsave(connection, args),
            ServerCommand::Save => self.save(connection),
            ServerCommand::Role => {
                self.ask_everywhere(connection, Question::Snapshot, Purpose::Role);
            }
            ServerCommand::Asking if self.replicas.is_grouped() && spec.name != "asking" => {
                connection.reads_replica = spec.name == "readonly";
                self.reply_ok(connection);
            }
            ServerCommand::Asking => self.reply_with(connection, |reply| {
                reply.error("ERR This instance has cluster support disabled");
            }),
            ServerCommand::Wait | ServerCommand::Waitaof => self.wait(connection, spec, args),
            ServerCommand::Shutdown => self.shutdown(connection, args),
            ServerCommand::Nodes => self.nodes_command(connection, args),
            ServerCommand::Failover => self.failover(connection, args),
            ServerCommand::Pubsub => self.pubsub_command(connection, spec.name, args),
            other => unreachable!("{other:?} is a session's command"),
        }
    }

    /// SHUTDOWN [NOSAVE | SAVE] [NOW] [FORCE] [ABORT]. Everything acknowledged is saved whatever is
    /// asked for; with NOW a node that leads does not hand over first. As in Redis there is no
    /// reply but the end of the connection.
    fn shutdown(&mut self, connection: &mut Connection, args: Args<'_>) {
        let known = ["nosave", "save", "now", "force", "abort"];
        let mut given = [false; 5];
        for at in 1..args.len() {
            let Some(option) = known.iter().position(|option| args.is(at, option)) else {
                return self.reply_with(connection, |reply| reply.error("ERR syntax error"));
            };
            given[option] = true;
        }
        let [nosave, save, at_once, _, abort] = given;
        if abort && args.len() > 2 || nosave && save {
            return self.reply_with(connection, |reply| reply.error("ERR syntax error"));
        }
        if abort {
            return self.reply_with(connection, |reply| {
                reply.error("ERR No shutdown in progress.");
            });
        }
        self.ask_everywhere(connection, Question::Shutdown { at_once }, Purpose::Nothing);
        connection.closing = true;
    }

    fn ping(&mut self, connection: &mut Connection, args: Args<'_>) {
        if args.len() > 2 {
            let error = engine::error::wrong_arity("ping");
            return self.reply_with(connection, |reply| reply.error(&error.0));
        }
        let text = args.get(1);
        if connection.is_subscribed() && connection.protocol == Protocol::Resp2 {
            return self.reply_with(connection, |reply| {
                reply.array(2);
                reply.bulk(b"pong");
                reply.bulk(text.unwrap_or_default());
            });
        }
        self.reply_with(connection, |reply| match text {
            Some(text) => reply.bulk(text),
            None => reply.simple("PONG"),
        });
    }

    fn select(&mut self, connection: &mut Connection, args: Args<'_>) {
        match parse::database(args.at(1)) {
            Ok(db) => {
                connection.db = db;
                self.reply_ok(connection);
            }
            Err(error) => self.reply_with(connection, |reply| reply.error(&error.0)),
        }
    }

    /// Whether these are the right name and password; the error otherwise.
    fn check_password(&self, user: Option<&[u8]>, password: &[u8]) -> Result<(), &'static str> {
        let Some(expected) = &self.config.requirepass else {
            return match user {
                Some(user) if user != b"default" => Err(WRONG_PASSWORD),
                Some(_) => Ok(()),
                None => Err(NO_PASSWORD_SET),
            };
        };
        let right = user.is_none_or(|user| user == b"default")
            && same_in_constant_time(expected.as_bytes(), password);
        if right { Ok(()) } else { Err(WRONG_PASSWORD) }
    }

    fn auth(&mut self, connection: &mut Connection, args: Args<'_>) {
        let (user, password) = match args.len() {
            2 => (None, args.at(1)),
            3 => (Some(args.at(1)), args.at(2)),
            _ => return self.reply_with(connection, |reply| reply.error("ERR syntax error")),
        };
        let result = self.check_password(user, password);
        connection.authenticated |= result.is_ok();
        self.reply_result(connection, result.map_err(str::to_owned));
    }

    fn hello(&mut self, connection: &mut Connection, args: Args<'_>) {
        if let Err(text) = self.try_hello(connection, args) {
            return self.reply_with(connection, |reply| reply.error(&text));
        }
        let id = connection.client_id as i64;
        self.reply_with(connection, |reply| {
            reply.map(7);
            for (name, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
                reply.bulk(name.as_bytes());
                reply.bulk(value.as_bytes());
            }
            reply.bulk(b"proto");
            reply.integer(if reply.is_resp3() { 3 } else { 2 });
            reply.bulk(b"id");
            reply.integer(id);
            for (name, value) in [("mode", "standalone"), ("role", "master")] {
                reply.bulk(name.as_bytes());
                reply.bulk(value.as_bytes());
            }
            reply.bulk(b"modules");
            reply.array(0);
        });
    }

    fn try_hello(&mut self, connection: &mut Connection, args: Args<'_>) -> Result<(), String> {
        let protocol = match args.get(1).map(parse_i64) {
            None => None,
            Some(Some(2)) => Some(Protocol::Resp2),
            Some(Some(3)) => Some(Protocol::Resp3),
            Some(Some(_)) => return Err("NOPROTO unsupported protocol version".into()),
            Some(None) => {
                return Err("ERR Protocol version is not an integer or out of range".into());
            }
        };
        let mut at = 2;
        let (mut login, mut name) = (None, None);
        while at < args.len() {
            if args.is(at, "auth") && at + 2 < args.len() {
                login = Some((args.at(at + 1), args.at(at + 2)));
                at += 3;
            } else if args.is(at, "setname") && at + 1 < args.len() {
                name = Some(args.at(at + 1));
                at += 2;
            } else {
                let option = String::from_utf8_lossy(args.at(at)).into_owned();
                return Err(format!("ERR Syntax error in HELLO option '{option}'"));
            }
        }
        if let Some((user, password)) = login {
            self.check_password(Some(user), password).map_err(str::to_owned)?;
            connection.authenticated = true;
        }
        if !connection.authenticated {
            return Err("NOAUTH HELLO must be called with the client already authenticated, \
                        otherwise the HELLO <proto> AUTH <user> <pass> option can be used to \
                        authenticate the client and select the RESP protocol version at the same \
                        time"
                .into());
        }
        if let Some(name) = name {
            set_name(connection, name)?;
        }
        if let Some(protocol) = protocol {
            connection.protocol = protocol;
        }
        Ok(())
    }

    fn reset(&mut self, connection: &mut Connection) {
        connection.transaction = None;
        self.unwatch_all(connection);
        self.unsubscribe_all(connection);
        self.unsubscribe_upstream(connection);
        connection.db = 0;
        connection.protocol = Protocol::Resp2;
        connection.reply_mode = ReplyMode::On;
        connection.name.clear();
        connection.no_evict = false;
        connection.no_touch = false;
        connection.authenticated = self.config.requirepass.is_none();
        self.reply_with(connection, |reply| reply.simple("RESET"));
    }

    fn time(&mut self, connection: &mut Connection) {
        let now_us = self.now.unix_us;
        self.reply_with(connection, |reply| {
            reply.array(2);
            reply.bulk_integer(now_us / 1_000_000);
            reply.bulk_integer(now_us % 1_000_000);
        });
    }
}

const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";
const NO_PASSWORD_SET: &str = "ERR AUTH <password> called without any password configured for the \
    default user. Are you sure your configuration is correct?";

/// Compares without telling by its time how much is right.
fn same_in_constant_time(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |diff, (x, y)| diff | (x ^ y)) == 0
}
