// SPDX-License-Identifier: GPL-2.0
//! What a superblock says of where requests go.

use crate::admit::{Cursor, Map};
use crate::geometry::Logical;
use crate::ondisk::Superblock;
use crate::placement::Set;
use crate::rules::Rules;
use crate::way::Way;

/// The map that a superblock describes.
pub fn map_of(sb: &Superblock, read_only: bool) -> Map {
    let source = sb.sets[usize::from(sb.present_set())];
    let target = sb.migration.map(|m| {
        let set = sb.sets[usize::from(m.target)];
        let true_from = match Way::of(m.descending) {
            Way::Up => Logical::ZERO,
            Way::Down => m.cursor,
        };
        Set { true_from, ..set }
    });
    Map {
        size: sb.volume_sectors,
        source,
        target,
        alive: sb.in_sync(),
        rebuilding: sb.rebuilding(),
        clean: sb.clean && !read_only,
        hold: false,
        journal: None,
        bitmap: None,
        gap_waits: false,
        read_only,
        rules: Rules::default(),
    }
}

/// The cursor that a superblock describes.
pub(in crate::engine) fn cursor_of(sb: &Superblock) -> Cursor {
    let durable = sb.migration.map_or(Logical::ZERO, |m| m.cursor);
    Cursor {
        way: sb.migration.map_or(Way::Up, |m| Way::of(m.descending)),
        durable,
        copied: durable,
        window: None,
        recovered: sb.recovered(),
    }
}
