//! One core's loop: waits, feeds its machine, carries out what it wants. Lives on the core's thread
//! from start to end; must never block but in `io_uring_enter`.
//!
//! JUSTIFICATION: an eventfd read and registered log buffers exchange addresses with the kernel.
#![allow(unsafe_code)]

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use io_uring::{opcode, types};

use super::buffers::Buffers;
use super::config::{Config, CoreId};
use super::connections::Connections;
use super::dials::{Dialed, Dials};
use super::error::RuntimeError;
use super::file::{Done, LogFiles, Operation};
use super::jobs::Jobs;
use super::limits::{DRAIN_NS_MAX, OUTBOX_RETRY_NS, TURN_COMPLETIONS_MAX};
use super::listeners::Listeners;
use super::mesh::{Handover, Mesh, Packet};
use super::ring::{Completion, Ring};
use super::socket::{self, CoreListeners};
use super::threads::Drives;
use super::timer::{self, Wait};
use super::token::{Kind, Token};
use super::wake::Bell;
use crate::core::io::{Input, Output, Port};

/// What all cores and the starting thread see.
pub struct Shared {
    pub bells: Vec<Bell>,
    /// The cores shall drain and stop.
    pub shutdown: AtomicBool,
    /// A core failed: all threads end now.
    pub abort: AtomicBool,
    /// Cores whose machine has said `Output::Stop`.
    pub stopped_count: AtomicU32,
}

impl Shared {
    pub fn ring_all(&self) {
        self.bells.iter().for_each(Bell::ring_event);
    }
}

/// Fields are dropped in this order: the ring before whatever memory it may know.
pub struct Driver<M: Drives> {
    ring: Ring,
    buffers: Buffers,
    connections: Connections,
    dials: Dials,
    files: Option<LogFiles<M::Buffer>>,
    jobs: Jobs,
    machine: M,
    mesh: Mesh<M::Message>,
    core: CoreId,
    shared: Arc<Shared>,
    poll_ns: u64,
    listeners: Listeners,
    /// Where the kernel puts the eventfd's counter.
    event_count: Box<u64>,
    event_armed: bool,
    completions: Vec<Completion>,
    /// The completions wait for a consistent cut of the mesh.
    held: bool,
    /// The kernel has nothing to take or to tell: what it has not spoken of is done.
    settled: bool,
    /// Log operations that ended without the kernel.
    done: Vec<Done<M::Buffer>>,
    outputs: Vec<Output<M::Message, M::LogOperation>>,
    /// When the machine wants its next turn.
    deadline_ns: Option<u64>,
    shutdown_told: bool,
    stopped: bool,
    draining: bool,
}

impl<M: Drives> Driver<M> {
    /// Makes the core's ring; must be called on the core's own thread.
    pub fn new(
        config: &Config,
        core: CoreId,
        machine: M,
        mesh: Mesh<M::Message>,
        listeners: CoreListeners,
        shared: Arc<Shared>,
    ) -> Result<Self, RuntimeError> {
        let sizes = &config.sizes;
        let mut files = match &config.log {
            Some(log) => Some(LogFiles::open(log, log.core_directory(core))?),
            None => None,
        };
        if let (Some(files), Some(segment)) = (&mut files, machine.log_segment()) {
            files.open_segment(segment)?;
        }
        let ring = Ring::new(sizes.submission_entries, sizes.completion_entries)?;
        // SAFETY: both move into `Driver` together, before anything else can fail, and its fields
        // are dropped in order: the ring first.
        let buffers =
            unsafe { Buffers::new(&ring, sizes.receive_buffers, sizes.receive_buffer_bytes)? };
        let driver = Self {
            ring,
            buffers,
            connections: Connections::default(),
            dials: Dials::default(),
            files,
            jobs: Jobs::default(),
            machine,
            mesh,
            core,
            poll_ns: u64::from(config.poll_us) * 1_000,
            listeners: Listeners::new(core, listeners),
            event_count: Box::new(0),
            event_armed: false,
            completions: Vec::with_capacity(TURN_COMPLETIONS_MAX),
            held: false,
            settled: false,
            done: Vec::new(),
            outputs: Vec::new(),
            deadline_ns: Some(0),
            shutdown_told: false,
            stopped: false,
            draining: false,
            shared,
        };
        driver.register_log_buffers()?;
        driver.bell().set_ring(driver.ring.fd());
        Ok(driver)
    }

