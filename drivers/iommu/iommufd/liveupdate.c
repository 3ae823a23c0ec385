// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a device can reach, across a live update
 *
 * A preserved device goes on with its DMA while the kernel is replaced, through
 * the page table it has. The next kernel keeps the memory of the memfds that are
 * preserved with the device and gives everything else away, so the table must map
 * nothing but pages of these memfds, and BARs of devices that are preserved too.
 *
 * What iommufd once mapped proves nothing about that. It pins pages, and a page
 * that is pinned can be gone from its file: a hole punched into a sealed memfd, or
 * a file that was shortened, leave the device with a page that the memfd no longer
 * has and that is not preserved with it. Therefore each range that the table maps
 * is compared with the page cache of the file (iommufd_audit()), after the memfd
 * was preserved, which is when it stopped changing. The table is walked from end
 * to end in step with the areas of the IOAS, so that what is mapped outside of
 * them is found as well as what is missing.
 *
 * From before the audit to the last unpreserve the IOAS, its domains and the
 * attachment of the device do not change: whoever tries gets -EBUSY. What cannot
 * be refused is the owner of a BAR taking it back (a revoked dma-buf, when its
 * device is reset, put to sleep, or has its memory space disabled): the BAR is
 * unmapped at once, but leaf by leaf, because the tables themselves belong to the
 * next kernel already and must not be freed. iommufd_device_check_bars() finds out
 * and the live update fails in its freeze.
 *
 * The result is per HWPT: devices that share one and are preserved in the same
 * session have it audited once.
 *
 * Lock order, outermost first::
 *
 *   LUO session mutex, LUO file mutex (in freeze)
 *     vfio_device_set.lock, and whatever else the caller has
 *       igroup->lock                      igroup->liveupdate
 *         iopt->domains_rwsem             for write: iopt->immutable,
 *           iopt->iova_rwsem              hwpt->liveupdate, its users
 *             pages->mutex                a dma-buf being revoked
 *         ictx->objects' xa_lock
 *
 * The audit itself runs with igroup->lock and the LUO session's mutex only: what
 * it looks at does not change any more.
 */

#include <linux/cleanup.h>
#include <linux/device.h>
#include <linux/dma-buf.h>
#include <linux/generic_pt/iommu.h>
#include <linux/iommu.h>
#include <linux/iommufd.h>
#include <linux/kho/abi/memfd.h>
#include <linux/ktime.h>
#include <linux/liveupdate.h>
#include <linux/magic.h>
#include <linux/pagemap.h>
#include <linux/pci.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/sort.h>

#include "io_pagetable.h"
#include "iommufd_private.h"

/* Runs of the page cache that are looked up at a time, and pages at most. */
#define IOMMUFD_AUDIT_RUNS	64
#define IOMMUFD_AUDIT_PAGES	4096

/**
 * struct iommufd_bar - A piece of a BAR that is mapped.
 * @pages: The dma-buf; it stays as long as its area does.
 * @pdev:  The device that the BAR belongs to, with a reference.
 * @iova:  Where it is mapped.
 */
struct iommufd_bar {
	struct iopt_pages *pages;
	struct pci_dev *pdev;
	unsigned long iova;
};

/**
 * struct iommufd_liveupdate - An HWPT that is preserved.
 * @hwpt:      The HWPT, with a reference.
 * @file_set:  Identifies the session.
 * @users:     Devices that are preserved with it.
 * @memfds:    What LUO has of the memfds it maps, sorted, each once.
 * @nr_memfds: How many.
 * @nr_areas:  Areas of the IOAS.
 * @bars:      BARs that it maps.
 * @nr_bars:   How many.
 * @bytes:     Bytes mapped.
 * @nr_ranges: Ranges that were compared.
 */
struct iommufd_liveupdate {
	struct iommufd_hwpt_paging *hwpt;
	struct luo_file_set *file_set;
	unsigned int users;
	u64 *memfds;
	unsigned int nr_memfds;
	unsigned int nr_areas;
	struct iommufd_bar *bars;
	unsigned int nr_bars;
	u64 bytes;
	u64 nr_ranges;
};

