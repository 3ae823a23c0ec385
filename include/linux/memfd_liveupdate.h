/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LINUX_MEMFD_LIVEUPDATE_H
#define _LINUX_MEMFD_LIVEUPDATE_H

#include <linux/errno.h>
#include <linux/types.h>

#ifdef CONFIG_LIVEUPDATE_MEMFD
int memfd_luo_hold(u64 ser);
void memfd_luo_release(u64 ser);
#else
static inline int memfd_luo_hold(u64 ser)
{
	return -EOPNOTSUPP;
}

static inline void memfd_luo_release(u64 ser)
{
}
#endif

#endif /* _LINUX_MEMFD_LIVEUPDATE_H */
