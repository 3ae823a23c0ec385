// SPDX-License-Identifier: GPL-2.0-only
/*
 * IOMMU core support for live update
 */

/**
 * DOC: IOMMU Live Update
 *
 * A preserved device goes on with DMA while the kernel is replaced, so the tables
 * that translate it are handed over, and so is the certainty about what they lead
 * to. The IOMMU core keeps the record of which IOMMUs there are, which page tables
 * the preserved devices use and which memfds these refer to; the tables that lead
 * the hardware from a device to its page table are the business of the driver (for
 * VT-d, drivers/iommu/intel/liveupdate.c), and that the page tables refer to
 * nothing else is proved by iommufd before it comes here.
 *
 * In the old kernel the handler of a file that stands for a device calls
 * iommu_liveupdate_preserve(). The device's page table is frozen from then on: its
 * owner sees to that. When the kexec is certain iommu_liveupdate_freeze() checks
 * that the image to boot into can take over. After device_shutdown() every group
 * without a preserved device is blocked (iommu_liveupdate_quiesce()), and at last
 * the driver clears what is left and leaves translation on.
 *
 * In the new kernel the driver makes root, context and PASID tables of its own,
 * which have entries for the recorded devices and for nothing else, and lets the
 * hardware change over to them: both lead to the same page tables. The domain made
 * around such a page table is called *restored*. It can be attached to, left and
 * freed, but nothing can be mapped or unmapped. At its first probe the group of a
 * recorded device is put on its restored domain and gets an owner that stands for
 * the hand-over, so that nobody else can have it. Binding the retrieved file to an
 * iommufd moves the ownership, attaching it moves the device to a domain of its
 * own without a hit. When the last device has left, the restored domain, its
 * domain ids and its hold on the memfds are given up.
 *
 * The memory that a restored domain refers to is never given to anyone: an
 * unretrieved memfd belongs to KHO, and a retrieved one is held in place
 * (mm/memfd_luo_hold.c) until the domain is freed.
 *
 * Data that is there but cannot be used stops the boot with one line that says
 * what is wrong: devices go on writing to memory, and nobody could tell where.
 *
 * Lock order::
 *
 *   LUO session mutex, LUO file mutex
 *     vfio_device_set.lock
 *       iommufd's locks
 *         iommu_group.mutex
 *           iommu_liveupdate_lock
 *             driver's locks
 *
 *   LUO FLB lock
 *     iommu_liveupdate_lock
 *
 *   pci_liveupdate_lock
 *     iommu_group.mutex
 *
 * Nothing here calls into LUO with iommu_liveupdate_lock held.
 */

#define pr_fmt(fmt) "iommu: liveupdate: " fmt

#include <linux/bug.h>
#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/iommu_liveupdate.h>
#include <linux/kexec_handover.h>
#include <linux/kho_block.h>
#include <linux/list.h>
#include <linux/liveupdate.h>
#include <linux/memfd_liveupdate.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/panic.h>
#include <linux/pci.h>
#include <linux/pci_liveupdate.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/workqueue.h>

#include "iommu-priv.h"
#include "liveupdate.h"

/* Protects everything below. */
static DEFINE_MUTEX(iommu_liveupdate_lock);

/* An IOMMU of the old kernel. */
struct iommu_lu_unit {
	struct list_head node;
	struct iommu_unit_ser ser;
};

/* A page table that preserved devices of the old kernel use. */
struct iommu_lu_domain {
	struct list_head node;
	struct iommu_domain *domain;
	struct iommu_domain_ser ser;
	u32 index;
	unsigned int nr_memfds;
	u64 memfds[] __counted_by(nr_memfds);
};

/* A preserved device of the old kernel. */
struct iommu_lu_device {
	struct list_head node;
	struct device *dev;
	struct iommu_lu_domain *domain;
	struct iommu_device_ser ser;
	struct iommu_device_ser *slot;
};

/* A kind of records. */
struct iommu_lu_set {
	struct kho_block_set blocks;
	struct iommu_ser_set *ser;
	unsigned int nr;
};

static struct {
	struct iommu_ser *ser;
	struct iommu_lu_set units;
	struct iommu_lu_set domains;
	struct iommu_lu_set devices;
	struct iommu_lu_set memory;
	struct list_head unit_list;
	struct list_head domain_list;
	struct list_head device_list;
	const struct iommu_liveupdate_ops *ops;
	unsigned int frozen;
} iommu_lu_out = {
	.unit_list = LIST_HEAD_INIT(iommu_lu_out.unit_list),
	.domain_list = LIST_HEAD_INIT(iommu_lu_out.domain_list),
	.device_list = LIST_HEAD_INIT(iommu_lu_out.device_list),
};

/* A page table from the old kernel. */
struct iommu_lu_restored {
	struct iommu_domain *domain;
	const struct iommu_domain_ser *ser;
	unsigned int users;
	struct work_struct free;
};

static struct {
	struct iommu_ser *ser;
	struct iommu_lu_set units;
	struct iommu_lu_set domains;
	struct iommu_lu_set devices;
	struct iommu_lu_set memory;
	const struct iommu_unit_ser **unit;
	const struct iommu_device_ser **device;
	const struct iommu_memory_ser **mem;
	struct iommu_lu_restored *restored;
	unsigned int nr_restored;
	unsigned int nr_waiting;
	unsigned int nr_unfreed;
	bool adopted;
	bool finished;
} iommu_lu_in;

/* The owner of a group whose device nobody has come for yet. */
static char iommu_lu_owner;

/* ---- Sets of records ------------------------------------------------------- */

static void iommu_lu_set_init(struct iommu_lu_set *set, struct iommu_ser_set *ser,
			      size_t entry_size)
{
	kho_block_set_init(&set->blocks, entry_size);
	set->ser = ser;
	set->nr = 0;
	ser->entry_size = entry_size;
}

/* Start writing all records anew: the blocks are preserved memory. */
static void iommu_lu_set_rewrite(struct iommu_lu_set *set,
				 struct kho_block_set_it *it)
{
	kho_block_set_clear(&set->blocks);
	kho_block_set_it_init(it, &set->blocks);
	/* A set without records has no address, or the next kernel takes it for damaged. */
	set->ser->nr = 0;
	set->ser->head_pa = 0;
}

static void *iommu_lu_set_write(struct iommu_lu_set *set,
				struct kho_block_set_it *it, const void *rec)
{
	void *slot = kho_block_set_it_reserve_entry(it);

