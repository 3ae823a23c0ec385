// SPDX-License-Identifier: GPL-2.0-only
/*
 * memory_hold: as long as a device goes on using the page tables of the previous
 * kernel, the memfd that these refer to stays in its place, whatever happens to the
 * rest of the memory; then it is an ordinary memfd again.
 *
 * usage: memory_hold stay|close|abandon
 *
 * stay: the memfd is retrieved and looked at. close: it is closed at once, and its
 * pages must not be given to anyone. abandon: nothing is retrieved.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/iommufd.h>
#include <linux/mempolicy.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>

#include "kselftest.h"
#include "lu.h"

#define PAGE	0x1000UL
#define PAGES	8192UL
#define SIZE	(PAGES * PAGE)
#define IOVA	0x1000000UL
#define ROUNDS	2
#define TOKEN	1

static uint64_t value(unsigned long page)
{
	return 0x9e3779b97f4a7c15ull * (page + 1);
}

static char *map(int fd)
{
	char *mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);

	if (mem == MAP_FAILED)
		vmt_die("cannot map the memfd");
	return mem;
}

static void read_pfns(char *mem, uint64_t *pfns)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	size_t size = PAGES * sizeof(*pfns);
	volatile char *page = mem;

	/* Migration takes pages out of the page table. */
	for (unsigned long i = 0; i < PAGES; i++)
		(void)page[i * PAGE];
	if (fd < 0 || pread(fd, pfns, size, (uintptr_t)mem / PAGE * 8) != (ssize_t)size)
		vmt_die("cannot read the pagemap");
	close(fd);
	for (unsigned long i = 0; i < PAGES; i++) {
		pfns[i] &= (1ull << 55) - 1;
		if (!pfns[i])
			vmt_die("page %lu is not there", i);
	}
}

static unsigned long changed(const uint64_t *before, const uint64_t *after)
{
	unsigned long nr = 0;

	for (unsigned long i = 0; i < PAGES; i++)
		nr += before[i] != after[i];
	return nr;
}

static unsigned long wrong_values(char *mem)
{
	unsigned long nr = 0;

	for (unsigned long i = 0; i < PAGES; i++)
		nr += *(uint64_t *)(mem + i * PAGE) != value(i);
	return nr;
}

static unsigned long long field(const char *path, const char *name)
{
	static char buf[16384];
	char *pos;

	if (vmt_read_file(path, buf, sizeof(buf)) < 0)
		vmt_die("cannot read %s", path);
	pos = strstr(buf, name);
	if (!pos)
		vmt_die("no %s in %s", name, path);
	return strtoull(pos + strlen(name), NULL, 10);
}

/* The counters are kept per CPU and added up now and then. */
static unsigned long long vmstat(const char *name)
{
	if (vmt_write_file("/proc/sys/vm/stat_refresh", "1") < 0)
		vmt_die("cannot add up the counters");
	return field("/proc/vmstat", name);
}

/* Pins that are not released. */
static long pins(void)
{
	return vmstat("nr_foll_pin_acquired ") - vmstat("nr_foll_pin_released ");
}

/* Free pages, with those that the CPUs keep for themselves. */
static long free_pages(void)
{
	static char buf[65536];
	long nr = vmstat("nr_free_pages ");

	if (vmt_read_file("/proc/zoneinfo", buf, sizeof(buf)) < 0)
		vmt_die("cannot read /proc/zoneinfo");
	for (char *pos = buf; (pos = strstr(pos, " count: ")); pos++)
		nr += strtol(pos + 8, NULL, 10);
	return nr;
}

/*
 * Fill half of the memory, leave every other page of that, and let the kernel tidy up.
 * The debug kernel, which is slow and has more of it, does with an eighth.
 */
static void churn(void)
{
	unsigned int part = strcmp(vmt_param("flavour"), "debug") ? 2 : 8;

	for (unsigned int round = 0; round < ROUNDS; round++) {
		size_t size = field("/proc/meminfo", "MemAvailable:") * 1024 / part / PAGE * PAGE;
		char *mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (mem == MAP_FAILED)
			vmt_die("cannot map %zu bytes", size);
		madvise(mem, size, MADV_NOHUGEPAGE);
		memset(mem, 0xa5, size);
		for (size_t pos = 0; pos < size; pos += 2 * PAGE)
			madvise(mem + pos, PAGE, MADV_DONTNEED);
		if (vmt_write_file("/proc/sys/vm/compact_memory", "1") < 0)
			vmt_die("cannot compact memory");
		munmap(mem, size);
	}
}

