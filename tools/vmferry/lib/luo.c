// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Sessions of the Live Update Orchestrator.
 *
 * The device is opened for one ioctl and closed again: it can be open once, and PID 1 wants
 * it at its start and at the very end.
 */
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include <linux/liveupdate.h>

#include "util.h"
#include "vmferry.h"

#define DEVICE "/dev/liveupdate"
/* Between two tries to open it. */
#define PAUSE_MIN_MS 1
#define PAUSE_MAX_MS 100

_Static_assert(VMFERRY_SESSION_NAME_MAX + 1 == LIVEUPDATE_SESSION_NAME_LENGTH,
	       "the kernel's limit");

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void pause_ms(int64_t ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	while (clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, &ts) == EINTR)
		;
}

/* There is nothing to wait for: the device does not tell when it becomes free. */
static int open_device(unsigned int timeout_ms)
{
	int64_t end = now_ms() + timeout_ms, pause = PAUSE_MIN_MS, left;
	int fd;

	for (;;) {
		fd = open(DEVICE, O_RDWR | O_CLOEXEC);
		if (fd >= 0)
			return fd;
		if (errno != EBUSY)
			/* The same as no device at all. */
			return errno == ENXIO || errno == ENODEV ? -ENOENT : -errno;
		left = end - now_ms();
		if (left <= 0)
			return -EBUSY;
		pause_ms(pause < left ? pause : left);
		if (pause < PAUSE_MAX_MS)
			pause *= 2;
	}
}

/* Open the device for an ioctl that takes a name, and put that in its place. */
static int open_for(const char *name, uint8_t *to, unsigned int timeout_ms)
{
	size_t len = strlen(name);

	if (!len)
		return -EINVAL;
	if (len > VMFERRY_SESSION_NAME_MAX)
		return -ENAMETOOLONG;
	memcpy(to, name, len + 1);
	return open_device(timeout_ms);
}

VMFERRY_PUBLIC int vmferry_session_create(const char *name, unsigned int timeout_ms)
{
	struct liveupdate_ioctl_create_session arg = { .size = sizeof(arg) };
	CLEANUP_CLOSE int device = open_for(name, arg.name, timeout_ms);

	if (device < 0)
		return device;
	return ioctl(device, LIVEUPDATE_IOCTL_CREATE_SESSION, &arg) ? -errno : arg.fd;
}

VMFERRY_PUBLIC int vmferry_session_retrieve(const char *name, unsigned int timeout_ms)
{
	struct liveupdate_ioctl_retrieve_session arg = { .size = sizeof(arg) };
	CLEANUP_CLOSE int device = open_for(name, arg.name, timeout_ms);

	if (device < 0)
		return device;
	return ioctl(device, LIVEUPDATE_IOCTL_RETRIEVE_SESSION, &arg) ? -errno : arg.fd;
}

VMFERRY_PUBLIC int vmferry_session_name(int session, char *name)
{
	struct liveupdate_session_get_name arg = { .size = sizeof(arg) };

	if (ioctl(session, LIVEUPDATE_SESSION_GET_NAME, &arg))
		return errno == EINVAL || errno == EFAULT ? -ENOTTY : -errno;
	memcpy(name, arg.name, sizeof(arg.name));
	name[VMFERRY_SESSION_NAME_MAX] = 0;
	return 0;
}

VMFERRY_PUBLIC int vmferry_session_direction(int session)
{
	struct liveupdate_session_preserve_fd arg = { .size = sizeof(arg), .fd = -1 };
	char name[VMFERRY_SESSION_NAME_MAX + 1];
	int err = vmferry_session_name(session, name);

	if (err)
		return err;
	/*
	 * The kernel has no way to ask. But it looks at the direction before it looks at
	 * the token, which may be taken, and at the file, and there is none of number -1.
	 */
	if (!ioctl(session, LIVEUPDATE_SESSION_PRESERVE_FD, &arg))
		return -EPROTO;
	switch (errno) {
	case EBADF:
	case EEXIST:
		return VMFERRY_OUTGOING;
	case EINVAL:
		return VMFERRY_INCOMING;
	default:
		return -errno;
	}
}

VMFERRY_PUBLIC int vmferry_session_preserve(int session, int fd, uint64_t token)
{
	struct liveupdate_session_preserve_fd arg = {
		.size = sizeof(arg), .fd = fd, .token = token,
	};

	return ioctl(session, LIVEUPDATE_SESSION_PRESERVE_FD, &arg) ? -errno : 0;
}

VMFERRY_PUBLIC int vmferry_session_retrieve_fd(int session, uint64_t token)
{
	struct liveupdate_session_retrieve_fd arg = { .size = sizeof(arg), .token = token };

	return ioctl(session, LIVEUPDATE_SESSION_RETRIEVE_FD, &arg) ? -errno : arg.fd;
}

VMFERRY_PUBLIC int vmferry_session_finish(int session)
{
	struct liveupdate_session_finish arg = { .size = sizeof(arg) };

	return ioctl(session, LIVEUPDATE_SESSION_FINISH, &arg) ? -errno : 0;
}
