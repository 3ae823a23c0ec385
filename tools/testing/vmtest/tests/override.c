// SPDX-License-Identifier: GPL-2.0-only
/*
 * override: the administrator gives an incoming device to another driver.
 *
 * That is the only way in which a driver that did not hold it gets it, and then the
 * device is an ordinary one: stopped, reset, off the record. Its session goes on
 * without it.
 *
 * "vmtest.other=" is the driver: pci-stub, which does nothing with a device, or e1000e,
 * whose network interface has to work.
 */
#include <dirent.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/pci_regs.h>

#include "lu_harness.h"

#define REGS_SIZE	0x20000	/* of a NIC */

/* In the order in which lu_find() finds the devices of the scenario. */
enum { GIVEN, BEHIND, KEPT, BESIDE, COUNT };

static struct lu_dev devs[LU_MAX_DEVS];
static const char *other;

FIXTURE(override) {
	struct iommu *iommu;
	int luo;
};

FIXTURE_SETUP(override)
{
	other = vmt_param("other");
	ASSERT_NE(NULL, other);
	self->luo = luo_open_device();
	ASSERT_LE(0, self->luo);
	ASSERT_EQ(0, strcmp(vmt_param("flavour"), "mod") ? 0 : vmt_modload_vfio_pci());
	ASSERT_EQ(COUNT, lu_find(devs, LU_MAX_DEVS));
	self->iommu = iommu_init(MODE_IOMMUFD);
}

FIXTURE_TEARDOWN(override)
{
}

TEST_F(override, old_kernel)
{
	int session, notes;
	unsigned int i;

	vmt_mark(VMT_START);
	notes = lu_notes_create(devs, COUNT);
	session = luo_create_session(self->luo, "override");
	ASSERT_LE(0, session);
	ASSERT_EQ(0, lu_preserve(session, notes, LU_NOTES_TOKEN));
	for (i = 0; i < COUNT; i++) {
		lu_dma_map(&devs[i], self->iommu);
		lu_open(&devs[i], self->iommu);
	}
	for (i = 0; i < COUNT; i++) {
		ASSERT_TRUE(lu_program(&devs[i], i, VFIO_PCI_MSI_IRQ_INDEX));
		ASSERT_EQ(0, lu_preserve(session, devs[i].vfio->fd, devs[i].token));
		lu_note_down(&devs[i]);
	}
	vmt_mark(VMT_PRESERVED);
	vmt_kexec_load();
	ASSERT_TRUE(__test_passed(_metadata));
	ASSERT_EQ(0, vmt_kexec());
}

/* Its interface is there, comes up and goes down. */
static void check_nic(struct __test_metadata *_metadata, struct lu_dev *dev)
{
	int sock = socket(AF_UNIX, SOCK_DGRAM, 0);
	struct ifreq ifr = {};
	struct dirent *ent;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/net", dev->bdf);
	dir = opendir(path);
	ASSERT_NE(NULL, dir);
	while ((ent = readdir(dir)))
		if (*ent->d_name != '.')
			snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%.15s", ent->d_name);
	closedir(dir);
	ASSERT_STRNE("", ifr.ifr_name);

	ifr.ifr_flags = IFF_UP;
	EXPECT_EQ(0, ioctl(sock, SIOCSIFFLAGS, &ifr));
	EXPECT_EQ(0, ioctl(sock, SIOCGIFFLAGS, &ifr));
	EXPECT_TRUE(ifr.ifr_flags & IFF_UP);
	EXPECT_TRUE(lu_bus_master(dev->bdf));
	ifr.ifr_flags = 0;
	EXPECT_EQ(0, ioctl(sock, SIOCSIFFLAGS, &ifr));
	close(sock);
}

