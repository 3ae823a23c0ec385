// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What is looked at of the kernel and the host.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "index.h"
#include "qmp.h"
#include "util.h"
#include "vmferry.h"

#define SUBJECT "host"
/* Who opens /dev/liveupdate for a moment only is in nobody's way. */
#define BUSY_LOOKS 10
#define BUSY_PAUSE_MS 50

#define kernel_add(checks, ...) check_add(checks, (checks)->kernel, __VA_ARGS__)
#define host_add(checks, ...) check_add(checks, (checks)->host, __VA_ARGS__)

/* What only devices that are passed through need. */
static enum check_state for_devices(const struct checks *checks)
{
	return checks->devices ? CHECK_BLOCKED : CHECK_WARN;
}

/* ---- What the kernel has ------------------------------------------------------------------ */

enum symbol {
	SYMBOL_LIVEUPDATE, SYMBOL_MEMFD, SYMBOL_LATE, SYMBOL_VFIO, SYMBOL_VFIO_MODULE, SYMBOL_PCI,
	NR_SYMBOLS,
};

/* Functions of the kernel that are there with an option, and its modules' if they are loaded. */
static const char * const symbols[NR_SYMBOLS] = {
	[SYMBOL_LIVEUPDATE] = "liveupdate_enabled",
	[SYMBOL_MEMFD] = "memfd_luo_preserve",
	[SYMBOL_LATE] = "liveupdate_preserved_data",
	[SYMBOL_VFIO] = "vfio_pci_liveupdate_init",
	[SYMBOL_PCI] = "pci_liveupdate_register_flb",
};

/* A line is "ADDRESS TYPE NAME", and "\t[MODULE]" behind it. -ENODATA: there are none. */
static int read_symbols(const struct look *look, bool *found)
{
	CLEANUP_CLOSE int fd = look_file(look, O_RDONLY, "proc/kallsyms");
	FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
	char *line = NULL;
	size_t size = 0;
	int err = -ENODATA;

	if (!file)
		return fd < 0 ? fd : -errno;
	take_fd(&fd);
	while (getline(&line, &size, file) > 0) {
		char *name = strchr(line, ' '), *end;

		name = name ? strchr(name + 1, ' ') : NULL;
		if (!name)
			continue;
		err = 0;
		name++;
		end = name + strcspn(name, "\t\n");
		for (int n = 0; n < NR_SYMBOLS; n++) {
			if (!symbols[n] || strlen(symbols[n]) != (size_t)(end - name) ||
			    strncmp(name, symbols[n], end - name))
				continue;
			found[n == SYMBOL_VFIO && *end == '\t' ? SYMBOL_VFIO_MODULE : n] = true;
		}
	}
	free(line);
	fclose(file);
	return err;
}

static void check_off(struct checks *checks, int symbols_error)
{
	static const char * const switches[] = { "kho", "liveupdate" };
	static const char fix[] = "boot with kho=on liveupdate=on on the command line";
	char *cmdline = look_read(&checks->look, NULL, "proc/cmdline");
	bool said = false;

	for (size_t n = 0; cmdline && n < ARRAY_SIZE(switches); n++) {
		bool on;
		int err = vmferry_cmdline_bool(cmdline, switches[n], &on);

		if (!err && on)
			continue;
		said = true;
		kernel_add(checks, CHECK_BLOCKED, "kernel.liveupdate", SUBJECT, fix,
			   err == -ENOENT ? "live update is off: the command line has no %s=on" :
			   err ? "live update is off: the command line has %s= without on or off" :
			   "live update is off: the command line has %s=off", switches[n]);
	}
	if (!said)
		kernel_add(checks, CHECK_BLOCKED, "kernel.liveupdate", SUBJECT,
			   "see the kernel's log", symbols_error || !cmdline ?
			   "there is no /dev/liveupdate, why cannot be told" :
			   "there is no /dev/liveupdate, though it is on");
	free(cmdline);
}

