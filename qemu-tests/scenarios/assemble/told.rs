//! What who polls a volume's files and who listens to uevents is told.

use anyhow::{Context, Result, ensure};
use qemu_tests::restripe::{attr_path, completed};
use qemu_tests::vm::{Vm, Watch};
use qemu_tests::writer::AckWriter;

use super::{ADOPTED, HELD, VOLUME};

fn poll(vm: &Vm, file: &str) -> Result<Watch> {
    vm.notified(&attr_path(VOLUME, file))
}

/// Waits for changes of the volume's disk that say each of these lines, in any order.
fn told(events: &Watch, wanted: &[&str]) -> Result<()> {
    let disk = format!("/block/{VOLUME}");
    let mut missing = wanted.to_vec();
    events
        .wait(|text| {
            let mut lines = text.lines();
            let first = lines.next().unwrap_or_default();
            if first.starts_with("change@") && first.ends_with(&disk) {
                missing.retain(|line| !text.lines().any(|said| said == *line));
            }
            missing.is_empty()
        })
        .with_context(|| format!("not all uevents of {wanted:?} came"))?;
    Ok(())
}

/// The migration starts, under writes, and goes on to where it is held.
pub fn migration(vm: &Vm, writer: &mut AckWriter) -> Result<()> {
    let events = vm.uevents()?;
    let state = poll(vm, "migrate_state")?;
    let done = poll(vm, "sync_completed")?;
    for (file, wanted) in [
        ("sync_max", "max"),
        ("sync_speed_max", "0"),
        ("sync_completed", "none"),
        ("migrate_position", "none"),
    ] {
        ensure!(vm.attr(VOLUME, file)? == wanted, "{file} is not {wanted}");
    }
    vm.must_set(VOLUME, "sync_max", &HELD[0].to_string())?;
    vm.must_set(VOLUME, "sync_speed_max", "65536")?;
    for (file, wanted) in [("sync_max", HELD[0]), ("sync_speed_max", 65536)] {
        ensure!(
            vm.number(VOLUME, file)? == wanted,
            "{file} is not {wanted}"
        );
    }
    vm.must_set(VOLUME, "migrate", "level=raid5 add=/dev/vdb,/dev/vdc")?;
    state.wait(|text| text == "running")?;
    told(&events, &["RESTRIPE_MIGRATE_STATE=running"])?;
    let said = done.wait(|text| completed(text).is_some_and(|(done, _)| done >= HELD[0]))?;
    ensure!(
        said == format!("{} / {}", HELD[0], ADOPTED / 512),
        "sync_completed says {said:?}"
    );
    writer.wait_acks(100)?;
    // A number of KiB a second.
    vm.number(VOLUME, "sync_speed")?;
    for watch in [events, state, done] {
        vm.unwatch(watch)?;
    }
    Ok(())
}

/// The first write after rest, and rest after the last one.
pub fn activity(vm: &Vm) -> Result<()> {
    let events = vm.uevents()?;
    let array = poll(vm, "array_state")?;
    ensure!(vm.attr(VOLUME, "array_state")? == "clean");
    vm.ok(&format!(
        "dd if=/dev/zero of=/dev/{VOLUME} bs=4096 count=1 oflag=direct status=none"
    ))?;
    for state in ["active", "clean"] {
        array.wait(|text| text == state)?;
        told(&events, &[&format!("RESTRIPE_ARRAY_STATE={state}")])?;
    }
    vm.unwatch(events)?;
    vm.unwatch(array)
}

/// The pause.
pub fn pause(vm: &Vm) -> Result<()> {
    let events = vm.uevents()?;
    let state = poll(vm, "migrate_state")?;
    vm.must_set(VOLUME, "migrate_state", "pause")?;
    state.wait(|text| text == "paused")?;
    told(&events, &["RESTRIPE_MIGRATE_STATE=paused"])?;
    vm.unwatch(events)?;
    vm.unwatch(state)
}

/// The migration ends and the volume grows.
pub fn the_end(vm: &Vm) -> Result<()> {
    let events = vm.uevents()?;
    let state = poll(vm, "migrate_state")?;
    vm.must_set(VOLUME, "sync_max", "max")?;
    vm.must_set(VOLUME, "sync_speed_max", "0")?;
    vm.must_set(VOLUME, "migrate_state", "resume")?;
    state.wait(|text| text == "running")?;
    state.wait(|text| text == "none")?;
    told(&events, &["RESIZE=1", "RESTRIPE_MIGRATE_STATE=none"])?;
    ensure!(
        vm.number(VOLUME, "size")? > ADOPTED,
        "the volume did not grow"
    );
    for watch in [events, state] {
        vm.unwatch(watch)?;
    }
    vm.settle(VOLUME)?;
    vm.ensure_in_sync(VOLUME)
}

/// A member is lost.
pub fn loss(vm: &Vm) -> Result<()> {
    let events = vm.uevents()?;
    let degraded = poll(vm, "degraded")?;
    let array = poll(vm, "array_state")?;
    vm.unplug("vdc")?;
    vm.ok(&format!(
        "dd if=/dev/{VOLUME} of=/tmp/start bs=1M count=1 iflag=direct status=none
         dd if=/tmp/start of=/dev/{VOLUME} bs=1M count=1 oflag=direct status=none"
    ))?;
    degraded.wait(|text| text == "1")?;
    array.wait(|text| text == "degraded")?;
    told(
        &events,
        &["RESTRIPE_DEGRADED=1", "RESTRIPE_ARRAY_STATE=degraded"],
    )?;
    for watch in [events, degraded, array] {
        vm.unwatch(watch)?;
    }
    Ok(())
}
