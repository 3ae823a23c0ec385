// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * QEMU's CPR state: what is written is read again, and what is damaged, in whatever place,
 * is refused, with no file left open.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "vmferry.h"

/* A stream, byte by byte, and the file that a byte carries, or -1. */
struct stream {
	uint8_t bytes[16384];
	int fds[16384];
	size_t len;
};

#define VFIO_NAME "CprState/vfio devices"

static void add(struct stream *s, const void *bytes, size_t len)
{
	memcpy(s->bytes + s->len, bytes, len);
	for (size_t i = 0; i < len; i++)
		s->fds[s->len + i] = -1;
	s->len += len;
}

static void add_u8(struct stream *s, uint8_t val)
{
	add(s, &val, 1);
}

static void add_u32(struct stream *s, uint32_t val)
{
	uint8_t bytes[] = { val >> 24, val >> 16, val >> 8, val };

	add(s, bytes, sizeof(bytes));
}

static void add_name(struct stream *s, const char *name)
{
	add_u32(s, strlen(name) + 1);
	add(s, name, strlen(name) + 1);
}

static void add_header(struct stream *s)
{
	s->len = 0;
	add_u32(s, 0x51435052);
	add_u32(s, 1);
}

static void add_file(struct stream *s, const char *name, uint32_t id, int fd)
{
	add_u8(s, 1);
	add_name(s, name);
	add_u32(s, id);
	add_u8(s, 0x20);
	s->fds[s->len - 1] = fd;
}

static void add_vfio(struct stream *s, const char *name, uint32_t version)
{
	add_u8(s, 5);
	add_u8(s, strlen(name));
	add(s, name, strlen(name));
	add_u32(s, version);
}

static void add_device(struct stream *s, const char *name, uint32_t devid, uint32_t ioas,
		       uint32_t hwpt)
{
	add_u8(s, 1);
	add_name(s, name);
	add_u32(s, devid);
	add_u32(s, ioas);
	add_u32(s, hwpt);
}

static void send_bytes(int sock, const uint8_t *bytes, size_t len, const int *fds, size_t nr)
{
	union {
		char buf[CMSG_SPACE(4 * sizeof(int))];
		struct cmsghdr align;
	} control = {};
	struct iovec iov = { (void *)bytes, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (!len)
		return;
	if (nr) {
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(nr * sizeof(int));
		CMSG_FIRSTHDR(&msg)->cmsg_level = SOL_SOCKET;
		CMSG_FIRSTHDR(&msg)->cmsg_type = SCM_RIGHTS;
		CMSG_FIRSTHDR(&msg)->cmsg_len = CMSG_LEN(nr * sizeof(int));
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), fds, nr * sizeof(int));
	}
	/* A reader that has given up is fine. */
	if (sendmsg(sock, &msg, MSG_NOSIGNAL) != (ssize_t)len && errno != EPIPE)
		abort();
}

/* As QEMU does it: what carries a file goes out alone. */
static void send_stream(int sock, const struct stream *s, size_t len)
{
	size_t start = 0;

	for (size_t i = 0; i < len; i++) {
		if (s->fds[i] < 0)
			continue;
		send_bytes(sock, s->bytes + start, i - start, NULL, 0);
		send_bytes(sock, s->bytes + i, 1, &s->fds[i], 1);
		start = i + 1;
	}
	send_bytes(sock, s->bytes + start, len - start, NULL, 0);
	shutdown(sock, SHUT_WR);
}

/* What the library makes of the first bytes of a stream. */
static int receive(const struct stream *s, size_t len, struct vmferry_cpr **cpr)
{
	int socks[2], ret;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks))
		abort();
	send_stream(socks[0], s, len);
	ret = vmferry_cpr_receive(socks[1], cpr);
	close(socks[0]);
	close(socks[1]);
	return ret;
}

