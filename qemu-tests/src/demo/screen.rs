//! What the demo prints: steps with their time, a progress bar (plain lines where there is no terminal), a table.

use std::cell::Cell;
use std::io::{IsTerminal, stdout};
use std::time::Instant;

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

pub struct Screen {
    begun: Instant,
}

impl Screen {
    pub fn new() -> Self {
        Self {
            begun: Instant::now(),
        }
    }

    pub fn step(&self, text: &str) {
        println!("{:6.1} s  {text}", self.begun.elapsed().as_secs_f32());
    }

    /// A command as a user would type it.
    pub fn command(&self, text: &str) {
        println!("            # {text}");
    }

    pub fn table(&self, rows: &[(&str, String)]) {
        print!("{}", table(rows));
    }

    /// A bar for `size` bytes.
    pub fn bar(&self, size: u64) -> Bar {
        if !stdout().is_terminal() {
            return Bar::Lines {
                size,
                begun: Instant::now(),
                first: Cell::new(None),
                tenths: Cell::new(0),
            };
        }
        let bar = ProgressBar::with_draw_target(Some(size), ProgressDrawTarget::stdout());
        let template = "            {bar:40} {percent:>3} %  {binary_bytes_per_sec}, {eta} to go";
        bar.set_style(ProgressStyle::with_template(template).expect("the template is right"));
        Bar::Drawn(bar)
    }
}

pub enum Bar {
    Drawn(ProgressBar),
    /// A line for every tenth.
    Lines {
        size: u64,
        begun: Instant,
        first: Cell<Option<u64>>,
        tenths: Cell<u64>,
    },
}

impl Bar {
    /// So many bytes are done.
    pub fn at(&self, done: u64) {
        match self {
            Self::Drawn(bar) => {
                if bar.position() == 0 {
                    // After a resume: what was done before says nothing about the speed now.
                    bar.set_position(done);
                    bar.reset_eta();
                }
                bar.set_position(done);
            }
            Self::Lines {
                size,
                begun,
                first,
                tenths,
            } => {
                let from = first.get().unwrap_or_else(|| {
                    first.set(Some(done));
                    done
                });
                let now = done * 10 / size.max(&1);
                if now > tenths.replace(now) {
                    println!("            {}", line(from, done, *size, begun.elapsed()));
                }
            }
        }
    }

    pub fn end(&self, done: u64) {
        self.at(done);
        if let Self::Drawn(bar) = self {
            bar.abandon();
        }
    }
}

fn line(from: u64, done: u64, size: u64, elapsed: std::time::Duration) -> String {
    let percent = done * 100 / size.max(1);
    let moved = (done - from.min(done)) as f64;
    if moved == 0.0 || elapsed.is_zero() {
        return format!("{percent:>3} %");
    }
    let speed = moved / elapsed.as_secs_f64();
    let left = std::time::Duration::from_secs_f64((size - done.min(size)) as f64 / speed);
    format!(
        "{percent:>3} %  {}/s, {} to go",
        mib(speed as u64),
        HumanDuration(left)
    )
}

/// Bytes in words.
pub fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

fn table(rows: &[(&str, String)]) -> String {
    let width =
        |column: &dyn Fn(&(&str, String)) -> usize| rows.iter().map(column).max().unwrap_or(0);
    let (left, right) = (width(&|row| row.0.len()), width(&|row| row.1.len()));
    let rule = format!("  +-{}-+-{}-+\n", "-".repeat(left), "-".repeat(right));
    let body: String = rows
        .iter()
        .map(|(name, value)| format!("  | {name:left$} | {value:>right$} |\n"))
        .collect();
    format!("{rule}{body}{rule}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_table_lines_up() {
        let text = table(&[("files", "11299".into()), ("cuts", "1".into())]);
        let widths: Vec<_> = text.lines().map(str::len).collect();
        assert_eq!(widths, [widths[0]; 4]);
        assert!(text.contains("| cuts  |     1 |"), "{text}");
    }

    #[test]
    fn a_line_tells_speed_and_time_to_go() {
        let said = line(100 << 20, 150 << 20, 200 << 20, Duration::from_secs(5));
        assert_eq!(said, " 75 %  10 MiB/s, 5 seconds to go");
        assert_eq!(line(7, 7, 14, Duration::from_secs(1)), " 50 %");
    }
}
