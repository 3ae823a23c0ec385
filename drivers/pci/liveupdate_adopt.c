// SPDX-License-Identifier: GPL-2.0-only
/*
 * PCI live update: what a new kernel adopts instead of setting
 */

/**
 * DOC: Adoption
 *
 * Enumeration writes to a device some forty times, and each time it may stop it:
 * decoding goes off while BARs are sized, windows of bridges close, links are
 * trained again. An incoming device is at work. Until it is opened (a bridge:
 * until all below it are) none of these writes may reach it.
 *
 * Two things see to that. The *shield* makes every write to the configuration
 * space of an incoming device vanish in pci_write_config_*(). It is what the
 * promise rests on: no code, old or new, can forget to ask. The *hooks* are there
 * because a write that vanishes must not leave the kernel with a wrong idea of
 * the device: sizes and types of BARs and windows come from the record; bus
 * numbers, ARI, ACS, LTR and ASPM are what the hardware says; resources and
 * windows are claimed before all others and cannot be moved, whatever is asked
 * for on the command line or by other devices.
 *
 * What needs a resource or a bus number that an incoming bridge does not have to
 * spare stays without it and cannot be enabled. The preserved device stays.
 *
 * No locks are taken here but in pci_liveupdate_give_up(). Enumeration runs with
 * pci_rescan_remove_lock held, or at boot, alone; the shield is read without a lock
 * by whoever writes.
 */

#define pr_fmt(fmt) "PCI: liveupdate: " fmt

#include <linux/kallsyms.h>
#include <linux/kexec.h>
#include <linux/log2.h>
#include <linux/pci.h>
#include <linux/pci_liveupdate.h>
#include <linux/string.h>

#include "liveupdate.h"
#include "pci.h"

#include <trace/events/pci_liveupdate.h>

/* ---- Registers and sizes, for the record ----------------------------------- */

static unsigned int pci_liveupdate_nr_bars(struct pci_dev *dev)
{
	return dev->hdr_type == PCI_HEADER_TYPE_BRIDGE ? 2 : PCI_STD_NUM_BARS;
}

static int pci_liveupdate_rom_reg(struct pci_dev *dev)
{
	return dev->hdr_type == PCI_HEADER_TYPE_BRIDGE ? PCI_ROM_ADDRESS1 :
							 PCI_ROM_ADDRESS;
}

/**
 * pci_liveupdate_read_regs - Read the registers that a record holds.
 * @dev: A device whose header type and capabilities are known.
 * @rec: Where to put them.
 *
 * Only reads from the device.
 */
void pci_liveupdate_read_regs(struct pci_dev *dev, struct pci_dev_ser *rec)
{
	int pos;

	for (int i = 0; i < pci_liveupdate_nr_bars(dev); i++)
		pci_read_config_dword(dev, PCI_BASE_ADDRESS_0 + 4 * i, &rec->bar[i]);
	pci_read_config_dword(dev, pci_liveupdate_rom_reg(dev),
			      &rec->bar[PCI_SER_BARS - 1]);

	pos = pci_find_ext_capability(dev, PCI_EXT_CAP_ID_SRIOV);
	for (int i = 0; pos && i < PCI_SER_VF_BARS; i++)
		pci_read_config_dword(dev, pos + PCI_SRIOV_BAR + 4 * i,
				      &rec->vf_bar[i]);
	rec->groups |= PCI_SER_GROUP_BARS;

	if (dev->hdr_type == PCI_HEADER_TYPE_BRIDGE) {
		pci_read_config_dword(dev, PCI_PRIMARY_BUS, &rec->buses);
		rec->buses &= ~PCI_SEC_LATENCY_TIMER_MASK;
		pci_read_config_word(dev, PCI_IO_BASE, &rec->io);
		pci_read_config_dword(dev, PCI_MEMORY_BASE, &rec->mem);
		pci_read_config_dword(dev, PCI_PREF_MEMORY_BASE, &rec->pref);
		pci_read_config_dword(dev, PCI_PREF_BASE_UPPER32,
				      &rec->pref_base_hi);
		pci_read_config_dword(dev, PCI_PREF_LIMIT_UPPER32,
				      &rec->pref_limit_hi);
		pci_read_config_dword(dev, PCI_IO_BASE_UPPER16, &rec->io_hi);
		rec->groups |= PCI_SER_GROUP_BRIDGE;
	}

	pcie_capability_read_word(dev, PCI_EXP_DEVCTL, &rec->devctl);
	pcie_capability_read_word(dev, PCI_EXP_DEVCTL2, &rec->devctl2);
	pcie_capability_read_word(dev, PCI_EXP_LNKCTL, &rec->lnkctl);
	rec->lnkctl &= ~PCI_SER_LNKCTL_IGNORE;
	pos = pci_find_ext_capability(dev, PCI_EXT_CAP_ID_ACS);
	if (pos)
		pci_read_config_word(dev, pos + PCI_ACS_CTRL, &rec->acs_ctrl);
	rec->groups |= PCI_SER_GROUP_LINK;
}

