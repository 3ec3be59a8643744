//! 10,000 lines of nonsense to every control file, all files at once, while volumes come and go and their files are read.
//! What is asked for: no splat, nothing left behind, and a module that still works.

use std::thread;

use anyhow::{Context, Result, ensure};
use qemu_tests::ctx::{Ctx, MIB};
use qemu_tests::restripe::attr_path;
use qemu_tests::vm::Vm;
use qemu_tests::wire::FuzzSpec;

const WRITES: u32 = 10_000;
/// This one stays, so that its files do.
const VOLUME: &str = "restripe0";
/// This one comes and goes.
const OTHER: &str = "restripe1";

const CLASS: [&str; 5] = ["adopt", "create", "assemble", "stop", "examine"];
const FILES: [&str; 10] = [
    "migrate",
    "migrate_state",
    "size",
    "sync_speed_max",
    "sync_max",
    "sync_action",
    "latency_target_us",
    "member_action",
    "journal",
    "bitmap",
];

/// Words that mean something, and some that nearly do.
const WORDS: [&str; 49] = [
    "dev=/dev/vda",
    "dev=/dev/vdb",
    "dev=/dev/none",
    "dev=/dev/null",
    "dev=",
    "size=4096",
    "size=8388608",
    "size=-1",
    "size=18446744073709551615",
    "name=restripe1",
    "name=restripe2",
    "name=vda",
    "name=../x",
    "level=linear",
    "level=raid0",
    "level=raid1",
    "level=raid5",
    "level=raid99",
    "chunk=4096",
    "chunk=3",
    "members=/dev/vda,/dev/vdb",
    "members=/dev/vdc",
    "members=,,",
    "add=/dev/vdb,/dev/vdc",
    "add=/dev/vdd",
    "dry_run=1",
    "force=1",
    "degraded=1",
    "read_only=1",
    "paused=1",
    "assume_clean=1",
    "uuid=00000000-0000-4000-8000-000000000000",
    "fail=0",
    "remove=4294967296",
    "replace=0",
    "with=/dev/vda",
    "pause",
    "resume",
    "abort",
    "check",
    "repair",
    "idle",
    "internal",
    "none",
    "auto",
    "always",
    "off",
    "max",
    "=",
];

pub fn run(ctx: &mut Ctx) -> Result<()> {
    let disks = [
        ctx.disk("a", 16 * MIB)?,
        ctx.disk("b", 16 * MIB)?,
        ctx.disk("c", 16 * MIB)?,
        ctx.disk("kept", 16 * MIB)?,
        ctx.disk("comes-and-goes", 16 * MIB)?,
    ];
    let vm = ctx.boot_for_leaks(&disks)?;
    vm.must("adopt", &format!("dev=/dev/vdd size=8388608 name={VOLUME}"))?;
    let mut open = vm.spawn(&format!(
        "exec 3< /dev/{VOLUME}; echo open; tail -f /dev/null"
    ))?;
    open.wait_output("open")?;
    let mut others = vm.spawn(&comings_and_goings())?;
    others.wait_output("round")?;

    let files = CLASS
        .iter()
        .map(|file| format!("/sys/class/restripe/{file}"));
    let files: Vec<_> = files
        .chain(FILES.iter().map(|file| attr_path(VOLUME, file)))
        .collect();
    let seeds: Vec<_> = files.iter().map(|_| ctx.random.u64(..)).collect();
    let mut written = Vec::new();
    let guest = &vm;
    thread::scope(|scope| {
        let jobs: Vec<_> = files
            .iter()
            .zip(seeds)
            .map(|(file, seed)| scope.spawn(move || nonsense(guest, file, seed)))
            .collect();
        for job in jobs {
            written.push(job.join().expect("a thread that only waits"));
        }
    });
    for (file, said) in files.iter().zip(written) {
        let (taken, refused) = counts(&said?)?;
        ensure!(
            taken + refused == WRITES,
            "{file}: {taken} taken and {refused} refused of {WRITES}"
        );
    }

    vm.stop(others)?;
    vm.stop(open)?;
    let last_error = vm.class("last_error")?;
    ensure!(
        last_error.lines().count() == 3,
        "last_error is no longer three lines:\n{last_error}"
    );
    stop_all(&vm)?;
    // It still works.
    vm.must(
        "create",
        "level=raid1 members=/dev/vda,/dev/vdb force=1 name=restripe7",
    )?;
    vm.wait_volume("restripe7", "sync_action", |action| action == "idle")?;
    vm.must("stop", "name=restripe7")?;
    vm.unload()?;
    vm.leak_check()?;
    vm.shutdown()
}

/// A volume that is made and ended over and over under readers of its files.
fn comings_and_goings() -> String {
    format!(
        "class=/sys/class/restripe; files=/sys/block/{OTHER}/restripe
         (while :; do cat $files/* $files/members/*/* > /dev/null 2>&1 || true; done) &
         while :; do
             echo dev=/dev/vde size=4194304 name={OTHER} > $class/adopt 2> /dev/null || true
             echo 1024 > $files/sync_speed_max 2> /dev/null || true
             echo name={OTHER} > $class/stop 2> /dev/null || true
             echo members=/dev/vde name={OTHER} > $class/assemble 2> /dev/null || true
             cat $class/last_error $class/volumes > /dev/null
             echo name={OTHER} > $class/stop 2> /dev/null || true
             echo round
         done"
    )
}

fn nonsense(vm: &Vm, file: &str, seed: u64) -> Result<String> {
    vm.fuzz(FuzzSpec {
        paths: vec![file.to_owned()],
        words: WORDS.map(str::to_owned).to_vec(),
        seed,
        writes: WRITES,
    })
}

/// From "3 taken, 4 refused".
fn counts(said: &str) -> Result<(u32, u32)> {
    let mut words = said.split([' ', ',']).filter_map(|word| word.parse().ok());
    match (words.next(), words.next()) {
        (Some(taken), Some(refused)) => Ok((taken, refused)),
        _ => None.with_context(|| format!("the agent said {said:?}")),
    }
}

/// Whatever the lines made.
fn stop_all(vm: &Vm) -> Result<()> {
    for volume in vm.class("volumes")?.split_whitespace() {
        vm.must("stop", &format!("name={volume}"))?;
    }
    Ok(())
}
