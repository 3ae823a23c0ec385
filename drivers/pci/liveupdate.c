// SPDX-License-Identifier: GPL-2.0-only
/*
 * PCI core support for live update
 */

/**
 * DOC: PCI Live Update
 *
 * A PCI function that a user drives through a preserved file goes through a
 * kexec with its bus mastering on, in D0, without a reset, and so does every
 * bridge above it. The PCI core keeps the record of which functions and bridges
 * these are and who they are; what the user of the function sees is the business
 * of the file's handler (for vfio cdevs, drivers/vfio/pci/vfio_pci_liveupdate.c).
 *
 * In the old kernel a handler calls pci_liveupdate_preserve() for the function,
 * pci_liveupdate_freeze() when the kexec is certain and the matching
 * pci_liveupdate_unfreeze() and pci_liveupdate_unpreserve() when it is called
 * off. From preserve on the function and the bridges above it stay in D0 and
 * sysfs refuses what would disturb them. A frozen device keeps Bus Master when
 * pci_device_shutdown() clears it everywhere else.
 *
 * In the new kernel a device is looked up in the record before the first write
 * to its configuration space, and then compared with the record, field by field.
 * If it is the recorded one it is *incoming*: what the old kernel has set is
 * adopted, nothing is written to it (see liveupdate_adopt.c), and it stays in D0.
 * If it is not, or if a bridge above it is not, it is *lost*: stopped, without a
 * driver, and not handed out for its token. An incoming function is bound to the
 * driver that has held it, and to no other. pci_liveupdate_finish() makes it an
 * ordinary one; pci_liveupdate_stop() comes first for one that nobody came for:
 * it is stopped and reset. Bridges stay incoming, and their port services down,
 * until nothing below them is.
 *
 * What is refused, because the promise could not be kept: virtual functions and
 * functions with virtual functions enabled; VGA, Intel display and USB
 * controllers; anything not in D0; anything below a host controller or a bridge
 * that its driver takes down at shutdown; anything that is being removed.
 *
 * Preserving keeps bus mastering on and nothing else. That the IOMMU goes on
 * translating is the business of drivers/iommu/liveupdate.c, which a file handler
 * has to call as well: there must be no bus mastering without it.
 *
 * Lock order::
 *
 *   LUO session mutex
 *     LUO file mutex
 *       vfio_device_set.lock
 *         pci_liveupdate_lock
 *           runtime PM locks, pci_lock
 *
 *   pci_rescan_remove_lock
 *     LUO FLB incoming lock
 *       pci_liveupdate_lock
 *
 *   device lock
 *     pci_liveupdate_lock
 *
 *   pci_liveupdate_lock
 *     iommu_group.mutex
 *
 * The FLB's callbacks run with the FLB's lock held, hence nothing here calls
 * into LUO with pci_liveupdate_lock held, and nothing that LUO calls takes the
 * device lock (a reset only tries it) or pci_rescan_remove_lock.
 */

#define pr_fmt(fmt) "PCI: liveupdate: " fmt

#include <linux/bitfield.h>
#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/io.h>
#include <linux/iommu_liveupdate.h>
#include <linux/kexec.h>
#include <linux/kexec_handover.h>
#include <linux/kho_block.h>
#include <linux/list.h>
#include <linux/liveupdate.h>
#include <linux/log2.h>
#include <linux/mutex.h>
#include <linux/panic.h>
#include <linux/pci.h>
#include <linux/pci_liveupdate.h>
#include <linux/platform_device.h>
#include <linux/pm_runtime.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/sysfs.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "liveupdate.h"
#include "pci.h"

/* Last: pci.h includes trace events of others. */
#define CREATE_TRACE_POINTS
#include <trace/events/pci_liveupdate.h>

/* Protects everything below and all of struct pci_dev_liveupdate. */
static DEFINE_MUTEX(pci_liveupdate_lock);

static struct {
	struct pci_ser *ser;
	struct kho_block_set set;
	struct list_head devices;
	unsigned int nr_devices;
} pci_liveupdate_outgoing = {
	.devices = LIST_HEAD_INIT(pci_liveupdate_outgoing.devices),
};

static struct {
	struct pci_ser *ser;
	struct kho_block_set set;
	struct xarray records;
	bool seen;
} pci_liveupdate_incoming;

static unsigned long pci_liveupdate_key(u32 domain, u16 bdf)
{
	return (unsigned long)domain << 16 | bdf;
}

static u16 pci_liveupdate_bdf(struct pci_dev *dev)
{
	return PCI_DEVID(dev->bus->number, dev->devfn);
}

/* ---- The record, as input ------------------------------------------------ */

/**
 * pci_liveupdate_check_ser - Check the root of the incoming records.
 * @ser: What the previous kernel wrote.
 *
 * Return: NULL if it can be used, else what is wrong with it.
 */
const char *pci_liveupdate_check_ser(const struct pci_ser *ser)
{
	if (!ser->devices_pa || !IS_ALIGNED(ser->devices_pa, PAGE_SIZE))
		return "address of the records";
	if (!ser->nr_devices)
		return "number of records";
	if (ser->entry_size != sizeof(struct pci_dev_ser))
		return "size of a record";
	if (memchr_inv(ser->reserved, 0, sizeof(ser->reserved)))
		return "reserved field";
	return NULL;
}

static u32 pci_liveupdate_groups(u8 kind)
{
	return PCI_SER_GROUP_IDENTITY | PCI_SER_GROUP_BARS | PCI_SER_GROUP_LINK |
	       (kind == PCI_SER_BRIDGE ? PCI_SER_GROUP_BRIDGE : 0);
}

/* A BAR cannot hold an address that is no multiple of its size. */
static bool pci_liveupdate_check_bars(const u64 *size, const u32 *bar,
				      unsigned int nr, u64 min)
{
	for (unsigned int i = 0; i < nr; i++) {
		u64 s = size[i], addr;

		if (!s)
			continue;
		if (!is_power_of_2(s) || s < min)
			return false;
		if (bar[i] & PCI_BASE_ADDRESS_SPACE_IO) {
			addr = bar[i] & (u32)PCI_BASE_ADDRESS_IO_MASK;
		} else {
			addr = bar[i] & (u32)PCI_BASE_ADDRESS_MEM_MASK;
			if (bar[i] & PCI_BASE_ADDRESS_MEM_TYPE_64) {
				/* The upper half has no size of its own. */
				if (++i == nr || size[i])
					return false;
				addr |= (u64)bar[i] << 32;
			} else if (s > SZ_2G) {
				return false;
			}
		}
		if (addr & (s - 1))
			return false;
	}
	return true;
}

static bool pci_liveupdate_check_rom(u64 size, u32 bar)
{
	return !size || (is_power_of_2(size) && size <= SZ_2G &&
			 !(bar & (u32)PCI_ROM_ADDRESS_MASK & (size - 1)));
}

static const char *pci_liveupdate_check_bridge(const struct pci_dev_ser *rec)
{
	unsigned int primary = FIELD_GET(PCI_PRIMARY_BUS_MASK, rec->buses);
	unsigned int secondary = FIELD_GET(PCI_SECONDARY_BUS_MASK, rec->buses);
	unsigned int subordinate = FIELD_GET(PCI_SUBORDINATE_BUS_MASK, rec->buses);

	if (rec->kind != PCI_SER_BRIDGE)
		return rec->windows || rec->io || rec->buses || rec->mem ||
		       rec->pref || rec->pref_base_hi || rec->pref_limit_hi ||
		       rec->io_hi ? "window of a function" : NULL;

	if (rec->buses & PCI_SEC_LATENCY_TIMER_MASK ||
	    primary != PCI_BUS_NUM(rec->bdf) || secondary <= primary ||
	    subordinate < secondary)
		return "bus numbers";
	if (rec->windows & ~PCI_SER_WINDOWS ||
	    (rec->windows & PCI_SER_WINDOW_PREF64 &&
	     !(rec->windows & PCI_SER_WINDOW_PREF)))
		return "windows";
	return NULL;
}

/**
 * pci_liveupdate_check_dev_ser - Check one incoming record.
 * @rec: What the previous kernel wrote.
 *
 * Only looks at the record itself, not at the device.
 *
 * Return: NULL if it can be used, else the name of the field that is wrong.
 */
const char *pci_liveupdate_check_dev_ser(const struct pci_dev_ser *rec)
{
	const char *bad;

	if (rec->kind != PCI_SER_FUNCTION && rec->kind != PCI_SER_BRIDGE)
		return "kind";
	if (rec->hdr_type != (rec->kind == PCI_SER_BRIDGE ?
			      PCI_HEADER_TYPE_BRIDGE : PCI_HEADER_TYPE_NORMAL))
		return "header type";
	if ((rec->groups & pci_liveupdate_groups(rec->kind)) !=
	    pci_liveupdate_groups(rec->kind))
		return "groups";
	if (rec->flags & ~PCI_SER_FLAGS)
		return "flags";
	if (!(rec->flags & PCI_SER_F_FROZEN))
		return "frozen flag";
	if (!rec->vendor || rec->vendor == 0xffff)
		return "vendor";
	if (rec->class >> 24)
		return "class";
	if (rec->serial && !(rec->flags & PCI_SER_F_SERIAL))
		return "serial number";
	if (!rec->refcount ||
	    (rec->kind == PCI_SER_FUNCTION && rec->refcount != 1))
		return "reference count";
	if (strnlen(rec->driver, sizeof(rec->driver)) == sizeof(rec->driver))
		return "driver";
	if (rec->kind == PCI_SER_FUNCTION && !rec->driver[0])
		return "driver";
	/* An I/O BAR has four bytes at least, a page is the least of a VF's. */
	if (!pci_liveupdate_check_bars(rec->bar_size, rec->bar,
				       PCI_STD_NUM_BARS, 4) ||
	    !pci_liveupdate_check_rom(rec->bar_size[PCI_SER_BARS - 1],
				      rec->bar[PCI_SER_BARS - 1]))
		return "BAR size";
	if (!pci_liveupdate_check_bars(rec->vf_bar_size, rec->vf_bar,
				       PCI_SER_VF_BARS, SZ_4K))
		return "VF BAR size";
	if (rec->lnkctl & PCI_SER_LNKCTL_IGNORE)
		return "link control";
	bad = pci_liveupdate_check_bridge(rec);
	if (bad)
		return bad;
	if (rec->reserved0 || rec->reserved1)
		return "reserved field";
	/* Room that a group of a later kernel may have claimed is not ours. */
	if (!(rec->groups & ~PCI_SER_GROUPS) &&
	    memchr_inv(rec->reserved, 0, sizeof(rec->reserved)))
		return "reserved field";
	return NULL;
}

