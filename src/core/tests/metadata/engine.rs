// SPDX-License-Identifier: GPL-2.0
//! What a volume's engine refuses, and why. Its disks do at once what they are asked.

use std::cell::Cell;

use super::common::{blank, created, mib, migrating, uuid};
use restripe_core::admit::Route;
use restripe_core::bitmap::Swept;
use restripe_core::engine::{Engine, Event, Intent, Which, Who};
use restripe_core::geometry::{Logical, MemberId, MemberMask, Range, Sectors};
use restripe_core::layout::Level;
use restripe_core::ondisk::{FoundStash, MemberState, StashHeader, Superblock};
use restripe_core::shape::{self, Change, MigrationWish};
use restripe_core::text::{Errno, Refusal};

type Volume = Engine<Box<Superblock>>;

/// Ready, and as far as its `sync_max` lets it go.
fn start(mut sb: Superblock, sync_max: Option<Logical>) -> Volume {
    if let Some(migration) = &mut sb.migration {
        migration.sync_max = sync_max;
    }
    let mut volume = Engine::new(Box::new(sb), Box::default(), None, false, 0);
    volume.start();
    run_until(&mut volume, |_, _| false);
    volume
}

/// Carries out what is asked, until nothing is or something of which `stop` says so: that stays
/// unanswered.
fn run_until(volume: &mut Volume, stop: impl Fn(&Volume, &Intent) -> bool) {
    let failed = MemberMask::EMPTY;
    while let Some(intent) = volume.take() {
        if stop(volume, &intent) {
            return;
        }
        let event = match intent {
            Intent::Lock { job, .. } => Event::Locked { job },
            Intent::Replay { .. } => Event::Replayed { failed },
            Intent::LoadMarks { .. } => Event::MarksLoaded,
            Intent::WriteBitmap { .. } => Event::BitmapWritten { failed },
            Intent::Sweep { .. } => Event::Swept(Swept::default()),
            Intent::NextMarked { from } => Event::MarkedRun {
                from,
                run: Range::new(from, Logical(u64::MAX)),
            },
            Intent::Load { job, .. } | Intent::LoadStash { job, .. } => {
                Event::Loaded { job, failed }
            }
            Intent::StashData { job, .. } | Intent::StashHeader { job, .. } => {
                Event::Stashed { job, failed }
            }
            Intent::Store { job, .. } => Event::Stored { job, failed },
            Intent::Scrub { job, .. } => Event::Scrubbed { job, failed },
            Intent::Flush { who, .. } => Event::Flushed { who, failed },
            Intent::Commit { .. } => Event::Committed { failed },
            Intent::MoveHeads { .. } => Event::HeadsMoved { failed },
            Intent::Sign { .. } => Event::Signed { failed },
            Intent::Dismiss { members } => Event::Dismissed { members },
            Intent::Drain { who } => Event::Drained { who },
            Intent::Unlock { .. }
            | Intent::Marked { .. }
            | Intent::Publish
            | Intent::Settle { .. }
            | Intent::Ready
            | Intent::Resized { .. }
            | Intent::Changed => continue,
            Intent::Failed | Intent::Stopped => panic!("{intent:?}"),
        };
        volume.handle(0, event);
    }
}

/// A migration of `now` that begins.
fn begun(now: &Superblock, level: Level, added: &[u8], removed: MemberMask) -> Superblock {
    let wish = MigrationWish {
        uuid: uuid(200),
        level,
        chunk: None,
        added: &added
            .iter()
            .map(|disk| blank(*disk, mib(64)))
            .collect::<Vec<_>>(),
        removed,
    };
    let mut sb = Superblock::default();
    shape::begin_migration(now, &wish, &mut sb).expect("it can be");
    sb
}

/// Three disks with parity that are to have two parities over four.
fn raid5_to_raid6() -> Superblock {
    let now = created(Level::Raid5, 3, true);
    begun(&now, Level::Raid6, &[3], MemberMask::EMPTY)
}

fn members<const N: usize>(ids: [u8; N]) -> MemberMask {
    MemberMask(ids.iter().map(|id| 1 << id).sum())
}

#[track_caller]
fn refused(got: Result<(), Refusal>, errno: Errno, words: &[&str]) {
    let refusal = got.expect_err("it should be refused");
    assert_eq!(refusal.errno, errno, "{refusal}");
    for word in words {
        assert!(refusal.to_string().contains(word), "{refusal}: {word}?");
    }
}

/// The way back reads what was moved, and writes all over the old layout.
#[test]
fn an_abort_that_a_dead_member_prevents_is_refused() {
    let mut volume = start(migrating(Level::Raid0, 2), Some(Logical(32768)));
    let position = volume.migrate_position();
    assert!(position > Some(Logical::ZERO), "nothing was moved");
    refused(
        volume.abort(0, members([1])),
        Errno::EIO,
        &["member 1 is gone", "new layout (raid0)", "go back from"],
    );
    refused(
        volume.abort(0, members([0])),
        Errno::EIO,
        &["member 0 is gone", "old layout (linear)", "go back to"],
    );
    assert_eq!(volume.migrate_state(), "running");
    assert_eq!(volume.abort(0, MemberMask::EMPTY), Ok(()));
    assert_eq!(volume.migrate_state(), "aborting");
    // Written again before it has turned it takes the first one back, whoever is gone.
    assert_eq!(volume.abort(0, members([1])), Ok(()));
    assert_eq!(volume.migrate_state(), "running");
}