static void check_cmdline(struct checks *checks)
{
	static const char * const switches[] = { "kho", "liveupdate" };
	char *cmdline = look_read(&checks->look, NULL, "proc/cmdline");
	bool warned = false;

	if (!cmdline) {
		kernel_add(checks, CHECK_WARN, "kernel.cmdline", SUBJECT, NULL,
			   "/proc/cmdline: %s", strerror(errno));
		return;
	}
	for (size_t n = 0; n < ARRAY_SIZE(switches); n++) {
		bool on = false;

		vmferry_cmdline_bool(cmdline, switches[n], &on);
		if (on)
			continue;
		warned = true;
		kernel_add(checks, CHECK_WARN, "kernel.cmdline", SUBJECT,
			   "give the next kernel its command line with --cmdline",
			   "the command line has no %s=on, the next kernel cannot have the same",
			   switches[n]);
	}
	if (!warned)
		kernel_add(checks, CHECK_OK, "kernel.cmdline", SUBJECT, NULL,
			   "the command line has kho=on liveupdate=on");
	free(cmdline);
}

/* Without a handler in time, PID 1 loses all sessions when it opens the device. */
static void check_handlers(struct checks *checks, const bool *found)
{
	static const char id[] = "kernel.handlers";

	if (found[SYMBOL_VFIO])
		kernel_add(checks, CHECK_OK, id, SUBJECT, NULL,
			   "the handler of vfio-pci is built in");
	else if (found[SYMBOL_VFIO_MODULE] && found[SYMBOL_LATE])
		kernel_add(checks, CHECK_OK, id, SUBJECT, NULL,
			   "the handler of vfio-pci is a module, which may come late");
	else if (found[SYMBOL_VFIO_MODULE])
		kernel_add(checks, for_devices(checks), id, SUBJECT, "build vfio-pci in",
			   "the handler of vfio-pci is a module: whoever opens /dev/liveupdate "
			   "before it is loaded loses all sessions");
	else if (!found[SYMBOL_PCI])
		kernel_add(checks, for_devices(checks), id, SUBJECT,
			   "a kernel with CONFIG_VFIO_PCI_LIVEUPDATE",
			   "there is none for vfio-pci: devices cannot be preserved");
	else
		kernel_add(checks, for_devices(checks), id, SUBJECT, "modprobe vfio-pci",
			   "vfio-pci is not loaded: whether it has one cannot be told");
}

static void check_liveupdate(struct checks *checks)
{
	bool found[NR_SYMBOLS] = {}, is_there = look_exists(&checks->look, "dev/liveupdate");
	int err = read_symbols(&checks->look, found);

	if (!is_there && !err && !found[SYMBOL_LIVEUPDATE]) {
		checks->unsupported = true;
		kernel_add(checks, CHECK_BLOCKED, "kernel.liveupdate", SUBJECT,
			   "a kernel with CONFIG_LIVEUPDATE", "the kernel has no live update");
		return;
	}
	if (is_there) {
		kernel_add(checks, CHECK_OK, "kernel.liveupdate", SUBJECT, NULL,
			   "/dev/liveupdate is there");
		check_cmdline(checks);
	} else {
		check_off(checks, err);
	}
	if (err) {
		kernel_add(checks, CHECK_WARN, "kernel.memfd", SUBJECT, NULL,
			   "whether memory can be preserved cannot be told: /proc/kallsyms: %s",
			   strerror(-err));
		kernel_add(checks, CHECK_WARN, "kernel.handlers", SUBJECT, NULL,
			   "which handlers there are cannot be told: /proc/kallsyms: %s",
			   strerror(-err));
		return;
	}
	if (found[SYMBOL_MEMFD])
		kernel_add(checks, CHECK_OK, "kernel.memfd", SUBJECT, NULL,
			   "memory can be preserved");
	else
		kernel_add(checks, CHECK_BLOCKED, "kernel.memfd", SUBJECT,
			   "a kernel with CONFIG_LIVEUPDATE_MEMFD", "memory cannot be preserved");
	check_handlers(checks, found);
}

