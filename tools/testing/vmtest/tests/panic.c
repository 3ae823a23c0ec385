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
 *	iommu-version, <set>-<field>
 *			the same of the IOMMU's records: its root, and the first record of
 *			an IOMMU (unit), a page table (domain), a device and a memfd (memory)
 *
 * The next kernel ends before it gets to a program, and the VM with it. So this one has
 * the last word: it reports its result and its exit status before it jumps. That the
 * next one dies, and of what, is for the scenario: stages = 1 and expect_log.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <linux/kho/abi/iommu.h>
#include <linux/pci_regs.h>

#include "kselftest.h"
#include "lu.h"
#include "lu_record.h"

#define PCI(field)	"root", offsetof(struct pci_ser, field)
#define ROOT(field)	"iommu root 0", offsetof(struct iommu_ser, field)
#define UNIT(field)	"iommu unit 0", offsetof(struct iommu_unit_ser, field)
#define DOMAIN(field)	"iommu domain 0", offsetof(struct iommu_domain_ser, field)
#define DEVICE(field)	"iommu device 0", offsetof(struct iommu_device_ser, field)
#define MEMORY(field)	"iommu memory 0", offsetof(struct iommu_memory_ser, field)

static const struct {
	const char *name, *record;
	unsigned int offset, size;
	uint64_t value;
} damages[] = {
	{ "address", PCI(devices_pa), 8, 0 },
	{ "misplaced", PCI(devices_pa), 8, 0x100010 },
	{ "number", PCI(nr_devices), 4, 0 },
	{ "missing", PCI(nr_devices), 4, 17 },
	{ "size", PCI(entry_size), 4, sizeof(struct pci_dev_ser) - 8 },
	{ "reserved", PCI(reserved[5]), 8, 1 },
	{ "root-number", ROOT(devices.nr), 4, 2 },
	{ "root-none", ROOT(memory.nr), 4, 0 },
	{ "root-size", ROOT(domains.entry_size), 4, 64 },
	{ "root-address", ROOT(memory.head_pa), 8, 0x100010 },
	{ "root-flags", ROOT(flags), 4, 0 },
	{ "root-reserved", ROOT(reserved[14]), 4, 1 },
	{ "unit-address", UNIT(reg_phys), 8, 0xfed91000 },
	{ "unit-root", UNIT(root_phys), 8, 0x100000 },
	{ "unit-capability", UNIT(cap), 8, 0 },
	{ "unit-type", UNIT(type), 2, 9 },
	{ "unit-mode", UNIT(flags), 2, 0 },
	{ "domain-format", DOMAIN(table.format), 4, PT_SER_FMT_amdv1 },
	{ "domain-level", DOMAIN(table.top_level), 1, 9 },
	{ "domain-stage", DOMAIN(flags), 4, IOMMU_SER_DOMAIN_FIRST_STAGE },
	{ "domain-users", DOMAIN(nr_devices), 4, 2 },
	{ "device-unit", DEVICE(unit), 4, 5 },
	{ "device-domain", DEVICE(domain), 4, 5 },
	{ "device-did", DEVICE(did), 2, 3 },
	{ "device-context", DEVICE(context_phys), 8, 0x100000 },
	{ "device-pasid", DEVICE(pasid_dir), 8, 0 },
	{ "memory-domain", MEMORY(domain), 4, 5 },
	{ "memory-none", MEMORY(memfd), 8, 0 },
};

static bool damage(const char *what)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(damages); i++) {
		if (strcmp(what, damages[i].name))
			continue;
		lu_damage("%s %u %u %llx", damages[i].record, damages[i].offset, damages[i].size,
			  (unsigned long long)damages[i].value);
		return true;
	}
	return false;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "", *extra = NULL;
	struct lu_dev dev;
	struct iommu *iommu;
	int luo, session, notes, ret;

	/* Nothing but a failure: the next kernel should not have come so far. */
	if (vmt_stage() > 1)
		return KSFT_FAIL;

	ksft_print_header();
	ksft_set_plan(1);
	luo = luo_open_device();
	session = luo_create_session(luo, "panic");
	lu_find_one(&dev, 0x1234, 0x11e8, 0);
	iommu = iommu_init(MODE_IOMMUFD);
	notes = lu_notes_create(&dev, 1);
	lu_open(&dev, iommu);
	lu_dma_map(&dev, iommu);
	lu_set_command(&dev, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	ret = lu_preserve(session, notes, LU_NOTES_TOKEN) ?:
	      lu_preserve(session, dev.vfio->fd, dev.token);
	if (ret)
		ksft_exit_fail_msg("%s: preserve: %s\n", dev.name, strerror(-ret));

	if (!strcmp(what, "version"))
		lu_damage("version pci-v2");
	else if (!strcmp(what, "iommu-version"))
		lu_damage("version iommu-v2");
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
