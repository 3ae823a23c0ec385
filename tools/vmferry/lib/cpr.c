// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The state that QEMU sends through its CPR channel, in the form for cpr-transfer.
 *
 * All numbers are big-endian:
 *
 *	u32 0x51435052 "QCPR", u32 1
 *	any number of files:
 *		u8 1, u32 length of the name with its NUL, the name, u32 id,
 *		u8 0x20, which carries exactly one file descriptor (SCM_RIGHTS)
 *	u8 0
 *	since QEMU 10.1, a subsection:
 *		u8 5, u8 length of its name, "CprState/vfio devices", u32 1
 *		any number of devices:
 *			u8 1, u32 length of the name with its NUL, the name,
 *			u32 devid, u32 ioas_id, u32 hwpt_id
 *		u8 0
 *
 * and the end of the stream. It is QEMU's migration format, whose versions are all there
 * is to tell a change by: what is not known is refused.
 */
#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "util.h"
#include "vmferry.h"

#define MAGIC 0x51435052u
#define VERSION 1u
#define SUBSECTION 5u
#define VFIO_NAME "CprState/vfio devices"
#define VFIO_VERSION 1u
#define MORE 1u
#define LAST 0u
#define CARRIER 0x20u

/* Far beyond what any virtual machine has. */
#define NAME_SIZE_MAX 1024u
#define FDS_MAX 65536u
#define VFIO_MAX 4096u

struct file {
	char *name;
	uint32_t id;
	int fd;
};

struct device {
	char *name;
	uint32_t devid, ioas_id, hwpt_id;
};

struct vmferry_cpr {
	struct file *files;
	size_t nr_files;
	struct device *devices;
	size_t nr_devices;
	bool has_vfio;		/* there is a subsection for devices, maybe empty */
};

/* ---- In memory --------------------------------------------------------------------------- */

VMFERRY_PUBLIC int vmferry_cpr_new(struct vmferry_cpr **cpr)
{
	struct vmferry_cpr *new = calloc(1, sizeof(*new));

	if (!new)
		return -ENOMEM;
	*cpr = new;
	return 0;
}

VMFERRY_PUBLIC void vmferry_cpr_free(struct vmferry_cpr *cpr)
{
	if (!cpr)
		return;
	for (size_t i = 0; i < cpr->nr_files; i++) {
		free(cpr->files[i].name);
		close_quietly(cpr->files[i].fd);
	}
	for (size_t i = 0; i < cpr->nr_devices; i++)
		free(cpr->devices[i].name);
	free(cpr->files);
	free(cpr->devices);
	free(cpr);
}

static void cpr_cleanup(struct vmferry_cpr **cpr)
{
	vmferry_cpr_free(*cpr);
}

/* Takes @fd and @name if it works. */
static int add_file(struct vmferry_cpr *cpr, char *name, uint32_t id, int fd)
{
	int err;

	if (cpr->nr_files >= FDS_MAX)
		return -E2BIG;
	err = grow(&cpr->files, cpr->nr_files, sizeof(*cpr->files));
	if (err)
		return err;
	cpr->files[cpr->nr_files++] = (struct file){ name, id, fd };
	return 0;
}

/* Takes the name if it works. */
static int add_device(struct vmferry_cpr *cpr, const struct device *device)
{
	int err;

	if (cpr->nr_devices >= VFIO_MAX)
		return -E2BIG;
	err = grow(&cpr->devices, cpr->nr_devices, sizeof(*cpr->devices));
	if (err)
		return err;
	cpr->devices[cpr->nr_devices++] = *device;
	return 0;
}

static struct file *find_file(const struct vmferry_cpr *cpr, const char *name, uint32_t id)
{
	for (size_t i = 0; i < cpr->nr_files; i++) {
		if (cpr->files[i].id == id && !strcmp(cpr->files[i].name, name))
			return &cpr->files[i];
	}
	return NULL;
}

static struct device *find_device(const struct vmferry_cpr *cpr, const char *name)
{
	for (size_t i = 0; i < cpr->nr_devices; i++) {
		if (!strcmp(cpr->devices[i].name, name))
			return &cpr->devices[i];
	}
	return NULL;
}

VMFERRY_PUBLIC size_t vmferry_cpr_nr_fds(const struct vmferry_cpr *cpr)
{
	return cpr->nr_files;
}

VMFERRY_PUBLIC int vmferry_cpr_get_fd(const struct vmferry_cpr *cpr, size_t n,
				      struct vmferry_cpr_fd *fd)
{
	if (n >= cpr->nr_files)
		return -ERANGE;
	*fd = (struct vmferry_cpr_fd){
		.name = cpr->files[n].name, .id = cpr->files[n].id, .fd = cpr->files[n].fd,
	};
	return 0;
}