/**
 * pci_liveupdate_compare - Compare a device with its record.
 * @rec: The record.
 * @now: What the device reads as, in the same form.
 * @old: Returns the recorded value of the field that differs.
 * @new: Returns its present value.
 *
 * Return: NULL if it is the same device, else the name of the field.
 */
const char *pci_liveupdate_compare(const struct pci_dev_ser *rec,
				   const struct pci_dev_ser *now,
				   u64 *old, u64 *new)
{
	const u16 decode = PCI_COMMAND_IO | PCI_COMMAND_MEMORY;
	const struct {
		const char *name;
		u64 old;
		u64 new;
	} fields[] = {
		{ "vendor", rec->vendor, now->vendor },
		{ "device", rec->device, now->device },
		{ "header type", rec->hdr_type, now->hdr_type },
		{ "class", rec->class, now->class },
		{ "revision", rec->revision, now->revision },
		{ "subsystem vendor", rec->subsystem_vendor, now->subsystem_vendor },
		{ "subsystem device", rec->subsystem_device, now->subsystem_device },
		{ "serial number", rec->serial, now->serial },
		/* Reset or power cycled on the way: same device, other state. */
		{ "bus master", !!(rec->command & PCI_COMMAND_MASTER),
		  !!(now->command & PCI_COMMAND_MASTER) },
		{ "decoding", rec->command & decode, now->command & decode },
		{ "BAR 0", rec->bar[0], now->bar[0] },
		{ "BAR 1", rec->bar[1], now->bar[1] },
		{ "BAR 2", rec->bar[2], now->bar[2] },
		{ "BAR 3", rec->bar[3], now->bar[3] },
		{ "BAR 4", rec->bar[4], now->bar[4] },
		{ "BAR 5", rec->bar[5], now->bar[5] },
		{ "expansion ROM", rec->bar[6], now->bar[6] },
		{ "VF BAR 0", rec->vf_bar[0], now->vf_bar[0] },
		{ "VF BAR 1", rec->vf_bar[1], now->vf_bar[1] },
		{ "VF BAR 2", rec->vf_bar[2], now->vf_bar[2] },
		{ "VF BAR 3", rec->vf_bar[3], now->vf_bar[3] },
		{ "VF BAR 4", rec->vf_bar[4], now->vf_bar[4] },
		{ "VF BAR 5", rec->vf_bar[5], now->vf_bar[5] },
		{ "bus numbers", rec->buses, now->buses },
		{ "I/O window", rec->io, now->io },
		{ "I/O window, upper half", rec->io_hi, now->io_hi },
		{ "memory window", rec->mem, now->mem },
		{ "prefetchable window", rec->pref, now->pref },
		{ "prefetchable base, upper half", rec->pref_base_hi, now->pref_base_hi },
		{ "prefetchable limit, upper half", rec->pref_limit_hi, now->pref_limit_hi },
		{ "device control", rec->devctl, now->devctl },
		{ "device control 2", rec->devctl2, now->devctl2 },
		{ "link control", rec->lnkctl, now->lnkctl },
		{ "ACS control", rec->acs_ctrl, now->acs_ctrl },
	};

	for (int i = 0; i < ARRAY_SIZE(fields); i++) {
		if (fields[i].old == fields[i].new)
			continue;
		*old = fields[i].old;
		*new = fields[i].new;
		return fields[i].name;
	}

	return NULL;
}

/* Where bridges have them in a capability, other devices have them in the header. */
static void pci_liveupdate_subsystem(struct pci_dev *dev, struct pci_dev_ser *rec)
{
	int pos = PCI_SUBSYSTEM_VENDOR_ID;

	if (dev->hdr_type == PCI_HEADER_TYPE_BRIDGE) {
		pos = pci_find_capability(dev, PCI_CAP_ID_SSVID);
		if (!pos)
			return;
		pos += PCI_SSVID_VENDOR_ID;
	}
	pci_read_config_word(dev, pos, &rec->subsystem_vendor);
	pci_read_config_word(dev, pos + 2, &rec->subsystem_device);
}

/*
 * From the registers and not from @dev: fixups may change what @dev has, and the
 * comparison comes before any of them.
 */
static void pci_liveupdate_identify(struct pci_dev *dev, struct pci_dev_ser *rec)
{
	u32 class, id;

	pci_read_config_dword(dev, PCI_VENDOR_ID, &id);
	pci_read_config_dword(dev, PCI_CLASS_REVISION, &class);
	pci_read_config_word(dev, PCI_COMMAND, &rec->command);
	rec->domain = pci_domain_nr(dev->bus);
	rec->bdf = pci_liveupdate_bdf(dev);
	rec->kind = dev->hdr_type == PCI_HEADER_TYPE_BRIDGE ? PCI_SER_BRIDGE :
							      PCI_SER_FUNCTION;
	rec->hdr_type = dev->hdr_type;
	rec->groups = PCI_SER_GROUP_IDENTITY;
	rec->vendor = id & 0xffff;
	rec->device = id >> 16;
	pci_liveupdate_subsystem(dev, rec);
	rec->class = class >> 8;
	rec->revision = class & 0xff;
	rec->serial = pci_get_dsn(dev);
	if (rec->serial)
		rec->flags |= PCI_SER_F_SERIAL;
	if (dev->broken_intx_masking)
		rec->flags |= PCI_SER_F_INTX_BROKEN;
	if (dev->dev_flags & PCI_DEV_FLAGS_ACS_ENABLED_QUIRK)
		rec->flags |= PCI_SER_F_ACS_QUIRK;
	pci_liveupdate_read_regs(dev, rec);
}

/* ---- FLB ------------------------------------------------------------------ */

static int pci_liveupdate_flb_preserve(struct liveupdate_flb_op_args *args)
{
	struct pci_ser *ser;

	ser = kho_alloc_preserve(sizeof(*ser));
	if (IS_ERR(ser))
		return PTR_ERR(ser);

	guard(mutex)(&pci_liveupdate_lock);
	ser->entry_size = sizeof(struct pci_dev_ser);
	kho_block_set_init(&pci_liveupdate_outgoing.set,
			   sizeof(struct pci_dev_ser));
	pci_liveupdate_outgoing.ser = ser;

	args->data = virt_to_phys(ser);
	args->obj = &pci_liveupdate_outgoing;
	return 0;
}

static void pci_liveupdate_flb_unpreserve(struct liveupdate_flb_op_args *args)
{
	guard(mutex)(&pci_liveupdate_lock);
	WARN_ON_ONCE(pci_liveupdate_outgoing.nr_devices);
	kho_block_set_destroy(&pci_liveupdate_outgoing.set);
	kho_unpreserve_free(pci_liveupdate_outgoing.ser);
	pci_liveupdate_outgoing.ser = NULL;
}

static int pci_liveupdate_index(void)
{
	struct kho_block_set_it it;
	struct pci_dev_ser *rec, *old;
	unsigned int nr = 0;

	kho_block_set_it_init(&it, &pci_liveupdate_incoming.set);
	while ((rec = kho_block_set_it_read_entry(&it))) {
		nr++;
		old = xa_store(&pci_liveupdate_incoming.records,
			       pci_liveupdate_key(rec->domain, rec->bdf),
			       rec, GFP_KERNEL);
		if (xa_is_err(old))
			return xa_err(old);
		/* Which of the two is right cannot be told: both are wrong. */
		if (old)
			rec->kind = 0;
	}

	return nr == pci_liveupdate_incoming.ser->nr_devices ? 0 : -EINVAL;
}

/*
 * A record that is wrong loses its device. But if the records as a whole cannot
 * be read there are devices that write to memory, and nobody knows which.
 */
static int pci_liveupdate_flb_retrieve(struct liveupdate_flb_op_args *args)
{
	struct pci_ser *ser = phys_to_virt(args->data);
	const char *bad;
	int err;

	guard(mutex)(&pci_liveupdate_lock);

	bad = pci_liveupdate_check_ser(ser);
	if (bad)
		panic("PCI: liveupdate: the records of the preserved devices are unusable (%s); power cycle the host to stop the devices",
		      bad);

	xa_init(&pci_liveupdate_incoming.records);
	kho_block_set_init(&pci_liveupdate_incoming.set,
			   sizeof(struct pci_dev_ser));
	pci_liveupdate_incoming.ser = ser;
	pci_liveupdate_incoming.seen = true;
	err = kho_block_set_restore(&pci_liveupdate_incoming.set, ser->devices_pa);
	if (!err)
		err = pci_liveupdate_index();
	if (err)
		panic("PCI: liveupdate: the records of the preserved devices are unusable (%pe); power cycle the host to stop the devices",
		      ERR_PTR(err));

	args->obj = &pci_liveupdate_incoming;
	return 0;
}

