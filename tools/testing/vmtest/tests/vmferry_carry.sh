#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# libvmferry's example takes a device and its memory through a live update.
#
# usage: vmferry_carry.sh BDF

bdf=$1
trace=/sys/kernel/tracing
say() { echo "ok $((n = ${n:-0} + 1)) $*"; }
die() { echo "not ok $((n = ${n:-0} + 1)) $*"; exit 1; }

echo vfio-pci >"/sys/bus/pci/devices/$bdf/driver_override"
echo "$bdf" >/sys/bus/pci/drivers_probe

if [ "$VMTEST_STAGE" = 1 ]; then
	echo "TAP version 13"
	echo 1..4
	/tests/carry save 2>/dev/null
	[ $? = 2 ] || die "wrong usage"
	say "wrong usage"
	/tests/carry save carry 0000:1f:1f.7 2>/dev/null && die "a device that is not there"
	say "a device that is not there"
	mkfifo /tmp/said
	/tests/carry save carry "$bdf" >/tmp/said &
	read -r word </tmp/said
	[ "$word" = saved ] || die "saved"
	say "saved"
	[ "$(cat "/sys/bus/pci/devices/$bdf/liveupdate")" = preserved ] || die "preserved"
	say "preserved"
	exec /tests/jump
fi

echo "TAP version 13"
echo 1..4
/tests/carry restore other "$bdf" 2>/dev/null && die "a session that is not there"
say "a session that is not there"
mount -t tracefs tracefs "$trace" 2>/dev/null
echo 1 >"$trace/events/iommu/map/enable" || die "trace"
echo 1 >"$trace/events/iommu/attach_device_to_domain/enable" || die "trace"
[ "$(/tests/carry restore carry "$bdf")" = restored ] || die "restored"
say "restored"
# All of it, in one piece, and before the device came.
end=0x0000000010000000
while read -r line; do
	case $line in
	*" map: "*"iova=$end - "*) end=${line#* - } end=${end%% *} ;;
	*" map: "*) die "mapped: $line" ;;
	*" attach_device_to_domain: "*) break ;;
	esac
done <"$trace/trace"
[ "$end" = 0x0000000010100000 ] || die "mapped up to $end"
say "mapped"
/tests/carry restore carry "$bdf" 2>/dev/null && die "once more"
say "once only"
