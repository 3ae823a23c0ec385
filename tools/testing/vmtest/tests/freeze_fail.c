// SPDX-License-Identifier: GPL-2.0-only
/*
 * freeze_fail: live updates that are called off half way, under load.
 *
 * Three devices with the three kinds of interrupt are preserved, and after them a
 * file whose freeze fails. For every device there are threads that read it through
 * a mapped BAR and through read(), and one that makes it signal and waits for the
 * interrupt, again and again. Then the kernel is to be replaced, again and again:
 * reboot() fails, no thread ever sees an error or a wrong value, no interrupt is
 * lost. In the end it succeeds, with the readers still at work.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/kexec.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>

#include "edu_regs.h"
#include "lu_harness.h"

#define GOOD_TOKEN	2
#define BAD_TOKEN	3
#define BURST		20	/* reboots in a row before the users are waited for */

/* In the order in which lu_find() finds the devices of the scenario. */
enum { MSIX_DEV, MSI_DEV, INTX_DEV, COUNT };
static const int kinds[COUNT] = {
	VFIO_PCI_MSIX_IRQ_INDEX, VFIO_PCI_MSI_IRQ_INDEX, VFIO_PCI_INTX_IRQ_INDEX,
};

static struct lu_dev devs[LU_MAX_DEVS];

/* What the threads see. */
static struct {
	pthread_t mapped, reader, irqs;
	struct lu_dev *dev;
	int ioeventfd;
	atomic_uint reads, signals;
} users[COUNT];
static pthread_t watcher;
static atomic_uint errors, frozen_seen, attempts;
static atomic_bool stop, stop_irqs;

#define FAIL(...) do {				\
	if (!atomic_fetch_add(&errors, 1))	\
		fprintf(stderr, __VA_ARGS__);	\
} while (0)

/* Reads a register that never changes, through the mapped BAR. */
static void *mapped_thread(void *arg)
{
	struct lu_dev *dev = arg;
	unsigned int reg = dev->nr == MSIX_DEV ? 0x5400 : EDU_LIVENESS;
	uint32_t want = lu_read32(dev, reg), got;

	while (!atomic_load(&stop)) {
		got = lu_read32(dev, reg);
		if (got != want)
			FAIL("%s: register %#x was %#x, is %#x\n", dev->name, reg, want, got);
	}
	return NULL;
}

/* The same with a system call, in turn with config space. */
static void *reader_thread(void *arg)
{
	struct lu_dev *dev = arg;
	unsigned int reg = dev->nr == MSIX_DEV ? 0x5400 : EDU_LIVENESS;
	uint32_t want = lu_read32(dev, reg), got, id;

	while (!atomic_load(&stop)) {
		if (pread(dev->vfio->fd, &got, 4, dev->vfio->bars[0].info.offset + reg) != 4 ||
		    got != want)
			FAIL("%s: read() of a register: %#x, %m\n", dev->name, got);
		if (pread(dev->vfio->fd, &id, 4, dev->vfio->config_space.offset) != 4 ||
		    id != (uint32_t)(dev->ops->vendor | dev->ops->device << 16))
			FAIL("%s: read() of config space: %#x, %m\n", dev->name, id);
		atomic_fetch_add(&users[dev->nr].reads, 1);
	}
	return NULL;
}

/*
 * Makes the device signal and waits for it: with a write to the BAR; with an
 * ioeventfd, which the kernel writes from when it likes; with DMA that takes
 * edu 0.1 s, so that the end of it falls into a freeze now and then.
 */
static void *irqs_thread(void *arg)
{
	struct lu_dev *dev = arg;
	unsigned int i, vector;
	uint64_t one = 1;

	for (i = 0; !atomic_load(&stop_irqs); i++) {
		vector = 0;
		if (dev->nr == MSIX_DEV) {
			vector = i % 2;		/* both are in use */
			dev->ops->irq_raise(dev, vector);
		} else if (i % 3 == 0) {
			dev->ops->irq_raise(dev, 0);
		} else if (i % 3 == 1) {
			if (write(users[dev->nr].ioeventfd, &one, sizeof(one)) != sizeof(one))
				FAIL("%s: ioeventfd: %m\n", dev->name);
		} else {
			lu_write64(dev, EDU_DMA_SRC, dev->dma.iova);
			lu_write64(dev, EDU_DMA_DST, EDU_BUFFER);
			lu_write64(dev, EDU_DMA_COUNT, 64);
			lu_write64(dev, EDU_DMA_CMD, 1 | 4);	/* run, signal the end */
		}
		if (!lu_irq_wait(dev, vector)) {
			FAIL("%s: %s %u is lost\n", dev->name, lu_irq_name(dev->irq_index),
			     vector);
			break;
		}
		/* vfio signals each vector of an MSI that cannot be masked once more. */
		lu_irq_ack(dev);
		atomic_fetch_add(&users[dev->nr].signals, 1);
	}
	return NULL;
}

