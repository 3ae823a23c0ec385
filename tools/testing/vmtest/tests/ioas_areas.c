// SPDX-License-Identifier: GPL-2.0-only
/*
 * ioas_areas: what IOMMU_IOAS_GET_AREAS tells of an IOAS is what was mapped in it, no
 * more and no less, and enough to map the same in another one.
 *
 * Each test notes what it maps, files by what fstat() says of them, and compares the
 * answer with its notes, bit by bit.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "lu_harness.h"
#include "lu_iommufd.h"

#define PAGE	0x1000UL
#define SIZE	(64 * PAGE)	/* of each memfd */
#define IOVA	0x1000000UL
#define RO	IOMMU_IOAS_MAP_READABLE
#define WO	IOMMU_IOAS_MAP_WRITEABLE
#define MAX	32
#define FILL	0xa5

/* As the ioctl has it: a cursor, and the room in the array or what was filled in. */
static int ask(int iommufd, uint32_t ioas, uint64_t *iova, struct iommu_ioas_area *areas,
	       uint32_t *nr)
{
	struct iommu_ioas_get_areas arg = {
		.size = sizeof(arg),
		.ioas_id = ioas,
		.entry_len = sizeof(*areas),
		.num_areas = *nr,
		.areas = (uintptr_t)areas,
		.iova = *iova,
	};
	int ret = ioctl(iommufd, IOMMU_IOAS_GET_AREAS, &arg) ? -errno : 0;

	*iova = arg.iova;
	*nr = arg.num_areas;
	return ret;
}

static uint32_t type_of(int fd)
{
	char path[32], name[64] = "";

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (readlink(path, name, sizeof(name) - 1) < 0)
		vmt_die("readlink");
	return strstr(name, "dmabuf") ? IOMMU_IOAS_AREA_DMABUF : IOMMU_IOAS_AREA_FILE;
}

/* What the answer has to be for a piece of a file, or of memory, if there is none. */
static struct iommu_ioas_area area(uint64_t iova, uint64_t len, int fd, uint64_t start,
				   uint32_t flags)
{
	struct iommu_ioas_area area = {
		.iova = iova,
		.length = len,
		.start = start,
		.flags = flags,
	};
	struct stat st;

	if (fd < 0) {
		area.type = IOMMU_IOAS_AREA_USER;
		return area;
	}
	if (fstat(fd, &st))
		vmt_die("fstat");
	area.type = type_of(fd);
	area.ino = st.st_ino;
	area.dev_major = major(st.st_dev);
	area.dev_minor = minor(st.st_dev);
	return area;
}

static int memfd(void)
{
	int fd = memfd_create("areas", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, SIZE))
		vmt_die("memfd");
	return fd;
}

/* Behind a device pages are pinned, without one any byte can be mapped. */
FIXTURE(areas) {
	int iommufd, fd, a, b;
	uint32_t ioas, dev;
	void *mem;
	struct iommu_ioas_area want[MAX];
	uint32_t nr;
};

FIXTURE_VARIANT(areas) {
	bool attached;
};

FIXTURE_VARIANT_ADD(areas, attached) {
	.attached = true,
};

FIXTURE_VARIANT_ADD(areas, without_device) {
	.attached = false,
};

FIXTURE_SETUP(areas)
{
	self->iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->iommufd);
	self->ioas = ioas_alloc(self->iommufd);
	self->fd = open_bound(vmt_find(0x1234, 0x11e8, 0), self->iommufd, &self->dev);
	if (variant->attached)
		ASSERT_EQ(0, attach(self->fd, self->ioas));
	self->a = memfd();
	self->b = memfd();
	self->mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->mem);
}

FIXTURE_TEARDOWN(areas)
{
	munmap(self->mem, SIZE);
	close(self->fd);
	close(self->iommufd);
	close(self->b);
	close(self->a);
}

/* In its place by IOVA. */
static void note(FIXTURE_DATA(areas) *self, struct iommu_ioas_area area)
{
	uint32_t i = self->nr++;

	if (self->nr > MAX)
		vmt_die("too many areas");
	for (; i && self->want[i - 1].iova > area.iova; i--)
		self->want[i] = self->want[i - 1];
	self->want[i] = area;
}

