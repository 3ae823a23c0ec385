// SPDX-License-Identifier: GPL-2.0-only
/*
 * ir_gap: a device that sends an interrupt between two kernels.
 *
 * edu does DMA a tenth of a second after it is told to, and an MSI is nothing but a
 * write to memory. So let it write its own message with DMA: in the old kernel that is
 * an interrupt, like any other. Then let it do so again just before the jump, so that
 * it comes when the old kernel is gone. What it did there is for the scenario, see
 * "remapping", and its log.
 */
#include <linux/pci_regs.h>
#include <linux/vfio.h>

#include "edu_regs.h"
#include "lu_harness.h"

static struct lu_dev dev;

static void copy(uint64_t src, uint64_t dst, uint32_t flags)
{
	lu_write64(&dev, EDU_DMA_SRC, src);
	lu_write64(&dev, EDU_DMA_DST, dst);
	lu_write64(&dev, EDU_DMA_COUNT, 4);
	lu_write64(&dev, EDU_DMA_CMD, EDU_DMA_RUN | flags);
}

static void wait_for_dma(void)
{
	while (lu_read64(&dev, EDU_DMA_CMD) & EDU_DMA_RUN)
		;
}

TEST(old_kernel)
{
	struct iommu *iommu = iommu_init(MODE_IOMMUFD);
	unsigned int cap;
	uint32_t address;
	int luo, session, notes;

	vmt_mark(VMT_START);
	luo = luo_open_device();
	session = luo_create_session(luo, "ir-gap");
	lu_find_one(&dev, 0x1234, 0x11e8, 0);
	notes = lu_notes_create(&dev, 1);
	lu_open(&dev, iommu);
	lu_dma_map(&dev, iommu);
	lu_set_command(&dev, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	lu_irq_enable(&dev, VFIO_PCI_MSI_IRQ_INDEX);

	/* The message that the kernel has given the device, not the one that vfio shows. */
	cap = vmt_cfg_cap(dev.bdf, PCI_CAP_ID_MSI);
	ASSERT_LT(0, cap);
	address = vmt_cfg_read(dev.bdf, cap + PCI_MSI_ADDRESS_LO, 4);
	ASSERT_EQ(0xfee00000, address & 0xfff00000);
	ASSERT_EQ(0x10, address & 0x10) {
		TH_LOG("interrupts are not remapped");
	}
	*(uint32_t *)dev.dma.vaddr = vmt_cfg_read(dev.bdf, cap + PCI_MSI_DATA_64, 2);
	copy(dev.dma.iova, EDU_BUFFER, 0);
	wait_for_dma();

	copy(EDU_BUFFER, address, EDU_DMA_TO_RAM);
	ASSERT_TRUE(lu_irq_wait(&dev, 0));
	wait_for_dma();

	/* The unpatched kernel has neither, and no device that goes on. */
	if (!vmt_stock()) {
		ASSERT_EQ(0, lu_preserve(session, notes, LU_NOTES_TOKEN));
		ASSERT_EQ(0, lu_preserve(session, dev.vfio->fd, dev.token));
	}
	vmt_mark(VMT_PRESERVED);
	vmt_kexec_load();
	copy(EDU_BUFFER, address, EDU_DMA_TO_RAM);
	ASSERT_EQ(0, vmt_kexec());
}

TEST(new_kernel)
{
	int luo, session;

	if (vmt_stock())
		return;
	luo = luo_open_device();
	session = luo_retrieve_session(luo, "ir-gap");
	ASSERT_LE(0, session);
	lu_find_one(&dev, 0x1234, 0x11e8, 0);
	vmt_bind(dev.bdf, "vfio-pci");
	ASSERT_EQ(0, lu_take(&dev, session, iommu_init(MODE_IOMMUFD)));
	vmt_mark(VMT_RETRIEVED);
	EXPECT_EQ(0, luo_session_finish(session));
	vmt_mark(VMT_FINISHED);

	/* And now it can again. */
	lu_irq_enable(&dev, VFIO_PCI_MSI_IRQ_INDEX);
	EXPECT_TRUE(lu_irq_test(&dev));
}

int main(void)
{
	char *argv[] = { "ir_gap", "-t", vmt_stage() == 1 ? "old_kernel" : "new_kernel", NULL };

	return test_harness_run(3, argv);
}
