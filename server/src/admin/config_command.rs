//! CONFIG GET, SET, RESETSTAT and REWRITE.

use engine::args::Args;
use engine::command::glob;
use engine::reply::Reply;

use super::everywhere::{Purpose, Question};
use crate::config::names;
use crate::config::rewrite::rewrite;
use crate::connection::Connection;
use crate::core::Core;

impl Core {
    pub(crate) fn config_command(
        &mut self,
        connection: &mut Connection,
        sub: &str,
        args: Args<'_>,
    ) {
        match sub {
            "get" => self.config_get(connection, args),
            "set" => self.config_set(connection, args),
            "rewrite" => {
                let result = self.config_rewrite();
                self.reply_result(connection, result);
            }
            _ => self.ask_everywhere(connection, Question::ResetStats, Purpose::Ok),
        }
    }

    fn config_get(&mut self, connection: &mut Connection, args: Args<'_>) {
        let patterns: Vec<Vec<u8>> = args.iter_from(2).map(<[u8]>::to_ascii_lowercase).collect();
        let found: Vec<(&str, String)> = names::all(&self.config)
            .filter(|(name, _)| patterns.iter().any(|p| glob::matches(p, name.as_bytes())))
            .collect();
        self.reply_with(connection, |reply| {
            reply.map(found.len());
            for (name, value) in &found {
                reply.bulk(name.as_bytes());
                reply.bulk(value.as_bytes());
            }
        });
    }

    /// All settings are taken, or none.
    fn config_set(&mut self, connection: &mut Connection, args: Args<'_>) {
        if !args.len().is_multiple_of(2) {
            let error = engine::error::wrong_arity("config|set");
            return self.reply_with(connection, |reply| reply.error(&error.0));
        }
        let text = |at: usize| String::from_utf8_lossy(args.at(at)).into_owned();
        let mut tried = self.config.clone();
        let mut changes = Vec::new();
        for at in (2..args.len()).step_by(2) {
            let (name, value) = (text(at).to_lowercase(), text(at + 1));
            if changes.iter().any(|(n, _)| *n == name) {
                return self.refuse_set(connection, &name, "duplicate parameter");
            }
            if !names::is_known(&name) {
                let error =
                    format!("ERR Unknown option or number of arguments for CONFIG SET - '{name}'");
                return self.reply_with(connection, |reply| reply.error(&error));
            }
            if let Err(reason) = tried.set(&name, &value) {
                return self.refuse_set(connection, &name, &reason);
            }
            changes.push((name, value));
        }
        self.ask_everywhere(connection, Question::Settings(changes), Purpose::Ok);
    }

    /// Writes what holds now into the configuration file.
    fn config_rewrite(&self) -> Result<(), String> {
        let Some(path) = &self.config.file else {
            return Err("ERR The server is running without a config file".into());
        };
        let failed = |why: String| format!("ERR Rewriting config file: {why}");
        let text = self.host.read_text(path).map_err(|e| failed(e.to_string()))?;
        let new = rewrite(&text, &self.config).map_err(failed)?;
        self.host.replace_text(path, &new).map_err(|e| failed(e.to_string()))
    }

    fn refuse_set(&mut self, connection: &mut Connection, name: &str, reason: &str) {
        let error =
            format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}");
        self.reply_with(connection, |reply: &mut Reply<'_>| reply.error(&error));
    }
}