	if (WARN_ON_ONCE(!slot))
		return NULL;
	memcpy(slot, rec, set->blocks.entry_size);
	set->ser->nr++;
	set->ser->head_pa = kho_block_set_head_pa(&set->blocks);
	return slot;
}

/* ---- FLB ------------------------------------------------------------------- */

static int iommu_lu_flb_preserve(struct liveupdate_flb_op_args *args)
{
	struct iommu_ser *ser;

	ser = kho_alloc_preserve(sizeof(*ser));
	if (IS_ERR(ser))
		return PTR_ERR(ser);

	guard(mutex)(&iommu_liveupdate_lock);
	iommu_lu_set_init(&iommu_lu_out.units, &ser->units,
			  sizeof(struct iommu_unit_ser));
	iommu_lu_set_init(&iommu_lu_out.domains, &ser->domains,
			  sizeof(struct iommu_domain_ser));
	iommu_lu_set_init(&iommu_lu_out.devices, &ser->devices,
			  sizeof(struct iommu_device_ser));
	iommu_lu_set_init(&iommu_lu_out.memory, &ser->memory,
			  sizeof(struct iommu_memory_ser));
	iommu_lu_out.ser = ser;

	args->data = virt_to_phys(ser);
	args->obj = &iommu_lu_out;
	return 0;
}

static void iommu_lu_flb_unpreserve(struct liveupdate_flb_op_args *args)
{
	guard(mutex)(&iommu_liveupdate_lock);
	WARN_ON_ONCE(!list_empty(&iommu_lu_out.device_list));
	kho_block_set_destroy(&iommu_lu_out.units.blocks);
	kho_block_set_destroy(&iommu_lu_out.domains.blocks);
	kho_block_set_destroy(&iommu_lu_out.devices.blocks);
	kho_block_set_destroy(&iommu_lu_out.memory.blocks);
	kho_unpreserve_free(iommu_lu_out.ser);
	iommu_lu_out.ser = NULL;
}

/**
 * iommu_liveupdate_check_ser - Check the root of the incoming records.
 * @ser: What the old kernel wrote.
 *
 * Return: NULL if it can be used, else what is wrong with it.
 */
const char *iommu_liveupdate_check_ser(const struct iommu_ser *ser)
{
	const struct iommu_ser_set *sets[] = {
		&ser->units, &ser->domains, &ser->devices, &ser->memory,
	};
	static const size_t sizes[] = {
		sizeof(struct iommu_unit_ser), sizeof(struct iommu_domain_ser),
		sizeof(struct iommu_device_ser), sizeof(struct iommu_memory_ser),
	};

	for (int i = 0; i < ARRAY_SIZE(sets); i++) {
		if (sets[i]->entry_size != sizes[i])
			return "size of a record";
		if (!sets[i]->nr != !sets[i]->head_pa)
			return "number of records";
		if (!IS_ALIGNED(sets[i]->head_pa, PAGE_SIZE))
			return "address of records";
	}
	if (!ser->units.nr || !ser->domains.nr || !ser->devices.nr)
		return "number of records";
	if (ser->flags & ~IOMMU_SER_FLAGS)
		return "flags";
	if (!(ser->flags & IOMMU_SER_F_FROZEN))
		return "frozen flag";
	if (memchr_inv(ser->reserved, 0, sizeof(ser->reserved)))
		return "reserved field";
	return NULL;
}

/**
 * iommu_liveupdate_check_unit - Check the record of an IOMMU.
 * @unit: What the old kernel wrote.
 *
 * Return: NULL if it can be used, else what is wrong with it.
 */
const char *iommu_liveupdate_check_unit(const struct iommu_unit_ser *unit)
{
	if (unit->type != IOMMU_SER_UNIT_VTD)
		return "type of an IOMMU";
	if (!unit->root_phys || !IS_ALIGNED(unit->root_phys, PAGE_SIZE) ||
	    !IS_ALIGNED(unit->ir_gap, PAGE_SIZE))
		return "root table";
	if (unit->flags & ~IOMMU_SER_UNIT_FLAGS)
		return "flags of an IOMMU";
	if (memchr_inv(unit->reserved, 0, sizeof(unit->reserved)))
		return "reserved field of an IOMMU";
	return NULL;
}

/**
 * iommu_liveupdate_check_domain - Check the record of a page table.
 * @dom: What the old kernel wrote. The table's shape is checked elsewhere.
 *
 * Return: NULL if it can be used, else what is wrong with it.
 */
const char *iommu_liveupdate_check_domain(const struct iommu_domain_ser *dom)
{
	if (dom->flags & ~IOMMU_SER_DOMAIN_FLAGS)
		return "flags of a page table";
	if (!dom->pgsize_bitmap)
		return "page sizes";
	if (!dom->nr_devices)
		return "devices of a page table";
	if (memchr_inv(dom->reserved, 0, sizeof(dom->reserved)))
		return "reserved field of a page table";
	return NULL;
}

/**
 * iommu_liveupdate_check_device - Check the record of a device.
 * @dev: What the old kernel wrote.
 * @ser: The root of the records.
 *
 * Return: NULL if it can be used, else what is wrong with it.
 */
const char *iommu_liveupdate_check_device(const struct iommu_device_ser *dev,
					  const struct iommu_ser *ser)
{
	if (dev->unit >= ser->units.nr)
		return "IOMMU of a device";
	if (dev->domain >= ser->domains.nr)
		return "page table of a device";
	if (!dev->context_phys || !IS_ALIGNED(dev->context_phys, PAGE_SIZE))
		return "context table";
	if (!dev->pasid_dir != !dev->pasid_table || dev->pasid_order > MAX_PAGE_ORDER ||
	    !IS_ALIGNED(dev->pasid_dir, PAGE_SIZE << dev->pasid_order) ||
	    !IS_ALIGNED(dev->pasid_table, PAGE_SIZE))
		return "PASID table";
	if (memchr_inv(dev->reserved, 0, sizeof(dev->reserved)))
		return "reserved field of a device";
	return NULL;
}

