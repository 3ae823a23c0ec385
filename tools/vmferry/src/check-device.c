// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What is looked at of a device that is passed through. Most of it the kernel refuses to
 * preserve, and these are its words.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "util.h"

#define DEVICES "sys/bus/pci/devices"

#define CLASS_DISPLAY 0x03
#define CLASS_VGA 0x0300
#define CLASS_USB 0x0c03
#define VENDOR_INTEL 0x8086

/* Configuration space: where things are, in bytes */
#define HEADER_TYPE 0x0e
#define HEADER_TYPE_MASK 0x7f
#define CAPABILITIES 0x34
#define CAP_PCIE 0x10
#define INTERRUPT_PIN 0x3d
#define CAP_MSIX 0x11
#define TYPE_PCIE_TO_PCI 7
#define TYPE_PCI_TO_PCIE 8
#define EXTENDED 0x100
#define EXT_AER 0x0001
#define EXT_ATS 0x000f
#define EXT_PRI 0x0013
#define EXT_PASID 0x001b
/* What everybody may read of it. */
#define UNPRIVILEGED_SIZE 64

#define add(checks, ...) check_add(checks, (checks)->vms, __VA_ARGS__)

/* ---- Configuration space -------------------------------------------------------------------- */

struct config {
	uint8_t *data;
	size_t size;
};

static int config_read(const struct look *look, const char *bdf, struct config *config)
{
	CLEANUP_CLOSE int fd = look_file(look, O_RDONLY, DEVICES "/%s/config", bdf);
	ssize_t got;

	*config = (struct config){};
	if (fd < 0)
		return fd;
	config->data = calloc(1, 4096);
	if (!config->data)
		return -ENOMEM;
	while ((got = read(fd, config->data + config->size, 4096 - config->size)) > 0)
		config->size += got;
	if (!got && config->size > UNPRIVILEGED_SIZE)
		return 0;
	free(config->data);
	config->data = NULL;
	return got < 0 ? -errno : -EACCES;
}

static uint32_t config_get(const struct config *config, size_t at, size_t size)
{
	uint32_t value = 0;

	for (size_t n = size; n--; )
		value = value << 8 | (at + n < config->size ? config->data[at + n] : 0);
	return value;
}

/* Where a capability is, or 0. The list may be a loop. */
static size_t config_find(const struct config *config, uint8_t id)
{
	size_t at = config_get(config, CAPABILITIES, 1) & ~3u;

	for (int n = 0; at >= 0x40 && n < 48; n++) {
		if (config_get(config, at, 1) == id)
			return at;
		at = config_get(config, at + 1, 1) & ~3u;
	}
	return 0;
}

static size_t config_find_extended(const struct config *config, uint16_t id)
{
	size_t at = EXTENDED;

	for (int n = 0; at >= EXTENDED && at + 4 <= config->size && n < 960; n++) {
		uint32_t header = config_get(config, at, 4);

		if ((header & 0xffff) == id)
			return at;
		at = header >> 20 & ~3u;
	}
	return 0;
}

int check_device_interrupts(const struct checks *checks, const char *bdf)
{
	struct config config;
	int err = config_read(&checks->look, bdf, &config);

	if (!err)
		err = config_find(&config, CAP_MSIX) || config_get(&config, INTERRUPT_PIN, 1);
	free(config.data);
	return err;
}

