// SPDX-License-Identifier: GPL-2.0-only
/*
 * Live update of VT-d
 */

/**
 * DOC: Intel VT-d Live Update
 *
 * The hardware gets from a request to a page table by the root table, the context
 * table of the bus and, in scalable mode, the PASID directory and PASID table of
 * the device. The old kernel preserves those on the way to preserved devices, so
 * that the hardware can go on reading them, and records where they are and by
 * which domain id its caches know the device's mappings. At shutdown it clears all
 * other entries, invalidates all caches, masks the fault interrupt, points
 * interrupt remapping to an empty table, and leaves translation on.
 *
 * The new kernel takes over none of these tables. It makes its own, copies the
 * entries of the recorded devices into them after checking each against the
 * records, and sets the new root table while translation is on. The hardware
 * allows that as long as the same requests have the same results by either table,
 * which is the case: entries that are in both are equal, and all others block.
 * After the invalidations that belong to setting a root table the old tables are
 * freed. So an entry that nobody recorded cannot survive, and an attach finds a
 * present entry only where it knows of one.
 *
 * Domain ids of the recorded devices stay in use until the devices have left their
 * restored domain. Domains are restored from their page tables as they are; their
 * pages stay KHO's until they are freed.
 *
 * On such a boot translation is not turned off on any IOMMU: one without records
 * gets an empty root table.
 *
 * Lock order::
 *
 *   iommu_liveupdate_lock
 *     intel_iommu.did_lock
 *     dmar_domain.lock, dmar_domain.cache_lock, intel_iommu.lock
 *
 *   dmar_global_lock
 *     iommu_liveupdate_lock
 *
 * At shutdown no lock is taken but that of the invalidation queue: other CPUs have
 * been stopped wherever they were.
 */

#define pr_fmt(fmt) "DMAR: liveupdate: " fmt

#include <linux/bitfield.h>
#include <linux/cleanup.h>
#include <linux/dmar.h>
#include <linux/err.h>
#include <linux/generic_pt/iommu.h>
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/iommu_liveupdate.h>
#include <linux/kexec_handover.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/panic.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include "../iommu-pages.h"
#include "../liveupdate.h"
#include "iommu.h"
#include "irq_liveupdate.h"
#include "liveupdate.h"
#include "pasid.h"

/*
 * Old kernel: how many records need a preserved page, by PFN.
 * New kernel: pages of the old kernel's tables that are to be freed, by PFN.
 * Protected by iommu_liveupdate_lock, or used at boot.
 */
static DEFINE_XARRAY(intel_lu_pages);

/* New kernel: a recorded device on its way to its first probe. */
struct intel_lu_device {
	struct list_head node;
	const struct iommu_device_ser *ser;
	struct intel_iommu *iommu;
	struct pasid_dir_entry *pasid_dir;
};

/* Written at boot. An entry leaves when its device has been restored. */
static LIST_HEAD(intel_lu_devices);

/* New kernel: the domains made so far, by index of their record. At boot. */
static DEFINE_XARRAY(intel_lu_domains);

/* ---- Old kernel ----------------------------------------------------------------- */

static int intel_lu_get_page(void *virt)
{
	unsigned long pfn = PHYS_PFN(virt_to_phys(virt)), users;
	int err;

	users = xa_to_value(xa_load(&intel_lu_pages, pfn) ?: xa_mk_value(0));
	if (!users) {
		err = iommu_pages_preserve(virt);
		if (err)
			return err;
	}
	err = xa_err(xa_store(&intel_lu_pages, pfn, xa_mk_value(users + 1),
			      GFP_KERNEL));
	if (err && !users)
		iommu_pages_unpreserve(virt);
	return err;
}

static void intel_lu_put_page(phys_addr_t phys)
{
	unsigned long pfn = PHYS_PFN(phys);
	unsigned long users = xa_to_value(xa_load(&intel_lu_pages, pfn));

	if (--users) {
		/* Replaces a value, so it needs no memory. */
		xa_store(&intel_lu_pages, pfn, xa_mk_value(users), GFP_KERNEL);
		return;
	}
	xa_erase(&intel_lu_pages, pfn);
	iommu_pages_unpreserve(phys_to_virt(phys));
}

