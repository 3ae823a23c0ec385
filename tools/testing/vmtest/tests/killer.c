// SPDX-License-Identifier: GPL-2.0-only
/*
 * killer: kill a command with SIGKILL where it has not been killed before. No test by itself.
 *
 * usage: killer FILE [-e SYSCALL] [-s N] COMMAND [ARGUMENT...]
 *
 * The first stop that is not in FILE is added to it, and the command dies there: before one of
 * its system calls, or after it, which it then does not get to know of. What it has forked is
 * left alone. Run again and again, the command dies one step later each time, however much of
 * its way it is spared because of what the one before has done.
 *
 * A stop has a name by the last two things done that change anything outside of the command, and
 * how many calls have been made since, up to a limit: loops that wait make no end of stops.
 * Stops before the command's first mkdir() do not count, it has done nothing by then. With -e,
 * this system call is never made. With -s, only one of N stops counts from the first pipe2() on,
 * with which vmferry starts a QEMU: after that, each run takes its time.
 *
 * Exit status: 137 if it was killed, 64 if by -e with nothing left but that, or the command's.
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/iommufd.h>
#include <linux/liveupdate.h>
#include <linux/ptrace.h>
#include <linux/vfio.h>

#include "kselftest.h"
#include "vmtest.h"

#define KILLED		137
#define NOTHING_LEFT	64
/* Calls after one that changes something. A few more than it takes to connect to a keeper. */
#define SINCE_MAX	16
/* struct request of tools/vmferry/src/keep.c: what is in front of its label. */
#define REQUEST_SIZE	140
#define REQUEST_SEQ	4

static const struct {
	const char *name;
	long nr;
	bool changes;
} calls[] = {
	{ "accept4", SYS_accept4, true },
	{ "bind", SYS_bind, true },
	{ "clone", SYS_clone, true },
	{ "clone3", SYS_clone3, true },
	{ "close", SYS_close, false },
	{ "connect", SYS_connect, false },
	{ "eventfd2", SYS_eventfd2, true },
	{ "fcntl", SYS_fcntl, false },
	{ "fork", SYS_fork, true },
	{ "ftruncate", SYS_ftruncate, true },
	{ "listen", SYS_listen, true },
	{ "memfd_create", SYS_memfd_create, true },
	{ "mkdir", SYS_mkdir, true },
	{ "mmap", SYS_mmap, false },
	{ "openat", SYS_openat, false },
	{ "pidfd_open", SYS_pidfd_open, true },
	{ "pidfd_send_signal", SYS_pidfd_send_signal, true },
	{ "pipe2", SYS_pipe2, true },
	{ "poll", SYS_poll, false },
	{ "pread64", SYS_pread64, false },
	{ "read", SYS_read, false },
	{ "reboot", SYS_reboot, true },
	{ "recvfrom", SYS_recvfrom, false },
	{ "recvmsg", SYS_recvmsg, false },
	{ "sendfile", SYS_sendfile, true },
	{ "sendmsg", SYS_sendmsg, true },
	/* To a monitor, which may be asked any number of times. */
	{ "sendto", SYS_sendto, false },
	{ "shutdown", SYS_shutdown, true },
	{ "socket", SYS_socket, false },
	{ "sync", SYS_sync, true },
	{ "unlink", SYS_unlink, true },
	{ "write", SYS_write, true },
};

static const struct {
	const char *name;
	unsigned long request;
} ioctls[] = {
	{ "CREATE_SESSION", LIVEUPDATE_IOCTL_CREATE_SESSION },
	{ "RETRIEVE_SESSION", LIVEUPDATE_IOCTL_RETRIEVE_SESSION },
	{ "PRESERVE_FD", LIVEUPDATE_SESSION_PRESERVE_FD },
	{ "RETRIEVE_FD", LIVEUPDATE_SESSION_RETRIEVE_FD },
	{ "FINISH", LIVEUPDATE_SESSION_FINISH },
	{ "GET_NAME", LIVEUPDATE_SESSION_GET_NAME },
	{ "BIND_IOMMUFD", VFIO_DEVICE_BIND_IOMMUFD },
	{ "ATTACH_IOMMUFD_PT", VFIO_DEVICE_ATTACH_IOMMUFD_PT },
	{ "SET_IRQS", VFIO_DEVICE_SET_IRQS },
	{ "DEVICE_FEATURE", VFIO_DEVICE_FEATURE },
	{ "IOAS_ALLOC", IOMMU_IOAS_ALLOC },
	{ "IOAS_MAP_FILE", IOMMU_IOAS_MAP_FILE },
	/* Asked of any number */
	{ "GET_HW_INFO", IOMMU_GET_HW_INFO },
};

