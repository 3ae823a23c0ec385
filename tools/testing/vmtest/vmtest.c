// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmtest: helpers for guest test programs. See vmtest.h.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <linux/kexec.h>
#include <linux/pci_regs.h>
#include <linux/reboot.h>

#include "vmtest.h"

#define PCI_DEVICES	"/sys/bus/pci/devices/"
#define HOST_BRIDGE	"0000:00:00.0"

void vmt_die(const char *fmt, ...)
{
	int err = errno;
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "vmtest: ");
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, ": %s\n", strerror(err));
	va_end(ap);
	exit(1);
}

int vmt_read_file(const char *path, char *buf, size_t len)
{
	size_t got = 0;
	ssize_t n;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while (got < len - 1) {
		n = read(fd, buf + got, len - 1 - got);
		if (n < 0) {
			n = -errno;
			close(fd);
			return n;
		}
		if (!n)
			break;
		got += n;
	}
	close(fd);
	buf[got] = 0;
	return got;
}

int vmt_write_file(const char *path, const char *text)
{
	ssize_t n;
	int fd;

	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	/* An empty string still has to reach the attribute: driver_override takes "\n" for none. */
	n = *text ? write(fd, text, strlen(text)) : write(fd, "\n", 1);
	if (n < 0)
		n = -errno;
	close(fd);
	return n;
}

static const char *boot_params(void)
{
	static char buf[4096];
	int ret;

	if (!*buf) {
		ret = vmt_read_file("/proc/cmdline", buf, sizeof(buf));
		if (ret < 0) {
			errno = -ret;
			vmt_die("cannot read the kernel command line");
		}
		buf[strcspn(buf, "\n")] = 0;
	}
	return buf;
}

const char *vmt_param(const char *name)
{
	static char *copy;
	char *pos, *tok;
	size_t len = strlen(name);

	/* Not freed: values are handed out. */
	copy = strdup(boot_params());
	for (tok = strtok_r(copy, " ", &pos); tok; tok = strtok_r(NULL, " ", &pos)) {
		if (!strncmp(tok, "vmtest.", 7) && !strncmp(tok + 7, name, len) &&
		    tok[7 + len] == '=')
			return tok + 7 + len + 1;
	}
	return NULL;
}

int vmt_stage(void)
{
	const char *stage = vmt_param("stage");

	return stage ? atoi(stage) : 1;
}

bool vmt_stock(void)
{
	const char *flavour = vmt_param("flavour");

	return flavour && !strcmp(flavour, "stock");
}

void vmt_mark(enum vmt_mark mark)
{
	/* The high byte falls on the read-only interrupt pin and is for the trace only. */
	vmt_cfg_write(HOST_BRIDGE, PCI_INTERRUPT_LINE, 2, mark | vmt_stage() << 8);
}

void vmt_step(const char *fmt, ...)
{
	struct timespec ts;
	char text[512];
	va_list ap;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	printf("# [%4ld.%03ld] stage %d: %s\n", (long)ts.tv_sec, ts.tv_nsec / 1000000,
	       vmt_stage(), text);
	fflush(stdout);
}

void vmt_ask(const char *fmt, ...)
{
	const char *run = vmt_param("run");
	char text[128], answer[256];
	size_t got = 0;
	va_list ap;

	if (!run || !strcmp(run, "shell"))
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	printf("#@ ask %s\n", text);
	fflush(stdout);
	/* The runner is at the other end of stdout, which /init has opened for both ways. */
	while (got < sizeof(answer) - 1) {
		if (read(STDOUT_FILENO, answer + got, 1) != 1)
			vmt_die("no answer to \"%s\"", text);
		if (answer[got] == '\n')
			break;
		got++;
	}
	answer[got] = 0;
	if (strcmp(answer, "ok")) {
		errno = EIO;
		vmt_die("%s: %s", text, answer);
	}
}

void vmt_figure(const char *name, long value)
{
	printf("#@ figure %s %ld\n", name, value);
	fflush(stdout);
}

