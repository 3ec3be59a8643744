// SPDX-License-Identifier: GPL-2.0

//! `examine`: what a device's superblocks say, for reading. Works beside whoever uses the device,
//! and writes nothing.

use core::fmt::{self, Write};

use kernel::prelude::*;
use restripe_core::{
    command, geometry::MemberId, ondisk::Superblock, recover::Devices, refusal,
    shape::write_examine, text::Refusal,
};

use super::{
    device::{Device, Opener},
    disks::{new_superblock, Superblocks},
    last_error::no_memory,
    ClassNode,
};
use crate::sys::block::member::Access;

/// Reads the newest superblock that is whole, and keeps its fields for who reads the file.
pub(super) fn examine(node: &ClassNode, line: &[u8]) -> Result<(), Refusal> {
    let dev = command::examine(line)?;
    let device = Opener::new(&node.shared, Access::Examine)?.open(dev, &[])?;
    let mut superblock = new_superblock()?;
    let mut text = Growing(KVec::new());
    write_all(&device, &mut superblock, &mut text)?;
    *node.examined.lock() = text.0;
    Ok(())
}

fn write_all(
    device: &Device<'_>,
    superblock: &mut Superblock,
    text: &mut Growing,
) -> Result<(), Refusal> {
    let mut disks = Superblocks::of(core::slice::from_ref(device))?;
    let mut newest: Option<((u64, u64), usize)> = None;
    let mut states = [None, None];
    for (slot, state) in states.iter_mut().enumerate() {
        match disks.read_superblock(0, slot, superblock) {
            Ok(_) if newest.is_none_or(|(age, _)| superblock.age() > age) => {
                newest = Some((superblock.age(), slot));
            }
            Ok(_) => {}
            Err(error) => *state = Some(error),
        }
    }
    let Some((_, slot)) = newest else {
        let [Some(first), Some(second)] = states else {
            unreachable!("a slot without an error holds a superblock");
        };
        return Err(refusal!(
            ENODATA,
            "{} holds no superblock: in its first place {}, in its second {}; it is no member of a volume, or damaged",
            device.name,
            first,
            second
        ));
    };
    let member: MemberId = disks
        .read_superblock(0, slot, superblock)
        .map_err(|error| {
            refusal!(
                EIO,
                "{} changed while it was read: {}; try again",
                device.name,
                error
            )
        })?;
    let mut written = writeln!(text, "device: {}", device.name);
    for (slot, state) in states.iter().enumerate() {
        let line = match state {
            Some(error) => writeln!(text, "superblock_{slot}: {error}"),
            None => writeln!(text, "superblock_{slot}: whole"),
        };
        written = written.and(line);
    }
    written
        .and_then(|()| writeln!(text, "superblock_used: {slot}"))
        .and_then(|()| write_examine(superblock, member, text))
        .map_err(no_memory)
}

/// Puts what was found last into a buffer, from the byte `from` on; gives the number of bytes.
pub(super) fn read(node: &ClassNode, from: usize, into: &mut [u8]) -> usize {
    let text = node.examined.lock();
    let rest = text.get(from..).unwrap_or_default();
    let len = rest.len().min(into.len());
    into[..len].copy_from_slice(&rest[..len]);
    len
}

/// Text that grows as long as there is memory.
pub(super) struct Growing(pub(super) KVec<u8>);

impl Write for Growing {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0
            .extend_from_slice(text.as_bytes(), GFP_KERNEL)
            .map_err(|_| fmt::Error)
    }
}
