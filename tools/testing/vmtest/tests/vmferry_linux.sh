#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# A Linux guest that drives a network card and an NVMe drive by itself goes through two live
# updates of its host, with vmferry and stock QEMUs.
#
# usage: vmferry_linux.sh BDF...	with these devices passed through

say() { echo "ok $((n = ${n:-0} + 1)) $*"; }
die() {
	echo "not ok $((n = ${n:-0} + 1)) $*"
	tail -n 20 /run/vmferry/*.log /run/vmferry/console /tmp/log /tmp/timeline.txt >&2
	exit 1
}
vmferry() { /tests/vmferry --quiet "$@" >>/tmp/log 2>&1; }
# The bench sends the frames.
ask() {
	echo "#@ ask $*"
	read -r answer <&1
	[ "$answer" = ok ] || die "$*: $answer"
}
# As vmt_mark() does.
mark() {
	printf "\\$(printf %o "$1")\\$(printf %o "$VMTEST_STAGE")" |
		dd of=/sys/bus/pci/devices/0000:00:00.0/config bs=2 seek=30 conv=notrunc 2>/dev/null
}

# What the guest has said last, see tools/vmferry/tests/qemu/init.c: one of its numbers.
guest() { tail -n 2 console 2>/dev/null | sed -n "s/^GUEST.* $1=\([^ ]*\) .*end.*/\1/p" | tail -n 1; }
# All of these grow; the bench's own limit of time is that of this.
grow() {
	for name in "$@"; do
		from=$(guest "$name")
		while [ "$(guest "$name")" = "$from" ]; do usleep 20000; done
	done
}
# As if nothing had happened.
unhurt() {
	for name in missing bad wrong errors complaints; do
		[ "$(guest $name)" = 0 ] || return 1
	done
}
goes_on() { grow tick frames reads writes nic nvme && unhurt; }

start() {
	devices=
	for bdf; do
		echo vfio-pci >"/sys/bus/pci/devices/$bdf/driver_override"
		echo "$bdf" >/sys/bus/pci/drivers_probe
		devices="$devices -device vfio-pci,host=$bdf,iommufd=iommufd0"
	done
	# shellcheck disable=SC2086 # several words
	qemu-system-x86_64 -name guest -uuid 11111111-2222-3333-4444-555555555555 -accel kvm \
		-nodefaults -net none -display none -m 128M \
		-object memory-backend-memfd,id=mem0,size=128M,share=on \
		-machine q35,smm=off,aux-ram-share=on,memory-backend=mem0,smbus=off,sata=off,usb=off \
		-cpu host,kvm-pv-eoi=off -kernel /boot/guest -initrd /tests/vmferry_initrd \
		-append "console=ttyS0 loglevel=4 panic=-1 pci=lastbus=8 no_timer_check" \
		-chardev file,id=con,path=/run/vmferry/console,append=on -serial chardev:con \
		-object iommufd,id=iommufd0 $devices \
		-qmp unix:/run/vmferry/guest.qmp,server=on,wait=off 2>>/run/vmferry/qemu.log &
}
# What ran when, as the command has told with --json: figures for the bench, and the phases are
# the pause.
timeline() {
	awk -F '["":,]+' -v update=$((VMTEST_STAGE - 1)) '
		$2 == "name" { name = $3; gsub(" ", "_", name) }
		$2 == "ms" { ms = $3 }
		$2 == "runs" {
			print "#@ figure update" update "_" name "_ms", int(ms + 0.5)
			seen = seen " " name
			if ($3 == "false")
				sum += ms
		}
		$2 == "pause_ms" { pause = $3 }
		$2 == "exact" { exact = $3 }
		END {
			print "#@ figure update" update "_pause_ms", int(pause + 0.5)
			print "#" seen ": " sum " of " pause " ms, exact: " exact
			off = sum - pause
			exit !(seen == " receive preserve prepare capture wait freeze_and_jump kernel_boot wait_again retrieve rebuild replay" &&
				exact == "true" && pause > 0 && off < 0.1 && off > -0.1)
		}' /tmp/restore.json || return 1
	sed 's/^/# /' /tmp/timeline.txt
	grep -q '^guest: the guest stood still for [0-9]' /tmp/timeline.txt
}
update() {
	vmferry update "$@" /boot/bzImage guest --initrd /sys/firmware/initrd --cmdline "$(sed "
		s/ vmtest.stage=[0-9]*//; s/ was=.*//
		s/\$/ vmtest.stage=$((VMTEST_STAGE + 1)) was=$(guest boot),$(guest tick)/" \
		/proc/cmdline)"
}

mkdir -p /run/vmferry
cd /run/vmferry || exit 1
was=$(sed -n 's/.* was=//p' /proc/cmdline)
echo "TAP version 13"
case $VMTEST_STAGE in
1)
	methods=$(cat "/sys/bus/pci/devices/$1/reset_method")
	case " $methods " in
	*" flr "*) echo 1..6 ;;
	*) echo 1..3 ;;
	esac
	start "$@"
	while [ -z "$(guest tick)" ]; do usleep 20000; done
	ask stream start net0
	goes_on || die "the guest uses its devices"
	say "the guest uses its devices"
	mark 1
	case " $methods " in
	*" flr "*) ;;
	*)
		vmferry check guest
		[ $? = 3 ] && grep -q "device.reset.* $1: .*turn it off" /tmp/log ||
			die "check says what is in the way"
		say "check says what is in the way"
		vmferry rehearse guest
		[ $? = 77 ] && grep -q "$1 cannot be reset by itself" /tmp/log && goes_on ||
			die "refused, and the guest goes on"
		say "refused, and the guest goes on"
		exit
		;;
	esac
	vmferry check guest || die "it can be updated"
	say "it can be updated"
	/tests/vmferry --quiet --json rehearse guest >/tmp/rehearse.json 2>>/tmp/log && goes_on ||
		die "rehearsed, and it goes on"
	sed -n 's/.*"rehearse_ns":\([0-9]*\)[0-9]\{6\}.*/#@ figure rehearse_ms \1/p' /tmp/rehearse.json
	say "rehearsed, and it goes on"
	vmferry save guest && vmferry abort guest && goes_on || die "saved and aborted, and it goes on"
	say "saved and aborted, and it goes on"
	mkfifo /tmp/said
	/tests/refuse >/tmp/said &
	read -r word </tmp/said
	update
	[ $? = 1 ] && [ "$word" = ready ] && goes_on || die "refused by the kernel, and it goes on"
	say "refused by the kernel, and it goes on"
	kill $!
	update --timeline /tmp/timeline.txt
	die "the kernel is replaced"
	;;
2 | 3)
	echo 1..$((VMTEST_STAGE + 2))
	# Where to draw, the old kernel has said, or not.
	set --
	[ "$VMTEST_STAGE" = 2 ] || set -- --timeline /tmp/timeline.txt
	/tests/vmferry --quiet --json restore "$@" >/tmp/restore.json 2>>/tmp/log || die "restored"
	say "restored"
	timeline || die "the phases are the pause"
	say "the phases are the pause"
	while [ -z "$(guest tick)" ]; do usleep 20000; done
	goes_on || die "and it goes on"
	say "and it goes on"
	[ "$(guest boot)" = "${was%,*}" ] && [ "$(guest tick)" -gt "${was#*,}" ] ||
		die "from where it was"
	say "from where it was"
	if [ "$VMTEST_STAGE" = 2 ]; then
		update
		die "the kernel is replaced once more"
	fi
	ask stream stop net0
	while [ "$(guest ended)" = 0 ]; do usleep 20000; done
	mark 7
	echo "# $(tail -n 1 console)"
	unhurt || die "nothing is lost"
	say "nothing is lost"
	;;
esac
