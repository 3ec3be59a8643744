// SPDX-License-Identifier: GPL-2.0

//! [`ModuleRef`]: keeps the module loaded.

use kernel::{bindings, ffi::c_void, prelude::*};

extern "C" {
    /// This module, as the kernel's build makes it for every one.
    static __this_module: c_void;
}

/// This module; where `module!` keeps it differs between kernel series.
pub(in crate::sys) const fn this_module() -> *mut bindings::module {
    (&raw const __this_module).cast_mut().cast()
}

/// A reference to this module: as long as there is one, `rmmod` says that it is in use.
pub struct ModuleRef(());

impl ModuleRef {
    /// Fails with `ENODEV` when the module is on its way out. *Task* context.
    pub fn get() -> Result<Self> {
        // SAFETY: It is this module, whose code is running.
        if unsafe { bindings::try_module_get(this_module()) } {
            Ok(Self(()))
        } else {
            Err(ENODEV)
        }
    }
}

impl Drop for ModuleRef {
    fn drop(&mut self) {
        // SAFETY: `get` took this reference. The caller's code is kept by its own: the open file
        // by which it was called.
        unsafe { bindings::module_put(this_module()) };
    }
}
