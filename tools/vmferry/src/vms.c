// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What is done with virtual machines.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "capture.h"
#include "draw.h"
#include "index.h"
#include "out.h"
#include "restore.h"
#include "sock.h"
#include "util.h"
#include "verbs.h"
#include "vm.h"
#include "vmferry.h"

static double ms(uint64_t ns)
{
	return ns / 1e6;
}

static void add_u64(struct json_object *object, const char *key, uint64_t value)
{
	json_object_object_add(object, key, json_object_new_uint64(value));
}

static void add_string(struct json_object *object, const char *key, const char *value)
{
	json_object_object_add(object, key, json_object_new_string(value));
}

/* ---- One after the other ---------------------------------------------------------------- */

static int with_vm(const struct options *options, const char *name, vm_fn fn,
		   struct json_object *vms)
{
	struct vm *vm;
	int err = vm_new(name, options->dir, &vm);

	if (err)
		return out_error(NULL, err, "%s is no name of a virtual machine", name);
	err = vm_lock(vm);
	if (!err)
		err = fn(vm, options, vms);
	vm_free(vm);
	return err;
}

int for_each_vm(const struct options *options, char **names, vm_fn fn, unsigned int *good)
{
	struct json_object *vms = json_object_new_array();
	unsigned int done = 0;
	int result = 0;

	for (; *names; names++) {
		int err = with_vm(options, *names, fn, vms);

		done += !err;
		if (!result)
			result = err;
	}
	if (good)
		*good = done;
	out_json("vms", vms);
	return out_exit_code(result);
}

/* ---- In the old kernel ------------------------------------------------------------------- */

/* A saved one has no QEMU that could be asked. */
static int connect_vm(struct vm *vm)
{
	struct keep *keep;
	int err = capture_keeper(vm, &keep);

	if (!err) {
		keep_free(keep);
		return out_error(vm->name, -EEXIST, "it is saved already, or was to be; vmferry "
				 "abort %s gets it back", vm->name);
	}
	return err == -ENOENT ? vm_connect(vm) : out_error(vm->name, err, "cannot reach its keeper");
}

static struct json_object *figures_json(const struct vm *vm,
					const struct capture_figures *figures)
{
	struct json_object *object = json_object_new_object();

	add_string(object, "vm", vm->name);
	add_u64(object, "files", figures->files);
	add_u64(object, "memory_bytes", figures->memory);
	add_u64(object, "stream_bytes", figures->stream);
	add_u64(object, "receive_ns", figures->receive_ns);
	add_u64(object, "preserve_ns", figures->preserve_ns);
	add_u64(object, "stop_ns", figures->stop_ns);
	return object;
}

static int begin(struct vm *vm, const struct options *options, struct capture **capture)
{
	int err = connect_vm(vm);

	return err ? err : capture_begin(vm, options->local ? CAPTURE_LOCAL : 0, capture);
}

static int rehearse(struct vm *vm, const struct options *options, struct json_object *vms)
{
	struct capture_figures figures;
	struct json_object *object;
	uint64_t start = now_ns();
	struct capture *capture;
	int err;

	err = begin(vm, options, &capture);
	if (err)
		return err;
	capture_figures(capture, &figures);
	err = capture_undo(capture);
	if (err)
		return err;
	start = now_ns() - start;
	object = figures_json(vm, &figures);
	add_u64(object, "rehearse_ns", start);
	json_object_array_add(vms, object);
	out_line("%s: %u files, %.1f MiB: received in %.1f ms, preserved in %.1f ms, all in "
		 "%.1f ms; the guest ran all the time", vm->name, figures.files,
		 figures.memory / 1048576.0, ms(figures.receive_ns), ms(figures.preserve_ns),
		 ms(start));
	return 0;
}

int verb_rehearse(const struct options *options, char **args)
{
	return for_each_vm(options, args, rehearse, NULL);
}

static int save(struct vm *vm, const struct options *options, struct json_object *vms)
{
	struct capture_figures figures;
	struct capture *capture;
	int err;

	err = begin(vm, options, &capture);
	if (!err)
		err = capture_finish(capture, &figures);
	if (err)
		return err;
	json_object_array_add(vms, figures_json(vm, &figures));
	out_line("%s: saved, %.1f MiB of memory and %.1f KiB of state; the guest stopped %.1f ms "
		 "ago", vm->name, figures.memory / 1048576.0, figures.stream / 1024.0,
		 ms(figures.stop_ns));
	return 0;
}

