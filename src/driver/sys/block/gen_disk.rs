// SPDX-License-Identifier: GPL-2.0

//! [`Disk`]: the volume as its users see it. *Task* context throughout.
//!
//! Order: `Disk::new`, `add` (members must serve I/O), kobjects and holder links, a change uevent;
//! and back: links and kobjects dropped, then the disk.

use super::{
    mq::{Operations, TagSet},
    Limits, Member,
};
use crate::sys::{module, pb, sync::WaitQueue};
use core::{marker::PhantomData, ptr::NonNull};
use kernel::{
    bindings,
    error::{from_err_ptr, to_result},
    ffi::c_char,
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        Arc,
    },
};

/// Longest name of a disk, and of its partitions beside it.
const MAX_NAME: usize = 24;

/// Who has the disk open. The counters change under the disk's `open_mutex`.
#[pin_data]
struct Gate {
    openers: Atomic<i32>,
    stopping: Atomic<i32>,
    #[pin]
    closed: WaitQueue,
}

/// A reference to the disk, which keeps its memory.
pub(in crate::sys) struct DiskRef(NonNull<bindings::gendisk>);

// SAFETY: A reference may be put by any task.
unsafe impl Send for DiskRef {}
// SAFETY: Shared, it only gives its address.
unsafe impl Sync for DiskRef {}

impl DiskRef {
    pub(in crate::sys) fn raw(&self) -> *mut bindings::gendisk {
        self.0.as_ptr()
    }

    /// The kobject of the disk's device.
    pub(in crate::sys) fn kobject(&self) -> *mut bindings::kobject {
        // SAFETY: The disk is there.
        unsafe { pb::restripe_bdev_kobj(self.raw()).cast() }
    }
}

impl Clone for DiskRef {
    fn clone(&self) -> Self {
        // SAFETY: The disk is there, and so is its kobject, whose count is that of the disk.
        unsafe { bindings::kobject_get(self.kobject()) };
        Self(self.0)
    }
}

impl Drop for DiskRef {
    fn drop(&mut self) {
        // SAFETY: We hold a reference to the disk.
        unsafe { bindings::put_disk(self.raw()) };
    }
}

/// A volume's disk. Dropped, it is taken away: its users get errors, so better see
/// [`Disk::claim_stop`] first.
pub struct Disk<T: Operations> {
    disk: DiskRef,
    added: Atomic<i32>,
    gate: Pin<KBox<Gate>>,
    tags: Arc<TagSet<T>>,
    queue_data: Arc<T::QueueData>,
    _p: PhantomData<T>,
}

impl<T: Operations> Disk<T> {
    /// # Safety
    ///
    /// Called by the block layer, with `open_mutex` held.
    unsafe extern "C" fn open(disk: *mut bindings::gendisk, _mode: u32) -> i32 {
        // SAFETY: `new` set it, and the disk can't be opened after `drop` has deleted it.
        let gate = unsafe { &*(*disk).private_data.cast::<Gate>() };
        if gate.stopping.load(Relaxed) != 0 {
            return ENXIO.to_errno();
        }
        gate.openers.fetch_add(1, Relaxed);
        0
    }

    /// # Safety
    ///
    /// Called by the block layer, with `open_mutex` held, once for each successful `open`.
    unsafe extern "C" fn release(disk: *mut bindings::gendisk) {
        // SAFETY: `drop` waits until all have closed.
        let gate = unsafe { &*(*disk).private_data.cast::<Gate>() };
        gate.openers.fetch_sub(1, Relaxed);
        gate.closed.wake_all();
    }

    const FOPS: bindings::block_device_operations = bindings::block_device_operations {
        open: Some(Self::open),
        release: Some(Self::release),
        owner: module::this_module(),
        ..pin_init::zeroed()
    };