/* While the first device is frozen nobody reads it: one call at most was on its way out. */
static void *watcher_thread(void *arg)
{
	struct lu_dev *dev = arg;
	unsigned int before, now, this;

	while (!atomic_load(&stop)) {
		this = atomic_load(&attempts);
		if (strcmp(lu_state(dev->bdf), "frozen"))
			continue;
		before = atomic_load(&users[dev->nr].reads);
		for (;;) {
			now = atomic_load(&users[dev->nr].reads);
			/* Still frozen, and not again. */
			if (strcmp(lu_state(dev->bdf), "frozen") ||
			    atomic_load(&attempts) != this)
				break;
			atomic_fetch_add(&frozen_seen, 1);
			if (now - before > 1)
				FAIL("%s: %u reads while frozen\n", dev->name, now - before);
		}
	}
	return NULL;
}

static void start_users(struct __test_metadata *_metadata)
{
	unsigned int i;

	for (i = 0; i < COUNT; i++) {
		struct lu_dev *dev = &devs[i];

		if (i != MSIX_DEV) {
			struct vfio_device_ioeventfd arg = {
				.argsz = sizeof(arg),
				.flags = VFIO_DEVICE_IOEVENTFD_32,
				.offset = dev->vfio->bars[0].info.offset + EDU_IRQ_RAISE,
				.data = 1,
			};

			arg.fd = users[i].ioeventfd = eventfd(0, EFD_CLOEXEC);
			ASSERT_EQ(0, ioctl(dev->vfio->fd, VFIO_DEVICE_IOEVENTFD, &arg));
		}
		ASSERT_EQ(0, pthread_create(&users[i].mapped, NULL, mapped_thread, dev));
		ASSERT_EQ(0, pthread_create(&users[i].reader, NULL, reader_thread, dev));
		ASSERT_EQ(0, pthread_create(&users[i].irqs, NULL, irqs_thread, dev));
	}
	ASSERT_EQ(0, pthread_create(&watcher, NULL, watcher_thread, &devs[MSIX_DEV]));
}

static void stop_interrupts(void)
{
	unsigned int i;

	atomic_store(&stop_irqs, true);
	for (i = 0; i < COUNT; i++)
		pthread_join(users[i].irqs, NULL);
}

static void stop_users(void)
{
	unsigned int i;

	atomic_store(&stop, true);
	for (i = 0; i < COUNT; i++) {
		pthread_join(users[i].mapped, NULL);
		pthread_join(users[i].reader, NULL);
	}
	pthread_join(watcher, NULL);
}

/* Until every thread has got on by a few, or something is wrong. */
static void wait_for_users(void)
{
	unsigned int i, reads[COUNT], signals[COUNT];

	for (i = 0; i < COUNT; i++) {
		reads[i] = atomic_load(&users[i].reads);
		signals[i] = atomic_load(&users[i].signals);
	}
	for (i = 0; i < COUNT; i++) {
		while (!atomic_load(&errors) &&
		       (atomic_load(&users[i].reads) - reads[i] < 2 ||
			atomic_load(&users[i].signals) - signals[i] < 2))
			sched_yield();
	}
}

/* An image as the old system call loads it: one page that nobody will run. */
static void load_without_kho(struct __test_metadata *_metadata)
{
	static char page[4096];
	struct kexec_segment seg = {
		.buf = page, .bufsz = sizeof(page),
		.mem = (void *)0x4000000, .memsz = sizeof(page),
	};

	ASSERT_EQ(0, syscall(SYS_kexec_load, 0x4000000ul, 1ul, &seg, KEXEC_ARCH_DEFAULT));
}

static void check_counts(struct __test_metadata *_metadata, int fd, unsigned int count)
{
	char want[64], got[64] = {};

	snprintf(want, sizeof(want), "frozen=%u unfrozen=%u incoming=0\n", count, count);
	EXPECT_LT(0, pread(fd, got, sizeof(got) - 1, 0));
	EXPECT_STREQ(want, got);
}

