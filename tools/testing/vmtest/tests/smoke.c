// SPDX-License-Identifier: GPL-2.0-only
/*
 * smoke: is this kernel able to do a live update at all? A memfd preserved in a
 * LUO session comes back with its contents after a kexec, three kernels in a row.
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "kselftest.h"
#include "luo_test_utils.h"
#include "vmtest.h"

#define SESSION	"smoke"
#define TOKEN	0x5eed
#define STAGES	3

static const char *text(int stage)
{
	static char buf[64];

	snprintf(buf, sizeof(buf), "written by stage %d", stage);
	return buf;
}

static void preserve(int luo)
{
	int session;

	session = luo_create_session(luo, SESSION);
	ksft_test_result(session >= 0, "session created\n");
	ksft_test_result(!create_and_preserve_memfd(session, TOKEN, text(vmt_stage())),
			 "memfd preserved\n");
	vmt_mark(VMT_PRESERVED);
	vmt_kexec_load();
	vmt_step("jump");
	errno = -vmt_kexec();
	vmt_die("kexec");
}

static void retrieve(int luo)
{
	int session, memfd;

	session = luo_retrieve_session(luo, SESSION);
	ksft_test_result(session >= 0, "session retrieved\n");
	memfd = restore_and_verify_memfd(session, TOKEN, text(vmt_stage() - 1));
	ksft_test_result(memfd >= 0, "memfd retrieved with its contents\n");
	vmt_mark(VMT_RETRIEVED);
	ksft_test_result(!luo_session_finish(session), "session finished\n");
	vmt_mark(VMT_FINISHED);
	close(memfd);
	close(session);
	vmt_mark(VMT_CLOSED);
	vmt_step("everything is back");
}

int main(void)
{
	int stage = vmt_stage();
	int luo;

	ksft_print_header();
	ksft_set_plan(1 + (stage > 1 ? 3 : 0) + (stage < STAGES ? 2 : 0));
	vmt_mark(VMT_START);

	luo = luo_open_device();
	ksft_test_result(luo >= 0, "%s opened\n", LUO_DEVICE);
	if (stage > 1)
		retrieve(luo);
	if (stage < STAGES)
		preserve(luo);
	ksft_finished();
}
