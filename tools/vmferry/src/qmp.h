/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * QEMU's monitor protocol: a client that waits for what it asked for.
 */
#ifndef VMFERRY_QMP_H
#define VMFERRY_QMP_H

#include <json-c/json.h>
#include <stdbool.h>
#include <sys/types.h>

struct qmp;

/*
 * Connect to the monitor at a UNIX socket and get through its greeting, within
 * @timeout_ms. If QEMU has yet to make the socket, that is waited for as long as
 * @alive (a pidfd, or -1) lives.
 *
 * -ETIMEDOUT     no answer: somebody else is connected, or QEMU hangs
 * -ESRCH         the process of @alive has ended
 */
int qmp_connect(const char *path, int alive, int timeout_ms, struct qmp **qmp);

/* NULL is fine. */
void qmp_free(struct qmp *qmp);

/* Process at the other end. */
pid_t qmp_pid(const struct qmp *qmp);

/*
 * Execute a command. @args is taken, and may be NULL. The result goes to @ret, to be put
 * by the caller; @ret may be NULL.
 *
 * -EPROTO  QEMU refuses, see qmp_error()
 * -EPIPE   QEMU has gone
 */
int qmp_execute(struct qmp *qmp, const char *command, struct json_object *args,
		struct json_object **ret);

/* What QEMU said to the last command that it refused; never NULL. */
const char *qmp_error(const struct qmp *qmp);

/*
 * Wait for the next event of a name, those included that came in the meantime. Its data
 * goes to @data if that is no NULL, to be put by the caller.
 *
 * -ETIMEDOUT, -EPIPE
 */
int qmp_wait_event(struct qmp *qmp, const char *name, int timeout_ms, struct json_object **data);

/* The events that came until now are of no interest. */
void qmp_drop_events(struct qmp *qmp);

/* A string in an object, or @other. It lives as long as the object. */
const char *qmp_string(struct json_object *object, const char *key, const char *other);

/* A boolean in an object, or false. */
bool qmp_bool(struct json_object *object, const char *key);

#endif /* VMFERRY_QMP_H */
