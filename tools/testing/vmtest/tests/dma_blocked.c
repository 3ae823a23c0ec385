// SPDX-License-Identifier: GPL-2.0-only
/*
 * dma_blocked: what DMA a device cannot do while the kernel is replaced.
 *
 * Preserved are a network card, whose stream goes on as ever, and an edu. Not preserved
 * are another network card and another edu; they are open and can reach a few pages
 * when the kernel is replaced, at IOVAs that are the physical addresses of these pages.
 * So DMA that is not translated, or by a table that should be gone, ends up in them; and
 * the pages themselves are preserved, so that nobody else writes there.
 *
 * The old kernel stops the devices that are not preserved. A device need not heed that:
 * the host turns bus mastering on again and has them do all they can, time after time,
 * from the last words of the old kernel until there is a program in the new one:
 *
 *	edu0, not preserved	writes to canary page 0, and sends the interrupt message
 *				that it was given in the old kernel
 *	edu1, preserved		writes to its own page, which has to arrive, and to
 *				canary page 1, which it could never reach
 *	nic1, not preserved	receives frames, from a ring and into buffers that are
 *				canary pages, too
 *
 * The host sees what becomes of the message. There is no use in one that does not go by
 * the remapping table: QEMU 10.0 lets these pass always, hardware does not.
 *
 * With "vmtest.close=1" edu0 is closed before the jump. Then it is in the default domain,
 * which may be one without translation.
 *
 * On the unpatched kernel the canaries die and the message arrives: the checks see it.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/pci_regs.h>

#include "edu_regs.h"
#include "lu_harness.h"
#include "stream.h"

#define SESSION		"dma"
#define MEMORY_TOKEN	1
#define QUIET_MS	3000

#define PAGE		4096
/* Below 4 GiB for edu, and no memory is there. */
#define EDU_IOVA	0x90000000UL
/* Half of edu's buffer is to do damage, the rest has the message. */
#define DAMAGE		(EDU_BUFFER_SIZE / 2)
#define MESSAGE		(EDU_BUFFER + DAMAGE)

/* Pages behind the stream. */
enum {
	OWN,			/* of edu1 */
	SOURCE,			/* what the edus' buffers are filled with */
	CANARY0,		/* for edu0 */
	CANARY1,		/* for edu1 */
	NIC_RING,
	NIC_BUF,
	NIC_BUFS = 4,
	PAGES = NIC_BUF + NIC_BUFS,
};

#define RING_ENTRIES	(PAGE / sizeof(union stream_desc))

static struct lu_dev nic0, nic1, edu0, edu1;
static struct stream stream;
static struct iommu *iommu;
static int luo, session = -1, memfd = -1;
static char *pages;

static char *page(unsigned int n)
{
	return pages + n * PAGE;
}

static void map_pages(void)
{
	stream_init(&stream, 0, memfd);
	pages = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, STREAM_SIZE);
	if (pages == MAP_FAILED)
		vmt_die("cannot map the pages");
}

/* What edu copies is no pattern that could be a canary's. */
static uint32_t pattern(unsigned int n, unsigned int i)
{
	return 0xc0000000 | n << 16 | i;
}

static void fill(unsigned int n)
{
	for (unsigned int i = 0; i < PAGE / 4; i++)
		((uint32_t *)page(n))[i] = pattern(n, i);
}

static bool is_intact(unsigned int n)
{
	for (unsigned int i = 0; i < PAGE / 4; i++)
		if (((volatile uint32_t *)page(n))[i] != pattern(n, i))
			return false;
	return true;
}

/* The ring is one as well: the card writes to it when it is done with a frame. */
static void fill_ring(void)
{
	union stream_desc *ring = (void *)page(NIC_RING);

	for (unsigned int i = 0; i < RING_ENTRIES; i++) {
		ring[i].read.addr = lu_phys(page(NIC_BUF + i % NIC_BUFS));
		ring[i].read.zero = 0;
	}
}

static bool is_ring_intact(void)
{
	volatile union stream_desc *ring = (void *)page(NIC_RING);

	for (unsigned int i = 0; i < RING_ENTRIES; i++)
		if (ring[i].read.zero)
			return false;
	return true;
}

static int map_page(struct iommu *to, unsigned int n, uint64_t iova)
{
	return lu_map_file(to, memfd, STREAM_SIZE + n * PAGE, PAGE, iova);
}

/* What the preserved devices can reach; the same in both kernels. */
static void map_preserved(struct __test_metadata *_metadata)
{
	ASSERT_EQ(0, stream_map(&stream, memfd, iommu));
	ASSERT_EQ(0, map_page(iommu, OWN, EDU_IOVA));
	ASSERT_EQ(0, map_page(iommu, SOURCE, EDU_IOVA + PAGE));
}

