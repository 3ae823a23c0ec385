/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LINUX_KHO_ABI_GENERIC_PT_H
#define _LINUX_KHO_ABI_GENERIC_PT_H

#include <linux/build_bug.h>
#include <linux/types.h>

/**
 * DOC: Generic Page Table Live Update ABI
 *
 * An IOMMU page table goes to the next kernel as it stands in memory: each of
 * its tables is preserved by KHO, as one folio per table, and the entries in
 * them are in the format of the hardware. What the hardware does not say is in
 * a &struct pt_iommu_ser, which is part of a record of whoever hands the table
 * over. That record has the version; this file has none of its own.
 *
 * The interface is a contract between two kernels. Changing the meaning, the
 * place or the width of an existing field, the number of a format or that of a
 * feature bit needs a new version of all records that embed the structure. The
 * reserved room is zero, and a reader refuses a record in which it is not.
 */

/*
 * pt_iommu_ser.format: a number for each format that has an implementation for
 * IOMMUs, named as that is. 0 is none.
 */
enum {
	PT_SER_FMT_amdv1	= 1,
	PT_SER_FMT_vtdss	= 2,
	PT_SER_FMT_x86_64	= 3,
	PT_SER_FMT_riscv_64	= 4,
	PT_SER_FMT_amdv1_mock	= 128,	/* of the iommufd selftest */
};

/**
 * struct pt_iommu_ser - A page table that is handed over.
 * @top_pa:       Physical address of the top table. Never 0.
 * @nr_tables:    Number of tables, the top included. At least 1.
 * @bytes_mapped: Size of all that is mapped, or 0 if nobody counted.
 * @nr_leaves:    Number of leaf entries, where a contiguous entry is one; 0 if
 *                nobody counted.
 * @format:       PT_SER_FMT_*.
 * @features:     A bit for each feature that is on, numbered as in enum
 *                pt_features and its extension by the format.
 * @top_level:    Level of the top table; level 0 has leaves only.
 * @max_vasz_lg2: Number of bits of an IOVA, the sign included.
 * @max_oasz_lg2: Number of bits of an output address.
 * @reserved:     Zero.
 * @reserved2:    Zero.
 *
 * All fields are in the order of the CPU that wrote them.
 */
struct pt_iommu_ser {
	__u64 top_pa;
	__u64 nr_tables;
	__u64 bytes_mapped;
	__u64 nr_leaves;
	__u32 format;
	__u32 features;
	__u8 top_level;
	__u8 max_vasz_lg2;
	__u8 max_oasz_lg2;
	__u8 reserved[5];
	__u64 reserved2[2];
};

static_assert(sizeof(struct pt_iommu_ser) == 64);

#endif /* _LINUX_KHO_ABI_GENERIC_PT_H */