/* The driver of a bridge may be bound now: its services set the bridge up. */
static void pci_liveupdate_attach(struct work_struct *work)
{
	struct pci_dev_liveupdate *lu =
		container_of(work, struct pci_dev_liveupdate, attach);
	int ret;

	/* It counts as enabled: the driver's own enabling will not route INTx. */
	ret = pcibios_enable_device(lu->dev, 0);
	if (!ret)
		ret = device_attach(&lu->dev->dev);
	if (ret < 0)
		pci_warn(lu->dev, "live update: no driver for it: %pe\n",
			 ERR_PTR(ret));
	pci_dev_put(lu->dev);
}

/* It need not stay in D0 any more. */
static void pci_liveupdate_let_go(struct pci_dev *dev)
{
	lockdep_assert_held(&pci_liveupdate_lock);

	if (dev->liveupdate->held)
		pm_runtime_put(&dev->dev);
	dev->liveupdate->held = false;
}

static void pci_liveupdate_release_bridge(struct pci_dev *dev)
{
	struct pci_dev_liveupdate *lu = dev->liveupdate;

	lockdep_assert_held(&pci_liveupdate_lock);

	if (!lu || lu->in != PCI_LU_IN_INCOMING)
		return;

	WRITE_ONCE(lu->in, PCI_LU_IN_NONE);
	WRITE_ONCE(lu->shield, false);
	pci_liveupdate_unfix(dev);
	pci_liveupdate_let_go(dev);
	trace_pci_liveupdate_step(dev, "finish", 0);

	pci_dev_get(dev);
	/* Not here: LUO's locks are held, and the device lock is needed. */
	INIT_WORK(&lu->attach, pci_liveupdate_attach);
	schedule_work(&lu->attach);
}

/*
 * A bridge follows when the shield is down for every function below: their users may
 * want to reset them through it, and a reset that vanishes would look as if it had
 * worked.
 */
static void pci_liveupdate_unshield_bridges(struct pci_dev *bridge)
{
	for (; bridge; bridge = pci_upstream_bridge(bridge)) {
		struct pci_dev_liveupdate *lu = bridge->liveupdate;

		if (lu && lu->shield && !--lu->closed)
			WRITE_ONCE(lu->shield, false);
	}
}

/* The device has a user again, or nobody needs it as it is. */
static void pci_liveupdate_unshield(struct pci_dev *dev)
{
	lockdep_assert_held(&pci_liveupdate_lock);

	if (!dev->liveupdate->shield)
		return;

	WRITE_ONCE(dev->liveupdate->shield, false);
	pci_liveupdate_unshield_bridges(pci_upstream_bridge(dev));
}

/* One function less that needs the bridges above it. */
static void pci_liveupdate_leave_bridges(struct pci_dev *bridge)
{
	for (; bridge; bridge = pci_upstream_bridge(bridge)) {
		struct pci_dev_liveupdate *lu = bridge->liveupdate;

		if (lu && lu->in == PCI_LU_IN_INCOMING && !--lu->was.refcount)
			pci_liveupdate_release_bridge(bridge);
	}
}

static void pci_liveupdate_lose(struct pci_dev *dev)
{
	struct pci_dev_liveupdate *lu = dev->liveupdate;

	lockdep_assert_held(&pci_liveupdate_lock);

	WRITE_ONCE(lu->in, PCI_LU_IN_LOST);
	WRITE_ONCE(lu->adopted, false);
	pci_liveupdate_let_go(dev);
	if (pci_is_bridge(dev))
		WRITE_ONCE(lu->shield, false);
	else
		pci_liveupdate_unshield(dev);
	pci_liveupdate_unfix(dev);
	atomic_set(&dev->enable_cnt, 0);
	/* Whatever it is, it must not write to memory on anybody's behalf. */
	pci_clear_master(dev);
	iommu_liveupdate_finish(&dev->dev);
	trace_pci_liveupdate_step(dev, "lost", -EIO);
}

static void pci_liveupdate_flb_finish(struct liveupdate_flb_op_args *args)
{
	struct pci_dev_ser *rec;
	unsigned long key;

	guard(mutex)(&pci_liveupdate_lock);

	xa_for_each(&pci_liveupdate_incoming.records, key, rec) {
		struct pci_dev *dev __free(pci_dev_put) =
			pci_get_domain_bus_and_slot(rec->domain,
						    PCI_BUS_NUM(rec->bdf),
						    rec->bdf & 0xff);

		if (!dev)
			continue;
		if (pci_is_bridge(dev)) {
			pci_liveupdate_release_bridge(dev);
		} else if (pci_liveupdate_is_incoming(dev)) {
			pci_err(dev, "live update: lost, no file stands for it\n");
			pci_liveupdate_lose(dev);
		}
	}

	xa_destroy(&pci_liveupdate_incoming.records);
	kho_block_set_destroy(&pci_liveupdate_incoming.set);
	kho_restore_free(pci_liveupdate_incoming.ser);
	pci_liveupdate_incoming.ser = NULL;
}

static const struct liveupdate_flb_ops pci_liveupdate_flb_ops = {
	.preserve = pci_liveupdate_flb_preserve,
	.unpreserve = pci_liveupdate_flb_unpreserve,
	.retrieve = pci_liveupdate_flb_retrieve,
	.finish = pci_liveupdate_flb_finish,
	.owner = THIS_MODULE,
};

static struct liveupdate_flb pci_liveupdate_flb = {
	.ops = &pci_liveupdate_flb_ops,
	.compatible = PCI_LUO_FLB_COMPATIBLE,
};

#ifdef CONFIG_PCI_LIVEUPDATE_DAMAGE
/**
 * pci_liveupdate_damage_version - Hand over records of another version.
 * @name: The FLB's name in the next kernel's eyes.
 *
 * Return: 0 or -E2BIG.
 */
int pci_liveupdate_damage_version(const char *name)
{
	/* LUO writes it down at the last moment. Nothing but a test does this. */
	return strscpy((char *)pci_liveupdate_flb.compatible, name,
		       LIVEUPDATE_FLB_COMPAT_LENGTH) < 0 ? -E2BIG : 0;
}
#endif

/**
 * pci_liveupdate_register_flb - Make a file handler depend on the PCI records.
 * @fh: A registered file handler whose files stand for PCI functions.
 *
 * Must have been called before a file of @fh can be preserved.
 *
 * Return: 0, or what liveupdate_register_flb() returns.
 */
int pci_liveupdate_register_flb(struct liveupdate_file_handler *fh)
{
	return liveupdate_register_flb(fh, &pci_liveupdate_flb);
}
EXPORT_SYMBOL_GPL(pci_liveupdate_register_flb);

/**
 * pci_liveupdate_unregister_flb - Undo pci_liveupdate_register_flb().
 * @fh: The file handler.
 */
void pci_liveupdate_unregister_flb(struct liveupdate_file_handler *fh)
{
	liveupdate_unregister_flb(fh, &pci_liveupdate_flb);
}
EXPORT_SYMBOL_GPL(pci_liveupdate_unregister_flb);

/* ---- Old kernel ------------------------------------------------------------ */

static int pci_liveupdate_refuse(struct pci_dev *dev, int err, const char *why)
{
	pci_info(dev, "live update: not preserved: %s\n", why);
	trace_pci_liveupdate_step(dev, "preserve", err);
	return err;
}

/*
 * Find a parent of the host bridge that goes down at shutdown: a controller that
 * is a PCI device itself (VMD), or a platform driver with a shutdown hook.
 */
static bool pci_liveupdate_host_goes_down(struct pci_dev *dev)
{
	struct device *parent = pci_find_host_bridge(dev->bus)->dev.parent;

	for (; parent; parent = parent->parent) {
		if (dev_is_pci(parent))
			return true;
		if (!parent->driver)
			continue;
		if (parent->driver->shutdown)
			return true;
		if (dev_is_platform(parent) &&
		    to_platform_driver(parent->driver)->shutdown)
			return true;
	}
	return false;
}

/*
 * The port driver's shutdown hook turns off its services and leaves the port
 * itself alone. Of any other bridge driver nothing is known.
 */
static bool pci_liveupdate_bridge_goes_down(struct pci_dev *bridge)
{
	struct pci_driver *drv = pci_dev_driver(bridge);

	return drv && drv->shutdown && strcmp(drv->name, "pcieport");
}

static bool pci_liveupdate_going_away(struct pci_dev *dev)
{
	return !pci_dev_is_added(dev) || pci_dev_is_disconnected(dev) ||
	       !device_is_registered(&dev->dev);
}

