/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * IOMMU page tables that live through a kexec, for all formats. This is part of
 * the "templated C code" of iommu_pt.h, which includes it.
 *
 * In the old kernel the tables are given to KHO where they are. The new kernel
 * installs the top table at boot and leaves it at that. The table is frozen: its
 * ops do nothing but refuse, so that the ordinary ones do not have to ask. Later
 * all tables are taken over from KHO, top down, and the ordinary ops come back.
 *
 * Locks: the caller's range lock, then those of KHO, of which a call holds one
 * for one table. There are none of our own: a preserved table and a frozen one do
 * not change.
 */
#ifndef __GENERIC_PT_IOMMU_PT_LIVEUPDATE_H
#define __GENERIC_PT_IOMMU_PT_LIVEUPDATE_H

#include <linux/container_of.h>
#include <linux/kho/abi/generic_pt.h>
#include <linux/mem_encrypt.h>
#include <linux/sched.h>

/* struct pt_iommu_ser has these numbers */
static_assert(PT_FEAT_DMA_INCOHERENT == 0 && PT_FEAT_FULL_VA == 1 &&
	      PT_FEAT_DYNAMIC_TOP == 2 && PT_FEAT_SIGN_EXTEND == 3 &&
	      PT_FEAT_FLUSH_RANGE == 4 && PT_FEAT_FLUSH_RANGE_NO_GAPS == 5 &&
	      PT_FEAT_DETAILED_GATHER == 6 && PT_FEAT_FMT_START == 7);
static_assert(PT_FEAT_AMDV1_ENCRYPT_TABLES == 7 &&
	      PT_FEAT_AMDV1_FORCE_COHERENCE == 8);
static_assert(PT_FEAT_VTDSS_FORCE_COHERENCE == 7 &&
	      PT_FEAT_VTDSS_FORCE_WRITEABLE == 8);
static_assert(PT_FEAT_RISCV_SVNAPOT_64K == 7 && PT_FEAT_RISCV_SVPBMT == 8);
static_assert(PT_FEAT_X86_64_AMD_ENCRYPT_TABLES == 7);

#define PT_IOMMU_SER_FORMAT CONCATENATE(PT_SER_FMT_, PTPFX_RAW)
#define PT_IOMMU_NAME "IOMMU page table " __stringify(PTPFX_RAW)

static const struct pt_iommu_ops NS(ops);
static const struct pt_iommu_ops NS(frozen_ops);

struct pt_iommu_tables_args {
	int (*fn)(struct pt_iommu_tables_args *args, struct pt_table_p *table);
	u64 nr;
};

/* All tables but the top, each before those below it */
static int __walk_tables(struct pt_range *range, void *arg, unsigned int level,
			 struct pt_table_p *table)
{
	struct pt_state pts = pt_init(range, level, table);
	struct pt_iommu_tables_args *args = arg;
	int ret;

	/* There are more entries in these than in all others together */
	if (!pt_can_have_table(&pts))
		return 0;

	for_each_pt_level_entry(&pts) {
		if (pts.type != PT_ENTRY_TABLE)
			continue;
		ret = args->fn(args, pts.table_lower);
		if (ret)
			return ret;
		ret = pt_descend(&pts, arg, __walk_tables);
		if (ret)
			return ret;
	}
	cond_resched();
	return 0;
}

static int walk_tables(struct pt_common *common,
		       struct pt_iommu_tables_args *args)
{
	struct pt_range range = pt_all_range(common);
	int ret;

	might_sleep();
	ret = args->fn(args, range.top_table);
	if (ret)
		return ret;
	return pt_walk_range(&range, __walk_tables, args);
}

static int preserve_table(struct pt_iommu_tables_args *args,
			  struct pt_table_p *table)
{
	int ret = iommu_pages_preserve(table);

	if (!ret)
		args->nr++;
	return ret;
}

static int unpreserve_table(struct pt_iommu_tables_args *args,
			    struct pt_table_p *table)
{
	/* A walk that was cut short ended here */
	if (!args->nr)
		return -ECANCELED;

	iommu_pages_unpreserve(table);
	args->nr--;
	return 0;
}