/* ---- What the host is to do ------------------------------------------------- */

static void poke_bus_master(const char *id)
{
	vmt_ask("poke 0 %s config %#x 2 %#x", id, PCI_COMMAND,
		PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static void poke_edu(unsigned int round, const char *id, uint64_t from, uint64_t to, size_t len)
{
	vmt_ask("poke %u %s 0 %#x 8 %#llx", round, id, EDU_DMA_SRC, (unsigned long long)from);
	vmt_ask("poke %u %s 0 %#x 8 %#llx", round, id, EDU_DMA_DST, (unsigned long long)to);
	vmt_ask("poke %u %s 0 %#x 8 %#zx", round, id, EDU_DMA_COUNT, len);
	vmt_ask("poke %u %s 0 %#x 8 %#x", round, id, EDU_DMA_CMD, EDU_DMA_RUN | EDU_DMA_TO_RAM);
}

static void arm(uint32_t message)
{
	poke_bus_master("edu0");
	poke_bus_master("nic1");
	/* The unpatched kernel is not asked to keep it one. */
	if (vmt_stock())
		poke_bus_master("edu1");
	vmt_ask("poke 0 nic1 0 %#x 4 %#x", NIC_RCTL, NIC_RCTL_ON);
	poke_edu(0, "edu0", EDU_BUFFER, lu_phys(page(CANARY0)), DAMAGE);
	poke_edu(0, "edu1", EDU_BUFFER, EDU_IOVA, DAMAGE);
	poke_edu(1, "edu0", MESSAGE, message, sizeof(uint32_t));
	poke_edu(1, "edu1", EDU_BUFFER, lu_phys(page(CANARY1)), DAMAGE);
	vmt_ask("message edu0 %#x", message);
}

/* ---- The test ---------------------------------------------------------------- */

FIXTURE(dma_blocked) {
};

FIXTURE_SETUP(dma_blocked)
{
	luo = luo_open_device();
	ASSERT_LE(0, luo);
	lu_find_one(&nic0, 0x8086, 0x10d3, 0);
	lu_find_one(&nic1, 0x8086, 0x10d3, 1);
	lu_find_one(&edu0, 0x1234, 0x11e8, 0);
	lu_find_one(&edu1, 0x1234, 0x11e8, 1);
	edu1.token++;
	iommu = iommu_init(MODE_IOMMUFD);
}

FIXTURE_TEARDOWN(dma_blocked)
{
}

static void fill_edu(struct __test_metadata *_metadata, struct lu_dev *dev, uint64_t iova)
{
	lu_set_command(dev, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	ASSERT_TRUE(lu_edu_copy(dev, iova, EDU_BUFFER, EDU_BUFFER_SIZE, 0));
}

TEST_F(dma_blocked, leave)
{
	struct iommu *other = iommu_init(MODE_IOMMUFD);
	uint32_t message;
	unsigned int n;

	vmt_mark(VMT_START);
	memfd = stream_memfd(1, PAGES * PAGE);
	map_pages();
	for (n = 0; n < PAGES; n++)
		fill(n);
	/* Pinned, the pages stay where they are. */
	map_preserved(_metadata);
	ASSERT_EQ(0, map_page(other, SOURCE, EDU_IOVA));
	for (n = CANARY0; n < PAGES; n++)
		if (n != CANARY1)
			ASSERT_EQ(0, map_page(other, n, lu_phys(page(n))));
	fill_ring();

	lu_open(&nic0, iommu);
	lu_open(&edu1, iommu);
	lu_open(&nic1, other);
	lu_open(&edu0, other);
	fill_edu(_metadata, &edu1, EDU_IOVA + PAGE);
	lu_irq_enable(&edu0, VFIO_PCI_MSI_IRQ_INDEX);
	message = lu_cap(&edu0, PCI_CAP_ID_MSI);
	*(uint32_t *)(page(SOURCE) + DAMAGE) = vmt_cfg_read(edu0.bdf, message + PCI_MSI_DATA_64, 2);
	message = vmt_cfg_read(edu0.bdf, message + PCI_MSI_ADDRESS_LO, 4);
	fill_edu(_metadata, &edu0, EDU_IOVA);
	/* It is the right one. */
	ASSERT_TRUE(lu_edu_copy(&edu0, MESSAGE, message, sizeof(uint32_t), EDU_DMA_TO_RAM));
	ASSERT_TRUE(lu_irq_wait(&edu0, 0));
	stream_ring(&nic1, lu_phys(page(NIC_RING)), RING_ENTRIES);
	stream_setup(&stream, &nic0);
	stream_send("net0");
	stream_send("net1");
	ASSERT_TRUE(stream_wait(&stream, 50, QUIET_MS));

	session = luo_create_session(luo, SESSION);
	ASSERT_LE(0, session);
	ASSERT_EQ(0, lu_preserve(session, memfd, MEMORY_TOKEN));
	ASSERT_EQ(vmt_stock() ? -ENOENT : 0, lu_preserve(session, nic0.vfio->fd, nic0.token));
	ASSERT_EQ(vmt_stock() ? -ENOENT : 0, lu_preserve(session, edu1.vfio->fd, edu1.token));
	vmt_mark(VMT_PRESERVED);
	if (vmt_param("close"))
		lu_close(&edu0);
	arm(message);
	vmt_kexec_load();
	for (n = CANARY0; n < PAGES; n++)
		if (n != NIC_RING)
			ASSERT_TRUE(is_intact(n));
	ASSERT_TRUE(is_ring_intact());
	ASSERT_TRUE(stream_good(&stream));
	vmt_step("armed; jump");
	ASSERT_EQ(0, vmt_kexec());
}

static void check_canaries(struct __test_metadata *_metadata, bool intact)
{
	unsigned int n;

	EXPECT_EQ(intact, is_intact(CANARY0)) {
		TH_LOG("what was not preserved: %s", edu0.name);
	}
	EXPECT_EQ(intact, is_intact(CANARY1)) {
		TH_LOG("what could never be reached: %s", edu1.name);
	}
	EXPECT_EQ(intact, is_ring_intact()) {
		TH_LOG("the ring of what was not preserved: %s", nic1.name);
	}
	for (n = NIC_BUF; n < PAGES; n++)
		EXPECT_EQ(intact, is_intact(n)) {
			TH_LOG("buffer %u of what was not preserved: %s", n - NIC_BUF, nic1.name);
		}
}

TEST_F(dma_blocked, arrive)
{
	/* The host has turned it on, and now it is enough. */
	vmt_cfg_write(nic1.bdf, PCI_COMMAND, 2, 0);
	vmt_cfg_write(edu0.bdf, PCI_COMMAND, 2, 0);
	session = luo_retrieve_session(luo, SESSION);
	ASSERT_LE(0, session);
	memfd = lu_retrieve(session, MEMORY_TOKEN);
	ASSERT_LE(0, memfd);
	map_pages();
	check_canaries(_metadata, !vmt_stock());
	if (vmt_stock()) {
		vmt_step("the canaries are dead");
		return;
	}
	ASSERT_TRUE(__test_passed(_metadata));
	vmt_step("the canaries are intact");

	/* What may get through does, by the same means. */
	EXPECT_EQ(0, memcmp(page(OWN), page(SOURCE), DAMAGE)) {
		TH_LOG("%s: its DMA in the gap has not arrived", edu1.name);
	}
	EXPECT_TRUE(stream_wait(&stream, 50, QUIET_MS));
	EXPECT_TRUE(stream_good(&stream));
	ASSERT_TRUE(__test_passed(_metadata));
	vmt_step("the preserved devices were served meanwhile");

	map_preserved(_metadata);
	vmt_bind(nic0.bdf, "vfio-pci");
	vmt_bind(edu1.bdf, "vfio-pci");
	ASSERT_EQ(0, lu_take(&nic0, session, iommu));
	ASSERT_EQ(0, lu_take(&edu1, session, iommu));
	stream_resume(&stream, &nic0);
	ASSERT_EQ(0, luo_session_finish(session));
	close(session);

	/* And so it is with the new table. */
	memset(page(OWN), 0, PAGE);
	EXPECT_TRUE(lu_edu_copy(&edu1, EDU_BUFFER, lu_phys(page(CANARY1)), DAMAGE, EDU_DMA_TO_RAM));
	EXPECT_TRUE(lu_edu_copy(&edu1, EDU_BUFFER, EDU_IOVA, DAMAGE, EDU_DMA_TO_RAM));
	EXPECT_EQ(0, memcmp(page(OWN), page(SOURCE), DAMAGE));
	check_canaries(_metadata, true);

	stream_end("net0");
	EXPECT_TRUE(stream_wait_end(&stream, QUIET_MS));
	EXPECT_TRUE(stream_good(&stream));
	stream_stop(&stream);
	lu_close(&nic0);
	lu_close(&edu1);
	vmt_mark(VMT_CLOSED);
}

int main(void)
{
	char *argv[] = { "dma_blocked", "-t", vmt_stage() == 1 ? "leave" : "arrive", NULL };

	return test_harness_run(3, argv);
}