static int put(FIXTURE_DATA(areas) *self, uint64_t iova, uint64_t len, int fd, uint64_t start,
	       uint32_t flags)
{
	note(self, area(iova, len, fd, start, flags));
	return map_file(self->iommufd, self->ioas, fd, start, len, iova, flags);
}

static int put_mem(FIXTURE_DATA(areas) *self, uint64_t iova, uint64_t len, void *mem,
		   uint32_t flags)
{
	note(self, area(iova, len, -1, (uintptr_t)mem, flags));
	return map_user(self->iommufd, self->ioas, mem, len, iova, flags);
}

static int take(FIXTURE_DATA(areas) *self, uint64_t iova)
{
	for (uint32_t i = 0; i < self->nr; i++) {
		uint64_t len = self->want[i].length;

		if (self->want[i].iova != iova)
			continue;
		self->nr--;
		memmove(&self->want[i], &self->want[i + 1],
			(self->nr - i) * sizeof(self->want[0]));
		return unmap(self->iommufd, self->ioas, iova, len);
	}
	vmt_die("nothing is mapped at %#lx", (long)iova);
}

static void show(const char *what, const struct iommu_ioas_area *area)
{
	fprintf(stderr, "%s: IOVA %#llx + %#llx: type %u, flags %#x, %#llx of %u:%u:%llu\n", what,
		area->iova, area->length, area->type, area->flags, area->start, area->dev_major,
		area->dev_minor, area->ino);
}

static bool same(FIXTURE_DATA(areas) *self, const struct iommu_ioas_area *areas, uint32_t nr)
{
	if (nr == self->nr && !memcmp(areas, self->want, nr * sizeof(*areas)))
		return true;
	for (uint32_t i = 0; i < self->nr; i++)
		show("mapped", &self->want[i]);
	for (uint32_t i = 0; i < nr; i++)
		show("answer", &areas[i]);
	return false;
}

/* All of an IOAS in one answer, and nothing behind it. */
static bool answer_is_right_for(FIXTURE_DATA(areas) *self, uint32_t ioas)
{
	struct iommu_ioas_area areas[MAX + 1], fill;
	uint64_t iova = 0;
	uint32_t nr = MAX + 1;
	int ret;

	memset(areas, FILL, sizeof(areas));
	memset(&fill, FILL, sizeof(fill));
	ret = ask(self->iommufd, ioas, &iova, areas, &nr);
	if (ret) {
		fprintf(stderr, "IOMMU_IOAS_GET_AREAS: %s\n", strerror(-ret));
		return false;
	}
	for (uint32_t i = nr; i <= MAX; i++)
		if (memcmp(&areas[i], &fill, sizeof(fill)))
			return false;
	return same(self, areas, nr);
}

#define answer_is_right()	answer_is_right_for(self, self->ioas)

TEST_F(areas, nothing)
{
	uint64_t iova = 0;
	uint32_t nr = 0;

	EXPECT_TRUE(answer_is_right());
	EXPECT_EQ(0, ask(self->iommufd, self->ioas, &iova, NULL, &nr));
	EXPECT_EQ(0, nr);
}

TEST_F(areas, all_kinds)
{
	uint64_t size;
	int bar = bar_dma_buf(self->fd, &size);

	/* One after the other, and not in this order. */
	ASSERT_EQ(0, put(self, IOVA + 4 * PAGE, 2 * PAGE, self->a, 8 * PAGE, RO));
	ASSERT_EQ(0, put(self, IOVA, 4 * PAGE, self->a, 0, RW));
	ASSERT_EQ(0, put(self, IOVA + 6 * PAGE, PAGE, self->b, 3 * PAGE, WO));
	/* The same once more, and the end of a file. */
	ASSERT_EQ(0, put(self, IOVA + 7 * PAGE, PAGE, self->b, 3 * PAGE, RW));
	ASSERT_EQ(0, put(self, IOVA + SIZE, SIZE, self->b, 0, RW));
	ASSERT_EQ(0, put(self, IOVA + 2 * SIZE, PAGE, self->a, SIZE - PAGE, RW));
	ASSERT_EQ(0, put_mem(self, IOVA + 3 * SIZE, 5 * PAGE, self->mem + 7 * PAGE, RW));
	ASSERT_EQ(0, put_mem(self, IOVA + 4 * SIZE, PAGE, self->mem, RO));
	ASSERT_EQ(0, put(self, 0x40000000, size, bar, 0, RW));
	ASSERT_EQ(0, put(self, 0x50000000, 2 * PAGE, bar, PAGE, RW));
	EXPECT_TRUE(answer_is_right());

	ASSERT_EQ(0, take(self, IOVA + 4 * PAGE));
	EXPECT_TRUE(answer_is_right());
	ASSERT_EQ(0, take(self, IOVA));
	ASSERT_EQ(0, take(self, 0x50000000));
	ASSERT_EQ(0, take(self, IOVA + 3 * SIZE));
	EXPECT_TRUE(answer_is_right());
	ASSERT_EQ(0, put(self, IOVA + PAGE, 2 * PAGE, self->b, PAGE, RW));
	EXPECT_TRUE(answer_is_right());
	ASSERT_EQ(0, unmap(self->iommufd, self->ioas, 0, UINT64_MAX));
	self->nr = 0;
	EXPECT_TRUE(answer_is_right());
	close(bar);
}

