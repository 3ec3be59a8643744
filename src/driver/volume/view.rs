// SPDX-License-Identifier: GPL-2.0
//! What a request sees of a volume: the map it is admitted under, the cursor, the members.

use kernel::prelude::*;
use kernel::sync::Arc;
use restripe_core::admit::{Cursor, Map, Route};
use restripe_core::geometry::{Logical, MemberId, MemberMask, Physical, Sectors, MAX_MEMBERS};
use restripe_core::ondisk::{RegionKind, Superblock};
use restripe_core::placement::Set;

use crate::sys::block::Member;
use crate::sys::sync::{new_spinlock_irq, SpinLockIrq};

/// The members that are open, by their rows in the table.
pub(crate) type Members = [Option<Arc<Member>>; MAX_MEMBERS];

/// None is open.
pub(crate) const NOBODY: Members = [const { None }; MAX_MEMBERS];

/// A map and all that belongs to it. Requests hold it by entering its epoch.
#[pin_data]
pub(crate) struct View {
    pub(crate) map: Map,
    /// Reads go where they go under any cursor, and no write needs to look at it.
    pub(crate) at_rest: bool,
    /// Writes may be admitted.
    pub(crate) writable: bool,
    /// Moves while a migration does; requests of an older view see it as it was at the end of that.
    #[pin]
    cursor: SpinLockIrq<Cursor>,
    members: Members,
    /// Where on each member its journal begins, if the map has one.
    journals: [Physical; MAX_MEMBERS],
}

impl View {
    /// A view of `map`. *Task* context, and not while writeback depends on it: see
    /// [`View::refill`].
    pub(crate) fn new(map: &Map, cursor: Cursor, members: &Members) -> Result<Pin<KBox<View>>> {
        let view = KBox::pin_init(
            pin_init!(View {
                map: *map,
                at_rest: false,
                writable: false,
                cursor <- new_spinlock_irq!(cursor),
                members: NOBODY,
                journals: [Physical::ZERO; MAX_MEMBERS],
            }),
            GFP_KERNEL,
        );
        let mut view = view?;
        view.as_mut().refill(map, cursor, members);
        Ok(view)
    }

    /// Makes it a view of `map`: nobody has it.
    pub(crate) fn refill(self: Pin<&mut Self>, map: &Map, cursor: Cursor, members: &Members) {
        let this = self.project();
        *this.map = *map;
        *this.at_rest = map.target.is_none() && map.rebuilding.is_empty();
        *this.writable = !map.clean && !map.hold && !map.read_only;
        *this.members = members.clone();
        *this.cursor.lock() = cursor;
    }

    /// Lets go of the devices. Nobody has it.
    pub(crate) fn let_go(self: Pin<&mut Self>) {
        *self.project().members = NOBODY;
    }

    /// Says where the members' journals are. Nobody has it.
    pub(crate) fn set_journals(self: Pin<&mut Self>, superblock: &Superblock) {
        let this = self.project();
        for (id, row) in superblock.rows() {
            let region = row.region(RegionKind::Journal);
            this.journals[usize::from(id.0)] = region.map_or(Physical::ZERO, |r| r.start);
        }
    }

    /// The cursor now. Writes look at it only when they hold their range.
    pub(crate) fn cursor(&self) -> Cursor {
        *self.cursor.lock()
    }

    /// Moves the cursor.
    pub(crate) fn set_cursor(&self, cursor: Cursor) {
        *self.cursor.lock() = cursor;
    }

    /// The device of a member that is alive.
    pub(crate) fn member(&self, id: MemberId) -> Option<&Member> {
        self.members[usize::from(id.0)].as_deref()
    }

    /// Members that are alive where `x` lies: for writes, whose range the cursor does not move through.
    pub(crate) fn alive(&self, x: Logical) -> MemberMask {
        if self.at_rest {
            return self.map.alive;
        }
        self.map.alive_at(&self.cursor(), x).0
    }

    /// Where a record at that offset of the journal lies on a member.
    pub(crate) fn journal_at(&self, id: MemberId, at: Sectors) -> Physical {
        self.journals[usize::from(id.0)] + at
    }

    /// The set of a route that has one.
    pub(crate) fn set(&self, route: Route) -> &Set {
        self.map.set(route)
    }

    /// Where a read of `x` goes, who is alive there, and up to where that holds: by one look at
    /// the cursor, which moves on meanwhile.
    pub(crate) fn way(&self, x: Logical) -> (Route, MemberMask, Logical) {
        match self.at_rest {
            true => self.way_at_rest(),
            false => self.way_by(&self.cursor(), x),
        }
    }

    /// The same by that look, of which more is to be known.
    pub(crate) fn way_by(&self, cursor: &Cursor, x: Logical) -> (Route, MemberMask, Logical) {
        if self.at_rest {
            return self.way_at_rest();
        }
        let (route, end) = self.map.route_read(cursor, x);
        (route, self.map.alive_at(cursor, x).0, end)
    }

    fn way_at_rest(&self) -> (Route, MemberMask, Logical) {
        // However long the volume is by now: what is under way fits the set.
        (Route::Source, self.map.alive, Logical(u64::MAX))
    }
}
