// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * How QEMU was started, as the manifest's note tells: nothing is started by one that is damaged.
 */
#include <stdio.h>
#include <string.h>

#include "kselftest_harness.h"
#include "process.h"

static const char * const members[] = {
	"\"environ\":[\"A=b\"]", "\"groups\":[0,4294967294]", "\"cwd\":\"/\"", "\"exe\":\"/qemu\"",
	"\"qmp\":\"/monitor\"", "\"uid\":1", "\"gid\":2", "\"cgroup\":\"/a\"",
};
#define MEMBERS (sizeof(members) / sizeof(members[0]))
/* The last one may be missing. */
#define NEEDED (MEMBERS - 1)

/* All of them but one, in the place of which there is another one or none. */
static void make(char *text, size_t size, size_t but, const char *other)
{
	size_t len = snprintf(text, size, "{\"more\":0");

	for (size_t n = 0; n < MEMBERS; n++) {
		const char *member = n == but ? other : members[n];

		if (member)
			len += snprintf(text + len, size - len, ",%s", member);
	}
	snprintf(text + len, size - len, "}");
}

TEST(good)
{
	struct process process;
	struct json_object *object;
	char text[512];

	make(text, sizeof(text), MEMBERS, NULL);
	object = process_read(text, &process);
	ASSERT_NE(NULL, object);
	EXPECT_EQ(1, json_object_array_length(process.environ));
	EXPECT_EQ(2, json_object_array_length(process.groups));
	EXPECT_STREQ("/", process.cwd);
	EXPECT_STREQ("/qemu", process.exe);
	EXPECT_STREQ("/monitor", process.qmp);
	EXPECT_STREQ("/a", process.cgroup);
	EXPECT_EQ(1, process.uid);
	EXPECT_EQ(2, process.gid);
	json_object_put(object);
	make(text, sizeof(text), MEMBERS - 1, NULL);
	object = process_read(text, &process);
	ASSERT_NE(NULL, object);
	EXPECT_STREQ("", process.cgroup);
	json_object_put(object);
}

TEST(none)
{
	static const char * const texts[] = {
		"", "what?", "[]", "1", "\"text\"", "null", "true", "{}", "{\"environ\":[]}",
	};
	struct process process;

	EXPECT_EQ(NULL, process_read(NULL, &process));
	for (size_t n = 0; n < sizeof(texts) / sizeof(texts[0]); n++)
		EXPECT_EQ(NULL, process_read(texts[n], &process));
}

TEST(missing)
{
	struct process process;
	char text[512];

	for (size_t n = 0; n < NEEDED; n++) {
		make(text, sizeof(text), n, NULL);
		EXPECT_EQ(NULL, process_read(text, &process)) {
			TH_LOG("%s", text);
		}
	}
}

TEST(damaged)
{
	static const struct {
		size_t but;
		const char *other;
	} cases[] = {
		{ 0, "\"environ\":{}" }, { 0, "\"environ\":[1]" }, { 0, "\"environ\":[null]" },
		{ 0, "\"environ\":\"A=b\"" },
		{ 1, "\"groups\":[\"0\"]" }, { 1, "\"groups\":[-1]" },
		{ 1, "\"groups\":[4294967295]" }, { 1, "\"groups\":0" },
		{ 2, "\"cwd\":1" }, { 3, "\"exe\":[]" }, { 3, "\"exe\":null" }, { 4, "\"qmp\":{}" },
		/* These would leave it the user that vmferry is. */
		{ 5, "\"uid\":-1" }, { 5, "\"uid\":4294967295" }, { 5, "\"uid\":4294967296" },
		{ 5, "\"uid\":\"1\"" }, { 5, "\"uid\":1.0" }, { 5, "\"uid\":null" },
		{ 6, "\"gid\":-1" }, { 6, "\"gid\":4294967295" },
		{ 6, "\"gid\":99999999999999999999" },
	};
	struct process process;
	char text[512];

	for (size_t n = 0; n < sizeof(cases) / sizeof(cases[0]); n++) {
		make(text, sizeof(text), cases[n].but, cases[n].other);
		EXPECT_EQ(NULL, process_read(text, &process)) {
			TH_LOG("%s", text);
		}
	}
}

TEST_HARNESS_MAIN