/**
 * pci_liveupdate_read_sizes - Note down what only writing to a device tells.
 * @dev: An enumerated device.
 * @rec: Where to put it.
 */
void pci_liveupdate_read_sizes(struct pci_dev *dev, struct pci_dev_ser *rec)
{
	for (int i = 0; i < PCI_SER_BARS; i++) {
		struct resource *r = &dev->resource[i];
		resource_size_t size = resource_size(r);

		/*
		 * Enhanced Allocation has no BAR behind it, and what is too small
		 * for a BAR is a legacy address.
		 */
		if (r->flags & (IORESOURCE_IO | IORESOURCE_MEM) &&
		    !(r->flags & IORESOURCE_PCI_EA_BEI) && is_power_of_2(size) &&
		    size >= 4)
			rec->bar_size[i] = size;
	}

#ifdef CONFIG_PCI_IOV
	if (dev->is_physfn) {
		rec->vf_buses = dev->sriov->max_VF_buses;
		for (int i = 0; i < PCI_SER_VF_BARS; i++)
			rec->vf_bar_size[i] = dev->sriov->barsz[i];
	}
#endif

	if (dev->io_window)
		rec->windows |= PCI_SER_WINDOW_IO;
	if (dev->pref_window)
		rec->windows |= PCI_SER_WINDOW_PREF;
	if (dev->pref_64_window)
		rec->windows |= PCI_SER_WINDOW_PREF64;
}

/**
 * pci_liveupdate_bar_mask - What a BAR would read after all ones were written.
 * @bar_size: Sizes of BARs in bytes, a power of two or 0.
 * @bar:      Their raw values.
 * @nr:       How many belong together; an expansion ROM stands alone.
 * @i:        Which one is wanted.
 *
 * Return: The mask, 0 for a BAR that is not there.
 */
u32 pci_liveupdate_bar_mask(const u64 *bar_size, const u32 *bar, unsigned int nr,
			    unsigned int i)
{
	unsigned int pos = 0;

	/* Whether @i is an upper half shows only from the start. */
	while (pos < nr && pos < i) {
		bool wide = bar_size[pos] && !(bar[pos] & PCI_BASE_ADDRESS_SPACE_IO) &&
			    (bar[pos] & PCI_BASE_ADDRESS_MEM_TYPE_MASK) ==
			    PCI_BASE_ADDRESS_MEM_TYPE_64;

		if (wide && pos + 1 == i)
			return upper_32_bits(~(bar_size[pos] - 1));
		pos += wide ? 2 : 1;
	}

	return bar_size[i] ? lower_32_bits(~(bar_size[i] - 1)) : 0;
}

/* ---- Shield ----------------------------------------------------------------- */

