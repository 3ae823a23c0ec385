// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What a retrieved device needs before it is used: an iommufd with the memory of the
 * guest where it was, and its interrupts.
 */
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>

#include <linux/iommufd.h>
#include <linux/vfio.h>

#include "util.h"
#include "vmferry.h"

VMFERRY_PUBLIC int vmferry_iommufd_open(void)
{
	int fd = open("/dev/iommu", O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

VMFERRY_PUBLIC int vmferry_ioas_alloc(int iommufd, uint32_t *ioas_id)
{
	struct iommu_ioas_alloc arg = { .size = sizeof(arg) };

	if (ioctl(iommufd, IOMMU_IOAS_ALLOC, &arg))
		return -errno;
	*ioas_id = arg.out_ioas_id;
	return 0;
}

VMFERRY_PUBLIC int vmferry_ioas_map(int iommufd, uint32_t ioas_id, const struct vmferry_map *map)
{
	struct iommu_ioas_map_file arg = {
		.size = sizeof(arg),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
			 (map->read_only ? 0 : IOMMU_IOAS_MAP_WRITEABLE),
		.ioas_id = ioas_id,
		.fd = map->fd,
		.start = map->offset,
		.length = map->length,
		.iova = map->iova,
	};

	return ioctl(iommufd, IOMMU_IOAS_MAP_FILE, &arg) ? -errno : 0;
}

VMFERRY_PUBLIC int vmferry_device_bind(int device, int iommufd, uint32_t *devid)
{
	struct vfio_device_bind_iommufd arg = { .argsz = sizeof(arg), .iommufd = iommufd };

	if (ioctl(device, VFIO_DEVICE_BIND_IOMMUFD, &arg))
		return -errno;
	*devid = arg.out_devid;
	return 0;
}

VMFERRY_PUBLIC int vmferry_device_attach(int device, uint32_t pt_id, uint32_t *hwpt_id)
{
	struct vfio_device_attach_iommufd_pt arg = { .argsz = sizeof(arg), .pt_id = pt_id };

	if (ioctl(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &arg))
		return -errno;
	*hwpt_id = arg.pt_id;
	return 0;
}

VMFERRY_PUBLIC int vmferry_device_set_irqs(int device, uint32_t index, const int *eventfds,
					   uint32_t count)
{
	struct vfio_irq_set *set;
	size_t size = sizeof(*set) + count * sizeof(int);
	int ret;

	if (count > UINT16_MAX)
		return -E2BIG;
	set = calloc(1, size);
	if (!set)
		return -ENOMEM;
	*set = (struct vfio_irq_set){
		.argsz = size,
		.flags = VFIO_IRQ_SET_ACTION_TRIGGER |
			 (count ? VFIO_IRQ_SET_DATA_EVENTFD : VFIO_IRQ_SET_DATA_NONE),
		.index = index,
		.count = count,
	};
	if (count)
		memcpy(set->data, eventfds, count * sizeof(int));
	ret = ioctl(device, VFIO_DEVICE_SET_IRQS, set) ? -errno : 0;
	free(set);
	return ret;
}