#[test]
fn an_abort_of_an_abort_names_the_other_layout() {
    let mut volume = start(migrating(Level::Raid0, 2), Some(Logical(32768)));
    assert_eq!(volume.abort(0, MemberMask::EMPTY), Ok(()));
    // It turns, and stops when it is to write there.
    run_until(&mut volume, |_, intent| {
        matches!(intent, Intent::Store { .. })
    });
    assert_eq!(volume.migrate_state(), "aborting");
    refused(
        volume.abort(0, members([1])),
        Errno::EIO,
        &["member 1 is gone", "new layout (raid0)", "go back to"],
    );
}

/// What the layouts can do without prevents nothing, nor does a disk that nothing came to yet.
#[test]
fn an_abort_bears_what_the_layouts_bear() {
    let mut volume = start(migrating(Level::Raid0, 2), Some(Logical::ZERO));
    assert_eq!(volume.migrate_position(), Some(Logical::ZERO));
    assert_eq!(volume.abort(0, members([1])), Ok(()));

    let mut volume = start(raid5_to_raid6(), Some(Logical(32768)));
    assert_ne!(volume.migrate_position(), None);
    refused(
        volume.abort(0, members([1, 2])),
        Errno::EIO,
        &["member 1 is gone", "old layout (raid5)"],
    );
    assert_eq!(volume.abort(0, members([2])), Ok(()));
}

#[test]
fn an_abort_comes_too_late() {
    let mut volume = start(migrating(Level::Raid0, 2), Some(Logical(32768)));
    volume.handle(0, Event::SyncMax(None));
    run_until(&mut volume, |volume, intent| {
        let over = volume.superblock().migration.is_none();
        over && matches!(intent, Intent::Commit { .. })
    });
    refused(
        volume.abort(0, MemberMask::EMPTY),
        Errno::EBUSY,
        &["last commit", "migrate back"],
    );
    volume.handle(
        0,
        Event::Committed {
            failed: MemberMask::EMPTY,
        },
    );
    run_until(&mut volume, |_, _| false);
    assert_eq!(volume.migrate_state(), "none");
    refused(
        volume.abort(0, MemberMask::EMPTY),
        Errno::ENODATA,
        &["no migration", "migrate back"],
    );
}

/// Disks whose migration to another level was cut in its first window, after which a disk was lost;
/// and the stash of that window.
fn cut_in_a_window(level: Level, disks: u8, to: Level, added: &[u8]) -> (Superblock, StashHeader) {
    let mut sb = begun(&created(level, disks, true), to, added, MemberMask::EMPTY);
    sb.members[1].state = MemberState::Missing;
    let stash = StashHeader {
        migration: uuid(200),
        number: 1,
        range: Range::new(Logical::ZERO, Logical(768)),
        ..StashHeader::default()
    };
    (sb, stash)
}

/// A volume that was found with that stash on those members, before it begins.
fn found(sb: Superblock, header: StashHeader, on: MemberMask) -> Volume {
    let members = on;
    let stash = Some(FoundStash { header, members });
    Engine::new(Box::new(sb), Box::default(), stash, false, 0)
}

/// A window that was found is the source's again, where its target is lost.
#[test]
fn a_window_that_was_found_goes_back_to_the_source() {
    let (sb, stash) = cut_in_a_window(Level::Raid5, 3, Level::Raid0, &[]);
    let mut volume = found(sb, stash, members([0]));
    volume.start();
    let stored = Cell::new(None);
    run_until(&mut volume, |_, intent| {
        if let Intent::Store { which, range, .. } = intent {
            stored.set(Some((*which, *range)));
        }
        false
    });
    assert_eq!(stored.get(), Some((Which::Source, stash.range)));
    is_left_at_source(&volume, members([1]));
    let retired = volume.superblock().migration.map(|m| m.retired_stash);
    assert_eq!(
        (retired, volume.cursor().window),
        (Some(stash.number), None)
    );
}

/// A window was found, and before its stash is on all members that are to have it one fails that only
/// the source bears: it goes back if another holds the stash, for else a cut would lose it.
#[test]
fn a_stash_that_was_found_is_as_good_as_who_holds_it() {
    let steps = [
        |intent: &Intent| matches!(intent, Intent::StashData { .. }),
        |intent: &Intent| matches!(intent, Intent::StashHeader { .. }),
    ];
    for (step, holder) in steps.iter().flat_map(|step| [(step, 0), (step, 1)]) {
        let (mut sb, stash) = cut_in_a_window(Level::Raid1, 2, Level::Raid0, &[]);
        sb.members[1].state = MemberState::InSync;
        let mut volume = found(sb, stash, members([holder]));
        volume.start();
        run_until(&mut volume, |_, intent| step(intent));
        let failed = members([1]);
        volume.handle(0, Event::Stashed { job: 0, failed });
        run_until(&mut volume, |_, _| false);
        if holder == 0 {
            is_left_at_source(&volume, failed);
            assert_eq!(volume.cursor().window, None);
        } else {
            assert!(volume.map().alive.has(MemberId(1)) && volume.blocked().is_some());
            assert_eq!(volume.cursor().window, Some(stash.range));
        }
    }
}