static const struct iommu_unit_ser *intel_lu_out_unit(struct intel_iommu *iommu,
						      u32 *index)
{
	const struct iommu_unit_ser *unit;

	for (*index = 0; (unit = iommu_liveupdate_out_unit(*index)); (*index)++) {
		if (unit->reg_phys == iommu->reg_phys)
			return unit;
	}
	return NULL;
}

static struct intel_iommu *intel_lu_find_iommu(const struct iommu_unit_ser *ser)
{
	struct intel_iommu *iommu, *found = NULL;
	struct dmar_drhd_unit *drhd;

	guard(rcu)();
	for_each_active_iommu(iommu, drhd) {
		if (iommu->reg_phys == ser->reg_phys)
			found = iommu;
	}
	return found;
}

static int intel_lu_preserve_unit(struct intel_iommu *iommu)
{
	struct iommu_unit_ser ser = {
		.reg_phys = iommu->reg_phys,
		.root_phys = virt_to_phys(iommu->root_entry),
		.cap = iommu->cap,
		.ecap = iommu->ecap,
		.segment = iommu->segment,
		.type = IOMMU_SER_UNIT_VTD,
		.flags = sm_supported(iommu) ? IOMMU_SER_UNIT_SCALABLE : 0,
	};
	int err;

	/* A crash kernel that still has somebody else's tables. */
	if (iommu->copied_tables || !iommu->root_entry)
		return -EOPNOTSUPP;

	err = intel_lu_get_page(iommu->root_entry);
	if (err)
		return err;
	err = intel_ir_liveupdate_preserve(iommu, &ser.ir_gap);
	if (err)
		goto err_root;
	err = iommu_liveupdate_add_unit(&ser);
	if (err)
		goto err_ir;
	return 0;

err_ir:
	intel_ir_liveupdate_unpreserve(iommu, ser.ir_gap);
err_root:
	intel_lu_put_page(ser.root_phys);
	return err;
}

static int intel_lu_preserve_units(void)
{
	struct intel_iommu **iommus __free(kfree) =
		kcalloc(DMAR_UNITS_SUPPORTED, sizeof(*iommus), GFP_KERNEL);
	struct dmar_drhd_unit *drhd;
	struct intel_iommu *iommu;
	unsigned int nr = 0;
	int err;

	if (!iommus)
		return -ENOMEM;

	scoped_guard(rcu) {
		for_each_active_iommu(iommu, drhd)
			iommus[nr++] = iommu;
	}
	for (unsigned int i = 0; i < nr; i++) {
		err = intel_lu_preserve_unit(iommus[i]);
		if (err)
			return err;
	}
	return 0;
}

static void intel_lu_unpreserve_unit(const struct iommu_unit_ser *ser)
{
	struct intel_iommu *iommu = intel_lu_find_iommu(ser);

	if (WARN_ON_ONCE(!iommu))
		return;
	intel_ir_liveupdate_unpreserve(iommu, ser->ir_gap);
	intel_lu_put_page(ser->root_phys);
}

static const char *intel_lu_check_device(struct device *dev)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);

	if (!dev_is_pci(dev) || dev_is_real_dma_subdevice(dev))
		return "it is not a PCI device with a requester ID of its own";
	if (info->pri_enabled || info->pri_supported)
		return "page requests (PRI) are in use";
	/* Where it is supported it is enabled, and its cache is on the device. */
	if (info->ats_enabled || info->ats_supported)
		return "address translation services (ATS) are in use";
	if (to_pci_dev(dev)->dma_alias_mask)
		return "it has other requester IDs (DMA aliases)";
	return NULL;
}

static void intel_lu_freeze_device(struct device *dev, struct iommu_domain *domain,
				   struct iommu_device_ser *ser)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);

	ser->did = domain_id_iommu(to_dmar_domain(domain), info->iommu);
}

static int intel_lu_preserve_pasid(struct device_domain_info *info,
				   struct iommu_device_ser *ser)
{
	struct pasid_dir_entry *dir = info->pasid_table->table;
	struct pasid_entry *table = get_pasid_table_from_pde(dir);
	int err;

	if (WARN_ON_ONCE(!table))
		return -EINVAL;
	err = intel_lu_get_page(dir);
	if (err)
		return err;
	err = intel_lu_get_page(table);
	if (err) {
		intel_lu_put_page(virt_to_phys(dir));
		return err;
	}
	ser->pasid_dir = virt_to_phys(dir);
	ser->pasid_table = virt_to_phys(table);
	ser->pasid_order = folio_order(virt_to_folio(dir));
	return 0;
}

