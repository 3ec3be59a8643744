//! Kernel configuration: `allnoconfig` with a fragment laid over it, and a check that the fragment took.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::child;
use crate::kernel::Flavour;

const COMMON: &str = include_str!("../kernel/common.config");
const LEAN: &str = include_str!("../kernel/lean.config");
const DEBUG: &str = include_str!("../kernel/debug.config");

/// All options of a flavour.
pub fn text(flavour: Flavour) -> String {
    let own = match flavour {
        Flavour::Lean => LEAN,
        Flavour::Debug => DEBUG,
    };
    format!("{COMMON}\n{own}")
}

/// The fragment without its words: what decides whether two kernels are the same.
pub fn wishes(fragment: &str) -> String {
    fragment
        .lines()
        .filter(|line| line.starts_with("CONFIG_") || line.ends_with(" is not set"))
        .flat_map(|line| [line, "\n"])
        .collect()
}

/// Wishes of a fragment that a configuration does not fulfil, as `CONFIG_X=y` or `# CONFIG_X is not set`.
pub fn unmet<'a>(fragment: &'a str, config: &str) -> Vec<&'a str> {
    let has = |line: &str| config.lines().any(|have| have == line);
    fragment
        .lines()
        .filter(|line| {
            match line
                .strip_prefix("# CONFIG_")
                .and_then(|rest| rest.strip_suffix(" is not set"))
            {
                // An option whose menu is off is absent from the configuration, and just as unset.
                Some(name) => config
                    .lines()
                    .any(|have| have.starts_with(&format!("CONFIG_{name}="))),
                None => line.starts_with("CONFIG_") && !has(line),
            }
        })
        .collect()
}

/// An error naming all wishes that a built or configured tree does not fulfil.
pub fn check(fragment: &str, tree: &Path) -> Result<()> {
    let path = tree.join(".config");
    let config = std::fs::read_to_string(&path).with_context(|| {
        format!(
            "{} has no .config: configure and build that kernel first.",
            tree.display()
        )
    })?;
    let unmet = unmet(fragment, &config);
    if unmet.is_empty() {
        return Ok(());
    }
    bail!(
        "The kernel in {} lacks options that restripe's tests need: {}.",
        tree.display(),
        unmet.join(", ")
    )
}

/// Configures a source tree for a flavour.
pub fn configure(
    tree: &Path,
    flavour: Flavour,
    make: impl Fn() -> std::process::Command,
) -> Result<()> {
    let fragment = text(flavour);
    let file = tree.join("restripe.config");
    std::fs::write(&file, &fragment)?;
    child::output(
        make()
            .arg("-s")
            .arg(format!("KCONFIG_ALLCONFIG={}", file.display()))
            .arg("allnoconfig"),
    )
    .context("The kernel could not be configured.")?;
    child::output(make().args(["-s", "olddefconfig"]))
        .context("The kernel could not be configured.")?;
    check(&fragment, tree)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unmet_wish_is_named() {
        let fragment = "# words\nCONFIG_A=y\nCONFIG_B=y\nCONFIG_N=480\n# CONFIG_C is not set\n# CONFIG_D is not set\n# CONFIG_E is not set\n";
        let config = "CONFIG_A=y\nCONFIG_B=m\nCONFIG_N=120\nCONFIG_C=y\n# CONFIG_D is not set\n";
        assert_eq!(
            unmet(fragment, config),
            ["CONFIG_B=y", "CONFIG_N=480", "# CONFIG_C is not set"]
        );
        assert!(unmet("CONFIG_A=y\n", config).is_empty());
    }

    #[test]
    fn words_make_no_other_kernel() {
        let fragment = "# words\n\nCONFIG_A=y\n# CONFIG_C is not set\n";
        assert_eq!(wishes(fragment), "CONFIG_A=y\n# CONFIG_C is not set\n");
    }

    #[test]
    fn a_tree_that_lacks_an_option_is_refused_by_its_name() {
        let tree = tempfile::tempdir().unwrap();
        std::fs::write(tree.path().join(".config"), "CONFIG_EXT4_FS=y\n").unwrap();
        let error = check("CONFIG_EXT4_FS=y\nCONFIG_XFS_FS=y\n", tree.path())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("CONFIG_XFS_FS=y") && !error.contains("EXT4"),
            "{error}"
        );
        check("CONFIG_EXT4_FS=y\n", tree.path()).unwrap();
    }

    #[test]
    fn the_test_kernel_checks_what_the_lean_one_does_not() {
        assert!(text(Flavour::Debug).contains("\nCONFIG_KASAN=y\n"));
        assert!(!text(Flavour::Lean).contains("KASAN"));
        for flavour in [Flavour::Lean, Flavour::Debug] {
            assert!(
                !text(flavour).lines().any(|line| line.ends_with("=m")),
                "nothing but restripe is a module"
            );
        }
    }
}
