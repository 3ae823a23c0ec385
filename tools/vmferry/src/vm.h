/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A virtual machine: the QEMU behind a monitor socket, and the places of what belongs to it.
 */
#ifndef VMFERRY_VM_H
#define VMFERRY_VM_H

#include <stdbool.h>
#include <sys/types.h>

#include "qmp.h"

/* How long QEMU's monitor may take to answer at first. */
#define VM_QMP_TIMEOUT_MS 5000

struct vm {
	char *name;		/* also of its files in the run directory */
	char *qmp_path;
	char *dir;		/* the run directory */
	int lock;		/* on NAME.lock, or -1 */

	/* Of the QEMU, once vm_connect() found it */
	struct qmp *qmp;
	pid_t pid;
	int pidfd;
	char uuid[37];
	char *version;
	struct json_object *argv;	/* array of strings, like the next one */
	struct json_object *environ;
	struct json_object *groups;	/* array of numbers */
	char *cwd, *cgroup, *exe;
	uid_t uid;
	gid_t gid;
};

/*
 * A virtual machine by its name, whose monitor is NAME.qmp in the run directory @dir, or
 * by the path of its monitor: then the file's name without its suffix is the name.
 *
 * -EINVAL  no name for a file and a session: letters, digits, '-', '_' and '.'
 */
int vm_new(const char *arg, const char *dir, struct vm **vm);
void vm_free(struct vm *vm);

/* May it be one, of a file and a session? */
bool vm_name_is_good(const char *name);

/* Nobody else saves or restores it meanwhile. -EBUSY. The second one says why not. */
int vm_try_lock(struct vm *vm);
int vm_lock(struct vm *vm);

/*
 * Find the QEMU and what is needed to start one like it. Says why if it can't.
 * vm_disconnect() forgets it.
 */
int vm_connect(struct vm *vm);
void vm_disconnect(struct vm *vm);

/* Path of a file of this virtual machine in the run directory: NAME.suffix. To be freed. */
char *vm_path(const struct vm *vm, const char *suffix);

/* What /proc says of a process: the file's content. To be freed. NULL with errno. */
char *vm_proc_file(pid_t pid, const char *file, size_t *size);

/* The control group of a process, below that of the unified hierarchy. To be freed. */
char *vm_proc_cgroup(pid_t pid);

/* QEMU said no, or is not there any more: say so. Returns @err. */
int vm_qmp_error(const struct vm *vm, int err, const char *what);

#endif /* VMFERRY_VM_H */
