/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Can a host be updated live? What is looked at, and what was found. None of it changes
 * anything.
 */
#ifndef VMFERRY_CHECK_H
#define VMFERRY_CHECK_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "look.h"

struct vm;
struct vmferry_scan;

enum check_state {
	CHECK_OK,
	CHECK_WARN,		/* it may go wrong, or cannot be told */
	CHECK_BLOCKED,		/* it will */
};

struct checks {
	struct look look;
	const char *dir;		/* the run directory */
	struct vmferry_scan *scan;	/* NULL with the error below */
	int scan_error;
	bool loads;			/* a kernel is to be loaded still */

	/* Of the virtual machines, which are looked at first */
	uint64_t memory;		/* in bytes */
	bool devices;			/* one of them has devices that are passed through */
	bool new_qemu;			/* and maps their BARs, QEMU 11.0 or newer */

	/* What was found, arrays of { id, subject, state, reason, fix } */
	struct json_object *kernel, *host, *vms;
	bool blocked, unsupported;
};

/*
 * A check, and what came of it. @id never changes, @reason says what was found, @fix what
 * to do about it or NULL.
 */
void check_add(struct checks *checks, struct json_object *list, enum check_state state,
	       const char *id, const char *subject, const char *fix, const char *reason, ...)
	__attribute__((format(printf, 7, 8)));

/* check-host.c: what is found goes to ->kernel and ->host */
void check_host(struct checks *checks);

/* check-vm.c: to ->vms. */
void check_vm(struct checks *checks, struct vm *vm);

/*
 * check-device.c: a device by its address. @nr addresses are passed through to the same
 * virtual machine.
 */
void check_device(struct checks *checks, const char *bdf, const char *const *bdfs, size_t nr);

/* Has it MSI-X or a pin? 1, 0, or -EACCES if its configuration space cannot be read. */
int check_device_interrupts(const struct checks *checks, const char *bdf);

#endif /* VMFERRY_CHECK_H */
