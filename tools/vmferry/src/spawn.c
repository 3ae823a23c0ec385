// SPDX-License-Identifier: LGPL-2.1-or-later
#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "migration.h"
#include "util.h"

/* QEMU takes -name and --name. */
static bool is_option(const char *arg, const char *name)
{
	return arg[0] == '-' && !strcmp(arg + 1 + (arg[1] == '-'), name);
}

static void add_incoming(struct json_object *argv, const char *type, const char *path)
{
	struct json_object *channel = migration_channel(type, path);

	json_object_array_add(argv, json_object_new_string("-incoming"));
	json_object_array_add(argv, json_object_new_string(
		json_object_to_json_string_ext(channel, JSON_C_TO_STRING_PLAIN)));
	json_object_put(channel);
}

struct json_object *spawn_incoming_argv(struct json_object *argv, const char *cpr_path,
					const char *main_path)
{
	struct json_object *new = json_object_new_array();

	for (size_t n = 0; n < json_object_array_length(argv); n++) {
		const char *arg = json_object_get_string(json_object_array_get_idx(argv, n));

		if (is_option(arg, "incoming"))
			n++;
		else if (!is_option(arg, "daemonize") && !is_option(arg, "S"))
			json_object_array_add(new, json_object_new_string(arg));
	}
	add_incoming(new, "cpr", cpr_path);
	add_incoming(new, "main", main_path);
	return new;
}

static char **strings(struct json_object *array)
{
	size_t nr = json_object_array_length(array);
	char **strings = calloc(nr + 1, sizeof(*strings));

	for (size_t n = 0; strings && n < nr; n++)
		strings[n] = (char *)json_object_get_string(json_object_array_get_idx(array, n));
	return strings;
}

/* @cgroup_fd is its cgroup.procs, or negative: then it is started where the caller is. */
static int enter_cgroup(int cgroup_fd)
{
	return cgroup_fd >= 0 && write(cgroup_fd, "0", 1) != 1 ? -errno : 0;
}

/* The user and the groups of the process that it takes the place of. */
static int become_user(const struct spawn *spawn)
{
	size_t nr = json_object_array_length(spawn->groups);
	gid_t *groups = calloc(nr + 1, sizeof(*groups));
	int err = 0;

	if (geteuid())
		return 0;
	if (!groups)
		return -ENOMEM;
	for (size_t n = 0; n < nr; n++)
		groups[n] = json_object_get_int64(json_object_array_get_idx(spawn->groups, n));
	if (setgroups(nr, groups) || setresgid(spawn->gid, spawn->gid, spawn->gid) ||
	    setresuid(spawn->uid, spawn->uid, spawn->uid))
		err = -errno;
	free(groups);
	return err;
}

enum stage { STAGE_CGROUP, STAGE_LOG, STAGE_USER, STAGE_CWD, STAGE_EXEC };

static const char * const stage_text[] = {
	[STAGE_CGROUP] = "cannot enter its control group",
	[STAGE_LOG] = "cannot open its log",
	[STAGE_USER] = "cannot become its user",
	[STAGE_CWD] = "cannot enter its directory",
	[STAGE_EXEC] = "cannot execute it",
};

struct failure {
	int stage, err;
};

static struct failure run(const struct spawn *spawn, const char *exe, char **argv, char **envp)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC), log, err;
	sigset_t none;

	setsid();
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	err = enter_cgroup(spawn->cgroup_fd);
	if (err)
		return (struct failure){ STAGE_CGROUP, err };
	log = open(spawn->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (null < 0 || log < 0 || dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0)
		return (struct failure){ STAGE_LOG, -errno };
	err = become_user(spawn);
	if (err)
		return (struct failure){ STAGE_USER, err };
	if (chdir(spawn->cwd))
		return (struct failure){ STAGE_CWD, -errno };
	close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
	execvpe(exe, argv, envp);
	return (struct failure){ STAGE_EXEC, -errno };
}

/* The end of the pipes that the child has. */
static void __attribute__((noreturn))
child(const struct spawn *spawn, char **argv, char **envp, int go, int result)
{
	struct failure failure;
	char byte;

	if (read(go, &byte, 1) != 1)
		_exit(1);
	failure = run(spawn, spawn->exe ? spawn->exe : argv[0], argv, envp);
	_exit(write(result, &failure, sizeof(failure)) == sizeof(failure));
}

static int start(const struct spawn *spawn, char **argv, char **envp, int *go, int *result)
{
	int go_pipe[2], result_pipe[2], err = 0;
	pid_t pid;

	if (pipe2(go_pipe, O_CLOEXEC))
		return -errno;
	if (pipe2(result_pipe, O_CLOEXEC)) {
		err = -errno;
		close(go_pipe[0]);
		close(go_pipe[1]);
		return err;
	}
	pid = fork();
	if (!pid) {
		close(go_pipe[1]);
		close(result_pipe[0]);
		child(spawn, argv, envp, go_pipe[0], result_pipe[1]);
	}
	if (pid < 0)
		err = -errno;
	close(go_pipe[0]);
	close(result_pipe[1]);
	*go = go_pipe[1];
	*result = result_pipe[0];
	return err ? err : pid;
}

static int wait_executed(int result, const char **what)
{
	struct failure failure;
	ssize_t got;

	/* Nothing comes if it was. */
	do
		got = read(result, &failure, sizeof(failure));
	while (got < 0 && errno == EINTR);
	if (!got)
		return 0;
	if (got != sizeof(failure))
		return -EIO;
	*what = stage_text[failure.stage];
	return failure.err;
}

int spawn(const struct spawn *spawn, int (*ready)(int pidfd, void *arg), void *arg,
	  const char **what)
{
	char **argv = strings(spawn->argv), **envp = strings(spawn->environ);
	CLEANUP_CLOSE int go = -1, result = -1, pidfd = -1;
	int pid = -ENOMEM, err;

	*what = "cannot start a process";
	if (argv && envp && argv[0])
		pid = start(spawn, argv, envp, &go, &result);
	free(argv);
	free(envp);
	if (pid < 0)
		return pid;
	/* It is our child: nobody else has its number until we have waited for it. */
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	err = pidfd < 0 ? -errno : ready(pidfd, arg);
	if (!err && write(go, "", 1) != 1)
		err = -errno;
	if (!err)
		err = wait_executed(result, what);
	if (!err)
		return take_fd(&pidfd);
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return err;
}
