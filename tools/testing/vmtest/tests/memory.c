// SPDX-License-Identifier: GPL-2.0-only
/*
 * memory: what a preserved device may reach, without a kexec. Each thing that it
 * may not reach is refused with its error, nothing can be changed while the device
 * is preserved, and everything can again when the session is closed.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/iommufd.h>
#include <linux/pci_regs.h>
#include <linux/udmabuf.h>
#include <linux/vfio.h>

#include "../../../drivers/iommu/iommufd/iommufd_test.h"
#include "lu_harness.h"
#include "lu_iommufd.h"

#define PAGE		0x1000UL
#define SIZE		0x400000UL	/* of the memfd */
#define IOVA		0x1000000UL
#define SEALS		(F_SEAL_SEAL | F_SEAL_GROW | F_SEAL_SHRINK)
#define SHMEM_THP	"/sys/kernel/mm/transparent_hugepage/shmem_enabled"

static int allow_iovas(int iommufd, uint32_t ioas, unsigned int nr)
{
	struct iommu_iova_range range = { .start = IOVA, .last = IOVA + 8 * SIZE - 1 };
	struct iommu_ioas_allow_iovas arg = {
		.size = sizeof(arg),
		.ioas_id = ioas,
		.num_iovas = nr,
		.allowed_iovas = (uintptr_t)&range,
	};

	return ioctl(iommufd, IOMMU_IOAS_ALLOW_IOVAS, &arg) ? -errno : 0;
}

static int change_process(int iommufd)
{
	struct iommu_ioas_change_process arg = { .size = sizeof(arg) };

	return ioctl(iommufd, IOMMU_IOAS_CHANGE_PROCESS, &arg) ? -errno : 0;
}

/* Returns its ID, as ioas_alloc() does. */
static int hwpt_alloc(int iommufd, uint32_t dev, uint32_t pt, uint32_t flags, uint32_t fault)
{
	struct iommu_hwpt_alloc arg = {
		.size = sizeof(arg),
		.flags = flags,
		.dev_id = dev,
		.pt_id = pt,
		.fault_id = fault,
	};

	return ioctl(iommufd, IOMMU_HWPT_ALLOC, &arg) ? -errno : (int)arg.out_hwpt_id;
}

static int iova_ranges(int iommufd, uint32_t ioas)
{
	struct iommu_iova_range ranges[16];
	struct iommu_ioas_iova_ranges arg = {
		.size = sizeof(arg),
		.ioas_id = ioas,
		.num_iovas = 16,
		.allowed_iovas = (uintptr_t)ranges,
	};

	return ioctl(iommufd, IOMMU_IOAS_IOVA_RANGES, &arg) ? -errno : 0;
}

static int hw_info(int iommufd, uint32_t dev)
{
	struct iommu_hw_info arg = { .size = sizeof(arg), .dev_id = dev };

	return ioctl(iommufd, IOMMU_GET_HW_INFO, &arg) ? -errno : 0;
}

static int memfd(unsigned int seals)
{
	int fd = memfd_create("memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	char *mem;

	if (fd < 0 || ftruncate(fd, SIZE) || fcntl(fd, F_ADD_SEALS, seals))
		vmt_die("memfd");
	mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mem == MAP_FAILED)
		vmt_die("cannot map the memfd");
	memset(mem, 0x5a, SIZE);
	munmap(mem, SIZE);
	return fd;
}

static int punch(int fd, uint64_t start, uint64_t len)
{
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, start, len) ? -errno : 0;
}

/* ---- Two devices, one of them attached to an empty IOAS --------------------------- */

FIXTURE(memory) {
	const char *bdf, *bdf2;
	int luo, session, iommufd, memfd, fd, fd2;
	uint32_t ioas, dev, dev2;
};

FIXTURE_VARIANT(memory) {
	const char *thp;
};

FIXTURE_VARIANT_ADD(memory, small_pages) {
	.thp = "never",
};

FIXTURE_VARIANT_ADD(memory, large_pages) {
	.thp = "always",
};

