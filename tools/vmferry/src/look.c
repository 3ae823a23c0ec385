// SPDX-License-Identifier: LGPL-2.1-or-later
#include "look.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "out.h"
#include "util.h"
#include "vmferry.h"

/* What is read of one file. A command line with much in it is the longest. */
#define SIZE_LIMIT (16u << 20)

int look_open(const char *root, struct look *look)
{
	look->root = open(root ? root : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return look->root < 0 ? out_error(NULL, -errno, "cannot look at %s", root ? root : "/") :
				0;
}

void look_close(struct look *look)
{
	close_quietly(look->root);
	look->root = -1;
}

/* A path from a format, with what follows it, for the length of a block. */
#define MAKE_PATH(path, format)						\
	char path[PATH_MAX];						\
	va_list path##_args;						\
									\
	va_start(path##_args, format);					\
	vsnprintf(path, sizeof(path), format, path##_args);		\
	va_end(path##_args)

int look_file(const struct look *look, int flags, const char *format, ...)
{
	int fd;

	MAKE_PATH(path, format);
	fd = openat(look->root, path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int look_stat(const struct look *look, struct stat *st, const char *format, ...)
{
	MAKE_PATH(path, format);
	return fstatat(look->root, path, st, 0) ? -errno : 0;
}

bool look_exists(const struct look *look, const char *format, ...)
{
	MAKE_PATH(path, format);
	return !faccessat(look->root, path, F_OK, AT_EACCESS);
}

/* Files of /proc and /sys do not tell how long they are. */
static char *read_all(int fd, size_t *size)
{
	size_t len = 0, room = 4096;
	char *buf = malloc(room), *new;
	ssize_t got;

	while (buf) {
		got = read(fd, buf + len, room - len - 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		len += got;
		if (len + 1 < room)
			continue;
		new = room < SIZE_LIMIT ? realloc(buf, room *= 2) : (errno = EFBIG, NULL);
		if (!new) {
			free(buf);
			return NULL;
		}
		buf = new;
	}
	if (!buf || got < 0) {
		free(buf);
		return NULL;
	}
	while (len && buf[len - 1] == '\n')
		len--;
	buf[len] = 0;
	if (size)
		*size = len;
	return buf;
}

char *look_read(const struct look *look, size_t *size, const char *format, ...)
{
	CLEANUP_CLOSE int fd = -1;

	MAKE_PATH(path, format);
	fd = openat(look->root, path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? NULL : read_all(fd, size);
}

static char *read_link(const struct look *look, const char *path)
{
	char link[PATH_MAX];
	ssize_t len = readlinkat(look->root, path, link, sizeof(link));

	return len < 0 ? NULL : strndup(link, len);
}

char *look_link(const struct look *look, const char *format, ...)
{
	MAKE_PATH(path, format);
	return read_link(look, path);
}

char *look_link_name(const struct look *look, const char *format, ...)
{
	char *link, *slash, *name;

	MAKE_PATH(path, format);
	link = read_link(look, path);
	slash = link ? strrchr(link, '/') : NULL;
	if (!slash)
		return link;
	name = strdup(slash + 1);
	free(link);
	return name;
}

static int is_shown(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

char **look_names(const struct look *look, const char *format, ...)
{
	size_t size = 0;
	struct dirent **entries;
	char **names, *text;
	int nr;

	MAKE_PATH(path, format);
	nr = scandirat(look->root, path, &entries, is_shown, alphasort);
	if (nr < 0)
		return NULL;
	for (int n = 0; n < nr; n++)
		size += strlen(entries[n]->d_name) + 1;
	names = malloc((nr + 1) * sizeof(*names) + size);
	text = names ? (char *)(names + nr + 1) : NULL;
	for (int n = 0; n < nr; n++) {
		if (names) {
			names[n] = text;
			text = stpcpy(text, entries[n]->d_name) + 1;
		}
		free(entries[n]);
	}
	free(entries);
	if (names)
		names[nr] = NULL;
	return names;
}

int look_kexec_loaded(const struct look *look)
{
	char *text = look_read(look, NULL, "sys/kernel/kexec_loaded");
	int loaded = text ? !strcmp(text, "1") : -errno;

	free(text);
	return loaded;
}

int look_scan(const struct look *look, struct vmferry_scan **scan)
{
	CLEANUP_CLOSE int proc = look_file(look, O_PATH | O_DIRECTORY, "proc");
	struct stat st;

	if (proc < 0)
		return proc;
	/* Nobody has what is not there; 0 stands for the device of this host. */
	if (look_stat(look, &st, "dev/liveupdate") || !S_ISCHR(st.st_mode))
		st.st_rdev = -1;
	return vmferry_scan_new(proc, st.st_rdev, scan);
}
