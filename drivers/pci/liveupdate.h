/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef DRIVERS_PCI_LIVEUPDATE_H
#define DRIVERS_PCI_LIVEUPDATE_H

#include <linux/kho/abi/pci.h>

/* Readers of the incoming records, apart for the KUnit suite. */
const char *pci_liveupdate_check_ser(const struct pci_ser *ser);
const char *pci_liveupdate_check_dev_ser(const struct pci_dev_ser *rec);
const char *pci_liveupdate_compare(const struct pci_dev_ser *rec,
				   const struct pci_dev_ser *now,
				   u64 *old, u64 *new);

#endif /* DRIVERS_PCI_LIVEUPDATE_H */
