//! `make crash`: every case recorded, cut many times, each cut looked at by a VM of its own.

use std::env;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use restripe_scripts::kernel::Flavour;

use super::case::{self, Case};
use super::check::{Verdict, check};
use super::cut::{self, Cut};
use super::done::{Done, End, Line};
use super::record::Recording;
use super::report::{Bar, Row, table};
use crate::ctx::{Bench, Ctx};
use crate::qemu::Frozen;
use crate::runner::{self, Runs};

/// Random points of each case, beside every flush, if `CUTS` does not say how many cuts in all.
const RANDOM: usize = 200;
/// One cut in so many is followed by another, of what its VM did.
const AGAIN: usize = 4;
/// And that one by another, as often as this at most.
const DEPTH: usize = 4;
/// As many cuts that failed are told.
const TELL: usize = 5;

/// Where the last log of each case is kept.
const KEPT: &str = "target/crash";

/// Runs the case of this name, or all whose names hold it; true if none lost what it must keep.
pub fn run(filter: &str) -> Result<bool> {
    let runs = Runs::new()?;
    let bench = Bench::set_up(Flavour::Lean)?.pinned(&runs.dir)?;
    let done = match env::var_os("REPLAY") {
        Some(path) => replay(&bench, &runs.dir, &PathBuf::from(path)),
        None => all(&bench, &runs.dir, filter),
    };
    runs.end(usize::from(!matches!(done, Ok(true))))?;
    done
}

fn all(bench: &Bench, dir: &Path, filter: &str) -> Result<bool> {
    let chosen: Vec<_> = match case::named(filter) {
        Some(case) => vec![case],
        None => case::ALL.iter().filter(|case| case.name.contains(filter)).collect(),
    };
    ensure!(!chosen.is_empty(), "no case's name holds {filter:?}");
    let seed = runner::seed()?;
    println!("{} cases, {}, SEED={seed}", chosen.len(), bench.accel.option());
    let mut rows = Vec::new();
    for case in chosen {
        let dir = dir.join(case.name);
        rows.push(one(bench, &dir, case, seed).with_context(|| case.name)?);
    }
    print!("{}", table(&rows));
    Ok(rows.iter().all(Row::is_right))
}

fn one(bench: &Bench, dir: &Path, case: &'static Case, seed: u64) -> Result<Row> {
    let begun = Instant::now();
    let kept = kept_at(case.name);
    let (recording, done) = if env::var_os("RESUME").is_some() && kept.exists() {
        (Recording::load(&kept)?, Done::of(&kept)?)
    } else {
        println!("{}: recording", case.name);
        let mut ctx = Ctx::new(bench, runner::own_seed(seed, case.name), &dir.join("record"))?;
        let recording = Recording::make(&mut ctx, case).context("record")?;
        // Before anything can go wrong: a VM's run can't be had again.
        keep(&recording, "")?;
        (recording, Done::none(&kept)?)
    };
    let mut cuts = match wanted()? {
        Some(cuts) => cut::some(&recording, cuts),
        None => cut::every_flush(&recording, RANDOM),
    };
    let (mut outcomes, mut looks) = (Vec::new(), 0);
    cuts.retain(|cut| match done.earlier(cut.number) {
        Some(line) => {
            outcomes.push((*cut, line.into()));
            looks += line.looks;
            false
        }
        None => true,
    });
    println!("{}: {}, {} cuts", case.name, recording.words(), cuts.len());
    let (later, more) = look_at(bench, dir, &recording, &cuts, Some(&done))?;
    outcomes.extend(later);
    looks += more;
    let flushes = cut::flushes_seen(&recording, outcomes.iter().map(|(cut, _)| cut));
    let row = Row::of(case, &outcomes, looks, flushes, begun.elapsed());
    if !row.is_right() {
        // Losses that a case may have come last.
        let mut bad: Vec<_> = outcomes.iter().filter(|(_, o)| !o.is_kept()).collect();
        bad.sort_by_key(|(_, outcome)| matches!(outcome, Outcome::Lost(_)) && !case.must_keep);
        for (cut, outcome) in bad.into_iter().take(TELL) {
            println!(
                "{}: cut {} at event {}: {outcome}\n{}",
                case.name,
                cut.number,
                cut.at,
                again_words(&kept, cut)
            );
        }
    }
    Ok(row)
}

