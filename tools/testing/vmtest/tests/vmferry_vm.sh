#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# A virtual machine goes through a live update of its host, taken by vmferry out of a stock
# QEMU and put into another one.
#
# usage: vmferry_vm.sh [BDF...]	with these devices passed through

say() { echo "ok $((n = ${n:-0} + 1)) $*"; }
die() { echo "not ok $((n = ${n:-0} + 1)) $*"; cat /run/vmferry/*.log /tmp/log >&2; exit 1; }
vmferry() { /tests/vmferry --quiet "$@" >>/tmp/log 2>&1; }

MEMORY=$((20 << 20))

# What the guest has written at 0x7e00: how far it has counted, how often it has looked at
# all of its memory, how many words were wrong.
status() {
	for fd in /proc/$(pidof qemu-system-x86_64)/fd/*; do
		[ "$(stat -L -c %s "$fd" 2>/dev/null)" = $MEMORY ] || continue
		dd if="$fd" bs=4 skip=$((0x7e00 / 4)) count=3 2>/dev/null | od -An -tu4
		return
	done
}
word() { shift "$1"; echo "$1"; }
count() { word 1 $(status); }
# It goes on from there; the bench's own limit of time is that of this.
goes_on() {
	from=$(count)
	while [ "$(count)" = "$from" ]; do usleep 10000; done
	[ "$(word 3 $(status))" = 0 ]
}
# As vmt_mark() does: START, FINISHED.
mark() {
	printf "\\$(printf %o "$1")\\$(printf %o "$VMTEST_STAGE")" |
		dd of=/sys/bus/pci/devices/0000:00:00.0/config bs=2 seek=30 conv=notrunc 2>/dev/null
}
start() { # NAME UUID BDF...
	qemu=qemu-system-x86_64
	[ "$1" = guest ] || qemu=/tmp/$1
	devices=
	[ $# = 2 ] || devices="-object iommufd,id=iommufd0"
	for bdf in $(echo "$*" | cut -d" " -f3-); do
		echo vfio-pci >"/sys/bus/pci/devices/$bdf/driver_override"
		echo "$bdf" >/sys/bus/pci/drivers_probe
		devices="$devices -device vfio-pci,host=$bdf,iommufd=iommufd0"
	done
	# shellcheck disable=SC2086 # several words
	$qemu -name "$1" -uuid "$2" -accel tcg -nodefaults -net none -display none \
		-m $((MEMORY >> 20))M -object memory-backend-memfd,id=mem0,size=$MEMORY,share=on \
		-machine q35,aux-ram-share=on,memory-backend=mem0 -kernel /tests/vmferry_guest \
		-qmp "unix:/run/vmferry/$1.qmp,server=on,wait=off" $devices &
}
next_cmdline() {
	sed "s/ vmtest.stage=[0-9]*//; s/\$/ vmtest.stage=$((VMTEST_STAGE + 1))/" /proc/cmdline
}
load() { vmferry load /boot/bzImage --initrd /sys/firmware/initrd --cmdline "$(next_cmdline)"; }
update() {
	vmferry update /boot/bzImage guest "$@" --initrd /sys/firmware/initrd \
		--cmdline "$(next_cmdline) vmferry.count=$(count)"
}

mkdir -p /run/vmferry
cd /run/vmferry || exit 1
echo "TAP version 13"
case $VMTEST_STAGE in
1)
	[ "$1" ] && [ ! -e "/sys/bus/pci/devices/$1/reset" ] && echo 1..4 || echo 1..8
	vmferry restore && die "nothing to restore"
	say "nothing to restore"
	start guest 11111111-2222-3333-4444-555555555555 "$@"
	while [ -z "$(status)" ] || [ "$(word 2 $(status))" = 0 ]; do usleep 10000; done
	say "the guest counts"
	mark 1
	if [ "$1" ] && [ ! -e "/sys/bus/pci/devices/$1/reset" ]; then
		vmferry rehearse guest
		[ $? = 77 ] && goes_on || die "a device that QEMU would change is refused"
		say "a device that QEMU would change is refused"
		grep -q "cannot be reset by itself" /tmp/log || die "and it says why"
		say "and it says why"
		exit
	fi
	vmferry rehearse guest && goes_on || die "rehearsed"
	say "rehearsed, and it goes on"
	vmferry kexec && die "no kernel is loaded"
	say "no kernel is loaded"
	load && vmferry save guest && [ -z "$(pidof qemu-system-x86_64)" ] || die "saved"
	say "saved"
	vmferry abort guest && goes_on || die "aborted"
	say "aborted, and it goes on"
	mkfifo /tmp/said
	/tests/refuse >/tmp/said &
	read -r word </tmp/said
	before=$(pidof qemu-system-x86_64)
	update
	[ $? = 1 ] && [ "$word" = ready ] || die "a refusal comes back"
	say "a refusal comes back"
	# It was taken out, and is in another one.
	[ "$(pidof qemu-system-x86_64)" != "$before" ] && goes_on || die "and it goes on"
	say "and it goes on"
	kill $!
	# One whose QEMU will not be there any more
	cp /bin/qemu-system-x86_64 /tmp/other
	start other 11111111-2222-3333-4444-666666666666
	while [ ! -e other.qmp ]; do usleep 10000; done
	update other
	die "the kernel is replaced"
	;;
2)
	echo 1..8
	vmferry restore nobody && die "a name that is not there"
	say "a name that is not there"
	vmferry restore
	[ $? = 4 ] && goes_on || die "restored"
	say "restored, and it goes on; another one is lost"
	vmferry restore other
	[ $? = 1 ] && vmferry show other || die "it can be tried again"
	say "it can be tried again"
	vmferry finish other || die "given up"
	say "given up"
	before=$(sed 's/.*vmferry.count=//' /proc/cmdline)
	[ "$(count)" -gt "$before" ] || die "from where it was"
	say "from where it was"
	vmferry restore && die "once only"
	say "once only"
	load && vmferry save guest || die "saved once more"
	say "saved once more"
	# A kernel that would lose it is not loaded
	vmferry load /boot/bzImage --cmdline "console=ttyS0"
	[ $? = 3 ] || die "a kernel without live update is refused"
	say "a kernel without live update is refused"
	vmferry kexec
	die "the kernel is replaced once more"
	;;
3)
	echo 1..2
	vmferry restore && goes_on || die "restored once more"
	say "restored once more"
	[ "$(word 3 $(status))" = 0 ] || die "its memory is as it was"
	say "its memory is as it was"
	mark 7
	;;
esac
