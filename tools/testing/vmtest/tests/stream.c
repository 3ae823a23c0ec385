// SPDX-License-Identifier: GPL-2.0-only
/*
 * stream: the numbered frames of stream.h arrive, and what is wrong with them is seen.
 * One kernel, no live update. Each network card is fed by [stream.net<n>].
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lu_harness.h"
#include "stream.h"

#define QUIET_MS	10000

static struct lu_dev devs[LU_MAX_DEVS];
static struct stream streams[LU_MAX_DEVS];
static unsigned int count;

/* The first of the frames that are there and not yet consumed. */
static char *wait_for_frame(struct stream *s)
{
	volatile char *buf = s->base + STREAM_BUF_OFF + s->state->next * STREAM_BUF;
	volatile uint32_t *status = (void *)(s->base + STREAM_RING_OFF + s->state->next * 16 + 8);
	const struct timespec ms = { .tv_nsec = 1000000 };

	uint64_t end = lu_now_us() + QUIET_MS * 1000;

	while (!(*status & 1)) {
		if (lu_now_us() > end)
			vmt_die("stream %u: no frame comes", s->id);
		nanosleep(&ms, NULL);
	}
	return (char *)buf;
}

/* What is wrong with the next frame must be seen; the rest is good. */
static void check_sight(struct __test_metadata *_metadata, struct stream *s)
{
	struct stream_state *st = s->state;
	char copy[STREAM_BUF], *frame;
	unsigned int got;

	/* One is damaged; its number is missing then. */
	wait_for_frame(s)[60] ^= 1;
	EXPECT_TRUE(stream_wait(s, 3, QUIET_MS));
	EXPECT_EQ(1, st->bad);
	EXPECT_EQ(1, st->missing);
	EXPECT_EQ(1, st->gaps[0].count);

	/* One is passed over. */
	wait_for_frame(s);
	st->next = (st->next + 1) % STREAM_FRAMES;
	EXPECT_TRUE(stream_wait(s, 3, QUIET_MS));
	EXPECT_EQ(1, st->bad);
	EXPECT_EQ(2, st->missing);

	/* One comes twice, so the one whose place it has does not. */
	memcpy(copy, wait_for_frame(s), STREAM_BUF);
	EXPECT_LE(1, stream_consume(s));
	memcpy(wait_for_frame(s), copy, STREAM_BUF);
	EXPECT_TRUE(stream_wait(s, 3, QUIET_MS));
	EXPECT_EQ(2, st->bad);
	EXPECT_EQ(3, st->missing);

	/* One is said to be there and was not written: this is what was there before. */
	frame = wait_for_frame(s);
	memset(frame, 0, 32);
	EXPECT_TRUE(stream_wait(s, 3, QUIET_MS));
	EXPECT_EQ(3, st->bad);
	EXPECT_EQ(4, st->missing);

	/* Some belong to somebody else. */
	s->id++;
	wait_for_frame(s);
	got = stream_consume(s);
	s->id--;
	EXPECT_LE(1, got);
	EXPECT_EQ(3 + got, st->bad);
	EXPECT_TRUE(stream_wait(s, 3, QUIET_MS));
	EXPECT_EQ(4 + got, st->missing);
	EXPECT_FALSE(stream_good(s));
}

FIXTURE(frames) {
};

FIXTURE_SETUP(frames)
{
}

FIXTURE_TEARDOWN(frames)
{
}

TEST_F(frames, arrives)
{
	struct iommu *iommu = iommu_init(MODE_IOMMUFD);
	char netdev[16];
	unsigned int i;
	int memfd;

	count = lu_find(devs, LU_MAX_DEVS);
	memfd = stream_memfd(count, 0);
	vmt_mark(VMT_START);
	for (i = 0; i < count; i++) {
		stream_init(&streams[i], i, memfd);
		ASSERT_EQ(0, stream_map(&streams[i], memfd, iommu));
		lu_open(&devs[i], iommu);
		stream_setup(&streams[i], &devs[i]);
	}
	for (i = 0; i < count; i++) {
		snprintf(netdev, sizeof(netdev), "net%u", i);
		stream_send(netdev);
	}
	for (i = 0; i < count; i++) {
		/* More than once round the ring. */
		EXPECT_TRUE(stream_wait(&streams[i], STREAM_FRAMES + 100, QUIET_MS));
		EXPECT_TRUE(stream_good(&streams[i]));
		EXPECT_EQ(0, streams[i].state->first);
	}
	for (i = 0; i < count; i++)
		check_sight(_metadata, &streams[i]);
	for (i = 0; i < count; i++) {
		snprintf(netdev, sizeof(netdev), "net%u", i);
		stream_end(netdev);
		EXPECT_TRUE(stream_wait_end(&streams[i], QUIET_MS));
		/* The last one was the last. */
		EXPECT_FALSE(stream_wait(&streams[i], 1, 200));
		stream_stop(&streams[i]);
		lu_close(&devs[i]);
	}
}

TEST_HARNESS_MAIN
