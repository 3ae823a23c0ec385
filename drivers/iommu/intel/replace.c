// SPDX-License-Identifier: GPL-2.0-only
/*
 * Intel VT-d: replace the paging domain of a device while it does DMA
 */

/**
 * DOC: Hitless replace
 *
 * A device that moves from one paging domain to another must find each of its
 * requests translated by the one or by the other. That is so when the entry that
 * points to the page table is never seen absent or torn. Hardware fetches entries
 * in pieces of 128 bits, so what differs is written in pieces of 128 bits, each
 * by one CMPXCHG16B:
 *
 * ==================  =====================  ==================================
 * entry               differs in             stores
 * ==================  =====================  ==================================
 * context, legacy     root, AW, DID          one
 * PASID, 2nd stage    SSPTPTR, AW, SSADE,    one, lower half
 *                     PWSNP, DID
 * PASID, 1st stage    FSPTPTR, DID           two: upper half (table), then
 *                                            lower half (DID)
 * PASID, 1st stage    PWSNP or PGSNP, too    three: the bits that are added go
 *                                            ahead, with the old table and DID
 * ==================  =====================  ==================================
 *
 * Everything that can fail is done first: the new domain has its domain id (DID)
 * on this unit and its cache tags before the first store, so what is unmapped from
 * it is invalidated from the start. The old domain keeps its own until the last
 * invalidation is over. A failure leaves the device on the old domain, and as the
 * domain that a device is on can be attached again for nothing, the core may roll
 * back as it likes.
 *
 * In the first stage there is a time between the stores. What hardware then
 * fetches through the new table it tags with the old DID, which an unmap on the
 * new domain would not reach. For that time the new domain has one more cache tag,
 * for the old DID, so nobody has to be held off. The other mixture, the old table
 * with the new DID, would outlive the invalidation by the old DID. It would come
 * about if hardware read the upper half before the first store and the lower half
 * after the last, so the PASID cache is invalidated after each store but the last:
 * when that is complete, all that was read before has been dropped.
 *
 * The device is blocked for a moment, as ever, where this is not possible:
 *
 * - the old or the new domain is not a paging domain, or they are of different
 *   stages, or first stage tables differ in their number of levels (what is cached
 *   of their upper levels would be mixed up under one DID);
 * - the entry is not what the driver's idea of the old domain makes it: a device
 *   that is blocked, or an entry copied from a crashed kernel;
 * - the translation type of a legacy entry changes (ATS);
 * - a domain handles page faults: to drain the queue needs a device that asks
 *   for no more;
 * - the processor lacks CMPXCHG16B, or the device does DMA as another one.
 *
 * All entries of a device with DMA aliases are checked under one hold of
 * iommu->lock and stored in the same, so they change all or none. In scalable mode
 * aliases share one PASID table, and so one entry.
 *
 * Locking. The group mutex is held by the core: it keeps out every other change of
 * this device's domain, and of the domains of all devices that share an alias with
 * it. Below it, in this order:
 *
 * - iommu->did_lock, or domain->cache_lock: alone, for DID and cache tags
 * - domain->lock of the lower, then of the higher address of the two domains: the
 *   entry changes with the list that the device is on, as dirty tracking and
 *   snoop control change the entries of all devices on a domain's list
 * - iommu->lock: stores to entries
 * - qi->q_lock: invalidations
 */

#define pr_fmt(fmt) "DMAR: " fmt

#include <linux/cleanup.h>
#include <linux/iommu.h>
#include <linux/pci.h>
#include <linux/spinlock.h>

#include "iommu.h"
#include "pasid.h"

/* What a lower half of a first stage entry may differ in: DID, PWSNP, PGSNP */
#define PASID_FS_DID		GENMASK_ULL(15, 0)
#define PASID_FS_SNOOP		(BIT_ULL(23) | BIT_ULL(24))

/* What a second stage entry may differ in, in qword 0: AW, SSADE, SSPTPTR */
#define PASID_SS_TABLE		(GENMASK_ULL(4, 2) | BIT_ULL(9) | VTD_PAGE_MASK)

struct replace {
	struct device_domain_info *info;
	struct intel_iommu *iommu;
	struct dmar_domain *old;
	struct dmar_domain *new;
	u16 old_did;
	u16 new_did;
};

/*
 * Nobody else writes: a writer holds iommu->lock, and hardware only reads. It is
 * a compare and exchange because that is the one way to store 128 bits at once. A
 * processor that reads the entry without the lock (a fault is printed) may see
 * one old and one new qword, each of them valid.
 */
