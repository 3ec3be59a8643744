// SPDX-License-Identifier: GPL-2.0

//! [`Kobject`]: a folder with files, under a disk or under another one; and uevents.

use super::attr::{Attr, Record};
use crate::sys::block::{gen_disk::DiskRef, mq::Operations, Disk};
use kernel::{
    bindings,
    error::to_result,
    ffi::c_char,
    prelude::*,
    sync::{Arc, Completion, LockClassKey},
    types::Opaque,
};

/// What a folder may lie under.
pub trait Parent {
    /// Its kobject, and what keeps that.
    #[doc(hidden)]
    fn parent(&self) -> ParentRef;
}

/// Keeps a parent.
#[doc(hidden)]
pub struct ParentRef(ParentKind);

enum ParentKind {
    Disk(DiskRef),
    Kobject(*mut bindings::kobject),
}

impl ParentRef {
    fn raw(&self) -> *mut bindings::kobject {
        match &self.0 {
            ParentKind::Disk(disk) => disk.kobject(),
            ParentKind::Kobject(kobj) => *kobj,
        }
    }
}

impl<T: Operations> Parent for Disk<T> {
    fn parent(&self) -> ParentRef {
        ParentRef(ParentKind::Disk(self.get()))
    }
}

impl<V: Send + Sync + 'static> Parent for Kobject<V> {
    fn parent(&self) -> ParentRef {
        ParentRef(ParentKind::Kobject(self.node.kobj.get()))
    }
}

#[repr(C)]
#[pin_data]
struct Node<V: Send + Sync + 'static> {
    #[pin]
    kobj: Opaque<bindings::kobject>,
    /// The kernel has let go of the kobject.
    #[pin]
    released: Completion,
    files: KVec<Record<bindings::attribute, Attr<V>, V>>,
    #[pin]
    key: LockClassKey,
}

/// A folder. Dropping it waits for the calls of its files and takes it away; what lies under it
/// must have been dropped before. It keeps its data, so keep it outside of that.
pub struct Kobject<V: Send + Sync + 'static> {
    node: Pin<KBox<Node<V>>>,
}

// SAFETY: The kernel does its own locking, and the data is shared.
unsafe impl<V: Send + Sync + 'static> Send for Kobject<V> {}
// SAFETY: As above.
unsafe impl<V: Send + Sync + 'static> Sync for Kobject<V> {}

type Attribute = bindings::attribute;

