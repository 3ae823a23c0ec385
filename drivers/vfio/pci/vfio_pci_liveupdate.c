// SPDX-License-Identifier: GPL-2.0-only
/*
 * Live update of vfio-pci devices
 */

/**
 * DOC: VFIO PCI Live Update
 *
 * A vfio cdev file of a device that the generic vfio-pci driver holds can be
 * preserved in a LUO session. It has to be the file through which the device is
 * open, that is, bound to an iommufd. The device goes through the kexec without
 * a reset and without losing bus mastering, and the next kernel hands out a file
 * for it that behaves as one opened from /dev/vfio/devices.
 *
 * Preserved are, besides what the PCI core records (see
 * Documentation/PCI/liveupdate.rst): the config space that vfio emulates, the
 * image that the last close restores, whether the function can be reset, which
 * interrupts were in use, the VF token. Not preserved are eventfds, the KVM
 * association, the iommufd and its objects: the new owner makes them again.
 *
 * preserve allocates everything and checks what can be checked; the user goes on
 * using the device. freeze keeps user space out (callers wait, they get no
 * error), waits for calls under way, masks MSI, MSI-X and INTx in the device and
 * writes the record. It does not depend on the user: the process that owned the
 * device may be dead. unfreeze undoes all of it and loses no interrupt: those
 * that came in between are pending in the device, and where the device cannot
 * keep them (MSI without mask bits) each vector is signalled once.
 *
 * In the new kernel nothing but retrieve can open an incoming device. Retrieving
 * it before vfio-pci is bound waits for a moment and then returns -EAGAIN, which
 * loses nothing. The first open of the retrieved file only counts: no bus master
 * clear, no reset, no interrupt. It builds the emulated config space as ever and
 * then lays the recorded one over it.
 *
 * FINISH is refused with -EBUSY while a device of the session is not retrieved,
 * bound and attached. A session that is closed abandons a device that is not
 * bound: it is stopped, reset and released, in this order, and can be used by
 * anyone again. A bound one stays with its owner.
 *
 * Lock order, outermost first::
 *
 *   LUO session mutex, LUO file mutex
 *     vfio_device_set.lock
 *       vfio_pci_liveupdate_lock
 *         igate
 *           memory_lock
 *             irqlock
 *       ioeventfds_lock
 *
 * pci_liveupdate_lock (the PCI core's) is taken with vfio_device_set.lock held.
 * The fence is raised with none of them held but LUO's. Nothing here takes the
 * device lock; the reset of an abandoned device tries it.
 */

#include <linux/cleanup.h>
#include <linux/err.h>
#include <linux/eventfd.h>
#include <linux/file.h>
#include <linux/io.h>
#include <linux/jiffies.h>
#include <linux/kexec_handover.h>
#include <linux/kho/abi/vfio_pci.h>
#include <linux/list.h>
#include <linux/liveupdate.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/pci_liveupdate.h>
#include <linux/rcupdate.h>
#include <linux/uuid.h>
#include <linux/vfio.h>
#include <linux/vfio_liveupdate.h>
#include <linux/vfio_pci_core.h>
#include <linux/vfio_pci_liveupdate.h>
#include <linux/wait.h>

#include "vfio_pci_priv.h"

/* How long retrieve waits for vfio-pci to be bound to the device. */
#define VFIO_PCI_LIVEUPDATE_BIND_TIMEOUT	(5 * HZ)

/* Registered incoming devices, and what retrieve waits on for more. */
static LIST_HEAD(vfio_pci_liveupdate_devices);
static DEFINE_MUTEX(vfio_pci_liveupdate_lock);
static DECLARE_WAIT_QUEUE_HEAD(vfio_pci_liveupdate_wait);
static atomic_t vfio_pci_liveupdate_registrations = ATOMIC_INIT(0);

/* The driver whose files are preserved, set at registration. */
static const struct vfio_device_ops *vfio_pci_liveupdate_ops;

static struct vfio_pci_core_device *to_vdev(struct vfio_device *device)
{
	return container_of(device, struct vfio_pci_core_device, vdev);
}

/* ---- The record ------------------------------------------------------------ */

/**
 * vfio_pci_liveupdate_check_ser - Check an incoming record.
 * @ser: What the previous kernel wrote.
 *
 * Return: NULL if it can be used, else what is wrong with it.
 */
const char *vfio_pci_liveupdate_check_ser(const struct vfio_pci_ser *ser)
{
	unsigned int end = 0;

	if (ser->flags & ~VFIO_PCI_SER_FLAGS)
		return "flags";
	if (!(ser->flags & VFIO_PCI_SER_F_FROZEN))
		return "frozen flag";
	if (ser->irq_type != VFIO_PCI_SER_IRQ_NONE &&
	    ser->irq_type > VFIO_PCI_MSIX_IRQ_INDEX)
		return "interrupt type";
	if (ser->msi_qmax > 5)
		return "number of MSI vectors";
	if (ser->cfg_size != PCI_CFG_SPACE_SIZE &&
	    ser->cfg_size != PCI_CFG_SPACE_EXP_SIZE)
		return "size of config space";
	if (ser->nr_caps > VFIO_PCI_SER_CAPS)
		return "number of capabilities";
	if (ser->nr_vectors != bitmap_weight((const unsigned long *)ser->vectors,
					     VFIO_PCI_SER_VECTORS))
		return "number of vectors";
	if (ser->reserved0 || memchr_inv(ser->reserved, 0, sizeof(ser->reserved)))
		return "reserved field";

	for (int i = 0; i < ser->nr_caps; i++) {
		const struct vfio_pci_cap_ser *cap = &ser->caps[i];

		if (!cap->len || cap->reserved || cap->offset < end ||
		    cap->offset < PCI_STD_HEADER_SIZEOF ||
		    cap->offset + cap->len > ser->cfg_size)
			return "capability";
		end = cap->offset + cap->len;
	}

	if (ser->flags & VFIO_PCI_SER_F_STATE)
		return pci_liveupdate_check_state(&ser->state);
	return NULL;
}

/* The next run of bytes in vfio's map that belong to one capability. */
static bool vfio_pci_liveupdate_next_cap(struct vfio_pci_core_device *vdev,
					 struct vfio_pci_cap_ser *cap)
{
	const u8 *map = vdev->pci_config_map;
	unsigned int size = vdev->pdev->cfg_size;
	unsigned int pos = cap->offset + cap->len, end;

	if (!pos)
		pos = PCI_STD_HEADER_SIZEOF;
	while (pos < size && (map[pos] == PCI_CAP_ID_INVALID ||
			      map[pos] == PCI_CAP_ID_INVALID_VIRT))
		pos++;
	if (pos == size)
		return false;