static int pci_liveupdate_check(struct pci_dev *dev)
{
	struct pci_dev *bridge;

	if (dev->is_virtfn)
		return pci_liveupdate_refuse(dev, -EOPNOTSUPP,
					     "it is a virtual function");
	if (dev->hdr_type != PCI_HEADER_TYPE_NORMAL)
		return pci_liveupdate_refuse(dev, -EINVAL,
					     "it is not an ordinary function");
	if (pci_num_vf(dev))
		return pci_liveupdate_refuse(dev, -ENOTEMPTY,
					     "it has virtual functions enabled");
	if (pci_is_vga(dev) || (dev->vendor == PCI_VENDOR_ID_INTEL &&
				dev->class >> 16 == PCI_BASE_CLASS_DISPLAY))
		return pci_liveupdate_refuse(dev, -EPERM,
					     "it is a VGA or Intel display controller");
	if (dev->class >> 8 == PCI_CLASS_SERIAL_USB)
		return pci_liveupdate_refuse(dev, -EPERM,
					     "it is a USB controller");
	if (pci_liveupdate_going_away(dev))
		return pci_liveupdate_refuse(dev, -ENODEV,
					     "it is being removed");
	if (dev->current_state != PCI_D0)
		return pci_liveupdate_refuse(dev, -ESHUTDOWN, "it is not in D0");
	if (pci_liveupdate_host_goes_down(dev))
		return pci_liveupdate_refuse(dev, -EXDEV,
					     "its host controller goes down at shutdown");

	for (bridge = pci_upstream_bridge(dev); bridge;
	     bridge = pci_upstream_bridge(bridge)) {
		if (bridge->hdr_type != PCI_HEADER_TYPE_BRIDGE ||
		    !pci_is_pcie(bridge) ||
		    pci_pcie_type(bridge) == PCI_EXP_TYPE_PCI_BRIDGE ||
		    pci_pcie_type(bridge) == PCI_EXP_TYPE_PCIE_BRIDGE)
			return pci_liveupdate_refuse(dev, -EXDEV,
						     "a bridge above it is not a PCIe port");
		if (pci_liveupdate_going_away(bridge))
			return pci_liveupdate_refuse(dev, -ENODEV,
						     "a bridge above it is being removed");
		if (bridge->current_state != PCI_D0)
			return pci_liveupdate_refuse(dev, -ESHUTDOWN,
						     "a bridge above it is not in D0");
		if (pci_liveupdate_bridge_goes_down(bridge))
			return pci_liveupdate_refuse(dev, -EXDEV,
						     "a bridge above it goes down at shutdown");
	}

	return 0;
}

static struct pci_dev_liveupdate *pci_liveupdate_get(struct pci_dev *dev)
{
	struct pci_dev_liveupdate *lu = dev->liveupdate;

	lockdep_assert_held(&pci_liveupdate_lock);

	if (lu)
		return lu;

	lu = kzalloc_obj(*lu);
	if (!lu)
		return NULL;

	lu->dev = dev;
	INIT_LIST_HEAD(&lu->node);
	/* Pairs with the reads in the predicates at the end of the file. */
	smp_store_release(&dev->liveupdate, lu);
	return lu;
}

/* The blocks are preserved memory: write all records to them, in list order. */
static void pci_liveupdate_write(void)
{
	struct pci_dev_liveupdate *lu;
	struct kho_block_set_it it;

	kho_block_set_shrink(&pci_liveupdate_outgoing.set,
			     pci_liveupdate_outgoing.nr_devices);
	kho_block_set_clear(&pci_liveupdate_outgoing.set);
	kho_block_set_it_init(&it, &pci_liveupdate_outgoing.set);
	list_for_each_entry(lu, &pci_liveupdate_outgoing.devices, node) {
		lu->slot = kho_block_set_it_reserve_entry(&it);
		if (WARN_ON_ONCE(!lu->slot))
			return;
		*lu->slot = lu->rec;
	}

	pci_liveupdate_outgoing.ser->nr_devices =
		pci_liveupdate_outgoing.nr_devices;
	pci_liveupdate_outgoing.ser->devices_pa =
		kho_block_set_head_pa(&pci_liveupdate_outgoing.set);
}

static int pci_liveupdate_preserve_one(struct pci_dev *dev)
{
	struct pci_dev_liveupdate *lu = pci_liveupdate_get(dev);
	int err;

	if (!lu)
		return -ENOMEM;

	if (!lu->users) {
		err = kho_block_set_grow(&pci_liveupdate_outgoing.set,
					 pci_liveupdate_outgoing.nr_devices + 1);
		if (err)
			return err;

		memset(&lu->rec, 0, sizeof(lu->rec));
		pci_liveupdate_identify(dev, &lu->rec);
		pci_liveupdate_read_sizes(dev, &lu->rec);
		strscpy(lu->rec.driver, dev->driver ? dev->driver->name : "",
			sizeof(lu->rec.driver));
		list_add_tail(&lu->node, &pci_liveupdate_outgoing.devices);
		pci_liveupdate_outgoing.nr_devices++;
		/* It is in D0 and enabled, and from now on it stays so. */
		pm_runtime_get_noresume(&dev->dev);
		atomic_inc(&dev->enable_cnt);
		WRITE_ONCE(lu->out, PCI_LU_OUT_PRESERVED);
	}

	lu->rec.refcount = ++lu->users;
	return 0;
}

static void pci_liveupdate_unpreserve_one(struct pci_dev *dev)
{
	struct pci_dev_liveupdate *lu = dev->liveupdate;

	lu->rec.refcount = --lu->users;
	if (lu->users)
		return;

	WRITE_ONCE(lu->out, PCI_LU_OUT_NONE);
	list_del_init(&lu->node);
	lu->slot = NULL;
	pci_liveupdate_outgoing.nr_devices--;
	pci_disable_device(dev);
	pm_runtime_put(&dev->dev);
}

/**
 * pci_liveupdate_preserve - Preserve a function and the bridges above it.
 * @dev: The function, bound to the driver that asks.
 *
 * The caller keeps a reference to @dev and its driver bound until the matching
 * pci_liveupdate_unpreserve() or the kexec. From here on the function and its
 * bridges stay in D0.
 *
 * Context: Process context, from a file handler's preserve(), after the handler
 *          had pci_liveupdate_register_flb(). Takes pci_liveupdate_lock.
 * Return: 0, or
 *         -EOPNOTSUPP for a virtual function,
 *         -ENOTEMPTY for a function with virtual functions enabled,
 *         -EPERM for a VGA, Intel display or USB controller,
 *         -EINVAL for anything else that is not an ordinary function,
 *         -ENODEV if it, or a bridge above it, is being removed,
 *         -ESHUTDOWN if it, or a bridge above it, is not in D0,
 *         -EXDEV if what is above it does not survive the shutdown,
 *         -EBUSY if it is preserved already or not yet finished,
 *         -ENOMEM. Each but the last with a line in the log.
 */
int pci_liveupdate_preserve(struct pci_dev *dev)
{
	struct pci_dev *bridge, *undo;
	int err;

	err = pci_liveupdate_check(dev);
	if (err)
		return err;

	guard(mutex)(&pci_liveupdate_lock);

	if (WARN_ON_ONCE(!pci_liveupdate_outgoing.ser))
		return -EINVAL;
	if (pci_liveupdate_is_outgoing(dev))
		return pci_liveupdate_refuse(dev, -EBUSY, "it is preserved already");
	if (pci_liveupdate_is_busy(dev))
		return pci_liveupdate_refuse(dev, -EBUSY,
					     "the previous live update is not finished");

	err = pci_liveupdate_preserve_one(dev);
	if (err)
		return err;

	for (bridge = pci_upstream_bridge(dev); bridge;
	     bridge = pci_upstream_bridge(bridge)) {
		err = pci_liveupdate_preserve_one(bridge);
		if (err)
			goto err_undo;
	}

	pci_liveupdate_write();
	trace_pci_liveupdate_step(dev, "preserve", 0);
	return 0;

err_undo:
	for (undo = dev; undo != bridge; undo = pci_upstream_bridge(undo))
		pci_liveupdate_unpreserve_one(undo);
	pci_liveupdate_write();
	return err;
}
EXPORT_SYMBOL_GPL(pci_liveupdate_preserve);

/**
 * pci_liveupdate_unpreserve - Undo pci_liveupdate_preserve().
 * @dev: A preserved function that is not frozen.
 *
 * Context: Process context. Takes pci_liveupdate_lock.
 */
void pci_liveupdate_unpreserve(struct pci_dev *dev)
{
	struct pci_dev *up;

	guard(mutex)(&pci_liveupdate_lock);

	if (WARN_ON_ONCE(!pci_liveupdate_is_outgoing(dev)))
		return;

	for (up = dev; up; up = pci_upstream_bridge(up))
		pci_liveupdate_unpreserve_one(up);
	pci_liveupdate_write();
	trace_pci_liveupdate_step(dev, "unpreserve", 0);
}
EXPORT_SYMBOL_GPL(pci_liveupdate_unpreserve);

static int pci_liveupdate_check_freeze(struct pci_dev *dev)
{
	struct pci_dev *up;
	u16 cmd;

	/*
	 * An image from kexec_load() carries no KHO data: the next kernel would
	 * know nothing of devices that go on writing to memory.
	 */
	if (!kexec_image || !kexec_image->kho.fdt) {
		pci_err(dev, "live update: the loaded kernel image gets no KHO data, load it with kexec_file_load()\n");
		return -ENOEXEC;
	}

	if (pci_num_vf(dev)) {
		pci_err(dev, "live update: virtual functions have been enabled\n");
		return -ENOTEMPTY;
	}

	for (up = dev; up; up = pci_upstream_bridge(up)) {
		if (pci_liveupdate_going_away(up)) {
			pci_err(dev, "live update: %s is being removed\n",
				pci_name(up));
			return -ENODEV;
		}
		if (up->current_state != PCI_D0) {
			pci_err(dev, "live update: %s is not in D0\n",
				pci_name(up));
			return -ESHUTDOWN;
		}
		pci_read_config_word(up, PCI_COMMAND, &cmd);
		if (PCI_POSSIBLE_ERROR(cmd)) {
			pci_err(dev, "live update: %s does not answer\n",
				pci_name(up));
			return -EIO;
		}
	}

	return 0;
}

