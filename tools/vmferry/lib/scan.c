// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Who has sessions of the Live Update Orchestrator: the kernel has no list of them, but
 * the links below /proc/PID/fd tell.
 *
 *	anon_inode:[luo_session] NAME	a session
 *	anon_inode:[luo_session]	the same, of a kernel that does not tell its name
 *	anon_inode:luo_session
 *
 * A path begins with a slash and the other kinds with another word, so that no file's name
 * passes for one. Threads that do not share their files with the others are not looked at.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "util.h"
#include "vmferry.h"

#define DEVICE "/dev/liveupdate"
#define SESSION "anon_inode:[luo_session]"
#define SESSION_PLAIN "anon_inode:luo_session"
/* In the kernel: TASK_COMM_LEN, or more for a kernel thread, which has no files. */
#define COMM_SIZE 64

struct holder {
	pid_t pid;
	int fd;
	char comm[COMM_SIZE];
	char *name;		/* of the session; NULL for the device */
};

struct list {
	struct holder *holders;
	size_t nr;
};

struct vmferry_scan {
	struct list sessions, devices;
	unsigned int unreadable;
};

static void free_list(struct list *list)
{
	for (size_t i = 0; i < list->nr; i++)
		free(list->holders[i].name);
	free(list->holders);
}

VMFERRY_PUBLIC void vmferry_scan_free(struct vmferry_scan *scan)
{
	if (!scan)
		return;
	free_list(&scan->sessions);
	free_list(&scan->devices);
	free(scan);
}

static void scan_cleanup(struct vmferry_scan **scan)
{
	vmferry_scan_free(*scan);
}

