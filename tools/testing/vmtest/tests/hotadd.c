// SPDX-License-Identifier: GPL-2.0-only
/*
 * hotadd: devices are plugged next to preserved ones.
 *
 * Two devices go through a live update, one below a root port, one below a port below
 * another one. Beside them are empty slots: root ports, and ports beside that lower one,
 * so that what is plugged there has to be content with what the incoming port above
 * leaves to it.
 * The argument says when the runner plugs: "boot", when the new kernel begins to
 * boot; "incoming", when the preserved devices wait to be retrieved; "finished",
 * after they are ordinary devices again.
 *
 * Two of the new devices fit into the windows of their ports and have to work. Two
 * others need more than there is: they work, or the log says why not. A rescan of
 * all buses at the worst moment changes nothing. What the preserved devices see of
 * all this the witness tells.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <linux/vfio.h>

#include "lu_harness.h"

#define SESSION		"hotadd"
#define NR_PRESERVED	2
#define NR_NEW		2
#define KLOG_READ_ALL	3
/* A slot with an attention button takes five seconds to make up its mind. */
#define TIMEOUT_US	30000000

static struct lu_dev devs[NR_PRESERVED];
static const char *moment;

static void find_preserved(void)
{
	lu_find_one(&devs[0], 0x8086, 0x10c9, 0);
	lu_find_one(&devs[1], 0x1234, 0x11e8, 0);
	devs[1].nr = 1;
	devs[1].token++;
}

static bool moment_is(const char *name)
{
	return !strcmp(moment, name);
}

/* ---- The new devices --------------------------------------------------------- */

static void plug(void)
{
	unsigned int i;

	for (i = 0; i < NR_NEW; i++) {
		vmt_ask("plug fits%u", i);
		vmt_ask("plug big%u", i);
	}
}

/* Until the n-th of its kind is there. */
static const char *wait_for(uint16_t vendor, uint16_t device, unsigned int n)
{
	const struct timespec tick = { .tv_nsec = 10000000 };
	uint64_t end = lu_now_us() + TIMEOUT_US;
	const char *bdf;

	while (!(bdf = vmt_find(vendor, device, n))) {
		if (lu_now_us() > end)
			return NULL;
		nanosleep(&tick, NULL);
	}
	return bdf;
}

/* Is there a line about a resource of the device that could not be had? */
static bool log_says_why(const char *bdf)
{
	static char log[1 << 20];
	char *line, *pos;
	int n;

	n = klogctl(KLOG_READ_ALL, log, sizeof(log) - 1);
	if (n < 0)
		vmt_die("cannot read the kernel log");
	log[n] = 0;
	for (line = strtok_r(log, "\n", &pos); line; line = strtok_r(NULL, "\n", &pos))
		if (strstr(line, bdf) && strstr(line, "BAR 2") &&
		    (strstr(line, "can't assign") || strstr(line, "no space")))
			return true;
	return false;
}

static bool bar2_assigned(const char *bdf)
{
	unsigned long long start = 0;
	char buf[4096];

	if (vmt_dev_read(bdf, "resource", buf, sizeof(buf)) < 0 ||
	    sscanf(buf, "%*x %*x %*x %*x %*x %*x %llx", &start) != 1)
		vmt_die("%s: no resources", bdf);
	return start;
}

/* Its BAR 2 is memory. */
static bool bar2_works(const char *bdf)
{
	volatile uint32_t *mem;
	char path[128];
	bool ok;
	int fd;

	if (vmt_dev_write(bdf, "enable", "1") < 0)
		return false;
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource2", bdf);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return false;
	mem = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (mem == MAP_FAILED)
		return false;
	mem[0] = 0x12345678;
	mem[1] = ~0x12345678;
	ok = mem[0] == 0x12345678 && mem[1] == ~0x12345678u;
	munmap((void *)mem, 4096);
	return ok;
}

static void rescan(struct __test_metadata *_metadata)
{
	EXPECT_LT(0, vmt_write_file("/sys/bus/pci/rescan", "1"));
}