/// A mirror whose window can't go back, and waits: a member that both layouts can't do without failed
/// under it. The rebuild of the one that was lost has left the window out, and is at the piece after it.
fn waits_for_a_rebuild(to: Level, added: &[u8]) -> (Volume, StashHeader) {
    let (sb, stash) = cut_in_a_window(Level::Raid1, 2, to, added);
    let mut volume = found(sb, stash, members([0]));
    volume.start();
    run_until(&mut volume, |_, intent| {
        matches!(intent, Intent::Store { .. })
    });
    let failed = members([0]);
    volume.handle(0, Event::Stored { job: 0, failed });
    run_until(&mut volume, |_, _| false);
    assert!(volume.blocked().is_some());
    let change = shape::change_for(volume.superblock(), &blank(3, mib(64)), Some(MemberId(1)));
    let change = change.expect("it has room");
    assert_eq!(volume.change_members(0, &change), Ok(()));
    (volume, stash)
}

/// A window that can't go back waits for the target to be whole, and a rebuild leaves it out. So what
/// lay in its place when it was stashed does not on the member that was replaced.
#[test]
fn a_window_that_waited_for_a_rebuild_is_written_whole() {
    let (mut volume, stash) = waits_for_a_rebuild(Level::Raid0, &[]);
    run_until(
        &mut volume,
        |_, intent| matches!(intent, Intent::Scrub { range, .. } if range.overlaps(&stash.range)),
    );
    let stored = Cell::new(None);
    // All is rebuilt but the window, and is committed in its time.
    volume.handle(20_000, Event::Tick);
    run_until(&mut volume, |volume, intent| match intent {
        Intent::Store { range, whole, .. } => {
            assert_eq!(volume.map().alive, members([0, 2]));
            stored.set(Some((*range, *whole)));
            true
        }
        _ => false,
    });
    assert_eq!(stored.get(), Some((stash.range, true)));
}

/// The rebuild has gone past a window that waits when it is blocked too, and the window goes on
/// without the member that is being rebuilt.
#[test]
fn a_rebuild_goes_back_to_a_window_that_does_not_wait_for_it() {
    let ends = [
        (Level::Raid0, &[][..], Which::Source),
        (Level::Raid10 { copies: 2 }, &[2], Which::Target),
    ];
    for (to, added, holder) in ends {
        let (mut volume, stash) = waits_for_a_rebuild(to, added);
        let new = volume.map().rebuilding;
        let asked = Cell::new(None);
        run_until(&mut volume, |volume, intent| match intent {
            Intent::Scrub { job, .. } if volume.cursor().recovered > stash.range.end => {
                asked.set(Some(*job));
                true
            }
            _ => false,
        });
        let (job, failed) = (asked.get().expect("it goes past it"), members([0]));
        volume.handle(0, Event::Scrubbed { job, failed });
        assert!(volume.recover_blocked().is_some());
        let stored = Cell::new(None);
        volume.handle(0, Event::Resume);
        run_until(&mut volume, |volume, intent| {
            if let Intent::Store { which, range, .. } = intent {
                assert_eq!(volume.map().alive & new, MemberMask::EMPTY);
                stored.set(stored.get().or(Some((*which, *range))));
            }
            let (cursor, sb) = (volume.cursor(), volume.superblock());
            let (alive, _) = volume.map().alive_at(&cursor, stash.range.start);
            assert!(cursor.window.is_some() || (alive & new).is_empty());
            let retired = sb
                .migration
                .is_some_and(|m| m.retired_stash == stash.number);
            assert!(!retired || sb.recovered() <= stash.range.start);
            false
        });
        assert_eq!(stored.get(), Some((holder, stash.range)));
        assert_eq!(volume.cursor().window, None);
    }
}

/// A rebuild that left a window out, and was cut, has not made it when the window is rewritten
/// without the member that is being rebuilt.
#[test]
fn a_rebuild_goes_back_to_a_window_that_was_found() {
    let (mut sb, stash) = cut_in_a_window(Level::Raid5, 3, Level::Raid0, &[]);
    sb.members[1].state = MemberState::Rebuilding;
    sb.members[1].recovery = Logical(8192);
    let volume = found(sb, stash, members([0]));
    assert_eq!(volume.cursor().recovered, stash.range.start);
    assert_eq!(volume.superblock().recovered(), stash.range.start);
}