/// How many cuts of each case; all there are if nobody says.
fn wanted() -> Result<Option<usize>> {
    match env::var("CUTS") {
        Ok(all) if all == "all" => Ok(None),
        _ => Ok(runner::number("CUTS")?.map(|cuts| cuts as usize)),
    }
}

/// The VM that every cut of a case is given to: it has booted with the module and knows none of them.
fn freeze(bench: &Bench, dir: &Path, recording: &Recording) -> Result<Frozen> {
    let mut ctx = Ctx::new(bench, 0, &dir.join("frozen"))?;
    let frozen = ctx.freeze(recording.present()?)?;
    let splats = ctx.splats();
    ensure!(splats.is_empty(), "the kernel log holds trouble:\n{}", splats.join("\n"));
    Ok(frozen)
}

/// How a cut went.
#[derive(Debug)]
pub enum Outcome {
    Kept,
    Lost(String),
    Failed(anyhow::Error),
}

impl Outcome {
    fn after(self, words: &str) -> Self {
        match self {
            Self::Kept => Self::Kept,
            Self::Lost(lost) => Self::Lost(format!("{words}: {lost}")),
            Self::Failed(e) => Self::Failed(e.context(words.to_owned())),
        }
    }

    fn is_kept(&self) -> bool {
        self.end() == End::Kept
    }

    pub fn end(&self) -> End {
        match self {
            Self::Kept => End::Kept,
            Self::Lost(_) => End::Lost,
            Self::Failed(_) => End::Failed,
        }
    }
}

impl From<Line> for Outcome {
    fn from(line: Line) -> Self {
        let words = "in an earlier run";
        match line.end {
            End::Kept => Self::Kept,
            End::Lost => Self::Lost(words.into()),
            End::Failed => Self::Failed(anyhow!(words)),
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Kept => write!(f, "all is there"),
            Self::Lost(words) => write!(f, "lost: {words}"),
            Self::Failed(e) => write!(f, "failed: {e:#}"),
        }
    }
}

/// Looks at all cuts, several at once. Gives how each went, and how many were made in all.
fn look_at(
    bench: &Bench,
    dir: &Path,
    recording: &Recording,
    cuts: &[Cut],
    done: Option<&Done>,
) -> Result<(Vec<(Cut, Outcome)>, usize)> {
    if cuts.is_empty() {
        return Ok((Vec::new(), 0));
    }
    let frozen = freeze(bench, dir, recording)?;
    let jobs = runner::number("JOBS")?.unwrap_or(2).max(1);
    let bar = Bar::new(cuts.len());
    let next = AtomicUsize::new(0);
    let looks = AtomicUsize::new(0);
    let outcomes = Mutex::new(Vec::new());
    thread::scope(|s| {
        for _ in 0..jobs {
            s.spawn(|| {
                while let Some(cut) = cuts.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let dir = dir.join(format!("cut-{}", cut.number));
                    let (outcome, took) = look(bench, &frozen, &dir, (recording, cut), DEPTH);
                    looks.fetch_add(took, Ordering::SeqCst);
                    let bad = !outcome.is_kept();
                    let told = done.map_or(Ok(()), |done| done.add(cut.number, &outcome, took));
                    outcomes
                        .lock()
                        .expect("nobody panics while it is locked")
                        .push((*cut, outcome));
                    bar.step(bad);
                    if let Err(e) = told {
                        eprintln!("qemu-tests: {e:#}");
                    }
                }
            });
        }
    });
    let mut outcomes = outcomes
        .into_inner()
        .map_err(|_| anyhow!("a thread that looked at cuts panicked"))?;
    outcomes.sort_by_key(|(cut, _)| cut.number);
    Ok((outcomes, looks.into_inner()))
}

