// SPDX-License-Identifier: GPL-2.0

//! [`Class`]: a folder in `/sys/class`, with files.

use super::{
    attr::{Attr, Record},
    text::{LongText, Texts},
};
use kernel::{
    bindings,
    error::to_result,
    ffi::c_char,
    prelude::*,
    sync::{Arc, LockClassKey},
    types::Opaque,
};

/// A class; dropping it waits for the calls of its files, and takes it away.
pub struct Class<V: Send + Sync + 'static> {
    class: Pin<KBox<Opaque<bindings::class>>>,
    files: KVec<Record<Attribute, Attr<V>, V>>,
    _texts: Texts<V>,
    /// Dropped last: lockdep looks at it until then.
    _key: Pin<KBox<LockClassKey>>,
}

// SAFETY: The kernel does its own locking, and the data is shared.
unsafe impl<V: Send + Sync + 'static> Send for Class<V> {}
// SAFETY: As above.
unsafe impl<V: Send + Sync + 'static> Sync for Class<V> {}

type Attribute = bindings::class_attribute;

impl<V: Send + Sync + 'static> Class<V> {
    /// # Safety
    ///
    /// Called by sysfs for a file of a class of `V`, with a page.
    unsafe extern "C" fn show(
        _class: *const bindings::class,
        attr: *const Attribute,
        buf: *mut c_char,
    ) -> isize {
        // SAFETY: Such a file's attribute is part of a `Record`, which is there while calls run.
        let file = unsafe { &*kernel::container_of!(attr, Record<Attribute, Attr<V>, V>, attr) };
        // SAFETY: By the caller's contract.
        unsafe { file.def.do_show(&file.data, buf) }
    }

    /// # Safety
    ///
    /// Called by sysfs for a file of a class of `V`, with `count` bytes.
    unsafe extern "C" fn store(
        _class: *const bindings::class,
        attr: *const Attribute,
        buf: *const c_char,
        count: usize,
    ) -> isize {
        // SAFETY: As in `show`.
        let file = unsafe { &*kernel::container_of!(attr, Record<Attribute, Attr<V>, V>, attr) };
        // SAFETY: By the caller's contract.
        unsafe { file.def.do_store(&file.data, buf, count) }
    }

    /// Makes `/sys/class/NAME` with `files` and `texts`.
    pub fn register(
        name: &'static CStr,
        files: &'static [Attr<V>],
        texts: &'static [LongText<V>],
        data: Arc<V>,
    ) -> Result<Self> {
        let key = KBox::pin_init(LockClassKey::new_dynamic(), GFP_KERNEL)?;
        let texts = Texts::new(texts, &data, key.as_ref())?;
        let mut records = KVec::with_capacity(files.len(), GFP_KERNEL)?;
        for def in files {
            let attr = Attribute {
                attr: def.raw(key.as_ref()),
                show: Some(Self::show),
                store: Some(Self::store),
            };
            records.push(
                Record {
                    attr,
                    def,
                    data: data.clone(),
                },
                GFP_KERNEL,
            )?;
        }
        let class = KBox::pin_init(
            Opaque::try_ffi_init(|slot: *mut bindings::class| {
                // SAFETY: `slot` is room for a class, at its final address.
                unsafe {
                    slot.write(pin_init::zeroed());
                    (*slot).name = name.as_char_ptr();
                    (*slot).class_groups = texts.groups();
                    to_result(bindings::class_register(slot))
                }
            }),
            GFP_KERNEL,
        )?;
        let this = Self {
            class,
            files: records,
            _texts: texts,
            _key: key,
        };
        for file in &this.files {
            // SAFETY: The class is registered; the record stays where it is until the class is
            // unregistered.
            to_result(unsafe {
                bindings::class_create_file_ns(this.class.get(), &file.attr, core::ptr::null())
            })?;
        }
        Ok(this)
    }
}

impl<V: Send + Sync + 'static> Drop for Class<V> {
    fn drop(&mut self) {
        for file in &self.files {
            // SAFETY: The class is registered. A file that was never made is passed over.
            unsafe {
                bindings::class_remove_file_ns(self.class.get(), &file.attr, core::ptr::null())
            };
        }
        // SAFETY: It was registered by `register`.
        unsafe { bindings::class_unregister(self.class.get()) };
    }
}
