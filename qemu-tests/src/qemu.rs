//! The QEMU process: its command line, its end.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::accel::Accel;
use crate::disk::Disk;
use crate::monitor::Monitor;
use crate::wire::PORT;

pub const QEMU: &str = "qemu-system-x86_64";

/// All that a boot needs.
pub struct Machine {
    pub accel: Accel,
    pub kernel: PathBuf,
    pub initramfs: PathBuf,
    /// Put into the guest and loaded, where there is one.
    pub module: Option<PathBuf>,
    pub disks: Vec<Disk>,
    /// MiB.
    pub memory: u32,
    pub cpus: u32,
    /// Whether it can be asked for memory that was left behind.
    pub leaks: bool,
    /// More words for the kernel's command line.
    pub append: String,
    pub life: Life,
}

/// How a VM begins.
#[derive(Debug, Clone)]
pub enum Life {
    Boots,
    /// It boots with its memory in this file, so that it can be frozen.
    Freezes(PathBuf),
    /// It goes on from where one that booted was frozen, and leaves what is frozen as it is. Its disks must look like those of
    /// the other, but for what is on them.
    Thaws(Frozen),
}

/// A VM that waits in files to go on, many times.
#[derive(Debug, Clone)]
pub struct Frozen {
    pub memory: PathBuf,
    /// All else.
    pub devices: PathBuf,
    /// The guest kernel's.
    pub release: String,
}

impl Life {
    /// QEMU's words for it, with MiB of memory.
    fn options(&self, memory: u32) -> Vec<String> {
        let (file, share, incoming) = match self {
            Self::Boots => return Vec::new(),
            Self::Freezes(memory) => (memory, "on", None),
            // Its own copy of each page that it writes to.
            Self::Thaws(frozen) => (&frozen.memory, "off", Some(["-incoming", "defer"])),
        };
        let file = file.display();
        let object =
            format!("memory-backend-file,id=memory,size={memory}M,mem-path={file},share={share}");
        let words = ["-machine", "memory-backend=memory", "-object", &object];
        words.into_iter().chain(incoming.into_iter().flatten()).map(str::to_owned).collect()
    }
}

/// All that QEMU can do but 5-level paging: while Linux identifies its boot CPU it forgets for a moment that it has that,
/// and an interrupt in this moment makes KASAN cry over a sound address (seen with 7.2).
const CPU: &str = "max,la57=off";

/// Stalls are told by the kernel in terms of time, and time passes quickly on a slow machine: so these limits
/// are far above what a working kernel ever needs. And a clock that stood still while others ran is not a bad one: it is QEMU's
/// own, and what the kernel takes in its place makes each look at the time an exit to QEMU.
const PATIENCE: &str = "rcupdate.rcu_cpu_stall_timeout=300 rcupdate.rcu_exp_cpu_stall_timeout=0 \
     watchdog_thresh=60 sysctl.kernel.hung_task_timeout_secs=600 tsc=reliable";

/// The kernel boots on one CPU, and the agent starts the others when the kernel has patched its code for the last time. TCG
/// forgets its translation of code before a store to it is made, not with it: a CPU that comes by between the two translates what
/// was there, and keeps to that. While the kernel patches an instruction a breakpoint stands in its place for a moment, and one
/// that is met later is nobody's: "Oops: int3", on a byte that is long another (seen with QEMU 7.2 and Linux 7.2).
/// So it is not to patch itself for one CPU and back, nor for a way to reach all others that only two need. And the CPU that
/// starts late is told how long its delays are (as on one of 4 GHz): it would measure that by ticks, and the first makes none while
/// it is idle.
const ALONE: &str = "maxcpus=1 noreplace-smp no_ipi_broadcast=1 lpj=16000000";

/// Devices that the kernel makes unasked: who wants some says so in `append`, and the last word counts.
const SPARE: &str = "brd.rd_nr=0 loop.max_loop=0 null_blk.nr_devices=0";

/// Its firmware says in a table where interrupts go. That of `pc` has a program for it, which takes a slow kernel minutes, and a
/// kernel that is told to leave it alone (`pci=noacpi`) runs on one CPU without a word.
const MACHINE: &str = "q35";

/// A third of what the debug kernel does is to note whose each piece of memory is: for a VM that is not asked in the end whether any
/// was left behind, that is for nothing.
const LEAKS_UNSEEN: &str = "kmemleak=off";

/// A distribution's kernels let a mounted device be opened for writing, and resize2fs of an ext4 that is mounted needs it.
const USUAL: &str = "bdev_allow_write_mounted=1";

