// SPDX-License-Identifier: LGPL-2.1-or-later
#include "draw.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "out.h"
#include "util.h"
#include "verbs.h"

#define FILE_WIDTH 100
#define LOG_MAX 400

void drawing_free(struct drawing *drawing)
{
	for (size_t n = 0; n < drawing->nr; n++)
		json_object_put(drawing->objects[n]);
	free(drawing->objects);
	free(drawing->vms);
	*drawing = (struct drawing){};
}

int drawing_add(struct drawing *drawing, const struct timeline_vm *vm,
		struct json_object *object)
{
	if (grow(&drawing->vms, drawing->nr, sizeof(*drawing->vms)) ||
	    grow(&drawing->objects, drawing->nr, sizeof(struct json_object *)))
		return -ENOMEM;
	drawing->vms[drawing->nr] = *vm;
	drawing->objects[drawing->nr++] = json_object_get(object);
	return 0;
}

/* ---- Files ------------------------------------------------------------------------------- */

static const char *suffix(const char *file)
{
	const char *name = strrchr(file, '/'), *dot;

	dot = strrchr(name ? name : file, '.');
	return dot ? dot + 1 : "";
}

bool draw_knows(const char *file)
{
	static const char * const known[] = { "svg", "png", "txt", "json" };

	for (size_t n = 0; n < ARRAY_SIZE(known); n++)
		if (!strcmp(suffix(file), known[n]))
			return true;
	return false;
}

char *draw_path(const char *file)
{
	const char *slash = strrchr(file, '/'), *base = slash ? slash + 1 : file;
	char *dir, *real = NULL, *path = NULL;
	struct stat st;
	int err = 0;

	dir = !slash ? strdup(".") : slash == file ? strdup("/") : strndup(file, slash - file);
	if (dir)
		real = realpath(dir, NULL);
	if (!real || asprintf(&path, "%s/%s", strcmp(real, "/") ? real : "", base) < 0) {
		path = NULL;
		err = -errno;
	}
	if (!err && stat(path, &st)) {
		if (errno != ENOENT || access(real, W_OK))
			err = -errno;
	} else if (!err) {
		err = !S_ISREG(st.st_mode) ? -EINVAL : access(path, W_OK) ? -errno : 0;
	}
	if (err) {
		out_error(NULL, err, "the timeline cannot be written to %s", file);
		free(path);
		path = NULL;
	}
	free(dir);
	free(real);
	return path;
}

static int write_file(const char *path, const char *data, size_t len)
{
	CLEANUP_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0)
		return -errno;
	while (len) {
		ssize_t part = write(fd, data, len);

		if (part < 0 && errno != EINTR)
			return -errno;
		if (part > 0) {
			data += part;
			len -= part;
		}
	}
	return close(take_fd(&fd)) ? -errno : 0;
}

static int read_memfd(int fd, char **data, size_t *len)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	*data = malloc(st.st_size + 1);
	if (!*data)
		return -ENOMEM;
	*len = st.st_size;
	(*data)[*len] = 0;
	if (pread(fd, *data, *len, 0) == (ssize_t)*len)
		return 0;
	free(*data);
	return -EIO;
}

/* ---- gnuplot ----------------------------------------------------------------------------- */

/* Its exit status, or a negative errno. */
static int run_gnuplot(int script, int picture, int log)
{
	/* Not what its user has set. */
	char *argv[] = { "gnuplot", "-d", NULL };
	posix_spawn_file_actions_t actions;
	int err, status;
	pid_t pid;

	if (posix_spawn_file_actions_init(&actions))
		return -ENOMEM;
	err = posix_spawn_file_actions_adddup2(&actions, script, STDIN_FILENO);
	if (!err)
		err = posix_spawn_file_actions_adddup2(&actions, picture, STDOUT_FILENO);
	if (!err)
		err = posix_spawn_file_actions_adddup2(&actions, log, STDERR_FILENO);
	if (!err)
		err = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (err)
		return -err;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return status;
}

/* Of several lines the last one says what it is about. */
static void say_gnuplot(const char *file, int log)
{
	char *text = NULL, *line;
	size_t len;

	if (read_memfd(log, &text, &len))
		return;
	while (len && (text[len - 1] == '\n' || text[len - 1] == ' '))
		text[--len] = 0;
	line = strrchr(text, '\n');
	out_error(NULL, 0, "the timeline is not drawn to %s, gnuplot fails: %.*s", file, LOG_MAX,
		  line ? line + 1 : text);
	free(text);
}

