#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Virtual machines go through two live updates of a host whose PID 1 is systemd, by "systemctl
# kexec". PID 1 takes files of its own through them at the same time.

say() { echo "ok $((n = ${n:-0} + 1)) $*"; }
die() {
	echo "not ok $((n = ${n:-0} + 1)) $*"
	systemctl status 'vmferry*' >&2
	cat /run/vmferry/*.log /tmp/log >&2
	exit 1
}
MEMORY=$((20 << 20))

# What a guest has written at 0x7e00: how far it has counted, how often it has looked at all of
# its memory, how many words were wrong.
status() { # NAME
	pid=$(cat "/run/vmferry/$1.pid" 2>/dev/null) || return
	fd=$(stat -L -c "%s %n" "/proc/$pid"/fd/* 2>/dev/null | sed -n "s/^$MEMORY //p" | head -n 1)
	[ -z "$fd" ] || dd if="$fd" bs=4 skip=$((0x7e00 / 4)) count=3 2>/dev/null | od -An -tu4
}
word() { shift "$1"; echo "$1"; }
count() { word 1 $(status "$1"); }
# It goes on from there; the bench's own limit of time is that of this.
goes_on() {
	from=$(count "$1")
	while [ "$(count "$1")" = "$from" ]; do usleep 10000; done
	[ "$(word 3 $(status "$1"))" = 0 ]
}
vmferry() { /tests/vmferry "$@" >>/tmp/log 2>&1; }
# Brackets, so that it does not find itself.
running() { grep -qs "run/vmferry/$1.[q]mp" /proc/[0-9]*/cmdline; }
state() { systemctl show --value -p "$2" "$1"; }
in_its_unit() { grep -qx "0::/system.slice/vmferry@$1.service" "/proc/$(cat "/run/vmferry/$1.pid")/cgroup"; }
# As vmt_mark() does: START, FINISHED.
mark() {
	printf "\\$(printf %o "$1")\\$(printf %o "$VMTEST_STAGE")" |
		dd of=/sys/bus/pci/devices/0000:00:00.0/config bs=2 seek=30 conv=notrunc 2>/dev/null
}
# Whatever was to be started by what has arrived, it has been, or it has failed.
settled() {
	while [ -n "$(state vmferry-restore.service Job)$(state "vmferry@$1" Job)" ]; do
		usleep 10000
	done
}
start_script() { # NAME UUID QEMU
	mkdir -p /etc/vmferry
	cat >"/etc/vmferry/$1" <<-EOT
		#!/bin/sh
		exec $3 -name $1 -uuid $2 -accel tcg -nodefaults -net none -display none \
			-m $((MEMORY >> 20))M -object memory-backend-memfd,id=mem0,size=$MEMORY,share=on \
			-machine q35,aux-ram-share=on,memory-backend=mem0 -kernel /tests/vmferry_guest \
			-qmp unix:/run/vmferry/$1.qmp,server=on,wait=off \
			-daemonize -pidfile /run/vmferry/$1.pid
	EOT
	chmod +x "/etc/vmferry/$1"
}
# The next kernel, which has no scripts to start any of them anew, is told how far they were.
# PID 1 ends us.
update() {
	vmferry load /boot/bzImage --initrd /sys/firmware/initrd --cmdline "$(sed "
		s/ vmtest.stage=[0-9]*//; s/ was=.*//
		s/\$/ vmtest.stage=$((VMTEST_STAGE + 1)) was=$(count guest),$(count other)/" \
		/proc/cmdline)" || die "the next kernel is loaded"
	mark 3
	systemctl kexec || die "PID 1 jumps"
	while :; do sleep 60; done
}

