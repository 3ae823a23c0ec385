// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The manifest of a session: what its tokens are, for the kernel can not tell.
 *
 * It is a sealed memfd with JSON:
 *
 *	"version"	1. A reader refuses another one.
 *	"minor"		1. A higher one has keys that this reader does not know, and ignores.
 *	"vm"		"id", "name"
 *	"qemu"		"version", "argv": strings
 *	"kernel"	"release", "abi": strings
 *	"pause"		"monotonic_ns", "real_ns"
 *	"note"		maybe: a text of the writer's own
 *	"files"		of the CPR state: "name", "id", "kind", maybe "token", maybe "size"
 *	"devices"	"name", "bdf", "vendor", "device", "driver", "token", "devid",
 *			"ioas_id", "hwpt_id", maybe "irq_index"
 *	"maps"		"ioas_id", "iova", "length", "offset", "read_only", and
 *			"file", "file_id" or "device", "bar"
 *	"times"		"name", "monotonic_ns", "real_ns", since 1.1 maybe "cycles"
 *
 * The last four are lists of objects. All numbers are integers of up to 64 bits, and need a
 * reader that does not make floating point numbers of them.
 */
#include <search.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include <fcntl.h>
#include <json-c/json.h>
#include <linux/memfd.h>

#include "util.h"
#include "vmferry.h"

#define VERSION 1
#define MINOR 1
#define SIZE_MAX_BYTES (16u << 20)
#define DEPTH_MAX 32
/* What the kernel lets an argument of a program have. */
#define TEXT_MAX 0x20000u
/* Far beyond what any virtual machine has. */
#define FILES_MAX 65536u
#define MAPS_MAX 65536u
#define STRINGS_MAX 65536u
#define DEVICES_MAX 4096u
#define TIMES_MAX 4096u

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

struct strings {
	char **items;
	size_t nr;
};

struct vmferry_manifest {
	struct vmferry_manifest_info info;
	struct strings args, abi;
	/* Of pointers to entries, with strings of their own. */
	struct vmferry_manifest_file **files;
	size_t nr_files;
	struct vmferry_manifest_device **devices;
	size_t nr_devices;
	struct vmferry_manifest_map **maps;
	size_t nr_maps;
	struct vmferry_manifest_time **times;
	size_t nr_times;
	/* The files by name and id, the maps by their addresses: trees of tsearch(). */
	void *files_index, *maps_index;
};

/* ---- Texts ------------------------------------------------------------------------------- */

/* How long the UTF-8 character is, or 0 if there is none. */
static size_t character(const unsigned char *text)
{
	unsigned int val, min;
	size_t len;

	if (text[0] < 0x80)
		return 1;
	if (text[0] < 0xc2 || text[0] > 0xf4)
		return 0;
	len = text[0] < 0xe0 ? 2 : text[0] < 0xf0 ? 3 : 4;
	min = len == 2 ? 0x80 : len == 3 ? 0x800 : 0x10000;
	val = text[0] & (0x7f >> len);
	for (size_t i = 1; i < len; i++) {
		/* Here it stops at a NUL, too. */
		if ((text[i] & 0xc0) != 0x80)
			return 0;
		val = val << 6 | (text[i] & 0x3f);
	}
	return val < min || val > 0x10ffff || (val >= 0xd800 && val < 0xe000) ? 0 : len;
}

/* JSON can have nothing else. */
static int check_text(const char *text)
{
	const unsigned char *pos = (const unsigned char *)text;
	size_t len;

	if (!text)
		return -EINVAL;
	if (strlen(text) >= TEXT_MAX)
		return -E2BIG;
	for (; *pos; pos += len) {
		len = character(pos);
		if (!len)
			return -EILSEQ;
	}
	return 0;
}

static int check_name(const char *name)
{
	return name && !*name ? -EINVAL : check_text(name);
}

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static size_t hex_len(const char *text)
{
	size_t len = 0;

	while (is_hex(text[len]))
		len++;
	return len;
}

static int check_uuid(const char *uuid)
{
	static const size_t parts[] = { 8, 4, 4, 4, 12 };

	if (!uuid)
		return -EINVAL;
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		if (i && *uuid++ != '-')
			return -EINVAL;
		if (hex_len(uuid) != parts[i])
			return -EINVAL;
		uuid += parts[i];
	}
	return *uuid ? -EINVAL : 0;
}

/* Domain, bus, device, function: the domain of some has more than four digits. */
static int check_bdf(const char *bdf)
{
	size_t len;

	if (!bdf)
		return -EINVAL;
	len = hex_len(bdf);
	if (len < 4 || len > 8 || bdf[len] != ':')
		return -EINVAL;
	bdf += len + 1;
	if (hex_len(bdf) != 2 || bdf[2] != ':')
		return -EINVAL;
	bdf += 3;
	if (hex_len(bdf) != 2 || bdf[2] != '.')
		return -EINVAL;
	bdf += 3;
	return *bdf < '0' || *bdf > '7' || bdf[1] ? -EINVAL : 0;
}

