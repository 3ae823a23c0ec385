/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _IOMMU_LIVEUPDATE_H
#define _IOMMU_LIVEUPDATE_H

#include <linux/kho/abi/iommu.h>
#include <linux/panic.h>

/*
 * What came from the old kernel cannot be used: say what is wrong, and what to do
 * about it, in one line.
 */
#define LU_PANIC "; devices may be writing to memory, power cycle the host to stop them"
#define lu_panic(fmt, ...) panic("iommu: liveupdate: " fmt LU_PANIC, ##__VA_ARGS__)

/* The readers of the records, for the KUnit tests. */
const char *iommu_liveupdate_check_ser(const struct iommu_ser *ser);
const char *iommu_liveupdate_check_unit(const struct iommu_unit_ser *unit);
const char *iommu_liveupdate_check_domain(const struct iommu_domain_ser *dom);
const char *iommu_liveupdate_check_device(const struct iommu_device_ser *dev,
					  const struct iommu_ser *ser);

#endif /* _IOMMU_LIVEUPDATE_H */
