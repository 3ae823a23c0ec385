/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LINUX_VFIO_LIVEUPDATE_H
#define _LINUX_VFIO_LIVEUPDATE_H

#include <linux/cleanup.h>
#include <linux/percpu-refcount.h>
#include <linux/types.h>
#include <linux/wait.h>

struct file;
struct vfio_device;
struct vfio_device_ops;

/**
 * struct vfio_device_liveupdate - Live update state of a vfio_device.
 * @users:         Calls of user space that are inside the device. Killed while
 *                 the device is fenced.
 * @wait:          Where fenced callers wait for the device to come back, and the
 *                 fence for the last caller to leave.
 * @reserved:      The device is incoming: only its retrieved file may open it.
 * @unregistering: The driver is on its way out.
 */
struct vfio_device_liveupdate {
	struct percpu_ref users;
	wait_queue_head_t wait;
	bool reserved;
	bool unregistering;
};

/* What CLASS(vfio_device_access) holds; @err is 0 when it may go on. */
struct vfio_device_access {
	struct vfio_device *device;
	int err;
};

#ifdef CONFIG_VFIO_PCI_LIVEUPDATE

int vfio_liveupdate_init(struct vfio_device *device);
void vfio_liveupdate_exit(struct vfio_device *device);
void vfio_liveupdate_unregister(struct vfio_device *device);
void vfio_liveupdate_park(struct vfio_device *device);
bool vfio_liveupdate_is_reserved(struct vfio_device *device);
bool vfio_liveupdate_is_fenced(struct vfio_device *device);

int vfio_liveupdate_enter(struct vfio_device *device);
void vfio_liveupdate_leave(struct vfio_device *device);
void vfio_liveupdate_prepare(struct vfio_device *device);
void vfio_liveupdate_unprepare(struct vfio_device *device);
int vfio_liveupdate_fence(struct vfio_device *device);
void vfio_liveupdate_unfence(struct vfio_device *device);
int vfio_liveupdate_wait(struct vfio_device *device);

struct vfio_device *
vfio_liveupdate_file_device(struct file *file, const struct vfio_device_ops *ops);
int vfio_liveupdate_check_file(struct file *file);
struct file *vfio_liveupdate_create_file(struct vfio_device *device);

#else /* CONFIG_VFIO_PCI_LIVEUPDATE */

static inline int vfio_liveupdate_init(struct vfio_device *device)
{
	return 0;
}

static inline void vfio_liveupdate_exit(struct vfio_device *device)
{
}

static inline void vfio_liveupdate_unregister(struct vfio_device *device)
{
}

static inline void vfio_liveupdate_park(struct vfio_device *device)
{
}

static inline bool vfio_liveupdate_is_reserved(struct vfio_device *device)
{
	return false;
}

static inline int vfio_liveupdate_enter(struct vfio_device *device)
{
	return 0;
}

static inline void vfio_liveupdate_leave(struct vfio_device *device)
{
}

#endif /* CONFIG_VFIO_PCI_LIVEUPDATE */

static inline struct vfio_device_access
vfio_liveupdate_access(struct vfio_device *device)
{
	return (struct vfio_device_access){
		.device = device,
		.err = vfio_liveupdate_enter(device),
	};
}

static inline void vfio_liveupdate_end_access(struct vfio_device_access access)
{
	if (!access.err)
		vfio_liveupdate_leave(access.device);
}

/* Inside the device until the end of the scope, unless .err says otherwise. */
DEFINE_CLASS(vfio_device_access, struct vfio_device_access,
	     vfio_liveupdate_end_access(_T), vfio_liveupdate_access(device),
	     struct vfio_device *device)

#endif /* _LINUX_VFIO_LIVEUPDATE_H */