	/* The two lists have IDs of their own, so a run ends where they meet. */
	end = pos < PCI_CFG_SPACE_SIZE ? PCI_CFG_SPACE_SIZE : size;
	*cap = (struct vfio_pci_cap_ser){ .id = map[pos], .offset = pos };
	while (pos < end && map[pos] == cap->id)
		pos++;
	cap->len = pos - cap->offset;
	return true;
}

static int vfio_pci_liveupdate_count_caps(struct vfio_pci_core_device *vdev)
{
	struct vfio_pci_cap_ser cap = {};
	int nr = 0;

	while (vfio_pci_liveupdate_next_cap(vdev, &cap))
		nr++;
	return nr;
}

static void vfio_pci_liveupdate_fill_config(struct vfio_pci_core_device *vdev,
					    struct vfio_pci_ser *ser)
{
	struct vfio_pci_cap_ser cap = {};

	ser->cfg_size = vdev->pdev->cfg_size;
	memcpy(ser->vconfig, vdev->vconfig, ser->cfg_size);
	ser->nr_caps = 0;
	while (vfio_pci_liveupdate_next_cap(vdev, &cap))
		ser->caps[ser->nr_caps++] = cap;
}

static void vfio_pci_liveupdate_fill_irqs(struct vfio_pci_core_device *vdev,
					  struct vfio_pci_ser *ser)
{
	unsigned long index;
	void *ctx;

	lockdep_assert_held(&vdev->igate);

	ser->irq_type = vdev->irq_type < VFIO_PCI_NUM_IRQS ?
			vdev->irq_type : VFIO_PCI_SER_IRQ_NONE;
	ser->msi_qmax = vdev->msi_qmax;
	ser->msi_flags = vdev->liveupdate.msi_flags;
	ser->msix_flags = vdev->liveupdate.msix_flags;
	ser->msi_mask = vdev->liveupdate.msi_mask;

	ser->nr_vectors = 0;
	memset(ser->vectors, 0, sizeof(ser->vectors));
	xa_for_each(&vdev->ctx, index, ctx) {
		if (index >= VFIO_PCI_SER_VECTORS)
			break;
		ser->vectors[index / 64] |= BIT_ULL(index % 64);
		ser->nr_vectors++;
	}
}

/* ---- Masking what the device can signal ------------------------------------ */

static int vfio_pci_liveupdate_msi_mask_pos(struct pci_dev *pdev, u16 flags)
{
	if (!(flags & PCI_MSI_FLAGS_MASKBIT))
		return 0;
	return pdev->msi_cap + (flags & PCI_MSI_FLAGS_64BIT ?
				PCI_MSI_MASK_64 : PCI_MSI_MASK_32);
}

/*
 * Silence the device without making it forget: masked MSI-X and maskable MSI
 * keep their pending bits, INTx its status bit. Written straight to the device
 * because the IRQ core must not take part: it may hold back a mask (lazy
 * disable), and this has to work for any owner, dead or alive.
 */
static void vfio_pci_liveupdate_mask(struct vfio_pci_core_device *vdev)
{
	struct vfio_pci_liveupdate *lu = &vdev->liveupdate;
	struct pci_dev *pdev = vdev->pdev;
	u16 cmd;
	int pos;

	lockdep_assert_held(&vdev->igate);

	/* First: a device with MSI off falls back to INTx. */
	scoped_guard(spinlock_irqsave, &vdev->irqlock) {
		pci_read_config_word(pdev, PCI_COMMAND, &cmd);
		lu->intx_disabled = cmd & PCI_COMMAND_INTX_DISABLE;
		if (!lu->intx_disabled)
			pci_write_config_word(pdev, PCI_COMMAND,
					      cmd | PCI_COMMAND_INTX_DISABLE);
		lu->intx_frozen = true;
	}
	lu->irq_disabled = !vdev->pci_2_3 &&
			   vdev->irq_type == VFIO_PCI_INTX_IRQ_INDEX;
	if (lu->irq_disabled)
		disable_irq(pdev->irq);

	/* The last kernel masked it, and nobody has asked for it since. */
	if (lu->held)
		return;

	lu->msix_flags = 0;
	if (pdev->msix_cap) {
		pci_read_config_word(pdev, pdev->msix_cap + PCI_MSIX_FLAGS,
				     &lu->msix_flags);
		if (lu->msix_flags & PCI_MSIX_FLAGS_ENABLE)
			pci_write_config_word(pdev, pdev->msix_cap + PCI_MSIX_FLAGS,
					      lu->msix_flags |
					      PCI_MSIX_FLAGS_MASKALL);
	}

	lu->msi_flags = 0;
	lu->msi_mask = 0;
	if (pdev->msi_cap) {
		pci_read_config_word(pdev, pdev->msi_cap + PCI_MSI_FLAGS,
				     &lu->msi_flags);
		pos = vfio_pci_liveupdate_msi_mask_pos(pdev, lu->msi_flags);
		if (pos)
			pci_read_config_dword(pdev, pos, &lu->msi_mask);
		if (!(lu->msi_flags & PCI_MSI_FLAGS_ENABLE))
			return;
		if (pos)
			pci_write_config_dword(pdev, pos, U32_MAX);
		else
			pci_write_config_word(pdev, pdev->msi_cap + PCI_MSI_FLAGS,
					      lu->msi_flags &
					      ~PCI_MSI_FLAGS_ENABLE);
	}
}

static void vfio_pci_liveupdate_unmask(struct vfio_pci_core_device *vdev)
{
	struct vfio_pci_liveupdate *lu = &vdev->liveupdate;
	struct pci_dev *pdev = vdev->pdev;
	u16 cmd;
	int pos;

	lockdep_assert_held(&vdev->igate);

	if (lu->msi_flags & PCI_MSI_FLAGS_ENABLE && !lu->held) {
		pos = vfio_pci_liveupdate_msi_mask_pos(pdev, lu->msi_flags);
		if (pos)
			pci_write_config_dword(pdev, pos, lu->msi_mask);
		else
			pci_write_config_word(pdev, pdev->msi_cap + PCI_MSI_FLAGS,
					      lu->msi_flags);
	}
	if (lu->msix_flags & PCI_MSIX_FLAGS_ENABLE && !lu->held)
		pci_write_config_word(pdev, pdev->msix_cap + PCI_MSIX_FLAGS,
				      lu->msix_flags);

	if (lu->irq_disabled)
		enable_irq(pdev->irq);

	guard(spinlock_irqsave)(&vdev->irqlock);
	lu->intx_frozen = false;
	if (!lu->intx_disabled) {
		pci_read_config_word(pdev, PCI_COMMAND, &cmd);
		pci_write_config_word(pdev, PCI_COMMAND,
				      cmd & ~PCI_COMMAND_INTX_DISABLE);
	}
}