VMFERRY_PUBLIC int vmferry_cpr_find_fd(const struct vmferry_cpr *cpr, const char *name,
				       uint32_t id)
{
	struct file *file = find_file(cpr, name, id);

	return file ? file->fd : -ENOENT;
}

static int check_name(const char *name)
{
	size_t len = strlen(name);

	if (!len)
		return -EINVAL;
	return len >= NAME_SIZE_MAX ? -E2BIG : 0;
}

VMFERRY_PUBLIC int vmferry_cpr_set_fd(struct vmferry_cpr *cpr, const char *name, uint32_t id,
				      int fd)
{
	struct file *file = find_file(cpr, name, id);
	int err = check_name(name);
	char *copy;

	if (err)
		return err;
	if (fd < 0)
		return -EBADF;
	if (file) {
		if (file->fd != fd)
			close_quietly(file->fd);
		file->fd = fd;
		return 0;
	}
	copy = strdup(name);
	if (!copy)
		return -ENOMEM;
	err = add_file(cpr, copy, id, fd);
	if (err)
		free(copy);
	return err;
}

VMFERRY_PUBLIC size_t vmferry_cpr_nr_vfio(const struct vmferry_cpr *cpr)
{
	return cpr->nr_devices;
}

VMFERRY_PUBLIC int vmferry_cpr_get_vfio(const struct vmferry_cpr *cpr, size_t n,
					struct vmferry_cpr_vfio *vfio)
{
	const struct device *device;

	if (n >= cpr->nr_devices)
		return -ERANGE;
	device = &cpr->devices[n];
	*vfio = (struct vmferry_cpr_vfio){
		.name = device->name, .devid = device->devid, .ioas_id = device->ioas_id,
		.hwpt_id = device->hwpt_id,
	};
	return 0;
}

VMFERRY_PUBLIC int vmferry_cpr_set_vfio(struct vmferry_cpr *cpr,
					const struct vmferry_cpr_vfio *vfio)
{
	struct device new = { NULL, vfio->devid, vfio->ioas_id, vfio->hwpt_id };
	struct device *device = find_device(cpr, vfio->name);
	int err = check_name(vfio->name);

	if (err)
		return err;
	if (device) {
		new.name = device->name;
		*device = new;
		return 0;
	}
	new.name = strdup(vfio->name);
	if (!new.name)
		return -ENOMEM;
	err = add_device(cpr, &new);
	if (err)
		free(new.name);
	else
		cpr->has_vfio = true;
	return err;
}

/* ---- Reading ----------------------------------------------------------------------------- */

/*
 * The kernel ends a read behind a byte that carries files. So those that come with a read
 * belong to its last byte, and the offset of that says whether they are where they should be.
 */
struct reader {
	int sock;
	uint8_t buf[4096];
	size_t pos, len;
	uint64_t start;		/* offset of buf in the stream */
	int fd;			/* came with the last byte of buf, or -1 */
};

/* Files that came with a message: one, or none, or it is an error and they are closed. */
static int one_fd(struct msghdr *msg)
{
	int fd = -1, count = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t nr;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		nr = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < nr; i++) {
			int new;

			memcpy(&new, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (count++)
				close_quietly(new);
			else
				fd = new;
		}
	}
	/* There was room for it here, so that this process has no room for more files. */
	if (!count && msg->msg_flags & MSG_CTRUNC)
		return -EMFILE;
	if (count > 1 || msg->msg_flags & MSG_CTRUNC) {
		close_quietly(fd);
		return -EBADMSG;
	}
	return count ? fd : -ENOENT;
}