/// What a migration brings is synced in the background, and meanwhile a member is lost.
#[test]
fn new_capacity_bears_a_member_that_is_lost_before_it_is_synced() {
    for (level, disks) in [(Level::Raid5, 3), (Level::Raid6, 4)] {
        let mut volume = start(migrating(level, disks), Some(Logical::ZERO));
        volume.handle(0, Event::SyncMax(None));
        run_until(&mut volume, |_, intent| {
            matches!(intent, Intent::Scrub { .. })
        });
        let set = volume.map().source;
        assert!(Logical::ZERO < set.resync && set.resync.0 < volume.map().size.0);
        let members = members([1]);
        volume.handle(0, Event::Faulted { members });
        run_until(&mut volume, |_, intent| {
            assert_ne!(
                *intent,
                Intent::Settle {
                    retry: MemberMask::EMPTY
                }
            );
            false
        });
        assert!(!volume.map().alive.has(MemberId(1)));
        let set = volume.map().source;
        let end = Logical(volume.map().size.0);
        assert!(set.is_rebuildable(Range::new(Logical::ZERO, end)));
        assert!(!set.is_synced(Range::new(Logical::ZERO, end)));
    }
}

/// One disk that is to be parity over three others.
fn to_other_disks() -> Superblock {
    let now = created(Level::Linear, 1, true);
    begun(&now, Level::Raid5, &[1, 2, 3], members([0]))
}

fn fault(volume: &mut Volume, member: u8) {
    let members = members([member]);
    volume.handle(0, Event::Faulted { members });
}

/// Short of a member of its target, which takes piece by piece then, and about to begin.
fn before_a_piece_alone() -> Volume {
    let mut volume = start(to_other_disks(), Some(Logical::ZERO));
    fault(&mut volume, 1);
    run_until(&mut volume, |_, _| false);
    volume.handle(0, Event::SyncMax(None));
    volume
}

fn note_unlock(unlocked: &Cell<bool>, intent: &Intent) {
    unlocked.set(unlocked.get() || matches!(intent, Intent::Unlock { .. }));
}

/// The migration waits, and all is where it was.
#[track_caller]
fn is_left_at_source(volume: &Volume, lost: MemberMask) {
    assert!((volume.map().alive & lost).is_empty());
    assert_eq!(volume.migrate_state(), "blocked");
    let moved = volume.superblock().migration.expect("it is not over");
    assert_eq!(moved.cursor, Logical::ZERO);
    let (route, _) = volume.map().route_read(&volume.cursor(), Logical::ZERO);
    assert_eq!(route, Route::Source);
}

/// A piece lies at a target short of one member, and before that is the truth a second one fails,
/// which only the source bears.
#[test]
fn a_piece_alone_stays_at_the_source_when_its_target_is_lost() {
    // When it is stored, and when the superblock that says so is being written.
    for late in [false, true] {
        let mut volume = before_a_piece_alone();
        run_until(&mut volume, |_, intent| {
            matches!(intent, Intent::Store { .. })
        });
        let failed = MemberMask::EMPTY;
        volume.handle(0, Event::Stored { job: 0, failed });
        if late {
            run_until(&mut volume, |_, intent| {
                matches!(intent, Intent::Commit { .. })
            });
            assert!(volume
                .superblock()
                .migration
                .is_some_and(|m| m.cursor > Logical::ZERO));
        }
        fault(&mut volume, 2);
        if late {
            volume.handle(0, Event::Committed { failed });
        }
        run_until(&mut volume, |_, _| false);
        is_left_at_source(&volume, members([1, 2]));
    }
}

/// A mirror that becomes a raid0 of the same disks, its first window, and the answer to what it is at:
/// its readers leave the source, it is stored, and the two parts of the commit that would make it the
/// truth.
fn in_first_window(late: u8) -> (Volume, Range, Event) {
    let is_ours = |intent: &Intent| match intent {
        Intent::Drain { who } => *who == Who::Job(0),
        Intent::Store { which, .. } => *which == Which::Target,
        _ => false,
    };
    let now = created(Level::Raid1, 2, true);
    let sb = begun(&now, Level::Raid0, &[], MemberMask::EMPTY);
    let mut volume = Engine::new(Box::new(sb), Box::default(), None, false, 0);
    volume.start();
    let failed = MemberMask::EMPTY;
    run_until(&mut volume, |_, intent| is_ours(intent));
    let mut event = Event::Drained { who: Who::Job(0) };
    if late > 0 {
        volume.handle(0, event);
        run_until(&mut volume, |_, intent| is_ours(intent));
        event = Event::Stored { job: 0, failed };
    }
    if late > 1 {
        volume.handle(0, event);
        run_until(&mut volume, |_, intent| {
            matches!(intent, Intent::Flush { .. })
        });
        let who = Who::Control;
        event = Event::Flushed { who, failed };
    }
    if late > 2 {
        volume.handle(0, event);
        run_until(&mut volume, |_, intent| {
            matches!(intent, Intent::Commit { .. })
        });
        event = Event::Committed { failed };
    }
    let window = volume.cursor().window.expect("it is being rewritten");
    (volume, window, event)
}

