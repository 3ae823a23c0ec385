// SPDX-License-Identifier: GPL-2.0-only
/*
 * kexec: vfio devices go through one live update or more and are what they were.
 *
 * Every device whose type lu_devices.c knows takes part, all in one session. The
 * first kernel programs them and leaves; each later one takes them over, compares
 * what it finds with what the kernel before noted down, sees whether they work, and
 * programs them anew for the next; the last one closes them as well. "vmtest.last="
 * is the number of the last stage, 2 by default.
 *
 * The notes are in a memfd of the same session, and so is the memory of the
 * devices' queues, which they can reach all the time.
 *
 * The unpatched kernel cannot preserve a device. There the same run shows what is
 * lost, so that the comparisons are known to see it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lu_harness.h"

static struct lu_dev devs[LU_MAX_DEVS];
static unsigned int count;
static struct iommu *iommu;
static int luo, session = -1, notes = -1;

static const char *session_name(int stage)
{
	static char name[32];

	snprintf(name, sizeof(name), "kexec-%d", stage);
	return name;
}

/* In kB. */
static uint64_t mem_total(void)
{
	char buf[4096];

	if (vmt_read_file("/proc/meminfo", buf, sizeof(buf)) < 0)
		vmt_die("/proc/meminfo");
	return strtoull(buf + strlen("MemTotal:"), NULL, 10);
}

/*
 * What is handed over and never freed is missing from the memory of the next
 * kernel, and in the one after that, too. A page or two depend on where the kernel
 * lies.
 */
static void check_leaks(struct __test_metadata *_metadata)
{
	uint64_t *first = &devs[0].saved->mem_total, now = mem_total();

	if (!*first)
		*first = now;
	EXPECT_LE(*first, now + 16) {
		TH_LOG("memory, in kB, gets lost in live updates");
	}
}

/* ---- Before the jump ------------------------------------------------------- */

/* The kinds of interrupt take turns, by device and by generation. */
static int choose_irq(struct lu_dev *dev)
{
	unsigned int index, turn = 2 + dev->nr + vmt_stage();

	for (;; turn--) {
		index = turn % 3;
		if (dev->ops->irqs & (1 << index))
			return index;
	}
}

static void leave(struct __test_metadata *_metadata)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		struct lu_dev *dev = &devs[i];

		EXPECT_TRUE(lu_program(dev, vmt_stage(), choose_irq(dev))) {
			TH_LOG("%s: does not work before anything was preserved", dev->name);
		}
		vmt_step("%s: programmed, %s in use", dev->name, lu_irq_name(dev->irq_index));
	}

	session = luo_create_session(luo, session_name(vmt_stage()));
	ASSERT_LE(0, session);
	ASSERT_EQ(0, lu_preserve(session, notes, LU_NOTES_TOKEN));
	for (i = 0; i < count; i++) {
		struct lu_dev *dev = &devs[i];

		if (vmt_stock()) {
			ASSERT_EQ(-ENOENT, lu_preserve(session, dev->vfio->fd, dev->token));
			continue;
		}
		ASSERT_EQ(0, lu_preserve(session, dev->vfio->fd, dev->token)) {
			TH_LOG("%s: preserve", dev->name);
		}
		EXPECT_STREQ("preserved", lu_state(dev->bdf));
		if (*dev->port)
			EXPECT_STREQ("preserved", lu_state(dev->port));
		vmt_step("%s: preserved as %#llx", dev->name, (unsigned long long)dev->token);
	}
	vmt_mark(VMT_PRESERVED);
	vmt_ask("peek start");

	vmt_kexec_load();
	for (i = 0; i < count; i++) {
		/* Preserved devices go on working. */
		EXPECT_TRUE(lu_irq_test(&devs[i]));
		lu_note_down(&devs[i]);
	}
	/* What has failed so far would be forgotten with this kernel. */
	ASSERT_TRUE(__test_passed(_metadata));
	vmt_ask("snapshot before");
	vmt_step("jump");
	ASSERT_EQ(0, vmt_kexec());
}

