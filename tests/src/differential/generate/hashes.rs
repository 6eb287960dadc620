//! Templates: hashes.

use super::Family;

pub static FAMILY: Family = Family {
    name: "hashes",
    letter: 'h',
    templates: &[
        (12, "hset <key> +( <member> <value> )"),
        (2, "hmset <key> +( <member> <value> )"),
        (4, "hsetnx <key> <member> <value>"),
        (6, "hget <key> <member>"),
        (4, "hmget <key> +( <member> )"),
        (4, "hgetall <key>"),
        (3, "hkeys <key>"),
        (3, "hvals <key>"),
        (3, "hlen <key>"),
        (3, "hexists <key> <member>"),
        (3, "hstrlen <key> <member>"),
        (8, "hdel <key> +( <member> )"),
        (8, "hincrby <key> <member> <int>"),
        (8, "hincrbyfloat <key> <member> <float>"),
        (4, "hrandfield <key> [ <either> [ withvalues ] ]"),
        (4, "hscan <key> 0 { match <pattern> | count <count> }"),
        (4, "object encoding <key>"),
        (1, "del <key>"),
    ],
};
