// SPDX-License-Identifier: GPL-2.0
//! The memory of background work, all of it made before it begins: at most four times 16 MiB,
//! whatever the size of the volume.

use kernel::prelude::*;
use kernel::sync::{Arc, UniqueArc};
use restripe_core::engine::{JOBS, PIECE};
use restripe_core::geometry::{div_up, Sectors};
use restripe_core::layout::Layout;
use restripe_core::ondisk::Superblock;
use restripe_core::shape::common_row;

use crate::sys::mem::Buffer;
use crate::volume::{row_scratch, Window};

/// Data of a piece: the job's alone, or shared with reads of the window.
enum Data {
    Own(UniqueArc<Window>),
    Shared(Arc<Window>),
}

/// What a job works with.
#[derive(Default)]
pub(crate) struct JobMemory {
    data: Option<Data>,
    /// P, and Q where there is one, of the rows of a piece: a chunk each.
    pub(crate) parity: KVec<Window>,
    /// To check and resync rows in.
    pub(crate) scratch: Option<Buffer>,
}

/// What was made for each job and not yet fetched by it.
pub(crate) type AllMemory = [Option<JobMemory>; JOBS];

impl JobMemory {
    /// For all jobs of a volume.
    pub(crate) fn for_jobs(superblock: &Superblock) -> Result<AllMemory> {
        let mut all = AllMemory::default();
        for memory in &mut all {
            *memory = Some(JobMemory::new(superblock)?);
        }
        Ok(all)
    }

    fn new(superblock: &Superblock) -> Result<JobMemory> {
        let mut memory = JobMemory::default();
        let sets = &superblock.sets;
        if sets.iter().any(|set| set.layout.level.is_redundant()) {
            memory.scratch = Some(Buffer::new(row_scratch(sets))?);
        }
        if let Some(migration) = &superblock.migration {
            let source = &sets[usize::from(migration.source)].layout;
            let target = &sets[usize::from(migration.target)].layout;
            let row = common_row(source, target);
            let piece = PIECE.max(row).round_up(row);
            let window = Window::new(piece.bytes() as usize)?;
            memory.data = Some(Data::Own(UniqueArc::new(window, GFP_KERNEL)?));
            // Either may come to be the target: a migration can turn round.
            let parity = |layout: &Layout| {
                let rows = div_up(piece.0, layout.stripe().0);
                Sectors(rows * layout.chunk.0).bytes() as usize
            };
            let most = [source, target].into_iter().filter(|l| l.parities() > 0);
            let most = most.map(parity).max().unwrap_or(0);
            for _ in 0..source.parities().max(target.parities()) {
                memory.parity.push(Window::new(most)?, GFP_KERNEL)?;
            }
        }
        Ok(memory)
    }

    /// Lets go of what only migrations need.
    pub(crate) fn shrink(&mut self) {
        self.data = None;
        self.parity = KVec::new();
    }

    /// The piece, to write to.
    pub(crate) fn data_mut(&mut self) -> Option<&mut Window> {
        self.data = match self.data.take()? {
            Data::Shared(window) => {
                // Its readers have left, and the volume has let go of it.
                let own = Arc::into_unique_or_drop(window)?;
                Some(Data::Own(Pin::into_inner(own)))
            }
            own => Some(own),
        };
        match &mut self.data {
            Some(Data::Own(window)) => Some(window),
            _ => None,
        }
    }

    /// The piece, to read from; and room for its parity.
    pub(crate) fn piece(&mut self) -> Option<(&Window, &mut [Window])> {
        let data: &Window = match self.data.as_ref()? {
            Data::Own(window) => window,
            Data::Shared(window) => window,
        };
        Some((data, &mut self.parity))
    }

    /// The piece, to write to, and the scratch.
    pub(crate) fn piece_and_scratch(&mut self) -> Option<(&mut Window, &mut Buffer)> {
        self.data_mut()?;
        match (&mut self.data, &mut self.scratch) {
            (Some(Data::Own(data)), Some(scratch)) => Some((data, scratch)),
            _ => None,
        }
    }

    /// From now on readers have the piece too.
    pub(crate) fn share(&mut self) -> Option<Arc<Window>> {
        let shared = match self.data.take()? {
            Data::Own(window) => Arc::from(window),
            Data::Shared(window) => window,
        };
        self.data = Some(Data::Shared(shared.clone()));
        Some(shared)
    }
}
