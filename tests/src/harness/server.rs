//! The real `quoring` binary on a free port of 127.0.0.1, in a directory of its own.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::client::Client;

/// Start may have to make a log segment on a loaded disk.
const START_MAX: Duration = Duration::from_secs(60);

/// An orderly stop may have to write checkpoints.
const END_MAX: Duration = Duration::from_secs(60);

pub struct Server {
    child: Child,
    address: SocketAddr,
    /// Lines of its log since the start, as far as nobody has read them.
    log: Mutex<Receiver<String>>,
    /// What it said until then, a line each.
    said_at_start: String,
}

/// The binary: `QUORING_BIN`, or the one that `cargo test --workspace` builds.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("QUORING_BIN") {
        let path = PathBuf::from(path);
        if path.is_absolute() {
            return Ok(path);
        }
        // Tests run in their package's directory; the name is relative to the workspace.
        return Ok(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path));
    }
    let test = std::env::current_exe().context("where this program is")?;
    // A test lies in target/PROFILE/deps, a program beside the binary.
    let mut beside = test.ancestors().skip(1).take(2).map(|folder| folder.join("quoring"));
    match beside.find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => bail!("no quoring beside {}; build it with: cargo build", test.display()),
    }
}

impl Server {
    /// Starts the binary with these further arguments and waits until it takes clients.
    pub fn start(directory: &Path, arguments: &[&str]) -> Result<Server> {
        Server::start_by(Command::new(binary()?), directory, arguments)
    }

    /// The same with a command that becomes the binary, and may have changed its surroundings.
    pub fn start_by(command: Command, directory: &Path, arguments: &[&str]) -> Result<Server> {
        Server::start_until(command, directory, arguments, "ready")
    }

    /// Starts it where it must wait for its cluster; [`Server::await_ready`] waits for that.
    pub fn start_waiting(directory: &Path, arguments: &[&str]) -> Result<Server> {
        let command = Command::new(binary()?);
        Server::start_until(command, directory, arguments, "waits for its cluster")
    }

    pub fn await_ready(&mut self) -> Result<()> {
        let line = self.await_line("ready", START_MAX).context("it is not ready")?;
        self.address = address_in(&line)?;
        Ok(())
    }

    fn start_until(
        mut command: Command,
        directory: &Path,
        arguments: &[&str],
        word: &str,
    ) -> Result<Server> {
        let mut child = command
            .args(["--port", "0", "--log-segment-bytes", "1048576", "--dir"])
            .arg(directory)
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .env("NO_COLOR", "1")
            .spawn()
            .context("cannot start quoring")?;
        let stderr = child.stderr.take().context("its messages")?;
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(|line| line.ok()) {
                // The test may have ended.
                let _ = sender.send(line);
            }
        });
        let mut said = String::new();
        loop {
            let Ok(line) = receiver.recv_timeout(START_MAX) else {
                let _ = child.kill();
                let _ = child.wait();
                bail!("quoring did not start: {said}");
            };
            if line.contains("address=") && line.contains(word) {
                let address = address_in(&line)?;
                let log = Mutex::new(receiver);
                return Ok(Server { child, address, log, said_at_start: said });
            }
            said += &line;
            said.push('\n');
        }
    }

    /// Runs the binary where it must refuse to start; what it said.
    pub fn refuses(directory: &Path, arguments: &[&str]) -> Result<String> {
        Server::refuses_by(Command::new(binary()?), directory, arguments)
    }

    /// The same with a command that becomes the binary.
    pub fn refuses_by(
        mut command: Command,
        directory: &Path,
        arguments: &[&str],
    ) -> Result<String> {
        let mut child = command
            .args(["--port", "0", "--log-segment-bytes", "1048576", "--dir"])
            .arg(directory)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let status = wait(&mut child)?;
        let mut said = String::new();
        child.stderr.take().context("its messages")?.read_to_string(&mut said)?;
        match status {
            Some(status) if !status.success() => Ok(said),
            _ => bail!("quoring started: {said}"),
        }
    }

    /// The next line of its log that has this in it, if one comes in time.
    pub fn await_line(&self, part: &str, within: Duration) -> Option<String> {
        let (began, log) = (Instant::now(), self.log.lock().ok()?);
        loop {
            let left = within.checked_sub(began.elapsed())?;
            let line = log.recv_timeout(left).ok()?;
            if line.contains(part) {
                return Some(line);
            }
        }
    }

    /// Lines of its log before it took clients, or waited for its cluster.
    pub fn said_at_start(&self) -> &str {
        &self.said_at_start
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process, for what /proc tells of it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn client(&self) -> Result<Client> {
        Client::connect(self.address)
    }

    /// kill -9.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends a signal.
    #[allow(unsafe_code)]
    pub fn signal(&self, signal: i32) {
        // SAFETY: the process is our child and has not been waited for, so the id is its own.
        unsafe { libc::kill(self.child.id() as i32, signal) };
    }

    /// SIGTERM, and waits for an orderly end.
    pub fn stop(self) -> Result<()> {
        self.signal(libc::SIGTERM);
        self.await_end()
    }

    /// Waits for the orderly end of a server that was told to stop.
    pub fn await_end(mut self) -> Result<()> {
        match wait(&mut self.child)? {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("quoring ended with {status}"),
            None => bail!("quoring did not end within {END_MAX:?}"),
        }
    }
}

/// Lets the process that the command becomes make no io_uring, as containers' seccomp filters do.
#[allow(unsafe_code)]
pub fn forbid_io_uring(command: &mut Command) {
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let is_setup = libc::sock_filter {
        jf: 1,
        ..statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, libc::SYS_io_uring_setup as u32)
    };
    let refused = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    let mut filter = [
        // The call's number stands first in what a filter is shown.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        is_setup,
        statement(libc::BPF_RET | libc::BPF_K, refused),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let install = move || {
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
        // SAFETY: both calls take what `prctl` says of them; the program lives through the second,
        // which copies it.
        let result = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
                | libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program)
        };
        if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: between fork and exec only system calls are made, and no memory is allocated.
    unsafe { command.pre_exec(install) };
}

fn address_in(line: &str) -> Result<SocketAddr> {
    let (_, address) = line.split_once("address=").context("no address")?;
    let address = address.split_whitespace().next().unwrap_or_default();
    address.parse().with_context(|| format!("address in: {line}"))
}

/// Waits for the end of a process, for so long; `None`: it had to be killed.
fn wait(child: &mut Child) -> Result<Option<ExitStatus>> {
    let began = Instant::now();
    while began.elapsed() < END_MAX {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already ended after `kill` and `stop`.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
