//! Serves disks through a Unix socket, one thread a connection, and logs what comes to them.

use std::io::{BufReader, BufWriter};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};

use super::image::Image;
use super::log::{Content, Event, Log, Write};
use super::protocol::{self, Command, Error, Request};
use crate::disk::Disk;

#[derive(Debug)]
struct State {
    disks: Vec<Image>,
    log: Log,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    over: AtomicBool,
}

/// The server; its disks are known as `0`, `1`, and so on.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    socket: PathBuf,
    acceptor: Option<JoinHandle<Vec<JoinHandle<()>>>>,
}

/// Puts marks into a server's log.
#[derive(Debug, Clone)]
pub struct Marker(Arc<Shared>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    /// Serves `disks` at `socket`, which must not exist yet.
    pub fn start(socket: &Path, disks: Vec<Image>) -> Result<Self> {
        let listener = UnixListener::bind(socket)
            .with_context(|| format!("listen at {}", socket.display()))?;
        let log = Log::of(&disks);
        let shared = Arc::new(Shared {
            state: Mutex::new(State { disks, log }),
            over: AtomicBool::new(false),
        });
        let acceptor = thread::spawn({
            let shared = shared.clone();
            move || accept(&listener, &shared)
        });
        Ok(Self {
            shared,
            socket: socket.to_owned(),
            acceptor: Some(acceptor),
        })
    }

    /// The disks as QEMU is to attach them.
    pub fn disks(&self) -> Vec<Disk> {
        let disks = self.shared.lock().disks.len();
        (0..disks)
            .map(|index| Disk::served(&self.socket, &index.to_string()))
            .collect()
    }

    pub fn marker(&self) -> Marker {
        Marker(self.shared.clone())
    }

    /// How many events there are so far.
    pub fn len(&self) -> usize {
        self.shared.lock().log.events.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// After the clients are gone: all that they had sent is in the log when this returns.
    pub fn finish(mut self) -> Log {
        self.end();
        std::mem::take(&mut self.shared.lock().log)
    }

    fn end(&mut self) {
        let Some(acceptor) = self.acceptor.take() else {
            return;
        };
        self.shared.over.store(true, Ordering::SeqCst);
        // Wakes the acceptor; if it is gone already, so much the better.
        let _: std::io::Result<UnixStream> = UnixStream::connect(&self.socket);
        for connection in acceptor.join().unwrap_or_default() {
            // One that panicked has said so on stderr.
            let _: thread::Result<()> = connection.join();
        }
        let _: std::io::Result<()> = std::fs::remove_file(&self.socket);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

impl Marker {
    pub fn put(&self, event: Event) {
        self.0.lock().log.events.push(event);
    }
}

fn accept(listener: &UnixListener, shared: &Arc<Shared>) -> Vec<JoinHandle<()>> {
    let mut connections = Vec::new();
    for stream in listener.incoming() {
        if shared.over.load(Ordering::SeqCst) {
            break;
        }
        let shared = shared.clone();
        connections.push(thread::spawn(move || {
            let served = stream
                .context("accept a connection")
                .and_then(|stream| serve(stream, &shared));
            if let Err(e) = served {
                eprintln!("qemu-tests: NBD server: {e:#}");
            }
        }));
    }
    connections
}

fn serve(stream: UnixStream, shared: &Shared) -> Result<()> {
    let mut from = BufReader::with_capacity(1 << 20, stream.try_clone()?);
    let mut to = BufWriter::with_capacity(1 << 20, stream);
    let size = |name: &str| {
        let disk: usize = name.parse().ok()?;
        shared.lock().disks.get(disk).map(Image::size)
    };
    let Some(name) = protocol::handshake(&mut from, &mut to, size)? else {
        return Ok(());
    };
    let disk = name.parse().context("the export's name is a number")?;
    let mut buffer = Vec::new();
    while let Some(mut request) = Request::receive(&mut from)? {
        let result = carry_out(shared, disk, &mut request, &mut buffer);
        let result = result.map(|()| buffer.as_slice());
        if request.answer(&mut to, result).is_err() {
            // The client has been killed before it could hear it, as cuts do.
            return Ok(());
        }
    }
    Ok(())
}

/// Does what is asked and leaves what was read in `buffer`. A write and its answer are one event: no other comes
/// between, on any disk.
fn carry_out(
    shared: &Shared,
    disk: usize,
    request: &mut Request,
    buffer: &mut Vec<u8>,
) -> Result<(), Error> {
    buffer.clear();
    let mut state = shared.lock();
    let len = u64::from(request.len);
    let holds = state.disks[disk].holds(request.at, len);
    let content = match &mut request.command {
        Command::Flush => {
            state.log.events.push(Event::Flush { disk });
            return Ok(());
        }
        Command::Unknown => return Err(Error::Invalid),
        Command::Read if !holds => return Err(Error::Invalid),
        Command::Write(_) | Command::Trim | Command::WriteZeroes if !holds => {
            return Err(Error::NoSpace);
        }
        Command::Read => {
            buffer.resize(request.len as usize, 0);
            state.disks[disk].read(request.at, buffer);
            return Ok(());
        }
        Command::Write(data) => Content::Data(std::mem::take(data)),
        Command::Trim | Command::WriteZeroes => Content::Zeroes(len),
    };
    let write = Write {
        disk,
        at: request.at,
        content,
        fua: request.fua,
    };
    write.apply(&mut state.disks[disk]);
    state.log.events.push(Event::Write(write));
    Ok(())
}