VMFERRY_PUBLIC int vmferry_vm_session_name(const char *vm_id, char *name)
{
	int err = check_uuid(vm_id);

	if (err)
		return err;
	memcpy(name, "vm-", 3);
	name += 3;
	for (; *vm_id; vm_id++) {
		if (*vm_id != '-')
			/* A letter gets small, a digit stays what it is. */
			*name++ = *vm_id | 0x20;
	}
	*name = 0;
	return 0;
}

/* ---- In memory --------------------------------------------------------------------------- */

/* Const in what the caller sees, but ours. */
static void free_text(const char *text)
{
	free((void *)text);
}

static void free_strings(struct strings *strings)
{
	for (size_t i = 0; i < strings->nr; i++)
		free(strings->items[i]);
	free(strings->items);
}

static void free_info(struct vmferry_manifest_info *info)
{
	free_text(info->vm_id);
	free_text(info->vm_name);
	free_text(info->qemu_version);
	free_text(info->kernel_release);
	free_text(info->note);
}

static void free_file(struct vmferry_manifest_file *file)
{
	if (!file)
		return;
	free_text(file->name);
	free_text(file->kind);
	free(file);
}

static void free_device(struct vmferry_manifest_device *device)
{
	if (!device)
		return;
	free_text(device->name);
	free_text(device->bdf);
	free_text(device->driver);
	free(device);
}

static void free_map(struct vmferry_manifest_map *map)
{
	if (!map)
		return;
	free_text(map->file);
	free_text(map->device);
	free(map);
}

static void free_time(struct vmferry_manifest_time *stamp)
{
	if (!stamp)
		return;
	free_text(stamp->name);
	free(stamp);
}

/* The arrays have the entries. */
static void keep(void *entry)
{
	(void)entry;
}

VMFERRY_PUBLIC int vmferry_manifest_new(struct vmferry_manifest **manifest)
{
	struct vmferry_manifest *new = calloc(1, sizeof(*new));

	if (!new)
		return -ENOMEM;
	new->info.version = VERSION;
	new->info.minor = MINOR;
	*manifest = new;
	return 0;
}

VMFERRY_PUBLIC void vmferry_manifest_free(struct vmferry_manifest *manifest)
{
	if (!manifest)
		return;
	tdestroy(manifest->files_index, keep);
	tdestroy(manifest->maps_index, keep);
	for (size_t i = 0; i < manifest->nr_files; i++)
		free_file(manifest->files[i]);
	for (size_t i = 0; i < manifest->nr_devices; i++)
		free_device(manifest->devices[i]);
	for (size_t i = 0; i < manifest->nr_maps; i++)
		free_map(manifest->maps[i]);
	for (size_t i = 0; i < manifest->nr_times; i++)
		free_time(manifest->times[i]);
	free(manifest->files);
	free(manifest->devices);
	free(manifest->maps);
	free(manifest->times);
	free_strings(&manifest->args);
	free_strings(&manifest->abi);
	free_info(&manifest->info);
	free(manifest);
}

static void manifest_cleanup(struct vmferry_manifest **manifest)
{
	vmferry_manifest_free(*manifest);
}

/* Replace a pointer that still is the caller's by a copy of its text. NULL stays. */
static int own(const char **text)
{
	if (!*text)
		return 0;
	*text = strdup(*text);
	return *text ? 0 : -ENOMEM;
}

VMFERRY_PUBLIC int vmferry_manifest_set_info(struct vmferry_manifest *manifest,
					     const struct vmferry_manifest_info *info)
{
	struct vmferry_manifest_info new = {
		.version = manifest->info.version, .minor = manifest->info.minor,
		.paused_ns = info->paused_ns, .paused_real_ns = info->paused_real_ns,
	};
	int err = check_uuid(info->vm_id);

	if (!err)
		err = check_text(info->vm_name);
	if (!err)
		err = check_name(info->qemu_version);
	if (!err)
		err = check_name(info->kernel_release);
	if (!err && info->note)
		err = check_text(info->note);
	if (err)
		return err;
	new.vm_id = strdup(info->vm_id);
	new.vm_name = strdup(info->vm_name);
	new.qemu_version = strdup(info->qemu_version);
	new.kernel_release = strdup(info->kernel_release);
	new.note = info->note ? strdup(info->note) : NULL;
	if (!new.vm_id || !new.vm_name || !new.qemu_version || !new.kernel_release ||
	    (info->note && !new.note)) {
		free_info(&new);
		return -ENOMEM;
	}
	free_info(&manifest->info);
	manifest->info = new;
	return 0;
}

VMFERRY_PUBLIC int vmferry_manifest_get_info(const struct vmferry_manifest *manifest,
					     struct vmferry_manifest_info *info)
{
	if (!manifest->info.vm_id)
		return -ENODATA;
	*info = manifest->info;
	return 0;
}

static int add_string(struct strings *strings, const char *text)
{
	char *copy;
	int err;

	if (strings->nr >= STRINGS_MAX)
		return -E2BIG;
	err = grow(&strings->items, strings->nr, sizeof(*strings->items));
	if (err)
		return err;
	copy = strdup(text);
	if (!copy)
		return -ENOMEM;
	strings->items[strings->nr++] = copy;
	return 0;
}

