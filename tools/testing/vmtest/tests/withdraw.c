// SPDX-License-Identifier: GPL-2.0-only
/*
 * withdraw: of two sessions one is given up before the kernel is replaced.
 *
 * With it go the only device that has guest memory, and its memory. The other one's
 * device, which has none, must find the next kernel nevertheless: what was withdrawn
 * has left no trace in the records. Its own device is stopped like any other.
 */
#include <unistd.h>

#include <linux/pci_regs.h>
#include <linux/vfio.h>

#include "lu_harness.h"

static struct lu_dev gone, stays;

TEST(old_kernel)
{
	struct iommu *iommu = iommu_init(MODE_IOMMUFD), *empty = iommu_init(MODE_IOMMUFD);
	int luo, session, other, notes;

	vmt_mark(VMT_START);
	luo = luo_open_device();
	lu_find_one(&gone, 0x1234, 0x11e8, 0);
	notes = lu_notes_create(&gone, 1);
	lu_open(&gone, iommu);
	lu_dma_map(&gone, iommu);
	other = lu_preserve_all(luo, "gone", notes, &gone, 1, VFIO_PCI_MSI_IRQ_INDEX);
	ASSERT_LE(0, other);

	/* Its notes are preserved with it, but it cannot reach them. */
	lu_find_one(&stays, 0x8086, 0x10d3, 0);
	notes = lu_notes_create(&stays, 1);
	lu_open(&stays, empty);
	session = lu_preserve_all(luo, "stays", notes, &stays, 1, VFIO_PCI_MSIX_IRQ_INDEX);
	ASSERT_LE(0, session);
	vmt_mark(VMT_PRESERVED);

	close(other);
	EXPECT_STREQ("none", lu_state(gone.bdf));
	EXPECT_STREQ("preserved", lu_state(stays.bdf));
	EXPECT_TRUE(lu_bus_master(gone.bdf));
	ASSERT_TRUE(__test_passed(_metadata));
	vmt_kexec_load();
	ASSERT_EQ(0, vmt_kexec());
}

TEST(new_kernel)
{
	struct iommu *iommu = iommu_init(MODE_IOMMUFD);
	int luo, session, notes;

	luo = luo_open_device();
	EXPECT_GT(0, luo_retrieve_session(luo, "gone"));
	session = luo_retrieve_session(luo, "stays");
	ASSERT_LE(0, session);
	lu_find_one(&gone, 0x1234, 0x11e8, 0);
	EXPECT_STREQ("none", lu_state(gone.bdf));
	EXPECT_FALSE(lu_bus_master(gone.bdf));

	lu_find_one(&stays, 0x8086, 0x10d3, 0);
	notes = lu_retrieve(session, LU_NOTES_TOKEN);
	ASSERT_LE(0, notes);
	lu_notes_map(notes, &stays, 1);
	vmt_bind(stays.bdf, "vfio-pci");
	ASSERT_EQ(0, lu_take(&stays, session, iommu));
	EXPECT_EQ(0, lu_regs_changed(&stays));
	lu_irq_enable(&stays, stays.saved->irq_index);
	EXPECT_TRUE(lu_irq_test(&stays));
	vmt_mark(VMT_RETRIEVED);
	EXPECT_EQ(0, luo_session_finish(session));
	vmt_mark(VMT_FINISHED);
	lu_close(&stays);
	vmt_mark(VMT_CLOSED);
}

int main(void)
{
	char *args[] = { "withdraw", "-t", vmt_stage() == 1 ? "old_kernel" : "new_kernel", NULL };

	return test_harness_run(3, args);
}
