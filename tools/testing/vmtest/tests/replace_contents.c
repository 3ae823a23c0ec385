// SPDX-License-Identifier: GPL-2.0-only
/*
 * replace_contents: once a replace has returned, the device is on the new page table.
 *
 * Two IOASes have different memory at the same IOVAs. A device goes from one to the
 * other and back. What it reads and writes then is the memory of the one it is on, as
 * soon as the ioctl returns; a translation that was cached by the device's last domain
 * and not invalidated would show here. So would one of a domain that is gone: the old
 * IOAS is destroyed each time, and its memory must not change any more.
 */
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/iommufd.h>
#include <linux/pci_regs.h>

#include "lu_harness.h"

#define ROUNDS		12
#define SIZE		LU_DMA_SIZE
#define IOVA		0x100000	/* edu has 28 bits */

/* One IOAS and its memory. */
struct space {
	struct iommu iommu;
	char *mem;
	char copy[SIZE];
};

static struct space spaces[2];
static struct lu_dev dev;
static struct lu_saved saved;

static void space_init(struct space *sp, const struct iommu *iommu, int memfd, off_t offset)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	int err;

	sp->iommu = *iommu;
	if (ioctl(iommu->iommufd, IOMMU_IOAS_ALLOC, &alloc))
		vmt_die("IOMMU_IOAS_ALLOC");
	sp->iommu.ioas_id = alloc.out_ioas_id;
	if (!sp->mem)
		sp->mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, offset);
	err = lu_map_file(&sp->iommu, memfd, offset, SIZE, IOVA);
	if (sp->mem == MAP_FAILED || err)
		vmt_die("the memory of an IOAS");
}

static int space_destroy(struct space *sp)
{
	struct iommu_destroy destroy = {
		.size = sizeof(destroy),
		.id = sp->iommu.ioas_id,
	};

	return ioctl(sp->iommu.iommufd, IOMMU_DESTROY, &destroy);
}

/* A device with queues is set up anew: they are in the memory that it has now. */
static bool reaches(struct space *sp, unsigned int seed)
{
	dev.dma.vaddr = sp->mem;
	dev.ops->program(&dev, seed);
	return dev.ops->dma(&dev, seed);
}

FIXTURE(contents) {
};

FIXTURE_SETUP(contents)
{
}

FIXTURE_TEARDOWN(contents)
{
}

TEST_F(contents, follow)
{
	struct iommu *iommu = iommu_init(MODE_IOMMUFD);
	int memfd = memfd_create("contents", MFD_CLOEXEC);
	struct space *now = &spaces[0], *was = &spaces[1], *sp;
	unsigned int i;

	ASSERT_EQ(0, ftruncate(memfd, 2 * SIZE));
	ASSERT_EQ(1, lu_find(&dev, 1));
	ASSERT_NE(NULL, dev.ops->dma);
	dev.saved = &saved;
	lu_open(&dev, iommu);
	lu_set_command(&dev, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	dev.dma.iova = IOVA;
	dev.dma.size = SIZE;
	for (i = 0; i < 2; i++)
		space_init(&spaces[i], iommu, memfd, i * SIZE);

	/* So that translations by the first of them are cached. */
	ASSERT_EQ(0, lu_attach(dev.vfio->fd, &now->iommu));
	ASSERT_TRUE(reaches(now, ROUNDS));

	for (i = 0; i < ROUNDS; i++) {
		sp = now;
		now = was;
		was = sp;

		ASSERT_EQ(0, lu_attach(dev.vfio->fd, &now->iommu));
		ASSERT_EQ(0, space_destroy(was));
		memcpy(was->copy, was->mem, SIZE);

		ASSERT_TRUE(reaches(now, i));
		EXPECT_EQ(0, memcmp(was->copy, was->mem, SIZE));

		space_init(was, iommu, memfd, was == &spaces[0] ? 0 : SIZE);
	}
	lu_close(&dev);
}

TEST_HARNESS_MAIN