FIXTURE_SETUP(memory)
{
	ASSERT_LT(0, vmt_write_file(SHMEM_THP, variant->thp));
	self->luo = luo_open_device();
	self->session = luo_create_session(self->luo, "memory");
	ASSERT_LE(0, self->session);
	self->bdf = vmt_find(0x1234, 0x11e8, 0);
	self->bdf2 = vmt_find(0x8086, 0x10d3, 0);
	ASSERT_NE(NULL, self->bdf);
	ASSERT_NE(NULL, self->bdf2);

	self->iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->iommufd);
	self->ioas = ioas_alloc(self->iommufd);
	self->fd = open_bound(self->bdf, self->iommufd, &self->dev);
	self->fd2 = open_bound(self->bdf2, self->iommufd, &self->dev2);
	ASSERT_EQ(0, attach(self->fd, self->ioas));
	self->memfd = memfd(SEALS);
}

/* Whatever a test did, all of it can be taken apart. */
FIXTURE_TEARDOWN(memory)
{
	close(self->session);
	EXPECT_STREQ("none", lu_state(self->bdf));
	EXPECT_EQ(0, detach(self->fd));
	detach(self->fd2);
	unmap(self->iommufd, self->ioas, 0, UINT64_MAX);
	EXPECT_EQ(0, destroy(self->iommufd, self->ioas));
	close(self->fd2);
	close(self->fd);
	close(self->iommufd);
	close(self->memfd);
	close(self->luo);
}

#define map(iova, start, len, flags) \
	map_file(self->iommufd, self->ioas, self->memfd, start, len, iova, flags)
#define preserve_memfd()	lu_preserve(self->session, self->memfd, 1)
#define preserve_dev()		lu_preserve(self->session, self->fd, 2)

static void new_session(FIXTURE_DATA(memory) *self)
{
	close(self->session);
	self->session = luo_create_session(self->luo, "memory");
}

TEST_F(memory, nothing_mapped)
{
	EXPECT_EQ(0, preserve_dev());
}

TEST_F(memory, whole_memfd)
{
	ASSERT_EQ(0, map(IOVA, 0, SIZE, RW));
	ASSERT_EQ(0, preserve_memfd());
	EXPECT_EQ(0, preserve_dev());
	EXPECT_STREQ("preserved", lu_state(self->bdf));
}

/* Parts in another order, twice, next to each other, read only, from another memfd. */
TEST_F(memory, parts_of_memfds)
{
	int other = memfd(0);

	ASSERT_EQ(0, map(IOVA, SIZE / 2, SIZE / 2, RW));
	ASSERT_EQ(0, map(IOVA + SIZE / 2, 0, SIZE / 2, RW));
	ASSERT_EQ(0, map(IOVA + SIZE, 3 * PAGE, 5 * PAGE, IOMMU_IOAS_MAP_READABLE));
	ASSERT_EQ(0, map(IOVA + SIZE + 5 * PAGE, 8 * PAGE, PAGE, RW));
	ASSERT_EQ(0, map(IOVA + 2 * SIZE + PAGE, PAGE, PAGE, IOMMU_IOAS_MAP_WRITEABLE));
	ASSERT_EQ(0, map_file(self->iommufd, self->ioas, other, 0, SIZE, IOVA + 4 * SIZE, RW));
	ASSERT_EQ(0, copy(self->iommufd, self->ioas, IOVA, self->ioas, IOVA + 8 * SIZE,
			  SIZE / 2, RW));
	ASSERT_EQ(0, preserve_memfd());
	EXPECT_EQ(-ENOENT, preserve_dev());
	ASSERT_EQ(0, lu_preserve(self->session, other, 3));
	EXPECT_EQ(0, preserve_dev());
	close(other);
}

/* Another file of the memfd is the same memfd. */
TEST_F(memory, reopened_memfd)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", self->memfd);
	fd = open(path, O_RDWR);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, map_file(self->iommufd, self->ioas, fd, 0, SIZE, IOVA, RW));
	ASSERT_EQ(0, preserve_memfd());
	EXPECT_EQ(0, preserve_dev());
	close(fd);
}

