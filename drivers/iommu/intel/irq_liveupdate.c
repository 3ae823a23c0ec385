// SPDX-License-Identifier: GPL-2.0-only
/*
 * Interrupt remapping across a kexec live update
 *
 * Interrupt remapping stays on over a kexec, and the hardware goes on reading the
 * old kernel's table. That memory is not preserved: the next kernel uses it for
 * something else before it has a table of its own, and a device that is still
 * writing to memory could then reach an entry of its choice with a write to
 * 0xfeexxxxx. So the old kernel switches to a table without a present entry, in
 * preserved memory, as the last thing it does. The next kernel switches from that
 * table to its own, and remapping is never turned off in between.
 *
 * An interrupt in the gap is dropped and recorded as a fault, which the next kernel
 * logs. No kernel is there to take the unit's own interrupts, so those are masked.
 *
 * Lock order: intel_iommu.register_lock, and after it, not inside it, the lock of
 * the invalidation queue.
 */

#define pr_fmt(fmt) "DMAR-IR: " fmt

#include <linux/bits.h>
#include <linux/dmar.h>
#include <linux/err.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/kho/abi/pci.h>
#include <linux/liveupdate.h>
#include <linux/panic.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>
#include <linux/string.h>

#include "iommu.h"
#include "irq_liveupdate.h"
#include "../irq_remapping.h"

#define DMA_IRTA_EIME		BIT_ULL(11)
/* The table has 2 << 7 entries of 16 bytes, which is one page. */
#define DMA_IRTA_GAP_SIZE	7

#define DMAR_IECTL_REG		0xa0

static bool intel_ir_is_on(struct intel_iommu *iommu)
{
	return readl(iommu->reg + DMAR_GSTS_REG) & DMA_GSTS_IRES;
}

/* ---- Old kernel --------------------------------------------------------------- */

/**
 * intel_ir_liveupdate_preserve - Get the table for the gap ready.
 * @iommu: A unit that goes on translating over the kexec.
 * @gap:   Where to put the table's physical address, for the next kernel's
 *         intel_ir_liveupdate_release(). 0 if the unit does not remap interrupts.
 *
 * The unit does not use the table before intel_ir_liveupdate_shutdown(). It belongs
 * to the caller, who frees it with intel_ir_liveupdate_unpreserve().
 *
 * Context: Process context, may sleep.
 * Return: 0, or -ENOMEM or another error of KHO.
 */
int intel_ir_liveupdate_preserve(struct intel_iommu *iommu, u64 *gap)
{
	void *table;

	*gap = 0;
	if (!intel_ir_is_on(iommu))
		return 0;

	table = kho_alloc_preserve(SZ_4K);
	if (IS_ERR(table))
		return PTR_ERR(table);

	__iommu_flush_cache(iommu, table, SZ_4K);
	*gap = virt_to_phys(table);
	return 0;
}

/**
 * intel_ir_liveupdate_unpreserve - Undo intel_ir_liveupdate_preserve().
 * @iommu: The unit.
 * @gap:   What intel_ir_liveupdate_preserve() has stored, may be 0.
 *
 * Context: Process context, may sleep.
 */
void intel_ir_liveupdate_unpreserve(struct intel_iommu *iommu, u64 gap)
{
	if (gap)
		kho_unpreserve_free(phys_to_virt(gap));
}

/**
 * intel_ir_liveupdate_shutdown - Drop all interrupts of devices from now on.
 * @iommu: A unit that goes on translating over the kexec.
 * @gap:   What intel_ir_liveupdate_preserve() has stored, may be 0.
 *
 * There is no way back: this kernel's entries are not looked at any more.
 *
 * Context: In x86_platform.iommu_shutdown(): interrupts are off and no other CPU
 * runs. Does not sleep. Takes the register lock and uses the invalidation queue.
 */
void intel_ir_liveupdate_shutdown(struct intel_iommu *iommu, u64 gap)
{
	unsigned long flags;
	u64 irta;
	u32 sts;

	if (!gap)
		return;

	raw_spin_lock_irqsave(&iommu->register_lock, flags);

	/* Nothing is present, but the mode of the next kernel is most likely ours. */
	irta = readq(iommu->reg + DMAR_IRTA_REG) & DMA_IRTA_EIME;
	writeq(gap | irta | DMA_IRTA_GAP_SIZE, iommu->reg + DMAR_IRTA_REG);

	writel(iommu->gcmd | DMA_GCMD_SIRTP, iommu->reg + DMAR_GCMD_REG);
	IOMMU_WAIT_OP(iommu, DMAR_GSTS_REG, readl, (sts & DMA_GSTS_IRTPS), sts);

	raw_spin_unlock_irqrestore(&iommu->register_lock, flags);

	if (!cap_esirtps(iommu->cap))
		qi_global_iec(iommu);
}

