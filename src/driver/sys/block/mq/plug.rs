// SPDX-License-Identifier: GPL-2.0

//! Plugs: what is sent to members under one goes out together. They hide the submitter's plug,
//! which may be in the middle of being flushed, into us. *Task* and *queue* context.

use crate::sys::pb;
use kernel::types::Opaque;

/// Runs `f` under a plug of our own.
pub(in crate::sys) fn plugged<R>(f: impl FnOnce() -> R) -> R {
    let plug = Opaque::<pb::restripe_plug>::uninit();
    // SAFETY: The plug lies on this frame, and is ended before that is left.
    unsafe { pb::restripe_plug_begin(plug.get()) };
    let result = f();
    // SAFETY: It was begun above, by this task.
    unsafe { pb::restripe_plug_end(plug.get()) };
    result
}

/// Runs `f` without a plug: for one request, it would only cost.
pub(in crate::sys) fn unplugged<R>(f: impl FnOnce() -> R) -> R {
    // SAFETY: It only changes a field of the current task, which `restripe_plug_show` sets back.
    let outer = unsafe { pb::restripe_plug_hide() };
    let result = f();
    // SAFETY: `outer` is what the task had, and its frame is still there, below ours.
    unsafe { pb::restripe_plug_show(outer) };
    result
}
