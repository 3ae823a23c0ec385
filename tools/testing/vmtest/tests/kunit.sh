#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Hand on the results of the KUnit tests that ran at boot.
#
# The log has them as nested KTAP: suites at the margin, their cases below, cases of
# parameterized tests one further down. The cases are what the runner gets.

dmesg | sed -n 's/^\[ *[0-9.]*\] //; s/^    # Subtest: /#@ group /p; s/^    \(1\.\..*\)/\1/p
	s/^    \(ok .*\)/\1/p; s/^    \(not ok .*\)/\1/p' >/tmp/results
if ! grep -q 'ok ' /tmp/results; then
	echo "kunit: no test has run in this kernel" >&2
	exit 1
fi
cat /tmp/results
