//! A fresh VM looks at what a cut has left.

use anyhow::{Context, Result, bail};

use super::case::Case;
use super::cut::Cut;
use super::record::Recording;
use crate::ctx::Ctx;
use crate::nbd::log::Event;
use crate::nbd::server::Server;
use crate::qemu::Frozen;
use crate::stamp::Mix;
use crate::vm::Vm;
use crate::wire::{Ack, FAULTS, Request, VerifySpec};

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Kept,
    /// Acknowledged blocks are not there; in words, which.
    Lost(String),
}

/// Tells whether all that had been acknowledged at the cut is there, at once and once the volume has come to rest. An error
/// is anything else that went wrong, such as a volume that does not assemble. What the VM wrote meanwhile can be cut in its turn.
pub fn check(
    ctx: &mut Ctx,
    frozen: &Frozen,
    recording: &Recording,
    cut: &Cut,
) -> Result<(Verdict, Recording)> {
    let case = recording.case()?;
    let mut images = cut.remains(&recording.log).images;
    images.truncate(case.present());
    let server = Server::start(&ctx.socket(), images)?;
    let demands = cut.demands(&recording.log);
    let before = demands.len() as u64;
    server.marker().put(Event::Acks(demands.clone()));
    server.marker().put(Event::Flushed { before });
    let first = server.len();
    let vm = ctx.thaw(frozen, &server.disks())?;
    let verdict = look(&vm, case, recording, demands);
    vm.power_cut()?;
    let verdict = verdict?;
    let splats = ctx.splats();
    if !splats.is_empty() {
        bail!("the kernel log holds trouble:\n{}", splats.join("\n"));
    }
    let next = Recording {
        case: recording.case.clone(),
        seed: cut.next_seed(),
        region: recording.region.clone(),
        first,
        log: server.finish(),
    };
    Ok((verdict, next))
}

fn look(vm: &Vm, case: &Case, recording: &Recording, demands: Vec<Ack>) -> Result<Verdict> {
    vm.carry_out(case.assemble)?;
    let mut readings = Vec::new();
    for (when, steps) in [("at once", [].as_slice()), ("at rest", case.rest)] {
        vm.carry_out(steps).context("come to rest")?;
        let spec = VerifySpec {
            region: recording.region.clone(),
            floors: demands.clone(),
            // What was not flushed tears at sectors, and blocks have eight.
            mix: Mix::Sectors,
        };
        let done = vm.finish(|job| Request::Verify { job, spec })?;
        match done.status {
            0 => readings.push(done.note),
            FAULTS => return Ok(Verdict::Lost(format!("{when} {}", done.note))),
            _ => bail!("reading {when}: {}", done.note),
        }
    }
    if readings[0] != readings[1] {
        let words = readings.join(", at rest ");
        return Ok(Verdict::Lost(format!(
            "what was read has changed with nothing written: at once {words}"
        )));
    }
    Ok(Verdict::Kept)
}
