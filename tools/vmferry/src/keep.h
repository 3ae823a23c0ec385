/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The keeper: a process of a few lines that holds the files of a virtual machine while it
 * is between two QEMUs, so that a command that dies loses nothing. It does what it is
 * told through a socket, and never does anything else, so that it has no reason to die.
 */
#ifndef VMFERRY_KEEP_H
#define VMFERRY_KEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define KEEP_LABEL_MAX 127

struct keep;

/*
 * Start a keeper, or find the one that is there: its socket is at @path. *@keep is to be
 * freed with keep_free(), which leaves the keeper be. A new one is in the control group of
 * which @cgroup_fd is cgroup.procs, or where the caller is if that is negative.
 */
int keep_start(const char *path, int cgroup_fd, struct keep **keep);

/* Find a keeper. -ENOENT if there is none. */
int keep_find(const char *path, struct keep **keep);

void keep_free(struct keep *keep);

/* Give it a duplicate of a file, in the place of the one of this label if there is one. */
int keep_put(struct keep *keep, const char *label, int fd);

/* A duplicate of a file. Returns it, or -ENOENT. */
int keep_get(struct keep *keep, const char *label);

/*
 * It is to accept one connection from the process @pid at @listener, and to write all that
 * comes to the file of label @label, whoever of us is still there by then. Between the two
 * functions it does nothing else. The second one waits until it is done; with @cancel, if
 * nobody has connected, it gives up.
 *
 * -ETIMEDOUT  nobody connected
 * -ECANCELED
 *
 * and after an error the file is not there any more.
 */
int keep_receive(struct keep *keep, const char *label, int listener, pid_t pid);
int keep_received(struct keep *keep, bool cancel);

/*
 * It is to retrieve the session @name, as "session". Nobody else ever has the only file of
 * it: closing that, by dying, would give up what is in the session.
 *
 * Errors of vmferry_session_retrieve()
 */
int keep_retrieve(struct keep *keep, const char *name);

/*
 * It is to send all of a file to a socket and to close that for writing. When it has, there is
 * a file of the label KEEP_SENT, and whoever of us is there by then can tell.
 */
int keep_send(struct keep *keep, const char *label, int sock);
#define KEEP_SENT "sent"

/* Label of the nth file, into KEEP_LABEL_MAX + 1 bytes. -ENOENT after the last one. */
int keep_label(struct keep *keep, unsigned int n, char *label);

/* It is to close a file. -ENOENT */
int keep_drop(struct keep *keep, const char *label);

/* It is to end, and all its files are closed. @keep is still to be freed. */
int keep_end(struct keep *keep);

#endif /* VMFERRY_KEEP_H */
