// SPDX-License-Identifier: LGPL-2.1-or-later
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "out.h"
#include "spawn.h"
#include "util.h"

#define CGROUP_ROOT "/sys/fs/cgroup"

static void add_string(struct json_object *object, const char *key, const char *value)
{
	json_object_object_add(object, key, json_object_new_string(value));
}

char *process_describe(const struct vm *vm)
{
	struct json_object *object = json_object_new_object();
	char *text;

	json_object_object_add(object, "environ", json_object_get(vm->environ));
	json_object_object_add(object, "groups", json_object_get(vm->groups));
	json_object_object_add(object, "uid", json_object_new_int64(vm->uid));
	json_object_object_add(object, "gid", json_object_new_int64(vm->gid));
	add_string(object, "exe", vm->exe);
	add_string(object, "cwd", vm->cwd);
	add_string(object, "cgroup", vm->cgroup);
	add_string(object, "qmp", vm->qmp_path);
	text = strdup(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN));
	json_object_put(object);
	return text;
}

/* What process_describe() has made. To be put; NULL if there is none. */
static struct json_object *description(const struct vmferry_manifest *manifest)
{
	struct vmferry_manifest_info info;

	return !vmferry_manifest_get_info(manifest, &info) && info.note ?
	       json_tokener_parse(info.note) : NULL;
}

static struct json_object *get(struct json_object *object, const char *key, json_type type)
{
	struct json_object *value;

	return json_object_object_get_ex(object, key, &value) &&
	       json_object_is_type(value, type) ? value : NULL;
}

static bool all_are(struct json_object *array, json_type type)
{
	for (size_t n = 0; n < json_object_array_length(array); n++)
		if (!json_object_is_type(json_object_array_get_idx(array, n), type))
			return false;
	return true;
}

/*
 * cgroup.procs of the control group it was in. A new kernel need not have it: then it is
 * charged to the caller, which is better than not to run.
 */
static int open_cgroup(const struct vm *vm, const char *cgroup)
{
	char *path;
	int fd;

	if (!strcmp(cgroup, "/") || !*cgroup || asprintf(&path, CGROUP_ROOT "%s/cgroup.procs", cgroup) < 0)
		return -1;
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		out_step(vm->name, "its control group %s is not there, it gets that of vmferry",
			 cgroup);
	free(path);
	return fd;
}

int process_keeper_cgroup(const struct vm *vm)
{
	for (size_t n = 0; n < json_object_array_length(vm->environ); n++)
		if (!strcmp(json_object_get_string(json_object_array_get_idx(vm->environ, n)),
			    "VMFERRY_KEEPER=cgroup"))
			return open_cgroup(vm, vm->cgroup);
	return -1;
}

struct process_cgroup process_enter_cgroup(const struct vm *vm,
					   const struct vmferry_manifest *manifest)
{
	struct json_object *object = description(manifest);
	struct process_cgroup cgroup = { .back = -1 };
	const char *theirs = qmp_string(object, "cgroup", "");
	char *ours = vm_proc_cgroup(getpid());

	if (ours && strcmp(ours, theirs)) {
		CLEANUP_CLOSE int fd = open_cgroup(vm, theirs);

		cgroup.back = fd < 0 ? -1 : open_cgroup(vm, ours);
		if (fd >= 0 && write(fd, "0", 1) != 1)
			out_step(vm->name, "cannot enter its control group %s: %s", theirs,
				 strerror(errno));
	}
	free(ours);
	json_object_put(object);
	return cgroup;
}

void process_leave_cgroup(struct process_cgroup *cgroup)
{
	if (cgroup->back >= 0 && write(cgroup->back, "0", 1) != 1)
		out_step(NULL, "cannot go back to our control group: %s", strerror(errno));
	close_quietly(cgroup->back);
}

