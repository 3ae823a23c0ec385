// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * vmferry: virtual machines and their devices go through an update of the host's kernel.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "draw.h"
#include "out.h"
#include "util.h"
#include "verbs.h"

static const char usage_text[] =
	"usage: vmferry [OPTION...] VERB [ARGUMENT...]\n"
	"\n"
	"  check [VM...]         can this host, and can they, be updated live now?\n"
	"  status                the kernel, who has sessions, what is saved\n"
	"  rehearse VM...        capture it while it runs, preserve it, and undo that\n"
	"  load KERNEL           load the kernel to jump to\n"
	"  save VM...            stop it and preserve it for that kernel\n"
	"  leave [VM...]         save, for a kexec that others do\n"
	"  kexec                 jump, with all that is saved\n"
	"  update KERNEL VM...   load, save and kexec\n"
	"  arrived               in the new kernel: the names of what was saved\n"
	"  restore [VM...]       in the new kernel: what was saved runs again\n"
	"  start VM COMMAND      it runs again if it was saved; otherwise, COMMAND starts it\n"
	"  abort [VM...]         in the old kernel: what was saved runs again\n"
	"  finish VM...          give up what cannot be restored\n"
	"  show VM...            what is in the manifest of one that is saved\n"
	"\n"
	"A VM is the name of a QEMU whose monitor is NAME.qmp in the run directory, or the\n"
	"path of its monitor.\n"
	"\n"
	"      --json            tell the result as JSON\n"
	"  -q, --quiet           tell only what went wrong; check: only what is not ok\n"
	"      --run-dir DIR     the run directory (" RUN_DIR ")\n"
	"      --initrd FILE     load, update: its initial file system\n"
	"      --cmdline TEXT    load, update: its command line\n"
	"      --reuse-cmdline   load, update: the running kernel's command line (the default)\n"
	"      --running FILE    load, update: image of the running kernel\n"
	"      --force           load, update: in spite of what speaks against it\n"
	"      --local           save, rehearse: preserve nothing; abort is all that can follow\n"
	"      --timeline FILE   update, kexec, restore: in the end draw what ran when; FILE.svg,\n"
	"                        .png, .txt or .json; restore: - for the terminal\n"
	"      --packets FILE    restore: draw these times of packets with it\n"
	"  -h, --help\n"
	"      --version\n";

static const struct verb {
	const char *name;
	int (*run)(const struct options *options, char **args);
	int args_min, args_max;
} verbs[] = {
	{ "check", verb_check, 0, -1 },
	{ "status", verb_status, 0, 0 },
	{ "rehearse", verb_rehearse, 1, -1 },
	{ "load", verb_load, 1, 1 },
	{ "save", verb_save, 1, -1 },
	{ "leave", verb_leave, 0, -1 },
	{ "kexec", verb_kexec, 0, 0 },
	{ "update", verb_update, 2, -1 },
	{ "arrived", verb_arrived, 0, 0 },
	{ "restore", verb_restore, 0, -1 },
	{ "start", verb_start, 2, 2 },
	{ "abort", verb_abort, 0, -1 },
	{ "finish", verb_finish, 1, -1 },
	{ "show", verb_show, 1, -1 },
};

static int usage(const char *why, const char *what)
{
	if (why)
		fprintf(stderr, "vmferry: %s: %s\n", what, why);
	fputs(usage_text, stderr);
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	enum {
		OPT_JSON = 256, OPT_DIR, OPT_LOCAL, OPT_VERSION, OPT_INITRD, OPT_CMDLINE, OPT_REUSE,
		OPT_RUNNING, OPT_FORCE, OPT_ROOT, OPT_TIMELINE, OPT_PACKETS,
	};
	static const struct option long_options[] = {
		{ "json", no_argument, NULL, OPT_JSON },
		{ "quiet", no_argument, NULL, 'q' },
		{ "run-dir", required_argument, NULL, OPT_DIR },
		{ "local", no_argument, NULL, OPT_LOCAL },
		{ "initrd", required_argument, NULL, OPT_INITRD },
		{ "cmdline", required_argument, NULL, OPT_CMDLINE },
		{ "reuse-cmdline", no_argument, NULL, OPT_REUSE },
		{ "running", required_argument, NULL, OPT_RUNNING },
		{ "force", no_argument, NULL, OPT_FORCE },
		{ "timeline", required_argument, NULL, OPT_TIMELINE },
		{ "packets", required_argument, NULL, OPT_PACKETS },
		/* For tests: where check and status find /proc, /sys, /dev */
		{ "root", required_argument, NULL, OPT_ROOT },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, OPT_VERSION },
		{},
	};
	struct options options = { .dir = RUN_DIR };
	const struct verb *verb = NULL;
	bool reuse = false;
	int opt, args;

	while ((opt = getopt_long(argc, argv, "hq", long_options, NULL)) >= 0) {
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
		case OPT_INITRD:
			options.initrd = optarg;
			break;
		case OPT_CMDLINE:
			options.cmdline = optarg;
			break;
		case OPT_REUSE:
			reuse = true;
			break;
		case OPT_RUNNING:
			options.running = optarg;
			break;
		case OPT_FORCE:
			options.force = true;
			break;
		case OPT_TIMELINE:
			options.timeline = optarg;
			break;
		case OPT_PACKETS:
			options.packets = optarg;
			break;
		case OPT_ROOT:
			options.root = optarg;
			break;
		case 'h':
			fputs(usage_text, stdout);
			return EXIT_OK;
		case OPT_VERSION:
			puts("vmferry " VMFERRY_VERSION);
			return EXIT_OK;
		default:
			return usage(NULL, NULL);
		}
	}
	if (optind == argc)
		return usage(NULL, NULL);
	for (size_t n = 0; n < ARRAY_SIZE(verbs); n++)
		if (!strcmp(argv[optind], verbs[n].name))
			verb = &verbs[n];
	if (!verb)
		return usage("there is no such verb", argv[optind]);
	args = argc - optind - 1;
	if (args < verb->args_min || (verb->args_max >= 0 && args > verb->args_max))
		return usage("too few or too many arguments", verb->name);
	if (reuse && options.cmdline)
		return usage("--cmdline and --reuse-cmdline exclude each other", verb->name);
	if (options.timeline && !draw_knows(options.timeline) &&
	    (strcmp(options.timeline, "-") || verb->run != verb_restore))
		return usage("--timeline is not a file .svg, .png, .txt or .json", verb->name);

	out_init(verb->name, options.json, options.quiet);
	if (mkdir(options.dir, 0755) && errno != EEXIST) {
		out_error(NULL, -errno, "cannot make the run directory %s", options.dir);
		return out_end(EXIT_FAILED);
	}
	return out_end(verb->run(&options, argv + optind + 1));
}
