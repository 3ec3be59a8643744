//! Listens to the kernel's uevents, as udev does.

use std::os::fd::OwnedFd;

use anyhow::{Context, Result};
use qemu_tests::wire::{JobId, LISTENING, Reply};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};

use crate::{Outcome, Stop, port::Port};

/// The group to which the kernel itself sends them.
const FROM_KERNEL: u32 = 1;

/// Longest time until a stop is seen.
const LOOK_EVERY: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};

/// Reports each event as its lines: `ACTION@DEVPATH`, then `KEY=value`.
pub fn listen(job: JobId, port: &Port, stop: &Stop) -> Outcome {
    let socket = open()?;
    let say = |text: String| port.send(&Reply::Value { job, text });
    say(LISTENING.to_owned())?;
    let mut buffer = [0; 8192];
    while !stop.asked() {
        if poll(
            &mut [PollFd::new(&socket, PollFlags::IN)],
            Some(&LOOK_EVERY),
        )? == 0
        {
            continue;
        }
        let (bytes, _) =
            recv(&socket, &mut buffer[..], RecvFlags::empty()).context("receive an event")?;
        let text = String::from_utf8_lossy(&buffer[..bytes]);
        say(text.trim_end_matches('\0').replace('\0', "\n"))?;
    }
    Ok((0, String::new()))
}

fn open() -> Result<OwnedFd> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(netlink::KOBJECT_UEVENT),
    )
    .context("open a socket for uevents (CONFIG_NET)")?;
    bind(&socket, &SocketAddrNetlink::new(0, FROM_KERNEL)).context("listen to uevents")?;
    Ok(socket)
}