/**
 * __pci_liveupdate_shielded - May a write reach the device?
 * @dev:   A device that takes or took part in a live update.
 * @where: Register.
 * @size:  1, 2 or 4 bytes.
 * @val:   The value.
 *
 * Context: Any.
 * Return: true if the write must vanish.
 */
bool __pci_liveupdate_shielded(const struct pci_dev *dev, int where, int size,
			       u32 val)
{
	/* Pairs with pci_liveupdate_get(). */
	struct pci_dev_liveupdate *lu = smp_load_acquire(&dev->liveupdate);

	/* A device that was left unclaimed is stopped with all others. */
	if (!READ_ONCE(lu->shield) || kexec_in_progress)
		return false;

	trace_pci_liveupdate_shielded(dev, where, size, val);
	return true;
}

/**
 * pci_liveupdate_is_shielded - Do writes to a device vanish?
 * @dev: Any device.
 *
 * For those that cannot do without the effect of a write.
 *
 * Return: true from enumeration until an incoming device is opened.
 */
bool pci_liveupdate_is_shielded(struct pci_dev *dev)
{
	return dev->liveupdate && READ_ONCE(dev->liveupdate->shield);
}

/**
 * pci_liveupdate_differs - Would a write that vanishes have made a difference?
 * @dev: Any device.
 * @reg: A control register of two bytes.
 * @val: What is about to be written.
 *
 * Return: true if @dev is shielded and has something else in @reg.
 */
bool pci_liveupdate_differs(struct pci_dev *dev, int reg, u16 val)
{
	u16 now;

	if (!pci_liveupdate_is_shielded(dev))
		return false;
	pci_read_config_word(dev, reg, &now);
	return now != val;
}

/* ---- Instead of writing ------------------------------------------------------ */

/**
 * pci_liveupdate_size_bars - Size the BARs of an incoming device.
 * @dev:   A device that is being enumerated.
 * @count: How many registers.
 * @pos:   The first one.
 * @sizes: Returns what they would read after all ones were written.
 *
 * Return: false if @dev is not incoming and has to be asked.
 */
bool pci_liveupdate_size_bars(struct pci_dev *dev, unsigned int count,
			      unsigned int pos, u32 *sizes)
{
	const struct pci_dev_ser *was;
	unsigned int first;
	int sriov;

	if (!pci_liveupdate_is_incoming(dev))
		return false;

	was = &dev->liveupdate->was;
	if (pos == pci_liveupdate_rom_reg(dev)) {
		/* No upper half of the BAR before it. */
		sizes[0] = lower_32_bits(-was->bar_size[PCI_SER_BARS - 1]);
		return true;
	}

	if (pos < PCI_STD_HEADER_SIZEOF) {
		first = (pos - PCI_BASE_ADDRESS_0) / 4;
		for (unsigned int i = 0; i < count; i++)
			sizes[i] = pci_liveupdate_bar_mask(was->bar_size, was->bar,
							   PCI_STD_NUM_BARS,
							   first + i);
		return true;
	}

	sriov = pci_find_ext_capability(dev, PCI_EXT_CAP_ID_SRIOV);
	first = (pos - sriov - PCI_SRIOV_BAR) / 4;
	if (WARN_ON_ONCE(!sriov || first + count > PCI_SER_VF_BARS))
		return false;
	for (unsigned int i = 0; i < count; i++)
		sizes[i] = pci_liveupdate_bar_mask(was->vf_bar_size, was->vf_bar,
						   PCI_SER_VF_BARS, first + i);
	return true;
}

/**
 * pci_liveupdate_vf_buses - How many buses can virtual functions take?
 * @dev:   A function with SR-IOV.
 * @buses: Returns the number, if @dev is incoming.
 *
 * Return: false if @dev is not incoming and has to be asked.
 */
