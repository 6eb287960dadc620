//! What clients do: ask, wait, lose patience, go where they are told to.

use engine::rng::Rng;

use super::client::Asked;
use super::history::{Ending, Record, Seen};
use super::operation::{LISTS, Operation, WATCHED, refusal};
use super::wires::End;
use super::world::{Event, World};
use crate::harness::client::encode;
use crate::sim::client::Reply;
use crate::sim::node::Waiting;

/// Clients wait so long for an answer, or less: some hardly, some longer than an election takes.
const PATIENCE_NS_MAX: [u64; 2] = [150_000_000, 1_000_000_000];
const PIPELINE_MAX: u64 = 3;
/// Longer than some clients have patience; 0 is for ever.
const WAIT_MS_MAX: u64 = 400;
/// Keys that end by themselves, and when at most.
const ENDING_KEYS: u64 = 8;
const KEY_MS_MAX: u64 = 2_000;
/// Reads of a follower by one connection.
const READS_MAX: u64 = 30;

impl World {
    pub fn client_step(&mut self, client: usize) {
        let own = &self.clients[client];
        if own.listens {
            return self.listen(client);
        }
        let script = !own.script.is_empty();
        if !own.asked.is_empty() || self.left == 0 && !script || !self.connect_client(client) {
            return;
        }
        if self.clients[client].reads_left == 0 {
            return self.drop_client(client);
        }
        let pipeline = if self.rng.below(3) == 0 { self.rng.below(PIPELINE_MAX) } else { 0 };
        for _ in 0..=pipeline {
            let own = &mut self.clients[client];
            let operation = match own.script.pop_front() {
                Some(operation) => operation,
                None if script || self.left == 0 => break,
                None => {
                    // Reads of followers do not count: they go on whatever happens.
                    let reader = own.reader;
                    self.left -= usize::from(!reader);
                    own.reads_left -= u64::from(reader && own.reads_left > 0);
                    self.last_value += 1;
                    let writes = if reader { 0 } else { own.writes_percent };
                    let operation = Operation::random(&mut self.rng, self.last_value, writes);
                    // Followers promise order within a shard, not over several.
                    let several = match reader {
                        true => None,
                        false => self.transactions.draw(self.last_value, writes),
                    };
                    match operation {
                        Operation::GetPair { key, .. } if reader && self.plan.shards > 1 => {
                            Operation::Get { key }
                        }
                        operation => several.map_or(operation, Operation::Transaction),
                    }
                }
            };
            self.ask(client, operation);
            if matches!(operation, Operation::WatchIncrement { .. }) {
                // The next ones would come between its steps.
                return self.await_answers(client);
            }
        }
        self.ask_for_nodes(client);
        self.ask_for_a_while(client);
        self.tell(client);
        self.await_answers(client);
    }

    /// One that listens does so again wherever it gets to.
    fn listen(&mut self, client: usize) {
        if self.clients[client].wire.is_some() || !self.connect_client(client) {
            return;
        }
        let lists: Vec<String> = (0..LISTS).map(|list| format!("l{list}")).collect();
        let words: Vec<&str> =
            std::iter::once("SUBSCRIBE").chain(lists.iter().map(String::as_str)).collect();
        if let Some(wire) = self.clients[client].wire {
            self.send_bytes(wire, 0, encode(&words), 0);
        }
    }

    /// Takes what a listener hears. False if it is to go elsewhere.
    fn on_heard(&mut self, client: usize, bytes: &[u8]) -> Result<bool, String> {
        let Some(told) = self.clients[client].on_bytes_heard(bytes)? else { return Ok(false) };
        for (list, value) in told {
            self.outcome.heard += 1;
            self.history.hear(list, value, self.now_ns);
            self.history.note(self.now_ns, || format!("client {client} hears {value} of l{list}"));
        }
        Ok(true)
    }

    fn await_answers(&mut self, client: usize) {
        let own = &self.clients[client];
        if own.patient {
            return;
        }
        let (connection, answers) = (own.connection, own.answers);
        let most_ns = PATIENCE_NS_MAX[self.rng.below(2) as usize];
        let delay_ns = most_ns / 4 + self.rng.below(most_ns);
        self.after(delay_ns, Event::Patience { client, connection, answers });
    }

    /// Now and then: whether nodes have what was written before.
    fn ask_for_nodes(&mut self, client: usize) {
        let own = &self.clients[client];
        // Whose script ends is not to have anything under way.
        // Some ask for more nodes than there are, for ever.
        let asks = self.plan.waits && !own.reader && !own.scripted && !self.patient;
        if asks && self.rng.below(3) == 0 {
            let nodes = 1 + self.rng.below(self.plan.nodes);
            let timeout_ms = self.rng.below(WAIT_MS_MAX);
            self.ask(client, Operation::Wait { nodes, timeout_ms });
        }
    }

