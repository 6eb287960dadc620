//! A machine with an empty directory and `--join` becomes a node: it asks those that it was told of
//! until one of them has a number for it, or an operator says `init` here, which makes a cluster of
//! those that have met. Before the cores start, and in one thread: nothing is promised yet.
//!
//! Everybody who waits asks all others, so each knows who is there by who has asked. `init` needs
//! all that were named to be there, so two that are given it make the same cluster.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use replication::group::NodeId;
use replication::link::hello::DirectoryId;
use replication::link::meeting::{ANSWER_BYTES_MAX, Answer, QUESTION_BYTES, Question, Welcome};
use replication::version::{Version, Versions};

use super::StartError;
use super::identity::Identity;
use crate::config::Config;
use crate::config::join::Join;

const ASK_PERIOD: Duration = Duration::from_millis(300);
const LOOK_PERIOD: Duration = Duration::from_millis(20);
const TALK_MAX: Duration = Duration::from_millis(500);
/// Who has not asked for so long is not there.
const MET_MAX: Duration = Duration::from_secs(5);
/// Those of another token that are named.
const STRANGERS_MAX: usize = 8;
const CLIENT_WORDS_MAX: usize = 16;
const CLIENT_WORD_BYTES_MAX: usize = 512;

struct Joining<'a> {
    config: &'a Config,
    join: &'a Join,
    own: Question,
    /// Others that wait too: where they are, what they asked, and when they were heard last.
    met: BTreeMap<SocketAddr, (Question, Instant)>,
    /// Others that ask with another token, and when they were heard last.
    strangers: BTreeMap<SocketAddr, Instant>,
    /// What was said last, for the log.
    said: String,
    formed: Option<Identity>,
}

/// Returns once the directory, which is locked, is that of a node.
pub fn await_cluster(config: &Config, join: &Join) -> Result<(), StartError> {
    if Identity::exists(&config.dir) {
        return Ok(());
    }
    let directory = Identity::directory_to_be(&config.dir)?;
    let ip = config.bind.first().ok_or("no address to listen on")?;
    let peers = TcpListener::bind((*ip, config.peer_port))?;
    let clients = TcpListener::bind((*ip, config.port))?;
    peers.set_nonblocking(true)?;
    clients.set_nonblocking(true)?;
    let host = join.advertise.clone().unwrap_or_else(|| ip.to_string());
    let port = peers.local_addr()?.port();
    let mut found = (host.as_str(), port).to_socket_addrs()?;
    let address = found.next().ok_or_else(|| format!("{host} has no address"))?;
    if address.ip().is_unspecified() {
        return Err("others cannot reach this node by such an address: say --advertise".into());
    }
    let shards = config.shards.unwrap_or(0) as u16;
    let cluster = join.cluster.to_le_bytes();
    let election_timeout_ms = config.election_timeout_ms as u16;
    let applied = config.applied;
    let own = Question { cluster, directory, shards, address, election_timeout_ms, applied };
    let (met, strangers, said) = (BTreeMap::new(), BTreeMap::new(), String::new());
    let mut joining = Joining { config, join, own, met, strangers, said, formed: None };
    tracing::info!(
        address = %clients.local_addr()?,
        peers = %address,
        "waits for its cluster: until a node of it answers, or `quoring-ctl init` is given to one \
         of those that wait"
    );
    let mut next_ask = Instant::now();
    loop {
        while let Some(stream) = accepted(&peers)? {
            // Who breaks off comes again.
            let _ = joining.talk_to_peer(stream);
        }
        while let Some(stream) = accepted(&clients)? {
            let _ = joining.talk_to_client(stream);
        }
        if Instant::now() >= next_ask && joining.formed.is_none() {
            joining.ask_all();
            next_ask = Instant::now() + ASK_PERIOD;
        }
        if let Some(identity) = &joining.formed {
            identity.create(&config.dir)?;
            tracing::info!(node = identity.node, cluster = ?identity.voters, "it is a node now");
            return Ok(());
        }
        std::thread::sleep(LOOK_PERIOD);
    }
}