int verb_save(const struct options *options, char **args)
{
	return for_each_vm(options, args, save, NULL);
}

/* The names of an index, as the end of a list of arguments. To be freed. */
static char **index_names(const struct index *index)
{
	char **names = calloc(index->nr + 1, sizeof(*names));

	for (size_t n = 0; names && n < index->nr; n++)
		names[n] = index->entries[n].name;
	return names;
}

/* The list of all that is saved. Whoever jumps, they go along. */
static int leave_list(const struct options *options)
{
	struct index index;
	int err = index_of_saved(options->dir, true, &index);

	if (!err && index.nr)
		err = index_leave(options->dir, &index);
	index_free(&index);
	return err;
}

/* One after the other, so that those that were saved go along if we are not given more time. */
static int leave(struct vm *vm, const struct options *options, struct json_object *vms)
{
	int err = save(vm, options, vms);

	return err ? err : leave_list(options);
}

int verb_leave(const struct options *options, char **args)
{
	struct index running = {};
	unsigned int good;
	char **names = NULL;
	int err, code;

	if (!*args) {
		err = index_of_running(options->dir, &running);
		names = err ? NULL : index_names(&running);
		if (!names)
			return out_exit_code(out_error(NULL, err ? err : -ENOMEM,
						       "cannot tell what runs"));
	}
	code = for_each_vm(options, names ? names : args, leave, &good);
	free(names);
	index_free(&running);
	/* What was saved before goes along as well. */
	err = good ? 0 : leave_list(options);
	if (err)
		return out_exit_code(err);
	/* Some are better than none: nobody waits for the others. */
	return code != EXIT_OK && good ? EXIT_PARTIAL : code;
}

static int undo(struct vm *vm, const struct options *options, struct json_object *vms)
{
	struct keep *keep;
	int err;

	(void)options;
	err = capture_keeper(vm, &keep);
	if (err)
		return out_error(vm->name, err, err == -ENOENT ? "it is not saved" :
				 "cannot reach its keeper");
	err = capture_replay(vm, keep, NULL);
	keep_free(keep);
	if (err)
		return err;
	json_object_array_add(vms, json_object_new_string(vm->name));
	out_line("%s: runs again", vm->name);
	return 0;
}

int verb_abort(const struct options *options, char **args)
{
	int left = index_unleave(options->dir), err, code;
	struct index index;
	char **names;

	if (left < 0)
		return out_exit_code(left);
	if (*args) {
		code = for_each_vm(options, args, undo, NULL);
		/* The others are left to the next kernel still. */
		err = left ? leave_list(options) : 0;
		return code != EXIT_OK ? code : out_exit_code(err);
	}
	err = index_of_all(options->dir, &index);
	names = err ? NULL : index_names(&index);
	if (!names)
		return out_exit_code(out_error(NULL, err ? err : -ENOMEM,
					       "cannot tell what is saved"));
	code = for_each_vm(options, names, undo, NULL);
	free(names);
	index_free(&index);
	return code;
}

/* ---- In the new kernel ------------------------------------------------------------------- */

static const struct index_entry *entry_of(const struct vm *vm, const struct index *index)
{
	for (size_t n = 0; n < index->nr; n++)
		if (!strcmp(index->entries[n].name, vm->name))
			return &index->entries[n];
	out_error(vm->name, -ENOENT, "the kernel before has not left it, or it is restored");
	return NULL;
}

/* From now on a keeper has what belongs to it. */
static int arrived(struct vm *vm, const struct options *options, struct json_object *vms)
{
	const struct index_entry *entry = entry_of(vm, options->index);
	int err = entry ? restore_park(vm, entry->session) : -ENOENT;

	if (!err)
		json_object_array_add(vms, json_object_new_string(vm->name));
	return err;
}

