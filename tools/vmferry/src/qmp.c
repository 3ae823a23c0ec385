// SPDX-License-Identifier: LGPL-2.1-or-later
#include "qmp.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "sock.h"
#include "util.h"

#define REPLY_MS 60000
/* Longest line that is read: query-qmp-schema, which we do not ask for, has some 300 KiB. */
#define LINE_MAX_SIZE (4u << 20)
#define PAUSE_MS 10

struct qmp {
	int sock;
	char *buf;
	size_t len, size;
	struct json_object *events;
	int64_t id;		/* of the last command */
	char error[512];
};

/* Wait until there is something to read. */
static int wait_input(int sock, int64_t end)
{
	int64_t left = end - now_ms();
	struct pollfd pfd = { .fd = sock, .events = POLLIN };
	int ret = poll(&pfd, 1, left < 0 ? 0 : left > 1 << 30 ? 1 << 30 : (int)left);

	if (ret < 0)
		return errno == EINTR ? 0 : -errno;
	return ret ? 1 : -ETIMEDOUT;
}

static int read_object(struct qmp *qmp, int64_t end, struct json_object **object)
{
	for (;;) {
		char *newline = qmp->len ? memchr(qmp->buf, '\n', qmp->len) : NULL;
		ssize_t got;
		int ret;

		if (newline) {
			size_t used = newline - qmp->buf + 1;

			*newline = 0;
			*object = json_tokener_parse(qmp->buf);
			qmp->len -= used;
			memmove(qmp->buf, newline + 1, qmp->len);
			return json_object_is_type(*object, json_type_object) ? 0 :
			       (json_object_put(*object), -EBADMSG);
		}
		if (qmp->len == qmp->size) {
			size_t size = qmp->size ? 2 * qmp->size : 4096;
			char *buf = size <= LINE_MAX_SIZE ? realloc(qmp->buf, size) : NULL;

			if (!buf)
				return -ENOMEM;
			qmp->buf = buf;
			qmp->size = size;
		}
		ret = wait_input(qmp->sock, end);
		if (ret < 0)
			return ret;
		if (!ret)
			continue;
		got = recv(qmp->sock, qmp->buf + qmp->len, qmp->size - qmp->len, 0);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 && errno != ECONNRESET ? -errno : -EPIPE;
		qmp->len += got;
	}
}

/*
 * The reply to the last command, or the greeting; events are kept. What was not read of an
 * earlier command, which failed on the way, is passed over.
 */
static int read_reply(struct qmp *qmp, int64_t end, struct json_object **object)
{
	for (;;) {
		struct json_object *id;
		int err = read_object(qmp, end, object);

		if (err)
			return err;
		if (json_object_object_get_ex(*object, "event", NULL)) {
			json_object_array_add(qmp->events, *object);
			continue;
		}
		if (!json_object_object_get_ex(*object, "id", &id) ||
		    json_object_get_int64(id) == qmp->id)
			return 0;
		json_object_put(*object);
	}
}

const char *qmp_error(const struct qmp *qmp)
{
	return qmp->error;
}

static int execute(struct qmp *qmp, const char *command, struct json_object *args,
		   struct json_object **ret, int64_t end)
{
	struct json_object *request = json_object_new_object(), *reply, *error;
	char *text;
	int err, len;

	json_object_object_add(request, "execute", json_object_new_string(command));
	json_object_object_add(request, "id", json_object_new_int64(++qmp->id));
	if (args)
		json_object_object_add(request, "arguments", args);
	/* At once: QEMU must not wait for the rest of a command. */
	len = asprintf(&text, "%s\n",
		       json_object_to_json_string_ext(request, JSON_C_TO_STRING_PLAIN));
	json_object_put(request);
	if (len < 0)
		return -ENOMEM;
	err = send_all(qmp->sock, text, len);
	free(text);
	if (!err)
		err = read_reply(qmp, end, &reply);
	if (err)
		return err;
	if (json_object_object_get_ex(reply, "error", &error)) {
		snprintf(qmp->error, sizeof(qmp->error), "%s", qmp_string(error, "desc", "?"));
		err = -EPROTO;
	} else if (ret) {
		struct json_object *value;

		if (json_object_object_get_ex(reply, "return", &value))
			*ret = json_object_get(value);
		else
			err = -EBADMSG;
	}
	json_object_put(reply);
	return err;
}

