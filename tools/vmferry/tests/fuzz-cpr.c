// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Any bytes for QEMU's CPR state. A space carries a file, but for that in the name of the
 * part for devices, and so does a quotation mark; an exclamation mark becomes a space that
 * carries none. What is read can be sent, and is the same when it is read again.
 */
#include <sys/socket.h>

#include "fuzz.h"
#include "vmferry.h"

/* Returns false when the socket is full. */
static bool send_bytes(int sock, const uint8_t *bytes, size_t len, bool carries)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {};
	struct iovec iov = { (void *)bytes, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	int fd = STDERR_FILENO;

	if (!len)
		return true;
	if (carries) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		CMSG_FIRSTHDR(&msg)->cmsg_level = SOL_SOCKET;
		CMSG_FIRSTHDR(&msg)->cmsg_type = SCM_RIGHTS;
		CMSG_FIRSTHDR(&msg)->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), &fd, sizeof(int));
	}
	return sendmsg(sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)len;
}

/* What carries a file goes out alone. */
static void send_all(int sock, const uint8_t *data, size_t size)
{
	uint8_t *bytes = malloc(size + 1);
	bool room = true;
	size_t start = 0;

	expect(bytes);
	for (size_t i = 0; i < size; i++)
		bytes[i] = data[i] == '!' ? ' ' : data[i];
	for (size_t i = 0; i < size && room; i++) {
		if (data[i] != '"' && (data[i] != ' ' || (i && data[i - 1] == 'o')))
			continue;
		room = send_bytes(sock, bytes + start, i - start, false) &&
		       send_bytes(sock, bytes + i, 1, true);
		start = i + 1;
	}
	if (room)
		send_bytes(sock, bytes + start, size - start, false);
	shutdown(sock, SHUT_WR);
	free(bytes);
}

static void send_again(const struct vmferry_cpr *cpr)
{
	struct vmferry_cpr_fd fd, again_fd;
	struct vmferry_cpr_vfio vfio, again_vfio;
	struct vmferry_cpr *again = NULL;
	int socks[2];

	expect(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks));
	expect(!vmferry_cpr_send(socks[0], cpr) && !vmferry_cpr_receive(socks[1], &again));
	close(socks[0]);
	close(socks[1]);
	expect(vmferry_cpr_nr_fds(cpr) == vmferry_cpr_nr_fds(again));
	expect(vmferry_cpr_nr_vfio(cpr) == vmferry_cpr_nr_vfio(again));
	for (size_t i = 0; !vmferry_cpr_get_fd(cpr, i, &fd); i++) {
		expect(!vmferry_cpr_get_fd(again, i, &again_fd));
		expect(fd.id == again_fd.id && !strcmp(fd.name, again_fd.name));
		expect(vmferry_cpr_find_fd(again, fd.name, fd.id) == again_fd.fd);
	}
	for (size_t i = 0; !vmferry_cpr_get_vfio(cpr, i, &vfio); i++) {
		expect(!vmferry_cpr_get_vfio(again, i, &again_vfio));
		expect(!strcmp(vfio.name, again_vfio.name) && vfio.devid == again_vfio.devid &&
		       vfio.ioas_id == again_vfio.ioas_id && vfio.hwpt_id == again_vfio.hwpt_id);
	}
	vmferry_cpr_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int lowest = lowest_free(), socks[2];
	struct vmferry_cpr *cpr;

	expect(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks));
	send_all(socks[0], data, size);
	if (!vmferry_cpr_receive(socks[1], &cpr)) {
		send_again(cpr);
		vmferry_cpr_free(cpr);
	}
	close(socks[0]);
	close(socks[1]);
	expect(lowest_free() == lowest);
	return 0;
}

/* What has nothing in it becomes a good one first. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	static const uint8_t sample[] =
		"QCPR\0\0\0\1"
		"\1\0\0\0\5mem0\0\0\0\0\0 "
		"\1\0\0\0\4dev\0\0\0\0\7 "
		"\0"
		"\5\x15" "CprState/vfio devices\0\0\0\1"
		"\1\0\0\0\4dev\0\0\0\0\1\0\0\0\2\0\0\0\3";

	(void)seed;
	if (size < 8 && max_size >= sizeof(sample)) {
		/* The end of the last list is that of the string. */
		memcpy(data, sample, sizeof(sample));
		size = sizeof(sample);
	}
	return LLVMFuzzerMutate(data, size, max_size);
}