static void **iommu_lu_set_read(struct iommu_lu_set *set, struct iommu_ser_set *ser)
{
	struct kho_block_set_it it;
	void **recs, *rec;
	int err;

	kho_block_set_init(&set->blocks, ser->entry_size);
	set->ser = ser;
	recs = kvcalloc(ser->nr + 1, sizeof(*recs), GFP_KERNEL);
	if (!recs)
		lu_panic("no memory for the records");
	if (!ser->nr)
		return recs;

	err = kho_block_set_restore(&set->blocks, ser->head_pa);
	if (err)
		lu_panic("the records are unusable (%pe)", ERR_PTR(err));
	kho_block_set_it_init(&it, &set->blocks);
	while ((rec = kho_block_set_it_read_entry(&it))) {
		if (set->nr < ser->nr)
			recs[set->nr] = rec;
		set->nr++;
	}
	if (set->nr != ser->nr)
		lu_panic("%u records where %u were announced",
			 set->nr, ser->nr);
	return recs;
}

static void iommu_lu_check_records(void)
{
	const struct iommu_ser *ser = iommu_lu_in.ser;
	const char *bad = NULL;
	unsigned int i;

	for (i = 0; i < ser->units.nr && !bad; i++)
		bad = iommu_liveupdate_check_unit(iommu_lu_in.unit[i]);
	for (i = 0; i < ser->domains.nr && !bad; i++)
		bad = iommu_liveupdate_check_domain(iommu_lu_in.restored[i].ser);
	for (i = 0; i < ser->devices.nr && !bad; i++) {
		bad = iommu_liveupdate_check_device(iommu_lu_in.device[i], ser);
		if (!bad)
			iommu_lu_in.restored[iommu_lu_in.device[i]->domain].users++;
	}
	for (i = 0; i < ser->domains.nr && !bad; i++) {
		if (iommu_lu_in.restored[i].users !=
		    iommu_lu_in.restored[i].ser->nr_devices)
			bad = "devices of a page table";
	}
	for (i = 0; i < ser->memory.nr && !bad; i++) {
		if (iommu_lu_in.mem[i]->domain >= ser->domains.nr ||
		    !iommu_lu_in.mem[i]->memfd || iommu_lu_in.mem[i]->reserved)
			bad = "record of a memfd";
	}
	if (bad)
		lu_panic("the records are unusable: %s", bad);
}

static void iommu_lu_free_work(struct work_struct *work);

/* Called once, before any memfd can be retrieved. */
static int iommu_lu_flb_retrieve(struct liveupdate_flb_op_args *args)
{
	struct iommu_ser *ser = phys_to_virt(args->data);
	const struct iommu_domain_ser **doms;
	const char *bad;
	int err;

	guard(mutex)(&iommu_liveupdate_lock);

	bad = iommu_liveupdate_check_ser(ser);
	if (bad)
		lu_panic("the records are unusable: %s", bad);

	iommu_lu_in.ser = ser;
	iommu_lu_in.unit = (void *)iommu_lu_set_read(&iommu_lu_in.units, &ser->units);
	doms = (void *)iommu_lu_set_read(&iommu_lu_in.domains, &ser->domains);
	iommu_lu_in.device = (void *)iommu_lu_set_read(&iommu_lu_in.devices,
						       &ser->devices);
	iommu_lu_in.mem = (void *)iommu_lu_set_read(&iommu_lu_in.memory, &ser->memory);

	iommu_lu_in.restored = kvcalloc(ser->domains.nr,
					sizeof(*iommu_lu_in.restored), GFP_KERNEL);
	if (!iommu_lu_in.restored)
		lu_panic("no memory for the records");
	iommu_lu_in.nr_restored = ser->domains.nr;
	iommu_lu_in.nr_unfreed = ser->domains.nr;
	for (unsigned int i = 0; i < ser->domains.nr; i++) {
		iommu_lu_in.restored[i].ser = doms[i];
		INIT_WORK(&iommu_lu_in.restored[i].free, iommu_lu_free_work);
	}
	kvfree(doms);

	iommu_lu_check_records();

	for (unsigned int i = 0; i < ser->memory.nr; i++) {
		err = memfd_luo_hold(iommu_lu_in.mem[i]->memfd);
		if (err)
			lu_panic("guest memory cannot be held (%pe)",
				 ERR_PTR(err));
	}

	args->obj = &iommu_lu_in;
	return 0;
}

/* No file depends on the records any more, and no device on a restored domain. */
static void iommu_lu_free_records(void)
{
	lockdep_assert_held(&iommu_liveupdate_lock);

	kvfree(iommu_lu_in.unit);
	kvfree(iommu_lu_in.device);
	kvfree(iommu_lu_in.mem);
	kvfree(iommu_lu_in.restored);
	iommu_lu_in.unit = NULL;
	iommu_lu_in.device = NULL;
	iommu_lu_in.mem = NULL;
	iommu_lu_in.restored = NULL;
	iommu_lu_in.nr_restored = 0;
	kho_block_set_destroy(&iommu_lu_in.units.blocks);
	kho_block_set_destroy(&iommu_lu_in.domains.blocks);
	kho_block_set_destroy(&iommu_lu_in.devices.blocks);
	if (iommu_lu_in.ser->memory.nr)
		kho_block_set_destroy(&iommu_lu_in.memory.blocks);
	kho_restore_free(iommu_lu_in.ser);
	WRITE_ONCE(iommu_lu_in.ser, NULL);
}

/*
 * A device whose session was closed when it was bound but not attached is still on
 * its restored domain. Then the records go when it has left.
 */
static void iommu_lu_flb_finish(struct liveupdate_flb_op_args *args)
{
	/* Mostly the last device has left just now: what it held is free then. */
	for (unsigned int i = 0; i < iommu_lu_in.nr_restored; i++)
		flush_work(&iommu_lu_in.restored[i].free);

	guard(mutex)(&iommu_liveupdate_lock);
	iommu_lu_in.finished = true;
	if (!iommu_lu_in.nr_unfreed)
		iommu_lu_free_records();
}

static const struct liveupdate_flb_ops iommu_lu_flb_ops = {
	.preserve = iommu_lu_flb_preserve,
	.unpreserve = iommu_lu_flb_unpreserve,
	.retrieve = iommu_lu_flb_retrieve,
	.finish = iommu_lu_flb_finish,
	.owner = THIS_MODULE,
};

static struct liveupdate_flb iommu_lu_flb = {
	.ops = &iommu_lu_flb_ops,
	.compatible = IOMMU_LUO_FLB_COMPATIBLE,
};

/**
 * iommu_liveupdate_register_flb - Make a file handler depend on the IOMMU records.
 * @fh: A registered file handler whose files stand for devices.
 *
 * Must have been called before a file of @fh can be preserved.
 *
 * Return: 0, or what liveupdate_register_flb() returns.
 */
