// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmferry_luo: libvmferry's sessions against the kernel, before and after a kexec, and
 * what it maps.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/iommufd.h>

#include "kselftest_harness.h"
#include "vmferry.h"
#include "vmtest.h"

#define NAME	"vm-0123456789abcdef0123456789abcdef"
#define TOKEN	0x1000000000000001ULL
#define TEXT	"all aboard"

/* A child that has the device open until it is killed. */
static pid_t hold_device(void)
{
	int pipefd[2];
	pid_t pid;
	char c;

	if (pipe(pipefd))
		vmt_die("pipe");
	pid = fork();
	if (!pid) {
		if (open("/dev/liveupdate", O_RDWR) < 0 || write(pipefd[1], "", 1) != 1)
			vmt_die("cannot hold /dev/liveupdate");
		pause();
	}
	close(pipefd[1]);
	if (pid < 0 || read(pipefd[0], &c, 1) != 1)
		vmt_die("the child that holds /dev/liveupdate");
	close(pipefd[0]);
	return pid;
}

static void let_go(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

TEST(names)
{
	char name[VMFERRY_SESSION_NAME_MAX + 2], read[VMFERRY_SESSION_NAME_MAX + 1];
	int session;

	EXPECT_EQ(-EINVAL, vmferry_session_create("", 0));
	EXPECT_EQ(-EINVAL, vmferry_session_retrieve("", 0));
	memset(name, 'n', sizeof(name));
	name[VMFERRY_SESSION_NAME_MAX + 1] = 0;
	EXPECT_EQ(-ENAMETOOLONG, vmferry_session_create(name, 0));
	EXPECT_EQ(-ENAMETOOLONG, vmferry_session_retrieve(name, 0));

	name[VMFERRY_SESSION_NAME_MAX] = 0;
	session = vmferry_session_create(name, 0);
	ASSERT_LE(0, session);
	EXPECT_TRUE(fcntl(session, F_GETFD) & FD_CLOEXEC);
	EXPECT_EQ(0, vmferry_session_name(session, read));
	EXPECT_STREQ(name, read);
	EXPECT_EQ(-EEXIST, vmferry_session_create(name, 0));
	EXPECT_EQ(-ENOENT, vmferry_session_retrieve(name, 0));
	close(session);
	session = vmferry_session_create(name, 0);
	EXPECT_LE(0, session);
	close(session);
}

TEST(busy)
{
	pid_t pid = hold_device();
	int session, pipefd[2], status;
	pid_t opener;
	char c;

	EXPECT_EQ(-EBUSY, vmferry_session_create(NAME, 0));
	EXPECT_EQ(-EBUSY, vmferry_session_create(NAME, 50));
	EXPECT_EQ(-EBUSY, vmferry_session_retrieve(NAME, 50));

	/* Somebody waits, and it becomes free. */
	ASSERT_EQ(0, pipe(pipefd));
	opener = fork();
	if (!opener) {
		if (write(pipefd[1], "", 1) != 1)
			_exit(1);
		_exit(vmferry_session_create(NAME, 10000) < 0);
	}
	ASSERT_EQ(1, read(pipefd[0], &c, 1));
	let_go(pid);
	ASSERT_EQ(opener, waitpid(opener, &status, 0));
	EXPECT_EQ(0, status);
	/* It is held for no longer than it takes. */
	session = vmferry_session_create(NAME, 0);
	ASSERT_LE(0, session);
	pid = hold_device();
	EXPECT_EQ(VMFERRY_OUTGOING, vmferry_session_direction(session));
	let_go(pid);
	close(session);
}

TEST(no_session)
{
	char name[VMFERRY_SESSION_NAME_MAX + 1];
	int fd = memfd_create("memfd", MFD_CLOEXEC), pipefd[2];

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, pipe(pipefd));
	EXPECT_EQ(-ENOTTY, vmferry_session_direction(fd));
	EXPECT_EQ(-ENOTTY, vmferry_session_name(fd, name));
	EXPECT_EQ(-ENOTTY, vmferry_session_direction(pipefd[0]));
	EXPECT_EQ(-EBADF, vmferry_session_direction(-1));
	EXPECT_EQ(-EBADF, vmferry_session_finish(-1));
	EXPECT_GT(0, vmferry_session_preserve(fd, fd, 1));
	EXPECT_GT(0, vmferry_session_retrieve_fd(fd, 1));
	close(fd);
	close(pipefd[0]);
	close(pipefd[1]);
}

TEST(outgoing)
{
	int session = vmferry_session_create("outgoing", 0);
	int fd = memfd_create("memfd", MFD_CLOEXEC), other = memfd_create("memfd", MFD_CLOEXEC);

	ASSERT_LE(0, session);
	EXPECT_EQ(VMFERRY_OUTGOING, vmferry_session_direction(session));
	EXPECT_EQ(0, vmferry_session_preserve(session, fd, TOKEN));
	/* The manifest's token, with which the question is put. */
	EXPECT_EQ(0, vmferry_session_preserve(session, other, 0));
	EXPECT_EQ(-EBADF, vmferry_session_preserve(session, -1, 2));
	EXPECT_EQ(-EEXIST, vmferry_session_preserve(session, fd, TOKEN));
	EXPECT_EQ(-ENOENT, vmferry_session_preserve(session, STDIN_FILENO, 3));
	EXPECT_EQ(-EINVAL, vmferry_session_retrieve_fd(session, TOKEN));
	EXPECT_EQ(-EINVAL, vmferry_session_finish(session));
	/* Asking has changed nothing. */
	EXPECT_EQ(VMFERRY_OUTGOING, vmferry_session_direction(session));
	close(session);
	close(fd);
	close(other);
}

