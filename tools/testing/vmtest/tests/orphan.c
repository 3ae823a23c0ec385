// SPDX-License-Identifier: GPL-2.0-only
/*
 * orphan: the process that owns a device is dead when the kernel is replaced.
 *
 * A process opens, programs and preserves the devices in a session that another
 * one holds as well, and is killed. The session keeps the devices open: they go
 * through the kexec as any other.
 */
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lu_harness.h"

static struct lu_dev devs[LU_MAX_DEVS];
static unsigned int count;

static void own(int session, int ready)
{
	struct iommu *iommu = iommu_init(MODE_IOMMUFD);
	unsigned int i;
	int err;

	for (i = 0; i < count; i++) {
		lu_dma_map(&devs[i], iommu);
		lu_open(&devs[i], iommu);
	}
	for (i = 0; i < count; i++) {
		/* Every kind of interrupt is in use when the owner dies. */
		if (!lu_program(&devs[i], 7, devs[i].ops->vectors ? VFIO_PCI_MSIX_IRQ_INDEX :
				i % 2 ? VFIO_PCI_MSI_IRQ_INDEX : VFIO_PCI_INTX_IRQ_INDEX))
			_exit(1);
		err = lu_preserve(session, devs[i].vfio->fd, devs[i].token);
		if (err) {
			errno = -err;
			vmt_die("%s: preserve", devs[i].name);
		}
		lu_note_down(&devs[i]);
	}
	if (write(ready, "", 1) != 1)
		_exit(1);
	pause();
}

TEST(old_kernel)
{
	int luo, session, notes, pipefd[2], status;
	unsigned int i;
	pid_t owner;
	char c;

	vmt_mark(VMT_START);
	luo = luo_open_device();
	session = luo_create_session(luo, "orphan");
	ASSERT_LE(0, session);
	count = lu_find(devs, LU_MAX_DEVS);
	notes = lu_notes_create(devs, count);
	ASSERT_EQ(0, lu_preserve(session, notes, LU_NOTES_TOKEN));

	ASSERT_EQ(0, pipe(pipefd));
	owner = fork();
	if (!owner)
		own(session, pipefd[1]);
	close(pipefd[1]);
	ASSERT_EQ(1, read(pipefd[0], &c, 1));
	vmt_mark(VMT_PRESERVED);
	vmt_step("%u devices preserved by process %d", count, owner);

	kill(owner, SIGKILL);
	ASSERT_EQ(owner, waitpid(owner, &status, 0));
	ASSERT_TRUE(WIFSIGNALED(status));
	for (i = 0; i < count; i++) {
		EXPECT_STREQ("preserved", lu_state(devs[i].bdf));
		EXPECT_TRUE(lu_bus_master(devs[i].bdf));
	}
	vmt_step("process %d killed", owner);

	ASSERT_TRUE(__test_passed(_metadata));
	vmt_kexec_load();
	ASSERT_EQ(0, vmt_kexec());
}

TEST(new_kernel)
{
	struct iommu *iommu = iommu_init(MODE_IOMMUFD);
	int luo, session, notes;
	unsigned int i;

	luo = luo_open_device();
	session = luo_retrieve_session(luo, "orphan");
	ASSERT_LE(0, session);
	count = lu_find(devs, LU_MAX_DEVS);
	notes = lu_retrieve(session, LU_NOTES_TOKEN);
	ASSERT_LE(0, notes);
	lu_notes_map(notes, devs, count);
	for (i = 0; i < count; i++)
		lu_dma_map(&devs[i], iommu);

	for (i = 0; i < count; i++) {
		vmt_bind(devs[i].bdf, "vfio-pci");
		ASSERT_EQ(0, lu_take(&devs[i], session, iommu));
		EXPECT_EQ(0, lu_config_changed(&devs[i]));
		EXPECT_EQ(0, lu_regs_changed(&devs[i]));
		lu_irq_enable(&devs[i], devs[i].saved->irq_index);
		EXPECT_TRUE(lu_irq_test(&devs[i]));
		if (devs[i].ops->dma)
			EXPECT_TRUE(devs[i].ops->dma(&devs[i], 1));
	}
	vmt_mark(VMT_RETRIEVED);
	EXPECT_EQ(0, luo_session_finish(session));
	vmt_mark(VMT_FINISHED);
	for (i = 0; i < count; i++)
		lu_close(&devs[i]);
	vmt_mark(VMT_CLOSED);
	vmt_step("all devices found a new owner");
}

/* Nobody comes for them, and the kernel is replaced once more. */
TEST(unclaimed)
{
	unsigned int i;

	count = lu_find(devs, LU_MAX_DEVS);
	for (i = 0; i < count; i++) {
		EXPECT_STREQ("incoming", lu_state(devs[i].bdf));
		EXPECT_TRUE(lu_bus_master(devs[i].bdf));
	}
	ASSERT_TRUE(__test_passed(_metadata));
	vmt_kexec_load();
	ASSERT_EQ(0, vmt_kexec());
}

/* Then they are stopped like any other. */
TEST(stopped)
{
	unsigned int i;

	count = lu_find(devs, LU_MAX_DEVS);
	for (i = 0; i < count; i++) {
		EXPECT_STREQ("none", lu_state(devs[i].bdf));
		EXPECT_FALSE(lu_bus_master(devs[i].bdf));
	}
	vmt_step("unclaimed devices are stopped by the next kexec");
}

int main(int argc, char *argv[])
{
	static const char *const claimed[] = { "old_kernel", "new_kernel" };
	static const char *const unclaimed[] = { "old_kernel", "unclaimed", "stopped" };
	bool nobody = argc > 1 && !strcmp(argv[1], "unclaimed");
	const char *test = (nobody ? unclaimed : claimed)[vmt_stage() - 1];
	char *args[] = { "orphan", "-t", (char *)test, NULL };

	return test_harness_run(3, args);
}
