// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Can this host, and can these virtual machines, be updated live now? Whatever cannot be
 * told is a warning.
 */
#include "check.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "out.h"
#include "util.h"
#include "verbs.h"
#include "vm.h"
#include "vmferry.h"

static const char * const names[] = {
	[CHECK_OK] = "ok", [CHECK_WARN] = "warn", [CHECK_BLOCKED] = "blocked",
};

static const enum out_colour colours[] = {
	[CHECK_OK] = OUT_GREEN, [CHECK_WARN] = OUT_YELLOW, [CHECK_BLOCKED] = OUT_RED,
};

static void add_string(struct json_object *object, const char *key, const char *value)
{
	json_object_object_add(object, key, json_object_new_string(value));
}

void check_add(struct checks *checks, struct json_object *list, enum check_state state,
	       const char *id, const char *subject, const char *fix, const char *reason, ...)
{
	struct json_object *check = json_object_new_object();
	char *text;
	va_list args;

	va_start(args, reason);
	if (vasprintf(&text, reason, args) < 0)
		text = NULL;
	va_end(args);
	add_string(check, "id", id);
	add_string(check, "subject", subject);
	add_string(check, "state", names[state]);
	add_string(check, "reason", text ? text : strerror(ENOMEM));
	add_string(check, "fix", fix ? fix : "");
	free(text);
	json_object_array_add(list, check);
	checks->blocked |= state == CHECK_BLOCKED;
}

static enum check_state state_of(struct json_object *check)
{
	const char *name = qmp_string(check, "state", "");
	enum check_state state = CHECK_OK;

	while (state < CHECK_BLOCKED && strcmp(names[state], name))
		state++;
	return state;
}

static void tell_one(struct json_object *check)
{
	enum check_state state = state_of(check);
	const char *fix = qmp_string(check, "fix", "");

	out_line("%s%-7s%s %-22s %s: %s%s%s", out_colour(colours[state]), names[state],
		 out_colour(OUT_PLAIN), qmp_string(check, "id", ""),
		 qmp_string(check, "subject", ""), qmp_string(check, "reason", ""),
		 *fix ? "; " : "", fix);
}

static void tell(const struct checks *checks, bool quiet)
{
	struct json_object *lists[] = { checks->kernel, checks->host, checks->vms };
	struct json_object *all = json_object_new_array();

	for (size_t n = 0; n < ARRAY_SIZE(lists); n++) {
		for (size_t m = 0; m < json_object_array_length(lists[n]); m++) {
			struct json_object *check = json_object_array_get_idx(lists[n], m);

			if (quiet && state_of(check) == CHECK_OK)
				continue;
			tell_one(check);
			json_object_array_add(all, json_object_get(check));
		}
	}
	out_json("checks", all);
}

static int check_names(struct checks *checks, char **args)
{
	int result = 0;

	for (; *args; args++) {
		struct vm *vm;
		int err = vm_new(*args, checks->dir, &vm);

		if (err) {
			out_error(NULL, err, "%s is no name of a virtual machine", *args);
			result = err;
			continue;
		}
		check_vm(checks, vm);
		vm_free(vm);
	}
	return result;
}

static int check(const struct options *options, char **args, bool loads, bool quiet)
{
	struct checks checks = { .dir = options->dir, .loads = loads };
	int err = look_open(options->root, &checks.look);

	if (err)
		return EXIT_FAILED;
	checks.kernel = json_object_new_array();
	checks.host = json_object_new_array();
	checks.vms = json_object_new_array();
	checks.scan_error = look_scan(&checks.look, &checks.scan);
	/* What they have decides what the host needs. */
	err = check_names(&checks, args);
	check_host(&checks);
	tell(&checks, quiet);
	json_object_put(checks.kernel);
	json_object_put(checks.host);
	json_object_put(checks.vms);
	vmferry_scan_free(checks.scan);
	look_close(&checks.look);
	return err ? EXIT_FAILED : checks.unsupported ? EXIT_UNSUPPORTED :
	       checks.blocked ? EXIT_BLOCKED : EXIT_OK;
}

int verb_check(const struct options *options, char **args)
{
	return check(options, args, false, options->quiet);
}

int check_before(const struct options *options, char **args)
{
	return check(options, args, true, true);
}
