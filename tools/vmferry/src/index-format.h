/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the index looks like: a sealed memfd with JSON.
 */
#ifndef VMFERRY_INDEX_FORMAT_H
#define VMFERRY_INDEX_FORMAT_H

#include "index.h"

int index_add(struct index *index, const char *name, const char *session);

/* Write it. Returns the file. */
int index_write(const struct index *index);

/*
 * Read it. An entry that is no good, or has the name of one before it, is left out, counted in
 * @index->bad, and said; the others do not suffer from it.
 *
 * -EBADMSG, -EPROTONOSUPPORT  it is no index, or one of another version
 * -E2BIG
 */
int index_read(int fd, struct index *index);

#endif /* VMFERRY_INDEX_FORMAT_H */
