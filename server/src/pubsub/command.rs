//! PUBSUB: who listens to what, on all cores. Each core knows.

use engine::args::Args;

use super::Kind;
use super::directory::Topic;
use crate::connection::Connection;
use crate::core::Core;
use crate::dispatch::local::unknown_or_arity;

impl Core {
    pub(crate) fn pubsub_command(
        &mut self,
        connection: &mut Connection,
        sub: &str,
        args: Args<'_>,
    ) {
        match sub {
            "channels" => self.list_channels(connection, Kind::Channel, args),
            "shardchannels" => self.list_channels(connection, Kind::Shard, args),
            "numsub" => self.count_subscribers(connection, Kind::Channel, args),
            "shardnumsub" => self.count_subscribers(connection, Kind::Shard, args),
            _ => {
                let count = self.pubsub.directory.pattern_count();
                self.reply_with(connection, |reply| reply.count(count));
            }
        }
    }

    fn list_channels(&mut self, connection: &mut Connection, kind: Kind, args: Args<'_>) {
        if args.len() > 3 {
            let error = unknown_or_arity(args);
            return self.reply_with(connection, |reply| reply.error(&error.0));
        }
        let names: Vec<_> = self.pubsub.directory.channels_like(kind, args.get(2));
        let names: Vec<_> = names.into_iter().cloned().collect();
        self.reply_with(connection, |reply| {
            reply.array(names.len());
            names.iter().for_each(|name| reply.bulk(name));
        });
    }

    /// Those who listen to the channel by its name.
    fn count_subscribers(&mut self, connection: &mut Connection, kind: Kind, args: Args<'_>) {
        let count = |name: &[u8]| self.pubsub.directory.topic(kind, name).map_or(0, Topic::count);
        let counts: Vec<_> = args.iter_from(2).map(|name| (name, count(name))).collect();
        self.reply_with(connection, |reply| {
            reply.array(2 * counts.len());
            for (name, count) in counts {
                reply.bulk(name);
                reply.integer(count as i64);
            }
        });
    }
}
