// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What is made of the stamps of two kernels: phases that add up, whatever is missing or wrong.
 */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "draw.h"
#include "kselftest_harness.h"
#include "timeline.h"
#include "verbs.h"
#include "vmferry.h"

#define MS 1000000ull
/* Of the old kernel's clocks when the guest stopped, and of the new one's when it began. */
#define OLD_MONO (5000000 * MS)
#define OLD_REAL 1790000000123456789ull
#define OLD_CYCLES 90000000000ull
/* From the guest's stop to the beginning of the new kernel. */
#define GAP 200
/* The RTC lags behind. */
#define RTC_LAG (700 * MS)

/* What is true: milliseconds from when the guest stopped. */
static const int truth[TIMELINE_MARKS] = {
	[TIMELINE_BEGIN] = -60, [TIMELINE_RECEIVED] = -40, [TIMELINE_PRESERVED] = -5,
	[TIMELINE_PAUSED] = 0, [TIMELINE_STOPPED] = 30, [TIMELINE_JUMP] = 70,
	[TIMELINE_BOOT] = GAP, [TIMELINE_COMMAND] = 2200, [TIMELINE_RESTORE] = 2210,
	[TIMELINE_RETRIEVED] = 2240, [TIMELINE_REBUILT] = 2300, [TIMELINE_STARTED] = 2320,
	[TIMELINE_RUNNING] = 2700,
};

/* How it is stamped, with @rate cycles in a microsecond and @later milliseconds later. */
static struct timeline_vm stamped(const char *name, int rate, int later)
{
	struct timeline_vm vm = { .name = name };

	for (int mark = 0; mark < TIMELINE_MARKS; mark++) {
		bool shared = mark >= TIMELINE_JUMP && mark <= TIMELINE_COMMAND;
		int64_t ms = truth[mark] + (shared ? 0 : later);
		struct stamp *stamp = &vm.marks[mark];

		stamp->known = true;
		stamp->cycles = mark == TIMELINE_BOOT ? 0 : OLD_CYCLES + ms * 1000 * rate;
		stamp->real_ns = OLD_REAL + ms * (int64_t)MS;
		stamp->monotonic_ns = OLD_MONO + ms * (int64_t)MS;
		if (mark >= TIMELINE_BOOT) {
			stamp->real_ns -= RTC_LAG;
			stamp->monotonic_ns = (ms - GAP) * MS;
		}
	}
	return vm;
}

static bool about(double value, double expected)
{
	return fabs(value - expected) < 0.01;
}

/* The phases of the pause are all of it. */
static bool adds_up(const struct timeline_lane *lane)
{
	double sum = 0;

	for (size_t n = 0; n < lane->nr; n++)
		sum += lane->phases[n].runs ? 0 : lane->phases[n].ms;
	return about(sum, lane->pause_ms);
}

static const struct timeline_phase *phase(const struct timeline_lane *lane, const char *name)
{
	static const struct timeline_phase none = { .from_ms = NAN, .ms = NAN };

	for (size_t n = 0; n < lane->nr; n++)
		if (!strcmp(lane->phases[n].name, name))
			return &lane->phases[n];
	return &none;
}

/* ---- One virtual machine ----------------------------------------------------------------- */

TEST(normal)
{
	static const struct {
		const char *name;
		double from, ms;
		bool runs;
	} expected[] = {
		{ "receive", -60, 20, true }, { "preserve", -40, 35, true },
		{ "prepare", -5, 5, true }, { "capture", 0, 30, false }, { "wait", 30, 40, false },
		{ "freeze and jump", 70, 130, false }, { "kernel boot", 200, 2000, false },
		{ "wait again", 2200, 10, false }, { "retrieve", 2210, 30, false },
		{ "rebuild", 2240, 60, false }, { "replay", 2300, 400, false },
	};
	struct timeline_vm vm = stamped("guest", 2400, 0);
	struct timeline *timeline;
	struct timeline_lane *lane;

	ASSERT_EQ(0, timeline_new(&vm, 1, &timeline));
	ASSERT_EQ(1, timeline->nr);
	lane = timeline->lanes;
	EXPECT_TRUE(timeline->exact);
	EXPECT_TRUE(about(lane->pause_ms, 2700));
	EXPECT_TRUE(about(timeline->first_ms, -60));
	EXPECT_TRUE(about(timeline->last_ms, 2700));
	EXPECT_TRUE(about(lane->at_ms[TIMELINE_STARTED], 2320));
	ASSERT_EQ(sizeof(expected) / sizeof(expected[0]), lane->nr);
	for (size_t n = 0; n < lane->nr; n++) {
		EXPECT_STREQ(expected[n].name, lane->phases[n].name);
		EXPECT_TRUE(about(lane->phases[n].from_ms, expected[n].from)) {
			TH_LOG("%s from %f", expected[n].name, lane->phases[n].from_ms);
		}
		EXPECT_TRUE(about(lane->phases[n].ms, expected[n].ms)) {
			TH_LOG("%s for %f", expected[n].name, lane->phases[n].ms);
		}
		EXPECT_EQ(expected[n].runs, lane->phases[n].runs);
		EXPECT_EQ(n, lane->phases[n].kind);
	}
	EXPECT_TRUE(adds_up(lane));
	timeline_free(timeline);
}

