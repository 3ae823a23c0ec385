// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the VFIO core does for live update
 *
 * The promise: between fence and unfence nothing that user space does through a
 * file of the device reaches the device, and whatever was under way when the
 * fence came down has ended. Callers are not turned away but wait: when the live
 * update fails they go on as if nothing had happened, and when it succeeds their
 * kernel is gone. A caller that gets killed leaves with -EINTR.
 *
 * While a device is reserved only its retrieved file can open it.
 *
 * No locks are taken here but vfio_device_set.lock, in
 * vfio_liveupdate_check_file(). vfio_liveupdate_fence() must be called without
 * it: the callers it waits for may need it.
 */

#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/jiffies.h>
#include <linux/kexec.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <linux/vfio.h>

#include "vfio.h"

/*
 * How long the fence waits for callers to leave, in jiffies. A caller can hang
 * for as long as it likes in a page fault that user space handles; a reboot
 * cannot.
 */
#define VFIO_LIVEUPDATE_DRAIN_TIMEOUT	(10 * HZ)

static void vfio_liveupdate_users_gone(struct percpu_ref *ref)
{
	struct vfio_device_liveupdate *lu =
		container_of(ref, struct vfio_device_liveupdate, users);

	wake_up_all(&lu->wait);
}

/**
 * vfio_liveupdate_init - Set up the live update state of a new device.
 * @device: The device.
 *
 * Return: 0 or -ENOMEM.
 */
int vfio_liveupdate_init(struct vfio_device *device)
{
	init_waitqueue_head(&device->liveupdate.wait);
	return percpu_ref_init(&device->liveupdate.users,
			       vfio_liveupdate_users_gone,
			       PERCPU_REF_ALLOW_REINIT, GFP_KERNEL);
}

/**
 * vfio_liveupdate_exit - Undo vfio_liveupdate_init().
 * @device: A device without files.
 */
void vfio_liveupdate_exit(struct vfio_device *device)
{
	percpu_ref_exit(&device->liveupdate.users);
}

/**
 * vfio_liveupdate_unregister - Note that the driver is on its way out.
 * @device: The device.
 *
 * It will wait for its files to be closed with the device lock held, which the
 * shutdown of a kexec would wait for in turn: no live update from here on.
 */
void vfio_liveupdate_unregister(struct vfio_device *device)
{
	WRITE_ONCE(device->liveupdate.unregistering, true);
}

/**
 * vfio_liveupdate_park - A driver that is being unbound waits for its files.
 * @device: The device.
 *
 * The device lock is held, and LUO's file is there to stay: once the kexec has
 * begun, device_shutdown() would wait for the lock for ever. This kernel is gone
 * in a moment, so the unbinding need not come to an end.
 */
void vfio_liveupdate_park(struct vfio_device *device)
{
	if (!kexec_in_progress || !vfio_liveupdate_is_fenced(device))
		return;

	device_unlock(device->dev);
	for (;;)
		schedule_timeout_uninterruptible(MAX_SCHEDULE_TIMEOUT);
}

/**
 * vfio_liveupdate_is_reserved - Is opening the device refused?
 * @device: The device.
 *
 * Return: true until an incoming device is finished.
 */
bool vfio_liveupdate_is_reserved(struct vfio_device *device)
{
	return READ_ONCE(device->liveupdate.reserved);
}

/**
 * vfio_liveupdate_enter - User space enters the device.
 * @device: The device.
 *
 * Waits while the device is fenced.
 *
 * Return: 0, to be paired with vfio_liveupdate_leave(), or -EINTR when killed.
 */
int vfio_liveupdate_enter(struct vfio_device *device)
{
	while (!percpu_ref_tryget_live(&device->liveupdate.users)) {
		int ret = vfio_liveupdate_wait(device);

		if (ret)
			return ret;
	}

	return 0;
}
EXPORT_SYMBOL_GPL(vfio_liveupdate_enter);

/**
 * vfio_liveupdate_leave - User space leaves the device.
 * @device: The device.
 */
void vfio_liveupdate_leave(struct vfio_device *device)
{
	percpu_ref_put(&device->liveupdate.users);
}
EXPORT_SYMBOL_GPL(vfio_liveupdate_leave);

/**
 * vfio_liveupdate_is_fenced - Is the fence up?
 * @device: The device.
 *
 * Return: true between vfio_liveupdate_fence() and vfio_liveupdate_unfence().
 */
bool vfio_liveupdate_is_fenced(struct vfio_device *device)
{
	return percpu_ref_is_dying(&device->liveupdate.users);
}
EXPORT_SYMBOL_GPL(vfio_liveupdate_is_fenced);

/**
 * vfio_liveupdate_wait - Wait until the device is not fenced.
 * @device: The device.
 *
 * Return: 0 or -EINTR when killed.
 */
int vfio_liveupdate_wait(struct vfio_device *device)
{
	struct vfio_device_liveupdate *lu = &device->liveupdate;

	return wait_event_killable(lu->wait, !percpu_ref_is_dying(&lu->users)) ?
		-EINTR : 0;
}
EXPORT_SYMBOL_GPL(vfio_liveupdate_wait);

/**
 * vfio_liveupdate_prepare - Make a later fence quick.
 * @device: The device.
 *
 * Counting per CPU is for the common case; to come to a sum takes RCU grace
 * periods, which a live update has no time for. They need not be waited for here.
 *
 * Context: Process context, sleeps.
 */
