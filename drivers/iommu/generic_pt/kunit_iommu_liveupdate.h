/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tests of page tables that live through a kexec.
 *
 * There is no kexec in here. What KHO is told is read from KHO's own record.
 * What the next kernel finds is made from the pages of a table: each is put in
 * the state in which KHO's boot code leaves preserved memory, and then the real
 * code takes it over.
 */
#ifndef __GENERIC_PT_KUNIT_IOMMU_LIVEUPDATE_H
#define __GENERIC_PT_KUNIT_IOMMU_LIVEUPDATE_H

#include "kunit_iommu.h"
#include "pt_iter.h"
#include <linux/debugfs.h>
#include <linux/kexec_handover.h>
#include <linux/kho/abi/generic_pt.h>
#include <linux/kho/abi/kexec_handover.h>
#include <linux/kho_radix_tree.h>
#include <linux/ktime.h>
#include <linux/libfdt.h>
#include <linux/mm.h>
#include <linux/sort.h>
#include <linux/unaligned.h>

/* What KHO's boot code leaves in page->private, in order and magic */
#define LU_KHO_MAGIC	0x4b484f50UL
#define LU_KHO_PRIVATE(order) ((LU_KHO_MAGIC << 32) | (order))

#define LU_MAX_MAPS	100
#define LU_MAX_TABLES	4096

struct lu_map {
	u64 va;
	u64 pa;
	u64 len;
	unsigned int prot;
};

struct lu_maps {
	unsigned int nr;
	struct lu_map map[LU_MAX_MAPS];
};

/* What a walk of the test's own finds */
struct lu_walk {
	u64 nr_leaves;
	u64 bytes_mapped;
	unsigned int nr_tables;
	phys_addr_t table[LU_MAX_TABLES];
};

static int __lu_walk(struct pt_range *range, void *arg, unsigned int level,
		     struct pt_table_p *table)
{
	struct pt_state pts = pt_init(range, level, table);
	struct lu_walk *walk = arg;

	if (walk->nr_tables == LU_MAX_TABLES)
		return -ENOSPC;
	walk->table[walk->nr_tables++] = virt_to_phys(table);

	for_each_pt_level_entry(&pts) {
		if (pts.type == PT_ENTRY_TABLE) {
			int ret = pt_descend(&pts, arg, __lu_walk);

			if (ret)
				return ret;
		} else if (pts.type == PT_ENTRY_OA) {
			walk->nr_leaves++;
			walk->bytes_mapped += 1ULL << pt_entry_oa_lg2sz(&pts);
		}
	}
	return 0;
}