mkdir -p /run/vmferry
was=$(sed -n 's/.* was=//p' /proc/cmdline)
echo "TAP version 13"
cat /run/fd_store >&2
case $VMTEST_STAGE in
1)
	echo 1..12
	[ "$(cat /proc/1/comm)" = systemd ] || die "PID 1 is systemd"
	say "PID 1 is systemd"
	dmesg | grep -i 'vmferry.*unknown' >&2 && die "it understands the units"
	say "it understands the units"
	[ "$(state vmferry-restore.service ActiveState)" = active ] || die "nothing has arrived"
	say "nothing has arrived"
	[ "$(sed -n 's/session: //p' /run/fd_store)" = new ] || die "PID 1 has made a session"
	say "PID 1 has made a session"
	start_script guest 11111111-2222-3333-4444-555555555555 /bin/qemu-system-x86_64
	# One whose QEMU will not be there any more
	cp /bin/qemu-system-x86_64 /tmp/other
	start_script other 11111111-2222-3333-4444-666666666666 /tmp/other
	systemctl start vmferry@guest vmferry@other || die "started by their units"
	goes_on guest && goes_on other && in_its_unit guest && in_its_unit other ||
		die "started by their units"
	say "started by their units"
	vmferry start guest /bin/false && die "not twice"
	[ "$(grep -c 'it runs already' /tmp/log)" = 1 ] || die "not twice"
	say "not twice"
	# What a hand can do and undo, while their units do not notice
	vmferry leave guest nobody
	[ $? = 4 ] && ! running guest || die "one of two is saved"
	say "one of two is saved"
	vmferry leave && ! running other || die "saved, and left to whoever jumps"
	grep -q "guest: saved" /tmp/log || die "saved, and left to whoever jumps"
	say "saved, and left to whoever jumps"
	vmferry abort other && goes_on other && in_its_unit other && vmferry show guest ||
		die "one of them is aborted"
	say "one of them is aborted"
	# As if its unit were started again
	vmferry start guest /bin/false && goes_on guest && in_its_unit guest ||
		die "so is the other one, by a start"
	say "so is the other one, by a start"
	[ "$(state vmferry@guest ActiveState) $(state vmferry@other ActiveState)" = "active active" ] ||
		die "their units have not noticed"
	say "their units have not noticed"
	vmferry load /boot/bzImage --cmdline "console=ttyS0"
	[ $? = 3 ] || die "a kernel without live update is refused"
	say "a kernel without live update is refused"
	mark 1
	update
	;;
2)
	echo 1..7
	settled guest && running guest && goes_on guest && in_its_unit guest ||
		die "it goes on in its unit"
	mark 5
	say "it goes on in its unit"
	[ "$(count guest)" -gt "${was%,*}" ] || die "from where it was"
	say "from where it was"
	settled other
	[ "$(state vmferry@other ActiveState)" = failed ] || die "without its QEMU, its unit fails"
	say "without its QEMU, its unit fails"
	cp /bin/qemu-system-x86_64 /tmp/other
	systemctl start vmferry@other && goes_on other && in_its_unit other ||
		die "it is not lost with that"
	say "it is not lost with that"
	[ "$(count other)" -gt "${was#*,}" ] || die "nor was it started anew"
	say "nor was it started anew"
	vmferry restore && die "once only"
	say "once only"
	printf 'memory: of the store\nsession: arrived\nin it: of the session\n' |
		cmp - /run/fd_store >&2 || die "PID 1's files have come along"
	say "PID 1's files have come along"
	running other || die "stopped"
	systemctl stop vmferry@other
	running other && die "stopped"
	update
	;;
3)
	echo 1..5
	settled guest && running guest && goes_on guest && in_its_unit guest ||
		die "it goes on in its unit once more"
	say "it goes on in its unit once more"
	[ "$(count guest)" -gt "${was%,*}" ] || die "from where it was"
	say "from where it was"
	# Who is stopped is not captured.
	[ "$(state vmferry@other ActiveState)" = inactive ] || die "and it alone"
	say "and it alone"
	grep -q "^memory: of the store" /run/fd_store || die "PID 1's memory has come along"
	say "PID 1's memory has come along"
	running guest || die "its unit stops it"
	systemctl stop vmferry@guest
	running guest && die "its unit stops it"
	say "its unit stops it"
	mark 7
	;;
esac
