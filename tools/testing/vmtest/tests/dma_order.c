// SPDX-License-Identifier: GPL-2.0-only
/*
 * dma_order: a process that takes part in a live update dies between any two steps.
 *
 * Of the network cards, each with a stream, a session and memory of its own, one survives
 * all of it: its stream must stay whole while the others' owners die around it. A card
 * whose owner has died is stopped and can reach nothing; then it is an ordinary one that
 * works with other memory and another owner. Nothing of what happens meanwhile makes the
 * IOMMU reject anything: what is stopped does not try.
 *
 * In the first kernel one card goes through all the deaths there, and is then handed over
 * like the rest. In the second one there is a card for each of them.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lu_harness.h"
#include "stream.h"

#define MEMORY_TOKEN	1
#define QUIET_MS	3000
#define SOME		20

/* What a process has done last when it dies. */
enum leaving { OPENED, RECEIVING, CREATED, MEMORY_PRESERVED, CARD_PRESERVED, LOADED, LEFT };
enum arriving { SESSION, MEMORY, CARD, BOUND, MAPPED, ATTACHED, FINISHED, ARRIVED };

static const char *const leavings[] = {
	"device opened", "receiving", "session created", "memory preserved", "device preserved",
	"kernel loaded",
};

static const char *const arrivings[] = {
	"session retrieved", "memory retrieved", "device retrieved", "device bound",
	"memory mapped", "device attached", "session finished",
};

static struct lu_dev devs[LU_MAX_DEVS];
static struct stream streams[LU_MAX_DEVS];
static int sessions[LU_MAX_DEVS];
static unsigned int count;

static int must(int ret, struct lu_dev *dev, const char *what)
{
	if (ret < 0) {
		errno = -ret;
		vmt_die("%s: %s", dev->name, what);
	}
	return ret;
}

static const char *session_of(struct lu_dev *dev)
{
	static char name[16];

	snprintf(name, sizeof(name), "card%u", dev->nr);
	return name;
}

/* LUO's device can be open once only, so nobody keeps it. */
static int with_luo(int (*call)(int luo, const char *name), struct lu_dev *dev)
{
	int luo = luo_open_device(), ret;

	ret = luo < 0 ? luo : call(luo, session_of(dev));
	close(luo);
	return ret;
}

/* As the owner of an ordinary device does it. */
static void own(unsigned int i, enum leaving last)
{
	struct lu_dev *dev = &devs[i];
	struct stream *s = &streams[i];
	struct iommu *iommu;
	int memfd;

	iommu = iommu_init(MODE_IOMMUFD);
	memfd = stream_memfd(i + 1, 0);
	stream_init(s, i, memfd);
	must(stream_map(s, memfd, iommu), dev, "map");
	lu_open(dev, iommu);
	if (last == OPENED)
		return;
	stream_setup(s, dev);
	if (!stream_wait(s, SOME, QUIET_MS) || !stream_good(s))
		vmt_die("%s: no good stream", dev->name);
	if (last == RECEIVING)
		return;
	sessions[i] = must(with_luo(luo_create_session, dev), dev, "create session");
	if (last == CREATED)
		return;
	must(lu_preserve(sessions[i], memfd, MEMORY_TOKEN), dev, "preserve memory");
	if (last == MEMORY_PRESERVED)
		return;
	must(lu_preserve(sessions[i], dev->vfio->fd, dev->token), dev, "preserve");
	if (last == LOADED)
		vmt_kexec_load();
}

/* And as the one who gets it does. */
static void inherit(unsigned int i, enum arriving last)
{
	struct lu_dev *dev = &devs[i];
	struct stream *s = &streams[i];
	struct iommu *iommu;
	int memfd, fd;

	sessions[i] = must(with_luo(luo_retrieve_session, dev), dev, "retrieve session");
	if (last == SESSION)
		return;
	memfd = must(lu_retrieve(sessions[i], MEMORY_TOKEN), dev, "retrieve memory");
	stream_init(s, i, memfd);
	if (last == MEMORY)
		return;
	fd = must(lu_retrieve(sessions[i], dev->token), dev, "retrieve");
	if (last == CARD)
		return;
	iommu = iommu_init(MODE_IOMMUFD);
	must(lu_bind_iommufd(fd, iommu), dev, "bind");
	if (last == BOUND)
		return;
	must(stream_map(s, memfd, iommu), dev, "map");
	if (last == MAPPED)
		return;
	must(lu_attach(fd, iommu), dev, "attach");
	lu_setup(dev, fd, iommu);
	stream_resume(s, dev);
	if (!stream_wait(s, SOME, QUIET_MS) || !stream_good(s))
		vmt_die("%s: no good stream", dev->name);
	if (last == ATTACHED)
		return;
	must(luo_session_finish(sessions[i]), dev, "finish");
	if (last == FINISHED)
		return;
	close(sessions[i]);
}