/* ---- What is refused, and that no error is held against the device ------------------- */

TEST_F(memory, not_attached)
{
	ASSERT_EQ(0, detach(self->fd));
	EXPECT_EQ(-ENOTCONN, preserve_dev());
	EXPECT_STREQ("none", lu_state(self->bdf));
	ASSERT_EQ(0, attach(self->fd, self->ioas));
	EXPECT_EQ(0, preserve_dev());
}

TEST_F(memory, memory_of_a_process)
{
	void *mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, self->memfd, 0);

	ASSERT_NE(MAP_FAILED, mem);
	ASSERT_EQ(0, map(IOVA, 0, SIZE, RW));
	/* Even if it is that of a memfd: nobody can tell for how long. */
	ASSERT_EQ(0, map_user(self->iommufd, self->ioas, mem, PAGE, IOVA + SIZE, RW));
	ASSERT_EQ(0, preserve_memfd());
	EXPECT_EQ(-EOPNOTSUPP, preserve_dev());
	EXPECT_STREQ("none", lu_state(self->bdf));
	ASSERT_EQ(0, unmap(self->iommufd, self->ioas, IOVA + SIZE, PAGE));
	EXPECT_EQ(0, preserve_dev());
	munmap(mem, SIZE);
}

TEST_F(memory, memfd_not_preserved)
{
	ASSERT_EQ(0, map(IOVA, 0, SIZE, RW));
	EXPECT_EQ(-ENOENT, preserve_dev());
	EXPECT_STREQ("none", lu_state(self->bdf));
	ASSERT_EQ(0, preserve_memfd());
	EXPECT_EQ(0, preserve_dev());
}

TEST_F(memory, memfd_in_another_session)
{
	int other = luo_create_session(self->luo, "other");

	ASSERT_EQ(0, map(IOVA, 0, SIZE, RW));
	ASSERT_EQ(0, lu_preserve(other, self->memfd, 1));
	EXPECT_EQ(-ENOENT, preserve_dev());
	EXPECT_EQ(0, lu_preserve(other, self->fd, 2));
	close(other);
}

TEST_F(memory, file_of_a_file_system)
{
	int fd = open("/dev/shm-file", O_RDWR | O_CREAT, 0600);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, PAGE));
	/* iommufd takes any file on tmpfs; one with a name is not preserved. */
	if (map_file(self->iommufd, self->ioas, fd, 0, PAGE, IOVA, RW))
		SKIP(goto out, "devtmpfs is not on shmem");
	EXPECT_EQ(-ENOENT, lu_preserve(self->session, fd, 1));
	EXPECT_EQ(-ENOENT, preserve_dev());
out:
	unlink("/dev/shm-file");
	close(fd);
}

/* iommufd takes no dma-buf but that of a vfio device. */
TEST_F(memory, foreign_dma_buf)
{
	struct udmabuf_create arg = { .memfd = self->memfd, .size = SIZE };
	int dev = open("/dev/udmabuf", O_RDWR), fd;

	ASSERT_LE(0, dev);
	fd = ioctl(dev, UDMABUF_CREATE, &arg);
	ASSERT_LE(0, fd);
	EXPECT_EQ(-EOPNOTSUPP, map_file(self->iommufd, self->ioas, fd, 0, SIZE, IOVA, RW));
	EXPECT_EQ(0, preserve_dev());
	close(fd);
	close(dev);
}

/* A large page is not split while it is pinned: part of a hole in it stays in the file. */
static const struct {
	uint64_t start, len;
	bool whole;
} holes[] = {
	{ 0, PAGE, false }, { SIZE - PAGE, PAGE, false }, { 77 * PAGE, PAGE, false },
	{ SIZE / 2, SIZE / 2, true }, { 0, SIZE, true },
};

static int stale(const FIXTURE_VARIANT(memory) *variant, bool whole)
{
	return whole || !strcmp(variant->thp, "never") ? -ESTALE : 0;
}