/* ---- After the jump -------------------------------------------------------- */

/* Nobody else may have the device until it is finished. */
static void check_reserved(struct __test_metadata *_metadata, struct lu_dev *dev)
{
	struct vfio_pci_device group;

	EXPECT_EQ(-EBUSY, lu_cdev_open(dev->bdf)) {
		TH_LOG("%s: a second open", dev->name);
	}
	/* It does not get so far: the translation is reserved as well. */
	EXPECT_EQ(-EPERM, lu_group_open(dev->bdf, &group)) {
		TH_LOG("%s: an open through its group", dev->name);
	}
	close(group.group_fd);
	iommu_cleanup(group.iommu);
}

static int retrieve(struct __test_metadata *_metadata, struct lu_dev *dev)
{
	struct stat cdev, got, twice;
	char path[64];
	int fd, again;

	EXPECT_STREQ("incoming", lu_state(dev->bdf));
	if (*dev->port)
		EXPECT_STREQ("incoming", lu_state(dev->port));
	vmt_bind(dev->bdf, "vfio-pci");
	check_reserved(_metadata, dev);

	fd = lu_retrieve(session, dev->token);
	ASSERT_LE(0, fd) {
		TH_LOG("%s: retrieve", dev->name);
	}
	EXPECT_STREQ("retrieved", lu_state(dev->bdf));

	/* As if the cdev had been opened. */
	ASSERT_EQ(0, stat(vmt_cdev_path(dev->bdf, path, sizeof(path)), &cdev));
	ASSERT_EQ(0, fstat(fd, &got));
	EXPECT_TRUE(S_ISCHR(got.st_mode));
	EXPECT_EQ(cdev.st_rdev, got.st_rdev);

	/* Asking twice gives the same file. */
	again = lu_retrieve(session, dev->token);
	EXPECT_LE(0, again);
	EXPECT_EQ(0, fstat(again, &twice));
	EXPECT_EQ(got.st_ino, twice.st_ino);
	close(again);

	check_reserved(_metadata, dev);
	vmt_step("%s: retrieved", dev->name);
	return fd;
}

/* The device is opened, and closed again when its ID cannot be told. Nothing happens to it. */
static void bind_in_vain(struct __test_metadata *_metadata, int fd)
{
	struct vfio_device_bind_iommufd *arg;

	arg = mmap(NULL, sizeof(*arg), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, arg);
	arg->argsz = sizeof(*arg);
	arg->iommufd = iommu->iommufd;
	ASSERT_EQ(0, mprotect(arg, sizeof(*arg), PROT_READ));
	EXPECT_EQ(-1, ioctl(fd, VFIO_DEVICE_BIND_IOMMUFD, arg));
	EXPECT_EQ(EFAULT, errno);
	munmap(arg, sizeof(*arg));
}

static void reopen(struct __test_metadata *_metadata, struct lu_dev *dev, int fd)
{
	if (vmt_stock()) {
		lu_open(dev, iommu);
		return;
	}
	EXPECT_TRUE(lu_bus_master(dev->bdf)) {
		TH_LOG("%s: bus master before bind", dev->name);
	}
	EXPECT_EQ(-EBUSY, luo_session_finish(session)) {
		TH_LOG("%s: finish before bind", dev->name);
	}
	bind_in_vain(_metadata, fd);
	EXPECT_TRUE(lu_bus_master(dev->bdf)) {
		TH_LOG("%s: bus master after a bind that failed", dev->name);
	}
	ASSERT_EQ(0, lu_bind_iommufd(fd, iommu));
	EXPECT_EQ(-EBUSY, luo_session_finish(session)) {
		TH_LOG("%s: finish before attach", dev->name);
	}
	ASSERT_EQ(0, lu_attach(fd, iommu));
	lu_setup(dev, fd, iommu);
	EXPECT_TRUE(lu_bus_master(dev->bdf)) {
		TH_LOG("%s: bus master after bind", dev->name);
	}
	EXPECT_EQ(-EBUSY, lu_cdev_open(dev->bdf)) {
		TH_LOG("%s: a second open before finish", dev->name);
	}
}

