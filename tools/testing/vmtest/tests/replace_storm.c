// SPDX-License-Identifier: GPL-2.0-only
/*
 * replace_storm: domains are replaced under a device that receives frames.
 *
 * Two page tables with the same contents take turns, as the one that each network card
 * is attached to. Frames come as fast as the cards take them, and between two replaces
 * of a card at least FRAMES of them, so it does DMA before, during and after each.
 * Meanwhile another thread maps and unmaps other memory in the IOAS, which invalidates
 * in both tables.
 *
 * No frame may be lost, none may be damaged, and the runner sees that there is no fault.
 * On the unpatched kernel a replace blocks the device for a moment, so frames get lost,
 * or the card stops because it could not read a descriptor.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <linux/iommufd.h>
#include <linux/vfio.h>

#include "lu_harness.h"
#include "stream.h"

#define FRAMES		2
#define QUIET_MS	10000
#define TABLES		2

/* The debug kernel is slower by far. */
#define REPLACES	10000
#define REPLACES_DEBUG	2000

/* What the other thread maps. */
#define OTHER_SIZE	0x400000
#define OTHER_IOVA	0x40000000

static struct lu_dev devs[LU_MAX_DEVS];
static struct stream streams[LU_MAX_DEVS];
static unsigned int count;
static struct iommu *iommu;
static atomic_bool over;

/* As lu_open(), but the page tables are made by hand. */
static void open_dev(struct lu_dev *dev, uint32_t *tables)
{
	struct vfio_device_bind_iommufd bind = {
		.argsz = sizeof(bind),
		.iommufd = iommu->iommufd,
	};
	unsigned int i;
	int fd;

	vmt_bind(dev->bdf, "vfio-pci");
	fd = lu_cdev_open(dev->bdf);
	if (fd < 0 || ioctl(fd, VFIO_DEVICE_BIND_IOMMUFD, &bind))
		vmt_die("%s: cannot open and bind its cdev", dev->name);
	for (i = 0; i < TABLES && !tables[i]; i++) {
		struct iommu_hwpt_alloc alloc = {
			.size = sizeof(alloc),
			.dev_id = bind.out_devid,
			.pt_id = iommu->ioas_id,
		};

		if (ioctl(iommu->iommufd, IOMMU_HWPT_ALLOC, &alloc))
			vmt_die("%s: IOMMU_HWPT_ALLOC", dev->name);
		tables[i] = alloc.out_hwpt_id;
	}
	lu_setup(dev, fd, iommu);
}

static int attach(struct lu_dev *dev, uint32_t table)
{
	struct vfio_device_attach_iommufd_pt arg = {
		.argsz = sizeof(arg),
		.pt_id = table,
	};

	return ioctl(dev->vfio->fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &arg) ? -errno : 0;
}

/* How often it did, or NULL if it could not. */
static void *map_and_unmap(void *arg)
{
	struct dma_region other = {
		.vaddr = mmap(NULL, OTHER_SIZE, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
		.iova = OTHER_IOVA,
		.size = OTHER_SIZE,
	};
	uintptr_t rounds = 0;

	(void)arg;
	while (!over) {
		if (__iommu_map(iommu, &other) || __iommu_unmap(iommu, &other, NULL)) {
			perror("map and unmap");
			return NULL;
		}
		rounds++;
		sched_yield();
	}
	return (void *)rounds;
}

/* That many more frames, as soon as they are there. */
static bool frames_come(struct stream *s, unsigned int frames)
{
	/* On the unpatched kernel it stops for good, and nobody needs to be sure. */
	uint64_t end = lu_now_us() + (vmt_stock() ? QUIET_MS / 5 : QUIET_MS) * 1000;
	unsigned int got, seen = 0;

	while (seen < frames) {
		got = stream_consume(s);
		seen += got;
		if (got)
			continue;
		if (lu_now_us() > end) {
			fprintf(stderr, "stream %u: no frame comes any more\n", s->id);
			return false;
		}
		sched_yield();
	}
	return true;
}

FIXTURE(replace) {
	uint32_t tables[TABLES];
	int memfd;
};

FIXTURE_SETUP(replace)
{
	unsigned int i;

	iommu = iommu_init(MODE_IOMMUFD);
	count = lu_find(devs, LU_MAX_DEVS);
	ASSERT_LT(0, count);
	self->memfd = stream_memfd(count, 0);
	for (i = 0; i < count; i++) {
		stream_init(&streams[i], i, self->memfd);
		ASSERT_EQ(0, stream_map(&streams[i], self->memfd, iommu));
		open_dev(&devs[i], self->tables);
		ASSERT_EQ(0, attach(&devs[i], self->tables[0]));
		stream_setup(&streams[i], &devs[i]);
	}
}

FIXTURE_TEARDOWN(replace)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		stream_stop(&streams[i]);
		lu_close(&devs[i]);
	}
}

TEST_F(replace, storm)
{
	/* What is attached to one card of a group is attached to all. */
	bool group = vmt_param("group");
	unsigned int replaces = REPLACES, done = 0;
	uint64_t start, spent = 0, t;
	bool going = true;
	char netdev[16];
	pthread_t other;
	void *rounds;
	unsigned int i;

	if (!strcmp(vmt_param("flavour"), "debug"))
		replaces = REPLACES_DEBUG;
	for (i = 0; i < count; i++) {
		snprintf(netdev, sizeof(netdev), "net%u", i);
		stream_send(netdev);
		ASSERT_TRUE(frames_come(&streams[i], 100));
	}
	ASSERT_EQ(0, pthread_create(&other, NULL, map_and_unmap, NULL));

	start = lu_now_us();
	while (going && done < replaces) {
		struct stream *s = &streams[done % count];
		unsigned int round = group ? done : done / count;

		t = lu_now_us();
		ASSERT_EQ(0, attach(&devs[s->id], self->tables[(round + 1) % TABLES]));
		spent += lu_now_us() - t;
		done++;
		going = frames_come(s, FRAMES) && !s->state->missing && !s->state->bad;
	}
	vmt_figure("replaces", done);
	vmt_figure("storm_ms", (lu_now_us() - start) / 1000);
	vmt_figure("replace_us", spent / (done ?: 1));

	over = true;
	ASSERT_EQ(0, pthread_join(other, &rounds));
	EXPECT_NE(NULL, rounds);
	vmt_figure("unmaps", (uintptr_t)rounds);

	/* It is not that it went right and ended early. */
	EXPECT_EQ(going, done == replaces);
	if (vmt_stock()) {
		EXPECT_FALSE(going);
		return;
	}
	EXPECT_TRUE(going);

	/* All that was sent has come, too. */
	for (i = 0; i < count; i++) {
		snprintf(netdev, sizeof(netdev), "net%u", i);
		stream_end(netdev);
		EXPECT_TRUE(stream_wait_end(&streams[i], QUIET_MS));
		EXPECT_TRUE(stream_good(&streams[i]));
		vmt_figure(netdev, streams[i].state->received);
	}
}

/* To attach what is attached already is not a replace, and changes nothing. */
TEST_F(replace, same)
{
	unsigned int i, n;

	for (i = 0; i < count; i++)
		for (n = 0; n < TABLES * 2; n++)
			EXPECT_EQ(0, attach(&devs[i], self->tables[n / 2]));
}

TEST_HARNESS_MAIN
