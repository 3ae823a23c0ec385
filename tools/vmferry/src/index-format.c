// SPDX-License-Identifier: LGPL-2.1-or-later
#include "index-format.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "out.h"
#include "qmp.h"
#include "stamp.h"
#include "util.h"
#include "vm.h"

#define VERSION 1
#define SIZE_LIMIT (1 << 20)

void index_free(struct index *index)
{
	for (size_t n = 0; n < index->nr; n++) {
		free(index->entries[n].name);
		free(index->entries[n].session);
	}
	free(index->entries);
	free(index->timeline);
	*index = (struct index){};
}

int index_add(struct index *index, const char *name, const char *session)
{
	struct index_entry entry = { strdup(name), strdup(session) }, *entries;

	entries = realloc(index->entries, (index->nr + 1) * sizeof(*entries));
	if (entries)
		index->entries = entries;
	if (!entries || !entry.name || !entry.session) {
		free(entry.name);
		free(entry.session);
		return -ENOMEM;
	}
	entries[index->nr++] = entry;
	return 0;
}

static struct json_object *stamp_json(struct stamp stamp)
{
	struct json_object *object = json_object_new_object();

	json_object_object_add(object, "monotonic_ns", json_object_new_uint64(stamp.monotonic_ns));
	json_object_object_add(object, "real_ns", json_object_new_uint64(stamp.real_ns));
	json_object_object_add(object, "cycles", json_object_new_uint64(stamp.cycles));
	return object;
}

static bool get_u64(struct json_object *object, const char *key, uint64_t *number)
{
	struct json_object *value;

	if (!json_object_object_get_ex(object, key, &value) ||
	    !json_object_is_type(value, json_type_int) || json_object_get_int64(value) < 0)
		return false;
	*number = json_object_get_uint64(value);
	return true;
}

/* An older one does not have it, and nobody is lost for want of a picture. */
static struct stamp read_stamp(struct json_object *root)
{
	struct json_object *object = NULL;
	struct stamp stamp = {};

	stamp.known = json_object_object_get_ex(root, "jump", &object) &&
		      get_u64(object, "monotonic_ns", &stamp.monotonic_ns) &&
		      get_u64(object, "real_ns", &stamp.real_ns) &&
		      get_u64(object, "cycles", &stamp.cycles);
	return stamp;
}

int index_write(const struct index *index)
{
	CLEANUP_CLOSE int fd = memfd_create("vmferry-index", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct json_object *root = json_object_new_object(), *list = json_object_new_array();
	const char *text;
	size_t len;
	int err = 0;

	json_object_object_add(root, "version", json_object_new_int(VERSION));
	for (size_t n = 0; n < index->nr; n++) {
		struct json_object *entry = json_object_new_object();

		json_object_object_add(entry, "name",
				       json_object_new_string(index->entries[n].name));
		json_object_object_add(entry, "session",
				       json_object_new_string(index->entries[n].session));
		json_object_array_add(list, entry);
	}
	json_object_object_add(root, "vms", list);
	if (index->timeline)
		json_object_object_add(root, "timeline", json_object_new_string(index->timeline));
	/* As late as can be: what is in here cannot be changed any more. */
	json_object_object_add(root, "jump", stamp_json(stamp_now()));
	text = json_object_to_json_string_ext(root, JSON_C_TO_STRING_PLAIN);
	len = strlen(text);
	if (fd < 0 || write(fd, text, len) != (ssize_t)len ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE))
		err = fd < 0 || errno ? -errno : -EIO;
	json_object_put(root);
	return err ? err : take_fd(&fd);
}

static bool has(const struct index *index, const char *name)
{
	for (size_t n = 0; n < index->nr; n++)
		if (!strcmp(index->entries[n].name, name))
			return true;
	return false;
}

static int add_entry(struct index *index, struct json_object *entry)
{
	const char *name = qmp_string(entry, "name", NULL);
	const char *session = qmp_string(entry, "session", NULL);
	bool good = name && session && *session && vm_name_is_good(name);

	if (good && !has(index, name))
		return index_add(index, name, session);
	/* It may have anything in it: what was left out is told as it is written. */
	out_error(NULL, 0, "an entry of the list of what the kernel before has left is %s: %s",
		  good ? "there twice" : "damaged",
		  json_object_to_json_string_ext(entry, JSON_C_TO_STRING_PLAIN |
						 JSON_C_TO_STRING_NOSLASHESCAPE));
	index->bad++;
	return 0;
}

static int read_text(int fd, char **text)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (st.st_size > SIZE_LIMIT)
		return -E2BIG;
	*text = calloc(1, st.st_size + 1);
	if (!*text)
		return -ENOMEM;
	if (pread(fd, *text, st.st_size, 0) == st.st_size)
		return 0;
	free(*text);
	return -EIO;
}

int index_read(int fd, struct index *index)
{
	struct json_object *root, *list, *version;
	const char *timeline;
	char *text = NULL;
	int err = read_text(fd, &text);

	*index = (struct index){};
	if (err)
		return err;
	root = json_tokener_parse(text);
	free(text);
	if (!json_object_object_get_ex(root, "version", &version) ||
	    !json_object_is_type(version, json_type_int))
		err = -EBADMSG;
	else if (json_object_get_int64(version) != VERSION)
		err = -EPROTONOSUPPORT;
	else if (!json_object_object_get_ex(root, "vms", &list) ||
		 !json_object_is_type(list, json_type_array))
		err = -EBADMSG;
	for (size_t n = 0; !err && n < json_object_array_length(list); n++)
		err = add_entry(index, json_object_array_get_idx(list, n));
	timeline = err ? NULL : qmp_string(root, "timeline", NULL);
	if (timeline) {
		index->timeline = strdup(timeline);
		err = index->timeline ? 0 : -ENOMEM;
	}
	if (!err)
		index->jump = read_stamp(root);
	json_object_put(root);
	if (err)
		index_free(index);
	return err;
}
