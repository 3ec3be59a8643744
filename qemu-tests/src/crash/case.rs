//! What is cut: one entry a case. To add one is to describe it here.

use anyhow::{Result, bail, ensure};

use crate::ctx::MIB;
use crate::journey::VOLUME;
use crate::vm::Vm;

/// What is done in the guest.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    /// A line to a file of restripe's class, such as `create`.
    Class(&'static str, &'static str),
    /// Lines to `assemble`, of which one must be taken: the first that is.
    Assemble(&'static [&'static str]),
    /// A line to a file of the volume, such as `migrate`.
    Volume(&'static str, &'static str),
    /// Until a migration has done so many sectors.
    Done(u64),
    /// Until a file of the volume says this.
    Says(&'static str, &'static str),
    /// Until the volume does nothing by itself: no migration, no resync.
    Rest,
    /// No copy and no parity differs.
    InSync,
    Shell(&'static str),
}

/// How long the log goes on once `begin` is done.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// Until no migration runs any more, and a few writes longer.
    Migrated,
    /// So many acknowledgements of blocks.
    Acks(u64),
    /// No longer, and nothing is written beside it: the writer ends before it, after so many writes.
    Begun { writes: u64 },
}

#[derive(Debug)]
pub struct Case {
    pub name: &'static str,
    /// The device that is written to and read.
    pub device: &'static str,
    pub disks: usize,
    /// Bytes of each.
    pub disk_size: u64,
    /// Disks that have failed before the log begins to count, and are not there after the cut: the last ones.
    pub failed: usize,
    /// Makes the volume of blank disks.
    pub make: &'static [Step],
    /// What goes on beside the writes, begun when every block has been written and flushed once.
    pub begin: &'static [Step],
    pub until: Until,
    /// Puts the volume together after a cut.
    pub assemble: &'static [Step],
    /// Between the two readings.
    pub rest: &'static [Step],
    /// Whether all that was acknowledged must be there. Of the peer without a journal losses are counted, which shows that
    /// they would be seen.
    pub must_keep: bool,
}

use Step::{Assemble, Class, Done, InSync, Rest, Says, Shell, Volume};

/// So small that a VM reads all of it in a second, and that flushes can be counted.
const SMALL: u64 = 6 * MIB;

/// A moment is over after so many; only there to end a hang.
const TRIES: usize = 10_000;

const COMMON: Case = Case {
    name: "",
    device: "/dev/restripe0",
    disks: 3,
    disk_size: SMALL,
    failed: 0,
    make: &[],
    begin: &[],
    until: Until::Migrated,
    assemble: &[],
    // The speed that a migration was begun with is kept on the disks.
    rest: &[Volume("sync_speed_max", "0"), Rest, InSync],
    must_keep: true,
};

/// A link to it.
const VOLUME_OR_DISK: &str = "/tmp/volume";
const ADOPT: Step = Class("adopt", "dev=/dev/vda size=3145728 name=restripe0");
const RAID5: Step = Class(
    "create",
    "level=raid5 chunk=65536 members=/dev/vda,/dev/vdb,/dev/vdc name=restripe0",
);
const RAID5_OF_4: Step = Class(
    "create",
    "level=raid5 chunk=65536 members=/dev/vda,/dev/vdb,/dev/vdc,/dev/vdd name=restripe0",
);
const RAID6: Step = Class(
    "create",
    "level=raid6 chunk=65536 members=/dev/vda,/dev/vdb,/dev/vdc,/dev/vdd name=restripe0",
);
const RAID10: Step = Class(
    "create",
    "level=raid10 chunk=65536 members=/dev/vda,/dev/vdb,/dev/vdc,/dev/vdd name=restripe0",
);
const RAID5_UNSYNCED: Step = Class(
    "create",
    "level=raid5 chunk=65536 members=/dev/vda,/dev/vdb,/dev/vdc assume_clean=1 name=restripe0",
);
const LAST_FAILS: Step = Volume("member_action", "fail=2");

