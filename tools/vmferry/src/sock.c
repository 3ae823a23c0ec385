// SPDX-License-Identifier: LGPL-2.1-or-later
#include "sock.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "util.h"

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t now_ms(void)
{
	return now_ns() / 1000000;
}

static int address(const char *path, struct sockaddr_un *addr)
{
	size_t len = strlen(path);

	if (len >= sizeof(addr->sun_path))
		return -ENAMETOOLONG;
	memset(addr, 0, sizeof(*addr));
	addr->sun_family = AF_UNIX;
	memcpy(addr->sun_path, path, len);
	return 0;
}

int connect_unix(const char *path, int type)
{
	CLEANUP_CLOSE int sock = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	struct sockaddr_un addr;
	int err = address(path, &addr);

	if (err)
		return err;
	if (sock < 0 || connect(sock, (struct sockaddr *)&addr, sizeof(addr)))
		return -errno;
	return take_fd(&sock);
}

int listen_unix(const char *path, int type, uid_t owner)
{
	CLEANUP_CLOSE int sock = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	struct sockaddr_un addr;
	int err = address(path, &addr);
	struct stat st;

	if (err)
		return err;
	if (sock < 0)
		return -errno;
	if (!lstat(path, &st) && S_ISSOCK(st.st_mode))
		unlink(path);
	/* The mode of a socket is that of its file before bind(). */
	if (fchmod(sock, 0600) || bind(sock, (struct sockaddr *)&addr, sizeof(addr)))
		return -errno;
	if (lchown(path, owner, -1) || listen(sock, 4)) {
		err = -errno;
		unlink(path);
		return err;
	}
	return take_fd(&sock);
}

int accept_from(int listener, pid_t pid, int timeout_ms)
{
	int64_t end = now_ms() + timeout_ms;

	for (;;) {
		struct pollfd pfd = { .fd = listener, .events = POLLIN };
		int64_t left = end - now_ms();
		struct ucred cred;
		socklen_t len = sizeof(cred);
		int sock, ret;

		ret = poll(&pfd, 1, left < 0 ? 0 : (int)left);
		if (ret < 0 && errno != EINTR)
			return -errno;
		if (!ret)
			return -ETIMEDOUT;
		if (ret < 0)
			continue;
		sock = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (sock < 0)
			return -errno;
		if (!getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &cred, &len) && cred.pid == pid)
			return sock;
		close(sock);
	}
}

int send_all(int sock, const void *buf, size_t len)
{
	for (const char *pos = buf; len; ) {
		ssize_t sent = send(sock, pos, len, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return -errno;
		pos += sent;
		len -= sent;
	}
	return 0;
}

int send_fd(int sock, const void *msg, size_t len, int fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {};
	struct iovec iov = { .iov_base = (void *)msg, .iov_len = len };
	struct msghdr hdr = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t sent;

	if (fd >= 0) {
		struct cmsghdr *cmsg;

		hdr.msg_control = control.buf;
		hdr.msg_controllen = sizeof(control.buf);
		cmsg = CMSG_FIRSTHDR(&hdr);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
	}
	do
		sent = sendmsg(sock, &hdr, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return -errno;
	return (size_t)sent == len ? 0 : -EMSGSIZE;
}

ssize_t recv_fd(int sock, void *msg, size_t len, int *fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { .iov_base = msg, .iov_len = len };
	struct msghdr hdr = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control.buf, .msg_controllen = sizeof(control.buf),
	};
	struct cmsghdr *cmsg;
	ssize_t got;

	*fd = -1;
	do
		got = recvmsg(sock, &hdr, MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	cmsg = CMSG_FIRSTHDR(&hdr);
	if (cmsg && cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_RIGHTS &&
	    cmsg->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(fd, CMSG_DATA(cmsg), sizeof(int));
	return got;
}
