// SPDX-License-Identifier: GPL-2.0-only
/*
 * panic: the next kernel cannot take care of what is handed over, and says so.
 *
 * Devices that may be writing to memory have come with the kexec. A kernel that cannot
 * know which ones, because the records as a whole make no sense to it or live update is
 * off, must not go on, and no more one that does not use the IOMMU the way it was used.
 * The argument says what is wrong:
 *
 *	version		the records have a name that only a later kernel knows
 *	<option>	the next kernel is booted with it, e.g. liveupdate=off: the old one sees
 *			that and refuses, unless it is told not to look
 *	address, misplaced, number, missing, size, reserved
 *			fields of the root of the records
 *
 * The next kernel ends before it gets to a program, and the VM with it. So this one has
 * the last word: it reports its result and its exit status before it jumps. That the
 * next one dies, and of what, is for the scenario: stages = 1 and expect_log.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <linux/pci_regs.h>

#include "kselftest.h"
#include "lu.h"
#include "lu_record.h"

static const struct {
	const char *name;
	unsigned int offset, size;
	uint64_t value;
} damages[] = {
	{ "address", offsetof(struct pci_ser, devices_pa), 8, 0 },
	{ "misplaced", offsetof(struct pci_ser, devices_pa), 8, 0x100010 },
	{ "number", offsetof(struct pci_ser, nr_devices), 4, 0 },
	{ "missing", offsetof(struct pci_ser, nr_devices), 4, 17 },
	{ "size", offsetof(struct pci_ser, entry_size), 4, sizeof(struct pci_dev_ser) - 8 },
	{ "reserved", offsetof(struct pci_ser, reserved[5]), 8, 1 },
};

static bool damage(const char *what)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(damages); i++) {
		if (strcmp(what, damages[i].name))
			continue;
		lu_damage("root %u %u %llx", damages[i].offset, damages[i].size,
			  (unsigned long long)damages[i].value);
		return true;
	}
	return false;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "", *extra = NULL;
	struct lu_dev dev;
	int luo, session, ret;

	/* Nothing but a failure: the next kernel should not have come so far. */
	if (vmt_stage() > 1)
		return KSFT_FAIL;

	ksft_print_header();
	ksft_set_plan(1);
	luo = luo_open_device();
	session = luo_create_session(luo, "panic");
	lu_find_one(&dev, 0x1234, 0x11e8, 0);
	lu_open(&dev, iommu_init(MODE_IOMMUFD));
	lu_set_command(&dev, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	ret = lu_preserve(session, dev.vfio->fd, dev.token);
	if (ret)
		ksft_exit_fail_msg("%s: preserve: %s\n", dev.name, strerror(-ret));

	if (!strcmp(what, "version"))
		lu_damage("version pci-v2");
	else if (!damage(what))
		extra = what;
	ret = vmt_try_kexec_load("/boot/bzImage", extra);
	if (ret)
		ksft_exit_fail_msg("kexec_file_load: %s\n", strerror(-ret));
	if (extra) {
		/* This kernel does not get there by itself. */
		ret = vmt_kexec();
		if (ret != -EOPNOTSUPP)
			ksft_exit_fail_msg("kexec with %s: %s\n", extra, strerror(-ret));
		lu_damage("gate");
	}

	ksft_test_result_pass("a preserved device, and %s is wrong\n", what);
	printf("#@ exit 0\n");
	ret = vmt_kexec();
	/* The later status counts. */
	ksft_exit_fail_msg("kexec: %s\n", strerror(-ret));
}
