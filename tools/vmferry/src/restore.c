// SPDX-License-Identifier: LGPL-2.1-or-later
#include "restore.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "capture.h"
#include "devices.h"
#include "index.h"
#include "out.h"
#include "process.h"
#include "util.h"
#include "vmferry.h"

/*
 * The session, or -ENOENT, of which nothing is said, if the kernel has none of this name.
 *
 * The keeper has it from the beginning: closing it would give up what is in it. What it has
 * handed out can be had again as long as it is open.
 */
static int park_session(struct vm *vm, const char *name, struct keep **keep)
{
	char *path = vm_path(vm, "keep");
	int err = path ? keep_start(path, -1, keep) : -ENOMEM, session;

	free(path);
	if (err)
		return out_error(vm->name, err, "cannot start its keeper");
	session = keep_get(*keep, "session");
	if (session == -ENOENT) {
		err = keep_retrieve(*keep, name);
		if (err) {
			if (err != -ENOENT)
				out_error(vm->name, err, "cannot retrieve its session %s", name);
			/* If it does not answer, it may have it. */
			if (err != -EPIPE)
				keep_end(*keep);
		} else {
			session = keep_get(*keep, "session");
		}
	}
	if (!err && session < 0) {
		err = out_error(vm->name, session, "cannot reach its keeper");
	}
	if (err) {
		keep_free(*keep);
		*keep = NULL;
		return err;
	}
	return session;
}

int restore_park(struct vm *vm, const char *name)
{
	CLEANUP_CLOSE int session = -1;
	struct keep *keep = NULL;

	session = park_session(vm, name, &keep);
	keep_free(keep);
	return session < 0 ? session : 0;
}

/* Retrieve a file and give it to the keeper. Returns 0. */
static int retrieve(struct keep *keep, int session, uint64_t token, const char *label)
{
	CLEANUP_CLOSE int fd = vmferry_session_retrieve_fd(session, token);

	return fd < 0 ? fd : keep_put(keep, label, fd);
}

/* What was not preserved is made anew. */
static int make_file(struct keep *keep, const struct vmferry_manifest_file *file,
		     const char *label)
{
	CLEANUP_CLOSE int fd = -1;

	/* Those of devices have their turn. */
	if (!strcmp(file->kind, "iommufd") || !strcmp(file->kind, "device"))
		return 0;
	if (strcmp(file->kind, "eventfd"))
		return -EOPNOTSUPP;
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return fd < 0 ? -errno : keep_put(keep, label, fd);
}

static int retrieve_files(struct vm *vm, struct keep *keep, int session,
			  const struct vmferry_manifest *manifest)
{
	for (size_t n = 0; n < vmferry_manifest_nr_files(manifest); n++) {
		struct vmferry_manifest_file file;
		char label[32];
		int err;

		vmferry_manifest_get_file(manifest, n, &file);
		snprintf(label, sizeof(label), "file.%zu", n);
		err = file.preserved ? retrieve(keep, session, file.token, label) :
				       make_file(keep, &file, label);
		if (err)
			return out_error(vm->name, err, "cannot retrieve %s", file.name);
	}
	return 0;
}

/* To where the devices' files are among the others. */
static int retrieve_devices(struct vm *vm, struct keep *keep, int session,
			    const struct vmferry_manifest *manifest)
{
	for (size_t n = 0; n < vmferry_manifest_nr_devices(manifest); n++) {
		struct vmferry_manifest_device device;
		int err = -ENOENT;

		vmferry_manifest_get_device(manifest, n, &device);
		for (size_t m = 0; m < vmferry_manifest_nr_files(manifest); m++) {
			struct vmferry_manifest_file file;
			char label[32];

			vmferry_manifest_get_file(manifest, m, &file);
			if (file.id || strcmp(file.name, device.name))
				continue;
			snprintf(label, sizeof(label), "file.%zu", m);
			err = retrieve(keep, session, device.token, label);
		}
		if (err)
			return out_error(vm->name, err, "cannot retrieve %s, see the kernel's log",
					 device.bdf);
	}
	return 0;
}

/* Have the keeper get all of it. */
static int retrieve_all(struct vm *vm, struct keep *keep, int session, struct timeline_vm *times)
{
	struct vmferry_manifest *manifest = NULL;
	CLEANUP_CLOSE int fd = -1;
	int err;

	err = retrieve(keep, session, VMFERRY_TOKEN_MANIFEST, "manifest");
	fd = err ? err : keep_get(keep, "manifest");
	err = fd < 0 ? fd : vmferry_manifest_read(fd, &manifest);
	if (err)
		out_error(vm->name, err, "cannot read its manifest");
	if (!err) {
		/* Memory is charged to who retrieves it. */
		struct process_cgroup cgroup = process_enter_cgroup(vm, manifest);

		timeline_take(times, manifest);
		err = retrieve_files(vm, keep, session, manifest);
		process_leave_cgroup(&cgroup);
	}
	if (!err)
		err = retrieve_devices(vm, keep, session, manifest);
	times->marks[TIMELINE_RETRIEVED] = stamp_now();
	if (!err)
		err = devices_rebuild(vm, keep, manifest);
	times->marks[TIMELINE_REBUILT] = stamp_now();
	if (!err) {
		err = retrieve(keep, session, VMFERRY_TOKEN_DEVICE_STATE, "stream");
		if (err)
			out_error(vm->name, err, "cannot retrieve the devices' state");
	}
	vmferry_manifest_free(manifest);
	return err;
}

int restore_vm(struct vm *vm, const char *name, struct timeline_vm *times)
{
	CLEANUP_CLOSE int session = -1, stream = -1;
	struct keep *keep = NULL;
	int err;

	times->marks[TIMELINE_RESTORE] = stamp_now();
	err = session = park_session(vm, name, &keep);
	if (err == -ENOENT)
		return out_error(vm->name, err, "cannot retrieve its session %s", name);
	if (err < 0)
		return err;
	/*
	 * It is what comes last. If somebody before us had come so far, then a new QEMU may have
	 * all of it, and the session may be finished.
	 */
	stream = keep_get(keep, "stream");
	if (stream == -ENOENT)
		err = retrieve_all(vm, keep, session, times);
	else
		err = stream < 0 ? out_error(vm->name, stream, "cannot reach its keeper") : 0;
	if (!err)
		err = capture_replay(vm, keep, times);
	keep_free(keep);
	return err;
}

int restore_give_up(struct vm *vm, const char *name)
{
	CLEANUP_CLOSE int session = -1;
	struct keep *keep;
	int err;

	err = session = park_session(vm, name, &keep);
	/* Then there is nothing to give up. */
	if (err == -ENOENT)
		return 0;
	if (err < 0)
		return err;
	err = vmferry_session_finish(session);
	/* Of a device that was not retrieved: the end of the last file of the session abandons it. */
	if (err == -EBUSY)
		err = 0;
	if (err)
		out_error(vm->name, err, "cannot finish its session %s", name);
	/* Before it ends: without it and its session, nothing else tells that this was meant. */
	if (!err)
		err = index_mark(vm->dir, vm->name);
	if (!err)
		err = keep_end(keep);
	keep_free(keep);
	return err;
}
