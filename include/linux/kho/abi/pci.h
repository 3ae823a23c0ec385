/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LINUX_KHO_ABI_PCI_H
#define _LINUX_KHO_ABI_PCI_H

#include <linux/bits.h>
#include <linux/build_bug.h>
#include <linux/stddef.h>
#include <linux/types.h>

/**
 * DOC: PCI Live Update ABI
 *
 * The PCI core hands the next kernel one record for every preserved function
 * and one for every bridge above it, up to and including the root port. The
 * records travel in a LUO FLB object named %PCI_LUO_FLB_COMPATIBLE. The FLB's
 * data is the physical address of a &struct pci_ser, which refers to a KHO
 * block set with &struct pci_dev_ser entries.
 *
 * The interface is a contract between two kernels. Changing the meaning, the
 * place or the width of an existing field needs a new compatible string. New
 * fields take their room from the reserved bytes and are announced by a bit in
 * &struct pci_dev_ser.groups: a reader ignores groups it does not know and does
 * without groups it does not find. Reserved room that no group claims is zero.
 *
 * All fields are little-endian on the supported (64-bit little-endian)
 * machines, that is, in the order of the CPU that wrote them.
 */

/* The FLB's name. Its digit is the version of everything in this file. */
#define PCI_LUO_FLB_PREFIX	"pci-v"
#define PCI_LUO_FLB_COMPATIBLE	PCI_LUO_FLB_PREFIX "1"

/**
 * struct pci_ser - Root of the PCI records.
 * @devices_pa:  Physical address of the first block of &struct pci_dev_ser, as
 *               kho_block_set_head_pa() returns it. Never 0.
 * @nr_devices:  Number of records in the block set, at least 1.
 * @entry_size:  sizeof(struct pci_dev_ser) in the kernel that wrote it, in
 *               bytes.
 * @reserved:    Zero.
 *
 * Allocated with the first preserved function, freed by the next kernel when
 * the last file that depends on the FLB is finished.
 */
struct pci_ser {
	__u64 devices_pa;
	__u32 nr_devices;
	__u32 entry_size;
	__u64 reserved[6];
};

static_assert(sizeof(struct pci_ser) == 64);

#define PCI_SER_DRIVER_LEN	32

/* pci_dev_ser.kind */
#define PCI_SER_FUNCTION	1	/* preserved for its own sake */
#define PCI_SER_BRIDGE		2	/* preserved for a function below it */

/* pci_dev_ser.groups */
#define PCI_SER_GROUP_IDENTITY	BIT(0)	/* up to and including @driver */
#define PCI_SER_GROUP_BARS	BIT(1)	/* @bar ... @vf_buses */
#define PCI_SER_GROUP_BRIDGE	BIT(2)	/* @buses ... @windows, of a bridge */
#define PCI_SER_GROUP_LINK	BIT(3)	/* @devctl ... @acs_ctrl */
#define PCI_SER_GROUPS		GENMASK(3, 0)

/* pci_dev_ser.flags */
#define PCI_SER_F_SERIAL	BIT(0)	/* @serial is valid */
#define PCI_SER_F_FROZEN	BIT(1)	/* the old kernel got as far as freeze */
#define PCI_SER_F_INTX_BROKEN	BIT(2)	/* DisINTx is not writable */
#define PCI_SER_F_ACS_QUIRK	BIT(3)	/* ACS is on by means of its own */
#define PCI_SER_FLAGS		GENMASK(3, 0)

/* pci_dev_ser.windows: what the windows of a bridge can do */
#define PCI_SER_WINDOW_IO	BIT(0)	/* it has an I/O window */
#define PCI_SER_WINDOW_PREF	BIT(1)	/* it has a prefetchable window */
#define PCI_SER_WINDOW_PREF64	BIT(2)	/* which takes 64-bit addresses */
#define PCI_SER_WINDOWS		GENMASK(2, 0)

#define PCI_SER_BARS		7	/* six and the expansion ROM */
#define PCI_SER_VF_BARS		6

/* Bits of LNKCTL that this kernel and the next may see differently. */
#define PCI_SER_LNKCTL_IGNORE	0x0c20	/* retrain, bandwidth interrupts */

