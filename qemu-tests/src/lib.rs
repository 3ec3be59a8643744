//! The VM test harness: the host drives, the guest obeys.
//!
//! A scenario boots a VM with some disks, tells the agent in it what to run, cuts the power when it likes,
//! boots again and compares. What the guest's kernel printed is read at the end, and a splat fails the scenario.

// What host and agent share.
pub mod ledger;
pub mod stamp;
pub mod wire;

macro_rules! host_modules {
    ($($name:ident)*) => { $(#[cfg(feature = "host")] pub mod $name;)* };
}

host_modules! {
    accel
    cache
    chain
    console
    content
    crash
    ctx
    demo
    disk
    dust
    initramfs
    journey
    kernel
    leaks
    limit
    link
    monitor
    nbd
    qemu
    restripe
    runner
    shape
    tools
    vm
    writer
}
