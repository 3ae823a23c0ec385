// SPDX-License-Identifier: GPL-2.0-only
/*
 * abandon: sessions whose owner does not come for everything, or too early.
 *
 * Two sessions go through a live update. Of the devices in the first one is
 *
 *	UNBOUND		bound to no driver, because it was unbound
 *	RETRIEVED	retrieved, but not bound to an iommufd
 *	REGISTERED	bound to vfio-pci, but not retrieved
 *	TAKEN		retrieved and open
 *
 * when the session is closed without FINISH. All but the last are stopped, reset
 * and released; nothing else in the session, and not the second session with the
 * device OTHER, takes notice.
 *
 * The devices of the first share an IOAS; OTHER has one of its own, with memory of its
 * own, since neither can be in two sessions.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lu_harness.h"

#define TEXT_TOKEN	2
#define TEXT		"not to be lost"

/* In the order in which lu_find() finds the devices of the scenario. */
enum { UNBOUND, RETRIEVED, REGISTERED, TAKEN, OTHER, COUNT };

static struct lu_dev devs[LU_MAX_DEVS];

FIXTURE(abandon) {
	struct iommu *iommu, *other;
	int luo;
};

FIXTURE_SETUP(abandon)
{
	self->luo = luo_open_device();
	ASSERT_LE(0, self->luo);
	ASSERT_EQ(COUNT, lu_find(devs, LU_MAX_DEVS));
	self->iommu = iommu_init(MODE_IOMMUFD);
	self->other = iommu_init(MODE_IOMMUFD);
}

FIXTURE_TEARDOWN(abandon)
{
}

static struct iommu *ioas(FIXTURE_DATA(abandon) *self, unsigned int nr)
{
	return nr == OTHER ? self->other : self->iommu;
}

TEST_F(abandon, old_kernel)
{
	int first, second, notes;
	unsigned int i;

	vmt_mark(VMT_START);
	first = luo_create_session(self->luo, "first");
	second = luo_create_session(self->luo, "second");
	ASSERT_EQ(0, create_and_preserve_memfd(first, TEXT_TOKEN, TEXT));
	notes = lu_notes_create(devs, OTHER);
	ASSERT_EQ(0, lu_preserve(first, notes, LU_NOTES_TOKEN));
	notes = lu_notes_create(&devs[OTHER], 1);
	ASSERT_EQ(0, lu_preserve(second, notes, LU_NOTES_TOKEN));

	for (i = 0; i < COUNT; i++) {
		lu_dma_map(&devs[i], ioas(self, i));
		lu_open(&devs[i], ioas(self, i));
	}
	for (i = 0; i < COUNT; i++) {
		ASSERT_TRUE(lu_program(&devs[i], i, i % 2 ? VFIO_PCI_MSI_IRQ_INDEX :
				       VFIO_PCI_INTX_IRQ_INDEX));
		ASSERT_EQ(0, lu_preserve(i == OTHER ? second : first, devs[i].vfio->fd,
					 devs[i].token));
		lu_note_down(&devs[i]);
	}
	vmt_mark(VMT_PRESERVED);
	vmt_kexec_load();
	ASSERT_TRUE(__test_passed(_metadata));
	ASSERT_EQ(0, vmt_kexec());
}

static int take(struct __test_metadata *_metadata, FIXTURE_DATA(abandon) *self, int session,
		struct lu_dev *dev)
{
	int fd;

	fd = lu_retrieve(session, dev->token);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, lu_bind_iommufd(fd, ioas(self, dev->nr)));
	ASSERT_EQ(0, lu_attach(fd, ioas(self, dev->nr)));
	lu_setup(dev, fd, ioas(self, dev->nr));
	EXPECT_EQ(0, lu_config_changed(dev));
	EXPECT_EQ(0, lu_regs_changed(dev));
	lu_irq_enable(dev, dev->saved->irq_index);
	return fd;
}

/* The kernel has bound it by itself, and unbinding it does not touch it. */
static void unbind(struct __test_metadata *_metadata, struct lu_dev *dev)
{
	char driver[64];

	EXPECT_STREQ("vfio-pci", vmt_driver(dev->bdf, driver, sizeof(driver)));
	vmt_unbind(dev->bdf);
	EXPECT_STREQ("incoming", lu_state(dev->bdf));
	EXPECT_TRUE(lu_bus_master(dev->bdf));
}

/* Retrieving while vfio-pci is not bound to it waits for that, in vain. */
static void retrieve_early(struct __test_metadata *_metadata, int session, struct lu_dev *dev)
{
	uint64_t start = lu_now_us();

	EXPECT_EQ(-EAGAIN, lu_retrieve(session, dev->token));
	EXPECT_LE(4000000, lu_now_us() - start);
	EXPECT_GE(30000000, lu_now_us() - start);
	EXPECT_STREQ("incoming", lu_state(dev->bdf));
	EXPECT_TRUE(lu_bus_master(dev->bdf));
}

static void check_released(struct __test_metadata *_metadata, struct lu_dev *dev)
{
	EXPECT_STREQ("none", lu_state(dev->bdf));
	EXPECT_FALSE(lu_bus_master(dev->bdf)) {
		TH_LOG("%s: bus master", dev->name);
	}
}