/* The counter is as fast as it is: nothing is assumed. */
TEST(rates)
{
	static const int rates[] = { 1, 25, 1000, 5000 };

	for (size_t n = 0; n < sizeof(rates) / sizeof(rates[0]); n++) {
		struct timeline_vm vm = stamped("guest", rates[n], 0);
		struct timeline *timeline;

		ASSERT_EQ(0, timeline_new(&vm, 1, &timeline));
		EXPECT_TRUE(timeline->exact);
		EXPECT_TRUE(about(timeline->lanes->pause_ms, 2700));
		timeline_free(timeline);
	}
}

/* Too little is known of the old kernel to tell the rate: that of the new one has to do. */
TEST(rate_of_new)
{
	struct timeline_vm vm = stamped("guest", 2400, 0);
	struct timeline *timeline;

	for (int mark = 0; mark < TIMELINE_JUMP; mark++)
		if (mark != TIMELINE_PAUSED)
			vm.marks[mark].known = false;
	vm.marks[TIMELINE_PAUSED].cycles = 0;
	ASSERT_EQ(0, timeline_new(&vm, 1, &timeline));
	EXPECT_TRUE(timeline->exact);
	EXPECT_TRUE(about(timeline->lanes->pause_ms, 2700));
	EXPECT_TRUE(about(phase(timeline->lanes, "capture, wait")->ms, 70));
	EXPECT_TRUE(adds_up(timeline->lanes));
	timeline_free(timeline);
}

/* What is not known becomes a part of the next phase, and it adds up nevertheless. */
TEST(missing)
{
	struct timeline_vm whole = stamped("guest", 2400, 0);

	for (int mark = TIMELINE_STOPPED; mark < TIMELINE_RUNNING; mark++) {
		struct timeline_vm vm = whole;
		struct timeline *timeline;

		vm.marks[mark].known = false;
		ASSERT_EQ(0, timeline_new(&vm, 1, &timeline));
		EXPECT_TRUE(about(timeline->lanes->pause_ms, 2700));
		EXPECT_TRUE(adds_up(timeline->lanes)) {
			TH_LOG("without mark %d", mark);
		}
		EXPECT_EQ(mark == TIMELINE_STARTED ? 11 : 10, timeline->lanes->nr);
		timeline_free(timeline);
	}
}

TEST(missing_several)
{
	struct timeline_vm vm = stamped("guest", 2400, 0);
	struct timeline *timeline;

	vm.marks[TIMELINE_JUMP].known = vm.marks[TIMELINE_BOOT].known = false;
	ASSERT_EQ(0, timeline_new(&vm, 1, &timeline));
	EXPECT_TRUE(about(phase(timeline->lanes, "wait, freeze and jump, kernel boot")->ms, 2170));
	EXPECT_TRUE(adds_up(timeline->lanes));
	timeline_free(timeline);

	/* All that may be. */
	for (int mark = TIMELINE_STOPPED; mark < TIMELINE_RUNNING; mark++)
		vm.marks[mark].known = mark == TIMELINE_STARTED;
	ASSERT_EQ(0, timeline_new(&vm, 1, &timeline));
	ASSERT_EQ(4, timeline->lanes->nr);
	EXPECT_STREQ("capture, wait, freeze and jump, kernel boot, wait again, retrieve, rebuild, "
		     "replay", timeline->lanes->phases[3].name);
	timeline_free(timeline);
}

/* When the guest stopped or went on is not guessed. */
TEST(no_pause)
{
	static const enum timeline_mark ends[] = { TIMELINE_PAUSED, TIMELINE_RUNNING };

	for (size_t n = 0; n < 2; n++) {
		struct timeline_vm vm = stamped("guest", 2400, 0);
		struct json_object *object = json_object_new_object(), *value;
		struct timeline *timeline;
		char *text;

		vm.marks[ends[n]].known = false;
		ASSERT_EQ(0, timeline_new(&vm, 1, &timeline));
		EXPECT_TRUE(isnan(timeline->lanes->pause_ms));
		EXPECT_TRUE(isnan(phase(timeline->lanes, n ? "replay" : "capture")->ms));
		EXPECT_TRUE(isnan(phase(timeline->lanes, "prepare, capture")->ms));
		EXPECT_TRUE(about(phase(timeline->lanes, "wait")->ms, 40));
		text = timeline_text(timeline, NULL, 80);
		EXPECT_NE(NULL, strstr(text, "not known"));
		free(text);
		timeline_json(timeline, 0, object);
		EXPECT_TRUE(json_object_object_get_ex(object, "pause_ms", &value));
		EXPECT_EQ(NULL, value);
		json_object_put(object);
		timeline_free(timeline);
	}
}

