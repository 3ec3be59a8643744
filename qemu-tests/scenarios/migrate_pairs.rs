//! A mounted disk becomes a mirror of three, and goes on from level to level under load: a mirror to RAID6, that to another chunk on
//! the same disks with the power cut on the way, to RAID10 and to RAID5. What lies in other places on the same disks goes
//! through the stash.

use anyhow::Result;
use qemu_tests::chain::{Chain, Leg};
use qemu_tests::ctx::Ctx;
use qemu_tests::shape::Shape;

pub fn run(ctx: &mut Ctx) -> Result<()> {
    let chain = Chain::start(ctx, 4)?;
    chain.go(&Leg {
        line: "level=raid1 add=/dev/vdb,/dev/vdc",
        target: Shape::of("raid1", 3),
        stash: false,
    })?;
    chain.go(&Leg {
        line: "level=raid6 chunk=65536 add=/dev/vdd",
        target: Shape::of("raid6", 4),
        stash: true,
    })?;
    let other_chunk = Leg {
        line: "level=raid6 chunk=131072",
        target: Shape::of("raid6", 4),
        stash: true,
    };
    let chain = chain.go_cut(ctx, &other_chunk, 4)?;
    chain.go(&Leg {
        line: "level=raid10",
        target: Shape::of("raid10", 4),
        stash: true,
    })?;
    chain.go(&Leg {
        line: "level=raid5",
        target: Shape::of("raid5", 4),
        stash: true,
    })?;
    chain.end()?;
    Ok(())
}
