// SPDX-License-Identifier: LGPL-2.1-or-later
#include "capture.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "devices.h"
#include "index.h"
#include "migration.h"
#include "out.h"
#include "process.h"
#include "sock.h"
#include "util.h"
#include "vmferry.h"

#define START_TIMEOUT_MS 60000
#define LOG_TAIL 2000

/* ---- What became of the QEMUs ------------------------------------------------------------ */

static bool has_ended(int pidfd)
{
	struct pollfd pfd = { .fd = pidfd, .events = POLLIN };

	return poll(&pfd, 1, 0) == 1;
}

static void kill_and_wait(int pidfd)
{
	struct pollfd pfd = { .fd = pidfd, .events = POLLIN };

	syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
	while (poll(&pfd, 1, -1) < 0 && errno == EINTR)
		;
}

/*
 * The QEMU it was to be taken from. Returns 1 if the guest is in there still, 0 if it was
 * taken out.
 */
static int old_qemu(struct vm *vm, int pidfd, bool received)
{
	struct qmp *qmp;
	int ret;

	if (has_ended(pidfd))
		return 0;
	ret = qmp_connect(vm->qmp_path, pidfd, START_TIMEOUT_MS, &qmp);
	if (ret)
		return ret == -ESRCH ? 0 : ret;
	ret = migration_wait(qmp, START_TIMEOUT_MS);
	/*
	 * If what it sent was not received, it has all that it had. (Interrupts of passed-through
	 * devices do not come back this way.)
	 */
	if (ret == 1 && !received)
		ret = qmp_execute(qmp, "cont", NULL, NULL);
	qmp_free(qmp);
	/* With nobody there any more to receive it, it failed. */
	return ret < 0 ? ret : !ret;
}

/* ---- The new one --------------------------------------------------------------------------- */

static int read_manifest(struct keep *keep, const char *label,
			 struct vmferry_manifest **manifest)
{
	CLEANUP_CLOSE int fd = keep_get(keep, label);

	return fd < 0 ? fd : vmferry_manifest_read(fd, manifest);
}

/* The files as they are with the keeper. */
static int make_cpr(struct keep *keep, const struct vmferry_manifest *manifest,
		    struct vmferry_cpr **cpr)
{
	int err = vmferry_cpr_new(cpr);

	for (size_t n = 0; !err && n < vmferry_manifest_nr_files(manifest); n++) {
		CLEANUP_CLOSE int fd = -1;
		struct vmferry_manifest_file file;
		char label[32];

		vmferry_manifest_get_file(manifest, n, &file);
		snprintf(label, sizeof(label), "file.%zu", n);
		fd = keep_get(keep, label);
		err = fd < 0 ? fd : vmferry_cpr_set_fd(*cpr, file.name, file.id, fd);
		if (!err)
			take_fd(&fd);
	}
	return err ? err : devices_add(keep, manifest, *cpr);
}

/* Connect to a socket that QEMU is about to make. */
static int connect_to(const char *path, int pidfd)
{
	for (int64_t end = now_ms() + START_TIMEOUT_MS; ; ) {
		struct pollfd pfd = { .fd = pidfd, .events = POLLIN };
		int sock = connect_unix(path, SOCK_STREAM);

		if (sock != -ENOENT && sock != -ECONNREFUSED)
			return sock;
		if (poll(&pfd, 1, 5) == 1)
			return -ESRCH;
		if (now_ms() >= end)
			return -ETIMEDOUT;
	}
}

/* It says why it ended in its log. */
static void show_log(struct vm *vm, off_t from)
{
	char *path = vm_path(vm, "log"), text[LOG_TAIL + 1];
	CLEANUP_CLOSE int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	ssize_t len = fd < 0 ? -1 : pread(fd, text, LOG_TAIL, from);

	if (len > 0) {
		text[len] = 0;
		out_error(vm->name, 0, "QEMU says: %s", text);
	}
	free(path);
}

