// SPDX-License-Identifier: GPL-2.0-only
/*
 * fd_store: a service whose files PID 1 takes through a live update: memory from its file
 * descriptor store, and a session of the Live Update Orchestrator that PID 1 has made for it,
 * see systemd/fd_store.service. It says in /run/fd_store what it was given.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmferry.h"
#include "vmtest.h"

#define TOKEN 1
#define FIRST_FD 3

/* As sd_pid_notify_with_fds() does. */
static void notify(const char *text, int fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {};
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct iovec iov = { .iov_base = (void *)text, .iov_len = strlen(text) };
	struct msghdr hdr = {
		.msg_name = &addr, .msg_namelen = sizeof(addr), .msg_iov = &iov, .msg_iovlen = 1,
	};
	int sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	const char *path = getenv("NOTIFY_SOCKET");

	if (!path || strlen(path) >= sizeof(addr.sun_path))
		vmt_die("nobody to notify");
	strcpy(addr.sun_path, path);
	if (fd >= 0) {
		hdr.msg_control = control.buf;
		hdr.msg_controllen = sizeof(control.buf);
		CMSG_FIRSTHDR(&hdr)->cmsg_level = SOL_SOCKET;
		CMSG_FIRSTHDR(&hdr)->cmsg_type = SCM_RIGHTS;
		CMSG_FIRSTHDR(&hdr)->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&hdr)), &fd, sizeof(int));
	}
	if (sock < 0 || sendmsg(sock, &hdr, MSG_NOSIGNAL) < 0)
		vmt_die("cannot notify PID 1");
	close(sock);
}

/* The file of this name, or -1. */
static int given(const char *name)
{
	const char *names = getenv("LISTEN_FDNAMES"), *nr = getenv("LISTEN_FDS");
	char *copy = strdup(names ? names : ""), *pos, *tok;
	int fd = FIRST_FD;

	for (tok = strtok_r(copy, ":", &pos); nr && tok; tok = strtok_r(NULL, ":", &pos), fd++)
		if (!strcmp(tok, name))
			return fd;
	return -1;
}

static int make_memory(const char *text)
{
	int fd = memfd_create("fd_store", MFD_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		vmt_die("cannot make memory");
	return fd;
}

static void tell(FILE *out, const char *name, int fd)
{
	char text[64] = "";

	fprintf(out, "%s: %s\n", name, fd < 0 || pread(fd, text, sizeof(text) - 1, 0) <= 0 ?
		"none" : text);
}

int main(void)
{
	int memory = given("memory"), session = given("session"), direction, fd;
	FILE *out = fopen("/run/fd_store", "w");

	if (!out)
		vmt_die("cannot write /run/fd_store");
	tell(out, "memory", memory);
	if (memory < 0)
		notify("FDSTORE=1\nFDNAME=memory\nFDPOLL=0", make_memory("of the store"));
	direction = session < 0 ? session : vmferry_session_direction(session);
	fprintf(out, "session: %s\n", direction == VMFERRY_OUTGOING ? "new" :
		direction == VMFERRY_INCOMING ? "arrived" : "none");
	if (direction == VMFERRY_OUTGOING) {
		fd = make_memory("of the session");
		if (vmferry_session_preserve(session, fd, TOKEN))
			vmt_die("the session does not take memory");
	} else if (direction == VMFERRY_INCOMING) {
		fd = vmferry_session_retrieve_fd(session, TOKEN);
		tell(out, "in it", fd);
	}
	fclose(out);
	notify("READY=1", -1);
	for (;;)
		pause();
}
