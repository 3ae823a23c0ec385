// SPDX-License-Identifier: GPL-2.0-only
/*
 * dma_nvme: reads and writes that are under way when the kernel is replaced complete,
 * each once, with the right data.
 *
 * The drive takes its time (throttling.iops-total), so that a queue full of commands
 * lasts from the jump until the device is attached again; then it may go on fast. Where a command's
 * data goes is settled when the device takes it; its completion is another matter: this
 * is written when it is done, in the gap and to whatever the IOMMU translates to then.
 *
 * Queues and data are in a preserved memfd, with all that the driver knows.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <linux/pci_regs.h>

#include "lu_harness.h"
#include "nvme_regs.h"

#define SESSION		"dma"
#define MEMORY_TOKEN	1
#define IOVA		0x2000000000ULL

/* One page each; reads and writes take turns. */
#define COMMANDS	192
#define PAGE		4096
#define BLOCKS		(PAGE / 512)
/* What a drive may need for one command is far below. */
#define QUIET_US	5000000

#define ADMIN_ENTRIES	64
#define IO_ENTRIES	256
#define ADMIN		0
#define IO		1

/* From the start of the memory. */
#define SQ_OFF(q)	((q) ? 0x4000 : 0x2000)
#define CQ_OFF(q)	((q) ? 0x8000 : 0x3000)
#define LIST_OFF	0x9000
#define DATA_OFF	0x10000		/* of each command */
#define SCRATCH_OFF	(DATA_OFF + COMMANDS * PAGE)
#define SCRATCH_PAGES	(COMMANDS / 2)
#define MEMORY_SIZE	(SCRATCH_OFF + SCRATCH_PAGES * PAGE)

/* At the start of the memory. */
struct state {
	struct {
		uint32_t tail, head, phase;
	} queue[2];
	uint32_t submitted, failed, strange;
	uint32_t completed;		/* commands that did, each counted once */
	uint32_t times[COMMANDS + 1];	/* by command identifier: how often it did */
};

static struct lu_dev dev;
static struct iommu *iommu;
static int luo, session = -1, memfd = -1;
static struct state *st;
static char *memory;

static void pause_ms(void)
{
	const struct timespec ms = { .tv_nsec = 1000000 };

	nanosleep(&ms, NULL);
}

