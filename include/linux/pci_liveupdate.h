/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LINUX_PCI_LIVEUPDATE_H
#define _LINUX_PCI_LIVEUPDATE_H

#include <linux/kho/abi/pci.h>
#include <linux/pci.h>

struct liveupdate_file_handler;
struct pci_saved_state;

#ifdef CONFIG_PCI_LIVEUPDATE

int pci_liveupdate_register_flb(struct liveupdate_file_handler *fh);
void pci_liveupdate_unregister_flb(struct liveupdate_file_handler *fh);

int pci_liveupdate_preserve(struct pci_dev *dev);
void pci_liveupdate_unpreserve(struct pci_dev *dev);
int pci_liveupdate_freeze(struct pci_dev *dev);
void pci_liveupdate_unfreeze(struct pci_dev *dev);

int pci_liveupdate_find_incoming(u32 domain, u16 bdf, struct pci_dev **pdev);
const char *pci_liveupdate_driver(struct pci_dev *dev);
void pci_liveupdate_retrieved(struct pci_dev *dev);
void pci_liveupdate_finish(struct pci_dev *dev);
void pci_liveupdate_stop(struct pci_dev *dev, const struct pci_state_ser *ser);

int pci_liveupdate_store_state(struct pci_dev *dev,
			       const struct pci_saved_state *state,
			       struct pci_state_ser *ser);
const char *pci_liveupdate_check_state(const struct pci_state_ser *ser);
struct pci_saved_state *
pci_liveupdate_load_state(struct pci_dev *dev, const struct pci_state_ser *ser);

bool pci_liveupdate_is_outgoing(struct pci_dev *dev);
bool pci_liveupdate_is_frozen(struct pci_dev *dev);
bool pci_liveupdate_is_incoming(struct pci_dev *dev);
bool pci_liveupdate_is_busy(struct pci_dev *dev);
bool pci_liveupdate_intx_broken(struct pci_dev *dev);
bool pci_liveupdate_keeps_msi(struct pci_dev *dev);
bool pci_liveupdate_match(struct pci_dev *dev, const char *driver);

/* Called by the PCI core only. */
void pci_liveupdate_scan(struct pci_dev *dev);
void pci_liveupdate_setup(struct pci_dev *dev);
void pci_liveupdate_add(struct pci_dev *dev);
int pci_liveupdate_enable(struct pci_dev *dev);
void pci_liveupdate_release(struct pci_dev *dev);

#else /* CONFIG_PCI_LIVEUPDATE */

static inline bool pci_liveupdate_is_outgoing(struct pci_dev *dev)
{
	return false;
}

static inline bool pci_liveupdate_is_frozen(struct pci_dev *dev)
{
	return false;
}

static inline bool pci_liveupdate_is_incoming(struct pci_dev *dev)
{
	return false;
}

static inline bool pci_liveupdate_is_busy(struct pci_dev *dev)
{
	return false;
}

static inline bool pci_liveupdate_intx_broken(struct pci_dev *dev)
{
	return false;
}

static inline bool pci_liveupdate_keeps_msi(struct pci_dev *dev)
{
	return false;
}

static inline bool pci_liveupdate_match(struct pci_dev *dev, const char *driver)
{
	return true;
}

static inline void pci_liveupdate_scan(struct pci_dev *dev)
{
}

static inline void pci_liveupdate_setup(struct pci_dev *dev)
{
}

static inline void pci_liveupdate_add(struct pci_dev *dev)
{
}

static inline int pci_liveupdate_enable(struct pci_dev *dev)
{
	return 0;
}

static inline void pci_liveupdate_release(struct pci_dev *dev)
{
}

#endif /* CONFIG_PCI_LIVEUPDATE */
#endif /* _LINUX_PCI_LIVEUPDATE_H */
