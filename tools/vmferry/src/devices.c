// SPDX-License-Identifier: LGPL-2.1-or-later
#include "devices.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <linux/iommufd.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>

#include "out.h"
#include "util.h"

/* ---- What a device is --------------------------------------------------------------------- */

/* The last part of what a link of a directory in sysfs points to. */
static int link_name(const char *directory, const char *link, char *name, size_t size)
{
	char path[256], target[256];
	const char *slash;
	ssize_t len;

	snprintf(path, sizeof(path), "%s/%s", directory, link);
	len = readlink(path, target, sizeof(target) - 1);
	if (len < 0)
		return -errno;
	target[len] = 0;
	slash = strrchr(target, '/');
	return snprintf(name, size, "%s", slash ? slash + 1 : target) < (int)size ? 0 : -ENAMETOOLONG;
}

static int sysfs_hex(const char *bdf, const char *file, uint16_t *value)
{
	char path[128], text[16];
	CLEANUP_CLOSE int fd = -1;
	ssize_t len;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", bdf, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	len = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (len < 0)
		return -errno;
	text[len] = 0;
	*value = strtoul(text, NULL, 16);
	return 0;
}

/* By its number, not by its name: a retrieved file has another one. */
static int device_bdf(int fd, char *bdf, size_t size)
{
	char path[64];
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u", major(st.st_rdev), minor(st.st_rdev));
	return link_name(path, "device", bdf, size);
}

static int config_offset(int fd, uint64_t *offset)
{
	struct vfio_region_info info = {
		.argsz = sizeof(info), .index = VFIO_PCI_CONFIG_REGION_INDEX,
	};

	if (ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, &info))
		return -errno;
	*offset = info.offset;
	return 0;
}

static int config_read(int fd, uint64_t base, unsigned int pos, void *value, size_t size)
{
	ssize_t got = pread(fd, value, size, base + pos);

	return got < 0 ? -errno : (size_t)got == size ? 0 : -EIO;
}

/* A capability's place in the config space, 0 if it is not there. */
static int find_capability(int fd, uint64_t base, uint8_t wanted, uint8_t *found)
{
	uint8_t pos, id;
	int err = config_read(fd, base, PCI_CAPABILITY_LIST, &pos, 1);

	*found = 0;
	/* No more than fit there, lest they go in circles. */
	for (unsigned int n = 0; !err && pos && n < 48; n++) {
		err = config_read(fd, base, pos, &id, 1);
		if (!err && id == wanted) {
			*found = pos;
			return 0;
		}
		if (!err)
			err = config_read(fd, base, pos + 1, &pos, 1);
	}
	return err;
}

/* A register of a capability, 0 if that is not there. */
static int read_capability(int fd, uint64_t base, uint8_t id, unsigned int offset, void *value,
			   size_t size)
{
	uint8_t pos;
	int err = find_capability(fd, base, id, &pos);

	memset(value, 0, size);
	return err || !pos ? err : config_read(fd, base, pos + offset, value, size);
}

/*
 * Which interrupts are on, as the guest has set them up: MSI-X, MSI, or -1 for neither. The
 * virtual config space tells, which is the guest's.
 */
static int irq_index(int fd)
{
	uint64_t base = 0;
	uint16_t msix, msi;
	int err = config_offset(fd, &base);

	if (!err)
		err = read_capability(fd, base, PCI_CAP_ID_MSIX, PCI_MSIX_FLAGS, &msix, sizeof(msix));
	if (!err)
		err = read_capability(fd, base, PCI_CAP_ID_MSI, PCI_MSI_FLAGS, &msi, sizeof(msi));
	if (err)
		return err;
	return le16toh(msix) & PCI_MSIX_FLAGS_ENABLE ? VFIO_PCI_MSIX_IRQ_INDEX :
	       le16toh(msi) & PCI_MSI_FLAGS_ENABLE ? VFIO_PCI_MSI_IRQ_INDEX : -1;
}