static int get_string(const struct strings *strings, size_t n, const char **text)
{
	if (n >= strings->nr)
		return -ERANGE;
	*text = strings->items[n];
	return 0;
}

VMFERRY_PUBLIC size_t vmferry_manifest_nr_args(const struct vmferry_manifest *manifest)
{
	return manifest->args.nr;
}

VMFERRY_PUBLIC int vmferry_manifest_get_arg(const struct vmferry_manifest *manifest, size_t n,
					    const char **arg)
{
	return get_string(&manifest->args, n, arg);
}

VMFERRY_PUBLIC int vmferry_manifest_add_arg(struct vmferry_manifest *manifest, const char *arg)
{
	int err = check_text(arg);

	return err ?: add_string(&manifest->args, arg);
}

VMFERRY_PUBLIC size_t vmferry_manifest_nr_abi(const struct vmferry_manifest *manifest)
{
	return manifest->abi.nr;
}

VMFERRY_PUBLIC int vmferry_manifest_get_abi(const struct vmferry_manifest *manifest, size_t n,
					    const char **abi)
{
	return get_string(&manifest->abi, n, abi);
}

VMFERRY_PUBLIC int vmferry_manifest_add_abi(struct vmferry_manifest *manifest, const char *abi)
{
	int err = check_name(abi);

	for (size_t i = 0; i < manifest->abi.nr && !err; i++) {
		if (!strcmp(manifest->abi.items[i], abi))
			err = -EEXIST;
	}
	/* There are about ten, and each is compared with all others. */
	if (!err && manifest->abi.nr >= 1024)
		err = -E2BIG;
	return err ?: add_string(&manifest->abi, abi);
}

static int compare_files(const void *a, const void *b)
{
	const struct vmferry_manifest_file *one = a, *other = b;

	if (one->id != other->id)
		return one->id < other->id ? -1 : 1;
	return strcmp(one->name, other->name);
}

static const struct vmferry_manifest_file *
find_file(const struct vmferry_manifest *manifest, const char *name, uint32_t id)
{
	struct vmferry_manifest_file key = { .name = name, .id = id }, **found;

	found = tfind(&key, &manifest->files_index, compare_files);
	return found ? *found : NULL;
}

VMFERRY_PUBLIC size_t vmferry_manifest_nr_files(const struct vmferry_manifest *manifest)
{
	return manifest->nr_files;
}

VMFERRY_PUBLIC int vmferry_manifest_get_file(const struct vmferry_manifest *manifest, size_t n,
					     struct vmferry_manifest_file *file)
{
	if (n >= manifest->nr_files)
		return -ERANGE;
	*file = *manifest->files[n];
	return 0;
}

VMFERRY_PUBLIC int vmferry_manifest_find_file(const struct vmferry_manifest *manifest,
					      const char *name, uint32_t id,
					      struct vmferry_manifest_file *file)
{
	const struct vmferry_manifest_file *found = find_file(manifest, name, id);

	if (!found)
		return -ENOENT;
	*file = *found;
	return 0;
}

VMFERRY_PUBLIC int vmferry_manifest_add_file(struct vmferry_manifest *manifest,
					     const struct vmferry_manifest_file *file)
{
	struct vmferry_manifest_file *new;
	int err = check_name(file->name);

	if (!err)
		err = check_name(file->kind);
	if (!err && file->preserved && file->token == VMFERRY_TOKEN_MANIFEST)
		err = -EINVAL;
	if (!err && find_file(manifest, file->name, file->id))
		err = -EEXIST;
	if (!err && manifest->nr_files >= FILES_MAX)
		err = -E2BIG;
	if (!err)
		err = grow(&manifest->files, manifest->nr_files, sizeof(*manifest->files));
	if (err)
		return err;
	new = calloc(1, sizeof(*new));
	if (!new)
		return -ENOMEM;
	*new = (struct vmferry_manifest_file){
		.name = strdup(file->name), .id = file->id, .kind = strdup(file->kind),
		.preserved = file->preserved, .token = file->preserved ? file->token : 0,
		.size = file->size,
	};
	if (!new->name || !new->kind || !tsearch(new, &manifest->files_index, compare_files)) {
		free_file(new);
		return -ENOMEM;
	}
	manifest->files[manifest->nr_files++] = new;
	return 0;
}

VMFERRY_PUBLIC size_t vmferry_manifest_nr_devices(const struct vmferry_manifest *manifest)
{
	return manifest->nr_devices;
}

VMFERRY_PUBLIC int vmferry_manifest_get_device(const struct vmferry_manifest *manifest, size_t n,
					       struct vmferry_manifest_device *device)
{
	if (n >= manifest->nr_devices)
		return -ERANGE;
	*device = *manifest->devices[n];
	return 0;
}

static bool has_device(const struct vmferry_manifest *manifest, const char *name)
{
	for (size_t i = 0; i < manifest->nr_devices; i++) {
		if (!strcmp(manifest->devices[i]->name, name))
			return true;
	}
	return false;
}