#define refuse(idev, err, fmt, ...)                                            \
	({                                                                     \
		dev_info((idev)->dev,                                          \
			 "live update: not preserved: " fmt "\n",              \
			 ##__VA_ARGS__);                                       \
		err;                                                           \
	})

/* ---- The audit --------------------------------------------------------------- */

/*
 * One area of the IOAS. Either @mapping is set and the file continues at
 * @offset, or it is a BAR and continues at @phys.
 */
struct iommufd_audit_area {
	unsigned long iova;
	unsigned long last;
	bool writeable;
	struct address_space *mapping;
	u64 offset;
	phys_addr_t phys;
};

/* Pages that follow each other in the file as well as in memory. */
struct iommufd_audit_run {
	pgoff_t index;
	unsigned long nr;
	unsigned long pfn;
};

/*
 * @areas in ascending order, of which @cur is the one being compared, up to @iova.
 * @runs is a window of the page cache of that area's file.
 */
struct iommufd_audit {
	struct iommufd_device *idev;
	struct iommufd_audit_area *areas;
	unsigned int nr_areas;
	unsigned int cur;
	unsigned long iova;
	u64 bytes;
	u64 nr_ranges;
	unsigned int nr_runs;
	unsigned int cur_run;
	struct iommufd_audit_run runs[IOMMUFD_AUDIT_RUNS];
};

/*
 * Look up the pages of @area from @index on, until there is a hole. The memfd is
 * preserved, so its pages are pinned and stay in the file.
 */
static void iommufd_audit_load(struct iommufd_audit *audit,
			       struct iommufd_audit_area *area, pgoff_t index)
{
	pgoff_t last = (area->offset + (area->last - area->iova)) >> PAGE_SHIFT;
	XA_STATE(xas, &area->mapping->i_pages, index);
	struct iommufd_audit_run *run = NULL;
	pgoff_t end = index;
	struct folio *folio;

	audit->nr_runs = 0;
	audit->cur_run = 0;
	last = min(last, index + IOMMUFD_AUDIT_PAGES - 1);

	guard(rcu)();
	xas_for_each(&xas, folio, last) {
		unsigned long pfn, nr;

		if (xas_retry(&xas, folio))
			continue;
		if (xa_is_value(folio) || folio->index > end)
			return;

		pfn = folio_pfn(folio) + (end - folio->index);
		nr = folio_next_index(folio) - end;
		if (run && run->pfn + run->nr == pfn) {
			run->nr += nr;
		} else {
			if (audit->nr_runs == IOMMUFD_AUDIT_RUNS)
				return;
			run = &audit->runs[audit->nr_runs++];
			*run = (struct iommufd_audit_run){ end, nr, pfn };
		}
		end += nr;
	}
}

/* Where in memory is page @index of the file, and how far does that go on? */
static struct iommufd_audit_run *
iommufd_audit_find(struct iommufd_audit *audit, struct iommufd_audit_area *area,
		   pgoff_t index)
{
	while (audit->cur_run < audit->nr_runs) {
		struct iommufd_audit_run *run = &audit->runs[audit->cur_run];

		if (index < run->index + run->nr)
			return run;
		audit->cur_run++;
	}

	cond_resched();
	iommufd_audit_load(audit, area, index);
	return audit->nr_runs ? &audit->runs[0] : NULL;
}

static int iommufd_audit_file(struct iommufd_audit *audit,
			      struct iommufd_audit_area *area,
			      unsigned long iova, phys_addr_t pa, u64 len)
{
	u64 offset = area->offset + (iova - area->iova);

	if (!PAGE_ALIGNED(offset | pa | len))
		return refuse(audit->idev, -EIO,
			      "IOVA %#lx is mapped to a part of a page", iova);

	while (len) {
		pgoff_t index = offset >> PAGE_SHIFT;
		struct iommufd_audit_run *run;
		unsigned long pfn;
		u64 part;

		run = iommufd_audit_find(audit, area, index);
		if (!run)
			return refuse(audit->idev, -ESTALE,
				      "IOVA %#lx is mapped to a page that was removed from its memfd",
				      iova);
		pfn = run->pfn + (index - run->index);
		if (pfn != PHYS_PFN(pa))
			return refuse(audit->idev, -ESTALE,
				      "IOVA %#lx is mapped to a page that was replaced in its memfd",
				      iova);

		part = min(len, (u64)(run->index + run->nr - index) << PAGE_SHIFT);
		offset += part;
		iova += part;
		pa += part;
		len -= part;
	}
	return 0;
}

/* Compare what the page table maps with the areas. Called in ascending order. */
static int iommufd_audit_range(void *arg, dma_addr_t iova, phys_addr_t pa,
			       u64 len, unsigned int prot)
{
	struct iommufd_audit *audit = arg;
	int err;

	audit->nr_ranges++;
	audit->bytes += len;

	/* Areas may follow each other without a gap, and what they map, too. */
	while (len) {
		struct iommufd_audit_area *area = &audit->areas[audit->cur];
		u64 part;

		if (audit->cur == audit->nr_areas || iova < area->iova)
			return refuse(audit->idev, -EIO,
				      "IOVA %pad is mapped outside of all areas",
				      &iova);
		if (iova != audit->iova)
			return refuse(audit->idev, -EIO,
				      "IOVA %#lx should be mapped and is not",
				      audit->iova);
		/*
		 * Only writing matters: a table of the first stage cannot let a
		 * device write and not read.
		 */
		if (prot & IOMMU_WRITE && !area->writeable)
			return refuse(audit->idev, -EIO,
				      "IOVA %pad can be written to and should not",
				      &iova);

		part = min(len, (u64)(area->last - iova) + 1);
		if (area->mapping) {
			err = iommufd_audit_file(audit, area, iova, pa, part);
			if (err)
				return err;
		} else if (pa != area->phys + (iova - area->iova)) {
			return refuse(audit->idev, -EIO,
				      "IOVA %pad is not mapped to the BAR it should be",
				      &iova);
		}

		if (iova + part - 1 == area->last) {
			audit->cur++;
			audit->nr_runs = 0;
			if (audit->cur < audit->nr_areas)
				audit->iova = audit->areas[audit->cur].iova;
		} else {
			audit->iova = iova + part;
		}
		iova += part;
		pa += part;
		len -= part;
	}
	return 0;
}

/*
 * Prove that the domain maps the areas and nothing else. If so, what has been
 * mapped adds up to what the areas have.
 */
static int iommufd_audit(struct iommufd_device *idev,
			 struct iommufd_liveupdate *lu,
			 struct iommufd_audit_area *areas)
{
	struct iommu_domain *domain = lu->hwpt->common.domain;
	struct pt_iommu *table = iommupt_from_domain(domain);
	struct iommufd_audit *audit __free(kfree) = NULL;
	u64 bytes = 0;
	int err;

	if (!table)
		return refuse(idev, -EOPNOTSUPP,
			      "the page table of its IOMMU cannot be read");

	audit = kzalloc_obj(*audit);
	if (!audit)
		return -ENOMEM;
	audit->idev = idev;
	audit->areas = areas;
	audit->nr_areas = lu->nr_areas;
	if (lu->nr_areas)
		audit->iova = areas[0].iova;
	for (unsigned int i = 0; i < lu->nr_areas; i++)
		bytes += (u64)(areas[i].last - areas[i].iova) + 1;

	err = pt_iommu_for_each_leaf(table, 0, ULONG_MAX, iommufd_audit_range,
				     audit);
	if (err)
		return err;
	if (audit->cur != audit->nr_areas)
		return refuse(idev, -EIO, "IOVA %#lx should be mapped and is not",
			      audit->iova);
	if (WARN_ON_ONCE(audit->bytes != bytes))
		return -EIO;

	lu->bytes = bytes;
	lu->nr_ranges = audit->nr_ranges;
	return 0;
}

/* ---- Areas -------------------------------------------------------------------- */

/* The device that has all of a range in one of its BARs, with a reference. */
static struct pci_dev *iommufd_bar_owner(phys_addr_t phys, size_t len)
{
	struct resource want = DEFINE_RES_MEM(phys, len);
	struct pci_dev *pdev = NULL;

	for_each_pci_dev(pdev) {
		for (unsigned int i = 0; i < PCI_STD_NUM_BARS; i++) {
			struct resource *res = pci_resource_n(pdev, i);

			if (resource_type(res) == IORESOURCE_MEM && res->parent &&
			    resource_contains(res, &want))
				return pdev;
		}
	}
	return NULL;
}

static int iommufd_add_bar(struct iommufd_device *idev,
			   struct iommufd_liveupdate *lu, struct iopt_area *area,
			   struct iommufd_audit_area *out)
{
	struct iopt_pages *pages = area->pages;
	unsigned long iova = iopt_area_iova(area);
	struct pci_dev *pdev;

	/*
	 * A revoke that had begun before the IOAS became immutable has ended
	 * once this lock is taken; one that comes later frees no tables.
	 */
	scoped_guard(mutex, &pages->mutex) {
		if (iopt_dmabuf_revoked(pages))
			return refuse(idev, -ENXIO,
				      "the dma-buf at IOVA %#lx has been revoked",
				      iova);
		out->phys = pages->dmabuf.phys.paddr + pages->dmabuf.start +
			    iopt_area_start_byte(area, iova);
	}

	pdev = iommufd_bar_owner(out->phys, iopt_area_length(area));
	if (!pdev)
		return refuse(idev, -ENODEV,
			      "the dma-buf at IOVA %#lx is not the BAR of a device",
			      iova);
	lu->bars[lu->nr_bars++] = (struct iommufd_bar){ pages, pdev, iova };
	return 0;
}

static int iommufd_add_file(struct iommufd_device *idev,
			    const struct liveupdate_file_op_args *args,
			    struct iommufd_liveupdate *lu, struct iopt_area *area,
			    struct iommufd_audit_area *out)
{
	struct iopt_pages *pages = area->pages;
	unsigned long iova = iopt_area_iova(area);
	u64 memfd;

	if (file_inode(pages->file)->i_sb->s_magic == HUGETLBFS_MAGIC)
		return refuse(idev, -EOPNOTSUPP, "IOVA %#lx is hugetlb memory",
			      iova);
	if (liveupdate_preserved_data(args, pages->file, MEMFD_LUO_FH_COMPATIBLE,
				      &memfd))
		return refuse(idev, -ENOENT,
			      "the file at IOVA %#lx is not a memfd that was preserved before in this session",
			      iova);

	out->mapping = pages->file->f_mapping;
	out->offset = pages->start + iopt_area_start_byte(area, iova);
	/* Areas of the same memfd mostly come together. */
	if (!lu->nr_memfds || lu->memfds[lu->nr_memfds - 1] != memfd)
		lu->memfds[lu->nr_memfds++] = memfd;
	return 0;
}

static int iommufd_cmp_u64(const void *a, const void *b)
{
	return cmp_int(*(const u64 *)a, *(const u64 *)b);
}

static void iommufd_sort_memfds(struct iommufd_liveupdate *lu)
{
	unsigned int nr = 0;

	sort(lu->memfds, lu->nr_memfds, sizeof(*lu->memfds), iommufd_cmp_u64, NULL);
	for (unsigned int i = 0; i < lu->nr_memfds; i++) {
		if (!nr || lu->memfds[nr - 1] != lu->memfds[i])
			lu->memfds[nr++] = lu->memfds[i];
	}
	lu->nr_memfds = nr;
}

/* Find out what the areas should map. The IOAS does not change any more. */
static int iommufd_collect(struct iommufd_device *idev,
			   const struct liveupdate_file_op_args *args,
			   struct iommufd_liveupdate *lu,
			   struct iommufd_audit_area **areasp)
{
	struct io_pagetable *iopt = &lu->hwpt->ioas->iopt;
	struct iommufd_audit_area *areas;
	struct iopt_area *area;
	unsigned int nr = 0, nr_bars = 0;
	int err;

	guard(rwsem_read)(&iopt->iova_rwsem);

	for (area = iopt_area_iter_first(iopt, 0, ULONG_MAX); area;
	     area = iopt_area_iter_next(area, 0, ULONG_MAX)) {
		if (area->pages->type == IOPT_ADDRESS_USER)
			return refuse(idev, -EOPNOTSUPP,
				      "IOVA %#lx is memory of a process and not a memfd",
				      iopt_area_iova(area));
		if (iopt_is_dmabuf(area->pages))
			nr_bars++;
		nr++;
	}

	lu->memfds = kvzalloc_objs(*lu->memfds, nr, GFP_KERNEL_ACCOUNT);
	lu->bars = kvzalloc_objs(*lu->bars, nr_bars, GFP_KERNEL_ACCOUNT);
	areas = kvzalloc_objs(*areas, nr, GFP_KERNEL_ACCOUNT);
	*areasp = areas;
	if (!lu->memfds || !lu->bars || !areas)
		return -ENOMEM;

	for (area = iopt_area_iter_first(iopt, 0, ULONG_MAX); area;
	     area = iopt_area_iter_next(area, 0, ULONG_MAX)) {
		struct iommufd_audit_area *out = &areas[lu->nr_areas++];

		out->iova = iopt_area_iova(area);
		out->last = iopt_area_last_iova(area);
		out->writeable = area->iommu_prot & IOMMU_WRITE;
		if (iopt_is_dmabuf(area->pages))
			err = iommufd_add_bar(idev, lu, area, out);
		else
			err = iommufd_add_file(idev, args, lu, area, out);
		if (err)
			return err;
	}

	iommufd_sort_memfds(lu);
	return 0;
}

/**
 * iopt_area_unmap_leaves - Unmap an area of an immutable domain.
 * @area:   The area, of a dma-buf that is being revoked.
 * @domain: A domain of its IOAS.
 *
 * Its tables are preserved, so none may be freed. An unmap frees those that it
 * covers all of, and no single leaf does that.
 *
 * Context: pages->mutex is held.
 */
void iopt_area_unmap_leaves(struct iopt_area *area, struct iommu_domain *domain)
{
	unsigned long page = 1UL << __ffs(domain->pgsize_bitmap);
	unsigned long iova = iopt_area_iova(area);
	unsigned long left = iopt_area_length(area);

	while (left) {
		size_t unmapped = iommu_unmap(domain, iova, page);

		if (WARN_ON_ONCE(!unmapped || unmapped > left))
			return;
		iova += unmapped;
		left -= unmapped;
	}
}

/* ---- Preserve ----------------------------------------------------------------- */

static int iommufd_count_device(struct device *dev, void *data)
{
	unsigned int *nr = data;

	(*nr)++;
	return 0;
}

/* Is there an object that is built on the HWPT, and what is it? */
static const char *iommufd_built_on(struct iommufd_ctx *ictx,
				    struct iommufd_hwpt_paging *hwpt)
{
	struct iommufd_object *obj;
	const char *what = NULL;
	unsigned long index;

	xa_lock(&ictx->objects);
	xa_for_each(&ictx->objects, index, obj) {
		switch (obj->type) {
		case IOMMUFD_OBJ_HWPT_NESTED:
			if (container_of(obj, struct iommufd_hwpt_nested,
					 common.obj)->parent == hwpt)
				what = "nested HWPT";
			break;
		case IOMMUFD_OBJ_VIOMMU:
			if (container_of(obj, struct iommufd_viommu, obj)->hwpt ==
			    hwpt)
				what = "vIOMMU";
			break;
		case IOMMUFD_OBJ_VEVENTQ:
			if (container_of(obj, struct iommufd_veventq,
					 common.obj)->viommu->hwpt == hwpt)
				what = "vEVENTQ";
			break;
		case IOMMUFD_OBJ_HW_QUEUE:
			if (container_of(obj, struct iommufd_hw_queue,
					 obj)->viommu->hwpt == hwpt)
				what = "hardware queue";
			break;
		default:
			break;
		}
	}
	xa_unlock(&ictx->objects);
	return what;
}

/* Returns the HWPT that the device is attached to, or an error. */
static struct iommufd_hwpt_paging *
iommufd_find_hwpt(struct iommufd_device *idev)
{
	struct iommufd_group *igroup = idev->igroup;
	unsigned long pasid = IOMMU_NO_PASID;
	struct iommufd_hw_pagetable *hwpt;
	unsigned int nr = 0;
	const char *what;

	lockdep_assert_held(&igroup->lock);

	if (igroup->liveupdate)
		return ERR_PTR(refuse(idev, -EBUSY, "it is preserved already"));

	iommu_group_for_each_dev(igroup->group, &nr, iommufd_count_device);
	if (nr != 1)
		return ERR_PTR(refuse(idev, -EOPNOTSUPP,
				      "its IOMMU group has %u devices", nr));

	hwpt = iommufd_device_attached_hwpt(idev);
	if (!hwpt)
		return ERR_PTR(refuse(idev, -ENOTCONN,
				      "it is not attached to an IOAS"));
	if (xa_find_after(&igroup->pasid_attach, &pasid, UINT_MAX, XA_PRESENT))
		return ERR_PTR(refuse(idev, -EOPNOTSUPP,
				      "PASID %lu of it is attached", pasid));
	if (idev->vdev)
		return ERR_PTR(refuse(idev, -EOPNOTSUPP, "it has a vDEVICE"));

	if (!hwpt_is_paging(hwpt))
		return ERR_PTR(refuse(idev, -EOPNOTSUPP,
				      "it is attached to a nested HWPT"));
	if (hwpt->fault)
		return ERR_PTR(refuse(idev, -EOPNOTSUPP,
				      "its HWPT delivers faults to user space"));
	what = iommufd_built_on(idev->ictx, to_hwpt_paging(hwpt));
	if (what)
		return ERR_PTR(refuse(idev, -EOPNOTSUPP,
				      "a %s is built on its HWPT", what));
	return to_hwpt_paging(hwpt);
}

/*
 * Make the IOAS immutable, or join in with the device that did. Returns what the
 * device is preserved with, with its reference.
 */
static struct iommufd_liveupdate *
iommufd_liveupdate_get(struct iommufd_device *idev,
		       struct iommufd_hwpt_paging *hwpt,
		       struct luo_file_set *file_set)
{
	struct iommufd_liveupdate *lu __free(kfree) = kzalloc_obj(*lu);
	struct io_pagetable *iopt = &hwpt->ioas->iopt;
	struct iopt_area *area;

	if (!lu)
		return ERR_PTR(-ENOMEM);

	guard(rwsem_write)(&iopt->domains_rwsem);
	guard(rwsem_write)(&iopt->iova_rwsem);

	if (hwpt->liveupdate) {
		if (hwpt->liveupdate->file_set != file_set)
			return ERR_PTR(refuse(idev, -EBUSY,
					      "its HWPT is preserved in another session"));
		hwpt->liveupdate->users++;
		return hwpt->liveupdate;
	}

	if (!xa_empty(&iopt->access_list))
		return ERR_PTR(refuse(idev, -EOPNOTSUPP,
				      "its IOAS is accessed by the kernel"));
	/* Maps and unmaps hold domains_rwsem while it shows that they go on. */
	for (area = iopt_area_iter_first(iopt, 0, ULONG_MAX); area;
	     area = iopt_area_iter_next(area, 0, ULONG_MAX)) {
		if (!area->pages)
			return ERR_PTR(refuse(idev, -EBUSY,
					      "IOVA %#lx is being mapped",
					      iopt_area_iova(area)));
	}

	lu->hwpt = hwpt;
	lu->file_set = file_set;
	lu->users = 1;
	refcount_inc(&hwpt->common.obj.users);
	hwpt->liveupdate = lu;
	WRITE_ONCE(iopt->immutable, iopt->immutable + 1);
	return no_free_ptr(lu);
}

static void iommufd_liveupdate_put(struct iommufd_device *idev,
				   struct iommufd_liveupdate *lu)
{
	struct iommufd_hwpt_paging *hwpt = lu->hwpt;
	struct io_pagetable *iopt = &hwpt->ioas->iopt;

	scoped_guard(rwsem_write, &iopt->domains_rwsem) {
		guard(rwsem_write)(&iopt->iova_rwsem);
		if (--lu->users)
			return;
		hwpt->liveupdate = NULL;
		WRITE_ONCE(iopt->immutable, iopt->immutable - 1);
	}

	/* The device that is attached to it keeps it. */
	refcount_dec(&hwpt->common.obj.users);
	while (lu->nr_bars)
		pci_dev_put(lu->bars[--lu->nr_bars].pdev);
	kvfree(lu->bars);
	kvfree(lu->memfds);
	kfree(lu);
}

static int iommufd_liveupdate_audit(struct iommufd_device *idev,
				    const struct liveupdate_file_op_args *args,
				    struct iommufd_liveupdate *lu)
{
	struct iommufd_audit_area *areas = NULL;
	int err;

	err = iommufd_collect(idev, args, lu, &areas);
	if (!err)
		err = iommufd_audit(idev, lu, areas);
	kvfree(areas);
	return err;
}

/**
 * iommufd_device_preserve - Prove what a device can reach, and keep it so.
 * @idev: A device that is attached to an IOAS or an HWPT.
 * @args: What LUO passed to the .preserve() of the device's file.
 * @out:  Filled in on success.
 *
 * The domain of the device maps, after this, exactly what its IOAS says: pages of
 * memfds that are preserved in the same session, and BARs. Whether the devices
 * that the BARs belong to are preserved is for iommufd_device_check_bars().
 *
 * From here to iommufd_device_unpreserve() nobody changes the IOAS, its domains or
 * the attachment. Each refusal says why in the log.
 *
 * Context: From .preserve() only, in which LUO holds the session's mutex. Takes
 * igroup->lock and the locks of the IOAS; may sleep for long.
 *
 * Return: 0, or
 *   -ENOTCONN    if the device is not attached
 *   -EOPNOTSUPP  if the HWPT is nested, has a fault queue or something built on
 *                it, the device has a vDEVICE or a PASID attached or is not alone
 *                in its group, the kernel accesses the IOAS, memory of a process
 *                or of hugetlb is mapped, or the page table cannot be read
 *   -ENOENT      if a file is mapped that is not preserved in the session
 *   -ESTALE      if a page is mapped that the memfd no longer has there
 *   -EIO         if the page table maps more or less than the areas
 *   -ENXIO       if a dma-buf that is mapped has been revoked
 *   -ENODEV      if a dma-buf that is mapped is not the BAR of a PCI device
 *   -EBUSY       if it is preserved already, its HWPT is in another session, or a
 *                map is under way
 *   -ENOMEM.
 */
int iommufd_device_preserve(struct iommufd_device *idev,
			    const struct liveupdate_file_op_args *args,
			    struct iommufd_preserved *out)
{
	struct iommufd_group *igroup = idev->igroup;
	struct iommufd_hwpt_paging *hwpt;
	struct iommufd_liveupdate *lu;
	u64 start, ns = 0;
	int err;

	guard(mutex)(&igroup->lock);

	hwpt = iommufd_find_hwpt(idev);
	if (IS_ERR(hwpt))
		return PTR_ERR(hwpt);

	lu = iommufd_liveupdate_get(idev, hwpt, args->file_set);
	if (IS_ERR(lu))
		return PTR_ERR(lu);

	/* Others that join in are of this session, so they come later. */
	if (lu->users == 1) {
		start = ktime_get_ns();
		err = iommufd_liveupdate_audit(idev, args, lu);
		ns = ktime_get_ns() - start;
		if (err) {
			iommufd_liveupdate_put(idev, lu);
			return err;
		}
	}

	igroup->liveupdate = lu;
	*out = (struct iommufd_preserved){
		.domain = hwpt->common.domain,
		.memfds = lu->memfds,
		.nr_memfds = lu->nr_memfds,
		.nr_areas = lu->nr_areas,
		.bytes = lu->bytes,
		.nr_ranges = lu->nr_ranges,
		.audit_ns = ns,
	};
	return 0;
}
EXPORT_SYMBOL_NS_GPL(iommufd_device_preserve, "IOMMUFD");

/**
 * iommufd_device_unpreserve - Undo iommufd_device_preserve().
 * @idev: A device for which it succeeded.
 *
 * With the last device of an HWPT everything can change again, and what
 * &struct iommufd_preserved pointed to is gone.
 *
 * Context: Takes igroup->lock and the locks of the IOAS.
 */
void iommufd_device_unpreserve(struct iommufd_device *idev)
{
	struct iommufd_group *igroup = idev->igroup;

	guard(mutex)(&igroup->lock);
	if (WARN_ON_ONCE(!igroup->liveupdate))
		return;
	iommufd_liveupdate_put(idev, igroup->liveupdate);
	igroup->liveupdate = NULL;
}
EXPORT_SYMBOL_NS_GPL(iommufd_device_unpreserve, "IOMMUFD");

/**
 * iommufd_device_check_bars - Are the BARs that a device can reach still there?
 * @idev:      A preserved device.
 * @preserved: Tells whether a device is preserved in the same session.
 * @arg:       First argument of @preserved.
 *
 * For freeze: a device may be preserved after one that has its BARs mapped.
 *
 * Context: While the device is preserved, which LUO's locks see to. May sleep;
 * @preserved is called without a lock of iommufd.
 *
 * Return: 0, -ENXIO if a BAR was taken back since (its device was reset or put to
 *         sleep), -ENOENT if its device is not preserved.
 */
int iommufd_device_check_bars(struct iommufd_device *idev,
			      bool (*preserved)(void *arg, struct pci_dev *pdev),
			      void *arg)
{
	struct iommufd_liveupdate *lu = idev->igroup->liveupdate;

	for (unsigned int i = 0; i < lu->nr_bars; i++) {
		struct iommufd_bar *bar = &lu->bars[i];
		bool revoked;

		scoped_guard(mutex, &bar->pages->mutex)
			revoked = iopt_dmabuf_revoked(bar->pages);
		if (revoked)
			return refuse(idev, -ENXIO,
				      "the BAR of %s at IOVA %#lx has been revoked",
				      pci_name(bar->pdev), bar->iova);
		if (!preserved(arg, bar->pdev))
			return refuse(idev, -ENOENT,
				      "%s, whose BAR is at IOVA %#lx, is not preserved in this session",
				      pci_name(bar->pdev), bar->iova);
	}
	return 0;
}
EXPORT_SYMBOL_NS_GPL(iommufd_device_check_bars, "IOMMUFD");

/**
 * iommufd_device_immutable - May a device be detached?
 * @idev: The device, or NULL if it is not bound.
 *
 * For those who can say no to their user; iommufd_device_detach() cannot.
 *
 * Context: Takes igroup->lock.
 * Return: true if the device, or another one of the same IOAS, is preserved.
 */
bool iommufd_device_immutable(struct iommufd_device *idev)
{
	struct iommufd_hw_pagetable *hwpt;

	if (!idev)
		return false;

	guard(mutex)(&idev->igroup->lock);
	if (idev->igroup->liveupdate)
		return true;
	hwpt = iommufd_device_attached_hwpt(idev);
	return hwpt && hwpt_immutable(find_hwpt_paging(hwpt));
}
EXPORT_SYMBOL_NS_GPL(iommufd_device_immutable, "IOMMUFD");
