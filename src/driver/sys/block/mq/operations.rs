// SPDX-License-Identifier: GPL-2.0

//! [`Operations`], and the table of C functions made from it.

use super::{
    plug::{plugged, unplugged},
    request::{OwnedRequest, Pdu},
};
use crate::sys::block::bio::Outcome;
use core::marker::PhantomData;
use kernel::{
    bindings,
    error::{from_result, Result},
    ffi::{c_int, c_uint, c_void},
    sync::{ArcBorrow, LockClassKey},
};

/// What a driver does with requests.
pub trait Operations: Sized + 'static {
    /// What all requests of a disk share.
    type QueueData: Send + Sync + 'static;

    /// What belongs to one request at a time: one for each tag, made with the [`TagSet`] and used
    /// again and again.
    ///
    /// [`TagSet`]: super::TagSet
    type RequestData: Send + 'static;

    /// Makes the data of one tag. *Task* context.
    fn new_request_data() -> Result<Self::RequestData>;

    /// Takes over a request, already started. *Queue* context: the submitter's task or a worker;
    /// may sleep for memory or tags, must not wait for I/O of members.
    fn queue_rq(queue: ArcBorrow<'_, Self::QueueData>, rq: OwnedRequest<Self>);

    /// All that [`OwnedRequest::submit`] sent last is complete. *end_io* context: perhaps a hard
    /// interrupt.
    fn io_done(rq: OwnedRequest<Self>, outcome: Outcome);

    /// After [`OwnedRequest::enqueue`]. *Task* context.
    fn work(rq: OwnedRequest<Self>);
}

pub(super) struct OperationsVTable<T: Operations>(PhantomData<T>);

impl<T: Operations> OperationsVTable<T> {
    /// # Safety
    ///
    /// `rq` is a request of a disk of `T` that the block layer hands over to its driver.
    unsafe fn take(rq: *mut bindings::request) {
        // SAFETY: The request is the driver's now, and not yet started.
        unsafe { bindings::blk_mq_start_request(rq) };
        // SAFETY: `Disk` set `queuedata` from an `Arc<T::QueueData>`, which it holds until the
        // queue has no requests any more.
        let queue = unsafe { ArcBorrow::from_raw((*(*rq).q).queuedata.cast()) };
        // SAFETY: It is the driver's, and has been started.
        T::queue_rq(queue, unsafe { OwnedRequest::from_raw(rq) });
    }

    /// # Safety
    ///
    /// Called by the block layer.
    unsafe extern "C" fn queue_rq(
        _hctx: *mut bindings::blk_mq_hw_ctx,
        bd: *const bindings::blk_mq_queue_data,
    ) -> bindings::blk_status_t {
        // SAFETY: The block layer hands over `bd.rq`.
        unplugged(|| unsafe { Self::take((*bd).rq) });
        // Whatever comes of it, the driver ends it.
        0
    }

    /// # Safety
    ///
    /// Called by the block layer.
    unsafe extern "C" fn queue_rqs(list: *mut bindings::rq_list) {
        plugged(|| loop {
            // SAFETY: The list is the block layer's, which lets us take requests off its head.
            let rq = unsafe { (*list).head };
            if rq.is_null() {
                break;
            }
            // SAFETY: As above; the link is in use as long as the request is on the list.
            unsafe {
                (*list).head = (*rq).__bindgen_anon_1.rq_next;
                if (*list).head.is_null() {
                    (*list).tail = core::ptr::null_mut();
                }
                (*rq).__bindgen_anon_1.rq_next = core::ptr::null_mut();
            }
            // SAFETY: Off the list, the request is ours.
            unsafe { Self::take(rq) };
        });
    }

    /// # Safety
    ///
    /// Called by the block layer, with a request's memory of the size in the tag set.
    unsafe extern "C" fn init_request(
        _set: *mut bindings::blk_mq_tag_set,
        rq: *mut bindings::request,
        _hctx_idx: c_uint,
        _numa_node: c_int,
    ) -> c_int {
        from_result(|| {
            let data = T::new_request_data()?;
            // SAFETY: By the caller's contract; nothing was there before.
            unsafe { Pdu::<T>::init(rq, data) };
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Called by the block layer, once for each successful `init_request`.
    unsafe extern "C" fn exit_request(
        _set: *mut bindings::blk_mq_tag_set,
        rq: *mut bindings::request,
        _hctx_idx: c_uint,
    ) {
        // SAFETY: `init_request` made it, and no request uses it any more.
        unsafe { core::ptr::drop_in_place(Pdu::<T>::of(rq).as_ptr()) };
    }

    /// # Safety
    ///
    /// Called by the block layer, with the `driver_data` of a set made by `TagSet`.
    unsafe extern "C" fn init_hctx(
        hctx: *mut bindings::blk_mq_hw_ctx,
        key: *mut c_void,
        _hctx_idx: c_uint,
    ) -> c_int {
        // SAFETY: The key is part of the tag set, which outlives its hardware queues.
        unsafe {
            let key = &*key.cast::<LockClassKey>();
            bindings::blk_mq_hctx_set_fq_lock_class(hctx, key.as_ptr());
        }
        0
    }

    /// # Safety
    ///
    /// Called by `blk_mq_alloc_tag_set`.
    unsafe extern "C" fn map_queues(set: *mut bindings::blk_mq_tag_set) {
        // SAFETY: The set is being made, so it is its maker's alone; `TagSet` gave it two maps and
        // an even number of queues.
        unsafe {
            let half = (*set).nr_hw_queues / 2;
            for (i, map) in (*set).map.iter_mut().take(2).enumerate() {
                map.nr_queues = half;
                // CAST: 0 or 1.
                map.queue_offset = half * i as u32;
                bindings::blk_mq_map_queues(map);
            }
        }
    }

    const VTABLE: bindings::blk_mq_ops = bindings::blk_mq_ops {
        queue_rq: Some(Self::queue_rq),
        queue_rqs: Some(Self::queue_rqs),
        init_hctx: Some(Self::init_hctx),
        init_request: Some(Self::init_request),
        exit_request: Some(Self::exit_request),
        map_queues: Some(Self::map_queues),
        ..pin_init::zeroed()
    };

    pub(super) const fn build() -> &'static bindings::blk_mq_ops {
        &Self::VTABLE
    }
}
