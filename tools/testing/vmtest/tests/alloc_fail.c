// SPDX-License-Identifier: GPL-2.0-only
/*
 * alloc_fail: each allocation on the way through a live update fails once, in turn,
 * and nothing comes of it: the call says so, the device goes on receiving, nothing is
 * left behind, and the next try gets one allocation further.
 *
 * The kernel's fail-nth lets the nth allocation of a call fail; the first call in
 * which none has failed has passed all of them.
 *
 * With "vmtest.boot=" the allocation of this number fails in the second kernel while it
 * takes over. That kernel stops there, or can do without: then all is as it should be.
 * How many there are depends on where the tables are in memory, within limits.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include <linux/iommufd.h>
#include <linux/reboot.h>

#include "lu_harness.h"
#include "stream.h"

#define SESSION		"fail"
#define MEMORY_TOKEN	1
#define OTHER_IOVA	0x2000000000ULL
/* Memfds that the card can reach too: a retrieve that has failed cannot be repeated. */
#define SPARES		64
#define SPARE_PAGES	4
#define SPARE_SIZE	(SPARE_PAGES * 0x1000UL)
#define SPARE_TOKEN(n)	(0x1000 + (n))
#define SPARE_IOVA(n)	(0x3000000000ULL + (n) * SPARE_SIZE)
/* One that it cannot reach, and large enough to be missed. */
#define LARGE_TOKEN	0x2000
#define LARGE_PAGES	8192
#define FRAMES		20
/* What taking over at boot allocates: more than the first, less than the second. */
#define BOOT_MIN	16
#define BOOT_MAX	30
#define QUIET_MS	3000
/* More allocations than any of the calls makes. */
#define LIMIT		2000

static struct lu_dev dev;
static struct stream stream;
static struct iommu *iommu;
static int luo, session = -1, memfd = -1, fd = -1;

/* ---- Letting them fail ------------------------------------------------------- */

static void allow(const char *fault, const char *name, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/kernel/debug/%s/%s", fault, name);
	if (vmt_write_file(path, value) < 0)
		vmt_die("%s", path);
}

static void allow_all(void)
{
	mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);
	allow("failslab", "ignore-gfp-wait", "0");
	allow("failslab", "verbose", "0");
	allow("fail_page_alloc", "ignore-gfp-wait", "0");
	allow("fail_page_alloc", "ignore-gfp-highmem", "0");
	allow("fail_page_alloc", "min-order", "0");
	allow("fail_page_alloc", "verbose", "0");
	/* iommufd's own, which fail lookups of objects as well. */
	allow("fail_iommufd", "verbose", "0");
}

/* Open all the time: what opening it takes might fail as well. */
static int nth_fd = -1;

static void fail_nth(unsigned int n)
{
	char text[16];

	if (nth_fd < 0)
		nth_fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	snprintf(text, sizeof(text), "%u", n);
	if (pwrite(nth_fd, text, strlen(text), 0) < 0)
		vmt_die("fail-nth");
}

/* Has one failed? Lets no more fail. */
static bool has_failed(void)
{
	char text[32] = "";
	bool failed;

	if (pread(nth_fd, text, sizeof(text) - 1, 0) < 0)
		vmt_die("fail-nth");
	failed = !atoi(text);
	fail_nth(0);
	return failed;
}

/* ---- What must not change ------------------------------------------------------ */

struct usage {
	long table_pages, pins, free_pages;
};

static long vmstat(const char *text, const char *name)
{
	const char *found = strstr(text, name);

	if (!found)
		vmt_die("no %s in /proc/vmstat", name);
	return strtol(found + strlen(name), NULL, 10);
}

static struct usage usage(void)
{
	static char text[32768];

	/* The CPUs keep some of it to themselves. */
	if (vmt_write_file("/proc/sys/vm/stat_refresh", "1") < 0 ||
	    vmt_read_file("/proc/vmstat", text, sizeof(text)) < 0)
		vmt_die("/proc/vmstat");
	return (struct usage){
		.table_pages = vmstat(text, "\nnr_iommu_pages "),
		.pins = vmstat(text, "\nnr_foll_pin_acquired ") -
			vmstat(text, "\nnr_foll_pin_released "),
		.free_pages = vmstat(text, "nr_free_pages "),
	};
}

