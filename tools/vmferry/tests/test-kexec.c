// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The command line is understood as the kernel understands it. The system call does not
 * reach the kernel: a test that loads or unloads an image would do so for its host.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/kexec.h>

#include "kselftest_harness.h"
#include "vmferry.h"

/* ---- The system call --------------------------------------------------------------- */

static struct {
	unsigned int calls;
	int error;		/* of the next call, 0 for none */
	int kernel, initrd;
	bool same_kernel, same_initrd;
	unsigned long len, flags;
	char cmdline[256];
} seen;

static struct stat kernel_st, initrd_st;

static bool is_file(int fd, const struct stat *want)
{
	struct stat st;

	return !fstat(fd, &st) && st.st_ino == want->st_ino && st.st_dev == want->st_dev &&
	       (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY && fcntl(fd, F_GETFD) == FD_CLOEXEC;
}

/* The library's calls come here, and the harness's. */
__attribute__((visibility("default"))) long syscall(long number, ...)
{
	long (*real)(long number, ...);
	long args[6];
	va_list list;

	va_start(list, number);
	for (unsigned int i = 0; i < 6; i++)
		args[i] = va_arg(list, long);
	va_end(list);
	if (number != SYS_kexec_file_load) {
		*(void **)&real = dlsym(RTLD_NEXT, "syscall");
		return real(number, args[0], args[1], args[2], args[3], args[4], args[5]);
	}
	seen.calls++;
	seen.kernel = (int)args[0];
	seen.initrd = (int)args[1];
	seen.same_kernel = is_file(seen.kernel, &kernel_st);
	seen.same_initrd = is_file(seen.initrd, &initrd_st);
	seen.len = args[2];
	if (seen.len && seen.len <= sizeof(seen.cmdline))
		memcpy(seen.cmdline, (const char *)args[3], seen.len);
	seen.flags = args[4];
	errno = seen.error;
	return seen.error ? -1 : 0;
}

FIXTURE(load) {
	char kernel[32], initrd[32];
};

FIXTURE_SETUP(load)
{
	int fd;

	memset(&seen, 0, sizeof(seen));
	strcpy(self->kernel, "/tmp/test-kexec.XXXXXX");
	fd = mkstemp(self->kernel);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, fstat(fd, &kernel_st));
	close(fd);
	strcpy(self->initrd, "/tmp/test-kexec.XXXXXX");
	fd = mkstemp(self->initrd);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, fstat(fd, &initrd_st));
	close(fd);
}

FIXTURE_TEARDOWN(load)
{
	unlink(self->kernel);
	unlink(self->initrd);
}

TEST_F(load, all)
{
	ASSERT_EQ(0, vmferry_kexec_load_path(self->kernel, self->initrd, "kho=on liveupdate=on"));
	EXPECT_EQ(1, seen.calls);
	EXPECT_TRUE(seen.same_kernel);
	EXPECT_TRUE(seen.same_initrd);
	/* With its NUL, or the kernel refuses it. */
	EXPECT_EQ(strlen("kho=on liveupdate=on") + 1, seen.len);
	EXPECT_STREQ("kho=on liveupdate=on", seen.cmdline);
	EXPECT_EQ(0, seen.flags);
	/* They are closed. */
	EXPECT_EQ(-1, fcntl(seen.kernel, F_GETFD));
	EXPECT_EQ(-1, fcntl(seen.initrd, F_GETFD));
}

TEST_F(load, no_initrd)
{
	ASSERT_EQ(0, vmferry_kexec_load_path(self->kernel, NULL, ""));
	EXPECT_TRUE(seen.same_kernel);
	EXPECT_EQ(-1, seen.initrd);
	EXPECT_EQ(1, seen.len);
	EXPECT_EQ(KEXEC_FILE_NO_INITRAMFS, seen.flags);
}

TEST_F(load, by_fd)
{
	int kernel = open(self->kernel, O_RDONLY | O_CLOEXEC);
	int initrd = open(self->initrd, O_RDONLY | O_CLOEXEC);

	ASSERT_EQ(0, vmferry_kexec_load(kernel, initrd, "a"));
	EXPECT_EQ(kernel, seen.kernel);
	EXPECT_EQ(initrd, seen.initrd);
	EXPECT_EQ(0, seen.flags);
	/* Still open. */
	EXPECT_EQ(0, close(kernel));
	EXPECT_EQ(0, close(initrd));
}

TEST_F(load, files_missing)
{
	EXPECT_EQ(-ENOENT, vmferry_kexec_load_path("/no/kernel", self->initrd, ""));
	EXPECT_EQ(-ENOENT, vmferry_kexec_load_path(self->kernel, "/no/initrd", ""));
	EXPECT_EQ(0, seen.calls);
}

