//! What a scenario gets: a folder of its own, a seed, disks, VMs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use restripe_scripts::kernel::Flavour;
use restripe_scripts::packages;

use crate::accel::Accel;
use crate::disk::Disk;
use crate::limit::Limit;
use crate::kernel::{self, Kernel};
use crate::nbd::image::Image;
use crate::nbd::server::Server;
use crate::qemu::{Frozen, Life, Machine};
use crate::vm::Vm;
use crate::{console, initramfs};

pub const MIB: u64 = 1 << 20;

/// Made once, shared by all scenarios of a run.
#[derive(Debug, Clone)]
pub struct Bench {
    pub flavour: Flavour,
    pub kernel: Kernel,
    pub initramfs: PathBuf,
    pub accel: Accel,
}

impl Bench {
    pub fn set_up(flavour: Flavour) -> Result<Self> {
        packages::ensure(packages::Set::Vm)?;
        let kernel = kernel::of(flavour)?;
        let initramfs = initramfs::build()?;
        let accel = Accel::choose(&kernel.image, &initramfs)?;
        Ok(Self {
            flavour,
            kernel,
            initramfs,
            accel,
        })
    }
}

impl Bench {
    /// The same from a folder of its own: a long run must not lose its module or its guest's system to a cache that makes room
    /// for what other runs build meanwhile.
    pub fn pinned(mut self, dir: &Path) -> Result<Self> {
        let pin = |file: &Path, name: &str| {
            let pinned = dir.join(name);
            // Across file systems there are no links.
            fs::hard_link(file, &pinned)
                .or_else(|_| fs::copy(file, &pinned).map(drop))
                .with_context(|| format!("keep {}", file.display()))?;
            anyhow::Ok(pinned)
        };
        self.kernel.image = pin(&self.kernel.image, "kernel")?;
        self.initramfs = pin(&self.initramfs, "initramfs")?;
        if let Some(module) = &mut self.kernel.module {
            *module = pin(module, "restripe.ko")?;
        }
        Ok(self)
    }
}

pub struct Ctx {
    pub bench: Bench,
    /// Decides cut points and the like; printed with the result.
    pub seed: u64,
    pub random: fastrand::Rng,
    /// What the scenario wants said beside its result.
    pub notes: Vec<String>,
    /// Ends its VMs when its time is over.
    pub limit: Arc<Limit>,
    dir: PathBuf,
    boots: u32,
    /// Boots up to this one have had their splats taken.
    judged: u32,
}

/// Where a boot differs from the usual.
#[derive(Debug, Clone, Default)]
pub struct Boot {
    /// Leave the module out.
    pub without_module: bool,
    /// Have it look for memory that is left behind.
    pub leaks: bool,
    /// More words for the kernel's command line.
    pub append: String,
}

impl Ctx {
    pub fn new(bench: &Bench, seed: u64, dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
        Ok(Self {
            bench: bench.clone(),
            seed,
            random: fastrand::Rng::with_seed(seed),
            notes: Vec::new(),
            limit: Arc::default(),
            dir: dir.to_owned(),
            boots: 0,
            judged: 0,
        })
    }

    /// A blank disk; its name is the serial number too.
    pub fn disk(&self, name: &str, size: u64) -> Result<Disk> {
        Disk::blank(&self.image(name), size)
    }

    /// A disk that starts as a copy of `content`.
    pub fn disk_with(&self, name: &str, content: &Path, size: u64) -> Result<Disk> {
        Disk::copy_of(content, &self.image(name), size)
    }

    /// Where a server of disks may listen.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("nbd")
    }

    /// A context for a part of the work, with a folder below this one's.
    pub fn part(&self, name: &str) -> Result<Self> {
        Self::new(&self.bench, self.seed, &self.dir.join(name))
    }

    /// Removes the folder, once nothing in it is of use any more.
    pub fn remove(self) -> Result<()> {
        fs::remove_dir_all(&self.dir).with_context(|| format!("remove {}", self.dir.display()))
    }

    /// Its disks and logs.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn image(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.img"))
    }

    /// Boots a VM whose disks are /dev/vda, /dev/vdb, ... in this order, and loads the module.
    pub fn boot(&mut self, disks: &[Disk]) -> Result<Vm> {
        self.boot_as(disks, &Boot::default())
    }

    /// The same, to be asked in the end whether memory was left behind.
    pub fn boot_for_leaks(&mut self, disks: &[Disk]) -> Result<Vm> {
        self.boot_as(disks, &Boot { leaks: true, ..Boot::default() })
    }

    /// The same, with a say in how.
    pub fn boot_as(&mut self, disks: &[Disk], boot: &Boot) -> Result<Vm> {
        self.begin(disks, boot, Life::Boots)
    }

    /// A VM that has booted and loaded the module on blank disks of these sizes, stopped right then.
    pub fn freeze(&mut self, sizes: &[u64]) -> Result<Frozen> {
        let server = Server::start(&self.socket(), sizes.iter().copied().map(Image::blank).collect())?;
        let [memory, devices] = ["memory", "devices"].map(|name| self.dir.join(name));
        let vm = self.begin(&server.disks(), &Boot::default(), Life::Freezes(memory.clone()))?;
        let release = vm.freeze(&devices)?;
        Ok(Frozen { memory, devices, release })
    }

    /// Has such a VM go on with other disks, as many and as large.
    pub fn thaw(&mut self, frozen: &Frozen, disks: &[Disk]) -> Result<Vm> {
        self.begin(disks, &Boot::default(), Life::Thaws(frozen.clone()))
    }

    fn begin(&mut self, disks: &[Disk], boot: &Boot, life: Life) -> Result<Vm> {
        let machine = Machine {
            accel: self.bench.accel,
            kernel: self.bench.kernel.image.clone(),
            initramfs: self.bench.initramfs.clone(),
            module: self
                .bench
                .kernel
                .module
                .clone()
                .filter(|_| !boot.without_module),
            disks: disks.to_vec(),
            memory: kernel::memory(self.bench.flavour),
            cpus: 2,
            leaks: boot.leaks,
            append: boot.append.clone(),
            life,
        };
        self.boots += 1;
        let vm = Vm::boot(&machine, &self.console(self.boots))?;
        self.limit.holds(vm.handle()?);
        Ok(vm)
    }

    fn console(&self, boot: u32) -> PathBuf {
        self.dir.join(format!("console-{boot}.log"))
    }

    /// What no sound kernel prints, from all boots so far.
    pub fn splats(&self) -> Vec<String> {
        let mut found = Vec::new();
        for boot in self.judged + 1..=self.boots {
            let log = console::read(&self.console(boot));
            found.extend(
                console::splats(&log)
                    .into_iter()
                    .map(|line| format!("boot {boot}: {line}")),
            );
        }
        found
    }

    /// The same, for a scenario that makes trouble on purpose: what it has taken is not held against it.
    pub fn take_splats(&mut self) -> Vec<String> {
        let found = self.splats();
        self.judged = self.boots;
        found
    }

    /// The end of the last boot's console.
    pub fn tail(&self) -> String {
        console::tail(&self.console(self.boots))
    }

    /// Removes the disks and keeps the logs.
    pub fn remove_disks(&self) -> Result<()> {
        for entry in
            fs::read_dir(&self.dir).with_context(|| format!("list {}", self.dir.display()))?
        {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "img") {
                fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
            }
        }
        Ok(())
    }
}
