//! A disk behind dm-dust: blocks of it can't be read until they are written.

use std::ops::Range;

use anyhow::{Result, ensure};

use crate::vm::Vm;

/// Bytes of a block.
pub const BLOCK: u64 = 4096;

/// The disk `/dev/mapper/NAME` over `/dev/NAME`.
pub struct Dust(&'static str);

impl Dust {
    pub fn new(vm: &Vm, name: &'static str) -> Result<Self> {
        vm.ok(&format!(
            "echo 0 $(blockdev --getsz /dev/{name}) dust /dev/{name} 0 {BLOCK} | dmsetup create {name}; dmsetup mknodes; dmsetup message {name} 0 enable"
        ))?;
        Ok(Dust(name))
    }

    pub fn path(&self) -> String {
        format!("/dev/mapper/{}", self.0)
    }

    /// A block can't be read from now on.
    pub fn spoil(&self, vm: &Vm, block: u64) -> Result<()> {
        vm.ok(&format!("dmsetup message {} 0 addbadblock {block}", self.0))?;
        ensure!(self.read(vm, block).is_err(), "block {block} can still be read");
        Ok(())
    }

    /// Whether a block can be read.
    pub fn read(&self, vm: &Vm, block: u64) -> Result<()> {
        self.read_all(vm, block..block + 1)
    }

    /// Whether each of some blocks can be read, by itself.
    pub fn read_all(&self, vm: &Vm, blocks: Range<u64>) -> Result<()> {
        vm.ok(&format!(
            "dd if={} of=/dev/null bs={BLOCK} skip={} count={} iflag=direct status=none",
            self.path(),
            blocks.start,
            blocks.end - blocks.start
        ))?;
        Ok(())
    }

    pub fn remove(self, vm: &Vm) -> Result<()> {
        vm.ok(&format!(
            "dmsetup remove --retry {0}; rm -f /dev/mapper/{0}",
            self.0
        ))?;
        Ok(())
    }
}