/* vfio would reset it when it is opened: look before that, through sysfs. */
static void check_reset(struct __test_metadata *_metadata, struct lu_dev *dev)
{
	struct vfio_pci_device vfio = {};
	char path[64];
	int fd;

	vmt_cfg_write(dev->bdf, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource0", dev->bdf);
	fd = open(path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	vfio.bars[0].vaddr = mmap(NULL, REGS_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, vfio.bars[0].vaddr);
	dev->vfio = &vfio;
	lu_quiet = true;
	EXPECT_NE(0, lu_regs_changed(dev)) {
		TH_LOG("%s: not reset", dev->name);
	}
	lu_quiet = false;
	dev->vfio = NULL;
	munmap(vfio.bars[0].vaddr, REGS_SIZE);
	close(fd);
}

static void give_away(struct __test_metadata *_metadata, int session, struct lu_dev *dev)
{
	bool nic = !strcmp(other, "e1000e");
	char driver[64], path[64];

	EXPECT_STREQ("vfio-pci", vmt_driver(dev->bdf, driver, sizeof(driver)));
	vmt_unbind(dev->bdf);

	/* Not just by knowing its ID. */
	snprintf(path, sizeof(path), "/sys/bus/pci/drivers/%s/bind", other);
	EXPECT_GT(0, vmt_write_file(path, dev->bdf));
	EXPECT_STREQ("incoming", lu_state(dev->bdf));
	EXPECT_TRUE(lu_bus_master(dev->bdf));

	if (dev == &devs[GIVEN])
		vmt_mark(VMT_USER1);
	ASSERT_EQ(0, vmt_try_bind(dev->bdf, other));
	EXPECT_STREQ(other, vmt_driver(dev->bdf, driver, sizeof(driver)));
	EXPECT_STREQ("none", lu_state(dev->bdf));
	if (nic) {
		check_nic(_metadata, dev);
	} else {
		EXPECT_FALSE(lu_bus_master(dev->bdf)) {
			TH_LOG("%s: bus master", dev->name);
		}
		check_reset(_metadata, dev);
	}
	EXPECT_EQ(-ENODEV, lu_retrieve(session, dev->token));
	vmt_step("%s: given to %s", dev->name, other);
}

static void take(struct __test_metadata *_metadata, FIXTURE_DATA(override) *self, int session,
		 struct lu_dev *dev)
{
	int fd;

	EXPECT_STREQ("incoming", lu_state(dev->bdf));
	fd = lu_retrieve(session, dev->token);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, lu_bind_iommufd(fd, self->iommu));
	ASSERT_EQ(0, lu_attach(fd, self->iommu));
	lu_setup(dev, fd, self->iommu);
	EXPECT_EQ(0, lu_config_changed(dev));
	EXPECT_EQ(0, lu_regs_changed(dev));
	lu_irq_enable(dev, dev->saved->irq_index);
	EXPECT_TRUE(lu_irq_test(dev));
}

/* It has been reset, and works as any other. */
static void check_ordinary(struct __test_metadata *_metadata, FIXTURE_DATA(override) *self,
			   struct lu_dev *dev)
{
	int fd;

	vmt_bind(dev->bdf, "vfio-pci");
	fd = lu_cdev_open(dev->bdf);
	EXPECT_LE(0, fd) {
		TH_LOG("%s: it is still reserved", dev->name);
	}
	close(fd);
	lu_open(dev, self->iommu);
	lu_set_command(dev, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	lu_quiet = true;
	EXPECT_NE(0, lu_config_changed(dev));
	if (dev->ops->reset_shows)
		EXPECT_NE(0, lu_regs_changed(dev));
	lu_quiet = false;
	EXPECT_TRUE(lu_program(dev, 42, VFIO_PCI_MSI_IRQ_INDEX));
}

TEST_F(override, new_kernel)
{
	int session, notes;
	unsigned int i;

	session = luo_retrieve_session(self->luo, "override");
	ASSERT_LE(0, session);
	notes = lu_retrieve(session, LU_NOTES_TOKEN);
	ASSERT_LE(0, notes);
	lu_notes_map(notes, devs, COUNT);
	for (i = 0; i < COUNT; i++)
		lu_dma_map(&devs[i], self->iommu);

	give_away(_metadata, session, &devs[GIVEN]);
	give_away(_metadata, session, &devs[BEHIND]);
	/* Nothing below it is incoming any more. */
	EXPECT_STREQ("none", lu_state(devs[BEHIND].port));

	EXPECT_EQ(-EBUSY, luo_session_finish(session));
	take(_metadata, self, session, &devs[KEPT]);
	take(_metadata, self, session, &devs[BESIDE]);
	vmt_mark(VMT_RETRIEVED);
	EXPECT_EQ(0, luo_session_finish(session));
	vmt_mark(VMT_FINISHED);
	close(session);
	for (i = 0; i < COUNT; i++)
		EXPECT_STREQ("none", lu_state(devs[i].bdf));
	EXPECT_TRUE(lu_irq_test(&devs[KEPT]));
	EXPECT_TRUE(lu_irq_test(&devs[BESIDE]));

	check_ordinary(_metadata, self, &devs[GIVEN]);
	check_ordinary(_metadata, self, &devs[BEHIND]);
	for (i = 0; i < COUNT; i++) {
		lu_close(&devs[i]);
		EXPECT_FALSE(lu_bus_master(devs[i].bdf));
	}
	vmt_mark(VMT_CLOSED);
}

int main(void)
{
	char *argv[] = { "override", "-t", vmt_stage() == 1 ? "old_kernel" : "new_kernel", NULL };

	return test_harness_run(3, argv);
}
