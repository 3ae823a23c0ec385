// SPDX-License-Identifier: GPL-2.0-only
/*
 * refuse: as long as it runs, the kernel refuses to be replaced, when all but the jump is
 * done. It says "ready" when that is so.
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "lu.h"
#include "vmtest.h"

int main(void)
{
	int luo = luo_open_device(), session = luo_create_session(luo, "refuse");
	int fd = lu_test_file_open(), ret;

	/* Others want it. */
	close(luo);
	lu_test_file_set(fd, "freeze=-5");
	ret = lu_preserve(session, fd, 1);
	if (ret) {
		errno = -ret;
		vmt_die("the file is not preserved");
	}
	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
}