int iommu_liveupdate_register_flb(struct liveupdate_file_handler *fh)
{
	return liveupdate_register_flb(fh, &iommu_lu_flb);
}
EXPORT_SYMBOL_GPL(iommu_liveupdate_register_flb);

/**
 * iommu_liveupdate_unregister_flb - Undo iommu_liveupdate_register_flb().
 * @fh: The file handler.
 */
void iommu_liveupdate_unregister_flb(struct liveupdate_file_handler *fh)
{
	liveupdate_unregister_flb(fh, &iommu_lu_flb);
}
EXPORT_SYMBOL_GPL(iommu_liveupdate_unregister_flb);

/* ---- Old kernel -------------------------------------------------------------- */

static int iommu_lu_refuse(struct device *dev, int err, const char *why)
{
	dev_info(dev, "live update: not preserved: %s\n", why);
	return err;
}

static bool iommu_lu_has_direct_region(struct device *dev)
{
	struct iommu_resv_region *region;
	LIST_HEAD(regions);
	bool found = false;

	iommu_get_resv_regions(dev, &regions);
	list_for_each_entry(region, &regions, list)
		found |= region->type == IOMMU_RESV_DIRECT ||
			 region->type == IOMMU_RESV_DIRECT_RELAXABLE;
	iommu_put_resv_regions(dev, &regions);
	return found;
}

static int iommu_lu_check(struct device *dev, struct iommu_group *group,
			  struct iommu_domain *domain,
			  const struct iommu_liveupdate_ops *ops)
{
	unsigned long pasid = IOMMU_NO_PASID;
	const char *why;

	if (!ops)
		return iommu_lu_refuse(dev, -EOPNOTSUPP,
				       "the driver of its IOMMU cannot hand over the translation");
	if (!list_is_singular(&group->devices))
		return iommu_lu_refuse(dev, -EOPNOTSUPP,
				       "its IOMMU group has other devices");
	if (xa_find_after(&group->pasid_array, &pasid, ULONG_MAX, XA_PRESENT))
		return iommu_lu_refuse(dev, -EOPNOTSUPP, "it uses PASIDs");
	if (group->domain != domain || !(domain->type & __IOMMU_DOMAIN_PAGING) ||
	    !domain->is_iommupt)
		return iommu_lu_refuse(dev, -EOPNOTSUPP,
				       "it is not attached to a page table that can be handed over");
	if (iommu_lu_has_direct_region(dev))
		return iommu_lu_refuse(dev, -EPERM,
				       "firmware wants memory mapped for it (RMRR)");
	why = ops->check_device(dev);
	if (why)
		return iommu_lu_refuse(dev, -EOPNOTSUPP, why);
	return 0;
}

/* Write all records: indices may have changed. Room has been made before. */
static void iommu_lu_write(void)
{
	struct kho_block_set_it it, mem;
	struct iommu_lu_domain *dom;
	struct iommu_lu_device *ludev;
	struct iommu_lu_unit *unit;
	u32 index = 0;

	iommu_lu_set_rewrite(&iommu_lu_out.units, &it);
	list_for_each_entry(unit, &iommu_lu_out.unit_list, node)
		iommu_lu_set_write(&iommu_lu_out.units, &it, &unit->ser);

	iommu_lu_set_rewrite(&iommu_lu_out.domains, &it);
	iommu_lu_set_rewrite(&iommu_lu_out.memory, &mem);
	list_for_each_entry(dom, &iommu_lu_out.domain_list, node) {
		dom->index = index++;
		iommu_lu_set_write(&iommu_lu_out.domains, &it, &dom->ser);
		for (unsigned int i = 0; i < dom->nr_memfds; i++) {
			struct iommu_memory_ser rec = {
				.memfd = dom->memfds[i],
				.domain = dom->index,
			};

			iommu_lu_set_write(&iommu_lu_out.memory, &mem, &rec);
		}
	}

	iommu_lu_set_rewrite(&iommu_lu_out.devices, &it);
	list_for_each_entry(ludev, &iommu_lu_out.device_list, node) {
		ludev->ser.domain = ludev->domain->index;
		ludev->slot = iommu_lu_set_write(&iommu_lu_out.devices, &it,
						 &ludev->ser);
	}
}

static struct iommu_lu_device *iommu_lu_find_device(struct device *dev)
{
	struct iommu_lu_device *ludev;

	lockdep_assert_held(&iommu_liveupdate_lock);

	list_for_each_entry(ludev, &iommu_lu_out.device_list, node) {
		if (ludev->dev == dev)
			return ludev;
	}
	return NULL;
}

/**
 * iommu_liveupdate_add_unit - Announce an IOMMU of the old kernel.
 * @ser: Its record, copied.
 *
 * Context: From &iommu_liveupdate_ops.preserve_units.
 * Return: 0 or -ENOMEM.
 */
int iommu_liveupdate_add_unit(const struct iommu_unit_ser *ser)
{
	struct iommu_lu_unit *unit;
	int err;

	lockdep_assert_held(&iommu_liveupdate_lock);

	unit = kzalloc_obj(*unit);
	if (!unit)
		return -ENOMEM;
	err = kho_block_set_grow(&iommu_lu_out.units.blocks,
				 iommu_lu_out.units.nr + 1);
	if (err) {
		kfree(unit);
		return err;
	}
	unit->ser = *ser;
	list_add_tail(&unit->node, &iommu_lu_out.unit_list);
	iommu_lu_out.units.nr++;
	return 0;
}

static void iommu_lu_put_units(void)
{
	struct iommu_lu_unit *unit, *tmp;

	if (!list_empty(&iommu_lu_out.device_list))
		return;

	list_for_each_entry_safe(unit, tmp, &iommu_lu_out.unit_list, node) {
		iommu_lu_out.ops->unpreserve_unit(&unit->ser);
		list_del(&unit->node);
		kfree(unit);
	}
	iommu_lu_out.units.nr = 0;
	iommu_lu_out.ops = NULL;
}

static int iommu_lu_get_units(const struct iommu_liveupdate_ops *ops)
{
	int err;

	/* All IOMMUs of a machine have the same driver. */
	if (iommu_lu_out.ops)
		return iommu_lu_out.ops == ops ? 0 : -EOPNOTSUPP;

	iommu_lu_out.ops = ops;
	err = ops->preserve_units();
	if (err)
		iommu_lu_put_units();
	return err;
}

