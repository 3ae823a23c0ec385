// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What is looked at of a virtual machine. QEMU is only asked, but for the mode of the next
 * migration: it says what stands against one in that mode, and gets back the mode it had.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture.h"
#include "check.h"
#include "migration.h"
#include "util.h"
#include "vm.h"
#include "vmferry.h"

#define BDFS_MAX 64
#define NO_UUID "00000000-0000-0000-0000-000000000000"
#define BLOCKED_REASON "vm.blocked-reason"

/* A device of the guest. */
struct device {
	char *path, *type;
};

struct check_vm {
	struct checks *checks;
	struct vm *vm;
	struct device *tree;
	size_t nr_tree;
	bool tree_known;
	char **argv;		/* NULL if it cannot be read */
	char *bdfs[BDFS_MAX];	/* what is passed through */
	size_t nr_bdfs;
	unsigned int devices;	/* how many those are */
	bool tcg;
	int broken;		/* why QEMU cannot be asked any more */
};

#define add(c, state, id, ...) \
	check_add((c)->checks, (c)->checks->vms, state, id, (c)->vm->name, __VA_ARGS__)

/* ---- Asking ---------------------------------------------------------------------------------- */

static int note(struct check_vm *c, int err)
{
	if (err && err != -EPROTO && !c->broken)
		c->broken = err;
	return err;
}

static int ask(struct check_vm *c, const char *command, struct json_object *args, json_type type,
	       struct json_object **ret)
{
	int err;

	*ret = NULL;
	if (c->broken) {
		json_object_put(args);
		return c->broken;
	}
	err = note(c, qmp_execute(c->vm->qmp, command, args, ret));
	if (!err && !json_object_is_type(*ret, type)) {
		json_object_put(*ret);
		*ret = NULL;
		err = note(c, -EBADMSG);
	}
	return err;
}

/* The same, and what cannot be told is a check of its own. */
static int ask_for(struct check_vm *c, const char *id, const char *command,
		   struct json_object *args, json_type type, struct json_object **ret)
{
	int err = ask(c, command, args, type, ret);

	if (err == -EPROTO)
		add(c, CHECK_WARN, id, NULL, "it cannot be told: %s: %s", command,
		    qmp_error(c->vm->qmp));
	return err;
}

static struct json_object *path_args(const char *path, const char *property)
{
	struct json_object *args = json_object_new_object();

	json_object_object_add(args, "path", json_object_new_string(path));
	if (property)
		json_object_object_add(args, "property", json_object_new_string(property));
	return args;
}

static int get_bool(struct check_vm *c, const char *path, const char *property, bool *value)
{
	struct json_object *ret;
	int err = ask(c, "qom-get", path_args(path, property), json_type_boolean, &ret);

	if (err)
		return err;
	*value = json_object_get_boolean(ret);
	json_object_put(ret);
	return 0;
}

/* To be freed. "" if it is not set; NULL with an error. */
static char *get_string(struct check_vm *c, const char *path, const char *property, int *err)
{
	struct json_object *ret;
	char *text = NULL;

	*err = ask(c, "qom-get", path_args(path, property), json_type_string, &ret);
	if (!*err) {
		text = strdup(json_object_get_string(ret));
		*err = text ? 0 : -ENOMEM;
		json_object_put(ret);
	}
	return text;
}

static uint64_t get_u64(struct json_object *object, const char *key)
{
	struct json_object *value;

	return json_object_object_get_ex(object, key, &value) ? json_object_get_uint64(value) : 0;
}

static bool starts(const char *text, const char *with)
{
	return !strncmp(text, with, strlen(with));
}

