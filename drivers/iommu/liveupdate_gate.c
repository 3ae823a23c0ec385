// SPDX-License-Identifier: GPL-2.0-only
/*
 * The last look at the next kernel before a live update
 *
 * Devices are going to write to memory until the next kernel takes care of them. One
 * that is told to boot without KHO, live update or the IOMMU, or with the IOMMU in
 * another mode, cannot do that, and could only panic. What can be seen of it now is
 * how its image was loaded, and its command line. This one is read with the parser
 * of the kernel, and each parameter the way its own function reads it.
 *
 * A parameter that is not there is taken to have the default of this kernel, which
 * includes CONFIG_CMDLINE. What the next kernel has built in, or gets from a
 * bootconfig, cannot be seen: it has to panic.
 *
 * Locks: none of its own. The image stays what it is as long as kernel_kexec()
 * holds the kexec lock.
 */

#define pr_fmt(fmt) "iommu: live update: " fmt

#include <linux/dmar.h>
#include <linux/errno.h>
#include <linux/export.h>
#include <linux/iommu_liveupdate.h>
#include <linux/kernel.h>
#include <linux/kexec.h>
#include <linux/kstrtox.h>
#include <linux/moduleparam.h>
#include <linux/printk.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/string.h>

#ifdef CONFIG_INTEL_IOMMU
#include "intel/iommu.h"
#endif
#include "irq_remapping.h"
#include "liveupdate_gate.h"

static const struct {
	const char *without;	/* if it is off and has to be on */
	const char *with;	/* if it is on and has to be off */
} liveupdate_gate_advice[LIVEUPDATE_GATE_ITEMS] = {
	[LIVEUPDATE_GATE_KHO]		= { "kho=on" },
	[LIVEUPDATE_GATE_LIVEUPDATE]	= { "liveupdate=on" },
	[LIVEUPDATE_GATE_ACPI]		= { "no acpi=off" },
	[LIVEUPDATE_GATE_PCI]		= { "no pci=off" },
	[LIVEUPDATE_GATE_APIC]		= { "no noapic, nolapic, nosmp or maxcpus=0" },
	[LIVEUPDATE_GATE_IOMMU]		= { "no iommu=off" },
	[LIVEUPDATE_GATE_DMAR]		= { "intel_iommu=on" },
	[LIVEUPDATE_GATE_SCALABLE]	= { "intel_iommu=sm_on", "intel_iommu=sm_off" },
	[LIVEUPDATE_GATE_INTREMAP]	= { "intremap=on" },
};

/* ---- Reading a command line ---------------------------------------------------- */

static void liveupdate_gate_set(struct liveupdate_gate_boot *boot,
				enum liveupdate_gate_item item, bool on,
				const char *param, const char *val)
{
	boot->on[item] = on;
	boot->param[item] = param;
	boot->val[item] = val;
}

/* early_param()s that take a bool: a value that is none changes nothing. */
static void liveupdate_gate_bool(struct liveupdate_gate_boot *boot,
				 enum liveupdate_gate_item item,
				 const char *param, const char *val)
{
	bool on;

	if (val && !kstrtobool(val, &on))
		liveupdate_gate_set(boot, item, on, param, val);
}

/*
 * Goes through a list the way that most such parameters do: what follows the start
 * that is asked for does not matter, and empty entries are skipped.
 */
static const char *liveupdate_gate_next(const char *entry)
{
	entry += strcspn(entry, ",");
	while (*entry == ',')
		entry++;
	return entry;
}

/* iommu_setup() of x86. There is no way to turn it on again. */
static void liveupdate_gate_iommu(struct liveupdate_gate_boot *boot,
				  const char *param, const char *val)
{
	const char *p = val;

	while (p && *p) {
		if (str_has_prefix(p, "off"))
			liveupdate_gate_set(boot, LIVEUPDATE_GATE_IOMMU, false,
					    param, val);
		/* The rest of the list is not read. */
		if (str_has_prefix(p, "usedac"))
			return;
		/* Unlike the others it reads an empty entry, as nothing. */
		p += strcspn(p, ",");
		if (*p == ',')
			p++;
	}
}

/* intel_iommu_setup() */
static void liveupdate_gate_intel_iommu(struct liveupdate_gate_boot *boot,
					const char *param, const char *val)
{
	const char *p = val;

	for (; p && *p; p = liveupdate_gate_next(p)) {
		if (str_has_prefix(p, "on"))
			liveupdate_gate_set(boot, LIVEUPDATE_GATE_DMAR, true,
					    param, val);
		else if (str_has_prefix(p, "off"))
			liveupdate_gate_set(boot, LIVEUPDATE_GATE_DMAR, false,
					    param, val);
		else if (str_has_prefix(p, "sm_on"))
			liveupdate_gate_set(boot, LIVEUPDATE_GATE_SCALABLE, true,
					    param, val);
		else if (str_has_prefix(p, "sm_off"))
			liveupdate_gate_set(boot, LIVEUPDATE_GATE_SCALABLE, false,
					    param, val);
	}
}

