// SPDX-License-Identifier: GPL-2.0-only
/*
 * jump: go on to the next stage from a script.
 */
#include <errno.h>

#include "vmtest.h"

int main(void)
{
	vmt_kexec_load();
	errno = -vmt_kexec();
	vmt_die("kexec");
}