fn accepted(listener: &TcpListener) -> Result<Option<TcpStream>, StartError> {
    match listener.accept() {
        Ok((stream, _)) => {
            stream.set_nonblocking(false)?;
            stream.set_read_timeout(Some(TALK_MAX))?;
            stream.set_write_timeout(Some(TALK_MAX))?;
            Ok(Some(stream))
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        // It was gone before it was accepted.
        Err(error) if error.kind() == ErrorKind::ConnectionAborted => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Joining<'_> {
    /// Another one that waits asks.
    fn talk_to_peer(&mut self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut bytes = [0; QUESTION_BYTES];
        stream.read_exact(&mut bytes)?;
        let Some(question) = Question::decode(&bytes) else { return Ok(()) };
        let own = self.own.address.to_string();
        if let Some(why) = question.differs_in_token(self.own.cluster, &own) {
            if self.strangers.len() < STRANGERS_MAX {
                self.strangers.insert(question.address, Instant::now());
            }
            return stream.write_all(&Answer::Wait(why).encode());
        }
        if let Some(why) = question.differs_in_timeout(self.own.election_timeout_ms) {
            return stream.write_all(&Answer::Wait(why).encode());
        }
        self.met.insert(question.address, (question, Instant::now()));
        let why = format!("{} waits too, for `quoring-ctl init`", self.own.address);
        stream.write_all(&Answer::Wait(why).encode())
    }

    fn ask_all(&mut self) {
        let mut reasons = Vec::new();
        for name in self.join.named.iter().filter(|name| !self.is_own(name)) {
            match ask(name, &self.own) {
                Ok(Answer::Welcome(welcome)) => {
                    self.formed = Some(self.identity_of(&welcome));
                    return;
                }
                Ok(Answer::Wait(why)) => reasons.push(why),
                Err(error) => reasons.push(format!("{name}: {error}")),
            }
        }
        self.strangers.retain(|_, at| at.elapsed() < MET_MAX);
        reasons.extend(self.strangers.keys().map(|address| {
            format!(
                "{address} asks here, and was started with another --cluster-token than this \
                 machine: start the one that is wrong with that of the others"
            )
        }));
        let said = reasons.join("; ");
        if said != self.said {
            tracing::info!("{said}");
            self.said = said;
        }
    }

    fn is_own(&self, name: &str) -> bool {
        name.to_socket_addrs().is_ok_and(|mut found| found.any(|at| at == self.own.address))
    }

    fn identity_of(&self, welcome: &Welcome) -> Identity {
        let numbers = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect();
        let nodes = welcome.roster.nodes.iter();
        Identity {
            cluster: self.join.cluster,
            node: welcome.node.0,
            shards: usize::from(welcome.shards),
            founded: welcome.founded,
            voters: numbers(&welcome.founders),
            directory: self.own.directory,
            met: BTreeMap::new(),
            addresses: nodes.map(|known| (known.node.0, known.address)).collect(),
            epoch: welcome.epoch,
            election_timeout_ms: self.config.election_timeout_ms,
            lost: numbers(&welcome.lost),
        }
    }

    /// `init`, or a client that is too early.
    fn talk_to_client(&mut self, stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut out = stream;
        let mut authenticated = self.config.requirepass.is_none();
        loop {
            let words = read_words(&mut reader)?;
            let said: Vec<String> = words.iter().map(|word| word.to_uppercase()).collect();
            let said: Vec<&str> = said.iter().map(String::as_str).collect();
            let reply = match &said[..] {
                ["AUTH", ..] => {
                    authenticated |= words.last() == self.config.requirepass.as_ref();
                    if authenticated { "+OK".into() } else { "-WRONGPASS invalid password".into() }
                }
                _ if !authenticated => "-NOAUTH Authentication required.".into(),
                ["NODES", "INIT"] => match self.init() {
                    Ok(identity) => {
                        self.formed = Some(identity);
                        return out.write_all(b"+OK\r\n");
                    }
                    Err(why) => format!("-ERR {why}"),
                },
                _ => "-LOADING This node waits for its cluster: quoring-ctl init forms it".into(),
            };
            out.write_all(format!("{reply}\r\n").as_bytes())?;
        }
    }

    /// A cluster of those that have met, in the order of their addresses.
    fn init(&mut self) -> Result<Identity, String> {
        self.met.retain(|_, (_, at)| at.elapsed() < MET_MAX);
        let there = |name: &&String| {
            let found = name.to_socket_addrs().map(Vec::from_iter).unwrap_or_default();
            self.is_own(name) || found.iter().any(|at| self.met.contains_key(at))
        };
        let missing: Vec<&String> = self.join.named.iter().filter(|name| !there(name)).collect();
        if !missing.is_empty() {
            return Err(format!(
                "{missing:?} of --join have not asked here yet: start them, with the same --join, \
                 or leave them out of it on all"
            ));
        }
        let founded = self.version_to_begin_with()?;
        let mut all: Vec<(SocketAddr, DirectoryId)> =
            self.met.iter().map(|(at, (question, _))| (*at, question.directory)).collect();
        all.push((self.own.address, self.own.directory));
        all.sort_unstable_by_key(|(at, _)| *at);
        let numbered = || (1..).zip(&all);
        let own = numbered().find(|(_, (at, _))| *at == self.own.address);
        let node = own.map(|(node, _)| node).ok_or("this node is not among them")?;
        Ok(Identity {
            cluster: self.join.cluster,
            node,
            shards: self.config.shards.unwrap_or(self.config.cores),
            founded,
            voters: numbered().map(|(node, _)| node).collect(),
            directory: self.own.directory,
            met: numbered()
                .filter(|(other, _)| *other != node)
                .map(|(other, (_, directory))| (other, *directory))
                .collect(),
            addresses: numbered().map(|(node, (at, _))| (node, *at)).collect(),
            election_timeout_ms: self.config.election_timeout_ms,
            ..Identity::default()
        })
    }
}

impl Joining<'_> {
    /// The newest version that the programs of all that have met apply.
    fn version_to_begin_with(&self) -> Result<Version, String> {
        let others = self.met.iter().map(|(at, (question, _))| (*at, question.applied));
        let all: Vec<(SocketAddr, Versions)> =
            others.chain([(self.own.address, self.own.applied)]).collect();
        let version = all.iter().map(|(_, applied)| applied.most).min().unwrap_or_default();
        match all.iter().find(|(_, applied)| !applied.contains(version)) {
            None => Ok(version),
            Some((at, applied)) => Err(format!(
                "the program at {at} applies versions {applied} of a cluster, another one no more \
                 than {version}: start all with the same program"
            )),
        }
    }
}

fn ask(name: &str, question: &Question) -> std::io::Result<Answer> {
    let address = name.to_socket_addrs()?.next().ok_or(ErrorKind::NotFound)?;
    let mut stream = TcpStream::connect_timeout(&address, TALK_MAX)?;
    stream.set_read_timeout(Some(TALK_MAX))?;
    stream.set_write_timeout(Some(TALK_MAX))?;
    stream.write_all(&question.encode())?;
    let mut bytes = Vec::new();
    stream.take(ANSWER_BYTES_MAX as u64).read_to_end(&mut bytes)?;
    Answer::decode(&bytes).ok_or_else(|| {
        let why = match bytes.is_empty() {
            true => {
                "it closes without an answer: its --cluster-token may be another one, or it is no \
                 node"
            }
            false => "what it answers is no answer of a node: see that the address is right",
        };
        std::io::Error::new(ErrorKind::InvalidData, why)
    })
}

/// A command as `quoring-ctl` and client libraries send it.
fn read_words(reader: &mut BufReader<TcpStream>) -> std::io::Result<Vec<String>> {
    let count = read_number(reader, '*', CLIENT_WORDS_MAX)?;
    let mut words = Vec::new();
    for _ in 0..count {
        let mut word = vec![0; read_number(reader, '$', CLIENT_WORD_BYTES_MAX)? + 2];
        reader.read_exact(&mut word)?;
        word.truncate(word.len() - 2);
        words.push(String::from_utf8_lossy(&word).into_owned());
    }
    Ok(words)
}

fn read_number(
    reader: &mut BufReader<TcpStream>,
    kind: char,
    most: usize,
) -> std::io::Result<usize> {
    let mut line = String::new();
    reader.by_ref().take(32).read_line(&mut line)?;
    let number = line.trim_end().strip_prefix(kind).and_then(|number| number.parse().ok());
    number.filter(|number| *number <= most).ok_or_else(|| ErrorKind::InvalidData.into())
}
