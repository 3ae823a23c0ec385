# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# What the shell scripts share. Source it first.

set -euo pipefail
export LC_ALL=C
trap 'echo "${0##*/}: failed in line $LINENO" >&2' ERR
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$repo/build
# shellcheck disable=SC2034 # used by those who source this
stock=$build/stock linux=$build/linux dl=$build/download

die() { echo "${0##*/}: $*" >&2; exit 1; }
say() { echo "${0##*/}: $*"; }

# Make the directory for what is built of a tree, and print its name: out_dir SRCTREE NAME
# It lies right below the source, and build/out/NAME leads to it, for then kbuild calls the
# source ".." wherever that is: one compiler cache serves both trees and every clone.
out_dir() {
	local dir=$1/.out-$2
	mkdir -p "$dir" "$build/out"
	[ -L "$build/out/$2" ] || rm -rf "$build/out/$2"
	ln -sfn "../${1##*/}/.out-$2" "$build/out/$2"
	echo "$build/out/$2"
}

# Run kbuild: kmake SRCTREE OUTDIR ARGS...
# The jobs and variables of a make that calls us are not meant for the kernel's. A fixed
# builder and time make equal sources give equal images, and let ccache hit.
kmake() {
	local src=$1 out=$2
	shift 2
	mkdir -p "$out" "$build/ccache"
	env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u MAKEOVERRIDES \
		CCACHE_DIR="$build/ccache" CCACHE_NOHASHDIR=1 CCACHE_MAXSIZE=4G \
		make -s -C "$src" O="$out" CC="ccache gcc" HOSTCC="ccache gcc" \
		-j"$(nproc)" ${V:+V=$V} \
		KBUILD_BUILD_TIMESTAMP='Thu Jan  1 00:00:00 UTC 2026' KBUILD_BUILD_VERSION=1 \
		KBUILD_BUILD_USER=build KBUILD_BUILD_HOST=localhost "$@"
}

# Make OUTDIR/.config of allnoconfig and the fragments: kconfig SRCTREE OUTDIR FRAGMENT...
# Later fragments override earlier ones. Every option asked for must have taken effect.
kconfig() {
	local src=$1 out=$2 want missing
	shift 2
	mkdir -p "$out"
	want=$out/.requested
	awk -F= '/^CONFIG_/ { if (!($1 in v)) n[++c] = $1; v[$1] = substr($0, length($1) + 2) }
		END { for (i = 1; i <= c; i++) print n[i] "=" v[n[i]] }' "$@" > "$want"
	kmake "$src" "$out" KCONFIG_ALLCONFIG="$want" allnoconfig > "$out/.config.log" 2>&1 ||
		{ cat "$out/.config.log" >&2; die "configuring ${out##*/} failed"; }
	missing=$(config_missing "$want" "$out/.config")
	[ -z "$missing" ] || die "${out##*/}: these options did not take effect (a dependency?):" $missing
}

# Print those assignments of a fragment that a .config does not have
config_missing() {
	awk -F= 'NR == FNR { if (/^CONFIG_/) have[$1] = substr($0, length($1) + 2); next }
		/^CONFIG_/ { w = substr($0, length($1) + 2); h = ($1 in have) ? have[$1] : "n"
			if (w != h) print $0 }' "$2" "$1"
}

# One kernel build at a time: two would only take turns on the same cores
kernel_lock() { mkdir -p "$build"; exec 9> "$build/.kernel-lock"; flock 9; }

# Put a file in its place, but leave one that is equal untouched for make's sake
install_if_changed() { cmp -s "$1" "$2" || cp "$1" "$2"; }

# The newest package of a name in the download directory, or nothing
downloaded() { find "$dl" -name "$1_*.deb" | sort -V | tail -n 1; }