static void dir_cleanup(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

#define CLEANUP_DIR __attribute__((cleanup(dir_cleanup)))

/* @name is NULL for the device. */
static int add(struct list *list, const struct holder *holder, const char *name)
{
	struct holder new = *holder;
	int err = grow(&list->holders, list->nr, sizeof(*list->holders));

	if (err)
		return err;
	new.name = name ? strdup(name) : NULL;
	if (name && !new.name)
		return -ENOMEM;
	list->holders[list->nr++] = new;
	return 0;
}

/* The name in a link to a session, or NULL if it is something else. */
static const char *session_name(const char *link)
{
	if (!strcmp(link, SESSION) || !strcmp(link, SESSION_PLAIN))
		return "";
	if (!strncmp(link, SESSION " ", strlen(SESSION " ")))
		return link + strlen(SESSION " ");
	return NULL;
}

/* Nothing is asked of the file's file system: that may be one whose server is gone. */
static bool is_device(int dir, const char *entry, dev_t device)
{
	struct statx stx;

	if (statx(dir, entry, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_TYPE, &stx))
		return false;
	return S_ISCHR(stx.stx_mode) &&
	       makedev(stx.stx_rdev_major, stx.stx_rdev_minor) == device;
}

/* The number that a name is as a whole, or -1. */
static int number(const char *name)
{
	long val = 0;

	if (!*name)
		return -1;
	for (; *name; name++) {
		if (*name < '0' || *name > '9')
			return -1;
		val = val * 10 + *name - '0';
		if (val > INT_MAX)
			return -1;
	}
	return val;
}

/* That it went away meanwhile is no error, that it may not be read is counted. */
static int skip(struct vmferry_scan *scan, int err)
{
	switch (err) {
	case ENOENT:
	case ESRCH:
		return 0;
	case EACCES:
	case EPERM:
	case ENAMETOOLONG:	/* a link, in an older kernel */
		scan->unreadable++;
		return 0;
	default:
		return -err;
	}
}

static int scan_file(struct vmferry_scan *scan, struct holder *holder, int dir,
		     const char *entry, dev_t device)
{
	char link[PATH_MAX];
	const char *name;
	ssize_t len;

	holder->fd = number(entry);
	if (holder->fd < 0)
		return 0;
	len = readlinkat(dir, entry, link, sizeof(link) - 1);
	if (len < 0)
		return skip(scan, errno);
	link[len] = 0;
	name = session_name(link);
	if (name)
		return add(&scan->sessions, holder, name);
	if (device && link[0] == '/' && is_device(dir, entry, device))
		return add(&scan->devices, holder, NULL);
	return 0;
}

static void read_comm(int process, char *comm)
{
	CLEANUP_CLOSE int fd = openat(process, "comm", O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? 0 : read(fd, comm, COMM_SIZE - 1);

	comm[len < 0 ? 0 : len] = 0;
	comm[strcspn(comm, "\n")] = 0;
}

/* A directory to read, below another. */
static int open_dir(int at, const char *name, DIR **dir)
{
	CLEANUP_CLOSE int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	*dir = fdopendir(fd);
	if (!*dir)
		return -errno;
	take_fd(&fd);
	return 0;
}

static int scan_process(struct vmferry_scan *scan, int proc, const char *entry, dev_t device)
{
	struct holder holder = { .pid = number(entry) };
	CLEANUP_CLOSE int process = -1;
	CLEANUP_DIR DIR *dir = NULL;
	struct dirent *file;
	int err;

	process = openat(proc, entry, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (process < 0)
		return skip(scan, errno);
	read_comm(process, holder.comm);
	err = open_dir(process, "fd", &dir);
	if (err)
		return skip(scan, -err);
	while ((errno = 0, file = readdir(dir))) {
		err = scan_file(scan, &holder, dirfd(dir), file->d_name, device);
		if (err)
			return err;
	}
	return skip(scan, errno);
}

static int scan_all(struct vmferry_scan *scan, int proc, dev_t device)
{
	CLEANUP_DIR DIR *dir = NULL;
	struct dirent *entry;
	int err = open_dir(proc, ".", &dir);

	if (err)
		return err;
	while ((errno = 0, entry = readdir(dir))) {
		if (number(entry->d_name) <= 0)
			continue;
		err = scan_process(scan, proc, entry->d_name, device);
		if (err)
			return err;
	}
	return -errno;
}

static int compare(const void *a, const void *b)
{
	const struct holder *one = a, *other = b;

	if (one->pid != other->pid)
		return one->pid < other->pid ? -1 : 1;
	return (one->fd > other->fd) - (one->fd < other->fd);
}

static void sort(struct list *list)
{
	if (list->nr)
		qsort(list->holders, list->nr, sizeof(*list->holders), compare);
}

VMFERRY_PUBLIC int vmferry_scan_new(int proc, dev_t device, struct vmferry_scan **scan)
{
	__attribute__((cleanup(scan_cleanup))) struct vmferry_scan *new = NULL;
	CLEANUP_CLOSE int own = -1;
	struct stat st;
	int err;

	if (proc < 0) {
		own = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (own < 0)
			return -errno;
	}
	/* Without the device nobody has it open. */
	if (!device && !stat(DEVICE, &st) && S_ISCHR(st.st_mode))
		device = st.st_rdev;
	new = calloc(1, sizeof(*new));
	if (!new)
		return -ENOMEM;
	err = scan_all(new, proc < 0 ? own : proc, device);
	if (err)
		return err;
	sort(&new->sessions);
	sort(&new->devices);
	*scan = new;
	new = NULL;
	return 0;
}

VMFERRY_PUBLIC unsigned int vmferry_scan_unreadable(const struct vmferry_scan *scan)
{
	return scan->unreadable;
}

static int get(const struct list *list, size_t n, struct vmferry_scan_file *file)
{
	if (n >= list->nr)
		return -ERANGE;
	*file = (struct vmferry_scan_file){
		.pid = list->holders[n].pid, .fd = list->holders[n].fd,
		.comm = list->holders[n].comm, .name = list->holders[n].name,
	};
	return 0;
}

VMFERRY_PUBLIC size_t vmferry_scan_nr_sessions(const struct vmferry_scan *scan)
{
	return scan->sessions.nr;
}

VMFERRY_PUBLIC int vmferry_scan_get_session(const struct vmferry_scan *scan, size_t n,
					    struct vmferry_scan_file *file)
{
	return get(&scan->sessions, n, file);
}

VMFERRY_PUBLIC size_t vmferry_scan_nr_holders(const struct vmferry_scan *scan)
{
	return scan->devices.nr;
}

VMFERRY_PUBLIC int vmferry_scan_get_holder(const struct vmferry_scan *scan, size_t n,
					   struct vmferry_scan_file *file)
{
	return get(&scan->devices, n, file);
}
