// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What is done with the host: the next kernel, and the jump.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/reboot.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "draw.h"
#include "index.h"
#include "out.h"
#include "util.h"
#include "verbs.h"
#include "vmferry.h"

/* ---- The next kernel ---------------------------------------------------------------------- */

/* What an image knows, with its modules if they are where modules are. */
static int read_image(const char *path, struct vmferry_image **image)
{
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC), modules = -1;
	struct vmferry_image_info info;
	char *aliases;
	int err;

	if (fd < 0)
		return -errno;
	err = vmferry_image_read(fd, image);
	if (err)
		return err;
	vmferry_image_get_info(*image, &info);
	if (asprintf(&aliases, "/lib/modules/%.*s/modules.alias", (int)strcspn(info.version, " "),
		     info.version) < 0)
		aliases = NULL;
	modules = aliases ? open(aliases, O_RDONLY | O_CLOEXEC) : -1;
	free(aliases);
	if (modules >= 0)
		err = vmferry_image_add_modules(*image, modules);
	if (err) {
		vmferry_image_free(*image);
		*image = NULL;
	}
	return err;
}

/* The image of the running kernel. -ENOENT if it is not where images are. */
static int read_running(const char *given, struct vmferry_image **image)
{
	struct utsname uts;
	char *path;
	int err;

	if (given)
		return read_image(given, image);
	if (uname(&uts))
		return -errno;
	if (asprintf(&path, "/boot/vmlinuz-%s", uts.release) < 0)
		return -ENOMEM;
	err = read_image(path, image);
	free(path);
	if (err != -ENOENT)
		return err;
	if (asprintf(&path, "/lib/modules/%s/vmlinuz", uts.release) < 0)
		return -ENOMEM;
	err = read_image(path, image);
	free(path);
	return err;
}

/* Does the new one read what the running one writes? Returns how much speaks against it. */
static int compare(const char *given, const struct vmferry_image *next)
{
	struct vmferry_image_difference difference;
	struct vmferry_image *running;
	int against = 0;
	int err;

	err = read_running(given, &running);
	if (!err && !vmferry_image_is(running, NULL, NULL)) {
		vmferry_image_free(running);
		err = -ESTALE;
	}
	if (err) {
		out_step(NULL, "the image of the running kernel cannot be looked at (%s; --running "
			 "FILE): whether the next one reads what it writes is not known",
			 strerror(-err));
		return 0;
	}
	for (size_t n = 0; !vmferry_image_get_difference(running, next, n, &difference); n++) {
		if (!difference.always) {
			out_step(NULL, "it does not read %s, if there is any", difference.writes);
			continue;
		}
		out_error(NULL, 0, difference.reads ? "it does not read %s, but %s" :
			  "it does not read %s", difference.writes, difference.reads);
		against++;
	}
	vmferry_image_free(running);
	return against;
}

static int look_at_image(const struct options *options, const char *kernel)
{
	struct vmferry_image_info info;
	struct vmferry_image *next;
	int against = 0, err;

	err = read_image(kernel, &next);
	if (err)
		return out_error(NULL, err, "cannot read the kernel %s", kernel);
	vmferry_image_get_info(next, &info);
	out_step(NULL, "%s: %s", kernel, info.version);
	if (!vmferry_image_nr_abi(next)) {
		out_error(NULL, 0, "%s has no live update: build it with CONFIG_LIVEUPDATE", kernel);
		against++;
	} else {
		against += compare(options->running, next);
	}
	if (!info.relocatable) {
		out_error(NULL, 0, "%s is not relocatable: build it with CONFIG_RELOCATABLE",
			  kernel);
		against++;
	}
	vmferry_image_free(next);
	return against;
}

static int look_at_cmdline(const char *cmdline)
{
	static const char * const switches[] = { "kho", "liveupdate" };
	int against = 0;

	for (size_t n = 0; n < ARRAY_SIZE(switches); n++) {
		bool on = false;

		vmferry_cmdline_bool(cmdline, switches[n], &on);
		if (on)
			continue;
		out_error(NULL, 0, "the next kernel's command line does not have %s=on: it would "
			  "lose all that was preserved", switches[n]);
		against++;
	}
	return against;
}

