// SPDX-License-Identifier: GPL-2.0-only
/*
 * bench: how long things take and what they need. Nothing is judged here, but everything
 * has to work. Run by scripts/bench, which makes a table of the figures.
 *
 * "vmtest.sizes=" (MiB, with commas): stays in one kernel. A memfd of each size is mapped
 * for two devices that share an IOAS, and preserved with them, "vmtest.rounds=" times.
 *
 * "vmtest.jumps=" (with commas): one kexec for each, of which the next kernel picks up what
 * there is. Each is one of
 *
 *	p	nothing is preserved
 *	m	a memfd is
 *	d<n>	a memfd and the first n devices that have it mapped
 *
 * and the others are opened anew, so that every kernel ends up with the same devices and
 * the same memory. The memfd has "vmtest.size=" MiB. With "vmtest.freeze=" the devices are
 * frozen so many times before, in a reboot that a test file makes fail.
 *
 * With "vmtest.huge=1" the memory comes in pages of 2 MiB.
 *
 * A figure is <what>/<metric>/<number>, in microseconds or as the name says. What the host
 * measures it takes from the marks: START is set by the first command of a kernel, USER2 when
 * the first device is about to be bound and attached.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include <linux/kexec.h>
#include <linux/pci_regs.h>
#include <linux/reboot.h>

#include "lu_harness.h"

#define SESSION		"bench"
#define MEMORY_TOKEN	1
#define TEST_TOKEN	2

#define MAX_DEVS	16
#define IOVA		0x1000000000ULL
#define MIB		0x100000ULL
#define HUGE		(2 * MIB)
#define TRACING		"/sys/kernel/tracing/"

static struct lu_dev devs[MAX_DEVS];
static int fds[MAX_DEVS];
static unsigned int count;
static struct iommu *iommu;
static int luo, session = -1, memfd = -1;
static char *mem;
static uint64_t mem_size;

static unsigned long param(const char *name, unsigned long def)
{
	const char *val = vmt_param(name);

	return val ? strtoul(val, NULL, 0) : def;
}

/*
 * Kept until nothing is measured: who waits for the host to take a line may find that
 * the clock has gone on by minutes, see scripts/bench.
 */
static char *figures;
static size_t figures_len;

static void __printf(2, 3) figure(long value, const char *fmt, ...)
{
	static unsigned int number;
	char name[128], *line;
	va_list ap;
	int len;

	va_start(ap, fmt);
	vsnprintf(name, sizeof(name), fmt, ap);
	va_end(ap);
	len = asprintf(&line, "#@ figure %s/%d.%u %ld\n", name, vmt_stage(), number++, value);
	if (len < 0)
		vmt_die("no memory");
	figures = realloc(figures, figures_len + len + 1);
	if (!figures)
		vmt_die("no memory");
	strcpy(figures + figures_len, line);
	figures_len += len;
	free(line);
}

static void print_figures(void)
{
	if (figures_len)
		fputs(figures, stdout);
	fflush(NULL);
	tcdrain(STDOUT_FILENO);
	figures_len = 0;
}

/*
 * The guest's own clock into the trace, just before a mark: the TSC goes on in the next
 * kernel. Nothing can be written to this register.
 */
static void tick(void)
{
	vmt_cfg_write("0000:00:00.0", PCI_SUBSYSTEM_VENDOR_ID, 4, __builtin_ia32_rdtsc() >> 10);
}

static void mark(enum vmt_mark mark)
{
	tick();
	vmt_mark(mark);
}

/* ---- Memory ------------------------------------------------------------------ */

static long vmstat(const char *name)
{
	static char buf[16384];
	char *pos = buf;

	/* What the CPUs have counted and not yet added up. */
	vmt_write_file("/proc/sys/vm/stat_refresh", "1");
	if (vmt_read_file("/proc/vmstat", buf, sizeof(buf)) < 0)
		vmt_die("/proc/vmstat");
	for (; pos; pos = strchr(pos, '\n')) {
		pos += *pos == '\n';
		if (!strncmp(pos, name, strlen(name)) && pos[strlen(name)] == ' ')
			return strtol(pos + strlen(name), NULL, 10);
	}
	errno = ENOENT;
	vmt_die("/proc/vmstat has no %s", name);
}

