// SPDX-License-Identifier: GPL-2.0

//! [`LongText`]: a file of a class that shows more than a page. sysfs has that for binary files
//! only, which come into a class by a group that it is registered with.

use super::attr::{Attr, Record};
use core::ptr;
use kernel::{bindings, ffi::c_char, prelude::*, sync::Arc, sync::LockClassKey};

/// A file that is written as any other, and read piece by piece.
pub struct LongText<V: 'static> {
    attr: Attr<V>,
    read: fn(&V, usize, &mut [u8]) -> usize,
}

impl<V> LongText<V> {
    /// `attr` says all about writing: `read` puts the bytes from a place on into a buffer and
    /// gives their number, 0 at the end.
    pub const fn new(attr: Attr<V>, read: fn(&V, usize, &mut [u8]) -> usize) -> Self {
        Self {
            attr: attr.readable(),
            read,
        }
    }
}

type Attribute = bindings::bin_attribute;
type File<V> = Record<Attribute, LongText<V>, V>;

/// The files of a class that show more than a page, as the class wants them. To be kept until it
/// is unregistered.
pub(super) struct Texts<V: 'static> {
    _files: KVec<File<V>>,
    /// Pointers to their attributes, ended by null.
    _list: KVec<*const Attribute>,
    _group: KBox<bindings::attribute_group>,
    /// The one group, ended by null.
    groups: KVec<*const bindings::attribute_group>,
}

impl<V: Send + Sync> Texts<V> {
    pub(super) fn new(
        defs: &'static [LongText<V>],
        data: &Arc<V>,
        key: Pin<&LockClassKey>,
    ) -> Result<Self> {
        let mut files = KVec::with_capacity(defs.len(), GFP_KERNEL)?;
        for def in defs {
            let mut attr: Attribute = pin_init::zeroed();
            attr.attr = def.attr.raw(key);
            attr.read = Some(Self::read);
            attr.write = Some(Self::write);
            let data = data.clone();
            files.push(File { attr, def, data }, GFP_KERNEL)?;
        }
        let mut list = KVec::with_capacity(files.len() + 1, GFP_KERNEL)?;
        for file in &files {
            list.push(ptr::from_ref(&file.attr), GFP_KERNEL)?;
        }
        list.push(ptr::null(), GFP_KERNEL)?;
        let mut group: bindings::attribute_group = pin_init::zeroed();
        group.bin_attrs = list.as_ptr();
        let group = KBox::new(group, GFP_KERNEL)?;
        let mut groups = KVec::with_capacity(2, GFP_KERNEL)?;
        groups.push(ptr::from_ref(&*group), GFP_KERNEL)?;
        groups.push(ptr::null(), GFP_KERNEL)?;
        Ok(Self {
            _files: files,
            _list: list,
            _group: group,
            groups,
        })
    }

    /// For `class::class_groups`.
    pub(super) fn groups(&self) -> *const *const bindings::attribute_group {
        self.groups.as_ptr()
    }

    /// # Safety
    ///
    /// Called by sysfs for a file of a group of `V`, with room for `count` bytes.
    unsafe extern "C" fn read(
        _file: *mut bindings::file,
        _kobj: *mut bindings::kobject,
        attr: *const Attribute,
        buf: *mut c_char,
        from: bindings::loff_t,
        count: usize,
    ) -> isize {
        // SAFETY: Such a file's attribute is part of a `File`, which is there while calls run.
        let file = unsafe { &*kernel::container_of!(attr, File<V>, attr) };
        let Ok(from) = usize::try_from(from) else {
            return EINVAL.to_errno() as isize;
        };
        // SAFETY: By the caller's contract; sysfs does not say what is in the memory, so that is
        // set first.
        let bytes = unsafe {
            ptr::write_bytes(buf, 0, count);
            core::slice::from_raw_parts_mut(buf.cast::<u8>(), count)
        };
        // CAST: At most `count`, which is no more than a page.
        (file.def.read)(&file.data, from, bytes).min(count) as isize
    }

    /// # Safety
    ///
    /// Called by sysfs for a file of a group of `V`, with `count` bytes.
    unsafe extern "C" fn write(
        _file: *mut bindings::file,
        _kobj: *mut bindings::kobject,
        attr: *const Attribute,
        buf: *mut c_char,
        _to: bindings::loff_t,
        count: usize,
    ) -> isize {
        // SAFETY: As in `read`.
        let file = unsafe { &*kernel::container_of!(attr, File<V>, attr) };
        // SAFETY: By the caller's contract.
        unsafe { file.def.attr.do_store(&file.data, buf, count) }
    }
}
