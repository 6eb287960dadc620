//! Commands that concern the connection or the process rather than keys.
//!
//! - [`session`]: PING, SELECT, HELLO, AUTH …; [`client`]: CLIENT, with [`client_filter`] and
//!   [`pause`].
//! - [`config_command`]: CONFIG; [`info`]: INFO; [`command_command`]: COMMAND, with [`docs`].
//! - [`measure`]: which commands are timed, for [`slowlog`], [`latency`] with its [`graph`],
//!   [`histogram`] and [`calls`]; [`redact`]: what must not be shown.
//! - [`debug`]: DEBUG; [`memory_command`]: MEMORY, with [`memory_figures`]; [`wait`]: WAIT and
//!   WAITAOF, with [`holders`]; [`save`]: BGSAVE, SAVE, LASTSAVE; [`lolwut`]; [`help`].
//! - [`nodes`]: NODES, who is in the cluster.
//! - [`failover`]: FAILOVER, a planned hand-over.
//! - [`everywhere`]: questions that every core must answer.
//! - [`replication`]: what INFO and ROLE say of other nodes.
//! - [`stats`]: what a core counts; [`turns`]: how long its turns take.

pub mod calls;
pub mod client;
pub mod client_filter;
pub mod command_command;
pub mod config_command;
pub mod debug;
pub mod docs;
pub mod everywhere;
pub mod failover;
pub mod graph;
pub mod help;
pub mod histogram;
pub mod holders;
pub mod info;
pub mod latency;
pub mod lolwut;
pub mod measure;
pub mod memory_command;
pub mod memory_figures;
pub mod nodes;
pub mod pause;
pub mod redact;
pub mod replication;
pub mod save;
pub mod session;
pub mod slowlog;
pub mod stats;
pub mod turns;
pub mod wait;
