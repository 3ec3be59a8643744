// SPDX-License-Identifier: GPL-2.0

//! A volume that is its one member, sector for sector, and the files to make and end it.

use crate::sys::{
    block::{
        bio::Outcome,
        member::{Access, HolderLink, Member},
        mq::{Operations, OwnedRequest, TagSet, TagSetConfig},
        Disk, Limits, Op, Status,
    },
    module::ModuleRef,
    sync::{Entered, Published},
    sysfs::{Attr, Class, Kobject, Page},
};
use core::fmt::Write;
use kernel::{
    new_mutex,
    prelude::*,
    str::CString,
    sync::{Arc, ArcBorrow, Mutex},
};

struct Map {
    member: Arc<Member>,
}

struct Shared {
    map: Published<Map>,
}

struct Data {
    map: Option<Entered<Map>>,
}

struct PassThrough;

impl Operations for PassThrough {
    type QueueData = Shared;
    type RequestData = Data;

    fn new_request_data() -> Result<Data> {
        Ok(Data { map: None })
    }

    fn queue_rq(queue: ArcBorrow<'_, Shared>, mut rq: OwnedRequest<Self>) {
        let map = queue.map.enter(rq.hw_queue());
        rq.data_mut().map = Some(map);
        rq.submit(|rq, data, io| {
            let Some(map) = &data.map else {
                return;
            };
            match rq.op() {
                Op::Flush => io.flush(&map.member, 0),
                Op::Other => io.fail(0, Status::NOTSUPP),
                _ => io.clone_request(rq, 0, rq.bytes(), &map.member, rq.sector(), 0),
            }
        });
    }

    fn io_done(mut rq: OwnedRequest<Self>, outcome: Outcome) {
        rq.data_mut().map = None;
        rq.end(outcome.status);
    }

    fn work(rq: OwnedRequest<Self>) {
        rq.end(Status::NOTSUPP);
    }
}

/// Dropped in this order.
struct Volume {
    _files: Kobject<Files>,
    _link: HolderLink,
    disk: Disk<PassThrough>,
    name: CString,
    _module: ModuleRef,
}

/// What the files of a volume show.
struct Files {
    member: Arc<Member>,
}

fn show_size(files: &Files, page: &mut Page<'_>) -> Result {
    writeln!(page, "{}", files.member.sectors() << 9)?;
    Ok(())
}

static VOLUME_FILES: &[Attr<Files>] = &[Attr::ro(c"size", show_size)];

#[pin_data]
pub(crate) struct Control {
    #[pin]
    volumes: Mutex<KVec<Volume>>,
}

fn word<'a>(line: &'a [u8], key: &str) -> Result<&'a str> {
    core::str::from_utf8(line)?
        .split_ascii_whitespace()
        .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
        .ok_or(EINVAL)
}

fn adopt(control: &Control, line: &[u8]) -> Result {
    let path = CString::try_from_fmt(fmt!("{}", word(line, "dev")?))?;
    let bytes: u64 = word(line, "size")?.parse().map_err(|_| EINVAL)?;
    let member = Arc::new(
        Member::open(&path, Access::ReadWrite).map_err(|e| e.errno())?,
        GFP_KERNEL,
    )?;
    if bytes >> 9 > member.sectors() {
        return Err(ENOSPC);
    }
    let mut volumes = control.volumes.lock();
    volumes.reserve(1, GFP_KERNEL)?;
    let name = CString::try_from_fmt(fmt!("restripe{}", volumes.len()))?;
    let module = ModuleRef::get()?;
    let tags = TagSet::new(TagSetConfig::default())?;
    let map = Map {
        member: member.clone(),
    };
    let shared = Arc::new(
        Shared {
            map: Published::new(tags.hw_queues(), map)?,
        },
        GFP_KERNEL,
    )?;
    let mut limits = Limits::new(member.logical_block_size());
    limits.max_discard_sectors = member.max_discard_sectors();
    limits.max_write_zeroes_sectors = member.max_write_zeroes_sectors();
    let disk = Disk::new(
        name.to_str()?,
        tags,
        shared,
        &limits,
        core::iter::once(&*member),
        bytes >> 9,
    )?;
    disk.add()?;
    let link = HolderLink::new(member.clone(), &disk)?;
    let files = Arc::new(Files { member }, GFP_KERNEL)?;
    let files = Kobject::new(&disk, c"restripe", VOLUME_FILES, files)?;
    disk.uevent_change(&[c"RESTRIPE=adopted"]);
    volumes.push(
        Volume {
            _files: files,
            _link: link,
            disk,
            name,
            _module: module,
        },
        GFP_KERNEL,
    )?;
    Ok(())
}

fn stop(control: &Control, line: &[u8]) -> Result {
    let name = word(line, "name")?;
    let mut volumes = control.volumes.lock();
    let at = volumes
        .iter()
        .position(|volume| volume.name.to_bytes() == name.as_bytes())
        .ok_or(ENODEV)?;
    volumes[at].disk.claim_stop()?;
    let volume = volumes.remove(at).map_err(|_| ENODEV)?;
    drop(volumes);
    drop(volume);
    Ok(())
}

fn show_volumes(control: &Control, page: &mut Page<'_>) -> Result {
    for volume in control.volumes.lock().iter() {
        page.push(volume.name.to_bytes());
        page.push(b"\n");
    }
    Ok(())
}

static CLASS_FILES: &[Attr<Control>] = &[
    Attr::wo(c"adopt", adopt),
    Attr::wo(c"stop", stop),
    Attr::ro(c"volumes", show_volumes),
];

pub(crate) fn register() -> Result<Class<Control>> {
    let control = Arc::pin_init(
        pin_init!(Control {
            volumes <- new_mutex!(KVec::new()),
        }),
        GFP_KERNEL,
    )?;
    Class::register(c"restripe", CLASS_FILES, control)
}