/*
 * Ask for each page to be moved to the other of the machine's two nodes. Returns how
 * many are there then.
 */
static unsigned long move(char *mem)
{
	void **pages = calloc(PAGES, sizeof(*pages));
	int *from = calloc(PAGES, sizeof(*from)), *to = calloc(PAGES, sizeof(*to));
	int *status = calloc(PAGES, sizeof(*status));
	unsigned long nr = 0;

	if (!pages || !from || !to || !status)
		vmt_die("no memory");
	for (unsigned long i = 0; i < PAGES; i++)
		pages[i] = mem + i * PAGE;
	if (syscall(SYS_move_pages, 0, PAGES, pages, NULL, from, 0))
		vmt_die("cannot ask where the pages are");
	for (unsigned long i = 0; i < PAGES; i++) {
		if (from[i] != 0 && from[i] != 1)
			vmt_die("page %lu is on node %d", i, from[i]);
		to[i] = !from[i];
	}
	/* Above 0: so many were not moved. */
	if (syscall(SYS_move_pages, 0, PAGES, pages, to, status, MPOL_MF_MOVE) < 0)
		vmt_die("cannot ask for the pages to be moved");
	if (syscall(SYS_move_pages, 0, PAGES, pages, NULL, status, 0))
		vmt_die("cannot ask where the pages are");
	for (unsigned long i = 0; i < PAGES; i++)
		nr += status[i] == to[i];
	free(pages);
	free(from);
	free(to);
	free(status);
	return nr;
}

/* ---- The kernel before ------------------------------------------------------------- */

/* The device's own BAR, as VMMs map it for the sake of other devices. */
static int bar_dma_buf(struct lu_dev *dev)
{
	char buf[sizeof(struct vfio_device_feature) +
		 sizeof(struct vfio_device_feature_dma_buf) +
		 sizeof(struct vfio_region_dma_range)] = {};
	struct vfio_device_feature *arg = (void *)buf;
	struct vfio_device_feature_dma_buf *get = (void *)arg->data;
	int fd;

	arg->argsz = sizeof(buf);
	arg->flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF;
	get->nr_ranges = 1;
	get->dma_ranges[0].length = dev->vfio->bars[0].info.size;
	fd = ioctl(dev->vfio->fd, VFIO_DEVICE_FEATURE, arg);
	if (fd < 0)
		vmt_die("%s: no dma-buf of its BAR", dev->name);
	return fd;
}

static void preserve(struct lu_dev *dev)
{
	int fd = memfd_create("hold", MFD_CLOEXEC), luo, session, ret;
	struct iommu *iommu = iommu_init(MODE_IOMMUFD);
	char *mem;

	luo = luo_open_device();
	if (luo < 0)
		vmt_die("cannot open /dev/liveupdate");
	session = luo_create_session(luo, "hold");
	if (session < 0) {
		errno = -session;
		vmt_die("no session");
	}
	if (fd < 0 || ftruncate(fd, SIZE))
		vmt_die("memfd");
	mem = map(fd);
	for (unsigned long i = 0; i < PAGES; i++)
		*(uint64_t *)(mem + i * PAGE) = value(i);

	lu_open(dev, iommu);
	lu_set_command(dev, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	if (lu_map_file(iommu, fd, 0, SIZE, IOVA))
		vmt_die("cannot map the memfd for the device");
	if (lu_map_file(iommu, bar_dma_buf(dev), 0, dev->vfio->bars[0].info.size, IOVA + SIZE))
		vmt_die("cannot map the BAR for the device");
	vmt_mark(VMT_START);
	ret = lu_preserve(session, fd, TOKEN);
	if (!ret)
		ret = lu_preserve(session, dev->vfio->fd, dev->token);
	if (ret) {
		errno = -ret;
		vmt_die("not preserved");
	}
	vmt_mark(VMT_PRESERVED);
	vmt_kexec_load();
	errno = -vmt_kexec();
	vmt_die("kexec");
}

/* ---- The kernel after ---------------------------------------------------------------- */

static bool frozen(int fd)
{
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE, PAGE) &&
	       errno == EPERM && ftruncate(fd, SIZE - PAGE) && errno == EPERM &&
	       ftruncate(fd, SIZE + PAGE) && errno == EPERM &&
	       fallocate(fd, 0, 0, SIZE) && errno == EPERM;
}