/*
 * The question what an address space maps, cut behind what every kernel that knows it looks
 * at. Of one that is not there: ENOENT is the answer of a kernel that understands.
 */
struct get_areas {
	uint32_t size, flags, ioas_id, entry_len, num_areas, reserved;
	uint64_t areas, iova;
};
#define GET_AREAS _IO(';', 0xe0)
#define GET_AREAS_ENTRY 48

static void check_iommufd(struct checks *checks)
{
	CLEANUP_CLOSE int fd = look_file(&checks->look, O_RDWR, "dev/iommu");
	struct get_areas ask = { .size = sizeof(ask), .entry_len = GET_AREAS_ENTRY };
	int err;

	if (fd < 0) {
		bool is_there = fd != -ENOENT && fd != -ENXIO && fd != -ENODEV;

		kernel_add(checks, is_there ? CHECK_WARN : for_devices(checks), "kernel.iommufd",
			   SUBJECT, is_there ? NULL : "a kernel with CONFIG_IOMMUFD",
			   "/dev/iommu: %s%s", strerror(-fd),
			   is_there ? "" : ": devices cannot be preserved");
		kernel_add(checks, is_there ? CHECK_WARN : for_devices(checks), "kernel.ioas-areas",
			   SUBJECT, NULL, "/dev/iommu: %s", strerror(-fd));
		return;
	}
	kernel_add(checks, CHECK_OK, "kernel.iommufd", SUBJECT, NULL, "/dev/iommu is there");
	err = ioctl(fd, GET_AREAS, &ask) ? errno : 0;
	if (err == ENOENT)
		kernel_add(checks, CHECK_OK, "kernel.ioas-areas", SUBJECT, NULL,
			   "iommufd tells what is mapped for a device");
	else if (err == ENOTTY)
		kernel_add(checks, for_devices(checks), "kernel.ioas-areas", SUBJECT,
			   "a kernel with IOMMU_IOAS_GET_AREAS",
			   "iommufd does not tell what is mapped for a device%s", checks->new_qemu ?
			   ", and does not pass on the BARs that QEMU maps from 11.0 on" : "");
	else
		kernel_add(checks, CHECK_WARN, "kernel.ioas-areas", SUBJECT, NULL,
			   "whether iommufd tells what is mapped for a device cannot be told: "
			   "IOMMU_IOAS_GET_AREAS: %s", strerror(err));
}

static void check_vfio(struct checks *checks)
{
	char **names = look_names(&checks->look, "sys/bus/pci/devices");
	bool any = false;

	if (look_exists(&checks->look, "dev/vfio/devices"))
		kernel_add(checks, CHECK_OK, "kernel.vfio-cdev", SUBJECT, NULL,
			   "/dev/vfio/devices is there");
	else
		kernel_add(checks, for_devices(checks), "kernel.vfio-cdev", SUBJECT,
			   "a kernel with CONFIG_VFIO_DEVICE_CDEV, and a device bound to vfio-pci",
			   "there is no /dev/vfio/devices: no device of vfio-pci can be preserved");
	for (char **name = names; name && *name; name++)
		any |= look_exists(&checks->look, "sys/bus/pci/devices/%s/liveupdate", *name);
	if (any)
		kernel_add(checks, CHECK_OK, "kernel.pci-liveupdate", SUBJECT, NULL,
			   "PCI devices have a live update state");
	else if (names && *names)
		kernel_add(checks, for_devices(checks), "kernel.pci-liveupdate", SUBJECT,
			   "a kernel with CONFIG_PCI_LIVEUPDATE",
			   "PCI devices have no live update state: they cannot be preserved");
	else
		kernel_add(checks, for_devices(checks), "kernel.pci-liveupdate", SUBJECT, NULL,
			   "there are no PCI devices: whether they have a live update state cannot "
			   "be told");
	free(names);
}

/* ---- The next kernel ------------------------------------------------------------------------ */