/*
 * The seals do not prevent it. Preserving the memfd fills the hole with new pages;
 * the device still has the old ones.
 */
TEST_F(memory, punched_hole)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(holes); i++) {
		ASSERT_EQ(0, map(IOVA, 0, SIZE, RW));
		ASSERT_EQ(0, punch(self->memfd, holes[i].start, holes[i].len));
		ASSERT_EQ(0, preserve_memfd());
		EXPECT_EQ(stale(variant, holes[i].whole), preserve_dev()) {
			TH_LOG("hole %u", i);
		}
		/* Now it is too late for another hole. */
		EXPECT_EQ(-EPERM, punch(self->memfd, 100 * PAGE, PAGE));
		new_session(self);
		/* Mapped anew it is all right. */
		ASSERT_EQ(0, unmap(self->iommufd, self->ioas, 0, UINT64_MAX));
		ASSERT_EQ(0, map(IOVA, 0, SIZE, RW));
		ASSERT_EQ(0, preserve_memfd());
		EXPECT_EQ(0, preserve_dev());
		new_session(self);
		ASSERT_EQ(0, unmap(self->iommufd, self->ioas, 0, UINT64_MAX));
	}
}

/* A hole where the device has nothing is none of its business. */
TEST_F(memory, hole_elsewhere)
{
	ASSERT_EQ(0, map(IOVA, 0, SIZE / 4, RW));
	ASSERT_EQ(0, map(IOVA + SIZE, SIZE / 2, SIZE / 4, RW));
	ASSERT_EQ(0, punch(self->memfd, SIZE / 4, SIZE / 4));
	ASSERT_EQ(0, preserve_memfd());
	EXPECT_EQ(0, preserve_dev());
}

TEST_F(memory, truncated)
{
	close(self->memfd);
	self->memfd = memfd(0);
	ASSERT_EQ(0, map(IOVA, 0, SIZE, RW));
	ASSERT_EQ(0, ftruncate(self->memfd, SIZE - PAGE));
	ASSERT_EQ(0, preserve_memfd());
	EXPECT_EQ(stale(variant, false), preserve_dev());
	new_session(self);
	ASSERT_EQ(0, ftruncate(self->memfd, SIZE / 2));
	ASSERT_EQ(0, preserve_memfd());
	EXPECT_EQ(-ESTALE, preserve_dev());
	new_session(self);
	/* The pages that it gets back are others. */
	ASSERT_EQ(0, ftruncate(self->memfd, SIZE));
	ASSERT_EQ(0, preserve_memfd());
	EXPECT_EQ(-ESTALE, preserve_dev());
}

/* Nothing keeps an unsealed memfd from being truncated, but it was not. */
TEST_F(memory, unsealed)
{
	close(self->memfd);
	self->memfd = memfd(0);
	ASSERT_EQ(0, map(IOVA, 0, SIZE, RW));
	ASSERT_EQ(0, preserve_memfd());
	EXPECT_EQ(0, preserve_dev());
	EXPECT_EQ(-1, ftruncate(self->memfd, PAGE));
	EXPECT_EQ(EPERM, errno);
}

TEST_F(memory, fault_queue)
{
	struct iommu_fault_alloc arg = { .size = sizeof(arg) };
	int hwpt;

	ASSERT_EQ(0, ioctl(self->iommufd, IOMMU_FAULT_QUEUE_ALLOC, &arg));
	hwpt = hwpt_alloc(self->iommufd, self->dev, self->ioas, IOMMU_HWPT_FAULT_ID_VALID,
			  arg.out_fault_id);
	if (hwpt < 0 || attach(self->fd, hwpt))
		SKIP(goto out, "the device cannot fault");
	EXPECT_EQ(-EOPNOTSUPP, preserve_dev());
	EXPECT_EQ(0, attach(self->fd, self->ioas));
	EXPECT_EQ(0, preserve_dev());
out:
	close(arg.out_fault_fd);
	if (hwpt >= 0)
		destroy(self->iommufd, hwpt);
	destroy(self->iommufd, arg.out_fault_id);
}