    /// Now and then: of keys that end by themselves.
    fn ask_for_a_while(&mut self, client: usize) {
        let own = &self.clients[client];
        let asks = self.plan.ending_keys && !own.reader && !own.scripted;
        if asks && self.rng.below(2) == 0 {
            let (key, writes) = (self.rng.below(ENDING_KEYS), self.rng.below(2) == 0);
            self.last_value += 1;
            let (value, ms) = (self.last_value, 1 + self.rng.below(KEY_MS_MAX));
            self.ask(
                client,
                match writes {
                    true => Operation::SetFor { key, value, ms },
                    false => Operation::GetWhile { key },
                },
            );
        }
    }

    /// Now and then: something that others hear of.
    fn tell(&mut self, client: usize) {
        let own = &self.clients[client];
        let tells = self.plan.tells && !own.reader && !own.scripted;
        if tells && self.rng.below(2) == 0 {
            self.last_value += 1;
            let (key, value) = (self.rng.below(LISTS), self.last_value);
            let transaction = self.rng.below(2) == 0;
            self.ask(client, Operation::Tell { key, value, transaction });
        }
    }

    fn ask(&mut self, client: usize, operation: Operation) {
        let (now_ns, since) = (self.now_ns, self.since(operation));
        let own = &mut self.clients[client];
        let (connection, stale, machine) = (own.connection, own.reader, own.machine);
        let Some(wire) = own.wire else { return };
        let record = Record {
            operation,
            asked_ns: now_ns,
            node: Some(machine + 1),
            connection,
            stale,
            cut: false,
            ending: Ending::Unknown,
        };
        let record = self.history.ask(record);
        own.asked.push_back(Asked {
            record: Some(record),
            operation: Some(operation),
            replies: Vec::new(),
            second: false,
            since,
        });
        let bytes = operation.encode(&mut self.rng);
        self.send_bytes(wire, 0, bytes, 0);
        self.history.note(now_ns, || {
            let reader = if stale { " (reader)" } else { "" };
            format!("client {client}{reader} asks node {}: {operation:?}", machine + 1)
        });
    }

    /// Whether it is connected, perhaps just now. Otherwise it tries another machine in a while.
    pub fn connect_client(&mut self, client: usize) -> bool {
        if self.clients[client].wire.is_some() {
            return true;
        }
        let machine = self.clients[client].machine;
        if !self.machines[machine].is_up() {
            self.move_client(client, None);
            return false;
        }
        let core = self.any_core(machine);
        let (conn, there) = self.new_end((machine, core));
        let wire = self.wires.join([End::Client(client), there]);
        self.machines[machine].set_wire(conn, wire);
        self.add(machine, core, Waiting::Accepted(conn));
        self.last_connection += 1;
        let own = &mut self.clients[client];
        own.wire = Some(wire);
        own.connection = self.last_connection;
        own.reader = !own.scripted && self.rng.below(4) == 0;
        own.reads_left = 1 + self.rng.below(READS_MAX);
        own.writes_percent = [4, 50, 50][self.rng.below(3) as usize];
        if own.reader {
            own.asked.push_back(Asked {
                record: None,
                operation: None,
                replies: Vec::new(),
                second: false,
                since: None,
            });
            self.send_bytes(wire, 0, encode(&["READONLY"]), 0);
        }
        true
    }

    /// It goes to that machine, or any.
    fn move_client(&mut self, client: usize, to: Option<usize>) {
        let machine = to.unwrap_or_else(|| self.rng.below(self.machines.len() as u64) as usize);
        self.clients[client].machine = machine.min(self.machines.len() - 1);
        let delay_ns = self.rng.below(30_000_000);
        self.after(delay_ns, Event::Step { client });
    }

    /// Its connection is no more: of what it has asked nothing is known.
    fn lose_client(&mut self, client: usize) {
        for asked in self.clients[client].forget() {
            if let Some(operation) = asked.operation {
                self.outcome.unknown += 1;
                self.ask_again(client, operation);
                // Until something is written there is no end.
                let goes_on = self.calm && self.written_ns.is_none();
                self.left += usize::from(goes_on && !self.clients[client].reader);
            }
        }
    }

    /// What a client must know is asked again.
    fn ask_again(&mut self, client: usize, operation: Operation) {
        if self.clients[client].scripted {
            self.clients[client].script.push_back(operation);
        }
    }

