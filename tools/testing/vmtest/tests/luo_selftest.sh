#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Run one of the kernel's two-stage LUO selftests, unchanged: its first stage
# leaves a daemon behind that holds the sessions, then comes the kexec.
#
# usage: luo_selftest.sh PROGRAM

echo "#@ group $1"
"/tests/$1" --stage "$VMTEST_STAGE"
echo "#@ status $?"
[ "$VMTEST_STAGE" = 1 ] && exec /tests/jump
exit 0
