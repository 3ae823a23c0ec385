// SPDX-License-Identifier: LGPL-2.1-or-later
#include "capture.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "devices.h"
#include "files.h"
#include "migration.h"
#include "out.h"
#include "process.h"
#include "sock.h"
#include "stamp.h"
#include "util.h"
#include "vmferry.h"

#define LUO_TIMEOUT_MS 5000
#define CONNECT_TIMEOUT_MS 10000
#define MIGRATION_TIMEOUT_MS 60000
#define QUIT_TIMEOUT_MS 10000

struct capture {
	struct vm *vm;
	unsigned int flags;
	struct keep *keep;
	struct vmferry_manifest *manifest;
	struct vmferry_cpr *cpr;
	int session, stream;
	char *cpr_path, *main_path;
	int cpr_listener, main_listener, cpr_sock;
	bool migrating;
	struct capture_figures figures;
};

int capture_keeper(struct vm *vm, struct keep **keep)
{
	char *path = vm_path(vm, "keep");
	int err = path ? keep_find(path, keep) : -ENOMEM;

	free(path);
	return err;
}

void capture_figures(const struct capture *capture, struct capture_figures *figures)
{
	*figures = capture->figures;
}

static void capture_free(struct capture *capture)
{
	vmferry_manifest_free(capture->manifest);
	vmferry_cpr_free(capture->cpr);
	keep_free(capture->keep);
	close_quietly(capture->session);
	close_quietly(capture->stream);
	close_quietly(capture->cpr_sock);
	close_quietly(capture->cpr_listener);
	close_quietly(capture->main_listener);
	if (capture->cpr_path)
		unlink(capture->cpr_path);
	if (capture->main_path)
		unlink(capture->main_path);
	free(capture->cpr_path);
	free(capture->main_path);
	free(capture);
}

static int add_stamp(struct vmferry_manifest *manifest, const char *name, struct stamp stamp)
{
	struct vmferry_manifest_time time = {
		.name = name, .monotonic_ns = stamp.monotonic_ns, .real_ns = stamp.real_ns,
		.cycles = stamp.cycles,
	};

	return vmferry_manifest_add_time(manifest, &time);
}

static int add_time(struct vmferry_manifest *manifest, const char *name)
{
	return add_stamp(manifest, name, stamp_now());
}

/* ---- The migration that QEMU believes in ------------------------------------------------- */

/* Have QEMU tell about the migration. */
static int set_events(struct vm *vm)
{
	struct json_object *args = json_object_new_object();
	struct json_object *list = json_object_new_array(), *events = json_object_new_object();

	json_object_object_add(events, "capability", json_object_new_string("events"));
	json_object_object_add(events, "state", json_object_new_boolean(true));
	json_object_array_add(list, events);
	json_object_object_add(args, "capabilities", list);
	return qmp_execute(vm->qmp, "migrate-set-capabilities", args, NULL);
}

/* Why QEMU says that the migration failed. */
static int migration_error(struct vm *vm, const char *what)
{
	struct json_object *info = NULL;

	qmp_execute(vm->qmp, "query-migrate", NULL, &info);
	out_error(vm->name, 0, "%s: QEMU says: %s", what,
		  info ? qmp_string(info, "error-desc", "nothing") : "nothing");
	json_object_put(info);
	return -EPROTO;
}

