// SPDX-License-Identifier: GPL-2.0
//! Which places a piece of a migration overwrites, and whether any of them still
//! holds the only truth (DESIGN I2).

use crate::geometry::{div, rem, Logical, MemberId, Offset, Physical, Range, Sectors, SlotId};
use crate::layout::Layout;
use crate::placement::Set;

/// Calls `visit(x, slot, offset, len)` for every run that writing `range` to
/// `set` in whole rows writes; `x` is None for parity. `range` starts on a row.
pub fn for_each_write(
    set: &Set,
    range: Range,
    mut visit: impl FnMut(Option<Logical>, SlotId, Offset, Sectors),
) {
    let layout = &set.layout;
    if !layout.level.is_striped() {
        for slot in (0..layout.slots).map(SlotId) {
            visit(Some(range.start), slot, Offset(range.start.0), range.len());
        }
        return;
    }
    let (stripe, chunk) = (layout.stripe(), layout.chunk);
    assert_eq!(
        rem(range.start.0, stripe.0),
        0,
        "a piece starts on a row of the target"
    );
    let mut start = range.start;
    while start < range.end {
        let row = layout.row(start);
        let offset = layout.row_offset(start);
        for index in 0..layout.data_slots() {
            let x = start + Sectors(index * chunk.0);
            for step in 0..layout.copies() {
                let copy = layout.copy(x, step);
                visit(Some(x), copy.slot, copy.offset, chunk);
            }
        }
        for slot in layout.parity_slots(row) {
            visit(None, slot, offset, chunk);
        }
        start += stripe;
    }
}

/// Whether `set` holds `len` sectors of data from `x` on at exactly this place.
fn holds(set: &Set, x: Logical, len: Sectors, member: MemberId, at: Physical) -> bool {
    let layout = &set.layout;
    if x.0 + len.0 > layout.capacity().0 {
        return false;
    }
    if layout.locate(x).run < len {
        return false;
    }
    // Of copies that are not known to be alike only the one that reads choose counts.
    let alike = (x + len) <= set.resync;
    let copies = if alike { layout.copies() } else { 1 };
    (0..copies).any(|step| {
        let copy = layout.copy(x, step);
        let place = set.place(copy.slot, copy.offset);
        place.member == member && place.at == at && place.run >= len
    })
}

/// Whether `set` has at exactly this place the parity that a row of `target` has at `offset`
/// of `slot`, of the same data, and it is known to be true.
fn has_parity(
    set: &Set,
    end: Logical,
    target: &Set,
    (slot, offset): (SlotId, Offset),
    (member, at, len): (MemberId, Physical, Sectors),
) -> bool {
    let rows = Layout {
        slot_len: set.layout.slot_len,
        ..target.layout
    };
    let start = Logical(div(offset.0, rows.chunk.0) * rows.stripe().0);
    let row = Range::new(start, start + rows.stripe());
    // Padding is to be zeroes, and the parity of that.
    if rows != set.layout || row.end > end || row.end.0 > rows.capacity().0 || !set.is_synced(row) {
        return false;
    }
    let place = set.place(slot, offset);
    place.member == member && place.at == at && place.run >= len
}

/// Whether the `len` sectors of the target from `offset` of `slot` on, which are to hold the
/// volume from `x` on, or parity where that is None, hold it already, because the source has it
/// in the very same place. Sectors behind the volume's end at `end` are padding, which has to be
/// written.
pub fn is_in_place(
    source: &Set,
    end: Logical,
    target: &Set,
    x: Option<Logical>,
    (slot, offset): (SlotId, Offset),
    len: Sectors,
) -> bool {
    if x.is_some_and(|x| x + len > end) {
        return false;
    }
    let mut done = Sectors::ZERO;
    while done < len {
        let place = target.place(slot, offset + done);
        let run = place.run.min(len - done);
        let (member, at) = (place.member, place.at);
        let kept = match x {
            Some(x) => holds(source, x + done, run, member, at),
            None => has_parity(
                source,
                end,
                target,
                (slot, offset + done),
                (member, at, run),
            ),
        };
        if !kept {
            return false;
        }
        done = done + run;
    }
    true
}

/// Whether writing `range` to `target` would overwrite what `source` still needs to
/// hold `live`, other than what is already in its place. The volume ends at `end`.
pub fn overwrites(source: &Set, live: Range, end: Logical, target: &Set, range: Range) -> bool {
    if live.is_empty() {
        return false;
    }
    let mut hit = false;
    for_each_write(target, range, |x, slot, offset, len| {
        let mut done = Sectors::ZERO;
        while done < len && !hit {
            let place = target.place(slot, offset + done);
            let mut run = place.run.min(len - done);
            let x = x.map(|x| x + done);
            if let Some(x) = x.filter(|x| *x < end) {
                run = run.min(end - x);
            }
            let (member, at) = (place.member, place.at);
            let kept = match x {
                // Padding is zeroed, and the source's parity may be of what lies there now.
                Some(x) => x < end && holds(source, x, run, member, at),
                None => has_parity(
                    source,
                    end,
                    target,
                    (slot, offset + done),
                    (member, at, run),
                ),
            };
            if !kept && needs(source, live, member, at, run) {
                hit = true;
            }
            done = done + run;
        }
    });
    hit
}

/// Whether any sector of this place belongs to a row of `set` that holds some of `live`.
fn needs(set: &Set, live: Range, member: MemberId, at: Physical, len: Sectors) -> bool {
    let layout = &set.layout;
    let (first, end) = if layout.level.is_striped() {
        (layout.row_offset(live.start), layout.used_below(live.end))
    } else {
        (Offset(live.start.0), Offset(live.end.0))
    };
    let mut slot = None;
    let mut before = 0;
    for extent in &set.extents {
        if slot != Some(extent.slot) {
            (slot, before) = (Some(extent.slot), 0);
        }
        // This extent holds offsets before .. before + len of its slot.
        let lo = first.0.max(before);
        let hi = end.0.min(before + extent.len.0);
        if extent.member == member && lo < hi {
            let start = extent.start.0 + (lo - before);
            let stop = extent.start.0 + (hi - before);
            if start < at.0 + len.0 && at.0 < stop {
                return true;
            }
        }
        before += extent.len.0;
    }
    false
}
