// SPDX-License-Identifier: LGPL-2.1-or-later
#include "files.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int starts(const char *text, const char *with)
{
	return !strncmp(text, with, strlen(with));
}

const char *file_kind(int fd)
{
	char path[64], target[256];
	struct stat st;
	ssize_t len;

	/* By what it can do: one that was retrieved has another name. */
	if (!fstat(fd, &st) && S_ISREG(st.st_mode) && !st.st_nlink && fcntl(fd, F_GET_SEALS) >= 0)
		return "memory";
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	len = readlink(path, target, sizeof(target) - 1);
	if (len < 0)
		return "other";
	target[len] = 0;
	if (starts(target, "/dev/iommu"))
		return "iommufd";
	if (starts(target, "/dev/vfio/devices/"))
		return "device";
	if (starts(target, "anon_inode:[eventfd"))
		return "eventfd";
	return "other";
}