int qmp_execute(struct qmp *qmp, const char *command, struct json_object *args,
		struct json_object **ret)
{
	return execute(qmp, command, args, ret, now_ms() + REPLY_MS);
}

int qmp_wait_event(struct qmp *qmp, const char *name, int timeout_ms, struct json_object **data)
{
	int64_t end = now_ms() + timeout_ms;
	size_t n = 0;

	for (;;) {
		struct json_object *event, *found;
		bool is_it;

		for (; n < json_object_array_length(qmp->events); n++) {
			event = json_object_array_get_idx(qmp->events, n);
			is_it = !strcmp(qmp_string(event, "event", ""), name);
			if (!is_it)
				continue;
			if (data)
				*data = json_object_object_get_ex(event, "data", &found) ?
					json_object_get(found) : json_object_new_object();
			json_object_array_del_idx(qmp->events, n, 1);
			return 0;
		}
		int err = read_object(qmp, end, &event);

		if (err)
			return err;
		if (json_object_object_get_ex(event, "event", NULL))
			json_object_array_add(qmp->events, event);
		else
			json_object_put(event);
	}
}

void qmp_drop_events(struct qmp *qmp)
{
	json_object_put(qmp->events);
	qmp->events = json_object_new_array();
}

pid_t qmp_pid(const struct qmp *qmp)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(qmp->sock, SOL_SOCKET, SO_PEERCRED, &cred, &len))
		return -errno;
	/* 0: it is not of our PID namespace. */
	return cred.pid ? cred.pid : -ESRCH;
}

void qmp_free(struct qmp *qmp)
{
	if (!qmp)
		return;
	close_quietly(qmp->sock);
	json_object_put(qmp->events);
	free(qmp->buf);
	free(qmp);
}

static int greet(int sock, int64_t end, struct qmp **qmp)
{
	struct qmp *new = calloc(1, sizeof(*new));
	struct json_object *greeting;
	int err;

	if (!new) {
		close_quietly(sock);
		return -ENOMEM;
	}
	new->sock = sock;
	new->events = json_object_new_array();
	err = read_reply(new, end, &greeting);
	if (!err) {
		err = json_object_object_get_ex(greeting, "QMP", NULL) ? 0 : -EBADMSG;
		json_object_put(greeting);
	}
	if (!err)
		err = execute(new, "qmp_capabilities", NULL, NULL, end);
	if (err) {
		qmp_free(new);
		return err;
	}
	*qmp = new;
	return 0;
}

int qmp_connect(const char *path, int alive, int timeout_ms, struct qmp **qmp)
{
	int64_t end = now_ms() + timeout_ms;

	/* A socket that is to come cannot be waited for, but for the end of who makes it. */
	for (;;) {
		struct pollfd pfd = { .fd = alive, .events = POLLIN };
		int err, sock;

		err = sock = connect_unix(path, SOCK_STREAM);
		if (sock >= 0)
			err = greet(sock, end, qmp);
		/*
		 * QEMU hangs up on who comes while it has yet to see that the one before has
		 * gone, which takes a while when it is busy stopping the guest.
		 */
		if (!err || (err != -ENOENT && err != -ECONNREFUSED && err != -EPIPE))
			return err;
		if (alive < 0)
			return err;
		if (poll(&pfd, 1, PAUSE_MS) > 0)
			return -ESRCH;
		if (now_ms() >= end)
			return -ETIMEDOUT;
	}
}

const char *qmp_string(struct json_object *object, const char *key, const char *other)
{
	struct json_object *value;

	if (!json_object_object_get_ex(object, key, &value) ||
	    !json_object_is_type(value, json_type_string))
		return other;
	return json_object_get_string(value);
}

bool qmp_bool(struct json_object *object, const char *key)
{
	struct json_object *value;

	return json_object_object_get_ex(object, key, &value) && json_object_get_boolean(value);
}