TEST(nothing)
{
	struct timeline_vm vm = stamped("guest", 2400, 0), empty = { .name = "guest" };
	struct timeline *timeline;

	EXPECT_EQ(-ENODATA, timeline_new(&empty, 1, &timeline));
	EXPECT_EQ(-ENODATA, timeline_new(NULL, 0, &timeline));
	for (int mark = TIMELINE_BOOT; mark < TIMELINE_MARKS; mark++)
		vm.marks[mark].known = false;
	EXPECT_EQ(-ENODATA, timeline_new(&vm, 1, &timeline));
}

/* ---- Clocks that are none ---------------------------------------------------------------- */

/* Then the RTC has to do, and it is said. */
static void expect_inexact(struct __test_metadata *_metadata, const struct timeline_vm *vm,
			   double pause)
{
	struct timeline *timeline;
	char *text;

	ASSERT_EQ(0, timeline_new(vm, 1, &timeline));
	EXPECT_FALSE(timeline->exact);
	EXPECT_TRUE(about(timeline->lanes->pause_ms, pause)) {
		TH_LOG("pause %f", timeline->lanes->pause_ms);
	}
	EXPECT_TRUE(adds_up(timeline->lanes));
	/* What is within one kernel is right nevertheless. */
	EXPECT_TRUE(about(phase(timeline->lanes, "capture")->ms, 30));
	EXPECT_TRUE(about(phase(timeline->lanes, "kernel boot")->ms, 2000));
	text = timeline_text(timeline, NULL, 80);
	EXPECT_NE(NULL, strstr(text, "only right to a second"));
	free(text);
	timeline_free(timeline);
}

TEST(counter_goes_back)
{
	struct timeline_vm vm = stamped("guest", 2400, 0);
	struct timeline *timeline;

	for (int mark = TIMELINE_COMMAND; mark < TIMELINE_MARKS; mark++)
		vm.marks[mark].cycles -= OLD_CYCLES;
	/* It cannot begin before it is jumped to, whatever the RTC says. */
	expect_inexact(_metadata, &vm, 2700 - 130);
	/* Which may also be ahead. */
	for (int mark = TIMELINE_BOOT; mark < TIMELINE_MARKS; mark++)
		vm.marks[mark].real_ns += RTC_LAG + 400 * MS;
	expect_inexact(_metadata, &vm, 2700 + 400);

	/* Also if nothing is known of when the kernel began. */
	vm.marks[TIMELINE_BOOT].known = false;
	ASSERT_EQ(0, timeline_new(&vm, 1, &timeline));
	EXPECT_FALSE(timeline->exact);
	EXPECT_TRUE(about(timeline->lanes->pause_ms, 2700 + 400));
	timeline_free(timeline);
}

TEST(no_counter)
{
	struct timeline_vm vm = stamped("guest", 0, 0);

	for (int mark = 0; mark < TIMELINE_MARKS; mark++)
		vm.marks[mark].cycles = 0;
	expect_inexact(_metadata, &vm, 2700 - 130);
}

TEST(counter_of_new_only)
{
	struct timeline_vm vm = stamped("guest", 2400, 0);

	for (int mark = 0; mark < TIMELINE_BOOT; mark++)
		vm.marks[mark].cycles = 0;
	expect_inexact(_metadata, &vm, 2700 - 130);
}

/* One that does not go on in an even way, or stands still, tells nothing. */
TEST(counter_uneven)
{
	struct timeline_vm vm = stamped("guest", 2400, 0), fast = stamped("guest", 3000, 0);

	memcpy(&vm.marks[TIMELINE_BOOT], &fast.marks[TIMELINE_BOOT],
	       sizeof(vm.marks) - TIMELINE_BOOT * sizeof(vm.marks[0]));
	expect_inexact(_metadata, &vm, 2700 - 130);
	vm = stamped("guest", 2400, 0);
	for (int mark = 0; mark < TIMELINE_BOOT; mark++)
		vm.marks[mark].cycles = OLD_CYCLES;
	expect_inexact(_metadata, &vm, 2700 - 130);
	/* In both, and in between it has gone on. */
	for (int mark = TIMELINE_COMMAND; mark < TIMELINE_MARKS; mark++)
		vm.marks[mark].cycles = 2 * OLD_CYCLES;
	expect_inexact(_metadata, &vm, 2700 - 130);
	/* Too few cycles for all the time that the new kernel says it is up. */
	vm = stamped("guest", 2400, 0);
	for (int mark = TIMELINE_COMMAND; mark < TIMELINE_MARKS; mark++)
		vm.marks[mark].cycles -= 2000ull * 1000 * 2400;
	expect_inexact(_metadata, &vm, 2700 - 130);
}

