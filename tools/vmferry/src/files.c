// SPDX-License-Identifier: LGPL-2.1-or-later
#include "files.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

const char *file_kind(int fd)
{
	char path[64], target[256];
	struct stat st;
	ssize_t len;

	/* By what it is: one that was retrieved has another name. */
	if (fstat(fd, &st))
		return "other";
	if (S_ISREG(st.st_mode) && !st.st_nlink && fcntl(fd, F_GET_SEALS) >= 0)
		return "memory";
	if (S_ISCHR(st.st_mode))
		snprintf(path, sizeof(path), "/sys/dev/char/%u:%u", major(st.st_rdev),
			 minor(st.st_rdev));
	else
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	len = readlink(path, target, sizeof(target) - 1);
	if (len < 0)
		return "other";
	target[len] = 0;
	if (S_ISCHR(st.st_mode))
		return strstr(target, "/vfio-dev/") ? "device" :
		       strstr(target, "/misc/iommu") ? "iommufd" : "other";
	return strncmp(target, "anon_inode:[eventfd", 19) ? "other" : "eventfd";
}
