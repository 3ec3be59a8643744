//! Reads what the guest's kernel printed, and finds what no sound kernel prints.

use std::fs;
use std::path::Path;

/// Lines of the console shown with a failure.
const TAIL: usize = 40;

/// Words that only a kernel in trouble prints.
const SPLATS: [&str; 34] = [
    "WARNING: ",
    "BUG: ",
    "kernel BUG at",
    "Oops",
    "Kernel panic",
    "KASAN",
    "UBSAN",
    "Call Trace:",
    "general protection fault",
    "unable to handle",
    "stack segment",
    "divide error",
    "possible circular locking",
    "possible recursive locking",
    "possible irq lock inversion",
    "inconsistent lock state",
    "suspicious RCU usage",
    "invalid wait context",
    "sleeping function called from invalid context",
    "scheduling while atomic",
    "still has locks held",
    "lock held when returning to user space",
    "bad unlock balance",
    "held lock freed",
    "INFO: task ",
    "detected stall",
    "self-detected stall",
    "soft lockup",
    "hard LOCKUP",
    "ODEBUG",
    "kmemleak: ",
    "unreferenced object",
    "list_add corruption",
    "list_del corruption",
];

/// Lines that hold such words and are harmless, each with the reason.
const HARMLESS: [(&str, &str); 4] = [
    (
        "kmemleak: Kernel memory leak detector initialized",
        "says that it is there",
    ),
    (
        "kmemleak: Kernel memory leak detector disabled",
        "it was not wanted; and if it was, the scan in the end fails",
    ),
    (
        "kmemleak: Automatic memory scanning thread",
        "says that it started or ended",
    ),
    (
        "kmemleak: Cannot allocate",
        "gives up tracking for want of memory, which hides no bug of ours",
    ),
];

/// The lines of a console log that tell of trouble.
pub fn splats(log: &str) -> Vec<&str> {
    log.lines().filter(|line| is_splat(line)).collect()
}

fn is_splat(line: &str) -> bool {
    SPLATS.iter().any(|words| line.contains(words))
        && !HARMLESS.iter().any(|(words, _)| line.contains(words))
}

/// The end of a console log, with each line marked as the guest's.
pub fn tail(log: &Path) -> String {
    let text = read(log);
    let lines: Vec<_> = text.lines().collect();
    let from = lines.len().saturating_sub(TAIL);
    let tail: String = lines[from..]
        .iter()
        .map(|line| format!("  | {line}\n"))
        .collect();
    format!("console, its end:\n{tail}")
}

/// A log's text; a log that isn't there is empty, since the VM never started.
pub fn read(log: &Path) -> String {
    fs::read(log)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One line of each kind as kernels print it.
    const BAD: [&str; 21] = [
        "[    3.1] WARNING: CPU: 1 PID: 77 at block/blk-mq.c:310 blk_mq_unquiesce_queue+0x8c/0xa0",
        "[    3.1] WARNING: possible circular locking dependency detected",
        "[    3.1] WARNING: possible recursive locking detected",
        "[    3.1] WARNING: inconsistent lock state",
        "[    3.1] WARNING: suspicious RCU usage",
        "[    3.1] BUG: KASAN: slab-use-after-free in restripe_main+0x10/0x20 [restripe]",
        "[    3.1] BUG: sleeping function called from invalid context at mm/mempool.c:400",
        "[    3.1] BUG: kernel NULL pointer dereference, address: 0000000000000008",
        "[    3.1] kernel BUG at rust/helpers/bug.c:7!",
        "[    3.1] Oops: general protection fault, probably for non-canonical address 0xdffffc0000000000",
        "[    3.1] UBSAN: array-index-out-of-bounds in a.c:7:9",
        "[    3.1] Call Trace:",
        "[  300.0] INFO: task fio:99 blocked for more than 120 seconds.",
        "[  300.0] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
        "[  300.0] rcu: INFO: rcu_preempt self-detected stall on CPU",
        "[  300.0] watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [fio:99]",
        "[  300.0] kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
        "unreferenced object 0xffff888104a1c000 (size 1024):",
        "[    3.1] list_del corruption. prev->next should be ffff88, but was dead",
        "[    3.1] Kernel panic - not syncing: Fatal exception",
        "[    3.1] ODEBUG: free active (active state 0) object: 00000000 object type: timer_list",
    ];

    const GOOD: [&str; 8] = [
        "[    0.1] kmemleak: Kernel memory leak detector initialized (mem pool available: 15679)",
        "[    0.1] kmemleak: Automatic memory scanning thread started",
        "[    0.1] kasan: KernelAddressSanitizer initialized (generic)",
        "[    0.1] Lock dependency validator: Copyright (c) 2006 Red Hat, Inc., Ingo Molnar",
        "[    0.1] rcu: RCU lockdep checking is enabled.",
        "[    2.0] EXT4-fs (vda): mounted filesystem with ordered data mode",
        "[    2.0] restripe: restripe0: migration finished",
        "[    2.0] Spectre V2 : Kernel not compiled with retpoline; no mitigation available!",
    ];

    #[test]
    fn trouble_is_seen() {
        for line in BAD {
            assert_eq!(
                splats(&format!(
                    "[ 0.0] Linux version 7.2\n{line}\n[ 9.9] on we go"
                )),
                [line]
            );
        }
    }

    #[test]
    fn harmless_lines_pass() {
        assert_eq!(splats(&GOOD.join("\n")), [""; 0]);
    }

    #[test]
    fn nothing_harmless_is_listed_that_is_not_seen_otherwise() {
        for (words, reason) in HARMLESS {
            assert!(!reason.is_empty());
            let seen = SPLATS.iter().any(|splat| words.contains(splat));
            assert!(seen, "{words:?} is allowed but would never be found");
        }
    }

    #[test]
    fn an_allowed_line_hides_no_other() {
        let log = [GOOD[0], BAD[0]].join("\n");
        assert_eq!(splats(&log), [BAD[0]]);
    }

    #[test]
    fn the_tail_is_short_and_a_missing_log_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("console.log");
        assert_eq!(tail(&log).lines().count(), 1);
        fs::write(&log, "line\n".repeat(1000)).unwrap();
        assert_eq!(tail(&log).lines().count(), TAIL + 1);
    }
}
