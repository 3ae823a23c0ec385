/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Starting a QEMU like the one that was there.
 */
#ifndef VMFERRY_SPAWN_H
#define VMFERRY_SPAWN_H

#include <json-c/json.h>
#include <sys/types.h>

struct spawn {
	struct json_object *argv, *environ;	/* arrays of strings */
	const char *exe;	/* what to run; NULL: argv[0] */
	const char *cwd;
	int cgroup_fd;		/* of its cgroup.procs; -1: it is started where the caller is */
	uid_t uid;
	gid_t gid;
	struct json_object *groups;		/* array of numbers */
	const char *log;	/* its standard output and error */
};

/*
 * What QEMU is to be started with in order to take over, from what it was started with:
 * without -incoming, -daemonize and -S, and with @incoming, which are JSON. To be put.
 */
struct json_object *spawn_incoming_argv(struct json_object *argv, const char *cpr_path,
					const char *main_path);

/*
 * Start it as a process of its own. @ready is called with its pidfd before it is executed,
 * and may fail; if we die before that is done, it is not executed. Returns the pidfd.
 *
 * The errors of @ready, execve(), chdir() ..., and *@what says which of them.
 */
int spawn(const struct spawn *spawn, int (*ready)(int pidfd, void *arg), void *arg,
	  const char **what);

#endif /* VMFERRY_SPAWN_H */