/* The new kernel's clock is a bit fast: it began when it was jumped to, not before. */
TEST(boot_before_jump)
{
	struct timeline_vm vm = stamped("guest", 2400, 0);
	struct timeline *timeline;

	vm.marks[TIMELINE_BOOT].monotonic_ns = 0;
	for (int mark = TIMELINE_COMMAND; mark < TIMELINE_MARKS; mark++)
		vm.marks[mark].monotonic_ns += 150 * MS;
	ASSERT_EQ(0, timeline_new(&vm, 1, &timeline));
	EXPECT_TRUE(timeline->exact);
	EXPECT_TRUE(about(phase(timeline->lanes, "freeze and jump")->ms, 0));
	EXPECT_TRUE(about(phase(timeline->lanes, "kernel boot")->ms, 2130));
	EXPECT_TRUE(about(timeline->lanes->pause_ms, 2700));
	EXPECT_TRUE(adds_up(timeline->lanes));
	timeline_free(timeline);
}

/* A mark that was left from another time is none. */
TEST(out_of_order)
{
	struct timeline_vm vm = stamped("guest", 2400, 0);
	struct timeline *timeline;

	vm.marks[TIMELINE_REBUILT].monotonic_ns -= 1000 * MS;
	vm.marks[TIMELINE_REBUILT].cycles -= 1000ull * 1000 * 2400;
	ASSERT_EQ(0, timeline_new(&vm, 1, &timeline));
	EXPECT_TRUE(isnan(timeline->lanes->at_ms[TIMELINE_REBUILT]));
	EXPECT_TRUE(about(phase(timeline->lanes, "rebuild, replay")->ms, 460));
	EXPECT_TRUE(adds_up(timeline->lanes));
	timeline_free(timeline);
}

/* Whatever numbers there are: nothing worse than nonsense comes out. */
TEST(any_numbers)
{
	static const uint64_t numbers[] = {
		0, 1, INT64_MAX, INT64_MAX + 1ull, UINT64_MAX, OLD_MONO, OLD_REAL,
	};
	unsigned int seed = 1;

	for (int round = 0; round < 500; round++) {
		struct timeline_vm vm = stamped("guest", 2400, 0);
		uint64_t ns[] = { OLD_REAL, 0, UINT64_MAX };
		struct packets packets = { .ns = ns, .nr = 3 };
		struct timeline *timeline;
		char *text;

		for (int mark = 0; mark < TIMELINE_MARKS; mark++) {
			seed = seed * 1103515245 + 12345;
			vm.marks[mark].known = seed >> 16 & 7;
			if (seed >> 20 & 1)
				vm.marks[mark].monotonic_ns = numbers[(seed >> 21) % 7];
			if (seed >> 24 & 1)
				vm.marks[mark].cycles = numbers[(seed >> 25) % 7];
			if (seed >> 28 & 1)
				vm.marks[mark].real_ns = numbers[(seed >> 29) % 7];
		}
		if (timeline_new(&vm, 1, &timeline))
			continue;
		text = timeline_text(timeline, &packets, 80);
		EXPECT_NE(NULL, text);
		free(text);
		json_object_put(timeline_json_all(timeline, &packets));
		timeline_free(timeline);
	}
}

/* ---- The manifest ------------------------------------------------------------------------ */

