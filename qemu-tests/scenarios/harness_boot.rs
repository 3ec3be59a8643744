//! The harness itself: boots, runs commands beside each other, moves files, ends cleanly, and the bare kernel leaks nothing.

use anyhow::{Result, ensure};
use qemu_tests::ctx::{Boot, Ctx, MIB};
use qemu_tests::wire::FuzzSpec;

pub fn run(ctx: &mut Ctx) -> Result<()> {
    let disks = [ctx.disk("first", 64 * MIB)?, ctx.disk("second", 32 * MIB)?.logical_block(4096)];
    let vm = ctx.boot_as(&disks, &Boot { without_module: true, leaks: true, ..Boot::default() })?;

    ensure!(vm.ok("uname -r")?.trim() == vm.release());
    ensure!(vm.ok("blockdev --getsize64 /dev/vda; blockdev --getss /dev/vdb")? == "67108864\n4096\n");
    ensure!(vm.ok("cat /sys/block/vda/serial")? == "first");

    // Where they are fewer, nothing is said of what goes wrong between two.
    ensure!(vm.ok("nproc")?.trim() == "2", "the guest has not the CPUs that it was given");

    let failed = vm.sh("echo out; echo err >&2; exit 7")?;
    ensure!((failed.status, &*failed.stdout, &*failed.stderr) == (7, "out\n", "err\n"), "{failed}");
    ensure!(vm.ok("false").is_err(), "a failed command passed for a good one");
    ensure!(vm.ok("false | true").is_err(), "a failure inside a pipe was not seen");

    // Two at once: the second is what the first waits for.
    let mut first = vm.spawn("mkfifo /tmp/f; echo made; cat /tmp/f")?;
    first.wait_output("made")?;
    vm.ok("echo through > /tmp/f")?;
    ensure!(first.ok()? == "made\nthrough\n");

    let endless = vm.spawn("sleep 1000000")?;
    ensure!(vm.stop(endless)?.status == 128 + 9);

    let bytes: Vec<u8> = (0..3 * MIB).map(|n| (n % 251) as u8).collect();
    vm.put("/tmp/file", 0o600, &bytes)?;
    ensure!(vm.get("/tmp/file")? == bytes);

    // A read-only attribute refuses with its own errno; a writable one is seen to change by a watch.
    ensure!(vm.write_attr("/sys/block/vda/queue/nr_requests", b"nonsense\n")? == 22);
    let watch = vm.watch("/sys/block/vda/queue/read_ahead_kb")?;
    watch.wait(|text| text != "64")?;
    ensure!(vm.write_attr("/sys/block/vda/queue/read_ahead_kb", b"64\n")? == 0);
    watch.wait(|text| text == "64")?;

    vm.ok("fio --name=a --filename=/dev/vda --rw=randwrite --bs=4k --size=2m --direct=1 --ioengine=libaio --verify=crc32c")?;
    // Nonsense is refused by an attribute that takes only numbers, and the guest is none the worse for it.
    let words = vec!["nonsense".to_owned()];
    let paths = vec!["/sys/block/vda/queue/scheduler".to_owned()];
    let said = vm.fuzz(FuzzSpec { paths, words, seed: ctx.seed, writes: 500 })?;
    ensure!(said.ends_with(" refused") && !said.ends_with(" 0 refused"), "{said}");

    vm.unplug("vdb")?;
    ensure!(vm.ok("ls /sys/block")?.lines().all(|name| name != "vdb"), "vdb is still there");
    vm.leak_check()?;
    vm.shutdown()
}
