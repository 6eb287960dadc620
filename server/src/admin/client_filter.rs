//! Which clients CLIENT KILL and CLIENT LIST mean.

use std::net::SocketAddr;

use engine::args::Args;
use engine::number::parse_i64;

use crate::connection::Connection;
use crate::core::io::Now;

/// A client has to fit everything that is set.
#[derive(Clone, Debug, Default)]
pub struct ClientFilter {
    /// Any of these.
    client_ids: Option<Vec<u64>>,
    peer: Option<String>,
    local: Option<String>,
    /// The asking client, if it is to be spared.
    spared: Option<u64>,
    class: Option<Class>,
    /// Connected for so many seconds or longer.
    age_s_min: Option<u64>,
}

/// A kind of client, as TYPE names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Normal,
    Master,
    Replica,
    Pubsub,
}

impl Class {
    fn of(connection: &Connection) -> Class {
        if connection.is_subscribed() { Class::Pubsub } else { Class::Normal }
    }

    fn parse(text: &[u8]) -> Result<Class, String> {
        match text.to_ascii_lowercase().as_slice() {
            b"normal" => Ok(Class::Normal),
            b"master" => Ok(Class::Master),
            b"replica" | b"slave" => Ok(Class::Replica),
            b"pubsub" => Ok(Class::Pubsub),
            _ => Err(format!("ERR Unknown client type '{}'", String::from_utf8_lossy(text))),
        }
    }
}

impl ClientFilter {
    pub fn of_peer(peer: SocketAddr) -> ClientFilter {
        ClientFilter { peer: Some(peer.to_string()), ..ClientFilter::default() }
    }

    pub fn fits(&self, connection: &Connection, now: Now) -> bool {
        let age_s = now.mono_ns.saturating_sub(connection.created_ns) / 1_000_000_000;
        let is = |wanted: &Option<String>, address: SocketAddr| {
            wanted.as_ref().is_none_or(|wanted| *wanted == address.to_string())
        };
        self.client_ids.as_ref().is_none_or(|ids| ids.contains(&connection.client_id))
            && is(&self.peer, connection.peer)
            && is(&self.local, connection.local)
            && self.spared != Some(connection.client_id)
            && self.class.is_none_or(|class| class == Class::of(connection))
            && self.age_s_min.is_none_or(|min| age_s >= min)
    }

    /// CLIENT LIST [TYPE kind] [ID id …].
    pub fn of_list(args: Args<'_>) -> Result<ClientFilter, String> {
        let mut filter = ClientFilter::default();
        match args.len() {
            2 => {}
            4 if args.is(2, "type") => filter.class = Some(Class::parse(args.at(3))?),
            4.. if args.is(2, "id") => {
                let ids = args.iter_from(3).map(|text| {
                    let id = parse_i64(text).and_then(|id| u64::try_from(id).ok());
                    id.ok_or_else(|| "ERR Invalid client ID".to_owned())
                });
                filter.client_ids = Some(ids.collect::<Result<_, _>>()?);
            }
            _ => return Err("ERR syntax error".into()),
        }
        Ok(filter)
    }

    /// CLIENT KILL with options; `asking` is spared unless SKIPME says no.
    pub fn of_kill(asking: u64, args: Args<'_>) -> Result<ClientFilter, String> {
        let syntax = || "ERR syntax error".to_owned();
        let mut filter = ClientFilter { spared: Some(asking), ..ClientFilter::default() };
        if !args.len().is_multiple_of(2) {
            return Err(syntax());
        }
        for at in (2..args.len()).step_by(2) {
            let value = args.at(at + 1);
            let text = || String::from_utf8_lossy(value).into_owned();
            if args.is(at, "id") {
                let id = parse_i64(value).filter(|id| *id > 0);
                let id = id.ok_or("ERR client-id should be greater than 0")?;
                filter.client_ids = Some(vec![id as u64]);
            } else if args.is(at, "addr") {
                filter.peer = Some(text());
            } else if args.is(at, "laddr") {
                filter.local = Some(text());
            } else if args.is(at, "type") {
                filter.class = Some(Class::parse(value)?);
            } else if args.is(at, "user") {
                if value != b"default" {
                    return Err(format!("ERR No such user '{}'", text()));
                }
            } else if args.is(at, "maxage") {
                let age = parse_i64(value).ok_or("ERR maxage is not an integer or out of range")?;
                let age = u64::try_from(age).ok().filter(|age| *age > 0);
                filter.age_s_min = Some(age.ok_or("ERR maxage should be greater than 0")?);
            } else if args.is(at, "skipme") {
                filter.spared = match value.to_ascii_lowercase().as_slice() {
                    b"yes" => Some(asking),
                    b"no" => None,
                    _ => return Err(syntax()),
                };
            } else {
                return Err(syntax());
            }
        }
        Ok(filter)
    }
}

pub fn parse_address(text: &[u8]) -> Option<SocketAddr> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