static int start_migration(struct capture *capture)
{
	struct vm *vm = capture->vm;
	struct json_object *args, *channels;
	int err;

	capture->cpr_path = vm_path(vm, "cpr");
	capture->main_path = vm_path(vm, "main");
	if (!capture->cpr_path || !capture->main_path)
		return out_error(vm->name, -ENOMEM, "no sockets");
	capture->cpr_listener = listen_unix(capture->cpr_path, SOCK_STREAM, vm->uid);
	if (capture->cpr_listener < 0)
		return out_error(vm->name, capture->cpr_listener, "cannot listen at %s",
				 capture->cpr_path);

	err = set_events(vm);
	if (!err)
		err = migration_set_mode(vm->qmp, "cpr-transfer");
	if (err)
		return vm_qmp_error(vm, err, "it cannot be captured");
	args = json_object_new_object();
	channels = json_object_new_array();
	json_object_array_add(channels, migration_channel("main", capture->main_path));
	json_object_array_add(channels, migration_channel("cpr", capture->cpr_path));
	json_object_object_add(args, "channels", channels);
	qmp_drop_events(vm->qmp);
	err = qmp_execute(vm->qmp, "migrate", args, NULL);
	/* Without an answer, it may have begun. */
	capture->migrating = err != -EPROTO;
	if (err) {
		vm_qmp_error(vm, err, "it cannot be captured");
		if (!capture->migrating)
			migration_set_mode(vm->qmp, "normal");
		return err;
	}
	capture->cpr_sock = accept_from(capture->cpr_listener, vm->pid, CONNECT_TIMEOUT_MS);
	if (capture->cpr_sock < 0)
		return out_error(vm->name, capture->cpr_sock, "QEMU does not send its files");
	err = vmferry_cpr_receive(capture->cpr_sock, &capture->cpr);
	return err ? out_error(vm->name, err, "cannot read what QEMU sends about its files") : 0;
}

/* ---- While the guest runs ---------------------------------------------------------------- */

/* Give the files to the keeper, and say in the manifest what they are. */
static int describe_files(struct capture *capture)
{
	uint64_t memory = VMFERRY_TOKEN_MEMORY;

	for (size_t n = 0; n < vmferry_cpr_nr_fds(capture->cpr); n++) {
		struct vmferry_manifest_file file = {};
		struct vmferry_cpr_fd fd;
		char label[32];
		struct stat st;
		int err;

		vmferry_cpr_get_fd(capture->cpr, n, &fd);
		file.name = fd.name;
		file.id = fd.id;
		file.kind = file_kind(fd.fd);
		if (!strcmp(file.kind, "memory")) {
			if (fstat(fd.fd, &st))
				return -errno;
			file.size = st.st_size;
			file.preserved = true;
			file.token = memory++;
			capture->figures.memory += st.st_size;
		} else if (!strcmp(file.kind, "other") && !(capture->flags & CAPTURE_LOCAL)) {
			return out_error(capture->vm->name, -EOPNOTSUPP, "%s cannot be carried to "
					 "another kernel, it is no memfd", fd.name);
		}
		snprintf(label, sizeof(label), "file.%zu", n);
		err = vmferry_manifest_add_file(capture->manifest, &file);
		if (!err)
			err = keep_put(capture->keep, label, fd.fd);
		if (err)
			return err;
		capture->figures.files++;
	}
	return 0;
}

static int describe(struct capture *capture)
{
	struct vmferry_manifest_info info = {
		.vm_id = capture->vm->uuid,
		.vm_name = capture->vm->name,
		.qemu_version = capture->vm->version,
	};
	struct utsname uts;
	char *process;
	int err;

	if (uname(&uts))
		return -errno;
	info.kernel_release = uts.release;
	process = process_describe(capture->vm);
	if (!process)
		return -ENOMEM;
	info.note = process;
	err = vmferry_manifest_set_info(capture->manifest, &info);
	free(process);
	for (size_t n = 0; !err && n < json_object_array_length(capture->vm->argv); n++)
		err = vmferry_manifest_add_arg(capture->manifest, json_object_get_string(
			json_object_array_get_idx(capture->vm->argv, n)));
	return err;
}

static int put_manifest(struct capture *capture, const char *label)
{
	CLEANUP_CLOSE int fd = vmferry_manifest_write(capture->manifest);

	return fd < 0 ? fd : keep_put(capture->keep, label, fd);
}