void vfio_liveupdate_prepare(struct vfio_device *device)
{
	percpu_ref_switch_to_atomic(&device->liveupdate.users, NULL);
}
EXPORT_SYMBOL_GPL(vfio_liveupdate_prepare);

/**
 * vfio_liveupdate_unprepare - Undo vfio_liveupdate_prepare().
 * @device: The device, not fenced.
 */
void vfio_liveupdate_unprepare(struct vfio_device *device)
{
	percpu_ref_switch_to_percpu(&device->liveupdate.users);
}
EXPORT_SYMBOL_GPL(vfio_liveupdate_unprepare);

/**
 * vfio_liveupdate_fence - Keep user space out, wait for the last call to end.
 * @device: The device, not fenced.
 *
 * Context: Process context, without vfio_device_set.lock.
 * Return: 0, or -ETIMEDOUT if a call does not end; then there is no fence.
 */
int vfio_liveupdate_fence(struct vfio_device *device)
{
	struct vfio_device_liveupdate *lu = &device->liveupdate;

	percpu_ref_kill(&lu->users);
	if (wait_event_timeout(lu->wait, percpu_ref_is_zero(&lu->users),
			       VFIO_LIVEUPDATE_DRAIN_TIMEOUT))
		return 0;

	vfio_liveupdate_unfence(device);
	return -ETIMEDOUT;
}
EXPORT_SYMBOL_GPL(vfio_liveupdate_fence);

/**
 * vfio_liveupdate_unfence - Let user space in again.
 * @device: A fenced device.
 */
void vfio_liveupdate_unfence(struct vfio_device *device)
{
	percpu_ref_resurrect(&device->liveupdate.users);
	wake_up_all(&device->liveupdate.wait);
}
EXPORT_SYMBOL_GPL(vfio_liveupdate_unfence);

/**
 * vfio_liveupdate_file_device - The device behind a file.
 * @file: Any file.
 * @ops:  The driver whose devices are wanted.
 *
 * Return: The device, valid as long as @file, or NULL if @file is something
 *         else.
 */
struct vfio_device *
vfio_liveupdate_file_device(struct file *file, const struct vfio_device_ops *ops)
{
	struct vfio_device_file *df = file->private_data;

	if (file->f_op != &vfio_device_fops || df->device->ops != ops)
		return NULL;
	return df->device;
}
EXPORT_SYMBOL_GPL(vfio_liveupdate_file_device);

/**
 * vfio_liveupdate_check_file - Can this file stand for its device?
 * @file: A file of a vfio device.
 *
 * Not every file of an open device holds it open: closing the one that does
 * resets the device, whatever happens to the others.
 *
 * Context: vfio_device_set.lock is held.
 * Return: 0, -EOPNOTSUPP for a file that came from a group, -ENOTCONN for one
 *         that is not bound to an iommufd, -ENODEV if the driver is going away.
 */
int vfio_liveupdate_check_file(struct file *file)
{
	struct vfio_device_file *df = file->private_data;

	lockdep_assert_held(&df->device->dev_set->lock);

	if (df->group)
		return -EOPNOTSUPP;
	if (!df->access_granted)
		return -ENOTCONN;
	if (READ_ONCE(df->device->liveupdate.unregistering))
		return -ENODEV;
	return 0;
}
EXPORT_SYMBOL_GPL(vfio_liveupdate_check_file);

/**
 * vfio_liveupdate_create_file - A file as if the device's cdev had been opened.
 * @device: A registered device.
 *
 * The file has an inode of its own with the mode and number of the cdev, so that
 * fstat() shows what it shows for /dev/vfio/devices/vfioN.
 *
 * Return: The file, or an ERR_PTR(): -ENODEV, -ENOMEM, or what
 *         alloc_file_pseudo() returns.
 */
struct file *vfio_liveupdate_create_file(struct vfio_device *device)
{
	struct vfsmount *mnt = vfio_fs_mount();
	struct vfio_device_file *df;
	struct inode *inode;
	struct file *file;

	/* Paired with the put in vfio_device_fops_release() */
	if (!vfio_device_try_get_registration(device))
		return ERR_PTR(-ENODEV);

	df = vfio_allocate_device_file(device);
	if (IS_ERR(df)) {
		file = ERR_CAST(df);
		goto err_registration;
	}

	inode = alloc_anon_inode(mnt->mnt_sb);
	if (IS_ERR(inode)) {
		file = ERR_CAST(inode);
		goto err_free;
	}
	/* Not init_special_inode(): the pseudo file is open already. */
	inode->i_mode = S_IFCHR | 0600;
	inode->i_rdev = device->device.devt;

	__module_get(vfio_device_fops.owner);
	file = alloc_file_pseudo(inode, mnt, dev_name(&device->device), O_RDWR,
				 &vfio_device_fops);
	if (IS_ERR(file))
		goto err_inode;

	file->private_data = df;
	file->f_mapping = device->inode->i_mapping;
	file->f_mode |= FMODE_PREAD | FMODE_PWRITE;

	return file;

err_inode:
	module_put(vfio_device_fops.owner);
	iput(inode);
err_free:
	kfree(df);
err_registration:
	vfio_device_put_registration(device);
	return file;
}
EXPORT_SYMBOL_GPL(vfio_liveupdate_create_file);