static void check_config(struct checks *checks, const char *bdf)
{
	static const char fix[] = "run it as root";
	struct config config;
	size_t ats, pri, pasid, aer;
	int err = config_read(&checks->look, bdf, &config);

	if (err) {
		static const char * const ids[] = { "device.kind", "device.ats", "device.aer" };

		for (size_t n = 0; n < ARRAY_SIZE(ids); n++)
			add(checks, CHECK_WARN, ids[n], bdf, err == -EACCES ? fix : NULL,
			    "its configuration space cannot be read: %s", strerror(-err));
		return;
	}
	if (config_get(&config, HEADER_TYPE, 1) & HEADER_TYPE_MASK)
		add(checks, CHECK_BLOCKED, "device.kind", bdf, "do not pass it through",
		    "it is not an ordinary function");
	ats = config_find_extended(&config, EXT_ATS);
	pri = config_find_extended(&config, EXT_PRI);
	pasid = config_find_extended(&config, EXT_PASID);
	aer = config_find_extended(&config, EXT_AER);
	if (ats && config_get(&config, ats + 6, 2) & 0x8000)
		add(checks, CHECK_BLOCKED, "device.ats", bdf, "boot both kernels with pci=noats",
		    "address translation services (ATS) are in use");
	else if (pri && config_get(&config, pri + 4, 2) & 1)
		add(checks, CHECK_BLOCKED, "device.ats", bdf, "boot both kernels with pci=noats",
		    "page requests (PRI) are in use");
	else if (pasid && config_get(&config, pasid + 6, 2) & 1)
		add(checks, CHECK_WARN, "device.ats", bdf,
		    "both kernels with the same IOMMU options",
		    "PASIDs are enabled: if one is attached, it cannot be preserved");
	else
		add(checks, CHECK_OK, "device.ats", bdf, NULL, "no ATS, PRI or PASID is enabled");
	if (aer && config_get(&config, aer + 4, 4))
		add(checks, CHECK_WARN, "device.aer", bdf, "see the kernel's log",
		    "it has uncorrectable errors pending: status %08x",
		    config_get(&config, aer + 4, 4));
	else
		add(checks, CHECK_OK, "device.aer", bdf, NULL, aer ? "no errors are pending" :
		    "it reports no errors");
	free(config.data);
}

/* ---- What sysfs says ------------------------------------------------------------------------ */

static void check_driver(struct checks *checks, const char *bdf)
{
	char *driver = look_link_name(&checks->look, DEVICES "/%s/driver", bdf);

	if (!driver && errno != ENOENT)
		add(checks, CHECK_WARN, "device.driver", bdf, NULL,
		    "its driver cannot be told: %s", strerror(errno));
	else if (driver && !strcmp(driver, "vfio-pci"))
		add(checks, CHECK_OK, "device.driver", bdf, NULL, "vfio-pci is bound to it");
	else
		add(checks, CHECK_BLOCKED, "device.driver", bdf, "bind vfio-pci to it",
		    "%s is bound to it, not vfio-pci", driver ? driver : "no driver");
	free(driver);
}

static void check_cdev(struct checks *checks, const char *bdf)
{
	static const char id[] = "device.cdev", fix[] = "a kernel with CONFIG_VFIO_DEVICE_CDEV";
	char **names = look_names(&checks->look, DEVICES "/%s/vfio-dev", bdf);

	if (!names || !*names)
		add(checks, CHECK_BLOCKED, id, bdf, fix, "it has no file of its own (vfio-dev)");
	else if (!look_exists(&checks->look, "dev/vfio/devices/%s", *names))
		add(checks, CHECK_BLOCKED, id, bdf, fix, "there is no /dev/vfio/devices/%s",
		    *names);
	else
		add(checks, CHECK_OK, id, bdf, NULL, "its file is /dev/vfio/devices/%s", *names);
	free(names);
}

static void check_state(struct checks *checks, const char *bdf)
{
	static const char id[] = "device.liveupdate";
	char *state = look_read(&checks->look, NULL, DEVICES "/%s/liveupdate", bdf);

	if (!state && errno == ENOENT)
		add(checks, CHECK_BLOCKED, id, bdf, "a kernel with CONFIG_PCI_LIVEUPDATE",
		    "it has no live update state: the kernel cannot preserve it");
	else if (!state)
		add(checks, CHECK_WARN, id, bdf, NULL, "its live update state cannot be told: %s",
		    strerror(errno));
	else if (!strcmp(state, "none"))
		add(checks, CHECK_OK, id, bdf, NULL, "it takes part in no live update");
	else if (!strcmp(state, "incoming") || !strcmp(state, "retrieved"))
		add(checks, CHECK_BLOCKED, id, bdf, "finish the last live update",
		    "%s: the previous live update is not finished", state);
	else if (!strcmp(state, "lost"))
		add(checks, CHECK_BLOCKED, id, bdf, "reset it, bind vfio-pci with driver_override",
		    "lost: the last live update did not find it as it was");
	else
		add(checks, CHECK_BLOCKED, id, bdf, "close the session that it is in",
		    "%s: it is preserved already", state);
	free(state);
}

