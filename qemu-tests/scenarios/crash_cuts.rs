//! A few cuts of `make crash`'s main case: lost and torn writes on all disks in the middle of a migration.

use anyhow::{Result, bail};
use qemu_tests::crash::case;
use qemu_tests::crash::check::{Verdict, check};
use qemu_tests::crash::cut::{self, Cut};
use qemu_tests::crash::record::Recording;
use qemu_tests::ctx::Ctx;
use qemu_tests::qemu::Frozen;

const CUTS: usize = 4;

pub fn run(ctx: &mut Ctx) -> Result<()> {
    let recording = Recording::make(ctx, &case::ALL[0])?;
    let frozen = ctx.freeze(recording.present()?)?;
    ctx.notes
        .push(format!("{CUTS} cuts of {}", recording.words()));
    for cut in cut::some(&recording, CUTS) {
        if let Err(e) = look(ctx, &frozen, &recording, &cut) {
            let kept = ctx.dir().join("recording.log");
            recording.save(&kept)?;
            let again = format!("REPLAY={} CUT={} make crash", kept.display(), cut.number);
            return Err(e.context(format!("cut {}; again: {again}", cut.number)));
        }
    }
    Ok(())
}

fn look(ctx: &Ctx, frozen: &Frozen, recording: &Recording, cut: &Cut) -> Result<()> {
    let mut part = ctx.part(&format!("cut-{}", cut.number))?;
    match check(&mut part, frozen, recording, cut)?.0 {
        Verdict::Kept => Ok(()),
        Verdict::Lost(words) => bail!("lost: {words}"),
    }
}