static void replace_store(struct replace *r, u64 *half, u64 lo, u64 hi)
{
	u128 val = (u128)hi << 64 | lo;
	u128 *p = (u128 *)half;
	u128 old = *p;

	lockdep_assert_held(&r->iommu->lock);

	do {
	} while (!try_cmpxchg128(p, &old, val));

	__iommu_flush_cache(r->iommu, half, sizeof(val));
}

static void replace_flush_dev_iotlb(struct replace *r)
{
	struct device_domain_info *info = r->info;

	/* An invalidation of a device that is gone would never complete */
	if (!info->ats_enabled || !pci_device_is_present(to_pci_dev(info->dev)))
		return;

	qi_flush_dev_iotlb(r->iommu, PCI_DEVID(info->bus, info->devfn),
			   info->pfsid, info->ats_qdep, 0, MAX_AGAW_PFN_WIDTH);
	quirk_extra_dev_tlb_flush(info, 0, MAX_AGAW_PFN_WIDTH, IOMMU_NO_PASID,
				  info->ats_qdep);
}

/* ---- Legacy mode: context entries -------------------------------------------- */

static void replace_context_config(struct replace *r, struct dmar_domain *domain,
				   u16 did, u16 sid, struct context_entry *context)
{
	bool own = sid == PCI_DEVID(r->info->bus, r->info->devfn);
	struct pt_iommu_vtdss_hw_info pt_info;

	pt_iommu_vtdss_hw_info(&domain->sspt, &pt_info);

	context_clear_entry(context);
	context_set_domain_id(context, did);
	context_set_address_root(context, pt_info.ssptptr);
	context_set_address_width(context, pt_info.aw);
	context_set_translation_type(context, own && r->info->ats_supported ?
				     CONTEXT_TT_DEV_IOTLB : CONTEXT_TT_MULTI_LEVEL);
	context_set_fault_enable(context);
	context_set_present(context);
}

static int replace_context_check(struct pci_dev *pdev, u16 sid, void *data)
{
	u8 bus = PCI_BUS_NUM(sid), devfn = sid & 0xff;
	struct context_entry *context, old, new;
	struct replace *r = data;

	context = iommu_context_addr(r->iommu, bus, devfn, 0);
	if (!context || context_copied(r->iommu, bus, devfn))
		return -EOPNOTSUPP;

	/*
	 * An alias is shared with the other devices of the group. The first of
	 * them has taken it to the new domain.
	 */
	replace_context_config(r, r->new, r->new_did, sid, &new);
	if (!memcmp(context, &new, sizeof(new)))
		return 0;

	replace_context_config(r, r->old, r->old_did, sid, &old);
	return memcmp(context, &old, sizeof(old)) ? -EOPNOTSUPP : 0;
}

static int replace_context_store(struct pci_dev *pdev, u16 sid, void *data)
{
	struct context_entry *context, new;
	struct replace *r = data;

	/* There is one: context tables are not freed, and it was there just now */
	context = iommu_context_addr(r->iommu, PCI_BUS_NUM(sid), sid & 0xff, 0);
	replace_context_config(r, r->new, r->new_did, sid, &new);
	replace_store(r, &context->lo, new.lo, new.hi);

	return 0;
}

static int replace_context_flush(struct pci_dev *pdev, u16 sid, void *data)
{
	struct replace *r = data;

	r->iommu->flush.flush_context(r->iommu, r->old_did, sid,
				      DMA_CCMD_MASK_NOBIT, DMA_CCMD_DEVICE_INVL);
	return 0;
}

/* A device that is not PCI has one requester id */
static int replace_walk_sids(struct replace *r,
			     int (*fn)(struct pci_dev *pdev, u16 sid, void *data))
{
	struct device_domain_info *info = r->info;

	if (!dev_is_pci(info->dev))
		return fn(NULL, PCI_DEVID(info->bus, info->devfn), r);

	return pci_for_each_dma_alias(to_pci_dev(info->dev), fn, r);
}

static int replace_context(struct replace *r)
{
	int ret;

	ret = replace_walk_sids(r, replace_context_check);
	if (ret)
		return ret;

	/* It does not fail: the same walk, under the same lock */
	return replace_walk_sids(r, replace_context_store);
}

static void replace_context_flush_all(struct replace *r)
{
	struct intel_iommu *iommu = r->iommu;

	replace_walk_sids(r, replace_context_flush);
	iommu->flush.flush_iotlb(iommu, r->old_did, 0, 0, DMA_TLB_DSI_FLUSH);
	if (cap_caching_mode(iommu->cap))
		iommu->flush.flush_iotlb(iommu, r->new_did, 0, 0, DMA_TLB_DSI_FLUSH);

	replace_flush_dev_iotlb(r);
}

