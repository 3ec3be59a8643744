//! The page's part on the cost of an I/O.

use super::cost::{Cost, Costs, Safe};
use super::report::verdict;

const HEAD: &str = "
## Cost of an I/O

Guest instructions for one I/O, fio and system call included; RAM disks, one CPU under icount, chunk 64 KiB, depth 16 (1 MiB: 4).

| I/O | level | RAM disk alone | md | restripe | restripe / md | mark | |
|---|---|--:|--:|--:|--:|--:|---|
";

const SAFE_HEAD: &str = "
Those are without a bitmap on either side. What the same 4 KiB random writes cost without and with one, and with restripe's journal:

| level | with | md without | md with | restripe without | restripe with |
|---|---|--:|--:|--:|--:|
";

pub fn markdown(costs: &Costs) -> String {
    let mut page = HEAD.to_owned();
    for (row, floor) in costs.with_floor() {
        let Cost {
            level,
            members,
            work,
            md,
            restripe,
            ratio,
            mark,
            met,
        } = row;
        let (md, restripe, floor) = (grouped(*md), grouped(*restripe), grouped(floor));
        let (work, verdict) = (work.replace('-', " "), verdict(*met));
        page += &format!(
            "| {work} | {level} ({members}) | {floor} | {md} | {restripe} | {ratio:.2} | {mark:.1} | {verdict} |\n"
        );
    }
    if !costs.safe.is_empty() {
        page += SAFE_HEAD;
    }
    for row in &costs.safe {
        let Safe {
            level,
            members,
            by,
            md,
            restripe: (without, with),
        } = row;
        let none = || "-".to_owned();
        let of_md = |pick: fn((u64, u64)) -> u64| md.map_or_else(none, |both| grouped(pick(both)));
        page += &format!(
            "| {level} ({members}) | {by} | {} | {} | {} | {} |\n",
            of_md(|both| both.0),
            of_md(|both| both.1),
            grouped(*without),
            grouped(*with)
        );
    }
    page
}

/// 1234567 as 1,234,567.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn thousands() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
    }
}