/**
 * pci_liveupdate_freeze - Write the last state to the record, for the kexec.
 * @dev: A preserved function that its user cannot reach any more.
 *
 * Call it before anything that masks the function's interrupts: what COMMAND
 * reads now is what the user left there. After it pci_device_shutdown() leaves
 * Bus Master of the function and of the bridges above it set.
 *
 * Context: Process context, from the file handler's freeze(). Takes
 *          pci_liveupdate_lock.
 * Return: 0, or
 *         -ENOEXEC if the image to boot into carries no KHO data,
 *         -ENOTEMPTY if virtual functions have been enabled,
 *         -ENODEV if the function or a bridge is being removed,
 *         -ESHUTDOWN if one of them left D0,
 *         -EIO if one of them does not answer.
 */
int pci_liveupdate_freeze(struct pci_dev *dev)
{
	struct pci_dev *up;
	int err;

	guard(mutex)(&pci_liveupdate_lock);

	if (WARN_ON_ONCE(!pci_liveupdate_is_outgoing(dev)))
		return -EINVAL;

	err = pci_liveupdate_check_freeze(dev);
	trace_pci_liveupdate_step(dev, "freeze", err);
	if (err)
		return err;

	for (up = dev; up; up = pci_upstream_bridge(up)) {
		struct pci_dev_liveupdate *lu = up->liveupdate;

		pci_read_config_word(up, PCI_COMMAND, &lu->rec.command);
		pci_liveupdate_read_regs(up, &lu->rec);
		lu->frozen++;
		lu->rec.flags |= PCI_SER_F_FROZEN;
		*lu->slot = lu->rec;
		pci_liveupdate_damage(pci_liveupdate_outgoing.ser, lu->slot);
		WRITE_ONCE(lu->out, PCI_LU_OUT_FROZEN);
	}

	return 0;
}
EXPORT_SYMBOL_GPL(pci_liveupdate_freeze);

/**
 * pci_liveupdate_unfreeze - Undo pci_liveupdate_freeze(): the kexec failed.
 * @dev: A frozen function.
 *
 * Context: Process context. Takes pci_liveupdate_lock.
 */
void pci_liveupdate_unfreeze(struct pci_dev *dev)
{
	struct pci_dev *up;

	guard(mutex)(&pci_liveupdate_lock);

	if (WARN_ON_ONCE(!pci_liveupdate_is_frozen(dev)))
		return;

	for (up = dev; up; up = pci_upstream_bridge(up)) {
		struct pci_dev_liveupdate *lu = up->liveupdate;

		if (--lu->frozen)
			continue;
		lu->rec.flags &= ~PCI_SER_F_FROZEN;
		*lu->slot = lu->rec;
		WRITE_ONCE(lu->out, PCI_LU_OUT_PRESERVED);
	}
	trace_pci_liveupdate_step(dev, "unfreeze", 0);
}
EXPORT_SYMBOL_GPL(pci_liveupdate_unfreeze);

/* ---- New kernel ------------------------------------------------------------ */

/**
 * pci_liveupdate_lost_bridge - Is an incoming device cut off?
 * @dev: The device.
 *
 * Return: A bridge above it that is not what was recorded, or NULL.
 */
struct pci_dev *pci_liveupdate_lost_bridge(struct pci_dev *dev)
{
	struct pci_dev *bridge;

	for (bridge = pci_upstream_bridge(dev); bridge;
	     bridge = pci_upstream_bridge(bridge)) {
		if (!bridge->liveupdate ||
		    bridge->liveupdate->in != PCI_LU_IN_INCOMING)
			return bridge;
	}
	return NULL;
}

/**
 * pci_liveupdate_give_up - An incoming device has turned out to be lost.
 * @dev: The device, which has not been bound to a driver.
 *
 * Context: As pci_liveupdate_scan(). Takes pci_liveupdate_lock.
 */
void pci_liveupdate_give_up(struct pci_dev *dev)
{
	guard(mutex)(&pci_liveupdate_lock);
	pci_liveupdate_lose(dev);
}

/**
 * pci_liveupdate_scan - Look up a device that has just answered.
 * @dev: The device; only its bus, devfn, vendor and device ID are known.
 *
 * Called before the first write to the device's configuration space.
 *
 * Context: Enumeration, with pci_rescan_remove_lock held or at boot.
 */
void pci_liveupdate_scan(struct pci_dev *dev)
{
	struct pci_dev_liveupdate *lu;
	struct pci_dev_ser *rec;
	void *obj;

	if (liveupdate_flb_get_incoming(&pci_liveupdate_flb, &obj))
		return;

	scoped_guard(mutex, &pci_liveupdate_lock) {
		rec = xa_load(&pci_liveupdate_incoming.records,
			      pci_liveupdate_key(pci_domain_nr(dev->bus),
						 pci_liveupdate_bdf(dev)));
		if (!rec)
			break;

		lu = pci_liveupdate_get(dev);
		if (!lu)
			panic("PCI: liveupdate: no memory for the state of an incoming device");
		lu->was = *rec;
		WRITE_ONCE(lu->in, PCI_LU_IN_INCOMING);
		WRITE_ONCE(lu->shield, true);
	}

	liveupdate_flb_put_incoming(&pci_liveupdate_flb);
}

/*
 * The old kernel has cleared Bus Master of everything that it did not hand over. A
 * function where it is on has lost its record, which may name another place now.
 */
static void pci_liveupdate_stop_unrecorded(struct pci_dev *dev)
{
	u16 cmd;

	if (!READ_ONCE(pci_liveupdate_incoming.ser) ||
	    dev->hdr_type != PCI_HEADER_TYPE_NORMAL)
		return;

	pci_read_config_word(dev, PCI_COMMAND, &cmd);
	if (!(cmd & PCI_COMMAND_MASTER) || PCI_POSSIBLE_ERROR(cmd))
		return;

	pci_clear_master(dev);
	/* Some have it hardwired. */
	pci_read_config_word(dev, PCI_COMMAND, &cmd);
	if (!(cmd & PCI_COMMAND_MASTER))
		pci_warn(dev, "live update: bus master was on, but it is not recorded: turned off\n");
}

/**
 * pci_liveupdate_setup - Compare an incoming device with its record.
 * @dev: The device; its header type and its PCIe capability are known.
 *
 * Called before the first fixup and before the BARs are sized, which takes their
 * sizes from the record.
 *
 * Context: As pci_liveupdate_scan().
 */
void pci_liveupdate_setup(struct pci_dev *dev)
{
	struct pci_dev_liveupdate *lu = dev->liveupdate;
	struct pci_dev_ser now = {};
	struct pci_dev *bridge;
	u64 old, new;
	const char *field;

	if (!lu) {
		pci_liveupdate_stop_unrecorded(dev);
		return;
	}
	if (lu->in != PCI_LU_IN_INCOMING)
		return;

	guard(mutex)(&pci_liveupdate_lock);

	field = pci_liveupdate_check_dev_ser(&lu->was);
	if (field) {
		pci_err(dev, "live update: lost, its record is damaged: %s\n",
			field);
		pci_liveupdate_lose(dev);
		return;
	}

	pci_liveupdate_identify(dev, &now);
	field = pci_liveupdate_compare(&lu->was, &now, &old, &new);
	if (field) {
		pci_err(dev, "live update: lost, %s was %#llx, is %#llx\n",
			field, old, new);
		pci_liveupdate_lose(dev);
		return;
	}

	bridge = pci_liveupdate_lost_bridge(dev);
	if (bridge) {
		pci_err(dev, "live update: lost, %s above it is not what it was\n",
			pci_name(bridge));
		pci_liveupdate_lose(dev);
		return;
	}
}

/**
 * pci_liveupdate_adopt - Adopt an incoming device.
 * @dev: The device, after pci_setup_device() and before pci_device_add().
 *
 * A device that was enabled and bus master stays so, whatever the pairs of
 * pci_enable_device() and pci_disable_device() in drivers and quirks amount to:
 * it starts with an enable count of one, which is dropped at finish.
 *
 * Context: As pci_liveupdate_scan().
 */
void pci_liveupdate_adopt(struct pci_dev *dev)
{
	struct pci_dev_liveupdate *lu = dev->liveupdate;

	if (!lu || lu->in != PCI_LU_IN_INCOMING)
		return;

	guard(mutex)(&pci_liveupdate_lock);

	dev->is_busmaster = !!(lu->was.command & PCI_COMMAND_MASTER);
	atomic_set(&dev->enable_cnt, 1);
	if (lu->was.kind == PCI_SER_BRIDGE) {
		lu->closed = lu->was.refcount;
		/* Not found out by writing to them. */
		dev->io_window = !!(lu->was.windows & PCI_SER_WINDOW_IO);
		dev->pref_window = !!(lu->was.windows & PCI_SER_WINDOW_PREF);
		dev->pref_64_window = !!(lu->was.windows & PCI_SER_WINDOW_PREF64);
	}
	if (lu->was.flags & PCI_SER_F_ACS_QUIRK)
		dev->dev_flags |= PCI_DEV_FLAGS_ACS_ENABLED_QUIRK;
	WRITE_ONCE(lu->adopted, true);
	pci_info(dev, "live update: incoming, COMMAND %#06x, driver %s\n",
		 lu->was.command, lu->was.driver);
	trace_pci_liveupdate_step(dev, "incoming", 0);
}

/**
 * pci_liveupdate_add - Keep an incoming device in D0 until it is finished.
 * @dev: The device, before runtime PM is enabled for it.
 */
void pci_liveupdate_add(struct pci_dev *dev)
{
	if (!dev->liveupdate)
		return;

	guard(mutex)(&pci_liveupdate_lock);
	if (!pci_liveupdate_is_incoming(dev))
		return;
	pm_runtime_get_noresume(&dev->dev);
	dev->liveupdate->held = true;
}

