// SPDX-License-Identifier: GPL-2.0-only
/*
 * /init of the VM test bench: sets up the file systems, tells the runner which
 * stage has booted and where the PCI capabilities are, runs the program named by
 * vmtest.run= on the kernel command line, reports its exit status and powers off.
 *
 * With vmtest.pid1=, that program takes its place once the runner knows what has booted, and
 * is to start it a second time, as any process, for the rest.
 *
 * ttyS0 is the console. ttyS1 is the channel to the runner: KTAP of the test
 * program, and lines of our own that begin with "#@ ".
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <linux/pci_regs.h>

#include "kselftest.h"
#include "vmtest.h"

#define CHANNEL	"/dev/ttyS1"

static void try_mount(const char *type, const char *dir)
{
	mkdir(dir, 0755);
	/* debugfs, tracefs and cgroup2 depend on the kernel's configuration. */
	if (mount(type, dir, type, 0, NULL) && errno != ENODEV && errno != EBUSY &&
	    errno != ENOENT)
		fprintf(stderr, "init: cannot mount %s: %s\n", dir, strerror(errno));
}

/* Raw, so that no byte of a test's output is changed on its way. */
static int open_channel(void)
{
	struct termios tio;
	int fd;

	fd = open(CHANNEL, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	if (!tcgetattr(fd, &tio)) {
		cfmakeraw(&tio);
		cfsetspeed(&tio, B115200);
		tcsetattr(fd, TCSANOW, &tio);
	}
	return fd;
}

/*
 * The runner judges raw config writes and cannot know where the capabilities
 * are that they fall into.
 */
static void print_caps(void)
{
	static const struct {
		const char *name;
		uint8_t id;
	} caps[] = {
		{ "pm", PCI_CAP_ID_PM },
		{ "exp", PCI_CAP_ID_EXP },
		{ "af", PCI_CAP_ID_AF },
		{ "msi", PCI_CAP_ID_MSI },
		{ "msix", PCI_CAP_ID_MSIX },
	};
	struct dirent *ent;
	unsigned int pos;
	size_t i;
	DIR *dir;

	dir = opendir("/sys/bus/pci/devices");
	if (!dir)
		return;
	while ((ent = readdir(dir))) {
		const char *bdf = ent->d_name;

		if (*bdf == '.')
			continue;
		printf("#@ dev %s id=%#x hdr=%#x cmd=%#x", bdf,
		       vmt_cfg_read(bdf, PCI_VENDOR_ID, 4),
		       vmt_cfg_read(bdf, PCI_HEADER_TYPE, 1),
		       vmt_cfg_read(bdf, PCI_COMMAND, 2));
		for (i = 0; i < ARRAY_SIZE(caps); i++) {
			pos = vmt_cfg_cap(bdf, caps[i].id);
			if (pos)
				printf(" %s=%#x", caps[i].name, pos);
			if (pos && caps[i].id == PCI_CAP_ID_PM)
				printf(" pmcsr=%#x", vmt_cfg_read(bdf, pos + PCI_PM_CTRL, 2));
		}
		printf("\n");
	}
	closedir(dir);
}

/* Reap everything: orphans of the test are ours. */
static int wait_for(pid_t pid)
{
	int status;
	pid_t got;

	do {
		got = wait(&status);
	} while (got != pid && (got > 0 || errno == EINTR));
	if (got != pid)
		return 255;
	if (WIFSIGNALED(status))
		return 128 + WTERMSIG(status);
	return WEXITSTATUS(status);
}

static void shell(void)
{
	pid_t pid;
	int fd;

	pid = fork();
	if (!pid) {
		setsid();
		fd = open("/dev/ttyS0", O_RDWR);
		if (fd >= 0) {
			ioctl(fd, TIOCSCTTY, 1);
			dup2(fd, 0);
			dup2(fd, 1);
			dup2(fd, 2);
		}
		execl("/bin/sh", "-sh", "-c",
		      "echo; uname -srv; echo; lspci; cat /etc/motd; exec sh -i", NULL);
		perror("init: /bin/sh");
		_exit(127);
	}
	wait_for(pid);
}

/*
 * A leak is only reported when it survives two scans: the first one marks what
 * may be in a register or on a stack at that moment.
 */
static void scan_for_leaks(void)
{
	static char buf[65536];

	if (vmt_write_file("/sys/kernel/debug/kmemleak", "scan") < 0)
		return;
	vmt_write_file("/sys/kernel/debug/kmemleak", "scan");
	if (vmt_read_file("/sys/kernel/debug/kmemleak", buf, sizeof(buf)) > 0)
		fprintf(stderr, "%s", buf);
}

static int run_test(const char *run)
{
	const char *args = vmt_param("args");
	char path[128], stage[16], *argv[32], *pos, *tok, *copy;
	int argc = 0;
	pid_t pid;

	if (*run == '/')
		snprintf(path, sizeof(path), "%s", run);
	else
		snprintf(path, sizeof(path), "/tests/%s", run);
	argv[argc++] = path;
	/* Blanks separate the kernel's parameters, so commas separate ours. */
	copy = strdup(args ? args : "");
	for (tok = strtok_r(copy, ",", &pos); tok && argc < 31; tok = strtok_r(NULL, ",", &pos))
		argv[argc++] = tok;
	argv[argc] = NULL;
	/* For scripts. Not an argument: the kselftest harness takes none but its own. */
	snprintf(stage, sizeof(stage), "%d", vmt_stage());
	setenv("VMTEST_STAGE", stage, 1);

	fflush(NULL);
	pid = fork();
	if (!pid) {
		execv(path, argv);
		fprintf(stderr, "init: cannot run %s: %s\n", path, strerror(errno));
		_exit(127);
	}
	return pid < 0 ? 255 : wait_for(pid);
}

static int run_and_report(const char *run)
{
	int status = run_test(run);

	vmt_mark(VMT_END);
	scan_for_leaks();
	printf("#@ exit %d\n", status);
	fflush(stdout);
	tcdrain(STDOUT_FILENO);
	tcdrain(STDERR_FILENO);
	reboot(RB_POWER_OFF);
	return 1;
}

/* It mounts what else there is by itself. */
static int become(const char *pid1)
{
	fflush(stdout);
	close(STDOUT_FILENO);
	open("/dev/console", O_WRONLY);
	execl(pid1, pid1, NULL);
	fprintf(stderr, "init: cannot run %s: %s\n", pid1, strerror(errno));
	reboot(RB_POWER_OFF);
	return 1;
}

static void mount_rest(void)
{
	mkdir("/dev/pts", 0755);
	try_mount("devpts", "/dev/pts");
	try_mount("tmpfs", "/dev/shm");
	try_mount("tmpfs", "/tmp");
	try_mount("tmpfs", "/run");
	try_mount("debugfs", "/sys/kernel/debug");
	try_mount("tracefs", "/sys/kernel/tracing");
	try_mount("cgroup2", "/sys/fs/cgroup");
}

int main(void)
{
	bool first = getpid() == 1;
	const char *run, *pid1;
	int fd;

	if (first) {
		try_mount("proc", "/proc");
		try_mount("sysfs", "/sys");
		/* The trace shows who wrote what before user space: as early as can be. */
		if (vmt_stage() > 1)
			vmt_mark(VMT_BOOTED);
		try_mount("devtmpfs", "/dev");
	}
	pid1 = vmt_param("pid1");
	if (!pid1)
		mount_rest();

	setenv("PATH", "/bin:/sbin:/usr/bin:/usr/sbin:/tests", 1);
	setenv("HOME", "/", 1);
	setenv("TERM", "linux", 0);
	setenv("TMPDIR", "/tmp", 1);

	run = vmt_param("run");
	if (!run || !strcmp(run, "shell")) {
		shell();
		reboot(RB_POWER_OFF);
	}

	fd = open_channel();
	if (fd < 0) {
		fprintf(stderr, "init: cannot open " CHANNEL ": %s\n", strerror(errno));
		reboot(RB_POWER_OFF);
	}
	dup2(fd, STDOUT_FILENO);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!first)
		return run_and_report(run);

	printf("#@ boot %d\n", vmt_stage());
	/* Later stages keep off the devices: even a read through sysfs resumes one. */
	if (vmt_stage() == 1)
		print_caps();

	return pid1 ? become(pid1) : run_and_report(run);
}