static int refused(const struct stream *s)
{
	struct vmferry_cpr *cpr = NULL;
	int ret = receive(s, s->len, &cpr);

	if (!ret)
		vmferry_cpr_free(cpr);
	return ret;
}

static unsigned int open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int nr = 0;

	while (readdir(dir))
		nr++;
	closedir(dir);
	return nr;
}

static int memfd(const char *text)
{
	int fd = memfd_create(text, MFD_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		abort();
	return fd;
}

static bool same_file(int a, int b)
{
	struct stat sa, sb;

	return !fstat(a, &sa) && !fstat(b, &sb) && sa.st_ino == sb.st_ino &&
	       sa.st_dev == sb.st_dev;
}

/* ---- A state with everything in it ----------------------------------------------- */

FIXTURE(cpr) {
	struct stream s;
	int ram, iommufd, cdev;
	unsigned int open;
};

FIXTURE_SETUP(cpr)
{
	self->ram = memfd("ram");
	self->iommufd = memfd("iommufd");
	self->cdev = memfd("cdev");
	add_header(&self->s);
	add_file(&self->s, "mem0", 0, self->ram);
	add_file(&self->s, "iommufd0", 0, self->iommufd);
	add_file(&self->s, "0000:00:04.0", 0, self->cdev);
	add_file(&self->s, "0000:00:04.0_kvm_interrupt", 0, self->ram);
	add_file(&self->s, "0000:00:04.0_kvm_interrupt", 0x80000001, self->cdev);
	add_u8(&self->s, 0);
	add_vfio(&self->s, VFIO_NAME, 1);
	add_device(&self->s, "0000:00:04.0", 1, 2, 0xfffffffe);
	add_device(&self->s, "dev1", 4, 5, 6);
	add_u8(&self->s, 0);
	self->open = open_files();
}

/* Whatever a test did, no file is left. */
FIXTURE_TEARDOWN(cpr)
{
	EXPECT_EQ(self->open, open_files());
	close(self->ram);
	close(self->iommufd);
	close(self->cdev);
}

TEST_F(cpr, receive)
{
	static const char *const names[] = {
		"mem0", "iommufd0", "0000:00:04.0", "0000:00:04.0_kvm_interrupt",
		"0000:00:04.0_kvm_interrupt",
	};
	const int files[] = { self->ram, self->iommufd, self->cdev, self->ram, self->cdev };
	struct vmferry_cpr_vfio vfio;
	struct vmferry_cpr_fd fd;
	struct vmferry_cpr *cpr;

	ASSERT_EQ(0, receive(&self->s, self->s.len, &cpr));
	ASSERT_EQ(5, vmferry_cpr_nr_fds(cpr));
	for (size_t i = 0; i < 5; i++) {
		ASSERT_EQ(0, vmferry_cpr_get_fd(cpr, i, &fd));
		EXPECT_STREQ(names[i], fd.name);
		EXPECT_EQ(i == 4 ? 0x80000001 : 0, fd.id);
		EXPECT_TRUE(same_file(files[i], fd.fd));
		EXPECT_TRUE(fcntl(fd.fd, F_GETFD) & FD_CLOEXEC);
	}
	EXPECT_EQ(-ERANGE, vmferry_cpr_get_fd(cpr, 5, &fd));
	EXPECT_TRUE(same_file(self->cdev, vmferry_cpr_find_fd(cpr, "0000:00:04.0", 0)));
	EXPECT_TRUE(same_file(self->cdev, vmferry_cpr_find_fd(cpr, names[4], 0x80000001)));
	EXPECT_EQ(-ENOENT, vmferry_cpr_find_fd(cpr, "0000:00:04.0", 1));
	EXPECT_EQ(-ENOENT, vmferry_cpr_find_fd(cpr, "mem", 0));

	ASSERT_EQ(2, vmferry_cpr_nr_vfio(cpr));
	ASSERT_EQ(0, vmferry_cpr_get_vfio(cpr, 0, &vfio));
	EXPECT_STREQ("0000:00:04.0", vfio.name);
	EXPECT_EQ(1, vfio.devid);
	EXPECT_EQ(2, vfio.ioas_id);
	EXPECT_EQ(0xfffffffe, vfio.hwpt_id);
	ASSERT_EQ(0, vmferry_cpr_get_vfio(cpr, 1, &vfio));
	EXPECT_STREQ("dev1", vfio.name);
	EXPECT_EQ(6, vfio.hwpt_id);
	EXPECT_EQ(-ERANGE, vmferry_cpr_get_vfio(cpr, 2, &vfio));
	vmferry_cpr_free(cpr);
}

/* QEMU 10.0 knows no vfio devices. */
TEST_F(cpr, old_qemu)
{
	struct vmferry_cpr *cpr;

	add_header(&self->s);
	add_file(&self->s, "mem0", 0, self->ram);
	add_u8(&self->s, 0);
	ASSERT_EQ(0, receive(&self->s, self->s.len, &cpr));
	EXPECT_EQ(1, vmferry_cpr_nr_fds(cpr));
	EXPECT_EQ(0, vmferry_cpr_nr_vfio(cpr));
	vmferry_cpr_free(cpr);
}

TEST_F(cpr, empty)
{
	add_header(&self->s);
	add_u8(&self->s, 0);
	EXPECT_EQ(0, refused(&self->s));
	add_vfio(&self->s, VFIO_NAME, 1);
	add_u8(&self->s, 0);
	EXPECT_EQ(0, refused(&self->s));
}

/* What is written is, byte for byte, what was read. */
static void check_written(struct __test_metadata *_metadata, const struct stream *s)
{
	struct vmferry_cpr *cpr;
	uint8_t bytes[sizeof(s->bytes)];
	size_t len = 0;
	ssize_t part;
	int socks[2];

	ASSERT_EQ(0, receive(s, s->len, &cpr));
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, socks));
	ASSERT_EQ(0, vmferry_cpr_send(socks[0], cpr));
	/* Its end comes without a close. */
	while ((part = read(socks[1], bytes + len, sizeof(bytes) - len)) > 0)
		len += part;
	EXPECT_EQ(0, part);
	ASSERT_EQ(s->len, len);
	EXPECT_EQ(0, memcmp(s->bytes, bytes, len));
	close(socks[0]);
	close(socks[1]);
	vmferry_cpr_free(cpr);
}

