// SPDX-License-Identifier: GPL-2.0
//! The invariants of DESIGN section 3 by name, so that a test-only build can
//! break one on purpose and show that the simulator catches it.

/// An invariant, or what one rests on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// One truth: the commit that ends a window retires its stash.
    I1 = 1,
    /// No truth is overwritten.
    I2,
    /// A write in the gap lands at source and target both.
    I3,
    /// Data are flushed before the commit that relies on them.
    I4,
    /// Reads never wait, and never see a window half rewritten.
    I5,
    /// What is acknowledged is kept.
    I6,
    /// The superblock slot that is written is not the last durable one.
    I7,
    /// Parity is true or known not to be.
    I8,
    /// What a parity write changes is in the journal first.
    Journal,
    /// What may write nothing reads through the journal.
    Through,
    /// A write waits until its regions are durably marked.
    Marks,
    /// A mark is cleared only when what was written under it is durable.
    Sweep,
    /// A bitmap that an earlier assembly left is not believed.
    Stale,
    /// A migration turns round when all that was under way one way has ended.
    Turn,
    /// Members that leave are wiped when the others durably do without them.
    Leave,
    /// A read of the gap sees what counts after a crash.
    Seen,
    /// A window that its target can't take is whole at the source before its stash is retired.
    Return,
    /// Who takes part in a write does so until it ends.
    Part,
}

impl Rule {
    /// All of them.
    pub const ALL: [Rule; 18] = [
        Rule::I1,
        Rule::I2,
        Rule::I3,
        Rule::I4,
        Rule::I5,
        Rule::I6,
        Rule::I7,
        Rule::I8,
        Rule::Journal,
        Rule::Through,
        Rule::Marks,
        Rule::Sweep,
        Rule::Stale,
        Rule::Turn,
        Rule::Leave,
        Rule::Seen,
        Rule::Return,
        Rule::Part,
    ];
}

/// Which rules are broken: none, but in the simulator's build with `broken-rules`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rules {
    #[cfg(feature = "broken-rules")]
    broken: Option<Rule>,
}

impl Rules {
    /// All rules but one hold.
    #[cfg(feature = "broken-rules")]
    pub fn without(rule: Rule) -> Self {
        Rules { broken: Some(rule) }
    }

    /// Whether `rule` is broken on purpose.
    #[cfg(feature = "broken-rules")]
    pub fn broken(&self, rule: Rule) -> bool {
        self.broken == Some(rule)
    }

    /// Whether `rule` is broken on purpose: never, in this build.
    #[cfg(not(feature = "broken-rules"))]
    pub fn broken(&self, _rule: Rule) -> bool {
        false
    }
}