/* Did freeze have to take away interrupts that the device does not keep? */
static bool vfio_pci_liveupdate_msi_lossy(struct vfio_pci_core_device *vdev)
{
	u16 flags = vdev->liveupdate.msi_flags;

	if (vdev->liveupdate.held)
		return false;
	return flags & PCI_MSI_FLAGS_ENABLE && !(flags & PCI_MSI_FLAGS_MASKBIT);
}

/* ---- File handler: old kernel ----------------------------------------------- */

static bool vfio_pci_liveupdate_can_preserve(struct liveupdate_file_handler *fh,
					     struct file *file)
{
	return vfio_liveupdate_file_device(file, vfio_pci_liveupdate_ops);
}

static unsigned long vfio_pci_liveupdate_get_id(struct file *file)
{
	return (unsigned long)vfio_liveupdate_file_device(file,
							  vfio_pci_liveupdate_ops);
}

static int vfio_pci_liveupdate_refuse(struct vfio_pci_core_device *vdev, int err,
				      const char *why)
{
	pci_info(vdev->pdev, "live update: not preserved: %s\n", why);
	return err;
}

static int vfio_pci_liveupdate_check(struct vfio_pci_core_device *vdev,
				     struct file *file)
{
	switch (vfio_liveupdate_check_file(file)) {
	case 0:
		break;
	case -EOPNOTSUPP:
		return vfio_pci_liveupdate_refuse(vdev, -EOPNOTSUPP,
						  "the file was opened through a group");
	case -ENOTCONN:
		return vfio_pci_liveupdate_refuse(vdev, -ENOTCONN,
						  "the file is not bound to an iommufd");
	default:
		return vfio_pci_liveupdate_refuse(vdev, -ENODEV,
						  "its driver is being unbound");
	}

	if (vdev->num_regions)
		return vfio_pci_liveupdate_refuse(vdev, -EOPNOTSUPP,
						  "it has device specific regions");
	if (vdev->pm_runtime_engaged)
		return vfio_pci_liveupdate_refuse(vdev, -ESHUTDOWN,
						  "the user has put it into low power");
	if (vfio_pci_liveupdate_count_caps(vdev) > VFIO_PCI_SER_CAPS)
		return vfio_pci_liveupdate_refuse(vdev, -E2BIG,
						  "it has too many capabilities");
	return 0;
}

static int vfio_pci_liveupdate_preserve(struct liveupdate_file_op_args *args)
{
	struct vfio_device *device =
		vfio_liveupdate_file_device(args->file, vfio_pci_liveupdate_ops);
	struct vfio_pci_core_device *vdev = to_vdev(device);
	struct pci_dev *pdev = vdev->pdev;
	struct vfio_pci_ser *ser;
	int err;

	guard(mutex)(&device->dev_set->lock);

	err = vfio_pci_liveupdate_check(vdev, args->file);
	if (err)
		return err;

	ser = kho_alloc_preserve(sizeof(*ser));
	if (IS_ERR(ser))
		return PTR_ERR(ser);

	err = pci_liveupdate_preserve(pdev);
	if (err)
		goto err_free;

	ser->domain = pci_domain_nr(pdev->bus);
	ser->bdf = PCI_DEVID(pdev->bus->number, pdev->devfn);
	if (vdev->reset_works)
		ser->flags |= VFIO_PCI_SER_F_RESET_WORKS;
	if (vdev->nointx)
		ser->flags |= VFIO_PCI_SER_F_NOINTX;

	err = pci_liveupdate_store_state(pdev, vdev->pci_saved_state, &ser->state);
	if (!err)
		ser->flags |= VFIO_PCI_SER_F_STATE;
	else if (err != -ENODATA)
		goto err_unpreserve;

	/* Pairs with the tests where the user changes the power state. */
	down_write(&vdev->memory_lock);
	err = vdev->pm_runtime_engaged || pdev->current_state != PCI_D0 ?
	      -ESHUTDOWN : 0;
	WRITE_ONCE(vdev->liveupdate.preserved, !err);
	up_write(&vdev->memory_lock);
	if (err) {
		vfio_pci_liveupdate_refuse(vdev, err,
					   "the user has put it into low power");
		goto err_unpreserve;
	}

	vfio_liveupdate_prepare(device);
	args->serialized_data = virt_to_phys(ser);
	return 0;

err_unpreserve:
	pci_liveupdate_unpreserve(pdev);
err_free:
	kho_unpreserve_free(ser);
	return err;
}

static void vfio_pci_liveupdate_unpreserve(struct liveupdate_file_op_args *args)
{
	struct vfio_device *device =
		vfio_liveupdate_file_device(args->file, vfio_pci_liveupdate_ops);
	struct vfio_pci_core_device *vdev = to_vdev(device);

	guard(mutex)(&device->dev_set->lock);

	vfio_liveupdate_unprepare(device);
	WRITE_ONCE(vdev->liveupdate.preserved, false);
	pci_liveupdate_unpreserve(vdev->pdev);
	kho_unpreserve_free(phys_to_virt(args->serialized_data));
}

static void vfio_pci_liveupdate_set_frozen(struct vfio_pci_core_device *vdev,
					   bool frozen)
{
	lockdep_assert_held_write(&vdev->memory_lock);

	guard(spinlock_irqsave)(&vdev->irqlock);
	WRITE_ONCE(vdev->liveupdate.frozen, frozen);
}

/* An ioeventfd writes from the wakeup of its eventfd, or from its work. */
static void vfio_pci_liveupdate_drain_ioeventfds(struct vfio_pci_core_device *vdev)
{
	struct vfio_pci_ioeventfd *ioeventfd;

	guard(mutex)(&vdev->ioeventfds_lock);
	if (list_empty(&vdev->ioeventfds_list))
		return;

	/* The wakeup runs with interrupts off, under the eventfd's lock. */
	synchronize_rcu_expedited();
	list_for_each_entry(ioeventfd, &vdev->ioeventfds_list, next)
		vfio_virqfd_flush_thread(&ioeventfd->virqfd);
}

