// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmferry_leave: sessions with any content for the next kernel, and the jump. No test by itself.
 *
 * usage: vmferry_leave [SESSION FILE]...	the file as the manifest, with some devices' state;
 *						without a manifest if it is -
 *	  vmferry_leave SESSION			in the next kernel: is it there, untouched?
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmferry.h"
#include "vmtest.h"

static int copy(const char *path)
{
	int to = memfd_create("left", MFD_CLOEXEC), from = open(path, O_RDONLY | O_CLOEXEC);
	char buf[4096];
	ssize_t len;

	if (to < 0 || from < 0)
		vmt_die("vmferry_leave: %s", path);
	while ((len = read(from, buf, sizeof(buf))) > 0)
		if (write(to, buf, len) != len)
			vmt_die("vmferry_leave: %s", path);
	close(from);
	return to;
}

/* Open until the jump. */
static void leave(const char *name, const char *path)
{
	int session = vmferry_session_create(name, 0);

	if (session < 0)
		vmt_die("vmferry_leave: cannot create %s", name);
	if (vmferry_session_preserve(session, copy("/etc/passwd"), VMFERRY_TOKEN_DEVICE_STATE) ||
	    (strcmp(path, "-") &&
	     vmferry_session_preserve(session, copy(path), VMFERRY_TOKEN_MANIFEST)))
		vmt_die("vmferry_leave: cannot preserve %s", path);
}

int main(int argc, char **argv)
{
	if (argc == 2)
		return vmferry_session_retrieve(argv[1], 0) < 0;
	for (int n = 1; n + 1 < argc; n += 2)
		leave(argv[n], argv[n + 1]);
	vmt_kexec();
	return 1;
}
