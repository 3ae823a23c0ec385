// SPDX-License-Identifier: GPL-2.0-only
/*
 * Preserved memfds that a device still writes to
 *
 * The page tables that a device of the previous kernel goes on using refer to the
 * pages of preserved memfds by their physical address. Until no device uses these
 * tables any more, such a page must stay what it is: not moved, not swapped, not
 * cut out of the file, not freed. Who takes the tables over holds the memfds they
 * refer to before any of them can be retrieved, and releases them when the tables
 * are gone.
 *
 * A memfd is known by its serialized data, which is the same number in both
 * kernels. As long as it is neither retrieved nor finished KHO keeps its pages out
 * of the allocator, and a hold is just a note. From the moment a page comes out of
 * KHO it is pinned, as pin_user_pages() does it for DMA: migration, compaction,
 * reclaim, swap and the splitting of large folios leave pinned pages alone. The
 * file is frozen as it was while it was preserved, that is, its size cannot change
 * and no hole can be punched, and its inode is kept, so that closing it early
 * leaves everything in place. A held memfd that is finished without having been
 * retrieved, or whose retrieve fails, has its pages pinned just the same and
 * nothing else that refers to them.
 *
 * The last release drops the pins, unfreezes the file and lets the inode go: it is
 * an ordinary memfd again, or memory of the system if nobody has it open. A
 * retrieve or finish that is under way counts as a user, so it does not race with
 * a release: who is last cleans up.
 *
 * Lock order, outermost first::
 *
 *   LUO session mutex, LUO file mutex
 *     inode lock of the memfd
 *       memfd_luo_hold_lock
 *
 * The content of a hold (folios, inode) is written by retrieve and finish, which
 * LUO does not call twice for a memfd nor at the same time, and read when the last
 * user is gone.
 */

#define pr_fmt(fmt) "memfd_luo: " fmt

#include <linux/cleanup.h>
#include <linux/fs.h>
#include <linux/kho/abi/memfd.h>
#include <linux/list.h>
#include <linux/memfd_liveupdate.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "internal.h"
#include "memfd_luo_hold.h"

/**
 * struct memfd_luo_hold - A memfd whose pages must stay where they are.
 * @node:   In memfd_luo_holds.
 * @ser:    Its serialized data.
 * @users:  Calls of memfd_luo_hold() that are not released, and a retrieve or
 *          finish under way. When it is 0 the hold cannot be found any more, but
 *          its @inode still counts as held until it is unfrozen.
 * @folios: The pages that came out of KHO and are pinned; those with no page
 *          frame number are not. NULL as long as there are none.
 * @nr:     Length of @folios.
 * @inode:  The retrieved memfd, frozen, with a reference. NULL if there is none.
 */
struct memfd_luo_hold {
	struct list_head node;
	u64 ser;
	unsigned int users;
	struct memfd_luo_folio_ser *folios;
	u64 nr;
	struct inode *inode;
};

static LIST_HEAD(memfd_luo_holds);
static DEFINE_MUTEX(memfd_luo_hold_lock);

static struct memfd_luo_hold *memfd_luo_hold_find(u64 ser)
{
	struct memfd_luo_hold *hold;

	lockdep_assert_held(&memfd_luo_hold_lock);

	list_for_each_entry(hold, &memfd_luo_holds, node) {
		if (hold->ser == ser && hold->users)
			return hold;
	}
	return NULL;
}

/**
 * memfd_luo_hold - Keep the pages of a preserved memfd where they are.
 * @ser: Serialized data of the memfd, as LUO has it in both kernels.
 *
 * To be called before user space can retrieve the memfd: what has been retrieved
 * without a hold is an ordinary memfd and stays one. Each call needs a
 * memfd_luo_release() of its own. Nothing is looked up; holding what is not there
 * costs a few bytes.
 *
 * Context: May sleep.
 * Return: 0 or -ENOMEM.
 */
int memfd_luo_hold(u64 ser)
{
	struct memfd_luo_hold *hold;

	guard(mutex)(&memfd_luo_hold_lock);
	hold = memfd_luo_hold_find(ser);
	if (!hold) {
		hold = kzalloc_obj(*hold);
		if (!hold)
			return -ENOMEM;
		hold->ser = ser;
		list_add(&hold->node, &memfd_luo_holds);
	}
	hold->users++;
	return 0;
}