static struct iommu_lu_domain *
iommu_lu_get_domain(const struct iommu_preserved *what)
{
	struct iommu_lu_domain *dom;
	int err;

	list_for_each_entry(dom, &iommu_lu_out.domain_list, node) {
		if (dom->domain == what->domain) {
			dom->ser.nr_devices++;
			return dom;
		}
	}

	err = kho_block_set_grow(&iommu_lu_out.domains.blocks,
				 iommu_lu_out.domains.nr + 1);
	if (!err && what->nr_memfds)
		err = kho_block_set_grow(&iommu_lu_out.memory.blocks,
					 iommu_lu_out.memory.nr + what->nr_memfds);
	if (err)
		return ERR_PTR(err);

	dom = kzalloc_flex(*dom, memfds, what->nr_memfds);
	if (!dom)
		return ERR_PTR(-ENOMEM);

	dom->domain = what->domain;
	dom->nr_memfds = what->nr_memfds;
	memcpy(dom->memfds, what->memfds, what->nr_memfds * sizeof(u64));
	dom->ser.mapped = what->mapped;
	dom->ser.nr_devices = 1;
	err = iommu_lu_out.ops->preserve_domain(what->domain, &dom->ser);
	if (err) {
		kfree(dom);
		return ERR_PTR(err);
	}

	list_add_tail(&dom->node, &iommu_lu_out.domain_list);
	iommu_lu_out.domains.nr++;
	iommu_lu_out.memory.nr += dom->nr_memfds;
	return dom;
}

static void iommu_lu_put_domain(struct iommu_lu_domain *dom)
{
	if (--dom->ser.nr_devices)
		return;

	list_del(&dom->node);
	iommu_lu_out.domains.nr--;
	iommu_lu_out.memory.nr -= dom->nr_memfds;
	iommu_lu_out.ops->unpreserve_domain(dom->domain);
	kfree(dom);
}

/**
 * iommu_liveupdate_preserve - Hand the translation of a device over.
 * @dev:  The device, whose DMA is owned by the caller.
 * @what: What it can reach; proved by the caller, who keeps it so until the
 *        matching iommu_liveupdate_unpreserve() or the kexec.
 *
 * Context: Process context, from a file handler's preserve(), after the handler
 *          had iommu_liveupdate_register_flb(). Takes the group's mutex and
 *          iommu_liveupdate_lock.
 * Return: 0, or
 *         -EOPNOTSUPP if the IOMMU, its driver, or the way the device is attached
 *         does not allow it, which includes ATS, PRI, PASIDs and groups of more
 *         than one device,
 *         -EPERM if firmware wants memory mapped for it,
 *         -EBUSY if it is preserved already or not yet finished,
 *         -ENOMEM. Each but the last with a line in the log.
 */
int iommu_liveupdate_preserve(struct device *dev, const struct iommu_preserved *what)
{
	struct iommu_group *group = dev->iommu_group;
	const struct iommu_liveupdate_ops *ops;
	struct iommu_lu_device *ludev;
	int err;

	if (!group || !dev->iommu || !dev->iommu->iommu_dev)
		return iommu_lu_refuse(dev, -EOPNOTSUPP, "no IOMMU translates for it");
	ops = dev_iommu_ops(dev)->liveupdate;

	guard(mutex)(&group->mutex);
	guard(mutex)(&iommu_liveupdate_lock);

	err = iommu_lu_check(dev, group, what->domain, ops);
	if (err)
		return err;
	if (WARN_ON_ONCE(!iommu_lu_out.ser))
		return -EINVAL;
	if (iommu_lu_find_device(dev))
		return iommu_lu_refuse(dev, -EBUSY, "it is preserved already");
	if (iommu_liveupdate_is_restored(what->domain))
		return iommu_lu_refuse(dev, -EBUSY,
				       "the previous live update is not finished");

	ludev = kzalloc_obj(*ludev);
	if (!ludev)
		return -ENOMEM;
	ludev->dev = dev;

	err = iommu_lu_get_units(ops);
	if (err)
		goto err_free;
	err = kho_block_set_grow(&iommu_lu_out.devices.blocks,
				 iommu_lu_out.devices.nr + 1);
	if (err)
		goto err_units;
	ludev->domain = iommu_lu_get_domain(what);
	if (IS_ERR(ludev->domain)) {
		err = PTR_ERR(ludev->domain);
		goto err_units;
	}
	err = ops->preserve_device(dev, what->domain, &ludev->ser);
	if (err)
		goto err_domain;

	list_add_tail(&ludev->node, &iommu_lu_out.device_list);
	iommu_lu_out.devices.nr++;
	iommu_lu_write();
	return 0;

err_domain:
	iommu_lu_put_domain(ludev->domain);
err_units:
	iommu_lu_put_units();
err_free:
	kfree(ludev);
	iommu_lu_write();
	return err;
}
EXPORT_SYMBOL_GPL(iommu_liveupdate_preserve);

/**
 * iommu_liveupdate_unpreserve - Undo iommu_liveupdate_preserve().
 * @dev: A preserved device that is not frozen.
 *
 * Context: Process context. Takes iommu_liveupdate_lock.
 */
void iommu_liveupdate_unpreserve(struct device *dev)
{
	const struct iommu_liveupdate_ops *ops;
	struct iommu_lu_device *ludev;

	guard(mutex)(&iommu_liveupdate_lock);

	ludev = iommu_lu_find_device(dev);
	if (WARN_ON_ONCE(!ludev))
		return;

	ops = iommu_lu_out.ops;
	list_del(&ludev->node);
	iommu_lu_out.devices.nr--;
	ops->unpreserve_device(dev, &ludev->ser);
	iommu_lu_put_domain(ludev->domain);
	iommu_lu_put_units();
	kfree(ludev);
	iommu_lu_write();
}
EXPORT_SYMBOL_GPL(iommu_liveupdate_unpreserve);

static bool iommu_lu_out_scalable(void)
{
	struct iommu_lu_unit *unit;

	list_for_each_entry(unit, &iommu_lu_out.unit_list, node) {
		if (unit->ser.flags & IOMMU_SER_UNIT_SCALABLE)
			return true;
	}
	return false;
}

#ifdef CONFIG_PCI_LIVEUPDATE_DAMAGE
static void iommu_lu_damage_set(const char *name, struct iommu_lu_set *set)
{
	struct kho_block_set_it it;
	unsigned int i = 0;
	void *rec;

	kho_block_set_it_init(&it, &set->blocks);
	while ((rec = kho_block_set_it_read_entry(&it)))
		pci_liveupdate_damage_iommu(name, i++, rec, set->blocks.entry_size);
}

