//! Templates: strings.

use super::Family;

pub static FAMILY: Family = Family {
    name: "strings",
    letter: 's',
    templates: &[
        (8, "set <key> <value>"),
        (
            12,
            "set <key> <value> { nx | xx | get | keepttl | ex <seconds> | px <millis> | exat <at> | pxat <at-millis> }",
        ),
        (8, "get <key>"),
        (
            8,
            "getex <key> [ ( persist | ex <seconds> | px <millis> | exat <at> | pxat <at-millis> ) ]",
        ),
        (1, "getex <key> { persist | ex <seconds> | pxat <at-millis> }"),
        (3, "getdel <key>"),
        (3, "getset <key> <value>"),
        (6, "setrange <key> <offset> <value>"),
        (6, "getrange <key> <index> <index>"),
        (2, "substr <key> <index> <index>"),
        (5, "append <key> <value>"),
        (3, "strlen <key>"),
        (4, "incr <key>"),
        (4, "decr <key>"),
        (5, "incrby <key> <int>"),
        (5, "decrby <key> <int>"),
        (9, "incrbyfloat <key> <float>"),
        (3, "mset +( <key> <value> )"),
        (3, "msetnx +( <key> <value> )"),
        (4, "mget +( <key> )"),
        (6, "lcs <key> <key> { len | idx | minmatchlen <index> | withmatchlen }"),
        (3, "setex <key> <seconds> <value>"),
        (3, "psetex <key> <millis> <value>"),
        (3, "setnx <key> <value>"),
        (4, "object encoding <key>"),
        (2, "del <key>"),
    ],
};
