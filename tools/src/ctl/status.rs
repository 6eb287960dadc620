//! `quoring-ctl status`: what an operator wants to know of a running server at a glance, from its
//! INFO. Changes nothing.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::cluster;

/// A core that does not answer for so long is stuck, or its machine is.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// Far above what INFO says; a longer answer is not of this server.
const REPLY_BYTES_MAX: usize = 1 << 20;

pub struct Server {
    pub host: String,
    pub port: u16,
    pub password: Option<String>,
}

/// Prints the status. Returns whether all is well: false if the last checkpoint failed, or if the
/// cluster has no leader, or its leader no majority.
pub fn print(server: &Server, out: &mut impl Write) -> Result<bool> {
    let info = Info::parse(&ask(server)?);
    if !info.fields.contains_key("quoring_version") {
        bail!("{}:{} is not a Quoring server", server.host, server.port);
    }
    let standing = cluster::standing(&info.fields);
    let of_cluster = standing.iter().flat_map(|standing| standing.lines.clone());
    for (name, value) in lines(&info)?.into_iter().chain(of_cluster) {
        writeln!(out, "{name:<17} {value}")?;
    }
    let is_well = standing.is_none_or(|standing| standing.is_well);
    Ok(is_well && info.text("rdb_last_bgsave_status")? == "ok")
}

fn lines(info: &Info) -> Result<Vec<(&'static str, String)>> {
    let turns = format!(
        "longest {:.1} ms ({:.1} ms of processor time), 99.9 % within {:.1} ms, {} over 5 ms",
        info.number("turn_usec_longest")? as f64 / 1e3,
        info.number("turn_usec_longest_cpu")? as f64 / 1e3,
        info.number("turn_usec_p99.9")? as f64 / 1e3,
        info.number("turns_over_5ms")?,
    );
    Ok(vec![
        ("version", info.text("quoring_version")?.to_owned()),
        ("uptime", duration(info.number("uptime_in_seconds")?)),
        ("cores", info.text("cores")?.to_owned()),
        ("durability", info.text("durability")?.to_owned()),
        ("clients", clients(info)?),
        ("memory", memory(info)?),
        ("keys", info.keys()?.to_string()),
        ("log on disk", bytes(info.number("log_segment_bytes_on_disk")?)),
        ("checkpoint", checkpoint(info)?),
        ("last checkpoint", last_checkpoint(info)?),
        ("turns", turns),
    ])
}

fn clients(info: &Info) -> Result<String> {
    let blocked = info.number("blocked_clients")?;
    let (clients, max) = (info.number("connected_clients")?, info.number("maxclients")?);
    Ok(format!("{clients} of at most {max}, {blocked} of them blocked"))
}

fn memory(info: &Info) -> Result<String> {
    let (used, max) = (info.number("used_memory")?, info.number("maxmemory")?);
    let limit = match max {
        0 => "no limit".to_owned(),
        max => format!("{} % of {}", used * 100 / max, bytes(max)),
    };
    Ok(format!("{} ({limit}); resident {}", bytes(used), bytes(info.number("used_memory_rss")?)))
}

fn checkpoint(info: &Info) -> Result<String> {
    if info.number("rdb_bgsave_in_progress")? == 0 {
        return Ok("none under way".into());
    }
    let taken = info.number("current_save_keys_processed")?;
    let total = info.number("current_save_keys_total")?;
    Ok(match (taken * 100).checked_div(total) {
        Some(percent) => format!("under way: {percent} % ({taken} of {total} keys)"),
        None => "asked for, not begun".into(),
    })
}

fn last_checkpoint(info: &Info) -> Result<String> {
    let at_unix_s = info.number("rdb_last_save_time")?;
    let failed = info.number("checkpoints_failed")?;
    let ago_s = (info.number("server_time_usec")? / 1_000_000).saturating_sub(at_unix_s);
    let when = match info.number("rdb_saves")? {
        0 => "none since the start".to_owned(),
        _ => format!("{} ago", duration(ago_s)),
    };
    Ok(match (info.text("rdb_last_bgsave_status")?, failed) {
        ("ok", 0) => when,
        ("ok", failed) => format!("{when}; {failed} failed before"),
        _ => format!("FAILED ({failed} since the start; see the server's log); {when}"),
    })
}

fn duration(seconds: u64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {seconds} s"),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let power = (count.max(1).ilog2() / 10).min(4);
    match power {
        0 => format!("{count} bytes"),
        _ => {
            let size = count as f64 / 1024_f64.powi(power as i32);
            format!("{size:.1} {}", UNITS[power as usize - 1])
        }
    }
}

/// The fields of INFO.
struct Info {
    fields: HashMap<String, String>,
}

impl Info {
    fn parse(text: &str) -> Info {
        let fields = text.lines().filter_map(|line| line.split_once(':'));
        Info { fields: fields.map(|(name, value)| (name.into(), value.into())).collect() }
    }

