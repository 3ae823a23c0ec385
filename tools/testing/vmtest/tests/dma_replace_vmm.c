// SPDX-License-Identifier: GPL-2.0-only
/*
 * dma_replace_vmm: after a live update a VMM maps something else than it had. It may:
 * what its device loses by that is its own loss, and nobody else notices.
 *
 * A network card is handed over with a stream. The second kernel attaches it to an IOAS
 * that has, by "vmtest.map=",
 *
 *	other	other memory in the place of the preserved one: the card goes on there, what
 *		came before its ring was copied is lost
 *	shifted	the preserved memory, but not where it was: the card finds no ring there
 *	nothing
 *
 * Then the memory that the card wrote to until then is given up, and the pages are seen to
 * be used by somebody else, who keeps them as they are under traffic.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "lu_harness.h"
#include "stream.h"

#define SESSION		"dma"
#define MEMORY_TOKEN	1
#define QUIET_MS	3000
#define MANY		50

#define PAGE		4096
#define PAGES		(STREAM_SIZE / PAGE)
/* The kernel takes what was freed last first, but not only. */
#define VICTIM_PAGES	(4 * PAGES)
#define VICTIM_SIZE	((uint64_t)VICTIM_PAGES * PAGE)

static struct lu_dev dev;
static struct stream stream;
static struct iommu *iommu;
static int luo, session = -1, memfd = -1;

static bool map_is(const char *name)
{
	const char *map = vmt_param("map");

	return map && !strcmp(map, name);
}

FIXTURE(vmm) {
};

FIXTURE_SETUP(vmm)
{
	luo = luo_open_device();
	ASSERT_LE(0, luo);
	lu_find_one(&dev, 0x8086, 0x10d3, 0);
	iommu = iommu_init(MODE_IOMMUFD);
}

FIXTURE_TEARDOWN(vmm)
{
}

TEST_F(vmm, leave)
{
	vmt_mark(VMT_START);
	memfd = stream_memfd(1, 0);
	stream_init(&stream, 0, memfd);
	ASSERT_EQ(0, stream_map(&stream, memfd, iommu));
	lu_open(&dev, iommu);
	stream_setup(&stream, &dev);
	stream_send("net0");
	ASSERT_TRUE(stream_wait(&stream, MANY, QUIET_MS));

	session = luo_create_session(luo, SESSION);
	ASSERT_LE(0, session);
	ASSERT_EQ(0, lu_preserve(session, memfd, MEMORY_TOKEN));
	ASSERT_EQ(0, lu_preserve(session, dev.vfio->fd, dev.token));
	vmt_mark(VMT_PRESERVED);
	vmt_kexec_load();
	ASSERT_TRUE(stream_good(&stream));
	ASSERT_EQ(0, vmt_kexec());
}

static int compare(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return left < right ? -1 : left > right;
}

/*
 * Memory of somebody else, each word of it his own address; returns how many of its pages
 * the card could write to until now.
 */
static unsigned int settle(uint64_t *victim, const uint64_t *was)
{
	static uint64_t phys[VICTIM_PAGES];
	unsigned int hits = 0;
	uint64_t i;

	for (i = 0; i < VICTIM_SIZE / 8; i++)
		victim[i] = (uintptr_t)&victim[i];
	lu_phys_pages(victim, phys, VICTIM_PAGES);
	for (i = 0; i < VICTIM_PAGES; i++)
		hits += !!bsearch(&phys[i], was, PAGES, sizeof(*was), compare);
	return hits;
}

static bool is_settled(const volatile uint64_t *victim)
{
	for (uint64_t i = 0; i < VICTIM_SIZE / 8; i++)
		if (victim[i] != (uintptr_t)&victim[i])
			return false;
	return true;
}

/* The same ring, in other memory. */
static int copy_memory(struct __test_metadata *_metadata)
{
	int fd = stream_memfd(1, 0);
	struct stream copy;

	stream_init(&copy, 0, fd);
	memcpy(copy.base, stream.base, STREAM_SIZE);
	munmap(stream.base, STREAM_SIZE);
	stream = copy;
	ASSERT_EQ(0, stream_map(&stream, fd, iommu));
	return fd;
}