/* No user is left: let go of everything. */
static void memfd_luo_hold_free(struct memfd_luo_hold *hold)
{
	struct inode *inode = hold->inode;

	for (u64 i = 0; i < hold->nr; i++) {
		if (hold->folios[i].pfn)
			unpin_folio(pfn_folio(hold->folios[i].pfn));
		if (!(i % 1024))
			cond_resched();
	}
	vfree(hold->folios);

	/* Whoever preserves the file next must see it held, or see it unfrozen. */
	if (inode) {
		inode_lock(inode);
		shmem_freeze(inode, false);
	}
	scoped_guard(mutex, &memfd_luo_hold_lock)
		list_del(&hold->node);
	if (inode) {
		inode_unlock(inode);
		iput(inode);
	}
	kfree(hold);
}

/**
 * memfd_luo_hold_get - Take part in the hold of a memfd.
 * @ser: Serialized data of a memfd that is about to be retrieved or finished.
 *
 * Return: The hold, to be given back by memfd_luo_hold_put(), or NULL if nobody
 *         holds the memfd.
 */
struct memfd_luo_hold *memfd_luo_hold_get(u64 ser)
{
	struct memfd_luo_hold *hold;

	guard(mutex)(&memfd_luo_hold_lock);
	hold = memfd_luo_hold_find(ser);
	if (hold)
		hold->users++;
	return hold;
}

/**
 * memfd_luo_hold_put - Undo memfd_luo_hold_get().
 * @hold: The hold, or NULL.
 *
 * Context: May sleep. If all releases have come meanwhile this lets go.
 */
void memfd_luo_hold_put(struct memfd_luo_hold *hold)
{
	if (!hold)
		return;

	scoped_guard(mutex, &memfd_luo_hold_lock) {
		if (--hold->users)
			return;
	}
	memfd_luo_hold_free(hold);
}

/**
 * memfd_luo_release - Undo one memfd_luo_hold().
 * @ser: What memfd_luo_hold() was called with.
 *
 * The last release makes the file an ordinary memfd. The caller has made sure
 * that no device can reach its pages.
 *
 * Context: Process context, sleeps. Takes the inode lock of the memfd and may
 *          free all of its memory; no lock that is taken below that one may be
 *          held.
 */
void memfd_luo_release(u64 ser)
{
	struct memfd_luo_hold *hold;

	scoped_guard(mutex, &memfd_luo_hold_lock)
		hold = memfd_luo_hold_find(ser);

	if (WARN_ONCE(!hold, "memfd_luo: %#llx is not held\n", ser))
		return;
	/* The caller's own use of it keeps it from going away in between. */
	memfd_luo_hold_put(hold);
}

/**
 * memfd_luo_hold_folio - Pin a folio that just came out of KHO.
 * @hold:  The hold, or NULL: nothing is done then.
 * @folio: The folio, of which the caller has a reference.
 *
 * Where it is in memory does not matter, a pin that is taken to let it stay there
 * must not move it. So this is no FOLL_LONGTERM.
 */
void memfd_luo_hold_folio(struct memfd_luo_hold *hold, struct folio *folio)
{
	/* The caller's reference makes this one succeed. */
	if (hold)
		WARN_ON_ONCE(try_grab_folio(folio, 1, FOLL_PIN));
}

/**
 * memfd_luo_hold_folios - Hand over the list of what has been pinned.
 * @hold:   The hold, or NULL: the list is freed then.
 * @folios: The folios of the memfd. From here on it belongs to the hold. Those
 *          that are not pinned have the page frame number 0.
 * @nr:     How many.
 */
void memfd_luo_hold_folios(struct memfd_luo_hold *hold,
			   struct memfd_luo_folio_ser *folios, u64 nr)
{
	if (!hold || WARN_ON_ONCE(hold->folios)) {
		vfree(folios);
		return;
	}
	hold->folios = folios;
	hold->nr = nr;
}

/**
 * memfd_luo_hold_inode - Freeze a retrieved memfd until the last release.
 * @hold:  The hold, or NULL: nothing is done then.
 * @inode: The inode of the memfd, which user space does not have yet.
 *
 * A reference to the inode and not to the file: what the user closes is closed,
 * and yet the pages stay in their file. They are pinned anyway.
 */
void memfd_luo_hold_inode(struct memfd_luo_hold *hold, struct inode *inode)
{
	if (!hold)
		return;

	ihold(inode);
	inode_lock(inode);
	shmem_freeze(inode, true);
	scoped_guard(mutex, &memfd_luo_hold_lock)
		hold->inode = inode;
	inode_unlock(inode);
}

/**
 * memfd_luo_held - Is a memfd held?
 * @inode: Its inode, locked.
 *
 * Return: true if a device may still use its pages from before the live update.
 */
bool memfd_luo_held(struct inode *inode)
{
	struct memfd_luo_hold *hold;

	guard(mutex)(&memfd_luo_hold_lock);
	list_for_each_entry(hold, &memfd_luo_holds, node) {
		if (hold->inode == inode)
			return true;
	}
	return false;
}
