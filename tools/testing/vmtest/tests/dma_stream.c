// SPDX-License-Identifier: GPL-2.0-only
/*
 * dma_stream: network cards write what they receive into guest memory, before, during
 * and after a live update, and not a frame gets lost.
 *
 * Card n is fed by [stream.net<n>]. The first kernel sets all of them up in one IOAS,
 * preserves their memory and then them, and leaves. In the next one the memory alone
 * shows that frames went on to arrive when nobody was there; then each card is bound and
 * attached to an IOAS with the same memory in the same place, and the session finished,
 * all that with traffic on. In the end every number that was sent must have come.
 *
 * "vmtest.order=" says in which order the second kernel does what: "m" retrieves the
 * memory, a digit retrieves the card of this number, and a letter from A on attaches it.
 * Without it, it is "m0A1B" and so on.
 *
 * The unpatched kernel cannot preserve a card. There the same run shows that the stream
 * stops, and where.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lu_harness.h"
#include "stream.h"

#define SESSION		"dma"
#define MEMORY_TOKEN	1
/* Steps of an order that retrieve something. */
#define RETRIEVES	"m01234567"

/* Frames that have to come in each phase. */
#define MANY		50
/* None for so long, and the stream has stopped: the sender's pauses are 5 ms. */
#define QUIET_MS	3000
#define QUIET_STOCK_MS	1000

static struct lu_dev devs[LU_MAX_DEVS];
static struct stream streams[LU_MAX_DEVS];
static unsigned int count;
static struct iommu *iommu;
static int luo, session = -1, memfd = -1;
static int fds[LU_MAX_DEVS];

static const char *netdev(unsigned int i)
{
	static char name[16];

	snprintf(name, sizeof(name), "net%u", i);
	return name;
}

/* Until so many more frames have come in each stream, none missing and none bad. */
static void expect_frames(struct __test_metadata *_metadata, unsigned int frames,
			  const char *when)
{
	for (unsigned int i = 0; i < count; i++) {
		EXPECT_TRUE(stream_wait(&streams[i], frames, QUIET_MS)) {
			TH_LOG("%s: %s, the stream stops at number %lld", devs[i].name, when,
			       (long long)streams[i].state->expected - 1);
		}
		EXPECT_TRUE(stream_good(&streams[i])) {
			TH_LOG("%s: %s", devs[i].name, when);
		}
	}
}

/* ---- Before the jump ------------------------------------------------------- */

static void leave(struct __test_metadata *_metadata)
{
	unsigned int i;

	memfd = stream_memfd(count, 0);
	for (i = 0; i < count; i++) {
		stream_init(&streams[i], i, memfd);
		ASSERT_EQ(0, stream_map(&streams[i], memfd, iommu));
	}
	for (i = 0; i < count; i++) {
		lu_open(&devs[i], iommu);
		stream_setup(&streams[i], &devs[i]);
		stream_send(netdev(i));
	}
	expect_frames(_metadata, MANY, "in the first kernel");
	for (i = 0; i < count; i++)
		EXPECT_EQ(0, streams[i].state->first);

	session = luo_create_session(luo, SESSION);
	ASSERT_LE(0, session);
	ASSERT_EQ(0, lu_preserve(session, memfd, MEMORY_TOKEN));
	for (i = 0; i < count; i++) {
		ASSERT_EQ(vmt_stock() ? -ENOENT : 0,
			  lu_preserve(session, devs[i].vfio->fd, devs[i].token)) {
			TH_LOG("%s: preserve", devs[i].name);
		}
		if (!vmt_stock())
			vmt_step("%s: preserved", devs[i].name);
	}
	vmt_mark(VMT_PRESERVED);
	vmt_kexec_load();
	expect_frames(_metadata, MANY, "when it is preserved");
	/* What has failed so far would be forgotten with this kernel. */
	ASSERT_TRUE(__test_passed(_metadata));

	for (i = 0; i < count; i++) {
		stream_consume(&streams[i]);
		streams[i].state->marked = streams[i].state->expected;
		vmt_step("%s: %lld frames so far; jump", devs[i].name,
			 (long long)streams[i].state->received);
	}
	ASSERT_EQ(0, vmt_kexec());
}

/* ---- After the jump -------------------------------------------------------- */

/* What the memory alone can tell. Nobody has touched the card. */
static void first_look(struct __test_metadata *_metadata, struct stream *s, struct lu_dev *dev)
{
	struct stream_state *st = s->state;

	stream_consume(s);
	vmt_step("%s: %lld frames have come since the jump", dev->name,
		 (long long)(st->expected - st->marked));
	if (vmt_stock()) {
		EXPECT_FALSE(stream_wait(s, 1, QUIET_STOCK_MS)) {
			TH_LOG("%s: the stream goes on in the unpatched kernel", dev->name);
		}
		vmt_step("%s: the stream has stopped at number %lld", dev->name,
			 (long long)st->expected - 1);
		return;
	}
	ASSERT_TRUE(stream_wait(s, MANY, QUIET_MS)) {
		TH_LOG("%s: the stream has stopped at number %lld", dev->name,
		       (long long)st->expected - 1);
	}
	EXPECT_TRUE(stream_good(s));
}