static int lu_cmp_pa(const void *a, const void *b)
{
	const phys_addr_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static struct lu_walk *lu_walk(struct kunit *test, struct kunit_iommu_priv *priv)
{
	struct pt_range range = pt_all_range(priv->common);
	struct lu_walk *walk = kunit_kzalloc(test, sizeof(*walk), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, walk);
	KUNIT_ASSERT_NO_ERRNO(test, pt_walk_range(&range, __lu_walk, walk));
	sort(walk->table, walk->nr_tables, sizeof(walk->table[0]), lu_cmp_pa,
	     NULL);
	return walk;
}

/* Add to a list of extents as a reader sees them: neighbours are one */
static int lu_add(void *arg, dma_addr_t va, phys_addr_t pa, u64 len,
		  unsigned int prot)
{
	struct lu_maps *maps = arg;
	struct lu_map *last = maps->nr ? &maps->map[maps->nr - 1] : NULL;

	if (last && last->va + last->len == va && last->pa + last->len == pa &&
	    last->prot == prot) {
		last->len += len;
		return 0;
	}
	if (maps->nr == LU_MAX_MAPS)
		return -ENOSPC;
	maps->map[maps->nr++] = (struct lu_map){ va, pa, len, prot };
	return 0;
}

static u64 lu_random(u64 below)
{
	return get_random_u64() % below;
}

static void lu_map_one(struct kunit *test, struct lu_maps *maps, u64 va, u64 pa,
		       u64 len, unsigned int prot)
{
	struct kunit_iommu_priv *priv = test->priv;

	KUNIT_ASSERT_NO_ERRNO_FN(test, "iommu_map",
				 iommu_map(&priv->domain, va, pa, len, prot,
					   GFP_KERNEL));
	KUNIT_ASSERT_NO_ERRNO(test, lu_add(maps, va, pa, len, prot));
}

/* Extents of all kinds in the first GiB of a range, in ascending order */
static void lu_fill_range(struct kunit *test, struct lu_maps *maps,
			  const struct pt_range *range, unsigned int nr)
{
	struct kunit_iommu_priv *priv = test->priv;
	u64 pgsz = priv->smallest_pgsz;
	u64 end = min_t(u64, range->last_va - range->va, SZ_1G - 1) + range->va;
	u64 step = (end - range->va) / nr;
	u64 oa_mask = oalog2_to_max_int(priv->common->max_oasz_lg2 - 1);
	u64 va = range->va + pgsz, next = 0;

	for (unsigned int i = 0; i != nr; i++) {
		u64 slot = range->va + step * i, len, pa;
		unsigned int prot = IOMMU_READ;

		if (get_random_u32_below(2))
			prot |= IOMMU_WRITE;
		switch (get_random_u32_below(4)) {
		case 0:	/* follows what is before, maybe in both spaces */
			pa = next ?: SZ_4G;
			break;
		case 1:	/* large leaves fit, if the format has any */
			va = ALIGN(max(va, slot), SZ_2M);
			pa = ALIGN_DOWN(get_random_u64() & oa_mask, SZ_1G) +
			     (va % SZ_1G);
			break;
		default:
			va = max(va, slot) + lu_random(64) * pgsz;
			va = ALIGN_DOWN(va, pgsz);
			pa = ALIGN_DOWN(get_random_u64() & oa_mask, pgsz);
		}
		len = (1 + lu_random(get_random_u32_below(2) ? 8 : step / pgsz)) *
		      pgsz;
		if (va + len > end)
			break;
		lu_map_one(test, maps, va, pa, len, prot);
		va += len;
		next = pa + len;
	}
}

static struct lu_maps *lu_fill(struct kunit *test)
{
	struct kunit_iommu_priv *priv = test->priv;
	struct lu_maps *maps = kunit_kzalloc(test, sizeof(*maps), GFP_KERNEL);
	struct pt_range range = pt_top_range(priv->common);

	KUNIT_ASSERT_NOT_NULL(test, maps);
	lu_fill_range(test, maps, &range, 48);
	if (pt_feature(priv->common, PT_FEAT_SIGN_EXTEND)) {
		range = pt_upper_range(priv->common);
		lu_fill_range(test, maps, &range, 48);
	}
	KUNIT_ASSERT_GT(test, maps->nr, 4);

	/* A page that needs a higher top */
	range = pt_top_range(priv->common);
	if (pt_feature(priv->common, PT_FEAT_DYNAMIC_TOP) &&
	    range.max_vasz_lg2 < priv->common->max_vasz_lg2) {
		lu_map_one(test, maps, range.last_va + 1, SZ_4G,
			   priv->smallest_pgsz, IOMMU_READ);
		KUNIT_ASSERT_GT(test, pt_top_get_level(priv->common),
				range.top_level);
	}
	return maps;
}

static void lu_expect_maps(struct kunit *test, struct kunit_iommu_priv *priv,
			   const struct lu_maps *maps, u64 start, u64 last)
{
	struct lu_maps *seen = kunit_kzalloc(test, sizeof(*seen), GFP_KERNEL);
	struct lu_maps *want = kunit_kzalloc(test, sizeof(*want), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, seen);
	KUNIT_ASSERT_NOT_NULL(test, want);
	for (unsigned int i = 0; i != maps->nr; i++) {
		const struct lu_map *m = &maps->map[i];
		u64 from = max(m->va, start);
		u64 to = min(m->va + m->len - 1, last);

		if (from <= to)
			lu_add(want, from, m->pa + (from - m->va),
			       to - from + 1, m->prot);
	}

	KUNIT_ASSERT_NO_ERRNO(test, pt_iommu_walk_leaves(priv->iommu, start,
							 last, lu_add, seen));
	KUNIT_ASSERT_EQ(test, seen->nr, want->nr);
	for (unsigned int i = 0; i != want->nr; i++) {
		KUNIT_ASSERT_EQ(test, seen->map[i].va, want->map[i].va);
		KUNIT_ASSERT_EQ(test, seen->map[i].pa, want->map[i].pa);
		KUNIT_ASSERT_EQ(test, seen->map[i].len, want->map[i].len);
		KUNIT_ASSERT_EQ(test, seen->map[i].prot, want->map[i].prot);
	}
	kunit_kfree(test, want);
	kunit_kfree(test, seen);
}

static int lu_stop(void *arg, dma_addr_t va, phys_addr_t pa, u64 len,
		   unsigned int prot)
{
	unsigned int *calls = arg;

	return ++*calls == 2 ? 42 : 0;
}

static void test_lu_leaves(struct kunit *test)
{
	struct kunit_iommu_priv *priv = test->priv;
	unsigned int calls = 0;
	struct lu_maps *maps;

	KUNIT_EXPECT_EQ(test, 0, pt_iommu_walk_leaves(priv->iommu, 0, U64_MAX,
						      lu_stop, &calls));
	KUNIT_EXPECT_EQ(test, calls, 0);

	maps = lu_fill(test);
	lu_expect_maps(test, priv, maps, 0, U64_MAX);

	/* Borders that have to do with nothing, in the middle of leaves too */
	for (unsigned int i = 0; i != 100; i++) {
		const struct lu_map *a = &maps->map[lu_random(maps->nr)];
		const struct lu_map *b = &maps->map[lu_random(maps->nr)];
		u64 start = a->va + lu_random(2 * a->len) - lu_random(SZ_4K);
		u64 last = b->va + lu_random(2 * b->len);

		if (start > last)
			swap(start, last);
		lu_expect_maps(test, priv, maps, start, last);
	}
	lu_expect_maps(test, priv, maps, maps->map[1].va, maps->map[1].va);

	KUNIT_EXPECT_EQ(test, pt_iommu_walk_leaves(priv->iommu, 0, U64_MAX,
						   lu_stop, &calls), 42);
	KUNIT_EXPECT_EQ(test, calls, 2);
	KUNIT_EXPECT_EQ(test, pt_iommu_walk_leaves(priv->iommu, 1, 0, lu_stop,
						   &calls), -EINVAL);
}

static void test_lu_count(struct kunit *test)
{
	struct kunit_iommu_priv *priv = test->priv;
	struct pt_iommu_ser ser;
	struct lu_maps *maps;
	struct lu_walk *walk;
	u64 bytes = 0;

	memset(&ser, 0xff, sizeof(ser));
	pt_iommu_count(priv->iommu, &ser);
	KUNIT_EXPECT_EQ(test, ser.nr_tables, 1);
	KUNIT_EXPECT_EQ(test, ser.nr_leaves, 0);
	KUNIT_EXPECT_EQ(test, ser.bytes_mapped, 0);

	maps = lu_fill(test);
	for (unsigned int i = 0; i != maps->nr; i++)
		bytes += maps->map[i].len;
	walk = lu_walk(test, priv);
	pt_iommu_count(priv->iommu, &ser);
	KUNIT_EXPECT_EQ(test, ser.nr_tables, walk->nr_tables);
	KUNIT_EXPECT_EQ(test, ser.nr_leaves, walk->nr_leaves);
	KUNIT_EXPECT_EQ(test, ser.bytes_mapped, bytes);
	KUNIT_EXPECT_EQ(test, walk->bytes_mapped, bytes);
}

static void test_lu_verify(struct kunit *test)
{
	struct kunit_iommu_priv *priv = test->priv;
	struct pt_iommu *iommu = priv->iommu;
	struct lu_maps *maps = lu_fill(test);
	struct pt_range range = pt_top_range(priv->common);
	u64 pgsz = priv->smallest_pgsz, va, pa = SZ_4G;
	const unsigned int prot = IOMMU_READ | IOMMU_WRITE;
	const struct lu_map *m;

	for (unsigned int i = 0; i != maps->nr; i++) {
		m = &maps->map[i];
		KUNIT_ASSERT_NO_ERRNO(test, pt_iommu_verify(iommu, m->va, m->pa,
							    m->len, m->prot));
		KUNIT_ASSERT_EQ(test, pt_iommu_verify(iommu, m->va,
						      m->pa + pgsz, m->len,
						      m->prot), -EINVAL);
		KUNIT_ASSERT_EQ(test, pt_iommu_verify(iommu, m->va, m->pa,
						      m->len,
						      m->prot ^ IOMMU_WRITE),
				-EINVAL);
		KUNIT_ASSERT_NO_ERRNO(test,
				      pt_iommu_verify(iommu,
						      m->va + m->len - 1,
						      m->pa + m->len - 1, 1,
						      m->prot));
		KUNIT_ASSERT_NE(test, pt_iommu_verify(iommu, m->va, m->pa,
						      m->len + 1, m->prot), 0);
		KUNIT_ASSERT_NE(test, pt_iommu_verify(iommu, m->va - 1,
						      m->pa - 1, m->len,
						      m->prot), 0);
	}
	KUNIT_EXPECT_EQ(test, pt_iommu_verify(iommu, m->va, m->pa, 0, m->prot),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, pt_iommu_verify(iommu, U64_MAX, m->pa, 2, m->prot),
			-EINVAL);

	/* One leaf of many, behind all the others, and not of a larger one */
	va = ALIGN(range.va + SZ_1G + pgsz, SZ_2M);
	if (va + SZ_2M > range.last_va)
		return;
	for (unsigned int i = 0; i != 16; i++)
		do_map(test, va + i * pgsz, pa + i * pgsz, pgsz);
	KUNIT_ASSERT_NO_ERRNO(test, pt_iommu_verify(iommu, va, pa, 16 * pgsz,
						    prot));

	do_unmap(test, va + 7 * pgsz, pgsz);
	KUNIT_EXPECT_EQ(test, pt_iommu_verify(iommu, va, pa, 16 * pgsz, prot),
			-ENOENT);
	do_map(test, va + 7 * pgsz, pa + 8 * pgsz, pgsz);
	KUNIT_EXPECT_EQ(test, pt_iommu_verify(iommu, va, pa, 16 * pgsz, prot),
			-EINVAL);
	do_unmap(test, va + 7 * pgsz, pgsz);
	KUNIT_ASSERT_NO_ERRNO(test, iommu_map(&priv->domain, va + 7 * pgsz,
					      pa + 7 * pgsz, pgsz, IOMMU_READ,
					      GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, pt_iommu_verify(iommu, va, pa, 16 * pgsz, prot),
			-EINVAL);
	do_unmap(test, va + 7 * pgsz, pgsz);
	do_map(test, va + 7 * pgsz, pa + 7 * pgsz, pgsz);
	KUNIT_EXPECT_EQ(test, 0, pt_iommu_verify(iommu, va, pa, 16 * pgsz,
						 prot));
}

/* KHO's record of what is preserved: it tells a function without an argument */
static struct lu_walk *lu_kho_walk;

static int lu_kho_page(phys_addr_t pa, unsigned int order)
{
	if (lu_kho_walk->nr_tables == LU_MAX_TABLES)
		return -ENOSPC;
	lu_kho_walk->table[lu_kho_walk->nr_tables++] = pa | order;
	return 0;
}

static struct lu_walk *lu_kho(struct kunit *test)
{
#ifdef MODULE
	/* libfdt is not for modules */
	kunit_skip(test, "not in a module");
	return NULL;
#else
	static struct kho_radix_tree tree = {
		.lock = __MUTEX_INITIALIZER(tree.lock),
	};
	struct dentry *kho, *out = NULL, *fdt = NULL;
	struct debugfs_blob_wrapper *blob;
	const u64 *root = NULL;
	int len;

	kho = debugfs_lookup("kho", NULL);
	if (kho)
		out = debugfs_lookup("out", kho);
	if (out)
		fdt = debugfs_lookup("fdt", out);
	if (fdt) {
		blob = d_inode(fdt)->i_private;
		root = fdt_getprop(blob->data, 0, KHO_FDT_MEMORY_MAP_PROP_NAME,
				   &len);
	}
	dput(fdt);
	dput(out);
	dput(kho);
	if (!root)
		kunit_skip(test, "KHO's record is not in debugfs");
	KUNIT_ASSERT_EQ(test, len, sizeof(*root));

	lu_kho_walk = kunit_kzalloc(test, sizeof(*lu_kho_walk), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, lu_kho_walk);
	tree.root = phys_to_virt(get_unaligned(root));
	KUNIT_ASSERT_NO_ERRNO(test, kho_radix_walk_tree(&tree, lu_kho_page));
	sort(lu_kho_walk->table, lu_kho_walk->nr_tables,
	     sizeof(lu_kho_walk->table[0]), lu_cmp_pa, NULL);
	return lu_kho_walk;
#endif
}

static void test_lu_preserve(struct kunit *test)
{
	struct kunit_iommu_priv *priv = test->priv;
	struct pt_iommu_ser ser = { .bytes_mapped = 1, .nr_leaves = 2 };
	struct lu_walk *before, *during, *after, *walk;
	unsigned int i, j, k;

	if (!kho_is_enabled()) {
		KUNIT_EXPECT_EQ(test, pt_iommu_preserve(priv->iommu, &ser),
				-EOPNOTSUPP);
		kunit_skip(test, "KHO is off (kho=on)");
	}

	lu_fill(test);
	walk = lu_walk(test, priv);
	before = lu_kho(test);
	KUNIT_ASSERT_NO_ERRNO(test, pt_iommu_preserve(priv->iommu, &ser));
	during = lu_kho(test);
	pt_iommu_unpreserve(priv->iommu);
	after = lu_kho(test);

	KUNIT_EXPECT_EQ(test, ser.top_pa,
			virt_to_phys(pt_top_range(priv->common).top_table));
	KUNIT_EXPECT_EQ(test, ser.nr_tables, walk->nr_tables);
	KUNIT_EXPECT_EQ(test, ser.bytes_mapped, 1);
	KUNIT_EXPECT_EQ(test, ser.nr_leaves, 2);
	KUNIT_EXPECT_EQ(test, ser.format, CONCATENATE(PT_SER_FMT_, PTPFX_RAW));
	KUNIT_EXPECT_EQ(test, ser.features, priv->common->features);
	KUNIT_EXPECT_EQ(test, ser.top_level, pt_top_get_level(priv->common));

	/* All are sorted: what is preserved now is from either list */
	KUNIT_ASSERT_EQ(test, during->nr_tables,
			before->nr_tables + walk->nr_tables);
	for (i = j = k = 0; i != during->nr_tables; i++) {
		if (j != before->nr_tables &&
		    before->table[j] == during->table[i])
			j++;
		else if (k != walk->nr_tables &&
			 walk->table[k] == during->table[i])
			k++;
		else
			KUNIT_FAIL(test, "%pa is preserved, too",
				   &during->table[i]);
	}
	KUNIT_ASSERT_EQ(test, after->nr_tables, before->nr_tables);
	KUNIT_EXPECT_MEMEQ(test, after->table, before->table,
			   before->nr_tables * sizeof(before->table[0]));
}

static unsigned long lu_nr_pages(void)
{
	return pt_kunit_nr_pages(NR_IOMMU_PAGES);
}

/*
 * From here on test->priv has a table that is in memory only, as preserved
 * memory is when a kernel comes up: not allocated, not counted, and known to
 * KHO. The walk tells which pages these are.
 */
struct lu_jump {
	struct pt_iommu_ser ser;
	struct lu_walk *walk;
	struct lu_maps *maps;
	struct kunit_iommu_priv *fresh;
	unsigned long nr_pages;
};

static void lu_page_to_kho(struct page *page, unsigned int order)
{
	set_page_private(page, LU_KHO_PRIVATE(order));
	set_page_count(page, 0);
	adjust_managed_page_count(page, -(1L << order));
}

/* An empty table like that of @priv was */
static struct kunit_iommu_priv *lu_fresh(struct kunit *test)
{
	struct kunit_iommu_priv *old = test->priv;
	struct kunit_iommu_priv *new = kunit_kzalloc(test, sizeof(*new),
						     GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, new);
	spin_lock_init(&new->top_lock);
	new->cfg = old->cfg;
	new->fmt_table.iommu.nid = NUMA_NO_NODE;
	new->fmt_table.iommu.driver_ops = &pt_kunit_driver_ops;
	new->fmt_table.iommu.iommu_device = old->dummy_dev;
	new->domain.ops = &kunit_pt_ops;
	KUNIT_ASSERT_NO_ERRNO(test, pt_iommu_init(&new->fmt_table, &new->cfg,
						  GFP_KERNEL));
	new->iommu = &new->fmt_table.iommu;
	new->common = common_from_iommu(new->iommu);
	return new;
}

static struct lu_jump *lu_jump(struct kunit *test)
{
	struct kunit_iommu_priv *priv = test->priv;
	struct lu_jump *jump = kunit_kzalloc(test, sizeof(*jump), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, jump);
	if (!kho_is_enabled())
		kunit_skip(test, "KHO is off (kho=on)");

	jump->maps = lu_fill(test);
	jump->walk = lu_walk(test, priv);
	jump->fresh = lu_fresh(test);
	/* What a table of the walk's size costs, and all else there is */
	jump->nr_pages = lu_nr_pages() - jump->walk->nr_tables - 1;

	KUNIT_ASSERT_NO_ERRNO(test, pt_iommu_preserve(priv->iommu, &jump->ser));
	pt_iommu_unpreserve(priv->iommu);
	pt_iommu_count(priv->iommu, &jump->ser);
	return jump;
}

static void lu_kexec(struct kunit *test, struct lu_jump *jump)
{
	struct kunit_iommu_priv *priv = test->priv;

	for (unsigned int i = 0; i != jump->walk->nr_tables; i++) {
		struct page *page = pfn_to_page(PHYS_PFN(jump->walk->table[i]));
		struct folio *folio = page_folio(page);

		/* Larger ones would have to be taken apart as well */
		KUNIT_ASSERT_EQ(test, folio_order(folio), 0);
		mod_node_page_state(folio_pgdat(folio), NR_IOMMU_PAGES, -1);
		lruvec_stat_mod_folio(folio, NR_SECONDARY_PAGETABLE, -1);
		lu_page_to_kho(page, 0);
	}
	priv->iommu->ops = NULL;
	KUNIT_ASSERT_EQ(test, lu_nr_pages(), jump->nr_pages + 1);
}

/* Give back what a test left with KHO; returns how much that was */
static unsigned int lu_reap(struct kunit *test, struct lu_jump *jump)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i != jump->walk->nr_tables; i++) {
		phys_addr_t pa = jump->walk->table[i];

		if (page_private(pfn_to_page(PHYS_PFN(pa))) != LU_KHO_PRIVATE(0))
			continue;
		folio_put(kho_restore_folio(pa));
		nr++;
	}
	return nr;
}