// Before a migration's first commit new disks are blank, and behind its end those that left are.
const TWO_OR_ONE: Step = Assemble(&[
    "members=/dev/vda,/dev/vdb name=restripe0",
    "members=/dev/vda name=restripe0",
]);
const THREE_OR_ONE: Step = Assemble(&[
    "members=/dev/vda,/dev/vdb,/dev/vdc name=restripe0",
    "members=/dev/vda name=restripe0",
]);
const THREE: Step = Assemble(&["members=/dev/vda,/dev/vdb,/dev/vdc name=restripe0"]);
const FOUR: Step = Assemble(&["members=/dev/vda,/dev/vdb,/dev/vdc,/dev/vdd name=restripe0"]);
const FOUR_OR_THREE: Step = Assemble(&[
    "members=/dev/vda,/dev/vdb,/dev/vdc,/dev/vdd name=restripe0",
    "members=/dev/vda,/dev/vdb,/dev/vdc name=restripe0",
]);
const SHORT_OF_ONE: Step = Assemble(&["members=/dev/vda,/dev/vdb degraded=1 name=restripe0"]);
const EXCHANGED_OR_NOT: Step = Assemble(&[
    "members=/dev/vda,/dev/vdb,/dev/vdc,/dev/vdd name=restripe0",
    "members=/dev/vda,/dev/vdc,/dev/vdd name=restripe0",
    "members=/dev/vda,/dev/vdb,/dev/vdc name=restripe0",
]);
// The one that came in is not there yet, or the one that failed is none any more.
const REPLACED_OR_NOT: Step = Assemble(&[
    "members=/dev/vda,/dev/vdc,/dev/vdd degraded=1 name=restripe0",
    "members=/dev/vda,/dev/vdb,/dev/vdc degraded=1 name=restripe0",
]);

