// SPDX-License-Identifier: GPL-2.0-only
/*
 * meddle: what root can do to a preserved device that waits to be retrieved.
 *
 * sysfs refuses what would surely disturb it. The rest is allowed, since it cannot:
 * power management, ASPM, expansion ROMs, drivers that come and go, siblings that
 * are removed, rescans. All of it would write to an ordinary device or to the
 * bridges above, and does so here before anything is preserved; the witness has to
 * see it then, and must not see it later.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/vfio.h>

#include "lu_harness.h"

#define SESSION		"meddle"
#define POLICY		"/sys/module/pcie_aspm/parameters/policy"

static struct lu_dev devs[LU_MAX_DEVS];
static unsigned int count;

/* What is written to a device and the bridges above it, whether it has it or not. */
static const struct {
	const char *attr, *value;
} writes[] = {
	{ "power/control", "auto" },
	{ "power/control", "on" },
	{ "d3cold_allowed", "0" },
	{ "d3cold_allowed", "1" },
	{ "broken_parity_status", "1" },
	{ "broken_parity_status", "0" },
	{ "msi_bus", "0" },
	{ "msi_bus", "1" },
	{ "link/l0s_aspm", "1" },
	{ "link/l0s_aspm", "0" },
	{ "link/l1_aspm", "1" },
	{ "link/l1_aspm", "0" },
	{ "link/clkpm", "1" },
	{ "link/clkpm", "0" },
	{ "rom", "1" },
};

/* What has to be refused. */
static const struct {
	const char *attr, *value;
} refused[] = {
	{ "enable", "0" },
	{ "reset", "1" },
	{ "remove", "1" },
};

static void poke(const char *bdf)
{
	static char rom[1 << 16];
	unsigned int i;
	int ret;

	for (i = 0; i < ARRAY_SIZE(writes); i++) {
		ret = vmt_dev_write(bdf, writes[i].attr, writes[i].value);
		if (ret < 0 && ret != -ENOENT)
			fprintf(stderr, "%s: %s <- %s: %s\n", bdf, writes[i].attr,
				writes[i].value, strerror(-ret));
	}
	vmt_dev_read(bdf, "rom", rom, sizeof(rom));
	vmt_dev_write(bdf, "rom", "0");
}

/* Its driver comes and goes. */
static void rebind(struct lu_dev *dev)
{
	vmt_try_unbind(dev->bdf);
	vmt_bind(dev->bdf, "vfio-pci");
}

static void meddle(struct __test_metadata *_metadata)
{
	const char *bdf, *sibling, *port;
	unsigned int i;

	for (i = 0; i < count; i++)
		for (bdf = devs[i].bdf; bdf; bdf = lu_above(bdf))
			poke(bdf);
	for (i = 0; i < count; i++)
		rebind(&devs[i]);

	/* These are of all links. */
	EXPECT_LT(0, vmt_write_file(POLICY, "powersave"));
	EXPECT_LT(0, vmt_write_file(POLICY, "performance"));
	EXPECT_LT(0, vmt_write_file(POLICY, "default"));

	/* A device beside them, then its port with it. */
	sibling = vmt_find(0x1b36, 0x0005, 0);
	ASSERT_NE(NULL, sibling);
	port = lu_above(sibling);
	EXPECT_LT(0, vmt_dev_write(sibling, "remove", "1"));
	EXPECT_LT(0, vmt_write_file("/sys/bus/pci/rescan", "1"));
	EXPECT_LT(0, vmt_dev_write(port, "remove", "1"));
	EXPECT_EQ(NULL, vmt_find(0x1b36, 0x0005, 0));
	EXPECT_LT(0, vmt_write_file("/sys/bus/pci/rescan", "1"));
	sibling = vmt_find(0x1b36, 0x0005, 0);
	ASSERT_NE(NULL, sibling);
	EXPECT_LE(0, vmt_dev_write(sibling, "enable", "1")) {
		TH_LOG("%s: lost its resources", sibling);
	}
}

static void check_refused(struct __test_metadata *_metadata)
{
	const char *bdf;
	unsigned int i, n;

	for (i = 0; i < count; i++)
		for (bdf = devs[i].bdf; bdf; bdf = lu_above(bdf))
			for (n = 0; n < ARRAY_SIZE(refused); n++) {
				int ret = vmt_dev_write(bdf, refused[n].attr, refused[n].value);

				EXPECT_TRUE(ret == -EBUSY || ret == -ENOENT) {
					TH_LOG("%s: %s <- %s: %d", bdf, refused[n].attr,
					       refused[n].value, ret);
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
	count = lu_find(devs, LU_MAX_DEVS);
	meddle(_metadata);
	vmt_mark(VMT_USER1);

	notes = lu_notes_create(devs, count);
	for (i = 0; i < count; i++) {
		lu_dma_map(&devs[i], iommu);
		lu_open(&devs[i], iommu);
	}
	session = lu_preserve_all(luo, SESSION, notes, devs, count, VFIO_PCI_INTX_IRQ_INDEX);
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
	int luo, session, notes, fds[LU_MAX_DEVS];
	unsigned int i;

	luo = luo_open_device();
	ASSERT_LE(0, luo);
	count = lu_find(devs, LU_MAX_DEVS);
	session = luo_retrieve_session(luo, SESSION);
	ASSERT_LE(0, session);
	notes = lu_retrieve(session, LU_NOTES_TOKEN);
	ASSERT_LE(0, notes);
	lu_notes_map(notes, devs, count);
	for (i = 0; i < count; i++)
		lu_dma_map(&devs[i], iommu);

	meddle(_metadata);
	check_refused(_metadata);
	vmt_step("meddled with incoming devices");
	for (i = 0; i < count; i++) {
		EXPECT_STREQ("incoming", lu_state(devs[i].bdf));
		vmt_bind(devs[i].bdf, "vfio-pci");
		fds[i] = lu_retrieve(session, devs[i].token);
		ASSERT_LE(0, fds[i]);
	}
	vmt_mark(VMT_RETRIEVED);
	check_refused(_metadata);
	vmt_ask("snapshot after");

	for (i = 0; i < count; i++) {
		ASSERT_EQ(0, lu_bind_iommufd(fds[i], iommu));
		ASSERT_EQ(0, lu_attach(fds[i], iommu));
		lu_setup(&devs[i], fds[i], iommu);
	}
	vmt_mark(VMT_OPENED);
	for (i = 0; i < count; i++) {
		EXPECT_EQ(0, lu_config_changed(&devs[i]));
		EXPECT_EQ(0, lu_regs_changed(&devs[i]));
		lu_irq_enable(&devs[i], devs[i].saved->irq_index);
		EXPECT_TRUE(lu_irq_test(&devs[i]));
		EXPECT_TRUE(lu_bus_master(devs[i].bdf));
	}
	EXPECT_EQ(0, luo_session_finish(session));
	vmt_mark(VMT_FINISHED);
	close(session);
	for (i = 0; i < count; i++) {
		EXPECT_TRUE(lu_irq_test(&devs[i]));
		lu_close(&devs[i]);
	}
	vmt_mark(VMT_CLOSED);
}

int main(void)
{
	char *argv[] = { "meddle", "-t", vmt_stage() == 1 ? "old_kernel" : "new_kernel", NULL };

	return test_harness_run(3, argv);
}
