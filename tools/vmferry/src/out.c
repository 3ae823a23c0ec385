// SPDX-License-Identifier: LGPL-2.1-or-later
#include "out.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define JSON_VERSION 1

static struct {
	struct json_object *json;
	bool quiet, colours;
} out;

int out_exit_code(int err)
{
	switch (-err) {
	case 0:
		return EXIT_OK;
	case EBUSY:
		return EXIT_BUSY;
	case EOPNOTSUPP:
	case ENOSYS:
		return EXIT_UNSUPPORTED;
	default:
		return EXIT_FAILED;
	}
}

void out_init(const char *verb, bool json, bool quiet)
{
	out.quiet = quiet;
	out.colours = !json && isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
	if (!json)
		return;
	out.json = json_object_new_object();
	out_json("version", json_object_new_int(JSON_VERSION));
	out_json("verb", json_object_new_string(verb));
}

static void say(const char *vm, const char *format, va_list args)
{
	fputs("vmferry: ", stderr);
	if (vm)
		fprintf(stderr, "%s: ", vm);
	vfprintf(stderr, format, args);
}

int out_error(const char *vm, int err, const char *format, ...)
{
	struct json_object *errors, *entry;
	char text[1024];
	va_list args;

	va_start(args, format);
	say(vm, format, args);
	va_end(args);
	fprintf(stderr, "%s%s\n", err ? ": " : "", err ? strerror(-err) : "");
	if (!out.json)
		return err ? err : -EINVAL;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (!json_object_object_get_ex(out.json, "errors", &errors)) {
		errors = json_object_new_array();
		out_json("errors", errors);
	}
	entry = json_object_new_object();
	if (vm)
		json_object_object_add(entry, "vm", json_object_new_string(vm));
	json_object_object_add(entry, "text", json_object_new_string(text));
	if (err)
		json_object_object_add(entry, "error", json_object_new_string(strerror(-err)));
	json_object_array_add(errors, entry);
	return err ? err : -EINVAL;
}

void out_step(const char *vm, const char *format, ...)
{
	va_list args;

	if (out.quiet || out.json)
		return;
	va_start(args, format);
	say(vm, format, args);
	va_end(args);
	fputc('\n', stderr);
}

void out_line(const char *format, ...)
{
	va_list args;

	if (out.json)
		return;
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

void out_json(const char *key, struct json_object *value)
{
	if (out.json)
		json_object_object_add(out.json, key, value);
	else
		json_object_put(value);
}

int out_end(int code)
{
	if (out.json) {
		out_json("exit", json_object_new_int(code));
		puts(json_object_to_json_string_ext(out.json, JSON_C_TO_STRING_PRETTY |
							      JSON_C_TO_STRING_NOSLASHESCAPE));
		json_object_put(out.json);
		out.json = NULL;
	}
	if (fflush(stdout) && code == EXIT_OK)
		code = EXIT_FAILED;
	return code;
}

const char *out_colour(enum out_colour colour)
{
	static const char * const codes[] = {
		[OUT_GREEN] = "\033[32m", [OUT_YELLOW] = "\033[33m", [OUT_RED] = "\033[31m",
		[OUT_BOLD] = "\033[1m", [OUT_PLAIN] = "\033[0m",
	};

	return out.colours ? codes[colour] : "";
}
