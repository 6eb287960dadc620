//! How the cost of a command grows, as COMMAND DOCS shows it. Beside the rows, since many commands
//! share a text.

/// What is known of a command, named as `container|sub` where it is a subcommand.
pub fn complexity_of(name: &str) -> Option<&'static str> {
    COMPLEXITIES
        .iter()
        .find(|(_, names)| names.split_whitespace().any(|known| known == name))
        .map(|(complexity, _)| *complexity)
}

const COMPLEXITIES: &[(&str, &str)] = &[
    (
        "O(1)",
        "asking auth bgsave client|getname client|getredir client|id client|info client|no-evict \
         client|no-touch client|pause client|reply client|setinfo client|setname \
         client|trackinginfo client|unpause command|count config|resetstat config|rewrite \
         dbsize decr decrby discard echo expire expireat expiretime get getdel getex getset hello \
         hexists hget hincrby hincrbyfloat hlen hsetnx hstrlen incr incrby incrbyfloat info \
         lastsave latency|doctor latency|graph latency|help latency|history latency|latest \
         latency|reset llen lmove lolwut lpop lpush lpushx memory|doctor memory|help memory|purge \
         memory|stats move multi object|encoding object|freq object|idletime object|refcount \
         persist pexpire pexpireat pexpiretime ping psetex pttl quit randomkey readonly readwrite \
         rename renamenx reset role rpop rpoplpush rpush rpushx scard select set setex setnx \
         sismember slowlog|len smove strlen swapdb time ttl type unwatch wait waitaof zcard zscore \
         append sadd",
    ),
    ("O(1), and O(N) for N clients where one is looked for", "client|kill client|unblock"),
    ("O(N), N the number of clients", "client|list"),
    ("O(N), N the number of keys in all databases", "save"),
    ("O(N), N the number of commands", "command command|docs command|info command|list"),
    ("O(N), N the number of words", "command|getkeys command|getkeysandflags"),
    ("O(N), N the number of settings named", "config|get config|set"),
    (
        "O(N), N the number of keys",
        "del exists mget mset msetnx touch unlink watch debug|digest-value",
    ),
    ("O(N), N the number of keys of the database", "keys flushdb"),
    ("O(N), N the number of keys of all databases", "flushall"),
    ("O(N), N the number of elements copied", "copy"),
    ("O(1) a call, O(N) for a whole iteration", "scan hscan sscan zscan"),
    ("O(N), N the length of the string returned or changed", "getrange setrange substr"),
    ("O(N*M), N and M the lengths of the strings", "lcs"),
    ("O(N), N the number of fields named", "hdel hmget hmset hset"),
    ("O(N), N the number of fields of the hash", "hgetall hkeys hvals"),
    ("O(N), N the number of elements returned", "hrandfield srandmember spop zrandmember"),
    ("O(N), N the number of members named", "srem smismember zmscore"),
    ("O(N), N the number of members of the set", "smembers"),
    ("O(N*M), N the smallest set's members, M the number of sets", "sinter sintercard sinterstore"),
    ("O(N), N the members of all sets", "sdiff sdiffstore sunion sunionstore"),
    ("O(N), N the elements walked over", "lindex linsert lpos lrem lset ltrim"),
    ("O(S+N), S the elements before the first, N those returned", "lrange"),
    ("O(N), N the number of keys", "blpop brpop"),
    ("O(1)", "blmove brpoplpush"),
    ("O(N+M), N the number of keys, M the elements returned", "blmpop lmpop"),
    ("O(log(N)), N the members of the set, for each one named", "zadd zincrby zrem"),
    ("O(log(N)), N the members of the set", "zcount zlexcount zrank zrevrank bzpopmax bzpopmin"),
    (
        "O(log(N)+M), N the members of the set, M those returned",
        "zrange zrangebylex zrangebyscore zrevrange zrevrangebylex zrevrangebyscore",
    ),
    (
        "O(log(N)+M), N the members of the set, M those moved or removed",
        "zrangestore zremrangebylex zremrangebyrank zremrangebyscore",
    ),
    ("O(M*log(N)), N the members of the set, M those removed", "zpopmax zpopmin"),
    ("O(K+M*log(N)), K keys, N the members of the set, M those removed", "bzmpop zmpop"),
    (
        "O(N*K+M*log(M)), N the smallest set's members, K the number of sets, M those of the result",
        "zinter zinterstore",
    ),
    ("O(N*K), N the smallest set's members, K the number of sets", "zintercard"),
    (
        "O(N+M*log(M)), N the members of all sets, M those of the result",
        "zdiff zdiffstore zunion zunionstore",
    ),
    ("O(N), N the number of channels or patterns named", "psubscribe ssubscribe subscribe"),
    (
        "O(N), N the number of channels or patterns named, or subscribed to where none is",
        "punsubscribe sunsubscribe unsubscribe",
    ),
    ("O(N+M), N the subscribers of the channel, M the patterns subscribed to", "publish"),
    ("O(N), N the subscribers of the channel", "spublish"),
    ("O(N), N the channels with subscribers", "pubsub|channels pubsub|shardchannels"),
    ("O(N), N the number of channels named", "pubsub|numsub pubsub|shardnumsub"),
    ("O(1)", "pubsub|numpat"),
    ("The sum of what the queued commands cost", "exec"),
    ("O(N), N the commands with a histogram", "latency|histogram"),
    ("O(1) and at most O(N), N the allocator's pages", "memory|malloc-stats"),
    ("O(N), N the parts of the value", "memory|usage"),
    ("O(N), N the number of entries", "slowlog|get slowlog|reset"),
    ("O(N), N what is left to write", "shutdown"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::table;

    #[test]
    fn every_name_is_a_command_s() {
        for name in COMPLEXITIES.iter().flat_map(|(_, names)| names.split_whitespace()) {
            let (parent, sub) = name.split_once('|').unwrap_or((name, ""));
            let spec = table::find(parent.as_bytes()).unwrap_or_else(|| panic!("{name}"));
            assert!(
                sub.is_empty() || table::find_subcommand(spec, sub.as_bytes()).is_some(),
                "{name}"
            );
        }
        assert_eq!(complexity_of("get"), Some("O(1)"));
        assert_eq!(complexity_of("config"), None);
    }
}