/* What came between the copy and the attach is in the old memory: go on behind it. */
static bool skip_lost(void)
{
	volatile union stream_desc *ring = (void *)(stream.base + STREAM_RING_OFF);
	const struct timespec ms = { .tv_nsec = 1000000 };
	uint64_t end = lu_now_us() + QUIET_MS * 1000;
	unsigned int i, next;

	for (; lu_now_us() < end; nanosleep(&ms, NULL)) {
		for (i = 0; i < STREAM_FRAMES; i++) {
			next = (stream.state->next + i) % STREAM_FRAMES;
			if (!(ring[next].done.status & STREAM_DESC_DD))
				continue;
			stream.state->next = next;
			return true;
		}
	}
	return false;
}

TEST_F(vmm, arrive)
{
	const struct timespec second = { .tv_sec = 1 };
	static uint64_t was[PAGES];
	uint64_t *victim;
	unsigned int i;

	session = luo_retrieve_session(luo, SESSION);
	ASSERT_LE(0, session);
	memfd = lu_retrieve(session, MEMORY_TOKEN);
	ASSERT_LE(0, memfd);
	stream_init(&stream, 0, memfd);
	ASSERT_TRUE(stream_wait(&stream, MANY, QUIET_MS));
	EXPECT_TRUE(stream_good(&stream));
	for (i = 0; i < PAGES; i++)
		*(volatile char *)(stream.base + i * PAGE);
	lu_phys_pages(stream.base, was, PAGES);
	qsort(was, PAGES, sizeof(*was), compare);

	vmt_bind(dev.bdf, "vfio-pci");
	if (map_is("other"))
		copy_memory(_metadata);
	else if (map_is("shifted"))
		ASSERT_EQ(0, lu_map_file(iommu, memfd, 0, STREAM_SIZE, STREAM_IOVA(1)));
	/* The card still writes there, so it cannot be given up. */
	EXPECT_EQ(-1, fallocate(memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, STREAM_SIZE));
	EXPECT_EQ(-1, ftruncate(memfd, 0));
	ASSERT_EQ(0, lu_take(&dev, session, iommu));
	vmt_mark(VMT_RETRIEVED);
	vmt_mark(VMT_OPENED);
	ASSERT_EQ(0, luo_session_finish(session));
	vmt_mark(VMT_FINISHED);
	close(session);

	/* Now it does not. */
	if (map_is("shifted"))
		ASSERT_EQ(0, ioctl(iommu->iommufd, IOMMU_IOAS_UNMAP, &(struct iommu_ioas_unmap){
			.size = sizeof(struct iommu_ioas_unmap),
			.ioas_id = iommu->ioas_id,
			.iova = STREAM_IOVA(1),
			.length = STREAM_SIZE,
		}));
	if (!map_is("other"))
		munmap(stream.base, STREAM_SIZE);
	EXPECT_EQ(0, fallocate(memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, STREAM_SIZE));
	EXPECT_EQ(0, ftruncate(memfd, 0));
	close(memfd);
	victim = mmap(NULL, VICTIM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		      -1, 0);
	ASSERT_NE(MAP_FAILED, victim);
	i = settle(victim, was);
	vmt_step("%u of %u pages that the card wrote to are somebody else's", i, PAGES);
	EXPECT_LE(100, i);

	if (map_is("other")) {
		stream_resume(&stream, &dev);
		stream_consume(&stream);
		ASSERT_TRUE(skip_lost());
		/* A gap is allowed, something bad is not. */
		EXPECT_TRUE(stream_wait(&stream, 4 * MANY, QUIET_MS));
		EXPECT_EQ(0, stream.state->bad);
		stream_stop(&stream);
	} else {
		nanosleep(&second, NULL);
	}
	EXPECT_TRUE(is_settled(victim));
	lu_close(&dev);
	EXPECT_TRUE(is_settled(victim));
	vmt_mark(VMT_CLOSED);
	vmt_step("nobody but the VMM has lost anything");
}

int main(void)
{
	char *argv[] = { "dma_replace_vmm", "-t", vmt_stage() == 1 ? "leave" : "arrive", NULL };

	return test_harness_run(3, argv);
}
