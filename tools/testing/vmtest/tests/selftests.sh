#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Run the kernel's own selftests, unchanged, one after the other.
#
# usage: selftests.sh [VENDOR:DEVICE] PROGRAM...
#
# With VENDOR:DEVICE the first such PCI device is bound to vfio-pci and given to
# every program as its last argument.

bdf=
case $1 in
*:*)
	for d in /sys/bus/pci/devices/*; do
		if [ "$(cat "$d/vendor"):$(cat "$d/device")" = "0x${1%:*}:0x${1#*:}" ]; then
			bdf=${d##*/}
			break
		fi
	done
	if [ -z "$bdf" ]; then
		echo "selftests: no device $1" >&2
		exit 1
	fi
	echo vfio-pci >"/sys/bus/pci/devices/$bdf/driver_override"
	echo "$bdf" >/sys/bus/pci/drivers_probe
	shift
	;;
esac

while [ $# -gt 0 ]; do
	echo "#@ group $1"
	"/tests/$1" ${bdf:+"$bdf"}
	echo "#@ status $?"
	shift
done
exit 0
