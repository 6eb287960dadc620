//! What nodes say to each other among a client's commands: words that no client can send, since
//! they name no command and are taken from another node, or from this one itself, alone.
//!
//! | command | what |
//! | --- | --- |
//! | `\0client id peer local age_ms` | whose commands follow; once, first |
//! | `\0session db protocol name lib-name lib-ver flags` | how they are to be run from here on |
//!
//! Neither has a reply. Where a node has become the primary itself, what its clients had waiting is
//! read again from their own input, with these beside `\0session`:
//!
//! | command | what |
//! | --- | --- |
//! | `\0mode on` or `off` | whether replies are wanted |
//! | `\0say bytes` | a reply that was made already |
//! | `\0end on`, `off` or `skip` | it was all; CLIENT REPLY as it is now |
//!
//! Between replies the primary says
//!
//! | word | what |
//! | --- | --- |
//! | `\0B\n` | what has no reply was not run: ask the new primary |
//! | `\0C\n` | this client is to be closed |
//! | `\0P\n` | a message that is no reply follows, though it may look like one |
//! | `\0S\n` or `\0U\n` | SUBSCRIBE or its kin is done: the client listens to something, or not |

use std::net::SocketAddr;

use engine::args::Args;
use engine::number::parse_i64;
use engine::reply::Protocol;
use replication::fault::{Fault, is_planted};

use crate::connection::{Connection, ReplyMode};
use crate::core::io::Now;

/// What a primary says last.
pub const GO_ON: &[u8] = b"\0B\n";
pub const CLOSE: &[u8] = b"\0C\n";
pub const GO_ON_LETTER: u8 = b'B';
pub const CLOSE_LETTER: u8 = b'C';

/// What it says of subscriptions.
pub const PUSH: &[u8] = b"\0P\n";
pub const SUBSCRIBED: &[u8] = b"\0S\n";
pub const UNSUBSCRIBED: &[u8] = b"\0U\n";
pub const PUSH_LETTER: u8 = b'P';
pub const SUBSCRIBED_LETTER: u8 = b'S';
pub const UNSUBSCRIBED_LETTER: u8 = b'U';

const CLIENT: &[u8] = b"\0client";
const SESSION: &[u8] = b"\0session";
const MODE: &[u8] = b"\0mode";
const SAY: &[u8] = b"\0say";
const END: &[u8] = b"\0end";

/// Appends a command as clients send it.
pub fn write_command<'a>(
    out: &mut Vec<u8>,
    words: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
) {
    let total: usize = words.clone().map(|word| word.len() + 16).sum();
    out.reserve(total + 16);
    write_head(out, b'*', words.len());
    for word in words {
        write_head(out, b'$', word.len());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

fn write_head(out: &mut Vec<u8>, kind: u8, count: usize) {
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
    out.extend_from_slice(b"\r\n");
}

pub fn write_client(out: &mut Vec<u8>, connection: &Connection, now: Now) {
    let (id, peer) = (connection.client_id.to_string(), connection.peer.to_string());
    let local = connection.local.to_string();
    let age_ms = (now.mono_ns.saturating_sub(connection.created_ns) / 1_000_000).to_string();
    let words = [CLIENT, id.as_bytes(), peer.as_bytes(), local.as_bytes(), age_ms.as_bytes()];
    write_command(out, words.into_iter());
}

/// What a client has set, as it holds for what it says next.
pub fn session_of(connection: &Connection) -> Vec<u8> {
    let mut out = Vec::new();
    let db = connection.db.to_string();
    let protocol: &[u8] = if connection.protocol == Protocol::Resp3 { b"3" } else { b"2" };
    let flags: &[u8] = match (connection.no_evict, connection.no_touch) {
        (false, false) => b"-",
        (true, false) => b"e",
        (false, true) => b"t",
        (true, true) => b"et",
    };
    let (name, version) = (&connection.library_name[..], &connection.library_version[..]);
    let words = [SESSION, db.as_bytes(), protocol, &connection.name, name, version, flags];
    write_command(&mut out, words.into_iter());
    out
}

pub fn write_mode(out: &mut Vec<u8>, on: bool) {
    let mode: &[u8] = if on { b"on" } else { b"off" };
    write_command(out, [MODE, mode].into_iter());
}

pub fn write_say(out: &mut Vec<u8>, bytes: &[u8]) {
    write_command(out, [SAY, bytes].into_iter());
}

pub fn write_end(out: &mut Vec<u8>, mode: ReplyMode) {
    let mode: &[u8] = match mode {
        ReplyMode::On | ReplyMode::Skipping => b"on",
        ReplyMode::Off => b"off",
        ReplyMode::SkipNext => b"skip",
    };
    write_command(out, [END, mode].into_iter());
}

/// Whether this is such a command, of whom it may be. It is no client's.
pub fn is_inner(connection: &Connection, args: Args<'_>) -> bool {
    args.at(0).first() == Some(&0) && (connection.tunnelled || connection.replays_own())
}

/// Does what such a command says.
pub fn obey(connection: &mut Connection, args: Args<'_>, now: Now) {
    let done = match (args.at(0), args.len()) {
        (CLIENT, 5) if connection.tunnelled => set_client(connection, args, now),
        (SESSION, 7) => set_session(connection, args),
        (MODE, 2) if connection.replays_own() => {
            connection.reply_mode =
                if args.at(1) == b"on" { ReplyMode::On } else { ReplyMode::Off };
            Some(())
        }
        (SAY, 2) if connection.replays_own() => {
            connection.replies.begin().0.extend_from_slice(args.at(1));
            Some(())
        }
        (END, 2) if connection.replays_own() => {
            let open = connection.replays.pop().flatten();
            if !is_planted(Fault::WaitingQueued) {
                connection.transaction = open;
            }
            connection.reply_mode = match args.at(1) {
                b"off" => ReplyMode::Off,
                b"skip" => ReplyMode::SkipNext,
                _ => ReplyMode::On,
            };
            Some(())
        }
        _ => None,
    };
    connection.commands_total -= 1;
    if done.is_none() {
        // Another version's, perhaps: what it means is not known.
        connection.closing = true;
    }
}

fn set_client(connection: &mut Connection, args: Args<'_>, now: Now) -> Option<()> {
    let address = |at: usize| -> Option<SocketAddr> {
        std::str::from_utf8(args.at(at)).ok().and_then(|text| text.parse().ok())
    };
    let number = |at: usize| parse_i64(args.at(at)).and_then(|number| u64::try_from(number).ok());
    connection.client_id = number(1)?;
    connection.peer = address(2)?;
    connection.local = address(3)?;
    connection.created_ns = now.mono_ns.saturating_sub(number(4)?.saturating_mul(1_000_000));
    Some(())
}

fn set_session(connection: &mut Connection, args: Args<'_>) -> Option<()> {
    connection.db = engine::command::parse::database(args.at(1)).ok()?;
    connection.protocol = if args.at(2) == b"3" { Protocol::Resp3 } else { Protocol::Resp2 };
    connection.name = args.at(3).to_vec();
    connection.library_name = args.at(4).to_vec();
    connection.library_version = args.at(5).to_vec();
    connection.no_evict = args.at(6).contains(&b'e');
    connection.no_touch = args.at(6).contains(&b't');
    Some(())
}