/*
 * Does QEMU leave it alone when it takes it over? What it thinks needs it, it resets with the
 * bus, in the midst of a migration as well, and before that it turns off its memory and bus
 * mastering. That is a device that cannot be reset by itself, and one that only a change of
 * its power state resets.
 */
static int survives_qemu(int fd)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	uint8_t af, pm;
	uint32_t exp;
	uint16_t state;
	uint64_t base = 0;
	int err;

	if (ioctl(fd, VFIO_DEVICE_GET_INFO, &info))
		return -errno;
	if (!(info.flags & VFIO_DEVICE_FLAGS_RESET))
		return 0;
	err = config_offset(fd, &base);
	if (!err)
		err = read_capability(fd, base, PCI_CAP_ID_EXP, PCI_EXP_DEVCAP, &exp, sizeof(exp));
	if (!err)
		err = read_capability(fd, base, PCI_CAP_ID_AF, PCI_AF_CAP, &af, sizeof(af));
	if (!err)
		err = find_capability(fd, base, PCI_CAP_ID_PM, &pm);
	if (!err)
		err = read_capability(fd, base, PCI_CAP_ID_PM, PCI_PM_CTRL, &state, sizeof(state));
	if (err)
		return err;
	return le32toh(exp) & PCI_EXP_DEVCAP_FLR || (af & PCI_AF_CAP_TP && af & PCI_AF_CAP_FLR) ||
	       !pm || le16toh(state) & PCI_PM_CTRL_NO_SOFT_RESET;
}

/* Where the guest has put a BAR, as the devices see it. 0: nowhere. */
static uint64_t bar_address(int fd, unsigned int bar)
{
	uint32_t low = 0, high = 0;
	uint64_t base = 0;

	if (config_offset(fd, &base) ||
	    config_read(fd, base, PCI_BASE_ADDRESS_0 + 4 * bar, &low, 4))
		return 0;
	low = le32toh(low);
	if (low & PCI_BASE_ADDRESS_SPACE_IO)
		return 0;
	if ((low & PCI_BASE_ADDRESS_MEM_TYPE_MASK) == PCI_BASE_ADDRESS_MEM_TYPE_64 && bar < 5 &&
	    config_read(fd, base, PCI_BASE_ADDRESS_0 + 4 * bar + 4, &high, 4))
		return 0;
	return (uint64_t)le32toh(high) << 32 | (low & PCI_BASE_ADDRESS_MEM_MASK);
}

static uint64_t bar_size(int fd, unsigned int bar)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = bar };

	return ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, &info) ? 0 : info.size;
}

/* ---- In the old kernel --------------------------------------------------------------------- */

static int add_device(const struct vm *vm, const struct vmferry_cpr *cpr,
		      const struct vmferry_cpr_vfio *vfio, uint64_t token,
		      struct vmferry_manifest *manifest)
{
	struct vmferry_manifest_device device = {
		.name = vfio->name, .token = token, .devid = vfio->devid,
		.ioas_id = vfio->ioas_id, .hwpt_id = vfio->hwpt_id,
	};
	char bdf[32], driver[64], directory[64];
	int fd = vmferry_cpr_find_fd(cpr, vfio->name, 0), err;

	if (fd < 0)
		return out_error(vm->name, fd, "QEMU did not send the file of %s", vfio->name);
	err = device_bdf(fd, bdf, sizeof(bdf));
	if (err)
		return out_error(vm->name, err, "cannot tell which device %s is", vfio->name);
	err = survives_qemu(fd);
	if (err < 0)
		return out_error(vm->name, err, "cannot tell how %s is reset", bdf);
	if (!err)
		return out_error(vm->name, -EOPNOTSUPP, "%s cannot be reset by itself (FLR): a new "
				 "QEMU would turn it off", bdf);
	snprintf(directory, sizeof(directory), "/sys/bus/pci/devices/%s", bdf);
	err = link_name(directory, "driver", driver, sizeof(driver));
	if (!err)
		err = sysfs_hex(bdf, "vendor", &device.vendor);
	if (!err)
		err = sysfs_hex(bdf, "device", &device.device);
	if (!err) {
		device.irq_index = irq_index(fd);
		if (device.irq_index < -1)
			err = device.irq_index;
	}
	if (err)
		return out_error(vm->name, err, "cannot tell what %s is", bdf);
	device.bdf = bdf;
	device.driver = driver;
	err = vmferry_manifest_add_device(manifest, &device);
	return err ? out_error(vm->name, err, "cannot write down %s", bdf) : 0;
}

