// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * carry: one device and its memory go through a live update, in the simplest way.
 *
 *	carry save NAME BDF		in the old kernel; stays, replace the kernel meanwhile
 *	carry restore NAME BDF		in the new kernel
 *
 * The device is bound to vfio-pci. It is not set up to do anything: a VMM would program it
 * between open_device() and save(), and its DMA would go on all the time.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmferry.h>

/* Tokens are the program's own choice, and the same in both kernels. */
#define MEMORY 1
#define DEVICE 2
#define SIZE 0x100000
#define IOVA 0x10000000
#define TIMEOUT_MS 5000

static int fail(const char *what, int err)
{
	fprintf(stderr, "carry: %s: %s\n", what, strerror(-err));
	return 1;
}

/* The vfio device file of a PCI function. */
static int open_device(const char *bdf)
{
	char path[300];
	struct dirent *entry;
	int fd = -ENOENT;
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vfio-dev", bdf);
	dir = opendir(path);
	if (!dir)
		return -errno;
	while ((entry = readdir(dir)) && fd == -ENOENT) {
		if (strncmp(entry->d_name, "vfio", 4))
			continue;
		snprintf(path, sizeof(path), "/dev/vfio/devices/%s", entry->d_name);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			fd = -errno;
	}
	closedir(dir);
	return fd;
}

/* The same in both kernels: the memory has to be there before the device comes. */
static int attach(int device, int memory)
{
	struct vmferry_map map = { .iova = IOVA, .length = SIZE, .fd = memory };
	uint32_t devid, ioas, hwpt;
	int iommufd = vmferry_iommufd_open(), err;

	if (iommufd < 0)
		return iommufd;
	err = vmferry_ioas_alloc(iommufd, &ioas);
	if (!err)
		err = vmferry_ioas_map(iommufd, ioas, &map);
	if (!err)
		err = vmferry_device_bind(device, iommufd, &devid);
	if (!err)
		err = vmferry_device_attach(device, ioas, &hwpt);
	if (err)
		close(iommufd);
	/* Else it stays open with the device. */
	return err;
}

static int save(const char *name, const char *bdf)
{
	int device = open_device(bdf), memory, session, err;

	if (device < 0)
		return fail(bdf, device);
	memory = memfd_create("guest", MFD_CLOEXEC);
	if (memory < 0 || ftruncate(memory, SIZE) ||
	    pwrite(memory, name, strlen(name) + 1, 0) < 0)
		return fail("memory", -errno);
	err = attach(device, memory);
	if (err)
		return fail("attach", err);

	session = vmferry_session_create(name, TIMEOUT_MS);
	if (session < 0)
		return fail("session", session);
	/* The memory first: a device is refused if it reaches what is not preserved. */
	err = vmferry_session_preserve(session, memory, MEMORY);
	if (err)
		return fail("preserve the memory", err);
	err = vmferry_session_preserve(session, device, DEVICE);
	if (err)
		return fail("preserve the device (the kernel's log says why)", err);
	printf("saved\n");
	fflush(stdout);
	/* Closing the session would take it all back. */
	for (;;)
		pause();
}

static int restore(const char *name, const char *bdf)
{
	int session = vmferry_session_retrieve(name, TIMEOUT_MS), memory, device, err;
	char text[64] = "";

	if (session < 0)
		return fail("session", session);
	memory = vmferry_session_retrieve_fd(session, MEMORY);
	if (memory < 0)
		return fail("memory", memory);
	if (pread(memory, text, sizeof(text) - 1, 0) < 0 || strcmp(text, name))
		return fail("content of the memory", -EIO);
	device = vmferry_session_retrieve_fd(session, DEVICE);
	if (device < 0)
		return fail(bdf, device);
	err = attach(device, memory);
	if (err)
		return fail("attach", err);
	err = vmferry_session_finish(session);
	if (err)
		return fail("finish", err);
	printf("restored\n");
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "save"))
		return save(argv[2], argv[3]);
	if (argc == 4 && !strcmp(argv[1], "restore"))
		return restore(argv[2], argv[3]);
	fprintf(stderr, "usage: carry save|restore NAME BDF\n");
	return 2;
}