/* For each entry of an array of objects. */
#define for_each_object(array, object)								\
	for (size_t object##_n = 0; object##_n < json_object_array_length(array); object##_n++)	\
		for (struct json_object *object = json_object_array_get_idx(array, object##_n);	\
		     object; object = NULL)

/* ---- How it was started ---------------------------------------------------------------------- */

/* All in one piece. */
static char **read_argv(const struct check_vm *c)
{
	size_t size, nr = 0;
	char *text = look_read(&c->checks->look, &size, "proc/%d/cmdline", c->vm->pid), **argv;

	if (!text)
		return NULL;
	for (size_t pos = 0; pos < size; pos += strlen(text + pos) + 1)
		nr++;
	argv = malloc((nr + 1) * sizeof(*argv) + size + 1);
	if (argv) {
		char *pos = memcpy(argv + nr + 1, text, size + 1);

		for (size_t n = 0; n < nr; n++) {
			argv[n] = pos;
			pos += strlen(pos) + 1;
		}
		argv[nr] = NULL;
	}
	free(text);
	return argv;
}

/* QEMU takes -name and --name. */
static bool is_option(const char *arg, const char *name)
{
	return arg[0] == '-' && !strcmp(arg + 1 + (arg[1] == '-'), name);
}

/* A file that it was given by its number. */
static bool has_fd(const char *arg)
{
	static const char * const words[] = {
		",fd=", ",fds=", ",vhostfd=", ",vhostfds=", "\"fd\":", "\"fds\":", "\"vhostfd\":",
		"\"vhostfds\":", "/dev/fdset/", "/proc/self/fd/", "/dev/fd/",
	};

	for (size_t n = 0; n < ARRAY_SIZE(words); n++)
		if (strstr(arg, words[n]))
			return true;
	return is_option(arg, "add-fd") || starts(arg, "fd=");
}

static void check_argv(struct check_vm *c)
{
	static const char id[] = "vm.arguments";
	static const struct {
		const char *option, *why;
	} odd[] = {
		{ "daemonize", "-daemonize has made / its directory, from where relative paths "
			       "among its arguments lead elsewhere" },
		{ "chroot", "-chroot is done again, where it has led already" },
		{ "runas", "-runas is done again, by the user that it has become" },
		{ "run-with", "-run-with is done again, by the user and in the directory it has "
			      "led to" },
		{ "nographic", "-nographic: it loses its terminal" },
	};
	bool said = false;

	if (!c->argv) {
		add(c, CHECK_WARN, id, NULL,
		    "how it was started cannot be told: /proc/%d/cmdline: %s", c->vm->pid,
		    strerror(errno));
		return;
	}
	for (char **arg = c->argv; *arg; arg++) {
		if (has_fd(*arg)) {
			said = true;
			add(c, CHECK_BLOCKED, "vm.passed-files",
			    "give it paths, not numbers of files",
			    "it was started with open files, which another QEMU does not get: %s",
			    *arg);
		}
		if (!strcmp(*arg, "stdio") || starts(*arg, "stdio,") || strstr(*arg, "mon:stdio")) {
			said = true;
			add(c, CHECK_WARN, id, NULL, "%s: it loses its terminal", *arg);
		}
		for (size_t n = 0; n < ARRAY_SIZE(odd); n++) {
			if (!is_option(*arg, odd[n].option))
				continue;
			said = true;
			add(c, CHECK_WARN, id, NULL, "%s", odd[n].why);
		}
	}
	if (!said)
		add(c, CHECK_OK, id, NULL, "another QEMU can be started like it");
}

static void check_version(struct check_vm *c)
{
	static const char id[] = "vm.qemu-version";
	struct json_object *ret, *qemu;
	unsigned int major, minor, version;

	if (ask_for(c, id, "query-version", NULL, json_type_object, &ret))
		return;
	if (!json_object_object_get_ex(ret, "qemu", &qemu))
		qemu = NULL;
	major = get_u64(qemu, "major");
	minor = get_u64(qemu, "minor");
	version = major * 100 + minor;
	json_object_put(ret);
	if (c->devices && major >= 11)
		c->checks->new_qemu = true;
	if (!version)
		add(c, CHECK_WARN, id, NULL, "its version cannot be told");
	else if (version < 1000)
		add(c, CHECK_BLOCKED, id, "QEMU 10.0 or newer",
		    "QEMU %u.%u does not pass on its memory", major, minor);
	else if (c->devices && version < 1001)
		add(c, CHECK_BLOCKED, id, "QEMU 10.1 or newer",
		    "QEMU %u.%u does not pass on its devices", major, minor);
	else if (version < 1101)
		add(c, CHECK_WARN, id, NULL, "QEMU %u.%u: 11.1 or newer is recommended", major,
		    minor);
	else
		add(c, CHECK_OK, id, NULL, "QEMU %u.%u", major, minor);
}

static void check_session(struct check_vm *c)
{
	static const char id[] = "vm.session";
	char name[VMFERRY_SESSION_NAME_MAX + 1];
	struct vmferry_scan_file session;
	struct json_object *ret;
	const char *uuid;

	if (ask_for(c, id, "query-uuid", NULL, json_type_object, &ret))
		return;
	uuid = qmp_string(ret, "UUID", "");
	if (vmferry_vm_session_name(uuid, name)) {
		add(c, CHECK_BLOCKED, id, "start it with -uuid", "no session can have its name: %s",
		    *uuid ? uuid : "it has no UUID");
	} else {
		bool said = false;

		for (size_t n = 0; c->checks->scan &&
		     !vmferry_scan_get_session(c->checks->scan, n, &session); n++) {
			if (strcmp(session.name, name))
				continue;
			said = true;
			add(c, CHECK_BLOCKED, id, "have it close that",
			    "%s (process %d) has a session of its name, %s", session.comm,
			    session.pid, name);
		}
		if (!strcmp(uuid, NO_UUID))
			add(c, CHECK_WARN, id, "start it with -uuid",
			    "it has no UUID: only one such can be saved");
		else if (!said)
			add(c, CHECK_OK, id, NULL, "its session is to be %s", name);
	}
	json_object_put(ret);
}

/* ---- What it does ---------------------------------------------------------------------------- */

static void check_state(struct check_vm *c)
{
	static const char id[] = "vm.state";
	static const char * const good[] = { "running", "paused", "prelaunch", "suspended" };
	static const char * const sick[] = {
		"guest-panicked", "internal-error", "io-error", "shutdown", "watchdog",
	};
	struct json_object *ret;
	const char *state;
	enum check_state is = CHECK_BLOCKED;

	if (ask_for(c, id, "query-status", NULL, json_type_object, &ret))
		return;
	state = qmp_string(ret, "status", "unknown");
	for (size_t n = 0; n < ARRAY_SIZE(good); n++)
		if (!strcmp(state, good[n]))
			is = CHECK_OK;
	for (size_t n = 0; n < ARRAY_SIZE(sick); n++)
		if (!strcmp(state, sick[n]))
			is = CHECK_WARN;
	add(c, is, id, is == CHECK_OK ? NULL : "wait until it runs", "it is %s", state);
	json_object_put(ret);
}

/* The mode it had, on another connection if this one has broken. */
static int put_back_mode(struct check_vm *c, const char *mode)
{
	int err = migration_set_mode(c->vm->qmp, mode);

	if (!err || err == -EPROTO)
		return err;
	note(c, err);
	qmp_free(c->vm->qmp);
	c->vm->qmp = NULL;
	err = qmp_connect(c->vm->qmp_path, -1, VM_QMP_TIMEOUT_MS, &c->vm->qmp);
	return err ? err : migration_set_mode(c->vm->qmp, mode);
}

static void tell_blocked(struct check_vm *c, struct json_object *info)
{
	struct json_object *reasons;

	if (!json_object_object_get_ex(info, "blocked-reasons", &reasons) ||
	    !json_object_is_type(reasons, json_type_array) || !json_object_array_length(reasons)) {
		add(c, CHECK_OK, BLOCKED_REASON, NULL, "QEMU has nothing against it");
		return;
	}
	for (size_t n = 0; n < json_object_array_length(reasons); n++)
		add(c, CHECK_BLOCKED, BLOCKED_REASON, NULL, "%s",
		    json_object_get_string(json_object_array_get_idx(reasons, n)));
}

static void ask_in_mode(struct check_vm *c, const char *mode)
{
	struct json_object *info;
	int err, back;

	err = note(c, migration_set_mode(c->vm->qmp, "cpr-transfer"));
	if (err == -EPROTO) {
		add(c, CHECK_BLOCKED, BLOCKED_REASON, "QEMU 10.0 or newer", "%s",
		    qmp_error(c->vm->qmp));
		return;
	}
	if (!err && !ask_for(c, BLOCKED_REASON, "query-migrate", NULL, json_type_object, &info)) {
		tell_blocked(c, info);
		json_object_put(info);
	}
	/* Without an answer it may have been set. */
	back = put_back_mode(c, mode);
	/* With QEMU its mode is gone. */
	if (back && back != -ENOENT && back != -ECONNREFUSED)
		add(c, CHECK_BLOCKED, "vm.migration-mode", "migrate-set-parameters mode=normal",
		    "the mode of its migrations may not be what it was, %s: %s", mode,
		    back == -EPROTO ? qmp_error(c->vm->qmp) : strerror(-back));
}

static void check_blocked(struct check_vm *c)
{
	struct json_object *parameters;
	sigset_t signals, before;
	int active = c->broken ? c->broken : migration_is_active(c->vm->qmp);

	if (active == -EPROTO)
		add(c, CHECK_WARN, "vm.migration", NULL, "it cannot be told: query-migrate: %s",
		    qmp_error(c->vm->qmp));
	else if (active > 0)
		add(c, CHECK_BLOCKED, "vm.migration", "wait until it is done",
		    "a migration is under way");
	else if (!note(c, active))
		add(c, CHECK_OK, "vm.migration", NULL, "no migration is under way");
	if (active || ask_for(c, BLOCKED_REASON, "query-migrate-parameters", NULL,
			      json_type_object, &parameters))
		return;
	/* Whoever wants us to end waits until the mode is what it was. */
	sigemptyset(&signals);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, &before);
	ask_in_mode(c, qmp_string(parameters, "mode", "normal"));
	sigprocmask(SIG_SETMASK, &before, NULL);
	json_object_put(parameters);
}

static void check_accel(struct check_vm *c)
{
	struct json_object *ret;

	if (ask_for(c, "vm.accel", "query-kvm", NULL, json_type_object, &ret))
		return;
	c->tcg = !qmp_bool(ret, "enabled");
	json_object_put(ret);
	if (!c->tree_known && c->tcg)
		add(c, CHECK_WARN, "vm.accel", NULL,
		    "it runs without KVM, and whether it has devices cannot be told");
	else if (!c->devices || !c->tcg)
		add(c, CHECK_OK, "vm.accel", NULL, c->tcg ? "without KVM, and without devices" :
		    "it runs with KVM");
	for (size_t n = 0; c->tcg && n < c->nr_bdfs; n++) {
		int interrupts = check_device_interrupts(c->checks, c->bdfs[n]);

		if (interrupts < 0)
			add(c, CHECK_WARN, "vm.accel", "-accel kvm",
			    "it runs without KVM: whether QEMU dies of the interrupts of %s cannot "
			    "be told: %s", c->bdfs[n], strerror(-interrupts));
		else if (interrupts)
			add(c, CHECK_BLOCKED, "vm.accel", "-accel kvm",
			    "it runs without KVM: QEMU dies when the interrupts of %s are passed on",
			    c->bdfs[n]);
		else
			add(c, CHECK_OK, "vm.accel", NULL, "without KVM, and %s has no interrupts",
			    c->bdfs[n]);
	}
}

/* ---- Its memory ------------------------------------------------------------------------------ */

/* The type of an object, as its parent lists it. To be freed, NULL if there is none. */
static char *child_type(struct json_object *list, const char *name)
{
	for_each_object(list, entry) {
		const char *type = qmp_string(entry, "type", "");

		if (!strcmp(qmp_string(entry, "name", ""), name) && starts(type, "child<"))
			return strndup(type + 6, strcspn(type + 6, ">"));
	}
	return NULL;
}

static void check_backend(struct check_vm *c, struct json_object *backend,
			  struct json_object *objects)
{
	static const char id[] = "vm.memory-backend";
	static const char memfd[] = "memory-backend-memfd", ram[] = "memory-backend-ram";
	const char *name = qmp_string(backend, "id", "");
	char *type = child_type(objects, name), *path;
	bool hugetlb = false;

	c->checks->memory += get_u64(backend, "size");
	if (type && asprintf(&path, "/objects/%s", name) >= 0) {
		/* Those that have no such property have no such pages. */
		get_bool(c, path, "hugetlb", &hugetlb);
		free(path);
	}
	if (c->broken) {
		free(type);
		return;
	}
	if (!type)
		add(c, CHECK_WARN, id, NULL, "what the memory %s is cannot be told", name);
	else if (strcmp(type, memfd) && strcmp(type, ram))
		add(c, CHECK_BLOCKED, id, "memory-backend-memfd",
		    "the memory %s is a %s, which cannot be preserved", name, type);
	else if (hugetlb)
		add(c, CHECK_BLOCKED, "vm.hugetlb", "hugetlb=off, with transparent huge pages",
		    "the memory %s is hugetlb memory", name);
	else if (!qmp_bool(backend, "share"))
		add(c, CHECK_BLOCKED, "vm.memory-share",
		    "-object memory-backend-memfd,share=on and -machine memory-backend=",
		    "the memory %s is not shared", name);
	else
		add(c, CHECK_OK, id, NULL, "the memory %s can be preserved, %llu MiB", name,
		    (unsigned long long)get_u64(backend, "size") >> 20);
	free(type);
}

static void check_memory(struct check_vm *c)
{
	static const char id[] = "vm.memory-backend";
	struct json_object *backends, *objects;
	char *guest;
	bool share;
	int err;

	err = get_bool(c, "/machine", "aux-ram-share", &share);
	if (err == -EPROTO)
		add(c, CHECK_WARN, "vm.aux-ram-share", NULL, "it cannot be told: qom-get: %s",
		    qmp_error(c->vm->qmp));
	else if (!err)
		add(c, share ? CHECK_OK : CHECK_BLOCKED, "vm.aux-ram-share",
		    share ? NULL : "-machine aux-ram-share=on", "aux-ram-share is %s",
		    share ? "on" : "off");

	guest = get_string(c, "/machine", "confidential-guest-support", &err);
	if (err == -EPROTO)
		/* A machine without the property knows no such guests. */
		add(c, CHECK_OK, "vm.guest-memfd", NULL, "its memory is no guest_memfd");
	else if (guest)
		add(c, *guest ? CHECK_BLOCKED : CHECK_OK, "vm.guest-memfd", NULL,
		    *guest ? "%s: its memory is guest_memfd, which cannot be preserved" :
			     "its memory is no guest_memfd%s", guest);
	free(guest);

	if (ask_for(c, id, "query-memdev", NULL, json_type_array, &backends))
		return;
	if (!ask_for(c, id, "qom-list", path_args("/objects", NULL), json_type_array, &objects)) {
		for_each_object(backends, backend)
			check_backend(c, backend, objects);
		json_object_put(objects);
		if (!json_object_array_length(backends))
			add(c, CHECK_WARN, id, NULL, "what its memory is cannot be told");
	}
	json_object_put(backends);
}

/* ---- Its devices ----------------------------------------------------------------------------- */

/* What the device tree is looked through for, by the beginning of the type. */
static const struct kind {
	const char *type, *id;
	enum check_state state;
	bool devices;		/* only where devices are passed through */
	const char *why, *fix;
} kinds[] = {
	{ "intel-iommu", "vm.viommu", CHECK_BLOCKED, true,
	  "the guest changes what its devices can reach", "no vIOMMU" },
	{ "amd-iommu", "vm.viommu", CHECK_BLOCKED, true,
	  "the guest changes what its devices can reach", "no vIOMMU" },
	{ "virtio-iommu", "vm.viommu", CHECK_BLOCKED, true,
	  "the guest changes what its devices can reach", "no vIOMMU" },
	{ "virtio-balloon", "vm.balloon", CHECK_WARN, false,
	  "memory that the guest gives back is not given back while it is preserved",
	  "do not use it meanwhile" },
	{ "virtio-mem", "vm.virtio-mem", CHECK_BLOCKED, false,
	  "the guest gives memory back, which fails when it is preserved", "do without it" },
	{ "virtio-pmem", "vm.pmem", CHECK_BLOCKED, false, "it has memory that is a named file",
	  "do without it" },
	{ "nvdimm", "vm.pmem", CHECK_BLOCKED, false, "it has memory that is a named file",
	  "do without it" },
	{ "vhost-", "vm.vhost", CHECK_WARN, false,
	  "it is opened again, and what is at its other end has to be there by then", NULL },
};

static void check_kind(struct check_vm *c, const char *path, const char *type)
{
	bool hotplugged = false;
	int err;

	for (size_t n = 0; n < ARRAY_SIZE(kinds); n++) {
		const struct kind *kind = &kinds[n];

		if (starts(type, kind->type) && (!kind->devices || c->devices))
			add(c, kind->state, kind->id, kind->fix, "%s (%s): %s", path, type,
			    kind->why);
	}
	err = get_bool(c, path, "hotplugged", &hotplugged);
	if (err == -EPROTO)
		add(c, CHECK_WARN, "vm.hotplug", NULL,
		    "%s: whether it was plugged in cannot be told: %s", path,
		    qmp_error(c->vm->qmp));
	else if (!err && hotplugged)
		add(c, CHECK_BLOCKED, "vm.hotplug", "unplug it",
		    "%s (%s) was plugged in, a QEMU that is started like this one does not have it",
		    path, type);
}

static void add_bdf(struct check_vm *c, const char *path, char *bdf)
{
	/* Too many for any bus that QEMU has. */
	if (bdf && *bdf && c->nr_bdfs < BDFS_MAX) {
		c->bdfs[c->nr_bdfs++] = bdf;
		return;
	}
	if (!c->broken)
		add(c, CHECK_WARN, "vm.vfio", NULL, "%s: which device it is cannot be told", path);
	free(bdf);
}

/* "host" is its address; with "fd" it has only the other one, a path whose end it is. */
static void check_vfio(struct check_vm *c, const char *path, const char *type)
{
	char *bdf, *iommufd, *slash;
	int err;

	c->devices++;
	if (!starts(type, "vfio-pci")) {
		add(c, CHECK_BLOCKED, "vm.vfio", "do not pass it through",
		    "%s (%s) is no PCI device", path, type);
		return;
	}
	iommufd = get_string(c, path, "iommufd", &err);
	if (err == -EPROTO || (iommufd && !*iommufd))
		add(c, CHECK_BLOCKED, "vm.vfio-group", "-object iommufd,id=iommufd0 and "
		    "-device vfio-pci,iommufd=iommufd0",
		    "%s (%s): the file was opened through a group", path, type);
	else if (iommufd)
		add(c, CHECK_OK, "vm.vfio-group", NULL, "%s has a file of iommufd", path);
	free(iommufd);
	bdf = get_string(c, path, "host", &err);
	if (bdf && !*bdf) {
		free(bdf);
		bdf = get_string(c, path, "sysfsdev", &err);
		slash = bdf ? strrchr(bdf, '/') : NULL;
		if (slash)
			memmove(bdf, slash + 1, strlen(slash));
	}
	add_bdf(c, path, bdf);
}

static int add_device(struct check_vm *c, const char *parent, const char *name, char *type)
{
	struct device device = { .type = type };
	int err = grow(&c->tree, c->nr_tree, sizeof(*c->tree));

	if (err || asprintf(&device.path, "%s/%s", parent, name) < 0) {
		free(type);
		return -ENOMEM;
	}
	c->tree[c->nr_tree++] = device;
	return 0;
}

static void read_tree(struct check_vm *c)
{
	static const char * const parents[] = { "/machine/peripheral", "/machine/peripheral-anon" };

	c->tree_known = true;
	for (size_t n = 0; n < ARRAY_SIZE(parents); n++) {
		struct json_object *list;

		if (ask_for(c, "vm.device-tree", "qom-list", path_args(parents[n], NULL),
			    json_type_array, &list)) {
			c->tree_known = false;
			continue;
		}
		for_each_object(list, entry) {
			const char *name = qmp_string(entry, "name", "");
			char *type = child_type(list, name);

			if (type && note(c, add_device(c, parents[n], name, type)))
				c->tree_known = false;
		}
		json_object_put(list);
	}
	for (size_t n = 0; n < c->nr_tree; n++)
		if (starts(c->tree[n].type, "vfio-"))
			check_vfio(c, c->tree[n].path, c->tree[n].type);
}

static void check_kinds(struct check_vm *c)
{
	size_t before = json_object_array_length(c->checks->vms);

	for (size_t n = 0; n < c->nr_tree; n++)
		check_kind(c, c->tree[n].path, c->tree[n].type);
	if (!c->broken && c->tree_known && json_object_array_length(c->checks->vms) == before)
		add(c, CHECK_OK, "vm.device-tree", NULL, "it has no device that stands against it");
}

/* ---- What QEMU opens again ------------------------------------------------------------------- */

static void check_drives(struct check_vm *c)
{
	static const char id[] = "vm.block";
	struct json_object *ret, *inserted;
	bool said = false;

	if (ask_for(c, id, "query-block", NULL, json_type_array, &ret))
		return;
	for_each_object(ret, drive) {
		const char *name = qmp_string(drive, "device", "");
		const char *file;

		if (!json_object_object_get_ex(drive, "inserted", &inserted))
			continue;
		if (!*name)
			name = qmp_string(drive, "qdev", "?");
		file = qmp_string(inserted, "file", "?");
		if (starts(file, "null-co:") || starts(file, "null-aio:"))
			continue;
		said = true;
		add(c, CHECK_WARN, id, "have it there before vmferry restore",
		    "%s: %s is opened again, by the same name", name, file);
	}
	json_object_put(ret);
	if (!said)
		add(c, CHECK_OK, id, NULL, "it opens no images again");
}

/* A line is "NAME: index=0,type=tap,...", with a "\" before it if it belongs to a card. */
static void check_network_line(struct check_vm *c, char *line, bool *said)
{
	char *type = strstr(line, "type="), *colon = strchr(line, ':');

	if (!type || !colon)
		return;
	type += 5;
	type[strcspn(type, ",\r ")] = 0;
	*colon = 0;
	line += strspn(line, " \\");
	if (!strcmp(type, "nic") || !strcmp(type, "hubport") || !strcmp(type, "none"))
		return;
	*said = true;
	if (!strcmp(type, "user"))
		add(c, CHECK_WARN, "vm.network", NULL, "%s (user): its connections are lost", line);
	else
		add(c, CHECK_WARN, "vm.network",
		    "have the host's network there before vmferry restore",
		    "%s (%s) is opened again", line, type);
}

static void check_network(struct check_vm *c)
{
	static const char id[] = "vm.network";
	struct json_object *args = json_object_new_object(), *ret;
	char *text, *save;
	bool said = false;

	json_object_object_add(args, "command-line", json_object_new_string("info network"));
	if (ask_for(c, id, "human-monitor-command", args, json_type_string, &ret))
		return;
	text = strdup(json_object_get_string(ret));
	json_object_put(ret);
	for (char *line = text ? strtok_r(text, "\n", &save) : NULL; line;
	     line = strtok_r(NULL, "\n", &save))
		check_network_line(c, line, &said);
	free(text);
	if (!said)
		add(c, CHECK_OK, id, NULL, "it has no network");
}

static void check_chardevs(struct check_vm *c)
{
	static const char id[] = "vm.chardev";
	struct json_object *ret;
	bool said = false;

	if (ask_for(c, id, "query-chardev", NULL, json_type_array, &ret))
		return;
	for_each_object(ret, chardev) {
		const char *file = qmp_string(chardev, "filename", "");

		if (!starts(file, "pty:"))
			continue;
		said = true;
		add(c, CHECK_WARN, id, NULL, "%s (%s) gets another name",
		    qmp_string(chardev, "label", "?"), file);
	}
	json_object_put(ret);
	if (!said)
		add(c, CHECK_OK, id, NULL, "its character devices can be opened again");
}

/* ---- All of it ------------------------------------------------------------------------------- */

static int connect_vm(struct check_vm *c)
{
	static const char id[] = "vm.monitor";
	struct vm *vm = c->vm;
	struct keep *keep;
	int err;

	err = vm_try_lock(vm);
	if (err) {
		add(c, CHECK_BLOCKED, "vm.lock", err == -EBUSY ? "wait until it is done" : NULL,
		    err == -EBUSY ? "another vmferry is at work on it" : "it cannot be locked: %s",
		    strerror(-err));
		return err;
	}
	err = capture_keeper(vm, &keep);
	if (err != -ENOENT) {
		if (!err)
			keep_free(keep);
		add(c, CHECK_BLOCKED, "vm.saved", "vmferry abort, or vmferry restore",
		    err ? "its keeper cannot be reached: %s" : "it is saved already, or was to be",
		    strerror(-err));
		return -EEXIST;
	}
	err = qmp_connect(vm->qmp_path, -1, VM_QMP_TIMEOUT_MS, &vm->qmp);
	if (err) {
		add(c, CHECK_BLOCKED, id,
		    err == -ETIMEDOUT ? "give vmferry a monitor of its own" : NULL,
		    err == -ETIMEDOUT ?
		    "%s does not answer, is somebody else connected?" : "%s: %s", vm->qmp_path,
		    strerror(-err));
		return err;
	}
	vm->pid = qmp_pid(vm->qmp);
	add(c, CHECK_OK, id, NULL, "%s answers", vm->qmp_path);
	return 0;
}

void check_vm(struct checks *checks, struct vm *vm)
{
	struct check_vm c = { .checks = checks, .vm = vm };

	if (connect_vm(&c))
		return;
	read_tree(&c);
	checks->devices |= c.devices;
	c.argv = read_argv(&c);
	check_argv(&c);
	check_version(&c);
	check_session(&c);
	check_state(&c);
	check_blocked(&c);
	check_memory(&c);
	check_accel(&c);
	check_kinds(&c);
	check_drives(&c);
	check_network(&c);
	check_chardevs(&c);
	if (c.broken)
		add(&c, CHECK_BLOCKED, "vm.monitor", NULL, "QEMU cannot be asked any more: %s",
		    strerror(-c.broken));
	for (size_t n = 0; n < c.nr_bdfs; n++)
		check_device(checks, c.bdfs[n], (const char *const *)c.bdfs, c.nr_bdfs);
	while (c.nr_bdfs)
		free(c.bdfs[--c.nr_bdfs]);
	while (c.nr_tree--) {
		free(c.tree[c.nr_tree].path);
		free(c.tree[c.nr_tree].type);
	}
	free(c.tree);
	free(c.argv);
}