/* Returns whether there is more, or a negative errno. */
static int fill(struct reader *r)
{
	union {
		char buf[CMSG_SPACE(8 * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { .iov_base = r->buf, .iov_len = sizeof(r->buf) };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};
	ssize_t len;
	int fd;

	/* A file that nobody wanted. */
	if (r->fd >= 0)
		return -EBADMSG;
	do {
		len = recvmsg(r->sock, &msg, MSG_CMSG_CLOEXEC);
	} while (len < 0 && errno == EINTR);
	if (len < 0)
		return -errno;

	fd = one_fd(&msg);
	if (fd >= 0)
		r->fd = fd;
	else if (fd != -ENOENT)
		return fd;
	r->start += r->len;
	r->pos = 0;
	r->len = len;
	return len > 0;
}

static int get(struct reader *r, void *to, size_t len)
{
	while (len) {
		size_t part = r->len - r->pos;
		int ret;

		if (!part) {
			ret = fill(r);
			if (ret <= 0)
				return ret ?: -ENODATA;
			continue;
		}
		if (part > len)
			part = len;
		memcpy(to, r->buf + r->pos, part);
		to = (char *)to + part;
		r->pos += part;
		len -= part;
	}
	return 0;
}

static int get_u8(struct reader *r, uint8_t *val)
{
	return get(r, val, 1);
}

static int get_u32(struct reader *r, uint32_t *val)
{
	int err = get(r, val, sizeof(*val));

	*val = be32toh(*val);
	return err;
}

static int get_name(struct reader *r, char **name)
{
	uint32_t size = 0;
	int err = get_u32(r, &size);
	char *new;

	if (err)
		return err;
	/* One character and a NUL. */
	if (size < 2)
		return -EBADMSG;
	if (size > NAME_SIZE_MAX)
		return -E2BIG;
	new = malloc(size);
	if (!new)
		return -ENOMEM;
	err = get(r, new, size);
	if (!err && strnlen(new, size) != size - 1)
		err = -EBADMSG;
	if (err) {
		free(new);
		return err;
	}
	*name = new;
	return 0;
}

static int get_carried(struct reader *r, int *fd)
{
	uint8_t carrier;
	int err = get_u8(r, &carrier);

	if (err)
		return err;
	/* Others of this read would come after it. */
	if (carrier != CARRIER || r->fd < 0 || r->pos != r->len)
		return -EBADMSG;
	*fd = take_fd(&r->fd);
	return 0;
}

/* Is there one more entry of a list? */
static int get_more(struct reader *r)
{
	uint8_t more;
	int err = get_u8(r, &more);

	if (err)
		return err;
	return more == MORE ? 1 : more == LAST ? 0 : -EBADMSG;
}

static int get_file(struct reader *r, struct vmferry_cpr *cpr)
{
	CLEANUP_CLOSE int fd = -1;
	char *name = NULL;
	uint32_t id = 0;
	int err = get_name(r, &name);

	if (!err)
		err = get_u32(r, &id);
	if (!err)
		err = get_carried(r, &fd);
	if (!err && find_file(cpr, name, id))
		err = -EBADMSG;
	if (!err)
		err = add_file(cpr, name, id, fd);
	if (err)
		free(name);
	else
		take_fd(&fd);
	return err;
}

static int get_device(struct reader *r, struct vmferry_cpr *cpr)
{
	struct device device = {};
	int err = get_name(r, &device.name);

	if (!err)
		err = get_u32(r, &device.devid);
	if (!err)
		err = get_u32(r, &device.ioas_id);
	if (!err)
		err = get_u32(r, &device.hwpt_id);
	if (!err && find_device(cpr, device.name))
		err = -EBADMSG;
	if (!err)
		err = add_device(cpr, &device);
	if (err)
		free(device.name);
	return err;
}

static int get_list(struct reader *r, struct vmferry_cpr *cpr,
		    int (*get_entry)(struct reader *r, struct vmferry_cpr *cpr))
{
	int err;

	while ((err = get_more(r)) > 0) {
		err = get_entry(r, cpr);
		if (err)
			break;
	}
	return err;
}

static int get_header(struct reader *r)
{
	uint32_t magic = 0, version = 0;
	int err = get_u32(r, &magic);

	if (!err && magic != MAGIC)
		return -EBADMSG;
	if (!err)
		err = get_u32(r, &version);
	if (!err && version != VERSION)
		return -EPROTONOSUPPORT;
	return err;
}

/* What comes behind its first byte. */
static int get_vfio(struct reader *r, struct vmferry_cpr *cpr)
{
	char name[UINT8_MAX];
	uint32_t version = 0;
	uint8_t len;
	int err = get_u8(r, &len);

	if (!err)
		err = get(r, name, len);
	if (err)
		return err;
	if (len != strlen(VFIO_NAME) || memcmp(name, VFIO_NAME, len))
		return -EPROTONOSUPPORT;
	err = get_u32(r, &version);
	if (err)
		return err;
	if (version != VFIO_VERSION)
		return -EPROTONOSUPPORT;
	cpr->has_vfio = true;
	return get_list(r, cpr, get_device);
}

static int get_state(struct reader *r, struct vmferry_cpr *cpr)
{
	uint8_t what;
	int err = get_header(r);

	if (!err)
		err = get_list(r, cpr, get_file);
	if (err)
		return err;

	/* The subsections, of which there is one kind, up to the end. */
	while (!(err = get_u8(r, &what))) {
		if (what != SUBSECTION || cpr->has_vfio)
			return -EBADMSG;
		err = get_vfio(r, cpr);
		if (err)
			return err;
	}
	if (err == -ENODATA)
		return r->fd < 0 ? 0 : -EBADMSG;
	return err;
}

VMFERRY_PUBLIC int vmferry_cpr_receive(int sock, struct vmferry_cpr **cpr)
{
	__attribute__((cleanup(cpr_cleanup))) struct vmferry_cpr *new = NULL;
	struct reader r = { .sock = sock, .fd = -1 };
	int err = vmferry_cpr_new(&new);

	if (err)
		return err;
	err = get_state(&r, new);
	close_quietly(r.fd);
	if (err)
		return err;
	*cpr = new;
	new = NULL;
	return 0;
}

/* ---- Writing ----------------------------------------------------------------------------- */

/* Bytes are collected; those that carry a file go out alone. */
struct writer {
	int sock;
	uint8_t buf[4096];
	size_t len;
};

static int send_all(int sock, const uint8_t *buf, size_t len, int fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {};
	struct iovec iov;
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t sent;

	if (fd >= 0) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		CMSG_FIRSTHDR(&msg)->cmsg_level = SOL_SOCKET;
		CMSG_FIRSTHDR(&msg)->cmsg_type = SCM_RIGHTS;
		CMSG_FIRSTHDR(&msg)->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), &fd, sizeof(int));
	}
	while (len) {
		iov = (struct iovec){ .iov_base = (void *)buf, .iov_len = len };
		sent = sendmsg(sock, &msg, MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return -errno;
		buf += sent;
		len -= sent;
	}
	return 0;
}

