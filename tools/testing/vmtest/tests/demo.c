// SPDX-License-Identifier: GPL-2.0-only
/*
 * demo: what "make demo" shows. A network card receives numbered frames from the host
 * while the kernel below it is replaced; an edu and an NVMe drive go with it.
 *
 * The first kernel sets all of them up, preserves their memory and then them, and
 * leaves. The second one takes them over, attaches them to an IOAS with the same memory
 * in the same place, compares what they have with what was noted down, and finishes.
 * Nobody touches the card from the jump until it is attached.
 *
 * The unpatched kernel cannot preserve a device. There the stream stops; the devices are
 * opened anew, which resets them, and the card is set up anew, so that what came and what
 * did not can be counted.
 *
 * Marks: USER1 when preserving begins, USER2 when the first device is about to be bound
 * and attached.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lu_harness.h"
#include "stream.h"

#define SESSION		"demo"
#define NOTES_TOKEN	1
#define STREAM_TOKEN	2
#define NETDEV		"net0"

/* Frames that are waited for in each phase: a second of them. */
#define MANY		200
#define QUIET_MS	3000

static struct lu_dev devs[LU_MAX_DEVS];
static unsigned int count;
static struct lu_dev *nic;	/* the first one */
static struct stream stream;
static struct iommu *iommu;
static int luo, session = -1, notes = -1, memfd = -1;

static void map_memory(struct __test_metadata *_metadata)
{
	ASSERT_EQ(0, stream_map(&stream, memfd, iommu));
	for (unsigned int i = 0; i < count; i++)
		ASSERT_EQ(0, lu_map_file(iommu, notes, (uint64_t)i * LU_DMA_SIZE, LU_DMA_SIZE,
					 devs[i].dma.iova));
}

/* A second of the stream, whole. */
static void watch_stream(struct __test_metadata *_metadata, const char *when)
{
	EXPECT_TRUE(stream_wait(&stream, MANY, QUIET_MS)) {
		TH_LOG("%s, the stream stops at number %lld", when,
		       (long long)stream.state->expected - 1);
	}
	if (!vmt_stock() || vmt_stage() == 1) {
		EXPECT_TRUE(stream_good(&stream)) {
			TH_LOG("%s", when);
		}
	}
}

/* ---- Before the jump ------------------------------------------------------- */

static int irq_of(struct lu_dev *dev)
{
	return dev->ops->irqs & 1 << VFIO_PCI_MSIX_IRQ_INDEX ? VFIO_PCI_MSIX_IRQ_INDEX :
							       VFIO_PCI_MSI_IRQ_INDEX;
}

static void program(struct __test_metadata *_metadata, struct lu_dev *dev)
{
	if (dev == nic) {
		stream_setup(&stream, dev);
		dev->ops->program(dev, 1);
		vmt_step("%s: receives", dev->name);
		return;
	}
	EXPECT_TRUE(lu_program(dev, 1, irq_of(dev)));
	vmt_step("%s: programmed, %s in use", dev->name, lu_irq_name(dev->irq_index));
}

TEST(leave)
{
	unsigned int i;

	vmt_mark(VMT_START);
	notes = lu_notes_create(devs, count);
	memfd = stream_memfd(1, 0);
	stream_init(&stream, 0, memfd);
	map_memory(_metadata);
	for (i = 0; i < count; i++) {
		lu_open(&devs[i], iommu);
		program(_metadata, &devs[i]);
	}
	stream_send(NETDEV);
	watch_stream(_metadata, "in the first kernel");
	ASSERT_EQ(0, stream.state->first);

	vmt_mark(VMT_USER1);
	session = luo_create_session(luo, SESSION);
	ASSERT_LE(0, session);
	ASSERT_EQ(0, lu_preserve(session, notes, NOTES_TOKEN));
	ASSERT_EQ(0, lu_preserve(session, memfd, STREAM_TOKEN));
	vmt_step("memory preserved");
	for (i = 0; i < count; i++) {
		ASSERT_EQ(vmt_stock() ? -ENOENT : 0,
			  lu_preserve(session, devs[i].vfio->fd, devs[i].token)) {
			TH_LOG("%s: preserve", devs[i].name);
		}
		vmt_step("%s: %s", devs[i].name,
			 vmt_stock() ? "cannot be preserved" : "preserved");
	}
	vmt_mark(VMT_PRESERVED);
	vmt_kexec_load();
	watch_stream(_metadata, "when it is preserved");
	for (i = 0; i < count; i++)
		lu_note_down(&devs[i]);
	/* What has failed so far would be forgotten with this kernel. */
	ASSERT_TRUE(__test_passed(_metadata));

	vmt_ask("snapshot before");
	stream_consume(&stream);
	stream.state->marked = stream.state->expected;
	vmt_step("%lld frames so far; jump", (long long)stream.state->received);
	ASSERT_EQ(0, vmt_kexec());
}

/* ---- After the jump -------------------------------------------------------- */

/* Nobody has touched the card: what the memory alone can tell. */
static void first_look(struct __test_metadata *_metadata)
{
	struct stream_state *st = stream.state;

	stream_consume(&stream);
	vmt_step("%lld frames have come since the jump, %lld missing",
		 (long long)(st->expected - st->marked), (long long)st->missing);
	if (!vmt_stock())
		return;
	EXPECT_FALSE(stream_wait(&stream, 1, 500)) {
		TH_LOG("the stream goes on in the unpatched kernel");
	}
	vmt_step("the stream has stopped at number %lld", (long long)st->expected - 1);
}