TEST_F(cpr, written)
{
	check_written(_metadata, &self->s);
	add_header(&self->s);
	add_file(&self->s, "mem0", 0, self->ram);
	add_u8(&self->s, 0);
	check_written(_metadata, &self->s);
}

TEST_F(cpr, files_go_along)
{
	struct vmferry_cpr *cpr, *again;
	int socks[2];

	ASSERT_EQ(0, receive(&self->s, self->s.len, &cpr));
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, socks));
	ASSERT_EQ(0, vmferry_cpr_send(socks[0], cpr));
	ASSERT_EQ(0, vmferry_cpr_receive(socks[1], &again));
	EXPECT_TRUE(same_file(self->ram, vmferry_cpr_find_fd(again, "mem0", 0)));
	EXPECT_TRUE(same_file(self->cdev, vmferry_cpr_find_fd(again, "0000:00:04.0", 0)));
	/* Still there. */
	EXPECT_TRUE(same_file(self->ram, vmferry_cpr_find_fd(cpr, "mem0", 0)));
	close(socks[0]);
	close(socks[1]);
	vmferry_cpr_free(again);
	vmferry_cpr_free(cpr);
}

/* More than a socket takes in one piece, and names across the ends of what is read. */
TEST_F(cpr, long_stream)
{
	char name[200];

	add_header(&self->s);
	for (unsigned int i = 0; i < 60; i++) {
		snprintf(name, sizeof(name), "%0*u", 100 + i, i);
		add_file(&self->s, name, i, self->ram);
	}
	add_u8(&self->s, 0);
	add_vfio(&self->s, VFIO_NAME, 1);
	for (unsigned int i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "%0*u", 100 + i, i);
		add_device(&self->s, name, i, i, i);
	}
	add_u8(&self->s, 0);
	check_written(_metadata, &self->s);
}