TEST_F(load, unload)
{
	ASSERT_EQ(0, vmferry_kexec_unload());
	EXPECT_EQ(1, seen.calls);
	EXPECT_EQ(KEXEC_FILE_UNLOAD, seen.flags);
	EXPECT_EQ(0, seen.len);
	seen.error = EBUSY;
	EXPECT_EQ(-EBUSY, vmferry_kexec_unload());
}

/* Each of them is told, has its own sentence, and no other way is tried. */
TEST_F(load, errors)
{
	static const int errors[] = {
		ENOENT, EACCES, EBADF, ENOEXEC, EPERM, EKEYREJECTED, ENOKEY, EKEYEXPIRED,
		EKEYREVOKED, EBADMSG, ENODATA, ELIBBAD, ENOPKG, EBUSY, EADDRNOTAVAIL, ENOSYS,
		ENOMEM, EINVAL, EFBIG, ETXTBSY, EIO, EINTR,
	};
	size_t nr = sizeof(errors) / sizeof(errors[0]);

	for (size_t i = 0; i < nr; i++) {
		seen.calls = 0;
		seen.error = errors[i];
		EXPECT_EQ(-errors[i], vmferry_kexec_load_path(self->kernel, NULL, ""));
		EXPECT_EQ(1, seen.calls);
		EXPECT_STRNE(vmferry_kexec_reason(-1000), vmferry_kexec_reason(-errors[i]));
		for (size_t j = 0; j < i; j++)
			EXPECT_STRNE(vmferry_kexec_reason(-errors[j]),
				     vmferry_kexec_reason(-errors[i]));
	}
	EXPECT_NE(NULL, strstr(vmferry_kexec_reason(-ENOEXEC), "CONFIG_RELOCATABLE"));
	EXPECT_NE(NULL, strstr(vmferry_kexec_reason(-EADDRNOTAVAIL), "kho_scratch="));
	EXPECT_NE(NULL, vmferry_kexec_reason(12345));
}

/* ---- Switches in a command line ------------------------------------------------------ */

static const struct {
	const char *cmdline;
	int ret;
	bool on;
} switches[] = {
	{ "", -ENOENT, false },
	{ "  \n", -ENOENT, false },
	{ "quiet", -ENOENT, false },
	{ "kho=on", 0, true },
	{ "kho=1", 0, true },
	{ "kho=y", 0, true },
	{ "kho=Yes", 0, true },
	{ "kho=true", 0, true },
	{ "kho=enable", 0, true },
	{ "kho=ON\n", 0, true },
	{ "kho=off", 0, false },
	{ "kho=0", 0, false },
	{ "kho=No", 0, false },
	{ "kho=False", 0, false },
	{ "kho=disable", 0, false },
	/* Only the first character counts, or two. */
	{ "kho=1234", 0, true },
	{ "kho=onto", 0, true },
	/* Neither of them. */
	{ "kho", -EINVAL, false },
	{ "kho=", -EINVAL, false },
	{ "kho=o", -EINVAL, false },
	{ "kho=o n", -EINVAL, false },
	{ "kho=2", -EINVAL, false },
	{ "kho=-1", -EINVAL, false },
	/* The last one wins, and one that is not understood changes nothing. */
	{ "kho=on kho=off", 0, false },
	{ "kho=off quiet kho=on", 0, true },
	{ "kho=on kho=maybe", 0, true },
	{ "kho=off kho", 0, false },
	{ "kho kho=off", 0, false },
	/* Other names. */
	{ "khox=on xkho=on kh=on kho.x=on KHO=on", -ENOENT, false },
	{ "console=ttyS0,kho=on", -ENOENT, false },
	{ "root=\"a kho=on b\"", -ENOENT, false },
	/* Quoted. */
	{ "kho=\"on\"", 0, true },
	{ "\"kho=on\"", 0, true },
	{ "\"kho=off\" x", 0, false },
	{ "\"kho=\"", -EINVAL, false },
	{ "kho=\"", -EINVAL, false },
	{ "\"", -ENOENT, false },
	{ "\"\"", -ENOENT, false },
	{ "=on", -ENOENT, false },
	{ "a=\" b\" kho=on", 0, true },
	/* An open quotation goes to the end. */
	{ "a=\"b kho=on", -ENOENT, false },
	/* Spaces of all kinds. */
	{ "\t a\v\fkho=on\r\n", 0, true },
	{ "a\xa0kho=on", 0, true },
	/* What is behind is for init. */
	{ "quiet -- kho=on", -ENOENT, false },
	{ "kho=off -- kho=on", 0, false },
	{ "quiet --kho=on", -ENOENT, false },
	{ "quiet --x kho=on", 0, true },
	{ "quiet --= kho=on", 0, true },
	{ "quiet \"--\" kho=on", -ENOENT, false },
	{ "--", -ENOENT, false },
};

