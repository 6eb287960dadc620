//! Work that blocks for long: each by a thread of its own, which rings its core's bell when it is
//! done.

use std::any::Any;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::config::CoreId;
use super::driver::Shared;

/// What is done and what it gives, as the machine knows it.
pub type Job = Box<dyn FnOnce() -> JobDone + Send>;
pub type JobDone = Box<dyn Any + Send>;

pub struct Jobs {
    sender: Sender<JobDone>,
    receiver: Receiver<JobDone>,
    under_way: usize,
}

impl Default for Jobs {
    fn default() -> Self {
        let (sender, receiver) = channel();
        Self { sender, receiver, under_way: 0 }
    }
}

impl Jobs {
    pub fn start(&mut self, job: Job, core: CoreId, shared: &Arc<Shared>) -> io::Result<()> {
        let (sender, shared) = (self.sender.clone(), shared.clone());
        std::thread::Builder::new().name(format!("job-{}", core.0)).spawn(move || {
            // The core is gone only if the process ends.
            let _ = sender.send(job());
            shared.bells[usize::from(core.0)].ring_event();
        })?;
        self.under_way += 1;
        Ok(())
    }

    /// Those that have ended.
    pub fn take_done(&mut self) -> Vec<JobDone> {
        if self.under_way == 0 {
            return Vec::new();
        }
        let done: Vec<JobDone> = self.receiver.try_iter().collect();
        self.under_way -= done.len();
        done
    }
}
