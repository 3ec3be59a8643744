//! Bad input.
use anyhow::Result;
use qemu_tests::ctx::{Ctx, MIB};

pub fn run(ctx: &mut Ctx) -> Result<()> {
    let disks = [ctx.disk("a", 32 * MIB)?, ctx.disk("b", 32 * MIB)?, ctx.disk("c", 32 * MIB)?];
    let vm = ctx.boot(&disks)?;
    for (file, line) in [
        ("adopt", "dev=/dev/vda"),
        ("adopt", "dev=/dev/vdx size=4096"),
        ("adopt", "dev=/dev/null size=4096"),
        ("adopt", "dev=/dev/vda size=16777216"),
        ("adopt", "dev=/dev/vda size=16777216"),
        ("create", "level=raid1 members=/dev/vda,/dev/vdb"),
        ("create", "level=raid1 members=/dev/vdb,/dev/vdb"),
        ("examine", "dev=/dev/vda"),
        ("examine", "dev=/dev/vdb"),
        ("stop", "name=restripe1"),
    ] {
        println!("{file} {line}: {:?}", vm.control(file, line)?.map_err(|e| e.to_string()));
    }
    println!("{}", vm.ok("cat /sys/class/restripe/examine /sys/class/restripe/volumes; cd /sys/block/restripe0/restripe; for f in * members/0/*; do [ -f $f ] && [ -r $f ] && echo $f: $(cat $f 2>&1); done; lsblk")?);
    for (file, line) in [
        ("migrate", "level=raid5 add=/dev/vdb,/dev/vdc dry_run=1"),
        ("migrate", "level=raid5 add=/dev/vdb"),
        ("migrate", "level=raid5 add=/dev/vda,/dev/vdb"),
        ("sync_action", "check"),
        ("migrate_state", "pause"),
        ("size", "1"),
        ("migrate", "level=raid5 add=/dev/vdb,/dev/vdc"),
        ("migrate", "level=raid5 add=/dev/vdb,/dev/vdc"),
        ("migrate_state", "pause"),
    ] {
        println!("{file} {line}: {:?}", vm.set("restripe0", file, line)?.map_err(|e| e.to_string()));
        println!("{}", vm.ok("cat /sys/block/restripe0/restripe/plan")?);
    }
    println!("{}", vm.ok("cd /sys/block/restripe0/restripe; for f in * members/*/*; do [ -f $f ] && [ -r $f ] && echo $f: $(cat $f 2>&1); done; lsblk")?);
    println!("{:?}", vm.control("stop", "name=restripe0")?);
    println!("{:?}", vm.control("assemble", "members=/dev/vda,/dev/vdb")?);
    println!("{:?}", vm.control("assemble", "members=/dev/vda,/dev/vdb,/dev/vdc")?);
    println!("{:?}", vm.control("stop", "name=restripe0")?);
    vm.unload()?;
    vm.leak_check()?;
    vm.shutdown()
}