static int vfio_pci_liveupdate_freeze(struct liveupdate_file_op_args *args)
{
	struct vfio_pci_ser *ser = phys_to_virt(args->serialized_data);
	struct vfio_device *device =
		vfio_liveupdate_file_device(args->file, vfio_pci_liveupdate_ops);
	struct vfio_pci_core_device *vdev = to_vdev(device);
	struct pci_dev *pdev = vdev->pdev;
	int err;

	err = vfio_liveupdate_fence(device);
	if (err) {
		pci_err(pdev, "live update: a call into the device does not end\n");
		return err;
	}

	guard(mutex)(&device->dev_set->lock);

	err = vfio_liveupdate_check_file(args->file);
	if (err) {
		pci_err(pdev, "live update: its driver is being unbound\n");
		goto err_unfence;
	}

	err = pci_liveupdate_freeze(pdev);
	if (err)
		goto err_unfence;

	/* From here on nothing can fail. */
	scoped_guard(mutex, &vdev->igate) {
		vfio_pci_zap_and_down_write_memory_lock(vdev);
		vfio_pci_liveupdate_set_frozen(vdev, true);
		up_write(&vdev->memory_lock);
	}
	vfio_pci_liveupdate_drain_ioeventfds(vdev);

	scoped_guard(mutex, &vdev->igate) {
		vfio_pci_liveupdate_mask(vdev);
		vfio_pci_liveupdate_fill_config(vdev, ser);
		vfio_pci_liveupdate_fill_irqs(vdev, ser);
	}
	ser->flags &= ~(VFIO_PCI_SER_F_VIRQ_DISABLED | VFIO_PCI_SER_F_VF_TOKEN);
	if (vdev->virq_disabled)
		ser->flags |= VFIO_PCI_SER_F_VIRQ_DISABLED;
	if (vdev->vf_token) {
		scoped_guard(mutex, &vdev->vf_token->lock)
			export_uuid(ser->vf_token, &vdev->vf_token->uuid);
		ser->flags |= VFIO_PCI_SER_F_VF_TOKEN;
	}
	ser->flags |= VFIO_PCI_SER_F_FROZEN;
	return 0;

err_unfence:
	vfio_liveupdate_unfence(device);
	return err;
}

static void vfio_pci_liveupdate_replay(struct vfio_pci_core_device *vdev)
{
	struct vfio_pci_ioeventfd *ioeventfd;

	if (xchg(&vdev->liveupdate.intx_deferred, false) &&
	    vdev->irq_type == VFIO_PCI_INTX_IRQ_INDEX)
		vfio_pci_intx_unmask(vdev);

	/* Whoever saw the device frozen has put down what it wanted. */
	vfio_pci_liveupdate_drain_ioeventfds(vdev);
	scoped_guard(mutex, &vdev->ioeventfds_lock) {
		list_for_each_entry(ioeventfd, &vdev->ioeventfds_list, next) {
			if (xchg(&ioeventfd->deferred, false))
				vfio_pci_ioeventfd_write(ioeventfd);
		}
	}

	if (!vfio_pci_liveupdate_msi_lossy(vdev))
		return;
	/* One interrupt too many makes a driver look, one too few hangs it. */
	guard(mutex)(&vdev->igate);
	vfio_pci_set_irqs_ioctl(vdev, VFIO_IRQ_SET_DATA_NONE |
				VFIO_IRQ_SET_ACTION_TRIGGER,
				VFIO_PCI_MSI_IRQ_INDEX, 0, 32, NULL);
}

static void vfio_pci_liveupdate_unfreeze(struct liveupdate_file_op_args *args)
{
	struct vfio_pci_ser *ser = phys_to_virt(args->serialized_data);
	struct vfio_device *device =
		vfio_liveupdate_file_device(args->file, vfio_pci_liveupdate_ops);
	struct vfio_pci_core_device *vdev = to_vdev(device);

	scoped_guard(mutex, &device->dev_set->lock) {
		ser->flags &= ~VFIO_PCI_SER_F_FROZEN;
		scoped_guard(mutex, &vdev->igate) {
			vfio_pci_liveupdate_unmask(vdev);
			down_write(&vdev->memory_lock);
			vfio_pci_liveupdate_set_frozen(vdev, false);
			up_write(&vdev->memory_lock);
		}
		vfio_pci_liveupdate_replay(vdev);
		pci_liveupdate_unfreeze(vdev->pdev);
	}

	vfio_liveupdate_unfence(device);
}

/* ---- File handler: new kernel ------------------------------------------------ */

/* Returns the device with its registration held, or NULL. */
static struct vfio_pci_core_device *
vfio_pci_liveupdate_find(struct pci_dev *pdev)
{
	struct vfio_pci_core_device *vdev;

	guard(mutex)(&vfio_pci_liveupdate_lock);
	list_for_each_entry(vdev, &vfio_pci_liveupdate_devices, liveupdate.node) {
		if (vdev->pdev != pdev)
			continue;
		return vfio_device_try_get_registration(&vdev->vdev) ? vdev : NULL;
	}
	return NULL;
}

/*
 * The driver may be a module, probe asynchronously, or be bound by a script that
 * is still running: wait a moment for it. Returns like the above.
 */
static struct vfio_pci_core_device *
vfio_pci_liveupdate_wait_for(struct pci_dev *pdev)
{
	long left = VFIO_PCI_LIVEUPDATE_BIND_TIMEOUT;
	atomic_t *nr = &vfio_pci_liveupdate_registrations;
	struct vfio_pci_core_device *vdev;

	do {
		int seen = atomic_read(nr);

		vdev = vfio_pci_liveupdate_find(pdev);
		if (vdev)
			return vdev;
		left = wait_event_killable_timeout(vfio_pci_liveupdate_wait,
						   atomic_read(nr) != seen, left);
	} while (left > 0);

	return NULL;
}

static int vfio_pci_liveupdate_take(struct vfio_pci_core_device *vdev,
				    struct vfio_pci_ser *ser,
				    struct file **filep)
{
	struct pci_dev *pdev = vdev->pdev;
	const char *driver = pdev->dev.driver->name;
	struct file *file;

	guard(mutex)(&vdev->vdev.dev_set->lock);

	if (vdev->vdev.ops != vfio_pci_liveupdate_ops ||
	    strcmp(driver, pci_liveupdate_driver(pdev))) {
		pci_err(pdev, "live update: not retrieved: driver %s is bound to it, not %s\n",
			driver, pci_liveupdate_driver(pdev));
		return -EAGAIN;
	}

	file = vfio_liveupdate_create_file(&vdev->vdev);
	if (IS_ERR(file)) {
		pci_err(pdev, "live update: no file for it: %pe\n", file);
		/* Nothing is lost by running out of memory. */
		return -EAGAIN;
	}