/* The command line of this boot with the stage counted up. */
static char *next_cmdline(const char *extra)
{
	char *copy = strdup(boot_params()), *pos, *tok, *out;
	size_t size = strlen(copy) + (extra ? strlen(extra) : 0) + 64;

	out = calloc(1, size);
	if (!copy || !out)
		vmt_die("no memory");
	for (tok = strtok_r(copy, " ", &pos); tok; tok = strtok_r(NULL, " ", &pos)) {
		if (!strncmp(tok, "vmtest.stage=", 13))
			continue;
		strcat(strcat(out, tok), " ");
	}
	sprintf(out + strlen(out), "vmtest.stage=%d", vmt_stage() + 1);
	if (extra)
		strcat(strcat(out, " "), extra);
	free(copy);
	return out;
}

int vmt_try_kexec_load(const char *kernel, const char *extra)
{
	int kfd, ifd, ret = 0;
	char *cmd;

	kfd = open(kernel, O_RDONLY | O_CLOEXEC);
	if (kfd < 0)
		vmt_die("cannot open %s", kernel);
	/*
	 * The initramfs of this boot, kept by retain_initrd: any number of
	 * generations without one initramfs inside another.
	 */
	ifd = open("/sys/firmware/initrd", O_RDONLY | O_CLOEXEC);
	if (ifd < 0)
		vmt_die("cannot open /sys/firmware/initrd (needs retain_initrd)");
	cmd = next_cmdline(extra);
	if (syscall(SYS_kexec_file_load, kfd, ifd, strlen(cmd) + 1, cmd, 0) < 0)
		ret = -errno;
	free(cmd);
	close(ifd);
	close(kfd);
	return ret;
}

void vmt_kexec_load(void)
{
	int ret = vmt_try_kexec_load("/boot/bzImage", vmt_param("next"));

	if (ret < 0) {
		errno = -ret;
		vmt_die("kexec_file_load");
	}
}

int vmt_kexec(void)
{
	fflush(NULL);
	/* What is still in the UART's buffer would be lost with this kernel. */
	tcdrain(STDOUT_FILENO);
	tcdrain(STDERR_FILENO);
	vmt_mark(VMT_JUMP);
	syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2,
		LINUX_REBOOT_CMD_KEXEC, NULL);
	return -errno;
}

int vmt_dev_read(const char *bdf, const char *attr, char *buf, size_t len)
{
	char path[512];
	int ret;

	snprintf(path, sizeof(path), PCI_DEVICES "%s/%s", bdf, attr);
	ret = vmt_read_file(path, buf, len);
	if (ret > 0 && buf[ret - 1] == '\n')
		buf[--ret] = 0;
	return ret;
}

int vmt_dev_write(const char *bdf, const char *attr, const char *value)
{
	char path[512];

	snprintf(path, sizeof(path), PCI_DEVICES "%s/%s", bdf, attr);
	return vmt_write_file(path, value);
}

static int cfg_open(const char *bdf, int flags)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), PCI_DEVICES "%s/config", bdf);
	fd = open(path, flags | O_CLOEXEC);
	if (fd < 0)
		vmt_die("cannot open %s", path);
	return fd;
}

uint32_t vmt_cfg_read(const char *bdf, unsigned int off, unsigned int size)
{
	int fd = cfg_open(bdf, O_RDONLY);
	uint32_t val = 0;

	if (pread(fd, &val, size, off) != (ssize_t)size)
		vmt_die("%s: cannot read config space at %#x", bdf, off);
	close(fd);
	return val;
}

void vmt_cfg_write(const char *bdf, unsigned int off, unsigned int size, uint32_t val)
{
	int fd = cfg_open(bdf, O_WRONLY);

	if (pwrite(fd, &val, size, off) != (ssize_t)size)
		vmt_die("%s: cannot write config space at %#x", bdf, off);
	close(fd);
}

unsigned int vmt_cfg_cap(const char *bdf, uint8_t id)
{
	unsigned int pos, loops = 48;

	if (!(vmt_cfg_read(bdf, PCI_STATUS, 2) & PCI_STATUS_CAP_LIST))
		return 0;
	pos = vmt_cfg_read(bdf, PCI_CAPABILITY_LIST, 1) & ~3u;
	while (pos >= 0x40 && loops--) {
		if (vmt_cfg_read(bdf, pos, 1) == id)
			return pos;
		pos = vmt_cfg_read(bdf, pos + 1, 1) & ~3u;
	}
	return 0;
}