static int check_device(const struct vmferry_manifest *manifest,
			const struct vmferry_manifest_device *device)
{
	int err = check_name(device->name);

	if (!err)
		err = check_bdf(device->bdf);
	if (!err)
		err = check_name(device->driver);
	if (err)
		return err;
	if (device->token == VMFERRY_TOKEN_MANIFEST || device->irq_index < -1)
		return -EINVAL;
	for (size_t i = 0; i < manifest->nr_devices; i++) {
		const struct vmferry_manifest_device *other = manifest->devices[i];

		if (!strcmp(other->name, device->name) || !strcasecmp(other->bdf, device->bdf) ||
		    other->token == device->token)
			return -EEXIST;
	}
	return manifest->nr_devices >= DEVICES_MAX ? -E2BIG : 0;
}

VMFERRY_PUBLIC int vmferry_manifest_add_device(struct vmferry_manifest *manifest,
					       const struct vmferry_manifest_device *device)
{
	struct vmferry_manifest_device *new;
	int err = check_device(manifest, device);

	if (!err)
		err = grow(&manifest->devices, manifest->nr_devices, sizeof(*manifest->devices));
	if (err)
		return err;
	new = malloc(sizeof(*new));
	if (!new)
		return -ENOMEM;
	*new = *device;
	new->name = strdup(device->name);
	new->bdf = strdup(device->bdf);
	new->driver = strdup(device->driver);
	if (!new->name || !new->bdf || !new->driver) {
		free_device(new);
		return -ENOMEM;
	}
	manifest->devices[manifest->nr_devices++] = new;
	return 0;
}

/* Those that overlap are the same: there is never more than one such in the tree. */
static int compare_maps(const void *a, const void *b)
{
	const struct vmferry_manifest_map *one = a, *other = b;

	if (one->ioas_id != other->ioas_id)
		return one->ioas_id < other->ioas_id ? -1 : 1;
	if (one->iova + (one->length - 1) < other->iova)
		return -1;
	return one->iova > other->iova + (other->length - 1);
}

VMFERRY_PUBLIC size_t vmferry_manifest_nr_maps(const struct vmferry_manifest *manifest)
{
	return manifest->nr_maps;
}

VMFERRY_PUBLIC int vmferry_manifest_get_map(const struct vmferry_manifest *manifest, size_t n,
					    struct vmferry_manifest_map *map)
{
	if (n >= manifest->nr_maps)
		return -ERANGE;
	*map = *manifest->maps[n];
	return 0;
}

static int check_map(const struct vmferry_manifest *manifest,
		     const struct vmferry_manifest_map *map)
{
	const struct vmferry_manifest_file *file;

	if (!map->length || map->iova + (map->length - 1) < map->iova ||
	    map->offset + map->length < map->offset || !map->file == !map->device)
		return -EINVAL;
	if (map->device) {
		if (map->bar > 5)
			return -EINVAL;
		if (!has_device(manifest, map->device))
			return -ENOENT;
	} else {
		file = find_file(manifest, map->file, map->file_id);
		if (!file)
			return -ENOENT;
		if (file->size && map->offset + map->length > file->size)
			return -EINVAL;
	}
	if (tfind(map, &manifest->maps_index, compare_maps))
		return -EEXIST;
	return manifest->nr_maps >= MAPS_MAX ? -E2BIG : 0;
}

VMFERRY_PUBLIC int vmferry_manifest_add_map(struct vmferry_manifest *manifest,
					    const struct vmferry_manifest_map *map)
{
	struct vmferry_manifest_map *new;
	int err = check_map(manifest, map);

	if (!err)
		err = grow(&manifest->maps, manifest->nr_maps, sizeof(*manifest->maps));
	if (err)
		return err;
	new = malloc(sizeof(*new));
	if (!new)
		return -ENOMEM;
	*new = *map;
	/* What the other kind has is nothing. */
	if (map->device)
		new->file_id = 0;
	else
		new->bar = 0;
	err = own(&new->file);
	if (own(&new->device))
		err = -ENOMEM;
	if (!err && !tsearch(new, &manifest->maps_index, compare_maps))
		err = -ENOMEM;
	if (err) {
		free_map(new);
		return err;
	}
	manifest->maps[manifest->nr_maps++] = new;
	return 0;
}

VMFERRY_PUBLIC size_t vmferry_manifest_nr_times(const struct vmferry_manifest *manifest)
{
	return manifest->nr_times;
}

VMFERRY_PUBLIC int vmferry_manifest_get_time(const struct vmferry_manifest *manifest, size_t n,
					     struct vmferry_manifest_time *stamp)
{
	if (n >= manifest->nr_times)
		return -ERANGE;
	*stamp = *manifest->times[n];
	return 0;
}

VMFERRY_PUBLIC int vmferry_manifest_add_time(struct vmferry_manifest *manifest,
					     const struct vmferry_manifest_time *stamp)
{
	struct vmferry_manifest_time *new;
	int err = check_name(stamp->name);

	for (size_t i = 0; i < manifest->nr_times && !err; i++) {
		if (!strcmp(manifest->times[i]->name, stamp->name))
			err = -EEXIST;
	}
	if (!err && manifest->nr_times >= TIMES_MAX)
		err = -E2BIG;
	if (!err)
		err = grow(&manifest->times, manifest->nr_times, sizeof(*manifest->times));
	if (err)
		return err;
	new = malloc(sizeof(*new));
	if (!new)
		return -ENOMEM;
	*new = *stamp;
	new->name = strdup(stamp->name);
	if (!new->name) {
		free_time(new);
		return -ENOMEM;
	}
	manifest->times[manifest->nr_times++] = new;
	return 0;
}