/* ---- Damage ------------------------------------------------------------------------ */

TEST_F(cpr, truncated)
{
	struct vmferry_cpr *cpr;

	for (size_t len = 0; len < self->s.len; len++) {
		int ret = receive(&self->s, len, &cpr);

		if (ret) {
			EXPECT_EQ(-ENODATA, ret) {
				TH_LOG("after %zu bytes", len);
			}
			continue;
		}
		/* The end of the list of files is a good end. */
		EXPECT_EQ(5, self->s.bytes[len]);
		vmferry_cpr_free(cpr);
	}
	EXPECT_EQ(self->open, open_files());
}

/* Each byte with another value: an error, or another state, and never anything worse. */
TEST_F(cpr, flipped)
{
	static const uint8_t flips[] = { 0x01, 0x02, 0x04, 0x20, 0x80, 0xff };
	unsigned int good = 0, bad = 0;

	for (size_t i = 0; i < self->s.len; i++) {
		for (size_t j = 0; j < sizeof(flips); j++) {
			self->s.bytes[i] ^= flips[j];
			refused(&self->s) ? bad++ : good++;
			self->s.bytes[i] ^= flips[j];
		}
		EXPECT_EQ(self->open, open_files()) {
			TH_LOG("byte %zu", i);
		}
	}
	EXPECT_LT(200, bad);
	EXPECT_EQ(self->s.len * sizeof(flips), good + bad);
}

TEST_F(cpr, magic)
{
	self->s.bytes[0] = 'q';
	EXPECT_EQ(-EBADMSG, refused(&self->s));
}

TEST_F(cpr, version)
{
	self->s.bytes[7] = 2;
	EXPECT_EQ(-EPROTONOSUPPORT, refused(&self->s));
}

TEST_F(cpr, unknown_part)
{
	self->s.len = 0;
	add_header(&self->s);
	add_u8(&self->s, 0);
	add_vfio(&self->s, "CprState/other", 1);
	add_u8(&self->s, 0);
	EXPECT_EQ(-EPROTONOSUPPORT, refused(&self->s));
}

TEST_F(cpr, version_of_part)
{
	add_header(&self->s);
	add_u8(&self->s, 0);
	add_vfio(&self->s, VFIO_NAME, 2);
	add_u8(&self->s, 0);
	EXPECT_EQ(-EPROTONOSUPPORT, refused(&self->s));
}

TEST_F(cpr, trailing_bytes)
{
	add_u8(&self->s, 0);
	EXPECT_EQ(-EBADMSG, refused(&self->s));
}

TEST_F(cpr, same_part_twice)
{
	add_vfio(&self->s, VFIO_NAME, 1);
	add_u8(&self->s, 0);
	EXPECT_EQ(-EBADMSG, refused(&self->s));
}

TEST_F(cpr, same_file_twice)
{
	add_header(&self->s);
	add_file(&self->s, "mem0", 0, self->ram);
	add_file(&self->s, "mem0", 0, self->cdev);
	add_u8(&self->s, 0);
	EXPECT_EQ(-EBADMSG, refused(&self->s));
}

TEST_F(cpr, same_device_twice)
{
	add_header(&self->s);
	add_u8(&self->s, 0);
	add_vfio(&self->s, VFIO_NAME, 1);
	add_device(&self->s, "dev", 1, 2, 3);
	add_device(&self->s, "dev", 4, 5, 6);
	add_u8(&self->s, 0);
	EXPECT_EQ(-EBADMSG, refused(&self->s));
}