TEST(manifest)
{
	struct vmferry_manifest_info info = {
		.vm_id = "0f8fad5b-d9cb-469f-a165-70867728950e", .vm_name = "guest",
		.qemu_version = "11.1.3", .kernel_release = "7.2.12",
		.paused_ns = OLD_MONO - 30 * MS,
	};
	struct vmferry_manifest_time times[] = {
		{ "begin", OLD_MONO - 90 * MS, OLD_REAL - 90 * MS, 7 },
		{ "jump", 1, 1, 1 },	/* not the manifest's */
		{ "else", 2, 2, 2 },
		{ "stopped", OLD_MONO, OLD_REAL, 0 },
		{ "paused", OLD_MONO - 31 * MS, OLD_REAL, 9 },
	};
	struct timeline_vm vm = {}, again = {};
	struct vmferry_manifest *manifest;

	ASSERT_EQ(0, vmferry_manifest_new(&manifest));
	ASSERT_EQ(0, vmferry_manifest_set_info(manifest, &info));
	for (size_t n = 0; n < 4; n++)
		ASSERT_EQ(0, vmferry_manifest_add_time(manifest, &times[n]));
	timeline_take(&vm, manifest);
	EXPECT_TRUE(vm.marks[TIMELINE_BEGIN].known);
	EXPECT_EQ(OLD_MONO - 90 * MS, vm.marks[TIMELINE_BEGIN].monotonic_ns);
	EXPECT_EQ(OLD_REAL - 90 * MS, vm.marks[TIMELINE_BEGIN].real_ns);
	EXPECT_EQ(7, vm.marks[TIMELINE_BEGIN].cycles);
	EXPECT_FALSE(vm.marks[TIMELINE_RECEIVED].known);
	EXPECT_FALSE(vm.marks[TIMELINE_JUMP].known);
	/* As an older one has written it. */
	EXPECT_TRUE(vm.marks[TIMELINE_PAUSED].known);
	EXPECT_EQ(OLD_MONO - 30 * MS, vm.marks[TIMELINE_PAUSED].monotonic_ns);
	EXPECT_EQ(OLD_REAL - 30 * MS, vm.marks[TIMELINE_PAUSED].real_ns);
	EXPECT_EQ(0, vm.marks[TIMELINE_PAUSED].cycles);
	ASSERT_EQ(0, vmferry_manifest_add_time(manifest, &times[4]));
	timeline_take(&again, manifest);
	EXPECT_EQ(OLD_MONO - 31 * MS, again.marks[TIMELINE_PAUSED].monotonic_ns);
	EXPECT_EQ(9, again.marks[TIMELINE_PAUSED].cycles);
	vmferry_manifest_free(manifest);
}

/* ---- Several ----------------------------------------------------------------------------- */

TEST(two)
{
	struct timeline_vm vms[] = { stamped("one", 2400, 5), stamped("two", 2400, 40) };
	struct timeline *timeline;
	struct json_object *root, *list;
	char *text;

	ASSERT_EQ(0, timeline_new(vms, 2, &timeline));
	ASSERT_EQ(2, timeline->nr);
	/* The same beginning for both: when the first one stopped. */
	EXPECT_TRUE(about(timeline->lanes[0].at_ms[TIMELINE_PAUSED], 0));
	EXPECT_TRUE(about(timeline->lanes[1].at_ms[TIMELINE_PAUSED], 35));
	EXPECT_TRUE(about(timeline->lanes[0].at_ms[TIMELINE_JUMP], 65));
	EXPECT_TRUE(about(timeline->lanes[1].at_ms[TIMELINE_BOOT], 195));
	EXPECT_TRUE(about(timeline->lanes[0].pause_ms, 2700));
	EXPECT_TRUE(about(phase(&timeline->lanes[0], "wait again")->ms, 15));
	EXPECT_TRUE(about(phase(&timeline->lanes[1], "wait again")->ms, 50));
	EXPECT_TRUE(adds_up(&timeline->lanes[0]));
	EXPECT_TRUE(adds_up(&timeline->lanes[1]));
	text = timeline_text(timeline, NULL, 80);
	EXPECT_NE(NULL, strstr(text, "one: the guest stood still for 2700.0 ms\n"));
	EXPECT_NE(NULL, strstr(text, "two: the guest stood still for 2700.0 ms\n"));
	free(text);
	root = timeline_json_all(timeline, NULL);
	EXPECT_TRUE(json_object_object_get_ex(root, "vms", &list));
	EXPECT_EQ(2, json_object_array_length(list));
	json_object_put(root);
	timeline_free(timeline);
}

/* ---- What it looks like ------------------------------------------------------------------ */

/* Each line has the same length, and a bar where the phase is. */
TEST(text)
{
	struct timeline_vm vm = stamped("guest", 2400, 0);
	static const unsigned int widths[] = { 0, 60, 80, 200 };
	struct timeline *timeline;

	ASSERT_EQ(0, timeline_new(&vm, 1, &timeline));
	for (size_t n = 0; n < 4; n++) {
		char *text = timeline_text(timeline, NULL, widths[n]), *line = text;
		size_t width = widths[n] < 60 ? 60 : widths[n], bars = 0, columns = width - 43;

		ASSERT_NE(NULL, text);
		for (; *line; line += strcspn(line, "\n") + 1) {
			size_t len = strcspn(line, "\n"), from, length;
			const char *bar = memchr(line, '|', len);
			const struct timeline_phase *one = &timeline->lanes->phases[bars];

			EXPECT_GE(width, len);
			if (!bar)
				continue;
			bars++;
			EXPECT_EQ(width, len);
			from = strspn(++bar, " ");
			length = strspn(bar + from, one->runs ? "=" : "#");
			EXPECT_EQ('|', bar[columns]);
			EXPECT_EQ((size_t)((one->from_ms + 60) / 2760 * columns), from);
			EXPECT_LE(1, length);
			EXPECT_GE(one->ms / 2760 * columns + 1, length);
			EXPECT_EQ(columns, from + length + strspn(bar + from + length, " "));
		}
		EXPECT_EQ(11, bars);
		free(text);
	}
	timeline_free(timeline);
}