impl<V: Send + Sync + 'static> Kobject<V> {
    /// # Safety
    ///
    /// Called by sysfs for a file of a kobject of [`Self::KTYPE`], with a page.
    unsafe extern "C" fn show(
        _kobj: *mut bindings::kobject,
        attr: *mut Attribute,
        buf: *mut c_char,
    ) -> isize {
        // SAFETY: Such a file's attribute is part of a `Record`, which is there while calls run.
        let file = unsafe { &*kernel::container_of!(attr, Record<Attribute, Attr<V>, V>, attr) };
        // SAFETY: By the caller's contract.
        unsafe { file.def.do_show(&file.data, buf) }
    }

    /// # Safety
    ///
    /// Called by sysfs for a file of a kobject of [`Self::KTYPE`], with `count` bytes.
    unsafe extern "C" fn store(
        _kobj: *mut bindings::kobject,
        attr: *mut Attribute,
        buf: *const c_char,
        count: usize,
    ) -> isize {
        // SAFETY: As in `show`.
        let file = unsafe { &*kernel::container_of!(attr, Record<Attribute, Attr<V>, V>, attr) };
        // SAFETY: By the caller's contract.
        unsafe { file.def.do_store(&file.data, buf, count) }
    }

    /// # Safety
    ///
    /// Called by the kernel when nobody has the kobject any more.
    unsafe extern "C" fn release(kobj: *mut bindings::kobject) {
        // SAFETY: A kobject of `KTYPE` is part of a `Node`, whose owner waits for this.
        let node = unsafe { &*kobj.cast::<Node<V>>() };
        node.released.complete_all();
    }

    const SYSFS_OPS: bindings::sysfs_ops = bindings::sysfs_ops {
        show: Some(Self::show),
        store: Some(Self::store),
    };

    const KTYPE: bindings::kobj_type = bindings::kobj_type {
        release: Some(Self::release),
        sysfs_ops: &Self::SYSFS_OPS,
        ..pin_init::zeroed()
    };

    /// Makes the folder `name` with `files` (perhaps none) under `parent`.
    pub fn new(
        parent: &impl Parent,
        name: &CStr,
        files: &'static [Attr<V>],
        data: Arc<V>,
    ) -> Result<Self> {
        let parent = parent.parent();
        let records = KVec::with_capacity(files.len(), GFP_KERNEL)?;
        let mut node = KBox::pin_init(
            pin_init!(Node {
                kobj <- Opaque::ffi_init(|slot: *mut bindings::kobject| {
                    // SAFETY: `slot` is room for a kobject, which begins as zeroes.
                    unsafe { slot.write(pin_init::zeroed()) }
                }),
                released <- Completion::new(),
                files: records,
                key <- LockClassKey::new_dynamic(),
            }),
            GFP_KERNEL,
        )?;
        for def in files {
            // SAFETY: The key is pinned with its node.
            let key = unsafe { Pin::new_unchecked(&node.key) };
            let record = Record {
                attr: def.raw(key),
                def,
                data: data.clone(),
            };
            // SAFETY: The vector is not pinned in its node.
            unsafe { Pin::get_unchecked_mut(node.as_mut()) }
                .files
                .push(record, GFP_KERNEL)?;
        }
        // SAFETY: The kobject is zeroed and at its final address, the format takes the one string,
        // which it copies, and the parent is kept by its user's contract or by `parent`.
        let added = to_result(unsafe {
            bindings::kobject_init_and_add(
                node.kobj.get(),
                &Self::KTYPE,
                parent.raw(),
                c"%s".as_char_ptr(),
                name.as_char_ptr(),
            )
        });
        // From here on there is a kobject to be let go of, also when adding it failed.
        let this = Self { node };
        added?;
        for file in &this.node.files {
            // SAFETY: The kobject was added; the record stays where it is until that is deleted.
            to_result(unsafe {
                bindings::sysfs_create_file_ns(this.node.kobj.get(), &file.attr, core::ptr::null())
            })?;
        }
        Ok(this)
    }

    /// Wakes who polls the file `name`.
    pub fn notify(&self, name: &CStr) {
        // SAFETY: The kobject is there.
        unsafe {
            bindings::sysfs_notify(self.node.kobj.get(), core::ptr::null(), name.as_char_ptr())
        };
    }
}

impl<V: Send + Sync + 'static> Drop for Kobject<V> {
    fn drop(&mut self) {
        // SAFETY: It was initialised by `new`, and the reference of its making is put here.
        unsafe {
            bindings::kobject_del(self.node.kobj.get());
            bindings::kobject_put(self.node.kobj.get());
        }
        self.node.released.wait_for_completion();
    }
}

/// Sends a change uevent with these `KEY=value` strings.
pub(in crate::sys) fn uevent_change(kobj: *mut bindings::kobject, env: &[&CStr]) {
    const MOST: usize = 8;
    let mut ptrs: [*mut c_char; MOST + 1] = [core::ptr::null_mut(); MOST + 1];
    for (ptr, s) in ptrs.iter_mut().take(MOST).zip(env) {
        *ptr = s.as_char_ptr().cast_mut();
    }
    // SAFETY: The kobject is there by the callers' borrow of its disk; the strings are only read,
    // and a null ends them.
    unsafe {
        bindings::kobject_uevent_env(
            kobj,
            bindings::kobject_action_KOBJ_CHANGE,
            ptrs.as_mut_ptr(),
        )
    };
}