bool pci_liveupdate_vf_buses(struct pci_dev *dev, u8 *buses)
{
	if (!pci_liveupdate_is_incoming(dev))
		return false;
	*buses = dev->liveupdate->was.vf_buses;
	return true;
}

/**
 * pci_liveupdate_configure_ari - Adopt ARI Forwarding of a bridge.
 * @bridge: The bridge above a device that is being enumerated.
 *
 * Return: false if @bridge is not incoming and may be configured.
 */
bool pci_liveupdate_configure_ari(struct pci_dev *bridge)
{
	u16 ctl;

	if (!pci_liveupdate_is_incoming(bridge))
		return false;
	pcie_capability_read_word(bridge, PCI_EXP_DEVCTL2, &ctl);
	bridge->ari_enabled = !!(ctl & PCI_EXP_DEVCTL2_ARI);
	return true;
}

/**
 * pci_liveupdate_configure_acs - Keep Access Control Services of an adopted device.
 * @dev: Any device.
 *
 * IOMMU groups, and what the device can reach, depend on it for as long as the
 * device is there; called again after each reset.
 *
 * Return: false if @dev was not adopted and may be configured.
 */
bool pci_liveupdate_configure_acs(struct pci_dev *dev)
{
	u16 ctrl;

	if (!dev->liveupdate || !READ_ONCE(dev->liveupdate->adopted))
		return false;

	if (dev->acs_cap) {
		pci_read_config_word(dev, dev->acs_cap + PCI_ACS_CTRL, &ctrl);
		if (ctrl != dev->liveupdate->was.acs_ctrl)
			pci_write_config_word(dev, dev->acs_cap + PCI_ACS_CTRL,
					      dev->liveupdate->was.acs_ctrl);
	}
	return true;
}

/**
 * pci_liveupdate_configure_mps - Settle Max Payload Size around incoming bridges.
 * @dev: A device that "pci=pcie_bus_*" is about to be applied to.
 *
 * Both ends of a link must agree, and one that is incoming stays as it is, so
 * what is below it takes its size over.
 *
 * Return: false if nothing above @dev is incoming and it may be configured.
 */
bool pci_liveupdate_configure_mps(struct pci_dev *dev)
{
	struct pci_dev *bridge = pci_upstream_bridge(dev);

	if (pci_liveupdate_is_incoming(dev))
		return true;
	if (!pcie_find_root_port(dev) ||
	    !pci_liveupdate_is_incoming(pcie_find_root_port(dev)))
		return false;

	if (pcie_get_mps(dev) != pcie_get_mps(bridge) &&
	    pcie_set_mps(dev, pcie_get_mps(bridge)))
		pci_err(dev, "live update: cannot use the Max Payload Size of %d that %s has to keep\n",
			pcie_get_mps(bridge), pci_name(bridge));
	return true;
}

/* ---- Fixups ------------------------------------------------------------------ */

/*
 * Fixups that touch a device. Some go past the shield, to a device's registers or
 * with a reset; others write to configuration space, or have a BAR moved. The last
 * kernel has run them: the hardware has what they set, the record the sizes. A
 * fixup that also notes something which is needed later does not belong here.
 * scripts/check-fixups of the project this came with finds new ones.
 */