/* It is open like any other, has been reset, and works. */
static void check_fresh(struct __test_metadata *_metadata, struct lu_dev *dev)
{
	lu_set_command(dev, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	lu_quiet = true;
	EXPECT_NE(0, lu_config_changed(dev));
	if (dev->ops->reset_shows)
		EXPECT_NE(0, lu_regs_changed(dev)) {
			TH_LOG("%s: not reset", dev->name);
		}
	lu_quiet = false;
	EXPECT_TRUE(lu_program(dev, 42, VFIO_PCI_MSI_IRQ_INDEX)) {
		TH_LOG("%s: does not work", dev->name);
	}
}

TEST_F(abandon, new_kernel)
{
	int first, second, notes, text, fd, fresh;
	unsigned int i;

	second = luo_retrieve_session(self->luo, "second");
	first = luo_retrieve_session(self->luo, "first");
	ASSERT_LE(0, first);
	ASSERT_LE(0, second);
	/* There is only one of it. */
	EXPECT_EQ(-EINVAL, luo_retrieve_session(self->luo, "first"));
	notes = lu_retrieve(second, LU_NOTES_TOKEN);
	ASSERT_LE(0, notes);
	lu_notes_map(notes, &devs[OTHER], 1);
	notes = lu_retrieve(first, LU_NOTES_TOKEN);
	ASSERT_LE(0, notes);
	lu_notes_map(notes, devs, OTHER);
	for (i = 0; i < COUNT; i++)
		lu_dma_map(&devs[i], ioas(self, i));

	unbind(_metadata, &devs[UNBOUND]);
	unbind(_metadata, &devs[OTHER]);
	retrieve_early(_metadata, second, &devs[OTHER]);
	retrieve_early(_metadata, second, &devs[OTHER]);
	vmt_step("%s: retrieved too early, twice", devs[OTHER].name);
	vmt_bind(devs[OTHER].bdf, "vfio-pci");
	take(_metadata, self, second, &devs[OTHER]);

	take(_metadata, self, first, &devs[TAKEN]);
	fd = lu_retrieve(first, devs[RETRIEVED].token);
	ASSERT_LE(0, fd);
	text = restore_and_verify_memfd(first, TEXT_TOKEN, TEXT);
	EXPECT_LE(0, text);
	EXPECT_EQ(-EBUSY, luo_session_finish(first));
	vmt_mark(VMT_RETRIEVED);

	vmt_mark(VMT_USER1);
	close(first);
	vmt_mark(VMT_USER2);
	vmt_step("session closed");
	EXPECT_EQ(-ENOENT, luo_retrieve_session(self->luo, "first"));

	check_released(_metadata, &devs[UNBOUND]);
	check_released(_metadata, &devs[REGISTERED]);
	check_released(_metadata, &devs[RETRIEVED]);
	EXPECT_STREQ("none", lu_state(devs[TAKEN].bdf));
	EXPECT_TRUE(lu_bus_master(devs[TAKEN].bdf));
	EXPECT_EQ(0, lu_regs_changed(&devs[TAKEN]));
	EXPECT_TRUE(lu_irq_test(&devs[TAKEN]));
	EXPECT_STREQ("retrieved", lu_state(devs[OTHER].bdf));
	EXPECT_TRUE(lu_bus_master(devs[OTHER].bdf));
	EXPECT_EQ(0, lu_regs_changed(&devs[OTHER]));
	EXPECT_TRUE(lu_irq_test(&devs[OTHER]));
	/* The file that came out is one of the device, only no longer of the old one. */
	ASSERT_EQ(0, lu_bind_iommufd(fd, self->iommu));
	ASSERT_EQ(0, lu_attach(fd, self->iommu));
	lu_setup(&devs[RETRIEVED], fd, self->iommu);
	check_fresh(_metadata, &devs[RETRIEVED]);
	/* And what nobody has come for anybody may open. */
	fresh = lu_cdev_open(devs[REGISTERED].bdf);
	EXPECT_LE(0, fresh);
	close(fresh);
	lu_open(&devs[REGISTERED], self->iommu);
	check_fresh(_metadata, &devs[REGISTERED]);
	lu_open(&devs[UNBOUND], self->iommu);
	check_fresh(_metadata, &devs[UNBOUND]);
	EXPECT_EQ(0, pread(text, (char[8]){}, 8, 0) - 8);

	EXPECT_EQ(0, luo_session_finish(second));
	vmt_mark(VMT_FINISHED);
	close(second);
	EXPECT_STREQ("none", lu_state(devs[OTHER].bdf));
	EXPECT_STREQ("none", lu_state(devs[OTHER].port));
	EXPECT_STREQ("none", lu_state(devs[UNBOUND].port));
	EXPECT_TRUE(lu_irq_test(&devs[OTHER]));
	for (i = 0; i < COUNT; i++) {
		lu_close(&devs[i]);
		EXPECT_FALSE(lu_bus_master(devs[i].bdf));
	}
	vmt_mark(VMT_CLOSED);
}

int main(void)
{
	char *argv[] = { "abandon", "-t", vmt_stage() == 1 ? "old_kernel" : "new_kernel", NULL };

	return test_harness_run(3, argv);
}