/// The main job first: `make test` takes a few cuts of it.
pub const ALL: &[Case] = &[
    Case {
        name: "linear-raid5",
        make: &[ADOPT],
        begin: &[
            Volume("sync_speed_max", "1024"),
            Volume("migrate", "level=raid5 add=/dev/vdb,/dev/vdc"),
        ],
        assemble: &[THREE_OR_ONE],
        ..COMMON
    },
    // From a disk that is full to its last sector, which is on its witness meanwhile. On a smaller one the target lies over the
    // source for longer than the stash is.
    Case {
        name: "witness-raid5",
        disk_size: 2 * SMALL,
        make: &[Class(
            "adopt",
            "dev=/dev/vda witness=/dev/vdb size=12582912 name=restripe0",
        )],
        begin: &[
            Volume("sync_speed_max", "2048"),
            Volume("migrate", "level=raid5 add=/dev/vdc"),
        ],
        assemble: &[Assemble(&[
            "members=/dev/vda,/dev/vdb,/dev/vdc name=restripe0",
            "members=/dev/vda,/dev/vdb name=restripe0",
        ])],
        ..COMMON
    },
    // The adoption itself, of a disk that nobody writes to meanwhile: it is what it was, or the volume.
    Case {
        name: "adopt-witness",
        device: VOLUME_OR_DISK,
        disks: 2,
        make: &[Shell("ln -s /dev/vda /tmp/volume")],
        begin: &[
            Class(
                "adopt",
                "dev=/dev/vda witness=/dev/vdb size=6291456 name=restripe0",
            ),
            Says("array_state", "clean"),
        ],
        until: Until::Begun { writes: 100 },
        assemble: &[Shell(
            "device=/dev/restripe0
             if ! echo members=/dev/vda,/dev/vdb name=restripe0 > /sys/class/restripe/assemble; then
                 grep 'vda holds no restripe superblock' /sys/class/restripe/last_error
                 device=/dev/vda
             fi
             ln -s $device /tmp/volume",
        )],
        rest: &[],
        ..COMMON
    },
    Case {
        name: "linear-raid0",
        make: &[ADOPT],
        begin: &[
            Volume("sync_speed_max", "1024"),
            Volume("migrate", "level=raid0 add=/dev/vdb,/dev/vdc"),
        ],
        assemble: &[THREE_OR_ONE],
        ..COMMON
    },
    Case {
        name: "linear-raid1",
        disks: 2,
        make: &[ADOPT],
        begin: &[
            Volume("sync_speed_max", "1024"),
            Volume("migrate", "level=raid1 add=/dev/vdb"),
        ],
        assemble: &[TWO_OR_ONE],
        ..COMMON
    },
    // Turned round at a third of the way.
    Case {
        name: "abort",
        make: &[ADOPT],
        begin: &[
            Volume("sync_speed_max", "1024"),
            Volume("migrate", "level=raid5 add=/dev/vdb,/dev/vdc"),
            Done(2000),
            Volume("migrate_state", "abort"),
        ],
        assemble: &[THREE_OR_ONE],
        ..COMMON
    },
    // Every window through the stash.
    Case {
        name: "raid5-chunk",
        make: &[RAID5, Rest, Volume("size", "3145728")],
        begin: &[
            Volume("sync_speed_max", "1024"),
            Volume("migrate", "level=raid5 chunk=16384"),
        ],
        assemble: &[THREE],
        ..COMMON
    },
    // The same from level to level.
    Case {
        name: "raid10-raid6",
        disks: 4,
        make: &[RAID10, Rest, Volume("size", "3145728")],
        begin: &[
            Volume("sync_speed_max", "1024"),
            Volume("migrate", "level=raid6"),
        ],
        assemble: &[FOUR],
        ..COMMON
    },
    // Down to one disk less, which leaves.
    Case {
        name: "raid5-shrink",
        disks: 4,
        make: &[RAID5_OF_4, Rest, Volume("size", "3145728")],
        begin: &[
            Volume("sync_speed_max", "1024"),
            Volume("migrate", "level=raid5 remove=3"),
        ],
        assemble: &[FOUR_OR_THREE],
        ..COMMON
    },
    // Down to a disk by itself; the others leave.
    Case {
        name: "raid5-linear",
        make: &[RAID5, Rest, Volume("size", "3145728")],
        begin: &[
            Volume("sync_speed_max", "1024"),
            Volume("migrate", "level=linear remove=1,2"),
        ],
        assemble: &[THREE_OR_ONE],
        ..COMMON
    },
    // Through the stash, short of a member that never comes back.
    Case {
        name: "raid5-chunk-degraded",
        failed: 1,
        make: &[RAID5_UNSYNCED, LAST_FAILS, Volume("size", "3145728")],
        begin: &[
            Volume("sync_speed_max", "1024"),
            Volume("migrate", "level=raid5 chunk=16384"),
        ],
        assemble: &[SHORT_OF_ONE],
        rest: &[Volume("sync_speed_max", "0"), Rest],
        ..COMMON
    },
    // A member that works gives its place to another.
    Case {
        name: "raid5-exchange",
        disks: 4,
        make: &[RAID5, Rest],
        begin: &[
            Volume("sync_speed_max", "1024"),
            Volume("member_action", "replace=1 with=/dev/vdd"),
        ],
        assemble: &[EXCHANGED_OR_NOT],
        ..COMMON
    },
    // A member fails and another takes its place.
    Case {
        name: "raid5-rebuild",
        disks: 4,
        make: &[
            RAID5,
            Rest,
            // From whole to short of a member in mid-write, no data must be in doubt.
            Volume("journal", "always"),
            Says("journal_in_force", "1"),
        ],
        begin: &[
            Volume("sync_speed_max", "1024"),
            Volume("member_action", "fail=1"),
            Volume("member_action", "replace=1 with=/dev/vdd"),
            Says("sync_action", "recover"),
        ],
        assemble: &[REPLACED_OR_NOT],
        ..COMMON
    },
    Case {
        name: "raid1",
        disks: 2,
        make: &[
            Class("create", "level=raid1 members=/dev/vda,/dev/vdb name=restripe0"),
            Rest,
        ],
        until: Until::Acks(1500),
        assemble: &[Assemble(&["members=/dev/vda,/dev/vdb name=restripe0"])],
        ..COMMON
    },
    Case {
        name: "raid10",
        disks: 4,
        make: &[RAID10, Rest],
        until: Until::Acks(1500),
        assemble: &[FOUR],
        ..COMMON
    },
    Case {
        name: "raid5",
        make: &[RAID5, Rest],
        until: Until::Acks(1500),
        assemble: &[THREE],
        ..COMMON
    },
    Case {
        name: "raid6",
        disks: 4,
        make: &[RAID6, Rest],
        until: Until::Acks(1500),
        assemble: &[FOUR],
        ..COMMON
    },
    Case {
        name: "raid5-degraded",
        failed: 1,
        make: &[RAID5_UNSYNCED, LAST_FAILS],
        until: Until::Acks(1500),
        assemble: &[SHORT_OF_ONE],
        rest: &[],
        ..COMMON
    },
    Case {
        name: "md-raid5-degraded",
        device: "/dev/md0",
        failed: 1,
        make: &[Shell(
            "mdadm --create /dev/md0 --run --quiet --level=5 --raid-devices=3 --chunk=64 --bitmap=none --assume-clean \
                 --data-offset=1024 /dev/vda /dev/vdb /dev/vdc
             mdadm --quiet /dev/md0 --fail /dev/vdc",
        )],
        until: Until::Acks(1500),
        assemble: &[Shell(
            "mdadm --assemble --run --force --quiet /dev/md0 /dev/vda /dev/vdb",
        )],
        rest: &[],
        must_keep: false,
        ..COMMON
    },
];