/// A member fails that only the mirror bears: it has the window again, and nobody waits for another
/// member.
#[test]
fn a_window_goes_back_to_the_source_when_its_target_is_lost() {
    for late in 0..4 {
        let (mut volume, window, event) = in_first_window(late);
        fault(&mut volume, 1);
        volume.handle(0, event);
        let (stored, unlocked) = (Cell::new(false), Cell::new(false));
        run_until(&mut volume, |volume, intent| {
            match intent {
                Intent::Store { which, range, .. } => {
                    assert_eq!((*which, *range), (Which::Source, window));
                    stored.set(true);
                }
                Intent::Commit { .. } => {
                    let migration = volume.superblock().migration;
                    let retired = migration.is_some_and(|m| m.retired_stash > 0);
                    assert!(stored.get() || !retired, "the stash is all there is");
                }
                Intent::Unlock { .. } => {
                    assert!(stored.get() && volume.cursor().window.is_none());
                }
                _ => {}
            }
            note_unlock(&unlocked, intent);
            false
        });
        assert!(unlocked.get(), "its range is never free");
        is_left_at_source(&volume, members([1]));
        // And with that it can go back for good.
        assert_eq!(volume.abort(0, members([1])), Ok(()));
        run_until(&mut volume, |_, _| false);
        is_mirror_again(&volume);
    }
}

fn is_mirror_again(volume: &Volume) {
    assert_eq!(volume.migrate_state(), "none");
    assert_eq!(volume.map().source.layout.level, Level::Raid1);
}

/// The user wants to go back before the window has: nothing blocks that.
#[test]
fn an_abort_waits_for_a_window_that_goes_back() {
    for late in 0..4 {
        let (mut volume, _, event) = in_first_window(late);
        assert_eq!(volume.abort(0, members([1])), Ok(()));
        fault(&mut volume, 1);
        volume.handle(0, event);
        run_until(&mut volume, |_, _| false);
        is_mirror_again(&volume);
    }
}

/// Both members fail while the superblock is written that makes the window the target's, and one of
/// them can be done without: what is written then does not count the window.
#[test]
fn a_window_that_is_taken_back_is_not_counted_when_the_source_fails_too() {
    let (mut volume, window, event) = in_first_window(3);
    let cursor = |volume: &Volume| volume.superblock().migration.map(|m| m.cursor);
    assert_eq!(cursor(&volume), Some(window.end));
    fault(&mut volume, 1);
    fault(&mut volume, 0);
    volume.handle(0, event);
    let again = Cell::new(None);
    run_until(&mut volume, |volume, intent| {
        again.set(cursor(volume));
        matches!(intent, Intent::Commit { .. })
    });
    assert_eq!(again.get(), Some(window.start));
    let retired = volume.superblock().migration.map(|m| m.retired_stash);
    assert_eq!(retired, Some(0));
}

/// A commit makes the target the truth of what was copied. A write that reaches the source by then, and
/// the target not yet, would leave parity there untrue, or take back what was read at the source.
#[test]
fn no_write_of_the_gap_begins_while_a_commit_takes_it_over() {
    for (from, disks, to, added, waits) in [
        (Level::Linear, 1, Level::Raid0, 1, false),
        (Level::Linear, 1, Level::Raid5, 2, true),
        (Level::Raid1, 2, Level::Raid1, 1, true),
        (
            Level::Raid10 { copies: 2 },
            2,
            Level::Raid10 { copies: 3 },
            1,
            true,
        ),
    ] {
        let now = created(from, disks, true);
        let added: Vec<u8> = (disks..disks + added).collect();
        let mut volume = start(
            begun(&now, to, &added, MemberMask::EMPTY),
            Some(Logical::ZERO),
        );
        volume.handle(0, Event::SyncMax(Some(Logical(32768))));
        run_until(&mut volume, |volume, intent| {
            matches!(intent, Intent::Drain { .. }) && !volume.cursor().gap().is_empty()
        });
        assert!(!volume.cursor().gap().is_empty(), "{from:?} to {to:?}");
        assert_eq!(volume.map().gap_waits, waits, "{from:?} to {to:?}");
    }
}

/// What an unclean stop leaves of a target that holds nothing yet is made anew all the same.
#[test]
fn a_target_that_held_nothing_is_true_as_far_as_it_is_made() {
    for (level, from, target, to) in [
        (Level::Linear, 1, Level::Raid5, 3),
        (Level::Raid0, 4, Level::Raid1, 2),
    ] {
        let mut now = created(level, from, true);
        shape::resize(&mut now, 32 << 20).expect("it can shrink");
        let added: Vec<u8> = (from..to).collect();
        let removed = MemberMask((to.min(from)..from).map(|id| 1 << id).sum());
        let mut sb = begun(&now, target, &added, removed);
        let migration = sb.migration.expect("it begins");
        assert_eq!(migration.descending, from > to);
        sb.sets[usize::from(migration.target)].resync = Logical::ZERO;
        let mut volume = start(sb, Some(Logical::ZERO));
        volume.handle(0, Event::SyncMax(Some(Logical(32768))));
        run_until(&mut volume, |volume, intent| {
            let moved = volume.superblock().migration.expect("it runs");
            matches!(intent, Intent::Commit { .. }) && moved.cursor == Logical(32768)
        });
        let true_to = volume.superblock().sets[usize::from(migration.target)].resync;
        let settled = if from > to { 65536 } else { 32768 };
        assert!(true_to >= Logical(settled), "{true_to:?}, {from} to {to}");
    }
}