int process_monitor(struct vm *vm, const struct vmferry_manifest *manifest)
{
	struct json_object *object = description(manifest);
	const char *qmp = qmp_string(object, "qmp", NULL);
	char *path = qmp ? strdup(qmp) : NULL;

	json_object_put(object);
	if (!path)
		return qmp ? -ENOMEM : 0;
	free(vm->qmp_path);
	vm->qmp_path = path;
	return 0;
}

/* Before it does anything, somebody has to know of it. */
static int keep_process(int pidfd, void *keep)
{
	return keep_put(keep, "qemu", pidfd);
}

/* A user or a group. All bits set would be none: what is asked to change to that stays. */
static bool is_id(struct json_object *value)
{
	return json_object_is_type(value, json_type_int) && json_object_get_int64(value) >= 0 &&
	       json_object_get_int64(value) < UINT32_MAX;
}

static bool are_ids(struct json_object *array)
{
	for (size_t n = 0; n < json_object_array_length(array); n++)
		if (!is_id(json_object_array_get_idx(array, n)))
			return false;
	return true;
}

struct json_object *process_read(const char *note, struct process *process)
{
	struct json_object *object = note ? json_tokener_parse(note) : NULL, *uid, *gid;

	*process = (struct process){
		.environ = get(object, "environ", json_type_array),
		.groups = get(object, "groups", json_type_array),
		.cwd = qmp_string(object, "cwd", NULL),
		.exe = qmp_string(object, "exe", NULL),
		.qmp = qmp_string(object, "qmp", NULL),
		.cgroup = qmp_string(object, "cgroup", ""),
	};
	uid = get(object, "uid", json_type_int);
	gid = get(object, "gid", json_type_int);
	if (process->environ && process->groups && process->cwd && process->exe && process->qmp &&
	    is_id(uid) && is_id(gid) && are_ids(process->groups) &&
	    all_are(process->environ, json_type_string)) {
		process->uid = json_object_get_int64(uid);
		process->gid = json_object_get_int64(gid);
		return object;
	}
	json_object_put(object);
	return NULL;
}

int process_start(struct vm *vm, struct keep *keep, const struct vmferry_manifest *manifest,
		  const char *cpr_path, const char *main_path)
{
	const char *what = "its manifest does not say how it was started";
	struct json_object *object, *argv = json_object_new_array();
	struct vmferry_manifest_info info = {};
	char *log = vm_path(vm, "log"), *path;
	struct process process;
	struct spawn how = {};
	int pidfd = -EBADMSG;

	for (size_t n = 0; n < vmferry_manifest_nr_args(manifest); n++) {
		const char *arg;

		vmferry_manifest_get_arg(manifest, n, &arg);
		json_object_array_add(argv, json_object_new_string(arg));
	}
	vmferry_manifest_get_info(manifest, &info);
	object = process_read(info.note, &process);
	path = object ? strdup(process.qmp) : NULL;
	if (log && path && json_object_array_length(argv)) {
		static const char deleted[] = " (deleted)";
		size_t len = strlen(process.exe), cut = sizeof(deleted) - 1;

		how.environ = process.environ;
		how.groups = process.groups;
		how.cwd = process.cwd;
		how.log = log;
		/* It was replaced by another one of the same name. */
		how.exe = len > cut && !strcmp(process.exe + len - cut, deleted) ? NULL :
										    process.exe;
		how.uid = process.uid;
		how.gid = process.gid;
		free(vm->qmp_path);
		vm->qmp_path = path;
		path = NULL;
		/* A connection to the one there was is none to this one. */
		unlink(vm->qmp_path);
		how.argv = spawn_incoming_argv(argv, cpr_path, main_path);
		how.cgroup_fd = open_cgroup(vm, process.cgroup);
		pidfd = spawn(&how, keep_process, keep, &what);
		close_quietly(how.cgroup_fd);
		json_object_put(how.argv);
	}
	if (pidfd < 0)
		out_error(vm->name, pidfd, "cannot start QEMU: %s", what);
	json_object_put(argv);
	json_object_put(object);
	free(path);
	free(log);
	return pidfd;
}