static off_t log_size(struct vm *vm)
{
	char *path = vm_path(vm, "log");
	struct stat st;
	off_t size = path && !stat(path, &st) ? st.st_size : 0;

	free(path);
	return size;
}

/* Wait until the guest has been taken in: then it runs, or is paused as it was. */
static int wait_taken(struct vm *vm, int pidfd)
{
	for (int64_t end = now_ms() + START_TIMEOUT_MS; now_ms() < end; ) {
		char *state = migration_run_state(vm->qmp);
		bool taken = state && strcmp(state, "inmigrate");
		int err;

		free(state);
		if (taken)
			return 0;
		err = state ? qmp_wait_event(vm->qmp, "RESUME", MIGRATION_LOOK_MS, NULL) : -EPIPE;
		if ((err && err != -ETIMEDOUT) || has_ended(pidfd))
			return -ESRCH;
	}
	return -ETIMEDOUT;
}

/*
 * What the QEMU has done that somebody before us has started. Returns 1 if it has the guest,
 * and 0 if it never can have it: then it is ended.
 */
static int new_qemu(struct vm *vm, struct keep *keep, int pidfd)
{
	CLEANUP_CLOSE int sent = keep_get(keep, KEEP_SENT);
	int err;

	if (sent == -ENOENT) {
		kill_and_wait(pidfd);
		return 0;
	}
	if (sent < 0)
		return out_error(vm->name, sent, "cannot reach its keeper");
	/* From now on it may have run. To kill it now would be to go back in time. */
	err = qmp_connect(vm->qmp_path, pidfd, START_TIMEOUT_MS, &vm->qmp);
	if (!err)
		err = wait_taken(vm, pidfd);
	if (err == -ESRCH || has_ended(pidfd))
		return out_error(vm->name, 0, "it went to a new QEMU, which has ended since: it "
				 "may have run there, and is not started from before that");
	return err ? out_error(vm->name, err, "the new QEMU does not tell whether it runs") : 1;
}

static void reached(struct timeline_vm *times, enum timeline_mark mark)
{
	if (times)
		times->marks[mark] = stamp_now();
}

/*
 * It went wrong, as @what says. If it has all of the guest's state then it may have run, whoever
 * failed to notice, and to start the guest once more would be to go back in time.
 */
static void give_up_qemu(struct vm *vm, struct keep *keep, int pidfd, off_t log, int err,
			 const char *what)
{
	bool by_itself = has_ended(pidfd);
	CLEANUP_CLOSE int sent = keep_get(keep, KEEP_SENT);

	vm_disconnect(vm);
	if (!by_itself && sent != -ENOENT) {
		out_error(vm->name, err, "the new QEMU: %s, but it may have the guest: the same "
			  "command, once more, asks it", what);
		return;
	}
	kill_and_wait(pidfd);
	out_error(vm->name, err == -ESRCH ? 0 : err, "the new QEMU: %s%s", what,
		  by_itself ? ", it has ended" : "");
	show_log(vm, log);
	/* It has not run, and can be tried again. */
	keep_drop(keep, KEEP_SENT);
}

