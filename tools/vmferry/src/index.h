/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The index: a session of a known name that says which virtual machines were saved, since
 * the kernel cannot be asked for its sessions.
 */
#ifndef VMFERRY_INDEX_H
#define VMFERRY_INDEX_H

#include <stdbool.h>
#include <stddef.h>

#include "stamp.h"

struct index_entry {
	char *name, *session;
};

struct index {
	struct index_entry *entries;
	size_t nr;
	unsigned int bad;	/* that many were left out, being damaged */
	struct stamp jump;	/* when the old kernel was about to go */
	char *timeline;		/* where the new one is to draw what ran when, or NULL */
};

void index_free(struct index *index);

/* The virtual machines that have keepers in the run directory. Their session is "". */
int index_of_all(const char *dir, struct index *index);

/* Those that have a QEMU whose monitor is there. */
int index_of_running(const char *dir, struct index *index);

/*
 * The same, but they have to be saved, all of them: whatever is not would be lost with this
 * kernel. With @some, those that are not are left out. Says what failed.
 */
int index_of_saved(const char *dir, bool some, struct index *index);

/* Preserve it for the next kernel, which is about to be jumped to. Returns the session. Says what failed. */
int index_preserve(const struct index *index);

/*
 * The same, but the session lies with a keeper in @dir, in the place of one that does already:
 * for a jump that is not ours.
 */
int index_leave(const char *dir, const struct index *index);

/* Undo that. Returns 1 if there was one, 0 if not. Says what failed. */
int index_unleave(const char *dir);

/*
 * The one of the kernel before, without those that are done with. As long as it is needed it
 * lies with a keeper in @dir. -ENOENT or -EINVAL if there is none, other errors are said.
 */
int index_retrieve(const char *dir, struct index *index);

/* The same, but only if a keeper has it already. -ENOENT if not. Says nothing. */
int index_of_parked(const char *dir, struct index *index);

/*
 * One of them is done with as soon as its keeper ends: if that is all that is left to do, who
 * does it may die before index_done(). Nothing if nobody has left it. Says what failed.
 */
int index_mark(const char *dir, const char *name);

/* One of them is done with; after the last one, so is the index. Says what failed. */
int index_done(const char *dir, const char *name);

#endif /* VMFERRY_INDEX_H */