static int restore(struct vm *vm, const struct options *options, struct json_object *vms)
{
	const struct index_entry *entry = entry_of(vm, options->index);
	struct timeline_vm times = {
		.marks[TIMELINE_JUMP] = options->index->jump,
		.marks[TIMELINE_BOOT] = stamp_boot(),
		.marks[TIMELINE_COMMAND] = options->start,
	};
	struct json_object *object;
	uint64_t start = now_ns();
	int err;

	err = entry ? restore_vm(vm, entry->session, &times) : -ENOENT;
	if (!err)
		err = index_done(options->dir, vm->name);
	if (err)
		return err;
	object = json_object_new_object();
	add_string(object, "vm", vm->name);
	add_u64(object, "restore_ns", now_ns() - start);
	json_object_array_add(vms, object);
	/* That of the entry stays longer. */
	times.name = entry->name;
	if (drawing_add(options->drawing, &times, object))
		out_error(vm->name, -ENOMEM, "it is not in the timeline");
	out_line("%s: runs again, after %.1f ms", vm->name, ms(now_ns() - start));
	return 0;
}

static int give_up(struct vm *vm, const struct options *options, struct json_object *vms)
{
	const struct index_entry *entry = entry_of(vm, options->index);
	int err;

	err = entry ? restore_give_up(vm, entry->session) : -ENOENT;
	if (!err)
		err = index_done(options->dir, vm->name);
	if (err)
		return err;
	json_object_array_add(vms, json_object_new_string(vm->name));
	out_line("%s: given up", vm->name);
	return 0;
}

/* @start is when the command began. */
static int for_arrived(const struct options *options, const struct index *index,
		       struct stamp start, char **names, vm_fn fn, unsigned int *good)
{
	struct drawing drawing = {};
	struct options with = *options;
	int code;

	with.index = index;
	with.start = start;
	with.drawing = &drawing;
	code = for_each_vm(&with, names, fn, good);
	draw(&drawing, options, options->timeline ? options->timeline : index->timeline);
	drawing_free(&drawing);
	return code;
}

static int with_index(const struct options *options, char **args, vm_fn fn)
{
	struct stamp start = stamp_now();
	struct index index;
	char **names;
	unsigned int good;
	int err, code;

	err = index_retrieve(options->dir, &index);
	if (err)
		return out_exit_code(err == -ENOENT || err == -EINVAL ?
				     out_error(NULL, err, "the kernel before has left nothing") :
				     err);
	names = *args ? NULL : index_names(&index);
	code = for_arrived(options, &index, start, names ? names : args, fn, &good);
	if (code == EXIT_OK && names && index.bad)
		code = EXIT_FAILED;
	/* Something is lost, or is to be tried again; something is not. */
	if (code != EXIT_OK && good)
		code = EXIT_PARTIAL;
	free(names);
	index_free(&index);
	return code;
}

/* Sessions that nobody has asked for are the kernel's, which gives them to anybody. */
int verb_arrived(const struct options *options, char **args)
{
	struct options with = *options;
	struct index index;
	char **names;
	int err, code;

	(void)args;
	err = index_retrieve(options->dir, &index);
	if (err == -ENOENT || err == -EINVAL)
		return EXIT_OK;
	if (err)
		return out_exit_code(err);
	names = index_names(&index);
	if (!names) {
		index_free(&index);
		return out_exit_code(out_error(NULL, -ENOMEM, "cannot list what has arrived"));
	}
	with.index = &index;
	code = for_each_vm(&with, names, arrived, NULL);
	/* All: what is kept by nobody can be restored as well, or will say why it cannot. */
	for (size_t n = 0; n < index.nr; n++)
		out_line("%s", index.entries[n].name);
	free(names);
	index_free(&index);
	return code != EXIT_OK ? EXIT_PARTIAL : EXIT_OK;
}