/// The piece waits for its superblock behind another, which takes note of the second member and lets
/// go of the first: readers of that are still to end when the migration is blocked.
#[test]
fn a_piece_alone_gives_its_range_back_when_the_migration_is_blocked() {
    let mut volume = before_a_piece_alone();
    run_until(&mut volume, |_, intent| {
        matches!(intent, Intent::Store { .. })
    });
    let new = blank(4, mib(64));
    let change = shape::change_for(volume.superblock(), &new, Some(MemberId(1)));
    let change = change.expect("it can be replaced");
    assert_eq!(volume.change_members(0, &change), Ok(()));
    run_until(&mut volume, |_, intent| {
        matches!(intent, Intent::Flush { .. })
    });
    let failed = MemberMask::EMPTY;
    volume.handle(0, Event::Stored { job: 0, failed });
    let (who, failed) = (Who::Control, members([2]));
    volume.handle(0, Event::Flushed { who, failed });
    let unlocked = Cell::new(false);
    run_until(&mut volume, |_, intent| {
        note_unlock(&unlocked, intent);
        false
    });
    assert!(unlocked.get(), "its range is never free");
    // And with the new one it goes on to the end.
    assert_eq!(volume.migrate_state(), "none");
}

/// A superblock that counts a piece may be durable. Before one is that takes it back nobody may
/// write to the source alone.
#[test]
fn a_piece_is_taken_back_before_its_range_is() {
    let mut volume = before_a_piece_alone();
    let failed = MemberMask::EMPTY;
    run_until(&mut volume, |volume, intent| {
        let moved = volume.superblock().migration.map(|m| m.cursor);
        matches!(intent, Intent::Commit { .. }) && moved > Some(Logical::ZERO)
    });
    fault(&mut volume, 2);
    volume.handle(0, Event::Committed { failed });
    let unlocked = Cell::new(false);
    run_until(&mut volume, |_, intent| {
        note_unlock(&unlocked, intent);
        matches!(intent, Intent::Commit { .. })
    });
    assert!(!unlocked.get(), "its range is free too early");
    volume.handle(0, Event::Committed { failed });
    run_until(&mut volume, |_, intent| {
        note_unlock(&unlocked, intent);
        false
    });
    assert!(unlocked.get(), "its range is never free");
    is_left_at_source(&volume, members([1, 2]));
}

/// All of it is in its place already, so nothing was committed on the way, when a member fails that
/// the source can do without and the target can't.
#[test]
fn the_last_step_has_nothing_that_only_the_source_bears() {
    let now = created(Level::Raid1, 2, true);
    let sb = begun(&now, Level::Linear, &[], MemberMask::EMPTY);
    let mut volume = Engine::new(Box::new(sb), Box::default(), None, false, 0);
    volume.start();
    run_until(&mut volume, |volume, intent| {
        matches!(intent, Intent::Commit { .. }) && volume.superblock().migration.is_none()
    });
    assert_eq!(volume.cursor().durable, volume.cursor().copied);
    volume.handle(
        0,
        Event::Faulted {
            members: members([0]),
        },
    );
    volume.handle(
        0,
        Event::Committed {
            failed: MemberMask::EMPTY,
        },
    );
    run_until(&mut volume, |_, _| false);
    let map = volume.map();
    assert_eq!(map.source.layout.level, Level::Linear);
    assert!(
        map.source.survives(map.alive),
        "a member was let go of that held all"
    );
}

/// Between the plan of a migration and its start an error comes that no redundancy bears.
#[test]
fn a_migration_does_not_make_trusted_what_is_not_any_more() {
    let mut sb = created(Level::Raid5, 3, true);
    sb.members[0].state = MemberState::Faulty;
    let mut volume = start(sb, None);
    let next = begun(volume.superblock(), Level::Raid6, &[3], MemberMask::EMPTY);
    volume.handle(0, Event::WantActive);
    run_until(&mut volume, |_, _| false);
    volume.handle(
        0,
        Event::Faulted {
            members: members([1]),
        },
    );
    run_until(&mut volume, |_, _| false);
    let held = Range::new(Logical::ZERO, Logical(volume.map().size.0));
    assert!(!volume.map().source.is_rebuildable(held));
    volume.migrate(0, &next).expect("it can be");
    run_until(&mut volume, |volume, _| volume.map().target.is_some());
    assert!(volume.map().target.is_some());
    assert!(!volume.map().source.is_rebuildable(held));
}

/// Synced anew after a cut while it was smaller, then short of a member, then grown.
#[test]
fn what_a_volume_grows_by_is_rebuilt_too() {
    let mut sb = created(Level::Raid5, 3, false);
    sb.volume_sectors = mib(16);
    sb.ranges[0].end = Logical(mib(16).0);
    let set = &mut sb.sets[0];
    let synced = Logical(mib(16).0).round_up(set.layout.stripe());
    (set.is_fresh, set.resync) = (false, synced);
    sb.members[0].state = MemberState::Faulty;
    let mut volume = start(sb, None);
    volume.resize(0, mib(64).bytes()).expect("there is room");
    run_until(&mut volume, |_, _| false);
    let new = blank(4, mib(64));
    let change = shape::change_for(volume.superblock(), &new, Some(MemberId(0)));
    volume
        .change_members(0, &change.expect("it can be"))
        .expect("it can be");
    run_until(&mut volume, |_, _| false);
    assert_eq!(volume.superblock().rebuilding(), MemberMask::EMPTY);
    assert_eq!(volume.map().source.missing(volume.map().alive), 0);
}