static int intel_lu_preserve_device(struct device *dev, struct iommu_domain *domain,
				    struct iommu_device_ser *ser)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);
	struct intel_iommu *iommu = info->iommu;
	struct context_entry *context;
	void *table;
	int err;

	if (WARN_ON_ONCE(!intel_lu_out_unit(iommu, &ser->unit)))
		return -EINVAL;

	ser->segment = info->segment;
	ser->bdf = PCI_DEVID(info->bus, info->devfn);
	intel_lu_freeze_device(dev, domain, ser);

	scoped_guard(spinlock, &iommu->lock)
		context = iommu_context_addr(iommu, info->bus, info->devfn, 0);
	if (WARN_ON_ONCE(!context || !context_present(context)))
		return -EINVAL;

	table = PTR_ALIGN_DOWN((void *)context, VTD_PAGE_SIZE);
	err = intel_lu_get_page(table);
	if (err)
		return err;
	ser->context_phys = virt_to_phys(table);

	if (sm_supported(iommu)) {
		err = intel_lu_preserve_pasid(info, ser);
		if (err)
			intel_lu_put_page(ser->context_phys);
	}
	return err;
}

static void intel_lu_unpreserve_device(struct device *dev,
				       const struct iommu_device_ser *ser)
{
	if (ser->pasid_dir) {
		intel_lu_put_page(ser->pasid_dir);
		intel_lu_put_page(ser->pasid_table);
	}
	intel_lu_put_page(ser->context_phys);
}

static int intel_lu_preserve_domain(struct iommu_domain *domain,
				    struct iommu_domain_ser *ser)
{
	struct dmar_domain *dmar = to_dmar_domain(domain);

	if (intel_domain_is_fs_paging(dmar))
		ser->flags |= IOMMU_SER_DOMAIN_FIRST_STAGE;
	if (dmar->force_snooping)
		ser->flags |= IOMMU_SER_DOMAIN_SNOOP;
	if (domain->dirty_ops)
		ser->flags |= IOMMU_SER_DOMAIN_DIRTY;
	if (dmar->nested_parent)
		ser->flags |= IOMMU_SER_DOMAIN_NEST_PARENT;
	ser->pgsize_bitmap = domain->pgsize_bitmap;
	return pt_iommu_preserve(&dmar->iommu, &ser->table);
}

static void intel_lu_unpreserve_domain(struct iommu_domain *domain)
{
	pt_iommu_unpreserve(&to_dmar_domain(domain)->iommu);
}

static bool intel_lu_out_claimed(struct intel_iommu *iommu, u8 bus, u8 devfn)
{
	const struct iommu_device_ser *ser;

	for (unsigned int i = 0; (ser = iommu_liveupdate_out_device(i)); i++) {
		if (ser->bdf == PCI_DEVID(bus, devfn) &&
		    iommu_liveupdate_out_unit(ser->unit)->reg_phys == iommu->reg_phys)
			return true;
	}
	return false;
}

/*
 * Clear half of a root entry: the context tables of functions that are handed over
 * keep their entries, all other tables are of no use any more.
 */
static void intel_lu_sweep_table(struct intel_iommu *iommu, u64 *half, u8 bus,
				 unsigned int first)
{
	unsigned int step = sm_supported(iommu) ? 2 : 1;
	struct context_entry *table;
	bool needed = false;

	if (!(*half & 1))
		return;

	table = phys_to_virt(*half & VTD_PAGE_MASK);
	for (unsigned int i = 0; i < VTD_PAGE_SIZE / sizeof(*table) / step; i++) {
		if (intel_lu_out_claimed(iommu, bus, first + i)) {
			needed = true;
			continue;
		}
		for (unsigned int j = 0; j < step; j++)
			context_clear_entry(&table[i * step + j]);
	}
	__iommu_flush_cache(iommu, table, VTD_PAGE_SIZE);
	if (!needed)
		WRITE_ONCE(*half, 0);
}