	if (ser->flags & VFIO_PCI_SER_F_VF_TOKEN && vdev->vf_token) {
		guard(mutex)(&vdev->vf_token->lock);
		import_uuid(&vdev->vf_token->uuid, ser->vf_token);
	}
	vdev->liveupdate.in = ser;
	pci_liveupdate_retrieved(pdev);
	*filep = file;
	return 0;
}

static int vfio_pci_liveupdate_retrieve(struct liveupdate_file_op_args *args)
{
	struct vfio_pci_ser *ser = phys_to_virt(args->serialized_data);
	struct pci_dev *pdev __free(pci_dev_put) = NULL;
	struct vfio_pci_core_device *vdev;
	const char *bad;
	int err;

	err = pci_liveupdate_find_incoming(ser->domain, ser->bdf, &pdev);
	if (err)
		return err;

	bad = vfio_pci_liveupdate_check_ser(ser);
	if (bad) {
		pci_err(pdev, "live update: its vfio record is damaged: %s\n", bad);
		return -EIO;
	}

	vdev = vfio_pci_liveupdate_wait_for(pdev);
	if (!vdev) {
		pci_info(pdev, "live update: not retrieved yet: vfio-pci is not bound to it\n");
		return -EAGAIN;
	}

	err = vfio_pci_liveupdate_take(vdev, ser, &args->file);
	vfio_device_put_registration(&vdev->vdev);
	return err;
}

static bool vfio_pci_liveupdate_can_finish(struct liveupdate_file_op_args *args)
{
	struct vfio_pci_ser *ser = phys_to_virt(args->serialized_data);
	struct pci_dev *pdev __free(pci_dev_put) = NULL;
	struct vfio_device *device;
	const char *why = NULL;

	/* A device that is lost holds up nobody. */
	if (args->retrieve_status < 0)
		return true;
	if (!args->retrieve_status &&
	    pci_liveupdate_find_incoming(ser->domain, ser->bdf, &pdev))
		return true;

	if (!args->retrieve_status) {
		why = "retrieved";
	} else {
		device = vfio_liveupdate_file_device(args->file,
						     vfio_pci_liveupdate_ops);
		guard(mutex)(&device->dev_set->lock);
		if (!device->open_count)
			why = "bound to an iommufd";
		else if (!device->iommufd_attached)
			why = "attached to an IOAS";
	}

	if (why)
		pr_info("vfio-pci %04x:%02x:%02x.%d: live update: cannot finish, it is not %s\n",
			ser->domain, PCI_BUS_NUM(ser->bdf),
			PCI_SLOT(ser->bdf), PCI_FUNC(ser->bdf), why);
	return !why;
}

/* Make the device one that anybody may open. */
static void vfio_pci_liveupdate_unreserve(struct vfio_pci_core_device *vdev)
{
	lockdep_assert_held(&vfio_pci_liveupdate_lock);

	list_del_init(&vdev->liveupdate.node);
	WRITE_ONCE(vdev->vdev.liveupdate.reserved, false);
}

static void vfio_pci_liveupdate_abandon(struct pci_dev *pdev,
					struct vfio_pci_ser *ser)
{
	struct vfio_pci_core_device *vdev;

	bool stopped;

	/* Still incoming, so nobody can open it meanwhile. */
	stopped = pci_liveupdate_stop(pdev, ser->flags & VFIO_PCI_SER_F_STATE ?
				      &ser->state : NULL);

	guard(mutex)(&vfio_pci_liveupdate_lock);
	if (stopped)
		pci_liveupdate_finish(pdev);
	list_for_each_entry(vdev, &vfio_pci_liveupdate_devices, liveupdate.node) {
		if (vdev->pdev == pdev) {
			vfio_pci_liveupdate_unreserve(vdev);
			break;
		}
	}
}

static void vfio_pci_liveupdate_finish(struct liveupdate_file_op_args *args)
{
	struct vfio_pci_ser *ser = phys_to_virt(args->serialized_data);
	struct pci_dev *pdev __free(pci_dev_put) = NULL;
	struct vfio_pci_core_device *vdev;
	struct vfio_device *device;

	if (args->retrieve_status <= 0) {
		if (!pci_liveupdate_find_incoming(ser->domain, ser->bdf, &pdev))
			vfio_pci_liveupdate_abandon(pdev, ser);
		kho_restore_free(ser);
		return;
	}

	device = vfio_liveupdate_file_device(args->file, vfio_pci_liveupdate_ops);
	vdev = to_vdev(device);

	guard(mutex)(&device->dev_set->lock);
	vdev->liveupdate.in = NULL;
	if (device->open_count) {
		pci_liveupdate_finish(vdev->pdev);
		scoped_guard(mutex, &vfio_pci_liveupdate_lock)
			vfio_pci_liveupdate_unreserve(vdev);
	} else {
		/* Its file is out, but nobody has it open: it starts afresh. */
		vfio_pci_liveupdate_abandon(vdev->pdev, ser);
	}
	kho_restore_free(ser);
}

static struct liveupdate_file_ops vfio_pci_liveupdate_file_ops = {
	.can_preserve = vfio_pci_liveupdate_can_preserve,
	.preserve = vfio_pci_liveupdate_preserve,
	.unpreserve = vfio_pci_liveupdate_unpreserve,
	.freeze = vfio_pci_liveupdate_freeze,
	.unfreeze = vfio_pci_liveupdate_unfreeze,
	.retrieve = vfio_pci_liveupdate_retrieve,
	.can_finish = vfio_pci_liveupdate_can_finish,
	.finish = vfio_pci_liveupdate_finish,
	.get_id = vfio_pci_liveupdate_get_id,
};

static struct liveupdate_file_handler vfio_pci_liveupdate_fh = {
	.ops = &vfio_pci_liveupdate_file_ops,
	.compatible = VFIO_PCI_LUO_FH_COMPATIBLE,
};

static bool vfio_pci_liveupdate_registered_fh;

/**
 * vfio_pci_liveupdate_init - Start preserving the files of a driver.
 * @ops:   The driver's device ops, by which its files are known.
 * @owner: The driver's module; it is kept while a file is preserved.
 *
 * Where live update is off, or there is no room, the driver works without it.
 */
void vfio_pci_liveupdate_init(const struct vfio_device_ops *ops,
			      struct module *owner)
{
	int err;

	vfio_pci_liveupdate_ops = ops;
	vfio_pci_liveupdate_file_ops.owner = owner;