static void NS(unpreserve)(struct pt_iommu *iommu_table)
{
	struct pt_iommu_tables_args args = {
		.fn = unpreserve_table,
		.nr = U64_MAX,
	};

	walk_tables(common_from_iommu(iommu_table), &args);
}

static int NS(preserve)(struct pt_iommu *iommu_table, struct pt_iommu_ser *ser)
{
	struct pt_common *common = common_from_iommu(iommu_table);
	struct pt_range range = pt_top_range(common);
	struct pt_iommu_tables_args args = { .fn = preserve_table };
	int ret;

	ret = walk_tables(common, &args);
	if (ret) {
		args.fn = unpreserve_table;
		walk_tables(common, &args);
		return ret;
	}

	*ser = (struct pt_iommu_ser) {
		.top_pa = virt_to_phys(range.top_table),
		.nr_tables = args.nr,
		.bytes_mapped = ser->bytes_mapped,
		.nr_leaves = ser->nr_leaves,
		.format = PT_IOMMU_SER_FORMAT,
		.features = common->features,
		.top_level = range.top_level,
		.max_vasz_lg2 = common->max_vasz_lg2,
		.max_oasz_lg2 = common->max_oasz_lg2,
	};
	return 0;
}

static bool ser_is(const char *field, u64 value, u64 expected)
{
	if (value == expected)
		return true;
	pr_err(PT_IOMMU_NAME ": %s is %#llx in the record and %#llx here\n",
	       field, value, expected);
	return false;
}

static int ser_bad(const char *field, u64 value)
{
	pr_err(PT_IOMMU_NAME ": %s of the record cannot be %#llx\n", field,
	       value);
	return -EINVAL;
}

static int ser_check_top_level(struct pt_common *common,
			       const struct pt_iommu_ser *ser)
{
	unsigned int level = pt_top_get_level(common);
	struct pt_range range;
	struct pt_state pts;

	if (!pt_feature(common, PT_FEAT_DYNAMIC_TOP))
		return ser_is("top_level", ser->top_level, level) ? 0 : -EINVAL;

	/* It can only have grown, and as long as there was something to add */
	if (ser->top_level == level)
		return 0;
	if (ser->top_level < level || ser->top_level > PT_MAX_TOP_LEVEL)
		return ser_bad("top_level", ser->top_level);
	range = _pt_top_range(common, _pt_top_set(NULL, ser->top_level));
	pts = pt_init_top(&range);
	if (pt_table_item_lg2sz(&pts) >= common->max_vasz_lg2)
		return ser_bad("top_level", ser->top_level);
	return 0;
}

static int ser_check(struct pt_common *common, const struct pt_iommu_ser *ser)
{
	int ret;

	if (!ser_is("format", ser->format, PT_IOMMU_SER_FORMAT) ||
	    !ser_is("features", ser->features, common->features) ||
	    !ser_is("max_vasz_lg2", ser->max_vasz_lg2, common->max_vasz_lg2) ||
	    !ser_is("max_oasz_lg2", ser->max_oasz_lg2, common->max_oasz_lg2))
		return -EINVAL;

	ret = ser_check_top_level(common, ser);
	if (ret)
		return ret;

	if (!ser->top_pa || ser->top_pa & ~(u64)PT_TOP_PHYS_MASK)
		return ser_bad("top_pa", ser->top_pa);
	if (!ser->nr_tables)
		return ser_bad("nr_tables", ser->nr_tables);
	if (!ser->nr_leaves != !ser->bytes_mapped ||
	    ser->nr_leaves > oalog2_div(ser->bytes_mapped, PT_GRANULE_LG2SZ))
		return ser_bad("nr_leaves", ser->nr_leaves);
	if (oalog2_mod(ser->bytes_mapped, PT_GRANULE_LG2SZ) ||
	    (common->max_vasz_lg2 < 64 &&
	     ser->bytes_mapped > 1ULL << common->max_vasz_lg2))
		return ser_bad("bytes_mapped", ser->bytes_mapped);
	if (memchr_inv(ser->reserved, 0, sizeof(ser->reserved)) ||
	    memchr_inv(ser->reserved2, 0, sizeof(ser->reserved2)))
		return ser_bad("reserved", 1);
	return 0;
}

