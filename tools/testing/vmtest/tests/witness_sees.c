// SPDX-License-Identifier: GPL-2.0-only
/*
 * witness_sees: what a kernel without the patches does to a vfio device on its
 * way through a kexec, so that the outside witness has something to see.
 *
 * usage: witness_sees VENDOR:DEVICE...
 *
 * Every device is opened through its cdev with bus mastering on when the kernel
 * is replaced; the next kernel binds and opens it again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libvfio.h>

#include "vmtest.h"

#define MAX_DEVS	16

static struct vfio_pci_device *devs[MAX_DEVS];
static const char *bdfs[MAX_DEVS];

static int find(int argc, char *argv[])
{
	unsigned int vendor, device, n;
	int i, j, count = 0;

	for (i = 1; i < argc; i++) {
		if (sscanf(argv[i], "%x:%x", &vendor, &device) != 2 || count == MAX_DEVS)
			vmt_die("bad argument %s", argv[i]);
		for (n = 0, j = 1; j < i; j++)
			n += !strcmp(argv[i], argv[j]);
		bdfs[count] = vmt_find(vendor, device, n);
		if (!bdfs[count])
			vmt_die("no device %s (%u)", argv[i], n);
		count++;
	}
	return count;
}

int main(int argc, char *argv[])
{
	struct iommu *iommu;
	int i, count;
	uint16_t cmd;

	count = find(argc, argv);
	ksft_print_header();
	ksft_set_plan(2 * count);

	if (vmt_stage() == 1)
		vmt_mark(VMT_START);
	for (i = 0; i < count; i++)
		vmt_bind(bdfs[i], "vfio-pci");
	iommu = iommu_init(MODE_IOMMUFD);
	for (i = 0; i < count; i++) {
		devs[i] = vfio_pci_device_init(bdfs[i], iommu);
		ksft_test_result(devs[i]->fd >= 0, "%s opened\n", bdfs[i]);
		if (vmt_stage() == 1) {
			cmd = vfio_pci_config_readw(devs[i], PCI_COMMAND);
			cmd |= PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY;
			vfio_pci_config_writew(devs[i], PCI_COMMAND, cmd);
		}
		cmd = vmt_cfg_read(bdfs[i], PCI_COMMAND, 2);
		ksft_test_result(!(cmd & PCI_COMMAND_MASTER) == (vmt_stage() != 1),
				 "%s bus master %s\n", bdfs[i],
				 vmt_stage() == 1 ? "on" : "off");
	}

	if (vmt_stage() == 1) {
		vmt_mark(VMT_PRESERVED);
		vmt_kexec_load();
		vmt_kexec();
		vmt_die("kexec");
	}
	vmt_mark(VMT_RETRIEVED);
	vmt_mark(VMT_OPENED);
	vmt_mark(VMT_FINISHED);
	ksft_finished();
}