static void intel_lu_sweep(struct intel_iommu *iommu)
{
	for (unsigned int bus = 0; bus < VTD_PAGE_SIZE / sizeof(struct root_entry); bus++) {
		struct root_entry *root = &iommu->root_entry[bus];

		intel_lu_sweep_table(iommu, &root->lo, bus, 0);
		if (sm_supported(iommu))
			intel_lu_sweep_table(iommu, &root->hi, bus, 0x80);
	}
	__iommu_flush_cache(iommu, iommu->root_entry, VTD_PAGE_SIZE);
	iommu_flush_write_buffer(iommu);

	iommu->flush.flush_context(iommu, 0, 0, 0, DMA_CCMD_GLOBAL_INVL);
	if (sm_supported(iommu))
		qi_flush_pasid_cache(iommu, 0, QI_PC_GLOBAL, 0);
	iommu->flush.flush_iotlb(iommu, 0, 0, 0, DMA_TLB_GLOBAL_FLUSH);
}

/**
 * intel_liveupdate_shutdown - Leave an IOMMU to the next kernel.
 * @iommu: The IOMMU.
 *
 * Context: machine_shutdown(): other CPUs are stopped, interrupts are off.
 * Return: true if translation must stay on, false for an ordinary shutdown.
 */
bool intel_liveupdate_shutdown(struct intel_iommu *iommu)
{
	const struct iommu_unit_ser *unit;
	u32 index;

	if (!iommu_liveupdate_outgoing())
		return false;

	unit = intel_lu_out_unit(iommu, &index);
	/* One that is ignored has not been translating for anybody. */
	if (!unit)
		return false;

	intel_lu_sweep(iommu);
	intel_dmar_fault_mask(iommu);
	if (unit->ir_gap)
		intel_ir_liveupdate_shutdown(iommu, unit->ir_gap);
	return true;
}

/* ---- New kernel ------------------------------------------------------------------- */

static const struct iommu_unit_ser * __init intel_lu_in_unit(struct intel_iommu *iommu)
{
	const struct iommu_unit_ser *unit;

	for (unsigned int i = 0; (unit = iommu_liveupdate_in_unit(i)); i++) {
		if (unit->reg_phys == iommu->reg_phys)
			return unit;
	}
	return NULL;
}

static bool intel_lu_is_on(struct intel_iommu *iommu)
{
	return readl(iommu->reg + DMAR_GSTS_REG) & DMA_GSTS_TES;
}

/* Is it in the mode that this kernel uses? That cannot change while it is on. */
static bool intel_lu_has_mode(struct intel_iommu *iommu)
{
	u64 rtaddr = readq(iommu->reg + DMAR_RTADDR_REG);

	return !(rtaddr & DMA_RTADDR_SMT) == !sm_supported(iommu);
}

/**
 * intel_liveupdate_keep - Is an IOMMU that translates already not to be turned off?
 * @iommu: The IOMMU.
 *
 * Return: true after a live update, no matter if devices of this IOMMU have been
 *         handed over, or any: the others are blocked until they are set up.
 */
bool intel_liveupdate_keep(struct intel_iommu *iommu)
{
	if (iommu_liveupdate_incoming())
		return intel_lu_is_on(iommu);
	return is_kho_boot() && intel_lu_is_on(iommu) && intel_lu_has_mode(iommu);
}

/**
 * intel_liveupdate_check_disable - Translation is about to be turned off.
 * @iommu: The IOMMU.
 *
 * Some way to give up during boot: it must not be taken while devices that came
 * from the old kernel write to memory.
 */
void intel_liveupdate_check_disable(struct intel_iommu *iommu)
{
	if (system_state < SYSTEM_RUNNING && iommu_liveupdate_incoming() &&
	    intel_lu_is_on(iommu))
		lu_panic("%s would be turned off, boot with intel_iommu=on",
			 iommu->name);
}

/* A page of the old kernel's tables. Freed when the hardware has left it. */
static void * __init intel_lu_take_page(phys_addr_t phys)
{
	unsigned long pfn = PHYS_PFN(phys);
	void *virt;
	int err;

	if (xa_load(&intel_lu_pages, pfn))
		return phys_to_virt(phys);

	virt = iommu_pages_restore(phys);
	err = virt ? xa_err(xa_store(&intel_lu_pages, pfn, virt, GFP_KERNEL)) :
		     -EINVAL;
	if (err)
		lu_panic("a table of the old kernel at %#llx cannot be taken over (%pe)",
			 (u64)phys, ERR_PTR(err));
	return virt;
}

