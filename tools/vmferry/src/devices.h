/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Passed-through devices: what they are, and how they come back.
 */
#ifndef VMFERRY_DEVICES_H
#define VMFERRY_DEVICES_H

#include "keep.h"
#include "vm.h"
#include "vmferry.h"

/*
 * Write down the devices of a CPR state, whose files the manifest has already, and what
 * they see. Says what cannot be carried.
 */
int devices_describe(const struct vm *vm, const struct vmferry_cpr *cpr,
		     struct vmferry_manifest *manifest);

/*
 * In the new kernel: an iommufd like the one there was, with the devices in it, on new
 * numbers. The keeper has the other files; it gets these, and the numbers as "ids". Says
 * what failed. The devices have been retrieved, to be files of the keeper.
 */
int devices_rebuild(const struct vm *vm, struct keep *keep,
		    const struct vmferry_manifest *manifest);

/*
 * Add the devices to a CPR state that is to be sent, by the numbers that are valid in this
 * kernel, and have each interrupt look as if it had come: one may have been missed.
 */
int devices_add(struct keep *keep, const struct vmferry_manifest *manifest,
		struct vmferry_cpr *cpr);

#endif /* VMFERRY_DEVICES_H */
