//! Effects in words that look like the commands that might have made them.

use engine::effect::decode::{Change, Decoder, Effect};
use engine::hash::Hasher64;
use engine::image;
use engine::keyspace::Value;
use engine::value::limits::EncodingLimits;
use replication::group::NodeId;
use replication::release::Transaction;
use replication::release::resolve::Content;

/// Lines for what a record or several say: a void, or a transaction and the effects.
pub fn describe_content(content: &Content<&[u8]>, shown_bytes_max: usize) -> Vec<String> {
    match content {
        Content::Void { from } => vec![format!("entries from {} on are cut", from.0)],
        Content::Marker => vec!["what is before is decided, and its leader serves".into()],
        Content::Change { .. } => vec!["a change of the group's members".into()],
        Content::Members { members, installed } => {
            let ids = |nodes: &[NodeId]| {
                nodes.iter().map(|node| node.0.to_string()).collect::<Vec<_>>().join(" ")
            };
            let (voters, learners) = (ids(&members.voters), ids(&members.learners));
            let of = if *installed { "a checkpoint of another node, with" } else { "now" };
            let version = members.roster.version;
            vec![format!("{of} voters {voters}; learners {learners}; version {version}")]
        }
        Content::Entry { transaction, payload } => {
            let mut lines: Vec<String> = transaction.iter().map(describe_transaction).collect();
            lines.extend(describe_payload(payload, shown_bytes_max));
            lines
        }
    }
}

fn describe_transaction(transaction: &Transaction) -> String {
    let Transaction { id, participants } = transaction;
    let parts: Vec<_> =
        participants.iter().map(|part| format!("{}:{}", part.shard.0, part.index.0)).collect();
    format!(
        "transaction {}.{}.{}.{} of entries {} (shard:index)",
        id.node,
        id.incarnation.0,
        id.core.0,
        id.counter,
        parts.join(" ")
    )
}

/// A line for each effect of an entry's payload, and one that says so if the rest cannot be read.
/// Of keys and values no more than `shown_bytes_max` bytes are shown.
fn describe_payload(payload: &[u8], shown_bytes_max: usize) -> Vec<String> {
    let words = Words { shown_bytes_max };
    Decoder::new(payload)
        .map(|effect| match effect {
            Ok(effect) => words.effect(&effect),
            Err(error) => format!("UNREADABLE: {error}"),
        })
        .collect()
}

#[derive(Clone, Copy)]
struct Words {
    shown_bytes_max: usize,
}

impl Words {
    fn effect(self, effect: &Effect<'_>) -> String {
        let db = effect.db;
        match effect.change {
            Change::FlushDatabase => return format!("db{db} FLUSHDB"),
            Change::SwapDatabases { other } => return format!("db{db} SWAPDB with db{other}"),
            _ => {}
        }
        let key = self.text(effect.key);
        format!("db{db} {}", self.change(&key, &effect.change))
    }

    fn change(self, key: &str, change: &Change<'_>) -> String {
        let text = |bytes| self.text(bytes);
        match *change {
            Change::Delete => format!("DEL {key}"),
            Change::SetString(value) => format!("SET {key} {}", text(value)),
            Change::SetStringExpiring { at_ms, value } => {
                format!("SET {key} {} PXAT {at_ms}", text(value))
            }
            Change::SetStringKeep(value) => format!("SET {key} {} KEEPTTL", text(value)),
            Change::Append(tail) => format!("APPEND {key} {}", text(tail)),
            Change::Patch { offset, bytes } => format!("SETRANGE {key} {offset} {}", text(bytes)),
            Change::Expire { at_ms } => format!("PEXPIREAT {key} {at_ms}"),
            Change::Persist => format!("PERSIST {key}"),
            Change::Put { at_ms: -1, image } => format!("PUT {key} {}", self.image(image)),
            Change::Put { at_ms, image } => {
                format!("PUT {key} {} PXAT {at_ms}", self.image(image))
            }
            Change::FlushDatabase => "FLUSHDB".to_owned(),
            Change::SwapDatabases { other } => format!("SWAPDB with db{other}"),
            Change::Rename { to } => format!("RENAME {key} {}", text(to)),
            Change::HashSet { field, value } => {
                format!("HSET {key} {} {}", text(field), text(value))
            }
            Change::HashDelete(field) => format!("HDEL {key} {}", text(field)),
            Change::ListPushFront(element) => format!("LPUSH {key} {}", text(element)),
            Change::ListPushBack(element) => format!("RPUSH {key} {}", text(element)),
            Change::ListPopFront(count) => format!("LPOP {key} {count}"),
            Change::ListPopBack(count) => format!("RPOP {key} {count}"),
            Change::ListSet { index, element } => format!("LSET {key} {index} {}", text(element)),
            Change::ListInsert { index, element } => {
                format!("LINSERT {key} at {index} {}", text(element))
            }
            Change::ListRemove { index, count } => format!("LREM {key} {count} from {index}"),
            Change::SetAdd(member) => format!("SADD {key} {}", text(member)),
            Change::SetRemove(member) => format!("SREM {key} {}", text(member)),
            Change::SortedSetAdd { score, member } => {
                format!("ZADD {key} {score} {}", text(member))
            }
            Change::SortedSetRemove(member) => format!("ZREM {key} {}", text(member)),
        }
    }

    fn text(self, bytes: &[u8]) -> String {
        if bytes.len() <= self.shown_bytes_max {
            return format!("\"{}\"", bytes.escape_ascii());
        }
        let shown = bytes[..self.shown_bytes_max].escape_ascii();
        format!("\"{shown}\"… ({} bytes)", bytes.len())
    }

    fn image(self, bytes: &[u8]) -> String {
        match image::read(bytes, &EncodingLimits::default(), &Hasher64::new([1, 2, 3, 4])) {
            Ok(Value::Integer(integer)) => format!("string {integer}"),
            Ok(Value::Raw(bytes)) => format!("string {}", self.text(&bytes)),
            Ok(Value::List(list)) => format!("list of {}", list.len()),
            Ok(Value::Set(set)) => format!("set of {}", set.len()),
            Ok(Value::Hash(hash)) => format!("hash of {}", hash.len()),
            Ok(Value::ZSet(zset)) => format!("sorted set of {}", zset.len()),
            Err(error) => format!("UNREADABLE VALUE: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Payloads made by hand from `engine/src/effect/FORMAT.md`.
    #[test]
    fn effects_read_like_commands() {
        let set_and_delete = b"\x01\x02\x00\x01k\x05a\nb\"c\x81";
        assert_eq!(
            describe_payload(set_and_delete, 64),
            ["db0 SET \"k\" \"a\\nb\\\"c\"", "db0 DEL \"k\""]
        );
        assert_eq!(describe_payload(set_and_delete, 2)[0], "db0 SET \"k\" \"a\\n\"… (5 bytes)");
        assert_eq!(describe_payload(b"\x01\x0a\x03\x00", 64), ["db3 FLUSHDB"]);
        let put = b"\x01\x09\x00\x01l\xff\xff\xff\xff\xff\xff\xff\xff\x06\x02\x02\x01a\x01b";
        assert_eq!(describe_payload(put, 64), ["db0 PUT \"l\" list of 2"]);
        let broken = describe_payload(b"\x01\x02\x00\x01k\x7fa", 64);
        assert!(broken[0].starts_with("UNREADABLE: malformed effect"), "{broken:?}");
    }
}