/* The file of the guest's memory that an area is of. */
static int find_file(const struct vmferry_cpr *cpr, const struct vmferry_manifest *manifest,
		     const struct vmferry_area *area, struct vmferry_manifest_map *map)
{
	for (size_t n = 0; n < vmferry_manifest_nr_files(manifest); n++) {
		struct vmferry_manifest_file file;
		struct vmferry_cpr_fd fd;
		struct stat st;

		vmferry_manifest_get_file(manifest, n, &file);
		vmferry_cpr_get_fd(cpr, n, &fd);
		if (!file.preserved || fstat(fd.fd, &st) || st.st_dev != area->dev ||
		    st.st_ino != area->ino)
			continue;
		map->file = fd.name;
		map->file_id = fd.id;
		return 0;
	}
	return -ENOENT;
}

/* The BAR that an area is of, by where the guest has it: a dma-buf has no name. */
static int find_bar(const struct vmferry_cpr *cpr, const struct vmferry_area *area,
		    struct vmferry_manifest_map *map)
{
	for (size_t n = 0; n < vmferry_cpr_nr_vfio(cpr); n++) {
		struct vmferry_cpr_vfio vfio;
		int fd;

		vmferry_cpr_get_vfio(cpr, n, &vfio);
		fd = vmferry_cpr_find_fd(cpr, vfio.name, 0);
		for (unsigned int bar = 0; bar < 6; bar++) {
			uint64_t address = bar_address(fd, bar), size = bar_size(fd, bar);

			if (!address || area->iova < address || area->iova - address >= size ||
			    area->length > size - (area->iova - address))
				continue;
			map->device = vfio.name;
			map->bar = bar;
			/* What was mapped is a part of what was exported, and that of the BAR. */
			map->offset = area->iova - address;
			return 0;
		}
	}
	return -ENOENT;
}

static int add_maps(const struct vm *vm, const struct vmferry_cpr *cpr, int iommufd,
		    uint32_t ioas_id, struct vmferry_manifest *manifest)
{
	struct vmferry_area *areas;
	size_t nr;
	int err = vmferry_ioas_areas(iommufd, ioas_id, &areas, &nr);

	if (err)
		return out_error(vm->name, err, err == -EOPNOTSUPP ?
				 "the kernel cannot tell what the devices see" :
				 "cannot tell what the devices see");
	for (size_t n = 0; !err && n < nr; n++) {
		struct vmferry_manifest_map map = {
			.ioas_id = ioas_id, .iova = areas[n].iova, .length = areas[n].length,
			.offset = areas[n].start, .read_only = !areas[n].writable,
		};

		switch (areas[n].kind) {
		case VMFERRY_AREA_FILE:
			err = find_file(cpr, manifest, &areas[n], &map);
			break;
		case VMFERRY_AREA_DMABUF:
			err = find_bar(cpr, &areas[n], &map);
			break;
		default:
			err = -EOPNOTSUPP;
		}
		if (!err)
			err = vmferry_manifest_add_map(manifest, &map);
		if (err)
			out_error(vm->name, err, "what the devices see at %#llx, %llu bytes, cannot "
				  "be carried: it is neither the guest's memory nor a BAR",
				  (unsigned long long)areas[n].iova,
				  (unsigned long long)areas[n].length);
	}
	free(areas);
	return err;
}