/* ---- Scalable mode: PASID entries --------------------------------------------- */

static void replace_pasid_config(struct replace *r, struct pasid_entry *pte)
{
	struct pt_iommu_x86_64_hw_info pt_info;
	int flags = 0;

	if (intel_domain_is_ss_paging(r->new)) {
		pasid_pte_config_second_level(r->iommu, pte, r->new, r->new_did);
		return;
	}

	pt_iommu_x86_64_hw_info(&r->new->fspt, &pt_info);
	if (pt_info.levels == 5)
		flags |= PASID_FLAG_FL5LP;
	if (r->new->force_snooping)
		flags |= PASID_FLAG_PAGE_SNOOP;
	if (!(r->new->fspt.x86_64_pt.common.features & BIT(PT_FEAT_DMA_INCOHERENT)))
		flags |= PASID_FLAG_PWSNP;

	pasid_pte_config_first_level(r->iommu, pte, pt_info.gcr3_pt, r->new_did, flags);
}

static u64 replace_pasid_root(struct replace *r)
{
	struct pt_iommu_vtdss_hw_info ss_info;
	struct pt_iommu_x86_64_hw_info fs_info;

	if (intel_domain_is_ss_paging(r->old)) {
		pt_iommu_vtdss_hw_info(&r->old->sspt, &ss_info);
		return ss_info.ssptptr;
	}

	pt_iommu_x86_64_hw_info(&r->old->fspt, &fs_info);
	return fs_info.gcr3_pt;
}

/* Is @pte an entry of the old domain, and one that stores can turn into @new? */
static bool replace_pasid_possible(struct replace *r, struct pasid_entry *pte,
				   struct pasid_entry *new)
{
	bool fs = intel_domain_is_fs_paging(r->new);
	u64 may_differ[8] = {};

	if (pasid_get_domain_id(pte) != r->old_did ||
	    (pte->val[fs ? 2 : 0] & VTD_PAGE_MASK) != replace_pasid_root(r))
		return false;

	if (fs) {
		may_differ[1] = PASID_FS_DID | PASID_FS_SNOOP;
		may_differ[2] = VTD_PAGE_MASK;
	} else {
		may_differ[0] = PASID_SS_TABLE;
		may_differ[1] = U64_MAX;
	}

	for (int i = 0; i < ARRAY_SIZE(may_differ); i++) {
		if ((pte->val[i] ^ new->val[i]) & ~may_differ[i])
			return false;
	}

	return true;
}

/* Nothing that hardware read before survives this */
static void replace_pasid_fence(struct replace *r)
{
	qi_flush_pasid_cache(r->iommu, r->old_did, QI_PC_PASID_SEL, IOMMU_NO_PASID);
}

static int replace_pasid(struct replace *r)
{
	struct pasid_entry *pte, new;
	u64 snoop;

	pte = intel_pasid_get_entry(r->info->dev, IOMMU_NO_PASID);
	if (!pte)
		return -EOPNOTSUPP;

	replace_pasid_config(r, &new);
	if (!replace_pasid_possible(r, pte, &new))
		return -EOPNOTSUPP;

	if (intel_domain_is_ss_paging(r->new)) {
		replace_store(r, &pte->val[0], new.val[0], new.val[1]);
		return 0;
	}

	/*
	 * A table that the processor does not flush must not be walked without
	 * snooping, and a domain that wants snooped accesses must not see others.
	 * The old domain does not mind either.
	 */
	snoop = new.val[1] & ~pte->val[1] & PASID_FS_SNOOP;
	if (snoop) {
		replace_store(r, &pte->val[0], pte->val[0], pte->val[1] | snoop);
		replace_pasid_fence(r);
	}

	replace_store(r, &pte->val[2], new.val[2], new.val[3]);
	replace_pasid_fence(r);

	replace_store(r, &pte->val[0], new.val[0], new.val[1]);
	return 0;
}

static void replace_iotlb_flush(struct replace *r, u16 did)
{
	if (intel_domain_is_fs_paging(r->new))
		qi_flush_piotlb_all(r->iommu, did, IOMMU_NO_PASID);
	else
		r->iommu->flush.flush_iotlb(r->iommu, did, 0, 0, DMA_TLB_DSI_FLUSH);
}

static void replace_pasid_flush_all(struct replace *r)
{
	replace_pasid_fence(r);
	replace_iotlb_flush(r, r->old_did);
	if (cap_caching_mode(r->iommu->cap)) {
		qi_flush_pasid_cache(r->iommu, r->new_did, QI_PC_PASID_SEL,
				     IOMMU_NO_PASID);
		replace_iotlb_flush(r, r->new_did);
	}

	replace_flush_dev_iotlb(r);
}