static void check_kexec(struct checks *checks)
{
	static const char id[] = "kernel.kexec";
	int loaded = look_kexec_loaded(&checks->look);
	char *disabled = look_read(&checks->look, NULL, "proc/sys/kernel/kexec_load_disabled");

	if (loaded == -ENOENT && !disabled)
		kernel_add(checks, CHECK_BLOCKED, id, SUBJECT, "a kernel with CONFIG_KEXEC_FILE",
			   "the kernel has no kexec");
	else if (!disabled)
		kernel_add(checks, CHECK_WARN, id, SUBJECT, NULL,
			   "whether a kernel may be loaded cannot be told: "
			   "/proc/sys/kernel/kexec_load_disabled: %s", strerror(errno));
	else if (!strcmp(disabled, "0"))
		kernel_add(checks, CHECK_OK, id, SUBJECT, NULL, "a kernel may be loaded");
	else
		kernel_add(checks, loaded == 1 && !checks->loads ? CHECK_WARN : CHECK_BLOCKED, id,
			   SUBJECT, "reboot, kexec_load_disabled cannot be taken back",
			   loaded == 1 && !checks->loads ?
			   "no other kernel may be loaded: kexec_load_disabled is %s" :
			   "no kernel may be loaded: kexec_load_disabled is %s", disabled);
	free(disabled);

	if (checks->loads)
		return;
	if (loaded < 0)
		host_add(checks, CHECK_WARN, "host.kernel-loaded", SUBJECT, NULL,
			 "whether a kernel is loaded cannot be told: /sys/kernel/kexec_loaded: %s",
			 strerror(-loaded));
	else if (loaded)
		host_add(checks, CHECK_WARN, "host.kernel-loaded", SUBJECT,
			 "vmferry load KERNEL loads it anew",
			 "a kernel is loaded, but whether by vmferry, and as it has to be, cannot "
			 "be told");
	else
		host_add(checks, CHECK_WARN, "host.kernel-loaded", SUBJECT, "vmferry load KERNEL",
			 "no kernel is loaded");
}

/* "none [integrity] confidentiality" */
static void check_lockdown(struct checks *checks)
{
	static const char id[] = "kernel.lockdown";
	char *text = look_read(&checks->look, NULL, "sys/kernel/security/lockdown");
	char *level = text ? strchr(text, '[') : NULL;

	if (!text && errno == ENOENT)
		kernel_add(checks,
			   look_exists(&checks->look, "sys/kernel/security/lsm") ? CHECK_OK :
										     CHECK_WARN,
			   id, SUBJECT, NULL,
			   look_exists(&checks->look, "sys/kernel/security/lsm") ?
			   "the kernel has no lockdown" :
			   "whether only signed kernels can be loaded cannot be told: securityfs "
			   "is not mounted");
	else if (!level)
		kernel_add(checks, CHECK_WARN, id, SUBJECT, NULL,
			   "whether only signed kernels can be loaded cannot be told: "
			   "/sys/kernel/security/lockdown: %s", text ? text : strerror(errno));
	else if (!strncmp(level, "[none]", 6))
		kernel_add(checks, CHECK_OK, id, SUBJECT, NULL, "lockdown: none");
	else
		kernel_add(checks, CHECK_WARN, id, SUBJECT, "take a kernel with a signature",
			   "lockdown: %.*s: only a signed kernel can be loaded",
			   (int)strcspn(level + 1, "]"), level + 1);
	free(text);
}

/* The next kernel, its initial file system and all it needs to boot have to fit in there. */
static void check_scratch(struct checks *checks)
{
	static const char id[] = "kernel.kho-scratch";
	char *text = look_read(&checks->look, NULL, "sys/kernel/debug/kho/out/scratch_len");
	unsigned long long largest = 0;
	unsigned int nr = 0;

	if (!text) {
		kernel_add(checks, CHECK_WARN, id, SUBJECT,
			   "if a kernel cannot be loaded for want of room, boot with kho_scratch=",
			   "how much room there is for the next kernel cannot be told: "
			   "/sys/kernel/debug/kho/out/scratch_len: %s", strerror(errno));
		return;
	}
	for (char *line = text, *end; ; line = end) {
		unsigned long long size = strtoull(line, &end, 0);

		if (end == line)
			break;
		largest = size > largest ? size : largest;
		nr++;
	}
	if (largest)
		kernel_add(checks, CHECK_OK, id, SUBJECT, NULL,
			   "room for the next kernel: %u areas, the largest has %llu MiB", nr,
			   largest >> 20);
	else
		kernel_add(checks, CHECK_BLOCKED, id, SUBJECT, "boot with another kho_scratch=",
			   "there is no room for the next kernel");
	free(text);
}

