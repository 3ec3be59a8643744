// SPDX-License-Identifier: GPL-2.0

//! [`Batch`]: sends I/O to members. *Task* or *queue* context.

use super::core_io::{IoBio, IoGroup, INLINE_BIOS};
use crate::sys::{
    block::{
        mq::{Operations, Request},
        Flags, Member, Status,
    },
    mem::{Slice, SliceMut},
    pb,
};
use core::{
    cell::{Cell, UnsafeCell},
    marker::PhantomData,
    mem::MaybeUninit,
    ptr::NonNull,
};
use kernel::bindings;

/// Most sectors of one discard or zeroing bio: its size is counted in 32-bit bytes, and a power of
/// two keeps the following ones aligned.
const MAX_DATALESS_SECTORS: u64 = 1 << 22;

/// Sends I/O to members; each call sends at once. `'s` lasts until all of it is complete.
pub struct Batch<'s> {
    group: &'s IoGroup,
    inline: NonNull<[UnsafeCell<MaybeUninit<IoBio>>; INLINE_BIOS]>,
    used: Cell<usize>,
    _io: PhantomData<fn(&'s ()) -> &'s ()>,
}

impl<'s> Batch<'s> {
    pub(super) fn new(
        group: &IoGroup,
        inline: &[UnsafeCell<MaybeUninit<IoBio>>; INLINE_BIOS],
    ) -> Self {
        Self {
            // SAFETY: The group outlives the batch: `IoCore::run` closes it only afterwards.
            group: unsafe { NonNull::from(group).as_ref() },
            inline: NonNull::from(inline),
            used: Cell::new(0),
            _io: PhantomData,
        }
    }

    /// Room for a bio of the owner's own, if there is some left.
    fn take_inline(&self) -> Option<*mut IoBio> {
        let n = self.used.get();
        // SAFETY: The owner, and with it the array, is not given away before the batch ends.
        let slot = unsafe { self.inline.as_ref() }.get(n)?;
        self.used.set(n + 1);
        Some(slot.get().cast())
    }

    /// Fills in where the bio reports to, and sends it.
    ///
    /// # Safety
    ///
    /// `this` holds an initialised bio, the batch's own; its pages, and the member, stay valid for
    /// `'s`.
    unsafe fn send(&self, this: *mut IoBio, pooled: bool, opf: u32, sector: u64, tag: u8) {
        self.group.count_one();
        // SAFETY: By the caller's contract.
        unsafe {
            (*this).group = NonNull::from(self.group);
            (*this).tag = tag;
            (*this).pooled = pooled;
            let bio = &raw mut (*this).bio;
            (*bio).bi_opf = opf | ((*bio).bi_opf & pb::REQ_ALLOC_CACHE);
            (*bio).bi_iter.bi_sector = sector;
            (*bio).bi_end_io = Some(IoBio::end_io);
            bindings::submit_bio(bio);
        }
    }

    /// A new bio for `vecs` vectors, initialised; only one without data fits the owner's room.
    fn new_bio(&self, member: &Member, vecs: u16) -> (*mut IoBio, bool) {
        if vecs == 0 {
            if let Some(this) = self.take_inline() {
                // SAFETY: The room is ours, the member's device is open.
                unsafe {
                    bindings::bio_init(
                        &raw mut (*this).bio,
                        member.bdev(),
                        core::ptr::null_mut(),
                        0,
                        0,
                    )
                };
                return (this, false);
            }
        }
        let set = member.bios().raw();
        // SAFETY: The member keeps the set. With GFP_NOIO, which may wait, this never fails.
        let bio = unsafe { bindings::bio_alloc_bioset(member.bdev(), vecs, 0, pb::GFP_NOIO, set) };
        // SAFETY: The set's front pad makes each of its bios part of an `IoBio`.
        (unsafe { kernel::container_of!(bio, IoBio, bio) }, true)
    }

    /// A clone of `src`, sharing its pages, or nothing if there is no memory for what comes with
    /// it (integrity data, encryption context).
    ///
    /// # Safety
    ///
    /// `src` is a bio that stays valid for `'s`.
    unsafe fn new_clone(
        &self,
        member: &Member,
        src: *mut bindings::bio,
    ) -> Option<(*mut IoBio, bool)> {
        if let Some(this) = self.take_inline() {
            // SAFETY: The room is ours, the member's device is open, `src` is valid.
            let err = unsafe {
                bindings::bio_init_clone(member.bdev(), &raw mut (*this).bio, src, pb::GFP_NOIO)
            };
            return (err == 0).then_some((this, false));
        }
        let set = member.bios().raw();
        // SAFETY: As above, and the member keeps the set.
        let bio = unsafe { bindings::bio_alloc_clone(member.bdev(), src, pb::GFP_NOIO, set) };
        // SAFETY: The set's front pad makes each of its bios part of an `IoBio`.
        (!bio.is_null()).then(|| (unsafe { kernel::container_of!(bio, IoBio, bio) }, true))
    }

    /// Sends bytes `at..at + len` of the request (a read, write, discard or zeroing) to `member`
    /// from `sector` on, with the flags of the request that a member may see.
    pub fn clone_request<T: Operations>(
        &self,
        rq: &'s Request<T>,
        at: u32,
        len: u32,
        member: &'s Member,
        sector: u64,
        tag: u8,
    ) {
        self.clone_as(rq, at, len, member, sector, rq.flags().for_member(), tag);
    }

