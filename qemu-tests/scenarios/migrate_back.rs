//! A mounted disk becomes a RAID5, of one disk more and of one less, turned round on the way and turned round again; then the way
//! back to a disk by itself, cut off in both migrations that go down. In the end it is a plain disk once more, which mounts
//! without the module, and nothing is found on the others.

use anyhow::{Context, Result, ensure};
use qemu_tests::chain::{Chain, Leg};
use qemu_tests::ctx::{Boot, Ctx};
use qemu_tests::shape::{Shape, devices};

pub fn run(ctx: &mut Ctx) -> Result<()> {
    let chain = Chain::start(ctx, 4)?;
    chain.go(&Leg {
        line: "level=raid5 chunk=131072 add=/dev/vdb,/dev/vdc",
        target: Shape::of("raid5", 3),
        stash: false,
    })?;
    let one_more = Leg {
        line: "level=raid5 add=/dev/vdd",
        target: Shape::of("raid5", 4),
        stash: true,
    };
    chain.go_back(&one_more, &devices([3]))?;
    chain.go_to_and_fro(&one_more)?;
    let chain = chain.grow_and_shrink(ctx)?;
    let one_less = Leg {
        line: "level=raid5 remove=3",
        target: Shape::of("raid5", 3),
        stash: true,
    };
    let chain = chain.go_cut(ctx, &one_less, 4)?;
    let alone = Leg {
        line: "level=linear remove=1,2",
        target: Shape::of("linear", 1),
        // Each row lands on rows that are gone from there, and begins in its place.
        stash: false,
    };
    let chain = chain.go_cut(ctx, &alone, 3)?;
    for left in devices(1..4) {
        chain.is_free(&left)?;
    }
    let journey = chain.end()?;

    let bare = Boot {
        without_module: true,
        ..Boot::default()
    };
    let vm = ctx.boot_as(&journey.disks, &bare)?;
    for left in devices(1..4) {
        ensure!(!vm.finds(&left)?, "blkid finds something on {left}");
    }
    vm.ok("mount -o ro /dev/vda /mnt")
        .context("the disk does not mount as the plain one that it is again")?;
    vm.check_tree("/mnt", &journey.tree)?;
    vm.shutdown()
}