static void test_lu_restore(struct kunit *test)
{
	struct kunit_iommu_priv *priv = test->priv;
	struct lu_jump *jump = lu_jump(test);
	struct kunit_iommu_priv *fresh = jump->fresh;
	struct lu_map *m = &jump->maps->map[1];
	struct pt_iommu_ser ser = {};
	struct lu_walk *walk;
	size_t mapped = 0;

	lu_kexec(test, jump);
	KUNIT_ASSERT_NO_ERRNO(test, pt_iommu_restore(fresh->iommu, &jump->ser));

	/* One page came, one went */
	KUNIT_EXPECT_EQ(test, lu_nr_pages(), jump->nr_pages + 1);
	KUNIT_EXPECT_EQ(test, iommu_iova_to_phys(&fresh->domain, m->va), m->pa);
	KUNIT_EXPECT_EQ(test, pt_top_get_level(fresh->common),
			jump->ser.top_level);

	/* Frozen */
	KUNIT_EXPECT_EQ(test, fresh->iommu->ops->map_range(fresh->iommu,
							   m->va + m->len, 0,
							   priv->smallest_pgsz,
							   IOMMU_READ,
							   GFP_KERNEL, &mapped),
			-EBUSY);
	KUNIT_EXPECT_EQ(test, iommu_unmap(&fresh->domain, m->va, m->len), 0);
	KUNIT_EXPECT_EQ(test, pt_iommu_preserve(fresh->iommu, &ser), -EBUSY);
	KUNIT_EXPECT_EQ(test, pt_iommu_restore(fresh->iommu, &jump->ser),
			-EBUSY);
	KUNIT_EXPECT_EQ(test, pt_iommu_verify(fresh->iommu, m->va, m->pa,
					      m->len, m->prot), -EBUSY);
	KUNIT_EXPECT_EQ(test, pt_iommu_walk_leaves(fresh->iommu, 0, U64_MAX,
						   lu_add, NULL), -EBUSY);
	pt_iommu_count(fresh->iommu, &ser);
	KUNIT_EXPECT_EQ(test, ser.nr_tables, 1);

	KUNIT_ASSERT_NO_ERRNO(test, pt_iommu_restore_tables(fresh->iommu));
	KUNIT_EXPECT_EQ(test, lu_nr_pages(),
			jump->nr_pages + jump->walk->nr_tables);
	KUNIT_ASSERT_NO_ERRNO(test, pt_iommu_restore_tables(fresh->iommu));

	/* The same table in the same memory, and as alive as any */
	walk = lu_walk(test, fresh);
	KUNIT_ASSERT_EQ(test, walk->nr_tables, jump->walk->nr_tables);
	KUNIT_EXPECT_MEMEQ(test, walk->table, jump->walk->table,
			   walk->nr_tables * sizeof(walk->table[0]));
	lu_expect_maps(test, fresh, jump->maps, 0, U64_MAX);
	pt_iommu_count(fresh->iommu, &ser);
	KUNIT_EXPECT_EQ(test, ser.nr_tables, jump->ser.nr_tables);
	KUNIT_EXPECT_EQ(test, ser.nr_leaves, jump->ser.nr_leaves);
	KUNIT_EXPECT_EQ(test, ser.bytes_mapped, jump->ser.bytes_mapped);
	KUNIT_EXPECT_EQ(test, iommu_unmap(&fresh->domain, m->va, m->len),
			m->len);
	KUNIT_EXPECT_EQ(test, 0, iommu_map(&fresh->domain, m->va, m->pa, m->len,
					   m->prot, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, 0, pt_iommu_preserve(fresh->iommu, &ser));
	pt_iommu_unpreserve(fresh->iommu);

	pt_iommu_deinit(fresh->iommu);
	KUNIT_EXPECT_EQ(test, lu_nr_pages(), jump->nr_pages);
	KUNIT_EXPECT_EQ(test, lu_reap(test, jump), 0);
}

static void test_lu_restore_unused(struct kunit *test)
{
	struct lu_jump *jump = lu_jump(test);
	unsigned int left = jump->walk->nr_tables - 1;

	/* Nobody asked for what is below the top: it is not touched */
	lu_kexec(test, jump);
	KUNIT_ASSERT_NO_ERRNO(test, pt_iommu_restore(jump->fresh->iommu,
						     &jump->ser));
	pt_iommu_deinit(jump->fresh->iommu);
	KUNIT_EXPECT_EQ(test, lu_nr_pages(), jump->nr_pages);
	KUNIT_EXPECT_EQ(test, lu_reap(test, jump), left);
}

static void lu_expect_refused(struct kunit *test, struct lu_jump *jump,
			      const char *what, const struct pt_iommu_ser *ser)
{
	struct pt_iommu *iommu = jump->fresh->iommu;
	struct pt_common *common = jump->fresh->common;
	uintptr_t top = common->top_of_table;

	KUNIT_EXPECT_EQ_MSG(test, pt_iommu_restore(iommu, ser), -EINVAL, "%s",
			    what);
	KUNIT_EXPECT_EQ_MSG(test, common->top_of_table, top, "%s", what);
	KUNIT_EXPECT_EQ_MSG(test, lu_nr_pages(), jump->nr_pages + 1, "%s",
			    what);
}

static void test_lu_restore_record(struct kunit *test)
{
	struct lu_jump *jump = lu_jump(test);
	struct pt_common *common = jump->fresh->common;
	struct lu_map *m = &jump->maps->map[0];
	struct page *page = alloc_page(GFP_KERNEL);
	struct pt_iommu_ser ser;

	KUNIT_ASSERT_NOT_NULL(test, page);
	lu_kexec(test, jump);

#define LU_REFUSED(field, value)                                    \
	do {                                                        \
		ser = jump->ser;                                    \
		ser.field = (value);                                \
		lu_expect_refused(test, jump, #field "=" #value, &ser); \
	} while (0)

	LU_REFUSED(format, 0);
	LU_REFUSED(format, ser.format + 1);
	for (unsigned int i = 0; i != 32; i++)
		LU_REFUSED(features, ser.features ^ BIT(i));
	LU_REFUSED(max_vasz_lg2, ser.max_vasz_lg2 - 1);
	LU_REFUSED(max_oasz_lg2, ser.max_oasz_lg2 + 1);
	LU_REFUSED(top_level, pt_top_get_level(common) - 1);
	LU_REFUSED(top_level, PT_MAX_TOP_LEVEL + 1);
	LU_REFUSED(top_level, 0xff);
	if (!pt_feature(common, PT_FEAT_DYNAMIC_TOP))
		LU_REFUSED(top_level, ser.top_level + 1);
	LU_REFUSED(top_pa, 0);
	LU_REFUSED(top_pa, ser.top_pa + 8);
	LU_REFUSED(top_pa, ser.top_pa | BIT_ULL(63));
	LU_REFUSED(top_pa, PT_TOP_PHYS_MASK & GENMASK_ULL(45, 12));
	LU_REFUSED(nr_tables, 0);
	LU_REFUSED(nr_leaves, 0);
	LU_REFUSED(nr_leaves, ser.bytes_mapped);
	LU_REFUSED(bytes_mapped, 0);
	LU_REFUSED(bytes_mapped, ser.bytes_mapped + 1);
	if (common->max_vasz_lg2 < 63)
		LU_REFUSED(bytes_mapped, 2ULL << ser.max_vasz_lg2);
	LU_REFUSED(reserved[4], 1);
	LU_REFUSED(reserved2[1], 1);
#undef LU_REFUSED

	/* A page that is somebody else's stays his */
	ser = jump->ser;
	ser.top_pa = page_to_phys(page);
	kunit_warning_suppress(test)
		lu_expect_refused(test, jump, "foreign top", &ser);
	KUNIT_EXPECT_EQ(test, page_count(page), 1);
	__free_page(page);

	/* Only an empty table can give up its top */
	KUNIT_ASSERT_NO_ERRNO(test, iommu_map(&jump->fresh->domain, m->va, m->pa,
					      m->len, m->prot, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, pt_iommu_restore(jump->fresh->iommu, &jump->ser),
			-EBUSY);
	pt_iommu_deinit(jump->fresh->iommu);

	KUNIT_EXPECT_EQ(test, lu_nr_pages(), jump->nr_pages);
	KUNIT_EXPECT_EQ(test, lu_reap(test, jump), jump->walk->nr_tables);
}

/* Change the last pointer to a table of level 0 */
struct lu_damage {
	phys_addr_t pa;
	phys_addr_t was;
	struct pt_state pts;
};

static int __lu_find(struct pt_range *range, void *arg, unsigned int level,
		     struct pt_table_p *table)
{
	struct pt_state pts = pt_init(range, level, table);
	struct lu_damage *damage = arg;

	for_each_pt_level_entry(&pts) {
		if (pts.type != PT_ENTRY_TABLE)
			continue;
		if (level == 1) {
			damage->pts = pts;
			damage->was = pt_table_pa(&pts);
		} else {
			pt_descend(&pts, arg, __lu_find);
		}
	}
	return 0;
}

static void lu_damage(struct kunit *test, struct lu_damage *damage)
{
	struct kunit_iommu_priv *priv = test->priv;
	struct pt_range range = pt_all_range(priv->common);
	struct pt_write_attrs attrs = {};

	pt_walk_range(&range, __lu_find, damage);
	KUNIT_ASSERT_NE(test, damage->was, 0);
	damage->pts.range = &range;
	pt_clear_entries(&damage->pts, ilog2(1));
	damage->pts.entry = 0;
	KUNIT_ASSERT_TRUE(test, pt_install_table(&damage->pts, damage->pa,
						 &attrs));
}

/* Restoring the tables fails, and what was not taken over is still there */
static void lu_expect_damaged(struct kunit *test, struct lu_jump *jump,
			      unsigned int left)
{
	struct kunit_iommu_priv *fresh = jump->fresh;

	KUNIT_ASSERT_NO_ERRNO(test, pt_iommu_restore(fresh->iommu, &jump->ser));
	kunit_warning_suppress(test)
		KUNIT_EXPECT_EQ(test, pt_iommu_restore_tables(fresh->iommu),
				-EINVAL);
	KUNIT_EXPECT_EQ(test, pt_iommu_restore_tables(fresh->iommu), -EINVAL);
	KUNIT_EXPECT_EQ(test, iommu_unmap(&fresh->domain, jump->maps->map[0].va,
					  jump->maps->map[0].len), 0);
	pt_iommu_deinit(fresh->iommu);
	KUNIT_EXPECT_EQ(test, lu_nr_pages(), jump->nr_pages);
	KUNIT_EXPECT_EQ(test, lu_reap(test, jump), left);
}

static void test_lu_restore_more(struct kunit *test)
{
	struct lu_jump *jump = lu_jump(test);

	KUNIT_ASSERT_GT(test, jump->ser.nr_tables, 3);
	lu_kexec(test, jump);
	jump->ser.nr_tables -= 2;
	lu_expect_damaged(test, jump, 2);
}

static void test_lu_restore_fewer(struct kunit *test)
{
	struct lu_jump *jump = lu_jump(test);

	lu_kexec(test, jump);
	jump->ser.nr_tables++;
	lu_expect_damaged(test, jump, 0);
}

static void test_lu_restore_foreign(struct kunit *test)
{
	struct lu_jump *jump = lu_jump(test);
	struct page *page = alloc_page(GFP_KERNEL);
	struct lu_damage damage = {};

	KUNIT_ASSERT_NOT_NULL(test, page);
	memset(page_address(page), 0xff, PAGE_SIZE);
	damage.pa = page_to_phys(page);
	lu_damage(test, &damage);
	lu_kexec(test, jump);
	lu_expect_damaged(test, jump, 1);

	KUNIT_EXPECT_EQ(test, page_count(page), 1);
	KUNIT_EXPECT_NULL(test, memchr_inv(page_address(page), 0xff, PAGE_SIZE));
	__free_page(page);
}

static void test_lu_restore_nowhere(struct kunit *test)
{
	struct lu_jump *jump = lu_jump(test);
	struct lu_damage damage = { .pa = GENMASK_ULL(45, 12) };

	/* There is no memory at this address, nor a struct page */
	lu_damage(test, &damage);
	lu_kexec(test, jump);
	lu_expect_damaged(test, jump, 1);
}

static void test_lu_restore_loop(struct kunit *test)
{
	struct lu_jump *jump = lu_jump(test);
	struct lu_damage damage = { .pa = jump->ser.top_pa };

	lu_damage(test, &damage);
	lu_kexec(test, jump);
	lu_expect_damaged(test, jump, 1);
}

static void test_lu_restore_order(struct kunit *test)
{
	struct lu_jump *jump = lu_jump(test);
	struct page *page = alloc_pages(GFP_KERNEL, 1);
	struct lu_damage damage = {};
	struct folio *folio;

	/* KHO knows it, but it is too large for a table */
	KUNIT_ASSERT_NOT_NULL(test, page);
	damage.pa = page_to_phys(page);
	lu_damage(test, &damage);
	lu_kexec(test, jump);
	lu_page_to_kho(page, 1);

	/* It is not freed, and stays in the books, so its count is off by two */
	jump->nr_pages += 2;
	KUNIT_ASSERT_NO_ERRNO(test, pt_iommu_restore(jump->fresh->iommu,
						     &jump->ser));
	KUNIT_EXPECT_EQ(test, pt_iommu_restore_tables(jump->fresh->iommu),
			-EINVAL);
	pt_iommu_deinit(jump->fresh->iommu);
	KUNIT_EXPECT_EQ(test, lu_nr_pages(), jump->nr_pages);
	KUNIT_EXPECT_EQ(test, lu_reap(test, jump), 1);

	folio = page_folio(page);
	KUNIT_EXPECT_EQ(test, folio_ref_count(folio), 1);
	KUNIT_ASSERT_EQ(test, folio_order(folio), 1);
	iommu_free_pages(folio_address(folio));
}

static int lu_nr_calls(void *arg, dma_addr_t va, phys_addr_t pa, u64 len,
		       unsigned int prot)
{
	u64 *calls = arg;

	(*calls)++;
	return 0;
}

/*
 * Leaves that follow each other come in one call, others do not. The figures are
 * for the log.
 */
static void test_lu_extents(struct kunit *test)
{
	struct kunit_iommu_priv *priv = test->priv;
	struct pt_range range = pt_top_range(priv->common);
	u64 pgsz = priv->smallest_pgsz, nr = SZ_64M / pgsz;
	u64 va = ALIGN(range.va + SZ_64M, SZ_64M), calls = 0;
	struct pt_iommu_ser ser = {};
	ktime_t t[4];

	for (u64 i = 0; i != nr; i++)
		do_map(test, va + i * pgsz, SZ_4G + 2 * i * pgsz, pgsz);
	t[0] = ktime_get();
	KUNIT_ASSERT_NO_ERRNO(test, pt_iommu_walk_leaves(priv->iommu, 0, U64_MAX,
							 lu_nr_calls, &calls));
	t[1] = ktime_get();
	KUNIT_EXPECT_EQ(test, calls, nr);
	pt_iommu_count(priv->iommu, &ser);
	KUNIT_EXPECT_EQ(test, ser.nr_leaves, nr);
	if (kho_is_enabled()) {
		t[2] = ktime_get();
		KUNIT_ASSERT_NO_ERRNO(test, pt_iommu_preserve(priv->iommu,
							      &ser));
		t[3] = ktime_get();
		pt_iommu_unpreserve(priv->iommu);
		kunit_info(test, "%llu ps for each of %llu leaves, %llu ns to preserve each of %llu tables\n",
			   ktime_to_ns(ktime_sub(t[1], t[0])) * 1000 / nr, nr,
			   ktime_to_ns(ktime_sub(t[3], t[2])) / ser.nr_tables,
			   ser.nr_tables);
	}
	do_unmap(test, va, SZ_64M);

	for (u64 i = 0; i != nr; i++)
		do_map(test, va + i * pgsz, SZ_4G + i * pgsz, pgsz);
	calls = 0;
	KUNIT_ASSERT_NO_ERRNO(test, pt_iommu_walk_leaves(priv->iommu, 0, U64_MAX,
							 lu_nr_calls, &calls));
	KUNIT_EXPECT_EQ(test, calls, 1);
}

static struct kunit_case lu_test_cases[] = {
	KUNIT_CASE_FMT(test_lu_leaves),
	KUNIT_CASE_FMT(test_lu_count),
	KUNIT_CASE_FMT(test_lu_verify),
	KUNIT_CASE_FMT(test_lu_extents),
	KUNIT_CASE_FMT(test_lu_preserve),
	KUNIT_CASE_FMT(test_lu_restore),
	KUNIT_CASE_FMT(test_lu_restore_unused),
	KUNIT_CASE_FMT(test_lu_restore_record),
	KUNIT_CASE_FMT(test_lu_restore_more),
	KUNIT_CASE_FMT(test_lu_restore_fewer),
	KUNIT_CASE_FMT(test_lu_restore_foreign),
	KUNIT_CASE_FMT(test_lu_restore_nowhere),
	KUNIT_CASE_FMT(test_lu_restore_loop),
	KUNIT_CASE_FMT(test_lu_restore_order),
	{},
};

static struct kunit_suite NS(liveupdate_suite) = {
	.name = __stringify(NS(iommu_liveupdate_test)),
	.init = pt_kunit_iommu_init,
	.exit = pt_kunit_iommu_exit,
	.test_cases = lu_test_cases,
};

kunit_test_suites(&NS(liveupdate_suite));

#endif /* __GENERIC_PT_KUNIT_IOMMU_LIVEUPDATE_H */
