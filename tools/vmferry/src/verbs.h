/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the command can do. Each verb gets the options and the arguments behind it, says what
 * went wrong, and returns an exit code.
 */
#ifndef VMFERRY_VERBS_H
#define VMFERRY_VERBS_H

#include <stdbool.h>

#include "stamp.h"

struct vm;
struct index;
struct json_object;
struct drawing;

struct options {
	bool json, quiet;
	bool local;		/* save, rehearse: nothing is preserved */
	bool force;		/* load: in spite of what speaks against it */
	const char *dir;	/* the run directory */
	const char *root;	/* check, status: for tests, what stands for "/", or NULL */
	const char *initrd, *cmdline, *running;
	const struct index *index;	/* restore, finish: what the kernel before has left */
	const char *timeline;	/* update, kexec, restore: where to draw what ran when, or NULL */
	const char *packets;	/* restore: times of packets, a file, or NULL */
	struct stamp start;	/* restore: when it began */
	struct drawing *drawing;	/* restore: what was reached when */
};

#define RUN_DIR "/run/vmferry"

/*
 * For each of the virtual machines in @names, one after the other: all get their turn. The
 * result is that of the first that fails; *@good is how many did not, and may be NULL.
 */
typedef int (*vm_fn)(struct vm *vm, const struct options *options, struct json_object *vms);
int for_each_vm(const struct options *options, char **names, vm_fn fn, unsigned int *good);

/* vms.c */
int verb_rehearse(const struct options *options, char **args);
int verb_save(const struct options *options, char **args);
int verb_leave(const struct options *options, char **args);
int verb_abort(const struct options *options, char **args);
int verb_arrived(const struct options *options, char **args);
int verb_restore(const struct options *options, char **args);
int verb_start(const struct options *options, char **args);
int verb_finish(const struct options *options, char **args);
int verb_show(const struct options *options, char **args);

/* host.c */
int verb_load(const struct options *options, char **args);
int verb_kexec(const struct options *options, char **args);
int verb_update(const struct options *options, char **args);

/* status.c */
int verb_status(const struct options *options, char **args);

/* check.c */
int verb_check(const struct options *options, char **args);

/* The same before a kernel is loaded. Tells only what is not ok. Returns an exit code. */
int check_before(const struct options *options, char **args);

#endif /* VMFERRY_VERBS_H */
