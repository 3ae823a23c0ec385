/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LINUX_KHO_ABI_IOMMU_H
#define _LINUX_KHO_ABI_IOMMU_H

#include <linux/bits.h>
#include <linux/build_bug.h>
#include <linux/kho/abi/generic_pt.h>
#include <linux/stddef.h>
#include <linux/types.h>

/**
 * DOC: IOMMU Live Update ABI
 *
 * What the preserved devices can reach is handed to the next kernel as a LUO FLB
 * object named %IOMMU_LUO_FLB_COMPATIBLE. The FLB's data is the physical address
 * of a &struct iommu_ser, which refers to four KHO block sets: one record for
 * every IOMMU of the machine, for every page table that a preserved device is
 * attached to, for every preserved device, and for every memfd that a page table
 * refers to. Records refer to each other by their index in the set.
 *
 * The interface is a contract between two kernels, and with hardware that goes on
 * reading the tables while one kernel gives way to the other. Changing the
 * meaning, the place or the width of an existing field needs a new compatible
 * string. New fields take their room from the reserved bytes, which are zero.
 *
 * Unlike a bad PCI record, which costs a device, a bad record here stops the
 * boot: nothing could tell any more where the devices write.
 */

/* The FLB's name. Its digit is the version of everything in this file. */
#define IOMMU_LUO_FLB_PREFIX		"iommu-v"
#define IOMMU_LUO_FLB_COMPATIBLE	IOMMU_LUO_FLB_PREFIX "1"

/**
 * struct iommu_ser_set - One of the block sets.
 * @head_pa:    Physical address of its first block, 0 if it has no records.
 * @nr:         Number of records.
 * @entry_size: Size of a record in the kernel that wrote it, in bytes.
 */
struct iommu_ser_set {
	__u64 head_pa;
	__u32 nr;
	__u32 entry_size;
};

static_assert(sizeof(struct iommu_ser_set) == 16);

/**
 * struct iommu_ser - Root of the IOMMU records.
 * @units:    Records of type &struct iommu_unit_ser, at least one.
 * @domains:  Records of type &struct iommu_domain_ser.
 * @devices:  Records of type &struct iommu_device_ser.
 * @memory:   Records of type &struct iommu_memory_ser.
 * @flags:    IOMMU_SER_F_*.
 * @reserved: Zero.
 *
 * Allocated with the first preserved device, freed by the next kernel when the
 * last file that depends on the FLB is finished.
 */
struct iommu_ser {
	struct iommu_ser_set units;
	struct iommu_ser_set domains;
	struct iommu_ser_set devices;
	struct iommu_ser_set memory;
	__u32 flags;
	__u32 reserved[15];
};

static_assert(sizeof(struct iommu_ser) == 128);

/* iommu_ser.flags */
#define IOMMU_SER_F_FROZEN	BIT(0)	/* the old kernel got as far as freeze */
#define IOMMU_SER_FLAGS		BIT(0)

/* iommu_unit_ser.type */
#define IOMMU_SER_UNIT_VTD	1

/* iommu_unit_ser.flags */
#define IOMMU_SER_UNIT_SCALABLE	BIT(0)	/* VT-d: scalable mode */
#define IOMMU_SER_UNIT_FLAGS	BIT(0)

/**
 * struct iommu_unit_ser - One IOMMU.
 * @reg_phys:   Physical address of its registers, which identifies it.
 * @root_phys:  Physical address of the root table that the hardware reads, a
 *              page.
 * @cap:        VT-d: Capability register.
 * @ecap:       VT-d: Extended Capability register.
 * @ir_gap:     Physical address of the empty interrupt remapping table that the
 *              hardware reads between the two kernels, a page; 0 without
 *              interrupt remapping.
 * @segment:    PCI segment of its devices.
 * @type:       IOMMU_SER_UNIT_*.
 * @flags:      IOMMU_SER_UNIT_*.
 * @reserved:   Zero.
 *
 * The pages belong to the next kernel, which frees them when its own tables have
 * taken over.
 */
struct iommu_unit_ser {
	__u64 reg_phys;
	__u64 root_phys;
	__u64 cap;
	__u64 ecap;
	__u64 ir_gap;
	__u32 segment;
	__u16 type;
	__u16 flags;
	__u64 reserved[2];
};

static_assert(sizeof(struct iommu_unit_ser) == 64);

/* iommu_domain_ser.flags */
#define IOMMU_SER_DOMAIN_FIRST_STAGE	BIT(0)	/* VT-d: else second stage */
#define IOMMU_SER_DOMAIN_SNOOP		BIT(1)	/* coherency is enforced */
#define IOMMU_SER_DOMAIN_DIRTY		BIT(2)	/* can track dirty pages */
#define IOMMU_SER_DOMAIN_NEST_PARENT	BIT(3)	/* was made to be nested on */
#define IOMMU_SER_DOMAIN_FLAGS		GENMASK(3, 0)

/**
 * struct iommu_domain_ser - One page table.
 * @table:         Its shape and where it is.
 * @pgsize_bitmap: Leaf sizes in use, in bytes.
 * @mapped:        Bytes mapped, as the audit counted them.
 * @flags:         IOMMU_SER_DOMAIN_*.
 * @nr_devices:    Device records that refer to it, at least 1.
 * @reserved:      Zero.
 *
 * The table's pages are freed when the last device has left it.
 */
struct iommu_domain_ser {
	struct pt_iommu_ser table;
	__u64 pgsize_bitmap;
	__u64 mapped;
	__u32 flags;
	__u32 nr_devices;
	__u64 reserved[5];
};

static_assert(sizeof(struct iommu_domain_ser) == 128);

/**
 * struct iommu_device_ser - One preserved device.
 * @segment:      PCI segment.
 * @bdf:          Bus number << 8 | devfn; its only requester ID.
 * @did:          Domain id by which the hardware's caches know its mappings.
 * @unit:         Index of its IOMMU's record.
 * @domain:       Index of its page table's record.
 * @context_phys: VT-d: physical address of the context table with its entry, a
 *                page. Shared with other devices of the bus.
 * @pasid_dir:    VT-d, scalable mode: physical address of its PASID directory.
 * @pasid_table:  Likewise: the page with the entry for requests without PASID.
 * @pasid_order:  Likewise: size of the directory, as an order of pages.
 * @reserved:     Zero.
 */
struct iommu_device_ser {
	__u32 segment;
	__u16 bdf;
	__u16 did;
	__u32 unit;
	__u32 domain;
	__u64 context_phys;
	__u64 pasid_dir;
	__u64 pasid_table;
	__u32 pasid_order;
	__u32 reserved[5];
};

static_assert(sizeof(struct iommu_device_ser) == 64);

/**
 * struct iommu_memory_ser - A memfd that a page table refers to.
 * @memfd:    What LUO keeps for the file: the physical address of its &struct
 *            memfd_luo_ser.
 * @domain:   Index of the page table's record.
 * @reserved: Zero.
 *
 * Its pages are held where they are until the table is freed.
 */
struct iommu_memory_ser {
	__u64 memfd;
	__u32 domain;
	__u32 reserved;
};

static_assert(sizeof(struct iommu_memory_ser) == 16);

#endif /* _LINUX_KHO_ABI_IOMMU_H */
