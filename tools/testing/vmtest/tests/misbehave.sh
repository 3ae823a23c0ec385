#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Go wrong in one way, for scripts/vmtest-selftest.

say() {
	echo "<4>$*" >/dev/kmsg
}

case $1 in
nothing) ;;
not-ok)		echo "not ok 1 this" ;;
short)		echo "1..3"; echo "ok 1 this"; echo "ok 2 that" ;;
status)		exit 3 ;;
signal)		kill -SEGV $$ ;;
hang)		sleep 1000 ;;
panic)		echo c >/proc/sysrq-trigger ;;
reset)		echo b >/proc/sysrq-trigger ;;
warning)	say "WARNING: CPU: 0 PID: 1 at nowhere" ;;
lockdep)	say "WARNING: possible circular locking dependency detected" ;;
fault)		say "DMAR: [DMA Write NO_PASID] Request device [00:04.0] fault addr 0x1000" ;;
leak)		say "unreferenced object 0xffff888000000000 (size 64):" ;;
compare)
	echo "ok 1 good"
	echo "not ok 2 bad"
	if grep -q vmtest.flavour=stock /proc/cmdline; then
		echo "ok 3 broken"
		echo "ok 4 gone"
	else
		echo "not ok 3 broken"
	fi
	;;
jump)		exec /tests/jump ;;
*)		echo "misbehave: $1?" >&2; exit 1 ;;
esac
exit 0
