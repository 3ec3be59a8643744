//! The harness itself: the images it makes for ext4 and XFS mount, hold every file, and pass their own checkers.

use anyhow::Result;
use qemu_tests::content::{Filesystem, Tree};
use qemu_tests::ctx::{Boot, Ctx, MIB};

const EXT4: u64 = 64 * MIB;
const XFS: u64 = 304 * MIB;

pub fn run(ctx: &mut Ctx) -> Result<()> {
    let tree = Tree::documentation("filesystems")?;
    let disks = [
        ctx.disk_with("ext4", &tree.image(Filesystem::Ext4, EXT4)?, EXT4)?,
        ctx.disk_with("xfs", &tree.image(Filesystem::Xfs, XFS)?, XFS)?,
    ];
    let boot = Boot { without_module: true, ..Boot::default() };
    let vm = ctx.boot_as(&disks, &boot)?;
    for (device, check) in [("/dev/vda", "e2fsck -fn"), ("/dev/vdb", "xfs_repair -n")] {
        vm.ok(&format!("mount {device} /mnt"))?;
        vm.check_tree("/mnt", &tree)?;
        vm.ok(&format!("umount /mnt; {check} {device}"))?;
    }
    vm.shutdown()
}