/**
 * struct pci_dev_ser - One preserved function or bridge.
 * @domain:           PCI segment.
 * @bdf:              Bus number << 8 | devfn.
 * @kind:             %PCI_SER_FUNCTION or %PCI_SER_BRIDGE.
 * @hdr_type:         Header type, without the multi-function bit.
 * @groups:           Which groups of fields are filled, %PCI_SER_GROUP_IDENTITY
 *                    and later ones.
 * @flags:            PCI_SER_F_*.
 * @vendor:           Vendor ID.
 * @device:           Device ID.
 * @subsystem_vendor: Subsystem vendor ID, 0 where there is none.
 * @subsystem_device: Subsystem ID, 0 where there is none.
 * @class:            Base class, subclass and interface, 24 bits.
 * @revision:         Revision ID.
 * @reserved0:        Zero.
 * @command:          COMMAND as the user left it, before freeze masked INTx.
 * @serial:           Device Serial Number, with %PCI_SER_F_SERIAL.
 * @refcount:         How many preserved functions need this record; 1 for a
 *                    function, the number of functions below for a bridge.
 * @reserved1:        Zero.
 * @driver:           Name of the driver that held the device, NUL terminated.
 *                    The only driver that may take it over.
 * @bar_size:         Size of each BAR in bytes, a power of two, or 0 for none
 *                    and for the upper half of another; the last one is the
 *                    expansion ROM.
 * @vf_bar_size:      The same for one virtual function's BARs.
 * @bar:              Raw values of the BARs, the expansion ROM last.
 * @vf_bar:           Raw values of the BARs in the SR-IOV capability.
 * @vf_buses:         How many buses the virtual functions can take, 0 without
 *                    SR-IOV.
 * @windows:          PCI_SER_WINDOW_*, of a bridge.
 * @io:               I/O base and limit, 16 bits.
 * @buses:            Primary, secondary and subordinate bus number, in the
 *                    place they have in the register; the top byte is 0.
 * @mem:              Memory base and limit.
 * @pref:             Prefetchable base and limit.
 * @pref_base_hi:     Upper half of the prefetchable base.
 * @pref_limit_hi:    Upper half of the prefetchable limit.
 * @io_hi:            Upper halves of I/O base and limit.
 * @devctl:           Device Control.
 * @devctl2:          Device Control 2.
 * @lnkctl:           Link Control, without %PCI_SER_LNKCTL_IGNORE.
 * @acs_ctrl:         ACS Control, 0 without ACS.
 * @reserved:         Zero. New groups take their room from here.
 *
 * A field that a device does not have is 0 and reads so in the next kernel.
 *
 * Written at preserve, brought up to date at freeze. Read-only for the next
 * kernel, which frees it together with the block it is in.
 */
struct pci_dev_ser {
	__u32 domain;
	__u16 bdf;
	__u8 kind;
	__u8 hdr_type;
	__u32 groups;
	__u32 flags;
	__u16 vendor;
	__u16 device;
	__u16 subsystem_vendor;
	__u16 subsystem_device;
	__u32 class;
	__u8 revision;
	__u8 reserved0;
	__u16 command;
	__u64 serial;
	__u32 refcount;
	__u32 reserved1;
	char driver[PCI_SER_DRIVER_LEN];
	__u64 bar_size[PCI_SER_BARS];
	__u64 vf_bar_size[PCI_SER_VF_BARS];
	__u32 bar[PCI_SER_BARS];
	__u32 vf_bar[PCI_SER_VF_BARS];
	__u8 vf_buses;
	__u8 windows;
	__u16 io;
	__u32 buses;
	__u32 mem;
	__u32 pref;
	__u32 pref_base_hi;
	__u32 pref_limit_hi;
	__u32 io_hi;
	__u16 devctl;
	__u16 devctl2;
	__u16 lnkctl;
	__u16 acs_ctrl;
	__u8 reserved[544];
};

static_assert(sizeof(struct pci_dev_ser) == 816);
static_assert(offsetof(struct pci_dev_ser, driver) == 48);
static_assert(offsetof(struct pci_dev_ser, bar) == 184);
static_assert(offsetof(struct pci_dev_ser, reserved) == 272);

/* Registers that pci_save_state() knows, and some room. */
#define PCI_STATE_SER_REGS	40

/**
 * struct pci_state_reg_ser - One saved register of a capability.
 * @cap:      Capability ID.
 * @extended: 1 for an extended capability, else 0.
 * @width:    Width of the register in bytes: 2 or 4.
 * @offset:   Offset from the start of the capability.
 * @reserved: Zero.
 * @value:    What restoring the state writes there.
 */
struct pci_state_reg_ser {
	__u16 cap;
	__u8 extended;
	__u8 width;
	__u16 offset;
	__u16 reserved;
	__u32 value;
};

static_assert(sizeof(struct pci_state_reg_ser) == 12);

/**
 * struct pci_state_ser - A &struct pci_saved_state that another kernel can read.
 * @header:   The first 64 bytes of config space, as 16 dwords.
 * @nr_regs:  Number of valid entries in @regs.
 * @reserved: Zero.
 * @regs:     The registers, by capability and offset, so that nothing depends
 *            on the order in which a kernel happens to save them.
 *
 * Virtual Channel and TPH contents are not part of it: the reader keeps what it
 * finds in the hardware.
 */
struct pci_state_ser {
	__u32 header[16];
	__u32 nr_regs;
	__u32 reserved;
	struct pci_state_reg_ser regs[PCI_STATE_SER_REGS];
};

static_assert(sizeof(struct pci_state_ser) == 552);

#endif /* _LINUX_KHO_ABI_PCI_H */
