/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef VMFERRY_RESTORE_H
#define VMFERRY_RESTORE_H

#include "timeline.h"
#include "vm.h"

/*
 * Its session goes to its keeper, where it can be restored from, and where it has to be while
 * that is not done. @vm is locked. Says what failed.
 */
int restore_park(struct vm *vm, const char *session);

/*
 * Restore a virtual machine from a session of the kernel before. It may be tried again if
 * it fails. @vm is locked, and connected afterwards. What was reached when, in both kernels,
 * goes to @times. Says what failed.
 */
int restore_vm(struct vm *vm, const char *session, struct timeline_vm *times);

/* Give it up: what was not retrieved is lost. */
int restore_give_up(struct vm *vm, const char *session);

#endif /* VMFERRY_RESTORE_H */