/* setup_irqremap() */
static void liveupdate_gate_intremap(struct liveupdate_gate_boot *boot,
				     const char *param, const char *val)
{
	const char *p = val;

	for (; p && *p; p = liveupdate_gate_next(p)) {
		if (str_has_prefix(p, "on"))
			liveupdate_gate_set(boot, LIVEUPDATE_GATE_INTREMAP, true,
					    param, val);
		else if (str_has_prefix(p, "off"))
			liveupdate_gate_set(boot, LIVEUPDATE_GATE_INTREMAP, false,
					    param, val);
	}
}

/* pci_setup() and pcibios_setup() of x86: whole entries. */
static void liveupdate_gate_pci(struct liveupdate_gate_boot *boot,
				const char *param, const char *val)
{
	const char *p = val;

	while (p) {
		size_t len = strcspn(p, ",");

		if (len == strlen("off") && str_has_prefix(p, "off"))
			liveupdate_gate_set(boot, LIVEUPDATE_GATE_PCI, false,
					    param, val);
		p = p[len] ? p + len + 1 : NULL;
	}
}

/* parse_acpi() */
static void liveupdate_gate_acpi(struct liveupdate_gate_boot *boot,
				 const char *param, const char *val)
{
	if (val && !strcmp(val, "off"))
		liveupdate_gate_set(boot, LIVEUPDATE_GATE_ACPI, false, param, val);
	else if (val && !strcmp(val, "force"))
		liveupdate_gate_set(boot, LIVEUPDATE_GATE_ACPI, true, param, val);
}

/* maxcpus() turns the IO-APICs off when it sets 0, which it also makes of no number. */
static bool liveupdate_gate_maxcpus(char *val)
{
	int max = -1;

	get_option(&val, &max);
	return !max;
}

static int liveupdate_gate_param(char *param, char *val, const char *unused, void *arg)
{
	struct liveupdate_gate_boot *boot = arg;

	if (parameq(param, "kho"))
		liveupdate_gate_bool(boot, LIVEUPDATE_GATE_KHO, param, val);
	else if (parameq(param, "liveupdate"))
		liveupdate_gate_bool(boot, LIVEUPDATE_GATE_LIVEUPDATE, param, val);
	else if (parameq(param, "iommu"))
		liveupdate_gate_iommu(boot, param, val);
	else if (parameq(param, "intel_iommu"))
		liveupdate_gate_intel_iommu(boot, param, val);
	else if (parameq(param, "intremap"))
		liveupdate_gate_intremap(boot, param, val);
	else if (parameq(param, "nointremap"))
		liveupdate_gate_set(boot, LIVEUPDATE_GATE_INTREMAP, false, param, val);
	else if (parameq(param, "pci"))
		liveupdate_gate_pci(boot, param, val);
	else if (parameq(param, "acpi"))
		liveupdate_gate_acpi(boot, param, val);
	else if (parameq(param, "noapic") || parameq(param, "nolapic") ||
		 parameq(param, "nosmp") ||
		 (parameq(param, "maxcpus") && liveupdate_gate_maxcpus(val)))
		liveupdate_gate_set(boot, LIVEUPDATE_GATE_APIC, false, param, val);
	return 0;
}

/**
 * liveupdate_gate_parse - Read a kernel's command line.
 * @boot:    What the kernel does without one; changed to what it does with it.
 * @cmdline: The command line, which is cut into pieces. @boot refers to them.
 */
void liveupdate_gate_parse(struct liveupdate_gate_boot *boot, char *cmdline)
{
	parse_args("live update", cmdline, NULL, 0, 0, 0, boot, liveupdate_gate_param);
}

/**
 * liveupdate_gate_wrong - Find what a kernel would not do as it has to.
 * @boot: What it does.
 * @need: What the hardware is set to.
 *
 * Return: an &enum liveupdate_gate_item, or -1 if all is well.
 */
