// SPDX-License-Identifier: LGPL-2.1-or-later
#include "process.h"

#include <errno.h>
#include <fcntl.h>
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

int process_start(struct vm *vm, struct keep *keep, const struct vmferry_manifest *manifest,
		  const char *cpr_path, const char *main_path)
{
	struct json_object *object = description(manifest), *argv = json_object_new_array();
	struct json_object *uid, *gid;
	const char *what = "its manifest does not say how it was started", *qmp, *exe, *cgroup;
	struct spawn how = {};
	char *log = vm_path(vm, "log"), *path = NULL;
	int pidfd = -EBADMSG;

	for (size_t n = 0; n < vmferry_manifest_nr_args(manifest); n++) {
		const char *arg;

		vmferry_manifest_get_arg(manifest, n, &arg);
		json_object_array_add(argv, json_object_new_string(arg));
	}
	how.environ = get(object, "environ", json_type_array);
	how.groups = get(object, "groups", json_type_array);
	how.cwd = qmp_string(object, "cwd", NULL);
	cgroup = qmp_string(object, "cgroup", "");
	how.log = log;
	exe = qmp_string(object, "exe", NULL);
	qmp = qmp_string(object, "qmp", NULL);
	uid = get(object, "uid", json_type_int);
	gid = get(object, "gid", json_type_int);
	if (how.environ && how.groups && how.cwd && exe && qmp && uid && gid && log &&
	    json_object_array_length(argv) && all_are(how.environ, json_type_string) &&
	    all_are(how.groups, json_type_int) && (path = strdup(qmp))) {
		static const char deleted[] = " (deleted)";
		size_t len = strlen(exe), cut = sizeof(deleted) - 1;

		/* It was replaced by another one of the same name. */
		how.exe = len > cut && !strcmp(exe + len - cut, deleted) ? NULL : exe;
		how.uid = json_object_get_int64(uid);
		how.gid = json_object_get_int64(gid);
		free(vm->qmp_path);
		vm->qmp_path = path;
		/* A connection to the one there was is none to this one. */
		unlink(path);
		how.argv = spawn_incoming_argv(argv, cpr_path, main_path);
		how.cgroup_fd = open_cgroup(vm, cgroup);
		pidfd = spawn(&how, keep_process, keep, &what);
		close_quietly(how.cgroup_fd);
		json_object_put(how.argv);
	}
	if (pidfd < 0)
		out_error(vm->name, pidfd, "cannot start QEMU: %s", what);
	json_object_put(argv);
	json_object_put(object);
	free(log);
	return pidfd;
}