static void intel_dmar_mask_one(struct intel_iommu *iommu, int reg)
{
	writel(DMA_FECTL_IM, iommu->reg + reg);
	/* A posted write may not linger. */
	readl(iommu->reg + reg);
}

/**
 * intel_dmar_fault_mask - Mask the interrupts that a unit sends itself.
 * @iommu: A unit that goes on translating over the kexec.
 *
 * They are not remapped, and would reach the next kernel with a vector of this one.
 * What is pending then is sent when the next kernel has set them up and unmasks
 * them.
 *
 * Context: Any. Takes the register lock.
 */
void intel_dmar_fault_mask(struct intel_iommu *iommu)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&iommu->register_lock, flags);
	intel_dmar_mask_one(iommu, DMAR_FECTL_REG);
	if (ecap_qis(iommu->ecap))
		intel_dmar_mask_one(iommu, DMAR_IECTL_REG);
	if (ecap_prs(iommu->ecap))
		intel_dmar_mask_one(iommu, DMAR_PECTL_REG);
	if (iommu->pmu)
		intel_dmar_mask_one(iommu, DMAR_PERFINTRCTL_REG);
	raw_spin_unlock_irqrestore(&iommu->register_lock, flags);
}

/* ---- New kernel --------------------------------------------------------------- */

static bool __init intel_ir_handed_over(void)
{
	const char *name;

	liveupdate_flb_peek();
	for (int i = 0; (name = liveupdate_flb_incoming_name(i)); i++) {
		if (str_has_prefix(name, PCI_LUO_FLB_PREFIX))
			return true;
	}
	return false;
}

/**
 * intel_ir_liveupdate_keep - Must remapping stay on while the table is replaced?
 * @iommu:  A unit that was found with interrupt remapping on.
 * @x2apic: Does the new table have entries for x2APIC mode?
 *
 * Nothing is lost by it if no device was handed over, so it is not asked whether one
 * was. The new table is empty when the hardware switches to it, table and mode at
 * once: there is no entry that could be read in the wrong mode.
 *
 * Context: When interrupt remapping is set up.
 * Return: true after a kexec with KHO.
 */
bool intel_ir_liveupdate_keep(struct intel_iommu *iommu, bool x2apic)
{
	u64 irta;

	if (!is_kho_boot())
		return false;

	irta = readq(iommu->reg + DMAR_IRTA_REG);
	if (!!(irta & DMA_IRTA_EIME) != x2apic)
		pr_info("%s: switching to %s mode\n", iommu->name,
			x2apic ? "x2apic" : "xapic");
	return true;
}

/**
 * intel_ir_liveupdate_fail - Stop if interrupt remapping had to go on, and cannot.
 * @why: What is in the way, for the message.
 *
 * LUO is not up at this time, but its list of FLBs can be read: it tells whether
 * devices were handed over. If so and if a unit has remapping on, or if the units
 * cannot be found, this does not return.
 *
 * Context: When interrupt remapping is set up, before it is turned off.
 * Return: -ENODEV, if it returns.
 */
int __init intel_ir_liveupdate_fail(const char *why)
{
	struct dmar_drhd_unit *drhd;
	struct intel_iommu *iommu;
	bool on = false;

	if (!intel_ir_handed_over())
		return -ENODEV;

	if (!dmar_table_init()) {
		for_each_iommu(iommu, drhd)
			on |= intel_ir_is_on(iommu);
		if (!on)
			return -ENODEV;
	}

	panic("DMAR-IR: live update: devices were handed over with interrupt remapping on, and it cannot stay on (%s); power cycle the host to stop the devices, boot with intremap=on",
	      why);
}

/**
 * intel_ir_liveupdate_check - Stop if a unit does not remap interrupts any more.
 * @iommu: A unit that the previous kernel has handed over.
 * @gap:   The address of the previous kernel's intel_ir_liveupdate_preserve().
 *
 * Catches what keeps this kernel from setting interrupt remapping up at all, like
 * noapic. Does not return if remapping was on and is not in use now.
 *
 * Context: When the unit is taken over.
 */
void __init intel_ir_liveupdate_check(struct intel_iommu *iommu, u64 gap)
{
	if (gap && !(irq_remapping_enabled && intel_ir_is_on(iommu)))
		panic("DMAR-IR: live update: %s was handed over with interrupt remapping on, and this kernel does not use it; power cycle the host to stop the devices, boot without noapic, nosmp and intremap=off",
		      iommu->name);
}

/**
 * intel_ir_liveupdate_release - Free the table that was used in the gap.
 * @gap: The address of the previous kernel's intel_ir_liveupdate_preserve(), may be
 *       0.
 *
 * Once only, and after intel_ir_liveupdate_check(): this kernel's own table is in
 * use then.
 *
 * Context: Process context.
 */
void intel_ir_liveupdate_release(u64 gap)
{
	if (gap)
		kho_restore_free(phys_to_virt(gap));
}
