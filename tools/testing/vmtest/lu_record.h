/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The records that one kernel hands the next, for tests that damage them.
 *
 * The header is the kernel's own. It is no uapi header, so what it wants from other
 * kernel headers is here.
 */
#ifndef LU_RECORD_H
#define LU_RECORD_H

#include <assert.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <linux/bits.h>
#include <linux/kho/abi/pci.h>
#include <linux/types.h>

#include "vmtest.h"

/* A line for the kernel's pci_liveupdate_damage, which it does at the next freeze. */
static inline void __printf(1, 2) lu_damage(const char *fmt, ...)
{
	char line[128];
	va_list ap;
	int ret;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	ret = vmt_write_file("/sys/kernel/debug/pci_liveupdate_damage", line);
	if (ret < 0) {
		errno = -ret;
		vmt_die("pci_liveupdate_damage does not take \"%s\"", line);
	}
}

#endif /* LU_RECORD_H */