/* What was done last, also as told apart by what was before, and how often each was. */
static struct {
	uint64_t last, both;
	unsigned int since, nth[512], nth_ioctl[ARRAY_SIZE(ioctls) + 1];
	/* What was asked of keepers: by hash, in no order */
	uint64_t asked[4096];
	size_t nr_asked;
} at;

static uint64_t hash(uint64_t value, const void *data, size_t len)
{
	const unsigned char *pos = data;

	while (len--)
		value = (value ^ *pos++) * 0x100000001b3ULL;
	return value;
}

static uint64_t hash_number(uint64_t value, uint64_t number)
{
	return hash(value, &number, sizeof(number));
}

static bool peek(pid_t pid, uint64_t addr, void *buf, size_t len)
{
	/* Not by process_vm_readv(), which the test kernel does not have. */
	for (size_t pos = 0; pos < len; pos += sizeof(long)) {
		size_t part = len - pos < sizeof(long) ? len - pos : sizeof(long);
		long word;

		errno = 0;
		word = ptrace(PTRACE_PEEKDATA, pid, addr + pos, 0);
		if (errno)
			return false;
		memcpy((char *)buf + pos, &word, part);
	}
	return true;
}

/* One to a keeper is known by what it asks for, in whatever run. */
static bool keeper_request(pid_t pid, uint64_t addr, uint64_t *what)
{
	char request[REQUEST_SIZE];
	struct msghdr hdr;
	struct iovec iov;

	if (!peek(pid, addr, &hdr, sizeof(hdr)) || hdr.msg_iovlen != 1 ||
	    !peek(pid, (uint64_t)hdr.msg_iov, &iov, sizeof(iov)) ||
	    iov.iov_len != sizeof(request) ||
	    !peek(pid, (uint64_t)iov.iov_base, request, sizeof(request)))
		return false;
	memset(request + REQUEST_SEQ, 0, sizeof(uint32_t));
	*what = hash(SYS_sendmsg, request, sizeof(request));
	return true;
}

static size_t find_ioctl(uint64_t request)
{
	size_t n = 0;

	while (n < ARRAY_SIZE(ioctls) && ioctls[n].request != (uint32_t)request)
		n++;
	return n;
}

static bool changes(const struct ptrace_syscall_info *info)
{
	long nr = info->entry.nr;

	if (nr == SYS_ioctl)
		return (uint32_t)info->entry.args[1] != IOMMU_GET_HW_INFO;
	for (size_t n = 0; n < ARRAY_SIZE(calls); n++)
		if (calls[n].nr == nr)
			return calls[n].changes;
	return false;
}

/* It is about to make this call. */
static void advance(pid_t pid, const struct ptrace_syscall_info *info)
{
	uint64_t what, before = at.last;
	long nr = info->entry.nr;

	if (!changes(info)) {
		at.since++;
		return;
	}
	at.since = 0;
	if (nr == SYS_sendmsg && keeper_request(pid, info->entry.args[1], &what)) {
		unsigned int nth = 0;

		for (size_t n = 0; n < at.nr_asked; n++)
			nth += at.asked[n] == what;
		if (at.nr_asked < ARRAY_SIZE(at.asked))
			at.asked[at.nr_asked++] = what;
		at.last = hash_number(what, nth);
	} else if (nr == SYS_ioctl) {
		size_t n = find_ioctl(info->entry.args[1]);

		at.last = hash_number(hash_number(nr, info->entry.args[1]), ++at.nth_ioctl[n]);
	} else {
		at.last = hash_number(nr, ++at.nth[nr % ARRAY_SIZE(at.nth)]);
	}
	/* The file that a keeper has given tells which device it is about. */
	at.both = hash_number(before, at.last);
}