TEST(switch_values)
{
	for (size_t i = 0; i < sizeof(switches) / sizeof(switches[0]); i++) {
		bool on = !switches[i].on;

		EXPECT_EQ(switches[i].ret, vmferry_cmdline_bool(switches[i].cmdline, "kho", &on)) {
			TH_LOG("in '%s'", switches[i].cmdline);
		}
		/* As it was, if there is nothing to tell. */
		EXPECT_EQ(switches[i].ret ? !switches[i].on : switches[i].on, on) {
			TH_LOG("in '%s'", switches[i].cmdline);
		}
	}
}

TEST(switch_names)
{
	bool on = false;

	EXPECT_EQ(0, vmferry_cmdline_bool("kho=on liveupdate=on", "liveupdate", &on));
	EXPECT_TRUE(on);
	/* The kernel does not tell them apart. */
	EXPECT_EQ(0, vmferry_cmdline_bool("a-b=off", "a_b", &on));
	EXPECT_FALSE(on);
	EXPECT_EQ(0, vmferry_cmdline_bool("a_b=on", "a-b", &on));
	EXPECT_TRUE(on);
}

/* ---- A command line again ------------------------------------------------------------ */

static const struct {
	const char *from, *to;
} lines[] = {
	{ "", "" },
	{ " \n", "" },
	{ "BOOT_IMAGE=/boot/vmlinuz-7.2 root=/dev/sda1 ro quiet\n", "root=/dev/sda1 ro quiet" },
	{ "BOOT_IMAGE=(hd0,gpt2)/vmlinuz", "" },
	{ "root=x BOOT_IMAGE=/vmlinuz kho=on", "root=x kho=on" },
	{ "initrd=\\EFI\\initrd.img root=x initrd=0x1000,0x2000 initrdmem=1,2", "root=x" },
	{ "elfcorehdr=0x1000 dmcryptkeys=1 kexec_jump_back_entry=0x2 a", "a" },
	{ "a \"BOOT_IMAGE=/with space\" b", "a b" },
	/* These only look like it. */
	{ "BOOT_IMAGE xinitrd=1 initrd.x=2", "BOOT_IMAGE xinitrd=1 initrd.x=2" },
	{ "boot_image=3 -- initrd=4", "boot_image=3 -- initrd=4" },
	{ "dyndbg=\"file x +p BOOT_IMAGE=1\" b", "dyndbg=\"file x +p BOOT_IMAGE=1\" b" },
	{ "  a\t b=\"c  d\"   e ", "a b=\"c  d\" e" },
	{ "BOOT_IMAGE=x a -- BOOT_IMAGE=y  single \n", "a -- BOOT_IMAGE=y  single" },
	{ "BOOT_IMAGE=x --", "--" },
	{ "-- ", "--" },
	{ "a=\"open", "a=\"open" },
};

TEST(reuse)
{
	char *reused, *again;

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		ASSERT_EQ(0, vmferry_cmdline_reuse(lines[i].from, &reused));
		EXPECT_STREQ(lines[i].to, reused);
		/* And the same once more. */
		ASSERT_EQ(0, vmferry_cmdline_reuse(reused, &again));
		EXPECT_STREQ(reused, again);
		free(reused);
		free(again);
	}
}

TEST(reuse_own)
{
	char *reused;

	ASSERT_EQ(0, vmferry_reuse_cmdline(&reused));
	EXPECT_EQ(NULL, strchr(reused, '\n'));
	EXPECT_NE(0, strncmp(reused, "BOOT_IMAGE=", 11));
	free(reused);
}

/* All short lines of the characters that matter: nothing is read beyond the end. */
TEST(all_short_lines)
{
	static const char chars[] = "\"= -ko1";
	unsigned int nr = sizeof(chars) - 1, count = 1;

	for (unsigned int len = 1; len <= 6; len++) {
		count *= nr;
		for (unsigned int n = 0; n < count; n++) {
			char *line = malloc(len + 1), *reused;
			unsigned int rest = n;
			bool on;

			for (unsigned int i = 0; i < len; i++, rest /= nr)
				line[i] = chars[rest % nr];
			line[len] = 0;
			vmferry_cmdline_bool(line, "k", &on);
			if (vmferry_cmdline_reuse(line, &reused))
				abort();
			free(reused);
			free(line);
		}
	}
}

TEST_HARNESS_MAIN
