// SPDX-License-Identifier: GPL-2.0

//! [`Attr`]: a file, and [`Page`]: what reading it gives.

use crate::sys::pb;
use core::fmt;
use kernel::{bindings, ffi::c_char, page::PAGE_SIZE, prelude::*, sync::Arc, sync::LockClassKey};

/// A file: its name, its mode and what reading and writing it does.
pub struct Attr<V: 'static> {
    name: &'static CStr,
    mode: u16,
    show: Option<fn(&V, &mut Page<'_>) -> Result>,
    store: Option<fn(&V, &[u8]) -> Result>,
    too_long: Option<fn(&V, &[u8])>,
}

impl<V> Attr<V> {
    /// To be read by all.
    pub const fn ro(name: &'static CStr, show: fn(&V, &mut Page<'_>) -> Result) -> Self {
        Self {
            name,
            mode: 0o444,
            show: Some(show),
            store: None,
            too_long: None,
        }
    }

    /// To be read by all, and written by the administrator.
    pub const fn rw(
        name: &'static CStr,
        show: fn(&V, &mut Page<'_>) -> Result,
        store: fn(&V, &[u8]) -> Result,
    ) -> Self {
        Self {
            name,
            mode: 0o644,
            show: Some(show),
            store: Some(store),
            too_long: None,
        }
    }

    /// To be written by the administrator.
    pub const fn wo(name: &'static CStr, store: fn(&V, &[u8]) -> Result) -> Self {
        Self {
            name,
            mode: 0o200,
            show: None,
            store: Some(store),
            too_long: None,
        }
    }

    /// Has `f` told of a line that is too long, with its beginning. It is refused in any case.
    pub const fn or_too_long(mut self, f: fn(&V, &[u8])) -> Self {
        self.too_long = Some(f);
        self
    }

    /// To be read by all, by other means than `show`.
    pub(super) const fn readable(mut self) -> Self {
        self.mode |= 0o444;
        self
    }

    /// # Safety
    ///
    /// `buf` has room for a page.
    pub(super) unsafe fn do_show(&self, data: &V, buf: *mut c_char) -> isize {
        let Some(show) = self.show else {
            return EIO.to_errno() as isize;
        };
        // SAFETY: By the caller's contract; sysfs hands pages zeroed.
        let bytes = unsafe { core::slice::from_raw_parts_mut(buf.cast::<u8>(), PAGE_SIZE) };
        let mut page = Page {
            bytes,
            len: 0,
            overflow: false,
        };
        match show(data, &mut page) {
            Err(e) => e.to_errno() as isize,
            Ok(()) if page.overflow => ENOSPC.to_errno() as isize,
            // CAST: At most a page.
            Ok(()) => page.len as isize,
        }
    }

    /// # Safety
    ///
    /// `buf` has `count` bytes.
    pub(super) unsafe fn do_store(&self, data: &V, buf: *const c_char, count: usize) -> isize {
        // SAFETY: It only looks at the current task.
        if !unsafe { pb::restripe_capable_sys_admin() } {
            return EPERM.to_errno() as isize;
        }
        // SAFETY: By the caller's contract.
        let line = unsafe { core::slice::from_raw_parts(buf.cast::<u8>(), count) };
        // What is longer comes in pieces: the first has a page, and none of it may be acted on.
        if count >= PAGE_SIZE {
            if let Some(too_long) = self.too_long {
                too_long(data, line);
            }
            return E2BIG.to_errno() as isize;
        }
        let Some(store) = self.store else {
            return EIO.to_errno() as isize;
        };
        match store(data, line) {
            Err(e) => e.to_errno() as isize,
            // CAST: Less than a page.
            Ok(()) => count as isize,
        }
    }

    /// The kernel's description of the file. `key` is for lockdep: each class or kobject has one
    /// of its own, as a file of one may well take away another.
    pub(super) fn raw(&self, key: Pin<&LockClassKey>) -> bindings::attribute {
        let mut attr: bindings::attribute = pin_init::zeroed();
        attr.name = self.name.as_char_ptr();
        attr.mode = self.mode;
        #[cfg(CONFIG_DEBUG_LOCK_ALLOC)]
        {
            attr.key = key.as_ptr();
        }
        #[cfg(not(CONFIG_DEBUG_LOCK_ALLOC))]
        let _ = key;
        attr
    }
}

/// What a file shows: up to a page. `write!` to it never fails, but what is too long makes the
/// reading fail with `ENOSPC`.
pub struct Page<'a> {
    bytes: &'a mut [u8],
    len: usize,
    overflow: bool,
}

impl Page<'_> {
    /// Appends bytes as they are.
    pub fn push(&mut self, bytes: &[u8]) {
        // One byte less than a page: sysfs takes a full one for an overflow.
        let room = self.bytes.len() - 1 - self.len;
        if bytes.len() > room {
            self.overflow = true;
        }
        let n = bytes.len().min(room);
        self.bytes[self.len..self.len + n].copy_from_slice(&bytes[..n]);
        self.len += n;
    }
}

impl fmt::Write for Page<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.push(s.as_bytes());
        Ok(())
    }
}

/// What belongs to every file while it is there; `A` is the C structure, which sysfs hands back,
/// and `D` what the file does.
#[repr(C)]
pub(super) struct Record<A, D: 'static, V> {
    pub(super) attr: A,
    pub(super) def: &'static D,
    pub(super) data: Arc<V>,
}