impl Machine {
    fn command(&self, console: &Path) -> Result<Command> {
        let mut command = Command::new(QEMU);
        command.args([
            "-M",
            MACHINE,
            "-cpu",
            CPU,
            "-nodefaults",
            "-no-user-config",
            "-no-reboot",
        ]);
        command.args(["-display", "none", "-accel", self.accel.option()]);
        command.args(self.accel.more_options());
        command.args([
            "-smp",
            &self.cpus.to_string(),
            "-m",
            &self.memory.to_string(),
        ]);
        command
            .arg("-kernel")
            .arg(&self.kernel)
            .arg("-initrd")
            .arg(&self.initramfs);
        command.args([
            "-append",
            &format!(
                "console=ttyS0 panic=-1 {PATIENCE} {SPARE} {USUAL} {} {} {}",
                if self.cpus > 1 { ALONE } else { "" },
                if self.leaks { "" } else { LEAKS_UNSEEN },
                self.append
            ),
        ]);
        command
            .arg("-serial")
            .arg(format!("file:{}", console.display()));
        command.args(self.life.options(self.memory));
        // The agent's line is QEMU's own stdin and stdout, so that it ends when either side does.
        command.args([
            "-chardev",
            "stdio,id=agent,signal=off",
            "-device",
            "virtio-serial-pci",
        ]);
        command.args([
            "-device",
            &format!("virtserialport,chardev=agent,name={PORT}"),
        ]);
        for (index, disk) in self.disks.iter().enumerate() {
            command.args(disk.options(index)?);
        }
        Ok(command)
    }
}

pub struct Process {
    child: Child,
    stderr: PathBuf,
    monitor: Option<Monitor>,
}

impl Process {
    pub fn start(machine: &Machine, console: &Path) -> Result<(Self, ChildStdout, ChildStdin)> {
        let stderr = console.with_extension("qemu");
        let log = File::create(&stderr).with_context(|| format!("make {}", stderr.display()))?;
        let mut command = machine.command(console)?;
        let (monitor, theirs) = match machine.life {
            Life::Boots => (None, None),
            Life::Freezes(_) | Life::Thaws(_) => {
                let (monitor, theirs) = Monitor::new()?;
                let chardev = format!("socket,id=monitor,fd={}", theirs.as_raw_fd());
                command.args(["-chardev", &chardev, "-mon", "chardev=monitor,mode=control"]);
                (Some(monitor), Some(theirs))
            }
        };
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {QEMU} (Debian: apt-get install qemu-system-x86)"))?;
        drop(theirs);
        let from = child.stdout.take().context("QEMU's stdout is piped")?;
        let to = child.stdin.take().context("QEMU's stdin is piped")?;
        let mut process = Self { child, stderr, monitor };
        if let Life::Thaws(frozen) = &machine.life {
            process
                .monitor()
                .and_then(|monitor| monitor.restore(&frozen.devices))
                .with_context(|| format!("thaw a VM\n{}", process.complaints()))?;
        }
        Ok((process, from, to))
    }

    /// By which another thread can end it, whatever has become of it by then.
    pub fn handle(&self) -> Result<OwnedFd> {
        let pid = Pid::from_child(&self.child);
        pidfd_open(pid, PidfdFlags::empty()).context("hold on to QEMU")
    }

    fn monitor(&mut self) -> Result<&mut Monitor> {
        self.monitor.as_mut().context("this QEMU has no monitor")
    }

    /// Stops the VM and ends it; what is not in its memory's file goes to this one.
    pub fn freeze(&mut self, devices: &Path) -> Result<()> {
        self.monitor()?
            .save(devices)
            .with_context(|| format!("freeze a VM\n{}", self.complaints()))?;
        self.kill()
    }

    /// What QEMU itself complained about.
    pub fn complaints(&self) -> String {
        match std::fs::read_to_string(&self.stderr) {
            Ok(text) if !text.trim().is_empty() => format!("QEMU says: {}\n", text.trim()),
            _ => String::new(),
        }
    }

    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().context("kill QEMU")?;
        self.child.wait().context("wait for QEMU")?;
        Ok(())
    }

    /// Waits for an end of its own.
    pub fn wait(&mut self) -> Result<()> {
        let status = self.child.wait().context("wait for QEMU")?;
        ensure!(status.success(), "QEMU ended with {status}");
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails where it has ended already, which is what is wanted.
        let _: std::io::Result<()> = self.child.kill();
        let _: std::io::Result<_> = self.child.wait();
    }
}