/* Do to the records what a test has asked for. */
static void iommu_lu_damage(void)
{
	iommu_lu_damage_set("unit", &iommu_lu_out.units);
	iommu_lu_damage_set("domain", &iommu_lu_out.domains);
	iommu_lu_damage_set("device", &iommu_lu_out.devices);
	iommu_lu_damage_set("memory", &iommu_lu_out.memory);
	pci_liveupdate_damage_iommu("root", 0, iommu_lu_out.ser,
				    sizeof(*iommu_lu_out.ser));
}

/**
 * iommu_liveupdate_damage_version - Hand over records of another version.
 * @name: The FLB's name in the next kernel's eyes.
 *
 * Return: 0 or -E2BIG.
 */
int iommu_liveupdate_damage_version(const char *name)
{
	/* LUO writes it down at the last moment. Nothing but a test does this. */
	return strscpy((char *)iommu_lu_flb.compatible, name,
		       LIVEUPDATE_FLB_COMPAT_LENGTH) < 0 ? -E2BIG : 0;
}
#else
static void iommu_lu_damage(void)
{
}
#endif

/**
 * iommu_liveupdate_freeze - The kexec is about to happen.
 * @dev: A preserved device that its user cannot reach any more.
 *
 * Context: Process context, from the file handler's freeze(), with the kexec lock
 *          held. Takes iommu_liveupdate_lock.
 * Return: 0, or what iommu_liveupdate_check_image() returns if the image to boot
 *         into would not take the translation over.
 */
int iommu_liveupdate_freeze(struct device *dev)
{
	struct iommu_lu_device *ludev;
	int err;

	guard(mutex)(&iommu_liveupdate_lock);

	ludev = iommu_lu_find_device(dev);
	if (WARN_ON_ONCE(!ludev))
		return -EINVAL;

	/* It is the same image for all devices. */
	if (!iommu_lu_out.frozen) {
		err = iommu_liveupdate_check_image(iommu_lu_out_scalable());
		if (err)
			return err;
	}

	/* A reset by the user may have taken it off its domain and back. */
	iommu_lu_out.ops->freeze_device(dev, ludev->domain->domain, &ludev->ser);
	*ludev->slot = ludev->ser;
	iommu_lu_out.frozen++;
	iommu_lu_out.ser->flags |= IOMMU_SER_F_FROZEN;
	iommu_lu_damage();
	return 0;
}
EXPORT_SYMBOL_GPL(iommu_liveupdate_freeze);

/**
 * iommu_liveupdate_unfreeze - Undo iommu_liveupdate_freeze(): the kexec failed.
 * @dev: A frozen device.
 *
 * Context: Process context. Takes iommu_liveupdate_lock.
 */
void iommu_liveupdate_unfreeze(struct device *dev)
{
	guard(mutex)(&iommu_liveupdate_lock);

	if (WARN_ON_ONCE(!iommu_lu_out.frozen))
		return;
	if (!--iommu_lu_out.frozen)
		iommu_lu_out.ser->flags &= ~IOMMU_SER_F_FROZEN;
}
EXPORT_SYMBOL_GPL(iommu_liveupdate_unfreeze);

static int iommu_lu_block(struct device *dev, void *data)
{
	struct iommu_group *group = iommu_group_get(dev);
	int err;

	if (!group)
		return 0;

	scoped_guard(mutex, &group->mutex) {
		/* Groups that were made without a driver have no domains. */
		if (!group->domain || list_empty(&group->devices))
			break;
		scoped_guard(mutex, &iommu_liveupdate_lock) {
			if (iommu_lu_find_device(dev))
				goto out;
		}
		err = __iommu_group_alloc_blocking_domain(group);
		if (!err)
			err = __iommu_group_set_domain_internal(group,
								group->blocking_domain, 0);
		/* The driver clears what is left, and bus mastering is off. */
		if (err)
			dev_warn(dev, "live update: cannot be blocked: %pe\n",
				 ERR_PTR(err));
	}
out:
	iommu_group_put(group);
	return 0;
}

/**
 * iommu_liveupdate_quiesce - Block all devices that are not preserved.
 *
 * Called between device_shutdown() and machine_shutdown(): no driver needs its DMA
 * any more, and bus mastering is off, but where a device does not care the next
 * kernel's memory is to be safe. Does nothing unless devices are frozen.
 *
 * Context: Process context, other CPUs are up.
 */
void iommu_liveupdate_quiesce(void)
{
	if (!iommu_liveupdate_outgoing())
		return;

	bus_for_each_dev(&pci_bus_type, NULL, NULL, iommu_lu_block);
}

/**
 * iommu_liveupdate_outgoing - Are translations on their way to the next kernel?
 *
 * Return: true while devices are frozen.
 */
bool iommu_liveupdate_outgoing(void)
{
	return READ_ONCE(iommu_lu_out.frozen);
}

/**
 * iommu_liveupdate_out_unit - Look at the records of the IOMMUs.
 * @i: Which one, from 0.
 *
 * Context: iommu_liveupdate_lock is held, or at shutdown, when all other CPUs are
 *          stopped.
 * Return: The record, NULL after the last.
 */
const struct iommu_unit_ser *iommu_liveupdate_out_unit(unsigned int i)
{
	struct iommu_lu_unit *unit;

	list_for_each_entry(unit, &iommu_lu_out.unit_list, node) {
		if (!i--)
			return &unit->ser;
	}
	return NULL;
}

/**
 * iommu_liveupdate_out_device - Look at the records of the preserved devices.
 * @i: Which one, from 0.
 *
 * Context: Only at shutdown, when all other CPUs are stopped.
 * Return: The record, NULL after the last.
 */
const struct iommu_device_ser *iommu_liveupdate_out_device(unsigned int i)
{
	struct iommu_lu_device *ludev;

	list_for_each_entry(ludev, &iommu_lu_out.device_list, node) {
		if (!i--)
			return &ludev->ser;
	}
	return NULL;
}

/* ---- New kernel ---------------------------------------------------------------- */

/**
 * iommu_liveupdate_incoming - Did translations come from the old kernel?
 *
 * Return: true from the first call, in a core_initcall, until the last file is
 *         finished.
 */
bool iommu_liveupdate_incoming(void)
{
	return READ_ONCE(iommu_lu_in.ser);
}