static int bdf_filter(const struct dirent *ent)
{
	return ent->d_name[0] != '.';
}

const char *vmt_find(uint16_t vendor, uint16_t device, unsigned int n)
{
	char buf[32], *found = NULL;
	struct dirent **list;
	int i, count;

	count = scandir(PCI_DEVICES, &list, bdf_filter, alphasort);
	if (count < 0)
		vmt_die("cannot list " PCI_DEVICES);
	for (i = 0; i < count; i++) {
		const char *bdf = list[i]->d_name;

		if (found ||
		    vmt_dev_read(bdf, "vendor", buf, sizeof(buf)) < 0 ||
		    strtoul(buf, NULL, 16) != vendor ||
		    vmt_dev_read(bdf, "device", buf, sizeof(buf)) < 0 ||
		    strtoul(buf, NULL, 16) != device || n--) {
			free(list[i]);
			continue;
		}
		found = strdup(bdf);
		free(list[i]);
	}
	free(list);
	return found;
}

static char *link_name(const char *bdf, const char *attr, char *buf, size_t len)
{
	char path[512], target[512];
	ssize_t n;

	snprintf(path, sizeof(path), PCI_DEVICES "%s/%s", bdf, attr);
	n = readlink(path, target, sizeof(target) - 1);
	target[n < 0 ? 0 : n] = 0;
	snprintf(buf, len, "%s", strrchr(target, '/') ? strrchr(target, '/') + 1 : target);
	return buf;
}

char *vmt_driver(const char *bdf, char *buf, size_t len)
{
	return link_name(bdf, "driver", buf, len);
}

int vmt_try_unbind(const char *bdf)
{
	char drv[64];

	if (!*vmt_driver(bdf, drv, sizeof(drv)))
		return -ENODEV;
	return vmt_dev_write(bdf, "driver/unbind", bdf);
}

int vmt_try_bind(const char *bdf, const char *driver)
{
	char path[512];
	int ret;

	ret = vmt_dev_write(bdf, "driver_override", driver);
	if (ret < 0)
		return ret;
	snprintf(path, sizeof(path), "/sys/bus/pci/drivers/%s/bind", driver);
	ret = vmt_write_file(path, bdf);
	return ret < 0 ? ret : 0;
}

void vmt_bind(const char *bdf, const char *driver)
{
	char drv[64];
	int ret;

	if (!strcmp(vmt_driver(bdf, drv, sizeof(drv)), driver))
		return;
	if (*drv)
		vmt_unbind(bdf);
	ret = vmt_try_bind(bdf, driver);
	if (ret < 0) {
		errno = -ret;
		vmt_die("%s: cannot bind to %s", bdf, driver);
	}
}

void vmt_unbind(const char *bdf)
{
	int ret = vmt_try_unbind(bdf);

	if (ret < 0) {
		errno = -ret;
		vmt_die("%s: cannot unbind", bdf);
	}
}

char *vmt_cdev_path(const char *bdf, char *buf, size_t len)
{
	char path[512];
	struct dirent *ent;
	DIR *dir;

	snprintf(path, sizeof(path), PCI_DEVICES "%s/vfio-dev", bdf);
	dir = opendir(path);
	if (!dir)
		vmt_die("%s: no vfio device", bdf);
	*buf = 0;
	while ((ent = readdir(dir)))
		if (!strncmp(ent->d_name, "vfio", 4))
			snprintf(buf, len, "/dev/vfio/devices/%s", ent->d_name);
	closedir(dir);
	return buf;
}

int vmt_modload(const char *name, const char *params)
{
	char path[512];
	int fd, ret = 0;

	snprintf(path, sizeof(path), "/modules/%s.ko", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (syscall(SYS_finit_module, fd, params ? params : "", 0) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

int vmt_modunload(const char *name)
{
	return syscall(SYS_delete_module, name, O_NONBLOCK) < 0 ? -errno : 0;
}

int vmt_modload_vfio_pci(void)
{
	int ret = vmt_modload("irqbypass", NULL);

	/* Where KVM is built in, so is this. */
	if (!ret || ret == -ENOENT)
		ret = vmt_modload("vfio-pci-core", NULL);
	return ret ? ret : vmt_modload("vfio-pci", NULL);
}