/// Looks at a cut, and now and then cuts what its VM did, and what that one's did. Gives how many VMs looked, too.
fn look(
    bench: &Bench,
    frozen: &Frozen,
    dir: &Path,
    (recording, cut): (&Recording, &Cut),
    depth: usize,
) -> (Outcome, usize) {
    let (outcome, next) = look_once(bench, frozen, dir, recording, cut);
    let is_cut_again = |next: &Recording| {
        depth > 0 && cut.number.is_multiple_of(AGAIN) && next.has_written()
    };
    let Some(next) = next.filter(is_cut_again) else {
        return (outcome, 1);
    };
    let again = cut::some(&next, AGAIN + 1)[cut.number / AGAIN % AGAIN];
    // Beside it: a socket's name has no room for many in each other.
    let mut beside = dir.as_os_str().to_owned();
    beside.push("+");
    let (outcome, looks) = look(bench, frozen, Path::new(&beside), (&next, &again), depth - 1);
    let outcome = match outcome {
        Outcome::Kept => Outcome::Kept,
        outcome => {
            let told = match keep(&next, &format!("-{}", cut.number)) {
                Ok(kept) => again_words(&kept, &again),
                Err(e) => format!("{e:#}"),
            };
            outcome.after(&format!("cut again at event {} ({told})", again.at))
        }
    };
    (outcome, looks + 1)
}

fn look_once(
    bench: &Bench,
    frozen: &Frozen,
    dir: &Path,
    recording: &Recording,
    cut: &Cut,
) -> (Outcome, Option<Recording>) {
    let looked = Ctx::new(bench, recording.seed, dir).and_then(|mut ctx| {
        let (verdict, next) = check(&mut ctx, frozen, recording, cut)?;
        if verdict == Verdict::Kept && env::var_os("KEEP").is_none() {
            ctx.remove()?;
        }
        Ok((verdict, next))
    });
    match looked {
        Ok((Verdict::Kept, next)) => (Outcome::Kept, Some(next)),
        Ok((Verdict::Lost(words), _)) => (Outcome::Lost(words), None),
        Err(e) => {
            let e = e.context(format!("console: {}", dir.display()));
            (Outcome::Failed(e), None)
        }
    }
}

/// How to have a cut again.
fn again_words(log: &Path, cut: &Cut) -> String {
    format!("again: REPLAY={} CUT={} make crash", log.display(), cut.number)
}

fn kept_at(name: &str) -> PathBuf {
    Path::new(KEPT).join(format!("{name}.log"))
}

fn keep(recording: &Recording, what: &str) -> Result<PathBuf> {
    fs::create_dir_all(KEPT).with_context(|| format!("make {KEPT}"))?;
    let path = kept_at(&format!("{}{what}", recording.case));
    recording.save(&path)?;
    Ok(path)
}

/// Understands `17` and `17-20`.
fn range(text: &str) -> Option<RangeInclusive<usize>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some(first.parse().ok()?..=last.parse().ok()?)
}

/// One cut of a log that was kept, or some, or all of them.
fn replay(bench: &Bench, dir: &Path, path: &Path) -> Result<bool> {
    let recording = Recording::load(path)?;
    let mut cuts = cut::every_flush(&recording, RANDOM);
    if let Ok(text) = env::var("CUT") {
        let wanted = range(&text).with_context(|| format!("CUT={text} is neither n nor n-m"))?;
        cuts.retain(|cut| wanted.contains(&cut.number));
        ensure!(!cuts.is_empty(), "there is no cut {text}");
    }
    println!("{}: {}, {} cuts", recording.case, recording.words(), cuts.len());
    let (outcomes, _) = look_at(bench, dir, &recording, &cuts, None)?;
    for (cut, outcome) in &outcomes {
        if !outcome.is_kept() {
            println!("cut {} at event {}: {outcome}", cut.number, cut.at);
        }
    }
    Ok(outcomes.iter().all(|(_, outcome)| outcome.is_kept()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_are_named_one_by_one_or_from_to() {
        assert_eq!(range("17"), Some(17..=17));
        assert_eq!(range("0-20"), Some(0..=20));
        assert_eq!(range("a"), None);
        assert_eq!(range("1-"), None);
    }
}