    /// [`Batch::clone_request`] with other flags.
    #[expect(clippy::too_many_arguments, reason = "a place, a place and how")]
    pub fn clone_as<T: Operations>(
        &self,
        rq: &'s Request<T>,
        at: u32,
        len: u32,
        member: &'s Member,
        sector: u64,
        flags: Flags,
        tag: u8,
    ) {
        // The flags in a bio are not those of its request: blk-flush clears PREFLUSH in the
        // request only.
        let opf = rq.op_bits() | flags.raw();
        let (mut skip, mut left, mut to) = (at, len, sector);
        let mut src = rq.first_bio();
        while left > 0 && !src.is_null() {
            // SAFETY: The request's bios stay as they are until it ends, and that is after `'s`.
            let (size, next) = unsafe { ((*src).bi_iter.bi_size, (*src).bi_next) };
            if skip >= size {
                skip -= size;
                src = next;
                continue;
            }
            let take = left.min(size - skip);
            // SAFETY: As above.
            let Some((this, pooled)) = (unsafe { self.new_clone(member, src) }) else {
                self.fail(tag, Status::RESOURCE);
                return;
            };
            // SAFETY: The clone is ours and initialised, its pages are the request's.
            unsafe {
                let bio = &raw mut (*this).bio;
                if skip > 0 {
                    bindings::__bio_advance(bio, skip);
                }
                (*bio).bi_iter.bi_size = take;
                self.send(this, pooled, opf, to, tag);
            }
            to += u64::from(take >> 9);
            left -= take;
            skip = 0;
            src = next;
        }
        if left > 0 {
            // The range reaches beyond the request.
            self.fail(tag, Status::INVAL);
        }
    }

    /// Fills `to` from `member` at `sector`.
    pub fn read(&self, member: &'s Member, sector: u64, to: SliceMut<'s>, tag: u8) {
        let (addr, len) = (to.as_ptr(), to.len());
        self.data(member, sector, addr, len, bindings::req_op_REQ_OP_READ, tag);
    }

    /// Writes `from` to `member` at `sector`.
    pub fn write(&self, member: &'s Member, sector: u64, from: Slice<'s>, flags: Flags, tag: u8) {
        let opf = bindings::req_op_REQ_OP_WRITE | flags.raw();
        self.data(
            member,
            sector,
            from.as_ptr().cast_mut(),
            from.len(),
            opf,
            tag,
        );
    }

    fn data(&self, member: &'s Member, sector: u64, addr: *mut u8, len: usize, opf: u32, tag: u8) {
        // CAST: Buffers are at most 1 MiB.
        let bytes = len as u32;
        // SAFETY: `addr` is the start of a slice of a buffer.
        let vecs = unsafe { pb::restripe_buf_vecs(addr.cast(), bytes) };
        // CAST: At most 256 for 1 MiB.
        let (this, pooled) = self.new_bio(member, vecs as u16);
        // SAFETY: The bio has room for the buffer's vectors, and the slice stays borrowed for `'s`.
        unsafe {
            pb::restripe_bio_add_buf(&raw mut (*this).bio, addr.cast(), bytes);
            self.send(this, pooled, opf, sector, tag);
        }
    }

    /// Makes all that the member has completed durable.
    pub fn flush(&self, member: &'s Member, tag: u8) {
        let opf = bindings::req_op_REQ_OP_WRITE | pb::REQ_PREFLUSH;
        let (this, pooled) = self.new_bio(member, 0);
        // SAFETY: A flush has no data.
        unsafe { self.send(this, pooled, opf, 0, tag) };
    }

    /// Tells the member that the range is not needed. Fails with `NOTSUPP` where it can't.
    pub fn discard(&self, member: &'s Member, sector: u64, sectors: u64, tag: u8) {
        self.dataless(
            member,
            sector,
            sectors,
            bindings::req_op_REQ_OP_DISCARD,
            tag,
        );
    }

    /// Makes the range read as zeroes. Fails with `NOTSUPP` where the member can't by itself.
    pub fn write_zeroes(
        &self,
        member: &'s Member,
        sector: u64,
        sectors: u64,
        flags: Flags,
        tag: u8,
    ) {
        let opf = bindings::req_op_REQ_OP_WRITE_ZEROES | flags.raw();
        self.dataless(member, sector, sectors, opf, tag);
    }

    fn dataless(&self, member: &'s Member, sector: u64, sectors: u64, opf: u32, tag: u8) {
        let (mut at, mut left) = (sector, sectors);
        while left > 0 {
            let n = left.min(MAX_DATALESS_SECTORS);
            let (this, pooled) = self.new_bio(member, 0);
            // SAFETY: The bio is ours, and has no data.
            unsafe {
                // CAST: At most 2 GiB, in bytes.
                (*this).bio.bi_iter.bi_size = (n << 9) as u32;
                self.send(this, pooled, opf, at, tag);
            }
            at += n;
            left -= n;
        }
    }

    /// Notes an error found while building the batch.
    pub fn fail(&self, tag: u8, status: Status) {
        self.group.fail(tag, status);
    }
}