    pub fn on_client_dropped(&mut self, client: usize, wire: u64) {
        self.wires.leave(wire, 0);
        if self.clients[client].wire != Some(wire) {
            return;
        }
        self.history.note(self.now_ns, || format!("client {client} is cut off"));
        for record in self.clients[client].asked.iter().filter_map(|asked| asked.record) {
            self.outcome.cut_off += 1;
            self.history.cut(record);
        }
        self.lose_client(client);
        self.move_client(client, None);
    }

    pub fn on_patience(&mut self, client: usize, connection: u64, answers: u64) {
        let own = &self.clients[client];
        let waits = own.connection == connection && own.answers == answers;
        if !waits || own.asked.is_empty() || self.patient {
            return;
        }
        self.history.note(self.now_ns, || format!("client {client} has waited long enough"));
        self.leave_node(client, None);
    }

    /// It begins anew, elsewhere perhaps.
    pub fn drop_client(&mut self, client: usize) {
        self.leave_node(client, None);
    }

    fn leave_node(&mut self, client: usize, to: Option<usize>) {
        if let Some(wire) = self.clients[client].wire {
            self.close_end(wire, 0);
        }
        self.lose_client(client);
        self.move_client(client, to);
    }

    pub fn on_client_bytes(
        &mut self,
        client: usize,
        wire: u64,
        bytes: &[u8],
    ) -> Result<(), String> {
        if self.clients[client].wire != Some(wire) {
            return Ok(());
        }
        for byte in bytes.iter().chain(&self.now_ns.to_le_bytes()) {
            self.outcome.digest =
                (self.outcome.digest ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
        if self.clients[client].listens {
            if !self.on_heard(client, bytes)? {
                self.leave_node(client, None);
            }
            return Ok(());
        }
        let mut elsewhere = None;
        for asked in self.clients[client].on_bytes(bytes)? {
            if let Some(text) = self.on_answer(client, &asked)? {
                elsewhere = Some(named_node(&text));
            }
        }
        if let Some(bytes) = self.clients[client].second_step() {
            self.send_bytes(wire, 0, bytes, 0);
        }
        if let Some(to) = elsewhere {
            self.leave_node(client, to);
        } else if self.clients[client].asked.is_empty() {
            let think_ns = think_ns(&mut self.rng);
            self.after(think_ns, Event::Step { client });
        } else {
            self.await_answers(client);
        }
        Ok(())
    }

    /// Returns why it was refused, if that is because of where it was asked.
    fn on_answer(&mut self, client: usize, asked: &Asked) -> Result<Option<String>, String> {
        let (Some(number), Some(operation)) = (asked.record, asked.operation) else {
            let said = &asked.replies[0];
            let fine = matches!(said, Reply::Simple(_));
            return fine.then_some(None).ok_or(format!("READONLY was answered {said:?}"));
        };
        if let Some(text) = refusal(&asked.replies)? {
            self.history.end(number, Ending::Refused);
            self.outcome.refused += 1;
            let own = &self.clients[client];
            let extra = asked.since.is_some()
                || matches!(
                    operation,
                    Operation::SetFor { .. } | Operation::GetWhile { .. } | Operation::Tell { .. }
                );
            self.left += usize::from(!own.scripted && !own.reader && !extra);
            self.history.note(self.now_ns, || format!("client {client}: {operation:?}: {text}"));
            self.ask_again(client, operation);
            let stays = text.contains("MISCONF") || text == WATCHED;
            return Ok((!stays).then(|| text.to_owned()));
        }
        let seen = operation.read(&asked.replies)?;
        self.check_holders(asked)?;
        self.history.note(self.now_ns, || {
            let shown = match &seen {
                Seen::Elements(elements) => format!("{} elements", elements.len()),
                other => format!("{other:?}"),
            };
            format!("client {client}: {operation:?}: {shown}")
        });
        self.history.end(number, Ending::Done { at_ns: self.now_ns, seen });
        self.outcome.done += 1;
        self.outcome.transactions += usize::from(matches!(operation, Operation::Transaction(_)));
        let record = self.history.get(number);
        self.outcome.follower_reads += usize::from(record.stale);
        if self.calm && operation.writes() && record.asked_ns >= self.calm_since_ns {
            self.written_ns.get_or_insert(self.now_ns);
        }
        if self.calm && self.written_ns.is_none() {
            self.left += usize::from(!record.stale);
        }
        Ok(None)
    }
}

fn think_ns(rng: &mut Rng) -> u64 {
    let most_ns = if rng.below(10) == 0 { 300_000_000 } else { 10_000_000 };
    rng.below(most_ns)
}

/// `READONLY This node follows node 2. …`: the machine that is.
fn named_node(text: &str) -> Option<usize> {
    let (_, rest) = text.split_once("follows node ")?;
    let number: usize = rest.split(['.', ' ']).next()?.parse().ok()?;
    number.checked_sub(1)
}
