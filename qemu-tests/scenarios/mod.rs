//! One file a scenario; its name is the file's.

use qemu_tests::runner::Scenario;

/// Declares the files and lists them.
macro_rules! scenarios {
    ($($name:ident)*) => {
        $(mod $name;)*

        pub const ALL: [Scenario; [$(stringify!($name)),*].len()] =
            [$(Scenario { name: stringify!($name), run: $name::run }),*];
    };
}

// Those that take longest come first, so that none of them is left alone at the end.
scenarios! {
    members
    degraded
    memory
    migrate_raid5_ext4
    migrate_raid1_ext4
    migrate_raid0_xfs
    volumes
    control_fuzz
    migrate_pairs
    md_bytes
    migrate_many
    migrate_back
    bad_input
    assemble
    witness
    unclean
    crash_cuts
    bitmap
    check_finds
    head
    control_files
    unreadable
    blocked
    write_hole
    preflight
    harness_boot
    harness_content
    harness_power_cut
    harness_corruption_seen
}