/* A process gets so far and dies. */
static void die_after(struct __test_metadata *_metadata, unsigned int i, int last)
{
	int status, pipes[2];
	pid_t pid;
	char c;

	ASSERT_EQ(0, pipe(pipes));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(pipes[0]);
		if (vmt_stage() == 1)
			own(i, last);
		else
			inherit(i, last);
		if (write(pipes[1], "", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(pipes[1]);
	EXPECT_EQ(1, read(pipes[0], &c, 1)) {
		TH_LOG("it does not get as far as \"%s\"",
		       vmt_stage() == 1 ? leavings[last] : arrivings[last]);
	}
	close(pipes[0]);
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
}

/* Stopped, free, and of use for anybody. */
static void check_ordinary(struct __test_metadata *_metadata, unsigned int i, const char *when)
{
	struct lu_dev *dev = &devs[i];

	EXPECT_STREQ("none", lu_state(dev->bdf)) {
		TH_LOG("%s: its owner died after \"%s\"", dev->name, when);
	}
	EXPECT_FALSE(lu_bus_master(dev->bdf)) {
		TH_LOG("%s: its owner died after \"%s\", it is still a bus master", dev->name,
		       when);
	}
	own(i, RECEIVING);
	vmt_step("%s: works, after its owner died after \"%s\"", dev->name, when);
}

static void disown(unsigned int i)
{
	struct iommu *iommu = devs[i].vfio->iommu;

	stream_stop(&streams[i]);
	lu_close(&devs[i]);
	munmap(streams[i].base, STREAM_SIZE);
	iommu_cleanup(iommu);
}

static void expect_survivor(struct __test_metadata *_metadata)
{
	EXPECT_TRUE(stream_wait(&streams[0], SOME, QUIET_MS)) {
		TH_LOG("%s: its stream stops", devs[0].name);
	}
	EXPECT_TRUE(stream_good(&streams[0]));
}

FIXTURE(dma_order) {
};

FIXTURE_SETUP(dma_order)
{
	ASSERT_EQ(1 + ARRIVED, lu_find(devs, LU_MAX_DEVS));
	count = 1 + ARRIVED;
}

FIXTURE_TEARDOWN(dma_order)
{
}

TEST_F(dma_order, leave)
{
	char netdev[16];
	unsigned int i;
	int last;

	vmt_mark(VMT_START);
	for (i = 0; i < count; i++) {
		snprintf(netdev, sizeof(netdev), "net%u", i);
		stream_send(netdev);
	}
	own(0, CARD_PRESERVED);
	for (last = OPENED; last < LEFT; last++) {
		die_after(_metadata, 1, last);
		check_ordinary(_metadata, 1, leavings[last]);
		disown(1);
		expect_survivor(_metadata);
	}
	for (i = 1; i < count; i++)
		own(i, CARD_PRESERVED);
	vmt_mark(VMT_PRESERVED);
	vmt_kexec_load();
	expect_survivor(_metadata);
	ASSERT_TRUE(__test_passed(_metadata));
	vmt_step("jump");
	ASSERT_EQ(0, vmt_kexec());
}

TEST_F(dma_order, arrive)
{
	unsigned int i;
	int last;

	for (i = 0; i < count; i++)
		vmt_bind(devs[i].bdf, "vfio-pci");
	inherit(0, ATTACHED);
	for (last = SESSION; last < ARRIVED; last++) {
		die_after(_metadata, 1 + last, last);
		check_ordinary(_metadata, 1 + last, arrivings[last]);
		expect_survivor(_metadata);
	}
	EXPECT_EQ(0, luo_session_finish(sessions[0]));
	vmt_mark(VMT_FINISHED);
	close(sessions[0]);
	expect_survivor(_metadata);
	for (i = 1; i < count; i++)
		disown(i);
	stream_end("net0");
	EXPECT_TRUE(stream_wait_end(&streams[0], QUIET_MS));
	EXPECT_TRUE(stream_good(&streams[0]));
	disown(0);
	vmt_mark(VMT_CLOSED);
}

int main(void)
{
	char *argv[] = { "dma_order", "-t", vmt_stage() == 1 ? "leave" : "arrive", NULL };

	return test_harness_run(3, argv);
}
