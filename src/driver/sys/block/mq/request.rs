// SPDX-License-Identifier: GPL-2.0

//! [`OwnedRequest`] and [`Request`].

use super::Operations;
use crate::sys::{
    block::{
        bio::{
            core_io::{IoCore, IoGroup},
            Batch,
        },
        Flags, Op, Status,
    },
    pb,
    work::WorkQueue,
};
use core::{
    marker::PhantomData,
    mem::ManuallyDrop,
    ops::Deref,
    ptr::{addr_of_mut, NonNull},
};
use kernel::{bindings, prelude::*, sync::ArcBorrow, types::Opaque};

/// What lies behind every request.
#[repr(C)]
pub(super) struct Pdu<T: Operations> {
    /// First, so that its address is that of the private data.
    core: IoCore,
    data: T::RequestData,
}

impl<T: Operations> Pdu<T> {
    /// The block layer puts private data right behind a request, and promises no more alignment.
    const FITS: () =
        assert!(core::mem::align_of::<Self>() <= core::mem::align_of::<bindings::request>());

    /// # Safety
    ///
    /// `rq` is a request of a tag set of `T`.
    pub(super) unsafe fn of(rq: *mut bindings::request) -> NonNull<Self> {
        // SAFETY: The private data follows the request, in the same allocation.
        unsafe { NonNull::new_unchecked(rq.add(1).cast()) }
    }

    /// # Safety
    ///
    /// `this` lies behind a request.
    unsafe fn request(this: NonNull<Self>) -> *mut bindings::request {
        // SAFETY: The inverse of `of`.
        unsafe { this.as_ptr().cast::<bindings::request>().sub(1) }
    }

    /// # Safety
    ///
    /// `rq` is a request of a tag set of `T`, without private data yet.
    pub(super) unsafe fn init(rq: *mut bindings::request, data: T::RequestData) {
        let () = Self::FITS;
        // SAFETY: By the caller's contract, there is room for it.
        unsafe {
            let this = Self::of(rq).as_ptr();
            this.write(Self {
                core: IoCore::new(OwnedRequest::<T>::done),
                data,
            });
            IoCore::init_work(addr_of_mut!((*this).core), OwnedRequest::<T>::run_work);
        }
    }
}

/// What can be seen of a request that is in the driver's hands.
#[repr(transparent)]
pub struct Request<T: Operations>(Opaque<bindings::request>, PhantomData<T>);

// SAFETY: All that it shows stays the same until the request ends.
unsafe impl<T: Operations> Sync for Request<T> {}

impl<T: Operations> Request<T> {
    fn cmd_flags(&self) -> u32 {
        // SAFETY: The block layer doesn't change it while the request is the driver's.
        unsafe { (*self.0.get()).cmd_flags }
    }

    /// The bits of the operation alone.
    pub(in crate::sys::block) fn op_bits(&self) -> u32 {
        self.cmd_flags() & pb::REQ_OP_MASK
    }

    pub(in crate::sys::block) fn first_bio(&self) -> *mut bindings::bio {
        // SAFETY: The block layer doesn't change it while the request is the driver's.
        unsafe { (*self.0.get()).bio }
    }

    /// What is to be done.
    pub fn op(&self) -> Op {
        Op::from_opf(self.cmd_flags())
    }

    /// How it is to be done.
    pub fn flags(&self) -> Flags {
        Flags::from_opf(self.cmd_flags())
    }

    /// Where it begins. Without meaning for a flush.
    pub fn sector(&self) -> u64 {
        // SAFETY: As in `cmd_flags`.
        unsafe { (*self.0.get()).__sector }
    }

    /// How long it is, in bytes. 0 for a flush.
    pub fn bytes(&self) -> u32 {
        // SAFETY: As in `cmd_flags`.
        unsafe { (*self.0.get()).__data_len }
    }

    /// How long it is, in sectors. 0 for a flush.
    pub fn sectors(&self) -> u32 {
        self.bytes() >> 9
    }

    /// The hardware queue it came by.
    pub fn hw_queue(&self) -> usize {
        // SAFETY: As in `cmd_flags`; the hardware queue is there as long as its requests.
        unsafe { (*(*self.0.get()).mq_hctx).queue_num as usize }
    }

