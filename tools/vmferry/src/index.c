// SPDX-License-Identifier: LGPL-2.1-or-later
#include "index-format.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "keep.h"
#include "out.h"
#include "sock.h"
#include "util.h"
#include "vmferry.h"

#define SESSION "vmferry"
#define LUO_TIMEOUT_MS 5000
/* Not the name of a virtual machine, which does not begin with a dot. */
#define KEEPER ".index.keep"
#define LOCK ".index.lock"
/* Of the one for the next kernel. That of the kernel before may be here as well. */
#define NEXT_KEEPER ".next.keep"

static int keeper_answers(const char *path)
{
	struct keep *keep;
	int err = keep_find(path, &keep);

	if (!err)
		keep_free(keep);
	return err;
}

static int monitor_answers(const char *path)
{
	CLEANUP_CLOSE int sock = connect_unix(path, SOCK_STREAM);

	return sock == -ECONNREFUSED ? -ENOENT : sock < 0 ? sock : 0;
}

/* Those in @dir with this suffix that @answers, which returns -ENOENT if nobody is there. */
static int index_of(const char *dir, const char *suffix, int (*answers)(const char *path),
		    struct index *index)
{
	struct dirent *entry;
	DIR *stream = opendir(dir);
	int err = 0;

	*index = (struct index){};
	if (!stream)
		return errno == ENOENT ? 0 : -errno;
	while (!err && (entry = readdir(stream))) {
		size_t len = strlen(entry->d_name), cut = strlen(suffix);
		char *path;

		if (entry->d_name[0] == '.' || len <= cut ||
		    strcmp(entry->d_name + len - cut, suffix))
			continue;
		if (asprintf(&path, "%s/%s", dir, entry->d_name) < 0) {
			err = -ENOMEM;
			break;
		}
		err = answers(path);
		free(path);
		if (err == -ENOENT) {
			err = 0;
			continue;
		}
		if (!err) {
			entry->d_name[len - cut] = 0;
			err = index_add(index, entry->d_name, "");
		}
	}
	closedir(stream);
	if (err)
		index_free(index);
	return err;
}

int index_of_all(const char *dir, struct index *index)
{
	return index_of(dir, ".keep", keeper_answers, index);
}

int index_of_running(const char *dir, struct index *index)
{
	return index_of(dir, ".qmp", monitor_answers, index);
}

/* The keeper of a virtual machine. */
static int find_vm_keeper(const char *dir, const char *name, struct keep **keep)
{
	char *path;
	int err;

	if (asprintf(&path, "%s/%s.keep", dir, name) < 0)
		return -ENOMEM;
	err = keep_find(path, keep);
	free(path);
	return err;
}

/* Its session's name, if it has all that the next kernel needs. */
static int saved_session(const char *dir, const char *name, char *session_name)
{
	CLEANUP_CLOSE int session = -1, manifest = -1;
	struct keep *keep;
	int err = find_vm_keeper(dir, name, &keep);

	if (err)
		return out_error(name, err, "cannot reach its keeper");
	session = keep_get(keep, "session");
	manifest = keep_get(keep, "manifest");
	keep_free(keep);
	if (session == -ENOENT || manifest == -ENOENT)
		return out_error(name, -EAGAIN, "it is being saved, or was saved for this kernel "
				 "only");
	if (session < 0 || manifest < 0)
		return out_error(name, session < 0 ? session : manifest, "cannot reach its keeper");
	err = vmferry_session_direction(session);
	if (err == VMFERRY_INCOMING)
		return out_error(name, -EAGAIN, "it has come from the kernel before, and is not "
				 "restored yet");
	if (err >= 0)
		err = vmferry_session_name(session, session_name);
	return err ? out_error(name, err, "cannot tell what its session is") : 0;
}

int index_of_saved(const char *dir, bool some, struct index *index)
{
	struct index all;
	int err = index_of_all(dir, &all);

	*index = (struct index){};
	if (err)
		return out_error(NULL, err, "cannot tell what is saved");
	for (size_t n = 0; !err && n < all.nr; n++) {
		char session[VMFERRY_SESSION_NAME_MAX + 1];

		err = saved_session(dir, all.entries[n].name, session);
		if (!err)
			err = index_add(index, all.entries[n].name, session);
		else if (some)
			err = 0;
	}
	index_free(&all);
	if (err)
		index_free(index);
	return err;
}