/*
 * Take a table over from KHO. What is not a table after all may belong to
 * somebody else, and the hardware may use it: it is never freed.
 */
static struct pt_table_p *restore_table(struct pt_common *common,
					phys_addr_t pa, unsigned int lg2sz,
					unsigned int level)
{
	struct pt_iommu *iommu_table = iommu_from_common(common);
	struct pt_table_p *table = iommu_pages_restore(pa);
	unsigned int order;

	if (!table) {
		pr_err(PT_IOMMU_NAME ": KHO has no table of level %u at %pa\n",
		       level, &pa);
		return NULL;
	}

	order = folio_order(virt_to_folio(table));
	if (order != get_order(log2_to_int(lg2sz))) {
		pr_err(PT_IOMMU_NAME ": order %u is wrong for the table of level %u at %pa\n",
		       order, level, &pa);
		return NULL;
	}

	if (pt_feature(common, PT_FEAT_DMA_INCOHERENT) &&
	    iommu_pages_restore_incoherent(table, iommu_table->iommu_device)) {
		pr_err(PT_IOMMU_NAME ": cannot map the table of level %u at %pa\n",
		       level, &pa);
		return NULL;
	}

	iommu_pages_list_add(&iommu_table->restored, table);
	iommu_table->nr_restored++;
	return table;
}

static int NS(restore)(struct pt_iommu *iommu_table,
		       const struct pt_iommu_ser *ser)
{
	struct pt_common *common = common_from_iommu(iommu_table);
	struct pt_range range = pt_top_range(common);
	struct pt_table_p *top;
	unsigned int lg2sz;
	int ret;

	ret = ser_check(common, ser);
	if (ret)
		return ret;

	lg2sz = pt_top_memsize_lg2(common, common->top_of_table);
	if (memchr_inv(range.top_table, 0, log2_to_int(lg2sz)))
		return -EBUSY;

	INIT_LIST_HEAD(&iommu_table->restored.pages);
	iommu_table->nr_restored = 0;
	iommu_table->nr_preserved = ser->nr_tables;

	lg2sz = pt_top_memsize_lg2(common, _pt_top_set(NULL, ser->top_level));
	top = restore_table(common, ser->top_pa, lg2sz, ser->top_level);
	if (!top)
		return -EINVAL;

	pt_top_set(common, top, ser->top_level);
	iommu_table->ops = &NS(frozen_ops);
	iommu_pages_free_incoherent(range.top_table, iommu_table->iommu_device);
	return 0;
}

static int NS(restore_tables)(struct pt_iommu *iommu_table)
{
	return 0;
}

static int __restore_tables(struct pt_range *range, void *arg,
			    unsigned int level, struct pt_table_p *table)
{
	struct pt_state pts = pt_init(range, level, table);
	struct pt_iommu *iommu_table = iommu_from_common(range->common);
	struct pt_state child_pts;
	int ret;

	if (!pt_can_have_table(&pts))
		return 0;

	child_pts = pt_init(range, level - 1, NULL);
	for_each_pt_level_entry(&pts) {
		if (pts.type == PT_ENTRY_OA && !pt_can_have_leaf(&pts)) {
			pr_err(PT_IOMMU_NAME ": a leaf at level %u\n", level);
			return -EINVAL;
		}
		if (pts.type != PT_ENTRY_TABLE)
			continue;

		if (iommu_table->nr_restored == iommu_table->nr_preserved) {
			pr_err(PT_IOMMU_NAME ": more than the %llu tables that were preserved\n",
			       iommu_table->nr_preserved);
			return -EINVAL;
		}
		/* Not through table_lower: it may point to anywhere */
		pts.table_lower = restore_table(range->common, pt_table_pa(&pts),
						pt_num_items_lg2(&child_pts) +
						ilog2(PT_ITEM_WORD_SIZE),
						level - 1);
		if (!pts.table_lower)
			return -EINVAL;
		ret = pt_descend(&pts, arg, __restore_tables);
		if (ret)
			return ret;
	}
	cond_resched();
	return 0;
}