/* ---- Writing ----------------------------------------------------------------------------- */

static void json_cleanup(struct json_object **obj)
{
	json_object_put(*obj);
}

#define CLEANUP_JSON __attribute__((cleanup(json_cleanup)))

/* Takes the value in any case; one that could not be made is NULL. */
static int put(struct json_object *obj, const char *key, struct json_object *val)
{
	if (!val)
		return -ENOMEM;
	if (json_object_object_add(obj, key, val)) {
		json_object_put(val);
		return -ENOMEM;
	}
	return 0;
}

static int append(struct json_object *array, struct json_object *val)
{
	if (!val)
		return -ENOMEM;
	if (json_object_array_add(array, val)) {
		json_object_put(val);
		return -ENOMEM;
	}
	return 0;
}

static int put_text(struct json_object *obj, const char *key, const char *text)
{
	return put(obj, key, json_object_new_string(text));
}

static int put_number(struct json_object *obj, const char *key, uint64_t val)
{
	return put(obj, key, json_object_new_uint64(val));
}

/* A new object or list in its place. NULL if that fails. */
static struct json_object *put_new(struct json_object *obj, const char *key,
				   struct json_object *val)
{
	return put(obj, key, val) ? NULL : val;
}

static int put_strings(struct json_object *obj, const char *key, const struct strings *strings)
{
	struct json_object *array = put_new(obj, key, json_object_new_array());
	int err = array ? 0 : -ENOMEM;

	for (size_t i = 0; i < strings->nr && !err; i++)
		err = append(array, json_object_new_string(strings->items[i]));
	return err;
}

static int put_info(struct json_object *root, const struct vmferry_manifest *manifest)
{
	struct json_object *vm, *qemu, *kernel, *pause;
	int err = put_number(root, "version", VERSION);

	if (!err)
		err = put_number(root, "minor", MINOR);
	if (err)
		return err;
	vm = put_new(root, "vm", json_object_new_object());
	qemu = put_new(root, "qemu", json_object_new_object());
	kernel = put_new(root, "kernel", json_object_new_object());
	pause = put_new(root, "pause", json_object_new_object());
	if (!vm || !qemu || !kernel || !pause)
		return -ENOMEM;
	err = put_text(vm, "id", manifest->info.vm_id);
	if (!err)
		err = put_text(vm, "name", manifest->info.vm_name);
	if (!err)
		err = put_text(qemu, "version", manifest->info.qemu_version);
	if (!err)
		err = put_strings(qemu, "argv", &manifest->args);
	if (!err)
		err = put_text(kernel, "release", manifest->info.kernel_release);
	if (!err)
		err = put_strings(kernel, "abi", &manifest->abi);
	if (!err)
		err = put_number(pause, "monotonic_ns", manifest->info.paused_ns);
	if (!err && manifest->info.note)
		err = put_text(root, "note", manifest->info.note);
	return err ?: put_number(pause, "real_ns", manifest->info.paused_real_ns);
}

static int put_file(struct json_object *obj, const struct vmferry_manifest *manifest, size_t n)
{
	const struct vmferry_manifest_file *file = manifest->files[n];
	int err = put_text(obj, "name", file->name);

	if (!err)
		err = put_number(obj, "id", file->id);
	if (!err)
		err = put_text(obj, "kind", file->kind);
	if (!err && file->preserved)
		err = put_number(obj, "token", file->token);
	if (!err && file->size)
		err = put_number(obj, "size", file->size);
	return err;
}

static int put_device(struct json_object *obj, const struct vmferry_manifest *manifest, size_t n)
{
	const struct vmferry_manifest_device *device = manifest->devices[n];
	int err = put_text(obj, "name", device->name);

	if (!err)
		err = put_text(obj, "bdf", device->bdf);
	if (!err)
		err = put_number(obj, "vendor", device->vendor);
	if (!err)
		err = put_number(obj, "device", device->device);
	if (!err)
		err = put_text(obj, "driver", device->driver);
	if (!err)
		err = put_number(obj, "token", device->token);
	if (!err)
		err = put_number(obj, "devid", device->devid);
	if (!err)
		err = put_number(obj, "ioas_id", device->ioas_id);
	if (!err)
		err = put_number(obj, "hwpt_id", device->hwpt_id);
	if (!err && device->irq_index >= 0)
		err = put_number(obj, "irq_index", device->irq_index);
	return err;
}

static int put_map(struct json_object *obj, const struct vmferry_manifest *manifest, size_t n)
{
	const struct vmferry_manifest_map *map = manifest->maps[n];
	int err = put_number(obj, "ioas_id", map->ioas_id);

	if (!err)
		err = put_number(obj, "iova", map->iova);
	if (!err)
		err = put_number(obj, "length", map->length);
	if (!err)
		err = put_number(obj, "offset", map->offset);
	if (!err)
		err = put(obj, "read_only", json_object_new_boolean(map->read_only));
	if (!err)
		err = map->device ? put_text(obj, "device", map->device) :
				    put_text(obj, "file", map->file);
	if (err)
		return err;
	return map->device ? put_number(obj, "bar", map->bar) :
			     put_number(obj, "file_id", map->file_id);
}

