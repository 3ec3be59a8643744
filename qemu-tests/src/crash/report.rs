//! What `make crash` prints: a bar while it runs, a table at the end.

use std::fmt::Write;
use std::io::{IsTerminal, stdout};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::case::Case;
use super::cut::Cut;
use super::run::Outcome;

/// Plain lines where there is no terminal.
pub struct Bar {
    cuts: usize,
    begun: Instant,
    /// How many cuts are done, and how many of them were bad.
    done: Mutex<(usize, usize)>,
    drawn: Option<ProgressBar>,
}

impl Bar {
    pub fn new(cuts: usize) -> Self {
        let drawn = stdout().is_terminal().then(|| {
            let bar =
                ProgressBar::with_draw_target(Some(cuts as u64), ProgressDrawTarget::stdout());
            let template = "    {bar:40} {pos}/{len} cuts, {msg}, {eta} to go";
            bar.with_style(ProgressStyle::with_template(template).expect("the template is right"))
                .with_message("0 bad")
        });
        Self {
            cuts,
            begun: Instant::now(),
            done: Mutex::default(),
            drawn,
        }
    }

    pub fn step(&self, bad: bool) {
        let mut done = self.done.lock().expect("nobody panics while it is locked");
        done.0 += 1;
        done.1 += usize::from(bad);
        let tenths = |n: usize| n * 10 / self.cuts;
        if let Some(bar) = &self.drawn {
            bar.set_message(format!("{} bad", done.1));
            bar.inc(1);
            if done.0 == self.cuts {
                bar.finish();
            }
        } else if tenths(done.0) > tenths(done.0 - 1) {
            let seconds = self.begun.elapsed().as_secs();
            let left = seconds * (self.cuts - done.0) as u64 / done.0 as u64;
            println!(
                "    {} of {} cuts, {} bad, {seconds} s, {left} s to go",
                done.0, self.cuts, done.1
            );
        }
    }
}

/// A case that was cut.
pub struct Row {
    name: &'static str,
    must_keep: bool,
    cuts: usize,
    /// Cuts of what went on after a cut.
    again: usize,
    /// Flushes that a cut came right before or after, and flushes in all.
    flushes: (usize, usize),
    /// Cuts at random points.
    random: usize,
    lost: usize,
    /// Other trouble.
    failed: usize,
    took: Duration,
}

impl Row {
    pub fn of(
        case: &'static Case,
        outcomes: &[(Cut, Outcome)],
        looks: usize,
        flushes: (usize, usize),
        took: Duration,
    ) -> Self {
        let count = |wanted: fn(&Outcome) -> bool| {
            outcomes.iter().filter(|(_, outcome)| wanted(outcome)).count()
        };
        Self {
            name: case.name,
            must_keep: case.must_keep,
            cuts: outcomes.len(),
            again: looks - outcomes.len(),
            flushes,
            random: outcomes.iter().filter(|(cut, _)| cut.number >= flushes.1).count(),
            lost: count(|outcome| matches!(outcome, Outcome::Lost(_))),
            failed: count(|outcome| matches!(outcome, Outcome::Failed(_))),
            took,
        }
    }

    /// No case may fail, and none but the peer's may lose.
    pub fn is_right(&self) -> bool {
        self.failed == 0 && (self.lost == 0 || !self.must_keep)
    }

    fn words(&self) -> &'static str {
        match (self.must_keep, self.is_right(), self.lost) {
            (_, false, _) => "WRONG",
            (true, true, _) => "right",
            (false, true, 0) => "no losses seen, which proves nothing: take more cuts",
            (false, true, _) => "the peer's losses are seen",
        }
    }
}

pub fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:24} {:>6} {:>14} {:>7} {:>6} {:>6} {:>7} {:>7}\n",
        "case", "cuts", "flushes", "random", "again", "lost", "failed", "time"
    );
    for row in rows {
        // Writing to a string can't fail.
        let _: std::fmt::Result = writeln!(
            text,
            "{:24} {:>6} {:>14} {:>7} {:>6} {:>6} {:>7} {:>5} s  {}",
            row.name,
            row.cuts,
            format!("{} of {}", row.flushes.0, row.flushes.1),
            row.random,
            row.again,
            row.lost,
            row.failed,
            row.took.as_secs(),
            row.words()
        );
    }
    text + &sum(rows)
}

/// Of all cases, with the peer's losses by themselves.
fn sum(rows: &[Row]) -> String {
    let total = |of: fn(&Row) -> usize| rows.iter().map(of).sum::<usize>();
    let lost = |ours| {
        let rows = rows.iter().filter(|row| row.must_keep == ours);
        rows.map(|row| row.lost).sum::<usize>()
    };
    format!(
        "{} cases, {} cuts: {} of {} flushes, {} random points, and {} cuts of what followed; \
         {} lost, {} failed; the peer lost {}\n",
        rows.len(),
        total(|row| row.cuts),
        total(|row| row.flushes.0),
        total(|row| row.flushes.1),
        total(|row| row.random),
        total(|row| row.again),
        lost(true),
        total(|row| row.failed),
        lost(false),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crash::case;

    #[test]
    fn only_the_peer_may_lose() {
        let row = |must_keep, lost, failed| Row {
            name: case::ALL[0].name,
            must_keep,
            cuts: 9,
            again: 2,
            flushes: (3, 700),
            random: 6,
            lost,
            failed,
            took: Duration::from_secs(1),
        };
        assert!(row(true, 0, 0).is_right() && row(false, 4, 0).is_right());
        assert!(!row(true, 1, 0).is_right());
        assert!(!row(true, 0, 1).is_right() && !row(false, 4, 1).is_right());
        let text = table(&[row(true, 1, 0), row(false, 4, 0)]);
        assert!(text.contains("3 of 700"));
        assert!(text.contains("WRONG") && text.contains("the peer's losses are seen"));
        assert!(text.ends_with("1 lost, 0 failed; the peer lost 4\n"), "{text}");
    }
}