static void name_of(const struct ptrace_syscall_info *info, char *name, size_t size)
{
	size_t n;

	if (info->entry.nr == SYS_ioctl) {
		n = find_ioctl(info->entry.args[1]);
		snprintf(name, size, "%s",
			 n < ARRAY_SIZE(ioctls) ? ioctls[n].name : "ioctl");
		return;
	}
	for (n = 0; n < ARRAY_SIZE(calls) && calls[n].nr != (long)info->entry.nr; n++)
		;
	if (n < ARRAY_SIZE(calls))
		snprintf(name, size, "%s", calls[n].name);
	else
		snprintf(name, size, "call-%llu", (unsigned long long)info->entry.nr);
}

/* Whether it was not there yet; then it is now. */
static bool is_new(FILE *file, uint64_t key, const char *when, const char *name)
{
	unsigned long long one;

	rewind(file);
	while (fscanf(file, "%llx %*[^\n]", &one) == 1)
		if (one == key)
			return false;
	fseek(file, 0, SEEK_END);
	fprintf(file, "%016llx %s %s\n", (unsigned long long)key, when, name);
	fflush(file);
	return true;
}

static int die(pid_t pid, int code)
{
	int status;

	kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) == pid && !WIFEXITED(status) && !WIFSIGNALED(status))
		;
	return code;
}

static int follow(pid_t pid, FILE *file, const char *never, unsigned int stride)
{
	struct ptrace_syscall_info info, call = {};
	bool begun = false, slow = false;
	int status, signal = 0;
	char name[32] = "";

	for (;;) {
		bool entry;
		uint64_t key;

		if (ptrace(PTRACE_SYSCALL, pid, 0, signal) || waitpid(pid, &status, 0) != pid)
			vmt_die("killer: lost the command");
		if (WIFEXITED(status))
			return WEXITSTATUS(status);
		if (WIFSIGNALED(status))
			return 128 + WTERMSIG(status);
		signal = WSTOPSIG(status);
		if (signal != (SIGTRAP | 0x80))
			continue;
		signal = 0;
		if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) <= 0)
			vmt_die("killer: PTRACE_GET_SYSCALL_INFO");
		entry = info.op == PTRACE_SYSCALL_INFO_ENTRY;
		if (entry) {
			call = info;
			slow = slow || info.entry.nr == SYS_pipe2;
			begun = begun || info.entry.nr == SYS_mkdir;
			name_of(&call, name, sizeof(name));
		}
		if (!begun)
			continue;
		/* Before the call it is where it was; after it, it is there. */
		if (!entry && !changes(&call))
			continue;
		if (!entry)
			advance(pid, &call);
		key = hash_number(hash_number(at.both, at.since), entry ? call.entry.nr : 0);
		if (at.since <= SINCE_MAX && (!slow || key % stride == 0) &&
		    is_new(file, key, entry ? "before" : "after", name))
			return die(pid, KILLED);
		if (entry && never && !strcmp(name, never))
			return die(pid, NOTHING_LEFT);
		if (entry && !changes(&call))
			advance(pid, &call);
	}
}

int main(int argc, char **argv)
{
	const char *never = NULL;
	unsigned int stride = 1;
	int first = 2, status;
	FILE *file;
	pid_t pid;

	if (argc > 4 && !strcmp(argv[2], "-e")) {
		never = argv[3];
		first = 4;
	}
	if (argc > first + 2 && !strcmp(argv[first], "-s")) {
		stride = atoi(argv[first + 1]);
		first += 2;
	}
	if (argc <= first || !stride)
		vmt_die("usage: killer FILE [-e SYSCALL] [-s N] COMMAND [ARGUMENT...]");
	file = fopen(argv[1], "a+e");
	if (!file)
		vmt_die("killer: %s", argv[1]);
	pid = fork();
	if (!pid) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		execv(argv[first], argv + first);
		vmt_die("killer: %s", argv[first]);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status) ||
	    ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL))
		vmt_die("killer: cannot trace %s", argv[first]);
	return follow(pid, file, never, stride);
}
