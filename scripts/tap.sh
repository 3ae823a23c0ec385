# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Print test results as TAP. Source it after lib.sh; call tap_end last.

tap_count=0 tap_failures=0
echo "TAP version 14"

tap_ok() { echo "ok $((++tap_count)) - $*"; }
tap_skip() { echo "ok $((++tap_count)) - $1 # SKIP ${*:2}"; }
# What is wrong comes on stdin and becomes diagnostics
tap_fail() {
	sed 's/^/# /'
	echo "not ok $((++tap_count)) - $*"
	tap_failures=$((tap_failures + 1))
}
# tap_quiet NAME TEXT: ok when there is nothing to complain about
tap_quiet() { if [ -z "$2" ]; then tap_ok "$1"; else tap_fail "$1" <<< "$2"; fi; }
# tap_run NAME COMMAND...: ok when the command succeeds
tap_run() {
	local name=$1 text
	shift
	if text=$("$@" 2>&1); then tap_ok "$name"; else tap_fail "$name" <<< "$text"; fi
}
tap_end() {
	echo "1..$tap_count"
	exit $((tap_failures > 0))
}