/* The iommufd: there is one, and it is that of all devices. */
static int find_iommufd(const struct vmferry_manifest *manifest, size_t *index)
{
	unsigned int found = 0;

	for (size_t n = 0; n < vmferry_manifest_nr_files(manifest); n++) {
		struct vmferry_manifest_file file;

		vmferry_manifest_get_file(manifest, n, &file);
		if (strcmp(file.kind, "iommufd"))
			continue;
		*index = n;
		found++;
	}
	return found == 1 ? 0 : found ? -EOPNOTSUPP : -ENOENT;
}

int devices_describe(const struct vm *vm, const struct vmferry_cpr *cpr,
		     struct vmferry_manifest *manifest)
{
	struct vmferry_cpr_vfio vfio, other;
	struct vmferry_cpr_fd iommufd;
	size_t nr = vmferry_cpr_nr_vfio(cpr), index;
	int err;

	if (!nr)
		return 0;
	err = find_iommufd(manifest, &index);
	if (err)
		return out_error(vm->name, err, "its devices have %s, vmferry can carry one",
				 err == -ENOENT ? "no iommufd" : "several iommufds");
	vmferry_cpr_get_fd(cpr, index, &iommufd);
	for (size_t n = 0; !err && n < nr; n++) {
		vmferry_cpr_get_vfio(cpr, n, &vfio);
		err = add_device(vm, cpr, &vfio, VMFERRY_TOKEN_DEVICE + n, manifest);
	}
	for (size_t n = 0; !err && n < nr; n++) {
		bool seen = false;

		vmferry_cpr_get_vfio(cpr, n, &vfio);
		for (size_t m = 0; m < n && !seen; m++) {
			vmferry_cpr_get_vfio(cpr, m, &other);
			seen = other.ioas_id == vfio.ioas_id;
		}
		if (!seen)
			err = add_maps(vm, cpr, iommufd.fd, vfio.ioas_id, manifest);
	}
	return err;
}

/* ---- In the new kernel --------------------------------------------------------------------- */

/*
 * What the new kernel calls them, in the order of the manifest's devices; 0 is no number.
 * It is memory that the keeper has as well, so that whoever dies on the way leaves what it
 * got.
 */
struct ids {
	uint32_t devid, ioas_id, hwpt_id;
};

/* A number that was given to a device, and that nobody wrote down. */
static int find_devid(int iommufd, const struct ids *ids, size_t nr, uint32_t *devid)
{
	for (uint32_t id = 1; id < 1u << 16; id++) {
		struct iommu_hw_info info = { .size = sizeof(info), .dev_id = id };
		bool known = false;

		for (size_t n = 0; n < nr; n++)
			known = known || ids[n].devid == id;
		if (!known && !ioctl(iommufd, IOMMU_GET_HW_INFO, &info)) {
			*devid = id;
			return 0;
		}
	}
	return -ENOENT;
}

/* A file of the manifest, from the keeper. */
static int get_file(struct keep *keep, const struct vmferry_manifest *manifest, const char *name,
		    uint32_t id)
{
	for (size_t n = 0; n < vmferry_manifest_nr_files(manifest); n++) {
		struct vmferry_manifest_file file;
		char label[32];

		vmferry_manifest_get_file(manifest, n, &file);
		if (file.id != id || strcmp(file.name, name))
			continue;
		snprintf(label, sizeof(label), "file.%zu", n);
		return keep_get(keep, label);
	}
	return -ENOENT;
}

static int bind_devices(const struct vm *vm, struct keep *keep,
			const struct vmferry_manifest *manifest, int iommufd, struct ids *ids)
{
	for (size_t n = 0; n < vmferry_manifest_nr_devices(manifest); n++) {
		struct vmferry_manifest_device device;
		CLEANUP_CLOSE int fd = -1;
		char bdf[32];
		int err;

		if (ids[n].devid)
			continue;
		vmferry_manifest_get_device(manifest, n, &device);
		fd = get_file(keep, manifest, device.name, 0);
		err = fd < 0 ? fd : device_bdf(fd, bdf, sizeof(bdf));
		if (!err && strcmp(bdf, device.bdf))
			err = -EXDEV;
		if (!err)
			err = vmferry_device_bind(fd, iommufd, &ids[n].devid);
		/* It is bound, by one who died before it could write that down. */
		if (err == -EINVAL)
			err = find_devid(iommufd, ids, vmferry_manifest_nr_devices(manifest),
					 &ids[n].devid);
		if (err)
			return out_error(vm->name, err, "cannot bind %s", device.bdf);
	}
	return 0;
}