/* Not a device: the kernel, as mdev drivers have it. Mainline's selftest can play it. */
static int access_create(int iommufd, uint32_t ioas)
{
	struct iommu_test_cmd arg = {
		.size = sizeof(arg),
		.op = IOMMU_TEST_OP_CREATE_ACCESS,
		.id = ioas,
	};

	return ioctl(iommufd, IOMMU_TEST_CMD, &arg) ? -errno : (int)arg.create_access.out_access_fd;
}

TEST_F(memory, kernel_access)
{
	int access;

	ASSERT_EQ(0, map(IOVA, 0, SIZE, RW));
	ASSERT_EQ(0, preserve_memfd());
	access = access_create(self->iommufd, self->ioas);
	ASSERT_LE(0, access);
	EXPECT_EQ(-EOPNOTSUPP, preserve_dev());
	close(access);
	EXPECT_EQ(0, preserve_dev());
	EXPECT_EQ(-EBUSY, access_create(self->iommufd, self->ioas));
	new_session(self);
	access = access_create(self->iommufd, self->ioas);
	EXPECT_LE(0, access);
	close(access);
}

TEST_F(memory, hugetlb)
{
	int fd = memfd_create("hugetlb", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, SIZE));
	ASSERT_EQ(0, fcntl(fd, F_ADD_SEALS, SEALS));
	ASSERT_EQ(0, map_file(self->iommufd, self->ioas, fd, 0, SIZE, IOVA, RW));
	EXPECT_GT(0, lu_preserve(self->session, fd, 3));
	EXPECT_EQ(-EOPNOTSUPP, preserve_dev());
	ASSERT_EQ(0, unmap(self->iommufd, self->ioas, IOVA, SIZE));
	EXPECT_EQ(0, preserve_dev());
	close(fd);
}

TEST_F(memory, nested)
{
	struct iommu_hwpt_vtd_s1 s1 = { .addr_width = 48 };
	int parent = hwpt_alloc(self->iommufd, self->dev, self->ioas,
				IOMMU_HWPT_ALLOC_NEST_PARENT, 0);
	struct iommu_hwpt_alloc arg = {
		.size = sizeof(arg),
		.dev_id = self->dev,
		.pt_id = parent,
		.data_type = IOMMU_HWPT_DATA_VTD_S1,
		.data_len = sizeof(s1),
		.data_uptr = (uintptr_t)&s1,
	};

	if (parent < 0)
		SKIP(return, "the IOMMU does not nest");
	ASSERT_EQ(0, attach(self->fd, parent));
	ASSERT_EQ(0, ioctl(self->iommufd, IOMMU_HWPT_ALLOC, &arg));
	EXPECT_EQ(-EOPNOTSUPP, preserve_dev());
	ASSERT_EQ(0, attach(self->fd, arg.out_hwpt_id));
	EXPECT_EQ(-EOPNOTSUPP, preserve_dev());
	ASSERT_EQ(0, attach(self->fd, parent));
	ASSERT_EQ(0, destroy(self->iommufd, arg.out_hwpt_id));
	EXPECT_EQ(0, preserve_dev());
	EXPECT_GT(0, ioctl(self->iommufd, IOMMU_HWPT_ALLOC, &arg));
	EXPECT_EQ(EBUSY, errno);
	new_session(self);
	EXPECT_EQ(0, attach(self->fd, self->ioas));
	EXPECT_EQ(0, destroy(self->iommufd, parent));
}

/* ---- BARs ------------------------------------------------------------------------------ */

/*
 * Whether a device is preserved is seen at freeze; it need not come first. The
 * live update that fails gives everything back.
 */