int index_preserve(const struct index *index)
{
	CLEANUP_CLOSE int session = vmferry_session_create(SESSION, LUO_TIMEOUT_MS), fd = -1;
	int err;

	if (session < 0)
		return out_error(NULL, session, "cannot create the session " SESSION);
	fd = index_write(index);
	err = fd < 0 ? fd : vmferry_session_preserve(session, fd, VMFERRY_TOKEN_MANIFEST);
	return err ? out_error(NULL, err, "cannot preserve the list of what is saved") :
		     take_fd(&session);
}

static int find_named(const char *dir, const char *name, bool start, struct keep **keep)
{
	char *path;
	int err;

	if (asprintf(&path, "%s/%s", dir, name) < 0)
		return -ENOMEM;
	err = start ? keep_start(path, -1, keep) : keep_find(path, keep);
	free(path);
	return err;
}

static int find_keeper(const char *dir, bool start, struct keep **keep)
{
	return find_named(dir, KEEPER, start, keep);
}

int index_unleave(const char *dir)
{
	struct keep *keep;
	int err = find_named(dir, NEXT_KEEPER, false, &keep);

	if (err == -ENOENT)
		return 0;
	if (!err) {
		err = keep_end(keep);
		keep_free(keep);
	}
	return err ? out_error(NULL, err, "cannot withdraw the list of what is saved") : 1;
}

int index_leave(const char *dir, const struct index *index)
{
	CLEANUP_CLOSE int session = -1;
	struct keep *keep;
	int err = index_unleave(dir);

	if (err < 0)
		return err;
	err = session = index_preserve(index);
	if (session < 0)
		return err;
	err = find_named(dir, NEXT_KEEPER, true, &keep);
	if (!err) {
		err = keep_put(keep, "session", session);
		if (err)
			keep_end(keep);
		keep_free(keep);
	}
	return err ? out_error(NULL, err, "no keeper for the list of what is saved") : 0;
}

/* Those that are done with have a mark at the keeper, any file. */
static int mark(char *label, size_t size, const char *name)
{
	int len = snprintf(label, size, "done.%s", name);

	return len < 0 || (size_t)len >= size ? -ENAMETOOLONG : 0;
}

static int put_mark(struct keep *keep, const char *name)
{
	CLEANUP_CLOSE int session = keep_get(keep, "session");
	char label[KEEP_LABEL_MAX + 1];
	int err = session < 0 ? session : mark(label, sizeof(label), name);

	return err ? err : keep_put(keep, label, session);
}

/* Does its keeper have what has come from the kernel before? */
static int is_kept(const char *dir, const char *name)
{
	CLEANUP_CLOSE int session = -1;
	struct keep *keep;
	int err = find_vm_keeper(dir, name, &keep);

	if (err)
		return err == -ENOENT ? 0 : err;
	session = keep_get(keep, "session");
	keep_free(keep);
	if (session < 0)
		return session == -ENOENT ? 0 : session;
	err = vmferry_session_direction(session);
	return err < 0 ? err : err == VMFERRY_INCOMING;
}

/* It has a mark, and that is true already. */
static int is_done(const char *dir, struct keep *keep, const char *name)
{
	char label[KEEP_LABEL_MAX + 1];
	CLEANUP_CLOSE int fd = -1;
	int err = mark(label, sizeof(label), name);

	fd = err ? err : keep_get(keep, label);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	err = is_kept(dir, name);
	return err < 0 ? err : !err;
}

static int drop_done(const char *dir, struct keep *keep, struct index *index)
{
	size_t left = 0;

	for (size_t n = 0; n < index->nr; n++) {
		struct index_entry entry = index->entries[n];
		int done = is_done(dir, keep, entry.name);

		if (done < 0)
			return done;
		index->entries[n] = (struct index_entry){};
		if (done) {
			free(entry.name);
			free(entry.session);
		} else {
			index->entries[left++] = entry;
		}
	}
	index->nr = left;
	return 0;
}