TEST(map)
{
	struct vmferry_map maps[] = {
		{ .iova = 0x10000000, .length = 0x3000 },
		{ .iova = 0x20000000, .length = 0x1000, .offset = 0x2000, .read_only = true },
	};
	struct iommu_ioas_area areas[3];
	struct iommu_ioas_get_areas arg = {
		.size = sizeof(arg),
		.entry_len = sizeof(areas[0]),
		.num_areas = 3,
		.areas = (uintptr_t)areas,
	};
	int iommufd = vmferry_iommufd_open(), fd = memfd_create("memfd", MFD_CLOEXEC);
	struct stat st;

	ASSERT_LE(0, iommufd);
	ASSERT_EQ(0, ftruncate(fd, 0x3000));
	ASSERT_EQ(0, fstat(fd, &st));
	ASSERT_EQ(0, vmferry_ioas_alloc(iommufd, &arg.ioas_id));
	for (unsigned int i = 0; i < 2; i++) {
		maps[i].fd = fd;
		ASSERT_EQ(0, vmferry_ioas_map(iommufd, arg.ioas_id, &maps[i]));
	}
	EXPECT_EQ(-EEXIST, vmferry_ioas_map(iommufd, arg.ioas_id, &maps[0]));
	ASSERT_EQ(0, ioctl(iommufd, IOMMU_IOAS_GET_AREAS, &arg));
	ASSERT_EQ(2, arg.num_areas);
	for (unsigned int i = 0; i < 2; i++) {
		EXPECT_EQ(maps[i].iova, areas[i].iova);
		EXPECT_EQ(maps[i].length, areas[i].length);
		EXPECT_EQ(maps[i].offset, areas[i].start);
		EXPECT_EQ(st.st_ino, areas[i].ino);
		EXPECT_EQ(IOMMU_IOAS_MAP_READABLE |
			  (maps[i].read_only ? 0 : IOMMU_IOAS_MAP_WRITEABLE), areas[i].flags);
	}
	close(fd);
	close(iommufd);
}

/* The last, for it jumps. */
TEST(leave)
{
	int session = vmferry_session_create(NAME, 0), fd;

	ASSERT_LE(0, session);
	fd = memfd_create("memfd", MFD_CLOEXEC);
	ASSERT_EQ(sizeof(TEXT), write(fd, TEXT, sizeof(TEXT)));
	ASSERT_EQ(0, vmferry_session_preserve(session, fd, TOKEN));
	vmt_kexec_load();
	ASSERT_EQ(0, vmt_kexec());
}

TEST(arrive)
{
	char text[sizeof(TEXT)], name[VMFERRY_SESSION_NAME_MAX + 1];
	int session, fd;

	EXPECT_EQ(-ENOENT, vmferry_session_retrieve("other", 0));
	session = vmferry_session_retrieve(NAME, 0);
	ASSERT_LE(0, session);
	EXPECT_TRUE(fcntl(session, F_GETFD) & FD_CLOEXEC);
	EXPECT_EQ(0, vmferry_session_name(session, name));
	EXPECT_STREQ(NAME, name);
	EXPECT_EQ(-EINVAL, vmferry_session_retrieve(NAME, 0));
	EXPECT_EQ(VMFERRY_INCOMING, vmferry_session_direction(session));
	EXPECT_EQ(-ENOENT, vmferry_session_retrieve_fd(session, TOKEN + 1));
	EXPECT_EQ(-ENOENT, vmferry_session_retrieve_fd(session, (uint32_t)TOKEN));
	fd = vmferry_session_retrieve_fd(session, TOKEN);
	ASSERT_LE(0, fd);
	EXPECT_TRUE(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	EXPECT_EQ(sizeof(TEXT), pread(fd, text, sizeof(text), 0));
	EXPECT_EQ(0, memcmp(TEXT, text, sizeof(TEXT)));
	EXPECT_EQ(-EINVAL, vmferry_session_preserve(session, fd, 5));
	EXPECT_EQ(VMFERRY_INCOMING, vmferry_session_direction(session));
	EXPECT_EQ(0, vmferry_session_finish(session));
	/* Closing it would finish it as well. */
	EXPECT_EQ(-ENOENT, vmferry_session_retrieve_fd(session, TOKEN));
	close(session);
	EXPECT_EQ(-ENOENT, vmferry_session_retrieve(NAME, 0));
	close(fd);
}

int main(void)
{
	char *first[] = { "vmferry_luo", "-T", "arrive", NULL };
	char *second[] = { "vmferry_luo", "-t", "arrive", NULL };

	return vmt_stage() == 1 ? test_harness_run(3, first) : test_harness_run(3, second);
}
