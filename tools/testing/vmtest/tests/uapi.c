// SPDX-License-Identifier: GPL-2.0-only
/*
 * uapi: what user space can and cannot do with preserved vfio devices, without a
 * kexec: which files and devices are accepted, with which error the others are
 * refused, what is forbidden while a device is preserved, and that all of it ends
 * with the session.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/iommufd.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>

#include "lu_harness.h"

#define LOOPS	200

/* ---- One open device: an e1000e behind a root port ---------------------------- */

FIXTURE(preserve) {
	struct lu_dev dev;
	struct iommu *iommu;
	int luo, session;
};

FIXTURE_SETUP(preserve)
{
	self->luo = luo_open_device();
	ASSERT_LE(0, self->luo);
	self->session = luo_create_session(self->luo, "one");
	ASSERT_LE(0, self->session);
	lu_find_one(&self->dev, 0x8086, 0x10d3, 0);
	self->iommu = iommu_init(MODE_IOMMUFD);
	lu_open(&self->dev, self->iommu);
	lu_set_command(&self->dev, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

/* Whatever a test did, the device is an ordinary one after it. */
FIXTURE_TEARDOWN(preserve)
{
	if (self->session >= 0)
		close(self->session);
	EXPECT_STREQ("none", lu_state(self->dev.bdf));
	EXPECT_STREQ("none", lu_state(self->dev.port));
	if (self->dev.vfio) {
		EXPECT_TRUE(lu_bus_master(self->dev.bdf));
		lu_close(&self->dev);
	}
	EXPECT_FALSE(lu_bus_master(self->dev.bdf));
	close(self->luo);
}

TEST_F(preserve, bound)
{
	EXPECT_STREQ("none", lu_state(self->dev.bdf));
	EXPECT_EQ(0, lu_preserve(self->session, self->dev.vfio->fd, 1));
	EXPECT_STREQ("preserved", lu_state(self->dev.bdf));
	EXPECT_STREQ("preserved", lu_state(self->dev.port));
}

static int detach(int fd)
{
	struct vfio_device_detach_iommufd_pt arg = { .argsz = sizeof(arg) };

	return ioctl(fd, VFIO_DEVICE_DETACH_IOMMUFD_PT, &arg) ? -errno : 0;
}

TEST_F(preserve, bound_not_attached)
{
	int fd;

	lu_close(&self->dev);
	fd = lu_cdev_open(self->dev.bdf);
	ASSERT_EQ(0, lu_bind_iommufd(fd, self->iommu));
	EXPECT_EQ(-ENOTCONN, lu_preserve(self->session, fd, 1));
	EXPECT_STREQ("none", lu_state(self->dev.bdf));
	EXPECT_STREQ("none", lu_state(self->dev.port));
	/* Attached it is, if only to an IOAS that has nothing in it. */
	ASSERT_EQ(0, lu_attach(fd, self->iommu));
	EXPECT_EQ(0, lu_preserve(self->session, fd, 1));
	EXPECT_STREQ("preserved", lu_state(self->dev.bdf));
	close(fd);
}

TEST_F(preserve, detached)
{
	int fd = self->dev.vfio->fd;

	ASSERT_EQ(0, detach(fd));
	EXPECT_EQ(-ENOTCONN, lu_preserve(self->session, fd, 1));
	EXPECT_STREQ("none", lu_state(self->dev.bdf));
	ASSERT_EQ(0, lu_attach(fd, self->iommu));
	EXPECT_EQ(0, lu_preserve(self->session, fd, 1));
}

TEST_F(preserve, not_bound)
{
	int fd;

	lu_close(&self->dev);
	fd = lu_cdev_open(self->dev.bdf);
	ASSERT_LE(0, fd);
	EXPECT_EQ(-ENOTCONN, lu_preserve(self->session, fd, 1));
	/* An error is not held against it. */
	ASSERT_EQ(0, lu_bind_iommufd(fd, self->iommu));
	ASSERT_EQ(0, lu_attach(fd, self->iommu));
	EXPECT_EQ(0, lu_preserve(self->session, fd, 1));
	close(fd);
}

/* Closing the file that is bound resets the device: no other can stand for it. */
TEST_F(preserve, second_file)
{
	int fd = lu_cdev_open(self->dev.bdf);

	ASSERT_LE(0, fd);
	EXPECT_EQ(-ENOTCONN, lu_preserve(self->session, fd, 1));
	EXPECT_STREQ("none", lu_state(self->dev.bdf));
	EXPECT_EQ(0, lu_preserve(self->session, self->dev.vfio->fd, 2));
	EXPECT_EQ(-EBUSY, lu_preserve(self->session, fd, 1));
	close(fd);
}

TEST_F(preserve, twice)
{
	int other = luo_create_session(self->luo, "other"), copy = dup(self->dev.vfio->fd);

	ASSERT_EQ(0, lu_preserve(self->session, self->dev.vfio->fd, 1));
	EXPECT_EQ(-EBUSY, lu_preserve(self->session, self->dev.vfio->fd, 2));
	EXPECT_EQ(-EBUSY, lu_preserve(self->session, copy, 2));
	EXPECT_EQ(-EBUSY, lu_preserve(other, self->dev.vfio->fd, 1));
	EXPECT_EQ(-EBUSY, lu_preserve(other, copy, 2));
	close(other);
	EXPECT_STREQ("preserved", lu_state(self->dev.bdf));
	close(copy);
}

TEST_F(preserve, token_in_use)
{
	int other = luo_create_session(self->luo, "other"), memfd = memfd_create("m", 0);

	ASSERT_EQ(0, ftruncate(memfd, 4096));
	ASSERT_EQ(0, lu_preserve(self->session, memfd, 1));
	EXPECT_EQ(-EEXIST, lu_preserve(self->session, self->dev.vfio->fd, 1));
	EXPECT_STREQ("none", lu_state(self->dev.bdf));
	/* A token is one of its session. */
	EXPECT_EQ(0, lu_preserve(other, self->dev.vfio->fd, 1));
	close(other);
	close(memfd);
}

TEST_F(preserve, other_files)
{
	struct vfio_pci_device group;
	int pipefd[2], fd;
	char path[64];

	EXPECT_EQ(-EBADF, lu_preserve(self->session, -1, 1));
	EXPECT_EQ(-EBADF, lu_preserve(self->session, 1000, 1));
	EXPECT_EQ(-ENOENT, lu_preserve(self->session, self->iommu->iommufd, 1));
	EXPECT_EQ(-ENOENT, lu_preserve(self->session, self->session, 1));
	EXPECT_EQ(-ENOENT, lu_preserve(self->session, self->luo, 1));
	ASSERT_EQ(0, pipe(pipefd));
	EXPECT_EQ(-ENOENT, lu_preserve(self->session, pipefd[0], 1));
	fd = eventfd(0, 0);
	EXPECT_EQ(-ENOENT, lu_preserve(self->session, fd, 1));
	close(fd);
	fd = open("/init", O_RDONLY);
	ASSERT_LE(0, fd);
	EXPECT_EQ(-ENOENT, lu_preserve(self->session, fd, 1));
	close(fd);
	/* A file of the device's directory is not its cdev. */
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", self->dev.bdf);
	fd = open(path, O_RDWR);
	ASSERT_LE(0, fd);
	EXPECT_EQ(-ENOENT, lu_preserve(self->session, fd, 1));
	close(fd);

	/* The same device through its group: not the group, not the container, not the file. */
	lu_close(&self->dev);
	ASSERT_LE(0, lu_group_open(self->dev.bdf, &group));
	EXPECT_EQ(-ENOENT, lu_preserve(self->session, group.group_fd, 1));
	EXPECT_EQ(-ENOENT, lu_preserve(self->session, group.iommu->container_fd, 1));
	EXPECT_EQ(-EOPNOTSUPP, lu_preserve(self->session, group.fd, 1));
	close(group.fd);
	close(group.group_fd);
	iommu_cleanup(group.iommu);
}

/* The device may only reach what is preserved with it, and before it. */
TEST_F(preserve, memory)
{
	int notes = lu_notes_create(&self->dev, 1), fd = self->dev.vfio->fd;
	int other = luo_create_session(self->luo, "other");
	struct dma_region own = {
		.vaddr = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			      -1, 0),
		.iova = 0x100000,
		.size = 4096,
	};

	/* Memory of a process is lost with it. */
	ASSERT_NE(MAP_FAILED, own.vaddr);
	iommu_map(self->iommu, &own);
	EXPECT_EQ(-EOPNOTSUPP, lu_preserve(self->session, fd, self->dev.token));
	EXPECT_STREQ("none", lu_state(self->dev.bdf));
	iommu_unmap(self->iommu, &own);

	lu_dma_map(&self->dev, self->iommu);
	EXPECT_EQ(-ENOENT, lu_preserve(self->session, fd, self->dev.token));
	ASSERT_EQ(0, lu_preserve(other, notes, LU_NOTES_TOKEN));
	EXPECT_EQ(-ENOENT, lu_preserve(self->session, fd, self->dev.token));
	EXPECT_EQ(0, lu_preserve(other, fd, self->dev.token));
	EXPECT_STREQ("preserved", lu_state(self->dev.bdf));
	close(other);
	EXPECT_STREQ("none", lu_state(self->dev.bdf));
	ASSERT_EQ(0, lu_preserve(self->session, notes, LU_NOTES_TOKEN));
	EXPECT_EQ(0, lu_preserve(self->session, fd, self->dev.token));
	close(notes);
}

static int unmap(struct iommu *iommu, uint64_t iova, uint64_t length)
{
	struct iommu_ioas_unmap arg = {
		.size = sizeof(arg),
		.ioas_id = iommu->ioas_id,
		.iova = iova,
		.length = length,
	};

	return ioctl(iommu->iommufd, IOMMU_IOAS_UNMAP, &arg) ? -errno : 0;
}

static int destroy(struct iommu *iommu, uint32_t id)
{
	struct iommu_destroy arg = { .size = sizeof(arg), .id = id };

	return ioctl(iommu->iommufd, IOMMU_DESTROY, &arg) ? -errno : 0;
}

/* What a preserved device can reach does not change. */
TEST_F(preserve, immutable)
{
	int notes = lu_notes_create(&self->dev, 1), fd = self->dev.vfio->fd;
	struct iommu *iommu = self->iommu;
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	struct iommu spare = *iommu;
	uint64_t iova = 0x100000;
	struct lu_dev beside;

	ASSERT_EQ(0, lu_preserve(self->session, notes, LU_NOTES_TOKEN));
	lu_dma_map(&self->dev, iommu);
	ASSERT_EQ(0, ioctl(iommu->iommufd, IOMMU_IOAS_ALLOC, &alloc));
	spare.ioas_id = alloc.out_ioas_id;
	lu_find_one(&beside, 0x8086, 0x10c9, 0);
	vmt_bind(beside.bdf, "vfio-pci");

	for (int i = 0; i < 2; i++) {
		int other = lu_cdev_open(beside.bdf);

		ASSERT_LE(0, other);
		ASSERT_EQ(0, lu_bind_iommufd(other, iommu));
		ASSERT_EQ(0, lu_preserve(self->session, fd, self->dev.token));
		EXPECT_EQ(-EBUSY, lu_map_file(iommu, notes, 0, 4096, iova));
		EXPECT_EQ(-EBUSY, unmap(iommu, self->dev.dma.iova, self->dev.dma.size));
		EXPECT_EQ(-EBUSY, unmap(iommu, 0, UINT64_MAX));
		EXPECT_EQ(-EBUSY, lu_attach(fd, &spare));
		EXPECT_EQ(-EBUSY, detach(fd));
		EXPECT_EQ(-EBUSY, destroy(iommu, iommu->ioas_id));
		/* Not even by another device that would share it. */
		EXPECT_EQ(-EBUSY, lu_attach(other, iommu));
		/* What is not of that IOAS is nobody's business. */
		EXPECT_EQ(0, lu_attach(other, &spare));
		close(other);
		close(self->session);

		/* And then it can be changed again. */
		self->session = luo_create_session(self->luo, "one");
		ASSERT_LE(0, self->session);
		ASSERT_EQ(0, lu_map_file(iommu, notes, 0, 4096, iova));
		EXPECT_EQ(0, unmap(iommu, iova, 4096));
		EXPECT_EQ(0, lu_attach(fd, &spare));
		EXPECT_EQ(0, detach(fd));
		EXPECT_EQ(0, lu_attach(fd, iommu));
		ASSERT_EQ(0, lu_preserve(self->session, notes, LU_NOTES_TOKEN));
	}
	close(notes);
}

TEST_F(preserve, session_closed)
{
	ASSERT_EQ(0, lu_preserve(self->session, self->dev.vfio->fd, 1));
	close(self->session);
	EXPECT_STREQ("none", lu_state(self->dev.bdf));
	EXPECT_STREQ("none", lu_state(self->dev.port));
	self->session = luo_create_session(self->luo, "one");
	EXPECT_EQ(0, lu_preserve(self->session, self->dev.vfio->fd, 1));
}

TEST_F(preserve, many_times)
{
	unsigned int i;

	for (i = 0; i < LOOPS; i++) {
		close(self->session);
		self->session = luo_create_session(self->luo, "one");
		ASSERT_LE(0, self->session);
		ASSERT_EQ(0, lu_preserve(self->session, self->dev.vfio->fd, i));
		ASSERT_EQ(-EBUSY, lu_preserve(self->session, self->dev.vfio->fd, i + 1));
	}
}

/* Preserved devices are in use, and stay usable. */
TEST_F(preserve, device_works)
{
	int notes = lu_notes_create(&self->dev, 1);

	ASSERT_EQ(0, lu_preserve(self->session, self->dev.vfio->fd, 1));
	EXPECT_TRUE(lu_program(&self->dev, 5, VFIO_PCI_MSIX_IRQ_INDEX));
	EXPECT_TRUE(lu_program(&self->dev, 6, VFIO_PCI_MSI_IRQ_INDEX));
	EXPECT_TRUE(lu_program(&self->dev, 7, VFIO_PCI_INTX_IRQ_INDEX));
	lu_note_down(&self->dev);
	EXPECT_EQ(0, ioctl(self->dev.vfio->fd, VFIO_DEVICE_RESET));
	EXPECT_STREQ("preserved", lu_state(self->dev.bdf));
	lu_set_command(&self->dev, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	EXPECT_TRUE(lu_program(&self->dev, 8, VFIO_PCI_MSIX_IRQ_INDEX));
	close(notes);
}

/* The session holds the file: closing it does not close the device. */
TEST_F(preserve, file_closed)
{
	int fd;

	lu_program(&self->dev, 3, VFIO_PCI_MSIX_IRQ_INDEX);
	ASSERT_EQ(0, lu_preserve(self->session, self->dev.vfio->fd, 1));
	lu_close(&self->dev);
	EXPECT_STREQ("preserved", lu_state(self->dev.bdf));
	EXPECT_TRUE(lu_bus_master(self->dev.bdf));
	/* Open it is, so nobody else can bind it. */
	fd = lu_cdev_open(self->dev.bdf);
	ASSERT_LE(0, fd);
	EXPECT_GT(0, lu_bind_iommufd(fd, self->iommu));
	close(self->session);
	self->session = -1;
	EXPECT_STREQ("none", lu_state(self->dev.bdf));
	EXPECT_FALSE(lu_bus_master(self->dev.bdf));
	EXPECT_EQ(0, lu_bind_iommufd(fd, self->iommu));
	close(fd);
}

/* ---- Processes that die -------------------------------------------------------- */

/* A child opens the device and preserves it in a session of its own, or in ours. */
static pid_t owner(struct __test_metadata *_metadata, FIXTURE_DATA(preserve) *self, bool ours)
{
	int pipefd[2];
	pid_t pid;
	char c;

	lu_close(&self->dev);
	ASSERT_EQ(0, pipe(pipefd));
	pid = fork();
	if (!pid) {
		int session = self->session;

		lu_open(&self->dev, iommu_init(MODE_IOMMUFD));
		lu_set_command(&self->dev, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
		if (!ours)
			session = luo_create_session(self->luo, "theirs");
		if (lu_preserve(session, self->dev.vfio->fd, 1) || write(pipefd[1], "", 1) != 1)
			_exit(1);
		pause();
	}
	close(pipefd[1]);
	ASSERT_EQ(1, read(pipefd[0], &c, 1));
	close(pipefd[0]);
	EXPECT_STREQ("preserved", lu_state(self->dev.bdf));
	return pid;
}

TEST_F(preserve, owner_killed)
{
	pid_t pid = owner(_metadata, self, false);

	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	EXPECT_STREQ("none", lu_state(self->dev.bdf));
	EXPECT_STREQ("none", lu_state(self->dev.port));
	EXPECT_FALSE(lu_bus_master(self->dev.bdf));
	/* Free for the next one. */
	lu_open(&self->dev, self->iommu);
	lu_set_command(&self->dev, PCI_COMMAND_MASTER);
	EXPECT_EQ(0, lu_preserve(self->session, self->dev.vfio->fd, 1));
}

TEST_F(preserve, owner_killed_session_held)
{
	pid_t pid = owner(_metadata, self, true);

	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	EXPECT_STREQ("preserved", lu_state(self->dev.bdf));
	EXPECT_TRUE(lu_bus_master(self->dev.bdf));
	close(self->session);
	self->session = -1;
	EXPECT_STREQ("none", lu_state(self->dev.bdf));
	EXPECT_FALSE(lu_bus_master(self->dev.bdf));
}

/* ---- Sysfs ----------------------------------------------------------------------- */

static int write_proc_config(const char *bdf)
{
	char path[64];
	int fd, ret;

	/* 0000:01:00.0 is /proc/bus/pci/01/00.0 */
	snprintf(path, sizeof(path), "/proc/bus/pci/%.2s/%s", bdf + 5, bdf + 8);
	fd = open(path, O_RDWR);
	if (fd < 0)
		return -errno;
	ret = pwrite(fd, "\x10", 1, PCI_CACHE_LINE_SIZE) == 1 ? 0 : -errno;
	close(fd);
	return ret;
}

static int write_sysfs_config(const char *bdf)
{
	char path[64];
	int fd, ret;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", bdf);
	fd = open(path, O_RDWR);
	if (fd < 0)
		return -errno;
	ret = pwrite(fd, "\x10", 1, PCI_CACHE_LINE_SIZE) == 1 ? 0 : -errno;
	close(fd);
	return ret;
}

TEST_F(preserve, sysfs_refused)
{
	const char *dev = self->dev.bdf, *port = self->dev.port;

	/* What is to be refused works on a device that is not preserved. */
	EXPECT_EQ(0, write_sysfs_config(dev));
	EXPECT_EQ(0, write_proc_config(dev));
	EXPECT_EQ(0, write_sysfs_config(port));
	EXPECT_LT(0, vmt_dev_write(dev, "reset", "1"));

	ASSERT_EQ(0, lu_preserve(self->session, self->dev.vfio->fd, 1));
	EXPECT_EQ(-EBUSY, write_sysfs_config(dev));
	EXPECT_EQ(-EBUSY, write_proc_config(dev));
	EXPECT_EQ(-EBUSY, vmt_dev_write(dev, "reset", "1"));
	EXPECT_EQ(-EBUSY, vmt_dev_write(dev, "enable", "0"));
	EXPECT_EQ(-EBUSY, vmt_dev_write(dev, "enable", "1"));
	EXPECT_EQ(-EBUSY, vmt_dev_write(dev, "remove", "1"));
	EXPECT_EQ(-EBUSY, write_sysfs_config(port));
	EXPECT_EQ(-EBUSY, write_proc_config(port));
	EXPECT_EQ(-EBUSY, vmt_dev_write(port, "enable", "0"));
	EXPECT_EQ(-EBUSY, vmt_dev_write(port, "remove", "1"));
	EXPECT_EQ(-EBUSY, vmt_dev_write(port, "reset_subordinate", "1"));
	/* Reading is not. */
	EXPECT_EQ(0x10d38086, vmt_cfg_read(dev, PCI_VENDOR_ID, 4));

	EXPECT_STREQ("preserved", lu_state(dev));
	EXPECT_TRUE(lu_bus_master(dev));
	close(self->session);
	self->session = -1;
	EXPECT_EQ(0, write_sysfs_config(dev));
	EXPECT_EQ(0, write_proc_config(dev));
	EXPECT_EQ(0, write_sysfs_config(port));
}

TEST_F(preserve, reset_and_remove_afterwards)
{
	const char *dev = self->dev.bdf, *port = self->dev.port;

	ASSERT_EQ(0, lu_preserve(self->session, self->dev.vfio->fd, 1));
	close(self->session);
	self->session = -1;
	lu_close(&self->dev);

	EXPECT_LT(0, vmt_dev_write(dev, "reset", "1"));
	EXPECT_LT(0, vmt_dev_write(dev, "remove", "1"));
	EXPECT_STREQ("", lu_state(dev));
	EXPECT_LT(0, vmt_dev_write(port, "rescan", "1"));
	EXPECT_STREQ("none", lu_state(dev));
	vmt_bind(dev, "vfio-pci");
}

TEST_F(preserve, rescan)
{
	lu_program(&self->dev, 3, VFIO_PCI_MSIX_IRQ_INDEX);
	ASSERT_EQ(0, lu_preserve(self->session, self->dev.vfio->fd, 1));
	EXPECT_LT(0, vmt_write_file("/sys/bus/pci/rescan", "1"));
	EXPECT_LT(0, vmt_dev_write(self->dev.port, "rescan", "1"));
	EXPECT_LT(0, vmt_dev_write(self->dev.bdf, "rescan", "1"));
	EXPECT_STREQ("preserved", lu_state(self->dev.bdf));
	EXPECT_TRUE(lu_bus_master(self->dev.bdf));
	EXPECT_TRUE(lu_irq_test(&self->dev));
}

/* ---- Power ------------------------------------------------------------------------- */

static int set_feature(int fd, uint32_t feature)
{
	struct vfio_device_feature arg = {
		.argsz = sizeof(arg),
		.flags = VFIO_DEVICE_FEATURE_SET | feature,
	};

	return ioctl(fd, VFIO_DEVICE_FEATURE, &arg) ? -errno : 0;
}

TEST_F(preserve, low_power)
{
	int fd = self->dev.vfio->fd;

	ASSERT_EQ(0, lu_preserve(self->session, fd, 1));
	EXPECT_EQ(-EBUSY, set_feature(fd, VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY));
	EXPECT_NE(UINT32_MAX, lu_read32(&self->dev, 0));
	close(self->session);

	self->session = luo_create_session(self->luo, "one");
	ASSERT_EQ(0, set_feature(fd, VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY));
	EXPECT_EQ(-ESHUTDOWN, lu_preserve(self->session, fd, 1));
	EXPECT_STREQ("none", lu_state(self->dev.bdf));
	ASSERT_EQ(0, set_feature(fd, VFIO_DEVICE_FEATURE_LOW_POWER_EXIT));
	EXPECT_EQ(0, lu_preserve(self->session, fd, 1));
}

TEST_F(preserve, d3hot)
{
	unsigned int pm = lu_cap(&self->dev, PCI_CAP_ID_PM);
	int fd = self->dev.vfio->fd;
	uint16_t ctrl;

	ASSERT_NE(0, pm);
	ctrl = vfio_pci_config_readw(self->dev.vfio, pm + PCI_PM_CTRL);
	vfio_pci_config_writew(self->dev.vfio, pm + PCI_PM_CTRL, ctrl | 3);
	EXPECT_EQ(-ESHUTDOWN, lu_preserve(self->session, fd, 1));
	EXPECT_STREQ("none", lu_state(self->dev.bdf));
	vfio_pci_config_writew(self->dev.vfio, pm + PCI_PM_CTRL, ctrl);
	/* The way back may have reset it. */
	lu_set_command(&self->dev, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	EXPECT_EQ(0, lu_preserve(self->session, fd, 1));
}

/* ---- Devices that are refused -------------------------------------------------------- */

FIXTURE(refused) {
	int luo, session;
	struct iommu *iommu;
};

FIXTURE_VARIANT(refused) {
	uint16_t vendor, device;
	unsigned int nr;
	int err;
};

FIXTURE_VARIANT_ADD(refused, usb) {
	.vendor = 0x1b36, .device = 0x000d, .err = -EPERM,
};

FIXTURE_VARIANT_ADD(refused, display) {
	.vendor = 0x1234, .device = 0x1111, .err = -EPERM,
};

/* edu: the first is behind a bridge to conventional PCI. */
FIXTURE_VARIANT_ADD(refused, behind_bridge) {
	.vendor = 0x1234, .device = 0x11e8, .err = -EXDEV,
};

/* It translates by itself. */
FIXTURE_VARIANT_ADD(refused, ats) {
	.vendor = 0x1af4, .device = 0x1041, .err = -EOPNOTSUPP,
};

/* The second is behind a switch that has no ACS, and so not alone in its IOMMU group. */
FIXTURE_VARIANT_ADD(refused, behind_switch) {
	.vendor = 0x1234, .device = 0x11e8, .nr = 1, .err = -EOPNOTSUPP,
};

FIXTURE_SETUP(refused)
{
	self->luo = luo_open_device();
	self->session = luo_create_session(self->luo, "refused");
	ASSERT_LE(0, self->session);
	self->iommu = iommu_init(MODE_IOMMUFD);
}

FIXTURE_TEARDOWN(refused)
{
}

TEST_F(refused, device)
{
	struct lu_dev dev;

	lu_find_one(&dev, variant->vendor, variant->device, variant->nr);
	lu_open(&dev, self->iommu);
	EXPECT_EQ(variant->err, lu_preserve(self->session, dev.vfio->fd, 1));
	EXPECT_STREQ("none", lu_state(dev.bdf));
	if (*dev.port)
		EXPECT_STREQ("none", lu_state(dev.port));
	lu_close(&dev);
}

/* ---- SR-IOV ---------------------------------------------------------------------------- */

#define VF_TOKEN	"bd8d9d2b-5a5f-4f5a-a211-f591514ba1f3"

TEST(sriov)
{
	struct iommu *iommu = iommu_init(MODE_IOMMUFD);
	int luo, session, vf;
	char link[64], *vf_bdf;
	struct lu_dev pf;

	luo = luo_open_device();
	session = luo_create_session(luo, "sriov");
	ASSERT_LE(0, session);
	lu_find_one(&pf, 0x8086, 0x10c9, 0);
	lu_open(&pf, iommu);
	vfio_device_set_vf_token(pf.vfio->fd, VF_TOKEN);

	/* A function whose VFs might be anybody's is not preserved... */
	ASSERT_LT(0, vmt_dev_write(pf.bdf, "sriov_numvfs", "2"));
	EXPECT_EQ(-ENOTEMPTY, lu_preserve(session, pf.vfio->fd, 1));
	EXPECT_STREQ("none", lu_state(pf.bdf));

	vf_bdf = sysfs_sriov_vf_bdf_get(pf.bdf, 0);
	EXPECT_STREQ("vfio-pci", vmt_driver(vf_bdf, link, sizeof(link)));
	vf = lu_cdev_open(vf_bdf);
	ASSERT_LE(0, vf);
	ASSERT_EQ(0, __vfio_device_bind_iommufd(vf, iommu->iommufd, VF_TOKEN));
	EXPECT_EQ(-EOPNOTSUPP, lu_preserve(session, vf, 2));
	EXPECT_STREQ("none", lu_state(vf_bdf));
	close(vf);

	/* ...and one that is preserved gets none. */
	ASSERT_LT(0, vmt_dev_write(pf.bdf, "sriov_numvfs", "0"));
	ASSERT_EQ(0, lu_preserve(session, pf.vfio->fd, 1));
	EXPECT_GT(0, vmt_dev_write(pf.bdf, "sriov_numvfs", "2")) {
		vmt_dev_write(pf.bdf, "sriov_numvfs", "0");
	}
	close(session);
	lu_close(&pf);
}

TEST_HARNESS_MAIN
