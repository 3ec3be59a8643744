//! The page's part on the way from one disk to three.

use qemu_tests::ctx::MIB;

use super::migration::{Migration, Way};
use super::report::verdict;

pub fn markdown(migration: &Migration, machine: &str) -> String {
    let Migration {
        disk_bytes,
        data_bytes,
        bytes_per_second,
        limit_seconds,
        md,
        restripe,
        share,
        mark,
        met,
        ..
    } = migration;
    let steps: Vec<_> = md
        .steps
        .iter()
        .map(|step| format!("{} {:.1} s", step.name, step.seconds))
        .collect();
    format!(
        "
## One disk to a RAID5 over three

{} MiB of data; disks of {} MiB that do {} MiB/s each ({machine}); a load of 70 reads and 30 writes of 4 KiB a second
all the while, one of each at a time.
At best this takes {limit_seconds:.2} s: all data is read from the first disk, and half as much written to each of the three.
md goes by a mirror ({}).

| | time | limit / time | p99 before, read / write | p99 during | longest during |
|---|--:|--:|--:|--:|--:|
{}{}
Mark for restripe: limit / time at least {mark}: {share:.2}, {}.
",
        data_bytes / MIB,
        disk_bytes / MIB,
        bytes_per_second / MIB,
        steps.join(", "),
        row("md", *limit_seconds, md),
        row("restripe", *limit_seconds, restripe),
        verdict(*met)
    )
}

fn row(whose: &str, limit: f64, way: &Way) -> String {
    let Way {
        seconds,
        before,
        during,
        ..
    } = way;
    let ms = |us: u64| us as f64 / 1000.0;
    format!(
        "| {whose} | {seconds:.2} s | {:.2} | {:.1} / {:.1} ms | {:.1} / {:.1} ms | {:.1} / {:.1} ms |\n",
        limit / seconds,
        ms(before.read_p99_us),
        ms(before.write_p99_us),
        ms(during.read_p99_us),
        ms(during.write_p99_us),
        ms(during.read_longest_us),
        ms(during.write_longest_us)
    )
}