static int hand_over(struct vm *vm, struct keep *keep, const struct vmferry_cpr *cpr,
		     const struct vmferry_manifest *manifest, struct timeline_vm *times)
{
	CLEANUP_CLOSE int pidfd = -1, cpr_sock = -1, main_sock = -1;
	char *cpr_path = vm_path(vm, "cpr-in"), *main_path = vm_path(vm, "main-in");
	const char *what;
	off_t log = log_size(vm);
	int err = -ENOMEM;

	if (cpr_path && main_path) {
		unlink(cpr_path);
		unlink(main_path);
		err = pidfd = process_start(vm, keep, manifest, cpr_path, main_path);
		reached(times, TIMELINE_STARTED);
	}
	if (pidfd >= 0) {
		what = "it does not take its files";
		err = cpr_sock = connect_to(cpr_path, pidfd);
		if (cpr_sock >= 0)
			err = vmferry_cpr_send(cpr_sock, cpr);
		if (!err) {
			what = "it does not take the devices' state";
			err = main_sock = connect_to(main_path, pidfd);
		}
		if (main_sock >= 0)
			err = keep_send(keep, "stream", main_sock);
		if (!err) {
			what = "its monitor does not answer";
			err = qmp_connect(vm->qmp_path, pidfd, START_TIMEOUT_MS, &vm->qmp);
		}
		if (!err) {
			what = "it does not go on";
			err = wait_taken(vm, pidfd);
			reached(times, TIMELINE_RUNNING);
		}
		if (err)
			give_up_qemu(vm, keep, pidfd, log, err, what);
	}
	if (cpr_path)
		unlink(cpr_path);
	if (main_path)
		unlink(main_path);
	free(cpr_path);
	free(main_path);
	return err;
}

/* Of a live update that was not to be: nothing is preserved any more. */
static int drop_outgoing(struct keep *keep)
{
	CLEANUP_CLOSE int session = keep_get(keep, "session");
	int direction;

	if (session == -ENOENT)
		return 0;
	if (session < 0)
		return session;
	direction = vmferry_session_direction(session);
	return direction == VMFERRY_OUTGOING ? keep_drop(keep, "session") :
	       direction < 0 ? direction : 0;
}

/* Of one that has arrived. */
static int finish_incoming(struct vm *vm, struct keep *keep)
{
	CLEANUP_CLOSE int session = keep_get(keep, "session");
	int err = session < 0 ? session : vmferry_session_finish(session);

	if (session == -ENOENT)
		return 0;
	if (err)
		return out_error(vm->name, err, "it runs, but its session cannot be finished");
	return index_mark(vm->dir, vm->name);
}

int capture_replay(struct vm *vm, struct keep *keep, struct timeline_vm *times)
{
	struct vmferry_manifest *manifest = NULL;
	CLEANUP_CLOSE int old = keep_get(keep, "old"), qemu = keep_get(keep, "qemu");
	CLEANUP_CLOSE int stream = keep_get(keep, "stream");
	struct vmferry_cpr *cpr = NULL;
	int err;

	/* What is not there was not reached. What cannot be told must not be taken for that. */
	err = old < 0 && old != -ENOENT ? old : qemu < 0 && qemu != -ENOENT ? qemu :
	      stream < 0 && stream != -ENOENT ? stream :
	      read_manifest(keep, "manifest", &manifest);
	if (err == -ENOENT) {
		/* The command that was to take it out did not get to the end. */
		err = old < 0 ? 1 : old_qemu(vm, old, stream >= 0);
		if (err > 0) {
			out_step(vm->name, "it was not stopped");
			keep_end(keep);
			return 0;
		}
		if (!err)
			err = read_manifest(keep, "draft", &manifest);
	}
	if (!err)
		err = process_monitor(vm, manifest);
	if (err) {
		vmferry_manifest_free(manifest);
		return out_error(vm->name, err, "cannot tell what became of it");
	}
	if (old >= 0 && !has_ended(old))
		kill_and_wait(old);
	if (qemu >= 0) {
		err = new_qemu(vm, keep, qemu);
		if (err)
			goto finished;
	}
	err = stream < 0 ? stream : make_cpr(keep, manifest, &cpr);
	if (err)
		out_error(vm->name, err, "its keeper does not have all of it");
	if (!err) {
		err = drop_outgoing(keep);
		if (err)
			out_error(vm->name, err, "cannot undo what was preserved");
	}
	if (!err)
		err = hand_over(vm, keep, cpr, manifest, times);
finished:
	vmferry_cpr_free(cpr);
	vmferry_manifest_free(manifest);
	if (err >= 0)
		err = finish_incoming(vm, keep);
	if (!err)
		keep_end(keep);
	return err;
}