static struct iommu_domain * __init
intel_lu_alloc_domain(struct intel_iommu *iommu, const struct iommu_domain_ser *ser)
{
	/* Any device will do, it only lends its name. */
	struct pci_dev *pdev __free(pci_dev_put) =
		pci_get_device(PCI_ANY_ID, PCI_ANY_ID, NULL);
	u32 flags = 0;

	if (!pdev)
		return ERR_PTR(-ENODEV);
	if (ser->flags & IOMMU_SER_DOMAIN_FIRST_STAGE)
		return intel_iommu_domain_alloc_first_stage(&pdev->dev, iommu, 0);

	if (ser->flags & IOMMU_SER_DOMAIN_DIRTY)
		flags |= IOMMU_HWPT_ALLOC_DIRTY_TRACKING;
	if (ser->flags & IOMMU_SER_DOMAIN_NEST_PARENT)
		flags |= IOMMU_HWPT_ALLOC_NEST_PARENT;
	return intel_iommu_domain_alloc_second_stage(&pdev->dev, iommu, flags);
}

static struct dmar_domain * __init intel_lu_get_domain(struct intel_iommu *iommu, u32 index)
{
	const struct iommu_domain_ser *ser = iommu_liveupdate_in_domain(index);
	struct dmar_domain *dmar = xa_load(&intel_lu_domains, index);
	struct iommu_domain *domain;
	int err;

	if (dmar)
		return dmar;

	domain = intel_lu_alloc_domain(iommu, ser);
	if (IS_ERR(domain))
		lu_panic("%s cannot do the translation that was handed over (%pe)",
			 iommu->name, domain);
	dmar = to_dmar_domain(domain);
	domain->type = IOMMU_DOMAIN_UNMANAGED;
	domain->owner = &intel_iommu_ops;
	domain->liveupdate_restored = true;
	if (ser->flags & IOMMU_SER_DOMAIN_SNOOP) {
		dmar->force_snooping = true;
		if (!(ser->flags & IOMMU_SER_DOMAIN_FIRST_STAGE))
			dmar->sspt.vtdss_pt.common.features |=
				BIT(PT_FEAT_VTDSS_FORCE_COHERENCE);
	}

	err = pt_iommu_restore(&dmar->iommu, &ser->table);
	if (!err)
		err = xa_err(xa_store(&intel_lu_domains, index, dmar, GFP_KERNEL));
	if (err)
		lu_panic("%s: the page table that was handed over is unusable (%pe)",
			 iommu->name, ERR_PTR(err));
	iommu_liveupdate_set_domain(index, domain);
	return dmar;
}

/* The domain id is the old kernel's. Nobody else must get it. */
static void __init intel_lu_reserve_did(struct intel_iommu *iommu,
					struct dmar_domain *dmar, u16 did)
{
	struct iommu_domain_info *info;
	int ret;

	guard(mutex)(&iommu->did_lock);

	info = xa_load(&dmar->iommu_array, iommu->seq_id);
	if (info) {
		if (info->did != did)
			lu_panic("%s: domain ids %u and %u for one page table",
				 iommu->name, info->did, did);
		info->refcnt++;
		return;
	}

	if (did < IDA_START_DID || did >= cap_ndoms(iommu->cap))
		lu_panic("%s: domain id %u", iommu->name, did);
	info = kzalloc_obj(*info);
	ret = info ? ida_alloc_range(&iommu->domain_ida, did, did, GFP_KERNEL) : -ENOMEM;
	if (ret >= 0) {
		info->refcnt = 1;
		info->did = did;
		info->iommu = iommu;
		ret = xa_err(xa_store(&dmar->iommu_array, iommu->seq_id, info,
				      GFP_KERNEL));
	}
	if (ret < 0)
		lu_panic("%s: domain id %u cannot be kept (%pe)",
			 iommu->name, did, ERR_PTR(ret));
}

static void __init __noreturn
intel_lu_mismatch(const struct iommu_device_ser *ser, const char *what)
{
	lu_panic("%04x:%02x:%02x.%d: %s is not what was recorded",
		 ser->segment, PCI_BUS_NUM(ser->bdf), PCI_SLOT(ser->bdf),
		 PCI_FUNC(ser->bdf), what);
}

