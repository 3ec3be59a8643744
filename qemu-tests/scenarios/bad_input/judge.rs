//! Writes a line that must be refused, and looks at everything that comes of it.

use anyhow::{Context, Result, ensure};
use qemu_tests::disk::{Disk, sums};
use qemu_tests::restripe::Refusal;
use qemu_tests::vm::Vm;

/// Linux's error numbers, by their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::upper_case_acronyms, reason = "Linux's own names")]
pub enum Errno {
    ENOENT = 2,
    EIO = 5,
    E2BIG = 7,
    EBUSY = 16,
    EEXIST = 17,
    ENODEV = 19,
    EINVAL = 22,
    ENOSPC = 28,
    ENODATA = 61,
    EOPNOTSUPP = 95,
    ESTALE = 116,
    EUCLEAN = 117,
}

pub struct Judge<'a> {
    pub vm: &'a Vm,
    disks: &'a [Disk],
    /// Checksums of the disks as they should be.
    content: Vec<u32>,
    /// How many refusals there were.
    refused: u64,
}

impl<'a> Judge<'a> {
    pub fn new(vm: &'a Vm, disks: &'a [Disk]) -> Result<Self> {
        let refused = count(&vm.class("last_error")?)?;
        let content = sums(disks)?;
        Ok(Self {
            vm,
            disks,
            content,
            refused,
        })
    }

    /// After something that may well have written to disks, and has come to rest.
    pub fn look_again(&mut self) -> Result<()> {
        self.vm.ok("sync")?;
        self.content = sums(self.disks)?;
        Ok(())
    }

    /// A line for a file of the class. `words` are in the sentence.
    pub fn line(&mut self, file: &str, line: &str, errno: Errno, words: &[&str]) -> Result<()> {
        self.line_but(file, line, errno, words, &[])
    }

    /// The same of one that is refused too late for the disks `changed`, which have been written to.
    pub fn line_but(
        &mut self,
        file: &str,
        line: &str,
        errno: Errno,
        words: &[&str],
        changed: &[&str],
    ) -> Result<()> {
        let refusal = self.vm.refused(file, line)?;
        self.judge((file, line), &refusal, errno, words, changed)
    }

    /// A line for a file of a volume.
    pub fn volume_line(
        &mut self,
        volume: &str,
        file: &str,
        line: &str,
        errno: Errno,
        words: &[&str],
    ) -> Result<()> {
        let refusal = self.vm.set_refused(volume, file, line)?;
        self.judge((file, line), &refusal, errno, words, &[])
    }

    fn judge(
        &mut self,
        (file, line): (&str, &str),
        refusal: &Refusal,
        errno: Errno,
        words: &[&str],
        changed: &[&str],
    ) -> Result<()> {
        self.look(line, refusal, errno, words, changed)
            .with_context(|| format!("`{}` to {file}: {refusal}", short(line)))
    }

    fn look(
        &mut self,
        line: &str,
        refusal: &Refusal,
        errno: Errno,
        words: &[&str],
        changed: &[&str],
    ) -> Result<()> {
        ensure!(refusal.errno == errno as i32, "the errno is not {errno:?}");
        self.refused += 1;
        let lines: Vec<_> = refusal.last_error.lines().collect();
        let [first, said, sentence] = lines[..] else {
            anyhow::bail!("last_error has not a count, a line and a sentence");
        };
        ensure!(
            count(first)? == self.refused,
            "the count is not {}",
            self.refused
        );
        ensure!(
            said.trim() == short(line).trim(),
            "last_error holds another line"
        );
        ensure!(
            sentence.contains(' ') && sentence.len() > 20,
            "the sentence is none"
        );
        for word in words {
            ensure!(
                sentence.contains(word),
                "the sentence does not speak of {word}"
            );
        }
        let content = sums(self.disks)?;
        for (disk, (before, after)) in self.disks.iter().zip(self.content.iter().zip(&content)) {
            ensure!(
                (before == after) != changed.contains(&disk.serial.as_str()),
                "the disk {} has changed, or should have",
                disk.serial
            );
        }
        self.content = content;
        Ok(())
    }
}

/// As much of a line as `last_error` keeps.
fn short(line: &str) -> &str {
    line.get(..1024).unwrap_or(line)
}

fn count(last_error: &str) -> Result<u64> {
    let first = last_error.lines().next().unwrap_or_default();
    first
        .parse()
        .with_context(|| format!("last_error begins with {first:?} and not with a count"))
}
