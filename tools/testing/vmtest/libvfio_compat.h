/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * 7.2.12's libvfio calls calloc_assert() but nothing there defines it: a stable
 * backport came without the change that added it. Included ahead of libvfio's
 * sources when the tree has no definition of its own.
 */
#ifndef LIBVFIO_COMPAT_H
#define LIBVFIO_COMPAT_H

#include <stdlib.h>

static inline void *calloc_assert(size_t nmemb, size_t size)
{
	void *p = calloc(nmemb, size);

	if (!p)
		abort();
	return p;
}

#endif /* LIBVFIO_COMPAT_H */
