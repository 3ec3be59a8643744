// SPDX-License-Identifier: GPL-2.0

//! [`ModuleRef`]: keeps the module loaded.

use kernel::{bindings, prelude::*};

/// A reference to this module: as long as there is one, `rmmod` says that it is in use.
pub struct ModuleRef(());

impl ModuleRef {
    /// Fails with `ENODEV` when the module is on its way out. *Task* context.
    pub fn get() -> Result<Self> {
        // SAFETY: It is this module, whose code is running.
        if unsafe { bindings::try_module_get(crate::THIS_MODULE.as_ptr()) } {
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
        unsafe { bindings::module_put(crate::THIS_MODULE.as_ptr()) };
    }
}
