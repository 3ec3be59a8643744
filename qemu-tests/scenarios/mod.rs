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

scenarios! {
    assemble
    bad_input
    bitmap
    blocked
    control_files
    control_fuzz
    crash_cuts
    check_finds
    degraded
    head
    harness_boot
    harness_content
    harness_power_cut
    harness_corruption_seen
    md_bytes
    members
    memory
    migrate_back
    migrate_many
    migrate_pairs
    migrate_raid0_xfs
    migrate_raid1_ext4
    migrate_raid5_ext4
    preflight
    unclean
    unreadable
    volumes
    witness
    write_hole
}