/* The list itself: once it was retrieved, the session may be finished. */
static int get_list(struct keep *keep)
{
	CLEANUP_CLOSE int session = keep_get(keep, "session"), list = keep_get(keep, "index");
	int err;

	if (session < 0)
		return session;
	if (list == -ENOENT) {
		list = vmferry_session_retrieve_fd(session, VMFERRY_TOKEN_MANIFEST);
		err = list < 0 ? list : keep_put(keep, "index", list);
		if (err)
			return err;
	}
	return take_fd(&list);
}

static int read_parked(const char *dir, struct keep *keep, struct index *index)
{
	CLEANUP_CLOSE int list = get_list(keep);
	int err = list < 0 ? list : index_read(list, index);

	return err ? err : drop_done(dir, keep, index);
}

/* Nothing of it is left: neither is it. */
static int end(struct keep *keep)
{
	CLEANUP_CLOSE int session = keep_get(keep, "session");
	int err = session < 0 ? session : vmferry_session_finish(session);

	return err ? err : keep_end(keep);
}

/*
 * Virtual machines are restored at the same time, but of the list there is one. To be closed,
 * or negative.
 */
static int lock_list(const char *dir)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	CLEANUP_CLOSE int fd = -1;
	char *path;

	if (asprintf(&path, "%s/" LOCK, dir) < 0)
		return out_error(NULL, -ENOMEM, "cannot lock the list of what has arrived");
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	free(path);
	while (fd >= 0 && fcntl(fd, F_SETLKW, &lock))
		if (errno != EINTR)
			close_quietly(take_fd(&fd));
	return fd < 0 ? out_error(NULL, -errno, "cannot lock the list of what has arrived") :
			take_fd(&fd);
}

int index_retrieve(const char *dir, struct index *index)
{
	CLEANUP_CLOSE int session = -1, lock = lock_list(dir);
	struct keep *keep;
	int err;

	*index = (struct index){};
	if (lock < 0)
		return lock;
	err = find_keeper(dir, true, &keep);
	if (err)
		return out_error(NULL, err, "cannot start a keeper in %s", dir);
	session = keep_get(keep, "session");
	if (session == -ENOENT) {
		err = keep_retrieve(keep, SESSION);
		if (err) {
			/* If it does not answer, it may have it. */
			if (err != -EPIPE)
				keep_end(keep);
			keep_free(keep);
			return err == -ENOENT || err == -EINVAL ? err :
			       out_error(NULL, err, "cannot retrieve the session " SESSION);
		}
	}
	if (!err)
		err = read_parked(dir, keep, index);
	/* Who was to end it has died. */
	if (!err && !index->nr) {
		err = end(keep);
		keep_free(keep);
		return err ? out_error(NULL, err, "cannot finish the session " SESSION) : -ENOENT;
	}
	keep_free(keep);
	return err ? out_error(NULL, err, "cannot read what the kernel before has left") : 0;
}

int index_of_parked(const char *dir, struct index *index)
{
	struct keep *keep;
	int err;

	*index = (struct index){};
	err = find_keeper(dir, false, &keep);
	if (!err) {
		err = read_parked(dir, keep, index);
		keep_free(keep);
	}
	if (err)
		index_free(index);
	return err;
}

int index_mark(const char *dir, const char *name)
{
	struct keep *keep;
	int err = find_keeper(dir, false, &keep);

	if (err == -ENOENT)
		return 0;
	if (!err) {
		err = put_mark(keep, name);
		keep_free(keep);
	}
	return err ? out_error(name, err, "cannot take it off the list") : 0;
}

int index_done(const char *dir, const char *name)
{
	CLEANUP_CLOSE int lock = lock_list(dir);
	struct index index = {};
	struct keep *keep;
	int err;

	if (lock < 0)
		return lock;
	err = find_keeper(dir, false, &keep);
	if (err)
		return out_error(name, err, "it is no longer listed");
	err = put_mark(keep, name);
	if (!err)
		err = read_parked(dir, keep, &index);
	if (!err && !index.nr)
		err = end(keep);
	index_free(&index);
	keep_free(keep);
	return err ? out_error(name, err, "cannot take it off the list") : 0;
}