/* The file that it was mapped by need not be there any more. */
TEST_F(areas, another_file_of_the_memfd)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", self->a);
	fd = open(path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, map_file(self->iommufd, self->ioas, fd, PAGE, PAGE, IOVA, RW));
	close(fd);
	note(self, area(IOVA, PAGE, self->a, PAGE, RW));
	EXPECT_TRUE(answer_is_right());
}

TEST_F(areas, parts_of_pages)
{
	int ret = put(self, IOVA + 0x123, 0x1234, self->a, 5 * PAGE + 0x321, RO);

	if (variant->attached) {
		EXPECT_EQ(-EINVAL, ret);
		self->nr = 0;
	} else {
		EXPECT_EQ(0, ret);
		EXPECT_EQ(0, put_mem(self, IOVA + SIZE, 3, self->mem + PAGE + 77, RW));
		EXPECT_EQ(0, put(self, IOVA + 0x1357, 1, self->b, PAGE - 1, RW));
	}
	EXPECT_TRUE(answer_is_right());
}

/* Also of a part, and of more than one, with the rights that the copy has. */
TEST_F(areas, copied)
{
	int other = ioas_alloc(self->iommufd);
	uint64_t odd = variant->attached ? 0 : 0x10;

	ASSERT_LT(0, other);
	ASSERT_EQ(0, put(self, IOVA, 4 * PAGE, self->a, 2 * PAGE, RW));
	ASSERT_EQ(0, put(self, IOVA + 4 * PAGE, 4 * PAGE, self->b, 9 * PAGE, RW));
	ASSERT_EQ(0, put_mem(self, IOVA + 8 * PAGE, 4 * PAGE, self->mem + 3 * PAGE, RW));
	ASSERT_EQ(0, copy(self->iommufd, self->ioas, IOVA, self->ioas, IOVA + SIZE, 4 * PAGE, RO));
	note(self, area(IOVA + SIZE, 4 * PAGE, self->a, 2 * PAGE, RO));
	ASSERT_EQ(0, copy(self->iommufd, self->ioas, IOVA + PAGE + odd, self->ioas, IOVA + 2 * SIZE,
			  8 * PAGE, WO));
	note(self, area(IOVA + 2 * SIZE, 3 * PAGE - odd, self->a, 3 * PAGE + odd, WO));
	note(self, area(IOVA + 2 * SIZE + 3 * PAGE - odd, 4 * PAGE, self->b, 9 * PAGE, WO));
	note(self, area(IOVA + 2 * SIZE + 7 * PAGE - odd, PAGE + odd, -1,
			(uintptr_t)self->mem + 3 * PAGE, WO));
	EXPECT_TRUE(answer_is_right());

	ASSERT_EQ(0, copy(self->iommufd, self->ioas, IOVA + 2 * PAGE, other, PAGE, 2 * PAGE, RW));
	ASSERT_EQ(0, unmap(self->iommufd, self->ioas, 0, UINT64_MAX));
	self->nr = 0;
	EXPECT_TRUE(answer_is_right());
	note(self, area(PAGE, 2 * PAGE, self->a, 4 * PAGE, RW));
	EXPECT_TRUE(answer_is_right_for(self, other));
}

