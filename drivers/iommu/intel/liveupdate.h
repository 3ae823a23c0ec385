/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _INTEL_LIVEUPDATE_H
#define _INTEL_LIVEUPDATE_H

#include <linux/iommu_liveupdate.h>
#include <linux/types.h>

struct device;
struct device_domain_info;
struct intel_iommu;
struct iommu_domain;

/* What it needs of iommu.c. */
struct iommu_domain *
intel_iommu_domain_alloc_first_stage(struct device *dev,
				     struct intel_iommu *iommu, u32 flags);
struct iommu_domain *
intel_iommu_domain_alloc_second_stage(struct device *dev,
				      struct intel_iommu *iommu, u32 flags);

#ifdef CONFIG_IOMMU_LIVEUPDATE

extern const struct iommu_liveupdate_ops intel_liveupdate_ops;

/* Old kernel. */
bool intel_liveupdate_shutdown(struct intel_iommu *iommu);

/* New kernel, all but the last at boot. */
bool intel_liveupdate_keep(struct intel_iommu *iommu);
void intel_liveupdate_adopt(struct intel_iommu *iommu);
void intel_liveupdate_adopted(void);
void intel_liveupdate_check_disable(struct intel_iommu *iommu);
void intel_liveupdate_probe(struct device_domain_info *info);
bool intel_liveupdate_pasid_table(struct device_domain_info *info);

#else /* CONFIG_IOMMU_LIVEUPDATE */

static inline bool intel_liveupdate_shutdown(struct intel_iommu *iommu)
{
	return false;
}

static inline bool intel_liveupdate_keep(struct intel_iommu *iommu)
{
	return false;
}

static inline void intel_liveupdate_adopt(struct intel_iommu *iommu)
{
}

static inline void intel_liveupdate_adopted(void)
{
}

static inline void intel_liveupdate_check_disable(struct intel_iommu *iommu)
{
}

static inline void intel_liveupdate_probe(struct device_domain_info *info)
{
}

static inline bool intel_liveupdate_pasid_table(struct device_domain_info *info)
{
	return false;
}

#endif /* CONFIG_IOMMU_LIVEUPDATE */
#endif /* _INTEL_LIVEUPDATE_H */