    fn text(&self, name: &str) -> Result<&str> {
        let value = self.fields.get(name);
        value.map(String::as_str).with_context(|| {
            format!("the server's INFO has no {name}: is it of another version than this program?")
        })
    }

    fn number(&self, name: &str) -> Result<u64> {
        let text = self.text(name)?;
        text.parse().with_context(|| format!("the server's INFO says {name}:{text}"))
    }

    /// Keys of all databases.
    fn keys(&self) -> Result<u64> {
        let databases = self
            .fields
            .iter()
            .filter(|(name, value)| name.starts_with("db") && value.starts_with("keys="));
        let counts = databases.map(|(_, value)| {
            let count = value.trim_start_matches("keys=").split(',').next().unwrap_or_default();
            count.parse::<u64>().with_context(|| format!("the server's INFO says {value}"))
        });
        counts.sum()
    }
}

/// The server's INFO.
fn ask(server: &Server) -> Result<String> {
    command(server, &["INFO"])
}

/// What the server answers to a command.
pub(super) fn command(server: &Server, words: &[&str]) -> Result<String> {
    let name = format!("{}:{}", server.host, server.port);
    let mut stream = connect(server).with_context(|| format!("cannot connect to {name}"))?;
    stream.set_read_timeout(Some(ANSWER_WAIT))?;
    stream.set_write_timeout(Some(ANSWER_WAIT))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    if let Some(password) = &server.password {
        let reply = exchange(&mut stream, &mut reader, &["AUTH", password]);
        reply.with_context(|| format!("{name}: AUTH"))?;
    }
    let reply = exchange(&mut stream, &mut reader, words);
    reply.with_context(|| format!("{name}: {}", words.join(" ")))
}

fn connect(server: &Server) -> Result<TcpStream> {
    let mut last = None;
    for address in (server.host.as_str(), server.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, ANSWER_WAIT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) => Err(error.into()),
        None => bail!("the name has no address"),
    }
}

/// Sends one command and reads its reply, a line or a bulk string.
fn exchange(
    stream: &mut TcpStream,
    reader: &mut BufReader<TcpStream>,
    words: &[&str],
) -> Result<String> {
    let mut command = format!("*{}\r\n", words.len());
    for word in words {
        command += &format!("${}\r\n{word}\r\n", word.len());
    }
    stream.write_all(command.as_bytes())?;
    let mut line = String::new();
    if reader.by_ref().take(REPLY_BYTES_MAX as u64).read_line(&mut line)? == 0 {
        bail!("the server closed the connection");
    }
    let line = line.trim_end();
    match line.split_at_checked(1) {
        Some(("+", text)) => Ok(text.to_owned()),
        Some(("-", text)) if text.starts_with("NOAUTH") => {
            bail!("the server wants a password: give --password, or QUORING_PASSWORD")
        }
        Some(("-", text)) => bail!("the server says: {text}"),
        Some(("$", length)) => {
            let length: usize = length.parse().context("the reply is not of this protocol")?;
            if length > REPLY_BYTES_MAX {
                bail!("the reply has {length} bytes, more than {REPLY_BYTES_MAX}");
            }
            let mut text = vec![0; length + 2];
            reader.read_exact(&mut text)?;
            text.truncate(length);
            Ok(String::from_utf8(text)?)
        }
        _ => bail!("the reply is not of this protocol: {line:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_read_well() {
        let sizes =
            [(0, "0 bytes"), (1_023, "1023 bytes"), (1_536, "1.5 KiB"), (3 << 30, "3.0 GiB")];
        for (count, text) in sizes {
            assert_eq!(bytes(count), text);
        }
        let times = [(59, "59 s"), (61, "1 min 1 s"), (7_260, "2 h 1 min"), (90_000, "1 d 1 h")];
        for (seconds, text) in times {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn a_checkpoint_under_way_and_a_failed_one_are_seen() {
        let text = "rdb_bgsave_in_progress:1\r\ncurrent_save_keys_processed:30\r\n\
                    current_save_keys_total:120\r\nrdb_last_save_time:100\r\nrdb_saves:3\r\n\
                    server_time_usec:160000000\r\nrdb_last_bgsave_status:err\r\n\
                    checkpoints_failed:2\r\ndb0:keys=5,expires=0\r\ndb9:keys=7,expires=1\r\n";
        let info = Info::parse(text);
        assert_eq!(checkpoint(&info).unwrap(), "under way: 25 % (30 of 120 keys)");
        let asked = Info::parse(&text.replace("_total:120", "_total:0"));
        assert_eq!(checkpoint(&asked).unwrap(), "asked for, not begun");
        let last = last_checkpoint(&info).unwrap();
        assert!(last.starts_with("FAILED (2 since the start") && last.ends_with("1 min 0 s ago"));
        assert_eq!(info.keys().unwrap(), 12);
        assert!(info.number("maxmemory").unwrap_err().to_string().contains("no maxmemory"));
    }
}