    /// What the requests of the disk share.
    pub fn queue_data(&self) -> ArcBorrow<'_, T::QueueData> {
        // SAFETY: `Disk` set it from an `Arc<T::QueueData>`, which it holds until the queue has no
        // requests any more.
        unsafe { ArcBorrow::from_raw((*(*self.0.get()).q).queuedata.cast()) }
    }

    /// Calls `f` with each bio that has some of bytes `at..at + len`, the offset in it, and the
    /// range in `0..len`.
    fn for_each_bio(
        &self,
        at: u32,
        len: u32,
        mut f: impl FnMut(*mut bindings::bio, u32, core::ops::Range<usize>),
    ) {
        let (mut bio, mut skip, mut done) = (self.first_bio(), at, 0);
        while done < len && !bio.is_null() {
            // SAFETY: The request's bios stay as they are until it ends.
            let (size, next) = unsafe { ((*bio).bi_iter.bi_size, (*bio).bi_next) };
            if skip < size {
                let take = (len - done).min(size - skip);
                f(bio, skip, done as usize..(done + take) as usize);
                done += take;
                skip = 0;
            } else {
                skip -= size;
            }
            bio = next;
        }
        assert!(done == len, "range beyond the request");
    }

    /// Copies what is to be written, from byte `at` of the request, to `dst`. Any context.
    pub fn copy_out(&self, at: u32, dst: &mut [u8]) {
        // CAST: Requests, hence ranges in them, are shorter than 4 GiB.
        self.for_each_bio(at, dst.len() as u32, |bio, skip, range| {
            let part = &mut dst[range];
            // SAFETY: The bio has `skip + part.len()` bytes.
            unsafe {
                pb::restripe_bio_copy(bio, skip, part.as_mut_ptr().cast(), part.len() as u32, true)
            };
        });
    }

    /// Copies `src` to where it was asked for, from byte `at` of the request on. Any context.
    ///
    /// For reads; a write's pages are its submitter's, so for them it does nothing.
    pub fn copy_in(&self, at: u32, src: &[u8]) {
        if self.op() != Op::Read {
            return;
        }
        self.for_each_bio(at, src.len() as u32, |bio, skip, range| {
            let part = &src[range];
            // SAFETY: The bio has `skip + part.len()` bytes, and a read's are ours to fill.
            unsafe {
                pb::restripe_bio_copy(
                    bio,
                    skip,
                    part.as_ptr().cast_mut().cast(),
                    part.len() as u32,
                    false,
                )
            };
        });
    }

    /// Answers bytes `at..at + len` of a read with zeroes. Any context.
    pub fn zero(&self, at: u32, len: u32) {
        if self.op() != Op::Read {
            return;
        }
        self.for_each_bio(at, len, |bio, skip, range| {
            // SAFETY: The bio has as many bytes, and a read's are ours to fill.
            unsafe { pb::restripe_bio_zero(bio, skip, range.len() as u32) };
        });
    }
}

/// A started request in the driver's hands. To be ended exactly once: dropped without that, it
/// fails with an I/O error and a line in the log.
pub struct OwnedRequest<T: Operations>(NonNull<bindings::request>, PhantomData<T>);

// SAFETY: A request may be ended in any context, and its data is `Send`.
unsafe impl<T: Operations> Send for OwnedRequest<T> {}

// SAFETY: Shared, it gives what `Request` gives, and a shared borrow of the data only if that
// is `Sync`.
unsafe impl<T: Operations> Sync for OwnedRequest<T> where T::RequestData: Sync {}

impl<T: Operations> OwnedRequest<T> {
    /// # Safety
    ///
    /// `rq` is a started request of a disk of `T`, and the caller's to give away.
    pub(super) unsafe fn from_raw(rq: *mut bindings::request) -> Self {
        // SAFETY: The block layer has no null requests.
        Self(unsafe { NonNull::new_unchecked(rq) }, PhantomData)
    }

    fn into_raw(self) -> *mut bindings::request {
        ManuallyDrop::new(self).0.as_ptr()
    }

    fn pdu(&self) -> NonNull<Pdu<T>> {
        // SAFETY: It is a request of a tag set of `T`.
        unsafe { Pdu::of(self.0.as_ptr()) }
    }

    /// The request's data.
    pub fn data(&self) -> &T::RequestData {
        // SAFETY: Who has the request owns its data.
        unsafe { &(*self.pdu().as_ptr()).data }
    }

    /// The request's data.
    pub fn data_mut(&mut self) -> &mut T::RequestData {
        // SAFETY: Who has the request owns its data.
        unsafe { &mut (*self.pdu().as_ptr()).data }
    }