/* VFIO's first type of container lets a part be unmapped, which leaves two. */
TEST_F(areas, split)
{
	struct vfio_iommu_type1_dma_unmap hole = { .argsz = sizeof(hole) };
	struct iommu_vfio_ioas compat = {
		.size = sizeof(compat),
		.ioas_id = self->ioas,
		.op = IOMMU_VFIO_IOAS_SET,
	};

	ASSERT_EQ(0, ioctl(self->iommufd, IOMMU_VFIO_IOAS, &compat));
	ASSERT_EQ(0, ioctl(self->iommufd, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU));
	ASSERT_EQ(0, map_file(self->iommufd, self->ioas, self->a, 3 * PAGE, 16 * PAGE, IOVA, RO));
	ASSERT_EQ(0, map_user(self->iommufd, self->ioas, self->mem + 5 * PAGE, 8 * PAGE,
			      IOVA + SIZE, RW));
	hole.iova = IOVA + 5 * PAGE;
	hole.size = 4 * PAGE;
	ASSERT_EQ(0, ioctl(self->iommufd, VFIO_IOMMU_UNMAP_DMA, &hole));
	hole.iova = IOVA + 12 * PAGE;
	hole.size = PAGE;
	ASSERT_EQ(0, ioctl(self->iommufd, VFIO_IOMMU_UNMAP_DMA, &hole));
	hole.iova = IOVA + SIZE;
	ASSERT_EQ(0, ioctl(self->iommufd, VFIO_IOMMU_UNMAP_DMA, &hole));

	note(self, area(IOVA, 5 * PAGE, self->a, 3 * PAGE, RO));
	note(self, area(IOVA + 9 * PAGE, 3 * PAGE, self->a, 12 * PAGE, RO));
	note(self, area(IOVA + 13 * PAGE, 3 * PAGE, self->a, 16 * PAGE, RO));
	note(self, area(IOVA + SIZE + PAGE, 7 * PAGE, -1, (uintptr_t)self->mem + 6 * PAGE, RW));
	EXPECT_TRUE(answer_is_right());
}

/* A BAR that was taken back is mapped still, it only leads nowhere. */
TEST_F(areas, revoked)
{
	struct vfio_region_info info = {
		.argsz = sizeof(info),
		.index = VFIO_PCI_CONFIG_REGION_INDEX,
	};
	uint16_t cmd = 0;
	uint64_t size;
	int bar = bar_dma_buf(self->fd, &size);

	ASSERT_EQ(0, put(self, IOVA, PAGE, bar, PAGE, RW));
	ASSERT_EQ(0, ioctl(self->fd, VFIO_DEVICE_GET_REGION_INFO, &info));
	ASSERT_EQ(sizeof(cmd), pwrite(self->fd, &cmd, sizeof(cmd), info.offset + PCI_COMMAND));
	EXPECT_EQ(-ENODEV, map_file(self->iommufd, self->ioas, bar, 0, PAGE, IOVA + SIZE, RW));
	EXPECT_TRUE(answer_is_right());
	close(bar);
}

/* What all of this is for: the answer says how to map the same again. */
TEST_F(areas, mapped_from_the_answer)
{
	int other = ioas_alloc(self->iommufd);
	uint64_t size, iova = 0;
	int files[] = { self->b, bar_dma_buf(self->fd, &size), self->a };
	struct iommu_ioas_area areas[MAX];
	uint32_t nr = MAX;

	ASSERT_LT(0, other);
	ASSERT_EQ(0, put(self, 0, 16 * PAGE, self->a, 0, RW));
	ASSERT_EQ(0, put(self, 16 * PAGE, 4 * PAGE, self->b, 2 * PAGE, RO));
	ASSERT_EQ(0, put(self, 20 * PAGE, 12 * PAGE, self->a, 20 * PAGE, RW));
	ASSERT_EQ(0, put(self, 0x40000000, size, files[1], 0, RW));
	ASSERT_EQ(0, put(self, 0x100000000, 32 * PAGE, self->a, 32 * PAGE, RW));
	ASSERT_EQ(0, ask(self->iommufd, self->ioas, &iova, areas, &nr));
	ASSERT_EQ(self->nr, nr);
	for (uint32_t i = 0; i < nr; i++) {
		int fd = -1;

		for (unsigned int j = 0; j < ARRAY_SIZE(files); j++) {
			struct stat st;

			ASSERT_EQ(0, fstat(files[j], &st));
			if (st.st_ino == areas[i].ino &&
			    st.st_dev == makedev(areas[i].dev_major, areas[i].dev_minor))
				fd = files[j];
		}
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, map_file(self->iommufd, other, fd, areas[i].start, areas[i].length,
				      areas[i].iova, areas[i].flags));
	}
	EXPECT_TRUE(answer_is_right_for(self, other));
	EXPECT_TRUE(answer_is_right());
	close(files[1]);
}

