/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef DRIVERS_IOMMU_LIVEUPDATE_GATE_H
#define DRIVERS_IOMMU_LIVEUPDATE_GATE_H

#include <linux/types.h>

/* What a command line decides. */
enum liveupdate_gate_item {
	LIVEUPDATE_GATE_KHO,
	LIVEUPDATE_GATE_LIVEUPDATE,
	LIVEUPDATE_GATE_ACPI,
	LIVEUPDATE_GATE_PCI,
	LIVEUPDATE_GATE_APIC,
	LIVEUPDATE_GATE_IOMMU,
	LIVEUPDATE_GATE_DMAR,
	LIVEUPDATE_GATE_SCALABLE,
	LIVEUPDATE_GATE_INTREMAP,
	LIVEUPDATE_GATE_ITEMS
};

/**
 * struct liveupdate_gate_boot - What a kernel makes of its command line.
 * @on:    For each item, is it in use?
 * @param: Who decided that: the parameter, NULL if it is the default.
 * @val:   Its value, may be NULL.
 */
struct liveupdate_gate_boot {
	bool on[LIVEUPDATE_GATE_ITEMS];
	const char *param[LIVEUPDATE_GATE_ITEMS];
	const char *val[LIVEUPDATE_GATE_ITEMS];
};

/**
 * struct liveupdate_gate_need - What the hardware is set to.
 * @scalable:  The IOMMUs are in scalable mode.
 * @either:    They could be in either mode.
 * @intremap:  Interrupts are remapped.
 */
struct liveupdate_gate_need {
	bool scalable;
	bool either;
	bool intremap;
};

void liveupdate_gate_parse(struct liveupdate_gate_boot *boot, char *cmdline);
int liveupdate_gate_wrong(const struct liveupdate_gate_boot *boot,
			  const struct liveupdate_gate_need *need);

#endif /* DRIVERS_IOMMU_LIVEUPDATE_GATE_H */
