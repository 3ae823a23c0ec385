/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef VMFERRY_UTIL_H
#define VMFERRY_UTIL_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* What the library shows; everything else is hidden. */
#define VMFERRY_PUBLIC __attribute__((visibility("default")))

/* close() that leaves errno alone; nothing for a negative one. */
static inline void close_quietly(int fd)
{
	int saved = errno;

	if (fd >= 0)
		close(fd);
	errno = saved;
}

static inline void close_cleanup(int *fd)
{
	close_quietly(*fd);
}

#define CLEANUP_CLOSE __attribute__((cleanup(close_cleanup)))

/* The value goes to the caller, the cleanup has nothing to do. */
static inline int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

/* Make room for one more in an array of @nr that grows by doubling. */
static inline int grow(void *array, size_t nr, size_t size)
{
	void *items;

	if (nr & (nr - 1))
		return 0;
	/* A pointer to whatever type it is. */
	memcpy(&items, array, sizeof(items));
	items = reallocarray(items, nr ? 2 * nr : 1, size);
	if (!items)
		return -ENOMEM;
	memcpy(array, &items, sizeof(items));
	return 0;
}

#endif /* VMFERRY_UTIL_H */
