//! `qemu-tests test [filter]` runs the scenarios, `qemu-tests demo` shows the main job,
//! `qemu-tests bench [filter]` measures, `qemu-tests crash [filter]` cuts the power of disks with caches,
//! `qemu-tests list` names the scenarios.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use qemu_tests::crash;
use qemu_tests::ctx::Bench;
use qemu_tests::demo;
use qemu_tests::kernel;
use qemu_tests::runner;

#[path = "../bench/mod.rs"]
mod bench;
#[path = "../scenarios/mod.rs"]
mod scenarios;

const USAGE: &str = "usage: qemu-tests test [filter] | list | demo | bench [filter] | crash [filter]
  SEED=n    replays a run's choices        FLAVOUR=lean  scenarios on the quick kernel
  JOBS=n    scenarios side by side         KEEP=1        keeps disks and logs
  CUTS=n    cuts of each case of crash     REPLAY=file   makes cuts of a log that crash has kept (CUT=n or n-m)
  DEADLINE= seconds since 1970 when scenarios that still run are ended
  CUTS=all  every flush, 200 random points RESUME=1      goes on with the logs that crash has kept, and makes no cut twice";

fn main() -> ExitCode {
    match work() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("qemu-tests: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn work() -> Result<bool> {
    let words: Vec<_> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["test"] => test(""),
        ["test", filter] => test(filter),
        ["demo"] => demo::run(),
        ["bench"] => bench::run(""),
        ["bench", filter] => bench::run(filter),
        ["crash"] => crash::run::run(""),
        ["crash", filter] => crash::run::run(filter),
        ["list"] => {
            for scenario in scenarios::ALL {
                println!("{}", scenario.name);
            }
            Ok(true)
        }
        _ => bail!("{USAGE}"),
    }
}

fn test(filter: &str) -> Result<bool> {
    let begun = Instant::now();
    let bench = Bench::set_up(kernel::for_scenarios()?)?;
    println!(
        "kernel, module and guest system were there after {} s",
        begun.elapsed().as_secs()
    );
    runner::run(&scenarios::ALL, filter, &bench)
}