/// A superblock that has the target hold a piece is being written when a member fails without
/// which the target is lost.
#[test]
fn a_piece_stays_at_the_source_when_its_target_is_lost() {
    let mut volume = Engine::new(
        Box::new(migrating(Level::Raid0, 2)),
        Box::default(),
        None,
        false,
        0,
    );
    volume.start();
    run_until(&mut volume, |volume, intent| {
        let moved = volume
            .superblock()
            .migration
            .is_some_and(|m| m.cursor > Logical::ZERO);
        matches!(intent, Intent::Commit { .. }) && moved
    });
    volume.handle(
        0,
        Event::Faulted {
            members: members([1]),
        },
    );
    let failed = MemberMask::EMPTY;
    volume.handle(0, Event::Committed { failed });
    run_until(&mut volume, |_, _| false);
    is_left_at_source(&volume, members([1]));
}

/// What a blocked rebuild has made so far is of rows that move when the migration goes on without
/// it, to places that it has not made.
#[test]
fn a_migration_that_goes_on_without_a_rebuild_makes_nothing_of_it() {
    let mut volume = start(raid5_to_raid6(), Some(Logical::ZERO));
    assert_eq!(volume.fail_member(0, MemberId(0)), Ok(()));
    run_until(&mut volume, |_, _| false);
    let change = shape::change_for(volume.superblock(), &blank(4, mib(64)), Some(MemberId(0)));
    let change = change.expect("it has room");
    assert_eq!(volume.change_members(0, &change), Ok(()));
    let asked = Cell::new(0);
    run_until(&mut volume, |volume, intent| match intent {
        Intent::Scrub { job, .. } => {
            asked.set(*job);
            volume.cursor().recovered > Logical(8192)
        }
        _ => false,
    });
    // Further on member 1 can't be read.
    let (job, failed) = (asked.get(), members([1]));
    volume.handle(0, Event::Scrubbed { job, failed });
    volume.handle(0, Event::SyncMax(None));
    assert!(volume.recover_blocked().is_some());
    run_until(&mut volume, |volume, _| {
        let (map, cursor) = (volume.map(), volume.cursor());
        let moved = cursor.moved(Logical(map.size.0));
        let (alive, _) = map.alive_at(&cursor, moved.start);
        assert!(moved.is_empty() || !alive.has(MemberId(4)), "{cursor:?}");
        false
    });
    assert_eq!(volume.migrate_state(), "none");
    // And when it is tried again, all of it is made.
    volume.handle(0, Event::Idle);
    assert_eq!(volume.cursor().recovered, Logical::ZERO);
    run_until(&mut volume, |_, _| false);
    assert!(volume.superblock().in_sync().has(MemberId(4)));
}

/// A member's place in the table is free for another when it has been seen off: what is done about
/// the one until then, by its number, would be done to the other.
#[test]
fn nobody_comes_in_the_place_of_one_that_is_being_seen_off() {
    let mut volume = start(created(Level::Raid5, 3, true), None);
    let id = MemberId(3);
    let add = |volume: &Volume| {
        let change = shape::change_for(volume.superblock(), &blank(4, mib(64)), None);
        let change = change.expect("there is room");
        assert!(matches!(change, Change::Add { id: free, .. } if free == id));
        change
    };
    let come = add(&volume);
    assert_eq!(volume.change_members(0, &come), Ok(()));
    run_until(&mut volume, |_, _| false);
    assert_eq!(volume.change_members(0, &Change::Remove { id }), Ok(()));
    let is_out = |volume: &Volume| {
        volume.superblock().members.len() <= 3 || !volume.superblock().members[3].is_used()
    };
    run_until(&mut volume, |volume, intent| {
        is_out(volume) && matches!(intent, Intent::Commit { .. })
    });
    let come = add(&volume);
    let grown = |volume: &Volume| {
        let mut next = Superblock::default();
        let wish = MigrationWish {
            uuid: uuid(200),
            level: Level::Raid5,
            chunk: None,
            added: &[blank(4, mib(64))],
            removed: MemberMask::EMPTY,
        };
        shape::begin_migration(volume.superblock(), &wish, &mut next).expect("it can be");
        next
    };
    let refuses = |volume: &mut Volume| {
        let next = grown(volume);
        refused(volume.change_members(0, &come), Errno::EBUSY, &["again"]);
        refused(volume.migrate(0, &next), Errno::EBUSY, &["again"]);
    };
    refuses(&mut volume);
    let failed = MemberMask::EMPTY;
    volume.handle(0, Event::Committed { failed });
    run_until(&mut volume, |_, intent| {
        matches!(intent, Intent::Dismiss { .. })
    });
    refuses(&mut volume);
    let members = MemberMask::of(id);
    volume.handle(0, Event::Dismissed { members });
    run_until(&mut volume, |_, _| false);
    assert_eq!(volume.change_members(0, &come), Ok(()));
}