/**
 * iommu_liveupdate_in_unit - Look at the incoming records of the IOMMUs.
 * @i: Which one, from 0.
 *
 * Context: Boot.
 * Return: The record, NULL after the last.
 */
const struct iommu_unit_ser *iommu_liveupdate_in_unit(unsigned int i)
{
	return i < iommu_lu_in.ser->units.nr ? iommu_lu_in.unit[i] : NULL;
}

/**
 * iommu_liveupdate_in_device - Look at the incoming records of the devices.
 * @i: Which one, from 0.
 *
 * Context: Boot.
 * Return: The record, NULL after the last.
 */
const struct iommu_device_ser *iommu_liveupdate_in_device(unsigned int i)
{
	return i < iommu_lu_in.ser->devices.nr ? iommu_lu_in.device[i] : NULL;
}

/**
 * iommu_liveupdate_in_domain - Look at the incoming records of the page tables.
 * @i: Which one, from 0.
 *
 * Context: Boot.
 * Return: The record, NULL after the last.
 */
const struct iommu_domain_ser *iommu_liveupdate_in_domain(unsigned int i)
{
	return i < iommu_lu_in.ser->domains.nr ? iommu_lu_in.restored[i].ser : NULL;
}

/**
 * iommu_liveupdate_claimed - Is there a device for an incoming record?
 * @ser: The record.
 *
 * Context: After PCI enumeration.
 * Return: true if the device was found, and found to be the recorded one. If not,
 *         nothing may translate for its requester ID.
 */
bool iommu_liveupdate_claimed(const struct iommu_device_ser *ser)
{
	struct pci_dev *pdev __free(pci_dev_put) =
		pci_get_domain_bus_and_slot(ser->segment, PCI_BUS_NUM(ser->bdf),
					    ser->bdf & 0xff);

	return pdev && pci_liveupdate_is_incoming(pdev);
}

/**
 * iommu_liveupdate_set_domain - Note the domain made around an incoming table.
 * @i:      Index of its record.
 * @domain: The domain, with its owner. It is the core's from here on.
 *
 * Context: Boot.
 */
void iommu_liveupdate_set_domain(unsigned int i, struct iommu_domain *domain)
{
	guard(mutex)(&iommu_liveupdate_lock);
	iommu_lu_in.restored[i].domain = domain;
}

static void iommu_lu_put_restored(struct iommu_lu_restored *restored)
{
	lockdep_assert_held(&iommu_liveupdate_lock);

	/* Not here: a group's mutex is held, and it may be a lot of memory. */
	if (!--restored->users)
		schedule_work(&restored->free);
}

/**
 * iommu_liveupdate_adopted - The hardware uses this kernel's tables.
 *
 * Context: Boot, after the driver has called iommu_liveupdate_set_domain() for
 *          each record, and before devices are probed.
 */
void iommu_liveupdate_adopted(void)
{
	const struct iommu_device_ser *ser;

	guard(mutex)(&iommu_liveupdate_lock);

	WRITE_ONCE(iommu_lu_in.adopted, true);
	for (unsigned int i = 0; (ser = iommu_liveupdate_in_device(i)); i++) {
		if (iommu_liveupdate_claimed(ser))
			iommu_lu_in.nr_waiting++;
		else
			iommu_lu_put_restored(&iommu_lu_in.restored[ser->domain]);
	}
}

static struct iommu_lu_restored *iommu_lu_find_restored(struct iommu_domain *domain)
{
	for (unsigned int i = 0; i < iommu_lu_in.nr_restored; i++) {
		if (iommu_lu_in.restored[i].domain == domain)
			return &iommu_lu_in.restored[i];
	}
	return NULL;
}

static const struct iommu_device_ser *iommu_lu_find_record(struct device *dev)
{
	const struct iommu_device_ser *ser;
	struct pci_dev *pdev;

	if (!iommu_lu_in.ser || !dev_is_pci(dev))
		return NULL;

	pdev = to_pci_dev(dev);
	for (unsigned int i = 0; (ser = iommu_liveupdate_in_device(i)); i++) {
		if (ser->segment == pci_domain_nr(pdev->bus) &&
		    ser->bdf == PCI_DEVID(pdev->bus->number, pdev->devfn))
			return ser;
	}
	return NULL;
}

/**
 * iommu_liveupdate_restore_group - Put a group on the domain it has in hardware.
 * @group: A group without a domain.
 *
 * Context: First probe of the group; its mutex is held.
 * Return: true if it is a group of the hand-over, and has its domain and an owner
 *         now; false for any other group.
 */
bool iommu_liveupdate_restore_group(struct iommu_group *group)
{
	struct group_device *gdev =
		list_first_entry(&group->devices, struct group_device, list);
	const struct iommu_device_ser *ser;
	struct iommu_lu_restored *restored;
	int err;

	lockdep_assert_held(&group->mutex);
	guard(mutex)(&iommu_liveupdate_lock);

	ser = iommu_lu_find_record(gdev->dev);
	if (!ser || !iommu_liveupdate_claimed(ser))
		return false;

	restored = &iommu_lu_in.restored[ser->domain];
	if (!list_is_singular(&group->devices) || !restored->domain)
		lu_panic("%s: its IOMMU group is not what it was",
			 dev_name(gdev->dev));
	iommu_liveupdate_inject(true);
	err = restored->domain->owner->liveupdate->restore_device(restored->domain,
								  gdev->dev, ser);
	if (!err)
		err = __iommu_group_alloc_blocking_domain(group);
	iommu_liveupdate_inject(false);
	if (err)
		lu_panic("%s: its translation cannot be taken over (%pe)",
			 dev_name(gdev->dev), ERR_PTR(err));

	group->domain = restored->domain;
	group->owner = &iommu_lu_owner;
	group->owner_cnt = 1;
	iommu_lu_in.nr_waiting--;
	dev_info(gdev->dev, "live update: translation taken over\n");
	return true;
}

/**
 * iommu_liveupdate_is_restored - Is it a domain made around an incoming table?
 * @domain: A domain, or NULL.
 *
 * Return: true if so; it cannot become one later, and stays one until the last
 *         device has left it.
 */
bool iommu_liveupdate_is_restored(struct iommu_domain *domain)
{
	return domain && domain->liveupdate_restored;
}