    /// Makes the disk `name` with `sectors` sectors, not yet visible. `members` set the limits
    /// with `limits`.
    pub fn new<'a>(
        name: &str,
        tags: Arc<TagSet<T>>,
        queue_data: Arc<T::QueueData>,
        limits: &Limits,
        members: impl Iterator<Item = &'a Member>,
        sectors: u64,
    ) -> Result<Self> {
        if name.is_empty() || name.len() > MAX_NAME || name.contains(['/', '\0', '!']) {
            return Err(EINVAL);
        }
        let gate = KBox::pin_init(
            pin_init!(Gate {
                openers: Atomic::new(0),
                stopping: Atomic::new(0),
                closed <- WaitQueue::new(),
            }),
            GFP_KERNEL,
        )?;
        let mut lim = limits.raw(members);
        // SAFETY: The set and the queue's data are kept by the disk we return, which outlives the
        // queue.
        let raw = from_err_ptr(unsafe {
            bindings::__blk_mq_alloc_disk(
                tags.raw(),
                &mut lim,
                Arc::as_ptr(&queue_data).cast_mut().cast(),
                kernel::static_lock_class!().as_ptr(),
            )
        })?;
        // SAFETY: The disk was just made and is ours alone.
        unsafe {
            (*raw).fops = &Self::FOPS;
            (*raw).private_data = (&raw const *gate).cast_mut().cast();
            for (to, from) in (*raw).disk_name.iter_mut().zip(name.bytes()) {
                // CAST: The C type of a character.
                *to = from as c_char;
            }
            bindings::set_capacity(raw, sectors);
        }
        Ok(Self {
            // SAFETY: Not null; the reference of its making is ours.
            disk: DiskRef(unsafe { NonNull::new_unchecked(raw) }),
            added: Atomic::new(0),
            gate,
            tags,
            queue_data,
            _p: PhantomData,
        })
    }

    fn raw(&self) -> *mut bindings::gendisk {
        self.disk.raw()
    }

    /// One more reference to the disk's memory.
    pub(in crate::sys) fn get(&self) -> DiskRef {
        self.disk.clone()
    }

    /// What its requests share.
    pub fn queue_data(&self) -> &Arc<T::QueueData> {
        &self.queue_data
    }

    /// Its tags.
    pub fn tags(&self) -> &Arc<TagSet<T>> {
        &self.tags
    }

    /// Makes it visible, and looks for partitions: that reads from it. Once.
    pub fn add(&self) -> Result {
        if self.added.xchg(1, Relaxed) != 0 {
            return Err(EEXIST);
        }
        // SAFETY: The disk is set up and not yet added.
        let result = to_result(unsafe {
            bindings::device_add_disk(core::ptr::null_mut(), self.raw(), core::ptr::null_mut())
        });
        if result.is_err() {
            self.added.store(0, Relaxed);
        }
        result
    }

    /// Changes its length; who watches the disk gets a uevent with RESIZE=1.
    pub fn set_capacity(&self, sectors: u64) {
        // SAFETY: The disk is there.
        unsafe { bindings::set_capacity_and_notify(self.raw(), sectors) };
    }

    /// How long it is, in sectors.
    pub fn capacity(&self) -> u64 {
        // SAFETY: The disk is there, and so is the device of the whole of it.
        unsafe { (*(*self.raw()).part0).bd_nr_sectors }
    }

    /// Changes its limits while it is in use; waits for the requests under way.
    pub fn set_limits<'a>(
        &self,
        limits: &Limits,
        members: impl Iterator<Item = &'a Member>,
    ) -> Result {
        let mut lim = limits.raw(members);
        // SAFETY: The disk is there; the lock is dropped by `restripe_limits_commit`.
        to_result(unsafe {
            let old = &*pb::restripe_limits_lock(self.raw());
            // What its users set, and what the block layer added, stays.
            lim.features |= old.features & !bindings::BLK_FEAT_ROTATIONAL;
            if !limits.stable_writes {
                lim.features &= !pb::BLK_FEAT_STABLE_WRITES;
            }
            lim.flags = old.flags;
            lim.max_user_sectors = old.max_user_sectors;
            lim.max_user_discard_sectors = old.max_user_discard_sectors;
            lim.max_user_wzeroes_unmap_sectors = old.max_user_wzeroes_unmap_sectors;
            pb::restripe_limits_commit(self.raw(), &mut lim)
        })
    }

    /// Whether writes are refused before they come to us.
    pub fn set_read_only(&self, read_only: bool) {
        // SAFETY: The disk is there.
        unsafe { bindings::set_disk_ro(self.raw(), read_only) };
    }

    /// How many have it open now.
    pub fn openers(&self) -> u32 {
        // CAST: Never negative.
        self.gate.openers.load(Relaxed).max(0) as u32
    }

    /// Shuts the door: fails with `EBUSY` if somebody has it open, else nobody can open it any
    /// more.
    pub fn claim_stop(&self) -> Result {
        // SAFETY: The disk is there, and so is its mutex.
        unsafe { bindings::mutex_lock(&raw mut (*self.raw()).open_mutex) };
        let busy = self.openers() > 0;
        if !busy {
            self.gate.stopping.store(1, Relaxed);
        }
        // SAFETY: It was locked above.
        unsafe { bindings::mutex_unlock(&raw mut (*self.raw()).open_mutex) };
        if busy {
            Err(EBUSY)
        } else {
            Ok(())
        }
    }

    /// Opens the door again.
    pub fn unclaim_stop(&self) {
        self.gate.stopping.store(0, Relaxed);
    }

    /// Tells who watches the disk that something about it has changed; `env` has `KEY=value`
    /// strings.
    pub fn uevent_change(&self, env: &[&CStr]) {
        crate::sys::sysfs::uevent_change(self.disk.kobject(), env);
    }
}

impl<T: Operations> Drop for Disk<T> {
    fn drop(&mut self) {
        if self.added.load(Relaxed) == 0 {
            return;
        }
        // SAFETY: It was added and not deleted.
        unsafe { bindings::del_gendisk(self.raw()) };
        // Whoever has it open still calls `release`.
        self.gate.closed.wait_until(|| self.openers() == 0);
    }
}