    /// Gives the answer. Any context.
    pub fn end(self, status: Status) {
        // SAFETY: It was started, and is given up here.
        unsafe { bindings::blk_mq_end_request(self.into_raw(), status.raw()) };
    }

    /// Gives it back to the block layer, to come again through `queue_rq`. Any context.
    pub fn requeue(self) {
        // SAFETY: It was started, and is given up here.
        unsafe { bindings::blk_mq_requeue_request(self.into_raw(), true) };
    }

    /// Has [`Operations::work`] called by a worker. Any context.
    pub fn enqueue(self, queue: &WorkQueue) {
        let pdu = self.pdu();
        let _ = self.into_raw();
        // SAFETY: The work item is part of the private data, which `run_work` takes over with the
        // request; it isn't queued already, for then nobody would have had the request.
        unsafe { queue.enqueue_raw((*pdu.as_ptr()).core.work.get()) };
    }

    /// [`OwnedRequest::enqueue`] to a work queue of what the requests of the disk share. Any context.
    pub fn enqueue_by(self, queue: impl for<'a> FnOnce(&'a T::QueueData) -> &'a WorkQueue) {
        let pdu = self.pdu();
        let _ = ManuallyDrop::new(self).0;
        // SAFETY: The request was taken over from `self`, and keeps the queue's data until it ends.
        let shared = unsafe { pdu_queue_data::<T>(pdu) };
        let queue = queue(&shared);
        // SAFETY: As in `enqueue`.
        unsafe { queue.enqueue_raw((*pdu.as_ptr()).core.work.get()) };
    }

    /// Sends what `f` puts into the batch; [`Operations::io_done`] is called when all of it is
    /// complete, perhaps before this returns. *Task* or *queue* context.
    pub fn submit<F>(self, f: F)
    where
        F: for<'s> FnOnce(&'s Request<T>, &'s mut T::RequestData, &Batch<'s>),
    {
        let pdu = self.pdu();
        let rq = self.into_raw();
        // SAFETY: The request was given up, so nobody ends it or uses its data before `done`
        // makes a new owner: the borrows may last until then.
        let (rq, data) = unsafe { (&*rq.cast::<Request<T>>(), &mut (*pdu.as_ptr()).data) };
        // SAFETY: As above; `done` takes the private data over.
        unsafe { IoCore::run(pdu.cast(), |batch| f(rq, data, batch)) };
    }

    /// # Safety
    ///
    /// `group` is that of a request that was given up by `submit`.
    unsafe fn done(group: NonNull<IoGroup>) {
        // SAFETY: Nothing of it is outstanding any more, and its memory is the tag set's.
        let outcome = unsafe { group.as_ref() }.outcome();
        // SAFETY: The group is at the start of the private data, and the request was given up.
        let rq = unsafe { Self::from_raw(Pdu::<T>::request(group.cast())) };
        T::io_done(rq, outcome);
    }

    /// # Safety
    ///
    /// `work` is that of a request that was given up by `enqueue`.
    unsafe extern "C" fn run_work(work: *mut bindings::work_struct) {
        // SAFETY: By the caller's contract.
        let core = unsafe { IoCore::from_work(work) };
        // SAFETY: The core is at the start of the private data, and the request was given up.
        T::work(unsafe { Self::from_raw(Pdu::<T>::request(core.cast())) });
    }
}

/// What the requests of the disk share.
///
/// # Safety
///
/// `pdu` is that of a request that does not end as long as the borrow lasts.
unsafe fn pdu_queue_data<'a, T: Operations>(pdu: NonNull<Pdu<T>>) -> ArcBorrow<'a, T::QueueData> {
    // SAFETY: By the caller's contract; `Disk` set it from an `Arc<T::QueueData>`.
    unsafe { ArcBorrow::from_raw((*(*Pdu::request(pdu)).q).queuedata.cast()) }
}

impl<T: Operations> Deref for OwnedRequest<T> {
    type Target = Request<T>;

    fn deref(&self) -> &Request<T> {
        // SAFETY: `Request` is transparent, and the request lives until it is ended.
        unsafe { self.0.cast().as_ref() }
    }
}

impl<T: Operations> Drop for OwnedRequest<T> {
    fn drop(&mut self) {
        pr_err!("a request was dropped without an answer: failing it\n");
        // SAFETY: It was started, and nobody else has it.
        unsafe { bindings::blk_mq_end_request(self.0.as_ptr(), Status::IOERR.raw()) };
    }
}
