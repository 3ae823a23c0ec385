/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _MM_MEMFD_LUO_HOLD_H
#define _MM_MEMFD_LUO_HOLD_H

#include <linux/types.h>

struct folio;
struct inode;
struct memfd_luo_folio_ser;
struct memfd_luo_hold;

struct memfd_luo_hold *memfd_luo_hold_get(u64 ser);
void memfd_luo_hold_put(struct memfd_luo_hold *hold);
void memfd_luo_hold_folio(struct memfd_luo_hold *hold, struct folio *folio);
void memfd_luo_hold_folios(struct memfd_luo_hold *hold,
			   struct memfd_luo_folio_ser *folios, u64 nr);
void memfd_luo_hold_inode(struct memfd_luo_hold *hold, struct inode *inode);
bool memfd_luo_held(struct inode *inode);

#endif /* _MM_MEMFD_LUO_HOLD_H */
