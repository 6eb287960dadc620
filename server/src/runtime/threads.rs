//! From a configuration to running cores, and to their end. Runs on the starting thread.
//!
//! JUSTIFICATION: blocking signals and reading them from a descriptor have no safe interface.
#![allow(unsafe_code)]

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::config::{Config, CoreId};
use super::driver::{Driver, Shared};
use super::error::{MachineError, RuntimeError};
use super::file::{Done, LogBuffer, Operation};
use super::limits::{
    CORE_STACK_BYTES, CORES_MAX, DESCRIPTORS_CORE, DESCRIPTORS_LINKS_CORE, DESCRIPTORS_PROCESS,
};
use super::mesh::{self, Mesh};
use super::socket::{self, Addresses, CoreListeners};
use super::wake::Bell;
use crate::core::io::Machine;

/// A machine that the runtime can drive: says how its log operations map to the runtime's.
pub trait Drives: Machine {
    type Buffer: LogBuffer;
    fn into_operation(operation: Self::LogOperation) -> Operation<Self::Buffer>;
    fn from_done(done: Done<Self::Buffer>) -> Self::LogDone;

    /// Memory of log buffers to register with the ring, asked once, before the first turn; the
    /// place in the list is the buffer's `registered_id`.
    fn log_buffers(&self) -> Vec<&[u8]> {
        Vec::new()
    }

    /// The segment of the first log write, if it is there already: opened before anyone is
    /// accepted, who may take the last descriptor.
    fn log_segment(&self) -> Option<u64> {
        None
    }
}

/// Starts the cores and stays until they have ended: by SIGTERM or SIGINT if `config.signals`, by
/// themselves, or because one failed. `on_ready` is called once every core accepts clients.
pub fn run<M, F>(
    config: Config,
    make_machine: F,
    on_ready: impl FnOnce(&Running),
) -> Result<(), RuntimeError>
where
    M: Drives,
    F: Fn(CoreId) -> Result<M, MachineError> + Send + Sync + 'static,
{
    // Before any thread exists, so that all inherit the mask.
    let signals = if config.signals { Some(block_signals()?) } else { None };
    let running = start(config, make_machine)?;
    on_ready(&running);
    running.wait_with(signals.as_ref())
}

/// Cores at work.
pub struct Running {
    addresses: Addresses,
    clients_max: u32,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    ends: Receiver<(CoreId, Result<(), RuntimeError>)>,
    /// Counts the ends that were sent.
    end_event: Arc<OwnedFd>,
}

/// With one a processor they are. With fewer, several processes that share a machine would all
/// crowd its first processors.
fn are_pinned(cores: usize, processors: usize) -> bool {
    match cores.cmp(&processors) {
        std::cmp::Ordering::Equal => return true,
        std::cmp::Ordering::Greater => {
            tracing::warn!(cores, processors, "more cores than processors: not pinned");
        }
        std::cmp::Ordering::Less => tracing::info!(
            cores,
            processors,
            "fewer cores than processors: not pinned; start it with taskset to say which are its"
        ),
    }
    false
}