int liveupdate_gate_wrong(const struct liveupdate_gate_boot *boot,
			  const struct liveupdate_gate_need *need)
{
	for (int i = 0; i < LIVEUPDATE_GATE_ITEMS; i++) {
		switch (i) {
		case LIVEUPDATE_GATE_SCALABLE:
			if (need->either && boot->on[i] != need->scalable)
				return i;
			break;
		case LIVEUPDATE_GATE_APIC:
		case LIVEUPDATE_GATE_INTREMAP:
			if (need->intremap && !boot->on[i])
				return i;
			break;
		default:
			if (!boot->on[i])
				return i;
			break;
		}
	}
	return -1;
}

/* ---- The image ----------------------------------------------------------------- */

static bool liveupdate_gate_is_open;

#ifdef CONFIG_PCI_LIVEUPDATE_DAMAGE
/**
 * iommu_liveupdate_open_gate - Let everything pass, for tests of the next kernel.
 *
 * Context: Any. There is no way back but the next kernel.
 */
void iommu_liveupdate_open_gate(void)
{
	WRITE_ONCE(liveupdate_gate_is_open, true);
}
#endif

static bool liveupdate_gate_either_mode(void)
{
#ifdef CONFIG_INTEL_IOMMU
	struct dmar_drhd_unit *drhd;
	struct intel_iommu *iommu;

	guard(rcu)();
	for_each_active_iommu(iommu, drhd) {
		if (ecap_smts(iommu->ecap))
			return true;
	}
#endif
	return false;
}

/* A kernel that is configured like this one. */
static void liveupdate_gate_defaults(struct liveupdate_gate_boot *boot, char *builtin)
{
	*boot = (struct liveupdate_gate_boot){};
	memset(boot->on, true, sizeof(boot->on));
	boot->on[LIVEUPDATE_GATE_KHO] = IS_ENABLED(CONFIG_KEXEC_HANDOVER_ENABLE_DEFAULT);
	boot->on[LIVEUPDATE_GATE_LIVEUPDATE] = false;
	boot->on[LIVEUPDATE_GATE_DMAR] = !IS_ENABLED(CONFIG_INTEL_IOMMU_DEFAULT_OFF);
	boot->on[LIVEUPDATE_GATE_SCALABLE] =
		IS_ENABLED(CONFIG_INTEL_IOMMU_SCALABLE_MODE_DEFAULT_ON);
	liveupdate_gate_parse(boot, builtin);
}

/**
 * iommu_liveupdate_check_image - Can the next kernel take over the translation?
 * @scalable: The IOMMUs that translate for preserved devices are in scalable mode.
 *
 * Says in the log what is wrong and what to do about it.
 *
 * Context: Process context, in the freeze of a live update: the kexec lock is held,
 * kexec_image is what is going to be booted. May sleep.
 * Return: 0,
 *         -ENOEXEC if the image gets no KHO data,
 *         -EOPNOTSUPP if its command line has or lacks an option,
 *         -ENOMEM.
 */
int iommu_liveupdate_check_image(bool scalable)
{
	char *cmdline __free(kfree) = NULL, *builtin __free(kfree) = NULL;
	const struct liveupdate_gate_need need = {
		.scalable = scalable,
		.either = liveupdate_gate_either_mode(),
		.intremap = irq_remapping_enabled,
	};
	struct liveupdate_gate_boot boot;
	const char *advice;
	int i;

	if (READ_ONCE(liveupdate_gate_is_open))
		return 0;

	if (!kexec_image || !kexec_image->file_mode || !kexec_image->kho.fdt) {
		pr_err("the loaded kernel image gets no KHO data, load it with kexec_file_load()\n");
		return -ENOEXEC;
	}

#ifdef CONFIG_CMDLINE_BOOL
	builtin = kstrdup(CONFIG_CMDLINE, GFP_KERNEL);
#else
	builtin = kstrdup("", GFP_KERNEL);
#endif
	cmdline = kstrdup(kexec_image->cmdline_buf ?: "", GFP_KERNEL);
	if (!builtin || !cmdline)
		return -ENOMEM;

	liveupdate_gate_defaults(&boot, builtin);
	liveupdate_gate_parse(&boot, cmdline);
	i = liveupdate_gate_wrong(&boot, &need);
	if (i < 0)
		return 0;

	advice = boot.on[i] ? liveupdate_gate_advice[i].with :
			      liveupdate_gate_advice[i].without;
	if (boot.param[i])
		pr_err("the command line of the loaded kernel has %s%s%s, it must have %s\n",
		       boot.param[i], boot.val[i] ? "=" : "", boot.val[i] ?: "", advice);
	else
		pr_err("the command line of the loaded kernel must have %s\n", advice);
	return -EOPNOTSUPP;
}
EXPORT_SYMBOL_GPL(iommu_liveupdate_check_image);
