/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VFIO_PCI_LIVEUPDATE_H
#define VFIO_PCI_LIVEUPDATE_H

#include <linux/mm.h>
#include <linux/vfio_pci_core.h>

struct vfio_pci_ioeventfd;

#ifdef CONFIG_VFIO_PCI_LIVEUPDATE

static inline bool vfio_pci_liveupdate_frozen(struct vfio_pci_core_device *vdev)
{
	return READ_ONCE(vdev->liveupdate.frozen);
}

static inline bool vfio_pci_liveupdate_preserved(struct vfio_pci_core_device *vdev)
{
	return READ_ONCE(vdev->liveupdate.preserved);
}

const char *vfio_pci_liveupdate_check_ser(const struct vfio_pci_ser *ser);
void vfio_pci_liveupdate_register(struct vfio_pci_core_device *vdev);
void vfio_pci_liveupdate_registered(struct vfio_pci_core_device *vdev);
void vfio_pci_liveupdate_unregister(struct vfio_pci_core_device *vdev);
bool vfio_pci_liveupdate_is_incoming(struct vfio_pci_core_device *vdev);
bool vfio_pci_liveupdate_no_bus_reset(struct vfio_device_set *dev_set, bool asked);
int vfio_pci_liveupdate_enable(struct vfio_pci_core_device *vdev);
int vfio_pci_liveupdate_restore(struct vfio_pci_core_device *vdev);
void vfio_pci_liveupdate_opened(struct vfio_pci_core_device *vdev);
vm_fault_t vfio_pci_liveupdate_fault(struct vfio_pci_core_device *vdev,
				     struct vm_fault *vmf);
bool vfio_pci_liveupdate_defer_unmask(struct vfio_pci_core_device *vdev);
bool vfio_pci_liveupdate_defer_write(struct vfio_pci_ioeventfd *ioeventfd);
void vfio_pci_liveupdate_set_irqs(struct vfio_pci_core_device *vdev,
				  unsigned int index, u32 flags,
				  unsigned int count);
void vfio_pci_liveupdate_armed(struct vfio_pci_core_device *vdev);
bool vfio_pci_liveupdate_intx_due(struct vfio_pci_core_device *vdev);
bool vfio_pci_liveupdate_intx_frozen(struct vfio_pci_core_device *vdev);
bool vfio_pci_liveupdate_config(struct vfio_pci_core_device *vdev, u8 cap_id,
				int pos, int count, __le32 *val, bool write);

#else /* CONFIG_VFIO_PCI_LIVEUPDATE */

static inline bool vfio_pci_liveupdate_frozen(struct vfio_pci_core_device *vdev)
{
	return false;
}

static inline bool vfio_pci_liveupdate_preserved(struct vfio_pci_core_device *vdev)
{
	return false;
}

static inline void vfio_pci_liveupdate_opened(struct vfio_pci_core_device *vdev)
{
}

static inline void vfio_pci_liveupdate_register(struct vfio_pci_core_device *vdev)
{
}

static inline void vfio_pci_liveupdate_registered(struct vfio_pci_core_device *vdev)
{
}

static inline void vfio_pci_liveupdate_unregister(struct vfio_pci_core_device *vdev)
{
}

static inline bool vfio_pci_liveupdate_is_incoming(struct vfio_pci_core_device *vdev)
{
	return false;
}

static inline bool
vfio_pci_liveupdate_no_bus_reset(struct vfio_device_set *dev_set, bool asked)
{
	return false;
}

static inline int vfio_pci_liveupdate_enable(struct vfio_pci_core_device *vdev)
{
	return 0;
}

static inline int vfio_pci_liveupdate_restore(struct vfio_pci_core_device *vdev)
{
	return 0;
}

static inline vm_fault_t
vfio_pci_liveupdate_fault(struct vfio_pci_core_device *vdev, struct vm_fault *vmf)
{
	return 0;
}

static inline bool vfio_pci_liveupdate_defer_unmask(struct vfio_pci_core_device *vdev)
{
	return false;
}

static inline bool vfio_pci_liveupdate_defer_write(struct vfio_pci_ioeventfd *ioeventfd)
{
	return false;
}

static inline void
vfio_pci_liveupdate_set_irqs(struct vfio_pci_core_device *vdev, unsigned int index,
			     u32 flags, unsigned int count)
{
}

static inline void vfio_pci_liveupdate_armed(struct vfio_pci_core_device *vdev)
{
}

static inline bool vfio_pci_liveupdate_intx_due(struct vfio_pci_core_device *vdev)
{
	return false;
}

static inline bool vfio_pci_liveupdate_intx_frozen(struct vfio_pci_core_device *vdev)
{
	return false;
}

static inline bool
vfio_pci_liveupdate_config(struct vfio_pci_core_device *vdev, u8 cap_id, int pos,
			   int count, __le32 *val, bool write)
{
	return false;
}

#endif /* CONFIG_VFIO_PCI_LIVEUPDATE */
#endif /* VFIO_PCI_LIVEUPDATE_H */