static int flush(struct writer *w)
{
	int err = send_all(w->sock, w->buf, w->len, -1);

	w->len = 0;
	return err;
}

static int put(struct writer *w, const void *from, size_t len)
{
	while (len) {
		size_t part = sizeof(w->buf) - w->len;
		int err;

		if (!part) {
			err = flush(w);
			if (err)
				return err;
			continue;
		}
		if (part > len)
			part = len;
		memcpy(w->buf + w->len, from, part);
		from = (const char *)from + part;
		w->len += part;
		len -= part;
	}
	return 0;
}

static int put_u8(struct writer *w, uint8_t val)
{
	return put(w, &val, 1);
}

static int put_u32(struct writer *w, uint32_t val)
{
	val = htobe32(val);
	return put(w, &val, sizeof(val));
}

static int put_name(struct writer *w, const char *name)
{
	int err = put_u32(w, strlen(name) + 1);

	return err ?: put(w, name, strlen(name) + 1);
}

static int put_file(struct writer *w, const struct file *file)
{
	static const uint8_t carrier = CARRIER;
	int err = put_u8(w, MORE);

	if (!err)
		err = put_name(w, file->name);
	if (!err)
		err = put_u32(w, file->id);
	if (!err)
		err = flush(w);
	return err ?: send_all(w->sock, &carrier, 1, file->fd);
}

static int put_device(struct writer *w, const struct device *device)
{
	int err = put_u8(w, MORE);

	if (!err)
		err = put_name(w, device->name);
	if (!err)
		err = put_u32(w, device->devid);
	if (!err)
		err = put_u32(w, device->ioas_id);
	return err ?: put_u32(w, device->hwpt_id);
}

static int put_vfio(struct writer *w, const struct vmferry_cpr *cpr)
{
	int err = put_u8(w, SUBSECTION);

	if (!err)
		err = put_u8(w, strlen(VFIO_NAME));
	if (!err)
		err = put(w, VFIO_NAME, strlen(VFIO_NAME));
	if (!err)
		err = put_u32(w, VFIO_VERSION);
	for (size_t i = 0; i < cpr->nr_devices && !err; i++)
		err = put_device(w, &cpr->devices[i]);
	return err ?: put_u8(w, LAST);
}

VMFERRY_PUBLIC int vmferry_cpr_send(int sock, const struct vmferry_cpr *cpr)
{
	struct writer w = { .sock = sock };
	int err = put_u32(&w, MAGIC);

	if (!err)
		err = put_u32(&w, VERSION);
	for (size_t i = 0; i < cpr->nr_files && !err; i++)
		err = put_file(&w, &cpr->files[i]);
	if (!err)
		err = put_u8(&w, LAST);
	if (!err && cpr->has_vfio)
		err = put_vfio(&w, cpr);
	if (!err)
		err = flush(&w);
	if (!err && shutdown(sock, SHUT_WR))
		err = -errno;
	return err;
}
