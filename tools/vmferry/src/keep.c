// SPDX-License-Identifier: LGPL-2.1-or-later
#include "keep.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sock.h"
#include "util.h"
#include "vmferry.h"

enum op { OP_PUT = 1, OP_GET, OP_LABEL, OP_DROP, OP_END, OP_RECEIVE, OP_CANCEL,
	  OP_RETRIEVE, OP_SEND };

/* For somebody to connect. */
#define CONNECT_TIMEOUT_MS 10000
/* For the kernel's device. */
#define LUO_TIMEOUT_MS 5000
#define SESSION "session"
/* For somebody to read. */
#define SEND_TIMEOUT_S 60

struct request {
	uint32_t op, seq, n;
	char label[KEEP_LABEL_MAX + 1];
};

struct reply {
	uint32_t seq;
	int32_t result;
	char label[KEEP_LABEL_MAX + 1];
};

/* Its only file from the beginning. */
#define LISTENER 3

/* ---- The keeper ---------------------------------------------------------------------- */

struct entry {
	char label[KEEP_LABEL_MAX + 1];
	int fd;
};

struct entries {
	struct entry *entry;
	size_t nr, size;
};

static struct entry *find(struct entries *entries, const char *label)
{
	for (size_t n = 0; n < entries->nr; n++)
		if (!strcmp(entries->entry[n].label, label))
			return &entries->entry[n];
	return NULL;
}

/* There is to be room for one more. */
static int reserve(struct entries *entries)
{
	size_t size = entries->size ? 2 * entries->size : 64;
	struct entry *new;

	if (entries->nr < entries->size)
		return 0;
	new = realloc(entries->entry, size * sizeof(*new));
	if (!new)
		return -ENOMEM;
	entries->entry = new;
	entries->size = size;
	return 0;
}

/* On success, @fd is the keeper's. */
static int put(struct entries *entries, const char *label, int fd)
{
	struct entry *entry = find(entries, label);

	if (fd < 0)
		return -EBADF;
	if (entry) {
		close(entry->fd);
		entry->fd = fd;
		return 0;
	}
	if (reserve(entries))
		return -ENOMEM;
	entry = &entries->entry[entries->nr++];
	strcpy(entry->label, label);
	entry->fd = fd;
	return 0;
}

static int retrieve(struct entries *entries, const char *name)
{
	int session;

	/* It cannot be given back. */
	if (reserve(entries))
		return -ENOMEM;
	session = find(entries, SESSION) ? -EEXIST : vmferry_session_retrieve(name, LUO_TIMEOUT_MS);
	return session < 0 ? session : put(entries, SESSION, session);
}

static int drop(struct entries *entries, const char *label)
{
	struct entry *entry = find(entries, label);
	size_t n;

	if (!entry)
		return -ENOENT;
	close(entry->fd);
	n = entry - entries->entry;
	memmove(entry, entry + 1, (--entries->nr - n) * sizeof(*entry));
	return 0;
}

/*
 * Wait for a connection. If our client goes away, then that changes nothing; if it says
 * anything at all, it does.
 */
static int wait_connection(int listener, pid_t pid, int client)
{
	int64_t end = now_ms() + CONNECT_TIMEOUT_MS;
	struct pollfd pfds[] = {
		{ .fd = listener, .events = POLLIN }, { .fd = client, .events = POLLIN },
	};

	for (;;) {
		struct request request;
		int sock;

		sock = accept_from(listener, pid, 0);
		if (sock != -ETIMEDOUT)
			return sock;
		if (now_ms() >= end)
			return -ETIMEDOUT;
		if (poll(pfds, 2, (int)(end - now_ms())) <= 0 || !pfds[1].revents)
			continue;
		/* It waits for its turn. */
		if (recv(client, &request, sizeof(request), MSG_PEEK) > 0)
			return -ECANCELED;
		pfds[1].fd = -1;
	}
}

static int receive(int file, int listener, pid_t pid, int client)
{
	CLEANUP_CLOSE int sock = wait_connection(listener, pid, client);
	static char buf[1 << 18];

	if (sock < 0)
		return sock;
	for (;;) {
		ssize_t got = read(sock, buf, sizeof(buf)), put;

		if (got <= 0)
			return got ? -errno : 0;
		for (ssize_t pos = 0; pos < got; pos += put) {
			put = write(file, buf + pos, got - pos);
			if (put < 0)
				return -errno;
		}
	}
}

static int send_file(int file, int sock)
{
	struct timeval timeout = { .tv_sec = SEND_TIMEOUT_S };
	struct stat st;
	off_t pos = 0;

	if (fstat(file, &st) ||
	    setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)))
		return -errno;
	while (pos < st.st_size) {
		ssize_t sent = sendfile(sock, file, &pos, st.st_size - pos);

		if (sent < 0 && errno != EINTR)
			return -errno;
		if (!sent)
			return -EIO;
	}
	return shutdown(sock, SHUT_WR) ? -errno : 0;
}