/**
 * pci_liveupdate_enable - A driver enables a device that is enabled already.
 * @dev: The device; its enable count has been raised.
 *
 * An incoming device has been enabled by the previous kernel. What this kernel
 * still has to do for it is to route its INTx, which does not touch the device:
 * without any BAR to enable that is all that pcibios_enable_device() does.
 *
 * Return: 0, or what pcibios_enable_device() returns; then the count is back.
 */
int pci_liveupdate_enable(struct pci_dev *dev)
{
	int err;

	if (!pci_liveupdate_is_incoming(dev))
		return 0;

	err = pcibios_enable_device(dev, 0);
	if (err)
		atomic_dec(&dev->enable_cnt);
	return err;
}

/**
 * pci_liveupdate_find_incoming - Find an incoming function for retrieval.
 * @domain: PCI segment from the handler's own record.
 * @bdf:    Bus number << 8 | devfn.
 * @pdev:   Returns the device, with a reference for the caller to drop; NULL on
 *          error.
 *
 * Return: 0, or
 *         -ENODEV if nothing answers there,
 *         -EIO if it is lost,
 *         -EINVAL if no function was recorded there.
 */
int pci_liveupdate_find_incoming(u32 domain, u16 bdf, struct pci_dev **pdev)
{
	struct pci_dev *dev __free(pci_dev_put) =
		pci_get_domain_bus_and_slot(domain, PCI_BUS_NUM(bdf), bdf & 0xff);
	struct pci_dev_liveupdate *lu;

	*pdev = NULL;
	if (!dev) {
		pr_err("%04x:%02x:%02x.%d did not come back\n", domain,
		       PCI_BUS_NUM(bdf), PCI_SLOT(bdf), PCI_FUNC(bdf));
		return -ENODEV;
	}

	guard(mutex)(&pci_liveupdate_lock);

	lu = dev->liveupdate;
	if (lu && lu->in == PCI_LU_IN_LOST)
		return -EIO;
	if (lu && lu->in == PCI_LU_IN_NONE && lu->was.kind == PCI_SER_FUNCTION) {
		pci_err(dev, "live update: it has been abandoned\n");
		return -ENODEV;
	}
	if (!lu || lu->in == PCI_LU_IN_NONE || lu->was.kind != PCI_SER_FUNCTION) {
		pci_err(dev, "live update: no function was recorded here\n");
		return -EINVAL;
	}

	*pdev = no_free_ptr(dev);
	return 0;
}
EXPORT_SYMBOL_GPL(pci_liveupdate_find_incoming);

/**
 * pci_liveupdate_driver - The driver that may take over an incoming device.
 * @dev: The device.
 *
 * Return: The recorded name, valid as long as @dev, or NULL if @dev is not
 *         incoming.
 */
const char *pci_liveupdate_driver(struct pci_dev *dev)
{
	return pci_liveupdate_is_incoming(dev) ? dev->liveupdate->was.driver :
						 NULL;
}
EXPORT_SYMBOL_GPL(pci_liveupdate_driver);

/**
 * pci_liveupdate_retrieved - Note that the file of an incoming function is out.
 * @dev: The function.
 *
 * Context: Process context. Takes pci_liveupdate_lock.
 */
void pci_liveupdate_retrieved(struct pci_dev *dev)
{
	guard(mutex)(&pci_liveupdate_lock);

	if (WARN_ON_ONCE(!pci_liveupdate_is_incoming(dev)))
		return;
	WRITE_ONCE(dev->liveupdate->in, PCI_LU_IN_RETRIEVED);
	trace_pci_liveupdate_step(dev, "retrieve", 0);
}
EXPORT_SYMBOL_GPL(pci_liveupdate_retrieved);

/**
 * pci_liveupdate_finish - Make an incoming function an ordinary one.
 * @dev: The function, enabled by the driver that took it over.
 *
 * Context: Process context, from the file handler's finish(). Takes
 *          pci_liveupdate_lock.
 */
void pci_liveupdate_finish(struct pci_dev *dev)
{
	guard(mutex)(&pci_liveupdate_lock);

	if (WARN_ON_ONCE(!pci_liveupdate_is_incoming(dev)))
		return;

	WRITE_ONCE(dev->liveupdate->in, PCI_LU_IN_NONE);
	iommu_liveupdate_finish(&dev->dev);
	pci_liveupdate_unshield(dev);
	pci_liveupdate_unfix(dev);
	/* Scanned again, it is just a device. */
	xa_erase(&pci_liveupdate_incoming.records,
		 pci_liveupdate_key(pci_domain_nr(dev->bus),
				    pci_liveupdate_bdf(dev)));
	/* If its driver does not hold it enabled, this turns bus master off. */
	pci_disable_device(dev);
	pci_liveupdate_let_go(dev);
	trace_pci_liveupdate_step(dev, "finish", 0);
	pci_liveupdate_leave_bridges(pci_upstream_bridge(dev));
}
EXPORT_SYMBOL_GPL(pci_liveupdate_finish);

/**
 * pci_liveupdate_opened - An incoming function has been opened by its new user.
 * @dev: The function.
 *
 * Until now nothing was written to its configuration space. From now on what its
 * user writes arrives.
 */
void pci_liveupdate_opened(struct pci_dev *dev)
{
	guard(mutex)(&pci_liveupdate_lock);

	if (dev->liveupdate)
		pci_liveupdate_unshield(dev);
}
EXPORT_SYMBOL_GPL(pci_liveupdate_opened);

/**
 * pci_liveupdate_closed - Undo pci_liveupdate_opened().
 * @dev: The function. If it is still incoming it waits for a user again.
 */
void pci_liveupdate_closed(struct pci_dev *dev)
{
	struct pci_dev *bridge;

	guard(mutex)(&pci_liveupdate_lock);

	if (!pci_liveupdate_is_incoming(dev) || dev->liveupdate->shield ||
	    dev->liveupdate->stopped)
		return;

	WRITE_ONCE(dev->liveupdate->shield, true);
	for (bridge = pci_upstream_bridge(dev); bridge;
	     bridge = pci_upstream_bridge(bridge)) {
		struct pci_dev_liveupdate *lu = bridge->liveupdate;

		if (!lu || lu->in != PCI_LU_IN_INCOMING)
			continue;
		lu->closed++;
		WRITE_ONCE(lu->shield, true);
	}
}
EXPORT_SYMBOL_GPL(pci_liveupdate_closed);

static void pci_liveupdate_disable_msi(struct pci_dev *dev)
{
	u16 flags;

	/* Enabled by the previous kernel: this one has no vectors to free. */
	if (dev->msi_cap && !dev->msi_enabled) {
		pci_read_config_word(dev, dev->msi_cap + PCI_MSI_FLAGS, &flags);
		pci_write_config_word(dev, dev->msi_cap + PCI_MSI_FLAGS,
				      flags & ~PCI_MSI_FLAGS_ENABLE);
	}
	if (dev->msix_cap && !dev->msix_enabled) {
		pci_read_config_word(dev, dev->msix_cap + PCI_MSIX_FLAGS, &flags);
		pci_write_config_word(dev, dev->msix_cap + PCI_MSIX_FLAGS,
				      flags & ~(PCI_MSIX_FLAGS_ENABLE |
						PCI_MSIX_FLAGS_MASKALL));
	}
}

/*
 * A session that is closed and a driver that is bound may both want to stop it. Only
 * one of them does, and finishes it.
 */
static bool pci_liveupdate_quiesce(struct pci_dev *dev)
{
	scoped_guard(mutex, &pci_liveupdate_lock) {
		if (!pci_liveupdate_is_incoming(dev) || dev->liveupdate->stopped)
			return false;
		dev->liveupdate->stopped = true;
		pci_liveupdate_unshield(dev);
		WRITE_ONCE(dev->liveupdate->adopted, false);
	}
	pci_clear_master(dev);
	pci_liveupdate_disable_msi(dev);
	return true;
}

static int pci_liveupdate_reset(struct pci_dev *dev)
{
	struct pci_dev *bridge = pci_upstream_bridge(dev);
	int err;

	if (bridge)
		pci_cfg_access_lock(bridge);
	pci_cfg_access_lock(dev);
	err = pci_reset_function_locked(dev);
	pci_cfg_access_unlock(dev);
	if (bridge)
		pci_cfg_access_unlock(bridge);
	return err;
}

/**
 * pci_liveupdate_stop - Stop and reset a function that nobody came for.
 * @dev: An incoming function, not opened by anybody.
 * @ser: The state to leave it in, or NULL to keep what it has.
 *
 * Context: Process context. Must not hold the device lock; it is only tried,
 *          because whoever holds it may wait for LUO. May take seconds.
 * Return: true if it is stopped, and pci_liveupdate_finish() has to follow; false if
 *         it is not incoming any more, or on its way to another driver.
 */
bool pci_liveupdate_stop(struct pci_dev *dev, const struct pci_state_ser *ser)
{
	struct pci_saved_state *state = NULL;
	int err = -EAGAIN;

	if (!pci_liveupdate_quiesce(dev))
		return false;

	pci_info(dev, "live update: abandoned, resetting it\n");
	if (device_trylock(&dev->dev)) {
		if (ser)
			state = pci_liveupdate_load_state(dev, ser);
		err = pci_liveupdate_reset(dev);
		/* The reset restores what the last user had set. */
		if (!IS_ERR_OR_NULL(state) &&
		    !pci_load_and_free_saved_state(dev, &state))
			pci_restore_state(dev);
		device_unlock(&dev->dev);
	}
	if (err)
		pci_warn(dev, "live update: abandoned without a reset (%pe), bus master is off\n",
			 ERR_PTR(err));
	trace_pci_liveupdate_step(dev, "abandon", err);
	return true;
}
EXPORT_SYMBOL_GPL(pci_liveupdate_stop);