TEST_F(cpr, names)
{
	add_header(&self->s);
	add_u8(&self->s, 1);
	add_u32(&self->s, 0);
	EXPECT_EQ(-EBADMSG, refused(&self->s));

	/* Longer than what comes, and than any that makes sense. */
	add_header(&self->s);
	add_u8(&self->s, 1);
	add_u32(&self->s, 0xffffffff);
	EXPECT_EQ(-E2BIG, refused(&self->s));

	/* A NUL in the middle, and none at the end. */
	add_header(&self->s);
	add_u8(&self->s, 1);
	add_u32(&self->s, 4);
	add(&self->s, "a\0b", 4);
	EXPECT_EQ(-EBADMSG, refused(&self->s));
	add_header(&self->s);
	add_u8(&self->s, 1);
	add_u32(&self->s, 4);
	add(&self->s, "abcd", 4);
	EXPECT_EQ(-EBADMSG, refused(&self->s));
}

/* ---- Files where they do not belong --------------------------------------------------- */

TEST_F(cpr, file_missing)
{
	for (size_t i = 0; i < self->s.len; i++) {
		int fd = self->s.fds[i];

		if (fd < 0)
			continue;
		self->s.fds[i] = -1;
		EXPECT_EQ(-EBADMSG, refused(&self->s));
		self->s.fds[i] = fd;
	}
}

TEST_F(cpr, file_elsewhere)
{
	for (size_t i = 0; i < self->s.len; i++) {
		if (self->s.fds[i] >= 0)
			continue;
		self->s.fds[i] = self->ram;
		EXPECT_EQ(-EBADMSG, refused(&self->s)) {
			TH_LOG("byte %zu", i);
		}
		self->s.fds[i] = -1;
	}
}

TEST_F(cpr, two_files_at_once)
{
	int socks[2], fds[] = { self->ram, self->cdev };
	struct vmferry_cpr *cpr;

	add_header(&self->s);
	add_file(&self->s, "mem0", 0, -1);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, socks));
	send_bytes(socks[0], self->s.bytes, self->s.len - 1, NULL, 0);
	send_bytes(socks[0], self->s.bytes + self->s.len - 1, 1, fds, 2);
	shutdown(socks[0], SHUT_WR);
	EXPECT_EQ(-EBADMSG, vmferry_cpr_receive(socks[1], &cpr));
	close(socks[0]);
	close(socks[1]);
}

/* It is not the state's fault. */
TEST_F(cpr, too_many_files)
{
	struct rlimit old, new;
	struct vmferry_cpr *cpr;
	int socks[2], next;

	ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &old));
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks));
	send_stream(socks[0], &self->s, self->s.len);
	next = dup(self->ram);
	close(next);
	/* Two more, of five. */
	new = old;
	new.rlim_cur = next + 2;
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &new));
	EXPECT_EQ(-EMFILE, vmferry_cpr_receive(socks[1], &cpr));
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &old));
	close(socks[0]);
	close(socks[1]);
}

TEST_F(cpr, no_socket)
{
	struct vmferry_cpr *cpr;

	EXPECT_EQ(-ENOTSOCK, vmferry_cpr_receive(self->ram, &cpr));
	EXPECT_EQ(-EBADF, vmferry_cpr_receive(-1, &cpr));
}

TEST_F(cpr, reader_is_gone)
{
	struct vmferry_cpr *cpr;
	int socks[2];

	ASSERT_EQ(0, receive(&self->s, self->s.len, &cpr));
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, socks));
	close(socks[1]);
	EXPECT_EQ(-EPIPE, vmferry_cpr_send(socks[0], cpr));
	close(socks[0]);
	vmferry_cpr_free(cpr);
}

/* ---- Changing it ------------------------------------------------------------------------- */