static int NS(frozen_restore_tables)(struct pt_iommu *iommu_table)
{
	struct pt_range range = pt_all_range(common_from_iommu(iommu_table));
	int ret;

	might_sleep();

	/* It has failed before: KHO gives out each table once */
	if (iommu_table->nr_restored > 1)
		return -EINVAL;

	ret = pt_walk_range(&range, __restore_tables, NULL);
	if (ret)
		return ret;
	if (iommu_table->nr_restored != iommu_table->nr_preserved) {
		pr_err(PT_IOMMU_NAME ": %llu tables of the %llu that were preserved\n",
		       iommu_table->nr_restored, iommu_table->nr_preserved);
		return -EINVAL;
	}

	/* Tables come and go from now on, so the list is void */
	iommu_table->ops = &NS(ops);
	return 0;
}

static void NS(frozen_deinit)(struct pt_iommu *iommu_table)
{
	struct pt_common *common = common_from_iommu(iommu_table);

	if (iommu_table->nr_restored != iommu_table->nr_preserved)
		pr_warn(PT_IOMMU_NAME ": %llu tables leak\n",
			iommu_table->nr_preserved - iommu_table->nr_restored);

	/* As in deinit, but nothing that is not ours is looked into */
	if (pt_feature(common, PT_FEAT_DMA_INCOHERENT))
		iommu_pages_stop_incoherent_list(&iommu_table->restored,
						 iommu_table->iommu_device);
	iommu_put_pages_list(&iommu_table->restored);
}

/* What is contiguous and was not reported yet */
struct pt_iommu_leaf_args {
	int (*fn)(struct pt_iommu_leaf_args *args);
	pt_vaddr_t va;
	pt_oaddr_t oa;
	u64 len;
	u64 bits;
};

static __always_inline int __do_leaves(struct pt_range *range, void *arg,
				       unsigned int level,
				       struct pt_table_p *table,
				       pt_level_fn_t descend_fn)
{
	struct pt_state pts = pt_init(range, level, table);
	struct pt_iommu_leaf_args *args = arg;
	int ret;

	for_each_pt_level_entry(&pts) {
		struct pt_write_attrs attrs = {};
		pt_vaddr_t last_va;
		pt_oaddr_t oa;

		if (pts.type == PT_ENTRY_TABLE) {
			ret = pt_descend(&pts, arg, descend_fn);
			if (ret)
				return ret;
			continue;
		}
		if (pts.type != PT_ENTRY_OA)
			continue;

		/* A walk begins and ends anywhere, inside a leaf too */
		last_va = min(log2_set_mod_max(range->va,
					       pt_entry_oa_lg2sz(&pts)),
			      range->last_va);
		oa = pt_entry_oa_exact(&pts);
		pt_attr_from_entry(&pts, &attrs);

		if (range->va != args->va + args->len ||
		    oa != args->oa + args->len ||
		    attrs.descriptor_bits != args->bits || !args->len) {
			if (args->len) {
				ret = args->fn(args);
				if (ret)
					return ret;
			}
			args->va = range->va;
			args->oa = oa;
			args->len = 0;
			args->bits = attrs.descriptor_bits;
		}
		args->len += last_va - range->va + 1;
	}
	return 0;
}

/* Most entries are in these: a constant level makes them cheap */
static int __leaves_0(struct pt_range *range, void *arg, unsigned int level,
		      struct pt_table_p *table)
{
	return __do_leaves(range, arg, 0, table, NULL);
}

static int __leaves_1(struct pt_range *range, void *arg, unsigned int level,
		      struct pt_table_p *table)
{
	int ret = __do_leaves(range, arg, 1, table, __leaves_0);

	cond_resched();
	return ret;
}

static int __leaves(struct pt_range *range, void *arg, unsigned int level,
		    struct pt_table_p *table)
{
	return __do_leaves(range, arg, level, table,
			   level == 2 ? __leaves_1 : __leaves);
}