/*
 * What a VMM does first: look at everything, and write back what it believes to be
 * there. Nothing changes by that: from the mark OPENED to USER1 the witness sees
 * each write that gets through, and what was there.
 */
static void write_back(struct __test_metadata *_metadata, struct lu_dev *dev)
{
	static const struct {
		uint8_t cap;
		uint8_t off;
		uint8_t size;
	} regs[] = {
		{ 0, PCI_COMMAND, 2 }, { 0, PCI_CACHE_LINE_SIZE, 1 },
		{ 0, PCI_LATENCY_TIMER, 1 }, { 0, PCI_BASE_ADDRESS_0, 4 },
		{ 0, PCI_BASE_ADDRESS_1, 4 }, { 0, PCI_BASE_ADDRESS_2, 4 },
		{ 0, PCI_BASE_ADDRESS_3, 4 }, { 0, PCI_BASE_ADDRESS_4, 4 },
		{ 0, PCI_BASE_ADDRESS_5, 4 }, { 0, PCI_ROM_ADDRESS, 4 },
		{ 0, PCI_INTERRUPT_LINE, 1 }, { PCI_CAP_ID_PM, PCI_PM_CTRL, 2 },
		{ PCI_CAP_ID_MSI, PCI_MSI_FLAGS, 2 }, { PCI_CAP_ID_MSIX, PCI_MSIX_FLAGS, 2 },
		{ PCI_CAP_ID_EXP, PCI_EXP_DEVCTL, 2 }, { PCI_CAP_ID_EXP, PCI_EXP_LNKCTL, 2 },
	};
	uint8_t cfg[LU_CFG_SIZE] = {};

	lu_read_config(dev, cfg);
	for (unsigned int i = 0; i < ARRAY_SIZE(regs); i++) {
		unsigned int pos = regs[i].cap ? lu_cap(dev, regs[i].cap) : 0;

		if (regs[i].cap && !pos)
			continue;
		vfio_pci_config_access(dev->vfio, true, pos + regs[i].off, regs[i].size,
				       &cfg[pos + regs[i].off]);
	}
	EXPECT_EQ(0, lu_config_changed(dev)) {
		TH_LOG("%s: after everything was written back", dev->name);
	}
}

/* Can the hardware keep an interrupt that comes while it is masked? */
static bool keeps_pending(struct lu_dev *dev, int index)
{
	unsigned int cap = lu_cap(dev, PCI_CAP_ID_MSI);

	if (index != VFIO_PCI_MSI_IRQ_INDEX)
		return true;
	return vfio_pci_config_readw(dev->vfio, cap + PCI_MSI_FLAGS) & PCI_MSI_FLAGS_MASKBIT;
}

static void check_irqs(struct __test_metadata *_metadata, struct lu_dev *dev)
{
	int index = dev->saved->irq_index;

	/* Signalled before this kernel has asked for it. */
	if (keeps_pending(dev, index)) {
		dev->irq_index = index;
		dev->ops->irq_raise(dev, 0);
		lu_irq_enable(dev, index);
		EXPECT_TRUE(lu_irq_wait(dev, 0)) {
			TH_LOG("%s: %s signalled before SET_IRQS is lost", dev->name,
			       lu_irq_name(index));
		}
		lu_irq_ack(dev);
	} else {
		lu_irq_enable(dev, index);
	}
	/* The device itself needs no new set-up. */
	EXPECT_TRUE(lu_irq_test(dev)) {
		TH_LOG("%s: %s after the jump", dev->name, lu_irq_name(index));
	}
}

