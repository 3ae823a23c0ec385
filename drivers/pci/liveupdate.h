/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef DRIVERS_PCI_LIVEUPDATE_H
#define DRIVERS_PCI_LIVEUPDATE_H

#include <linux/kho/abi/pci.h>
#include <linux/list.h>
#include <linux/pci.h>
#include <linux/workqueue.h>

/* Towards the next kernel. */
enum pci_liveupdate_out {
	PCI_LU_OUT_NONE,
	PCI_LU_OUT_PRESERVED,
	PCI_LU_OUT_FROZEN,
};

/* From the previous kernel. */
enum pci_liveupdate_in {
	PCI_LU_IN_NONE,
	PCI_LU_IN_INCOMING,
	PCI_LU_IN_RETRIEVED,
	PCI_LU_IN_LOST,
};

/**
 * struct pci_dev_liveupdate - Live update state of one pci_dev.
 * @dev:     The device.
 * @node:    Entry in pci_liveupdate_outgoing.devices while preserved.
 * @out:     State towards the next kernel.
 * @in:      State from the previous kernel.
 * @users:   How many preserved functions need this device (1 for a function).
 * @frozen:  How many of @users are frozen.
 * @rec:     The record for the next kernel, with PCI_LU_OUT_PRESERVED.
 * @slot:    Where @rec is kept in KHO memory.
 * @was:     The record from the previous kernel.
 * @shield:  No write to configuration space reaches the device.
 * @closed:  How many functions below a bridge nobody has opened yet.
 * @held:    A runtime PM reference keeps it in D0 as long as it is incoming.
 * @stopped: Somebody is about to stop it.
 * @adopted: The device came from the previous kernel as it was recorded; stays
 *           set when it is finished.
 * @fixed:   Resources that are immovable because of the live update, a bit each.
 * @attach:  Binds the driver of a bridge that has been released.
 *
 * A bridge can be incoming for one function and outgoing for another, so both
 * directions have a state of their own. Allocated when first needed, freed with
 * the pci_dev. All fields are protected by pci_liveupdate_lock; @out, @in,
 * @shield and @adopted may be read without it by whoever can live with an answer
 * that is about to change.
 */
struct pci_dev_liveupdate {
	struct pci_dev *dev;
	struct list_head node;
	enum pci_liveupdate_out out;
	enum pci_liveupdate_in in;
	unsigned int users;
	unsigned int frozen;
	struct pci_dev_ser rec;
	struct pci_dev_ser *slot;
	struct pci_dev_ser was;
	bool shield;
	unsigned int closed;
	bool adopted;
	bool held;
	bool stopped;
	u32 fixed;
	struct work_struct attach;
};

/* Readers of the incoming records, apart for the KUnit suite. */
const char *pci_liveupdate_check_ser(const struct pci_ser *ser);
const char *pci_liveupdate_check_dev_ser(const struct pci_dev_ser *rec);
const char *pci_liveupdate_compare(const struct pci_dev_ser *rec,
				   const struct pci_dev_ser *now,
				   u64 *old, u64 *new);
u32 pci_liveupdate_bar_mask(const u64 *bar_size, const u32 *bar, unsigned int nr,
			    unsigned int i);

/* What the two halves, liveupdate.c and liveupdate_adopt.c, have for each other. */
void pci_liveupdate_read_regs(struct pci_dev *dev, struct pci_dev_ser *rec);
void pci_liveupdate_read_sizes(struct pci_dev *dev, struct pci_dev_ser *rec);
void pci_liveupdate_unfix(struct pci_dev *dev);
void pci_liveupdate_give_up(struct pci_dev *dev);
struct pci_dev *pci_liveupdate_lost_bridge(struct pci_dev *dev);

#ifdef CONFIG_PCI_LIVEUPDATE_DAMAGE
void pci_liveupdate_damage(struct pci_ser *ser, struct pci_dev_ser *rec);
int pci_liveupdate_damage_version(const char *name);
#else
static inline void pci_liveupdate_damage(struct pci_ser *ser, struct pci_dev_ser *rec)
{
}
#endif

#endif /* DRIVERS_PCI_LIVEUPDATE_H */
