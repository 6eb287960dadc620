//! Templates: lists. Those that block wait a few milliseconds at most.

use super::Family;

pub static FAMILY: Family = Family {
    name: "lists",
    letter: 'l',
    templates: &[
        (8, "lpush <key> +( <value> )"),
        (8, "rpush <key> +( <value> )"),
        (3, "lpushx <key> +( <value> )"),
        (3, "rpushx <key> +( <value> )"),
        (5, "lpop <key> [ <count> ]"),
        (5, "rpop <key> [ <count> ]"),
        (3, "llen <key>"),
        (5, "lindex <key> <index>"),
        (5, "lset <key> <place> <value>"),
        (8, "lrange <key> <index> <index>"),
        (4, "ltrim <key> <index> <index>"),
        (5, "lrem <key> <place> <value>"),
        (6, "linsert <key> ( before | after | <odd> ) <value> <value>"),
        (8, "lpos <key> <value> { rank <place> | count <count> | maxlen <count> }"),
        (5, "lmove <key> <key> ( left | right ) ( left | right )"),
        (1, "lmove <key> <key> <odd> ( left | right )"),
        (4, "rpoplpush <key> <key>"),
        (6, "lmpop <keys> ( left | right ) [ count <count> ]"),
        (2, "blpop +( <key> ) <wait>"),
        (2, "brpop +( <key> ) <wait>"),
        (2, "blmove <key> <key> ( left | right ) ( left | right ) <wait>"),
        (1, "brpoplpush <key> <key> <wait>"),
        (2, "blmpop <wait> <keys> ( left | right ) [ count <count> ]"),
        (5, "object encoding <key>"),
        (1, "del <key>"),
    ],
};
