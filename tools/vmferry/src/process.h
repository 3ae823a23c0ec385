/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How QEMU was started, as text for the manifest, and a new one from that.
 */
#ifndef VMFERRY_PROCESS_H
#define VMFERRY_PROCESS_H

#include <sys/types.h>

#include "keep.h"
#include "vm.h"
#include "vmferry.h"

/* To be freed. NULL without memory. */
char *process_describe(const struct vm *vm);

/*
 * What process_describe() has made. Returns what the pointers are part of, to be put; NULL if it
 * is not what it should be.
 */
struct process {
	struct json_object *environ, *groups;
	const char *cwd, *exe, *qmp, *cgroup;
	uid_t uid;
	gid_t gid;
};
struct json_object *process_read(const char *note, struct process *process);

/*
 * Be in the control group that a manifest's QEMU was in, if there is one of that name, and
 * where we were again.
 */
struct process_cgroup {
	int back;	/* cgroup.procs of where we were, or -1 */
};
struct process_cgroup process_enter_cgroup(const struct vm *vm,
					   const struct vmferry_manifest *manifest);
void process_leave_cgroup(struct process_cgroup *cgroup);

/* Where the monitor of a manifest's QEMU is, to @vm. -ENOMEM */
int process_monitor(struct vm *vm, const struct vmferry_manifest *manifest);

/*
 * cgroup.procs of the control group for its keeper, if that is to be the one of its QEMU: then
 * that says VMFERRY_KEEPER=cgroup in its environment. Otherwise negative.
 */
int process_keeper_cgroup(const struct vm *vm);

/*
 * Start a QEMU that waits for the virtual machine of a manifest, at two sockets. Its
 * monitor is where it was, and that goes to @vm; its pidfd goes to @keep. Says what failed.
 * Returns the pidfd.
 */
int process_start(struct vm *vm, struct keep *keep, const struct vmferry_manifest *manifest,
		  const char *cpr_path, const char *main_path);

#endif /* VMFERRY_PROCESS_H */
