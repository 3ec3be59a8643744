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

use Step::{Assemble, Class, InSync, Rest, Shell, Volume};

/// So small that a VM reads all of it in a second or two.
const SMALL: u64 = 20 * MIB;

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

/// The main job first: `make test` takes a few cuts of it.
pub const ALL: &[Case] = &[
    Case {
        name: "linear-raid5",
        make: &[Class("adopt", "dev=/dev/vda size=17825792 name=restripe0")],
        begin: &[
            Volume("sync_speed_max", "2048"),
            Volume("migrate", "level=raid5 add=/dev/vdb,/dev/vdc"),
        ],
        // Before the migration's first commit the new disks are blank.
        assemble: &[Assemble(&[
            "members=/dev/vda,/dev/vdb,/dev/vdc name=restripe0",
            "members=/dev/vda name=restripe0",
        ])],
        ..COMMON
    },
    Case {
        name: "linear-raid0",
        make: &[Class("adopt", "dev=/dev/vda size=17825792 name=restripe0")],
        begin: &[
            Volume("sync_speed_max", "2048"),
            Volume("migrate", "level=raid0 add=/dev/vdb,/dev/vdc"),
        ],
        assemble: &[Assemble(&[
            "members=/dev/vda,/dev/vdb,/dev/vdc name=restripe0",
            "members=/dev/vda name=restripe0",
        ])],
        ..COMMON
    },
    Case {
        name: "linear-raid1",
        disks: 2,
        make: &[Class("adopt", "dev=/dev/vda size=17825792 name=restripe0")],
        begin: &[
            Volume("sync_speed_max", "2048"),
            Volume("migrate", "level=raid1 add=/dev/vdb"),
        ],
        assemble: &[Assemble(&[
            "members=/dev/vda,/dev/vdb name=restripe0",
            "members=/dev/vda name=restripe0",
        ])],
        ..COMMON
    },
    // Down to a disk by itself; the others leave.
    Case {
        name: "raid5-linear",
        make: &[
            Class(
                "create",
                "level=raid5 chunk=65536 members=/dev/vda,/dev/vdb,/dev/vdc name=restripe0",
            ),
            Rest,
            Volume("size", "16777216"),
        ],
        begin: &[
            Volume("sync_speed_max", "2048"),
            Volume("migrate", "level=linear remove=1,2"),
        ],
        assemble: &[Assemble(&[
            "members=/dev/vda,/dev/vdb,/dev/vdc name=restripe0",
            "members=/dev/vda name=restripe0",
        ])],
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
        name: "raid5",
        make: &[
            Class(
                "create",
                "level=raid5 chunk=65536 members=/dev/vda,/dev/vdb,/dev/vdc name=restripe0",
            ),
            Rest,
        ],
        until: Until::Acks(1500),
        assemble: &[Assemble(&[
            "members=/dev/vda,/dev/vdb,/dev/vdc name=restripe0",
        ])],
        ..COMMON
    },
    Case {
        name: "raid5-degraded",
        failed: 1,
        make: &[
            Class(
                "create",
                "level=raid5 chunk=65536 members=/dev/vda,/dev/vdb,/dev/vdc assume_clean=1 name=restripe0",
            ),
            Volume("member_action", "fail=2"),
        ],
        until: Until::Acks(1500),
        assemble: &[Assemble(&["members=/dev/vda,/dev/vdb degraded=1 name=restripe0"])],
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
            Volume(attr, line) => self.must_set(VOLUME, attr, line),
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