/// Starts the cores. On success all of them accept clients.
pub fn start<M, F>(config: Config, make_machine: F) -> Result<Running, RuntimeError>
where
    M: Drives,
    F: Fn(CoreId) -> Result<M, MachineError> + Send + Sync + 'static,
{
    let allowed = allowed_processors()?;
    let cores = config.cores.unwrap_or(allowed.len());
    if cores == 0 || cores > CORES_MAX {
        return Err(RuntimeError::Cores { asked: cores, max: CORES_MAX });
    }
    let possible = provide_descriptors(cores, !config.peer_listen.is_empty())?;
    let clients_max = possible.min(config.clients_max);
    let (listeners, addresses) = socket::listen_all(&config, cores)?;
    let ring_error = |error| RuntimeError::Ring { what: "eventfd", error };
    let bells = (0..cores).map(|_| Bell::new()).collect::<io::Result<Vec<_>>>();
    let shared = Arc::new(Shared {
        bells: bells.map_err(ring_error)?,
        shutdown: AtomicBool::new(false),
        abort: AtomicBool::new(false),
        stopped_count: AtomicU32::new(0),
    });
    let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::SEMAPHORE)
        .map_err(|error| ring_error(error.into()))?;
    let (ends_sender, ends) = channel();
    let mut running = Running {
        addresses,
        clients_max,
        shared: shared.clone(),
        threads: Vec::new(),
        ends,
        end_event: Arc::new(event),
    };
    let pinned = are_pinned(cores, allowed.len());
    let (ready_sender, ready) = channel();
    let make_machine = Arc::new(make_machine);
    let mut go = Vec::new();
    let meshes = mesh::connect(cores, config.sizes.mesh_ring_messages);
    for (index, (listeners, mesh)) in listeners.into_iter().zip(meshes).enumerate() {
        let (go_sender, go_receiver) = channel();
        go.push(go_sender);
        let core = CoreId(index as u16);
        let thread = CoreThread {
            config: config.clone(),
            core,
            processor: pinned.then(|| allowed[index]),
            mesh,
            listeners,
            shared: shared.clone(),
            ready: ready_sender.clone(),
            go: go_receiver,
        };
        let make_machine = make_machine.clone();
        let end = End { core, sender: ends_sender.clone(), event: running.end_event.clone() };
        let spawned = std::thread::Builder::new()
            .name(format!("core-{index}"))
            .stack_size(CORE_STACK_BYTES)
            .spawn(move || end.report(|| thread.run(&*make_machine)));
        match spawned {
            Ok(thread) => running.threads.push(thread),
            Err(error) => {
                drop(go);
                return Err(running.abort(RuntimeError::Thread { core, error }));
            }
        }
    }
    drop((ready_sender, ends_sender));
    // Ends early if a core fails: each thread drops its sender.
    if ready.iter().take(cores).count() < cores {
        drop(go);
        return Err(running.first_failure());
    }
    for sender in go {
        // A thread that is gone has reported why.
        let _ = sender.send(());
    }
    Ok(running)
}

impl Running {
    /// The addresses listened on, in the order asked for, with real ports.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses.clients
    }

    /// The same for other nodes.
    pub fn peer_addresses(&self) -> &[SocketAddr] {
        &self.addresses.peers
    }

    /// Clients there are descriptors for: what was asked, or what the limit of open files leaves.
    pub fn clients_max(&self) -> u32 {
        self.clients_max
    }

    /// Asks every core to drain and stop.
    pub fn shutdown(&self) {
        self.shared.shutdown.store(true, Ordering::Release);
        self.shared.ring_all();
    }

    /// Waits until all cores have ended.
    pub fn wait(self) -> Result<(), RuntimeError> {
        self.wait_with(None)
    }

    fn wait_with(mut self, signals: Option<&OwnedFd>) -> Result<(), RuntimeError> {
        let mut left = self.threads.len();
        while left > 0 {
            if let Some(signals) = signals {
                self.await_event(signals)?;
            }
            let next =
                if signals.is_some() { self.ends.try_recv().ok() } else { self.ends.recv().ok() };
            match next {
                Some((_, Ok(()))) => left -= 1,
                Some((_, Err(error))) => return Err(self.abort(error)),
                None => {}
            }
        }
        self.join();
        Ok(())
    }

    /// Until a core has ended; a signal meanwhile asks for the shutdown.
    fn await_event(&self, signals: &OwnedFd) -> Result<(), RuntimeError> {
        let fail = |error: rustix::io::Errno| RuntimeError::Signals { error: error.into() };
        loop {
            let mut fds = [
                PollFd::new(signals, PollFlags::IN),
                PollFd::from_borrowed_fd(self.end_event.as_fd(), PollFlags::IN),
            ];
            match poll(&mut fds, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(fail(error)),
            }
            let (signalled, ended) = (!fds[0].revents().is_empty(), !fds[1].revents().is_empty());
            if signalled {
                // One `signalfd_siginfo`.
                rustix::io::read(signals, &mut [0u8; 128]).map_err(fail)?;
                if self.shared.shutdown.load(Ordering::Acquire) {
                    tracing::warn!("asked to stop again: ending at once");
                    std::process::exit(1);
                }
                self.shutdown();
            }
            if ended {
                // A semaphore: one end a read.
                rustix::io::read(&*self.end_event, &mut [0u8; 8]).map_err(fail)?;
                return Ok(());
            }
        }
    }

    /// After a start that failed: why the first core that failed did.
    fn first_failure(&mut self) -> RuntimeError {
        let failure = self.ends.iter().find_map(|(_, result)| result.err());
        self.abort(failure.unwrap_or(RuntimeError::Panicked { core: CoreId(0) }))
    }

    /// Ends all threads because of `error`.
    fn abort(&mut self, error: RuntimeError) -> RuntimeError {
        self.shared.abort.store(true, Ordering::Release);
        self.shared.ring_all();
        self.join();
        error
    }

    fn join(&mut self) {
        for thread in self.threads.drain(..) {
            // Panics were caught and reported on the thread.
            let _ = thread.join();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.abort.store(true, Ordering::Release);
        self.shared.ring_all();
        self.join();
    }
}

