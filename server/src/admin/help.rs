//! HELP of the containers: their forms and what they do, each form followed by lines that explain
//! it, in the frame that Redis gives them.

use engine::args::Args;

use crate::connection::Connection;
use crate::core::Core;

impl Core {
    pub(crate) fn help(&mut self, connection: &mut Connection, args: Args<'_>) {
        let name = String::from_utf8_lossy(args.at(0)).to_uppercase();
        let forms = FORMS.iter().find(|(container, _)| *container == name);
        let lines = forms.map_or(&[][..], |(_, lines)| lines);
        self.reply_with(connection, |reply| {
            reply.array(lines.len() + 3);
            let usage = "<subcommand> [<arg> [value] [opt] ...]. Subcommands are:";
            reply.simple(&format!("{name} {usage}"));
            lines.iter().for_each(|line| reply.simple(line));
            reply.simple("HELP");
            reply.simple("    Print this help.");
        });
    }
}

const FORMS: &[(&str, &[&str])] = &[
    (
        "CLIENT",
        &[
            "GETNAME",
            "    The name that SETNAME gave this connection.",
            "GETREDIR",
            "    Who gets the notes of tracking for this connection; -1 for nobody.",
            "ID",
            "    The number of this connection.",
            "INFO",
            "    This connection's line of LIST.",
            "KILL <ip:port>",
            "    Closes the connection from this address.",
            "KILL <option> <value> [<option> <value> ...]",
            "    Closes all connections that fit every option: ADDR ip:port, LADDR ip:port,",
            "    ID number, TYPE (NORMAL|MASTER|REPLICA|PUBSUB), USER name, SKIPME (YES|NO).",
            "LIST [TYPE (NORMAL|MASTER|REPLICA|PUBSUB)] [ID <id> [<id> ...]]",
            "    A line for each connection.",
            "NO-EVICT (ON|OFF)",
            "    Whether this connection is kept when memory runs out.",
            "NO-TOUCH (ON|OFF)",
            "    Whether what this connection reads keeps its time of last access.",
            "PAUSE <milliseconds> [WRITE|ALL]",
            "    Lets the commands of all clients wait, or only those that write.",
            "REPLY (ON|OFF|SKIP)",
            "    Whether this connection gets replies.",
            "SETINFO (LIB-NAME|LIB-VER) <text>",
            "    Says which client library this is.",
            "SETNAME <name>",
            "    Gives this connection a name.",
            "TRACKINGINFO",
            "    How keys are tracked for this connection.",
            "UNBLOCK <id> [TIMEOUT|ERROR]",
            "    Ends the wait of a blocked client.",
            "UNPAUSE",
            "    Ends a pause.",
        ],
    ),
    (
        "COMMAND",
        &[
            "(no subcommand)",
            "    Everything about every command.",
            "COUNT",
            "    How many commands there are.",
            "DOCS [<command> ...]",
            "    What is written of these commands, or of all.",
            "GETKEYS <command> [<arg> ...]",
            "    The keys among the words of a command.",
            "GETKEYSANDFLAGS <command> [<arg> ...]",
            "    The same, with what is done to each key.",
            "INFO [<command> ...]",
            "    Everything about these commands, or about all.",
            "LIST [FILTERBY (ACLCAT <category>|PATTERN <pattern>|MODULE <name>)]",
            "    The names of the commands.",
        ],
    ),
    (
        "CONFIG",
        &[
            "GET <pattern> [<pattern> ...]",
            "    The settings whose names match, with their values.",
            "RESETSTAT",
            "    Sets the counters of INFO back to zero.",
            "REWRITE",
            "    Writes what holds now into the configuration file.",
            "SET <name> <value> [<name> <value> ...]",
            "    Changes settings, all of them or none.",
        ],
    ),
    (
        "DEBUG",
        &[
            "DIGEST",
            "    A digest of all data, equal for equal data.",
            "DIGEST-VALUE <key> [<key> ...]",
            "    Digests of these keys' values.",
            "ERROR <text>",
            "    Answers with this error.",
            "LISTPACK <key>",
            "    What the packed form of a value holds.",
            "LOADAOF",
            "    The same as RELOAD.",
            "LOG <text>",
            "    Writes a line to the server's log.",
            "OBJECT <key> [FAST]",
            "    How a key lies in memory.",
            "POPULATE <count> [<prefix>] [<size>]",
            "    Makes so many keys, named prefix:number.",
            "PROTOCOL <type>",
            "    Answers with a value of a type: string, integer, double, bignum, null, array,",
            "    set, map, attrib, push, verbatim, true, false.",
            "QUICKLIST-PACKED-THRESHOLD <size>",
            "    From which size on an item of a list has a node of its own; 0 for the default.",
            "RELOAD [NOSAVE] [NOFLUSH] [MERGE]",
            "    Writes every value as its image and reads it back. The options change nothing.",
            "SET-ACTIVE-EXPIRE (0|1)",
            "    Whether keys whose time is over are deleted without being asked for.",
            "SLEEP <seconds>",
            "    Holds up this core and its clients.",
            "STRINGMATCH-LEN <pattern> <text>",
            "    Whether a text matches a pattern.",
        ],
    ),
    (
        "LATENCY",
        &[
            "DOCTOR",
            "    What took long, in words.",
            "GRAPH <event>",
            "    The history of an event as a picture.",
            "HISTOGRAM [<command> ...]",
            "    How often commands took how long (with latency-tracking yes).",
            "HISTORY <event>",
            "    The moments of an event and how long it took.",
            "LATEST",
            "    The last and the longest time of each event.",
            "RESET [<event> ...]",
            "    Forgets these events, or all.",
        ],
    ),
    (
        "MEMORY",
        &[
            "DOCTOR",
            "    What is unusual about the memory used, in words.",
            "MALLOC-STATS",
            "    The allocator's own report.",
            "PURGE",
            "    Gives free memory back to the system.",
            "STATS",
            "    Figures of the memory used.",
            "USAGE <key> [SAMPLES <count>]",
            "    Bytes that a key and its value take. The figure is exact, whatever the count.",
        ],
    ),
    (
        "PUBSUB",
        &[
            "CHANNELS [<pattern>]",
            "    The channels with subscribers, all or those that match.",
            "NUMPAT",
            "    How many patterns have subscribers.",
            "NUMSUB [<channel> ...]",
            "    How many subscribers each of these channels has, those by pattern not counted.",
            "SHARDCHANNELS [<pattern>]",
            "    The shard channels with subscribers, all or those that match.",
            "SHARDNUMSUB [<shardchannel> ...]",
            "    How many subscribers each of these shard channels has.",
        ],
    ),
    (
        "SLOWLOG",
        &[
            "GET [<count>]",
            "    The last slow commands, 10 if no count is given, all for -1. Each has its number,",
            "    time, duration in microseconds, words, client address and client name.",
            "LEN",
            "    How many are kept.",
            "RESET",
            "    Forgets them.",
        ],
    ),
];
