// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Sessions and holders of the device are found in a made-up tree, where links are what
 * they should be and what they should not, and in the real one.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "vmferry.h"

FIXTURE(scan) {
	char path[32];
	int proc;
	dev_t null;
	struct vmferry_scan *scan;
};

static void process(int proc, const char *pid, const char *comm)
{
	char path[64];
	int fd;

	if (mkdirat(proc, pid, 0755))
		abort();
	snprintf(path, sizeof(path), "%s/fd", pid);
	if (mkdirat(proc, path, 0755))
		abort();
	if (!comm)
		return;
	snprintf(path, sizeof(path), "%s/comm", pid);
	fd = openat(proc, path, O_WRONLY | O_CREAT | O_EXCL, 0644);
	if (fd < 0 || write(fd, comm, strlen(comm)) != (ssize_t)strlen(comm))
		abort();
	close(fd);
}

static void file(int proc, const char *path, const char *target)
{
	if (symlinkat(target, proc, path))
		abort();
}

FIXTURE_SETUP(scan)
{
	struct stat st;

	strcpy(self->path, "/tmp/test-scan.XXXXXX");
	ASSERT_NE(NULL, mkdtemp(self->path));
	self->proc = open(self->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	ASSERT_LE(0, self->proc);
	ASSERT_EQ(0, stat("/dev/null", &st));
	self->null = st.st_rdev;
	self->scan = NULL;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

FIXTURE_TEARDOWN(scan)
{
	vmferry_scan_free(self->scan);
	close(self->proc);
	nftw(self->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

#define SCAN() ASSERT_EQ(0, vmferry_scan_new(self->proc, self->null, &self->scan))

static void expect_session(struct __test_metadata *_metadata, const struct vmferry_scan *scan,
			   size_t n, pid_t pid, int fd, const char *name, const char *comm)
{
	struct vmferry_scan_file file;

	ASSERT_EQ(0, vmferry_scan_get_session(scan, n, &file));
	EXPECT_EQ(pid, file.pid);
	EXPECT_EQ(fd, file.fd);
	EXPECT_STREQ(name, file.name);
	EXPECT_STREQ(comm, file.comm);
}

TEST_F(scan, empty)
{
	struct vmferry_scan_file file;

	SCAN();
	EXPECT_EQ(0, vmferry_scan_nr_sessions(self->scan));
	EXPECT_EQ(0, vmferry_scan_nr_holders(self->scan));
	EXPECT_EQ(0, vmferry_scan_unreadable(self->scan));
	EXPECT_EQ(-ERANGE, vmferry_scan_get_session(self->scan, 0, &file));
	EXPECT_EQ(-ERANGE, vmferry_scan_get_holder(self->scan, 0, &file));
}

TEST_F(scan, sessions)
{
	char longest[VMFERRY_SESSION_NAME_MAX + 1], link[128];

	memset(longest, 'n', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = 0;
	snprintf(link, sizeof(link), "anon_inode:[luo_session] %s", longest);
	process(self->proc, "100", "agent\n");
	process(self->proc, "7", "systemd\n");
	file(self->proc, "100/fd/12", "anon_inode:[luo_session] vm-b");
	file(self->proc, "100/fd/3", link);
	file(self->proc, "100/fd/5", "anon_inode:[luo_session] with space\nand line ");
	file(self->proc, "7/fd/4", "anon_inode:[luo_session] systemd");
	file(self->proc, "7/fd/5", "anon_inode:[luo_session]");
	file(self->proc, "7/fd/6", "anon_inode:luo_session");
	SCAN();
	ASSERT_EQ(6, vmferry_scan_nr_sessions(self->scan));
	expect_session(_metadata, self->scan, 0, 7, 4, "systemd", "systemd");
	expect_session(_metadata, self->scan, 1, 7, 5, "", "systemd");
	expect_session(_metadata, self->scan, 2, 7, 6, "", "systemd");
	expect_session(_metadata, self->scan, 3, 100, 3, longest, "agent");
	expect_session(_metadata, self->scan, 4, 100, 5, "with space\nand line ", "agent");
	expect_session(_metadata, self->scan, 5, 100, 12, "vm-b", "agent");
	EXPECT_EQ(0, vmferry_scan_nr_holders(self->scan));
	EXPECT_EQ(0, vmferry_scan_unreadable(self->scan));
}

/* More than the first few, so that the array has grown. */
TEST_F(scan, many)
{
	char path[32], link[64];

	process(self->proc, "1", "init\n");
	for (unsigned int i = 0; i < 300; i++) {
		snprintf(path, sizeof(path), "1/fd/%u", i);
		snprintf(link, sizeof(link), "anon_inode:[luo_session] vm-%u", i);
		file(self->proc, path, link);
	}
	SCAN();
	ASSERT_EQ(300, vmferry_scan_nr_sessions(self->scan));
	for (unsigned int i = 0; i < 300; i++) {
		snprintf(link, sizeof(link), "vm-%u", i);
		expect_session(_metadata, self->scan, i, 1, i, link, "init");
	}
}

TEST_F(scan, other_files)
{
	static const char *const links[] = {
		"anon_inode:[eventfd]", "anon_inode:[luo_sessions] x", "anon_inode:[luo_session]x",
		"anon_inode:luo_session2", "anon_inode:", "socket:[12]", "pipe:[34]",
		"/anon_inode:[luo_session] file", "/memfd:anon_inode:[luo_session] x (deleted)",
		"[luo_session] x", "/no/such/file", "/dev/zero", "/",
	};
	char path[32];

	process(self->proc, "20", "a\n");
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
		snprintf(path, sizeof(path), "20/fd/%zu", i);
		file(self->proc, path, links[i]);
	}
	SCAN();
	EXPECT_EQ(0, vmferry_scan_nr_sessions(self->scan));
	EXPECT_EQ(0, vmferry_scan_nr_holders(self->scan));
	EXPECT_EQ(0, vmferry_scan_unreadable(self->scan));
}

/* By its number: in a container it may be elsewhere. */
TEST_F(scan, holders)
{
	struct vmferry_scan_file found;
	char path[64];

	snprintf(path, sizeof(path), "%s/elsewhere", self->path);
	file(self->proc, "elsewhere", "/dev/null");
	process(self->proc, "30", "one\n");
	process(self->proc, "4", "other\n");
	file(self->proc, "30/fd/9", "/dev/null");
	file(self->proc, "30/fd/10", "/dev/zero");
	file(self->proc, "4/fd/1", path);
	SCAN();
	ASSERT_EQ(2, vmferry_scan_nr_holders(self->scan));
	ASSERT_EQ(0, vmferry_scan_get_holder(self->scan, 0, &found));
	EXPECT_EQ(4, found.pid);
	EXPECT_EQ(1, found.fd);
	EXPECT_STREQ("other", found.comm);
	EXPECT_EQ(NULL, found.name);
	ASSERT_EQ(0, vmferry_scan_get_holder(self->scan, 1, &found));
	EXPECT_EQ(30, found.pid);
	EXPECT_EQ(9, found.fd);
	EXPECT_EQ(0, vmferry_scan_nr_sessions(self->scan));
}

/* What is in /proc besides processes, and processes that are about to go. */
TEST_F(scan, odd_entries)
{
	process(self->proc, "self", "x");
	process(self->proc, "12a", "x");
	process(self->proc, "0", "x");
	process(self->proc, "99999999999999999999", "x");
	process(self->proc, "50", NULL);
	file(self->proc, "self/fd/1", "anon_inode:[luo_session] no");
	file(self->proc, "12a/fd/1", "anon_inode:[luo_session] no");
	file(self->proc, "0/fd/1", "anon_inode:[luo_session] no");
	file(self->proc, "99999999999999999999/fd/1", "anon_inode:[luo_session] no");
	file(self->proc, "50/fd/x", "anon_inode:[luo_session] no");
	file(self->proc, "50/fd/99999999999", "anon_inode:[luo_session] no");
	file(self->proc, "50/fd/8", "anon_inode:[luo_session] yes");
	ASSERT_EQ(0, mkdirat(self->proc, "51", 0755));
	file(self->proc, "52", "/no/such/process");
	SCAN();
	ASSERT_EQ(1, vmferry_scan_nr_sessions(self->scan));
	expect_session(_metadata, self->scan, 0, 50, 8, "yes", "");
	EXPECT_EQ(0, vmferry_scan_unreadable(self->scan));
}

/* As somebody who may not look. */
TEST_F(scan, unreadable)
{
	int status;
	pid_t pid;

	process(self->proc, "60", "mine\n");
	process(self->proc, "61", "theirs\n");
	file(self->proc, "60/fd/1", "anon_inode:[luo_session] mine");
	file(self->proc, "61/fd/1", "anon_inode:[luo_session] theirs");
	ASSERT_EQ(0, fchmodat(self->proc, "61/fd", 0, 0));
	ASSERT_EQ(0, chmod(self->path, 0755));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (!getuid() && (setgid(65534) || setuid(65534)))
			_exit(77);
		if (vmferry_scan_new(self->proc, self->null, &self->scan))
			_exit(1);
		if (vmferry_scan_unreadable(self->scan) != 1)
			_exit(2);
		if (vmferry_scan_nr_sessions(self->scan) != 1)
			_exit(3);
		vmferry_scan_free(self->scan);
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

TEST_F(scan, no_directory)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	EXPECT_EQ(-ENOTDIR, vmferry_scan_new(fd, self->null, &self->scan));
	EXPECT_EQ(NULL, self->scan);
	close(fd);
	EXPECT_EQ(-EBADF, vmferry_scan_new(1000000, self->null, &self->scan));
	vmferry_scan_free(NULL);
}

/* The real /proc, where this process has a file like that. */
TEST_F(scan, real)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct vmferry_scan_file found;
	bool seen = false;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, vmferry_scan_new(-1, self->null, &self->scan));
	for (size_t i = 0; !vmferry_scan_get_holder(self->scan, i, &found); i++) {
		if (found.pid == getpid() && found.fd == fd)
			seen = !strncmp("test-scan", found.comm, 9);
	}
	EXPECT_TRUE(seen);
	close(fd);
	vmferry_scan_free(self->scan);
	self->scan = NULL;
	EXPECT_EQ(0, vmferry_scan_new(-1, 0, &self->scan));
}

/* Processes come and go all the time while it looks. */
TEST_F(scan, coming_and_going)
{
	struct vmferry_scan *scan;
	pid_t parent = fork();
	int status;

	ASSERT_LE(0, parent);
	if (!parent) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;) {
			pid_t child = fork();

			if (!child)
				_exit(0);
			waitpid(child, NULL, 0);
		}
	}
	for (unsigned int i = 0; i < 50; i++) {
		ASSERT_EQ(0, vmferry_scan_new(-1, self->null, &scan));
		vmferry_scan_free(scan);
	}
	ASSERT_EQ(0, kill(parent, SIGKILL));
	ASSERT_EQ(parent, waitpid(parent, &status, 0));
}

TEST_HARNESS_MAIN
