#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# The kernel before has left damaged manifests and a damaged list of them: vmferry says what is
# wrong, loses nothing else, and gives up what it is told to.
#
# usage: vmferry_damage.sh		the list has damaged entries, and the others are restored
#	 vmferry_damage.sh none		the list is none

say() { echo "ok $((n = ${n:-0} + 1)) $*"; }
die() { echo "not ok $((n = ${n:-0} + 1)) $*"; cat /tmp/log >&2; exit 1; }
vmferry() { /tests/vmferry --quiet "$@" >>/tmp/log 2>&1; }
# It has been said, in these words.
said() { grep -qF -- "vmferry: $1" /tmp/log || die "it is said: $1"; }

MEMORY=$((20 << 20))
count() {
	for fd in /proc/$(pidof qemu-system-x86_64)/fd/*; do
		[ "$(stat -L -c %s "$fd" 2>/dev/null)" = $MEMORY ] || continue
		dd if="$fd" bs=4 skip=$((0x7e00 / 4)) count=1 2>/dev/null | od -An -tu4
		return
	done
}
goes_on() {
	from=$(count)
	while [ -z "$(count)" ] || [ "$(count)" = "$from" ]; do usleep 50000; done
}

# One that is good but for one thing: sed's commands make that
manifest() { # NAME [COMMAND]
	sed "$2" >"$1.manifest" <<-EOM
		{"version":1,"minor":0,"vm":{"id":"11111111-2222-3333-4444-666666666666","name":"$1"},
		"qemu":{"version":"11.0","argv":["qemu-system-x86_64"]},"kernel":{"release":"7","abi":[]},
		"pause":{"monotonic_ns":0,"real_ns":0},
		"note":"{\"environ\":[],\"groups\":[],\"cwd\":\"/\",\"exe\":\"/bin/false\",\"qmp\":\"/x\",\"uid\":0,\"gid\":0}",
		"files":[],
		"devices":[],
		"maps":[],"times":[]}
	EOM
	left="$left $1"
}
entry() { printf '%s{"name":"%s","session":"%s"}' "$sep" "$1" "$2"; sep=,; }

mkdir -p /run/vmferry
cd /run/vmferry || exit 1
names="cut text version fields note_type note_none note_user bdf no_manifest"
echo "TAP version 13"
case $VMTEST_STAGE in
1)
	echo 1..1
	qemu-system-x86_64 -name guest -uuid 11111111-2222-3333-4444-555555555555 -accel tcg \
		-nodefaults -net none -display none -m $((MEMORY >> 20))M \
		-object memory-backend-memfd,id=mem0,size=$MEMORY,share=on \
		-machine q35,aux-ram-share=on,memory-backend=mem0 -kernel /tests/vmferry_guest \
		-qmp unix:/run/vmferry/guest.qmp,server=on,wait=off &
	goes_on
	vmferry load /boot/bzImage --initrd /sys/firmware/initrd --cmdline "$(
		sed "s/ vmtest.stage=[0-9]*//; s/\$/ vmtest.stage=2/" /proc/cmdline)" &&
		vmferry save guest || die "saved"
	say "saved"
	left=
	manifest cut '4,$d'
	manifest text 's/.*/what?/'
	manifest version 's/"version":1,/"version":2,/'
	manifest fields '/"files"/d'
	manifest note_type 's/"note":.*/"note":1,/'
	manifest note_none '/"note"/d'
	manifest note_user 's/\\"uid\\":0/\\"uid\\":-1/'
	manifest bdf 's/"files":.*/"files":[{"name":"dev","id":0,"kind":"device"}],/
		s/"devices":.*/"devices":[{"name":"dev","bdf":"0000:ff:1f.7","vendor":1,"device":1,"driver":"vfio-pci","token":12288,"devid":1,"ioas_id":2,"hwpt_id":3}],/'
	{
		echo '{"version":1,"vms":['
		entry guest vm-11111111222233334444555555555555
		entry guest vm-other
		entry ../guest vm-slash
		for name in $names; do entry $name vm-$name; done
		entry no_session vm-no_session
		echo ']}'
	} >list
	[ "$1" != none ] || echo '{"version":1,"vms":[' >list
	set -- vmferry list
	for name in $left; do set -- "$@" vm-$name $name.manifest; done
	/tests/vmferry_leave "$@" vm-no_manifest -
	die "the kernel is replaced"
	;;
2)
	if [ "$1" = none ]; then
		echo 1..3
		vmferry restore
		[ $? = 1 ] || die "nothing is restored"
		said "cannot read what the kernel before has left: Bad message"
		say "nothing is restored"
		vmferry finish guest
		[ $? = 1 ] || die "nothing is given up"
		say "nothing is given up"
		/tests/vmferry_leave vm-11111111222233334444555555555555 || die "nothing is lost"
		say "nothing is lost"
		exit
	fi
	echo 1..5
	vmferry restore
	[ $? = 4 ] && goes_on || die "the good one is restored"
	say "the good one is restored"
	said 'an entry of the list of what the kernel before has left is there twice: {"name":"guest","session":"vm-other"}'
	said 'an entry of the list of what the kernel before has left is damaged: {"name":"../guest","session":"vm-slash"}'
	said "cut: cannot read its manifest: No data available"
	said "text: cannot read its manifest: Bad message"
	said "version: cannot read its manifest: Protocol not supported"
	said "fields: cannot read its manifest: Bad message"
	said "note_type: cannot read its manifest: Bad message"
	said "note_none: cannot start QEMU: its manifest does not say how it was started: Bad message"
	said "note_user: cannot start QEMU: its manifest does not say how it was started: Bad message"
	said "bdf: cannot retrieve 0000:ff:1f.7, see the kernel's log: No such file or directory"
	said "no_manifest: cannot read its manifest: No such file or directory"
	said "no_session: cannot retrieve its session vm-no_session: No such file or directory"
	say "and it is said what is wrong with the others"
	before=$(pidof qemu-system-x86_64)
	for name in $names no_session; do
		vmferry restore $name
		[ $? = 1 ] || die "they can be tried again, $name"
	done
	say "they can be tried again"
	# shellcheck disable=SC2086 # several words
	vmferry finish $names no_session || die "they are given up"
	say "they are given up"
	vmferry restore
	[ $? = 1 ] && [ "$(pidof qemu-system-x86_64)" = "$before" ] && goes_on || die "nothing is left"
	said "the kernel before has left nothing"
	/tests/vmferry status >/tmp/status
	grep -q "nobody has a session" /tmp/status && grep -q "nothing is saved" /tmp/status ||
		{ cat /tmp/status >&2; die "nothing is left"; }
	say "nothing is left"
	;;
esac