static int walk_leaves(struct pt_common *common, dma_addr_t start,
		       dma_addr_t last, struct pt_iommu_leaf_args *args)
{
	struct pt_range ranges[] = { pt_top_range(common),
				     pt_upper_range(common) };
	unsigned int nr = pt_feature(common, PT_FEAT_SIGN_EXTEND) ? 2 : 1;
	int ret;

	might_sleep();
	for (unsigned int i = 0; i < nr; i++) {
		struct pt_range *range = &ranges[i];

		if (start > range->last_va || last < range->va)
			continue;
		range->va = max_t(pt_vaddr_t, range->va, start);
		range->last_va = min_t(pt_vaddr_t, range->last_va, last);
		if (range->top_level == 1)
			ret = pt_walk_range(range, __leaves_1, args);
		else if (range->top_level == 0)
			ret = pt_walk_range(range, __leaves_0, args);
		else
			ret = pt_walk_range(range, __leaves, args);
		if (ret)
			return ret;
	}
	return args->len ? args->fn(args) : 0;
}

struct pt_iommu_each_leaf_args {
	struct pt_iommu_leaf_args leaf;
	struct pt_common *common;
	pt_iommu_leaf_fn_t fn;
	void *arg;
	/* The bits that were looked up last */
	u64 bits;
	unsigned int prot;
};

/*
 * Find what to give map to get these bits. Formats differ, but each tells the
 * bits for all that can be asked for. Of several the first is told, so ask for
 * little first, except that some formats know no less than both read and write.
 */
static int find_prot(struct pt_common *common, u64 bits, unsigned int *prot)
{
	static const unsigned int access[] = { IOMMU_READ | IOMMU_WRITE,
					       IOMMU_READ, IOMMU_WRITE };
	static const unsigned int more[] = {
		0, IOMMU_CACHE, IOMMU_NOEXEC, IOMMU_NOEXEC | IOMMU_CACHE,
		IOMMU_MMIO, IOMMU_MMIO | IOMMU_CACHE, IOMMU_MMIO | IOMMU_NOEXEC,
		IOMMU_MMIO | IOMMU_NOEXEC | IOMMU_CACHE,
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(access); i++) {
		for (unsigned int j = 0; j < ARRAY_SIZE(more); j++) {
			struct pt_write_attrs attrs = {};

			*prot = access[i] | more[j];
			if (pt_iommu_set_prot(common, &attrs, *prot))
				continue;
			/* The C-bit is part of the address in the entry */
			if (__sme_clr(attrs.descriptor_bits) == bits)
				return 0;
		}
	}
	return -EINVAL;
}

static int each_leaf(struct pt_iommu_leaf_args *leaf)
{
	struct pt_iommu_each_leaf_args *args =
		container_of(leaf, struct pt_iommu_each_leaf_args, leaf);
	int ret;

	if (!args->prot || leaf->bits != args->bits) {
		ret = find_prot(args->common, leaf->bits, &args->prot);
		if (ret)
			return ret;
		args->bits = leaf->bits;
	}
	return args->fn(args->arg, leaf->va, leaf->oa, leaf->len, args->prot);
}

static int NS(for_each_leaf)(struct pt_iommu *iommu_table, dma_addr_t start,
			     dma_addr_t last, pt_iommu_leaf_fn_t fn, void *arg)
{
	struct pt_common *common = common_from_iommu(iommu_table);
	struct pt_iommu_each_leaf_args args = {
		.leaf.fn = each_leaf,
		.common = common,
		.fn = fn,
		.arg = arg,
	};

	if (last < start)
		return -EINVAL;
	return walk_leaves(common, start, last, &args.leaf);
}

struct pt_iommu_verify_args {
	struct pt_iommu_leaf_args leaf;
	pt_vaddr_t va;
	pt_oaddr_t oa;
	u64 bits;
};

static int verify_leaf(struct pt_iommu_leaf_args *leaf)
{
	struct pt_iommu_verify_args *args =
		container_of(leaf, struct pt_iommu_verify_args, leaf);

	if (leaf->va != args->va)
		return -ENOENT;
	if (leaf->oa != args->oa || leaf->bits != args->bits)
		return -EINVAL;
	args->va += leaf->len;
	args->oa += leaf->len;
	return 0;
}