TEST(json)
{
	struct timeline_vm vm = stamped("guest", 2400, 0);
	struct json_object *object = json_object_new_object(), *list, *entry, *value;
	struct timeline *timeline;

	ASSERT_EQ(0, timeline_new(&vm, 1, &timeline));
	timeline_json(timeline, 0, object);
	ASSERT_TRUE(json_object_object_get_ex(object, "pause_ms", &value));
	EXPECT_STREQ("2700.000", json_object_to_json_string(value));
	ASSERT_TRUE(json_object_object_get_ex(object, "exact", &value));
	EXPECT_TRUE(json_object_get_boolean(value));
	ASSERT_TRUE(json_object_object_get_ex(object, "timeline", &list));
	EXPECT_EQ(11, json_object_array_length(list));
	entry = json_object_array_get_idx(list, 3);
	EXPECT_STREQ("{\"name\":\"capture\",\"from_ms\":0.000,\"ms\":30.000,\"runs\":false}",
		     json_object_to_json_string_ext(entry, JSON_C_TO_STRING_PLAIN));
	ASSERT_TRUE(json_object_object_get_ex(object, "marks", &list));
	ASSERT_TRUE(json_object_object_get_ex(list, "started", &value));
	EXPECT_STREQ("2320.000", json_object_to_json_string(value));
	json_object_put(object);
	timeline_free(timeline);
}

/* ---- Packets ----------------------------------------------------------------------------- */

/* How many were read; or -errno, with the line. */
static int read_text(const char *text, size_t len, struct packets *packets, size_t *line)
{
	FILE *file = fmemopen((void *)text, len, "r");
	int err = packets_read(file, packets, line);

	fclose(file);
	return err ? err : (int)packets->nr;
}

TEST(packets)
{
	static const char text[] = "# of the mirror\n1790000000.123456\n\n 1790000001 \r\n"
				   "\t1790000000.1234567891234\n0.5\n1790000000.000000001";
	struct packets packets;
	size_t line;

	ASSERT_EQ(5, read_text(text, strlen(text), &packets, &line));
	EXPECT_EQ(1790000000123456000, packets.ns[0]);
	EXPECT_EQ(1790000001000000000, packets.ns[1]);
	EXPECT_EQ(1790000000123456789, packets.ns[2]);
	EXPECT_EQ(500000000, packets.ns[3]);
	EXPECT_EQ(1790000000000000001, packets.ns[4]);
	packets_free(&packets);
	EXPECT_EQ(0, read_text("\n", 1, &packets, &line));
	packets_free(&packets);
}

TEST(packets_damaged)
{
	static const char * const lines[] = {
		"x", "-1", "+1", "1.", ".5", "1.5.5", "1,5", "1 2", "1e9", "0x10", "1 # no",
		"12:00:01.5", "18446744074", "18446744073709551616", "18446744073.8", "nan",
	};

	for (size_t n = 0; n < sizeof(lines) / sizeof(lines[0]); n++) {
		struct packets packets;
		char text[128];
		size_t line;

		snprintf(text, sizeof(text), "1\n# x\n%s\n2\n", lines[n]);
		EXPECT_EQ(-EBADMSG, read_text(text, strlen(text), &packets, &line)) {
			TH_LOG("%s", lines[n]);
		}
		EXPECT_EQ(3, line);
		EXPECT_EQ(NULL, packets.ns);
		/* At the end, too. */
		EXPECT_EQ(-EBADMSG, read_text(text, strlen(text) - 3, &packets, &line));
	}
	{
		struct packets packets;
		size_t line;

		EXPECT_EQ(-EBADMSG, read_text("1\n2\0\n3\n", 7, &packets, &line));
		EXPECT_EQ(2, line);
	}
}

