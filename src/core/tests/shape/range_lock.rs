// SPDX-License-Identifier: GPL-2.0
//! The range lock against a model that knows who holds what.

use proptest::prelude::*;
use restripe_core::range_lock::RangeLock;

#[test]
fn who_waits_is_before_who_comes_later() {
    let mut lock = RangeLock::<8>::new();
    assert!(lock.lock(0, 10, 1));
    assert!(!lock.lock(5, 20, 2));
    // Free, but the one before it would starve.
    assert!(!lock.lock(15, 16, 3));
    assert!(lock.lock(20, 30, 4));
    let mut granted = Vec::new();
    lock.unlock(1, |owner| granted.push(owner));
    assert_eq!(granted, [2]);
    lock.unlock(2, |owner| granted.push(owner));
    assert_eq!(granted, [2, 3]);
}

proptest! {
    /// Nobody shares a sector, everybody has a turn, and those who overlap have it in order.
    #[test]
    fn one_holder_a_sector(asks in prop::collection::vec((0u64..40, 1u64..10, any::<bool>()), 1..24)) {
        let mut lock = RangeLock::<32>::new();
        let mut held: Vec<usize> = Vec::new();
        let mut turns: Vec<usize> = Vec::new();
        let range = |i: usize| (asks[i].0, asks[i].0 + asks[i].1);
        let overlap = |a: usize, b: usize| range(a).0 < range(b).1 && range(b).0 < range(a).1;
        let release = |lock: &mut RangeLock<32>, held: &mut Vec<usize>, turns: &mut Vec<usize>| {
            let gone = held.remove(0);
            lock.unlock(gone as u64, |owner| {
                held.push(owner as usize);
                turns.push(owner as usize);
            });
        };
        for (i, ask) in asks.iter().enumerate() {
            if lock.lock(range(i).0, range(i).1, i as u64) {
                held.push(i);
                turns.push(i);
            }
            if ask.2 && !held.is_empty() {
                release(&mut lock, &mut held, &mut turns);
            }
            for (n, a) in held.iter().enumerate() {
                prop_assert!(held[n + 1..].iter().all(|b| !overlap(*a, *b)));
            }
        }
        while !held.is_empty() {
            release(&mut lock, &mut held, &mut turns);
        }
        prop_assert_eq!(turns.len(), asks.len());
        for (n, a) in turns.iter().enumerate() {
            prop_assert!(turns[n + 1..].iter().all(|b| a < b || !overlap(*a, *b)));
        }
    }
}