TEST_F(memory, bar)
{
	uint64_t size;
	int fd;

	fd = bar_dma_buf(self->fd2, &size);
	ASSERT_EQ(0, map(IOVA, 0, SIZE, RW));
	ASSERT_EQ(0, map_file(self->iommufd, self->ioas, fd, 0, size, IOVA + SIZE, RW));
	ASSERT_EQ(0, map_file(self->iommufd, self->ioas, fd, PAGE, PAGE, IOVA + 2 * SIZE, RW));
	ASSERT_EQ(0, preserve_memfd());
	EXPECT_EQ(0, preserve_dev());
	vmt_kexec_load();
	EXPECT_EQ(-ENOENT, vmt_kexec());

	/* With it in the session only the revoke is in the way. */
	ASSERT_EQ(0, attach(self->fd2, ioas_alloc(self->iommufd)));
	ASSERT_EQ(0, lu_preserve(self->session, self->fd2, 3));
	if (ioctl(self->fd2, VFIO_DEVICE_RESET))
		SKIP(goto out, "%s cannot be reset", self->bdf2);
	EXPECT_EQ(-ENXIO, vmt_kexec());
	new_session(self);
	ASSERT_EQ(0, preserve_memfd());
	EXPECT_EQ(-ENXIO, preserve_dev());
	/* What is left of it can be unmapped, and mapped anew. */
	ASSERT_EQ(0, unmap(self->iommufd, self->ioas, IOVA + SIZE, size));
	ASSERT_EQ(0, unmap(self->iommufd, self->ioas, IOVA + 2 * SIZE, PAGE));
	ASSERT_EQ(0, map_file(self->iommufd, self->ioas, fd, 0, size, IOVA + SIZE, RW));
	EXPECT_EQ(0, preserve_dev());
out:
	close(fd);
}

/*
 * QEMU from 11 on maps BARs as dma-bufs. Without them it hands an IOAS to another process
 * whenever it is replaced itself. The pages of a BAR are nobody's.
 */
TEST_F(memory, process_changes)
{
	uint64_t size;
	int fd = bar_dma_buf(self->fd2, &size), status;
	pid_t child;
	void *mem;

	ASSERT_EQ(0, map(IOVA, 0, SIZE, RW));
	EXPECT_EQ(0, change_process(self->iommufd));
	ASSERT_EQ(0, map_file(self->iommufd, self->ioas, fd, 0, size, IOVA + SIZE, RW));
	EXPECT_EQ(0, change_process(self->iommufd));
	child = fork();
	if (!child)
		_exit(-change_process(self->iommufd));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	/* Mapped by one that is gone: back to this one. */
	EXPECT_EQ(0, change_process(self->iommufd));
	ASSERT_EQ(0, unmap(self->iommufd, self->ioas, IOVA + SIZE, size));

	/* Memory of a process stays with it. */
	mem = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, mem);
	ASSERT_EQ(0, map_user(self->iommufd, self->ioas, mem, PAGE, IOVA + SIZE, RW));
	EXPECT_EQ(-EINVAL, change_process(self->iommufd));
	close(fd);
}

/* ---- Nothing changes while it is preserved ----------------------------------------------- */

/* All that would change it; 0 is what each of them returns otherwise. */
static void try_all(struct __test_metadata *_metadata, FIXTURE_DATA(memory) *self, uint32_t hwpt,
		    uint32_t other, void *mem, int want)
{
	int fd = self->iommufd, ret;

	EXPECT_EQ(want, map(IOVA + 2 * SIZE, 0, SIZE, RW));
	EXPECT_EQ(want, map_user(fd, self->ioas, mem, PAGE, IOVA + 3 * SIZE, RW));
	EXPECT_EQ(want, unmap(fd, self->ioas, IOVA + 3 * SIZE, PAGE));
	EXPECT_EQ(want, copy(fd, other, IOVA, self->ioas, IOVA + 4 * SIZE, SIZE, RW));
	EXPECT_EQ(want, allow_iovas(fd, self->ioas, 1));
	EXPECT_EQ(want, allow_iovas(fd, self->ioas, 0));
	ret = hwpt_alloc(fd, self->dev, self->ioas, 0, 0);
	if (want) {
		EXPECT_EQ(want, ret);
	} else {
		EXPECT_LT(0, ret);
		EXPECT_EQ(0, destroy(fd, ret));
	}
	/* A device that comes, one that goes elsewhere, and this one. */
	EXPECT_EQ(want, attach(self->fd2, self->ioas));
	EXPECT_EQ(want, attach(self->fd2, other));
	EXPECT_EQ(want, attach(self->fd, other));
	EXPECT_EQ(want, attach(self->fd, self->ioas));
	EXPECT_EQ(want, detach(self->fd));
	EXPECT_EQ(want, attach(self->fd, self->ioas));
	EXPECT_EQ(want, destroy(fd, hwpt));
	EXPECT_EQ(want, unmap(fd, self->ioas, 0, UINT64_MAX));
}