/* For each old address space a new one. Devices that shared one do so again. */
static int make_ioas(const struct vmferry_manifest *manifest, int iommufd, struct ids *ids)
{
	for (size_t n = 0; n < vmferry_manifest_nr_devices(manifest); n++) {
		struct vmferry_manifest_device device, other;
		int err;

		vmferry_manifest_get_device(manifest, n, &device);
		for (size_t m = 0; m < n; m++) {
			vmferry_manifest_get_device(manifest, m, &other);
			if (!ids[n].ioas_id && other.ioas_id == device.ioas_id)
				ids[n].ioas_id = ids[m].ioas_id;
		}
		if (ids[n].ioas_id)
			continue;
		err = vmferry_ioas_alloc(iommufd, &ids[n].ioas_id);
		if (err)
			return err;
	}
	return 0;
}

static int map_all(const struct vm *vm, struct keep *keep,
		   const struct vmferry_manifest *manifest, int iommufd, const struct ids *ids)
{
	for (size_t n = 0; n < vmferry_manifest_nr_maps(manifest); n++) {
		struct vmferry_manifest_map map;
		struct vmferry_manifest_device device;
		CLEANUP_CLOSE int fd = -1, owner = -1;
		uint32_t ioas_id = 0;
		int err = 0;

		vmferry_manifest_get_map(manifest, n, &map);
		for (size_t m = 0; m < vmferry_manifest_nr_devices(manifest); m++) {
			vmferry_manifest_get_device(manifest, m, &device);
			if (device.ioas_id == map.ioas_id)
				ioas_id = ids[m].ioas_id;
		}
		if (!ioas_id)
			err = -EBADMSG;
		else if (map.file)
			err = fd = get_file(keep, manifest, map.file, map.file_id);
		else
			err = owner = get_file(keep, manifest, map.device, 0);
		if (owner >= 0)
			err = fd = vmferry_device_dmabuf(owner, map.bar, map.offset, map.length);
		if (fd >= 0) {
			struct vmferry_map what = {
				.iova = map.iova, .length = map.length, .fd = fd,
				.offset = map.file ? map.offset : 0, .read_only = map.read_only,
			};

			err = vmferry_ioas_map(iommufd, ioas_id, &what);
		}
		/* Somebody before us had come so far. */
		if (err == -EEXIST)
			err = 0;
		if (err < 0)
			return out_error(vm->name, err, "cannot map what its devices saw at %#llx",
					 (unsigned long long)map.iova);
	}
	return 0;
}

/* Is it of this device, and of this use? */
static bool is_eventfd(const struct vmferry_manifest_file *file, const char *device,
		       const char *use)
{
	size_t len = strlen(device);

	return !strcmp(file->kind, "eventfd") && !strncmp(file->name, device, len) &&
	       file->name[len] == '_' && !strcmp(file->name + len + 1, use);
}

