// SPDX-License-Identifier: GPL-2.0

//! [`TagSet`]: hardware queues and tags of one disk. *Task* context.

use super::{operations::OperationsVTable, request::Pdu, Operations};
use crate::sys::pb;
use core::marker::PhantomData;
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    sync::{Arc, LockClassKey},
    types::Opaque,
};

/// How many there are of what.
#[derive(Clone, Copy)]
pub struct TagSetConfig {
    /// Hardware queues of each kind: this many for reads, this many for all else.
    pub queues: u32,
    /// Requests in flight in each of them.
    pub depth: u32,
}

impl Default for TagSetConfig {
    fn default() -> Self {
        Self {
            queues: crate::sys::work::cpus().clamp(1, 32),
            depth: 128,
        }
    }
}

/// Hardware queues and tags. One disk to a set: tags shared by several would need accounting that
/// requests taken as a list don't get.
#[pin_data(PinnedDrop)]
pub struct TagSet<T: Operations> {
    #[pin]
    inner: Opaque<bindings::blk_mq_tag_set>,
    /// The lock of our own flushes is taken under that of a member's, when a member's flush is
    /// what completes ours: to lockdep they have to be of different classes, and those of a volume
    /// over volumes too.
    #[pin]
    flush_lock: LockClassKey,
    _p: PhantomData<T>,
}

// SAFETY: The set is only handed to the block layer, which does its own locking; request data is
// `Send`, and may be made and dropped in any task.
unsafe impl<T: Operations> Send for TagSet<T> {}
// SAFETY: As above.
unsafe impl<T: Operations> Sync for TagSet<T> {}

impl<T: Operations> TagSet<T> {
    /// Makes the set and the data of all its requests.
    pub fn new(config: TagSetConfig) -> Result<Arc<Self>> {
        let mut set: bindings::blk_mq_tag_set = pin_init::zeroed();
        set.ops = OperationsVTable::<T>::build();
        set.nr_hw_queues = 2 * config.queues;
        set.nr_maps = 2;
        set.queue_depth = config.depth;
        set.numa_node = bindings::NUMA_NO_NODE;
        set.cmd_size = u32::try_from(core::mem::size_of::<Pdu<T>>())?;
        set.flags = pb::BLK_MQ_F_BLOCKING | pb::BLK_MQ_F_NO_SCHED_BY_DEFAULT;
        Arc::pin_init(
            try_pin_init!(&this in Self {
                flush_lock <- LockClassKey::new_dynamic(),
                inner <- Opaque::try_ffi_init(|slot: *mut bindings::blk_mq_tag_set| {
                    // SAFETY: `this` is where the set comes to be; nothing is read there.
                    set.driver_data = unsafe { &raw mut (*this.as_ptr()).flush_lock }.cast();
                    // SAFETY: `slot` is room for a set, at its final address.
                    unsafe { slot.write(set) };
                    // SAFETY: It is filled in as the block layer wants it.
                    to_result(unsafe { bindings::blk_mq_alloc_tag_set(slot) })
                }),
                _p: PhantomData,
            }),
            GFP_KERNEL,
        )
    }

    pub(in crate::sys::block) fn raw(&self) -> *mut bindings::blk_mq_tag_set {
        self.inner.get()
    }

    /// Hardware queues of both kinds together; [`Request::hw_queue`] is less than this.
    ///
    /// [`Request::hw_queue`]: super::Request::hw_queue
    pub fn hw_queues(&self) -> usize {
        // SAFETY: The number is only changed by `blk_mq_update_nr_hw_queues`, which isn't used.
        unsafe { (*self.raw()).nr_hw_queues as usize }
    }
}

#[pinned_drop]
impl<T: Operations> PinnedDrop for TagSet<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: It was made by `new`, and a disk that uses it would hold a reference to it.
        unsafe { bindings::blk_mq_free_tag_set(self.inner.get()) };
    }
}
