/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LINUX_IOMMU_LIVEUPDATE_H
#define _LINUX_IOMMU_LIVEUPDATE_H

#include <linux/types.h>

#ifdef CONFIG_PCI_LIVEUPDATE

int iommu_liveupdate_check_image(bool scalable);
void iommu_liveupdate_open_gate(void);

#endif /* CONFIG_PCI_LIVEUPDATE */
#endif /* _LINUX_IOMMU_LIVEUPDATE_H */