static void __init intel_lu_check_context(struct context_entry *old,
					  struct dmar_domain *dmar,
					  const struct iommu_device_ser *ser)
{
	struct pt_iommu_vtdss_hw_info hw;

	if (!intel_domain_is_ss_paging(dmar))
		intel_lu_mismatch(ser, "the stage of translation");
	pt_iommu_vtdss_hw_info(&dmar->sspt, &hw);
	if (!context_present(old) || old->lo & GENMASK_ULL(11, 2) ||
	    (old->lo & VTD_PAGE_MASK) != (hw.ssptptr & VTD_PAGE_MASK) ||
	    (old->hi & 7) != hw.aw)
		intel_lu_mismatch(ser, "the context entry");
	if (context_domain_id(old) != ser->did)
		intel_lu_mismatch(ser, "the domain id");
}

static void __init intel_lu_check_pasid(struct pasid_entry *old,
					struct dmar_domain *dmar,
					const struct iommu_device_ser *ser)
{
	u64 ptr, want;
	u16 pgtt;

	if (intel_domain_is_fs_paging(dmar)) {
		struct pt_iommu_x86_64_hw_info hw;

		pt_iommu_x86_64_hw_info(&dmar->fspt, &hw);
		pgtt = PASID_ENTRY_PGTT_FL_ONLY;
		ptr = old->val[2];
		want = hw.gcr3_pt;
	} else {
		struct pt_iommu_vtdss_hw_info hw;

		pt_iommu_vtdss_hw_info(&dmar->sspt, &hw);
		pgtt = PASID_ENTRY_PGTT_SL_ONLY;
		ptr = old->val[0];
		want = hw.ssptptr;
	}
	if (!pasid_pte_is_present(old) || pasid_pte_get_pgtt(old) != pgtt ||
	    (ptr & VTD_PAGE_MASK) != (want & VTD_PAGE_MASK))
		intel_lu_mismatch(ser, "the PASID entry");
	if (pasid_get_domain_id(old) != ser->did)
		intel_lu_mismatch(ser, "the domain id");
}

/* A directory and a table of this kernel's, with the entry of the old one. */
static struct pasid_dir_entry * __init
intel_lu_copy_pasid(struct intel_iommu *iommu, struct dmar_domain *dmar,
		    const struct iommu_device_ser *ser)
{
	struct pasid_dir_entry *old_dir = intel_lu_take_page(ser->pasid_dir), *dir;
	struct pasid_entry *old = intel_lu_take_page(ser->pasid_table), *table;

	if (!pasid_pde_is_present(old_dir) ||
	    (READ_ONCE(old_dir->val) & PDE_PFN_MASK) != ser->pasid_table)
		intel_lu_mismatch(ser, "the PASID directory");
	intel_lu_check_pasid(old, dmar, ser);

	dir = iommu_alloc_pages_node_sz(iommu->node, GFP_KERNEL,
					PAGE_SIZE << ser->pasid_order);
	table = iommu_alloc_pages_node_sz(iommu->node, GFP_KERNEL, SZ_4K);
	if (!dir || !table)
		lu_panic("%s: no memory for PASID tables", iommu->name);

	*table = *old;
	dir->val = virt_to_phys(table) | PASID_PTE_PRESENT;
	__iommu_flush_cache(iommu, table, VTD_PAGE_SIZE);
	__iommu_flush_cache(iommu, dir, PAGE_SIZE << ser->pasid_order);
	return dir;
}