pub fn named(name: &str) -> Option<&'static Case> {
    ALL.iter().find(|case| case.name == name)
}

impl Case {
    /// The disks that are there after a cut.
    pub fn present(&self) -> usize {
        self.disks - self.failed
    }
}

impl Vm {
    pub fn carry_out(&self, steps: &[Step]) -> Result<()> {
        steps.iter().try_for_each(|step| self.step(*step))
    }

    /// Writes a line again for as long as its refusal asks for that, as it does at the moment when a member goes.
    fn insist(&self, attr: &str, line: &str) -> Result<()> {
        for _ in 0..TRIES {
            match self.set(VOLUME, attr, line)? {
                Err(refusal) if refusal.last_error.contains("write the line again") => {}
                Err(refusal) => bail!("`{line}` to {attr} was refused: {refusal}"),
                Ok(()) => return Ok(()),
            }
        }
        self.must_set(VOLUME, attr, line)
    }

    fn step(&self, step: Step) -> Result<()> {
        match step {
            Class(file, line) => self.must(file, line),
            Assemble(lines) => {
                let mut refusals = Vec::new();
                for line in lines {
                    match self.control("assemble", line)? {
                        Ok(()) => return Ok(()),
                        Err(refusal) => refusals.push(format!("`{line}` was refused: {refusal}")),
                    }
                }
                bail!("it is not assembled: {}", refusals.join("; "))
            }
            Volume(attr, line) => self.insist(attr, line),
            Done(sectors) => {
                let under_way = self.wait_done(VOLUME, sectors)?;
                ensure!(under_way, "the migration was over before it had done {sectors} sectors");
                Ok(())
            }
            Says(attr, words) => {
                self.wait_volume(VOLUME, attr, |text| text == words)?;
                Ok(())
            }
            Rest => {
                self.wait_migrated(VOLUME)?;
                self.settle(VOLUME)
            }
            InSync => match &*self.attr(VOLUME, "level")? {
                // There is nothing to compare.
                "linear" | "raid0" => Ok(()),
                _ => self.ensure_in_sync(VOLUME),
            },
            Shell(script) => {
                let output = self.sh(script)?;
                ensure!(output.status == 0, "`{script}`: {output}");
                Ok(())
            }
        }
    }
}