/**
 * iommu_liveupdate_hand_over - Give the ownership of a group to its new user.
 * @group: The group, its mutex held.
 * @dev:   Its device.
 *
 * Return: true if the group is owned by the hand-over, and the file of @dev has
 *         been retrieved: the caller becomes the owner, and the group stays on its
 *         restored domain.
 */
bool iommu_liveupdate_hand_over(struct iommu_group *group, struct device *dev)
{
	lockdep_assert_held(&group->mutex);

	return group->owner == &iommu_lu_owner && dev_is_pci(dev) &&
	       pci_liveupdate_is_retrieved(to_pci_dev(dev));
}

/**
 * iommu_liveupdate_left - A group has been moved to another domain.
 * @domain: The domain it was on. Must not be used by the caller any more.
 *
 * Context: Process context, the group's mutex is held. Takes
 *          iommu_liveupdate_lock.
 */
void iommu_liveupdate_left(struct iommu_domain *domain)
{
	struct iommu_lu_restored *restored;

	if (likely(!iommu_liveupdate_is_restored(domain)))
		return;

	guard(mutex)(&iommu_liveupdate_lock);
	restored = iommu_lu_find_restored(domain);
	if (!WARN_ON_ONCE(!restored || !restored->users))
		iommu_lu_put_restored(restored);
}

/* No device uses the domain. Its tables first, then what they refer to. */
static void iommu_lu_free_work(struct work_struct *work)
{
	struct iommu_lu_restored *restored =
		container_of(work, struct iommu_lu_restored, free);
	struct iommu_domain *domain = restored->domain;
	u32 index = restored - iommu_lu_in.restored;

	scoped_guard(mutex, &iommu_liveupdate_lock)
		restored->domain = NULL;

	if (domain)
		domain->owner->liveupdate->free_domain(domain);
	for (unsigned int i = 0; i < iommu_lu_in.ser->memory.nr; i++) {
		if (iommu_lu_in.mem[i]->domain == index)
			memfd_luo_release(iommu_lu_in.mem[i]->memfd);
	}

	guard(mutex)(&iommu_liveupdate_lock);
	if (!--iommu_lu_in.nr_unfreed && iommu_lu_in.finished)
		iommu_lu_free_records();
}

/**
 * iommu_liveupdate_release_group - Nobody came for the device of a group.
 * @group: The group, its mutex held. Its device has been stopped or is gone.
 *
 * If the hand-over owns it, the group is blocked and then becomes an ordinary one.
 */
void iommu_liveupdate_release_group(struct iommu_group *group)
{
	lockdep_assert_held(&group->mutex);

	if (group->owner != &iommu_lu_owner)
		return;

	__iommu_group_set_domain_internal(group, group->blocking_domain,
					  IOMMU_SET_DOMAIN_MUST_SUCCEED);
	group->owner = NULL;
	group->owner_cnt = 0;
	__iommu_group_set_domain_internal(group, group->default_domain,
					  IOMMU_SET_DOMAIN_MUST_SUCCEED);
}

/**
 * iommu_liveupdate_finish - A device that came from the old kernel is an ordinary one.
 * @dev: The device. If nobody came for it, it has been stopped.
 *
 * Context: Process context. Takes the group's mutex and iommu_liveupdate_lock.
 */
void iommu_liveupdate_finish(struct device *dev)
{
	struct iommu_group *group = iommu_group_get(dev);

	if (!group)
		return;
	scoped_guard(mutex, &group->mutex)
		iommu_liveupdate_release_group(group);
	iommu_group_put(group);
}

/**
 * iommu_liveupdate_has_left - Does a device not need the old page table any more?
 * @dev: The device.
 *
 * Return: true once it is attached to a domain of this kernel.
 */
bool iommu_liveupdate_has_left(struct device *dev)
{
	struct iommu_group *group = iommu_group_get(dev);
	bool left = true;

	if (!group)
		return true;
	scoped_guard(mutex, &group->mutex)
		left = !iommu_liveupdate_is_restored(group->domain);
	iommu_group_put(group);
	return left;
}
EXPORT_SYMBOL_GPL(iommu_liveupdate_has_left);

/* ---- Boot ------------------------------------------------------------------------ */

#if defined(CONFIG_PCI_LIVEUPDATE_DAMAGE) && defined(CONFIG_FAULT_INJECTION)
/* Which allocation of taking the translation over fails, for a test. */
static unsigned int iommu_lu_fail_nth;
core_param(iommu_liveupdate_fail_nth, iommu_lu_fail_nth, uint, 0444);

/**
 * iommu_liveupdate_inject - Let an allocation fail on purpose.
 * @on: From here on, or no more. Calls do not nest.
 */
void iommu_liveupdate_inject(bool on)
{
	if (on) {
		current->fail_nth = iommu_lu_fail_nth;
	} else {
		iommu_lu_fail_nth = current->fail_nth;
		current->fail_nth = 0;
	}
}
#endif

/*
 * Before anything touches the IOMMUs. The driver for the IOMMUs says for itself if
 * it is turned off.
 */
static int __init iommu_lu_check_handover(void)
{
	const char *name;
	void *obj;
	int err;

	for (int i = 0; (name = liveupdate_flb_incoming_name(i)); i++) {
		if (strncmp(name, IOMMU_LUO_FLB_PREFIX, strlen(IOMMU_LUO_FLB_PREFIX)))
			continue;
		if (strcmp(name, IOMMU_LUO_FLB_COMPATIBLE))
			lu_panic("translation was handed over as '%s', this kernel only knows '%s'",
				 name, IOMMU_LUO_FLB_COMPATIBLE);
		if (!liveupdate_enabled())
			lu_panic("live update is off, boot with liveupdate=on");
		iommu_liveupdate_inject(true);
		err = liveupdate_flb_get_incoming(&iommu_lu_flb, &obj);
		iommu_liveupdate_inject(false);
		if (err)
			lu_panic("the records are unusable (%pe)",
				 ERR_PTR(err));
		liveupdate_flb_put_incoming(&iommu_lu_flb);
	}

	return 0;
}
core_initcall(iommu_lu_check_handover);

/* All drivers for IOMMUs have had their turn. */
static int __init iommu_lu_check_adopted(void)
{
	if (iommu_lu_in.ser && !iommu_lu_in.adopted)
		lu_panic("no driver for the IOMMU, boot with intel_iommu=on");
	if (iommu_lu_in.nr_waiting)
		lu_panic("%u devices were not probed",
			 iommu_lu_in.nr_waiting);
	return 0;
}
device_initcall(iommu_lu_check_adopted);
