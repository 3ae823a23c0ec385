// SPDX-License-Identifier: GPL-2.0-only
/*
 * boot_options: the next kernel is told something that does not go with a live update.
 *
 * The kernel looks at the image before it jumps: reboot() fails, the reason is in the
 * log (see the scenario), and the device works as before. With the right options it
 * then goes to the next kernel. The arguments, if there are any, are an option that is
 * wrong and one that makes it right again.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/kexec.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>

#include "lu_harness.h"

#define NOTES_TOKEN	1

static struct lu_dev dev;
static const char *wrong, *right;

static void check_works(struct __test_metadata *_metadata)
{
	EXPECT_STREQ("preserved", lu_state(dev.bdf));
	EXPECT_TRUE(lu_bus_master(dev.bdf));
	EXPECT_TRUE(lu_irq_test(&dev));
	EXPECT_EQ(0, lu_regs_changed(&dev));
}

/* With @extra at its end, the command line of this kernel is wrong for the next one. */
static void check_refused(struct __test_metadata *_metadata, const char *extra)
{
	ASSERT_EQ(0, vmt_try_kexec_load("/boot/bzImage", extra));
	EXPECT_EQ(-EOPNOTSUPP, vmt_kexec()) {
		TH_LOG("with %s", extra);
	}
	vmt_mark(VMT_RESUMED);
	check_works(_metadata);
	vmt_step("%s is refused", extra);
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

/* No command line at all: nothing that it needs is there. */
static void load_bare(struct __test_metadata *_metadata)
{
	int fd = open("/boot/bzImage", O_RDONLY | O_CLOEXEC);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, syscall(SYS_kexec_file_load, fd, -1, 0ul, NULL,
			     (unsigned long)KEXEC_FILE_NO_INITRAMFS));
	close(fd);
}

TEST(old_kernel)
{
	static const char * const options[] = {
		"kho=off", "kho=on kho=0", "liveupdate=off", "iommu=pt,off iommu=nopt",
		"intel-iommu=off", "intremap=on,nosid intremap=off", "intremap=on nointremap",
		"noapic", "acpi=off", "pci=realloc,off",
	};
	struct iommu *iommu = iommu_init(MODE_IOMMUFD);
	int luo, session, notes;
	char line[256];
	unsigned int i;

	vmt_mark(VMT_START);
	luo = luo_open_device();
	session = luo_create_session(luo, "boot-options");
	lu_find_one(&dev, 0x8086, 0x10d3, 0);
	notes = lu_notes_create(&dev, 1);
	lu_open(&dev, iommu);
	lu_dma_map(&dev, iommu);
	ASSERT_TRUE(lu_program(&dev, 1, VFIO_PCI_MSIX_IRQ_INDEX));
	lu_note_down(&dev);
	ASSERT_EQ(0, lu_preserve(session, notes, NOTES_TOKEN));
	ASSERT_EQ(0, lu_preserve(session, dev.vfio->fd, dev.token));
	vmt_mark(VMT_PRESERVED);

	if (wrong) {
		check_refused(_metadata, wrong);
		snprintf(line, sizeof(line), "%s %s", wrong, right);
	} else {
		load_without_kho(_metadata);
		EXPECT_EQ(-ENOEXEC, vmt_kexec());
		check_works(_metadata);
		load_bare(_metadata);
		EXPECT_EQ(-EOPNOTSUPP, vmt_kexec());
		check_works(_metadata);
		for (i = 0; i < ARRAY_SIZE(options); i++)
			check_refused(_metadata, options[i]);
		/* Looks wrong: but the last one counts, and what is for init does not. */
		snprintf(line, sizeof(line),
			 "liveupdate=off liveupdate=on nointremap intremap=on -- kho=off iommu=off");
	}
	ASSERT_TRUE(__test_passed(_metadata));
	ASSERT_EQ(0, vmt_try_kexec_load("/boot/bzImage", line));
	ASSERT_EQ(0, vmt_kexec());
}

TEST(new_kernel)
{
	struct iommu *iommu = iommu_init(MODE_IOMMUFD);
	int luo, session, fd;

	luo = luo_open_device();
	session = luo_retrieve_session(luo, "boot-options");
	ASSERT_LE(0, session);
	lu_find_one(&dev, 0x8086, 0x10d3, 0);
	fd = lu_retrieve(session, NOTES_TOKEN);
	ASSERT_LE(0, fd);
	lu_notes_map(fd, &dev, 1);
	vmt_bind(dev.bdf, "vfio-pci");
	ASSERT_EQ(0, lu_take(&dev, session, iommu));
	EXPECT_EQ(0, lu_regs_changed(&dev));
	lu_irq_enable(&dev, dev.saved->irq_index);
	EXPECT_TRUE(lu_irq_test(&dev));
	vmt_mark(VMT_RETRIEVED);
	EXPECT_EQ(0, luo_session_finish(session));
	vmt_mark(VMT_FINISHED);
}

int main(int argc, char **argv)
{
	char *args[] = { "boot_options", "-t", vmt_stage() == 1 ? "old_kernel" : "new_kernel",
			 NULL };

	if (argc > 2) {
		wrong = argv[1];
		right = argv[2];
	}
	return test_harness_run(3, args);
}
