/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef VMFERRY_SOCK_H
#define VMFERRY_SOCK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Milliseconds and nanoseconds of CLOCK_MONOTONIC. */
int64_t now_ms(void);
uint64_t now_ns(void);

/* Connect to a UNIX socket. Returns the socket. -ENAMETOOLONG if the path is. */
int connect_unix(const char *path, int type);

/*
 * Listen at a UNIX socket, in the place of a socket that is there already, which only
 * @owner may connect to. Returns the socket.
 */
int listen_unix(const char *path, int type, uid_t owner);

/*
 * Wait for the process @pid to connect; others are turned away. Returns the socket.
 *
 * -ETIMEDOUT
 */
int accept_from(int listener, pid_t pid, int timeout_ms);

/* Send all of it, whatever it takes. -EPIPE without the signal. */
int send_all(int sock, const void *buf, size_t len);

/* Send and receive one message with at most one file. -1 is none. */
int send_fd(int sock, const void *msg, size_t len, int fd);
ssize_t recv_fd(int sock, void *msg, size_t len, int *fd);

#endif /* VMFERRY_SOCK_H */