static void check_power(struct checks *checks, const char *bdf, const char *subject,
			const char *what)
{
	char *state = look_read(&checks->look, NULL, DEVICES "/%s/power_state", bdf);

	if (!state || !strcmp(state, "unknown"))
		add(checks, CHECK_WARN, "device.power", subject, NULL,
		    "%s: its power state cannot be told: %s", bdf,
		    state ? state : strerror(errno));
	else if (strcmp(state, "D0"))
		add(checks, CHECK_BLOCKED, "device.power", subject, "wait until it is in D0",
		    "%s is not in D0: %s is in %s", what, bdf, state);
	else if (bdf == subject)
		add(checks, CHECK_OK, "device.power", subject, NULL, "it is in D0");
	free(state);
}

/* "0x0c0330" and the like. -1 if it cannot be read. */
static long read_number(struct checks *checks, const char *bdf, const char *file, int base)
{
	char *text = look_read(&checks->look, NULL, DEVICES "/%s/%s", bdf, file), *end;
	long value = text ? strtol(text, &end, base) : -1;

	if (text && end == text)
		value = -1;
	free(text);
	return value;
}

static void check_kind(struct checks *checks, const char *bdf)
{
	static const char id[] = "device.kind", fix[] = "do not pass it through";
	long class = read_number(checks, bdf, "class", 16);
	long vendor = read_number(checks, bdf, "vendor", 16);
	long vfs = read_number(checks, bdf, "sriov_numvfs", 10);

	if (class < 0 || vendor < 0)
		add(checks, CHECK_WARN, id, bdf, NULL, "what it is cannot be told");
	else if (class >> 8 == CLASS_VGA ||
		 (vendor == VENDOR_INTEL && class >> 16 == CLASS_DISPLAY))
		add(checks, CHECK_BLOCKED, id, bdf, fix, "it is a VGA or Intel display controller");
	else if (class >> 8 == CLASS_USB)
		add(checks, CHECK_BLOCKED, id, bdf, fix, "it is a USB controller");
	else
		add(checks, CHECK_OK, id, bdf, NULL, "it is of no class that is refused");
	if (look_exists(&checks->look, DEVICES "/%s/physfn", bdf))
		add(checks, CHECK_BLOCKED, "device.sriov", bdf, fix, "it is a virtual function");
	else if (vfs > 0)
		add(checks, CHECK_BLOCKED, "device.sriov", bdf, "echo 0 > sriov_numvfs",
		    "it has virtual functions enabled: %ld", vfs);
	else
		add(checks, CHECK_OK, "device.sriov", bdf, NULL,
		    "it has no virtual functions enabled");
}

/* ---- What is around it ---------------------------------------------------------------------- */

static bool is_among(const char *bdf, const char *const *bdfs, size_t nr)
{
	for (size_t n = 0; n < nr; n++)
		if (!strcmp(bdf, bdfs[n]))
			return true;
	return false;
}