/* ---- The host ------------------------------------------------------------------------------ */

static void check_busy(struct checks *checks)
{
	static const char id[] = "host.device-busy";
	const struct timespec pause = { .tv_nsec = BUSY_PAUSE_MS * 1000000L };
	struct vmferry_scan_file holder;
	unsigned int unreadable;

	for (int n = 0; checks->scan && vmferry_scan_nr_holders(checks->scan) && n < BUSY_LOOKS;
	     n++) {
		struct vmferry_scan *scan;

		nanosleep(&pause, NULL);
		if (look_scan(&checks->look, &scan))
			break;
		vmferry_scan_free(checks->scan);
		checks->scan = scan;
	}
	if (!checks->scan) {
		host_add(checks, CHECK_WARN, id, SUBJECT, NULL,
			 "who has /dev/liveupdate open cannot be told: /proc: %s",
			 strerror(-checks->scan_error));
		return;
	}
	for (size_t n = 0; !vmferry_scan_get_holder(checks->scan, n, &holder); n++)
		host_add(checks, CHECK_BLOCKED, id, SUBJECT, "end it, or wait until it is done",
			 "%s (process %d) has /dev/liveupdate open", holder.comm, holder.pid);
	if (vmferry_scan_nr_holders(checks->scan))
		return;
	unreadable = vmferry_scan_unreadable(checks->scan);
	if (unreadable)
		host_add(checks, CHECK_WARN, id, SUBJECT, "run it as root",
			 "who has /dev/liveupdate open cannot be told: %u processes cannot be "
			 "looked at", unreadable);
	else
		host_add(checks, CHECK_OK, id, SUBJECT, NULL, "nobody has /dev/liveupdate open");
}

static void check_sessions(struct checks *checks)
{
	static const char id[] = "host.sessions";
	struct vmferry_scan_file session;

	if (!checks->scan) {
		host_add(checks, CHECK_WARN, id, SUBJECT, NULL,
			 "which sessions there are cannot be told: /proc: %s",
			 strerror(-checks->scan_error));
		return;
	}
	for (size_t n = 0; !vmferry_scan_get_session(checks->scan, n, &session); n++)
		host_add(checks, CHECK_WARN, id, SUBJECT, NULL,
			 "%s (process %d) has the session %s, which goes into the next kernel as "
			 "well", session.comm, session.pid,
			 session.name[0] ? session.name : "of a name that is not told");
	if (vmferry_scan_nr_sessions(checks->scan))
		return;
	if (vmferry_scan_unreadable(checks->scan))
		host_add(checks, CHECK_WARN, id, SUBJECT, "run it as root",
			 "which sessions there are cannot be told: %u processes cannot be looked "
			 "at", vmferry_scan_unreadable(checks->scan));
	else
		host_add(checks, CHECK_OK, id, SUBJECT, NULL, "nobody has a session");
}

static void check_unfinished(struct checks *checks)
{
	static const char id[] = "host.unfinished";
	struct index index;
	int err = index_of_parked(checks->dir, &index);

	if (err == -ENOENT) {
		host_add(checks, CHECK_OK, id, SUBJECT, NULL,
			 "no update is under way in the run directory");
		return;
	}
	if (err) {
		host_add(checks, CHECK_WARN, id, SUBJECT, NULL,
			 "whether the last update is finished cannot be told: %s", strerror(-err));
		return;
	}
	for (size_t n = 0; n < index.nr; n++)
		host_add(checks, CHECK_BLOCKED, id, SUBJECT, "vmferry restore, or vmferry finish",
			 "the kernel before has left %s, which is not restored",
			 index.entries[n].name);
	if (!index.nr)
		host_add(checks, CHECK_BLOCKED, id, SUBJECT, "vmferry restore",
			 "the last update is not finished");
	index_free(&index);
}