/**
 * pci_liveupdate_probe - A driver is about to be bound.
 * @dev:    The device; its lock is held.
 * @driver: The driver's name.
 *
 * A driver other than the recorded one gets here only because the administrator
 * has asked for it with driver_override: the device is abandoned, so that the
 * driver finds an ordinary one. Its token is of no more use.
 *
 * This comes before the driver asks for the DMA of the device, which belongs to the
 * hand-over until then.
 */
void pci_liveupdate_probe(struct pci_dev *dev, const char *driver)
{
	int err;

	if (!pci_liveupdate_keeps_msi(dev) ||
	    !strcmp(dev->liveupdate->was.driver, driver))
		return;

	if (!pci_liveupdate_quiesce(dev))
		return;

	pci_warn(dev, "live update: abandoned to driver %s, resetting it\n", driver);
	err = pci_liveupdate_reset(dev);
	if (err)
		pci_warn(dev, "live update: abandoned without a reset (%pe)\n",
			 ERR_PTR(err));
	trace_pci_liveupdate_step(dev, "abandon", err);
	pci_liveupdate_finish(dev);
}

/**
 * pci_liveupdate_release - Free what a pci_dev had here.
 * @dev: A device without users.
 */
void pci_liveupdate_release(struct pci_dev *dev)
{
	WARN_ON_ONCE(dev->liveupdate && dev->liveupdate->users);
	kfree(dev->liveupdate);
	dev->liveupdate = NULL;
}

/* ---- Saved state ----------------------------------------------------------- */

/* Where pci_save_state() of this kernel keeps which register. */
struct pci_liveupdate_cap {
	u16 cap;
	bool extended;
	u8 width;
	u8 nr;
	u16 offset[7];
};

static const struct pci_liveupdate_cap pci_liveupdate_caps[] = {
	{ PCI_CAP_ID_EXP, false, 2, 7,
	  { PCI_EXP_DEVCTL, PCI_EXP_LNKCTL, PCI_EXP_SLTCTL, PCI_EXP_RTCTL,
	    PCI_EXP_DEVCTL2, PCI_EXP_LNKCTL2, PCI_EXP_SLTCTL2 } },
	{ PCI_CAP_ID_PCIX, false, 2, 1, { PCI_X_CMD } },
	{ PCI_EXT_CAP_ID_LTR, true, 4, 1, { PCI_LTR_MAX_SNOOP_LAT } },
	{ PCI_EXT_CAP_ID_L1SS, true, 4, 2, { PCI_L1SS_CTL2, PCI_L1SS_CTL1 } },
	{ PCI_EXT_CAP_ID_ERR, true, 4, 4,
	  { PCI_ERR_UNCOR_MASK, PCI_ERR_UNCOR_SEVER, PCI_ERR_COR_MASK,
	    PCI_ERR_CAP } },
	{ PCI_EXT_CAP_ID_DPC, true, 2, 1, { PCI_EXP_DPC_CTL } },
	{ PCI_EXT_CAP_ID_PTM, true, 4, 1, { PCI_PTM_CTRL } },
};

static const struct pci_liveupdate_cap *pci_liveupdate_find_cap(u16 cap,
								bool extended)
{
	for (int i = 0; i < ARRAY_SIZE(pci_liveupdate_caps); i++) {
		if (pci_liveupdate_caps[i].cap == cap &&
		    pci_liveupdate_caps[i].extended == extended)
			return &pci_liveupdate_caps[i];
	}
	return NULL;
}

/* The next saved capability, NULL after the last. Starts with NULL. */
static struct pci_cap_saved_data *
pci_liveupdate_next_cap(struct pci_saved_state *state,
			struct pci_cap_saved_data *data)
{
	if (!data)
		data = pci_saved_state_caps(state);
	else
		data = (void *)data + sizeof(*data) + data->size;
	return data->size ? data : NULL;
}

static void *pci_liveupdate_reg(const struct pci_liveupdate_cap *cap,
				struct pci_cap_saved_data *data, int i)
{
	if ((i + 1) * cap->width > data->size)
		return NULL;
	return (void *)data->data + i * cap->width;
}

/**
 * pci_liveupdate_store_state - Write a saved state in a form of its own.
 * @dev:   The device @state was saved from.
 * @state: From pci_store_saved_state(), or NULL.
 * @ser:   Where to write it; all of it is written.
 *
 * Return: 0, -ENODATA without a state, -ENOSPC if it does not fit.
 */
int pci_liveupdate_store_state(struct pci_dev *dev,
			       struct pci_saved_state *state,
			       struct pci_state_ser *ser)
{
	struct pci_cap_saved_data *data = NULL;

	memset(ser, 0, sizeof(*ser));
	if (!state)
		return -ENODATA;

	memcpy(ser->header, pci_saved_state_header(state), sizeof(ser->header));
	while ((data = pci_liveupdate_next_cap(state, data))) {
		const struct pci_liveupdate_cap *cap =
			pci_liveupdate_find_cap(data->cap_nr, data->cap_extended);

		for (int i = 0; cap && i < cap->nr; i++) {
			void *reg = pci_liveupdate_reg(cap, data, i);

			if (!reg)
				break;
			if (ser->nr_regs == PCI_STATE_SER_REGS) {
				pci_warn(dev, "live update: too many saved registers\n");
				return -ENOSPC;
			}
			ser->regs[ser->nr_regs++] = (struct pci_state_reg_ser){
				.cap = cap->cap,
				.extended = cap->extended,
				.width = cap->width,
				.offset = cap->offset[i],
				.value = cap->width == 2 ? *(u16 *)reg :
							   *(u32 *)reg,
			};
		}
	}

	return 0;
}
EXPORT_SYMBOL_GPL(pci_liveupdate_store_state);

static const struct pci_state_reg_ser *
pci_liveupdate_find_reg(const struct pci_state_ser *ser,
			const struct pci_liveupdate_cap *cap, int i)
{
	for (int j = 0; j < ser->nr_regs; j++) {
		const struct pci_state_reg_ser *reg = &ser->regs[j];

		if (reg->cap == cap->cap && reg->extended == cap->extended &&
		    reg->offset == cap->offset[i] && reg->width == cap->width)
			return reg;
	}
	return NULL;
}

/**
 * pci_liveupdate_check_state - Check a recorded state.
 * @ser: What the previous kernel wrote.
 *
 * Return: NULL if it can be used, else what is wrong with it.
 */
const char *pci_liveupdate_check_state(const struct pci_state_ser *ser)
{
	if (ser->nr_regs > PCI_STATE_SER_REGS)
		return "number of registers";
	if (ser->reserved)
		return "reserved field";
	for (int i = 0; i < ser->nr_regs; i++) {
		const struct pci_state_reg_ser *reg = &ser->regs[i];

		if (reg->extended > 1 || reg->reserved ||
		    (reg->width != 2 && reg->width != 4) ||
		    reg->offset >= PCI_CFG_SPACE_EXP_SIZE)
			return "register";
	}
	return NULL;
}
EXPORT_SYMBOL_GPL(pci_liveupdate_check_state);

static void pci_liveupdate_merge(u32 *to, u32 from, u32 mask)
{
	*to = (*to & ~mask) | (from & mask);
}

/**
 * pci_liveupdate_load_state - Read a state that another kernel saved.
 * @dev: The device.
 * @ser: What pci_liveupdate_store_state() wrote.
 *
 * Registers that @ser does not have get the value the hardware has now, and so
 * do the addresses. Bus Master is off.
 *
 * Return: A state for pci_load_saved_state(), to be freed with kfree(), or
 *         ERR_PTR(-EINVAL) if @ser is damaged, ERR_PTR(-ENOMEM).
 */
