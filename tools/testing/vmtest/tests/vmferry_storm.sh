#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# kexec, restore and finish are killed with SIGKILL at each of their steps, see killer.c: no
# virtual machine is lost, and what is run again goes on from there.
#
# usage: vmferry_storm.sh BDF BDF BDF	two devices of a guest that is restored, and one of a guest
#					that is given up

say() {
	echo "ok $((n = ${n:-0} + 1)) $*"
	echo "# $(cut -d" " -f1 /proc/uptime) s" >&2
}
die() {
	echo "not ok $((n = ${n:-0} + 1)) $*"
	tail -n 20 /run/vmferry/*.log /tmp/log >&2
	tail -n 3 /tmp/stops.* >&2
	exit 1
}
vmferry() { /tests/vmferry --quiet "$@" >>/tmp/log 2>&1; }
# A verb is run until nothing kills it any more. Returns its exit code then: one that was killed
# with all done has left nothing to do, which is no success.
storm() {
	kills=0
	while :; do
		[ $((kills++ % 50)) != 0 ] ||
			echo "# $(cut -d" " -f1 /proc/uptime) s: $kills $(tail -n 1 "/tmp/stops.$1" 2>/dev/null)" >&2
		/tests/killer "/tmp/stops.$1" ${never:+-e $never} -s 8 /tests/vmferry --quiet "$@" \
			>>/tmp/log 2>&1
		code=$?
		[ $code = 137 ] || break
	done
	mv "/tmp/stops.$1" "/tmp/stops.$*"
	echo "# $(cut -d' ' -f1 /proc/uptime) s: $*: $(wc -l <"/tmp/stops.$*") kills: $(cut -d' ' -f2- "/tmp/stops.$*" | sort |
		uniq -c | awk '{ printf "%s%s %s %s", sep, $1, $2, $3; sep = ", " }')"
	[ $code = 64 ] || [ $code = 0 ] || [ $code = 1 ] || die "$* ended with $code"
}
# Was it killed there? So many times, at least.
hit() { # VERB TIMES WHEN CALL
	[ "$(cut -d' ' -f2- "/tmp/stops.$1" | grep -cx "$3 $4")" -ge "$2" ] ||
		die "$1 was to be killed $3 $4, $2 times"
}

MEMORY=$((20 << 20))
MONITORS=/tmp/monitors
# The QEMU of a guest, whichever it is now
pid() {
	for pid in $(pidof qemu-system-x86_64); do
		tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q -- "-name $1 " && echo "$pid"
	done
}
# Its memory, once it has some
memory=
find_memory() {
	while :; do
		for memory in /proc/$(pid "$1")/fd/*; do
			[ "$(stat -L -c %s "$memory" 2>/dev/null)" != $MEMORY ] || return 0
		done
		usleep 50000
	done
}
# One of the words that the guest has written at 0x7e00: 0, how far it has counted; 1, how often
# it has looked at all of its memory; 2, how many words were wrong
word() { dd if="$memory" bs=4 skip=$((0x7e00 / 4 + $1)) count=1 2>/dev/null | od -An -tu4 | tr -d ' '; }
# It gets to the end of another look at its memory; the bench's own limit of time is that of this.
goes_on() {
	for guest in "$@"; do
		find_memory "$guest"
		from=$(word 1)
		while [ "$(word 1)" = "$from" ]; do usleep 50000; done
		[ "$(word 2)" = 0 ] || return 1
	done
}
# As vmt_mark() does: START, FINISHED.
mark() {
	printf "\\$(printf %o "$1")\\$(printf %o "$VMTEST_STAGE")" |
		dd of=/sys/bus/pci/devices/0000:00:00.0/config bs=2 seek=30 conv=notrunc 2>/dev/null
}
start() { # NAME UUID MONITOR BDF...
	devices=
	[ $# = 3 ] || devices="-object iommufd,id=iommufd0"
	for bdf in $(echo "$*" | cut -d" " -f4-); do
		echo vfio-pci >"/sys/bus/pci/devices/$bdf/driver_override"
		echo "$bdf" >/sys/bus/pci/drivers_probe
		devices="$devices -device vfio-pci,host=$bdf,iommufd=iommufd0"
	done
	# shellcheck disable=SC2086 # several words
	qemu-system-x86_64 -name "$1" -uuid "$2" -accel tcg -nodefaults -net none -display none \
		-m $((MEMORY >> 20))M -object memory-backend-memfd,id=mem0,size=$MEMORY,share=on \
		-machine q35,aux-ram-share=on,memory-backend=mem0 -kernel /tests/vmferry_guest \
		-qmp "unix:$3,server=on,wait=off" $devices &
	find_memory "$1"
	while [ "$(word 0)" = 0 ]; do usleep 50000; done
}
state() { cat "/sys/bus/pci/devices/$1/liveupdate"; }
save() { vmferry save $MONITORS/kept.qmp given_up; }

mkdir -p /run/vmferry $MONITORS
cd /run/vmferry || exit 1
echo "TAP version 13"
case $VMTEST_STAGE in
1)
	echo 1..4
	# One whose monitor is not where vmferry would look for it
	start kept 11111111-2222-3333-4444-666666666666 $MONITORS/kept.qmp "$1" "$2"
	start given_up 11111111-2222-3333-4444-777777777777 given_up.qmp "$3"
	mark 1
	vmferry load /boot/bzImage --initrd /sys/firmware/initrd --cmdline "$(
		sed "s/ vmtest.stage=[0-9]*//; s/\$/ vmtest.stage=2/" /proc/cmdline)" &&
		save || die "saved"
	say "saved"
	never=reboot
	storm kexec
	[ -z "$(pidof qemu-system-x86_64)" ] || die "kexec is killed"
	hit kexec 1 after CREATE_SESSION
	hit kexec 1 after PRESERVE_FD
	say "kexec is killed, and what is saved stays saved"
	vmferry abort && goes_on kept given_up || die "all of it can be had back"
	say "all of it can be had back"
	save || die "saved once more"
	say "saved once more"
	vmferry kexec
	die "the kernel is replaced"
	;;
2)
	echo 1..5
	storm restore kept
	goes_on kept || die "restore is killed"
	hit "restore kept" 1 after RETRIEVE_FD
	hit "restore kept" 1 after FINISH
	hit "restore kept" 2 after BIND_IOMMUFD
	hit "restore kept" 3 after IOAS_MAP_FILE
	hit "restore kept" 2 after ATTACH_IOMMUFD_PT
	hit "restore kept" 2 after SET_IRQS
	hit "restore kept" 1 before GET_HW_INFO
	say "restore is killed, and it goes on"
	storm finish given_up
	hit "finish given_up" 1 after FINISH
	say "finish is killed, and gives it up"
	/tests/vmferry restore 2>&1 | grep "the kernel before has left nothing" || die "nothing is left"
	say "nothing is left"
	/tests/vmferry status >/tmp/status
	grep -q "nobody has a session" /tmp/status && grep -q "nothing is saved" /tmp/status &&
		[ "$(state "$1") $(state "$2") $(state "$3")" = "none none none" ] ||
		{ cat /tmp/status >&2; die "neither are sessions"; }
	say "neither are sessions"
	goes_on kept || die "and it goes on still"
	say "and it goes on still"
	mark 7
	;;
esac