/// The superblock that would retire a window can't be made durable any more. Nothing waits for it.
#[test]
fn a_volume_that_failed_can_be_stopped() {
    // With other chunks on the same disks all of it goes through the stash.
    let wish = MigrationWish {
        uuid: uuid(200),
        level: Level::Raid0,
        chunk: Some(Sectors(64)),
        added: &[],
        removed: MemberMask::EMPTY,
    };
    let mut sb = Superblock::default();
    shape::begin_migration(&created(Level::Raid0, 2, true), &wish, &mut sb).expect("it can be");
    let mut volume = start(sb, Some(Logical::ZERO));
    volume.handle(0, Event::SyncMax(None));
    run_until(&mut volume, |volume, intent| {
        volume.cursor().window.is_some() && matches!(intent, Intent::Commit { .. })
    });
    assert!(volume.cursor().window.is_some(), "no window was needed");
    let failed = members([0]);
    volume.handle(0, Event::Committed { failed });
    run_until(&mut volume, |_, intent| matches!(intent, Intent::Failed));
    assert_eq!(volume.array_state(), "failed");
    volume.handle(0, Event::Stop);
    run_until(&mut volume, |_, intent| matches!(intent, Intent::Stopped));
    assert!(volume.is_stopped(), "it waits for what will never come");
}

/// A window was found, and its stash can't be read any more, or the first superblock can't be written.
#[test]
fn a_volume_that_fails_before_it_is_ready_can_be_stopped() {
    let failed = members([0]);
    let steps = [
        (
            (|intent| matches!(intent, Intent::LoadStash { .. })) as fn(&Intent) -> bool,
            Event::Loaded { job: 0, failed },
        ),
        (
            |intent| matches!(intent, Intent::Commit { .. }),
            Event::Committed { failed },
        ),
    ];
    for (step, event) in steps {
        let (sb, stash) = cut_in_a_window(Level::Raid5, 3, Level::Raid0, &[]);
        let mut volume = found(sb, stash, failed);
        volume.start();
        run_until(&mut volume, |_, intent| step(intent));
        volume.handle(0, event);
        run_until(&mut volume, |_, intent| matches!(intent, Intent::Failed));
        volume.handle(0, Event::Stop);
        run_until(&mut volume, |_, intent| matches!(intent, Intent::Stopped));
        assert!(volume.is_stopped(), "it waits for what will never come");
    }
}

/// A member that nobody can do without takes superblocks and no flush: at rest, journaled because
/// another is gone, or while another is rebuilt.
#[test]
fn a_volume_that_takes_no_flush_can_be_stopped() {
    for (level, disks, other) in [
        (Level::Raid0, 2, MemberState::InSync),
        (Level::Raid5, 3, MemberState::Faulty),
        (Level::Raid1, 2, MemberState::Rebuilding),
    ] {
        let mut sb = created(level, disks, true);
        sb.members[1].state = other;
        let mut volume = Engine::new(Box::new(sb), Box::default(), None, false, 0);
        volume.start();
        let (pieces, asked) = (Cell::new(0), Cell::new(None));
        run_until(&mut volume, |_, intent| match intent {
            Intent::Scrub { job, .. } => {
                pieces.set(pieces.get() + 1);
                asked.set(Some(*job).filter(|_| pieces.get() == 3));
                asked.get().is_some()
            }
            _ => false,
        });
        if let Some(job) = asked.get() {
            let failed = MemberMask::EMPTY;
            volume.handle(0, Event::Scrubbed { job, failed });
        }
        volume.handle(0, Event::WantActive);
        volume.handle(0, Event::Stop);
        for _ in 0..20 {
            let flush = Cell::new(None);
            run_until(&mut volume, |_, intent| match intent {
                Intent::Flush { who, .. } => {
                    flush.set(Some(*who));
                    true
                }
                intent => matches!(intent, Intent::Stopped),
            });
            let Some(who) = flush.get() else { break };
            let failed = members([0]);
            volume.handle(0, Event::Flushed { who, failed });
        }
        assert!(volume.is_stopped(), "{level:?}: it flushes for ever");
        assert!(!volume.superblock().clean);
    }
}

/// A source without redundancy that can't be read in one place: it waits, and nobody is said to
/// have failed.
#[test]
fn what_nothing_else_tells_blocks_a_migration() {
    let mut volume = start(migrating(Level::Raid0, 2), Some(Logical::ZERO));
    volume.handle(0, Event::SyncMax(None));
    for _ in 0..2 {
        run_until(&mut volume, |_, intent| {
            matches!(intent, Intent::Load { .. })
        });
        let (job, at) = (0, Logical(40));
        let members = members([0]);
        volume.handle(0, Event::Unreadable { job, members, at });
        // Other pieces under way end for nothing.
        run_until(&mut volume, |_, _| false);
        assert_eq!(volume.migrate_state(), "blocked");
        assert_eq!(volume.migrate_position(), Some(Logical::ZERO));
        let why = volume.blocked().expect("it says why");
        assert!(
            why.contains("member 0") && why.contains("sector 40"),
            "{why}"
        );
        assert!(volume.faulty().is_empty());
        volume.handle(0, Event::Resume);
    }
    run_until(&mut volume, |_, _| false);
    assert_eq!(volume.migrate_state(), "none");
}
