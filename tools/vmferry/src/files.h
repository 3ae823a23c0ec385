/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef VMFERRY_FILES_H
#define VMFERRY_FILES_H

/*
 * What an open file is, in the manifest's words: "memory" (a memfd), "iommufd", "device"
 * (of vfio), "eventfd", or "other".
 */
const char *file_kind(int fd);

#endif /* VMFERRY_FILES_H */
