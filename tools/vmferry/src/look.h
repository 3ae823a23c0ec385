/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Looking at the host: at files below /proc, /sys, /dev and /boot, or below the same
 * directories of a tree that a test has made up.
 */
#ifndef VMFERRY_LOOK_H
#define VMFERRY_LOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

struct look {
	int root;		/* the directory that all paths are relative to */
};

/* @root is "/" if it is NULL. Says what failed. */
int look_open(const char *root, struct look *look);
void look_close(struct look *look);

#define LOOK_FORMAT(n) __attribute__((format(printf, n, n + 1)))

/* Open a file. Returns it, or a negative errno. */
int look_file(const struct look *look, int flags, const char *format, ...) LOOK_FORMAT(3);

/* What is at a path. */
int look_stat(const struct look *look, struct stat *st, const char *format, ...) LOOK_FORMAT(3);
bool look_exists(const struct look *look, const char *format, ...) LOOK_FORMAT(2);

/*
 * The content of a file, with a NUL behind it and without newlines at its end. @size may be
 * NULL. To be freed; NULL with errno.
 */
char *look_read(const struct look *look, size_t *size, const char *format, ...) LOOK_FORMAT(3);

/* The last part of what a link leads to, or all of it. To be freed; NULL with errno. */
char *look_link_name(const struct look *look, const char *format, ...) LOOK_FORMAT(2);
char *look_link(const struct look *look, const char *format, ...) LOOK_FORMAT(2);

/*
 * The names in a directory, in order, without those that begin with a dot. To be freed as
 * one; NULL with errno. The last one is NULL.
 */
char **look_names(const struct look *look, const char *format, ...) LOOK_FORMAT(2);

/* Is a kernel loaded that can be jumped to? 1, 0, or a negative errno. */
int look_kexec_loaded(const struct look *look);

struct vmferry_scan;

/* Who has sessions and /dev/liveupdate, see vmferry_scan_new(). */
int look_scan(const struct look *look, struct vmferry_scan **scan);

#endif /* VMFERRY_LOOK_H */
