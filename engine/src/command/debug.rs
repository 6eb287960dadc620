//! DEBUG's subcommands that look at data. They are for developers: the server lets nobody use them
//! unless `enable-debug-command` says so.

use std::fmt::Write;

use crate::error::{CommandError, CommandResult, NO_SUCH_KEY, NOT_POSITIVE, SYNTAX};
use crate::image;
use crate::keyspace::digest::{Digest, digest_of_database, digest_of_value};
use crate::keyspace::{Expiry, ValueRef};
use crate::limits::DATABASE_COUNT;

use super::call::Call;
use super::generic::encoding_of;
use super::parse::integer;

pub fn object(call: &mut Call<'_, '_>) -> CommandResult {
    let args = call.args;
    if args.len() > 4 || args.len() == 4 && !args.is(3, "fast") {
        return Err(SYNTAX);
    }
    let clock = call.space.access_clock();
    let node_bytes = call.space.settings.encoding.list_max_listpack_size;
    let entry = call.space.peek(args.at(2)).ok_or(NO_SUCH_KEY)?;
    let (value, access) = (entry.value(), entry.access());
    let mut bytes = Vec::new();
    image::write(value, &mut bytes);
    // The image begins with a byte that names the type; Redis does not count its own either.
    let length = bytes.len() - 1;
    let idle_s = clock.idle_s(access);
    let mut text = format!(
        "Value at:{:p} refcount:1 encoding:{} serializedlength:{length} lru:{access} \
         lru_seconds_idle:{idle_s}",
        std::ptr::from_ref(entry),
        encoding_of(value),
    );
    if let ValueRef::List(list) = value
        && list.encoding() == "quicklist"
    {
        let nodes = list.node_count();
        let average = list.len() as f64 / nodes.max(1) as f64;
        // A String takes whatever is written to it.
        let _ = write!(
            text,
            " ql_nodes:{nodes} ql_avg_node:{average:.2} ql_listpack_max:{node_bytes} \
             ql_compressed:0 ql_uncompressed_size:{length}"
        );
    }
    call.reply.simple(&text);
    Ok(())
}

/// What the packed form of a value holds.
pub fn listpack(call: &mut Call<'_, '_>) -> CommandResult {
    let entry = call.space.peek(call.args.at(2)).ok_or(NO_SUCH_KEY)?;
    let value = entry.value();
    if encoding_of(value) != "listpack" {
        return Err(CommandError::new("ERR Not a listpack encoded object."));
    }
    let (len, bytes) = match value {
        ValueRef::List(list) => (list.len(), list.memory_bytes()),
        ValueRef::Set(set) => (set.len(), set.memory_bytes()),
        ValueRef::Hash(hash) => (2 * hash.len(), hash.memory_bytes()),
        ValueRef::ZSet(zset) => (2 * zset.len(), zset.memory_bytes()),
        _ => return Err(SYNTAX),
    };
    call.reply.simple(&format!("entries:{len} bytes:{bytes}"));
    Ok(())
}

pub fn digest(call: &mut Call<'_, '_>) -> CommandResult {
    let mut sum = Digest::default();
    for shard in call.space.shards.held_mut() {
        shard.observe_all();
        for db in 0..DATABASE_COUNT as u16 {
            sum ^= digest_of_database(shard, db);
        }
    }
    call.reply.simple(&sum.to_string());
    Ok(())
}

pub fn digest_value(call: &mut Call<'_, '_>) -> CommandResult {
    let args = call.args;
    call.reply.array(args.len() - 2);
    for key in args.iter_from(2) {
        let digest =
            call.space.peek(key).map(|entry| digest_of_value(entry.value())).unwrap_or_default();
        call.reply.simple(&digest.to_string());
    }
    Ok(())
}

/// Writes every value as its image, as the log and checkpoints do, and puts what is read back in
/// its place. Whatever a value lost on that way stops the process: the digests would differ.
pub fn reload(call: &mut Call<'_, '_>) -> CommandResult {
    let args = call.args;
    let options = ["nosave", "noflush", "merge"];
    if let Some(at) = (2..args.len()).find(|at| !options.iter().any(|o| args.is(*at, o))) {
        let option = String::from_utf8_lossy(args.at(at)).into_owned();
        return Err(CommandError::from_text(format!(
            "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options, not '{option}'."
        )));
    }
    let now_ms = call.space.now_ms();
    let limits = call.space.settings.encoding;
    for shard in call.space.shards.held_mut() {
        for db in 0..DATABASE_COUNT as u16 {
            shard.delete_due(db, now_ms);
            let before = digest_of_database(shard, db);
            let read = shard.rebuild(db, &limits);
            assert!(read.is_ok(), "an image just written cannot be read: {read:?}");
            assert_eq!(before, digest_of_database(shard, db), "an image lost something");
        }
        shard.observe_all();
    }
    call.reply.ok();
    Ok(())
}

pub fn populate(call: &mut Call<'_, '_>) -> CommandResult {
    let args = call.args;
    if args.len() > 5 {
        return Err(SYNTAX);
    }
    let positive =
        |text: &[u8]| integer(text).ok().and_then(|n| usize::try_from(n).ok()).ok_or(NOT_POSITIVE);
    let count = positive(args.at(2))?;
    let prefix = args.get(3).unwrap_or(b"key");
    let size = args.get(4).map(positive).transpose()?;
    for n in 0..count {
        let mut key = prefix.to_vec();
        key.extend_from_slice(format!(":{n}").as_bytes());
        if call.space.contains(&key) {
            continue;
        }
        let mut value = format!("value:{n}").into_bytes();
        value.resize(size.unwrap_or(value.len()), 0);
        call.space.check_room(&key, value.len())?;
        call.space.set_string(&key, &value, Expiry::Clear);
    }
    call.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests;