static void take_over(struct __test_metadata *_metadata)
{
	int fds[LU_MAX_DEVS];
	unsigned int i;

	for (i = 0; i < count; i++) {
		vmt_bind(devs[i].bdf, "vfio-pci");
		fds[i] = lu_retrieve(session, devs[i].token);
		ASSERT_LE(0, fds[i]) {
			TH_LOG("%s: retrieve", devs[i].name);
		}
	}
	vmt_mark(VMT_RETRIEVED);
	vmt_step("%u devices retrieved", count);
	map_memory(_metadata);
	vmt_mark(VMT_USER2);
	for (i = 0; i < count; i++) {
		ASSERT_EQ(0, lu_bind_iommufd(fds[i], iommu));
		ASSERT_EQ(0, lu_attach(fds[i], iommu));
	}
	vmt_mark(VMT_OPENED);
	for (i = 0; i < count; i++)
		lu_setup(&devs[i], fds[i], iommu);
	stream_resume(&stream, nic);
	vmt_step("%u devices attached to a new IOAS", count);
}

static void open_anew(struct __test_metadata *_metadata)
{
	unsigned int i;

	vmt_mark(VMT_RETRIEVED);
	map_memory(_metadata);
	vmt_mark(VMT_USER2);
	for (i = 0; i < count; i++)
		lu_open(&devs[i], iommu);
	vmt_mark(VMT_OPENED);
	vmt_step("%u devices opened anew", count);
}

static void compare(struct __test_metadata *_metadata)
{
	unsigned int i, lost, changed, all_lost = 0, all_changed = 0, regs = 0, bytes = 0;

	lu_quiet = vmt_stock();
	for (i = 0; i < count; i++) {
		struct lu_dev *dev = &devs[i];

		changed = lu_config_changed(dev);
		/* No bus mastering yet: the card still has its old ring. */
		if (vmt_stock())
			lu_set_command(dev, PCI_COMMAND_MEMORY);
		lost = lu_regs_changed(dev);
		vmt_step("%s: %u of %u registers and %u of %u bytes of config space changed",
			 dev->name, lost, dev->saved->nr_regs, changed, dev->saved->cfg_size);
		all_changed += changed;
		all_lost += lost;
		bytes += dev->saved->cfg_size;
		regs += dev->saved->nr_regs;
	}
	if (vmt_stock()) {
		EXPECT_NE(0, all_lost);
		EXPECT_NE(0, all_changed);
	} else {
		EXPECT_EQ(0, all_lost);
		EXPECT_EQ(0, all_changed);
	}
	vmt_figure("registers", regs);
	vmt_figure("registers-lost", all_lost);
	vmt_figure("config-bytes", bytes);
	vmt_figure("config-bytes-changed", all_changed);
}

/* The devices beside the card go on as they were set up; on the unpatched kernel, anew. */
static void use_devices(struct __test_metadata *_metadata)
{
	for (unsigned int i = 0; i < count; i++) {
		struct lu_dev *dev = &devs[i];

		if (dev == nic)
			continue;
		if (vmt_stock()) {
			EXPECT_TRUE(lu_program(dev, 1, dev->saved->irq_index));
			continue;
		}
		lu_irq_enable(dev, dev->saved->irq_index);
		EXPECT_TRUE(lu_irq_test(dev));
		EXPECT_TRUE(dev->ops->dma(dev, 2));
		vmt_step("%s: %s and DMA work", dev->name, lu_irq_name(dev->irq_index));
	}
}

/* The state is in the memory that setting the card up clears. */
static void set_up_anew(void)
{
	struct stream_state st = *stream.state;

	stream_setup(&stream, nic);
	st.next = 0;
	*stream.state = st;
	vmt_step("%s: set up anew", nic->name);
}

TEST(arrive)
{
	struct stream_state *st;
	unsigned int i;

	/* As the new kernel has left them, before anybody asks for them. */
	vmt_ask("snapshot after");
	session = luo_retrieve_session(luo, SESSION);
	ASSERT_LE(0, session);
	notes = lu_retrieve(session, NOTES_TOKEN);
	ASSERT_LE(0, notes);
	lu_notes_map(notes, devs, count);
	memfd = lu_retrieve(session, STREAM_TOKEN);
	ASSERT_LE(0, memfd);
	stream_init(&stream, 0, memfd);
	st = stream.state;
	first_look(_metadata);

	if (vmt_stock())
		open_anew(_metadata);
	else
		take_over(_metadata);
	compare(_metadata);
	if (vmt_stock())
		set_up_anew();
	watch_stream(_metadata, "when it is attached");
	use_devices(_metadata);

	ASSERT_EQ(0, luo_session_finish(session));
	vmt_mark(VMT_FINISHED);
	close(session);
	vmt_step("session finished");
	watch_stream(_metadata, "when the session is finished");

	stream_end(NETDEV);
	EXPECT_TRUE(stream_wait_end(&stream, QUIET_MS)) {
		TH_LOG("the sender's last frame does not come");
	}
	EXPECT_EQ(0, st->bad);
	EXPECT_EQ(!vmt_stock(), stream_good(&stream));
	vmt_step("%lld frames, %lld missing, %lld bad", (long long)st->received,
		 (long long)st->missing, (long long)st->bad);
	vmt_figure("frames-arrived", st->received);
	vmt_figure("frames-missing", st->missing);
	stream_stop(&stream);
	for (i = 0; i < count; i++)
		lu_close(&devs[i]);
	vmt_mark(VMT_CLOSED);
}

int main(void)
{
	char *argv[] = { "demo", "-t", vmt_stage() == 1 ? "leave" : "arrive", NULL };

	luo = luo_open_device();
	if (luo < 0)
		vmt_die("/dev/liveupdate");
	count = lu_find(devs, LU_MAX_DEVS);
	nic = &devs[0];
	iommu = iommu_init(MODE_IOMMUFD);
	return test_harness_run(3, argv);
}
