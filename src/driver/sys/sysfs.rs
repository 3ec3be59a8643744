// SPDX-License-Identifier: GPL-2.0

//! sysfs: a [`Class`] with files, [`Kobject`]s with files under a disk or under each other, and
//! uevents. *Task* context throughout.
//!
//! Files are a static table of [`Attr`]. Every write needs `CAP_SYS_ADMIN` and is shorter than a
//! page; both are checked before a `store` is called.
//!
//! To drop a class or a kobject waits for the calls of its files that run. So never drop one from
//! one of its own files, nor under a lock that one of them waits for: they have to try the lock,
//! and say `EBUSY`.

mod attr;
mod class;
mod kobject;
mod text;

pub use attr::{Attr, Page};
pub use class::Class;
pub(in crate::sys) use kobject::uevent_change;
pub use kobject::{Kobject, Parent};
pub use text::LongText;
