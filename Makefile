# SPDX-License-Identifier: GPL-2.0-only
#
# Live update of passed-through PCI devices: kernel patches, tests, packages.
# 'make help' lists the targets. Everything generated lives under build/.

SHELL := /bin/bash
.DEFAULT_GOAL := help
# Every step uses all cores by itself; kernel builds never run two at once.
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

# Your own kernel source instead of Debian's: KERNEL_SRC=dir or KERNEL_TARBALL=file.
export KERNEL_SRC KERNEL_TARBALL V
export PYTHONDONTWRITEBYTECODE := 1

FLAVOURS := test debug stock mod

.PHONY: help
help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' Makefile
	@echo "Variables: KERNEL_SRC=dir or KERNEL_TARBALL=file (your own 7.2 source), V=1 (verbose builds)"

##### The two commands

.PHONY: demo check bench
demo: guest kernel kernel-stock ## a stream of frames through a live update in a VM, beside the stock kernel
	@scripts/vmtest demo

bench: guest kernel kernel-stock ## what a live update takes and how that grows [BENCH='PART... --rounds N'; -h: parts]
	@scripts/bench $(BENCH)

check: deps tree ## everything: style, builds, series, kernels, VM tests; a one-line sum at the end
	@scripts/check check-style check-series check-vmferry check-kernels check-fixups \
		check-build check-vm

##### Preparation

.PHONY: deps tree refresh
deps: ## install the Debian packages that are missing (as root)
	@scripts/deps

tree: deps ## unpack and patch the kernel source: build/linux, pristine in build/stock
	@scripts/fetch-kernel
	@scripts/tree

refresh: ## write edits in build/linux back to patches/ [PATCH=name.patch [FILES='...']] [FORCE=1]
	@scripts/refresh $(if $(FORCE),--force) $(if $(PATCH),--patch '$(PATCH)') $(FILES)

##### Kernels

.PHONY: kernel kernel-debug kernel-stock kernel-mod
kernel: tree ## the test kernel: build/bzImage
	@scripts/build-kernel test

kernel-debug: tree ## the same with KASAN, lockdep, KMEMLEAK ...: build/bzImage-debug
	@scripts/build-kernel debug

kernel-stock: tree ## the kernel without our patches, to compare with: build/bzImage-stock
	@scripts/build-kernel stock

kernel-mod: tree ## the test kernel with vfio-pci as a module: build/bzImage-mod
	@scripts/build-kernel mod

##### The VM

.PHONY: guest shell check-vm
guest: tree
	@scripts/build-guest

shell: guest kernel ## an interactive shell in the VM, before and after a kexec
	@scripts/vmtest shell

check-vm: guest kernel kernel-debug kernel-stock kernel-mod ## KUnit and all VM tests
	-@scripts/fetch-sid qemu
	-@scripts/fetch-sid systemd
	@scripts/vmtest run --all

##### Checks without a VM

.PHONY: check-style check-vmferry check-fixups check-build check-series check-kernels
check-style: tree ## checkpatch, SPDX, shell and Python syntax
	@scripts/check-style

check-vmferry: guest ## libvmferry with ASan and UBSan: it builds, its tests and fuzzers, its installation
	@scripts/check-vmferry

check-fixups: tree ## no PCI fixup of the tree can touch an incoming device unnoticed
	@scripts/check-fixups

check-build: tree ## sparse, W=1, kernel-doc, and builds with the options off
	@scripts/check-build

check-series: tree ## the mail series applies to a pristine tree and gives the tree we build
	@scripts/check-series

check-kernels: tree ## the four kernels build
	@scripts/check-kernels $(FLAVOURS)

##### What leaves this repository

.PHONY: series deb deb-config
series: tree ## the patches and new files as a mail series for 'git am': build/series
	@scripts/make-series

deb: deb-config ## kernel packages for a real host: Debian's config plus Kconfig.fragment
	@scripts/build-deb

deb-config: tree ## just the configuration of these packages: build/out/deb/.config
	@scripts/deps deb
	@scripts/build-deb --config-only

##### Cleaning

.PHONY: clean distclean
clean: ## remove what was built; keep the source, downloads, and the compiler cache
	@scripts/clean

distclean: ## remove build/ altogether [FORCE=1: even unsaved edits in build/linux]
	@scripts/clean --all
