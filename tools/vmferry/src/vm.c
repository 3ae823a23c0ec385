// SPDX-License-Identifier: LGPL-2.1-or-later
#include "vm.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "out.h"
#include "util.h"

/* What a session's name has room for, after "vm-". */
#define NAME_SIZE_MAX 48

bool vm_name_is_good(const char *name)
{
	size_t len = strlen(name);

	if (!len || len > NAME_SIZE_MAX || name[0] == '.' || name[0] == '-')
		return false;
	for (; *name; name++)
		if (!isalnum((unsigned char)*name) && !strchr("-_.", *name))
			return false;
	return true;
}

char *vm_path(const struct vm *vm, const char *suffix)
{
	char *path;

	return asprintf(&path, "%s/%s.%s", vm->dir, vm->name, suffix) < 0 ? NULL : path;
}

int vm_new(const char *arg, const char *dir, struct vm **vm)
{
	const char *slash = strrchr(arg, '/'), *dot;
	struct vm *new = calloc(1, sizeof(*new));

	if (!new)
		return -ENOMEM;
	new->lock = -1;
	new->pidfd = -1;
	new->dir = strdup(dir);
	if (slash) {
		dot = strrchr(slash, '.');
		new->name = dot && dot > slash + 1 ? strndup(slash + 1, dot - slash - 1) :
						     strdup(slash + 1);
		new->qmp_path = realpath(arg, NULL);
		if (!new->qmp_path)
			new->qmp_path = strdup(arg);
	} else {
		new->name = strdup(arg);
		new->qmp_path = new->name && new->dir ? vm_path(new, "qmp") : NULL;
	}
	if (!new->name || !new->qmp_path || !new->dir) {
		vm_free(new);
		return -ENOMEM;
	}
	if (!vm_name_is_good(new->name)) {
		vm_free(new);
		return -EINVAL;
	}
	*vm = new;
	return 0;
}

void vm_disconnect(struct vm *vm)
{
	qmp_free(vm->qmp);
	vm->qmp = NULL;
	close_quietly(vm->pidfd);
	vm->pidfd = -1;
	vm->pid = 0;
	json_object_put(vm->argv);
	json_object_put(vm->environ);
	json_object_put(vm->groups);
	vm->argv = vm->environ = vm->groups = NULL;
	free(vm->version);
	free(vm->cwd);
	free(vm->cgroup);
	free(vm->exe);
	vm->version = vm->cwd = vm->cgroup = vm->exe = NULL;
}

void vm_free(struct vm *vm)
{
	if (!vm)
		return;
	vm_disconnect(vm);
	close_quietly(vm->lock);
	free(vm->name);
	free(vm->qmp_path);
	free(vm->dir);
	free(vm);
}

int vm_try_lock(struct vm *vm)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	char *path = vm_path(vm, "lock");
	int err = 0;

	if (!path)
		return -ENOMEM;
	vm->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	/* Of this process: what it has started does not have it when we die. */
	if (vm->lock < 0)
		err = -errno;
	else if (fcntl(vm->lock, F_SETLK, &lock))
		err = errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
	free(path);
	return err;
}

int vm_lock(struct vm *vm)
{
	int err = vm_try_lock(vm);

	if (err)
		out_error(vm->name, err, err == -EBUSY ? "another vmferry is at work on it" :
			  "cannot lock %s/%s.lock", vm->dir, vm->name);
	return err;
}

int vm_qmp_error(const struct vm *vm, int err, const char *what)
{
	if (err == -EPROTO)
		return out_error(vm->name, err, "%s: QEMU says: %s", what, qmp_error(vm->qmp));
	return out_error(vm->name, err, "%s", what);
}