static int load(const struct options *options, const char *kernel)
{
	char *cmdline = options->cmdline ? strdup(options->cmdline) : NULL;
	int against, err = 0;

	if (!options->cmdline)
		err = vmferry_reuse_cmdline(&cmdline);
	if (err || !cmdline)
		return out_exit_code(out_error(NULL, err ? err : -ENOMEM,
					       "no command line for the next kernel"));
	against = look_at_image(options, kernel);
	if (against >= 0)
		against += look_at_cmdline(cmdline);
	if (against < 0 || (against && !options->force)) {
		free(cmdline);
		return against < 0 ? out_exit_code(against) : EXIT_BLOCKED;
	}
	err = vmferry_kexec_load_path(kernel, options->initrd, cmdline);
	if (err)
		out_error(NULL, err, "cannot load %s: %s", kernel, vmferry_kexec_reason(err));
	else
		out_line("loaded %s with: %s", kernel, cmdline);
	free(cmdline);
	return out_exit_code(err);
}

int verb_load(const struct options *options, char **args)
{
	return load(options, args[0]);
}

/* ---- The jump ------------------------------------------------------------------------------ */

static bool is_loaded(void)
{
	CLEANUP_CLOSE int fd = open("/sys/kernel/kexec_loaded", O_RDONLY | O_CLOEXEC);
	char value = '0';

	return fd >= 0 && read(fd, &value, 1) == 1 && value == '1';
}

/* @timeline is for the next kernel, and may be NULL. */
static int jump(const struct options *options, const char *timeline)
{
	CLEANUP_CLOSE int session = -1;
	char *none[] = { NULL };
	struct index index;
	int err;

	if (!is_loaded())
		return out_exit_code(out_error(NULL, -ENOENT, "no kernel is loaded"));
	err = index_of_saved(options->dir, false, &index);
	if (err)
		return out_exit_code(err);
	if (!index.nr && !options->force) {
		index_free(&index);
		return out_exit_code(out_error(NULL, -ENOENT, "nothing is saved, and --force is not "
					       "given"));
	}
	index.timeline = timeline ? strdup(timeline) : NULL;
	/* What takes its time goes before the last thing of which there is a stamp. */
	sync();
	/* It may be left to another one to jump, and now we do. */
	err = index_unleave(options->dir);
	if (err >= 0)
		err = session = index_preserve(&index);
	if (session >= 0) {
		out_step(NULL, "%zu saved, the kernel is replaced now", index.nr);
		err = syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2,
			      LINUX_REBOOT_CMD_KEXEC, NULL) ? -errno : -EIO;
		out_error(NULL, err, "the kernel refuses to be replaced, its log tells why");
	}
	index_free(&index);
	/* They have not noticed, and are to go on. */
	close_quietly(take_fd(&session));
	verb_abort(options, none);
	return out_exit_code(err);
}

/* The file for the timeline, if there is to be one; refused before anything is stopped. */
static int find_timeline(const struct options *options, char **path)
{
	*path = options->timeline ? draw_path(options->timeline) : NULL;
	return options->timeline && !*path ? EXIT_FAILED : EXIT_OK;
}

int verb_kexec(const struct options *options, char **args)
{
	char *timeline;
	int code = find_timeline(options, &timeline);

	(void)args;
	if (code == EXIT_OK)
		code = jump(options, timeline);
	free(timeline);
	return code;
}

int verb_update(const struct options *options, char **args)
{
	char *none[] = { NULL }, *timeline;
	int code = find_timeline(options, &timeline);

	if (code == EXIT_OK) {
		code = check_before(options, args + 1);
		if (options->force)
			code = EXIT_OK;
	}
	if (code == EXIT_OK)
		code = load(options, args[0]);
	if (code == EXIT_OK) {
		code = verb_save(options, args + 1);
		if (code == EXIT_OK)
			code = jump(options, timeline);
		else
			/* All or none: what was saved goes on in this kernel. */
			verb_abort(options, none);
	}
	free(timeline);
	return code;
}
