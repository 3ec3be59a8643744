// SPDX-License-Identifier: GPL-2.0

//! [`Kthread`]: a thread of the kernel. *Task* context.

use crate::sys::sync::WaitQueue;
use core::ptr::NonNull;
use kernel::{
    bindings,
    error::from_err_ptr,
    ffi::{c_int, c_void},
    prelude::*,
    sync::{
        atomic::{Acquire, Atomic, Full},
        Arc,
    },
};

/// What the thread and its owner share.
#[pin_data]
pub struct KthreadControl {
    stop: Atomic<u32>,
    /// Set by the thread when it runs.
    runs: Atomic<u32>,
    #[pin]
    wait: WaitQueue,
}

impl KthreadControl {
    /// Whether the owner wants the thread to end.
    pub fn should_stop(&self) -> bool {
        self.stop.load(Acquire) != 0
    }

    /// Waits until `cond` holds, or the thread is to end; returns whether it is to go on. Look at
    /// [`Kthread::wake`].
    pub fn wait_idle(&self, mut cond: impl FnMut() -> bool) -> bool {
        self.wait.wait_idle(|| self.should_stop() || cond());
        !self.should_stop()
    }

    /// The same, for so long at most.
    pub fn wait_timeout(&self, milliseconds: u32, mut cond: impl FnMut() -> bool) -> bool {
        self.wait
            .wait_timeout(milliseconds, || self.should_stop() || cond());
        !self.should_stop()
    }

    /// Has the thread look at its condition. Any context.
    pub fn wake(&self) {
        self.wait.wake_all();
    }
}

struct Start<F> {
    f: F,
    control: Arc<KthreadControl>,
}

/// A thread; dropping it stops it and waits for its end.
pub struct Kthread {
    task: NonNull<bindings::task_struct>,
    control: Arc<KthreadControl>,
}

// SAFETY: A task may be stopped from any other.
unsafe impl Send for Kthread {}
// SAFETY: Shared, it only gives its control, which is `Sync`.
unsafe impl Sync for Kthread {}

impl Kthread {
    /// Has `f` run in a thread of its own. It ends early or when [`KthreadControl::should_stop`].
    pub fn spawn<F>(name: &CStr, f: F) -> Result<Self>
    where
        F: FnOnce(&KthreadControl) + Send + 'static,
    {
        let control = Arc::pin_init(
            pin_init!(KthreadControl {
                stop: Atomic::new(0),
                runs: Atomic::new(0),
                wait <- WaitQueue::new(),
            }),
            GFP_KERNEL,
        )?;
        let start = KBox::new(
            Start {
                f,
                control: control.clone(),
            },
            GFP_KERNEL,
        )?;
        let start = KBox::into_raw(start);
        // SAFETY: `main` takes `start` over; the format takes the one string, which it copies.
        let task = from_err_ptr(unsafe {
            bindings::kthread_create_on_node(
                Some(Self::main::<F>),
                start.cast(),
                bindings::NUMA_NO_NODE,
                c"%s".as_char_ptr(),
                name.as_char_ptr(),
            )
        })
        .inspect_err(|_| {
            // SAFETY: There is no thread to take it over.
            drop(unsafe { KBox::from_raw(start) });
        })?;
        // SAFETY: The task was made above and waits to be woken. The reference keeps it until
        // `kthread_stop`, even if it ends by itself.
        let task = unsafe {
            bindings::get_task_struct(task);
            bindings::wake_up_process(task);
            NonNull::new_unchecked(task)
        };
        // A thread that is stopped before it has run never does, and would leave `start` behind.
        control.wait.wait_until(|| control.runs.load(Acquire) != 0);
        Ok(Self { task, control })
    }

    /// # Safety
    ///
    /// `data` is a `Start<F>` that this takes over.
    unsafe extern "C" fn main<F: FnOnce(&KthreadControl)>(data: *mut c_void) -> c_int {
        // SAFETY: By the caller's contract.
        let start = KBox::into_inner(unsafe { KBox::from_raw(data.cast::<Start<F>>()) });
        let _ = start.control.runs.xchg(1, Full);
        start.control.wake();
        (start.f)(&start.control);
        0
    }

    /// To wake it.
    pub fn control(&self) -> &KthreadControl {
        &self.control
    }

    /// Has it look at its condition. Any context.
    pub fn wake(&self) {
        self.control.wake();
    }
}

impl Drop for Kthread {
    fn drop(&mut self) {
        let _ = self.control.stop.xchg(1, Full);
        self.control.wake();
        // SAFETY: We hold a reference to the task.
        unsafe {
            bindings::kthread_stop(self.task.as_ptr());
            bindings::put_task_struct(self.task.as_ptr());
        }
    }
}
