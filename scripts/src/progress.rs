//! Progress of work that takes long: a bar on a terminal, a line now and then elsewhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How often a line is printed where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// One job with steps that are counted as they go by.
pub struct Progress {
    bar: ProgressBar,
    what: String,
    expected: u64,
    done: u64,
    started: Instant,
    said: Instant,
}

impl Progress {
    /// A job of about `expected` steps; 0 when nobody knows.
    pub fn new(what: &str, expected: u64) -> Self {
        let bar = if expected > 0 {
            ProgressBar::new(expected)
        } else {
            ProgressBar::new_spinner()
        };
        let template = if expected > 0 {
            "{msg} [{bar:30}] {percent}% {elapsed}, {eta} to go"
        } else {
            "{spinner} {msg} {elapsed}"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        if bar.is_hidden() {
            eprintln!("{what} ...");
        }
        let now = Instant::now();
        Self {
            bar,
            what: what.to_owned(),
            expected,
            done: 0,
            started: now,
            said: now,
        }
    }

    /// One step more.
    pub fn step(&mut self) {
        self.done += 1;
        // The expected number is that of another machine's run: the bar waits just short of its end rather than promise it.
        self.bar.set_position(if self.expected > 0 {
            self.done.min(self.expected - 1)
        } else {
            self.done
        });
        if self.bar.is_hidden() && self.said.elapsed() >= LINE_EVERY {
            self.said = Instant::now();
            let seconds = self.started.elapsed().as_secs();
            match (self.done * 100).checked_div(self.expected) {
                Some(percent) => {
                    eprintln!("{} ... about {}%, {seconds} s", self.what, percent.min(99))
                }
                None => eprintln!("{} ... {seconds} s", self.what),
            }
        }
    }

    /// The job is done.
    pub fn finish(self) {
        let seconds = self.started.elapsed().as_secs();
        let hidden = self.bar.is_hidden();
        self.bar.finish_and_clear();
        if hidden || seconds > 0 {
            eprintln!("{}: done in {seconds} s", self.what);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        // Clears the bar of a job that failed, so that the error stands alone.
        self.bar.finish_and_clear();
    }
}