	err = liveupdate_register_file_handler(&vfio_pci_liveupdate_fh);
	if (!err) {
		err = pci_liveupdate_register_flb(&vfio_pci_liveupdate_fh);
		if (err)
			liveupdate_unregister_file_handler(&vfio_pci_liveupdate_fh);
	}
	if (err && err != -EOPNOTSUPP)
		pr_warn("vfio-pci: no live update: %pe\n", ERR_PTR(err));
	vfio_pci_liveupdate_registered_fh = !err;
}
EXPORT_SYMBOL_GPL(vfio_pci_liveupdate_init);

/**
 * vfio_pci_liveupdate_exit - Undo vfio_pci_liveupdate_init().
 *
 * No file is preserved any more, or the module could not have been unloaded.
 */
void vfio_pci_liveupdate_exit(void)
{
	if (!vfio_pci_liveupdate_registered_fh)
		return;

	pci_liveupdate_unregister_flb(&vfio_pci_liveupdate_fh);
	liveupdate_unregister_file_handler(&vfio_pci_liveupdate_fh);
}
EXPORT_SYMBOL_GPL(vfio_pci_liveupdate_exit);

/* ---- Hooks -------------------------------------------------------------------- */

/**
 * vfio_pci_liveupdate_register - A device is about to be registered with vfio.
 * @vdev: The device. If it is incoming it is reserved for its retrieved file.
 */
void vfio_pci_liveupdate_register(struct vfio_pci_core_device *vdev)
{
	INIT_LIST_HEAD(&vdev->liveupdate.node);

	guard(mutex)(&vfio_pci_liveupdate_lock);
	if (!pci_liveupdate_is_incoming(vdev->pdev))
		return;

	WRITE_ONCE(vdev->vdev.liveupdate.reserved, true);
	list_add(&vdev->liveupdate.node, &vfio_pci_liveupdate_devices);
}

/**
 * vfio_pci_liveupdate_registered - The device can be retrieved from now on.
 * @vdev: The device.
 */
void vfio_pci_liveupdate_registered(struct vfio_pci_core_device *vdev)
{
	atomic_inc(&vfio_pci_liveupdate_registrations);
	wake_up_all(&vfio_pci_liveupdate_wait);
}

/**
 * vfio_pci_liveupdate_unregister - The device is about to leave vfio.
 * @vdev: The device.
 */
void vfio_pci_liveupdate_unregister(struct vfio_pci_core_device *vdev)
{
	guard(mutex)(&vfio_pci_liveupdate_lock);
	list_del_init(&vdev->liveupdate.node);
}

/**
 * vfio_pci_liveupdate_is_incoming - Is a live update of the device not finished?
 * @vdev: A device that is being opened or closed.
 *
 * Return: true if nothing may be reset, cleared or disabled.
 */
bool vfio_pci_liveupdate_is_incoming(struct vfio_pci_core_device *vdev)
{
	return pci_liveupdate_is_incoming(vdev->pdev);
}

/**
 * vfio_pci_liveupdate_no_bus_reset - Does a bus reset hit somebody else?
 * @dev_set: The devices that a bus or slot reset would hit.
 * @asked:   An owner of all open devices asks for it; else it is just to clean up
 *           after the last close.
 *
 * An incoming device that is not open yet is in use all the same, and a frozen
 * one belongs to the next kernel.
 *
 * Return: true if the devices must not be reset together.
 */
bool vfio_pci_liveupdate_no_bus_reset(struct vfio_device_set *dev_set, bool asked)
{
	struct vfio_pci_core_device *cur;

	lockdep_assert_held(&dev_set->lock);

	list_for_each_entry(cur, &dev_set->device_list, vdev.dev_set_list) {
		if (vfio_pci_liveupdate_frozen(cur))
			return true;
		if (pci_liveupdate_is_incoming(cur->pdev) &&
		    !(asked && cur->vdev.open_count))
			return true;
	}
	return false;
}

/**
 * vfio_pci_liveupdate_enable - Take over a running device.
 * @vdev: The device, with its record.
 *
 * In place of the bus master clear, enable and reset of an ordinary first open.
 *
 * Return: 0, -EINVAL if there is no usable record, -ENOMEM, or what
 *         pci_enable_device() returns. On error nothing has changed and it may
 *         be tried again.
 */
int vfio_pci_liveupdate_enable(struct vfio_pci_core_device *vdev)
{
	struct vfio_pci_ser *ser = vdev->liveupdate.in;
	struct pci_dev *pdev = vdev->pdev;
	int ret;

	if (!ser)
		return -EINVAL;

	/* Only counts: the PCI core has adopted it as enabled. */
	ret = pci_enable_device(pdev);
	if (ret)
		return ret;

	if (ser->flags & VFIO_PCI_SER_F_STATE) {
		struct pci_saved_state *state =
			pci_liveupdate_load_state(pdev, &ser->state);

		if (IS_ERR(state)) {
			pci_disable_device(pdev);
			return PTR_ERR(state);
		}
		vdev->pci_saved_state = state;
	}

	vdev->reset_works = ser->flags & VFIO_PCI_SER_F_RESET_WORKS;
	vdev->nointx = ser->flags & VFIO_PCI_SER_F_NOINTX;
	if (!vdev->nointx && !vdev->nointxmask)
		vdev->pci_2_3 = pci_intx_mask_supported(pdev);
	return 0;
}

static bool vfio_pci_liveupdate_has_cap(struct vfio_pci_core_device *vdev,
					const struct vfio_pci_cap_ser *want)
{
	struct vfio_pci_cap_ser cap = {};

	while (vfio_pci_liveupdate_next_cap(vdev, &cap)) {
		if (cap.offset == want->offset)
			return cap.id == want->id && cap.len == want->len;
	}
	return false;
}

/**
 * vfio_pci_liveupdate_restore - Lay the recorded config space over the new one.
 * @vdev: A device after vfio_config_init().
 *
 * The bytes of a capability are taken over only if this kernel shows the user
 * the same capability at the same place. What is not emulated is always read
 * from the hardware, whatever stands in the copy.
 *
 * Return: 0, or -EINVAL if the user would see another layout than before.
 */