/* The functions of its slot are reset with it; virtual ones have no slot. */
static void check_slot(struct checks *checks, const char *bdf, const char *const *bdfs, size_t nr)
{
	static const char id[] = "device.slot";
	char **names = look_names(&checks->look, DEVICES);
	size_t slot = strcspn(bdf, ".") + 1;
	bool warned = false;

	for (char **name = names; name && *name; name++) {
		if (strncmp(*name, bdf, slot) || is_among(*name, bdfs, nr) ||
		    look_exists(&checks->look, DEVICES "/%s/physfn", *name))
			continue;
		warned = true;
		add(checks, CHECK_WARN, id, bdf, "pass all functions of a slot through together",
		    "%s of the same slot is not passed through to the same virtual machine: both "
		    "may be reset together", *name);
	}
	if (!names)
		add(checks, CHECK_WARN, id, bdf, NULL,
		    "which functions its slot has cannot be told: %s", strerror(errno));
	else if (!warned)
		add(checks, CHECK_OK, id, bdf, NULL, "its slot has no functions of others");
	free(names);
}

/* Is a word among those of a line? */
static bool has_word(const char *line, const char *word)
{
	size_t len = strlen(word);

	for (const char *pos = line; (pos = strstr(pos, word)); pos += len)
		if ((pos == line || pos[-1] == ' ') && (!pos[len] || pos[len] == ' '))
			return true;
	return false;
}

/*
 * A new QEMU resets, with its bus, what has no reset of its own or only that by its power
 * state, and turns it off before.
 */
static void check_reset(struct checks *checks, const char *bdf)
{
	static const char id[] = "device.reset", fix[] = "do not pass it through";
	char *methods = look_read(&checks->look, NULL, DEVICES "/%s/reset_method", bdf);

	if (!methods && errno != ENOENT)
		add(checks, CHECK_WARN, id, bdf, NULL, "how it can be reset cannot be told: %s",
		    strerror(errno));
	else if (!methods || !*methods)
		add(checks, CHECK_BLOCKED, id, bdf, fix, "it cannot be reset by itself, and a new "
		    "QEMU would turn it off");
	else if (has_word(methods, "pm") && !has_word(methods, "flr") &&
		 !has_word(methods, "af_flr"))
		add(checks, CHECK_BLOCKED, id, bdf, fix, "it has no function level reset, and a "
		    "new QEMU would turn it off");
	else
		add(checks, CHECK_OK, id, bdf, NULL, "a new QEMU leaves it alone");
	free(methods);
}

/* Of a line "0x... 0x... direct", the last word begins so for both kinds of RMRR. */
static bool has_direct_region(const char *regions)
{
	return strstr(regions, " direct") != NULL;
}

static void check_group(struct checks *checks, const char *bdf)
{
	static const char id[] = "device.iommu-group";
	char **names = look_names(&checks->look, DEVICES "/%s/iommu_group/devices", bdf);
	char *iommu, *regions;
	size_t nr = 0;

	if (!names) {
		add(checks, CHECK_BLOCKED, id, bdf, "boot with intel_iommu=on",
		    "no IOMMU translates for it");
		return;
	}
	while (names[nr])
		nr++;
	free(names);
	if (nr > 1)
		add(checks, CHECK_BLOCKED, id, bdf, "put it below a port with ACS",
		    "its IOMMU group has %zu devices", nr);
	else
		add(checks, CHECK_OK, id, bdf, NULL, "it is alone in its IOMMU group");

	regions = look_read(&checks->look, NULL, DEVICES "/%s/iommu_group/reserved_regions", bdf);
	if (!regions)
		add(checks, CHECK_WARN, "device.rmrr", bdf, NULL,
		    "whether firmware wants memory mapped for it cannot be told: %s",
		    strerror(errno));
	else if (has_direct_region(regions))
		add(checks, CHECK_BLOCKED, "device.rmrr", bdf, "turn that off in the firmware",
		    "firmware wants memory mapped for it (RMRR)");
	else
		add(checks, CHECK_OK, "device.rmrr", bdf, NULL, "firmware wants no memory mapped");
	free(regions);

	iommu = look_link_name(&checks->look, DEVICES "/%s/iommu", bdf);
	if (!iommu)
		add(checks, CHECK_WARN, "device.iommu", bdf, NULL,
		    "which IOMMU translates for it cannot be told: %s", strerror(errno));
	else if (strncmp(iommu, "dmar", 4))
		add(checks, CHECK_BLOCKED, "device.iommu", bdf, "only Intel's can",
		    "%s: the driver of its IOMMU cannot hand over the translation", iommu);
	else
		add(checks, CHECK_OK, "device.iommu", bdf, NULL, "%s translates for it", iommu);
	free(iommu);
}