/* An eventfd for each vector that QEMU has sent one for; KVM's is the one it listens to. */
static int set_vectors(struct keep *keep, const struct vmferry_manifest *manifest, int fd,
		       const struct vmferry_manifest_device *device)
{
	static const char * const uses[] = { "interrupt", "kvm_interrupt" };
	uint32_t count = 0;
	int *eventfds, err = 0;

	for (size_t n = 0; n < vmferry_manifest_nr_files(manifest); n++) {
		struct vmferry_manifest_file file;

		vmferry_manifest_get_file(manifest, n, &file);
		for (size_t use = 0; use < ARRAY_SIZE(uses); use++)
			if (is_eventfd(&file, device->name, uses[use]) && file.id >= count)
				count = file.id + 1;
	}
	if (!count)
		return 0;
	/* PCI has no more. */
	if (count > PCI_MSIX_FLAGS_QSIZE + 1)
		return -E2BIG;
	eventfds = malloc(count * sizeof(*eventfds));
	if (!eventfds)
		return -ENOMEM;
	for (uint32_t vector = 0; vector < count; vector++) {
		eventfds[vector] = -1;
		for (size_t use = 0; !err && use < ARRAY_SIZE(uses); use++) {
			char name[256];
			int eventfd;

			snprintf(name, sizeof(name), "%s_%s", device->name, uses[use]);
			eventfd = get_file(keep, manifest, name, vector);
			if (eventfd < 0) {
				err = eventfd == -ENOENT ? 0 : eventfd;
				continue;
			}
			close_quietly(eventfds[vector]);
			eventfds[vector] = eventfd;
		}
	}
	if (!err)
		err = vmferry_device_set_irqs(fd, device->irq_index, eventfds, count);
	for (uint32_t vector = 0; vector < count; vector++)
		close_quietly(eventfds[vector]);
	free(eventfds);
	return err;
}

static int set_one(struct keep *keep, const struct vmferry_manifest *manifest, int fd,
		   const char *device, const char *use, uint32_t index)
{
	CLEANUP_CLOSE int eventfd = -1;
	char name[256];

	snprintf(name, sizeof(name), "%s_%s", device, use);
	eventfd = get_file(keep, manifest, name, 0);
	if (eventfd < 0)
		return eventfd == -ENOENT ? 0 : eventfd;
	return vmferry_device_set_irqs(fd, index, &eventfd, 1);
}

static int attach_devices(const struct vm *vm, struct keep *keep,
			  const struct vmferry_manifest *manifest, struct ids *ids)
{
	for (size_t n = 0; n < vmferry_manifest_nr_devices(manifest); n++) {
		struct vmferry_manifest_device device;
		CLEANUP_CLOSE int fd = -1;
		int err;

		vmferry_manifest_get_device(manifest, n, &device);
		fd = get_file(keep, manifest, device.name, 0);
		err = fd < 0 ? fd : vmferry_device_attach(fd, ids[n].ioas_id, &ids[n].hwpt_id);
		if (err)
			return out_error(vm->name, err, "cannot attach %s", device.bdf);
		if (device.irq_index >= 0)
			err = set_vectors(keep, manifest, fd, &device);
		else
			err = set_one(keep, manifest, fd, device.name, "intx-interrupt",
				      VFIO_PCI_INTX_IRQ_INDEX);
		if (!err)
			err = set_one(keep, manifest, fd, device.name, "err_notifier",
				      VFIO_PCI_ERR_IRQ_INDEX);
		if (!err)
			err = set_one(keep, manifest, fd, device.name, "req_notifier",
				      VFIO_PCI_REQ_IRQ_INDEX);
		if (err)
			return out_error(vm->name, err, "cannot set up the interrupts of %s",
					 device.bdf);
	}
	return 0;
}

