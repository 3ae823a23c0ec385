// SPDX-License-Identifier: GPL-2.0-only
/*
 * lu: preserved vfio devices, for the guest tests. See lu.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <linux/iommufd.h>
#include <linux/liveupdate.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>

#include "lu.h"
#include "lu_devices.h"

#define IRQ_TIMEOUT_MS	10000

/* Below 256 MiB, which is what edu can address. */
#define DMA_IOVA	0x1000000UL

/* ---- LUO ------------------------------------------------------------------- */

int lu_preserve(int session, int fd, uint64_t token)
{
	struct liveupdate_session_preserve_fd arg = {
		.size = sizeof(arg),
		.fd = fd,
		.token = token,
	};

	return ioctl(session, LIVEUPDATE_SESSION_PRESERVE_FD, &arg) ? -errno : 0;
}

int lu_retrieve(int session, uint64_t token)
{
	struct liveupdate_session_retrieve_fd arg = {
		.size = sizeof(arg),
		.token = token,
	};

	return ioctl(session, LIVEUPDATE_SESSION_RETRIEVE_FD, &arg) ? -errno : arg.fd;
}

int lu_test_file_open(void)
{
	int fd = open("/dev/liveupdate-test", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		vmt_die("cannot open /dev/liveupdate-test");
	return fd;
}

void lu_test_file_set(int fd, const char *text)
{
	if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		vmt_die("/dev/liveupdate-test does not take \"%s\"", text);
}

const char *lu_state(const char *bdf)
{
	static char buf[32];

	if (vmt_dev_read(bdf, "liveupdate", buf, sizeof(buf)) < 0)
		return "";
	return buf;
}

bool lu_bus_master(const char *bdf)
{
	return vmt_cfg_read(bdf, PCI_COMMAND, 2) & PCI_COMMAND_MASTER;
}

/* ---- Devices --------------------------------------------------------------- */

const char *lu_above(const char *bdf)
{
	char path[64], target[512], *last;
	ssize_t n;

	/* .../pci0000:00/0000:00:02.0/0000:01:00.0 */
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s", bdf);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		vmt_die("%s: no such device", bdf);
	target[n] = 0;
	last = strrchr(target, '/');
	*last = 0;
	last = strrchr(target, '/') + 1;
	return strncmp(last, "pci", 3) ? strdup(last) : NULL;
}

static void init_dev(struct lu_dev *dev, const struct lu_ops *ops, const char *bdf)
{
	const char *above;

	memset(dev, 0, sizeof(*dev));
	dev->ops = ops;
	dev->bdf = bdf;
	dev->irq_index = -1;
	memset(dev->irq_fds, -1, sizeof(dev->irq_fds));
	snprintf(dev->name, sizeof(dev->name), "%s %s", ops ? ops->name : "device", bdf);

	above = lu_above(bdf);
	if (above)
		snprintf(dev->port, sizeof(dev->port), "%.12s", above);
}

unsigned int lu_find(struct lu_dev *devs, unsigned int max)
{
	const char *want = vmt_param("devices"), *bdf;
	unsigned int i, n, count = 0;

	for (i = 0; lu_all_ops[i]; i++) {
		for (n = 0; (bdf = vmt_find(lu_all_ops[i]->vendor, lu_all_ops[i]->device, n));
		     n++) {
			if (count == max)
				vmt_die("too many devices");
			init_dev(&devs[count], lu_all_ops[i], bdf);
			devs[count].nr = count;
			devs[count].token = 0x100 + count;
			count++;
		}
	}
	if (!want || count != strtoul(want, NULL, 0)) {
		errno = ENODEV;
		vmt_die("%u devices found, vmtest.devices=%s", count, want ? want : "");
	}
	return count;
}

void lu_find_one(struct lu_dev *dev, uint16_t vendor, uint16_t device, unsigned int n)
{
	const char *bdf = vmt_find(vendor, device, n);
	unsigned int i;

	if (!bdf) {
		errno = ENODEV;
		vmt_die("no device %04x:%04x (%u)", vendor, device, n);
	}
	for (i = 0; lu_all_ops[i]; i++)
		if (lu_all_ops[i]->vendor == vendor && lu_all_ops[i]->device == device)
			break;
	init_dev(dev, lu_all_ops[i], bdf);
	dev->token = 0x100;
}

/* ---- VFIO ------------------------------------------------------------------ */

int lu_cdev_open(const char *bdf)
{
	char path[64];
	int fd;

	fd = open(vmt_cdev_path(bdf, path, sizeof(path)), O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int lu_bind_iommufd(int fd, struct iommu *iommu)
{
	return __vfio_device_bind_iommufd(fd, iommu->iommufd, NULL);
}

int lu_attach(int fd, struct iommu *iommu)
{
	struct vfio_device_attach_iommufd_pt arg = {
		.argsz = sizeof(arg),
		.pt_id = iommu->ioas_id,
	};

	return ioctl(fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &arg) ? -errno : 0;
}

/* All that takes a device from a session. */
int lu_take(struct lu_dev *dev, int session, struct iommu *iommu)
{
	int fd = lu_retrieve(session, dev->token);
	int err = fd < 0 ? fd : lu_bind_iommufd(fd, iommu);

	if (!err)
		err = lu_attach(fd, iommu);
	if (err)
		fprintf(stderr, "%s: not taken over: %s\n", dev->name, strerror(-err));
	else
		lu_setup(dev, fd, iommu);
	return err;
}

static void get_region(int fd, unsigned int index, struct vfio_region_info *info)
{
	info->argsz = sizeof(*info);
	info->index = index;
	ioctl_assert(fd, VFIO_DEVICE_GET_REGION_INFO, info);
}

/* libvfio does this as well, but only for a file that it has opened itself. */
void lu_setup(struct lu_dev *dev, int fd, struct iommu *iommu)
{
	struct vfio_pci_device *v = vfio_pci_device_alloc(dev->bdf, iommu);
	unsigned int i;

	v->fd = fd;
	v->info.argsz = sizeof(v->info);
	ioctl_assert(fd, VFIO_DEVICE_GET_INFO, &v->info);
	get_region(fd, VFIO_PCI_CONFIG_REGION_INDEX, &v->config_space);
	for (i = 0; i < PCI_STD_NUM_BARS; i++) {
		struct vfio_pci_bar *bar = &v->bars[i];

		get_region(fd, i, &bar->info);
		if (!(bar->info.flags & VFIO_REGION_INFO_FLAG_MMAP))
			continue;
		bar->vaddr = mmap(NULL, bar->info.size, PROT_READ | PROT_WRITE, MAP_SHARED,
				  fd, bar->info.offset);
		if (bar->vaddr == MAP_FAILED)
			vmt_die("%s: cannot map BAR %u", dev->name, i);
	}
	memset(v->msi_eventfds, -1, sizeof(v->msi_eventfds));
	dev->vfio = v;
}

void lu_open(struct lu_dev *dev, struct iommu *iommu)
{
	int fd, ret;

	vmt_bind(dev->bdf, "vfio-pci");
	fd = lu_cdev_open(dev->bdf);
	ret = fd;
	if (ret >= 0)
		ret = lu_bind_iommufd(fd, iommu);
	if (ret >= 0)
		ret = lu_attach(fd, iommu);
	if (ret < 0) {
		errno = -ret;
		vmt_die("%s: cannot open its cdev, bind and attach it", dev->name);
	}
	lu_setup(dev, fd, iommu);
}

void lu_close(struct lu_dev *dev)
{
	unsigned int i;

	for (i = 0; i < LU_MAX_VECTORS; i++)
		if (dev->irq_fds[i] >= 0)
			close(dev->irq_fds[i]);
	memset(dev->irq_fds, -1, sizeof(dev->irq_fds));
	dev->irq_index = -1;
	vfio_pci_device_cleanup(dev->vfio);
	dev->vfio = NULL;
}

int lu_group_open(const char *bdf, struct vfio_pci_device *vfio)
{
	char path[32];

	memset(vfio, 0, sizeof(*vfio));
	vfio->bdf = bdf;
	vfio->iommu = iommu_init(MODE_VFIO_TYPE1V2_IOMMU);
	snprintf(path, sizeof(path), "/dev/vfio/%u", sysfs_iommu_group_get(bdf));
	vfio->group_fd = open(path, O_RDWR | O_CLOEXEC);
	if (vfio->group_fd < 0)
		vmt_die("%s: cannot open %s", bdf, path);
	/* Fails when the group's DMA has another owner. */
	if (ioctl(vfio->group_fd, VFIO_GROUP_SET_CONTAINER, &vfio->iommu->container_fd))
		return -errno;
	vfio_container_set_iommu(vfio);
	__vfio_pci_group_get_device_fd(vfio, bdf, NULL);
	return vfio->fd < 0 ? -errno : vfio->fd;
}

void lu_read_config(struct lu_dev *dev, uint8_t *cfg)
{
	struct vfio_region_info *info = &dev->vfio->config_space;

	memset(cfg, 0, LU_CFG_SIZE);
	vfio_pci_config_access(dev->vfio, false, 0, info->size, cfg);
}

unsigned int lu_cap(struct lu_dev *dev, uint8_t id)
{
	unsigned int pos = vfio_pci_config_readb(dev->vfio, PCI_CAPABILITY_LIST), loops = 48;

	while (pos >= 0x40 && loops--) {
		if (vfio_pci_config_readb(dev->vfio, pos) == id)
			return pos;
		pos = vfio_pci_config_readb(dev->vfio, pos + 1);
	}
	return 0;
}

/* Every type has its registers in BAR 0. */
uint32_t lu_read32(struct lu_dev *dev, unsigned int reg)
{
	return *(volatile uint32_t *)((char *)dev->vfio->bars[0].vaddr + reg);
}

void lu_write32(struct lu_dev *dev, unsigned int reg, uint32_t val)
{
	*(volatile uint32_t *)((char *)dev->vfio->bars[0].vaddr + reg) = val;
}

uint64_t lu_read64(struct lu_dev *dev, unsigned int reg)
{
	return *(volatile uint64_t *)((char *)dev->vfio->bars[0].vaddr + reg);
}

void lu_write64(struct lu_dev *dev, unsigned int reg, uint64_t val)
{
	*(volatile uint64_t *)((char *)dev->vfio->bars[0].vaddr + reg) = val;
}

/* ---- Interrupts ------------------------------------------------------------ */

const char *lu_irq_name(int index)
{
	switch (index) {
	case VFIO_PCI_INTX_IRQ_INDEX:
		return "INTx";
	case VFIO_PCI_MSI_IRQ_INDEX:
		return "MSI";
	case VFIO_PCI_MSIX_IRQ_INDEX:
		return "MSI-X";
	}
	return "no interrupt";
}

void lu_set_irqs(struct lu_dev *dev, unsigned int index, uint32_t action, unsigned int count,
		 const int *fds)
{
	char buf[sizeof(struct vfio_irq_set) + sizeof(int) * LU_MAX_VECTORS] = {};
	struct vfio_irq_set *irq = (void *)buf;

	irq->argsz = sizeof(*irq) + (fds ? sizeof(int) * count : 0);
	irq->flags = action | (fds ? VFIO_IRQ_SET_DATA_EVENTFD : VFIO_IRQ_SET_DATA_NONE);
	irq->index = index;
	irq->count = count;
	if (fds)
		memcpy(irq->data, fds, sizeof(int) * count);
	ioctl_assert(dev->vfio->fd, VFIO_DEVICE_SET_IRQS, irq);
}

bool lu_irq_vector(struct lu_dev *dev, unsigned int vector)
{
	if (dev->irq_index != VFIO_PCI_MSIX_IRQ_INDEX)
		return !vector;
	return dev->ops->vectors & (1 << vector);
}

/* Not all vectors of MSI-X: the holes must stay holes. */
void lu_irq_enable(struct lu_dev *dev, int index)
{
	unsigned int i, count = 0;

	dev->irq_index = index;
	for (i = 0; i < LU_MAX_VECTORS; i++) {
		if (!lu_irq_vector(dev, i))
			continue;
		dev->irq_fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (dev->irq_fds[i] < 0)
			vmt_die("eventfd");
		count = i + 1;
	}
	lu_set_irqs(dev, index, VFIO_IRQ_SET_ACTION_TRIGGER, count, dev->irq_fds);
}

void lu_irq_disable(struct lu_dev *dev)
{
	unsigned int i;

	lu_set_irqs(dev, dev->irq_index, VFIO_IRQ_SET_ACTION_TRIGGER, 0, NULL);
	for (i = 0; i < LU_MAX_VECTORS; i++) {
		if (dev->irq_fds[i] >= 0)
			close(dev->irq_fds[i]);
		dev->irq_fds[i] = -1;
	}
	dev->irq_index = -1;
}

static bool take_irq(struct lu_dev *dev, unsigned int vector, int timeout)
{
	struct pollfd pfd = { .fd = dev->irq_fds[vector], .events = POLLIN };
	uint64_t count;

	if (poll(&pfd, 1, timeout) != 1)
		return false;
	return read(pfd.fd, &count, sizeof(count)) == sizeof(count);
}

bool lu_irq_wait(struct lu_dev *dev, unsigned int vector)
{
	return take_irq(dev, vector, IRQ_TIMEOUT_MS);
}

bool lu_irq_pending(struct lu_dev *dev, unsigned int vector)
{
	return take_irq(dev, vector, 0);
}

void lu_irq_ack(struct lu_dev *dev)
{
	dev->ops->irq_ack(dev);
	/* vfio masks INTx when it fires. */
	if (dev->irq_index == VFIO_PCI_INTX_IRQ_INDEX)
		lu_set_irqs(dev, dev->irq_index, VFIO_IRQ_SET_ACTION_UNMASK, 1, NULL);
}

bool lu_irq_test(struct lu_dev *dev)
{
	unsigned int i;

	for (i = 0; i < LU_MAX_VECTORS; i++) {
		if (!lu_irq_vector(dev, i))
			continue;
		dev->ops->irq_raise(dev, i);
		if (!lu_irq_wait(dev, i)) {
			fprintf(stderr, "%s: no %s %u\n", dev->name,
				lu_irq_name(dev->irq_index), i);
			return false;
		}
		lu_irq_ack(dev);
	}
	return true;
}

/* ---- Notes ----------------------------------------------------------------- */

bool lu_quiet;

#define NOTES_SIZE	(LU_MAX_DEVS * (LU_DMA_SIZE + sizeof(struct lu_saved)))

void lu_notes_map(int fd, struct lu_dev *devs, unsigned int count)
{
	struct lu_saved *saved;
	unsigned int i;
	char *base;

	base = mmap(NULL, NOTES_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (base == MAP_FAILED)
		vmt_die("cannot map the notes");
	saved = (void *)(base + LU_MAX_DEVS * LU_DMA_SIZE);
	for (i = 0; i < count; i++) {
		devs[i].saved = &saved[i];
		devs[i].dma = (struct dma_region){
			.vaddr = base + i * LU_DMA_SIZE,
			.iova = DMA_IOVA + i * LU_DMA_SIZE,
			.size = LU_DMA_SIZE,
		};
		devs[i].dma_fd = fd;
		devs[i].dma_offset = i * LU_DMA_SIZE;
	}
}

int lu_notes_create(struct lu_dev *devs, unsigned int count)
{
	int fd = memfd_create("notes", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, NOTES_SIZE))
		vmt_die("memfd");
	lu_notes_map(fd, devs, count);
	return fd;
}

void lu_dma_map(struct lu_dev *dev, struct iommu *iommu)
{
	int err = lu_map_file(iommu, dev->dma_fd, dev->dma_offset, dev->dma.size, dev->dma.iova);

	if (err) {
		errno = -err;
		vmt_die("%s: cannot map its memory", dev->name);
	}
}

int lu_map_file(struct iommu *iommu, int fd, uint64_t offset, uint64_t length, uint64_t iova)
{
	struct iommu_ioas_map_file arg = {
		.size = sizeof(arg),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
			 IOMMU_IOAS_MAP_WRITEABLE,
		.ioas_id = iommu->ioas_id,
		.fd = fd,
		.start = offset,
		.length = length,
		.iova = iova,
	};

	return ioctl(iommu->iommufd, IOMMU_IOAS_MAP_FILE, &arg) ? -errno : 0;
}

static void read_info(struct lu_dev *dev, uint32_t *flags, uint32_t *irqs)
{
	unsigned int i;

	*flags = dev->vfio->info.flags;
	for (i = 0; i < 3; i++) {
		struct vfio_irq_info info = { .argsz = sizeof(info), .index = i };

		ioctl_assert(dev->vfio->fd, VFIO_DEVICE_GET_IRQ_INFO, &info);
		irqs[i] = info.count;
	}
}

unsigned int lu_info_changed(struct lu_dev *dev)
{
	unsigned int i, changed = 0;
	uint32_t flags, irqs[3];

	read_info(dev, &flags, irqs);
	if (flags != dev->saved->flags) {
		fprintf(stderr, "%s: flags were %#x, are %#x\n", dev->name,
			dev->saved->flags, flags);
		changed++;
	}
	for (i = 0; i < 3; i++) {
		if (irqs[i] == dev->saved->irqs[i])
			continue;
		fprintf(stderr, "%s: number of %s was %u, is %u\n", dev->name, lu_irq_name(i),
			dev->saved->irqs[i], irqs[i]);
		changed++;
	}
	return changed;
}

void lu_note_down(struct lu_dev *dev)
{
	struct lu_saved *saved = dev->saved;

	read_info(dev, &saved->flags, saved->irqs);
	saved->irq_index = dev->irq_index;
	saved->nr_regs = dev->ops->read_regs(dev, saved->regs);
	saved->cfg_size = dev->vfio->config_space.size;
	lu_read_config(dev, saved->cfg);
}

unsigned int lu_regs_changed(struct lu_dev *dev)
{
	uint64_t now[LU_MAX_REGS];
	unsigned int i, n, changed = 0;

	n = dev->ops->read_regs(dev, now);
	for (i = 0; i < n; i++) {
		if (i < dev->saved->nr_regs && now[i] == dev->saved->regs[i])
			continue;
		changed++;
		if (!lu_quiet)
			fprintf(stderr, "%s: register %u of its list was %#llx, is %#llx\n",
				dev->name, i, (unsigned long long)dev->saved->regs[i],
				(unsigned long long)now[i]);
	}
	return changed;
}

unsigned int lu_config_changed(struct lu_dev *dev)
{
	uint8_t now[LU_CFG_SIZE];
	unsigned int i, changed = 0;

	lu_read_config(dev, now);
	for (i = 0; i < LU_CFG_SIZE; i++) {
		if (now[i] == dev->saved->cfg[i])
			continue;
		changed++;
		if (!lu_quiet)
			fprintf(stderr, "%s: virtual config space at %#x was %#04x, is %#04x\n",
				dev->name, i, dev->saved->cfg[i], now[i]);
	}
	return changed;
}

/* ---- Programming ----------------------------------------------------------- */

void lu_set_command(struct lu_dev *dev, uint16_t bits)
{
	uint16_t cmd = vfio_pci_config_readw(dev->vfio, PCI_COMMAND);

	vfio_pci_config_writew(dev->vfio, PCI_COMMAND, cmd | bits);
}

/* Bits of config space that the user owns, none of them at its default. */
static void program_config(struct lu_dev *dev, unsigned int seed)
{
	unsigned int cap;
	uint16_t val;

	lu_set_command(dev, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY);
	vfio_pci_config_writeb(dev->vfio, PCI_CACHE_LINE_SIZE, seed % 2 ? 0x10 : 0x08);
	vfio_pci_config_writeb(dev->vfio, PCI_INTERRUPT_LINE, 0x50 + seed);

	cap = lu_cap(dev, PCI_CAP_ID_EXP);
	if (cap) {
		val = vfio_pci_config_readw(dev->vfio, cap + PCI_EXP_DEVCTL);
		val ^= PCI_EXP_DEVCTL_CERE | PCI_EXP_DEVCTL_URRE | PCI_EXP_DEVCTL_NOSNOOP_EN;
		vfio_pci_config_writew(dev->vfio, cap + PCI_EXP_DEVCTL, val);
	}
	/* Where a guest puts its MSI message: emulated, never in the hardware. */
	cap = lu_cap(dev, PCI_CAP_ID_MSI);
	if (cap)
		vfio_pci_config_writel(dev->vfio, cap + PCI_MSI_ADDRESS_LO,
				       0xfee00000 | seed << 12);
}

bool lu_program(struct lu_dev *dev, unsigned int seed, int irq_index)
{
	uint64_t before[LU_MAX_REGS] = {}, after[LU_MAX_REGS] = {};
	unsigned int n;
	bool ok = true;

	program_config(dev, seed);
	/* Interrupts first: QEMU's nvme looks which kind it is when it gets enabled. */
	if (dev->irq_index >= 0)
		lu_irq_disable(dev);
	lu_irq_enable(dev, irq_index);
	dev->ops->program(dev, seed + 1);
	n = dev->ops->read_regs(dev, before);
	dev->ops->program(dev, seed);
	dev->ops->read_regs(dev, after);
	if (!memcmp(before, after, n * sizeof(*before))) {
		fprintf(stderr, "%s: its registers do not take values\n", dev->name);
		ok = false;
	}

	if (dev->ops->irq_setup)
		dev->ops->irq_setup(dev);
	return lu_irq_test(dev) && ok;
}

int lu_preserve_all(int luo, const char *name, int notes, struct lu_dev *devs, unsigned int count,
		    int irq_index)
{
	int session = luo_create_session(luo, name), err;
	unsigned int i;

	if (session < 0) {
		fprintf(stderr, "session %s: %s\n", name, strerror(-session));
		return session;
	}
	err = lu_preserve(session, notes, LU_NOTES_TOKEN);
	if (err)
		fprintf(stderr, "the notes: not preserved: %s\n", strerror(-err));
	for (i = 0; !err && i < count; i++) {
		if (!lu_program(&devs[i], 1, irq_index))
			err = -EIO;
	}
	for (i = 0; !err && i < count; i++) {
		err = lu_preserve(session, devs[i].vfio->fd, devs[i].token);
		if (err)
			fprintf(stderr, "%s: not preserved: %s\n", devs[i].name, strerror(-err));
		else
			lu_note_down(&devs[i]);
	}
	if (!err)
		return session;
	close(session);
	return err;
}

void lu_phys_pages(const void *vaddr, uint64_t *phys, unsigned int count)
{
	long size = sysconf(_SC_PAGESIZE);
	off_t pos = (uintptr_t)vaddr / size * sizeof(*phys);
	ssize_t len = count * sizeof(*phys);
	/* Not kept: it would be that of the parent. */
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	unsigned int i;

	if (fd < 0 || pread(fd, phys, len, pos) != len)
		vmt_die("/proc/self/pagemap");
	close(fd);
	for (i = 0; i < count; i++) {
		/* Present, and the number is in the low 55 bits. */
		if (!(phys[i] >> 63) || !(phys[i] << 9)) {
			errno = EFAULT;
			vmt_die("no page at %p", (const char *)vaddr + i * size);
		}
		phys[i] = (phys[i] << 9 >> 9) * size;
	}
}

uint64_t lu_phys(const void *vaddr)
{
	uint64_t phys;

	lu_phys_pages(vaddr, &phys, 1);
	return phys + (uintptr_t)vaddr % sysconf(_SC_PAGESIZE);
}

uint64_t lu_now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000ull + ts.tv_nsec / 1000;
}