/* "0000:01:00.0", unlike "pci0000:00" */
static bool is_bdf(const char *name)
{
	unsigned int domain, bus, device, function;
	int len = 0;

	return sscanf(name, "%x:%x:%x.%x%n", &domain, &bus, &device, &function, &len) == 4 &&
	       !name[len];
}

/* Of PCI Express, and on both sides of it. */
static bool is_port(const struct config *config)
{
	size_t at = config_find(config, CAP_PCIE);
	uint32_t type = config_get(config, at + 2, 2) >> 4 & 0xf;

	return at && type != TYPE_PCIE_TO_PCI && type != TYPE_PCI_TO_PCIE;
}

static void check_bridge(struct checks *checks, const char *bdf, const char *bridge)
{
	static const char id[] = "device.bridges";
	char *driver = look_link_name(&checks->look, DEVICES "/%s/driver", bridge);
	struct config config;
	int err;

	if (driver && strcmp(driver, "pcieport"))
		add(checks, CHECK_WARN, id, bdf, NULL,
		    "%s above it has the driver %s: whether it goes down at shutdown cannot be "
		    "told", bridge, driver);
	free(driver);
	check_power(checks, bridge, bdf, "a bridge above it");
	err = config_read(&checks->look, bridge, &config);
	if (err)
		add(checks, CHECK_WARN, id, bdf, err == -EACCES ? "run it as root" : NULL,
		    "%s above it cannot be looked at: %s", bridge, strerror(-err));
	else if (!is_port(&config))
		add(checks, CHECK_BLOCKED, id, bdf, "do not pass it through",
		    "a bridge above it is not a PCIe port: %s", bridge);
	free(config.data);
}

/* A link is "../../../devices/pci0000:00/0000:00:1c.0/0000:01:00.0". */
static void check_bridges(struct checks *checks, const char *bdf)
{
	static const char id[] = "device.bridges";
	char *link = look_link(&checks->look, DEVICES "/%s", bdf), *save;
	size_t before = json_object_array_length(checks->vms);
	bool below = false;

	if (!link) {
		add(checks, CHECK_WARN, id, bdf, NULL, "what is above it cannot be told: %s",
		    strerror(errno));
		return;
	}
	for (char *part = strtok_r(link, "/", &save); part; part = strtok_r(NULL, "/", &save)) {
		if (below && !strncmp(part, "pci", 3))
			add(checks, CHECK_BLOCKED, id, bdf, "do not pass it through",
			    "its host controller goes down at shutdown");
		if (!is_bdf(part) || !strcmp(part, bdf))
			continue;
		below = true;
		check_bridge(checks, bdf, part);
	}
	if (json_object_array_length(checks->vms) == before)
		add(checks, CHECK_OK, id, bdf, NULL, below ? "all bridges above it are PCIe ports" :
		    "there is no bridge above it");
	free(link);
}

void check_device(struct checks *checks, const char *bdf, const char *const *bdfs, size_t nr)
{
	struct stat st;
	int err = look_stat(&checks->look, &st, DEVICES "/%s", bdf);

	if (err) {
		add(checks, CHECK_WARN, "device.driver", bdf, NULL,
		    "nothing about it can be told: /" DEVICES "/%s: %s", bdf, strerror(-err));
		return;
	}
	check_driver(checks, bdf);
	check_cdev(checks, bdf);
	check_state(checks, bdf);
	check_kind(checks, bdf);
	check_config(checks, bdf);
	check_power(checks, bdf, bdf, "it");
	check_bridges(checks, bdf);
	check_slot(checks, bdf, bdfs, nr);
	check_reset(checks, bdf);
	check_group(checks, bdf);
}