/* The numbers that there are already, or none. */
static int get_ids(struct keep *keep, size_t nr, struct ids **ids)
{
	CLEANUP_CLOSE int fd = keep_get(keep, "ids");
	int err = 0;
	void *map;

	if (fd == -ENOENT) {
		fd = memfd_create("vmferry-ids", MFD_CLOEXEC);
		if (fd < 0 || ftruncate(fd, nr * sizeof(**ids)))
			return -errno;
		err = keep_put(keep, "ids", fd);
	}
	if (fd < 0 || err)
		return err ? err : fd;
	map = mmap(NULL, nr * sizeof(**ids), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	*ids = map;
	return 0;
}

/* The one that the keeper has, or a new one. */
static int get_iommufd(struct keep *keep, const struct vmferry_manifest *manifest)
{
	CLEANUP_CLOSE int iommufd = -1;
	char label[32];
	size_t index;
	int err = find_iommufd(manifest, &index);

	if (err)
		return err;
	snprintf(label, sizeof(label), "file.%zu", index);
	iommufd = keep_get(keep, label);
	if (iommufd == -ENOENT) {
		iommufd = vmferry_iommufd_open();
		err = iommufd < 0 ? iommufd : keep_put(keep, label, iommufd);
	}
	return err ? err : take_fd(&iommufd);
}

int devices_rebuild(const struct vm *vm, struct keep *keep,
		    const struct vmferry_manifest *manifest)
{
	size_t nr = vmferry_manifest_nr_devices(manifest);
	CLEANUP_CLOSE int iommufd = -1;
	struct ids *ids = NULL;
	int err;

	if (!nr)
		return 0;
	iommufd = get_iommufd(keep, manifest);
	err = iommufd < 0 ? iommufd : get_ids(keep, nr, &ids);
	if (err)
		return out_error(vm->name, err, "no iommufd for its devices");
	err = make_ioas(manifest, iommufd, ids);
	if (err)
		out_error(vm->name, err, "cannot make the devices' address spaces");
	if (!err)
		err = bind_devices(vm, keep, manifest, iommufd, ids);
	/* All of it before the first device is attached: then none notices that it moves. */
	if (!err)
		err = map_all(vm, keep, manifest, iommufd, ids);
	if (!err)
		err = attach_devices(vm, keep, manifest, ids);
	munmap(ids, nr * sizeof(*ids));
	return err;
}

/* An interrupt that came in between was lost, so that the guest has to look for itself. */
static int signal_interrupts(struct keep *keep, const struct vmferry_manifest *manifest,
			     const char *device)
{
	for (size_t n = 0; n < vmferry_manifest_nr_files(manifest); n++) {
		struct vmferry_manifest_file file;
		CLEANUP_CLOSE int fd = -1;
		uint64_t one = 1;
		char label[32];

		vmferry_manifest_get_file(manifest, n, &file);
		/* Not the notifiers: they would tell of an error, or ask for the device back. */
		if (!is_eventfd(&file, device, "interrupt") &&
		    !is_eventfd(&file, device, "kvm_interrupt") &&
		    !is_eventfd(&file, device, "intx-interrupt"))
			continue;
		snprintf(label, sizeof(label), "file.%zu", n);
		fd = keep_get(keep, label);
		if (fd < 0 || (write(fd, &one, sizeof(one)) != sizeof(one) && errno != EAGAIN))
			return fd < 0 ? fd : -errno;
	}
	return 0;
}

int devices_add(struct keep *keep, const struct vmferry_manifest *manifest,
		struct vmferry_cpr *cpr)
{
	size_t nr = vmferry_manifest_nr_devices(manifest);
	CLEANUP_CLOSE int fd = keep_get(keep, "ids");
	int err = 0;

	if (fd < 0 && fd != -ENOENT)
		return fd;
	for (size_t n = 0; !err && n < nr; n++) {
		struct vmferry_manifest_device device;
		struct vmferry_cpr_vfio vfio;
		struct ids ids;

		vmferry_manifest_get_device(manifest, n, &device);
		vfio = (struct vmferry_cpr_vfio){
			.name = device.name, .devid = device.devid,
			.ioas_id = device.ioas_id, .hwpt_id = device.hwpt_id,
		};
		if (fd >= 0) {
			if (pread(fd, &ids, sizeof(ids), n * sizeof(ids)) != sizeof(ids))
				return -EIO;
			vfio.devid = ids.devid;
			vfio.ioas_id = ids.ioas_id;
			vfio.hwpt_id = ids.hwpt_id;
		}
		err = vmferry_cpr_set_vfio(cpr, &vfio);
		if (!err)
			err = signal_interrupts(keep, manifest, device.name);
	}
	return err;
}