static void expect_running(struct __test_metadata *_metadata, const char *what)
{
	EXPECT_TRUE(stream_wait(&stream, FRAMES, QUIET_MS)) {
		TH_LOG("%s: the stream stops at number %lld", what,
		       (long long)stream.state->expected - 1);
	}
	EXPECT_TRUE(stream_good(&stream));
}

/*
 * Call until no allocation fails any more. @undo, for a call that got over one that
 * failed, and so has worked; without it that ends the tries. Returns what the last
 * call did, -1 if the limit is reached.
 */
static int sweep(struct __test_metadata *_metadata, const char *what, int (*call)(void),
		 void (*undo)(void))
{
	struct usage before = usage(), after;
	unsigned int n, refused = 0;
	int ret;

	for (n = 1; n < LIMIT; n++) {
		fail_nth(n);
		ret = call();
		if (!has_failed() || (ret >= 0 && !undo))
			break;
		if (ret >= 0) {
			undo();
			continue;
		}
		refused++;
		EXPECT_TRUE(ret == -ENOMEM || ret == -EAGAIN || ret == -ENOENT) {
			TH_LOG("%s: allocation %u: %s", what, n, strerror(-ret));
		}
		after = usage();
		EXPECT_EQ(before.table_pages, after.table_pages) {
			TH_LOG("%s: allocation %u: page table pages", what, n);
		}
		EXPECT_EQ(before.pins, after.pins) {
			TH_LOG("%s: allocation %u: pinned pages", what, n);
		}
		/* Each of them would take long. */
		if (n % 16 == 1)
			expect_running(_metadata, what);
		if (!__test_passed(_metadata))
			return -1;
	}
	vmt_step("%s: %u allocations, %u times refused", what, n - 1, refused);
	EXPECT_LT(0, refused) {
		TH_LOG("%s: nothing has failed", what);
	}
	EXPECT_LT(n, LIMIT);
	expect_running(_metadata, what);
	return n < LIMIT ? ret : -1;
}

/* ---- Before the jump ------------------------------------------------------------- */

static int preserve(void)
{
	return lu_preserve(session, dev.vfio->fd, dev.token);
}

static void unpreserve(void)
{
	close(session);
	session = luo_create_session(luo, SESSION);
	if (session < 0 || lu_preserve(session, memfd, MEMORY_TOKEN))
		vmt_die("cannot begin again");
}

/* Is the IOAS as free as before? */
static void expect_mutable(struct __test_metadata *_metadata)
{
	struct iommu_ioas_unmap unmap = {
		.size = sizeof(unmap),
		.ioas_id = iommu->ioas_id,
		.iova = OTHER_IOVA,
		.length = 0x1000,
	};

	EXPECT_EQ(0, lu_map_file(iommu, memfd, 0, 0x1000, OTHER_IOVA));
	EXPECT_EQ(0, ioctl(iommu->iommufd, IOMMU_IOAS_UNMAP, &unmap));
}

static void preserve_spares(void)
{
	int large = memfd_create("large", MFD_CLOEXEC);
	unsigned int n;

	/* What is not there is filled with zeros when it is preserved. */
	if (large < 0 || ftruncate(large, LARGE_PAGES * 0x1000L) ||
	    lu_preserve(session, large, LARGE_TOKEN))
		vmt_die("large memfd");
	close(large);

	for (n = 1; n < SPARES; n++) {
		int spare = memfd_create("spare", MFD_CLOEXEC);

		if (spare < 0 || ftruncate(spare, SPARE_SIZE) ||
		    lu_map_file(iommu, spare, 0, SPARE_SIZE, SPARE_IOVA(n)) ||
		    lu_preserve(session, spare, SPARE_TOKEN(n)))
			vmt_die("spare memfd %u", n);
		close(spare);
	}
}