/* ---- The sequence --------------------------------------------------------------- */

/* The entry, and with it the list that says whose it is. All or nothing. */
static int replace_entries(struct replace *r)
{
	bool swap = r->new < r->old;
	int ret;

	guard(spinlock_irqsave)(swap ? &r->new->lock : &r->old->lock);
	spin_lock_nested(swap ? &r->old->lock : &r->new->lock, SINGLE_DEPTH_NESTING);
	spin_lock(&r->iommu->lock);

	ret = sm_supported(r->iommu) ? replace_pasid(r) : replace_context(r);
	if (!ret) {
		list_move(&r->info->link, &r->new->devices);
		r->info->domain = r->new;
	}

	spin_unlock(&r->iommu->lock);
	spin_unlock(swap ? &r->old->lock : &r->new->lock);

	return ret;
}

static bool replace_same_kind(struct dmar_domain *old, struct dmar_domain *new)
{
	return (intel_domain_is_fs_paging(old) && intel_domain_is_fs_paging(new)) ||
	       (intel_domain_is_ss_paging(old) && intel_domain_is_ss_paging(new));
}

/**
 * intel_iommu_replace_domain - Put a device on another paging domain, hitless.
 * @domain: The paging domain to put it on.
 * @dev: The device, for requests without PASID.
 * @old: The domain that it is on, as the core sees it.
 *
 * At no moment of this is the device blocked, or translated by anything else than
 * @old or @domain. When it returns 0, nothing in the hardware refers to @old.
 * There is nothing to do if @dev is on @domain already.
 *
 * Needs one free domain id where @domain has none on the unit yet: both domains
 * have one for a moment.
 *
 * Context: Process context, the group mutex of @dev is held.
 *
 * Return: 0 on success. The device stays on the domain that it was on with
 * -EOPNOTSUPP if the replace needs the device to be blocked in between, which is
 * the caller's to do, -EINVAL if @domain does not fit the unit, -ENOMEM, or
 * -ENOSPC if there is no free domain id.
 */
int intel_iommu_replace_domain(struct iommu_domain *domain, struct device *dev,
			       struct iommu_domain *old)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);
	struct intel_iommu *iommu = info->iommu;
	struct replace r = {
		.info = info,
		.iommu = iommu,
		.old = info->domain,
		.new = to_dmar_domain(domain),
	};
	bool fs = intel_domain_is_fs_paging(r.new);
	int ret;

	if (!info->domain_attached || !r.old)
		return -EOPNOTSUPP;

	iommu_group_mutex_assert(dev);
	if (r.old == r.new)
		return 0;

	if (old != &r.old->domain || !replace_same_kind(r.old, r.new) ||
	    old->iopf_handler || domain->iopf_handler ||
	    dev_is_real_dma_subdevice(dev) || !system_has_cmpxchg128() ||
	    context_copied(iommu, info->bus, info->devfn))
		return -EOPNOTSUPP;

	ret = paging_domain_compatible(domain, dev);
	if (ret)
		return ret;

	ret = domain_attach_iommu(r.new, iommu);
	if (ret)
		return ret;

	r.old_did = domain_id_iommu(r.old, iommu);
	r.new_did = domain_id_iommu(r.new, iommu);

	ret = cache_tag_assign_domain(r.new, dev, IOMMU_NO_PASID);
	if (ret)
		goto err_detach;

	if (fs) {
		/* For the time between two stores, see above */
		ret = cache_tag_assign(r.new, r.old_did, dev, IOMMU_NO_PASID,
				       CACHE_TAG_IOTLB);
		if (ret)
			goto err_unassign;
	}

	ret = replace_entries(&r);
	if (ret)
		goto err_unassign_old_did;

	if (sm_supported(iommu))
		replace_pasid_flush_all(&r);
	else
		replace_context_flush_all(&r);

	if (fs)
		cache_tag_unassign(r.new, r.old_did, dev, IOMMU_NO_PASID,
				   CACHE_TAG_IOTLB);
	cache_tag_unassign_domain(r.old, dev, IOMMU_NO_PASID);
	domain_detach_iommu(r.old, iommu);

	return 0;

err_unassign_old_did:
	if (fs)
		cache_tag_unassign(r.new, r.old_did, dev, IOMMU_NO_PASID,
				   CACHE_TAG_IOTLB);
err_unassign:
	cache_tag_unassign_domain(r.new, dev, IOMMU_NO_PASID);
err_detach:
	domain_detach_iommu(r.new, iommu);
	return ret;
}