/// What a core's thread is started with.
struct CoreThread<T> {
    config: Config,
    core: CoreId,
    processor: Option<usize>,
    mesh: Mesh<T>,
    listeners: CoreListeners,
    shared: Arc<Shared>,
    ready: Sender<()>,
    go: Receiver<()>,
}

impl<T: Send> CoreThread<T> {
    fn run<M>(
        self,
        make_machine: &dyn Fn(CoreId) -> Result<M, MachineError>,
    ) -> Result<(), RuntimeError>
    where
        M: Drives<Message = T>,
    {
        let Self { config, core, processor, mesh, listeners, shared, ready, go } = self;
        if let Some(processor) = processor {
            let mut set = CpuSet::new();
            set.set(processor);
            sched_setaffinity(None, &set)
                .map_err(|error| RuntimeError::Affinity { error: error.into() })?;
        }
        let machine = make_machine(core).map_err(|error| RuntimeError::Machine { core, error })?;
        let driver = Driver::new(&config, core, machine, mesh, listeners, shared)?;
        // The starting thread gone, or another core failed: nothing to run for.
        if ready.send(()).is_err() {
            return Ok(());
        }
        // The starting thread counts the cores that can still become ready.
        drop(ready);
        if go.recv().is_err() {
            return Ok(());
        }
        driver.run()
    }
}

/// Reports the end of a thread, whatever it was.
struct End {
    core: CoreId,
    sender: Sender<(CoreId, Result<(), RuntimeError>)>,
    event: Arc<OwnedFd>,
}

impl End {
    fn report(self, work: impl FnOnce() -> Result<(), RuntimeError>) {
        // In a release build a panic stops the process; in tests it must not hang the others.
        let result = catch_unwind(AssertUnwindSafe(work))
            .unwrap_or(Err(RuntimeError::Panicked { core: self.core }));
        // Both fail only if no one waits any more.
        let _ = self.sender.send((self.core, result));
        let _ = rustix::io::write(&*self.event, &1u64.to_ne_bytes());
    }
}

/// The processors that this process may use, in ascending order.
pub fn allowed_processors() -> Result<Vec<usize>, RuntimeError> {
    let set = sched_getaffinity(None).map_err(|e| RuntimeError::Affinity { error: e.into() })?;
    Ok((0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect())
}

/// Raises the limit of open files as far as allowed. Returns for how many clients it is enough.
pub fn provide_descriptors(cores: usize, has_peers: bool) -> Result<u32, RuntimeError> {
    let of_links = if has_peers { DESCRIPTORS_LINKS_CORE } else { 0 };
    let reserved = DESCRIPTORS_PROCESS + (DESCRIPTORS_CORE + of_links) * cores as u64;
    let mut limits = getrlimit(Resource::Nofile);
    if limits.current != limits.maximum {
        let raised = Rlimit { current: limits.maximum, maximum: limits.maximum };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            limits = raised;
        }
    }
    clients_within(limits.current, reserved)
}

fn clients_within(limit: Option<u64>, reserved: u64) -> Result<u32, RuntimeError> {
    let Some(limit) = limit else { return Ok(u32::MAX) };
    match limit.saturating_sub(reserved) {
        0 => Err(RuntimeError::Descriptors { limit, needed: reserved + 1 }),
        room => Ok(u32::try_from(room).unwrap_or(u32::MAX)),
    }
}

/// Blocks SIGTERM and SIGINT for this thread and those it will start; they are read from the
/// result.
fn block_signals() -> Result<OwnedFd, RuntimeError> {
    // SAFETY: the set is initialised by `sigemptyset` before use and lives through the calls; the
    // descriptor is new and owned by no one else.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGTERM);
        libc::sigaddset(&raw mut set, libc::SIGINT);
        let errno = libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        if errno != 0 {
            return Err(RuntimeError::Signals { error: io::Error::from_raw_os_error(errno) });
        }
        let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC);
        if fd < 0 {
            return Err(RuntimeError::Signals { error: io::Error::last_os_error() });
        }
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_descriptors_mean_fewer_clients() {
        assert_eq!(clients_within(None, 44).unwrap(), u32::MAX);
        assert_eq!(clients_within(Some(1_044), 44).unwrap(), 1_000);
        assert!(matches!(
            clients_within(Some(44), 44),
            Err(RuntimeError::Descriptors { limit: 44, needed: 45 })
        ));
    }
}
