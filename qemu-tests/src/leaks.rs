//! Looks for memory that the module left behind.

use anyhow::{Result, ensure};

use crate::vm::Vm;

/// kmemleak tells of an object only when it is this old, in seconds of the guest.
const AGE: u32 = 6;

impl Vm {
    /// Unloads the module.
    pub fn unload(&self) -> Result<()> {
        self.ok("rmmod restripe")?;
        Ok(())
    }

    /// Scans twice, so that what one scan saw only by chance is not told, and fails if anything is left behind.
    /// On a kernel without kmemleak there is nothing to ask.
    pub fn leak_check(&self) -> Result<()> {
        ensure!(self.leaks, "this VM was not booted for leaks, and so none would be found");
        let found = self.ok(&format!(
            "cd /sys/kernel/debug; [ -e kmemleak ] || exit 0
             echo scan > kmemleak
             sleep {AGE} # the age itself is the condition
             echo scan > kmemleak
             cat kmemleak"
        ))?;
        ensure!(found.trim().is_empty(), "memory was left behind:\n{found}");
        Ok(())
    }
}