static void check_one(struct __test_metadata *_metadata, struct lu_dev *dev)
{
	int other;

	check_irqs(_metadata, dev);
	EXPECT_EQ(0, lu_config_changed(dev)) {
		TH_LOG("%s: after SET_IRQS", dev->name);
	}
	if (dev->ops->dma)
		EXPECT_TRUE(dev->ops->dma(dev, vmt_stage())) {
			TH_LOG("%s: DMA after the jump", dev->name);
		}

	/* Nothing may be preserved again while it is still arriving. */
	other = luo_create_session(luo, "too early");
	EXPECT_EQ(-EBUSY, lu_preserve(other, dev->vfio->fd, 1));
	close(other);
}

/* It lost everything, but it can be set up again. */
static void check_one_stock(struct __test_metadata *_metadata, struct lu_dev *dev)
{
	EXPECT_TRUE(lu_program(dev, vmt_stage(), dev->saved->irq_index));
}

static void arrive(struct __test_metadata *_metadata)
{
	unsigned int i, lost, changed, all_lost = 0, all_changed = 0, regs = 0, bytes = 0;
	int fds[LU_MAX_DEVS];

	/* As the new kernel has left them, before anybody asks for them. */
	vmt_ask("snapshot after");
	session = luo_retrieve_session(luo, session_name(vmt_stage() - 1));
	ASSERT_LE(0, session);
	EXPECT_EQ(-ENOENT, lu_retrieve(session, 0xbad));
	if (!vmt_stock())
		EXPECT_EQ(-EBUSY, luo_session_finish(session));
	notes = lu_retrieve(session, LU_NOTES_TOKEN);
	ASSERT_LE(0, notes);
	lu_notes_map(notes, devs, count);
	for (i = 0; i < count; i++)
		lu_dma_map(&devs[i], iommu);

	for (i = 0; i < count && !vmt_stock(); i++)
		fds[i] = retrieve(_metadata, &devs[i]);
	vmt_mark(VMT_RETRIEVED);
	for (i = 0; i < count; i++)
		reopen(_metadata, &devs[i], fds[i]);
	vmt_mark(VMT_OPENED);
	vmt_ask("peek stop");
	for (i = 0; i < count && !vmt_stock(); i++)
		write_back(_metadata, &devs[i]);
	vmt_mark(VMT_USER1);

	lu_quiet = vmt_stock();
	for (i = 0; i < count; i++) {
		struct lu_dev *dev = &devs[i];

		changed = lu_config_changed(dev);
		if (vmt_stock())
			lu_set_command(dev, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
		lost = lu_regs_changed(dev);
		vmt_step("%s: %u of %u registers and %u of %u bytes of config space changed",
			 dev->name, lost, dev->saved->nr_regs, changed, dev->saved->cfg_size);
		if (vmt_stock()) {
			EXPECT_NE(0, changed);
			if (dev->ops->reset_shows)
				EXPECT_NE(0, lost);
			check_one_stock(_metadata, dev);
		} else {
			EXPECT_EQ(0, changed);
			EXPECT_EQ(0, lost);
			EXPECT_EQ(0, lu_info_changed(dev));
			check_one(_metadata, dev);
			vmt_step("%s: %s %s", dev->name, lu_irq_name(dev->irq_index),
				 dev->ops->dma ? "and DMA work" : "works");
		}
		all_changed += changed;
		all_lost += lost;
		bytes += dev->saved->cfg_size;
		regs += dev->saved->nr_regs;
	}
	vmt_figure("registers", regs);
	vmt_figure("registers-lost", all_lost);
	vmt_figure("config-bytes", bytes);
	vmt_figure("config-bytes-changed", all_changed);

	EXPECT_EQ(0, luo_session_finish(session));
	vmt_mark(VMT_FINISHED);
	close(session);
	for (i = 0; i < count && !vmt_stock(); i++) {
		EXPECT_STREQ("none", lu_state(devs[i].bdf));
		if (*devs[i].port)
			EXPECT_STREQ("none", lu_state(devs[i].port));
		EXPECT_TRUE(lu_bus_master(devs[i].bdf)) {
			TH_LOG("%s: bus master after finish", devs[i].name);
		}
		EXPECT_TRUE(lu_irq_test(&devs[i]));
	}
	vmt_step("session finished");
	if (!vmt_stock())
		check_leaks(_metadata);
}

/* ---- The end --------------------------------------------------------------- */

/* After the last close it is like any other device. */
static void check_clean(struct __test_metadata *_metadata, struct lu_dev *dev)
{
	uint16_t cmd;

	/* It can be reset if it could be before. */
	if (dev->saved->flags & VFIO_DEVICE_FLAGS_RESET)
		EXPECT_EQ(0, ioctl(dev->vfio->fd, VFIO_DEVICE_RESET)) {
			TH_LOG("%s: VFIO_DEVICE_RESET", dev->name);
		}
	lu_set_command(dev, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY);
	EXPECT_TRUE(lu_program(dev, 98, dev->saved->irq_index)) {
		TH_LOG("%s: after VFIO_DEVICE_RESET", dev->name);
	}
	lu_note_down(dev);
	lu_close(dev);
	EXPECT_FALSE(lu_bus_master(dev->bdf)) {
		TH_LOG("%s: bus master after close", dev->name);
	}

	lu_open(dev, iommu);
	EXPECT_FALSE(lu_bus_master(dev->bdf)) {
		TH_LOG("%s: bus master after an ordinary open", dev->name);
	}
	cmd = vfio_pci_config_readw(dev->vfio, PCI_COMMAND);
	EXPECT_EQ(0, cmd & PCI_COMMAND_PARITY) {
		TH_LOG("%s: COMMAND is still %#x after an ordinary open", dev->name, cmd);
	}
	lu_set_command(dev, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	lu_quiet = true;
	if (dev->ops->reset_shows)
		EXPECT_NE(0, lu_regs_changed(dev)) {
			TH_LOG("%s: not reset by close and open", dev->name);
		}
	/* Usable, and no trace of the interrupts it came with. */
	EXPECT_TRUE(lu_program(dev, 99, dev->saved->irq_index)) {
		TH_LOG("%s: after an ordinary open", dev->name);
	}
	lu_close(dev);
}

FIXTURE(kexec) {
};

FIXTURE_SETUP(kexec)
{
	luo = luo_open_device();
	ASSERT_LE(0, luo);
	count = lu_find(devs, LU_MAX_DEVS);
	iommu = iommu_init(MODE_IOMMUFD);
}

FIXTURE_TEARDOWN(kexec)
{
}

TEST_F(kexec, leave)
{
	unsigned int i;

	vmt_mark(VMT_START);
	notes = lu_notes_create(devs, count);
	for (i = 0; i < count; i++) {
		if (!vmt_stock())
			EXPECT_STREQ("none", lu_state(devs[i].bdf));
		lu_dma_map(&devs[i], iommu);
		lu_open(&devs[i], iommu);
	}
	leave(_metadata);
}

TEST_F(kexec, pass_through)
{
	arrive(_metadata);
	leave(_metadata);
}

TEST_F(kexec, arrive)
{
	unsigned int i;

	arrive(_metadata);
	for (i = 0; i < count; i++)
		check_clean(_metadata, &devs[i]);
	vmt_mark(VMT_CLOSED);
	vmt_step("all devices closed, clean");
}

int main(void)
{
	const char *last = vmt_param("last");
	char *argv[] = { "kexec", "-t", "pass_through", NULL };

	if (vmt_stage() == 1)
		argv[2] = "leave";
	else if (vmt_stage() == (last ? atoi(last) : 2))
		argv[2] = "arrive";
	return test_harness_run(3, argv);
}
