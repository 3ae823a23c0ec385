// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What a retrieved device needs before it is used: an iommufd with the memory of the
 * guest where it was, and its interrupts.
 */
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include <linux/iommufd.h>
#include <linux/vfio.h>

#include "util.h"
#include "vmferry.h"

/* How many areas are asked for at once, at first. */
#define AREAS 64
/* Far beyond what any virtual machine has. */
#define AREAS_MAX (1u << 20)

#ifndef IOMMU_IOAS_GET_AREAS
/* The headers are mainline's, which does not have it. */
enum { IOMMU_IOAS_AREA_USER, IOMMU_IOAS_AREA_FILE, IOMMU_IOAS_AREA_DMABUF };

struct iommu_ioas_area {
	__aligned_u64 iova, length;
	__u32 type, flags;
	__aligned_u64 start, ino;
	__u32 dev_major, dev_minor;
};

struct iommu_ioas_get_areas {
	__u32 size, flags, ioas_id, entry_len, num_areas, __reserved;
	__aligned_u64 areas, iova;
};
#define IOMMU_IOAS_GET_AREAS _IO(IOMMUFD_TYPE, 0xe0)
#endif

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

static int add_areas(const struct iommu_ioas_area *from, size_t nr, struct vmferry_area *areas)
{
	for (size_t n = 0; n < nr; n++) {
		if (from[n].type > IOMMU_IOAS_AREA_DMABUF)
			return -EPROTONOSUPPORT;
		areas[n] = (struct vmferry_area){
			.iova = from[n].iova,
			.length = from[n].length,
			.kind = from[n].type == IOMMU_IOAS_AREA_FILE ? VMFERRY_AREA_FILE :
				from[n].type == IOMMU_IOAS_AREA_DMABUF ? VMFERRY_AREA_DMABUF :
				VMFERRY_AREA_PROCESS,
			.readable = from[n].flags & IOMMU_IOAS_MAP_READABLE,
			.writable = from[n].flags & IOMMU_IOAS_MAP_WRITEABLE,
			.start = from[n].start,
			.dev = makedev(from[n].dev_major, from[n].dev_minor),
			.ino = from[n].ino,
		};
	}
	return 0;
}

VMFERRY_PUBLIC int vmferry_ioas_areas(int iommufd, uint32_t ioas_id, struct vmferry_area **areas,
				      size_t *nr)
{
	struct iommu_ioas_area some[AREAS];
	struct iommu_ioas_get_areas arg = {
		.size = sizeof(arg), .ioas_id = ioas_id, .entry_len = sizeof(some[0]),
		.areas = (uintptr_t)some,
	};
	struct vmferry_area *all = NULL;
	size_t count = 0;
	int err;

	do {
		struct vmferry_area *grown;

		arg.num_areas = ARRAY_SIZE(some);
		err = ioctl(iommufd, IOMMU_IOAS_GET_AREAS, &arg) ? -errno : 0;
		if (err && err != -EMSGSIZE)
			break;
		/* One more, so that the array is never of size 0. */
		grown = count > AREAS_MAX ? NULL :
			realloc(all, (count + arg.num_areas + 1) * sizeof(*all));
		if (!grown) {
			err = -ENOMEM;
			break;
		}
		all = grown;
		if (add_areas(some, arg.num_areas, all + count)) {
			err = -EPROTONOSUPPORT;
			break;
		}
		count += arg.num_areas;
	} while (err);
	if (err) {
		free(all);
		return err == -ENOTTY ? -EOPNOTSUPP : err;
	}
	*areas = all;
	*nr = count;
	return 0;
}

VMFERRY_PUBLIC int vmferry_device_dmabuf(int device, uint32_t bar, uint64_t offset, uint64_t length)
{
	char buf[sizeof(struct vfio_device_feature) +
		 sizeof(struct vfio_device_feature_dma_buf) +
		 sizeof(struct vfio_region_dma_range)] __attribute__((aligned(8))) = {};
	struct vfio_device_feature *arg = (void *)buf;
	struct vfio_device_feature_dma_buf *get = (void *)arg->data;
	int fd;

	arg->argsz = sizeof(buf);
	arg->flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF;
	get->region_index = bar;
	get->open_flags = O_RDWR | O_CLOEXEC;
	get->nr_ranges = 1;
	get->dma_ranges[0].offset = offset;
	get->dma_ranges[0].length = length;
	fd = ioctl(device, VFIO_DEVICE_FEATURE, arg);
	return fd < 0 ? -errno : fd;
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
