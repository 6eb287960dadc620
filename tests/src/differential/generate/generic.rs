//! Templates: keys whatever they hold, and databases.

use super::Family;

pub static FAMILY: Family = Family {
    name: "generic",
    letter: '*',
    templates: &[
        (6, "del <anys>"),
        (3, "unlink <anys>"),
        (4, "exists <anys>"),
        (2, "touch <anys>"),
        (4, "type <any>"),
        (5, "rename <any> <any>"),
        (5, "renamenx <any> <any>"),
        (8, "copy <any> <any> { replace | db <database> }"),
        (5, "move <any> <database>"),
        (5, "expire <any> <seconds> { nx | xx | gt | lt }"),
        (5, "pexpire <any> <millis> { nx | xx | gt | lt }"),
        (5, "expireat <any> <at> { nx | xx | gt | lt }"),
        (5, "pexpireat <any> <at-millis> { nx | xx | gt | lt }"),
        (3, "persist <any>"),
        (3, "ttl <any>"),
        (3, "pttl <any>"),
        (3, "expiretime <any>"),
        (3, "pexpiretime <any>"),
        (8, "object encoding <any>"),
        (1, "object refcount <any>"),
        (1, "object idletime <any>"),
        (1, "object freq <any>"),
        (1, "object <odd> <any>"),
        (3, "keys <pattern>"),
        (3, "dbsize"),
        (2, "swapdb <database> <database>"),
        (6, "select <database>"),
        (2, "randomkey"),
        (
            5,
            "scan 0 { match <pattern> | count <count> | type ( string | hash | list | set | zset | <odd> ) }",
        ),
        (1, "scan <cursor>"),
        (6, "sort <any> { limit <index> <index> | asc | desc | alpha | get # | get <related> }"),
        (3, "sort <any> by <related> { limit <index> <index> | desc | get # }"),
        // Not by numbers, where Redis may refuse what it should not (`known`).
        (2, "sort <any> alpha limit <index> <index> store <any>"),
        // Those that BY finds equal by their text come in any order.
        (2, "sort <any> by <related> alpha { desc | get # | get <related> }"),
        (3, "sort <any> by <constant> { asc | desc | alpha | get # | store <any> }"),
        // What is stored of a set is sorted all the same.
        (2, "sort <any> by <constant> limit <index> <index> store <any>"),
        (3, "sort_ro <any> { limit <index> <index> | desc | alpha | get # | get <related> }"),
        (1, "sort_ro <any> ( by <related> | by <constant> | store <any> | <odd> )"),
        (1, "flushdb [ ( sync | async | <odd> ) ]"),
        (1, "echo <value>"),
        (1, "ping [ <value> ]"),
        (1, "( exec | discard | unwatch | watch <anys> )"),
        (1, "<odd> <value> <value>"),
    ],
};
