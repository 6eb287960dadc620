//! RESP as clients send it: arrays of bulk strings, and inline commands.
//! Replies are written by `engine::reply`.

pub mod inline;
pub mod parser;
