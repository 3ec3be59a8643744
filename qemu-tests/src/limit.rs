//! A bound on a scenario's time, only there to end one that hangs: a run then goes on and says which it was.

use std::os::fd::OwnedFd;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use rustix::process::{Signal, pidfd_send_signal};

use crate::runner::number;

/// Many times what the longest scenario takes.
const LONGEST: Duration = Duration::from_secs(1800);

/// How long the next scenario may take. `DEADLINE`, in seconds since 1970, is when whoever waits for the run loses patience.
pub fn allowed() -> Result<Duration> {
    let Some(deadline) = number("DEADLINE")? else {
        return Ok(LONGEST);
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("it is before 1970")?;
    Ok(LONGEST.min(Duration::from_secs(deadline).saturating_sub(now)))
}

/// The VMs of a scenario, which end when its time is over.
#[derive(Default)]
pub struct Limit(Mutex<State>);

#[derive(Default)]
struct State {
    over: bool,
    vms: Vec<OwnedFd>,
}

impl Limit {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A VM's process, which may have ended already.
    pub fn holds(&self, vm: OwnedFd) {
        let mut state = self.state();
        state.vms.push(vm);
        if state.over {
            end(&state.vms);
        }
    }

    /// Whether the time was over before the end.
    pub fn was_over(&self) -> bool {
        self.state().over
    }

    /// Does the work; when the time is over, all that waits for a VM fails.
    pub fn bound<T>(&self, within: Duration, work: impl FnOnce() -> T) -> T {
        thread::scope(|s| {
            let (done, until) = channel::<()>();
            s.spawn(move || {
                if until.recv_timeout(within) == Err(RecvTimeoutError::Timeout) {
                    let mut state = self.state();
                    state.over = true;
                    end(&state.vms);
                }
            });
            let result = work();
            drop(done);
            result
        })
    }
}

fn end(vms: &[OwnedFd]) {
    for vm in vms {
        // One that has ended by itself is what is wanted.
        let _: rustix::io::Result<()> = pidfd_send_signal(vm, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::*;

    #[test]
    fn what_hangs_is_ended() {
        let limit = Limit::default();
        let hangs = || {
            let mut child = Command::new("sleep").arg("1000000").spawn().unwrap();
            limit.holds(pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap());
            child.wait().unwrap()
        };
        let ended = limit.bound(Duration::from_millis(10), || [hangs(), hangs()]);
        assert!(limit.was_over() && ended.iter().all(|status| !status.success()));
    }

    #[test]
    fn what_ends_in_time_is_left_alone() {
        let limit = Limit::default();
        assert_eq!(limit.bound(LONGEST, || 7), 7);
        assert!(!limit.was_over());
    }
}
