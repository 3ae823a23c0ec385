// SPDX-License-Identifier: GPL-2.0-only
/*
 * freeze_unbind: a live update while the driver of a preserved device is on its way
 * out. Unbinding waits for the device's files, and a session has one: the live
 * update has to fail, or the two wait for each other.
 */
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/vfio.h>

#include "lu_harness.h"

FIXTURE(unbind) {
	struct lu_dev dev;
	struct iommu *iommu;
	int luo, session;
	pid_t pid;
};

/* A preserved device, and a process that is stuck in unbinding its driver. */
FIXTURE_SETUP(unbind)
{
	struct pollfd pfd = { .events = POLLIN };

	self->luo = luo_open_device();
	self->session = luo_create_session(self->luo, "unbind");
	ASSERT_LE(0, self->session);
	lu_find_one(&self->dev, 0x8086, 0x10d3, 0);
	self->iommu = iommu_init(MODE_IOMMUFD);
	lu_open(&self->dev, self->iommu);
	ASSERT_TRUE(lu_program(&self->dev, 1, VFIO_PCI_MSIX_IRQ_INDEX));
	ASSERT_EQ(0, lu_preserve(self->session, self->dev.vfio->fd, 1));
	vmt_kexec_load();

	/* vfio signals this one when it wants the device back. */
	pfd.fd = eventfd(0, EFD_CLOEXEC);
	lu_set_irqs(&self->dev, VFIO_PCI_REQ_IRQ_INDEX, VFIO_IRQ_SET_ACTION_TRIGGER, 1, &pfd.fd);
	self->pid = fork();
	if (!self->pid) {
		int ret;

		/* Its copies of the files must not be what unbinding waits for. */
		close(self->dev.vfio->fd);
		close(self->session);
		for (int i = 0; i < PCI_STD_NUM_BARS; i++)
			if (self->dev.vfio->bars[i].vaddr)
				munmap(self->dev.vfio->bars[i].vaddr,
				       self->dev.vfio->bars[i].info.size);
		ret = vmt_try_unbind(self->dev.bdf);
		_exit(ret < 0 ? -ret : 0);
	}
	ASSERT_EQ(1, poll(&pfd, 1, 20000));
	close(pfd.fd);
}

static bool unbinding(pid_t pid)
{
	return !waitpid(pid, NULL, WNOHANG);
}

static void check_refused(struct __test_metadata *_metadata, FIXTURE_DATA(unbind) *self)
{
	uint64_t start = lu_now_us();

	EXPECT_EQ(-ENODEV, vmt_kexec());
	EXPECT_GT(5000000, lu_now_us() - start);
	EXPECT_STREQ("preserved", lu_state(self->dev.bdf));
	EXPECT_TRUE(unbinding(self->pid));
}

/* Now nothing is in its way any more. */
FIXTURE_TEARDOWN(unbind)
{
	int status;

	ASSERT_EQ(self->pid, waitpid(self->pid, &status, 0));
	EXPECT_TRUE(WIFEXITED(status));
	EXPECT_EQ(0, WEXITSTATUS(status));
	EXPECT_STREQ("none", lu_state(self->dev.bdf));
	EXPECT_FALSE(lu_bus_master(self->dev.bdf));

	/* And back again. */
	lu_open(&self->dev, self->iommu);
	lu_set_command(&self->dev, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	self->session = luo_create_session(self->luo, "again");
	EXPECT_EQ(0, lu_preserve(self->session, self->dev.vfio->fd, 1));
	close(self->session);
	lu_close(&self->dev);
}

TEST_F(unbind, session_closed_first)
{
	int other;

	check_refused(_metadata, self);
	/* The device works on for the one who has it. */
	EXPECT_TRUE(lu_irq_test(&self->dev));
	check_refused(_metadata, self);

	close(self->session);
	EXPECT_STREQ("none", lu_state(self->dev.bdf));
	EXPECT_TRUE(unbinding(self->pid));
	EXPECT_TRUE(lu_irq_test(&self->dev));

	/* There is no point in preserving it again. */
	other = luo_create_session(self->luo, "other");
	EXPECT_EQ(-ENODEV, lu_preserve(other, self->dev.vfio->fd, 1));
	close(other);
	lu_close(&self->dev);
}

TEST_F(unbind, file_closed_first)
{
	lu_close(&self->dev);
	EXPECT_TRUE(unbinding(self->pid));
	EXPECT_TRUE(lu_bus_master(self->dev.bdf));
	check_refused(_metadata, self);
	close(self->session);
}

TEST_HARNESS_MAIN
