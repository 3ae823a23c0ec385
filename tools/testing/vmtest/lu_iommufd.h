/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What tests of iommufd ask it for, each a function that returns 0, or an ID or a file
 * where there is one, or a negative errno. What they need first ends the program if it
 * fails.
 */
#ifndef LU_IOMMUFD_H
#define LU_IOMMUFD_H

#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/iommufd.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>

#include "lu.h"

#define RW	(IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE)

static inline int map_file(int iommufd, uint32_t ioas, int fd, uint64_t start,
			   uint64_t len, uint64_t iova, uint32_t flags)
{
	struct iommu_ioas_map_file arg = {
		.size = sizeof(arg),
		.flags = flags | IOMMU_IOAS_MAP_FIXED_IOVA,
		.ioas_id = ioas,
		.fd = fd,
		.start = start,
		.length = len,
		.iova = iova,
	};

	return ioctl(iommufd, IOMMU_IOAS_MAP_FILE, &arg) ? -errno : 0;
}

static inline int map_user(int iommufd, uint32_t ioas, void *addr, uint64_t len,
			   uint64_t iova, uint32_t flags)
{
	struct iommu_ioas_map arg = {
		.size = sizeof(arg),
		.flags = flags | IOMMU_IOAS_MAP_FIXED_IOVA,
		.ioas_id = ioas,
		.user_va = (uintptr_t)addr,
		.length = len,
		.iova = iova,
	};

	return ioctl(iommufd, IOMMU_IOAS_MAP, &arg) ? -errno : 0;
}

static inline int unmap(int iommufd, uint32_t ioas, uint64_t iova, uint64_t len)
{
	struct iommu_ioas_unmap arg = {
		.size = sizeof(arg),
		.ioas_id = ioas,
		.iova = iova,
		.length = len,
	};

	return ioctl(iommufd, IOMMU_IOAS_UNMAP, &arg) ? -errno : 0;
}

static inline int copy(int iommufd, uint32_t from, uint64_t src, uint32_t to, uint64_t dst,
		       uint64_t len, uint32_t flags)
{
	struct iommu_ioas_copy arg = {
		.size = sizeof(arg),
		.flags = flags | IOMMU_IOAS_MAP_FIXED_IOVA,
		.dst_ioas_id = to,
		.src_ioas_id = from,
		.length = len,
		.dst_iova = dst,
		.src_iova = src,
	};

	return ioctl(iommufd, IOMMU_IOAS_COPY, &arg) ? -errno : 0;
}

static inline int ioas_alloc(int iommufd)
{
	struct iommu_ioas_alloc arg = { .size = sizeof(arg) };

	return ioctl(iommufd, IOMMU_IOAS_ALLOC, &arg) ? -errno : (int)arg.out_ioas_id;
}

static inline int destroy(int iommufd, uint32_t id)
{
	struct iommu_destroy arg = { .size = sizeof(arg), .id = id };

	return ioctl(iommufd, IOMMU_DESTROY, &arg) ? -errno : 0;
}

static inline int attach(int fd, uint32_t pt)
{
	struct vfio_device_attach_iommufd_pt arg = { .argsz = sizeof(arg), .pt_id = pt };

	return ioctl(fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &arg) ? -errno : 0;
}

static inline int detach(int fd)
{
	struct vfio_device_detach_iommufd_pt arg = { .argsz = sizeof(arg) };

	return ioctl(fd, VFIO_DEVICE_DETACH_IOMMUFD_PT, &arg) ? -errno : 0;
}

/* Opened and bound, not attached; the ID that iommufd has of it goes to @id. */
static inline int open_bound(const char *bdf, int iommufd, uint32_t *id)
{
	struct vfio_device_bind_iommufd arg = { .argsz = sizeof(arg), .iommufd = iommufd };
	int fd;

	vmt_bind(bdf, "vfio-pci");
	fd = lu_cdev_open(bdf);
	if (fd < 0 || ioctl(fd, VFIO_DEVICE_BIND_IOMMUFD, &arg))
		vmt_die("%s: cannot open it and bind an iommufd", bdf);
	*id = arg.out_devid;
	return fd;
}

/* A dma-buf of all of BAR 0 of a device, whose memory is enabled for that. */
static inline int bar_dma_buf(int dev, uint64_t *size)
{
	char buf[sizeof(struct vfio_device_feature) +
		 sizeof(struct vfio_device_feature_dma_buf) +
		 sizeof(struct vfio_region_dma_range)] = {};
	struct vfio_region_info info = { .argsz = sizeof(info) };
	struct vfio_device_feature *arg = (void *)buf;
	struct vfio_device_feature_dma_buf *get = (void *)arg->data;
	uint16_t cmd = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	int fd;

	if (ioctl(dev, VFIO_DEVICE_GET_REGION_INFO, &info))
		vmt_die("a device has no BAR");
	*size = info.size;
	arg->argsz = sizeof(buf);
	arg->flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF;
	get->nr_ranges = 1;
	get->dma_ranges[0].length = info.size;
	fd = ioctl(dev, VFIO_DEVICE_FEATURE, arg);
	if (fd < 0)
		vmt_die("no dma-buf of a BAR");

	info.index = VFIO_PCI_CONFIG_REGION_INDEX;
	if (ioctl(dev, VFIO_DEVICE_GET_REGION_INFO, &info) ||
	    pwrite(dev, &cmd, sizeof(cmd), info.offset + PCI_COMMAND) != sizeof(cmd))
		vmt_die("the memory of a device cannot be enabled");
	return fd;
}

#endif /* LU_IOMMUFD_H */