TEST_F(memory, immutable)
{
	int hwpt, other = ioas_alloc(self->iommufd), third = ioas_alloc(self->iommufd);
	void *mem = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, mem);
	ASSERT_EQ(0, map(IOVA, 0, SIZE, RW));
	ASSERT_EQ(0, copy(self->iommufd, self->ioas, IOVA, other, IOVA, SIZE, RW));
	/* A domain of the IOAS that nobody uses. */
	hwpt = hwpt_alloc(self->iommufd, self->dev, self->ioas, 0, 0);
	ASSERT_LT(0, hwpt);
	ASSERT_EQ(0, preserve_memfd());
	ASSERT_EQ(0, preserve_dev());

	/* From one that may go to one that may not, and the other way round. */
	ASSERT_EQ(0, attach(self->fd2, other));
	EXPECT_EQ(-EBUSY, attach(self->fd2, self->ioas));
	EXPECT_EQ(-EBUSY, attach(self->fd2, hwpt));
	EXPECT_EQ(0, detach(self->fd2));

	EXPECT_EQ(-EBUSY, map(IOVA + 2 * SIZE, 0, SIZE, RW));
	EXPECT_EQ(-EBUSY, map_user(self->iommufd, self->ioas, mem, PAGE, IOVA + 3 * SIZE, RW));
	EXPECT_EQ(-EBUSY, unmap(self->iommufd, self->ioas, IOVA, SIZE));
	EXPECT_EQ(-EBUSY, unmap(self->iommufd, self->ioas, 0, UINT64_MAX));
	EXPECT_EQ(-EBUSY, copy(self->iommufd, other, IOVA, self->ioas, IOVA + 4 * SIZE, SIZE, RW));
	/* Who the pages are accounted to is no business of the device's. */
	EXPECT_EQ(0, change_process(self->iommufd));
	EXPECT_EQ(-EBUSY, allow_iovas(self->iommufd, self->ioas, 1));
	EXPECT_EQ(-EBUSY, allow_iovas(self->iommufd, self->ioas, 0));
	EXPECT_EQ(-EBUSY, hwpt_alloc(self->iommufd, self->dev, self->ioas, 0, 0));
	EXPECT_EQ(-EBUSY, hwpt_alloc(self->iommufd, self->dev2, self->ioas, 0, 0));
	EXPECT_EQ(-EBUSY, attach(self->fd2, self->ioas));
	EXPECT_EQ(-EBUSY, attach(self->fd, other));
	EXPECT_EQ(-EBUSY, attach(self->fd, self->ioas));
	EXPECT_EQ(-EBUSY, attach(self->fd, hwpt));
	EXPECT_EQ(-EBUSY, detach(self->fd));
	EXPECT_EQ(-EBUSY, destroy(self->iommufd, hwpt));
	EXPECT_EQ(-EBUSY, destroy(self->iommufd, self->ioas));
	EXPECT_EQ(-EBUSY, destroy(self->iommufd, self->dev));
	/* A refused allocation leaves nothing behind. */
	EXPECT_EQ(0, iova_ranges(self->iommufd, self->ioas));
	EXPECT_EQ(0, hw_info(self->iommufd, self->dev));
	EXPECT_EQ(0, copy(self->iommufd, self->ioas, IOVA, third, IOVA, SIZE, RW));
	/* Others go on. */
	EXPECT_EQ(0, map_file(self->iommufd, other, self->memfd, 0, SIZE, IOVA + SIZE, RW));
	EXPECT_EQ(0, unmap(self->iommufd, other, IOVA + SIZE, SIZE));
	EXPECT_EQ(0, destroy(self->iommufd, third));

	new_session(self);
	try_all(_metadata, self, hwpt, other, mem, 0);
	EXPECT_EQ(0, detach(self->fd2));
	EXPECT_EQ(0, destroy(self->iommufd, other));
	munmap(mem, PAGE);
}

