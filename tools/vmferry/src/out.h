/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the command tells: sentences for people, or one JSON object for programs.
 */
#ifndef VMFERRY_OUT_H
#define VMFERRY_OUT_H

#include <json-c/json.h>
#include <stdbool.h>

/* Exit codes, part of the interface. */
enum {
	EXIT_OK = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_BLOCKED = 3,	/* check says no */
	EXIT_PARTIAL = 4,	/* some virtual machines are lost */
	EXIT_BUSY = 75,		/* /dev/liveupdate or the virtual machine is in use: try again */
	EXIT_UNSUPPORTED = 77,	/* not on this host */
};

/* Exit code of a negative errno. */
int out_exit_code(int err);

/* Before anything else: whether it is to be JSON, and how much is said. */
void out_init(const char *verb, bool json, bool quiet);

/*
 * Say why something failed, as a sentence: "vmferry: VM: TEXT: strerror". @err is a
 * negative errno or 0, @vm may be NULL. Returns @err, or -EINVAL in its place.
 */
int out_error(const char *vm, int err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* What is going on, for people who watch. */
void out_step(const char *vm, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A line of the result; nothing with JSON. */
void out_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Part of the result as JSON: @value is taken. */
void out_json(const char *key, struct json_object *value);

/* The JSON object goes out; returns @code, for exit(). */
int out_end(int code);

/* Colours for a terminal, empty strings for anything else. */
enum out_colour { OUT_GREEN, OUT_YELLOW, OUT_RED, OUT_BOLD, OUT_PLAIN };
const char *out_colour(enum out_colour colour);

#endif /* VMFERRY_OUT_H */