/* A line of /proc/swaps is "Filename Type Size Used Priority", after one with these words. */
static void check_swap(struct checks *checks)
{
	static const char id[] = "host.swap";
	char *text = look_read(&checks->look, NULL, "proc/swaps"), *line;
	unsigned long long used = 0, kib;
	bool any = false;

	if (!text) {
		/* A kernel without swap has no such file. */
		host_add(checks, errno == ENOENT ? CHECK_OK : CHECK_WARN, id, SUBJECT, NULL,
			 errno == ENOENT ? "there is no swap" :
			 "whether memory is swapped out cannot be told: /proc/swaps: %s",
			 strerror(errno));
		return;
	}
	for (line = strchr(text, '\n'); line; line = strchr(line + 1, '\n')) {
		any = true;
		if (sscanf(line, " %*s %*s %*s %llu", &kib) == 1)
			used += kib;
	}
	if (used)
		host_add(checks, CHECK_WARN, id, SUBJECT, "swapoff -a",
			 "%llu MiB are swapped out: what is a guest's has to come back before it "
			 "can be preserved", (used + 1023) >> 10);
	else
		host_add(checks, CHECK_OK, id, SUBJECT, NULL,
			 any ? "nothing is swapped out" : "there is no swap");
	free(text);
}

/* The smallest limit from a control group up to the root. 0: none, negative: not known. */
static long long cgroup_limit(const struct look *look, const char *mount, const char *file,
			      char *path)
{
	long long limit = 0;
	bool seen = false;

	for (;;) {
		char *text = look_read(look, NULL, "%s%s/%s", mount, path, file), *end, *slash;

		/* The root of the unified hierarchy has none. */
		seen |= text || (!*path && errno == ENOENT);
		if (text) {
			long long value = strtoll(text, &end, 10);

			/* "max", or what stands for no limit in the old hierarchy */
			if (end != text && value < 1LL << 60 && (!limit || value < limit))
				limit = value;
		}
		free(text);
		slash = strrchr(path, '/');
		if (!slash)
			return seen ? limit : -ENOENT;
		*slash = 0;
	}
}

/* Of the two hierarchies, the line that stands for memory: "4:memory:/PATH" or "0::/PATH" */
static long long own_limit(const struct look *look)
{
	char *text = look_read(look, NULL, "proc/self/cgroup"), *line, *save, *path;
	char *unified = NULL, *memory = NULL;
	long long limit = -ENOENT;

	if (!text)
		return -errno;
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		path = strchr(line, ':');
		if (!path)
			continue;
		if (!strncmp(line, "0::", 3))
			unified = line + 3;
		else if (!strncmp(path, ":memory:", 8))
			memory = path + 8;
	}
	path = memory ? memory : unified;
	/* The root is "/", what we put behind it begins with one. */
	if (path && !strcmp(path, "/"))
		*path = 0;
	if (memory)
		limit = cgroup_limit(look, "sys/fs/cgroup/memory", "memory.limit_in_bytes", memory);
	else if (unified && look_exists(look, "sys/fs/cgroup/cgroup.controllers"))
		limit = cgroup_limit(look, "sys/fs/cgroup", "memory.max", unified);
	free(text);
	return limit;
}