/* A device of the IOAS that is not preserved can only leave by being closed. */
TEST_F(memory, device_beside)
{
	int other = ioas_alloc(self->iommufd);

	ASSERT_EQ(0, attach(self->fd2, self->ioas));
	ASSERT_EQ(0, map(IOVA, 0, SIZE, RW));
	ASSERT_EQ(0, preserve_memfd());
	ASSERT_EQ(0, preserve_dev());
	EXPECT_EQ(-EBUSY, detach(self->fd2));
	EXPECT_EQ(-EBUSY, attach(self->fd2, other));
	close(self->fd2);
	EXPECT_STREQ("preserved", lu_state(self->bdf));
	self->fd2 = open_bound(self->bdf2, self->iommufd, &self->dev2);
	EXPECT_EQ(-EBUSY, attach(self->fd2, self->ioas));
	EXPECT_EQ(0, attach(self->fd2, other));
	EXPECT_EQ(0, detach(self->fd2));
	EXPECT_EQ(0, destroy(self->iommufd, other));
}

/* The session has the file: closing it does not detach the device. */
TEST_F(memory, closed)
{
	ASSERT_EQ(0, map(IOVA, 0, SIZE, RW));
	ASSERT_EQ(0, preserve_memfd());
	ASSERT_EQ(0, preserve_dev());
	close(self->fd);
	EXPECT_EQ(-EBUSY, unmap(self->iommufd, self->ioas, 0, UINT64_MAX));
	EXPECT_EQ(-EBUSY, destroy(self->iommufd, self->dev));
	new_session(self);
	EXPECT_EQ(0, unmap(self->iommufd, self->ioas, 0, UINT64_MAX));
	EXPECT_EQ(-ENOENT, destroy(self->iommufd, self->dev));
	self->fd = open_bound(self->bdf, self->iommufd, &self->dev);
	EXPECT_EQ(0, attach(self->fd, self->ioas));
}

/* Two devices share a domain, and it stays as it is until both are done. */
TEST_F(memory, two_devices)
{
	int other = luo_create_session(self->luo, "other");

	ASSERT_EQ(0, attach(self->fd2, self->ioas));
	ASSERT_EQ(0, map(IOVA, 0, SIZE, RW));
	ASSERT_EQ(0, preserve_memfd());
	ASSERT_EQ(0, preserve_dev());
	EXPECT_EQ(-EBUSY, lu_preserve(other, self->fd2, 3));
	EXPECT_EQ(0, lu_preserve(self->session, self->fd2, 3));
	EXPECT_EQ(-EBUSY, detach(self->fd));
	EXPECT_EQ(-EBUSY, detach(self->fd2));
	EXPECT_EQ(-EBUSY, unmap(self->iommufd, self->ioas, IOVA, SIZE));
	new_session(self);
	EXPECT_EQ(0, detach(self->fd2));
	EXPECT_EQ(0, unmap(self->iommufd, self->ioas, IOVA, SIZE));
	close(other);
}

TEST_F(memory, many_times)
{
	ASSERT_EQ(0, map(IOVA, 0, SIZE, RW));
	for (unsigned int i = 0; i < 20; i++) {
		ASSERT_EQ(0, preserve_memfd());
		ASSERT_EQ(0, preserve_dev());
		ASSERT_EQ(-EBUSY, unmap(self->iommufd, self->ioas, IOVA, SIZE));
		new_session(self);
		ASSERT_EQ(0, unmap(self->iommufd, self->ioas, IOVA, SIZE));
		ASSERT_EQ(0, map(IOVA, 0, SIZE, RW));
	}
}

TEST_HARNESS_MAIN
