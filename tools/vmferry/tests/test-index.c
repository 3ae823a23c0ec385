// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The index: what is written is read again, and what is damaged is refused, or is left out so
 * that the rest does not suffer.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "index-format.h"

static int read_text(const char *text, size_t len, struct index *index)
{
	int fd = memfd_create("index", MFD_CLOEXEC), err;

	if (fd < 0 || write(fd, text, len) != (ssize_t)len)
		return -EIO;
	err = index_read(fd, index);
	close(fd);
	return err;
}

#define ENTRY(name, session) "{\"name\":\"" name "\",\"session\":\"" session "\"}"
#define INDEX(entries) "{\"version\":1,\"vms\":[" entries "]}"

TEST(written_and_read)
{
	struct index index = {}, read;
	char name[16], session[16];
	int fd;

	for (unsigned int n = 0; n < 100; n++) {
		snprintf(name, sizeof(name), "vm%u", n);
		snprintf(session, sizeof(session), "session %u", n);
		ASSERT_EQ(0, index_add(&index, name, session));
	}
	fd = index_write(&index);
	ASSERT_LE(0, fd);
	EXPECT_EQ(F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE,
		  fcntl(fd, F_GET_SEALS));
	ASSERT_EQ(0, index_read(fd, &read));
	ASSERT_EQ(100, read.nr);
	EXPECT_EQ(0, read.bad);
	for (unsigned int n = 0; n < 100; n++) {
		EXPECT_STREQ(index.entries[n].name, read.entries[n].name);
		EXPECT_STREQ(index.entries[n].session, read.entries[n].session);
	}
	index_free(&index);
	index_free(&read);
	close(fd);
}

/* Cut anywhere, it is none. */
TEST(cut)
{
	static const char text[] = INDEX(ENTRY("a", "vm-a") "," ENTRY("b", "vm-b"));
	struct index index;

	for (size_t len = 0; len < sizeof(text) - 1; len++) {
		EXPECT_EQ(-EBADMSG, read_text(text, len, &index));
		EXPECT_EQ(0, index.nr);
	}
	ASSERT_EQ(0, read_text(text, sizeof(text) - 1, &index));
	EXPECT_EQ(2, index.nr);
	index_free(&index);
}

TEST(none)
{
	static const struct {
		const char *text;
		int err;
	} cases[] = {
		{ "what?", -EBADMSG },
		{ "[]", -EBADMSG },
		{ "1", -EBADMSG },
		{ "null", -EBADMSG },
		{ "{}", -EBADMSG },
		{ "{\"version\":1}", -EBADMSG },
		{ "{\"vms\":[]}", -EBADMSG },
		{ "{\"version\":1,\"vms\":{}}", -EBADMSG },
		{ "{\"version\":1,\"vms\":null}", -EBADMSG },
		{ "{\"version\":\"1\",\"vms\":[]}", -EBADMSG },
		{ "{\"version\":2,\"vms\":[]}", -EPROTONOSUPPORT },
		/* The rest may be anything. */
		{ "{\"version\":2}", -EPROTONOSUPPORT },
		{ "{\"version\":4294967297,\"vms\":[]}", -EPROTONOSUPPORT },
	};
	struct index index;

	for (size_t n = 0; n < sizeof(cases) / sizeof(cases[0]); n++) {
		EXPECT_EQ(cases[n].err, read_text(cases[n].text, strlen(cases[n].text), &index)) {
			TH_LOG("%s", cases[n].text);
		}
	}
	ASSERT_EQ(0, read_text(INDEX(""), strlen(INDEX("")), &index));
	EXPECT_EQ(0, index.nr + index.bad);
}

/* One that is no good costs only itself. */
TEST(entries)
{
	static const char * const bad[] = {
		ENTRY("../a", "vm-a"), ENTRY("a/b", "vm-a"), ENTRY("", "vm-a"), ENTRY(".a", "vm-a"),
		ENTRY("a", ""), "{\"name\":\"a\"}", "{\"session\":\"vm-a\"}", "{}", "[]", "1",
		"null", "\"a\"", "{\"name\":1,\"session\":\"vm-a\"}", "{\"name\":\"a\",\"session\":[]}",
		"{\"name\":null,\"session\":null}",
		/* The first one of a name is the one. */
		ENTRY("good", "vm-other"),
	};
	struct index index;
	char text[512];

	for (size_t n = 0; n < sizeof(bad) / sizeof(bad[0]); n++) {
		snprintf(text, sizeof(text), INDEX(ENTRY("good", "vm-good") ",%s,"
						   ENTRY("also", "vm-also")), bad[n]);
		ASSERT_EQ(0, read_text(text, strlen(text), &index));
		EXPECT_EQ(1, index.bad) {
			TH_LOG("%s", bad[n]);
		}
		ASSERT_EQ(2, index.nr);
		EXPECT_STREQ("good", index.entries[0].name);
		EXPECT_STREQ("vm-good", index.entries[0].session);
		EXPECT_STREQ("also", index.entries[1].name);
		index_free(&index);
	}
}

TEST(too_large)
{
	int fd = memfd_create("index", MFD_CLOEXEC);
	struct index index;

	ASSERT_EQ(0, ftruncate(fd, (1 << 20) + 1));
	EXPECT_EQ(-E2BIG, index_read(fd, &index));
	close(fd);
	EXPECT_EQ(-EBADF, index_read(-1, &index));
}

TEST_HARNESS_MAIN