/* They are where they belong by the old kernel's clock, whatever that of the new one says. */
TEST(packets_placed)
{
	uint64_t ns[] = {
		OLD_REAL - 1000 * MS, OLD_REAL - 55 * MS, OLD_REAL + 5 * MS, OLD_REAL + 6 * MS,
		OLD_REAL + 2695 * MS, OLD_REAL + 5000 * MS,
	};
	struct packets packets = { .ns = ns, .nr = 6 };
	struct timeline_vm vm = stamped("guest", 2400, 0);
	struct json_object *root, *object, *counts;
	struct timeline *timeline;
	char *text, *line, *script = NULL;
	size_t size;
	FILE *out;

	ASSERT_EQ(0, timeline_new(&vm, 1, &timeline));
	root = timeline_json_all(timeline, &packets);
	ASSERT_TRUE(json_object_object_get_ex(root, "packets", &object));
	ASSERT_TRUE(json_object_object_get_ex(object, "counts", &counts));
	ASSERT_EQ(277, json_object_array_length(counts));
	for (size_t n = 0; n < 277; n++) {
		int expected = n == 0 || n == 275 ? 1 : n == 6 ? 2 : 0;

		EXPECT_EQ(expected, json_object_get_int(json_object_array_get_idx(counts, n))) {
			TH_LOG("in the bin at %zu ms", 10 * n - 60);
		}
	}
	json_object_put(root);
	text = timeline_text(timeline, &packets, 80);
	line = strstr(text, "\n  packets ");
	ASSERT_NE(NULL, line);
	EXPECT_EQ(4, atoi(line + strlen("\n  packets ")));
	EXPECT_NE(NULL, strstr(line, "at most 3 packets (@)"));
	line = strchr(line, '|') + 1;
	EXPECT_EQ('@', line[0]);
	EXPECT_EQ(35, strspn(line + 1, " "));
	EXPECT_EQ('-', line[36]);
	free(text);

	/* In the picture, too. */
	out = open_memstream(&script, &size);
	ASSERT_EQ(0, timeline_gnuplot(timeline, &packets, "svg", out));
	fclose(out);
	EXPECT_NE(NULL, strstr(script, "packets per 10 ms"));
	EXPECT_NE(NULL, strstr(script, "5.000 2\n"));
	EXPECT_NE(NULL, strstr(script, "capture 30.0 ms"));
	free(script);
	timeline_free(timeline);
}

/* ---- Files ------------------------------------------------------------------------------- */

FIXTURE(draw) {
	char dir[32], file[64];
	struct drawing drawing;
	struct options options;
	char *path;	/* $PATH as it was */
};

FIXTURE_SETUP(draw)
{
	struct timeline_vm vm = stamped("guest", 2400, 0);
	struct json_object *object = json_object_new_object();

	strcpy(self->dir, "/tmp/vmferry-XXXXXX");
	ASSERT_NE(NULL, mkdtemp(self->dir));
	ASSERT_EQ(0, chdir(self->dir));
	self->path = getenv("PATH");
	ASSERT_EQ(0, drawing_add(&self->drawing, &vm, object));
	json_object_put(object);
}

FIXTURE_TEARDOWN(draw)
{
	static const char * const names[] = {
		"x.svg", "x.png", "x.txt", "x.json", "gnuplot", "packets", "link.svg",
	};

	for (size_t n = 0; n < sizeof(names) / sizeof(names[0]); n++)
		unlink(names[n]);
	rmdir("dir.svg");
	EXPECT_EQ(0, rmdir(self->dir));
	drawing_free(&self->drawing);
}

static char *content(const char *file, size_t *len)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	struct stat st;
	char *text;

	if (fd < 0 || fstat(fd, &st))
		return NULL;
	text = calloc(1, st.st_size + 1);
	*len = read(fd, text, st.st_size);
	close(fd);
	return text;
}

/* Draw, and what went to a file descriptor meanwhile. To be freed. */
static char *drawn(FIXTURE_DATA(draw) *self, const char *file, int fd)
{
	int memfd = memfd_create("said", MFD_CLOEXEC), saved = dup(fd);
	off_t size;
	char *text;

	fflush(stdout);
	dup2(memfd, fd);
	draw(&self->drawing, &self->options, file);
	fflush(stdout);
	dup2(saved, fd);
	close(saved);
	size = lseek(memfd, 0, SEEK_END);
	text = calloc(1, size + 1);
	if (pread(memfd, text, size, 0) != size)
		abort();
	close(memfd);
	return text;
}

static void expect_said(struct __test_metadata *_metadata, FIXTURE_DATA(draw) *self,
			const char *file, const char *what)
{
	char *said = drawn(self, file, STDERR_FILENO);

	EXPECT_TRUE(*what ? !!strstr(said, what) : !*said) {
		TH_LOG("%s", said);
	}
	free(said);
}

TEST_F(draw, without_gnuplot)
{
	char *text;
	size_t len;

	setenv("PATH", "/nonexistent", 1);
	expect_said(_metadata, self, "x.svg", "there is no gnuplot");
	EXPECT_NE(0, access("x.svg", F_OK));
	expect_said(_metadata, self, "x.txt", "");
	text = content("x.txt", &len);
	ASSERT_NE(NULL, text);
	EXPECT_NE(NULL, strstr(text, "guest: the guest stood still for 2700.0 ms\n"));
	free(text);
	expect_said(_metadata, self, "x.json", "");
	text = content("x.json", &len);
	ASSERT_NE(NULL, text);
	EXPECT_NE(NULL, strstr(text, "\"pause_ms\":2700.000"));
	free(text);
	text = drawn(self, "-", STDOUT_FILENO);
	EXPECT_NE(NULL, strstr(text, "guest: the guest stood still for 2700.0 ms\n"));
	EXPECT_EQ('|', text[strlen(text) - 2]);
	free(text);
	setenv("PATH", self->path, 1);
}