static void __init intel_lu_adopt_device(struct intel_iommu *iommu,
					 struct root_entry *old_root,
					 const struct iommu_device_ser *ser)
{
	u8 bus = PCI_BUS_NUM(ser->bdf), devfn = ser->bdf & 0xff;
	bool scalable = sm_supported(iommu);
	struct context_entry *old, *context;
	struct intel_lu_device *ludev;
	struct dmar_domain *dmar;
	unsigned int idx = devfn;
	u64 half = old_root[bus].lo;

	if (scalable) {
		if (devfn >= 0x80)
			half = old_root[bus].hi;
		idx = (devfn & 0x7f) * 2;
	}
	if (!(half & 1) || (half & VTD_PAGE_MASK) != ser->context_phys)
		intel_lu_mismatch(ser, "the root entry");
	if (scalable != !!ser->pasid_dir)
		intel_lu_mismatch(ser, "the mode of its IOMMU");
	old = intel_lu_take_page(ser->context_phys) + idx * sizeof(*old);

	dmar = intel_lu_get_domain(iommu, ser->domain);
	if (!iommu_liveupdate_claimed(ser)) {
		/* Nothing translates for it, but its tables are to be freed. */
		if (scalable) {
			intel_lu_take_page(ser->pasid_dir);
			intel_lu_take_page(ser->pasid_table);
		}
		return;
	}

	ludev = kzalloc_obj(*ludev);
	context = iommu_context_addr(iommu, bus, devfn, 1);
	if (!ludev || !context)
		lu_panic("%s: no memory for context tables", iommu->name);
	ludev->ser = ser;
	ludev->iommu = iommu;
	list_add_tail(&ludev->node, &intel_lu_devices);

	*context = *old;
	if (scalable) {
		if (!context_present(old) || (old->lo & VTD_PAGE_MASK) != ser->pasid_dir ||
		    get_pasid_dir_size(old) != (PAGE_SIZE << ser->pasid_order) / 8 ||
		    old->hi & GENMASK_ULL(19, 0))
			intel_lu_mismatch(ser, "the context entry");
		ludev->pasid_dir = intel_lu_copy_pasid(iommu, dmar, ser);
		context->lo &= ~VTD_PAGE_MASK;
		context->lo |= virt_to_phys(ludev->pasid_dir);
	} else {
		intel_lu_check_context(old, dmar, ser);
	}
	__iommu_flush_cache(iommu, context, sizeof(*context));

	intel_lu_reserve_did(iommu, dmar, ser->did);
}

/**
 * intel_liveupdate_adopt - Take over what an IOMMU translates.
 * @iommu: The IOMMU. It has a new root table that the hardware does not know yet;
 *         that gets what the recorded devices need.
 *
 * Panics if what the hardware does is not what was recorded.
 *
 * Context: Boot, dmar_global_lock is held for writing.
 */
void __init intel_liveupdate_adopt(struct intel_iommu *iommu)
{
	const struct iommu_device_ser *ser;
	const struct iommu_unit_ser *unit;
	struct root_entry *old_root;
	bool scalable;
	u64 rtaddr;

	if (!iommu_liveupdate_incoming())
		return;

	unit = intel_lu_in_unit(iommu);
	if (!unit) {
		if (!intel_lu_is_on(iommu))
			return;
		if (!intel_lu_has_mode(iommu))
			lu_panic("%s is in another mode, boot with the options of the old kernel",
				 iommu->name);
		pr_info("%s: not recorded, everything is blocked\n", iommu->name);
		return;
	}

	rtaddr = readq(iommu->reg + DMAR_RTADDR_REG);
	scalable = rtaddr & DMA_RTADDR_SMT;
	if (scalable != !!(unit->flags & IOMMU_SER_UNIT_SCALABLE) ||
	    (rtaddr & VTD_PAGE_MASK) != unit->root_phys)
		lu_panic("%s uses the root table %#llx, not %#llx",
			 iommu->name, rtaddr, unit->root_phys);
	if (!intel_lu_has_mode(iommu))
		lu_panic("%s was handed over in %s mode, boot with intel_iommu=%s",
			 iommu->name, scalable ? "scalable" : "legacy",
			 scalable ? "sm_on" : "sm_off");
	if (!intel_lu_is_on(iommu))
		lu_panic("%s does not translate", iommu->name);
	if (unit->cap != iommu->cap || unit->ecap != iommu->ecap)
		lu_panic("%s has other capabilities than before", iommu->name);

	iommu_liveupdate_inject(true);
	old_root = intel_lu_take_page(unit->root_phys);
	for (unsigned int i = 0; (ser = iommu_liveupdate_in_device(i)); i++) {
		if (iommu_liveupdate_in_unit(ser->unit) == unit)
			intel_lu_adopt_device(iommu, old_root, ser);
	}
	iommu_liveupdate_inject(false);
}

/**
 * intel_liveupdate_adopted - All IOMMUs use the tables of this kernel.
 *
 * Context: Boot, dmar_global_lock is held for writing.
 */