/* Returns an exit code, or -ENOENT if it is nothing that was saved. */
static int start_saved(const struct options *options, char *name)
{
	char *names[] = { name, NULL };
	struct stamp start = stamp_now();
	CLEANUP_CLOSE int sock = -1;
	struct index index;
	bool listed = false;
	struct keep *keep;
	struct vm *vm;
	int err;

	err = index_retrieve(options->dir, &index);
	if (err && err != -ENOENT && err != -EINVAL)
		return out_exit_code(err);
	for (size_t n = 0; !err && n < index.nr; n++)
		listed |= !strcmp(index.entries[n].name, name);
	if (listed)
		err = for_arrived(options, &index, start, names, restore, NULL);
	index_free(&index);
	if (listed)
		return err;

	err = vm_new(name, options->dir, &vm);
	if (err)
		return out_exit_code(out_error(NULL, err, "%s is no name of a virtual machine",
					       name));
	err = capture_keeper(vm, &keep);
	sock = err == -ENOENT ? connect_unix(vm->qmp_path, SOCK_STREAM) : -1;
	vm_free(vm);
	if (!err) {
		keep_free(keep);
		return verb_abort(options, names);
	}
	if (sock >= 0)
		return out_exit_code(out_error(name, -EEXIST, "it runs already"));
	return err == -ENOENT ? -ENOENT :
	       out_exit_code(out_error(name, err, "cannot reach its keeper"));
}

int verb_start(const struct options *options, char **args)
{
	char *argv[] = { args[1], args[0], NULL };
	int code = start_saved(options, args[0]);

	if (code != -ENOENT)
		return code;
	fflush(NULL);
	execvp(argv[0], argv);
	return out_exit_code(out_error(args[0], -errno, "cannot start it by %s", argv[0]));
}

int verb_restore(const struct options *options, char **args)
{
	return with_index(options, args, restore);
}

int verb_finish(const struct options *options, char **args)
{
	return with_index(options, args, give_up);
}

/* ---- What is in between ------------------------------------------------------------------ */

static struct json_object *files_json(const struct vmferry_manifest *manifest)
{
	struct json_object *files = json_object_new_array();

	for (size_t n = 0; n < vmferry_manifest_nr_files(manifest); n++) {
		struct json_object *object = json_object_new_object();
		struct vmferry_manifest_file file;

		vmferry_manifest_get_file(manifest, n, &file);
		add_string(object, "name", file.name);
		add_u64(object, "id", file.id);
		add_string(object, "kind", file.kind);
		add_u64(object, "size", file.size);
		if (file.preserved)
			add_u64(object, "token", file.token);
		json_object_array_add(files, object);
		out_line("  %-9s %s %u%s", file.kind, file.name, file.id,
			 file.preserved ? "" : ", made anew");
	}
	return files;
}

static void show_manifest(const struct vm *vm, const struct vmferry_manifest *manifest,
			  bool complete, struct json_object *vms)
{
	struct json_object *object = json_object_new_object();
	struct vmferry_manifest_info info;

	if (vmferry_manifest_get_info(manifest, &info))
		info = (struct vmferry_manifest_info){
			.vm_id = "", .qemu_version = "", .kernel_release = "",
		};
	add_string(object, "vm", vm->name);
	add_string(object, "id", info.vm_id);
	add_string(object, "qemu", info.qemu_version);
	add_string(object, "kernel", info.kernel_release);
	json_object_object_add(object, "complete", json_object_new_boolean(complete));
	out_line("%s: %s, QEMU %s, saved under Linux %s%s", vm->name, info.vm_id,
		 info.qemu_version, info.kernel_release, complete ? "" : ", not complete");
	json_object_object_add(object, "files", files_json(manifest));
	json_object_array_add(vms, object);
}

static int show(struct vm *vm, const struct options *options, struct json_object *vms)
{
	struct vmferry_manifest *manifest;
	CLEANUP_CLOSE int fd = -1;
	struct keep *keep;
	bool complete;
	int err;

	(void)options;
	err = capture_keeper(vm, &keep);
	if (err)
		return out_error(vm->name, err, err == -ENOENT ? "it is not saved" :
				 "cannot reach its keeper");
	fd = keep_get(keep, "manifest");
	complete = fd >= 0;
	if (fd == -ENOENT)
		fd = keep_get(keep, "draft");
	keep_free(keep);
	err = fd < 0 ? fd : vmferry_manifest_read(fd, &manifest);
	if (err)
		return out_error(vm->name, err, "cannot read its manifest");
	show_manifest(vm, manifest, complete, vms);
	vmferry_manifest_free(manifest);
	return 0;
}

int verb_show(const struct options *options, char **args)
{
	return for_each_vm(options, args, show, NULL);
}
