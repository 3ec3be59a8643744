//! The guest's end of the line, shared by all jobs.

use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use qemu_tests::wire::{self, Reply};

#[derive(Clone)]
pub struct Port(Arc<Mutex<File>>);

impl Port {
    pub fn new(file: File) -> Self {
        Self(Arc::new(Mutex::new(file)))
    }

    pub fn send(&self, reply: &Reply) -> Result<()> {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        wire::send(&mut *file, reply)
    }

    /// For replies nobody could be told about the loss of: without its line the agent is of no use.
    pub fn send_or_die(&self, reply: &Reply) {
        if let Err(e) = self.send(reply) {
            eprintln!("agent: {e:#}");
            std::process::exit(1);
        }
    }
}