/* Whoever is told that it was sent can rely on the mark, and on that it was not if it is not. */
static int send_marked(struct entries *entries, const char *label, int sock)
{
	struct entry *entry;
	int mark, err;

	if (reserve(entries))
		return -ENOMEM;
	entry = find(entries, label);
	if (!entry || sock < 0)
		return -ENOENT;
	mark = fcntl(entry->fd, F_DUPFD_CLOEXEC, 0);
	if (mark < 0)
		return -errno;
	err = send_file(entry->fd, sock);
	if (!err)
		err = put(entries, KEEP_SENT, mark);
	if (err)
		close(mark);
	return err;
}

/* One request. Returns whether there may be another one through this socket. */
static bool serve(struct entries *entries, int sock)
{
	struct request request;
	struct reply reply = {};
	struct entry *entry;
	int fd, give = -1;
	ssize_t got;

	got = recv_fd(sock, &request, sizeof(request), &fd);
	if (got != sizeof(request)) {
		close_quietly(fd);
		return false;
	}
	request.label[KEEP_LABEL_MAX] = 0;
	reply.seq = request.seq;
	switch (request.op) {
	case OP_PUT:
		reply.result = put(entries, request.label, fd);
		if (!reply.result)
			fd = -1;
		break;
	case OP_GET:
		entry = find(entries, request.label);
		reply.result = entry ? 0 : -ENOENT;
		give = entry ? entry->fd : -1;
		break;
	case OP_LABEL:
		reply.result = request.n < entries->nr ? 0 : -ENOENT;
		if (!reply.result)
			memcpy(reply.label, entries->entry[request.n].label, sizeof(reply.label));
		break;
	case OP_DROP:
		reply.result = drop(entries, request.label);
		break;
	case OP_RECEIVE:
		entry = find(entries, request.label);
		if (!entry || fd < 0) {
			reply.result = -ENOENT;
			break;
		}
		/* Ready; and then, done. */
		send_fd(sock, &reply, sizeof(reply), -1);
		reply.result = receive(entry->fd, fd, (pid_t)request.n, sock);
		/* Half of it is of no use, and must not look like all. */
		if (reply.result)
			drop(entries, request.label);
		break;
	case OP_SEND:
		reply.result = send_marked(entries, request.label, fd);
		break;
	case OP_RETRIEVE:
		reply.result = retrieve(entries, request.label);
		break;
	case OP_CANCEL:
		/* It has done so by coming. */
		close_quietly(fd);
		return true;
	case OP_END:
		/*
		 * The caller waits for the end of the connection, by which everything else is
		 * to be closed. What exit() closes goes in no order.
		 */
		close(LISTENER);
		for (size_t n = 0; n < entries->nr; n++)
			close(entries->entry[n].fd);
		_exit(0);
	default:
		reply.result = -EINVAL;
	}
	close_quietly(fd);
	return !send_fd(sock, &reply, sizeof(reply), give);
}

/* Files that others gave to it are not touched, whatever they are. */
static void __attribute__((noreturn)) keep_process(int listener)
{
	struct rlimit limit = { .rlim_cur = 65536, .rlim_max = 65536 };
	struct entries entries = {};
	int null = open("/dev/null", O_RDWR);

	setsid();
	prctl(PR_SET_NAME, "vmferry-keep");
	prctl(PR_SET_DUMPABLE, 0);
	for (int sig = 1; sig < NSIG; sig++)
		if (sig != SIGCHLD)
			signal(sig, SIG_IGN);
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	if (chdir("/"))
		_exit(1);
	dup2(listener, LISTENER);
	fcntl(LISTENER, F_SETFD, FD_CLOEXEC);
	close_range(LISTENER + 1, ~0u, 0);
	setrlimit(RLIMIT_NOFILE, &limit);
	/* Not to be swapped in when memory is short. Without the right to, it goes on. */
	mlockall(MCL_CURRENT | MCL_FUTURE);
	for (;;) {
		int sock = accept4(LISTENER, NULL, NULL, SOCK_CLOEXEC);

		if (sock < 0)
			continue;
		while (serve(&entries, sock))
			;
		close(sock);
	}
}

/* ---- Who tells it what to do ----------------------------------------------------------- */

struct keep {
	int sock;
	uint32_t seq;		/* of the last request */
};

static int tell(struct keep *keep, enum op op, unsigned int n, const char *label, int fd)
{
	struct request request = { .op = op, .seq = ++keep->seq, .n = n };

	if (label && strlen(label) > KEEP_LABEL_MAX)
		return -ENAMETOOLONG;
	if (label)
		memcpy(request.label, label, strlen(label));
	return send_fd(keep->sock, &request, sizeof(request), fd);
}