static int put_time(struct json_object *obj, const struct vmferry_manifest *manifest, size_t n)
{
	const struct vmferry_manifest_time *stamp = manifest->times[n];
	int err = put_text(obj, "name", stamp->name);

	if (!err)
		err = put_number(obj, "monotonic_ns", stamp->monotonic_ns);
	if (!err)
		err = put_number(obj, "real_ns", stamp->real_ns);
	if (!err && stamp->cycles)
		err = put_number(obj, "cycles", stamp->cycles);
	return err;
}

static int put_list(struct json_object *root, const char *key,
		    const struct vmferry_manifest *manifest, size_t nr,
		    int (*put_entry)(struct json_object *obj,
				     const struct vmferry_manifest *manifest, size_t n))
{
	struct json_object *array = put_new(root, key, json_object_new_array()), *obj;
	int err = array ? 0 : -ENOMEM;

	for (size_t i = 0; i < nr && !err; i++) {
		obj = json_object_new_object();
		err = append(array, obj);
		if (!err)
			err = put_entry(obj, manifest, i);
	}
	return err;
}

/* Nobody changes it from here on, and it is no program. */
static int sealed_memfd(const char *text, size_t len)
{
	unsigned int flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	CLEANUP_CLOSE int fd = memfd_create("vmferry-manifest", flags | MFD_NOEXEC_SEAL);
	ssize_t part;

	/* Linux before 6.3 does not know that. */
	if (fd < 0 && errno == EINVAL)
		fd = memfd_create("vmferry-manifest", flags);
	if (fd < 0)
		return -errno;
	for (size_t pos = 0; pos < len; pos += part) {
		part = pwrite(fd, text + pos, len - pos, pos);
		if (part < 0 && errno == EINTR)
			part = 0;
		else if (part <= 0)
			return part ? -errno : -EIO;
	}
	if (fcntl(fd, F_ADD_SEALS, SEALS))
		return -errno;
	return take_fd(&fd);
}

VMFERRY_PUBLIC int vmferry_manifest_write(const struct vmferry_manifest *manifest)
{
	CLEANUP_JSON struct json_object *root = NULL;
	const char *text;
	size_t len;
	int err;

	if (!manifest->info.vm_id)
		return -ENODATA;
	root = json_object_new_object();
	if (!root)
		return -ENOMEM;
	err = put_info(root, manifest);
	if (!err)
		err = put_list(root, "files", manifest, manifest->nr_files, put_file);
	if (!err)
		err = put_list(root, "devices", manifest, manifest->nr_devices, put_device);
	if (!err)
		err = put_list(root, "maps", manifest, manifest->nr_maps, put_map);
	if (!err)
		err = put_list(root, "times", manifest, manifest->nr_times, put_time);
	if (err)
		return err;
	text = json_object_to_json_string_length(root, JSON_C_TO_STRING_PLAIN |
						 JSON_C_TO_STRING_NOSLASHESCAPE, &len);
	if (!text)
		return -ENOMEM;
	/* Else it could not be read. */
	if (len > SIZE_MAX_BYTES)
		return -E2BIG;
	return sealed_memfd(text, len);
}

/* ---- Reading ----------------------------------------------------------------------------- */

/* One of a type, or NULL. */
static struct json_object *member(struct json_object *obj, const char *key, enum json_type type)
{
	struct json_object *val;

	return json_object_object_get_ex(obj, key, &val) && json_object_is_type(val, type) ?
	       val : NULL;
}

static bool has(struct json_object *obj, const char *key)
{
	return json_object_object_get_ex(obj, key, NULL);
}

/* Checks that the caller's memory has it, of which it stays a part. */
static int to_text(struct json_object *val, const char **text)
{
	if (!json_object_is_type(val, json_type_string))
		return -EBADMSG;
	*text = json_object_get_string(val);
	return strlen(*text) == (size_t)json_object_get_string_len(val) ? 0 : -EBADMSG;
}

static int get_text(struct json_object *obj, const char *key, const char **text)
{
	return to_text(member(obj, key, json_type_string), text);
}

static int get_u64(struct json_object *obj, const char *key, uint64_t *number)
{
	struct json_object *val = member(obj, key, json_type_int);

	if (!val || json_object_get_int64(val) < 0)
		return -EBADMSG;
	*number = json_object_get_uint64(val);
	return 0;
}

static int get_number(struct json_object *obj, const char *key, uint64_t max, uint64_t *number)
{
	int err = get_u64(obj, key, number);

	return err ?: *number > max ? -EBADMSG : 0;
}

static int get_u32(struct json_object *obj, const char *key, uint32_t *number)
{
	uint64_t val = 0;
	int err = get_number(obj, key, UINT32_MAX, &val);

	*number = val;
	return err;
}

