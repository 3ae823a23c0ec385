/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What QEMU says of the migration that it believes in.
 */
#ifndef VMFERRY_MIGRATION_H
#define VMFERRY_MIGRATION_H

#include "qmp.h"

/* Events that may have been missed are looked for at this interval. */
#define MIGRATION_LOOK_MS 200

/* "running", "postmigrate", ... To be freed; NULL if QEMU does not tell. */
char *migration_run_state(struct qmp *qmp);

/* The mode of the migrations to come: "normal", "cpr-transfer", ... Errors of qmp_execute(). */
int migration_set_mode(struct qmp *qmp, const char *mode);

/* Is a migration under way? 1, 0, or an error of qmp_execute(). */
int migration_is_active(struct qmp *qmp);

/*
 * Wait until no migration away from this QEMU is under way. Returns 1 if the guest has left
 * with it, 0 if it goes on here.
 *
 * -ETIMEDOUT
 */
int migration_wait(struct qmp *qmp, int timeout_ms);

/* A channel of a migration, "main" or "cpr", at a UNIX socket. To be put. */
struct json_object *migration_channel(const char *type, const char *path);

#endif /* VMFERRY_MIGRATION_H */