void __init intel_liveupdate_adopted(void)
{
	const struct iommu_unit_ser *unit;
	unsigned long pfn;
	void *virt;

	if (!iommu_liveupdate_incoming())
		return;

	for (unsigned int i = 0; (unit = iommu_liveupdate_in_unit(i)); i++) {
		struct intel_iommu *iommu = intel_lu_find_iommu(unit);

		if (!iommu)
			lu_panic("the IOMMU at %#llx did not come back",
				 unit->reg_phys);
		if (unit->ir_gap) {
			intel_ir_liveupdate_check(iommu, unit->ir_gap);
			intel_ir_liveupdate_release(unit->ir_gap);
		}
	}

	xa_for_each(&intel_lu_pages, pfn, virt) {
		xa_erase(&intel_lu_pages, pfn);
		iommu_free_pages(virt);
	}
	xa_destroy(&intel_lu_domains);
	iommu_liveupdate_adopted();
}

static struct intel_lu_device *intel_lu_find_device(struct device_domain_info *info)
{
	struct intel_lu_device *ludev;

	list_for_each_entry(ludev, &intel_lu_devices, node) {
		if (ludev->iommu == info->iommu && ludev->ser->segment == info->segment &&
		    ludev->ser->bdf == PCI_DEVID(info->bus, info->devfn))
			return ludev;
	}
	return NULL;
}

/**
 * intel_liveupdate_probe - A device is being probed.
 * @info: The device. What a recorded device did not use stays unused.
 *
 * Context: iommu_probe_device_lock is held.
 */
void intel_liveupdate_probe(struct device_domain_info *info)
{
	if (!intel_lu_find_device(info))
		return;
	info->ats_supported = 0;
	info->pri_supported = 0;
}

/**
 * intel_liveupdate_pasid_table - Give a recorded device its PASID table.
 * @info: The device.
 *
 * Context: iommu_probe_device_lock is held.
 * Return: true if @info has got one, which the hardware uses already.
 */
bool intel_liveupdate_pasid_table(struct device_domain_info *info)
{
	struct intel_lu_device *ludev = intel_lu_find_device(info);
	struct pasid_table *table;

	if (!ludev)
		return false;

	iommu_liveupdate_inject(true);
	table = kzalloc_obj(*table);
	iommu_liveupdate_inject(false);
	if (!table)
		lu_panic("no memory for a PASID table");
	table->table = ludev->pasid_dir;
	/* Eight bytes for 64 entries. */
	table->max_pasid = (PAGE_SIZE << ludev->ser->pasid_order) << 3;
	info->pasid_table = table;
	return true;
}

static int intel_lu_restore_device(struct iommu_domain *domain, struct device *dev,
				   const struct iommu_device_ser *ser)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);
	struct intel_lu_device *ludev = intel_lu_find_device(info);
	struct dmar_domain *dmar = to_dmar_domain(domain);
	int err;

	if (!ludev || ludev->ser != ser)
		return -ENODEV;

	/* Its references to the domain ids have been taken with them. */
	info->domain = dmar;
	info->domain_attached = true;
	scoped_guard(spinlock_irqsave, &dmar->lock)
		list_add(&info->link, &dmar->devices);
	err = cache_tag_assign_domain(dmar, dev, IOMMU_NO_PASID);
	if (err)
		return err;

	list_del(&ludev->node);
	kfree(ludev);
	return 0;
}

static void intel_lu_free_domain(struct iommu_domain *domain)
{
	int err = pt_iommu_restore_tables(&to_dmar_domain(domain)->iommu);

	if (err)
		pr_err("page tables of the old kernel cannot be freed (%pe)\n",
		       ERR_PTR(err));
	iommu_domain_free(domain);
}

const struct iommu_liveupdate_ops intel_liveupdate_ops = {
	.preserve_units = intel_lu_preserve_units,
	.unpreserve_unit = intel_lu_unpreserve_unit,
	.check_device = intel_lu_check_device,
	.preserve_device = intel_lu_preserve_device,
	.freeze_device = intel_lu_freeze_device,
	.unpreserve_device = intel_lu_unpreserve_device,
	.preserve_domain = intel_lu_preserve_domain,
	.unpreserve_domain = intel_lu_unpreserve_domain,
	.restore_device = intel_lu_restore_device,
	.free_domain = intel_lu_free_domain,
};
