//! Each kind of bad input: the errno, a sentence in `last_error` that says what is wrong, and not a byte changed on any disk.

mod assembly;
mod judge;
mod lines;
mod setup;
mod volumes;
mod witness;

use anyhow::Result;
use qemu_tests::ctx::Ctx;

pub fn run(ctx: &mut Ctx) -> Result<()> {
    let disks = setup::disks(ctx)?;
    let vm = ctx.boot_for_leaks(&disks)?;
    setup::fill(&vm)?;
    let mut judge = judge::Judge::new(&vm, &disks)?;
    lines::run(&mut judge)?;
    witness::lines(&mut judge)?;
    volumes::run(&mut judge)?;
    assembly::run(&mut judge)?;
    witness::between(&mut judge)?;
    vm.unload()?;
    vm.leak_check()?;
    vm.shutdown()
}