    /// Runs until every core has stopped or one has failed.
    pub fn run(mut self) -> Result<(), RuntimeError> {
        let result = self.run_turns();
        let drained = self.drain();
        if !matches!(drained, Ok(true)) {
            // The kernel may still use what this core owns: better lost than freed under it.
            tracing::error!(core = self.core.0, "operations are under way that do not end");
            std::mem::forget(self);
        }
        result
    }

    fn run_turns(&mut self) -> Result<(), RuntimeError> {
        self.arm_event()?;
        self.arm_accepts()?;
        let cores = self.shared.bells.len() as u32;
        while self.shared.stopped_count.load(Ordering::Acquire) < cores
            && !self.shared.abort.load(Ordering::Acquire)
        {
            self.turn()?;
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<(), RuntimeError> {
        self.wait()?;
        self.collect();
        // After the completions were collected: a message that caused a client to send something is
        // in the cut when the client's bytes are among them.
        self.held = !self.mesh.take_cut();
        if self.held {
            return Ok(());
        }
        self.machine.begin_turn(timer::read_clocks(), self.mesh.waiting());
        self.tell_shutdown()?;
        self.deliver_mesh()?;
        self.deliver_done();
        self.deliver_dials()?;
        self.deliver_sent();
        self.deliver_completions()?;
        self.deadline_ns = self.machine.end_turn(&mut self.outputs);
        self.carry_out()?;
        self.send_handovers();
        self.mesh.flush_outboxes();
        self.wake_others()?;
        self.connections.submit_sends(&mut self.ring)?;
        self.buffers.publish();
        Ok(())
    }

    fn collect(&mut self) {
        let before = self.completions.len();
        self.ring.collect(&mut self.completions, TURN_COMPLETIONS_MAX);
        for completion in &self.completions[before..] {
            if let Some(token) = Token::unpack(completion.user_data)
                && token.kind == Kind::Send
            {
                self.connections.note_send_completion(token);
            }
        }
        self.settled = self.ring.is_settled();
    }

    fn wait(&mut self) -> Result<(), RuntimeError> {
        let wait = self.how_to_wait();
        if wait == Wait::No {
            return self.ring.enter(Wait::No);
        }
        if self.poll_ns > 0 && self.poll()? {
            return Ok(());
        }
        if self.is_alone() {
            return self.ring.enter(wait);
        }
        self.bell().set_sleeping();
        let wait = if self.mesh.has_incoming() { Wait::No } else { wait };
        let result = self.ring.enter(wait);
        self.bell().set_awake();
        result
    }

    fn how_to_wait(&self) -> Wait {
        // Not settled: a send may be done whose machine waits for that to close.
        let busy = !self.completions.is_empty() || !self.done.is_empty() || self.dials.has_failed();
        if self.held || !self.settled || busy {
            return Wait::No;
        }
        let mut own = self.listeners.retry_ns();
        if self.deadline_ns.is_none() && own.is_none() && !self.mesh.has_waiting() {
            return Wait::Forever;
        }
        let now_ns = timer::monotonic_ns();
        if self.mesh.has_waiting() {
            let retry_ns = now_ns + OUTBOX_RETRY_NS;
            own = Some(own.map_or(retry_ns, |at| at.min(retry_ns)));
        }
        timer::wait_until(now_ns, self.deadline_ns, own)
    }

    /// Spins for work. `true` if there is some, or if the machine's time has come.
    fn poll(&mut self) -> Result<bool, RuntimeError> {
        self.ring.enter(Wait::No)?;
        let begin_ns = timer::monotonic_ns();
        loop {
            if self.ring.has_completions() || self.mesh.has_incoming() {
                return Ok(true);
            }
            if self.ring.has_work() {
                self.ring.enter(Wait::No)?;
                continue;
            }
            let now_ns = timer::monotonic_ns();
            if self.deadline_ns.is_some_and(|at| at <= now_ns) {
                return Ok(true);
            }
            if now_ns - begin_ns >= self.poll_ns {
                return Ok(false);
            }
            std::hint::spin_loop();
        }
    }

    fn tell_shutdown(&mut self) -> Result<(), RuntimeError> {
        if self.shutdown_told || !self.shared.shutdown.load(Ordering::Acquire) {
            return Ok(());
        }
        // Whoever connects until the machine stops is told so by it, or where to go.
        self.shutdown_told = true;
        self.machine.on_input(Input::Shutdown);
        Ok(())
    }

    fn deliver_mesh(&mut self) -> Result<(), RuntimeError> {
        while let Some((from, packet)) = self.mesh.pop_cut() {
            match packet {
                Packet::Message(message) => {
                    self.machine.on_input(Input::Mesh { from: from as u16, message });
                }
                Packet::Connection(handover) => self.open(handover)?,
            }
        }
        Ok(())
    }

    fn deliver_done(&mut self) {
        self.done.extend(self.jobs.take_done().into_iter().map(Done::Job));
        for done in self.done.drain(..) {
            self.machine.on_input(Input::Log(M::from_done(done)));
        }
    }

    /// Connects that failed before they began.
    fn deliver_dials(&mut self) -> Result<(), RuntimeError> {
        for dialed in self.dials.take_failed() {
            self.on_dialed(dialed)?;
        }
        Ok(())
    }

    /// Sends that were over with the last submission.
    fn deliver_sent(&mut self) {
        if self.settled {
            let clients = &self.shared.bells[usize::from(self.core.0)].clients;
            self.connections.confirm_sends(&mut self.machine, || {
                clients.fetch_sub(1, Ordering::Relaxed);
            });
        }
    }

    fn deliver_completions(&mut self) -> Result<(), RuntimeError> {
        let mut completions = std::mem::take(&mut self.completions);
        for completion in completions.drain(..) {
            self.on_completion(completion)?;
        }
        self.completions = completions;
        if self.listeners.take_due() {
            self.arm_accepts()?;
        }
        Ok(())
    }

    fn on_completion(&mut self, completion: Completion) -> Result<(), RuntimeError> {
        let Some(token) = Token::unpack(completion.user_data) else {
            unreachable!("every operation carries a token");
        };
        let (ring, machine) = (&mut self.ring, &mut self.machine);
        match token.kind {
            Kind::Receive => {
                let buffers = &mut self.buffers;
                if self.connections.on_receive(ring, buffers, machine, token, completion)? {
                    self.on_connection_freed();
                }
            }
            Kind::Send => {
                if self.connections.on_send(ring, machine, token, completion)? {
                    self.on_connection_freed();
                }
            }
            Kind::File => {
                let Some(files) = &mut self.files else {
                    unreachable!("file operations come from log files");
                };
                if let Some(done) = files.on_completion(ring, token, completion)? {
                    machine.on_input(Input::Log(M::from_done(done)));
                }
            }
            Kind::Accept => self.on_accept(token.index as usize, completion)?,
            Kind::Connect | Kind::ConnectTimeout => {
                if let Some(dialed) = self.dials.on_completion(token, completion) {
                    self.on_dialed(dialed)?;
                }
            }
            Kind::Event => {
                self.event_armed = false;
                if !self.draining {
                    self.arm_event()?;
                }
            }
            Kind::Wake => {
                // Its sender hears of it only when it failed.
                if completion.result < 0 && token.index != u32::from(self.core.0) {
                    self.shared.bells[token.index as usize].ring_event();
                }
            }
            Kind::Cancel => {}
        }
        Ok(())
    }

    fn carry_out(&mut self) -> Result<(), RuntimeError> {
        let mut outputs = std::mem::take(&mut self.outputs);
        for output in outputs.drain(..) {
            match output {
                Output::Send { conn, bytes, await_sent } => {
                    self.connections.queue_send(conn, bytes, await_sent);
                }
                Output::Connect { attempt, address } => {
                    self.dials.begin(&mut self.ring, attempt, address)?;
                }
                Output::HandOver { conn, to, bytes } => {
                    if self.connections.hand_over(&mut self.ring, conn, to, bytes)? {
                        self.on_connection_freed();
                    }
                }
                Output::Mesh { to, message } => {
                    self.mesh.send(usize::from(to), Packet::Message(message));
                }
                Output::Log(operation) => {
                    let Some(files) = &mut self.files else {
                        unreachable!("a machine without a log has no log operations");
                    };
                    let operation = match M::into_operation(operation) {
                        Operation::Job(job) => {
                            let started = self.jobs.start(job, self.core, &self.shared);
                            let core = self.core;
                            started.map_err(|error| RuntimeError::Thread { core, error })?;
                            continue;
                        }
                        operation => operation,
                    };
                    self.done.extend(files.start(&mut self.ring, operation)?);
                }
                Output::Close { conn } => {
                    if self.connections.close(&mut self.ring, conn)? {
                        self.on_connection_freed();
                    }
                }
                Output::Keepalive { seconds } => self.listeners.set_keepalive(seconds),
                Output::PauseReceive { conn } => self.connections.pause(&mut self.ring, conn)?,
                Output::ResumeReceive { conn } => self.connections.resume(&mut self.ring, conn)?,
                Output::Stop => self.on_stop(),
                Output::Fail(message) => panic!("{message}"),
            }
        }
        self.outputs = outputs;
        Ok(())
    }

    fn on_stop(&mut self) {
        if std::mem::replace(&mut self.stopped, true) {
            return;
        }
        let before = self.shared.stopped_count.fetch_add(1, Ordering::AcqRel);
        if before as usize + 1 == self.shared.bells.len() {
            self.shared.ring_all();
        }
    }

    /// Wakes the cores that were sent something in this turn and sleep. The wake-ups go out with
    /// this turn's `enter`, before its sends.
    fn wake_others(&mut self) -> Result<(), RuntimeError> {
        for to in 0..self.shared.bells.len() {
            if !self.mesh.take_touched(to) {
                continue;
            }
            if let Some(ring) = self.shared.bells[to].take_sleeper() {
                let token = Token::new(Kind::Wake, 0, to as u32).pack();
                self.ring.push_wake(ring, token)?;
            }
        }
        Ok(())
    }

    fn on_accept(&mut self, index: usize, completion: Completion) -> Result<(), RuntimeError> {
        if let Some((port, fd)) = self.listeners.on_accept(index, completion)?
            && let Ok((peer, local)) = socket::ends(&fd)
        {
            let handover = Handover { fd, port, peer, local, bytes: Vec::new() };
            match port {
                Port::Client => self.place(handover)?,
                Port::Peer => self.open(handover)?,
            }
        }
        if self.listeners.may_arm() { self.arm_accepts() } else { Ok(()) }
    }

    fn on_dialed(&mut self, dialed: Dialed) -> Result<(), RuntimeError> {
        let Dialed { attempt, result } = dialed;
        let result = match result {
            Ok(fd) => Ok(self.connections.open(&mut self.ring, fd, Port::Peer)?),
            Err(error) => Err(error),
        };
        self.machine.on_input(Input::Connected { attempt, result });
        Ok(())
    }

    /// Keeps a new client, or hands it to the core with the fewest if that has fewer than this one.
    fn place(&mut self, client: Handover) -> Result<(), RuntimeError> {
        let clients = |core: usize| self.shared.bells[core].clients.load(Ordering::Relaxed);
        let own = usize::from(self.core.0);
        let least = (0..self.shared.bells.len()).min_by_key(|core| clients(*core)).unwrap_or(own);
        let target = if clients(own) > clients(least) { least } else { own };
        self.shared.bells[target].clients.fetch_add(1, Ordering::Relaxed);
        if target == own {
            return self.open(client);
        }
        self.mesh.send(target, Packet::Connection(client));
        Ok(())
    }

    fn open(&mut self, handover: Handover) -> Result<(), RuntimeError> {
        let Handover { fd, port, peer, local, bytes } = handover;
        let conn = self.connections.open(&mut self.ring, fd, port)?;
        self.machine.on_input(Input::Accepted { conn, port, peer, local });
        if !bytes.is_empty() {
            self.machine.on_input(Input::Received { conn, bytes: &bytes });
        }
        Ok(())
    }

    /// Connections of which nothing more can come here go to the cores that they are for.
    fn send_handovers(&mut self) {
        for (to, handover) in self.connections.take_handed() {
            if handover.port == Port::Client {
                self.shared.bells[usize::from(to)].clients.fetch_add(1, Ordering::Relaxed);
            }
            self.mesh.send(usize::from(to), Packet::Connection(handover));
        }
    }

    fn on_connection_freed(&mut self) {
        self.bell().clients.fetch_sub(1, Ordering::Relaxed);
    }

    fn arm_accepts(&mut self) -> Result<(), RuntimeError> {
        if self.draining {
            return Ok(());
        }
        self.listeners.arm(&mut self.ring)
    }

    fn arm_event(&mut self) -> Result<(), RuntimeError> {
        let fd = types::Fd(self.shared.bells[usize::from(self.core.0)].event().as_raw_fd());
        let entry = opcode::Read::new(fd, (&raw mut *self.event_count).cast(), 8)
            .build()
            .user_data(Token::new(Kind::Event, 0, 0).pack());
        self.event_armed = true;
        // SAFETY: the counter is on the heap, read by no one, and freed after the ring; the eventfd
        // is kept open by `shared`.
        unsafe { self.ring.push(entry) }
    }

    fn register_log_buffers(&self) -> Result<(), RuntimeError> {
        let buffers: Vec<libc::iovec> = self
            .machine
            .log_buffers()
            .iter()
            .map(|bytes| libc::iovec {
                iov_base: bytes.as_ptr().cast_mut().cast(),
                iov_len: bytes.len(),
            })
            .collect();
        if buffers.is_empty() {
            return Ok(());
        }
        // SAFETY: the kernel pins the pages, so they outlive even their owner; writes only read
        // from them, and each write's own buffer is kept by `files` until its completion.
        unsafe { self.ring.submitter().register_buffers(&buffers) }
            .map_err(|error| RuntimeError::Ring { what: "registering log buffers", error })
    }

    /// Ends what is under way; accepts too, or the port would stay taken for a moment after the
    /// process is gone, because a ring is torn down later. `false` if something did not end in
    /// time.
    fn drain(&mut self) -> Result<bool, RuntimeError> {
        self.draining = true;
        // Sends of the last turn may not even have been submitted.
        self.settled = false;
        self.listeners.cancel(&mut self.ring)?;
        self.dials.cancel_all(&mut self.ring)?;
        let event = Token::new(Kind::Event, 0, 0).pack();
        self.ring.push_cancel(event, Token::new(Kind::Cancel, 0, 0).pack())?;
        self.connections.close_all(&mut self.ring)?;
        if let Some(files) = &mut self.files {
            files.cancel_waiting();
        }
        let until_ns = timer::monotonic_ns() + DRAIN_NS_MAX;
        loop {
            // What the machine is told here it can act on no more.
            self.deliver_sent();
            self.deliver_completions()?;
            self.connections.close_all(&mut self.ring)?;
            self.buffers.publish();
            let files_busy = self.files.as_ref().is_some_and(LogFiles::is_busy);
            let connecting = self.listeners.is_armed() || self.dials.is_busy();
            let busy = files_busy || connecting || self.event_armed || self.connections.is_busy();
            if !busy {
                return Ok(true);
            }
            let now_ns = timer::monotonic_ns();
            if now_ns >= until_ns {
                return Ok(false);
            }
            self.ring.enter(Wait::For(until_ns - now_ns))?;
            self.collect();
        }
    }

    fn bell(&self) -> &Bell {
        &self.shared.bells[usize::from(self.core.0)]
    }

    fn is_alone(&self) -> bool {
        self.shared.bells.len() == 1
    }
}