/* Who got the iommufd from another process sees what that one had mapped. */
TEST_F(areas, another_process)
{
	int status;
	pid_t child;

	ASSERT_EQ(0, put(self, IOVA, 4 * PAGE, self->a, PAGE, RW));
	ASSERT_EQ(0, put_mem(self, IOVA + SIZE, PAGE, self->mem, RW));
	child = fork();
	if (!child)
		_exit(answer_is_right() ? 42 : 1);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 42);
}

/* Nothing can change, but what there is can be asked for. */
TEST_F(areas, preserved)
{
	int luo = luo_open_device(), session = luo_create_session(luo, "areas");

	ASSERT_LE(0, session);
	ASSERT_EQ(0, attach(self->fd, self->ioas));
	ASSERT_EQ(0, put(self, IOVA, 4 * PAGE, self->a, PAGE, RW));
	ASSERT_EQ(0, put(self, IOVA + 4 * PAGE, PAGE, self->a, 0, RO));
	ASSERT_EQ(0, lu_preserve(session, self->a, 1));
	ASSERT_EQ(0, lu_preserve(session, self->fd, 2));
	ASSERT_EQ(-EBUSY, unmap(self->iommufd, self->ioas, 0, UINT64_MAX));
	EXPECT_TRUE(answer_is_right());
	close(session);
	close(luo);
}

/* ---- One part after the other ---------------------------------------------------------- */

TEST_F(areas, small_arrays)
{
	for (unsigned int i = 0; i < 10; i++)
		ASSERT_EQ(0, put(self, IOVA + 3 * i * PAGE, (1 + i % 3) * PAGE, self->a, i * PAGE,
				 i & 1 ? RO : RW));

	for (uint32_t room = 0; room <= self->nr + 1; room++) {
		struct iommu_ioas_area areas[MAX], fill;
		uint32_t got = 0, nr;
		uint64_t iova = 0;
		int ret;

		memset(&fill, FILL, sizeof(fill));
		memset(areas, FILL, sizeof(areas));
		do {
			nr = room;
			ret = ask(self->iommufd, self->ioas, &iova, areas + got, &nr);
			ASSERT_LE(nr, room);
			got += nr;
			if (got >= self->nr)
				break;
			ASSERT_EQ(-EMSGSIZE, ret);
			ASSERT_EQ(room, nr);
			ASSERT_EQ(self->want[got].iova, iova);
		} while (room);
		for (uint32_t i = got; i < MAX; i++)
			ASSERT_EQ(0, memcmp(&areas[i], &fill, sizeof(fill)));
		if (room) {
			EXPECT_EQ(0, ret);
			EXPECT_TRUE(same(self, areas, got));
		} else {
			EXPECT_EQ(0, got);
		}
	}
}

TEST_F(areas, from_the_middle)
{
	static const struct {
		uint64_t iova;
		uint32_t first;
	} from[] = {
		{ 0, 0 }, { IOVA, 0 }, { IOVA + 1, 0 }, { IOVA + 2 * PAGE - 1, 0 },
		{ IOVA + 2 * PAGE, 1 }, { IOVA + 3 * PAGE - 1, 1 }, { IOVA + 3 * PAGE, 1 },
		{ IOVA + 4 * PAGE - 1, 1 }, { IOVA + 4 * PAGE, 2 }, { IOVA + 5 * PAGE, 3 },
		{ UINT64_MAX, 3 },
	};

	ASSERT_EQ(0, put(self, IOVA, 2 * PAGE, self->a, 0, RW));
	ASSERT_EQ(0, put(self, IOVA + 3 * PAGE, PAGE, self->a, 0, RW));
	ASSERT_EQ(0, put(self, IOVA + 4 * PAGE, PAGE, self->a, PAGE, RW));
	for (unsigned int i = 0; i < ARRAY_SIZE(from); i++) {
		uint64_t iova = from[i].iova;
		struct iommu_ioas_area areas[MAX] = {};
		uint32_t nr = MAX;

		EXPECT_EQ(0, ask(self->iommufd, self->ioas, &iova, areas, &nr));
		ASSERT_EQ(3 - from[i].first, nr) {
			TH_LOG("from %#llx", (long long)from[i].iova);
		}
		EXPECT_EQ(0, memcmp(areas, self->want + from[i].first, nr * sizeof(*areas)));
	}
}

