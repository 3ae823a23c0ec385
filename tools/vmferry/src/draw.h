/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where a timeline goes: to the terminal, to a file, into the result as JSON.
 */
#ifndef VMFERRY_DRAW_H
#define VMFERRY_DRAW_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

#include "timeline.h"

struct options;

/* The virtual machines that run again, and their objects in the result. */
struct drawing {
	struct timeline_vm *vms;
	struct json_object **objects;
	size_t nr;
};

/* Copies what it is given but for the name, and has a reference to @object. -ENOMEM */
int drawing_add(struct drawing *drawing, const struct timeline_vm *vm,
		struct json_object *object);
void drawing_free(struct drawing *drawing);

/* Does its name tell how a file is to be written? */
bool draw_knows(const char *file);

/*
 * The file's path from the root on, by which another kernel's command finds it. Says why it
 * cannot be written. To be freed.
 */
char *draw_path(const char *file);

/*
 * Show it: in the result if that is JSON; as text if there is somebody to see it, or @file is
 * "-"; else to @file, which may be NULL. Whatever fails is said, and has no consequences.
 */
void draw(const struct drawing *drawing, const struct options *options, const char *file);

#endif /* VMFERRY_DRAW_H */