static const char *const pci_liveupdate_no_fixups[] = {
	"amd_disable_seq_and_redirect_scrub",
	"asus_hides_ac97_lpc",
	"asus_hides_smbus_lpc",
	"asus_hides_smbus_lpc_ich6",
	"asus_hides_smbus_lpc_ich6_resume",
	"asus_hides_smbus_lpc_ich6_resume_early",
	"asus_hides_smbus_lpc_ich6_suspend",
	"ati_force_enable_hpet",
	"chromeos_fixup_apl_pci_l1ss_capability",
	"disable_igfx_irq",
	"enetc_fixup_clear_rss_rfs",
	"ht_enable_msi_mapping",
	"ich_force_enable_hpet",
	"mellanox_check_broken_intx_masking",
	"mid_power_off_devices",
	"nv_msi_ht_cap_quirk_all",
	"nv_msi_ht_cap_quirk_leaf",
	"nvbridge_check_legacy_irq_routing",
	"nvidia_force_enable_hpet",
	"old_ich_force_enable_hpet",
	"old_ich_force_enable_hpet_user",
	"pci_amd_enable_64bit_bar",
	"pci_disable_parity",
	"pci_early_fixup_cyrix_5530",
	"pci_fixup_msi_k8t_onboard_sound",
	"pci_fixup_nforce2",
	"pci_fixup_pericom_acs_store_forward",
	"pci_fixup_via_northbridge_bug",
	"pci_mask_replay_timer_timeout",
	"pci_post_fixup_toshiba_ohci1394",
	"quirk_amd_ide_mode",
	"quirk_amd_nbio_7_11_disable_enhanced_atomic",
	"quirk_amd_nbio_7_7_disable_enhanced_atomic",
	"quirk_amd_ordering",
	"quirk_apple_poweroff_thunderbolt",
	"quirk_brcm_5719_limit_mrrs",
	"quirk_cardbus_legacy",
	"quirk_chelsio_T5_disable_root_port_attributes",
	"quirk_clear_strap_no_soft_reset_dev2_f0",
	"quirk_disable_amd_8111_boot_interrupt",
	"quirk_disable_amd_813x_boot_interrupt",
	"quirk_disable_broadcom_boot_interrupt",
	"quirk_disable_intel_boot_interrupt",
	"quirk_disable_pxb",
	"quirk_dunord",
	"quirk_e100_interrupt",
	"quirk_extend_bar_to_page",
	"quirk_ide_samemode",
	"quirk_intel_irqbalance",
	"quirk_intel_mc_errata",
	"quirk_intel_ntb",
	"quirk_intel_th_dnv",
	"quirk_jmicron_ata",
	"quirk_mediagx_master",
	"quirk_nvidia_ck804_pcie_aer_ext_cap",
	"quirk_nvidia_hda",
	"quirk_passive_release",
	"quirk_plx_pci9050",
	"quirk_reset_lenovo_thinkpad_p50_nvgpu",
	"quirk_s3_64M",
	"quirk_sis_503",
	"quirk_sis_96x_smbus",
	"quirk_svwks_csb5ide",
	"quirk_tc86c001_ide",
	"quirk_tigerpoint_bm_sts",
	"quirk_unhide_mch_dev6",
	"quirk_usb_early_handoff",
	"quirk_via_cx700_pci_parking_caching",
	"quirk_via_ioapic",
	"quirk_via_vlink",
	"quirk_via_vt8237_bypass_apic_deassert",
	"quirk_vialatency",
	"quirk_vt82c598_id",
	"quirk_xio2000a",
	"ricoh_mmc_fixup_r5c832",
	"ricoh_mmc_fixup_rl5c476",
	"rs690_fix_64bit_dma",
	"sb600_disable_hpet_bar",
	"vt8237_force_enable_hpet",
	"vtd_mask_spec_errors",
};

/**
 * pci_liveupdate_skip_fixup - Must a fixup not run on this device?
 * @dev:  A device that a fixup is meant for.
 * @hook: The fixup.
 *
 * Return: true if @dev is incoming and the fixup would touch it.
 */
bool pci_liveupdate_skip_fixup(struct pci_dev *dev, void (*hook)(struct pci_dev *))
{
	char name[KSYM_NAME_LEN];

	if (!pci_liveupdate_is_incoming(dev))
		return false;

	if (lookup_symbol_name((unsigned long)hook, name))
		return true;
	for (int i = 0; i < ARRAY_SIZE(pci_liveupdate_no_fixups); i++) {
		if (!strcmp(name, pci_liveupdate_no_fixups[i])) {
			pci_info(dev, "live update: %s() left out\n", name);
			return true;
		}
	}
	return false;
}

