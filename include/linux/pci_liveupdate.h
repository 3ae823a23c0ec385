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
bool pci_liveupdate_stop(struct pci_dev *dev, const struct pci_state_ser *ser);

int pci_liveupdate_store_state(struct pci_dev *dev,
			       struct pci_saved_state *state,
			       struct pci_state_ser *ser);
const char *pci_liveupdate_check_state(const struct pci_state_ser *ser);
struct pci_saved_state *
pci_liveupdate_load_state(struct pci_dev *dev, const struct pci_state_ser *ser);

bool pci_liveupdate_is_outgoing(struct pci_dev *dev);
bool pci_liveupdate_is_frozen(struct pci_dev *dev);
bool pci_liveupdate_is_incoming(struct pci_dev *dev);
bool pci_liveupdate_is_retrieved(struct pci_dev *dev);
bool pci_liveupdate_is_busy(struct pci_dev *dev);
bool pci_liveupdate_intx_broken(struct pci_dev *dev);
bool pci_liveupdate_keeps_msi(struct pci_dev *dev);
void pci_liveupdate_opened(struct pci_dev *dev);
void pci_liveupdate_closed(struct pci_dev *dev);

/* Called by the PCI core only. */
bool pci_liveupdate_match(struct pci_dev *dev, const char *driver);
bool pci_liveupdate_takes(struct pci_dev *dev, const char *driver);
void pci_liveupdate_probe(struct pci_dev *dev, const char *driver);
void pci_liveupdate_scan(struct pci_dev *dev);
void pci_liveupdate_setup(struct pci_dev *dev);
void pci_liveupdate_adopt(struct pci_dev *dev);
void pci_liveupdate_add(struct pci_dev *dev);
int pci_liveupdate_enable(struct pci_dev *dev);
void pci_liveupdate_release(struct pci_dev *dev);
bool pci_liveupdate_keeps_buses(void);
bool pci_liveupdate_is_shielded(struct pci_dev *dev);
bool pci_liveupdate_differs(struct pci_dev *dev, int reg, u16 val);
bool pci_liveupdate_size_bars(struct pci_dev *dev, unsigned int count,
			      unsigned int pos, u32 *sizes);
bool pci_liveupdate_vf_buses(struct pci_dev *dev, u8 *buses);
bool pci_liveupdate_configure_ari(struct pci_dev *bridge);
bool pci_liveupdate_configure_acs(struct pci_dev *dev);
bool pci_liveupdate_configure_mps(struct pci_dev *dev);
bool pci_liveupdate_skip_fixup(struct pci_dev *dev, void (*hook)(struct pci_dev *));
void pci_liveupdate_claim(struct pci_bus *bus);
bool pci_liveupdate_refuse_bus(struct pci_dev *bridge, int busnr);
bool __pci_liveupdate_shielded(const struct pci_dev *dev, int where, int size,
			       u32 val);

/* Must a write to configuration space not reach the device? */
static inline bool pci_liveupdate_shielded(const struct pci_dev *dev, int where,
					   int size, u32 val)
{
	return unlikely(dev->liveupdate) &&
	       __pci_liveupdate_shielded(dev, where, size, val);
}

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

static inline bool pci_liveupdate_takes(struct pci_dev *dev, const char *driver)
{
	return false;
}

static inline void pci_liveupdate_probe(struct pci_dev *dev, const char *driver)
{
}

static inline bool pci_liveupdate_is_shielded(struct pci_dev *dev)
{
	return false;
}

static inline bool pci_liveupdate_differs(struct pci_dev *dev, int reg, u16 val)
{
	return false;
}

static inline bool pci_liveupdate_keeps_buses(void)
{
	return false;
}

static inline bool pci_liveupdate_size_bars(struct pci_dev *dev,
					    unsigned int count,
					    unsigned int pos, u32 *sizes)
{
	return false;
}

static inline bool pci_liveupdate_vf_buses(struct pci_dev *dev, u8 *buses)
{
	return false;
}

static inline bool pci_liveupdate_configure_ari(struct pci_dev *bridge)
{
	return false;
}

static inline bool pci_liveupdate_configure_acs(struct pci_dev *dev)
{
	return false;
}

static inline bool pci_liveupdate_configure_mps(struct pci_dev *dev)
{
	return false;
}

static inline bool pci_liveupdate_skip_fixup(struct pci_dev *dev,
					     void (*hook)(struct pci_dev *))
{
	return false;
}

static inline void pci_liveupdate_claim(struct pci_bus *bus)
{
}

static inline bool pci_liveupdate_refuse_bus(struct pci_dev *bridge, int busnr)
{
	return false;
}

static inline bool pci_liveupdate_shielded(const struct pci_dev *dev, int where,
					   int size, u32 val)
{
	return false;
}

static inline void pci_liveupdate_adopt(struct pci_dev *dev)
{
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