static long pages_used(void)
{
	return -vmstat("nr_free_pages");
}

/* At an address that huge pages can be mapped at. */
static void map_mem(void)
{
	char *base = mmap(NULL, mem_size + HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (base == MAP_FAILED)
		vmt_die("no address space");
	base = (char *)(((uintptr_t)base + HUGE - 1) & -HUGE);
	mem = mmap(base, mem_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, memfd, 0);
	if (mem == MAP_FAILED)
		vmt_die("cannot map the memfd");
}

static void make_mem(uint64_t size)
{
	unsigned long huge = param("huge", 0);

	mem_size = size;
	vmt_write_file("/sys/kernel/mm/transparent_hugepage/shmem_enabled",
		       huge ? "advise" : "never");
	memfd = memfd_create("bench", MFD_CLOEXEC);
	if (memfd < 0 || ftruncate(memfd, size))
		vmt_die("memfd");
	map_mem();
	if (huge && madvise(mem, size, MADV_HUGEPAGE))
		vmt_die("MADV_HUGEPAGE");
	if (madvise(mem, size, MADV_POPULATE_WRITE))
		vmt_die("no memory for a memfd of %llu MiB", (unsigned long long)(size / MIB));
	if (huge && vmstat("nr_shmem_hugepages") < (long)(size / HUGE)) {
		errno = ENOMEM;
		vmt_die("not all of it is huge pages");
	}
}

static void drop_mem(void)
{
	munmap(mem, mem_size);
	close(memfd);
	memfd = -1;
}

/* ---- Devices ------------------------------------------------------------------ */

static void attach(struct __test_metadata *_metadata, unsigned int i)
{
	ASSERT_EQ(0, lu_bind_iommufd(fds[i], iommu));
	ASSERT_EQ(0, lu_attach(fds[i], iommu));
}

static void open_dev(struct __test_metadata *_metadata, unsigned int i)
{
	vmt_bind(devs[i].bdf, "vfio-pci");
	fds[i] = lu_cdev_open(devs[i].bdf);
	ASSERT_LE(0, fds[i]) {
		TH_LOG("%s", devs[i].name);
	}
}

/* As a guest would use it: interrupts, and bus mastering. */
static void use_dev(unsigned int i)
{
	lu_setup(&devs[i], fds[i], iommu);
	lu_set_command(&devs[i], PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	lu_irq_enable(&devs[i], VFIO_PCI_MSIX_IRQ_INDEX);
}

/* The audit's time is only in a debug message. */
static void say_audit(void)
{
	int ret = vmt_write_file("/sys/kernel/debug/dynamic_debug/control",
				 "format \"audited in\" +p");

	if (ret < 0) {
		errno = -ret;
		vmt_die("dynamic debug");
	}
}

static char *kernel_log(void)
{
	int size = klogctl(10, NULL, 0);
	char *log = calloc(1, size + 1);

	if (size < 0 || !log || klogctl(3, log, size) < 0)
		vmt_die("cannot read the kernel's log");
	return log;
}

static long last_audit(void)
{
	static const char what[] = "audited in ";
	char *log = kernel_log(), *pos, *last = NULL;
	long us;

	for (pos = log; (pos = strstr(pos, what)); pos++)
		last = pos;
	if (!last) {
		errno = ENOENT;
		vmt_die("the kernel does not say how long the audit took");
	}
	us = strtol(last + strlen(what), NULL, 10);
	free(log);
	return us;
}

/* ---- Sizes ---------------------------------------------------------------------- */

static void one_size(struct __test_metadata *_metadata, unsigned long mib, unsigned int rounds)
{
	unsigned int huge = param("huge", 0), round, i;
	long tables = vmstat("nr_iommu_pages"), used[4];
	uint64_t t[6];

	t[0] = lu_now_us();
	make_mem(mib * MIB);
	t[1] = lu_now_us();
	iommu = iommu_init(MODE_IOMMUFD);
	for (i = 0; i < count; i++) {
		open_dev(_metadata, i);
		attach(_metadata, i);
		use_dev(i);
	}
	t[2] = lu_now_us();
	ASSERT_EQ(0, lu_map_file(iommu, memfd, 0, mem_size, IOVA));
	t[3] = lu_now_us();
#define SIZE_FIGURE(value, metric) \
	figure(value, "size/%s/%lu/%s", huge ? "2M" : "4K", mib, metric)
	SIZE_FIGURE(t[1] - t[0], "populate_us");
	SIZE_FIGURE(t[3] - t[2], "map_us");
	SIZE_FIGURE(vmstat("nr_iommu_pages") - tables, "table_pages");

	for (round = 0; round < rounds; round++) {
		session = luo_create_session(luo, SESSION);
		ASSERT_LE(0, session);
		used[0] = pages_used();
		t[0] = lu_now_us();
		ASSERT_EQ(0, lu_preserve(session, memfd, MEMORY_TOKEN));
		t[1] = lu_now_us();
		used[1] = pages_used();
		t[2] = lu_now_us();
		ASSERT_EQ(0, lu_preserve(session, fds[0], devs[0].token));
		t[3] = lu_now_us();
		used[2] = pages_used();
		SIZE_FIGURE(last_audit(), "audit_us");
		t[4] = lu_now_us();
		ASSERT_EQ(0, lu_preserve(session, fds[1], devs[1].token));
		t[5] = lu_now_us();
		used[3] = pages_used();
		SIZE_FIGURE(t[1] - t[0], "memfd_us");
		SIZE_FIGURE(t[3] - t[2], "device_us");
		SIZE_FIGURE(t[5] - t[4], "second_us");
		SIZE_FIGURE((used[1] - used[0]) * 4, "memfd_kib");
		SIZE_FIGURE((used[2] - used[1]) * 4, "device_kib");
		SIZE_FIGURE((used[3] - used[2]) * 4, "second_kib");
		t[0] = lu_now_us();
		close(session);
		t[1] = lu_now_us();
		SIZE_FIGURE(t[1] - t[0], "undo_us");
	}
	for (i = 0; i < count; i++)
		lu_close(&devs[i]);
	iommu_cleanup(iommu);
	drop_mem();
	print_figures();
}

TEST(sizes)
{
	char *list = strdup(vmt_param("sizes")), *pos, *tok;

	say_audit();
	for (tok = strtok_r(list, ",", &pos); tok; tok = strtok_r(NULL, ",", &pos)) {
		vmt_step("%s MiB in pages of %s", tok, param("huge", 0) ? "2 MiB" : "4 KiB");
		print_figures();
		one_size(_metadata, strtoul(tok, NULL, 0), param("rounds", 3));
	}
}

/* ---- Jumps ---------------------------------------------------------------------- */

/* The n-th jump, from 1: "p", "m", "d<n>", or NULL when there are no more. */
static const char *jump_name(unsigned int n)
{
	char *pos, *tok, *list = strdup(vmt_param("jumps"));

	for (tok = strtok_r(list, ",", &pos); tok; tok = strtok_r(NULL, ",", &pos))
		if (!--n)
			return tok;
	return NULL;
}

static unsigned int jump_devs(const char *jump)
{
	return *jump == 'd' ? strtoul(jump + 1, NULL, 10) : 0;
}

#define JUMP_FIGURE(value, jump, fmt, ...) \
	figure(value, "jump/%s/" fmt, jump, ##__VA_ARGS__)

/* Everything but what happens in the jump itself. */
static void preserve(struct __test_metadata *_metadata, const char *jump)
{
	unsigned int i, n = jump_devs(jump);
	uint64_t t[2];

	session = luo_create_session(luo, SESSION);
	ASSERT_LE(0, session);
	t[0] = lu_now_us();
	ASSERT_EQ(0, lu_preserve(session, memfd, MEMORY_TOKEN));
	t[1] = lu_now_us();
	JUMP_FIGURE(t[1] - t[0], jump, "preserve_memfd_us");
	for (i = 0; i < n; i++) {
		t[0] = lu_now_us();
		ASSERT_EQ(0, lu_preserve(session, fds[i], devs[i].token));
		t[1] = lu_now_us();
		JUMP_FIGURE(t[1] - t[0], jump, "preserve_%s_us", i ? "next" : "first");
	}
}

/* Seconds in a line of the trace that has @what, or 0. */
static double trace_time(const char *line, const char *what)
{
	const char *pos = strstr(line, ": pci_liveupdate_step: ");

	if (!pos || !strstr(pos, what))
		return 0;
	while (pos > line && pos[-1] != ' ')
		pos--;
	return strtod(pos, NULL);
}

/*
 * Freeze all devices, and have the reboot fail then: the time of each is in the trace,
 * which a reboot that does not fail would take with it.
 */
static void freeze(struct __test_metadata *_metadata, const char *jump)
{
	static char buf[1 << 16];
	unsigned int i, n = jump_devs(jump), seen = 0;
	double start, first = 0, last = 0, now;
	int test = lu_test_file_open();
	char *pos, *line;

	preserve(_metadata, jump);
	ASSERT_EQ(0, lu_preserve(session, test, TEST_TOKEN));
	lu_test_file_set(test, "freeze=-5");
	vmt_write_file(TRACING "trace_clock", "mono");
	for (i = 0; i < param("freeze", 0); i++) {
		/* Opening it so empties it. */
		close(open(TRACING "trace", O_WRONLY | O_TRUNC));
		vmt_write_file(TRACING "events/pci_liveupdate/pci_liveupdate_step/enable", "1");
		start = lu_now_us() / 1e6;
		ASSERT_EQ(-1, syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2,
				      LINUX_REBOOT_CMD_KEXEC, NULL));
		ASSERT_EQ(EIO, errno);
		vmt_write_file(TRACING "events/pci_liveupdate/pci_liveupdate_step/enable", "0");
		ASSERT_LT(0, vmt_read_file(TRACING "trace", buf, sizeof(buf)));
		seen = 0;
		for (line = strtok_r(buf, "\n", &pos); line; line = strtok_r(NULL, "\n", &pos)) {
			now = trace_time(line, ": freeze: 0");
			if (!now)
				continue;
			if (!seen++)
				first = now;
			last = now;
		}
		ASSERT_EQ(n, seen);
		JUMP_FIGURE((last - start) * 1e6, jump, "freeze_us");
		if (n > 1)
			JUMP_FIGURE((last - first) * 1e6 / (n - 1), jump, "freeze_next_us");
	}
	close(session);
	close(test);
}

static void leave(struct __test_metadata *_metadata, const char *jump)
{
	unsigned int i;

	vmt_kexec_load();
	for (i = 0; i < count; i++)
		use_dev(i);
	if (jump_devs(jump) && param("freeze", 0))
		freeze(_metadata, jump);
	if (*jump != 'p')
		preserve(_metadata, jump);
	mark(VMT_PRESERVED);
	vmt_step("%s; jump", *jump == 'p' ? "nothing preserved" :
		 *jump == 'm' ? "memory preserved" : "memory and devices preserved");
	ASSERT_TRUE(__test_passed(_metadata));
	print_figures();
	tick();
	ASSERT_EQ(0, vmt_kexec());
}

/*
 * What the kernel says of its own start, if it was told to (initcall_debug). The times that
 * it prints are of a clock that ticks every 4 ms at first, those before the lines are not.
 */
static void initcalls(const char *jump)
{
	char *log, *pos, *line, name[64];
	double now, called = 0;

	if (!vmt_param("initcalls"))
		return;
	log = kernel_log();
	for (line = strtok_r(log, "\n", &pos); line; line = strtok_r(NULL, "\n", &pos)) {
		if (sscanf(line, "<%*d>[%lf] calling %60[^+ ]", &now, name) == 2)
			called = now;
		else if (sscanf(line, "<%*d>[%lf] initcall %60[^+ ]", &now, name) == 2)
			JUMP_FIGURE((now - called) * 1e6, jump, "initcall:%s", name);
	}
	free(log);
}

static void arrive(struct __test_metadata *_metadata, const char *jump)
{
	unsigned int i, n = jump_devs(jump);
	uint64_t t[3];

	if (*jump != 'p') {
		session = luo_retrieve_session(luo, SESSION);
		ASSERT_LE(0, session);
		t[0] = lu_now_us();
		memfd = lu_retrieve(session, MEMORY_TOKEN);
		ASSERT_LE(0, memfd);
		t[1] = lu_now_us();
		JUMP_FIGURE(t[1] - t[0], jump, "retrieve_memfd_us");
	}
	for (i = 0; i < n; i++) {
		vmt_bind(devs[i].bdf, "vfio-pci");
		t[0] = lu_now_us();
		fds[i] = lu_retrieve(session, devs[i].token);
		t[1] = lu_now_us();
		ASSERT_LE(0, fds[i]) {
			TH_LOG("%s", devs[i].name);
		}
		JUMP_FIGURE(t[1] - t[0], jump, "retrieve_us");
	}
	mark(VMT_RETRIEVED);
	if (*jump != 'p') {
		t[0] = lu_now_us();
		ASSERT_EQ(0, lu_map_file(iommu, memfd, 0, mem_size, IOVA));
		t[1] = lu_now_us();
		JUMP_FIGURE(t[1] - t[0], jump, "map_us");
	}
	mark(VMT_USER2);
	for (i = 0; i < count; i++) {
		if (i >= n)
			open_dev(_metadata, i);
		t[0] = lu_now_us();
		ASSERT_EQ(0, lu_bind_iommufd(fds[i], iommu));
		t[1] = lu_now_us();
		ASSERT_EQ(0, lu_attach(fds[i], iommu));
		t[2] = lu_now_us();
		JUMP_FIGURE(t[1] - t[0], jump, "%s_us", i < n ? "bind" : "open_bind");
		JUMP_FIGURE(t[2] - t[1], jump, "%s_%s_us", i < n ? "attach" : "open_attach",
			    !i ? "first" : i == n - 1 ? "last" : "next");
	}
	mark(VMT_OPENED);
	if (*jump != 'p') {
		t[0] = lu_now_us();
		ASSERT_EQ(0, luo_session_finish(session));
		t[1] = lu_now_us();
		JUMP_FIGURE(t[1] - t[0], jump, "finish_us");
		close(session);
	}
	mark(VMT_FINISHED);
	initcalls(jump);
	print_figures();
}

TEST(jumps)
{
	const char *before = vmt_stage() > 1 ? jump_name(vmt_stage() - 1) : NULL;
	const char *next = jump_name(vmt_stage());
	unsigned int i;

	mark(VMT_START);
	if (before)
		JUMP_FIGURE(lu_now_us(), before, "uptime_us");
	mem_size = param("size", 64) * MIB;
	iommu = iommu_init(MODE_IOMMUFD);
	if (before)
		arrive(_metadata, before);
	if (!next)
		return;
	if ((!before || *before == 'p') && *next != 'p')
		make_mem(mem_size);
	if (!before) {
		for (i = 0; i < count; i++) {
			open_dev(_metadata, i);
			attach(_metadata, i);
		}
	}
	if ((!before || *before == 'p') && *next != 'p')
		ASSERT_EQ(0, lu_map_file(iommu, memfd, 0, mem_size, IOVA));
	leave(_metadata, next);
}

int main(void)
{
	char *argv[] = { "bench", "-t", vmt_param("sizes") ? "sizes" : "jumps", NULL };

	luo = luo_open_device();
	if (luo < 0)
		vmt_die("/dev/liveupdate");
	count = lu_find(devs, MAX_DEVS);
	return test_harness_run(3, argv);
}
