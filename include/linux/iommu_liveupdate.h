/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LINUX_IOMMU_LIVEUPDATE_H
#define _LINUX_IOMMU_LIVEUPDATE_H

#include <linux/compiler.h>
#include <linux/kho/abi/iommu.h>
#include <linux/types.h>

struct device;
struct iommu_domain;
struct iommu_group;
struct liveupdate_file_handler;

/**
 * struct iommu_liveupdate_ops - What a driver does for live update.
 * @preserve_units:   Preserve what all IOMMUs of the driver need, and announce
 *                    each with iommu_liveupdate_add_unit(). 0 or a negative errno,
 *                    then nothing is preserved.
 * @unpreserve_unit:  Undo @preserve_units for one IOMMU.
 * @check_device:     Can the translation of the device be handed over? NULL, or
 *                    the reason why not.
 * @preserve_device:  Preserve the tables that lead the hardware from the device to
 *                    its page table, and fill the record but for @domain.
 * @freeze_device:    Bring the record up to date. Cannot fail.
 * @unpreserve_device: Undo @preserve_device.
 * @preserve_domain:  Preserve a page table and fill its record but for @mapped
 *                    and @nr_devices.
 * @unpreserve_domain: Undo @preserve_domain.
 * @restore_device:   New kernel: the device is attached to its restored domain;
 *                    record that without touching the hardware. Failing is not an
 *                    option any more, the caller panics.
 * @free_domain:      New kernel: take the pages of a restored domain that no
 *                    device uses over from KHO and free it.
 *
 * All but @check_device may sleep. iommu_liveupdate_lock is held but for
 * @free_domain, and the group mutex of the device where there is one.
 */
struct iommu_liveupdate_ops {
	int (*preserve_units)(void);
	void (*unpreserve_unit)(const struct iommu_unit_ser *ser);
	const char *(*check_device)(struct device *dev);
	int (*preserve_device)(struct device *dev, struct iommu_domain *domain,
			       struct iommu_device_ser *ser);
	void (*freeze_device)(struct device *dev, struct iommu_domain *domain,
			      struct iommu_device_ser *ser);
	void (*unpreserve_device)(struct device *dev,
				  const struct iommu_device_ser *ser);
	int (*preserve_domain)(struct iommu_domain *domain,
			       struct iommu_domain_ser *ser);
	void (*unpreserve_domain)(struct iommu_domain *domain);
	int (*restore_device)(struct iommu_domain *domain, struct device *dev,
			      const struct iommu_device_ser *ser);
	void (*free_domain)(struct iommu_domain *domain);
};

/**
 * struct iommu_preserved - What a preserved device can reach.
 * @domain:   The domain it is attached to.
 * @memfds:   LUO's data of the memfds that the domain maps, each once.
 * @nr_memfds: How many.
 * @mapped:   Bytes mapped.
 */
struct iommu_preserved {
	struct iommu_domain *domain;
	const u64 *memfds;
	unsigned int nr_memfds;
	u64 mapped;
};

#if defined(CONFIG_IOMMU_LIVEUPDATE) && defined(CONFIG_PCI_LIVEUPDATE_DAMAGE) && \
	defined(CONFIG_FAULT_INJECTION)
void iommu_liveupdate_inject(bool on);
#else
static inline void iommu_liveupdate_inject(bool on)
{
}
#endif

#ifdef CONFIG_IOMMU_LIVEUPDATE

int iommu_liveupdate_register_flb(struct liveupdate_file_handler *fh);
void iommu_liveupdate_unregister_flb(struct liveupdate_file_handler *fh);

int iommu_liveupdate_preserve(struct device *dev, const struct iommu_preserved *what);
void iommu_liveupdate_unpreserve(struct device *dev);
int iommu_liveupdate_freeze(struct device *dev);
void iommu_liveupdate_unfreeze(struct device *dev);
int iommu_liveupdate_check_image(bool scalable);
void iommu_liveupdate_open_gate(void);

/* Only with CONFIG_PCI_LIVEUPDATE_DAMAGE, for tests. */
int iommu_liveupdate_damage_version(const char *name);
void pci_liveupdate_damage_iommu(const char *set, unsigned int index, void *rec,
				 size_t size);

bool iommu_liveupdate_has_left(struct device *dev);
void iommu_liveupdate_finish(struct device *dev);

/* Called by the kexec code and by the IOMMU core and drivers only. */
void iommu_liveupdate_quiesce(void);
bool iommu_liveupdate_restore_group(struct iommu_group *group);
bool iommu_liveupdate_is_restored(struct iommu_domain *domain);
bool iommu_liveupdate_hand_over(struct iommu_group *group, struct device *dev);
void iommu_liveupdate_left(struct iommu_domain *domain);
void iommu_liveupdate_release_group(struct iommu_group *group);

int iommu_liveupdate_add_unit(const struct iommu_unit_ser *ser);
bool iommu_liveupdate_outgoing(void);
const struct iommu_unit_ser *iommu_liveupdate_out_unit(unsigned int i);
const struct iommu_device_ser *iommu_liveupdate_out_device(unsigned int i);

bool iommu_liveupdate_incoming(void);
const struct iommu_unit_ser *iommu_liveupdate_in_unit(unsigned int i);
const struct iommu_device_ser *iommu_liveupdate_in_device(unsigned int i);
const struct iommu_domain_ser *iommu_liveupdate_in_domain(unsigned int i);
bool iommu_liveupdate_claimed(const struct iommu_device_ser *ser);
void iommu_liveupdate_set_domain(unsigned int i, struct iommu_domain *domain);
void iommu_liveupdate_adopted(void);

#else /* CONFIG_IOMMU_LIVEUPDATE */

static inline int iommu_liveupdate_register_flb(struct liveupdate_file_handler *fh)
{
	return -EOPNOTSUPP;
}

static inline void
iommu_liveupdate_unregister_flb(struct liveupdate_file_handler *fh)
{
}

static inline int iommu_liveupdate_preserve(struct device *dev,
					    const struct iommu_preserved *what)
{
	return -EOPNOTSUPP;
}

static inline void iommu_liveupdate_unpreserve(struct device *dev)
{
}

static inline int iommu_liveupdate_freeze(struct device *dev)
{
	return -EOPNOTSUPP;
}

static inline void iommu_liveupdate_unfreeze(struct device *dev)
{
}

static inline bool iommu_liveupdate_has_left(struct device *dev)
{
	return true;
}

static inline void iommu_liveupdate_finish(struct device *dev)
{
}

static inline void iommu_liveupdate_quiesce(void)
{
}

static inline bool iommu_liveupdate_restore_group(struct iommu_group *group)
{
	return false;
}

static inline bool iommu_liveupdate_is_restored(struct iommu_domain *domain)
{
	return false;
}

static inline bool iommu_liveupdate_hand_over(struct iommu_group *group,
					      struct device *dev)
{
	return false;
}

static inline void iommu_liveupdate_left(struct iommu_domain *domain)
{
}

static inline void iommu_liveupdate_release_group(struct iommu_group *group)
{
}

#endif /* CONFIG_IOMMU_LIVEUPDATE */
#endif /* _LINUX_IOMMU_LIVEUPDATE_H */