static int get_u16(struct json_object *obj, const char *key, uint16_t *number)
{
	uint64_t val = 0;
	int err = get_number(obj, key, UINT16_MAX, &val);

	*number = val;
	return err;
}

static int get_bool(struct json_object *obj, const char *key, bool *on)
{
	struct json_object *val = member(obj, key, json_type_boolean);

	if (!val)
		return -EBADMSG;
	*on = json_object_get_boolean(val);
	return 0;
}

static int get_list(struct json_object *obj, const char *key, struct vmferry_manifest *manifest,
		    int (*get_entry)(struct json_object *obj, struct vmferry_manifest *manifest))
{
	struct json_object *array = member(obj, key, json_type_array);
	int err = array ? 0 : -EBADMSG;

	for (size_t i = 0; !err && i < json_object_array_length(array); i++)
		err = get_entry(json_object_array_get_idx(array, i), manifest);
	return err;
}

static int get_arg(struct json_object *val, struct vmferry_manifest *manifest)
{
	const char *text;
	int err = to_text(val, &text);

	return err ?: vmferry_manifest_add_arg(manifest, text);
}

static int get_abi(struct json_object *val, struct vmferry_manifest *manifest)
{
	const char *text;
	int err = to_text(val, &text);

	return err ?: vmferry_manifest_add_abi(manifest, text);
}

static int get_file(struct json_object *obj, struct vmferry_manifest *manifest)
{
	struct vmferry_manifest_file file = { .preserved = has(obj, "token") };
	int err = get_text(obj, "name", &file.name);

	if (!err)
		err = get_u32(obj, "id", &file.id);
	if (!err)
		err = get_text(obj, "kind", &file.kind);
	if (!err && file.preserved)
		err = get_u64(obj, "token", &file.token);
	if (!err && has(obj, "size"))
		err = get_u64(obj, "size", &file.size);
	return err ?: vmferry_manifest_add_file(manifest, &file);
}

static int get_device(struct json_object *obj, struct vmferry_manifest *manifest)
{
	struct vmferry_manifest_device device = {};
	uint64_t irq_index = 0;
	int err = get_text(obj, "name", &device.name);

	if (!err)
		err = get_text(obj, "bdf", &device.bdf);
	if (!err)
		err = get_u16(obj, "vendor", &device.vendor);
	if (!err)
		err = get_u16(obj, "device", &device.device);
	if (!err)
		err = get_text(obj, "driver", &device.driver);
	if (!err)
		err = get_u64(obj, "token", &device.token);
	if (!err)
		err = get_u32(obj, "devid", &device.devid);
	if (!err)
		err = get_u32(obj, "ioas_id", &device.ioas_id);
	if (!err)
		err = get_u32(obj, "hwpt_id", &device.hwpt_id);
	if (!err && has(obj, "irq_index"))
		err = get_number(obj, "irq_index", INT32_MAX, &irq_index);
	device.irq_index = has(obj, "irq_index") ? (int32_t)irq_index : -1;
	return err ?: vmferry_manifest_add_device(manifest, &device);
}

static int get_map(struct json_object *obj, struct vmferry_manifest *manifest)
{
	struct vmferry_manifest_map map = {};
	int err = get_u32(obj, "ioas_id", &map.ioas_id);

	if (!err)
		err = get_u64(obj, "iova", &map.iova);
	if (!err)
		err = get_u64(obj, "length", &map.length);
	if (!err)
		err = get_u64(obj, "offset", &map.offset);
	if (!err)
		err = get_bool(obj, "read_only", &map.read_only);
	if (!err && has(obj, "device")) {
		err = get_text(obj, "device", &map.device);
		if (!err)
			err = get_u32(obj, "bar", &map.bar);
	}
	if (!err && has(obj, "file")) {
		err = get_text(obj, "file", &map.file);
		if (!err)
			err = get_u32(obj, "file_id", &map.file_id);
	}
	return err ?: vmferry_manifest_add_map(manifest, &map);
}

static int get_time(struct json_object *obj, struct vmferry_manifest *manifest)
{
	struct vmferry_manifest_time stamp = {};
	int err = get_text(obj, "name", &stamp.name);

	if (!err)
		err = get_u64(obj, "monotonic_ns", &stamp.monotonic_ns);
	if (!err)
		err = get_u64(obj, "real_ns", &stamp.real_ns);
	if (!err && has(obj, "cycles"))
		err = get_u64(obj, "cycles", &stamp.cycles);
	return err ?: vmferry_manifest_add_time(manifest, &stamp);
}

static int get_info(struct json_object *root, struct vmferry_manifest *manifest)
{
	struct json_object *vm = member(root, "vm", json_type_object);
	struct json_object *qemu = member(root, "qemu", json_type_object);
	struct json_object *kernel = member(root, "kernel", json_type_object);
	struct json_object *pause = member(root, "pause", json_type_object);
	struct vmferry_manifest_info info = {};
	int err = get_text(vm, "id", &info.vm_id);

	if (!err)
		err = get_text(vm, "name", &info.vm_name);
	if (!err)
		err = get_text(qemu, "version", &info.qemu_version);
	if (!err)
		err = get_text(kernel, "release", &info.kernel_release);
	if (!err)
		err = get_u64(pause, "monotonic_ns", &info.paused_ns);
	if (!err)
		err = get_u64(pause, "real_ns", &info.paused_real_ns);
	if (!err && has(root, "note"))
		err = get_text(root, "note", &info.note);
	if (!err)
		err = vmferry_manifest_set_info(manifest, &info);
	if (!err)
		err = get_list(qemu, "argv", manifest, get_arg);
	return err ?: get_list(kernel, "abi", manifest, get_abi);
}

