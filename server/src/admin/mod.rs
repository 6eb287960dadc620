//! Commands that concern the connection or the process rather than keys.
//!
//! - [`session`]: PING, SELECT, HELLO, AUTH …; [`client`]: CLIENT.
//! - [`config_command`]: CONFIG; [`info`]: INFO; [`command_command`]: COMMAND.
//! - [`everywhere`]: questions that every core must answer.
//! - [`stats`]: what a core counts.

pub mod client;
pub mod command_command;
pub mod config_command;
pub mod everywhere;
pub mod info;
pub mod session;
pub mod stats;