static int preserve_files(struct capture *capture)
{
	char name[VMFERRY_SESSION_NAME_MAX + 1];
	int err;

	err = vmferry_vm_session_name(capture->vm->uuid, name);
	if (err)
		return out_error(capture->vm->name, err, "no session can have its name");
	capture->session = vmferry_session_create(name, LUO_TIMEOUT_MS);
	if (capture->session < 0)
		return out_error(capture->vm->name, capture->session,
				 "cannot create the session %s", name);
	err = keep_put(capture->keep, "session", capture->session);
	if (err)
		return out_error(capture->vm->name, err, "cannot keep the session");
	for (size_t n = 0; n < vmferry_manifest_nr_files(capture->manifest); n++) {
		struct vmferry_manifest_file file;
		struct vmferry_cpr_fd fd;

		vmferry_manifest_get_file(capture->manifest, n, &file);
		vmferry_cpr_get_fd(capture->cpr, n, &fd);
		if (!file.preserved)
			continue;
		err = vmferry_session_preserve(capture->session, fd.fd, file.token);
		if (err)
			return out_error(capture->vm->name, err,
					 "cannot preserve %s, see the kernel's log", file.name);
	}
	/* After the memory that they see. */
	for (size_t n = 0; n < vmferry_manifest_nr_devices(capture->manifest); n++) {
		struct vmferry_manifest_device device;

		vmferry_manifest_get_device(capture->manifest, n, &device);
		err = vmferry_session_preserve(capture->session,
					       vmferry_cpr_find_fd(capture->cpr, device.name, 0),
					       device.token);
		if (err)
			return out_error(capture->vm->name, err,
					 "cannot preserve %s, see the kernel's log", device.bdf);
		capture->figures.devices++;
	}
	return 0;
}

int capture_begin(struct vm *vm, unsigned int flags, struct capture **capture)
{
	struct capture *new = calloc(1, sizeof(*new));
	CLEANUP_CLOSE int cgroup = process_keeper_cgroup(vm);
	char *path = vm_path(vm, "keep");
	uint64_t start = now_ns();
	int err;

	if (!new || !path) {
		free(new);
		free(path);
		return out_error(vm->name, -ENOMEM, "cannot begin");
	}
	new->vm = vm;
	new->flags = flags;
	new->session = new->stream = -1;
	new->cpr_listener = new->main_listener = new->cpr_sock = -1;
	err = keep_start(path, cgroup, &new->keep);
	if (err)
		out_error(vm->name, err, "cannot start its keeper at %s", path);
	free(path);
	if (!err && vmferry_manifest_new(&new->manifest))
		err = out_error(vm->name, -ENOMEM, "cannot begin");
	if (!err) {
		err = keep_put(new->keep, "old", vm->pidfd);
		if (err)
			out_error(vm->name, err, "cannot keep its process");
	}
	if (!err) {
		add_time(new->manifest, "begin");
		err = start_migration(new);
	}
	if (!err) {
		add_time(new->manifest, "received");
		new->figures.receive_ns = now_ns() - start;
		start = now_ns();
		err = describe(new);
		if (!err)
			err = describe_files(new);
		if (err && err != -EOPNOTSUPP)
			out_error(vm->name, err, "cannot write down what it is");
		if (!err)
			err = devices_describe(vm, new->cpr, new->manifest);
	}
	if (!err && !(flags & CAPTURE_LOCAL))
		err = preserve_files(new);
	if (!err) {
		add_time(new->manifest, "preserved");
		new->figures.preserve_ns = now_ns() - start;
		err = put_manifest(new, "draft");
		if (err)
			out_error(vm->name, err, "cannot keep the manifest");
	}
	if (err) {
		capture_undo(new);
		return err;
	}
	*capture = new;
	return 0;
}

int capture_undo(struct capture *capture)
{
	struct vm *vm = capture->vm;
	int err = 0;

	if (capture->migrating) {
		err = qmp_execute(vm->qmp, "migrate_cancel", NULL, NULL);
		if (!err)
			err = migration_wait(vm->qmp, MIGRATION_TIMEOUT_MS);
		if (err > 0)
			err = -EPROTO;
		if (!err)
			err = migration_set_mode(vm->qmp, "normal");
		if (err)
			vm_qmp_error(vm, err, "cannot cancel the capture");
	}
	if (capture->keep)
		keep_end(capture->keep);
	capture_free(capture);
	return err;
}

/* ---- While it does not -------------------------------------------------------------------- */

/* The QEMU that was left behind: its state is ours. */
static void end_qemu(struct vm *vm)
{
	struct pollfd pfd = { .fd = vm->pidfd, .events = POLLIN };

	qmp_execute(vm->qmp, "quit", NULL, NULL);
	if (poll(&pfd, 1, QUIT_TIMEOUT_MS) == 1)
		return;
	syscall(SYS_pidfd_send_signal, vm->pidfd, SIGKILL, NULL, 0);
	pfd.revents = 0;
	poll(&pfd, 1, -1);
}