/* The device leaves the page tables of the kernel before. */
static void let_go(struct lu_dev *dev, int session)
{
	int ret = lu_take(dev, session, iommu_init(MODE_IOMMUFD));

	if (ret)
		exit(KSFT_FAIL);
	vmt_mark(VMT_OPENED);
}

static void check_stay(struct lu_dev *dev, int luo, int session)
{
	uint64_t *before = calloc(PAGES, sizeof(*before)), *after = calloc(PAGES, sizeof(*after));
	int fd = lu_retrieve(session, TOKEN), other;
	unsigned long moved, asked;
	char *mem;

	if (fd < 0 || !before || !after)
		vmt_die("no memfd");
	mem = map(fd);
	read_pfns(mem, before);
	churn();
	asked = move(mem);
	read_pfns(mem, after);
	moved = changed(before, after);
	vmt_figure("pages moved while held", moved);
	ksft_test_result(!moved && !asked, "no page of a held memfd moves\n");
	ksft_test_result(!wrong_values(mem), "its content is what it was\n");
	ksft_test_result(frozen(fd), "it cannot be punched, truncated or grown\n");
	ksft_test_result(pins() >= (long)PAGES, "its pages are pinned\n");
	other = luo_create_session(luo, "other");
	ksft_test_result(lu_preserve(other, fd, 1) == -EBUSY, "it cannot be preserved again\n");

	let_go(dev, session);
	ksft_test_result(!luo_session_finish(session), "the session is finished\n");
	read_pfns(mem, before);
	asked = move(mem);
	read_pfns(mem, after);
	moved = changed(before, after);
	vmt_figure("pages moved afterwards", moved);
	ksft_test_result(moved == PAGES && asked == PAGES, "then it can be moved\n");
	ksft_test_result(!wrong_values(mem), "with its content\n");
	ksft_test_result(!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE, PAGE) &&
			 !ftruncate(fd, 2 * SIZE), "punched and grown\n");
	ksft_test_result(!lu_preserve(other, fd, 1), "and preserved\n");
	close(other);
	munmap(mem, SIZE);
	close(fd);
}

static void check_close(struct lu_dev *dev, int session)
{
	long before = pins(), held;
	int fd = lu_retrieve(session, TOKEN);

	if (fd < 0)
		vmt_die("no memfd");
	close(fd);
	churn();
	held = pins() - before;
	vmt_figure("pages held", held);
	ksft_test_result(held == (long)PAGES, "the pages of a closed memfd are held\n");
	let_go(dev, session);
	ksft_test_result(!luo_session_finish(session), "the session is finished\n");
	ksft_test_result(pins() == before, "then they are not\n");
}

/* Closing the session stops the device first, and gives the memory away after that. */
static void check_abandon(struct lu_dev *dev, int session)
{
	long before = pins();

	close(session);
	ksft_test_result(pins() == before, "no page of an abandoned memfd is held\n");
	ksft_test_result(!lu_bus_master(dev->bdf), "its device is quiet\n");
}

int main(int argc, char **argv)
{
	const char *what = argc == 2 ? argv[1] : "";
	struct lu_dev dev;
	int luo, session;
	long shmem, nr;

	lu_find_one(&dev, 0x1234, 0x11e8, 0);
	if (vmt_stage() == 1)
		preserve(&dev);

	ksft_print_header();
	vmt_bind(dev.bdf, "vfio-pci");
	luo = luo_open_device();
	session = luo_retrieve_session(luo, "hold");
	if (session < 0)
		vmt_die("no session");
	shmem = vmstat("nr_shmem ");
	nr = free_pages();
	if (!strcmp(what, "stay")) {
		ksft_set_plan(12);
		check_stay(&dev, luo, session);
	} else if (!strcmp(what, "close")) {
		ksft_set_plan(5);
		check_close(&dev, session);
	} else {
		ksft_set_plan(4);
		check_abandon(&dev, session);
	}
	vmt_mark(VMT_FINISHED);
	/* All of the memfd is memory of the system now. */
	nr = free_pages() - nr;
	vmt_figure("pages that came free", nr);
	ksft_test_result(nr > (long)PAGES / 10 * 9, "its memory is free\n");
	ksft_test_result(vmstat("nr_shmem ") == (unsigned long long)shmem,
			 "nothing of it is left\n");
	ksft_finished();
}