static int get_version(struct json_object *root, struct vmferry_manifest *manifest)
{
	uint64_t version;
	int err = get_u64(root, "version", &version);

	if (err)
		return err;
	/* Before anything else: the rest may be anything. */
	if (version != VERSION)
		return -EPROTONOSUPPORT;
	return get_u32(root, "minor", &manifest->info.minor);
}

static int get_all(struct json_object *root, struct vmferry_manifest *manifest)
{
	int err = get_version(root, manifest);

	if (!err)
		err = get_info(root, manifest);
	if (!err)
		err = get_list(root, "files", manifest, get_file);
	if (!err)
		err = get_list(root, "devices", manifest, get_device);
	if (!err)
		err = get_list(root, "maps", manifest, get_map);
	if (!err)
		err = get_list(root, "times", manifest, get_time);
	/* What a caller may not add is damage in a file. */
	switch (err) {
	case -EINVAL:
	case -EEXIST:
	case -ENOENT:
	case -EILSEQ:
		return -EBADMSG;
	default:
		return err;
	}
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Does an integer fit in 64 bits? Its end goes to @pos. */
static bool fits(const char *text, size_t len, size_t *pos)
{
	uint64_t val = 0;
	bool fit = true;
	size_t i = *pos;

	for (; i < len && is_digit(text[i]); i++)
		fit = fit && !__builtin_mul_overflow(val, 10, &val) &&
		      !__builtin_add_overflow(val, text[i] - '0', &val);
	/* A floating point number may be as long as it likes. */
	for (; i < len && text[i] && strchr("+-.eE0123456789", text[i]); i++)
		fit = true;
	*pos = i;
	return fit;
}

/* Of an integer that is too large json-c makes the largest, and says nothing. */
static int check_numbers(const char *text, size_t len)
{
	bool in_string = false;
	size_t i = 0;

	while (i < len) {
		if (!in_string && is_digit(text[i])) {
			if (!fits(text, len, &i))
				return -EBADMSG;
			continue;
		}
		if (text[i] == '"')
			in_string = !in_string;
		else if (text[i] == '\\')
			i++;
		i++;
	}
	return 0;
}

static int parse_json(const char *text, size_t len, struct json_object **root)
{
	struct json_tokener *tok = json_tokener_new_ex(DEPTH_MAX);
	enum json_tokener_error err;
	size_t end;

	if (!tok)
		return -ENOMEM;
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT);
	*root = json_tokener_parse_ex(tok, text, len);
	err = json_tokener_get_error(tok);
	end = json_tokener_get_parse_end(tok);
	json_tokener_free(tok);
	if (err == json_tokener_continue)
		return -ENODATA;
	if (err != json_tokener_success || end != len || !*root)
		return -EBADMSG;
	return 0;
}

/* The whole file, wherever its position is. */
static int read_file(int fd, char **text, size_t *len)
{
	size_t size = 0x10000, done = 0;
	char *buf = malloc(size), *new;
	ssize_t part;
	int err = 0;

	if (!buf)
		return -ENOMEM;
	while ((part = pread(fd, buf + done, size - done, done))) {
		if (part < 0 && errno == EINTR)
			continue;
		if (part < 0) {
			err = -errno;
			break;
		}
		done += part;
		if (done > SIZE_MAX_BYTES) {
			err = -E2BIG;
			break;
		}
		if (done < size)
			continue;
		new = realloc(buf, 2 * size);
		if (!new) {
			err = -ENOMEM;
			break;
		}
		buf = new;
		size *= 2;
	}
	if (err) {
		free(buf);
		return err;
	}
	*text = buf;
	*len = done;
	return 0;
}

static int parse(const char *text, size_t len, struct json_object **root)
{
	int err;

	while (len && is_space(*text)) {
		text++;
		len--;
	}
	/* An editor puts a line's end there, which to json-c is too much. */
	while (len && is_space(text[len - 1]))
		len--;
	if (!len)
		return -ENODATA;
	if (*text != '{')
		return -EBADMSG;
	err = parse_json(text, len, root);
	return err ?: check_numbers(text, len);
}

VMFERRY_PUBLIC int vmferry_manifest_read(int fd, struct vmferry_manifest **manifest)
{
	__attribute__((cleanup(manifest_cleanup))) struct vmferry_manifest *new = NULL;
	CLEANUP_JSON struct json_object *root = NULL;
	size_t len = 0;
	char *text;
	int err = read_file(fd, &text, &len);

	if (err)
		return err;
	err = parse(text, len, &root);
	free(text);
	if (!err)
		err = vmferry_manifest_new(&new);
	if (!err)
		err = get_all(root, new);
	if (err)
		return err;
	*manifest = new;
	new = NULL;
	return 0;
}