static void leave(struct __test_metadata *_metadata)
{
	const char *boot = vmt_param("boot");
	char extra[320];
	unsigned int n;
	int ret;

	memfd = stream_memfd(1, 0);
	stream_init(&stream, 0, memfd);
	ASSERT_EQ(0, stream_map(&stream, memfd, iommu));
	lu_open(&dev, iommu);
	stream_setup(&stream, &dev);
	stream_send("net0");
	session = luo_create_session(luo, SESSION);
	ASSERT_LE(0, session);
	ASSERT_EQ(0, lu_preserve(session, memfd, MEMORY_TOKEN));
	expect_running(_metadata, "in the first kernel");

	if (boot) {
		ASSERT_EQ(0, preserve());
		snprintf(extra, sizeof(extra),
			 "failslab.ignore_gfp_wait=0 failslab.verbose=1 fail_page_alloc.ignore_gfp_wait=0 fail_page_alloc.min_order=0 fail_page_alloc.verbose=1 iommu_liveupdate_fail_nth=%s",
			 boot);
		ASSERT_EQ(0, vmt_try_kexec_load("/boot/bzImage", extra));
		ksft_test_result_pass("memory is to run out in the next kernel\n");
		printf("#@ exit 0\n");
		ASSERT_EQ(0, vmt_kexec());
	}

	allow_all();
	ASSERT_EQ(0, sweep(_metadata, "preserve", preserve, unpreserve));
	unpreserve();
	expect_mutable(_metadata);
	preserve_spares();
	ASSERT_EQ(0, preserve());
	vmt_mark(VMT_PRESERVED);
	vmt_kexec_load();
	ASSERT_TRUE(__test_passed(_metadata));

	/* Until the jump. What fails after the last chance to refuse must do no harm. */
	for (n = 1; n < LIMIT; n++) {
		stream_consume(&stream);
		stream.state->marked = n;
		fflush(NULL);
		tcdrain(STDOUT_FILENO);
		vmt_mark(VMT_JUMP);
		fail_nth(n);
		ret = syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2,
			      LINUX_REBOOT_CMD_KEXEC, NULL) ? -errno : 0;
		ASSERT_TRUE(has_failed());
		ASSERT_EQ(-ENOMEM, ret) {
			TH_LOG("reboot(): allocation %u", n);
		}
		expect_running(_metadata, "reboot() was refused");
	}
	ASSERT_LT(n, LIMIT);
}

/* ---- After the jump ----------------------------------------------------------------- */

static int retrieve(void)
{
	fd = lu_retrieve(session, dev.token);
	return fd;
}

static int bind_it(void)
{
	return lu_bind_iommufd(fd, iommu) < 0 ? -errno : 0;
}

static int attach_it(void)
{
	return lu_attach(fd, iommu);
}

static int finish(void)
{
	return luo_session_finish(session);
}

/*
 * What the card can still write to must not become anybody else's: the pages of a memfd
 * that could not be retrieved stay pinned, or, if not even the list of them can be had,
 * with KHO.
 */
static void fail_memfds(struct __test_metadata *_metadata)
{
	unsigned int n, refused = 0, kept = 0;
	struct usage before, after;
	int spare;

	for (n = 1; n < SPARES; n++) {
		before = usage();
		fail_nth(n);
		spare = lu_retrieve(session, SPARE_TOKEN(n));
		if (!has_failed())
			break;
		after = usage();
		if (spare >= 0) {
			close(spare);
		} else {
			/* No inode; no list, as mainline calls it. */
			EXPECT_TRUE(spare == -ENOMEM || spare == -ENOSPC || spare == -EINVAL) {
				TH_LOG("memfd: allocation %u: %s", n, strerror(-spare));
			}
			refused++;
		}
		if (spare == -EINVAL)
			kept++;
		EXPECT_EQ(before.pins + (spare == -EINVAL ? 0 : SPARE_PAGES), after.pins) {
			TH_LOG("memfd: allocation %u: pinned pages", n);
		}
	}
	vmt_step("memfd: %u allocations, %u times refused, %u times kept by KHO", n - 1, refused,
		 kept);
	EXPECT_LT(0, refused);
	EXPECT_LT(kept, refused);
	EXPECT_LT(n, SPARES);
	expect_running(_metadata, "memfds");
}

