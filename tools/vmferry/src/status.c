// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What is the state of this host?
 */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "index.h"
#include "keep.h"
#include "look.h"
#include "out.h"
#include "util.h"
#include "verbs.h"
#include "vmferry.h"

static void add_string(struct json_object *object, const char *key, const char *value)
{
	json_object_object_add(object, key, value ? json_object_new_string(value) : NULL);
}

/* ---- The kernel ------------------------------------------------------------------------------ */

static void tell_switch(struct json_object *object, const char *cmdline, const char *name)
{
	const char *value = "not on the command line";
	bool on;
	int err = cmdline ? vmferry_cmdline_bool(cmdline, name, &on) : -EIO;

	if (!cmdline)
		value = "cannot be told";
	else if (err == -EINVAL)
		value = "neither on nor off";
	else if (!err)
		value = on ? "on" : "off";
	json_object_object_add(object, name, err ? NULL : json_object_new_boolean(on));
	out_line("  %-17s %s", name, value);
}

static void tell_kernel(const struct look *look)
{
	struct json_object *object = json_object_new_object();
	char *release = look_read(look, NULL, "proc/sys/kernel/osrelease");
	char *cmdline = look_read(look, NULL, "proc/cmdline");
	bool device = look_exists(look, "dev/liveupdate");
	int loaded = look_kexec_loaded(look);

	out_line("Linux %s", release ? release : "of a release that cannot be told");
	add_string(object, "release", release);
	tell_switch(object, cmdline, "kho");
	tell_switch(object, cmdline, "liveupdate");
	json_object_object_add(object, "device", json_object_new_boolean(device));
	out_line("  %-17s %s", "/dev/liveupdate", device ? "is there" : "is not there");
	json_object_object_add(object, "loaded",
			       loaded < 0 ? NULL : json_object_new_boolean(loaded));
	out_line("  %-17s %s", "next kernel", loaded < 0 ? "cannot be told" :
		 loaded ? "is loaded, by whom cannot be told" : "is not loaded");
	out_json("kernel", object);
	free(release);
	free(cmdline);
}

/* ---- Who has what ---------------------------------------------------------------------------- */

static struct json_object *file_json(const struct vmferry_scan_file *file)
{
	struct json_object *object = json_object_new_object();

	json_object_object_add(object, "pid", json_object_new_int(file->pid));
	json_object_object_add(object, "fd", json_object_new_int(file->fd));
	add_string(object, "comm", file->comm);
	if (file->name)
		add_string(object, "name", file->name);
	return object;
}

static int tell_holders(const struct look *look)
{
	struct json_object *holders = json_object_new_array(), *sessions = json_object_new_array();
	struct vmferry_scan *scan;
	struct vmferry_scan_file file;
	unsigned int unreadable;
	int err = look_scan(look, &scan);

	if (err) {
		json_object_put(holders);
		json_object_put(sessions);
		return out_error(NULL, err, "cannot tell who has sessions");
	}
	for (size_t n = 0; !vmferry_scan_get_holder(scan, n, &file); n++) {
		json_object_array_add(holders, file_json(&file));
		out_line("/dev/liveupdate is open: %s (process %d)", file.comm, file.pid);
	}
	for (size_t n = 0; !vmferry_scan_get_session(scan, n, &file); n++) {
		json_object_array_add(sessions, file_json(&file));
		out_line("session %s: %s (process %d)", *file.name ? file.name : "?", file.comm,
			 file.pid);
	}
	unreadable = vmferry_scan_unreadable(scan);
	vmferry_scan_free(scan);
	if (!json_object_array_length(sessions))
		out_line(unreadable ? "no session was seen" : "nobody has a session");
	if (unreadable)
		out_line("%u processes could not be looked at", unreadable);
	out_json("holders", holders);
	out_json("sessions", sessions);
	out_json("unreadable", json_object_new_int64(unreadable));
	return 0;
}

/* ---- What is saved --------------------------------------------------------------------------- */

static bool is_complete(const char *dir, const char *name)
{
	CLEANUP_CLOSE int fd = -1;
	struct keep *keep;
	char *path;
	int err;

	if (asprintf(&path, "%s/%s.keep", dir, name) < 0)
		return false;
	err = keep_find(path, &keep);
	free(path);
	if (err)
		return false;
	fd = keep_get(keep, "manifest");
	keep_free(keep);
	return fd >= 0;
}

static int tell_saved(const char *dir)
{
	struct json_object *saved = json_object_new_array();
	struct index index;
	int err = index_of_all(dir, &index);

	if (err) {
		json_object_put(saved);
		return out_error(NULL, err, "cannot tell what is saved");
	}
	for (size_t n = 0; n < index.nr; n++) {
		struct json_object *object = json_object_new_object();
		bool complete = is_complete(dir, index.entries[n].name);

		add_string(object, "vm", index.entries[n].name);
		json_object_object_add(object, "complete", json_object_new_boolean(complete));
		json_object_array_add(saved, object);
		out_line("%s: %s", index.entries[n].name,
			 complete ? "saved" : "saved, not complete");
	}
	if (!index.nr)
		out_line("nothing is saved in %s", dir);
	index_free(&index);
	out_json("saved", saved);
	return 0;
}

static int tell_left(const char *dir)
{
	struct json_object *left = json_object_new_array();
	struct index index;
	int err = index_of_parked(dir, &index);

	for (size_t n = 0; !err && n < index.nr; n++) {
		json_object_array_add(left, json_object_new_string(index.entries[n].name));
		out_line("%s: left by the kernel before, not restored", index.entries[n].name);
	}
	index_free(&index);
	out_json("left", left);
	return err && err != -ENOENT ?
	       out_error(NULL, err, "cannot tell what the kernel before has left") : 0;
}

/* ---- Devices --------------------------------------------------------------------------------- */

static void tell_devices(const struct look *look)
{
	struct json_object *devices = json_object_new_array();
	char **names = look_names(look, "sys/bus/pci/devices");
	unsigned int none = 0;

	for (char **name = names; name && *name; name++) {
		char *state = look_read(look, NULL, "sys/bus/pci/devices/%s/liveupdate", *name);
		struct json_object *object;

		if (state && strcmp(state, "none")) {
			object = json_object_new_object();
			add_string(object, "device", *name);
			add_string(object, "state", state);
			json_object_array_add(devices, object);
			out_line("%s: %s", *name, state);
		}
		none += state && !strcmp(state, "none");
		free(state);
	}
	if (!json_object_array_length(devices))
		out_line(none ? "no PCI device takes part in a live update" :
				"PCI devices have no live update state");
	free(names);
	out_json("devices", devices);
}

int verb_status(const struct options *options, char **args)
{
	struct look look;
	int err, result;

	(void)args;
	result = look_open(options->root, &look);
	if (result)
		return EXIT_FAILED;
	tell_kernel(&look);
	result = tell_holders(&look);
	err = tell_saved(options->dir);
	result = result ? result : err;
	err = tell_left(options->dir);
	result = result ? result : err;
	tell_devices(&look);
	look_close(&look);
	return out_exit_code(result);
}
