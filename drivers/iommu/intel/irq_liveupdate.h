/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _INTEL_IRQ_LIVEUPDATE_H
#define _INTEL_IRQ_LIVEUPDATE_H

#include <linux/errno.h>
#include <linux/init.h>
#include <linux/types.h>

struct intel_iommu;

#if defined(CONFIG_PCI_LIVEUPDATE) && defined(CONFIG_INTEL_IOMMU)

/* Old kernel. */
int intel_ir_liveupdate_preserve(struct intel_iommu *iommu, u64 *gap);
void intel_ir_liveupdate_unpreserve(struct intel_iommu *iommu, u64 gap);
void intel_ir_liveupdate_shutdown(struct intel_iommu *iommu, u64 gap);
void intel_dmar_fault_mask(struct intel_iommu *iommu);

/* New kernel. */
void __init intel_ir_liveupdate_check(struct intel_iommu *iommu, u64 gap);
void intel_ir_liveupdate_release(u64 gap);

/* Called by the interrupt remapping code only. */
bool intel_ir_liveupdate_keep(struct intel_iommu *iommu, bool x2apic);
int __init intel_ir_liveupdate_fail(const char *why);

#else

static inline bool intel_ir_liveupdate_keep(struct intel_iommu *iommu, bool x2apic)
{
	return false;
}

static inline int intel_ir_liveupdate_fail(const char *why)
{
	return -ENODEV;
}

#endif
#endif /* _INTEL_IRQ_LIVEUPDATE_H */