/* What nobody can write to goes back to the system at once. */
static void fail_large_memfd(struct __test_metadata *_metadata)
{
	long before, after;

	/* Or the CPUs' lists of free pages, which do not count, take them all. */
	if (vmt_write_file("/proc/sys/vm/percpu_pagelist_high_fraction", "1000000") < 0)
		vmt_die("percpu_pagelist_high_fraction");
	before = usage().free_pages;
	/* The first allocation is for the new file. */
	fail_nth(1);
	EXPECT_GT(0, lu_retrieve(session, LARGE_TOKEN));
	EXPECT_TRUE(has_failed());
	after = usage().free_pages;
	EXPECT_LT(before + LARGE_PAGES * 3 / 4, after);
}

/* The last to leave the old page table gives the pages away, in its own time. */
static bool wait_for_pins(long pins)
{
	uint64_t end = lu_now_us() + QUIET_MS * 1000;

	while (usage().pins != pins) {
		if (lu_now_us() > end)
			return false;
		usleep(10000);
	}
	return true;
}

/* Has an allocation failed while this kernel took over? Not all leave a line in the log. */
static bool failed_at_boot(void)
{
	char left[16];

	if (vmt_read_file("/sys/module/kernel/parameters/iommu_liveupdate_fail_nth", left,
			  sizeof(left)) < 0)
		vmt_die("iommu_liveupdate_fail_nth");
	return !atoi(left);
}

static void arrive(struct __test_metadata *_metadata)
{
	long pins = usage().pins;

	session = luo_retrieve_session(luo, SESSION);
	ASSERT_LE(0, session);
	memfd = lu_retrieve(session, MEMORY_TOKEN);
	ASSERT_LE(0, memfd);
	stream_init(&stream, 0, memfd);
	expect_running(_metadata, "in the second kernel");
	ASSERT_EQ(0, stream_map(&stream, memfd, iommu));
	vmt_bind(dev.bdf, "vfio-pci");

	if (vmt_param("boot")) {
		unsigned int n = atoi(vmt_param("boot"));

		EXPECT_TRUE(failed_at_boot() ? n < BOOT_MAX : n > BOOT_MIN) {
			TH_LOG("the number of allocations has changed: change the limits");
		}
		ASSERT_LE(0, retrieve());
		vmt_mark(VMT_RETRIEVED);
		ASSERT_EQ(0, bind_it());
		ASSERT_EQ(0, attach_it());
	} else {
		vmt_step("reboot() was refused %lld times", (long long)stream.state->marked - 1);
		allow_all();
		fail_memfds(_metadata);
		fail_large_memfd(_metadata);
		ASSERT_LE(0, sweep(_metadata, "retrieve", retrieve, NULL));
		vmt_mark(VMT_RETRIEVED);
		ASSERT_LE(0, sweep(_metadata, "bind", bind_it, NULL));
		ASSERT_LE(0, sweep(_metadata, "attach", attach_it, NULL));
	}
	vmt_mark(VMT_OPENED);
	lu_setup(&dev, fd, iommu);
	stream_resume(&stream, &dev);
	expect_running(_metadata, "attached");
	ASSERT_EQ(0, finish());
	vmt_mark(VMT_FINISHED);
	close(session);
	expect_running(_metadata, "finished");

	stream_end("net0");
	EXPECT_TRUE(stream_wait_end(&stream, QUIET_MS));
	EXPECT_TRUE(stream_good(&stream));
	stream_stop(&stream);
	lu_close(&dev);
	iommu_cleanup(iommu);
	EXPECT_TRUE(wait_for_pins(pins)) {
		TH_LOG("%ld pages are pinned, %ld were", usage().pins, pins);
	}
	vmt_mark(VMT_CLOSED);
}

FIXTURE(alloc_fail) {
};

FIXTURE_SETUP(alloc_fail)
{
	luo = luo_open_device();
	ASSERT_LE(0, luo);
	ASSERT_EQ(1, lu_find(&dev, 1));
	iommu = iommu_init(MODE_IOMMUFD);
}

FIXTURE_TEARDOWN(alloc_fail)
{
}

TEST_F(alloc_fail, leave)
{
	vmt_mark(VMT_START);
	leave(_metadata);
}

TEST_F(alloc_fail, arrive)
{
	arrive(_metadata);
}

int main(void)
{
	char *argv[] = { "alloc_fail", "-t", vmt_stage() == 1 ? "leave" : "arrive", NULL };

	return test_harness_run(3, argv);
}
