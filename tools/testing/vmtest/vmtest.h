/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vmtest: what a guest test program needs from the VM test bench.
 *
 * A test is a static program under /tests in the initramfs. /init starts it in
 * every kernel generation ("stage") as
 *
 *	/tests/<program> [args of the scenario]
 *
 * and vmt_stage() (scripts: $VMTEST_STAGE) is 1 in the kernel that QEMU booted and
 * N + 1 in the one that was reached by kexec from stage N. A two-phase test reads:
 *
 *	if (vmt_stage() == 1) {
 *		vmt_mark(VMT_START);
 *		...preserve...
 *		vmt_mark(VMT_PRESERVED);
 *		vmt_kexec_load();
 *		vmt_kexec();		// no return, or -errno
 *	} else {
 *		...retrieve...
 *		vmt_mark(VMT_RETRIEVED);
 *	}
 *
 * Channels: stdout is the second serial port and carries KTAP ("ok 1 name"),
 * stderr is the console and ends up between the kernel's messages. So print
 * results with the kselftest headers as usual and anything for a human to
 * stderr. Exit status: the kselftest one (0 pass, 1 fail, 4 skip).
 *
 * Everything here that can fail for a reason the test has no use for prints a
 * sentence to stderr and exits with 1; what a test may want to look at returns
 * a negative errno.
 */
#ifndef VMTEST_H
#define VMTEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/compiler.h>

/*
 * Marks cut the outside trace into phases. A mark is a 2-byte write to the
 * interrupt line register of the host bridge, which nothing else writes at run
 * time; QEMU traces it in line with every other config write.
 *
 * Between VMT_JUMP and VMT_BOOTED the runner finds a mark ENTERED by itself: when
 * the old kernel is gone. From there to VMT_OPENED a device must not be touched, so
 * set that one as soon as the last device is bound and attached.
 *
 * Keep in step with MARKS in scripts/vmwitness.py.
 */
enum vmt_mark {
	VMT_START = 1,		/* the test begins; config space is as the kernel set it up */
	VMT_PRESERVED = 2,	/* the last PRESERVE_FD returned */
	VMT_JUMP = 3,		/* set by vmt_kexec() just before reboot() */
	VMT_BOOTED = 4,		/* set by /init first thing in every stage after the first */
	VMT_RETRIEVED = 5,	/* the last RETRIEVE_FD returned */
	VMT_OPENED = 6,		/* the device is bound and attached again */
	VMT_FINISHED = 7,	/* SESSION_FINISH returned */
	VMT_CLOSED = 8,		/* the last device fd is closed */
	VMT_END = 9,		/* set by /init after the test program ended */
	VMT_RESUMED = 10,	/* reboot() failed and the device is in service again */
	VMT_USER1 = 11,		/* free for a scenario */
	VMT_USER2 = 12,
	VMT_USER3 = 13,
};

void vmt_mark(enum vmt_mark mark);

/* The stage this kernel is: 1, 2, ... */
int vmt_stage(void);

/*
 * Value of "vmtest.<name>=" on the kernel command line, NULL if it is not
 * there. The runner always sets "flavour" (test, debug, stock, mod) and "iommu"
 * (legacy, scalable, flts, off).
 */
const char *vmt_param(const char *name);

/* Is this the kernel without the patches (flavour "stock")? */
bool vmt_stock(void);

/*
 * Load this very kernel and initramfs as the next stage, or kernel, with the
 * command line of this boot. extra (may be NULL) is appended to the command line;
 * vmt_kexec_load() appends the value of "vmtest.next=".
 */
void vmt_kexec_load(void);
int vmt_try_kexec_load(const char *kernel, const char *extra);

/* Mark VMT_JUMP and reboot into what was loaded. Returns only a negative errno. */
int vmt_kexec(void);

/* One line for the demo and the log: "# [ 1.234] stage 1: text". */
void vmt_step(const char *fmt, ...) __printf(1, 2);

/*
 * Have the runner do something and wait for it; scripts/vmtest has the list.
 * Does nothing in the interactive shell, which has no runner.
 */
void vmt_ask(const char *fmt, ...) __printf(1, 2);

/* A figure for the result file and the demo's table, on the KTAP channel. */
void vmt_figure(const char *name, long value);

/*
 * PCI devices by BDF ("0000:00:04.0"). vmt_find() returns the n-th (from 0)
 * device with that vendor and device id in order of BDF, or NULL; the string
 * stays valid until exit.
 */
const char *vmt_find(uint16_t vendor, uint16_t device, unsigned int n);
int vmt_try_bind(const char *bdf, const char *driver);
int vmt_try_unbind(const char *bdf);
void vmt_bind(const char *bdf, const char *driver);
void vmt_unbind(const char *bdf);

/* Driver bound to bdf ("" if none) into buf; returns buf. */
char *vmt_driver(const char *bdf, char *buf, size_t len);

/* Path of the vfio cdev of bdf ("/dev/vfio/devices/vfio0") into buf; returns buf. */
char *vmt_cdev_path(const char *bdf, char *buf, size_t len);

/* Read or write an attribute below /sys/bus/pci/devices/<bdf>/. Negative errno, or bytes. */
int vmt_dev_read(const char *bdf, const char *attr, char *buf, size_t len);
int vmt_dev_write(const char *bdf, const char *attr, const char *value);

/* The physical config space through sysfs. */
uint32_t vmt_cfg_read(const char *bdf, unsigned int off, unsigned int size);
void vmt_cfg_write(const char *bdf, unsigned int off, unsigned int size, uint32_t val);

/* Offset of a capability (PCI_CAP_ID_*), 0 if there is none. */
unsigned int vmt_cfg_cap(const char *bdf, uint8_t id);

/* insmod /modules/<name>.ko; negative errno. */
int vmt_modload(const char *name, const char *params);
int vmt_modunload(const char *name);
/* vfio-pci with what it needs, where it is a module. */
int vmt_modload_vfio_pci(void);

/* Small files anywhere. Negative errno, or bytes; the text is NUL-terminated. */
int vmt_read_file(const char *path, char *buf, size_t len);
int vmt_write_file(const char *path, const char *text);

/* Print the sentence and errno text to stderr and exit with 1. */
void vmt_die(const char *fmt, ...) __printf(1, 2) __noreturn;

#endif /* VMTEST_H */
