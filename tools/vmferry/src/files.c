// SPDX-License-Identifier: LGPL-2.1-or-later
#include "files.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int starts(const char *text, const char *with)
{
	return !strncmp(text, with, strlen(with));
}

const char *file_kind(int fd)
{
	char path[64], target[256];
	ssize_t len;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	len = readlink(path, target, sizeof(target) - 1);
	if (len < 0)
		return "other";
	target[len] = 0;
	if (starts(target, "/memfd:"))
		return "memory";
	if (starts(target, "/dev/iommu"))
		return "iommufd";
	if (starts(target, "/dev/vfio/devices/"))
		return "device";
	if (starts(target, "anon_inode:[eventfd"))
		return "eventfd";
	return "other";
}