static int NS(verify)(struct pt_iommu *iommu_table, dma_addr_t iova,
		      phys_addr_t pa, u64 len, unsigned int prot)
{
	struct pt_common *common = common_from_iommu(iommu_table);
	struct pt_write_attrs attrs = {};
	struct pt_iommu_verify_args args = {
		.leaf.fn = verify_leaf,
		.va = iova,
		.oa = pa,
	};
	dma_addr_t last;
	int ret;

	if (!len || check_add_overflow(iova, len - 1, &last))
		return -EINVAL;

	ret = pt_iommu_set_prot(common, &attrs, prot);
	if (ret)
		return -EINVAL;
	args.bits = __sme_clr(attrs.descriptor_bits);

	ret = walk_leaves(common, iova, last, &args.leaf);
	if (ret)
		return ret;
	return args.va == (pt_vaddr_t)(last + 1) ? 0 : -ENOENT;
}

static int __count(struct pt_range *range, void *arg, unsigned int level,
		   struct pt_table_p *table)
{
	struct pt_state pts = pt_init(range, level, table);
	struct pt_iommu_ser *ser = arg;

	for_each_pt_level_entry(&pts) {
		if (pts.type == PT_ENTRY_TABLE) {
			ser->nr_tables++;
			pt_descend(&pts, arg, __count);
		} else if (pts.type == PT_ENTRY_OA) {
			ser->nr_leaves++;
			ser->bytes_mapped += 1ULL << pt_entry_oa_lg2sz(&pts);
		}
	}
	if (level)
		cond_resched();
	return 0;
}

static void NS(count)(struct pt_iommu *iommu_table, struct pt_iommu_ser *ser)
{
	struct pt_range range = pt_all_range(common_from_iommu(iommu_table));

	might_sleep();
	ser->nr_tables = 1;
	ser->nr_leaves = 0;
	ser->bytes_mapped = 0;
	pt_walk_range(&range, __count, ser);
}

static int NS(frozen_map_range)(struct pt_iommu *iommu_table, dma_addr_t iova,
				phys_addr_t paddr, dma_addr_t len,
				unsigned int prot, gfp_t gfp, size_t *mapped)
{
	return -EBUSY;
}

static size_t NS(frozen_unmap_range)(struct pt_iommu *iommu_table,
				     dma_addr_t iova, dma_addr_t len,
				     struct iommu_iotlb_gather *iotlb_gather)
{
	return 0;
}

static int NS(frozen_preserve)(struct pt_iommu *iommu_table,
			       struct pt_iommu_ser *ser)
{
	return -EBUSY;
}

static void NS(frozen_unpreserve)(struct pt_iommu *iommu_table)
{
}

static int NS(frozen_restore)(struct pt_iommu *iommu_table,
			      const struct pt_iommu_ser *ser)
{
	return -EBUSY;
}

static int NS(frozen_for_each_leaf)(struct pt_iommu *iommu_table,
				    dma_addr_t start, dma_addr_t last,
				    pt_iommu_leaf_fn_t fn, void *arg)
{
	return -EBUSY;
}

static int NS(frozen_verify)(struct pt_iommu *iommu_table, dma_addr_t iova,
			     phys_addr_t pa, u64 len, unsigned int prot)
{
	return -EBUSY;
}

static void NS(frozen_count)(struct pt_iommu *iommu_table,
			     struct pt_iommu_ser *ser)
{
	ser->nr_tables = iommu_table->nr_restored;
	ser->nr_leaves = 0;
	ser->bytes_mapped = 0;
}

static const struct pt_iommu_ops NS(frozen_ops) = {
	.map_range = NS(frozen_map_range),
	.unmap_range = NS(frozen_unmap_range),
	.get_info = NS(get_info),
	.deinit = NS(frozen_deinit),
	.preserve = NS(frozen_preserve),
	.unpreserve = NS(frozen_unpreserve),
	.restore = NS(frozen_restore),
	.restore_tables = NS(frozen_restore_tables),
	.for_each_leaf = NS(frozen_for_each_leaf),
	.verify = NS(frozen_verify),
	.count = NS(frozen_count),
};

#endif /* __GENERIC_PT_IOMMU_PT_LIVEUPDATE_H */
