//! Templates: sets.

use super::Family;

pub static FAMILY: Family = Family {
    name: "sets",
    letter: 't',
    templates: &[
        (10, "sadd <key> +( <member> )"),
        (4, "sadd <key> +( <int> )"),
        (6, "srem <key> +( <member> )"),
        (3, "scard <key>"),
        (3, "sismember <key> <member>"),
        (3, "smismember <key> +( <member> )"),
        (3, "smembers <key>"),
        (4, "smove <key> <key> <member>"),
        (3, "spop <key> [ <count> ]"),
        (4, "srandmember <key> [ <either> ]"),
        (3, "sinter +( <key> )"),
        (3, "sunion +( <key> )"),
        (3, "sdiff +( <key> )"),
        (3, "sinterstore <key> +( <key> )"),
        (3, "sunionstore <key> +( <key> )"),
        (3, "sdiffstore <key> +( <key> )"),
        (4, "sintercard <keys> [ limit <count> ]"),
        (4, "sscan <key> 0 { match <pattern> | count <count> }"),
        (6, "object encoding <key>"),
        (1, "del <key>"),
    ],
};