/* ---- Resources ----------------------------------------------------------------- */

static void pci_liveupdate_fix(struct pci_dev *dev, int i)
{
	struct resource *r = &dev->resource[i];

	if (r->flags & IORESOURCE_PCI_FIXED)
		return;
	r->flags |= IORESOURCE_PCI_FIXED;
	dev->liveupdate->fixed |= BIT(i);
}

/**
 * pci_liveupdate_unfix - Let the resources of a device be moved again.
 * @dev: A device that is not incoming any more.
 */
void pci_liveupdate_unfix(struct pci_dev *dev)
{
	struct resource *r;
	int i;

	pci_dev_for_each_resource(dev, r, i) {
		if (dev->liveupdate->fixed & BIT(i))
			r->flags &= ~IORESOURCE_PCI_FIXED;
	}
	dev->liveupdate->fixed = 0;
}

/* Returns false if the device would lose something it has. */
static bool pci_liveupdate_claim_one(struct pci_dev *dev, int i)
{
	struct resource *r = &dev->resource[i];
	bool window = pci_resource_is_bridge_win(i);

	if (!(r->flags & (IORESOURCE_IO | IORESOURCE_MEM)))
		return true;

	if (!r->parent && (r->flags & IORESOURCE_UNSET || !r->start)) {
		/* What is closed stays closed, what has no address gets none. */
		if (window)
			r->flags = 0;
		else
			pci_liveupdate_fix(dev, i);
		return true;
	}

	if (!r->parent && pci_claim_resource(dev, i) &&
	    (window || i < PCI_ROM_RESOURCE)) {
		pci_err(dev, "live update: lost, %s %pR cannot be claimed\n",
			pci_resource_name(dev, i), r);
		return false;
	}
	pci_liveupdate_fix(dev, i);
	return true;
}

static void pci_liveupdate_claim_dev(struct pci_dev *dev)
{
	struct pci_dev *bridge = pci_liveupdate_lost_bridge(dev);
	struct resource *r;
	int i;

	if (bridge) {
		pci_err(dev, "live update: lost, %s above it is lost\n",
			pci_name(bridge));
		pci_liveupdate_give_up(dev);
		return;
	}

	pci_dev_for_each_resource(dev, r, i) {
		if (!pci_liveupdate_claim_one(dev, i)) {
			pci_liveupdate_give_up(dev);
			return;
		}
	}
}

/**
 * pci_liveupdate_claim - Claim the resources of incoming devices.
 * @bus: A bus that has been scanned.
 *
 * Before those of any other device, which then have to make do with the rest.
 */
void pci_liveupdate_claim(struct pci_bus *bus)
{
	struct pci_dev *dev;

	list_for_each_entry(dev, &bus->devices, bus_list) {
		if (pci_liveupdate_is_incoming(dev))
			pci_liveupdate_claim_dev(dev);
		if (dev->subordinate)
			pci_liveupdate_claim(dev->subordinate);
	}
}

/**
 * pci_liveupdate_refuse_bus - Is there no bus number for a bridge?
 * @bridge: A bridge that needs one.
 * @busnr:  The first after those that are in use on its bus.
 *
 * A number that @bridge's own bus does not have belongs to a bridge elsewhere, which
 * may have not been scanned yet and may be incoming.
 *
 * Return: true if devices came from the previous kernel and @busnr is not free.
 */
bool pci_liveupdate_refuse_bus(struct pci_dev *bridge, int busnr)
{
	struct pci_bus *bus = bridge->bus, *other;

	if (!pci_liveupdate_keeps_buses())
		return false;

	other = pci_find_bus(pci_domain_nr(bus), busnr);
	if (busnr <= bus->busn_res.end && (!other || other->self == bridge))
		return false;

	pci_err(bridge, "live update: no bus number for it, %pR are taken\n",
		&bus->busn_res);
	return true;
}