int vfio_pci_liveupdate_restore(struct vfio_pci_core_device *vdev)
{
	struct vfio_pci_ser *ser = vdev->liveupdate.in;

	if (!ser)
		return 0;

	if (ser->cfg_size != vdev->pdev->cfg_size) {
		pci_err(vdev->pdev, "live update: config space had %u bytes, has %d\n",
			ser->cfg_size, vdev->pdev->cfg_size);
		return -EINVAL;
	}
	for (int i = 0; i < ser->nr_caps; i++) {
		if (vfio_pci_liveupdate_has_cap(vdev, &ser->caps[i]))
			continue;
		pci_err(vdev->pdev, "live update: this kernel does not show capability %#x at %#x as the last one did\n",
			ser->caps[i].id, ser->caps[i].offset);
		return -EINVAL;
	}

	memcpy(vdev->vconfig, ser->vconfig, PCI_STD_HEADER_SIZEOF);
	for (int i = 0; i < ser->nr_caps; i++) {
		const struct vfio_pci_cap_ser *cap = &ser->caps[i];

		memcpy(vdev->vconfig + cap->offset, ser->vconfig + cap->offset,
		       cap->len);
	}
	vdev->virq_disabled = ser->flags & VFIO_PCI_SER_F_VIRQ_DISABLED;
	vdev->msi_qmax = ser->msi_qmax;

	vdev->liveupdate.msi_flags = ser->msi_flags;
	vdev->liveupdate.msix_flags = ser->msix_flags;
	vdev->liveupdate.msi_mask = ser->msi_mask;
	vdev->liveupdate.held = (ser->msi_flags & PCI_MSI_FLAGS_ENABLE) ||
				(ser->msix_flags & PCI_MSIX_FLAGS_ENABLE);
	vdev->liveupdate.intx_due = true;
	return 0;
}

/**
 * vfio_pci_liveupdate_opened - The first open of a device has come to its end.
 * @vdev: The device.
 *
 * Nothing has been written to an incoming one on the way. From here on the user
 * is in charge of it.
 */
void vfio_pci_liveupdate_opened(struct vfio_pci_core_device *vdev)
{
	if (pci_liveupdate_is_incoming(vdev->pdev))
		pci_liveupdate_opened(vdev->pdev);
}

/**
 * vfio_pci_liveupdate_fault - A fault on a mapped BAR.
 * @vdev: The device.
 * @vmf:  The fault.
 *
 * Waits while the device is fenced, if it can without the lock that the fault
 * was taken with: a call into another device may need it to come to an end.
 *
 * Return: 0 to go on, VM_FAULT_RETRY to take the fault again, VM_FAULT_SIGBUS for
 *         a task that is being killed.
 */
vm_fault_t vfio_pci_liveupdate_fault(struct vfio_pci_core_device *vdev,
				     struct vm_fault *vmf)
{
	struct file *file;

	if (likely(!vfio_liveupdate_is_fenced(&vdev->vdev)))
		return 0;

	if (!fault_flag_allow_retry_first(vmf->flags))
		return vfio_liveupdate_wait(&vdev->vdev) ? VM_FAULT_SIGBUS : 0;
	if (vmf->flags & FAULT_FLAG_RETRY_NOWAIT)
		return VM_FAULT_RETRY;

	/* Without the lock only the file keeps the device. */
	file = get_file(vmf->vma->vm_file);
	release_fault_lock(vmf);
	vfio_liveupdate_wait(&vdev->vdev);
	fput(file);
	return VM_FAULT_RETRY;
}

/**
 * vfio_pci_liveupdate_defer_unmask - Keep an unmask of INTx for unfreeze.
 * @vdev: The device.
 *
 * Context: irqlock is held.
 * Return: true if the device is frozen and INTx must stay masked.
 */
bool vfio_pci_liveupdate_defer_unmask(struct vfio_pci_core_device *vdev)
{
	lockdep_assert_held(&vdev->irqlock);

	if (!vdev->liveupdate.frozen)
		return false;
	WRITE_ONCE(vdev->liveupdate.intx_deferred, true);
	return true;
}

/**
 * vfio_pci_liveupdate_defer_write - Keep a write by an ioeventfd for unfreeze.
 * @ioeventfd: The ioeventfd. Its value is always the same, so one is enough.
 *
 * Return: true if the device is frozen and nothing may be written to it.
 */
bool vfio_pci_liveupdate_defer_write(struct vfio_pci_ioeventfd *ioeventfd)
{
	if (!vfio_pci_liveupdate_frozen(ioeventfd->vdev))
		return false;
	WRITE_ONCE(ioeventfd->deferred, true);
	return true;
}

/* Turn off what the previous kernel left enabled and masked. */
static void vfio_pci_liveupdate_drop_held(struct vfio_pci_core_device *vdev)
{
	struct vfio_pci_liveupdate *lu = &vdev->liveupdate;
	struct pci_dev *pdev = vdev->pdev;

	if (lu->msix_flags & PCI_MSIX_FLAGS_ENABLE)
		pci_write_config_word(pdev, pdev->msix_cap + PCI_MSIX_FLAGS,
				      lu->msix_flags & ~PCI_MSIX_FLAGS_ENABLE);
	if (lu->msi_flags & PCI_MSI_FLAGS_ENABLE)
		pci_write_config_word(pdev, pdev->msi_cap + PCI_MSI_FLAGS,
				      lu->msi_flags & ~PCI_MSI_FLAGS_ENABLE);
	lu->held = false;
}

/*
 * The MSI core takes over the mask bits it finds in the table. They are as the
 * last user left them, under the mask of the whole function; were they clear, the
 * first message would go out before there is anybody to receive it.
 */
static void vfio_pci_liveupdate_mask_table(struct vfio_pci_core_device *vdev)
{
	void __iomem *table = vdev->barmap[vdev->msix_bar];
	u16 cmd;

	if (IS_ERR_OR_NULL(table))
		return;

	cmd = vfio_pci_memory_lock_and_enable(vdev);
	for (unsigned int pos = 0; pos < vdev->msix_size; pos += PCI_MSIX_ENTRY_SIZE) {
		void __iomem *ctrl = table + vdev->msix_offset + pos +
				     PCI_MSIX_ENTRY_VECTOR_CTRL;

		writel(readl(ctrl) | PCI_MSIX_ENTRY_CTRL_MASKBIT, ctrl);
	}
	vfio_pci_memory_unlock_and_restore(vdev, cmd);
}

/**
 * vfio_pci_liveupdate_set_irqs - The user is about to set up interrupts.
 * @vdev:  The device.
 * @index: The kind of interrupt, VFIO_PCI_NUM_IRQS when the device is closed.
 * @flags: VFIO_IRQ_SET_*.
 * @count: Number of vectors.
 *
 * The previous kernel left MSI or MSI-X enabled and masked, for the sake of the
 * pending bits. Setting up the same kind again starts from there; for any other
 * kind, and for none, it has to be turned off first.
 *
 * Context: igate is held, or the device is being closed.
 */