static void check_new(struct __test_metadata *_metadata, struct iommu *iommu)
{
	unsigned int i, assigned = 0;
	const char *bdf;

	for (i = 0; i < NR_NEW; i++) {
		ASSERT_NE(NULL, wait_for(0x8086, 0x10d3, i)) {
			TH_LOG("device %u that fits does not show up", i);
		}
		ASSERT_NE(NULL, wait_for(0x1af4, 0x1110, i)) {
			TH_LOG("device %u that is too big does not show up", i);
		}
	}
	/* This also waits for whoever is still busy adding one. */
	rescan(_metadata);

	for (i = 0; i < NR_NEW; i++) {
		struct lu_dev new;

		lu_find_one(&new, 0x8086, 0x10d3, i);
		EXPECT_STREQ("none", lu_state(new.bdf));
		lu_open(&new, iommu);
		EXPECT_TRUE(lu_program(&new, 3, VFIO_PCI_MSIX_IRQ_INDEX)) {
			TH_LOG("%s: does not work", new.name);
		}
		lu_close(&new);
		vmt_step("%s: new, works", new.name);

		bdf = vmt_find(0x1af4, 0x1110, i);
		if (bar2_assigned(bdf)) {
			EXPECT_TRUE(bar2_works(bdf)) {
				TH_LOG("%s: has its BAR, but it does not work", bdf);
			}
			assigned++;
		} else {
			EXPECT_TRUE(log_says_why(bdf)) {
				TH_LOG("%s: has no BAR, and nothing tells", bdf);
			}
		}
		vmt_step("%s: new, %s", bdf, bar2_assigned(bdf) ? "works" : "no space");
	}
	vmt_figure("big-devices-assigned", assigned);
}

/* ---- The preserved ones ------------------------------------------------------ */

static void check_preserved(struct __test_metadata *_metadata)
{
	unsigned int i;

	for (i = 0; i < NR_PRESERVED; i++) {
		EXPECT_EQ(0, lu_regs_changed(&devs[i]));
		EXPECT_TRUE(lu_irq_test(&devs[i]));
		EXPECT_TRUE(lu_bus_master(devs[i].bdf));
		if (devs[i].ops->dma) {
			EXPECT_TRUE(devs[i].ops->dma(&devs[i], 7));
			/* The registers of edu say what it did last. */
			lu_note_down(&devs[i]);
		}
	}
}

TEST(old_kernel)
{
	struct iommu *iommu = iommu_init(MODE_IOMMUFD);
	int luo, session, notes;
	unsigned int i;

	vmt_mark(VMT_START);
	luo = luo_open_device();
	ASSERT_LE(0, luo);
	find_preserved();
	notes = lu_notes_create(devs, NR_PRESERVED);
	for (i = 0; i < NR_PRESERVED; i++) {
		lu_dma_map(&devs[i], iommu);
		lu_open(&devs[i], iommu);
	}
	session = lu_preserve_all(luo, SESSION, notes, devs, NR_PRESERVED, VFIO_PCI_MSI_IRQ_INDEX);
	ASSERT_LE(0, session);
	vmt_mark(VMT_PRESERVED);
	ASSERT_TRUE(__test_passed(_metadata));
	vmt_kexec_load();
	vmt_ask("snapshot before");
	ASSERT_EQ(0, vmt_kexec());
}

TEST(new_kernel)
{
	struct iommu *iommu = iommu_init(MODE_IOMMUFD);
	int luo, session, notes;
	unsigned int i;

	luo = luo_open_device();
	ASSERT_LE(0, luo);
	find_preserved();
	session = luo_retrieve_session(luo, SESSION);
	ASSERT_LE(0, session);
	notes = lu_retrieve(session, LU_NOTES_TOKEN);
	ASSERT_LE(0, notes);
	lu_notes_map(notes, devs, NR_PRESERVED);
	for (i = 0; i < NR_PRESERVED; i++)
		lu_dma_map(&devs[i], iommu);

	if (moment_is("incoming"))
		plug();
	if (!moment_is("finished"))
		check_new(_metadata, iommu);
	rescan(_metadata);
	vmt_ask("snapshot after");

	for (i = 0; i < NR_PRESERVED; i++) {
		struct lu_dev *dev = &devs[i];

		EXPECT_STREQ("incoming", lu_state(dev->bdf));
		vmt_bind(dev->bdf, "vfio-pci");
		ASSERT_EQ(0, lu_take(dev, session, iommu));
	}
	vmt_mark(VMT_RETRIEVED);
	vmt_mark(VMT_OPENED);
	for (i = 0; i < NR_PRESERVED; i++) {
		EXPECT_EQ(0, lu_config_changed(&devs[i]));
		lu_irq_enable(&devs[i], devs[i].saved->irq_index);
	}
	check_preserved(_metadata);
	EXPECT_EQ(0, luo_session_finish(session));
	vmt_mark(VMT_FINISHED);
	close(session);

	if (moment_is("finished")) {
		plug();
		check_new(_metadata, iommu);
	}
	rescan(_metadata);
	check_preserved(_metadata);
	/* From here on it is the test that resets them. */
	vmt_mark(VMT_CLOSED);
	for (i = 0; i < NR_PRESERVED; i++)
		lu_close(&devs[i]);
}

int main(int argc, char **argv)
{
	char *args[] = { "hotadd", "-t", vmt_stage() == 1 ? "old_kernel" : "new_kernel", NULL };

	moment = argc > 1 ? argv[1] : "";
	if (!moment_is("boot") && !moment_is("incoming") && !moment_is("finished")) {
		errno = EINVAL;
		vmt_die("when to plug: boot, incoming, or finished");
	}
	return test_harness_run(3, args);
}