char *vm_proc_file(pid_t pid, const char *file, size_t *size)
{
	CLEANUP_CLOSE int fd = -1;
	char path[64], *buf = NULL;
	size_t len = 0, room = 0;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	for (;;) {
		ssize_t got;

		if (len + 1 >= room) {
			char *new = realloc(buf, room = room ? 2 * room : 4096);

			if (!new)
				break;
			buf = new;
		}
		got = read(fd, buf + len, room - len - 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			break;
		if (!got) {
			buf[len] = 0;
			*size = len;
			return buf;
		}
		len += got;
	}
	free(buf);
	return NULL;
}

/* Strings that end in NUL, one after the other. */
static struct json_object *proc_strings(pid_t pid, const char *file)
{
	struct json_object *array;
	size_t size;
	char *buf = vm_proc_file(pid, file, &size);

	if (!buf)
		return NULL;
	array = json_object_new_array();
	for (size_t pos = 0; pos < size; pos += strlen(buf + pos) + 1)
		json_object_array_add(array, json_object_new_string(buf + pos));
	free(buf);
	return array;
}

static char *proc_link(pid_t pid, const char *file)
{
	char path[64], target[PATH_MAX];
	ssize_t len;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	len = readlink(path, target, sizeof(target) - 1);
	return len < 0 ? NULL : strndup(target, len);
}

/* "0::/path". "" if there is none. */
char *vm_proc_cgroup(pid_t pid)
{
	size_t size;
	char *buf = vm_proc_file(pid, "cgroup", &size), *pos, *cgroup;

	if (!buf)
		return NULL;
	pos = strncmp(buf, "0::", 3) ? strstr(buf, "\n0::") : buf - 1;
	cgroup = strdup(pos ? pos + 4 : "");
	free(buf);
	if (cgroup)
		cgroup[strcspn(cgroup, "\n")] = 0;
	return cgroup;
}

/* The effective user and group, and the supplementary groups. */
static int proc_user(struct vm *vm)
{
	static const char * const keys[] = { "\nUid:", "\nGid:", "\nGroups:" };
	char *pos[ARRAY_SIZE(keys)], *end;
	size_t size;
	char *buf = vm_proc_file(vm->pid, "status", &size);

	if (!buf)
		return -errno;
	for (size_t n = 0; n < ARRAY_SIZE(keys); n++) {
		pos[n] = strstr(buf, keys[n]);
		if (!pos[n]) {
			free(buf);
			return -EPROTO;
		}
		pos[n] += strlen(keys[n]);
	}
	strtoul(pos[0], &end, 10);
	vm->uid = strtoul(end, NULL, 10);
	strtoul(pos[1], &end, 10);
	vm->gid = strtoul(end, NULL, 10);
	vm->groups = json_object_new_array();
	pos[2][strcspn(pos[2], "\n")] = 0;
	for (char *next = pos[2]; ; next = end) {
		unsigned long group = strtoul(next, &end, 10);

		if (end == next)
			break;
		json_object_array_add(vm->groups, json_object_new_int64(group));
	}
	free(buf);
	return 0;
}

static int about_process(struct vm *vm)
{
	int err = proc_user(vm);

	if (err)
		return err;
	vm->argv = proc_strings(vm->pid, "cmdline");
	vm->environ = proc_strings(vm->pid, "environ");
	vm->cwd = proc_link(vm->pid, "cwd");
	vm->exe = proc_link(vm->pid, "exe");
	vm->cgroup = vm_proc_cgroup(vm->pid);
	if (!vm->argv || !vm->environ || !vm->cwd || !vm->exe || !vm->cgroup)
		return -errno;
	return json_object_array_length(vm->argv) ? 0 : -ESRCH;
}

static int about_qemu(struct vm *vm)
{
	struct json_object *ret, *version, *part;
	int numbers[3] = {}, err;

	err = qmp_execute(vm->qmp, "query-uuid", NULL, &ret);
	if (err)
		return err;
	snprintf(vm->uuid, sizeof(vm->uuid), "%s", qmp_string(ret, "UUID", ""));
	json_object_put(ret);

	err = qmp_execute(vm->qmp, "query-version", NULL, &ret);
	if (err)
		return err;
	if (json_object_object_get_ex(ret, "qemu", &version)) {
		static const char * const keys[] = { "major", "minor", "micro" };

		for (int n = 0; n < 3; n++)
			if (json_object_object_get_ex(version, keys[n], &part))
				numbers[n] = json_object_get_int(part);
	}
	json_object_put(ret);
	return asprintf(&vm->version, "%d.%d.%d", numbers[0], numbers[1], numbers[2]) < 0 ?
	       -ENOMEM : 0;
}

int vm_connect(struct vm *vm)
{
	int err = qmp_connect(vm->qmp_path, -1, VM_QMP_TIMEOUT_MS, &vm->qmp);

	if (err == -ETIMEDOUT)
		return out_error(vm->name, -EBUSY,
				 "QEMU's monitor %s does not answer, is somebody else connected?",
				 vm->qmp_path);
	if (err)
		return out_error(vm->name, err, "cannot connect to QEMU's monitor %s",
				 vm->qmp_path);
	vm->pid = qmp_pid(vm->qmp);
	vm->pidfd = vm->pid > 0 ? (int)syscall(SYS_pidfd_open, vm->pid, 0) : -1;
	if (vm->pidfd < 0) {
		err = vm->pid < 0 ? vm->pid : -errno;
		return out_error(vm->name, err, "cannot find the process of QEMU");
	}
	err = about_process(vm);
	if (err)
		return out_error(vm->name, err, "cannot read how QEMU was started");
	err = about_qemu(vm);
	return err ? vm_qmp_error(vm, err, "cannot ask QEMU for its version and UUID") : 0;
}