TEST(old_kernel)
{
	struct iommu *iommu = iommu_init(MODE_IOMMUFD);
	int luo, session, notes, good, bad;
	unsigned int i, j, rounds;

	/* It takes its time to notice everything. */
	rounds = strcmp(vmt_param("flavour"), "debug") ? 10 : 3;
	vmt_mark(VMT_START);
	luo = luo_open_device();
	session = luo_create_session(luo, "freeze-fail");
	ASSERT_LE(0, session);
	ASSERT_EQ(COUNT, lu_find(devs, LU_MAX_DEVS));
	notes = lu_notes_create(devs, COUNT);
	good = lu_test_file_open();
	bad = lu_test_file_open();
	ASSERT_EQ(0, lu_preserve(session, notes, LU_NOTES_TOKEN));
	for (i = 0; i < COUNT; i++) {
		lu_dma_map(&devs[i], iommu);
		lu_open(&devs[i], iommu);
	}
	for (i = 0; i < COUNT; i++) {
		ASSERT_TRUE(lu_program(&devs[i], 1, kinds[i]));
		users[i].dev = &devs[i];
		ASSERT_EQ(0, lu_preserve(session, devs[i].vfio->fd, devs[i].token));
	}
	/* Frozen in this order, after the devices. */
	ASSERT_EQ(0, lu_preserve(session, good, GOOD_TOKEN));
	ASSERT_EQ(0, lu_preserve(session, bad, BAD_TOKEN));
	lu_test_file_set(bad, "freeze=-5");
	vmt_mark(VMT_PRESERVED);

	start_users(_metadata);
	wait_for_users();

	/* Nothing loaded, and an image that gets no KHO data: not even that far. */
	EXPECT_EQ(-EINVAL, vmt_kexec());
	load_without_kho(_metadata);
	EXPECT_EQ(-ENOEXEC, vmt_kexec());
	check_counts(_metadata, good, 0);
	wait_for_users();
	vmt_mark(VMT_RESUMED);
	vmt_step("an image without KHO data is refused");

	vmt_kexec_load();
	for (i = 0; i < rounds; i++) {
		for (j = 0; j < BURST; j++) {
			ASSERT_EQ(-EIO, vmt_kexec());
			atomic_fetch_add(&attempts, 1);
		}
		wait_for_users();
		vmt_mark(VMT_RESUMED);
	}
	check_counts(_metadata, good, rounds * BURST);
	for (i = 0; i < COUNT; i++) {
		EXPECT_STREQ("preserved", lu_state(devs[i].bdf));
		vmt_step("%s: %u reads, %u interrupts (%s) over %u failed live updates",
			 devs[i].name, users[i].reads, users[i].signals,
			 lu_irq_name(devs[i].irq_index), rounds * BURST);
	}
	stop_interrupts();
	ASSERT_EQ(0, atomic_load(&errors));
	/* Or the watcher never saw anything. */
	EXPECT_LT(0, atomic_load(&frozen_seen));

	for (i = 0; i < COUNT; i++) {
		/* An interrupt too many is allowed for, an old one is not for the next test. */
		lu_irq_pending(&devs[i], 0);
		EXPECT_TRUE(lu_irq_test(&devs[i]));
		lu_note_down(&devs[i]);
	}
	lu_test_file_set(bad, "freeze=0");
	ASSERT_EQ(0, atomic_load(&errors));
	ASSERT_TRUE(__test_passed(_metadata));
	vmt_step("jump");
	/* With the readers still at it: they are in the old kernel to its end. */
	ASSERT_EQ(0, vmt_kexec()) {
		stop_users();
	}
}

TEST(new_kernel)
{
	struct iommu *iommu = iommu_init(MODE_IOMMUFD);
	int luo, session, fd;
	char text[64] = {};
	unsigned int i;

	luo = luo_open_device();
	session = luo_retrieve_session(luo, "freeze-fail");
	ASSERT_LE(0, session);
	ASSERT_EQ(COUNT, lu_find(devs, LU_MAX_DEVS));
	fd = lu_retrieve(session, LU_NOTES_TOKEN);
	ASSERT_LE(0, fd);
	lu_notes_map(fd, devs, COUNT);
	for (i = 0; i < COUNT; i++)
		lu_dma_map(&devs[i], iommu);
	fd = lu_retrieve(session, GOOD_TOKEN);
	ASSERT_LE(0, fd);
	ASSERT_LT(0, read(fd, text, sizeof(text) - 1));
	EXPECT_STREQ("frozen=0 unfrozen=0 incoming=1\n", text);

	for (i = 0; i < COUNT; i++) {
		vmt_bind(devs[i].bdf, "vfio-pci");
		fd = lu_retrieve(session, devs[i].token);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, lu_bind_iommufd(fd, iommu));
		ASSERT_EQ(0, lu_attach(fd, iommu));
		lu_setup(&devs[i], fd, iommu);
		EXPECT_EQ(0, lu_config_changed(&devs[i]));
		EXPECT_EQ(0, lu_regs_changed(&devs[i]));
		lu_irq_enable(&devs[i], devs[i].saved->irq_index);
		EXPECT_TRUE(lu_irq_test(&devs[i]));
	}
	vmt_mark(VMT_RETRIEVED);
	EXPECT_EQ(0, luo_session_finish(session));
	vmt_mark(VMT_FINISHED);
}

int main(void)
{
	char *argv[] = { "freeze_fail", "-t", vmt_stage() == 1 ? "old_kernel" : "new_kernel",
			 NULL };

	return test_harness_run(3, argv);
}
