// SPDX-License-Identifier: LGPL-2.1-or-later
#include "migration.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sock.h"
#include "util.h"

char *migration_run_state(struct qmp *qmp)
{
	struct json_object *info;
	char *state;

	if (qmp_execute(qmp, "query-status", NULL, &info))
		return NULL;
	state = strdup(qmp_string(info, "status", ""));
	json_object_put(info);
	return state;
}

int migration_set_mode(struct qmp *qmp, const char *mode)
{
	struct json_object *args = json_object_new_object();

	json_object_object_add(args, "mode", json_object_new_string(mode));
	return qmp_execute(qmp, "migrate-set-parameters", args, NULL);
}

int migration_is_active(struct qmp *qmp)
{
	static const char * const ended[] = { "none", "completed", "failed", "cancelled" };
	struct json_object *info;
	const char *status;
	int err, migrating = 1;

	err = qmp_execute(qmp, "query-migrate", NULL, &info);
	if (err)
		return err;
	/* After one that brought the guest here, it says so until there is another one. */
	status = qmp_string(info, "status", "none");
	for (size_t n = 0; n < ARRAY_SIZE(ended); n++)
		if (!strcmp(status, ended[n]))
			migrating = 0;
	json_object_put(info);
	return migrating;
}

int migration_wait(struct qmp *qmp, int timeout_ms)
{
	int64_t end = now_ms() + timeout_ms;
	char *state;
	int ret;

	for (;;) {
		ret = migration_is_active(qmp);
		if (ret < 0)
			return ret;
		if (!ret) {
			state = migration_run_state(qmp);
			/* The migration is complete before the guest's state says so. */
			ret = !state ? -EPROTO : !strcmp(state, "finish-migrate") ? -EAGAIN :
			      !strcmp(state, "postmigrate");
			free(state);
			if (ret != -EAGAIN)
				return ret;
		}
		if (now_ms() >= end)
			return -ETIMEDOUT;
		ret = qmp_wait_event(qmp, "MIGRATION", MIGRATION_LOOK_MS, NULL);
		if (ret && ret != -ETIMEDOUT)
			return ret;
	}
}

struct json_object *migration_channel(const char *type, const char *path)
{
	struct json_object *channel = json_object_new_object(), *addr = json_object_new_object();

	json_object_object_add(addr, "transport", json_object_new_string("socket"));
	json_object_object_add(addr, "type", json_object_new_string("unix"));
	json_object_object_add(addr, "path", json_object_new_string(path));
	json_object_object_add(channel, "channel-type", json_object_new_string(type));
	json_object_object_add(channel, "addr", addr);
	return channel;
}