static void check_cgroup(struct checks *checks)
{
	static const char id[] = "host.memory-cgroup";
	long long limit = own_limit(&checks->look);

	if (limit < 0)
		host_add(checks, CHECK_WARN, id, SUBJECT, NULL,
			 "the limit of our control group cannot be told: %s", strerror(-limit));
	else if (limit && checks->memory > (uint64_t)limit)
		host_add(checks, CHECK_WARN, id, SUBJECT,
			 "run vmferry restore where there is no such limit, or have the control "
			 "groups of the virtual machines in the next kernel",
			 "our control group may have %lld MiB, the virtual machines have %llu MiB",
			 limit >> 20, (unsigned long long)checks->memory >> 20);
	else if (limit)
		host_add(checks, CHECK_OK, id, SUBJECT, NULL,
			 "our control group may have %lld MiB, the virtual machines have %llu MiB",
			 limit >> 20, (unsigned long long)checks->memory >> 20);
	else
		host_add(checks, CHECK_OK, id, SUBJECT, NULL, "our control group has no limit");
}

/* Its library has the number in its name. 0: not there. */
static int systemd_version(const struct look *look)
{
	static const char * const dirs[] = {
		"usr/lib/systemd", "usr/lib/x86_64-linux-gnu/systemd", "usr/lib64/systemd",
		"lib/systemd",
	};
	int version = 0, found;

	for (size_t n = 0; n < ARRAY_SIZE(dirs) && !version; n++) {
		char **names = look_names(look, "%s", dirs[n]);

		for (char **name = names; name && *name; name++)
			if (sscanf(*name, "libsystemd-shared-%d", &found) == 1 && found > version)
				version = found;
		free(names);
	}
	return version;
}

static void check_systemd(struct checks *checks)
{
	static const char id[] = "host.systemd";
	bool found[NR_SYMBOLS] = {};
	int version, err;

	if (!look_exists(&checks->look, "run/systemd/system")) {
		host_add(checks, CHECK_OK, id, SUBJECT, NULL, "systemd does not run");
		return;
	}
	version = systemd_version(&checks->look);
	err = read_symbols(&checks->look, found);
	if (!version)
		host_add(checks, CHECK_WARN, id, SUBJECT, NULL,
			 "which systemd runs cannot be told; from 261 on it opens /dev/liveupdate "
			 "first");
	else if (version < 261)
		host_add(checks, CHECK_OK, id, SUBJECT, NULL,
			 "systemd %d leaves /dev/liveupdate alone", version);
	else if (!err && (found[SYMBOL_LATE] || found[SYMBOL_VFIO]))
		host_add(checks, CHECK_OK, id, SUBJECT, NULL,
			 "systemd %d opens /dev/liveupdate before modules are loaded, which does "
			 "no harm", version);
	else
		host_add(checks, CHECK_WARN, id, SUBJECT,
			 "have all handlers built into the next kernel",
			 "systemd %d opens /dev/liveupdate before modules are loaded: a handler in "
			 "one is too late then", version);
}

/* What PID 1 does right before it jumps */
static void check_shutdown(struct checks *checks)
{
	static const char id[] = "host.system-shutdown";

	if (!look_exists(&checks->look, "run/systemd/system"))
		host_add(checks, CHECK_OK, id, SUBJECT, NULL, "systemd does not run");
	else if (!look_exists(&checks->look, "usr/lib/systemd/system-shutdown/vmferry"))
		host_add(checks, CHECK_OK, id, SUBJECT, NULL,
			 "vmferry kexec takes along what is saved; systemctl kexec does not, as "
			 "vmferry is not in /usr/lib/systemd/system-shutdown");
	else if (look_exists(&checks->look, "run/initramfs/shutdown"))
		host_add(checks, CHECK_WARN, id, SUBJECT, "vmferry kexec, or no initramfs for the shutdown",
			 "systemctl kexec leads through /run/initramfs/shutdown, which ends what "
			 "has the virtual machines");
	else
		host_add(checks, CHECK_OK, id, SUBJECT, NULL,
			 "systemctl kexec takes along what runs in units that it leaves running");
}

void check_host(struct checks *checks)
{
	check_liveupdate(checks);
	check_iommufd(checks);
	check_vfio(checks);
	check_kexec(checks);
	check_lockdown(checks);
	check_scratch(checks);
	check_busy(checks);
	check_sessions(checks);
	check_unfinished(checks);
	check_swap(checks);
	check_cgroup(checks);
	check_systemd(checks);
	check_shutdown(checks);
}
