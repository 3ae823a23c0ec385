// SPDX-License-Identifier: GPL-2.0-only
/*
 * module: vfio-pci is a module that is loaded long after /dev/liveupdate is opened.
 *
 * The handler of the devices' files is missing when the new kernel reads the
 * sessions. That must not lose the sessions, nor anything else in them, and once
 * the module is there the devices are to be had. It cannot be unloaded while a
 * preserved or retrieved file needs it.
 *
 * One of the devices is a NIC whose own driver is built in. It gets it in the first
 * kernel and must not get it in the next.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <linux/pci_regs.h>

#include "lu_harness.h"

#define SESSION		"module"
#define TEXT_TOKEN	2
#define TEXT		"no module needed"
#define NATIVE		"e1000e"

#define E1000E_CTRL	0x0000
#define  E1000E_CTRL_RST	0x4000000

static struct lu_dev devs[LU_MAX_DEVS];
static unsigned int count;

static void load(struct __test_metadata *_metadata)
{
	ASSERT_EQ(0, vmt_modload_vfio_pci());
}

static void check_driver(struct __test_metadata *_metadata, struct lu_dev *dev, const char *want)
{
	char driver[64];

	EXPECT_STREQ(want, vmt_driver(dev->bdf, driver, sizeof(driver))) {
		TH_LOG("%s: driver", dev->name);
	}
}

static bool is_native(struct lu_dev *dev)
{
	return !strcmp(dev->ops->name, NATIVE);
}

/* What its own driver left in it, moderated interrupts above all, no reset function ends. */
static void open_first(struct lu_dev *dev, struct iommu *iommu)
{
	lu_open(dev, iommu);
	lu_set_command(dev, PCI_COMMAND_MEMORY);
	if (is_native(dev))
		lu_write32(dev, E1000E_CTRL, E1000E_CTRL_RST);
}

static void unbind_all(void)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		vmt_unbind(devs[i].bdf);
}

TEST(old_kernel)
{
	struct iommu *iommu = iommu_init(MODE_IOMMUFD);
	int luo, session, notes;
	unsigned int i;

	vmt_mark(VMT_START);
	luo = luo_open_device();
	count = lu_find(devs, LU_MAX_DEVS);
	notes = lu_notes_create(devs, count);
	for (i = 0; i < count; i++) {
		check_driver(_metadata, &devs[i], is_native(&devs[i]) ? NATIVE : "");
		lu_dma_map(&devs[i], iommu);
	}

	/* Nothing is kept when nothing is preserved. */
	load(_metadata);
	EXPECT_EQ(0, vmt_modunload("vfio_pci"));
	ASSERT_EQ(0, vmt_modload("vfio-pci", NULL));

	for (i = 0; i < count; i++)
		open_first(&devs[i], iommu);
	session = lu_preserve_all(luo, SESSION, notes, devs, count, VFIO_PCI_MSI_IRQ_INDEX);
	ASSERT_LE(0, session);
	/* The session has the only files now. */
	for (i = 0; i < count; i++)
		lu_close(&devs[i]);
	EXPECT_EQ(-EAGAIN, vmt_modunload("vfio_pci"));
	close(session);
	unbind_all();
	EXPECT_EQ(0, vmt_modunload("vfio_pci"));
	ASSERT_EQ(0, vmt_modload("vfio-pci", NULL));

	/* And now for good. */
	for (i = 0; i < count; i++)
		open_first(&devs[i], iommu);
	session = lu_preserve_all(luo, SESSION, notes, devs, count, VFIO_PCI_MSI_IRQ_INDEX);
	ASSERT_LE(0, session);
	ASSERT_EQ(0, create_and_preserve_memfd(session, TEXT_TOKEN, TEXT));
	vmt_mark(VMT_PRESERVED);
	ASSERT_TRUE(__test_passed(_metadata));
	vmt_kexec_load();
	ASSERT_EQ(0, vmt_kexec());
}

TEST(new_kernel)
{
	struct iommu *iommu = iommu_init(MODE_IOMMUFD);
	int luo, session, text, notes;
	unsigned int i;

	luo = luo_open_device();
	ASSERT_LE(0, luo);
	session = luo_retrieve_session(luo, SESSION);
	ASSERT_LE(0, session);
	count = lu_find(devs, LU_MAX_DEVS);
	notes = lu_retrieve(session, LU_NOTES_TOKEN);
	ASSERT_LE(0, notes);
	lu_notes_map(notes, devs, count);
	for (i = 0; i < count; i++)
		lu_dma_map(&devs[i], iommu);
	text = restore_and_verify_memfd(session, TEXT_TOKEN, TEXT);
	EXPECT_LE(0, text);
	for (i = 0; i < count; i++) {
		EXPECT_STREQ("incoming", lu_state(devs[i].bdf));
		EXPECT_TRUE(lu_bus_master(devs[i].bdf));
		check_driver(_metadata, &devs[i], "");
		/* Not even when it is told to, without driver_override. */
		EXPECT_GT(0, vmt_write_file("/sys/bus/pci/drivers/" NATIVE "/bind", devs[i].bdf));
		check_driver(_metadata, &devs[i], "");
		EXPECT_EQ(-EAGAIN, lu_retrieve(session, devs[i].token));
		EXPECT_EQ(-EAGAIN, lu_retrieve(session, devs[i].token));
	}
	/* Nobody could release the devices. */
	EXPECT_EQ(-EAGAIN, luo_session_finish(session));
	/* Not even by closing the session, which stays where it is. */
	close(session);
	session = luo_retrieve_session(luo, SESSION);
	ASSERT_LE(0, session);
	vmt_step("all but the devices retrieved without the module");

	load(_metadata);
	for (i = 0; i < count; i++) {
		struct lu_dev *dev = &devs[i];

		/* By itself, without an ID or driver_override. */
		check_driver(_metadata, dev, "vfio-pci");
		EXPECT_EQ(-EBUSY, lu_cdev_open(dev->bdf));
		ASSERT_EQ(0, lu_take(dev, session, iommu));
		EXPECT_EQ(0, lu_config_changed(dev));
		EXPECT_EQ(0, lu_regs_changed(dev));
		lu_irq_enable(dev, dev->saved->irq_index);
		EXPECT_TRUE(lu_irq_test(dev));
	}
	vmt_mark(VMT_RETRIEVED);
	EXPECT_EQ(-EAGAIN, vmt_modunload("vfio_pci"));
	EXPECT_EQ(0, luo_session_finish(session));
	vmt_mark(VMT_FINISHED);
	close(session);
	for (i = 0; i < count; i++) {
		EXPECT_TRUE(lu_irq_test(&devs[i]));
		lu_close(&devs[i]);
	}
	unbind_all();
	EXPECT_EQ(0, vmt_modunload("vfio_pci"));
	EXPECT_EQ(0, vmt_modunload("vfio_pci_core"));
	vmt_mark(VMT_CLOSED);
}

int main(void)
{
	char *argv[] = { "module", "-t", vmt_stage() == 1 ? "old_kernel" : "new_kernel", NULL };

	return test_harness_run(3, argv);
}