TEST_F(draw, with_gnuplot)
{
	char *text;
	size_t len;

	/* It finds no PATH but that of the shell. */
	if (system("command -v gnuplot > /dev/null"))
		SKIP(return, "there is no gnuplot");
	expect_said(_metadata, self, "x.svg", "");
	text = content("x.svg", &len);
	ASSERT_NE(NULL, text);
	EXPECT_NE(NULL, strstr(text, "<svg"));
	EXPECT_NE(NULL, strstr(text, "stood still for 2700.0 ms"));
	EXPECT_NE(NULL, strstr(text, "</svg>"));
	EXPECT_EQ(NULL, strstr(text, "packets per"));
	free(text);
	expect_said(_metadata, self, "x.png", "");
	text = content("x.png", &len);
	ASSERT_NE(NULL, text);
	EXPECT_EQ(0, memcmp(text, "\x89PNG", 4));
	free(text);
}

/* One that fails leaves what was there. */
TEST_F(draw, gnuplot_fails)
{
	int fd = open("gnuplot", O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
	static const char script[] =
		"#!/bin/sh\necho half\necho one >&2\necho the reason >&2\nexit 3\n";
	char *text;
	size_t len;

	ASSERT_EQ((ssize_t)strlen(script), write(fd, script, strlen(script)));
	close(fd);
	fd = open("x.svg", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	ASSERT_EQ(3, write(fd, "old", 3));
	close(fd);
	setenv("PATH", self->dir, 1);
	expect_said(_metadata, self, "x.svg", "gnuplot fails: the reason\n");
	setenv("PATH", self->path, 1);
	text = content("x.svg", &len);
	EXPECT_STREQ("old", text);
	free(text);
}

TEST_F(draw, packets)
{
	FILE *file = fopen("packets", "we");
	char *text;
	size_t len;

	self->options.packets = "packets";
	fprintf(file, "1790000000.2\n1790000000.3\n");
	fclose(file);
	expect_said(_metadata, self, "x.txt", "");
	text = content("x.txt", &len);
	EXPECT_NE(NULL, strstr(text, "  packets                  2"));
	free(text);
	/* Without them it is drawn nevertheless. */
	file = fopen("packets", "we");
	fprintf(file, "1790000000.2\n# \n12:00\n");
	fclose(file);
	expect_said(_metadata, self, "x.txt", "packets:3: that is no time");
	text = content("x.txt", &len);
	EXPECT_NE(NULL, strstr(text, "stood still"));
	EXPECT_EQ(NULL, strstr(text, "packets"));
	free(text);
	self->options.packets = "nowhere";
	expect_said(_metadata, self, "x.txt",
		    "cannot read the packets' times from nowhere: No such file");
}

TEST_F(draw, nowhere)
{
	expect_said(_metadata, self, "no/x.txt", "not written to no/x.txt: No such file");
	expect_said(_metadata, self, "no/x.json", "not written to no/x.json: No such file");
	/* There is nothing that would have to be told. */
	expect_said(_metadata, self, NULL, "");
}

TEST_F(draw, paths)
{
	char *path = draw_path("x.svg");

	/* The directory of the test is no link itself. */
	ASSERT_NE(NULL, path);
	EXPECT_EQ(0, strncmp(path, self->dir, strlen(self->dir)));
	EXPECT_STREQ("/x.svg", path + strlen(self->dir));
	free(path);
	path = draw_path("../../tmp/./x.json");
	EXPECT_STREQ("/tmp/x.json", path);
	free(path);
	path = draw_path("/x.json");
	EXPECT_TRUE(!path == !!access("/", W_OK));
	EXPECT_TRUE(!path || !strcmp(path, "/x.json"));
	free(path);
	EXPECT_EQ(NULL, draw_path("no/x.svg"));
	EXPECT_EQ(NULL, draw_path("/dev/null/x.svg"));
	ASSERT_EQ(0, mkdir("dir.svg", 0700));
	EXPECT_EQ(NULL, draw_path("dir.svg"));
	/* It was only looked for. */
	EXPECT_NE(0, access("x.svg", F_OK));
	EXPECT_TRUE(draw_knows("a.b/x.svg"));
	EXPECT_FALSE(draw_knows("a.svg/x"));
	EXPECT_FALSE(draw_knows("svg"));
	EXPECT_FALSE(draw_knows("x.SVG"));
	EXPECT_FALSE(draw_knows("-"));
}

TEST_HARNESS_MAIN