TEST_F(cpr, changed)
{
	struct vmferry_cpr_vfio vfio = { .name = "dev1", .devid = 7, .ioas_id = 8, .hwpt_id = 9 };
	char longer[2000];
	struct vmferry_cpr *cpr;

	memset(longer, 'x', sizeof(longer));
	longer[sizeof(longer) - 1] = 0;
	ASSERT_EQ(0, receive(&self->s, self->s.len, &cpr));

	/* Another file in the place of one, and one more. */
	EXPECT_EQ(0, vmferry_cpr_set_fd(cpr, "iommufd0", 0, memfd("other")));
	EXPECT_EQ(5, vmferry_cpr_nr_fds(cpr));
	EXPECT_FALSE(same_file(self->iommufd, vmferry_cpr_find_fd(cpr, "iommufd0", 0)));
	EXPECT_EQ(0, vmferry_cpr_set_fd(cpr, "iommufd0", 1, memfd("more")));
	EXPECT_EQ(6, vmferry_cpr_nr_fds(cpr));
	EXPECT_EQ(-EBADF, vmferry_cpr_set_fd(cpr, "iommufd0", 0, -1));
	EXPECT_EQ(-EINVAL, vmferry_cpr_set_fd(cpr, "", 0, self->ram));
	EXPECT_EQ(-E2BIG, vmferry_cpr_set_fd(cpr, longer, 0, self->ram));
	EXPECT_EQ(6, vmferry_cpr_nr_fds(cpr));

	EXPECT_EQ(0, vmferry_cpr_set_vfio(cpr, &vfio));
	EXPECT_EQ(2, vmferry_cpr_nr_vfio(cpr));
	ASSERT_EQ(0, vmferry_cpr_get_vfio(cpr, 1, &vfio));
	EXPECT_EQ(8, vfio.ioas_id);
	vfio.name = "dev2";
	EXPECT_EQ(0, vmferry_cpr_set_vfio(cpr, &vfio));
	EXPECT_EQ(3, vmferry_cpr_nr_vfio(cpr));
	vfio.name = "";
	EXPECT_EQ(-EINVAL, vmferry_cpr_set_vfio(cpr, &vfio));
	vmferry_cpr_free(cpr);
}

TEST(made_from_nothing)
{
	struct vmferry_cpr_vfio vfio = { .name = "dev", .devid = 1, .ioas_id = 2, .hwpt_id = 3 };
	struct vmferry_cpr *cpr, *again;
	int socks[2], ram = memfd("ram");

	vmferry_cpr_free(NULL);
	ASSERT_EQ(0, vmferry_cpr_new(&cpr));
	EXPECT_EQ(0, vmferry_cpr_set_fd(cpr, "mem0", 0, ram));
	EXPECT_EQ(0, vmferry_cpr_set_vfio(cpr, &vfio));
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, socks));
	ASSERT_EQ(0, vmferry_cpr_send(socks[0], cpr));
	ASSERT_EQ(0, vmferry_cpr_receive(socks[1], &again));
	EXPECT_TRUE(same_file(ram, vmferry_cpr_find_fd(again, "mem0", 0)));
	ASSERT_EQ(0, vmferry_cpr_get_vfio(again, 0, &vfio));
	EXPECT_EQ(3, vfio.hwpt_id);
	close(socks[0]);
	close(socks[1]);
	vmferry_cpr_free(again);
	vmferry_cpr_free(cpr);
}

/* ---- What QEMU has really sent ------------------------------------------------------- */

FIXTURE(recorded) {
	struct stream s;
	int file;
	unsigned int open;
};

FIXTURE_VARIANT(recorded) {
	const char *path;
	unsigned int files;		/* in it */
	const char *names[4];		/* some of them, of which there is a number 0 */
	const char *devices[3];
};

/* Debian has no QEMU 10.1 or 10.2 any more. */
FIXTURE_VARIANT_ADD(recorded, qemu_10_0) {
	.path = FIXTURES "/cpr/qemu-10.0.hex",
	.files = 6,
	.names = { "mem0", "pc.bios", "/rom@etc/acpi/tables" },
	.devices = {},
};