/* One to an earlier request, which we failed to receive, is passed over. */
static int answer(struct keep *keep, uint32_t seq, struct reply *reply, int *got)
{
	for (;;) {
		ssize_t len = recv_fd(keep->sock, reply, sizeof(*reply), got);

		if (len == sizeof(*reply) && reply->seq == seq)
			return reply->result;
		close_quietly(*got);
		*got = -1;
		if (len != sizeof(*reply))
			return len < 0 && len != -ECONNRESET ? (int)len : -EPIPE;
	}
}

static int call(struct keep *keep, enum op op, unsigned int n, const char *label, int fd,
		struct reply *reply, int *got)
{
	int err = tell(keep, op, n, label, fd);

	return err ? err : answer(keep, keep->seq, reply, got);
}

int keep_put(struct keep *keep, const char *label, int fd)
{
	struct reply reply;
	int got = -1;

	return call(keep, OP_PUT, 0, label, fd, &reply, &got);
}

int keep_get(struct keep *keep, const char *label)
{
	struct reply reply;
	int got = -1, err;

	err = call(keep, OP_GET, 0, label, -1, &reply, &got);
	return err ? err : got >= 0 ? got : -EBADMSG;
}

int keep_receive(struct keep *keep, const char *label, int listener, pid_t pid)
{
	struct reply reply;
	int got = -1;

	return call(keep, OP_RECEIVE, pid, label, listener, &reply, &got);
}

int keep_received(struct keep *keep, bool cancel)
{
	struct reply reply;
	uint32_t seq = keep->seq;
	int got = -1, err;

	err = cancel ? tell(keep, OP_CANCEL, 0, NULL, -1) : 0;
	return err ? err : answer(keep, seq, &reply, &got);
}

int keep_send(struct keep *keep, const char *label, int sock)
{
	struct reply reply;
	int got = -1;

	return call(keep, OP_SEND, 0, label, sock, &reply, &got);
}

int keep_retrieve(struct keep *keep, const char *name)
{
	struct reply reply;
	int got = -1;

	return call(keep, OP_RETRIEVE, 0, name, -1, &reply, &got);
}

int keep_label(struct keep *keep, unsigned int n, char *label)
{
	struct reply reply;
	int got = -1, err;

	err = call(keep, OP_LABEL, n, NULL, -1, &reply, &got);
	if (!err)
		memcpy(label, reply.label, sizeof(reply.label));
	return err;
}

int keep_drop(struct keep *keep, const char *label)
{
	struct reply reply;
	int got = -1;

	return call(keep, OP_DROP, 0, label, -1, &reply, &got);
}

int keep_end(struct keep *keep)
{
	struct reply reply;
	int got = -1, err;

	err = call(keep, OP_END, 0, NULL, -1, &reply, &got);
	return err == -EPIPE ? 0 : err ? err : -EPROTO;
}

void keep_free(struct keep *keep)
{
	if (!keep)
		return;
	close_quietly(keep->sock);
	free(keep);
}

int keep_find(const char *path, struct keep **keep)
{
	int sock = connect_unix(path, SOCK_SEQPACKET), err;
	char label[KEEP_LABEL_MAX + 1];
	struct keep *new;

	if (sock < 0)
		return sock == -ECONNREFUSED ? -ENOENT : sock;
	new = calloc(1, sizeof(*new));
	if (!new) {
		close_quietly(sock);
		return -ENOMEM;
	}
	new->sock = sock;
	/* One that was just told to end can be connected to, and is not there any more. */
	err = keep_label(new, 0, label);
	if (err && err != -ENOENT) {
		keep_free(new);
		return err == -EPIPE ? -ENOENT : err;
	}
	*keep = new;
	return 0;
}

int keep_start(const char *path, int cgroup_fd, struct keep **keep)
{
	CLEANUP_CLOSE int listener = -1;
	int err = keep_find(path, keep);
	pid_t pid;

	if (err != -ENOENT)
		return err;
	listener = listen_unix(path, SOCK_SEQPACKET, getuid());
	if (listener < 0)
		return listener;
	/* A grandchild, so that nobody has to wait for it. */
	pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid) {
		if (cgroup_fd >= 0 && write(cgroup_fd, "0", 1) != 1)
			_exit(1);
		pid = fork();
		if (pid)
			_exit(pid < 0);
		keep_process(listener);
	}
	while (waitpid(pid, &err, 0) < 0 && errno == EINTR)
		;
	if (err)
		return -EAGAIN;
	/* If it should be told to end by another one now, then nobody is there, not even us. */
	close_quietly(take_fd(&listener));
	return keep_find(path, keep);
}