static uint64_t stream_size(int stream)
{
	struct stat st;

	return fstat(stream, &st) ? 0 : st.st_size;
}

static int preserve_state(struct capture *capture)
{
	CLEANUP_CLOSE int manifest = -1;
	int err;

	if (capture->flags & CAPTURE_LOCAL)
		return 0;
	err = vmferry_session_preserve(capture->session, capture->stream,
				       VMFERRY_TOKEN_DEVICE_STATE);
	if (err)
		return out_error(capture->vm->name, err, "cannot preserve the devices' state");
	manifest = keep_get(capture->keep, "manifest");
	err = manifest < 0 ? manifest :
	      vmferry_session_preserve(capture->session, manifest, VMFERRY_TOKEN_MANIFEST);
	return err ? out_error(capture->vm->name, err, "cannot preserve the manifest") : 0;
}

/*
 * The keeper receives what QEMU sends to the main channel. There must be nobody there
 * before it does: QEMU does not care whether what it sends is read, and when the first
 * channel closes, because we die, then it is the second one that has to fail.
 */
static int start_receive(struct capture *capture)
{
	int err;

	capture->main_listener = listen_unix(capture->main_path, SOCK_STREAM, capture->vm->uid);
	if (capture->main_listener < 0)
		return capture->main_listener;
	err = keep_receive(capture->keep, "stream", capture->main_listener, capture->vm->pid);
	/* If the keeper gives up, nobody is there. */
	close_quietly(take_fd(&capture->main_listener));
	return err;
}

/* It was stopped, or may have been: it is to run again. Frees @capture, returns @err. */
static int recover(struct capture *capture, int err)
{
	struct vm *vm = capture->vm;

	vm_disconnect(vm);
	if (capture_replay(vm, capture->keep, NULL))
		out_error(vm->name, 0, "it is stopped: vmferry abort %s tries again", vm->name);
	capture_free(capture);
	return err;
}

int capture_finish(struct capture *capture, struct capture_figures *figures)
{
	struct vm *vm = capture->vm;
	struct vmferry_manifest_info info;
	struct stamp start;
	int err, done;

	capture->stream = memfd_create("vmferry-stream", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	err = capture->stream < 0 ? -errno : keep_put(capture->keep, "stream", capture->stream);
	if (!err)
		err = start_receive(capture);
	if (err) {
		out_error(vm->name, err, "no place for the devices' state");
		capture_undo(capture);
		return err;
	}
	/* That is what QEMU waits for. */
	start = stamp_now();
	close_quietly(take_fd(&capture->cpr_sock));
	done = migration_wait(vm->qmp, MIGRATION_TIMEOUT_MS);
	if (done < 0) {
		/* The keeper goes on receiving: it may be complete. */
		vm_qmp_error(vm, done, "cannot tell how the capture ended");
		return recover(capture, done);
	}
	err = keep_received(capture->keep, !done);
	if (!done) {
		migration_error(vm, "the capture failed, it runs on");
		migration_set_mode(vm->qmp, "normal");
		keep_end(capture->keep);
		capture_free(capture);
		return -EPROTO;
	}
	if (err) {
		out_error(vm->name, err, "cannot take the devices' state");
		return recover(capture, err);
	}
	vmferry_manifest_get_info(capture->manifest, &info);
	info.paused_ns = start.monotonic_ns;
	info.paused_real_ns = start.real_ns;
	vmferry_manifest_set_info(capture->manifest, &info);
	add_stamp(capture->manifest, "paused", start);
	add_time(capture->manifest, "stopped");
	if (fcntl(capture->stream, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW |
		  F_SEAL_WRITE))
		err = -errno;
	if (!err)
		err = put_manifest(capture, "manifest");
	if (err)
		out_error(vm->name, err, "cannot keep what was taken");
	else
		err = preserve_state(capture);
	if (err)
		return recover(capture, err);
	end_qemu(vm);
	vm_disconnect(vm);
	capture->figures.stop_ns = now_ns() - start.monotonic_ns;
	capture->figures.stream = stream_size(capture->stream);
	*figures = capture->figures;
	capture_free(capture);
	return 0;
}