FIXTURE_VARIANT_ADD(recorded, qemu_11_1) {
	.path = FIXTURES "/cpr/qemu-11.1.hex",
	.files = 23,
	.names = { "mem0", "iommufd0", "0000:02:00.0_kvm_interrupt", "0000:01:00.0_req_notifier" },
	.devices = { "0000:02:00.0", "0000:01:00.0" },
};

/* Hexadecimal; a + is before a byte that came with a file. Lines with # are comments. */
static void read_recorded(struct stream *s, const char *path, int file)
{
	FILE *in = fopen(path, "re");
	char line[256];

	while (in && fgets(line, sizeof(line), in)) {
		for (const char *pos = line; *line != '#' && *pos > ' '; pos += 2) {
			bool with_file = *pos == '+';
			unsigned int byte;

			pos += with_file;
			if (sscanf(pos, "%2x", &byte) != 1)
				abort();
			add_u8(s, byte);
			if (with_file)
				s->fds[s->len - 1] = file;
		}
	}
	if (!in)
		abort();
	fclose(in);
}

FIXTURE_SETUP(recorded)
{
	self->file = memfd("file");
	read_recorded(&self->s, variant->path, self->file);
	self->open = open_files();
}

FIXTURE_TEARDOWN(recorded)
{
	EXPECT_EQ(self->open, open_files());
	close(self->file);
}

TEST_F(recorded, is_read)
{
	struct vmferry_cpr_vfio vfio;
	struct vmferry_cpr *cpr;
	size_t devices = 0;

	ASSERT_EQ(0, receive(&self->s, self->s.len, &cpr));
	EXPECT_EQ(variant->files, vmferry_cpr_nr_fds(cpr));
	for (size_t n = 0; n < 4 && variant->names[n]; n++)
		EXPECT_TRUE(same_file(self->file,
				      vmferry_cpr_find_fd(cpr, variant->names[n], 0)));
	for (; variant->devices[devices]; devices++) {
		ASSERT_EQ(0, vmferry_cpr_get_vfio(cpr, devices, &vfio));
		EXPECT_STREQ(variant->devices[devices], vfio.name);
		EXPECT_NE(0, vfio.devid);
		EXPECT_NE(0, vfio.ioas_id);
	}
	EXPECT_EQ(devices, vmferry_cpr_nr_vfio(cpr));
	vmferry_cpr_free(cpr);
}

/* Byte for byte: what QEMU reads from us is what QEMU would have sent. */
TEST_F(recorded, is_written)
{
	struct vmferry_cpr *cpr;
	uint8_t bytes[sizeof(self->s.bytes)];
	size_t len = 0;
	ssize_t got;
	int socks[2];

	ASSERT_EQ(0, receive(&self->s, self->s.len, &cpr));
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks));
	ASSERT_EQ(0, vmferry_cpr_send(socks[0], cpr));
	close(socks[0]);
	/* Files that are not asked for are closed. */
	while ((got = read(socks[1], bytes + len, sizeof(bytes) - len)) > 0)
		len += got;
	close(socks[1]);
	vmferry_cpr_free(cpr);
	ASSERT_EQ(self->s.len, len);
	EXPECT_EQ(0, memcmp(bytes, self->s.bytes, len));
}

/* All of it is needed, but for the devices, which QEMU 10.0 does not have. */
TEST_F(recorded, is_cut)
{
	size_t whole = 0;

	for (size_t len = 0; len < self->s.len; len++) {
		struct vmferry_cpr *cpr;
		int ret = receive(&self->s, len, &cpr);

		if (ret) {
			EXPECT_EQ(-ENODATA, ret);
			continue;
		}
		EXPECT_EQ(variant->files, vmferry_cpr_nr_fds(cpr));
		EXPECT_EQ(0, vmferry_cpr_nr_vfio(cpr));
		vmferry_cpr_free(cpr);
		whole++;
	}
	EXPECT_EQ(variant->devices[0] ? 1 : 0, whole);
}

TEST_HARNESS_MAIN
