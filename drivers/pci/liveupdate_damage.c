// SPDX-License-Identifier: GPL-2.0-only
/*
 * Damage PCI live update records on purpose
 *
 * A test writes to <debugfs>/pci_liveupdate_damage, one of
 *
 *   record <domain>:<bus>:<device>.<function> <offset> <size> <value>
 *   root <offset> <size> <value>
 *   iommu root|unit|domain|device|memory <index> <offset> <size> <value>
 *   version <name>
 *   gate
 *
 * and with the next freeze the bytes at <offset> (decimal) of the device's record,
 * of the root, or of an IOMMU's record, become <value> (hexadecimal, <size> is 1, 2, 4
 * or 8), or the FLB gets another name, or the command line of the next kernel is not
 * looked at. Nothing takes it back but the next kernel.
 *
 * Lock order: pci_liveupdate_damage_lock is taken inside pci_liveupdate_lock.
 */

#include <linux/cleanup.h>
#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/iommu_liveupdate.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "liveupdate.h"

struct pci_liveupdate_damage {
	struct list_head node;
	bool root;
	char iommu[8];		/* which set of the IOMMU's records, or "" */
	unsigned int index;
	u32 domain;
	u16 bdf;
	unsigned int offset;
	unsigned int size;
	u64 value;
};

static LIST_HEAD(pci_liveupdate_damages);
static DEFINE_MUTEX(pci_liveupdate_damage_lock);

/**
 * pci_liveupdate_damage - Do to the records what a test has asked for.
 * @ser: The root of the records.
 * @rec: One record as it is handed over.
 */
void pci_liveupdate_damage(struct pci_ser *ser, struct pci_dev_ser *rec)
{
	struct pci_liveupdate_damage *damage;

	guard(mutex)(&pci_liveupdate_damage_lock);
	list_for_each_entry(damage, &pci_liveupdate_damages, node) {
		if (damage->iommu[0])
			continue;
		if (damage->root)
			memcpy((void *)ser + damage->offset, &damage->value,
			       damage->size);
		else if (damage->domain == rec->domain && damage->bdf == rec->bdf)
			memcpy((void *)rec + damage->offset, &damage->value,
			       damage->size);
	}
}

/**
 * pci_liveupdate_damage_iommu - Do to an IOMMU's record what a test has asked for.
 * @set:   Which kind of record it is.
 * @index: Its index.
 * @rec:   The record as it is handed over.
 * @size:  Its size, in bytes.
 */
void pci_liveupdate_damage_iommu(const char *set, unsigned int index, void *rec,
				 size_t size)
{
	struct pci_liveupdate_damage *damage;

	guard(mutex)(&pci_liveupdate_damage_lock);
	list_for_each_entry(damage, &pci_liveupdate_damages, node) {
		if (strcmp(damage->iommu, set) || damage->index != index ||
		    damage->offset + damage->size > size)
			continue;
		memcpy(rec + damage->offset, &damage->value, damage->size);
	}
}

static int pci_liveupdate_damage_parse(const char *line)
{
	struct pci_liveupdate_damage *damage __free(kfree) = kzalloc_obj(*damage);
	unsigned int domain, bus, slot, func;
	size_t limit;

	if (!damage)
		return -ENOMEM;

	if (sscanf(line, "record %x:%x:%x.%x %u %u %llx", &domain, &bus, &slot, &func,
		   &damage->offset, &damage->size, &damage->value) == 7) {
		damage->domain = domain;
		damage->bdf = PCI_DEVID(bus, PCI_DEVFN(slot, func));
		limit = sizeof(struct pci_dev_ser);
	} else if (sscanf(line, "root %u %u %llx", &damage->offset, &damage->size,
			  &damage->value) == 3) {
		damage->root = true;
		limit = sizeof(struct pci_ser);
	} else if (sscanf(line, "iommu %7s %u %u %u %llx", damage->iommu,
			  &damage->index, &damage->offset, &damage->size,
			  &damage->value) == 5) {
		limit = sizeof(struct iommu_ser);
	} else {
		return -EINVAL;
	}

	if (damage->size > sizeof(damage->value) || damage->offset > limit ||
	    damage->size > limit - damage->offset)
		return -ERANGE;

	guard(mutex)(&pci_liveupdate_damage_lock);
	list_add_tail(&no_free_ptr(damage)->node, &pci_liveupdate_damages);
	return 0;
}

static ssize_t pci_liveupdate_damage_write(struct file *file,
					   const char __user *ubuf, size_t count,
					   loff_t *ppos)
{
	char *line __free(kfree) = memdup_user_nul(ubuf, count);
	int err;

	if (IS_ERR(line))
		return PTR_ERR(line);

	strim(line);
	if (!strcmp(line, "gate")) {
		iommu_liveupdate_open_gate();
		return count;
	}
	if (str_has_prefix(line, "version iommu-"))
		err = iommu_liveupdate_damage_version(line + strlen("version "));
	else if (str_has_prefix(line, "version "))
		err = pci_liveupdate_damage_version(line + strlen("version "));
	else
		err = pci_liveupdate_damage_parse(line);
	return err ?: count;
}

static const struct file_operations pci_liveupdate_damage_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = pci_liveupdate_damage_write,
};

static int __init pci_liveupdate_damage_init(void)
{
	debugfs_create_file("pci_liveupdate_damage", 0200, NULL, NULL,
			    &pci_liveupdate_damage_fops);
	return 0;
}
late_initcall(pci_liveupdate_damage_init);