static void map_memory(void)
{
	memory = mmap(NULL, MEMORY_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	if (memory == MAP_FAILED)
		vmt_die("cannot map the memory");
	st = (void *)memory;
}

static unsigned int entries(int q)
{
	return q ? IO_ENTRIES : ADMIN_ENTRIES;
}

/* ---- The drive ------------------------------------------------------------- */

static void wait_ready(bool ready)
{
	uint64_t end = lu_now_us() + QUIET_US;

	while ((lu_read32(&dev, NVME_CSTS) & NVME_CSTS_RDY) != ready) {
		if (lu_now_us() > end)
			vmt_die("%s: status is %#x", dev.name, lu_read32(&dev, NVME_CSTS));
		pause_ms();
	}
}

/* The doorbell is rung by ring(). */
static void submit(int q, struct nvme_cmd cmd)
{
	struct nvme_cmd *sq = (void *)(memory + SQ_OFF(q));

	sq[st->queue[q].tail] = cmd;
	st->queue[q].tail = (st->queue[q].tail + 1) % entries(q);
	st->submitted++;
}

static void ring(int q)
{
	__sync_synchronize();
	lu_write32(&dev, NVME_SQTAIL(q), st->queue[q].tail);
}

/* Take what has completed. The device need not be there. */
static unsigned int reap(int q)
{
	volatile struct nvme_cqe *cq = (void *)(memory + CQ_OFF(q)), *cqe;
	unsigned int count = 0;

	for (;; count++) {
		cqe = &cq[st->queue[q].head];
		if ((cqe->status & 1) != st->queue[q].phase)
			break;
		__sync_synchronize();
		if (cqe->status >> 1) {
			fprintf(stderr, "%s: command %u failed with status %#x\n", dev.name,
				cqe->cid, cqe->status >> 1);
			st->failed++;
		}
		if (cqe->cid > COMMANDS)
			st->strange++;
		else if (!st->times[cqe->cid]++)
			st->completed++;
		if (++st->queue[q].head == entries(q)) {
			st->queue[q].head = 0;
			st->queue[q].phase ^= 1;
		}
	}
	if (count && dev.vfio)
		lu_write32(&dev, NVME_CQHEAD(q), st->queue[q].head);
	return count;
}

/* Until so many have completed; false if none does for long. */
static bool reap_until(int q, unsigned int completed)
{
	uint64_t end = lu_now_us() + QUIET_US;

	while (st->completed < completed) {
		if (reap(q)) {
			end = lu_now_us() + QUIET_US;
			continue;
		}
		if (lu_now_us() > end)
			return false;
		pause_ms();
	}
	return true;
}

/* One command that is not part of the crowd: its identifier is COMMANDS. */
static bool run(int q, struct nvme_cmd cmd)
{
	cmd.cid = COMMANDS;
	if (st->times[COMMANDS])
		st->completed--;
	st->times[COMMANDS] = 0;
	submit(q, cmd);
	ring(q);
	return reap_until(q, st->completed + 1) && !st->failed;
}

static bool create_queues(void)
{
	return run(ADMIN, (struct nvme_cmd){
			.opcode = NVME_CREATE_CQ,
			.prp1 = IOVA + CQ_OFF(IO),
			.cdw10 = { (IO_ENTRIES - 1) << 16 | IO, 1 },
		}) && run(ADMIN, (struct nvme_cmd){
			.opcode = NVME_CREATE_SQ,
			.prp1 = IOVA + SQ_OFF(IO),
			.cdw10 = { (IO_ENTRIES - 1) << 16 | IO, IO << 16 | 1 },
		});
}

static void set_up(void)
{
	lu_set_command(&dev, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	lu_write32(&dev, NVME_CC, 0);
	wait_ready(false);
	st->queue[ADMIN].phase = 1;
	st->queue[IO].phase = 1;
	lu_write32(&dev, NVME_AQA, (ADMIN_ENTRIES - 1) << 16 | (ADMIN_ENTRIES - 1));
	lu_write64(&dev, NVME_ASQ, IOVA + SQ_OFF(ADMIN));
	lu_write64(&dev, NVME_ACQ, IOVA + CQ_OFF(ADMIN));
	lu_write32(&dev, NVME_CC, NVME_CC_EN);
	wait_ready(true);
}

/* ---- Data ------------------------------------------------------------------ */

static bool is_write(unsigned int cid)
{
	return cid % 2;
}

static void fill(char *page, unsigned int cid)
{
	for (unsigned int i = 0; i < PAGE / 4; i++)
		((uint32_t *)page)[i] = 0x9e3779b9u * (cid * PAGE + i + 1);
}

static bool is_filled(const char *page, unsigned int cid)
{
	char want[PAGE];

	fill(want, cid);
	return !memcmp(page, want, PAGE);
}

/* What reads find is at the start of the drive, and what writes leave follows. */
static uint32_t block(unsigned int cid)
{
	return (cid / 2 + is_write(cid) * SCRATCH_PAGES) * BLOCKS;
}

/* All pages of one kind at once: as one command, it does not wait its turns. */
static bool run_all(uint8_t opcode, bool writes)
{
	uint64_t *list = (void *)(memory + LIST_OFF);

	for (unsigned int i = 1; i < SCRATCH_PAGES; i++)
		list[i - 1] = IOVA + SCRATCH_OFF + i * PAGE;
	return run(IO, (struct nvme_cmd){
		.opcode = opcode,
		.nsid = 1,
		.prp1 = IOVA + SCRATCH_OFF,
		.prp2 = IOVA + LIST_OFF,
		.cdw10 = { block(writes), 0, SCRATCH_PAGES * BLOCKS - 1 },
	});
}

static void submit_all(void)
{
	unsigned int cid;

	for (cid = 0; cid < COMMANDS; cid++) {
		char *page = memory + DATA_OFF + cid * PAGE;

		if (is_write(cid))
			fill(page, cid);
		else
			memset(page, 0, PAGE);
		submit(IO, (struct nvme_cmd){
			.opcode = is_write(cid) ? NVME_WRITE : NVME_READ,
			.cid = cid,
			.nsid = 1,
			.prp1 = IOVA + DATA_OFF + cid * PAGE,
			.cdw10 = { block(cid), 0, BLOCKS - 1 },
		});
	}
	ring(IO);
}

/* ---- The test -------------------------------------------------------------- */

FIXTURE(dma_nvme) {
};

FIXTURE_SETUP(dma_nvme)
{
	luo = luo_open_device();
	ASSERT_LE(0, luo);
	lu_find_one(&dev, 0x1b36, 0x0010, 0);
	iommu = iommu_init(MODE_IOMMUFD);
}

FIXTURE_TEARDOWN(dma_nvme)
{
}

TEST_F(dma_nvme, leave)
{
	unsigned int i;

	vmt_mark(VMT_START);
	memfd = memfd_create("nvme", MFD_CLOEXEC);
	ASSERT_LE(0, memfd);
	ASSERT_EQ(0, ftruncate(memfd, MEMORY_SIZE));
	map_memory();
	ASSERT_EQ(0, lu_map_file(iommu, memfd, 0, MEMORY_SIZE, IOVA));
	lu_open(&dev, iommu);
	set_up();
	ASSERT_TRUE(create_queues());
	for (i = 0; i < SCRATCH_PAGES; i++)
		fill(memory + SCRATCH_OFF + i * PAGE, 2 * i);
	ASSERT_TRUE(run_all(NVME_WRITE, false));

	session = luo_create_session(luo, SESSION);
	ASSERT_LE(0, session);
	ASSERT_EQ(0, lu_preserve(session, memfd, MEMORY_TOKEN));
	ASSERT_EQ(vmt_stock() ? -ENOENT : 0, lu_preserve(session, dev.vfio->fd, dev.token));
	vmt_mark(VMT_PRESERVED);
	vmt_kexec_load();

	memset(st->times, 0, sizeof(st->times));
	st->completed = 0;
	submit_all();
	ASSERT_TRUE(reap_until(IO, 1));
	vmt_step("%s: %u commands under way; jump", dev.name, COMMANDS - st->completed);
	ASSERT_TRUE(__test_passed(_metadata));
	ASSERT_EQ(0, vmt_kexec());
}

TEST_F(dma_nvme, arrive)
{
	unsigned int i, before, bad = 0;

	session = luo_retrieve_session(luo, SESSION);
	ASSERT_LE(0, session);
	memfd = lu_retrieve(session, MEMORY_TOKEN);
	ASSERT_LE(0, memfd);
	map_memory();

	before = st->completed;
	reap(IO);
	vmt_step("%s: %u commands have completed since the jump", dev.name,
		 st->completed - before);
	if (vmt_stock()) {
		before = st->completed;
		sleep(1);
		reap(IO);
		EXPECT_GT(COMMANDS, before);
		EXPECT_EQ(before, st->completed) {
			TH_LOG("commands complete in the unpatched kernel");
		}
		vmt_step("%s: no more complete, %u are lost", dev.name, COMMANDS - before);
		vmt_mark(VMT_OPENED);
		return;
	}
	EXPECT_LT(before, st->completed);
	/* Nobody has touched the drive yet. */
	ASSERT_TRUE(reap_until(IO, st->completed + 5)) {
		TH_LOG("%u of %u commands complete, and then no more", st->completed, COMMANDS);
	}

	vmt_bind(dev.bdf, "vfio-pci");
	ASSERT_EQ(0, lu_map_file(iommu, memfd, 0, MEMORY_SIZE, IOVA));
	ASSERT_EQ(0, lu_take(&dev, session, iommu));
	vmt_mark(VMT_RETRIEVED);
	vmt_mark(VMT_OPENED);
	before = st->completed;
	EXPECT_GT(COMMANDS - 5, before) {
		TH_LOG("the drive is too fast to tell");
	}
	vmt_step("%s: attached, %u commands still under way", dev.name, COMMANDS - before);
	lu_write32(&dev, NVME_CQHEAD(IO), st->queue[IO].head);
	ASSERT_EQ(0, luo_session_finish(session));
	vmt_mark(VMT_FINISHED);
	close(session);

	ASSERT_TRUE(reap_until(IO, before + 5));
	vmt_ask("throttle disk0 100000");
	ASSERT_TRUE(reap_until(IO, COMMANDS)) {
		TH_LOG("%u of %u commands complete, and then no more", st->completed, COMMANDS);
	}
	for (i = 0; i < COMMANDS; i++)
		EXPECT_EQ(1, st->times[i]) {
			TH_LOG("command %u", i);
		}
	EXPECT_EQ(0, st->failed);
	EXPECT_EQ(0, st->strange);
	for (i = 0; i < COMMANDS; i++)
		bad += !is_filled(memory + DATA_OFF + i * PAGE, i);
	EXPECT_EQ(0, bad);

	/* It takes new ones, and what was written is there. */
	memset(memory + SCRATCH_OFF, 0, SCRATCH_PAGES * PAGE);
	ASSERT_TRUE(run_all(NVME_READ, true));
	for (i = 0; i < SCRATCH_PAGES; i++)
		EXPECT_TRUE(is_filled(memory + SCRATCH_OFF + i * PAGE, 2 * i + 1)) {
			TH_LOG("what command %u has written", 2 * i + 1);
		}
	vmt_step("%s: all commands complete, with the right data", dev.name);
	lu_close(&dev);
	vmt_mark(VMT_CLOSED);
}

int main(void)
{
	char *argv[] = { "dma_nvme", "-t", vmt_stage() == 1 ? "leave" : "arrive", NULL };

	return test_harness_run(3, argv);
}