/* Its memory shows at once what has come, and is mapped where it was. */
static void take_memory(struct __test_metadata *_metadata)
{
	unsigned int i;

	memfd = lu_retrieve(session, MEMORY_TOKEN);
	ASSERT_LE(0, memfd);
	for (i = 0; i < count; i++) {
		stream_init(&streams[i], i, memfd);
		first_look(_metadata, &streams[i], &devs[i]);
		if (!vmt_stock())
			ASSERT_EQ(0, stream_map(&streams[i], memfd, iommu));
	}
}

static void take_card(struct __test_metadata *_metadata, unsigned int i)
{
	vmt_bind(devs[i].bdf, "vfio-pci");
	fds[i] = lu_retrieve(session, devs[i].token);
	ASSERT_LE(0, fds[i]) {
		TH_LOG("%s: retrieve", devs[i].name);
	}
}

/* The frozen page table is replaced by the new one. */
static void attach_card(struct __test_metadata *_metadata, unsigned int i)
{
	struct lu_dev *dev = &devs[i];

	ASSERT_EQ(0, lu_bind_iommufd(fds[i], iommu)) {
		TH_LOG("%s: bind", dev->name);
	}
	EXPECT_EQ(-EBUSY, luo_session_finish(session));
	ASSERT_EQ(0, lu_attach(fds[i], iommu)) {
		TH_LOG("%s: attach", dev->name);
	}
	lu_setup(dev, fds[i], iommu);
	stream_resume(&streams[i], dev);
	EXPECT_TRUE(stream_wait(&streams[i], MANY, QUIET_MS)) {
		TH_LOG("%s: attached, the stream stops at number %lld", dev->name,
		       (long long)streams[i].state->expected - 1);
	}
	vmt_step("%s: attached, frame %lld", dev->name,
		 (long long)streams[i].state->expected - 1);
}

static const char *choose_order(void)
{
	static char order[1 + 2 * LU_MAX_DEVS + 1] = "m";
	const char *param = vmt_param("order");
	unsigned int i;

	for (i = 0; i < count; i++)
		sprintf(order + strlen(order), "%c%c", '0' + i, 'A' + i);
	return param ? param : order;
}

static void arrive(struct __test_metadata *_metadata)
{
	const char *order = choose_order(), *step;
	unsigned int i;

	session = luo_retrieve_session(luo, SESSION);
	ASSERT_LE(0, session);
	if (vmt_stock()) {
		take_memory(_metadata);
		vmt_mark(VMT_RETRIEVED);
		EXPECT_EQ(0, luo_session_finish(session));
		vmt_mark(VMT_FINISHED);
		return;
	}

	ASSERT_EQ(1 + 2 * count, strlen(order));
	for (step = order; *step; step++) {
		EXPECT_EQ(-EBUSY, luo_session_finish(session));
		if (*step == 'm')
			take_memory(_metadata);
		else if (*step < 'A')
			take_card(_metadata, *step - '0');
		else
			attach_card(_metadata, *step - 'A');
		if (strchr(RETRIEVES, *step) && !strpbrk(step + 1, RETRIEVES))
			vmt_mark(VMT_RETRIEVED);
	}
	vmt_mark(VMT_OPENED);
	expect_frames(_metadata, MANY, "when it is attached");

	EXPECT_EQ(0, luo_session_finish(session));
	vmt_mark(VMT_FINISHED);
	close(session);
	expect_frames(_metadata, MANY, "when the session is finished");

	for (i = 0; i < count; i++)
		stream_end(netdev(i));
	for (i = 0; i < count; i++) {
		struct stream_state *st = streams[i].state;

		EXPECT_TRUE(stream_wait_end(&streams[i], QUIET_MS)) {
			TH_LOG("%s: the sender's last frame does not come", devs[i].name);
		}
		EXPECT_TRUE(stream_good(&streams[i]));
		EXPECT_EQ(st->expected, st->received);
		vmt_step("%s: %lld frames, %lld missing, %lld bad", devs[i].name,
			 (long long)st->received, (long long)st->missing, (long long)st->bad);
		stream_stop(&streams[i]);
		lu_close(&devs[i]);
	}
	vmt_mark(VMT_CLOSED);
}

FIXTURE(dma_stream) {
};

FIXTURE_SETUP(dma_stream)
{
	luo = luo_open_device();
	ASSERT_LE(0, luo);
	count = lu_find(devs, LU_MAX_DEVS);
	iommu = iommu_init(MODE_IOMMUFD);
}

FIXTURE_TEARDOWN(dma_stream)
{
}

TEST_F(dma_stream, leave)
{
	vmt_mark(VMT_START);
	leave(_metadata);
}

TEST_F(dma_stream, arrive)
{
	arrive(_metadata);
}

int main(void)
{
	char *argv[] = { "dma_stream", "-t", vmt_stage() == 1 ? "leave" : "arrive", NULL };

	return test_harness_run(3, argv);
}
