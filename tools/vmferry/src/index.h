/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The index: a session of a known name that says which virtual machines were saved, since
 * the kernel cannot be asked for its sessions.
 */
#ifndef VMFERRY_INDEX_H
#define VMFERRY_INDEX_H

#include <stdbool.h>
#include <stddef.h>

struct index_entry {
	char *name, *session;
};

struct index {
	struct index_entry *entries;
	size_t nr;
};

void index_free(struct index *index);

/* All virtual machines that are saved, from their keepers in the run directory. */
int index_of_saved(const char *dir, struct index *index);

/* Preserve it for the next kernel. Returns the session. Says what failed. */
int index_preserve(const struct index *index);

/*
 * The one of the kernel before. As long as it is needed it lies with a keeper in @dir, and
 * may be got again; index_done() lets it go. -ENOENT if there is none.
 */
int index_retrieve(const char *dir, struct index *index);
int index_done(const char *dir);

#endif /* VMFERRY_INDEX_H */
