/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LINUX_KHO_ABI_VFIO_PCI_H
#define _LINUX_KHO_ABI_VFIO_PCI_H

#include <linux/bits.h>
#include <linux/build_bug.h>
#include <linux/kho/abi/pci.h>
#include <linux/types.h>

/**
 * DOC: VFIO PCI Live Update ABI
 *
 * A preserved vfio cdev file carries the physical address of a &struct
 * vfio_pci_ser in its LUO record. It holds what the user of the device sees and
 * what the new kernel cannot find out by itself. Who the device is stands in the
 * PCI core's record (see include/linux/kho/abi/pci.h), which is only referred to
 * here by segment and BDF.
 *
 * The interface is a contract between two kernels. Changing the meaning, the
 * place or the width of an existing field needs a new compatible string. New
 * fields take their room from the reserved bytes and are announced by a bit in
 * @flags; a reader refuses a file with a flag it does not know, because what it
 * stands for is part of the device's state.
 */

/* The LUO file handler's name; vfio-pci carries it as a module alias. */
#define VFIO_PCI_LUO_FH_COMPATIBLE	"vfio-pci-v1"

/* vfio_pci_ser.flags */
#define VFIO_PCI_SER_F_FROZEN		BIT(0)	/* all fields are valid */
#define VFIO_PCI_SER_F_RESET_WORKS	BIT(1)	/* the function can be reset */
#define VFIO_PCI_SER_F_NOINTX		BIT(2)	/* INTx is hidden from the user */
#define VFIO_PCI_SER_F_VIRQ_DISABLED	BIT(3)	/* the user has set DisINTx */
#define VFIO_PCI_SER_F_STATE		BIT(4)	/* @state is valid */
#define VFIO_PCI_SER_F_VF_TOKEN		BIT(5)	/* @vf_token is valid */
#define VFIO_PCI_SER_FLAGS		GENMASK(5, 0)

/* vfio_pci_ser.irq_type is a VFIO_PCI_*_IRQ_INDEX of the uAPI, or this. */
#define VFIO_PCI_SER_IRQ_NONE		0xff

#define VFIO_PCI_SER_VECTORS		2048	/* the most MSI-X can have */
#define VFIO_PCI_SER_CAPS		96
#define VFIO_PCI_SER_CFG_SIZE		4096

/**
 * struct vfio_pci_cap_ser - Where in @vconfig a capability lies.
 * @id:       Capability ID as vfio's map has it.
 * @offset:   Offset in config space, in bytes.
 * @len:      Length in bytes, at least 1.
 * @reserved: Zero.
 */
struct vfio_pci_cap_ser {
	__u16 id;
	__u16 offset;
	__u16 len;
	__u16 reserved;
};

static_assert(sizeof(struct vfio_pci_cap_ser) == 8);

/**
 * struct vfio_pci_ser - A preserved vfio cdev of a PCI function.
 * @domain:     PCI segment.
 * @bdf:        Bus number << 8 | devfn.
 * @irq_type:   Interrupt type in use, or %VFIO_PCI_SER_IRQ_NONE.
 * @msi_qmax:   Log2 of the number of MSI vectors the user may enable.
 * @flags:      VFIO_PCI_SER_F_*.
 * @cfg_size:   Valid bytes in @vconfig: 256 or 4096.
 * @nr_caps:    Valid entries in @caps.
 * @reserved0:  Zero.
 * @msi_flags:  Message Control of MSI before freeze, 0 without MSI.
 * @msix_flags: Message Control of MSI-X before freeze, 0 without MSI-X.
 * @msi_mask:   Mask register of MSI before freeze, 0 without one.
 * @nr_vectors: Number of bits set in @vectors.
 * @vf_token:   The VF token of an SR-IOV capable function.
 * @reserved:   Zero.
 * @vectors:    A bit for each vector the user has an eventfd on. For
 *              information: eventfds do not survive, the user sets them again.
 * @caps:       The layout that @vconfig has, in ascending order.
 * @state:      What the last close restores: the state after the reset at first
 *              open, not that of the running device.
 * @vconfig:    The config space that vfio emulates for the user.
 *
 * Allocated at preserve, filled at freeze. The new kernel reads it in place and
 * frees it at finish.
 */
struct vfio_pci_ser {
	__u32 domain;
	__u16 bdf;
	__u8 irq_type;
	__u8 msi_qmax;
	__u32 flags;
	__u16 cfg_size;
	__u16 nr_caps;
	__u16 reserved0;
	__u16 msi_flags;
	__u16 msix_flags;
	__u16 nr_vectors;
	__u32 msi_mask;
	__u8 vf_token[16];
	__u32 reserved[21];
	__u64 vectors[VFIO_PCI_SER_VECTORS / 64];
	struct vfio_pci_cap_ser caps[VFIO_PCI_SER_CAPS];
	struct pci_state_ser state;
	__u8 vconfig[VFIO_PCI_SER_CFG_SIZE];
};

static_assert(offsetof(struct vfio_pci_ser, vectors) == 128);
static_assert(sizeof(struct vfio_pci_ser) == 5800);

#endif /* _LINUX_KHO_ABI_VFIO_PCI_H */
