/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Taking a virtual machine out of its QEMU, and putting it into another one.
 *
 * What belongs to it lies with its keeper meanwhile, under these labels:
 *
 *	old		the QEMU that it is taken from, a pidfd
 *	session		of the live update; not with CAPTURE_LOCAL
 *	file.N		the Nth file of the CPR state, in the manifest's order
 *	draft		the manifest as it was before the guest was stopped
 *	stream		what QEMU's devices sent
 *	manifest	all is there, and the QEMU it was taken from may go
 *	qemu		the QEMU that is to take over, a pidfd
 */
#ifndef VMFERRY_CAPTURE_H
#define VMFERRY_CAPTURE_H

#include <stdint.h>

#include "keep.h"
#include "timeline.h"
#include "vm.h"

enum capture_flags {
	CAPTURE_LOCAL = 1,	/* for this kernel only: nothing is preserved */
};

struct capture;

/*
 * Everything that can be done while the guest runs: QEMU's files are received and
 * preserved. Says what failed, and then nothing has happened. @vm is connected and locked,
 * and has no keeper.
 */
int capture_begin(struct vm *vm, unsigned int flags, struct capture **capture);

/* What it has come to. */
struct capture_figures {
	unsigned int files, devices;
	uint64_t memory, stream;			/* bytes */
	uint64_t receive_ns, preserve_ns;		/* the guest ran */
	uint64_t stop_ns;				/* it did not */
};
void capture_figures(const struct capture *capture, struct capture_figures *figures);

/*
 * Stop the guest and take the state of its devices; its QEMU ends. Frees @capture. Says what
 * failed; then the guest runs on, in its QEMU or in another one.
 */
int capture_finish(struct capture *capture, struct capture_figures *figures);

/* Nothing has happened. Frees @capture. The guest has run all the time. */
int capture_undo(struct capture *capture);

/*
 * What a keeper has becomes a running virtual machine again, or goes on in the QEMU it
 * was to be taken from. The keeper ends, unless it fails; then it may be tried again. @vm is
 * locked, and connected afterwards. What was reached when goes to @times, if that is not NULL.
 * Says what failed.
 */
int capture_replay(struct vm *vm, struct keep *keep, struct timeline_vm *times);

/* The keeper of a virtual machine: -ENOENT if it has none. */
int capture_keeper(struct vm *vm, struct keep **keep);

#endif /* VMFERRY_CAPTURE_H */
