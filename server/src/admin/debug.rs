//! DEBUG's subcommands that concern the server. Those that look at data are the engine's. Nobody
//! may use any of them unless `enable-debug-command` says so.

use engine::args::Args;
use engine::error::{CommandError, NOT_A_FLOAT};
use engine::number::{parse_f64, parse_i64};
use engine::reply::Reply;
use engine::value::limits::LIST_PACKED_THRESHOLD_BYTES;

use super::everywhere::{Purpose, Question};
use crate::config::DebugAccess;
use crate::config::memory_text::parse_memory;
use crate::connection::Connection;
use crate::core::Core;
use crate::limits::DEBUG_SLEEP_NS_MAX;

/// A wish for every core.
#[derive(Clone, Copy, Debug)]
pub enum DebugSetting {
    ActiveExpire(bool),
    ListPackedThreshold(usize),
}

const REFUSAL: CommandError = CommandError::new(
    "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you \
     can run it from a local connection, otherwise you need to set this option in the \
     configuration file, and then restart the server.",
);

const THRESHOLD_ERROR: &str =
    "ERR argument must be a memory value bigger than 1 and smaller than 4gb";

const PROTOCOL_ERROR: &str = "ERR Wrong protocol type name. Please use one of the following: \
    string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false";

impl Core {
    /// Whether this client may use DEBUG.
    pub(crate) fn check_protected(&self, connection: &Connection) -> Result<(), CommandError> {
        let allowed = match self.config.enable_debug {
            DebugAccess::Yes => true,
            DebugAccess::No => false,
            DebugAccess::Local => connection.peer.ip().is_loopback(),
        };
        if allowed { Ok(()) } else { Err(REFUSAL) }
    }

    pub(crate) fn debug_command(&mut self, connection: &mut Connection, sub: &str, args: Args<'_>) {
        match sub {
            "sleep" => self.debug_sleep(connection, args.at(2)),
            "set-active-expire" => {
                let on = parse_i64(args.at(2)).unwrap_or(0) != 0;
                let question = Question::Debug(DebugSetting::ActiveExpire(on));
                self.ask_everywhere(connection, question, Purpose::Ok);
            }
            "quicklist-packed-threshold" => {
                let text = String::from_utf8_lossy(args.at(2));
                let bytes = parse_memory(&text).filter(|bytes| *bytes <= u64::from(u32::MAX));
                let Some(bytes) = bytes else {
                    return self.reply_with(connection, |reply| reply.error(THRESHOLD_ERROR));
                };
                let bytes = if bytes == 0 { LIST_PACKED_THRESHOLD_BYTES } else { bytes as usize };
                let question = Question::Debug(DebugSetting::ListPackedThreshold(bytes));
                self.ask_everywhere(connection, question, Purpose::Ok);
            }
            "stringmatch-len" => {
                let matches = engine::command::glob::matches(args.at(2), args.at(3));
                self.reply_with(connection, |reply| reply.flag(matches));
            }
            "error" => {
                let text = String::from_utf8_lossy(args.at(2)).into_owned();
                self.reply_with(connection, |reply| reply.error(&text));
            }
            "log" => {
                let text = String::from_utf8_lossy(args.at(2));
                tracing::warn!(client = %connection.peer, "DEBUG LOG: {text}");
                self.reply_ok(connection);
            }
            _ => {
                let kind = args.at(2).to_ascii_lowercase();
                self.reply_with(connection, |reply| write_protocol(reply, &kind));
            }
        }
    }

    /// Holds up this core and with it all of its clients, as Redis's does; others go on.
    fn debug_sleep(&mut self, connection: &mut Connection, seconds: &[u8]) {
        let Some(seconds) = parse_f64(seconds) else {
            return self.reply_with(connection, |reply| reply.error(&NOT_A_FLOAT.0));
        };
        let ns = seconds * 1e9;
        if ns > DEBUG_SLEEP_NS_MAX as f64 {
            let limit_s = DEBUG_SLEEP_NS_MAX / 1_000_000_000;
            let error = format!("ERR DEBUG SLEEP takes at most {limit_s} seconds");
            return self.reply_with(connection, |reply| reply.error(&error));
        }
        self.host.sleep_ns(ns.max(0.0) as u64);
        self.reply_ok(connection);
    }

    pub(crate) fn apply_debug_setting(&mut self, setting: DebugSetting) {
        match setting {
            DebugSetting::ActiveExpire(on) => self.config.active_expire = on,
            DebugSetting::ListPackedThreshold(bytes) => {
                self.config.encoding.list_packed_threshold_bytes = bytes;
            }
        }
        self.settings = self.config.engine_settings();
    }
}

/// A reply of each type, for those who test clients.
fn write_protocol(reply: &mut Reply<'_>, kind: &[u8]) {
    let resp3 = reply.is_resp3();
    match kind {
        b"string" => reply.bulk(b"Hello World"),
        b"integer" => reply.integer(12_345),
        b"double" => reply.double(3_141.0 / 1_000.0),
        b"null" => reply.null(),
        b"array" => {
            reply.array(3);
            (0..3).for_each(|n| reply.integer(n));
        }
        b"set" => {
            reply.set(3);
            (0..3).for_each(|n| reply.integer(n));
        }
        b"map" => {
            reply.map(3);
            for n in 0..3 {
                reply.integer(n);
                reply.boolean(n == 1);
            }
        }
        b"attrib" => {
            if resp3 {
                reply.raw(b"|1\r\n");
                reply.bulk(b"key-popularity");
                reply.array(2);
                reply.bulk(b"key:123");
                reply.integer(90);
            }
            reply.bulk(b"Some real reply following the attribute");
        }
        b"push" if resp3 => {
            reply.push(2);
            reply.bulk(b"server-cpu-usage");
            reply.integer(42);
            reply.bulk(b"Some real reply following the push reply");
        }
        b"push" => reply.error("ERR RESP2 is not supported by this command"),
        b"verbatim" => reply.verbatim("This is a verbatim\nstring"),
        b"true" => reply.boolean(true),
        b"false" => reply.boolean(false),
        b"bignum" if resp3 => reply.raw(b"(1234567999999999999999999999999999999\r\n"),
        b"bignum" => reply.bulk(b"1234567999999999999999999999999999999"),
        _ => reply.error(PROTOCOL_ERROR),
    }
}