void vfio_pci_liveupdate_set_irqs(struct vfio_pci_core_device *vdev,
				  unsigned int index, u32 flags,
				  unsigned int count)
{
	struct vfio_pci_liveupdate *lu = &vdev->liveupdate;
	unsigned int held_index = lu->msix_flags & PCI_MSIX_FLAGS_ENABLE ?
				  VFIO_PCI_MSIX_IRQ_INDEX : VFIO_PCI_MSI_IRQ_INDEX;

	if (index == VFIO_PCI_NUM_IRQS) {
		/* An open that did not come to an end is tried again. */
		if (pci_liveupdate_is_incoming(vdev->pdev)) {
			pci_liveupdate_closed(vdev->pdev);
			return;
		}
		lu->intx_due = false;
		if (lu->held)
			vfio_pci_liveupdate_drop_held(vdev);
		return;
	}

	if (likely(!lu->held) || !(flags & VFIO_IRQ_SET_ACTION_TRIGGER) ||
	    index > VFIO_PCI_MSIX_IRQ_INDEX)
		return;

	if (flags & VFIO_IRQ_SET_DATA_EVENTFD && count) {
		if (index != held_index)
			vfio_pci_liveupdate_drop_held(vdev);
		else if (index == VFIO_PCI_MSIX_IRQ_INDEX)
			vfio_pci_liveupdate_mask_table(vdev);
	} else if (flags & VFIO_IRQ_SET_DATA_NONE && !count && index == held_index) {
		vfio_pci_liveupdate_drop_held(vdev);
	}
}

/**
 * vfio_pci_liveupdate_armed - The user has MSI or MSI-X set up.
 * @vdev: The device.
 *
 * From here on the hardware is what this kernel makes of it.
 */
void vfio_pci_liveupdate_armed(struct vfio_pci_core_device *vdev)
{
	vdev->liveupdate.held = false;
	vdev->liveupdate.intx_due = false;
}

/**
 * vfio_pci_liveupdate_intx_due - Is INTx set up for the first time?
 * @vdev: The device.
 *
 * What has been pending since before the live update is due then. It is looked
 * for by unmasking, which does that, instead of enabling, which does not.
 *
 * Return: true if INTx starts masked and is unmasked when it is set up.
 */
bool vfio_pci_liveupdate_intx_due(struct vfio_pci_core_device *vdev)
{
	return vdev->liveupdate.intx_due;
}

/**
 * vfio_pci_liveupdate_intx_frozen - Has freeze masked INTx?
 * @vdev: The device.
 *
 * Its status bit may be set all the same, and the line may be shared.
 *
 * Context: irqlock is held.
 * Return: true if an interrupt on the line is not this device's.
 */
bool vfio_pci_liveupdate_intx_frozen(struct vfio_pci_core_device *vdev)
{
	return vdev->liveupdate.intx_frozen;
}

/* Where a register of @width bytes and an access meet, copy from one to the other. */
static bool vfio_pci_liveupdate_overlay(__le32 *val, int pos, int count, int reg,
					u32 *value, int width, bool write)
{
	u8 *bytes = (u8 *)val;
	bool any = false;

	for (int i = 0; i < count; i++) {
		int shift = 8 * (pos + i - reg);

		if (shift < 0 || shift >= 8 * width)
			continue;
		any = true;
		if (write)
			*value = (*value & ~(0xffu << shift)) |
				 ((u32)bytes[i] << shift);
		else
			bytes[i] = *value >> shift;
	}
	return any;
}

/*
 * What the user writes to Message Control of MSI goes to the hardware, with MSI off
 * until it is set up by SET_IRQS. Here it is on, and pending bits depend on that: it
 * takes SET_IRQS to turn it off.
 */
static bool vfio_pci_liveupdate_msi_flags(struct vfio_pci_core_device *vdev,
					  int pos, int count, __le32 *val)
{
	int reg = vdev->pdev->msi_cap + PCI_MSI_FLAGS;
	__le16 *vflags = (__le16 *)&vdev->vconfig[reg];
	u32 flags = le16_to_cpu(*vflags), new = flags;

	if (!vfio_pci_liveupdate_overlay(val, pos, count, reg, &new, 2, true))
		return false;

	new &= PCI_MSI_FLAGS_QSIZE | (flags & PCI_MSI_FLAGS_ENABLE);
	if ((new & PCI_MSI_FLAGS_QSIZE) >> 4 > vdev->msi_qmax)
		new = (new & PCI_MSI_FLAGS_ENABLE) | vdev->msi_qmax << 4;
	flags &= ~(PCI_MSI_FLAGS_QSIZE | PCI_MSI_FLAGS_ENABLE);
	*vflags = cpu_to_le16(flags | new);
	return true;
}

/**
 * vfio_pci_liveupdate_config - Hide how freeze masked the interrupts.
 * @vdev:   The device.
 * @cap_id: The capability that is accessed.
 * @pos:    Position in config space.
 * @count:  Number of bytes: 1, 2 or 4.
 * @val:    For a read, what was read, changed to what the user left there. For a
 *          write, what is to be written.
 * @write:  Read or write.
 *
 * The user sees the flags of MSI-X and the mask bits of MSI as they were, and may
 * change the latter, while the hardware stays masked. Nor does it change anything
 * there to write to MSI's flags.
 *
 * Return: true if a write has been dealt with and must not reach the hardware.
 */
bool vfio_pci_liveupdate_config(struct vfio_pci_core_device *vdev, u8 cap_id,
				int pos, int count, __le32 *val, bool write)
{
	struct vfio_pci_liveupdate *lu = &vdev->liveupdate;
	struct pci_dev *pdev = vdev->pdev;
	u32 flags;
	u16 now;
	int reg;

	if (likely(!READ_ONCE(lu->held)) || pos >= PCI_CFG_SPACE_SIZE)
		return false;

	if (cap_id == PCI_CAP_ID_MSIX && lu->msix_flags & PCI_MSIX_FLAGS_ENABLE) {
		/* A reset by the user turns it off. */
		pci_read_config_word(pdev, pdev->msix_cap + PCI_MSIX_FLAGS, &now);
		flags = lu->msix_flags;
		if (now & PCI_MSIX_FLAGS_ENABLE && !write)
			vfio_pci_liveupdate_overlay(val, pos, count,
						    pdev->msix_cap + PCI_MSIX_FLAGS,
						    &flags, 2, false);
		return false;
	}

	if (cap_id == PCI_CAP_ID_MSI && lu->msi_flags & PCI_MSI_FLAGS_ENABLE) {
		if (write && vfio_pci_liveupdate_msi_flags(vdev, pos, count, val))
			return true;
		reg = vfio_pci_liveupdate_msi_mask_pos(pdev, lu->msi_flags);
		if (reg)
			return vfio_pci_liveupdate_overlay(val, pos, count, reg,
							   &lu->msi_mask, 4,
							   write) && write;
	}
	return false;
}
