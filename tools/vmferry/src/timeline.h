/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What ran when, in both kernels: from stamps to phases, and how they are shown. Nothing here
 * looks at a clock or touches a file, so that it can be tested without a virtual machine.
 */
#ifndef VMFERRY_TIMELINE_H
#define VMFERRY_TIMELINE_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "stamp.h"
#include "vmferry.h"

/* In the order in which they are reached. */
enum timeline_mark {
	/* In the old kernel; the first ones while the guest runs */
	TIMELINE_BEGIN,
	TIMELINE_RECEIVED,
	TIMELINE_PRESERVED,
	TIMELINE_PAUSED,	/* QEMU is told to go on with the migration: it stops the guest */
	TIMELINE_STOPPED,	/* all of its state is taken */
	TIMELINE_JUMP,		/* the next thing is reboot() */
	/* In the new one */
	TIMELINE_BOOT,		/* its clocks begin */
	TIMELINE_COMMAND,	/* "vmferry restore" begins ... */
	TIMELINE_RESTORE,	/* ... with this virtual machine */
	TIMELINE_RETRIEVED,
	TIMELINE_REBUILT,
	TIMELINE_STARTED,	/* there is a process of QEMU */
	TIMELINE_RUNNING,	/* the guest runs */
	TIMELINE_MARKS
};

/* One virtual machine's. Marks that were not reached, or of which nothing is known, are not. */
struct timeline_vm {
	const char *name;
	struct stamp marks[TIMELINE_MARKS];
};

/* Take from a manifest what its old kernel has reached. */
void timeline_take(struct timeline_vm *vm, const struct vmferry_manifest *manifest);

#define TIMELINE_PHASES 11

struct timeline_phase {
	char name[96];		/* of several if a mark between them is not known */
	unsigned int kind;	/* 0 ... TIMELINE_PHASES - 1, for a colour */
	bool runs;		/* the guest does */
	double from_ms, ms;
};

struct timeline_lane {
	const char *name;
	double at_ms[TIMELINE_MARKS];	/* NAN if it is not known */
	struct timeline_phase phases[TIMELINE_PHASES];
	size_t nr;
	double pause_ms;	/* as the guest has seen it: NAN if it is not known */
};

/*
 * All on one line, in milliseconds from when the first guest stopped. With the marks it has
 * only what they say: a stamp before the one that was reached before it is none.
 */
struct timeline {
	struct timeline_lane *lanes;
	size_t nr;
	double first_ms, last_ms;
	bool exact;		/* else from the jump on only right to a second */
	/* What CLOCK_REALTIME of the old kernel said at some point. */
	uint64_t real_ns;
	double real_at_ms;
};

/* -ENOMEM; -ENODATA if there is nothing to be shown. Names are not copied. */
int timeline_new(const struct timeline_vm *vms, size_t nr, struct timeline **timeline);
void timeline_free(struct timeline *timeline);

/* When packets were seen, by the old kernel's CLOCK_REALTIME. */
struct packets {
	uint64_t *ns;
	size_t nr;
};

/*
 * Read one time in each line, in seconds. -EBADMSG if a line is something else: then its
 * number is in @line.
 */
int packets_read(FILE *file, struct packets *packets, size_t *line);
void packets_free(struct packets *packets);

/* For people. @packets may be NULL. To be freed; NULL without memory. */
char *timeline_text(const struct timeline *timeline, const struct packets *packets,
		    unsigned int width);

/* For programs: what belongs to one virtual machine goes into @object, or all of it. */
void timeline_json(const struct timeline *timeline, size_t lane, struct json_object *object);
struct json_object *timeline_json_all(const struct timeline *timeline,
				      const struct packets *packets);

/* For gnuplot, a script that draws it to where its output goes. @kind is "svg" or "png". */
int timeline_gnuplot(const struct timeline *timeline, const struct packets *packets,
		     const char *kind, FILE *script);

#endif /* VMFERRY_TIMELINE_H */
