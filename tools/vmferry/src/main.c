// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * vmferry: virtual machines and their devices go through an update of the host's kernel.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "capture.h"
#include "out.h"
#include "util.h"
#include "vm.h"

#define RUN_DIR "/run/vmferry"

struct options {
	bool json, quiet, local;
	const char *dir;
};

static const char usage_text[] =
	"usage: vmferry [OPTION...] VERB [ARGUMENT...]\n"
	"\n"
	"  rehearse VM           capture it while it runs, preserve it, and undo that\n"
	"  save VM...            stop it and preserve it for the next kernel\n"
	"  abort [VM...]         undo save: it runs again, in this kernel\n"
	"\n"
	"A VM is the name of a QEMU whose monitor is NAME.qmp in the run directory, or the\n"
	"path of its monitor.\n"
	"\n"
	"  --json                tell the result as JSON\n"
	"  -q, --quiet           tell only what went wrong\n"
	"  --run-dir DIR         the run directory (" RUN_DIR ")\n"
	"  --local               save: preserve nothing, abort is all that can follow\n"
	"  --help, --version\n";

static int usage(void)
{
	fputs(usage_text, stderr);
	return EXIT_USAGE;
}

static struct json_object *figures_json(const struct vm *vm,
					const struct capture_figures *figures)
{
	struct json_object *object = json_object_new_object();
	const struct {
		const char *key;
		uint64_t value;
	} values[] = {
		{ "files", figures->files },
		{ "memory_bytes", figures->memory },
		{ "stream_bytes", figures->stream },
		{ "receive_ns", figures->receive_ns },
		{ "preserve_ns", figures->preserve_ns },
		{ "stop_ns", figures->stop_ns },
	};

	json_object_object_add(object, "vm", json_object_new_string(vm->name));
	for (size_t n = 0; n < ARRAY_SIZE(values); n++)
		json_object_object_add(object, values[n].key,
				       json_object_new_uint64(values[n].value));
	return object;
}

static double ms(uint64_t ns)
{
	return ns / 1e6;
}

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

static int rehearse(struct vm *vm, const struct options *options, struct json_object *vms)
{
	struct capture_figures figures;
	struct capture *capture;
	int err;

	err = connect_vm(vm);
	if (!err)
		err = capture_begin(vm, options->local ? CAPTURE_LOCAL : 0, &capture);
	if (err)
		return err;
	capture_figures(capture, &figures);
	err = capture_undo(capture);
	if (err)
		return err;
	json_object_array_add(vms, figures_json(vm, &figures));
	out_line("%s: %u files, %.1f MiB: received in %.1f ms, preserved in %.1f ms; "
		 "the guest ran all the time", vm->name, figures.files,
		 figures.memory / 1048576.0, ms(figures.receive_ns), ms(figures.preserve_ns));
	return 0;
}

static int save(struct vm *vm, const struct options *options, struct json_object *vms)
{
	struct capture_figures figures;
	struct capture *capture;
	int err;

	err = connect_vm(vm);
	if (!err)
		err = capture_begin(vm, options->local ? CAPTURE_LOCAL : 0, &capture);
	if (err)
		return err;
	err = capture_finish(capture, &figures);
	if (err)
		return err;
	json_object_array_add(vms, figures_json(vm, &figures));
	out_line("%s: saved, %.1f MiB of memory and %.1f KiB of state; the guest stopped %.1f ms "
		 "ago", vm->name, figures.memory / 1048576.0, figures.stream / 1024.0,
		 ms(figures.stop_ns));
	return 0;
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
	err = capture_replay(vm, keep);
	keep_free(keep);
	if (err)
		return err;
	json_object_array_add(vms, json_object_new_string(vm->name));
	out_line("%s: runs again", vm->name);
	return 0;
}

static const struct verb {
	const char *name;
	int (*each)(struct vm *vm, const struct options *options, struct json_object *vms);
} verbs[] = {
	{ "rehearse", rehearse },
	{ "save", save },
	{ "abort", undo },
};

/* One after the other; the first error is the result, but all get their turn. */
static int for_each(const struct verb *verb, const struct options *options, char **names)
{
	struct json_object *vms = json_object_new_array();
	int result = 0;

	for (; *names; names++) {
		struct vm *vm;
		int err = vm_new(*names, options->dir, &vm);

		if (err) {
			out_error(NULL, err, "%s is no name of a virtual machine", *names);
		} else {
			err = vm_lock(vm);
			if (!err)
				err = verb->each(vm, options, vms);
			vm_free(vm);
		}
		if (!result)
			result = err;
	}
	out_json("vms", vms);
	return out_exit_code(result);
}

int main(int argc, char **argv)
{
	enum { OPT_JSON = 256, OPT_DIR, OPT_LOCAL, OPT_HELP, OPT_VERSION };
	static const struct option long_options[] = {
		{ "json", no_argument, NULL, OPT_JSON },
		{ "quiet", no_argument, NULL, 'q' },
		{ "run-dir", required_argument, NULL, OPT_DIR },
		{ "local", no_argument, NULL, OPT_LOCAL },
		{ "help", no_argument, NULL, OPT_HELP },
		{ "version", no_argument, NULL, OPT_VERSION },
		{},
	};
	struct options options = { .dir = RUN_DIR };
	const struct verb *verb = NULL;
	int opt;

	while ((opt = getopt_long(argc, argv, "q", long_options, NULL)) >= 0) {
		switch (opt) {
		case OPT_JSON:
			options.json = true;
			break;
		case 'q':
			options.quiet = true;
			break;
		case OPT_DIR:
			options.dir = optarg;
			break;
		case OPT_LOCAL:
			options.local = true;
			break;
		case OPT_HELP:
			fputs(usage_text, stdout);
			return EXIT_OK;
		case OPT_VERSION:
			puts("vmferry " VMFERRY_VERSION);
			return EXIT_OK;
		default:
			return usage();
		}
	}
	for (size_t n = 0; optind < argc && n < ARRAY_SIZE(verbs); n++)
		if (!strcmp(argv[optind], verbs[n].name))
			verb = &verbs[n];
	if (!verb || optind + 1 == argc)
		return usage();
	out_init(verb->name, options.json, options.quiet);
	if (mkdir(options.dir, 0755) && errno != EEXIST) {
		out_error(NULL, -errno, "cannot make the run directory %s", options.dir);
		return out_end(EXIT_FAILED);
	}
	return out_end(for_each(verb, &options, argv + optind + 1));
}
