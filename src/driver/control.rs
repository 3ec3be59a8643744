// SPDX-License-Identifier: GPL-2.0

//! The interface: `/sys/class/restripe/` and the files of each volume.
//!
//! A line is parsed by [`restripe_core::command`], judged by the core, carried out here. Nothing
//! that lasts runs inside a write: what was started can be read and polled. What is refused says
//! why in `last_error`, and then nothing was changed on any disk.

mod adopt;
mod assemble;
mod content;
mod create;
mod device;
mod disks;
mod events;
mod examine;
mod last_error;
mod launch;
mod node;
mod registry;

use core::fmt::Write;

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::{Acquire, Atomic, Full, Release},
        Arc, Mutex,
    },
};
use restripe_core::{
    command,
    ondisk::Uuid,
    shape::Stamp,
    text::{Refusal, Text},
};

use crate::sys::{
    random,
    sync::WaitQueue,
    sysfs::{Attr, Class, LongText, Page},
    time,
    work::Kthread,
};
use last_error::LastError;
use registry::Registry;

/// What all files, of the class and of volumes, act on.
#[pin_data]
pub(crate) struct Shared {
    #[pin]
    last_error: LastError,
    #[pin]
    registry: Mutex<Registry>,
    /// Something about some volume has changed that users may be waiting for.
    changed: Atomic<u32>,
    #[pin]
    wake: WaitQueue,
}

impl Shared {
    fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            last_error <- LastError::new(),
            registry <- new_mutex!(Registry::new()),
            changed: Atomic::new(0),
            wake <- WaitQueue::new(),
        })
    }

    /// Has those who watch volumes told of what has changed. Any context.
    fn note_change(&self) {
        self.changed.store(1, Release);
        self.wake.wake_all();
    }

    fn has_changed(&self) -> bool {
        self.changed.load(Acquire) != 0
    }

    /// Whether something has changed since the last call.
    fn take_change(&self) -> bool {
        self.changed.xchg(0, Full) != 0
    }
}

/// What the files of the class act on.
#[pin_data]
pub(crate) struct ClassNode {
    shared: Arc<Shared>,
    /// What `examine` found last.
    #[pin]
    examined: Mutex<KVec<u8>>,
}

/// The interface as long as the module is loaded. Dropped in this order.
pub(crate) struct Control {
    _class: Class<ClassNode>,
    _events: Kthread,
}

impl Control {
    pub(crate) fn new() -> Result<Self> {
        let shared = Arc::pin_init(Shared::new(), GFP_KERNEL)?;
        let events = events::start(shared.clone())?;
        let node = Arc::pin_init(
            pin_init!(ClassNode {
                shared,
                examined <- new_mutex!(KVec::new()),
            }),
            GFP_KERNEL,
        )?;
        Ok(Control {
            _class: Class::register(c"restripe", FILES, TEXTS, node)?,
            _events: events,
        })
    }
}

static FILES: &[Attr<ClassNode>] = &[
    wo(c"adopt", |node, line| {
        node.answer(line, || adopt::adopt(&node.shared, line))
    }),
    wo(c"create", |node, line| {
        node.answer(line, || create::create(&node.shared, line))
    }),
    wo(c"assemble", |node, line| {
        node.answer(line, || assemble::assemble(&node.shared, line))
    }),
    wo(c"stop", |node, line| {
        node.answer(line, || {
            registry::stop(&node.shared, command::stop(line)?.as_str())
        })
    }),
    Attr::ro(c"volumes", show_volumes),
    Attr::ro(c"last_error", |node, page| {
        node.shared.last_error.show(page)
    }),
];

/// Its fields take more than a page where there are many members.
static TEXTS: &[LongText<ClassNode>] = &[LongText::new(
    wo(c"examine", |node, line| {
        node.answer(line, || examine::examine(node, line))
    }),
    examine::read,
)];

/// A file to be written.
const fn wo(name: &'static CStr, store: Store) -> Attr<ClassNode> {
    Attr::wo(name, store).or_too_long(ClassNode::too_long)
}

type Store = fn(&ClassNode, &[u8]) -> Result;

impl ClassNode {
    fn answer(&self, line: &[u8], act: impl FnOnce() -> Result<(), Refusal>) -> Result {
        self.shared.last_error.answer(line, act)
    }

    fn too_long(&self, line: &[u8]) {
        self.shared.last_error.too_long(line);
    }
}

/// The names of the volumes, one a line.
fn show_volumes(node: &ClassNode, page: &mut Page<'_>) -> Result {
    for (name, _) in node.shared.registry.lock().running() {
        writeln!(page, "{name}")?;
    }
    Ok(())
}

/// A uuid that nothing else has.
fn new_uuid() -> Uuid {
    Uuid::from_random(random::bytes())
}

/// What the superblock of a new volume needs from outside; its name is the reservation's.
fn new_stamp() -> Stamp {
    Stamp {
        uuid: new_uuid(),
        writer: Text::from(WRITER),
        now: time::real_seconds(),
        ..Stamp::default()
    }
}

/// Who writes superblocks here.
const WRITER: &str = "restripe 0.1";
