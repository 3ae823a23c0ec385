/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LINUX_VFIO_PCI_LIVEUPDATE_H
#define _LINUX_VFIO_PCI_LIVEUPDATE_H

#include <linux/list.h>
#include <linux/mm_types.h>
#include <linux/types.h>

struct module;
struct vfio_device_ops;
struct vfio_pci_core_device;
struct vfio_pci_ser;

/**
 * struct vfio_pci_liveupdate - Live update state of a vfio_pci_core_device.
 * @node:             Entry in the list of incoming devices.
 * @in:               Record from the previous kernel, from retrieve to finish.
 * @preserved:        Low power is refused: the device has to stay in D0. Written
 *                    with memory_lock held.
 * @frozen:           The device belongs to the next kernel. Written with
 *                    memory_lock and irqlock held, either is enough to read it.
 * @held:             The hardware still has MSI or MSI-X enabled and masked, as
 *                    the previous kernel froze it.
 * @intx_deferred:    An eventfd asked to unmask INTx while frozen.
 * @intx_due:         INTx has not been set up since the live update.
 * @intx_frozen:      Freeze has masked INTx. Protected by irqlock.
 * @irq_disabled:     Freeze has disabled the INTx line, unfreeze enables it.
 * @msi_flags:        What freeze found, for unfreeze.
 * @msix_flags:       Likewise.
 * @msi_mask:         Likewise.
 * @intx_disabled:    Likewise: DisINTx was set.
 *
 * @held and @intx_due are protected by igate; the rest belongs to whoever
 * freezes.
 */
struct vfio_pci_liveupdate {
	struct list_head node;
	struct vfio_pci_ser *in;
	bool preserved;
	bool frozen;
	bool held;
	bool intx_deferred;
	bool intx_due;
	bool intx_frozen;
	bool irq_disabled;
	bool intx_disabled;
	u16 msi_flags;
	u16 msix_flags;
	u32 msi_mask;
};

#ifdef CONFIG_VFIO_PCI_LIVEUPDATE
void vfio_pci_liveupdate_init(const struct vfio_device_ops *ops,
			      struct module *owner);
void vfio_pci_liveupdate_exit(void);
#else
static inline void vfio_pci_liveupdate_init(const struct vfio_device_ops *ops,
					    struct module *owner)
{
}

static inline void vfio_pci_liveupdate_exit(void)
{
}
#endif

#endif /* _LINUX_VFIO_PCI_LIVEUPDATE_H */