static void draw_picture(const struct timeline *timeline, const struct packets *packets,
			 const char *file)
{
	CLEANUP_CLOSE int script = memfd_create("vmferry-script", MFD_CLOEXEC);
	CLEANUP_CLOSE int picture = memfd_create("vmferry-picture", MFD_CLOEXEC);
	CLEANUP_CLOSE int log = memfd_create("vmferry-log", MFD_CLOEXEC);
	int copy = script < 0 ? -1 : dup(script), err;
	FILE *out = copy < 0 ? NULL : fdopen(copy, "w");
	size_t len;
	char *data;

	if (!out || picture < 0 || log < 0) {
		out_error(NULL, -errno, "the timeline is not drawn");
		if (out)
			fclose(out);
		else
			close_quietly(copy);
		return;
	}
	err = timeline_gnuplot(timeline, packets, suffix(file), out);
	if ((fclose(out) || lseek(script, 0, SEEK_SET)) && !err)
		err = -errno;
	if (!err)
		err = run_gnuplot(script, picture, log);
	if (err == -ENOENT) {
		out_error(NULL, 0, "the timeline is not drawn to %s: there is no gnuplot; to a "
			  "file .txt or .json it is written without", file);
		return;
	}
	if (err > 0) {
		say_gnuplot(file, log);
		return;
	}
	if (!err)
		err = read_memfd(picture, &data, &len);
	if (!err) {
		err = len ? write_file(file, data, len) : -ENODATA;
		free(data);
	}
	if (err)
		out_error(NULL, err, "the timeline is not drawn to %s", file);
}

/* ---- All of it --------------------------------------------------------------------------- */

static void write_text(const struct timeline *timeline, const struct packets *packets,
		       const char *file)
{
	char *text = timeline_text(timeline, packets, FILE_WIDTH);
	int err = text ? write_file(file, text, strlen(text)) : -ENOMEM;

	if (err)
		out_error(NULL, err, "the timeline is not written to %s", file);
	free(text);
}

static void write_json(const struct timeline *timeline, const struct packets *packets,
		       const char *file)
{
	struct json_object *object = timeline_json_all(timeline, packets);
	const char *text = json_object_to_json_string_ext(object, JSON_C_TO_STRING_PRETTY |
							  JSON_C_TO_STRING_NOSLASHESCAPE);
	int err = text ? write_file(file, text, strlen(text)) : -ENOMEM;

	if (err)
		out_error(NULL, err, "the timeline is not written to %s", file);
	json_object_put(object);
}

static void show_text(const struct timeline *timeline, const struct packets *packets)
{
	struct winsize size = {};
	char *text;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || !size.ws_col)
		size.ws_col = 80;
	text = timeline_text(timeline, packets, size.ws_col);
	if (text)
		out_line("%.*s", (int)strlen(text) - 1, text);
	free(text);
}

static int read_packets(const char *path, struct packets *packets)
{
	FILE *file = fopen(path, "re");
	size_t line = 0;
	int err;

	if (!file)
		return out_error(NULL, -errno, "cannot read the packets' times from %s", path);
	err = packets_read(file, packets, &line);
	fclose(file);
	if (err == -EBADMSG)
		out_error(NULL, 0, "%s:%zu: that is no time in seconds: no packets are drawn", path,
			  line);
	else if (err)
		out_error(NULL, err, "cannot read the packets' times from %s", path);
	return err;
}

void draw(const struct drawing *drawing, const struct options *options, const char *file)
{
	bool shown = file && !strcmp(file, "-"), has_packets;
	struct timeline *timeline;
	struct packets packets = {}, *with;
	int err;

	if (!drawing->nr || (!file && !options->json))
		return;
	err = timeline_new(drawing->vms, drawing->nr, &timeline);
	if (err) {
		if (file)
			out_error(NULL, err, "there is no timeline");
		return;
	}
	has_packets = options->packets && !read_packets(options->packets, &packets);
	with = has_packets ? &packets : NULL;
	for (size_t n = 0; n < drawing->nr; n++)
		timeline_json(timeline, n, drawing->objects[n]);
	if (shown || (file && isatty(STDOUT_FILENO)))
		show_text(timeline, with);
	if (file && !shown) {
		if (!strcmp(suffix(file), "json"))
			write_json(timeline, with, file);
		else if (!strcmp(suffix(file), "txt"))
			write_text(timeline, with, file);
		else
			draw_picture(timeline, with, file);
	}
	packets_free(&packets);
	timeline_free(timeline);
}