struct pci_saved_state *
pci_liveupdate_load_state(struct pci_dev *dev, const struct pci_state_ser *ser)
{
	struct pci_cap_saved_data *data = NULL;
	struct pci_saved_state *state;
	const char *bad;
	u32 *header;

	bad = pci_liveupdate_check_state(ser);
	if (bad) {
		pci_err(dev, "live update: recorded PCI state is damaged: %s\n",
			bad);
		return ERR_PTR(-EINVAL);
	}

	/* Gives the buffer the layout of this kernel. */
	pci_save_state(dev);
	state = pci_store_saved_state(dev);
	if (!state)
		return ERR_PTR(-ENOMEM);

	/*
	 * Of the header only what a user can set. Addresses are this kernel's,
	 * and whoever restores the state wants the device to be quiet.
	 */
	header = pci_saved_state_header(state);
	pci_liveupdate_merge(&header[PCI_COMMAND / 4], ser->header[PCI_COMMAND / 4],
			     0xffff & ~PCI_COMMAND_INTX_DISABLE);
	header[PCI_COMMAND / 4] &= ~(PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
	pci_liveupdate_merge(&header[PCI_CACHE_LINE_SIZE / 4],
			     ser->header[PCI_CACHE_LINE_SIZE / 4], 0xffff);
	pci_liveupdate_merge(&header[PCI_INTERRUPT_LINE / 4],
			     ser->header[PCI_INTERRUPT_LINE / 4], 0xff);
	while ((data = pci_liveupdate_next_cap(state, data))) {
		const struct pci_liveupdate_cap *cap =
			pci_liveupdate_find_cap(data->cap_nr, data->cap_extended);

		for (int i = 0; cap && i < cap->nr; i++) {
			const struct pci_state_reg_ser *reg =
				pci_liveupdate_find_reg(ser, cap, i);
			void *to = pci_liveupdate_reg(cap, data, i);

			if (!reg || !to)
				continue;
			if (cap->width == 2)
				*(u16 *)to = reg->value;
			else
				*(u32 *)to = reg->value;
		}
	}

	return state;
}
EXPORT_SYMBOL_GPL(pci_liveupdate_load_state);

/* ---- What others ask ------------------------------------------------------- */

static enum pci_liveupdate_out pci_liveupdate_out_state(struct pci_dev *dev)
{
	/* Pairs with pci_liveupdate_get(). */
	struct pci_dev_liveupdate *lu = smp_load_acquire(&dev->liveupdate);

	return lu ? READ_ONCE(lu->out) : PCI_LU_OUT_NONE;
}

static enum pci_liveupdate_in pci_liveupdate_in_state(struct pci_dev *dev)
{
	/* Pairs with pci_liveupdate_get(). */
	struct pci_dev_liveupdate *lu = smp_load_acquire(&dev->liveupdate);

	return lu ? READ_ONCE(lu->in) : PCI_LU_IN_NONE;
}

/**
 * pci_liveupdate_is_outgoing - Is it preserved for the next kernel?
 * @dev: A function or a bridge.
 *
 * Return: true from preserve on, frozen or not.
 */
bool pci_liveupdate_is_outgoing(struct pci_dev *dev)
{
	return pci_liveupdate_out_state(dev) != PCI_LU_OUT_NONE;
}
EXPORT_SYMBOL_GPL(pci_liveupdate_is_outgoing);

/**
 * pci_liveupdate_is_frozen - Is it on its way to the next kernel?
 * @dev: A function or a bridge.
 *
 * Return: true between freeze and unfreeze, that is, during a live update.
 */
bool pci_liveupdate_is_frozen(struct pci_dev *dev)
{
	return pci_liveupdate_out_state(dev) == PCI_LU_OUT_FROZEN;
}
EXPORT_SYMBOL_GPL(pci_liveupdate_is_frozen);

/**
 * pci_liveupdate_is_incoming - Did it come from the previous kernel?
 * @dev: A function or a bridge.
 *
 * Return: true until it is finished, false for a lost device.
 */
bool pci_liveupdate_is_incoming(struct pci_dev *dev)
{
	enum pci_liveupdate_in in = pci_liveupdate_in_state(dev);

	return in == PCI_LU_IN_INCOMING || in == PCI_LU_IN_RETRIEVED;
}
EXPORT_SYMBOL_GPL(pci_liveupdate_is_incoming);

/**
 * pci_liveupdate_is_retrieved - Is the file of an incoming function out?
 * @dev: A function.
 *
 * Return: true from retrieve to finish.
 */
bool pci_liveupdate_is_retrieved(struct pci_dev *dev)
{
	return pci_liveupdate_in_state(dev) == PCI_LU_IN_RETRIEVED;
}

/**
 * pci_liveupdate_is_busy - Must the administrator keep off it?
 * @dev: A function or a bridge.
 *
 * Return: true while a live update, past or coming, depends on @dev.
 */
bool pci_liveupdate_is_busy(struct pci_dev *dev)
{
	return pci_liveupdate_is_outgoing(dev) || pci_liveupdate_is_incoming(dev);
}

/**
 * pci_liveupdate_intx_broken - Is DisINTx of an incoming device not writable?
 * @dev: An incoming device.
 *
 * Trying it out would let a pending INTx through.
 *
 * Return: What the previous kernel found out.
 */
bool pci_liveupdate_intx_broken(struct pci_dev *dev)
{
	return dev->liveupdate->was.flags & PCI_SER_F_INTX_BROKEN;
}

/**
 * pci_liveupdate_keeps_msi - Is MSI left enabled as the last kernel masked it?
 * @dev: A device that is being enumerated.
 *
 * Return: true for an incoming function. The interrupts of a bridge are the
 *         kernel's own and are not masked.
 */
bool pci_liveupdate_keeps_msi(struct pci_dev *dev)
{
	return pci_liveupdate_is_incoming(dev) && !pci_is_bridge(dev);
}

/**
 * pci_liveupdate_match - May this driver be bound?
 * @dev:    The device.
 * @driver: Name of a driver.
 *
 * Return: false for an incoming function and any driver but the one that has
 *         held it, and for a lost device, unless the administrator asks for it
 *         with driver_override; false for an incoming bridge, whose services
 *         would set it up.
 */
bool pci_liveupdate_match(struct pci_dev *dev, const char *driver)
{
	switch (pci_liveupdate_in_state(dev)) {
	case PCI_LU_IN_NONE:
		return true;
	case PCI_LU_IN_LOST:
		return device_has_driver_override(&dev->dev);
	case PCI_LU_IN_INCOMING:
	case PCI_LU_IN_RETRIEVED:
		break;
	}

	if (pci_is_bridge(dev))
		return false;
	return device_has_driver_override(&dev->dev) ||
	       !strcmp(dev->liveupdate->was.driver, driver);
}

/**
 * pci_liveupdate_takes - Is this the driver for an incoming function?
 * @dev:    The device, without a driver_override.
 * @driver: Name of a driver.
 *
 * Return: true if the driver has held it; it need not know its IDs.
 */
bool pci_liveupdate_takes(struct pci_dev *dev, const char *driver)
{
	return pci_liveupdate_keeps_msi(dev) &&
	       !strcmp(dev->liveupdate->was.driver, driver);
}

/**
 * pci_liveupdate_keeps_buses - Must bus numbers stay what they are?
 *
 * Return: true if devices came from the previous kernel: "pci=assign-busses" would
 *         take their numbers away.
 */
bool pci_liveupdate_keeps_buses(void)
{
	return READ_ONCE(pci_liveupdate_incoming.seen);
}

static ssize_t liveupdate_show(struct device *device,
			       struct device_attribute *attr, char *buf)
{
	struct pci_dev *dev = to_pci_dev(device);

	switch (pci_liveupdate_out_state(dev)) {
	case PCI_LU_OUT_FROZEN:
		return sysfs_emit(buf, "frozen\n");
	case PCI_LU_OUT_PRESERVED:
		return sysfs_emit(buf, "preserved\n");
	case PCI_LU_OUT_NONE:
		break;
	}

	switch (pci_liveupdate_in_state(dev)) {
	case PCI_LU_IN_INCOMING:
		return sysfs_emit(buf, "incoming\n");
	case PCI_LU_IN_RETRIEVED:
		return sysfs_emit(buf, "retrieved\n");
	case PCI_LU_IN_LOST:
		return sysfs_emit(buf, "lost\n");
	case PCI_LU_IN_NONE:
		break;
	}

	return sysfs_emit(buf, "none\n");
}
static DEVICE_ATTR_RO(liveupdate);

static struct attribute *pci_liveupdate_attrs[] = {
	&dev_attr_liveupdate.attr,
	NULL,
};

const struct attribute_group pci_liveupdate_attr_group = {
	.attrs = pci_liveupdate_attrs,
};

/* ---- Boot --------------------------------------------------------------------- */

/*
 * Devices that may be writing to memory have been handed over, and this kernel
 * cannot take care of them: there is nothing safe to go on with.
 */
static int __init pci_liveupdate_check_handover(void)
{
	const char *name;

	for (int i = 0; (name = liveupdate_flb_incoming_name(i)); i++) {
		if (strncmp(name, PCI_LUO_FLB_PREFIX, strlen(PCI_LUO_FLB_PREFIX)))
			continue;
		if (strcmp(name, PCI_LUO_FLB_COMPATIBLE))
			panic("PCI: liveupdate: devices were handed over as '%s', this kernel only knows '%s'; power cycle the host to stop the devices",
			      name, PCI_LUO_FLB_COMPATIBLE);
		if (!liveupdate_enabled())
			panic("PCI: liveupdate: devices were handed over, but live update is off; power cycle the host to stop the devices, boot with kho=on and liveupdate=on");
	}

	return 0;
}
core_initcall(pci_liveupdate_check_handover);

/* All host bridges of devices that can be preserved have been scanned. */
static int __init pci_liveupdate_check_vanished(void)
{
	struct pci_dev_ser *rec;
	struct pci_bus *bus;
	unsigned long key;
	void *obj;

	if (liveupdate_flb_get_incoming(&pci_liveupdate_flb, &obj))
		return 0;

	scoped_guard(mutex, &pci_liveupdate_lock) {
		xa_for_each(&pci_liveupdate_incoming.records, key, rec) {
			struct pci_dev *dev __free(pci_dev_put) =
				pci_get_domain_bus_and_slot(rec->domain,
							    PCI_BUS_NUM(rec->bdf),
							    rec->bdf & 0xff);

			if (dev)
				continue;
			pr_err("%04x:%02x:%02x.%d: lost, nothing answers there\n",
			       rec->domain, PCI_BUS_NUM(rec->bdf),
			       PCI_SLOT(rec->bdf), PCI_FUNC(rec->bdf));
			/* What turns up there later is just a device. */
			xa_erase(&pci_liveupdate_incoming.records, key);
			if (rec->kind != PCI_SER_FUNCTION)
				continue;
			bus = pci_find_bus(rec->domain, PCI_BUS_NUM(rec->bdf));
			if (!bus)
				continue;
			pci_liveupdate_unshield_bridges(bus->self);
			pci_liveupdate_leave_bridges(bus->self);
		}
	}

	liveupdate_flb_put_incoming(&pci_liveupdate_flb);
	return 0;
}
late_initcall(pci_liveupdate_check_vanished);