/* More than the kernel returns in one call, however large the array is. */
TEST_F(areas, thousands)
{
	const unsigned int count = 5000;
	struct iommu_ioas_area *areas = calloc(count, sizeof(*areas));
	uint32_t got = 0, calls = 0;
	uint64_t iova = 0;
	int ret;

	ASSERT_NE(NULL, areas);
	for (unsigned int i = 0; i < count; i++)
		ASSERT_EQ(0, map_file(self->iommufd, self->ioas, self->a, i % 64 * PAGE, PAGE,
				      IOVA + i * PAGE, RW));
	do {
		uint32_t nr = count - got;

		ret = ask(self->iommufd, self->ioas, &iova, areas + got, &nr);
		got += nr;
		calls++;
	} while (ret == -EMSGSIZE && got < count);
	EXPECT_EQ(0, ret);
	EXPECT_LT(1, calls);
	ASSERT_EQ(count, got);
	for (unsigned int i = 0; i < count; i++) {
		struct iommu_ioas_area want;

		want = area(IOVA + i * PAGE, PAGE, self->a, i % 64 * PAGE, RW);
		ASSERT_EQ(0, memcmp(&want, &areas[i], sizeof(want)));
	}
	free(areas);
}

/* ---- Arguments ------------------------------------------------------------------------- */

FIXTURE(args) {
	int iommufd, fd, a;
	uint32_t dev;
	struct iommu_ioas_get_areas arg;
	char *buf;
	struct iommu_ioas_area want[2];
};

/* Two areas, and two pages of memory to put them into before one that is not there. */
FIXTURE_SETUP(args)
{
	uint32_t ioas;

	self->iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->iommufd);
	ioas = ioas_alloc(self->iommufd);
	self->fd = open_bound(vmt_find(0x1234, 0x11e8, 0), self->iommufd, &self->dev);
	self->a = memfd();
	for (unsigned int i = 0; i < 2; i++) {
		self->want[i] = area(IOVA + 2 * i * PAGE, PAGE, self->a, 0, RW);
		ASSERT_EQ(0, map_file(self->iommufd, ioas, self->a, 0, PAGE, self->want[i].iova,
				      RW));
	}
	self->buf = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			 0);
	ASSERT_NE(MAP_FAILED, self->buf);
	ASSERT_EQ(0, munmap(self->buf + 2 * PAGE, PAGE));
	memset(self->buf, FILL, 2 * PAGE);
	self->arg = (struct iommu_ioas_get_areas) {
		.size = sizeof(self->arg),
		.ioas_id = ioas,
		.entry_len = sizeof(struct iommu_ioas_area),
		.num_areas = 2,
		.areas = (uintptr_t)self->buf,
	};
}

FIXTURE_TEARDOWN(args)
{
	munmap(self->buf, 2 * PAGE);
	close(self->fd);
	close(self->iommufd);
	close(self->a);
}

static int get(FIXTURE_DATA(args) *self, struct iommu_ioas_get_areas arg)
{
	return ioctl(self->iommufd, IOMMU_IOAS_GET_AREAS, &arg) ? -errno : 0;
}

static bool filled(FIXTURE_DATA(args) *self, size_t from, size_t to)
{
	for (; from < to; from++)
		if (self->buf[from] != (char)FILL)
			return false;
	return true;
}

