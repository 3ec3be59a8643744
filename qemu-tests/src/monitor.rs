//! The line to QEMU itself (QMP: a JSON object a line), by which a VM is stopped into files and goes on from them.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use serde_json::{Value, json};

pub struct Monitor {
    from: BufReader<UnixStream>,
    to: UnixStream,
}

impl Monitor {
    /// Ours, and the end that QEMU inherits.
    pub fn new() -> Result<(Self, OwnedFd)> {
        let kind = SocketType::STREAM;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, kind, SocketFlags::empty(), None)
            .context("make a pair of sockets")?;
        fcntl_setfd(&ours, FdFlags::CLOEXEC).context("keep a socket")?;
        let to = UnixStream::from(ours);
        let from = BufReader::new(to.try_clone().context("share a socket")?);
        Ok((Self { from, to }, theirs))
    }

    /// Stops the VM and writes all but its memory to a file; the memory is in a file of its own.
    pub fn save(&mut self, to: &Path) -> Result<()> {
        self.begin()?;
        self.migrate("migrate", &format!("exec:cat > '{}'", to.display()))
    }

    /// Has the VM go on from where another was stopped.
    pub fn restore(&mut self, from: &Path) -> Result<()> {
        self.begin()?;
        self.migrate("migrate-incoming", &format!("exec:cat '{}'", from.display()))
    }

    fn begin(&mut self) -> Result<()> {
        self.ask("qmp_capabilities", &json!({}))?;
        // Of memory that is in a shared file nothing is moved; and the end of a move is told.
        let on = |name| json!({"capability": name, "state": true});
        let capabilities = [on("x-ignore-shared"), on("events")];
        self.ask("migrate-set-capabilities", &json!({"capabilities": capabilities}))
    }

    fn migrate(&mut self, command: &str, uri: &str) -> Result<()> {
        self.ask(command, &json!({"uri": uri}))?;
        loop {
            let said = self.hear()?;
            match said["data"]["status"].as_str() {
                Some("completed") if said["event"] == "MIGRATION" => return Ok(()),
                Some("failed") => bail!("QEMU says {said}"),
                _ => {}
            }
        }
    }

    fn ask(&mut self, command: &str, arguments: &Value) -> Result<()> {
        let words = json!({"execute": command, "arguments": arguments});
        writeln!(self.to, "{words}").context("ask QEMU")?;
        loop {
            let said = self.hear()?;
            if said.get("return").is_some() {
                return Ok(());
            }
            if said.get("error").is_some() {
                bail!("{command}: QEMU says {said}");
            }
        }
    }

    fn hear(&mut self) -> Result<Value> {
        let mut line = String::new();
        if self.from.read_line(&mut line).context("hear QEMU")? == 0 {
            bail!("QEMU ended");
        }
        serde_json::from_str(&line).with_context(|| format!("QEMU says {line:?}"))
    }
}
