# restripe: every target sets up what it needs by itself, and keeps it under ~/.cache/restripe (or RESTRIPE_CACHE).
# The work is done by the cargo crates scripts/, qemu-tests/ and src/sim/; the module is built by Kbuild.

CARGO ?= cargo
# The first build takes a minute and shows itself; later ones keep out of the way.
target = $(or $(CARGO_TARGET_DIR),target)
run = $(CARGO) run $(if $(wildcard $(target)/release/restripe-scripts),--quiet) --release -p
scripts = $(run) restripe-scripts --

.PHONY: all module setup demo test sim crash bench lint clean help bootstrap
.DEFAULT_GOAL := all

all: module

help:
	@echo 'make, make module   restripe.ko here, for the cached kernel or for KDIR= (a built kernel tree)'
	@echo 'make demo           a disk with files becomes a RAID5 over three, in a VM, with the power cut on the way'
	@echo 'make test           host tests and VM scenarios; the last line is the sum'
	@echo 'make sim            crash enumeration (SEED=, SECONDS=)'
	@echo 'make crash          power cuts with lost caches, each looked at by a VM of its own (CUTS=, RESUME=1, SEED=, CASE=, JOBS=)'
	@echo 'make bench          side by side with md in the same VM'
	@echo 'make lint           rustfmt and clippy, no warnings'
	@echo 'make setup          only fetch and build what the others need'
	@echo 'make clean          remove what was built in the checkout; the cache stays'
	@echo
	@echo 'KERNEL_SRC=         kernel source instead of Debian'"'"'s: a tree, a tarball, or kernel.org[:VERSION]'

bootstrap:
	@scripts/bootstrap

module: bootstrap
	@$(scripts) module

setup: bootstrap
	@$(scripts) setup

demo bench: bootstrap
	@$(scripts) packages
	@$(run) qemu-tests --bin qemu-tests -- $@

crash: bootstrap
	@$(scripts) packages
	@$(run) qemu-tests --bin qemu-tests -- crash $(CASE)

test: bootstrap
	@$(scripts) test

sim: bootstrap
	@$(run) restripe-sim

lint: bootstrap
	$(CARGO) fmt --all --check
	$(CARGO) clippy --quiet --workspace --all-targets -- -D warnings
	@$(scripts) lint

clean:
	$(CARGO) clean
	rm -f restripe.ko