/* An error with one field changed, without a byte of an answer. */
#define REFUSED(err, field, value)						\
	do {									\
		struct iommu_ioas_get_areas arg = self->arg;			\
		uint64_t val = (value);						\
										\
		arg.field = val;						\
		EXPECT_EQ(err, get(self, arg)) {				\
			TH_LOG(#field " is %#llx", (long long)val);		\
		}								\
		EXPECT_TRUE(filled(self, 0, 2 * PAGE));				\
	} while (0)

TEST_F(args, refused)
{
	int closed = ioas_alloc(self->iommufd);

	ASSERT_LT(0, closed);
	ASSERT_EQ(0, destroy(self->iommufd, closed));
	REFUSED(-ENOENT, ioas_id, 0);
	REFUSED(-ENOENT, ioas_id, 0xffffffff);
	REFUSED(-ENOENT, ioas_id, (uint32_t)closed);
	REFUSED(-ENOENT, ioas_id, self->dev);
	REFUSED(-EOPNOTSUPP, flags, 1);
	REFUSED(-EOPNOTSUPP, flags, 0x80000000);
	REFUSED(-EOPNOTSUPP, __reserved, 1);
	REFUSED(-EINVAL, entry_len, 0);
	REFUSED(-EINVAL, entry_len, sizeof(struct iommu_ioas_area) - 1);
	REFUSED(-EINVAL, entry_len, PAGE + 1);
	REFUSED(-EINVAL, entry_len, 0xffffffff);
	REFUSED(-EFAULT, areas, 0);
	REFUSED(-EFAULT, areas, (uintptr_t)self->buf + 2 * PAGE);
	REFUSED(-EFAULT, areas, 0xffff888000000000ull);
	REFUSED(-EOVERFLOW, areas, UINT64_MAX);
	REFUSED(-EOVERFLOW, areas, UINT64_MAX - 2 * sizeof(struct iommu_ioas_area) + 1);
	REFUSED(-EINVAL, size, sizeof(self->arg) - 1);
	ASSERT_EQ(0, mprotect(self->buf, 2 * PAGE, PROT_READ));
	REFUSED(-EFAULT, areas, (uintptr_t)self->buf);
	ASSERT_EQ(0, mprotect(self->buf, 2 * PAGE, PROT_READ | PROT_WRITE));
	/* After all these it still answers. */
	EXPECT_EQ(0, get(self, self->arg));
	EXPECT_EQ(0, memcmp(self->want, self->buf, sizeof(self->want)));
}

/* A newer program, with an argument that is longer. */
TEST_F(args, longer_argument)
{
	struct {
		struct iommu_ioas_get_areas arg;
		uint64_t more;
	} arg = { .arg = self->arg, .more = 1 };

	arg.arg.size = sizeof(arg);
	EXPECT_EQ(-1, ioctl(self->iommufd, IOMMU_IOAS_GET_AREAS, &arg));
	EXPECT_EQ(E2BIG, errno);
	arg.more = 0;
	EXPECT_EQ(0, ioctl(self->iommufd, IOMMU_IOAS_GET_AREAS, &arg));
	EXPECT_EQ(2, arg.arg.num_areas);
	EXPECT_EQ(0, memcmp(self->want, self->buf, sizeof(self->want)));
}

/* And one with longer entries: what this kernel does not know is zero. */
TEST_F(args, longer_entries)
{
	const size_t known = sizeof(struct iommu_ioas_area);
	const size_t lens[] = { known + 1, known + 24, PAGE };
	static const char zero[PAGE];

	for (unsigned int i = 0; i < ARRAY_SIZE(lens); i++) {
		size_t len = lens[i];

		memset(self->buf, FILL, 2 * PAGE);
		self->arg.entry_len = len;
		EXPECT_EQ(0, get(self, self->arg));
		for (unsigned int j = 0; j < 2; j++) {
			EXPECT_EQ(0, memcmp(&self->want[j], self->buf + j * len, known));
			EXPECT_EQ(0, memcmp(zero, self->buf + j * len + known, len - known));
		}
		EXPECT_TRUE(filled(self, 2 * len, 2 * PAGE));
	}
}

/* Room that is not needed need not be there; room that is does. */
TEST_F(args, end_of_memory)
{
	size_t at = 2 * PAGE - sizeof(self->want);

	self->arg.areas = (uintptr_t)self->buf + at;
	self->arg.num_areas = 0xffffffff;
	EXPECT_EQ(0, get(self, self->arg));
	EXPECT_EQ(0, memcmp(self->want, self->buf + at, sizeof(self->want)));
	EXPECT_TRUE(filled(self, 0, at));
	self->arg.areas++;
	EXPECT_EQ(-EFAULT, get(self, self->arg));
}

/* ---- While it changes ------------------------------------------------------------------ */

#define SLOTS	16
#define STRIDE	(4 * PAGE)
#define ROUNDS	1000
#define ROUNDS_DEBUG	100	/* with KASAN, each takes many times as long */

/* Two things that a slot may have; the even ones always have the first. */
struct race {
	FIXTURE_DATA(areas) *self;
	struct iommu_ioas_area can[SLOTS][2];
	uint32_t other;
	bool attached, stop;
	int failed;
};

static int race_map(struct race *race, unsigned int slot, unsigned int which)
{
	struct iommu_ioas_area *area = &race->can[slot][which];

	return map_file(race->self->iommufd, race->self->ioas,
			which ? race->self->b : race->self->a, area->start, area->length,
			area->iova, area->flags);
}

/* Map and unmap, and let the page table of the device come and go. */
static void *race_change(void *arg)
{
	struct race *race = arg;
	int iommufd = race->self->iommufd, ret = 0;
	uint32_t ioas = race->self->ioas;

	for (unsigned int round = 0; !ret && !__atomic_load_n(&race->stop, __ATOMIC_RELAXED);
	     round++) {
		for (unsigned int i = 1; !ret && i < SLOTS; i += 2)
			ret = race_map(race, i, (round + i / 2) & 1);
		for (unsigned int i = 1; !ret && i < SLOTS; i += 2)
			ret = unmap(iommufd, ioas, IOVA + i * STRIDE, STRIDE);
		if (!ret && race->attached)
			ret = attach(race->self->fd, round & 1 ? ioas : race->other);
	}
	race->failed = ret;
	return NULL;
}

TEST_F(areas, race)
{
	static const uint32_t rooms[] = { SLOTS, 1, 3, SLOTS + 1 };
	unsigned int rounds = strcmp(vmt_param("flavour"), "debug") ? ROUNDS : ROUNDS_DEBUG;
	unsigned int there[2] = {}, gone = 0, asked = 0;
	struct race race = { .self = self, .attached = variant->attached };
	pthread_t thread;
	struct iommu_ioas_area *areas;

	/* Memory that is never there yet when the kernel writes to it. */
	areas = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, areas);
	race.other = ioas_alloc(self->iommufd);
	for (unsigned int i = 0; i < SLOTS; i++) {
		race.can[i][0] = area(IOVA + i * STRIDE, PAGE, self->a, i * PAGE, RW);
		race.can[i][1] = area(IOVA + i * STRIDE, 3 * PAGE, self->b, 2 * i * PAGE, RO);
		if (!(i & 1))
			ASSERT_EQ(0, race_map(&race, i, 0));
	}
	ASSERT_EQ(0, pthread_create(&thread, NULL, race_change, &race));

	/* Go on until all that there is has been seen. */
	while (asked < rounds || !there[0] || !there[1] || !gone) {
		uint32_t room = rooms[asked++ % ARRAY_SIZE(rooms)], got = 0, nr;
		unsigned int slot = 0;
		uint64_t iova = 0;
		int ret;

		madvise(areas, PAGE, MADV_DONTNEED);
		do {
			nr = room;
			ret = ask(self->iommufd, self->ioas, &iova, areas + got, &nr);
			got += nr;
		} while (ret == -EMSGSIZE && got < SLOTS && nr == room);
		ASSERT_EQ(0, ret);
		ASSERT_GE(SLOTS, got);

		for (uint32_t i = 0; i < got; i++, slot++) {
			unsigned int which;

			for (; slot < SLOTS && areas[i].iova != race.can[slot][0].iova; slot++) {
				ASSERT_EQ(1, slot & 1);
				gone++;
			}
			ASSERT_GT(SLOTS, slot);
			which = areas[i].type == race.can[slot][1].type &&
				areas[i].ino == race.can[slot][1].ino;
			ASSERT_EQ(0, memcmp(&race.can[slot][which], &areas[i], sizeof(*areas)));
			if (slot & 1)
				there[which]++;
			else
				ASSERT_EQ(0, which);
		}
		/* The last one may be gone, none before it. */
		ASSERT_LE(SLOTS - 1, slot);
		ASSERT_EQ(0, race.failed);
	}
	__atomic_store_n(&race.stop, true, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, race.failed);
	munmap(areas, PAGE);
}

TEST_HARNESS_MAIN
